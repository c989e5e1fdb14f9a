"""Values of the journal out of bytes, as sections 2 and 5 to 7 of FORMAT.md say. Pure: no files here."""

import struct
from collections import namedtuple

POSITION_NONE = (0, 0)


class Damaged(Exception):
    """Bytes that are not what the format says."""


class Refused(Exception):
    """Something of a later format: this reader must not guess."""


Bind = namedtuple("Bind", "dir name node kind succeeds")
Unbind = namedtuple("Unbind", "dir name node kind why")
SetVersion = namedtuple("SetVersion", "node version")
Version = namedtuple("Version", "kind quality mode uid gid mtime ctime size ino rdev xattrs content")
BlockFrame = namedtuple("BlockFrame", "offset pack encoding stored base depth members")
Extent = namedtuple("Extent", "tag length id")

FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, CHARACTER, DEVICE = range(1, 8)
NOTHING, INLINE, EXTENTS, UNREAD, THINNED = range(5)
DELETED, MOVED, UNCOVERED, GONE_UNREAD, NAME_THINNED = range(5)
HOLE, CONTENT, LIST = range(3)


class Cursor:
    """Reads values from the front of bytes."""

    def __init__(self, data):
        self.data, self.at, self.end = data, 0, len(data)

    def left(self):
        return self.end - self.at

    def raw(self, length):
        start = self.at
        if length > self.end - start:
            raise Damaged(f"{length} bytes wanted at {start} of {self.end}")
        self.at = start + length
        return bytes(self.data[start:self.at])

    def u8(self):
        if self.at >= self.end:
            raise Damaged("a byte wanted behind the end")
        value = self.data[self.at]
        self.at += 1
        return value

    def u32(self):
        return int.from_bytes(self.raw(4), "little")

    def u64(self):
        return int.from_bytes(self.raw(8), "little")

    def leb(self, bits):
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift >= bits:
                raise Damaged("a number without an end")
        if value >> bits:
            raise Damaged("a number too large")
        return value

    def uint(self):
        # Most are short: this one line is what the time goes into.
        data, at = self.data, self.at
        if at < self.end and data[at] < 0x80:
            self.at = at + 1
            return data[at]
        return self.leb(64)

    def int(self):
        value = self.uint()
        return (value >> 1) ^ -(value & 1)

    def bytes(self):
        return self.raw(self.uint())

    def count(self):
        value = self.uint()
        if value > self.end - self.at:
            raise Damaged(f"{value} items in {self.left()} bytes")
        return value

    def time(self):
        seconds, ns = self.int(), self.uint()
        if ns >= 10**9:
            raise Damaged("a second with too many nanoseconds")
        time = seconds * 10**9 + ns
        if not -(2**63) <= time < 2**63:
            raise Damaged("a time out of range")
        return time

    def position(self):
        return self.uint(), self.uint()

    def choice(self, limit, what):
        value = self.u8()
        if value >= limit:
            raise Refused(f"{what} {value} is unknown")
        return value

    def finish(self):
        if self.at != self.end:
            raise Damaged(f"{self.left()} bytes too many")


def name(cursor):
    value = cursor.bytes()
    if value in (b"", b".", b"..") or b"/" in value or b"\0" in value:
        raise Damaged(f"{value!r} is no name")
    return value


def kind(cursor):
    value = cursor.u8()
    if not FILE <= value <= DEVICE:
        raise Refused(f"kind {value} is unknown")
    return value


def extents(cursor):
    found = []
    for _ in range(cursor.count()):
        value = cursor.leb(66)
        tag, length = value & 3, value >> 2
        if tag > LIST:
            raise Refused(f"extent {tag} is unknown")
        if tag == CONTENT and length >= 1 << 32:
            raise Damaged("a block too long")
        found.append(Extent(tag, length, None if tag == HOLE else cursor.raw(16)))
    return found


def version(cursor):
    what, quality = kind(cursor), cursor.u8()
    if quality & 0x7F > 2:
        raise Refused(f"quality {quality} is unknown")
    mode, uid, gid = cursor.uint(), cursor.uint(), cursor.uint()
    mtime, ctime = cursor.time(), cursor.time()
    size, ino, rdev = cursor.uint(), cursor.uint(), cursor.uint()
    xattrs = [(cursor.bytes(), cursor.bytes()) for _ in range(cursor.count())]
    form = cursor.u8()
    if form == NOTHING:
        content = None
    elif form == INLINE:
        content = cursor.bytes()
    elif form == EXTENTS:
        content = extents(cursor)
    elif form == UNREAD:
        content = cursor.int()
    elif form == THINNED:
        content = None
    else:
        raise Refused(f"content {form} is unknown")
    return Version(what, quality, mode, uid, gid, mtime, ctime, size, ino, rdev, xattrs, (form, content))


def operation(cursor):
    """An operation; None for those that change no tree."""
    tag = cursor.u8()
    if tag == 1:
        return Bind(cursor.uint(), name(cursor), cursor.uint(), kind(cursor), cursor.uint())
    if tag == 2:
        return Unbind(cursor.uint(), name(cursor), cursor.uint(), kind(cursor), cursor.choice(5, "unbinding"))
    if tag == 3:
        return SetVersion(cursor.uint(), version(cursor))
    if tag == 4:
        cursor.uint(), cursor.bytes(), cursor.bytes()
    elif tag == 5:
        if not 1 <= cursor.u8() <= 11:
            raise Refused("a gap of unknown reason")
        cursor.bytes(), cursor.time(), cursor.time(), cursor.bytes()
    elif tag == 6:
        for _ in range(cursor.count()):
            cursor.bytes(), cursor.choice(4, "flags of a root")
            for _ in range(cursor.count()):
                cursor.bytes()
        for _ in range(cursor.count()):
            cursor.bytes()
        for _ in range(cursor.count()):
            cursor.bytes(), cursor.choice(2, "left out")
    elif tag == 7:
        cursor.time(), cursor.choice(4, "cause of a mark")
    elif tag == 8:
        if cursor.choice(2, "loss") == 0:
            cursor.position(), cursor.uint()
        else:
            cursor.uint(), cursor.uint()
        cursor.time(), cursor.bytes()
    elif tag == 9:
        cursor.bytes()
    elif tag == 10:
        if cursor.choice(2, "note about a restore") == 0:
            cursor.uint()
            for _ in range(cursor.count()):
                cursor.bytes()
            cursor.choice(2, "exact"), cursor.uint()
        else:
            for _ in range(6):
                cursor.uint()
    elif tag == 11:
        cursor.choice(2, "what is held"), cursor.bytes(), cursor.time()
    elif tag == 12:
        cursor.choice(2, "what is held"), cursor.bytes()
    elif tag == 14:
        if cursor.choice(2, "note about a forgetting") == 0:
            cursor.uint(), cursor.uint(), cursor.uint()
            for _ in range(2):
                for _ in range(cursor.count()):
                    cursor.bytes()
        else:
            for _ in range(4):
                cursor.uint()
    else:
        raise Refused(f"operation {tag} is unknown")
    return None


def group(cursor):
    operations = cursor.count()
    cursor.uint(), cursor.uint()
    return [operation(cursor) for _ in range(operations)]


def block_frames(cursor):
    found, offset = [], 0
    for _ in range(cursor.count()):
        offset += cursor.uint()
        pack, encoding, stored = cursor.choice(2, "form"), cursor.choice(3, "encoding"), cursor.uint()
        base, depth = None, 0
        if encoding == 2:
            base, depth = cursor.raw(16), cursor.u8()
            if not 1 <= depth <= 16:
                raise Damaged(f"a delta of depth {depth}")
        members = [(cursor.raw(16), cursor.uint()) for _ in range(cursor.count() if pack else 1)]
        found.append(BlockFrame(offset, pack, encoding, stored, base, depth, members))
    return found


class Commit:
    """What was committed at once, or what compaction left of it: the Seqs that it stands for, its clock, its groups."""

    def __init__(self, first, last, wall, epoch, groups):
        self.first, self.last, self.wall, self.epoch, self.groups = first, last, wall, epoch, groups


class Batch:
    """The payload of a batch frame: one commit of a log, or what compaction left of several."""

    def __init__(self, payload):
        cursor = Cursor(payload)
        flags = cursor.uint()
        if flags == 0:
            self.in_log(cursor)
        elif flags == 1:
            self.left_of(cursor)
        else:
            raise Refused("a batch with unknown flags")
        self.first, self.last = self.commits[0].first, self.commits[-1].last

    def in_log(self, cursor):
        first = cursor.uint()
        if not first:
            raise Damaged("a batch that begins at 0")
        wall = cursor.time()
        cursor.uint(), cursor.raw(16)
        epoch = cursor.uint()
        if cursor.choice(2, "completeness"):
            cursor.time()
        self.durable = cursor.position()
        self.chain_start, self.chain_before = cursor.raw(16), cursor.raw(16)
        cursor.uint()
        self.blocks = block_frames(cursor)
        count = cursor.count()

        def groups(at=cursor.at):
            # Decoded when they are asked for: most are not wanted.
            inner = Cursor(cursor.data)
            inner.at = at
            for seq in range(first, first + count):
                yield seq, group(inner)
            inner.finish()

        self.commits = [Commit(first, first + count - 1, wall, epoch, groups)]

    def left_of(self, cursor):
        self.durable, self.chain_start, self.chain_before = cursor.position(), None, cursor.raw(16)
        cursor.uint()
        self.blocks = block_frames(cursor)
        first = cursor.uint()
        self.commits = []
        for _ in range(cursor.count()):
            flags = cursor.u8()
            if flags > 7:
                raise Refused("a commit with unknown flags")
            last, wall = first + cursor.uint(), cursor.time()
            cursor.uint()
            if flags & 2:
                cursor.raw(16)
            epoch, seq, found = cursor.uint(), first, []
            for _ in range(cursor.count()):
                seq += cursor.uint()
                found.append((seq, group(cursor)))
            self.commits.append(Commit(first, last, wall, epoch, lambda found=found: found))
            first = last + 1
        cursor.finish()
        if not self.commits:
            raise Damaged("nothing is left in it")


class Header:
    """The header of a segment; `length` is where the frames begin."""

    def __init__(self, data, crc32c):
        if data[:8] != b"asofSEG\n" or len(data) < 20:
            raise Damaged("no header")
        form, body = struct.unpack_from("<II", data, 8)
        if body > 64 << 10 or 16 + body + 4 > len(data):
            raise Damaged("a header without an end")
        if crc32c(data[:16 + body]) != int.from_bytes(data[16 + body:20 + body], "little"):
            raise Damaged("a header that does not match its checksum")
        if form != 1:
            raise Refused(f"format {form} is not the one that this reader knows")
        cursor = Cursor(data[16:16 + body])
        self.journal, self.id = cursor.raw(16), cursor.uint()
        self.salt = cursor.u32()
        self.kind = cursor.choice(2, "kind of segment")
        cursor.time()
        self.first = cursor.uint()
        self.last, self.as_of = (cursor.uint(), cursor.uint()) if self.kind else (None, None)
        self.supersedes = [cursor.uint() for _ in range(cursor.count())]
        self.predecessor = (cursor.position(), cursor.raw(16)) if cursor.choice(2, "predecessor") else None
        self.durable = cursor.position()
        cursor.finish()
        self.length = -(-(20 + body) // 8) * 8
