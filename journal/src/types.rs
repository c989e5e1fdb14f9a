//! The vocabulary of the journal: identifiers, times, names and what a node is.
//!
//! Owns the newtypes that every other module speaks in. Does no I/O and knows no encoding.
//!
//! # Glossary
//!
//! | term | meaning |
//! |---|---|
//! | journal | the directory that holds everything: segments, index, lock, socket |
//! | segment | one append-only file of frames; the truth |
//! | frame | a self-describing record in a segment |
//! | batch | the frame that commits: operations plus a table of the blocks written since the batch before |
//! | group | the operations of one observation; they share a [`Seq`] and become visible together |
//! | block | up to 256 KiB of plain bytes, named by the keyed BLAKE3 of those bytes |
//! | pack | a frame that holds many small blocks compressed as one |
//! | node | a file, directory, symlink or special file with an identity that outlives its name |
//! | binding | the fact that a directory has, from one `Seq` on, an entry (name to node), or no longer has it |
//! | version | what a node was from one `Seq` on: metadata, content, quality |
//! | policy | what is protected from one `Seq` on: roots, and the rules by which something below them is left out |
//! | gap | an interval and a scope that the agent did not see, with the reason |
//! | mark | a `Seq` of its own that says "covered through here"; it has a name where somebody gave it one |
//! | damage, loss | bytes that are not as they were written; what is known to be gone with them |
//! | view | the journal as of one `Seq` |
//! | plan | what a restore will do, computed before anything is written |

mod forgotten;
mod held;
mod loss;
mod named;
mod protected;
mod restored;

use std::fmt;

pub use forgotten::{ForgetBegun, ForgetOutcome, Forgotten};
pub use held::{Held, Hold};
pub use loss::{Loss, Lost};
pub use named::{BadMarkName, MarkName};
pub use protected::{LeftOut, Place, Policy, RootPolicy};
pub use restored::{Restore, RestoreBegun, RestoreOutcome, is_plain_path};

/// Position in the one order of the journal; counts groups, the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first group: the empty journal.
    pub const ZERO: Seq = Seq(0);
    /// After every group there can be.
    pub const MAX: Seq = Seq(u64::MAX);

    /// The position right after this one.
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// The position right before this one; [`Seq::ZERO`] stays.
    pub fn previous(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seq:{}", self.0)
    }
}

/// Identity of a node within one journal; never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The node `/`, which every journal has.
    pub const ROOT: NodeId = NodeId(0);
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node:{}", self.0)
    }
}

/// Number of a segment file; grows with time of creation, the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {:016}", self.0)
    }
}

/// A byte position in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The segment.
    pub segment: SegmentId,
    /// Bytes from the start of its file.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.segment, self.offset)
    }
}

/// Reference to a block: the first 16 bytes of its [`FullId`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub [u8; 16]);

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Keyed BLAKE3 of a block's plain bytes, as it stands beside the body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FullId(pub [u8; 32]);

impl FullId {
    /// The 16 bytes by which everything else refers to the block.
    pub fn short(&self) -> BlockId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.0[..16]);
        BlockId(id)
    }
}

/// A wall clock reading: nanoseconds since 1970 in UTC. An attribute, never an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub i64);

impl Instant {
    /// The same reading in chrono's terms.
    pub fn to_utc(self) -> chrono::DateTime<chrono::Utc> {
        chrono::DateTime::from_timestamp_nanos(self.0)
    }

    /// RFC 3339 in UTC with nanoseconds: the form that scripts get and give back.
    pub fn to_rfc3339(self) -> String {
        self.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
    }
}

/// One reading of the clocks, taken by whoever drives the journal; the journal has no clock of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// `CLOCK_REALTIME`.
    pub wall: Instant,
    /// `CLOCK_BOOTTIME`, in nanoseconds.
    pub boottime_ns: u64,
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
}

/// What sort of thing a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A regular file.
    File = 1,
    /// A directory.
    Dir = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A named pipe.
    Fifo = 4,
    /// A Unix socket; remembered, never restored.
    Socket = 5,
    /// A character device.
    CharDevice = 6,
    /// A block device.
    BlockDevice = 7,
}

impl Kind {
    /// The kind that a byte on disk stands for.
    pub fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::File,
            2 => Kind::Dir,
            3 => Kind::Symlink,
            4 => Kind::Fifo,
            5 => Kind::Socket,
            6 => Kind::CharDevice,
            7 => Kind::BlockDevice,
            _ => return None,
        })
    }

    /// The word that people and JSON get.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Dir => "dir",
            Kind::Symlink => "symlink",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::CharDevice => "char-device",
            Kind::BlockDevice => "block-device",
        }
    }
}

/// What `stat` and `listxattr` said of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What sort of thing it is.
    pub kind: Kind,
    /// Permission bits (`07777`), without the type.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, UTC ns.
    pub mtime: Instant,
    /// Change time, UTC ns; not restored, but it tells whether a node changed since.
    pub ctime: Instant,
    /// Size in bytes (regular files; for a symlink the length of its target).
    pub size: u64,
    /// Inode number when seen; a quick test for sameness, no identity.
    pub ino: u64,
    /// Device number of a device node, 0 otherwise.
    pub rdev: u64,
    /// Extended attributes in name order; POSIX ACLs are among them.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How far a version can be trusted to be one state of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Quality {
    /// Nothing could have written during the read.
    Clean = 0,
    /// A writer may still be active; the file is captured again until clean.
    Provisional = 1,
    /// It kept changing under every try; what is kept is the last try.
    Torn = 2,
}

impl Quality {
    /// The quality that a byte on disk stands for.
    pub fn from_byte(byte: u8) -> Option<Quality> {
        Some(match byte {
            0 => Quality::Clean,
            1 => Quality::Provisional,
            2 => Quality::Torn,
            _ => return None,
        })
    }

    /// The word that people and JSON get.
    pub fn as_str(self) -> &'static str {
        match self {
            Quality::Clean => "clean",
            Quality::Provisional => "provisional",
            Quality::Torn => "torn",
        }
    }
}

/// One extent of a file, in file order; extents follow each other without overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Bytes that read as zero and occupy nothing.
    Hole {
        /// Length in bytes.
        len: u64,
    },
    /// A block of content.
    Block {
        /// The block.
        id: BlockId,
        /// Its plain length in bytes.
        len: u32,
    },
    /// A list of further extents, itself stored as a block.
    List {
        /// The block that holds the encoded list.
        id: BlockId,
        /// How many bytes of the file the list covers.
        len: u64,
    },
}

impl Extent {
    /// How many bytes of the file the extent covers.
    pub fn len(&self) -> u64 {
        match *self {
            Extent::Hole { len } | Extent::List { len, .. } => len,
            Extent::Block { len, .. } => u64::from(len),
        }
    }

    /// Whether the extent covers nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where the bytes of a version are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// There are none: directories, special files.
    None,
    /// The bytes themselves: small files, and the target of a symlink.
    Inline(Vec<u8>),
    /// The top of a tree of extents; a file of one block is a list of one.
    Extents(Vec<Extent>),
    /// The content was not read; the errno says why. A gap stands beside it, but where the file is longer than the
    /// configuration wants to have read (`EFBIG`).
    Unread(i32),
    /// What stood here went by the retention policy, and what came behind it up to the next version: from here on it is not
    /// known what the node was. The metadata is that of the first version that went.
    Thinned,
}

/// What a node was from one `Seq` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Type, mode, owner, times, attributes.
    pub meta: Metadata,
    /// The bytes.
    pub content: Content,
    /// How far they can be trusted.
    pub quality: Quality,
    /// The content may have changed under the same change time: that was close to the read, or it is from a look at the
    /// attributes alone. Read again where a hint names it, and at a restart.
    pub racy: bool,
}

/// Identity of a node on disk: a filesystem and a handle that it never gives out twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The filesystem (its uuid where there is one, on btrfs with the subvolume).
    pub filesystem: Vec<u8>,
    /// The file handle, or inode number and birth time where the filesystem has no handles.
    pub handle: Vec<u8>,
}

/// Why an interval went unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GapReason {
    /// The agent was not running.
    AgentDown = 1,
    /// The kernel's event queue overflowed.
    QueueOverflow = 2,
    /// A directory could not be watched.
    Unwatched = 3,
    /// A file or directory could not be read.
    Unreadable = 4,
    /// A root was not there.
    RootMissing = 5,
    /// The watcher did not answer in time.
    WatcherStalled = 6,
    /// A file vanished before it could be read.
    VanishedUnread = 7,
    /// The first reconcile had not reached everything yet.
    Starting = 8,
    /// The filesystem was not mounted, or another one was mounted over it.
    Unmounted = 9,
    /// The journal had no room: its filesystem was full, or it had reached the size that it may have.
    JournalFull = 10,
    /// It was seen, and what the journal had of it is damaged or gone.
    Damaged = 11,
}

impl GapReason {
    /// The reason that a byte on disk stands for.
    pub fn from_byte(byte: u8) -> Option<GapReason> {
        Some(match byte {
            1 => GapReason::AgentDown,
            2 => GapReason::QueueOverflow,
            3 => GapReason::Unwatched,
            4 => GapReason::Unreadable,
            5 => GapReason::RootMissing,
            6 => GapReason::WatcherStalled,
            7 => GapReason::VanishedUnread,
            8 => GapReason::Starting,
            9 => GapReason::Unmounted,
            10 => GapReason::JournalFull,
            11 => GapReason::Damaged,
            _ => return None,
        })
    }

    /// The words that people and JSON get.
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::AgentDown => "agent not running",
            GapReason::QueueOverflow => "event queue overflowed",
            GapReason::Unwatched => "directory could not be watched",
            GapReason::Unreadable => "could not be read",
            GapReason::RootMissing => "root was missing",
            GapReason::WatcherStalled => "watcher did not answer in time",
            GapReason::VanishedUnread => "vanished before it could be read",
            GapReason::Starting => "first capture was under way",
            GapReason::Unmounted => "its filesystem was not mounted there",
            GapReason::JournalFull => "the journal had no room",
            GapReason::Damaged => "the journal is damaged",
        }
    }
}

/// An interval that the agent did not see, or could not read, and what it concerns.
///
/// A gap that lasts is recorded when it begins, as open; one of the same scope, beginning and reason takes its place
/// when it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Absolute path that it concerns, with everything below.
    pub scope: Vec<u8>,
    /// From when on changes may have gone unseen.
    pub from: Instant,
    /// Until when; [`Gap::OPEN`] while it lasts.
    pub until: Instant,
    /// Why.
    pub reason: GapReason,
    /// What the system said, for people; may be empty.
    pub detail: String,
}

impl Gap {
    /// The end of a gap that is not over.
    pub const OPEN: Instant = Instant(i64::MAX);

    /// Whether it was not over when it was recorded.
    pub fn is_open(&self) -> bool {
        self.until == Gap::OPEN
    }

    /// Whether it takes the place of another one: it is the same gap, and more is known of its end.
    pub fn supersedes(&self, other: &Gap) -> bool {
        (&self.scope, self.from, self.reason) == (&other.scope, other.from, other.reason)
    }
}

/// One elementary statement about the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The directory has the entry from now on; an earlier one of that name is replaced.
    Bind {
        /// The directory.
        dir: NodeId,
        /// The entry's name.
        name: Vec<u8>,
        /// What it names.
        node: NodeId,
        /// The node's kind.
        kind: Kind,
        /// The node that this one continues for people: the one last bound here (atomic save).
        succeeds: Option<NodeId>,
    },
    /// The directory no longer has the entry.
    Unbind {
        /// The directory.
        dir: NodeId,
        /// The entry's name.
        name: Vec<u8>,
        /// What it named until now.
        node: NodeId,
        /// The node's kind.
        kind: Kind,
        /// Why it is gone.
        why: Unbound,
    },
    /// The node is this from now on.
    Version {
        /// The node.
        node: NodeId,
        /// What it is.
        version: Version,
    },
    /// The node is found on disk under this identity.
    Identify {
        /// The node.
        node: NodeId,
        /// Its identity.
        identity: Identity,
    },
    /// Something went unseen.
    Gap(Gap),
    /// What is protected changed.
    Policy(Policy),
    /// Everything up to here is covered.
    Mark(Mark),
    /// Something in the journal is damaged or gone.
    Loss(Loss),
    /// Somebody named the instant of this group.
    Name(MarkName),
    /// A restore into the live tree begins or has ended.
    Restore(Restore),
    /// Something is held from now on: whatever the policy says, it stays.
    Hold(Hold),
    /// It is not any more.
    Release(Held),
    /// Somebody has something taken out of all history.
    Forgotten(Forgotten),
}

/// Why an entry is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Unbound {
    /// It was deleted, or left the protected tree.
    Deleted = 0,
    /// The same group binds the node elsewhere.
    Moved = 1,
    /// It may be there still, but is no longer protected.
    Uncovered = 2,
    /// It was deleted or replaced before what it held last was read. The name need not have been bound: then it came
    /// and went unread, and the node has no version of it.
    Unread = 3,
    /// What came next went by the retention policy: from here to the next record it is not known what the name stood for.
    Thinned = 4,
}

impl Unbound {
    /// The reason that a byte on disk stands for.
    pub fn from_byte(byte: u8) -> Option<Unbound> {
        Some(match byte {
            0 => Unbound::Deleted,
            1 => Unbound::Moved,
            2 => Unbound::Uncovered,
            3 => Unbound::Unread,
            4 => Unbound::Thinned,
            _ => return None,
        })
    }
}

/// Says that idle time is no gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Every change made before this instant is in the journal.
    pub covered_through: Instant,
    /// What the mark was written for.
    pub cause: MarkCause,
}

/// What a mark was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MarkCause {
    /// The agent was idle for a while.
    Idle = 0,
    /// A `sync` asked for it.
    Sync = 1,
    /// A reconcile was completed.
    Reconciled = 2,
    /// The agent stopped in good order.
    Stopped = 3,
}

/// The operations of one observation.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Group {
    /// What was observed, in order.
    pub ops: Vec<Op>,
    /// When the first hint of it came, where there was one.
    pub hinted: Option<Instant>,
    /// When it was read.
    pub read: Option<Instant>,
}
