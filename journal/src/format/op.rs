//! Operations and groups as bytes.
//!
//! The encodings of metadata, content and gaps serve the index as well, which stores them as they stand in a batch.

use crate::format::wire::{Malformed, Put, Result, Take};
use crate::types::{
    BlockId, Content, Extent, ForgetBegun, ForgetOutcome, Forgotten, Gap, GapReason, Group, Held, Hold,
    Identity, Instant, Kind, LeftOut, Loss, Lost, Mark, MarkCause, MarkName, Metadata, NodeId, Op, Place,
    Policy, Position, Quality, Restore, RestoreBegun, RestoreOutcome, RootPolicy, SegmentId, Seq, Unbound,
    Version, is_plain_path,
};

const BIND: u8 = 1;
const UNBIND: u8 = 2;
const VERSION: u8 = 3;
const IDENTIFY: u8 = 4;
const GAP: u8 = 5;
const POLICY: u8 = 6;
const MARK: u8 = 7;
const LOSS: u8 = 8;
const NAME: u8 = 9;
const RESTORE: u8 = 10;
const HOLD: u8 = 11;
const RELEASE: u8 = 12;
const FORGOTTEN: u8 = 14;

const HELD_PATH: u8 = 0;
const HELD_MARK: u8 = 1;

/// Stands for a hold without an end.
const NO_END: Instant = Instant(i64::MAX);

const LOST_BYTES: u8 = 0;
const LOST_GROUPS: u8 = 1;

const RESTORE_BEGUN: u8 = 0;
const RESTORE_DONE: u8 = 1;

const FORGET_BEGUN: u8 = 0;
const FORGET_DONE: u8 = 1;

const CONTENT_NONE: u8 = 0;
const CONTENT_INLINE: u8 = 1;
const CONTENT_EXTENTS: u8 = 2;
const CONTENT_UNREAD: u8 = 3;
const CONTENT_THINNED: u8 = 4;

const EXTENT_HOLE: u8 = 0;
const EXTENT_BLOCK: u8 = 1;
const EXTENT_LIST: u8 = 2;

/// Encodes a list of extents: the content of a version, or a block that holds a list.
pub fn put_extents(out: &mut Vec<u8>, extents: &[Extent]) {
    out.put_uint(extents.len() as u64);
    for extent in extents {
        let (tag, id) = match extent {
            Extent::Hole { .. } => (EXTENT_HOLE, None),
            Extent::Block { id, .. } => (EXTENT_BLOCK, Some(id)),
            Extent::List { id, .. } => (EXTENT_LIST, Some(id)),
        };
        // A file can be 8 EiB long, so that length and tag take more than 64 bits.
        out.put_tagged(extent.len(), tag);
        if let Some(id) = id {
            out.put_raw(&id.0);
        }
    }
}

/// Decodes a list of extents.
pub fn take_extents(take: &mut Take<'_>) -> Result<Vec<Extent>> {
    let count = take.count(1)?;
    let mut extents = Vec::with_capacity(count.min(4096));
    for _ in 0..count {
        let (len, tag) = take.tagged()?;
        extents.push(match tag {
            EXTENT_HOLE => Extent::Hole { len },
            EXTENT_BLOCK => Extent::Block {
                len: u32::try_from(len).map_err(|_| Malformed("block extent too long"))?,
                id: BlockId(take.array()?),
            },
            EXTENT_LIST => Extent::List { len, id: BlockId(take.array()?) },
            _ => return Err(Malformed("unknown kind of extent")),
        });
    }
    Ok(extents)
}

/// Encodes a version.
pub fn put_version(out: &mut Vec<u8>, version: &Version) {
    let meta = &version.meta;
    out.put_u8(meta.kind as u8);
    out.put_u8(version.quality as u8 | u8::from(version.racy) << 7);
    out.put_uint(u64::from(meta.mode));
    out.put_uint(u64::from(meta.uid));
    out.put_uint(u64::from(meta.gid));
    out.put_time(meta.mtime);
    out.put_time(meta.ctime);
    out.put_uint(meta.size);
    out.put_uint(meta.ino);
    out.put_uint(meta.rdev);
    out.put_uint(meta.xattrs.len() as u64);
    for (name, value) in &meta.xattrs {
        out.put_bytes(name);
        out.put_bytes(value);
    }
    match &version.content {
        Content::None => out.put_u8(CONTENT_NONE),
        Content::Inline(bytes) => {
            out.put_u8(CONTENT_INLINE);
            out.put_bytes(bytes);
        }
        Content::Extents(extents) => {
            out.put_u8(CONTENT_EXTENTS);
            put_extents(out, extents);
        }
        Content::Unread(errno) => {
            out.put_u8(CONTENT_UNREAD);
            out.put_int(i64::from(*errno));
        }
        Content::Thinned => out.put_u8(CONTENT_THINNED),
    }
}

/// Decodes a version.
pub fn take_version(take: &mut Take<'_>) -> Result<Version> {
    let kind = take_kind(take)?;
    let quality = take.u8()?;
    let mode = take.uint32()?;
    let uid = take.uint32()?;
    let gid = take.uint32()?;
    let mtime = take.time()?;
    let ctime = take.time()?;
    let size = take.uint()?;
    let ino = take.uint()?;
    let rdev = take.uint()?;
    let count = take.count(2)?;
    let mut xattrs = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        xattrs.push((take.bytes()?.to_vec(), take.bytes()?.to_vec()));
    }
    let content = match take.u8()? {
        CONTENT_NONE => Content::None,
        CONTENT_THINNED => Content::Thinned,
        CONTENT_INLINE => Content::Inline(take.bytes()?.to_vec()),
        CONTENT_EXTENTS => Content::Extents(take_extents(take)?),
        CONTENT_UNREAD => {
            let errno = i32::try_from(take.int()?).map_err(|_| Malformed("errno out of range"))?;
            Content::Unread(errno)
        }
        _ => return Err(Malformed("unknown kind of content")),
    };
    Ok(Version {
        meta: Metadata { kind, mode, uid, gid, mtime, ctime, size, ino, rdev, xattrs },
        content,
        quality: Quality::from_byte(quality & 0x7f).ok_or(Malformed("unknown quality"))?,
        racy: quality & 0x80 != 0,
    })
}

/// Encodes a gap.
pub fn put_gap(out: &mut Vec<u8>, gap: &Gap) {
    out.put_u8(gap.reason as u8);
    out.put_bytes(&gap.scope);
    out.put_time(gap.from);
    out.put_time(gap.until);
    out.put_bytes(gap.detail.as_bytes());
}

/// Decodes a gap.
pub fn take_gap(take: &mut Take<'_>) -> Result<Gap> {
    Ok(Gap {
        reason: GapReason::from_byte(take.u8()?).ok_or(Malformed("unknown reason of a gap"))?,
        scope: take.bytes()?.to_vec(),
        from: take.time()?,
        until: take.time()?,
        detail: String::from_utf8_lossy(take.bytes()?).into_owned(),
    })
}

const POLICY_ONE_FILE_SYSTEM: u8 = 1;
const POLICY_CACHEDIR_TAG: u8 = 2;

/// Encodes a policy.
pub fn put_policy(out: &mut Vec<u8>, policy: &Policy) {
    out.put_uint(policy.roots.len() as u64);
    for root in &policy.roots {
        out.put_bytes(&root.path);
        let one_file_system = if root.one_file_system { POLICY_ONE_FILE_SYSTEM } else { 0 };
        let cachedir_tag = if root.cachedir_tag { POLICY_CACHEDIR_TAG } else { 0 };
        out.put_u8(one_file_system | cachedir_tag);
        put_patterns(out, &root.excludes);
    }
    put_patterns(out, &policy.excludes);
    out.put_uint(policy.left_out.len() as u64);
    for LeftOut { path, what } in &policy.left_out {
        out.put_bytes(path);
        out.put_u8(*what as u8);
    }
}

fn put_patterns(out: &mut Vec<u8>, patterns: &[String]) {
    out.put_uint(patterns.len() as u64);
    for pattern in patterns {
        out.put_bytes(pattern.as_bytes());
    }
}

/// Decodes a policy.
pub fn take_policy(take: &mut Take<'_>) -> Result<Policy> {
    let mut policy = Policy::default();
    for _ in 0..take.count(3)? {
        let path = take.bytes()?.to_vec();
        let flags = take.u8()?;
        if flags & !(POLICY_ONE_FILE_SYSTEM | POLICY_CACHEDIR_TAG) != 0 {
            return Err(Malformed("unknown flag of a root"));
        }
        policy.roots.push(RootPolicy {
            path,
            excludes: take_patterns(take)?,
            one_file_system: flags & POLICY_ONE_FILE_SYSTEM != 0,
            cachedir_tag: flags & POLICY_CACHEDIR_TAG != 0,
        });
    }
    policy.excludes = take_patterns(take)?;
    for _ in 0..take.count(2)? {
        let path = take.bytes()?.to_vec();
        let what = Place::from_byte(take.u8()?).ok_or(Malformed("unknown kind of a place left out"))?;
        policy.left_out.push(LeftOut { path, what });
    }
    Ok(policy)
}

fn take_patterns(take: &mut Take<'_>) -> Result<Vec<String>> {
    let count = take.count(1)?;
    let mut patterns = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        let text = std::str::from_utf8(take.bytes()?).map_err(|_| Malformed("a pattern that is no UTF-8"))?;
        patterns.push(text.to_owned());
    }
    Ok(patterns)
}

/// Encodes a loss.
pub fn put_loss(out: &mut Vec<u8>, loss: &Loss) {
    match loss.lost {
        Lost::Bytes { at, len } => {
            out.put_u8(LOST_BYTES);
            out.put_uint(at.segment.0);
            out.put_uint(at.offset);
            out.put_uint(len);
        }
        Lost::Groups { first, last } => {
            out.put_u8(LOST_GROUPS);
            out.put_uint(first.0);
            out.put_uint(last.0);
        }
    }
    out.put_time(loss.noted);
    out.put_bytes(loss.what.as_bytes());
}

/// Decodes a loss.
pub fn take_loss(take: &mut Take<'_>) -> Result<Loss> {
    let lost = match take.u8()? {
        LOST_BYTES => Lost::Bytes {
            at: Position { segment: SegmentId(take.uint()?), offset: take.uint()? },
            len: take.uint()?,
        },
        LOST_GROUPS => Lost::Groups { first: Seq(take.uint()?), last: Seq(take.uint()?) },
        _ => return Err(Malformed("unknown kind of loss")),
    };
    let noted = take.time()?;
    Ok(Loss { lost, noted, what: String::from_utf8_lossy(take.bytes()?).into_owned() })
}

/// Encodes a note about a restore.
pub fn put_restore(out: &mut Vec<u8>, restore: &Restore) {
    match restore {
        Restore::Begun(RestoreBegun { at, paths, exact, undoes }) => {
            out.put_u8(RESTORE_BEGUN);
            out.put_uint(at.0);
            out.put_uint(paths.len() as u64);
            for path in paths {
                out.put_bytes(path);
            }
            out.put_u8(u8::from(*exact));
            // There is no restore at Seq 0: it stands for "none".
            out.put_uint(undoes.unwrap_or_default().0);
        }
        Restore::Done { id, outcome } => {
            out.put_u8(RESTORE_DONE);
            out.put_uint(id.0);
            let RestoreOutcome { created, overwritten, deleted, failed, bytes } = *outcome;
            for count in [created, overwritten, deleted, failed, bytes] {
                out.put_uint(count);
            }
        }
    }
}

/// Decodes a note about a restore.
pub fn take_restore(take: &mut Take<'_>) -> Result<Restore> {
    match take.u8()? {
        RESTORE_BEGUN => {
            let at = Seq(take.uint()?);
            let paths = take_plain_paths(take)?;
            let exact = match take.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed("unknown form of a restore")),
            };
            let undoes = Some(Seq(take.uint()?)).filter(|undoes| *undoes != Seq::ZERO);
            Ok(Restore::Begun(RestoreBegun { at, paths, exact, undoes }))
        }
        RESTORE_DONE => {
            let id = Seq(take.uint()?);
            let outcome = RestoreOutcome {
                created: take.uint()?,
                overwritten: take.uint()?,
                deleted: take.uint()?,
                failed: take.uint()?,
                bytes: take.uint()?,
            };
            Ok(Restore::Done { id, outcome })
        }
        _ => Err(Malformed("unknown note about a restore")),
    }
}

/// Encodes what is held.
pub fn put_held(out: &mut Vec<u8>, held: &Held) {
    match held {
        Held::Path(path) => {
            out.put_u8(HELD_PATH);
            out.put_bytes(path);
        }
        Held::Mark(name) => {
            out.put_u8(HELD_MARK);
            out.put_bytes(name.as_str().as_bytes());
        }
    }
}

/// Decodes what is held.
pub fn take_held(take: &mut Take<'_>) -> Result<Held> {
    match take.u8()? {
        HELD_PATH => {
            let path = take.bytes()?;
            if !is_plain_path(path) {
                return Err(Malformed("not a plain absolute path"));
            }
            Ok(Held::Path(path.to_vec()))
        }
        HELD_MARK => take_mark_name(take).map(Held::Mark),
        _ => Err(Malformed("unknown kind of what is held")),
    }
}

/// Encodes a hold.
pub fn put_hold(out: &mut Vec<u8>, hold: &Hold) {
    put_held(out, &hold.what);
    out.put_time(hold.until.unwrap_or(NO_END));
}

/// Decodes a hold.
pub fn take_hold(take: &mut Take<'_>) -> Result<Hold> {
    Ok(Hold { what: take_held(take)?, until: Some(take.time()?).filter(|until| *until != NO_END) })
}

/// Encodes a note about a forgetting.
pub fn put_forgotten(out: &mut Vec<u8>, forgotten: &Forgotten) {
    match forgotten {
        Forgotten::Begun(ForgetBegun { by, paths, roots, before, names }) => {
            out.put_u8(FORGET_BEGUN);
            out.put_uint(u64::from(*by));
            out.put_uint(*paths);
            // There is nothing before Seq 0: it stands for "none".
            out.put_uint(before.unwrap_or_default().0);
            for list in [roots, names] {
                out.put_uint(list.len() as u64);
                for path in list {
                    out.put_bytes(path);
                }
            }
        }
        Forgotten::Done { id, outcome: ForgetOutcome { bindings, versions, blocks } } => {
            out.put_u8(FORGET_DONE);
            for number in [id.0, *bindings, *versions, *blocks] {
                out.put_uint(number);
            }
        }
    }
}

/// Decodes a note about a forgetting.
pub fn take_forgotten(take: &mut Take<'_>) -> Result<Forgotten> {
    match take.u8()? {
        FORGET_BEGUN => Ok(Forgotten::Begun(ForgetBegun {
            by: take.uint32()?,
            paths: take.uint()?,
            before: Some(Seq(take.uint()?)).filter(|before| *before != Seq::ZERO),
            roots: take_plain_paths(take)?,
            names: take_plain_paths(take)?,
        })),
        FORGET_DONE => Ok(Forgotten::Done {
            id: Seq(take.uint()?),
            outcome: ForgetOutcome { bindings: take.uint()?, versions: take.uint()?, blocks: take.uint()? },
        }),
        _ => Err(Malformed("unknown note about a forgetting")),
    }
}

fn take_plain_paths(take: &mut Take<'_>) -> Result<Vec<Vec<u8>>> {
    let count = take.count(2)?;
    let mut paths = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        let path = take.bytes()?;
        if !is_plain_path(path) {
            return Err(Malformed("not a plain absolute path"));
        }
        paths.push(path.to_vec());
    }
    Ok(paths)
}

fn take_mark_name(take: &mut Take<'_>) -> Result<MarkName> {
    let text =
        std::str::from_utf8(take.bytes()?).map_err(|_| Malformed("a name of an instant that is no UTF-8"))?;
    MarkName::new(text).map_err(|_| Malformed("not a name that an instant can have"))
}

/// Decodes a kind of node.
pub fn take_kind(take: &mut Take<'_>) -> Result<Kind> {
    Kind::from_byte(take.u8()?).ok_or(Malformed("unknown kind of node"))
}

fn put_op(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Bind { dir, name, node, kind, succeeds } => {
            out.put_u8(BIND);
            out.put_uint(dir.0);
            out.put_bytes(name);
            out.put_uint(node.0);
            out.put_u8(*kind as u8);
            // Node 0 is `/` and is never succeeded: it stands for "none".
            out.put_uint(succeeds.unwrap_or_default().0);
        }
        Op::Unbind { dir, name, node, kind, why } => {
            out.put_u8(UNBIND);
            out.put_uint(dir.0);
            out.put_bytes(name);
            out.put_uint(node.0);
            out.put_u8(*kind as u8);
            out.put_u8(*why as u8);
        }
        Op::Version { node, version } => {
            out.put_u8(VERSION);
            out.put_uint(node.0);
            put_version(out, version);
        }
        Op::Identify { node, identity } => {
            out.put_u8(IDENTIFY);
            out.put_uint(node.0);
            out.put_bytes(&identity.filesystem);
            out.put_bytes(&identity.handle);
        }
        Op::Gap(gap) => {
            out.put_u8(GAP);
            put_gap(out, gap);
        }
        Op::Policy(policy) => {
            out.put_u8(POLICY);
            put_policy(out, policy);
        }
        Op::Mark(mark) => {
            out.put_u8(MARK);
            out.put_time(mark.covered_through);
            out.put_u8(mark.cause as u8);
        }
        Op::Loss(loss) => {
            out.put_u8(LOSS);
            put_loss(out, loss);
        }
        Op::Name(name) => {
            out.put_u8(NAME);
            out.put_bytes(name.as_str().as_bytes());
        }
        Op::Restore(restore) => {
            out.put_u8(RESTORE);
            put_restore(out, restore);
        }
        Op::Hold(hold) => {
            out.put_u8(HOLD);
            put_hold(out, hold);
        }
        Op::Release(held) => {
            out.put_u8(RELEASE);
            put_held(out, held);
        }
        Op::Forgotten(forgotten) => {
            out.put_u8(FORGOTTEN);
            put_forgotten(out, forgotten);
        }
    }
}

fn take_op(take: &mut Take<'_>) -> Result<Op> {
    Ok(match take.u8()? {
        BIND => Op::Bind {
            dir: NodeId(take.uint()?),
            name: take_name(take)?,
            node: NodeId(take.uint()?),
            kind: take_kind(take)?,
            succeeds: Some(NodeId(take.uint()?)).filter(|node| *node != NodeId::ROOT),
        },
        UNBIND => Op::Unbind {
            dir: NodeId(take.uint()?),
            name: take_name(take)?,
            node: NodeId(take.uint()?),
            kind: take_kind(take)?,
            why: Unbound::from_byte(take.u8()?).ok_or(Malformed("unknown reason of an unbind"))?,
        },
        VERSION => Op::Version { node: NodeId(take.uint()?), version: take_version(take)? },
        IDENTIFY => Op::Identify {
            node: NodeId(take.uint()?),
            identity: Identity { filesystem: take.bytes()?.to_vec(), handle: take.bytes()?.to_vec() },
        },
        GAP => Op::Gap(take_gap(take)?),
        POLICY => Op::Policy(take_policy(take)?),
        MARK => Op::Mark(Mark {
            covered_through: take.time()?,
            cause: match take.u8()? {
                0 => MarkCause::Idle,
                1 => MarkCause::Sync,
                2 => MarkCause::Reconciled,
                3 => MarkCause::Stopped,
                _ => return Err(Malformed("unknown cause of a mark")),
            },
        }),
        LOSS => Op::Loss(take_loss(take)?),
        NAME => Op::Name(take_mark_name(take)?),
        RESTORE => Op::Restore(take_restore(take)?),
        HOLD => Op::Hold(take_hold(take)?),
        RELEASE => Op::Release(take_held(take)?),
        FORGOTTEN => Op::Forgotten(take_forgotten(take)?),
        _ => return Err(Malformed("unknown operation")),
    })
}

/// A name as the kernel allows it: not empty, no NUL, no slash. Index keys and restores rely on it.
fn take_name(take: &mut Take<'_>) -> Result<Vec<u8>> {
    let name = take.bytes()?;
    if name.is_empty() || name == b"." || name == b".." || name.iter().any(|&b| b == 0 || b == b'/') {
        return Err(Malformed("not a name that a directory can hold"));
    }
    Ok(name.to_vec())
}

/// Encodes a group; times are kept as milliseconds before the batch's wall clock.
pub fn put_group(out: &mut Vec<u8>, group: &Group, wall: Instant) {
    let ago = |time: Option<Instant>| match time {
        // 0 stands for "not known", so everything known is at least 1.
        Some(time) => (wall.0.saturating_sub(time.0) / 1_000_000).max(0) as u64 + 1,
        None => 0,
    };
    out.put_uint(group.ops.len() as u64);
    out.put_uint(ago(group.hinted));
    out.put_uint(ago(group.read));
    for op in &group.ops {
        put_op(out, op);
    }
}

/// Decodes a group.
pub fn take_group(take: &mut Take<'_>, wall: Instant) -> Result<Group> {
    let count = take.count(1)?;
    let mut time = || -> Result<Option<Instant>> {
        let Some(ago) = take.uint()?.checked_sub(1) else { return Ok(None) };
        let ns = i64::try_from(ago).ok().and_then(|ago| ago.checked_mul(1_000_000));
        let time =
            ns.and_then(|ns| wall.0.checked_sub(ns)).ok_or(Malformed("time of a hint out of range"))?;
        Ok(Some(Instant(time)))
    };
    let (hinted, read) = (time()?, time()?);
    let mut ops = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        ops.push(take_op(take)?);
    }
    Ok(Group { ops, hinted, read })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample_version() -> Version {
        Version {
            meta: Metadata {
                kind: Kind::File,
                mode: 0o4755,
                uid: 1000,
                gid: u32::MAX,
                mtime: Instant(-1),
                ctime: Instant(1_700_000_000_123_456_789),
                size: 70_000_000_000,
                ino: u64::MAX,
                rdev: 0,
                xattrs: vec![(b"user.a".to_vec(), vec![0, 255]), (b"user.b".to_vec(), Vec::new())],
            },
            content: Content::Extents(vec![
                Extent::Block { id: BlockId([7; 16]), len: 65_536 },
                Extent::Hole { len: 1 << 40 },
                Extent::List { id: BlockId([9; 16]), len: 1 << 33 },
            ]),
            quality: Quality::Provisional,
            racy: true,
        }
    }

    pub(crate) fn sample_group() -> Group {
        let node = NodeId(42);
        Group {
            ops: vec![
                Op::Unbind {
                    dir: NodeId(1),
                    name: b"old".to_vec(),
                    node,
                    kind: Kind::File,
                    why: Unbound::Moved,
                },
                Op::Bind {
                    dir: NodeId(2),
                    name: vec![0xff, b'\n'],
                    node,
                    kind: Kind::File,
                    succeeds: Some(NodeId(3)),
                },
                Op::Identify { node, identity: Identity { filesystem: vec![1; 17], handle: vec![2; 12] } },
                Op::Version { node, version: sample_version() },
                Op::Gap(Gap {
                    scope: b"/home".to_vec(),
                    from: Instant(5),
                    until: Instant(9),
                    reason: GapReason::AgentDown,
                    detail: "why".into(),
                }),
                Op::Policy(Policy {
                    roots: vec![RootPolicy {
                        path: b"/home/\xff".to_vec(),
                        excludes: vec!["!/keep".into()],
                        one_file_system: true,
                        cachedir_tag: false,
                    }],
                    excludes: vec!["*.o".into(), "target/".into()],
                    left_out: vec![LeftOut { path: b"/home/mnt".to_vec(), what: Place::OtherFilesystem }],
                }),
                Op::Loss(Loss {
                    lost: Lost::Bytes { at: Position { segment: SegmentId(3), offset: 4096 }, len: 800 },
                    noted: Instant(11),
                    what: "checksum".into(),
                }),
                Op::Loss(Loss {
                    lost: Lost::Groups { first: Seq(4), last: Seq(9) },
                    noted: Instant(12),
                    what: String::new(),
                }),
                Op::Restore(Restore::Begun(RestoreBegun {
                    at: Seq(7),
                    paths: vec![b"/".to_vec(), b"/home/\xff".to_vec()],
                    exact: true,
                    undoes: Some(Seq(3)),
                })),
                Op::Restore(Restore::Done {
                    id: Seq(3),
                    outcome: RestoreOutcome {
                        created: 1,
                        overwritten: 2,
                        deleted: 3,
                        failed: 4,
                        bytes: 1 << 40,
                    },
                }),
                Op::Name(MarkName::new("before the m\u{f6}ve").unwrap()),
                Op::Hold(Hold { what: Held::Path(b"/home/\xff".to_vec()), until: None }),
                Op::Hold(Hold {
                    what: Held::Mark(MarkName::new("v1").unwrap()),
                    until: Some(Instant(1_900_000_000_000_000_000)),
                }),
                Op::Release(Held::Path(b"/home/\xff".to_vec())),
                Op::Forgotten(Forgotten::Begun(ForgetBegun {
                    by: 1000,
                    paths: 2,
                    roots: vec![b"/home/\xff".to_vec()],
                    before: Some(Seq(70)),
                    names: vec![b"/home/\xff/key".to_vec()],
                })),
                Op::Forgotten(Forgotten::Done {
                    id: Seq(80),
                    outcome: ForgetOutcome { bindings: 3, versions: 400, blocks: 5 },
                }),
                Op::Mark(Mark { covered_through: Instant(77), cause: MarkCause::Sync }),
            ],
            hinted: Some(Instant(1_000_000_000)),
            read: None,
        }
    }

    #[test]
    fn a_group_with_every_operation_comes_back() {
        let wall = Instant(3_000_000_000);
        let mut bytes = Vec::new();
        put_group(&mut bytes, &sample_group(), wall);
        let mut take = Take::new(&bytes);
        assert_eq!(take_group(&mut take, wall), Ok(sample_group()));
        assert_eq!(take.finish(), Ok(()));
    }

    #[test]
    fn no_prefix_and_no_changed_byte_panics() {
        let wall = Instant(3_000_000_000);
        let mut bytes = Vec::new();
        put_group(&mut bytes, &sample_group(), wall);
        for len in 0..bytes.len() {
            assert!(take_group(&mut Take::new(&bytes[..len]), wall).is_err(), "prefix of {len}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] = value;
                let _ = take_group(&mut Take::new(&bad), wall);
            }
        }
    }

    #[test]
    fn names_of_instants_and_paths_of_restores_that_cannot_be_are_refused() {
        let refused = |tag: u8, body: &[u8]| {
            let bytes = [&[1, 0, 0, tag], body].concat();
            assert!(take_group(&mut Take::new(&bytes), Instant(0)).is_err(), "{}", bytes.escape_ascii());
        };
        for name in [&b""[..], b"a/b", b"a@b", b"a\nb", b" a", b"\xff", &[b'x'; 256]] {
            let mut body = Vec::new();
            body.put_bytes(name);
            refused(NAME, &body);
        }
        for path in [&b""[..], b"a", b"/a/../b", b"/a/", b"/a\0b"] {
            let mut body = vec![RESTORE_BEGUN, 1, 1];
            body.put_bytes(path);
            body.extend([0, 0]);
            refused(RESTORE, &body);
        }
        refused(RESTORE, &[RESTORE_BEGUN, 1, 0, 2, 0]);
        refused(RESTORE, &[2, 1]);
    }

    #[test]
    fn names_that_no_directory_can_hold_are_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
            let group = Group {
                ops: vec![Op::Unbind {
                    dir: NodeId(1),
                    name: name.to_vec(),
                    node: NodeId(2),
                    kind: Kind::File,
                    why: Unbound::Deleted,
                }],
                ..Group::default()
            };
            let mut bytes = Vec::new();
            put_group(&mut bytes, &group, Instant(0));
            assert!(take_group(&mut Take::new(&bytes), Instant(0)).is_err(), "{name:?}");
        }
    }
}
