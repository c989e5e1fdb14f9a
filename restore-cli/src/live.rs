//! What is on disk at a place now, and whether the journal holds it.
//!
//! Looks through directory descriptors, follows no symlink, opens nothing but regular files, and changes nothing. Reads
//! content only where size and times leave a doubt.

use std::os::fd::BorrowedFd;

use asof_journal::types::{Content, Extent, Instant, Kind, Metadata, Quality, Version};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::content::unread;
use crate::source::Source;

/// How content is opened to be compared: a fifo in its place does not hold us up.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
/// How much is read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// What was at a place when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Device and inode number.
    pub(crate) inode: (u64, u64),
    /// What sort of thing it is.
    pub(crate) kind: Kind,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Names that it has.
    pub(crate) names: u64,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Modification time.
    pub(crate) mtime: Instant,
    /// Change time.
    pub(crate) ctime: Instant,
}

impl Seen {
    /// Looks at an entry of a directory; `None` where there is none.
    pub(crate) fn look(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Seen>, Errno> {
        match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Seen::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// What `stat` says.
    pub(crate) fn of(stat: &Stat) -> Seen {
        Seen {
            inode: (stat.st_dev, stat.st_ino),
            kind: kind_of(stat),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            names: stat.st_nlink,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime: instant(stat.st_mtime, stat.st_mtime_nsec),
            ctime: instant(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether nothing has happened to it since. The change time of what has several names tells nothing: it moves
    /// with each name that comes or goes.
    pub(crate) fn is_untouched(&self, now: &Seen) -> bool {
        self.is_unwritten(now) && (self.names > 1 || self.ctime == now.ctime)
    }

    /// The same for what has been renamed meanwhile, which moves the change time.
    pub(crate) fn is_unwritten(&self, now: &Seen) -> bool {
        (self.inode, self.kind, self.size, self.mtime) == (now.inode, now.kind, now.size, now.mtime)
    }

    /// Whether permissions, owner, modification time and attributes are those of `wanted`. `held` is what the journal
    /// knows to be there, attributes among it.
    pub(crate) fn has_metadata(&self, wanted: &Metadata, held: Option<&Metadata>) -> bool {
        let is_mode = wanted.kind == Kind::Symlink || self.mode == wanted.mode & 0o7777;
        let is_owner = (self.uid, self.gid) == (wanted.uid, wanted.gid);
        is_mode
            && is_owner
            && self.mtime == wanted.mtime
            && held.is_none_or(|held| held.xattrs == wanted.xattrs)
    }
}

fn instant(seconds: i64, ns: impl TryInto<i64>) -> Instant {
    Instant(seconds.saturating_mul(1_000_000_000).saturating_add(ns.try_into().unwrap_or_default()))
}

fn kind_of(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        _ => Kind::File,
    }
}

/// Whether what lies at a place can be had back from the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The journal holds exactly this.
    Yes,
    /// It does not; this is why.
    No(String),
}

/// Whether the journal holds what was seen at a place, as the version that it has there.
///
/// Size, times and inode number decide where the version can be trusted; where they cannot, its content is compared
/// byte by byte.
pub(crate) fn held(
    source: &dyn Source,
    dir: BorrowedFd<'_>,
    name: &[u8],
    seen: &Seen,
    version: &Version,
) -> asof_journal::Result<Held> {
    let meta = &version.meta;
    if seen.kind != meta.kind {
        let (now, known) = (seen.kind.as_str(), meta.kind.as_str());
        return Ok(Held::No(format!(
            "it is a {now} now, which the journal does not hold: it has a {known} there"
        )));
    }
    if let Content::Unread(errno) = version.content {
        return Ok(Held::No(format!("the journal does not hold what is there now: {}", unread(errno))));
    }
    let is_held = match seen.kind {
        Kind::Dir => true,
        Kind::Socket => return Ok(Held::No("it is a socket, which nothing brings back".into())),
        Kind::File => {
            let looks_same = (seen.size, seen.mtime, seen.ctime, seen.inode.1)
                == (meta.size, meta.mtime, meta.ctime, meta.ino);
            let is_sure = looks_same && version.quality == Quality::Clean && !version.racy;
            match is_sure {
                true => is_stored(source, version)?,
                false => has_content(source, dir, name, version)?,
            }
        }
        Kind::Symlink => {
            let target = fs::readlinkat(dir, name, Vec::new()).unwrap_or_default();
            matches!(&version.content, Content::Inline(known) if *known == target.to_bytes())
        }
        Kind::Fifo => true,
        Kind::CharDevice | Kind::BlockDevice => {
            let rdev = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_rdev);
            rdev == Ok(meta.rdev)
        }
    };
    Ok(match is_held {
        true => Held::Yes,
        false => Held::No("what is there now is not in the journal: it changed since it was captured".into()),
    })
}

/// Whether every block of a version can be found.
fn is_stored(source: &dyn Source, version: &Version) -> asof_journal::Result<bool> {
    if version.meta.size > 0 && version.content == Content::None {
        return Ok(false);
    }
    for extent in source.extents(version)? {
        if let Extent::Block { id, .. } = extent
            && source.locality(id)?.is_none()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a file has exactly the bytes of a version, and was not written to while it was read.
pub(crate) fn has_content(
    source: &dyn Source,
    dir: BorrowedFd<'_>,
    name: &[u8],
    version: &Version,
) -> asof_journal::Result<bool> {
    let Ok(file) = fs::openat(dir, name, READ, Mode::empty()) else { return Ok(false) };
    let Ok(before) = fs::fstat(&file).map(|stat| Seen::of(&stat)) else { return Ok(false) };
    if before.kind != Kind::File || before.size != version.meta.size {
        return Ok(false);
    }
    let mut compared = Compared { file: &file, at: 0, buffer: Vec::new() };
    let is_same = match &version.content {
        Content::None => true,
        Content::Inline(bytes) => compared.has(bytes),
        Content::Unread(_) | Content::Thinned => false,
        Content::Extents(_) => {
            let mut is_same = true;
            for extent in source.extents(version)? {
                is_same = match extent {
                    Extent::Hole { len } => compared.has_zeros(len),
                    Extent::Block { id, .. } | Extent::List { id, .. } => compared.has(&source.block(id)?),
                };
                if !is_same || crate::interrupt::requested() {
                    return Ok(false);
                }
            }
            is_same
        }
    };
    let is_whole = compared.at == before.size;
    let after = fs::fstat(&file).map(|stat| Seen::of(&stat));
    Ok(is_same
        && is_whole
        && after.is_ok_and(|after| before.is_unwritten(&after) && before.ctime == after.ctime))
}

/// A file that is compared from its beginning on.
struct Compared<'f> {
    file: &'f std::os::fd::OwnedFd,
    at: u64,
    buffer: Vec<u8>,
}

impl Compared<'_> {
    fn has(&mut self, expected: &[u8]) -> bool {
        expected.chunks(PIECE_BYTES).all(|piece| self.next(piece.len()).is_some_and(|found| found == piece))
    }

    fn has_zeros(&mut self, mut len: u64) -> bool {
        while len > 0 {
            let piece = usize::try_from(len).map_or(PIECE_BYTES, |len| len.min(PIECE_BYTES));
            if !self.next(piece).is_some_and(|found| found.iter().all(|&byte| byte == 0)) {
                return false;
            }
            len -= piece as u64;
        }
        true
    }

    /// The next so many bytes; `None` where there are fewer, or they cannot be read.
    fn next(&mut self, len: usize) -> Option<&[u8]> {
        self.buffer.resize(len, 0);
        let mut filled = 0;
        while filled < len {
            let into = self.buffer.get_mut(filled..)?;
            match rustix::io::pread(self.file, into, self.at + filled as u64) {
                Ok(0) => return None,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        self.at += len as u64;
        self.buffer.get(..len)
    }
}
