#!/usr/bin/python3
"""A second reader of the journal, written from FORMAT.md alone: a tree as of an instant, out of the segments, without an index.

    asof_reader.py JOURNAL --at seq:N|TIME [PATH] --to TARGET      writes what PATH was then
    asof_reader.py JOURNAL --at seq:N|TIME [PATH] --list           says what there was, a line of JSON for each entry

It proves that the format is described completely, and gets data out where everything else is lost. It needs
python3-zstandard. Exit status: 0 done, 1 error, 3 partly done, 5 no such path or time.
"""

import argparse
import base64
import json
import os
import re
import stat
import sys
from datetime import datetime, timedelta, timezone

import values
from checksums import blake3
from values import Bind, Damaged, Refused, SetVersion, Unbind

try:
    from log import Log, warn
except ModuleNotFoundError as missing:
    sys.exit(f"asof_reader: {missing}; on Debian: apt-get install python3-zstandard")

KINDS = {1: "file", 2: "dir", 3: "symlink", 4: "fifo", 5: "socket", 6: "char-device", 7: "block-device"}
FORMS = ("none", "inline", "extents", "unread", "thinned")
LEVELS = 12


class NotThere(Exception):
    """No such path, or a time before everything."""


def instant(text):
    """Nanoseconds since 1970 of an RFC 3339 time."""
    parts = re.fullmatch(r"(\d+-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|z|[+-]\d\d:\d\d)", text)
    if not parts:
        raise ValueError(f"{text!r} is neither seq:N nor an RFC 3339 time")
    day, hour, fraction, zone = parts.groups()
    moment = datetime.strptime(f"{day} {hour}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
    if zone not in "Zz":
        ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:]))
        moment += ahead if zone[0] == "-" else -ahead
    seconds = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(seconds=1)
    return seconds * 10**9 + int((fraction or "0").ljust(9, "0"))


class Tree:
    """Names and nodes as of a Seq."""

    def __init__(self, log, seq):
        self.log, self.seq = log, seq
        self.names, self.gone, self.thinned = {}, {}, {}
        self.versions, self.since = {}, {}
        for commit in log.commits:
            if commit.first > seq:
                break
            try:
                for at, operations in commit.groups():
                    if at > seq:
                        break
                    for operation in operations:
                        self.apply(operation, at)
            except (Damaged, Refused) as error:
                warn(f"seq:{commit.first} to seq:{commit.last}: {error}")

    def apply(self, operation, seq):
        if isinstance(operation, Bind):
            self.names.setdefault(operation.dir, {})[operation.name] = (operation.node, operation.kind)
            self.gone.get(operation.dir, {}).pop(operation.name, None)
            self.thinned.get(operation.dir, {}).pop(operation.name, None)
        elif isinstance(operation, Unbind):
            self.names.get(operation.dir, {}).pop(operation.name, None)
            into, other = self.gone, self.thinned
            if operation.why == values.NAME_THINNED:
                into, other = other, into
            into.setdefault(operation.dir, {})[operation.name] = (operation.node, operation.kind)
            other.get(operation.dir, {}).pop(operation.name, None)
        elif isinstance(operation, SetVersion):
            self.versions[operation.node], self.since[operation.node] = operation.version, seq

    def find(self, path):
        node, kind = 0, values.DIRECTORY
        for name in path.split(b"/"):
            if not name:
                continue
            if name not in self.names.get(node, {}):
                why = "went by the retention policy" if name in self.thinned.get(node, {}) else "is not there"
                raise NotThere(f"{os.fsdecode(path)} {why} at seq:{self.seq}")
            node, kind = self.names[node][name]
        return node, kind

    def walk(self, node, kind, path, deleted):
        """Path, node, kind and whether it is gone, of everything below; what is gone only where it is asked for."""
        yield path, node, kind, False
        if kind != values.DIRECTORY:
            return
        below = [(name, child, False) for name, child in self.names.get(node, {}).items()]
        if deleted:
            below += [(name, child, True) for name, child in self.gone.get(node, {}).items()]
        for name, (child, what), gone in sorted(below):
            place = path.rstrip(b"/") + b"/" + name
            if gone:
                yield place, child, what, True
            else:
                yield from self.walk(child, what, place, deleted)

    def pieces(self, version):
        """The content of a file as (offset, bytes), or (offset, length) for a hole."""
        form, content = version.content
        if form == values.UNREAD:
            raise Damaged(f"it could not be read when it was captured (error {content})")
        if form == values.THINNED:
            raise Damaged("what it was then went by the retention policy")
        at = 0
        if form == values.INLINE:
            yield 0, content
            at = len(content)
        elif form == values.EXTENTS:
            at = yield from self.covered(content, 0, 0)
        if at != version.size:
            raise Damaged(f"{at} bytes of content where the version says {version.size}")

    def covered(self, extents, at, level):
        if level > LEVELS:
            raise Damaged("lists of extents without an end")
        for extent in extents:
            if extent.tag == values.HOLE:
                yield at, extent.length
            elif extent.tag == values.CONTENT:
                data = self.log.block(extent.id)
                if len(data) != extent.length:
                    raise Damaged(f"block {extent.id.hex()} has another length than its extent")
                yield at, data
            else:
                self.log.used["lists"] += 1
                cursor = values.Cursor(self.log.block(extent.id))
                inner = values.extents(cursor)
                cursor.finish()
                end = yield from self.covered(inner, at, level + 1)
                if end != at + extent.length:
                    raise Damaged("a list that does not cover its length")
            at += extent.length
        return at


class Writer:
    """Puts a tree on disk. A problem with one path is named, the rest goes on."""

    def __init__(self, tree):
        self.tree, self.links, self.problems, self.bytes, self.entries = tree, {}, 0, 0, 0

    def write(self, node, kind, path, target):
        self.entries += 1
        try:
            version = self.tree.versions.get(node)
            if kind != values.DIRECTORY and node in self.links:
                os.link(self.links[node], target, follow_symlinks=False)
                return
            self.create(version, kind, target)
            if kind == values.DIRECTORY:
                for name in sorted(self.tree.thinned.get(node, {})):
                    self.problems += 1
                    warn(f"{os.fsdecode(path)}/{os.fsdecode(name)}: what it was then went by the retention policy")
                for name, (child, what) in sorted(self.tree.names.get(node, {}).items()):
                    self.write(child, what, path.rstrip(b"/") + b"/" + name, target + b"/" + name)
            elif os.path.lexists(target):
                self.links[node] = target
            if version and os.path.lexists(target):
                self.finish(version, target)
        except (Damaged, Refused, OSError) as error:
            self.problems += 1
            warn(f"{os.fsdecode(path)}: {error}")

    def create(self, version, kind, target):
        if kind == values.DIRECTORY:
            os.mkdir(target)
        elif version is None:
            raise Damaged("nothing of it was captured")
        elif version.content[0] == values.THINNED:
            raise Damaged("what it was then went by the retention policy")
        elif kind == values.FILE:
            self.file(version, target)
        elif kind == values.SYMLINK:
            os.symlink(version.content[1], target)
        elif kind == values.FIFO:
            os.mkfifo(target)
        elif kind in (values.CHARACTER, values.DEVICE):
            what = stat.S_IFCHR if kind == values.CHARACTER else stat.S_IFBLK
            os.mknod(target, 0o600 | what, version.rdev)

    def file(self, version, target):
        # Asked for in full before the file is made: nothing half of it stays behind.
        try:
            with open(target, "xb") as opened:
                for at, data in self.tree.pieces(version):
                    if isinstance(data, int):
                        continue
                    opened.seek(at)
                    opened.write(data)
                    self.bytes += len(data)
                opened.truncate(version.size)
        except Damaged:
            os.unlink(target)
            raise

    @staticmethod
    def finish(version, target):
        link = version.kind == values.SYMLINK
        if os.geteuid() == 0:
            os.chown(target, version.uid, version.gid, follow_symlinks=False)
        for name, value in version.xattrs:
            os.setxattr(target, name, value, follow_symlinks=False)
        if not link:
            os.chmod(target, version.mode)
        os.utime(target, ns=(version.mtime, version.mtime), follow_symlinks=False)


def text(field, value):
    """A field of JSON for bytes: as text, and in base64 where they are none."""
    try:
        return {field: value.decode()}
    except UnicodeDecodeError:
        return {field: value.decode("utf-8", "replace"), f"{field}_b64": base64.b64encode(value).decode()}


def describe(tree, path, node, kind, gone, digests):
    entry = {"at": tree.seq, **text("path", path), "kind": KINDS[kind], "node": node}
    if gone:
        entry["gone"] = True
    version = tree.versions.get(node)
    if version is None:
        return entry
    form, content = version.content
    entry.update(
        since=tree.since[node], mode=f"{version.mode:04o}", uid=version.uid, gid=version.gid, size=version.size,
        mtime_ns=version.mtime, ctime_ns=version.ctime, rdev=version.rdev, content=FORMS[form],
        quality=("clean", "provisional", "torn")[version.quality & 3], racy=version.quality > 127)
    if form == values.UNREAD:
        entry["errno"] = content
    if kind == values.SYMLINK and content:
        entry.update(text("target", content))
    if version.xattrs:
        entry["xattrs"] = [{**text("name", name), "value_b64": base64.b64encode(value).decode()}
                           for name, value in version.xattrs]
    if digests and form in (values.INLINE, values.EXTENTS):
        # A hole counts with its length only: it may be longer than anybody wants to hash.
        pieces = [data for _, data in tree.pieces(version)]
        entry["holes"] = sum(data for data in pieces if isinstance(data, int))
        pieces = [data.to_bytes(8, "little") if isinstance(data, int) else data for data in pieces]
        entry["blake3"] = blake3(b"".join(pieces)).hex()
    return entry


def resolved(log, at):
    """The Seq that somebody means."""
    newest = max((commit.last for commit in log.commits), default=0)
    if at is None:
        seq = newest
    elif at.startswith("seq:"):
        seq = int(at[4:])
        if not any(commit.first <= seq <= commit.last for commit in log.commits):
            raise NotThere(f"seq:{seq} is not in the journal, whose newest is seq:{newest}")
    else:
        seq = log.seq_at(instant(at))
    if not seq:
        raise NotThere(f"{at} is before everything that the journal holds")
    return seq


def listing(tree, path, given):
    """Prints what there is; gives how much of it could not be read."""
    problems = 0
    node, kind = tree.find(path)
    for at, child, what, gone in tree.walk(node, kind, b"/" + path.strip(b"/"), given.deleted):
        try:
            entry = describe(tree, at, child, what, gone, given.digests)
        except (Damaged, Refused) as error:
            problems += 1
            entry = {"at": tree.seq, **text("path", at), "kind": KINDS[what], "problem": str(error)}
        print(json.dumps(entry))
    return problems


def extract(tree, path, to):
    """Writes what there is; gives how much of it could not be."""
    node, kind = tree.find(path)
    if os.path.lexists(to):
        raise FileExistsError(f"{to} is there")
    writer = Writer(tree)
    writer.write(node, kind, b"/" + path.strip(b"/"), os.fsencode(to))
    print(json.dumps({"seq": tree.seq, "entries": writer.entries, "bytes": writer.bytes, "problems": writer.problems,
                      **tree.log.used}))
    return writer.problems


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("journal")
    options.add_argument("path", nargs="?", default="/")
    options.add_argument("--at", action="append", help="seq:N or an RFC 3339 time; the newest state where it is left out")
    options.add_argument("--to", metavar="TARGET", help="what is written; it must not be there")
    options.add_argument("--list", action="store_true", help="JSON Lines of what there was; --at may be given several times")
    options.add_argument("--deleted", action="store_true", help="with --list: also what was gone")
    options.add_argument("--digests", action="store_true",
                         help="with --list: BLAKE3 of the content of files, with the length of a hole in 8 bytes")
    options.add_argument("--check-chain", action="store_true", help="follow the chain over the headers of all frames")
    given = options.parse_intermixed_args()
    if bool(given.to) == given.list:
        options.error("say --to TARGET or --list")
    if given.to and len(given.at or []) > 1:
        options.error("--to takes one --at")
    log = Log(given.journal)
    problems = log.check_chain() if given.check_chain else 0
    path = os.fsencode(given.path)
    for at in given.at or [None]:
        tree = Tree(log, resolved(log, at))
        problems += extract(tree, path, given.to) if given.to else listing(tree, path, given)
    return 3 if problems else 0


if __name__ == "__main__":
    sys.setrecursionlimit(100000)
    try:
        sys.exit(main())
    except NotThere as error:
        warn(error)
        sys.exit(5)
    except BrokenPipeError:
        sys.stderr.close()
    except (Damaged, Refused, OSError, ValueError) as error:
        warn(error)
        sys.exit(1)
