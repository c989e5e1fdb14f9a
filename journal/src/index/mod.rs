//! The index: what the segments say, arranged so that it can be found. Derived; carries nothing of its own.
//!
//! Nobody outside this folder names RocksDB. [`apply`] turns a batch into entries, purely; the same entries go into
//! RocksDB, into the overlay of what RocksDB does not have yet, and through sorted files into a rebuilt index.

pub mod apply;
pub mod db;
pub mod keys;
pub mod mem;
pub mod rebuild;
pub mod store;

/// The column families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Cf {
    /// Block id to the place where the block lies.
    Block,
    /// Directory, name and `Seq` to the node that the name stood for from then on.
    Binding,
    /// Name and directory: that the directory has had an entry of that name.
    Filename,
    /// Node and `Seq` to what the node was from then on.
    Version,
    /// Node and `Seq` to a name that it got or lost then.
    Link,
    /// Last `Seq` of a batch to the place where the batch lies.
    Event,
    /// Clock epoch and wall clock to the last `Seq` committed then.
    Clock,
    /// Identity on disk to node.
    Identity,
    /// `Seq` to a gap that was recorded then.
    Gap,
    /// `Seq` to the policy from then on.
    Policy,
    /// `Seq` to a loss that was noted then.
    Loss,
    /// Name and `Seq` of an instant that somebody named.
    Named,
    /// `Seq` to what was noted of a restore then.
    Restore,
    /// `Seq` to what was held or released then.
    Hold,
    /// `Seq` to what was noted of a forgetting then.
    Forgotten,
    /// How far the index has come.
    Meta,
}

impl Cf {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Cf; 16] = [
        Cf::Block,
        Cf::Binding,
        Cf::Filename,
        Cf::Version,
        Cf::Link,
        Cf::Event,
        Cf::Clock,
        Cf::Identity,
        Cf::Gap,
        Cf::Policy,
        Cf::Loss,
        Cf::Named,
        Cf::Restore,
        Cf::Hold,
        Cf::Forgotten,
        Cf::Meta,
    ];

    /// The column family's name in RocksDB.
    pub fn name(self) -> &'static str {
        match self {
            Cf::Block => "block",
            Cf::Binding => "binding",
            Cf::Filename => "filename",
            Cf::Version => "version",
            Cf::Link => "link",
            Cf::Event => "event",
            Cf::Clock => "clock",
            Cf::Identity => "identity",
            Cf::Gap => "gap",
            Cf::Policy => "policy",
            Cf::Loss => "loss",
            Cf::Named => "named",
            Cf::Restore => "restore",
            Cf::Hold => "hold",
            Cf::Forgotten => "forgotten",
            Cf::Meta => "meta",
        }
    }
}

/// One entry of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The column family.
    pub cf: Cf,
    /// The key; see [`keys`].
    pub key: Vec<u8>,
    /// The value; see [`keys`].
    pub value: Vec<u8>,
}
