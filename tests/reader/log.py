"""The log of a journal: which segments count, where they end, and what lies in them (sections 1, 3, 4 and 9 of FORMAT.md)."""

import json
import os
import re
import sys
import zstandard
from collections import OrderedDict, namedtuple
from checksums import blake3, blake3_many, crc32c, crc32c_backwards
from values import Batch, Cursor, Damaged, Header, Refused

BLOCK, PACK, BATCH, FOOTER = 1, 2, 3, 5
MOST = 64 << 20

Frame = namedtuple("Frame", "offset type flags stored raw checksum end")
Place = namedtuple("Place", "segment frame base depth")


def warn(text):
    print(f"asof_reader: {text}", file=sys.stderr)


class Manifest:
    """`journal.json`, or its copy where it is damaged."""

    def __init__(self, journal):
        problem = None
        for file in ("journal.json", "journal.json.copy"):
            path = os.path.join(journal, file)
            try:
                with open(path, "rb") as opened:
                    found = json.load(opened)
                if found["format"] != 1 or found["features"]:
                    raise Refused(f"{path}: another format, or features that this reader does not know")
                said = f"{found['format']} [] {found['uuid']} {found['created_unix_ns']} {found['id_key']}"
                if "check" in found and found["check"] != crc32c(said.encode()):
                    raise Damaged("it does not match its check")
                self.key = bytes.fromhex(found["id_key"])
                self.uuid = bytes.fromhex(found["uuid"].replace("-", ""))
                return
            except (OSError, ValueError, KeyError, TypeError, Damaged) as error:
                problem = problem or f"{path}: {error}"
                warn(f"{path}: {error}")
        raise Damaged(problem)


class Segment:
    """One file of segments/: its frames from header to header, and which of them are good."""

    def __init__(self, path, number):
        self.path, self.number, self.superseded = path, number, False
        with open(path, "rb") as opened:
            self.data = opened.read()
        try:
            self.header = Header(self.data, crc32c)
            self.salt, start = self.header.salt, self.header.length
        except Damaged as error:
            warn(f"{path}: {error}")
            self.header = None
            self.salt, start = self.salvage()
        self.frames, self.bad, self.batches = [], [], {}
        self.limit = len(self.data)
        if self.salt is not None:
            self.walk(start)
            self.read_batches()

    def salvage(self):
        """The salt, out of a frame: its header's checksum run backwards, and the body's agrees."""
        at = self.data.find(b"aSoF")
        while at >= 0:
            if at % 8 == 0 and at + 24 <= len(self.data):
                said = int.from_bytes(self.data[at + 20:at + 24], "little")
                self.salt = crc32c_backwards(self.data[at:at + 20], said)
                frame = self.frame(at)
                if frame and self.body_holds(frame):
                    return self.salt, at
            at = self.data.find(b"aSoF", at + 1)
        return None, 0

    def frame(self, at):
        """The frame at a place, where its header holds."""
        data = self.data
        if data[at:at + 4] != b"aSoF" or at + 24 > len(data):
            return None
        header = data[at:at + 24]
        if crc32c(header[:20], self.salt) != int.from_bytes(header[20:], "little"):
            return None
        stored, raw, checksum = (int.from_bytes(header[n:n + 4], "little") for n in (8, 12, 16))
        if stored > MOST or raw > MOST:
            return None
        end = at + 24 + -(-stored // 8) * 8
        return Frame(at, header[4], header[5], stored, raw, checksum, end)

    def walk(self, at):
        """From header to header. What is bad is noted with its place."""
        data = self.data
        while at < len(data):
            frame = self.frame(at)
            if frame and frame.end <= len(data):
                self.frames.append(frame)
                unknown = frame.type not in (BLOCK, PACK, BATCH, FOOTER) and not frame.flags & 0x80
                if unknown or data[at + 6] != 0:
                    self.bad.append(at)
                at = frame.end
                if frame.type == FOOTER and data[at:] == frame.offset.to_bytes(8, "little") + b"asofEND\n":
                    return
                continue
            self.bad.append(at)
            at = data.find(b"aSoF", at + 1)
            while at >= 0 and (at % 8 or not self.frame(at)):
                at = data.find(b"aSoF", at + 1)
            if at < 0:
                return

    def order(self):
        """Compacted segments stand where what they were made of stood."""
        if self.header:
            return self.header.first, self.number
        first = next((batch.first for batch in self.batches.values() if batch), 0)
        return first, self.number

    def body(self, frame):
        start = frame.offset + 24
        return self.data[start:start + frame.stored]

    def body_holds(self, frame):
        return crc32c(self.body(frame), self.salt) == frame.checksum

    def payload(self, frame):
        """What a batch or a footer holds."""
        body, encoding = self.body(frame), frame.flags & 3
        if not self.body_holds(frame):
            raise Damaged("a body that does not match its checksum")
        if encoding == 1:
            body = unpacked(body, frame.raw)
        elif encoding:
            raise Refused(f"encoding {encoding} of a frame")
        if len(body) != frame.raw:
            raise Damaged("a payload of another length")
        return body

    def read_batches(self):
        for frame in self.frames:
            if frame.type == BATCH:
                try:
                    self.batches[frame.offset] = Batch(self.payload(frame))
                except (Damaged, Refused) as error:
                    self.batches[frame.offset] = None
                    self.bad.append(frame.offset)
                    self.problem = f"{self.path}: batch at {frame.offset}: {error}"

    def attested(self):
        """How far the log was durable, as far as this segment knows."""
        points = [batch.durable for batch in self.batches.values() if batch]
        points += [(self.number, frame.offset) for frame in self.frames
                   if frame.type == FOOTER and self.body_holds(frame)]
        here = [offset for segment, offset in points if segment == self.number]
        start = self.header.length if self.header else self.frames[0].offset if self.frames else 0
        return max(here, default=start)

    def find_end(self):
        """The tail rule."""
        attested = self.attested()
        ends = [frame.end for frame in self.frames if frame.type == BATCH and self.batches[frame.offset]]
        checked_from = max((end for end in ends if end <= attested), default=0)
        for frame in self.frames:
            if frame.offset >= checked_from and frame.type in (BLOCK, PACK) and not self.body_holds(frame):
                self.bad.append(frame.offset)
        limit = min((at for at in self.bad if at >= attested), default=len(self.data))
        self.limit = max([end for end in ends if end <= limit] + [attested])

    def accepted(self):
        """The frames that count."""
        for frame in self.frames:
            if frame.end <= self.limit:
                yield frame

    def report(self):
        for at in sorted(set(self.bad)):
            if at < self.limit:
                warn(f"{self.path}: damaged at {at}")
        if self.limit < len(self.data) and not any(frame.type == FOOTER for frame in self.frames):
            warn(f"{self.path}: {len(self.data) - self.limit} bytes behind the end at {self.limit} are void")


def unpacked(data, raw, base=None):
    """What zstd makes of a body; `base` is what a delta was made with."""
    try:
        prefix = base and zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        return zstandard.ZstdDecompressor(dict_data=prefix or None).decompress(data, max_output_size=max(raw, 1))
    except zstandard.ZstdError as error:
        raise Damaged(f"zstd: {error}") from error


class Log:
    """All segments of a journal, and the commits in the order in which they count."""

    def __init__(self, journal):
        self.manifest = Manifest(journal)
        self.segments = self.load(os.path.join(journal, "segments"))
        self.set_limits()
        self.places, self.cache = {}, OrderedDict()
        self.used = {"blocks": 0, "packs": 0, "deltas": 0, "deepest": 0, "lists": 0}
        self.commits = []
        self.collect()

    def load(self, directory):
        found = {}
        for file in sorted(os.listdir(directory)):
            parts = re.fullmatch(r"([0-9]{16})\.(seg|open)", file)
            if not parts:
                continue
            number = int(parts[1])
            segment = Segment(os.path.join(directory, file), number)
            if segment.header and segment.header.journal != self.manifest.uuid:
                warn(f"{segment.path} is of another journal: left out")
                continue
            if segment.header and segment.header.id != number:
                warn(f"{segment.path} says that it is segment {segment.header.id}")
                number = segment.number = segment.header.id
            if number in found:
                warn(f"{segment.path} is a second file of segment {number}: left out")
                continue
            found[number] = segment
        compacted = [segment.header.supersedes for segment in found.values() if segment.header]
        for number in {number for numbers in compacted for number in numbers}:
            # Its successor may still have to say where its predecessor ends.
            if number in found:
                found[number].superseded = True
        return [found[number] for number in sorted(found)]

    def set_limits(self):
        """The predecessor rule where a successor says where its predecessor ends, else the tail rule."""
        ended, named = None, None
        for segment in reversed(self.segments):
            number = segment.number
            if segment.header and segment.header.kind:
                segment.find_end()
                continue
            if named is not None and number > named[0]:
                segment.limit = 0
                continue
            if named is not None and number == named[0]:
                segment.limit = min(named[1], len(segment.data))
            else:
                segment.find_end()
                if ended and segment.data[-8:] != b"asofEND\n":
                    warn(f"{segment.path}: what follows it is missing or damaged")
            ended = segment
            named = self.predecessor(segment)
        for segment in self.segments:
            if segment.limit and not segment.superseded:
                segment.report()

    def predecessor(self, segment):
        """Where the segment before ends, as this one says."""
        if segment.header:
            return segment.header.predecessor[0] if segment.header.predecessor else None
        first = next((batch for batch in segment.batches.values() if batch), None)
        if not first or not first.chain_start:
            return None
        for earlier in reversed(self.segments):
            if earlier.number < segment.number and earlier.header:
                chain = earlier.header.predecessor[1] if earlier.header.predecessor else bytes(16)
                for frame in earlier.frames:
                    if frame.type == FOOTER:
                        break
                    chain = blake3(chain + earlier.data[frame.offset:frame.offset + 24])[:16]
                    if chain == first.chain_start:
                        return earlier.number, frame.end
        return None

    def collect(self):
        """Commits by Seq, and where every block lies: the copy that comes last counts."""
        newest = 0
        counting = [segment for segment in self.segments if not segment.superseded]
        for segment in sorted(counting, key=Segment.order):
            listed = set()
            broken = False
            by_offset = {frame.offset: frame for frame in segment.accepted()}
            for frame in by_offset.values():
                if frame.type != BATCH:
                    continue
                batch = segment.batches[frame.offset]
                if batch is None:
                    broken = True
                    continue
                for block in batch.blocks:
                    content = by_offset.get(block.offset)
                    listed.add(block.offset)
                    if content:
                        for member in block.members:
                            self.places.setdefault(member[0], []).append(
                                Place(segment, content, block.base, block.depth))
                if batch.first <= newest:
                    warn(f"{segment.path}: batch at {frame.offset} begins at a Seq that was given before: left out")
                    continue
                newest = batch.last
                self.commits += batch.commits
            if broken or segment.bad:
                self.collect_orphans(segment, listed)

    def collect_orphans(self, segment, listed):
        for frame in segment.accepted():
            if frame.offset in listed or frame.type not in (BLOCK, PACK) or frame.flags & 3 == 2:
                continue
            try:
                for member, _ in self.members(segment, frame)[0]:
                    self.places.setdefault(member[:16], []).insert(0, Place(segment, frame, None, 0))
            except (Damaged, Refused):
                continue

    def check_chain(self):
        """Every batch continues from the one before, as far as the frames between are there."""
        breaks = 0
        for segment in self.segments:
            if not segment.header or segment.superseded:
                continue
            chain = segment.header.predecessor[1] if segment.header.predecessor else bytes(16)
            before = chain
            for frame in segment.accepted():
                if frame.type == FOOTER:
                    break
                batch = segment.batches.get(frame.offset)
                said = batch and (batch.chain_before, batch.chain_start or before)
                if batch and said != (chain, before):
                    warn(f"{segment.path}: the chain breaks before {frame.offset}")
                    breaks += 1
                    chain = batch.chain_before
                chain = blake3(chain + segment.data[frame.offset:frame.offset + 24])[:16]
                if frame.type == BATCH:
                    before = chain
        return breaks

    def members(self, segment, frame):
        """Ids and plain lengths of the blocks of a frame, and where its payload begins."""
        cursor = Cursor(segment.body(frame))
        if frame.type == BLOCK:
            return [(cursor.raw(32), frame.raw)], cursor.at
        return [(cursor.raw(32), cursor.uint()) for _ in range(cursor.count())], cursor.at

    def block(self, block):
        """The bytes of a block, checked against its id."""
        problem = Damaged("no frame holds it")
        for place in reversed(self.places.get(block, [])):
            key = (place.segment.number, place.frame.offset)
            try:
                if key not in self.cache:
                    self.cache[key] = self.decode(place)
                    if len(self.cache) > 128:
                        self.cache.popitem(last=False)
                self.cache.move_to_end(key)
                if block in self.cache[key]:
                    return self.cache[key][block]
            except (Damaged, Refused) as error:
                problem = error
        raise Damaged(f"block {block.hex()}: {problem}")

    def decode(self, place):
        segment, frame = place.segment, place.frame
        members, start = self.members(segment, frame)
        payload, encoding = segment.body(frame)[start:], frame.flags & 3
        if encoding == 2:
            bases = [at.depth for at in self.places.get(place.base, [])] if place.base else []
            if not bases or min(bases) >= place.depth:
                raise Damaged("a delta without its base")
            payload = unpacked(payload, frame.raw, self.block(place.base))
        elif encoding == 1:
            payload = unpacked(payload, frame.raw)
        elif encoding:
            raise Refused(f"encoding {encoding} of a frame")
        self.used["packs" if frame.type == PACK else "deltas" if encoding == 2 else "blocks"] += 1
        self.used["deepest"] = max(self.used["deepest"], place.depth)
        plain, at = [], 0
        for _, length in members:
            plain.append(payload[at:at + length])
            at += length
        if at != len(payload):
            raise Damaged("a payload of another length")
        good = {}
        for (said, _), data, real in zip(members, plain, blake3_many(plain, self.manifest.key)):
            if said == real:
                good[said[:16]] = data
            else:
                warn(f"{segment.path}: a block at {frame.offset} does not match its id")
        return good

    def seq_at(self, time):
        """The Seq that a time means, or None before the first."""
        epochs = OrderedDict()
        for commit in self.commits:
            epochs.setdefault(commit.epoch, []).append((commit.wall, commit.last))
        holds = [epoch for epoch, walls in epochs.items() if walls[0][0] <= time <= walls[-1][0]]
        ended = [epoch for epoch, walls in epochs.items() if walls[-1][0] < time]
        if holds:
            epoch = max(holds)
        elif ended:
            epoch = max(ended, key=lambda epoch: epochs[epoch][-1][0])
        else:
            return None
        return max(last for wall, last in epochs[epoch] if wall <= time)
