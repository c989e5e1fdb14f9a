//! What the dirty map hands out: a path, what hints said of it, and how much of it is to be compared.

use std::sync::Arc;

/// What hints said of a path, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u16);

impl Marks {
    /// A file or other non-directory appeared.
    pub(crate) const APPEARED: Marks = Marks(1);
    /// A directory appeared.
    pub(crate) const APPEARED_DIR: Marks = Marks(1 << 1);
    /// Something was renamed to it.
    pub(crate) const MOVED_TO: Marks = Marks(1 << 2);
    /// Something was renamed away from it.
    pub(crate) const MOVED_FROM: Marks = Marks(1 << 3);
    /// It was deleted.
    pub(crate) const GONE: Marks = Marks(1 << 4);
    /// It was written to.
    pub(crate) const WRITTEN: Marks = Marks(1 << 5);
    /// A writer closed it.
    pub(crate) const CLOSED: Marks = Marks(1 << 6);
    /// Its metadata changed.
    pub(crate) const ATTRIBUTES: Marks = Marks(1 << 7);
    /// No hint: its newest version is not clean, and it is time to look again.
    pub(crate) const REREAD: Marks = Marks(1 << 8);
    /// Something is or was there that was not read since.
    pub(crate) const UNREAD: Marks = Marks(1 << 9);
    /// That was deleted, or something else took its name.
    pub(crate) const LOST: Marks = Marks(1 << 10);
    /// It was not there any more when it was looked at; why, the next hint will say.
    pub(crate) const MISSED: Marks = Marks(1 << 11);

    /// What says that content was written.
    pub(crate) const CONTENT: Marks = Marks::WRITTEN.with(Marks::CLOSED);
    /// What brings a directory with things in it already.
    pub(crate) const ARRIVED: Marks = Marks::APPEARED_DIR.with(Marks::MOVED_TO);

    /// Whether one of the given marks is set.
    pub(crate) fn any(self, of: Marks) -> bool {
        self.0 & of.0 != 0
    }

    /// These and what is said next. Order matters for what was there and not read: deleted, it is lost; renamed away, it is
    /// read elsewhere.
    pub(crate) fn then(self, next: Marks) -> Marks {
        let arriving = Marks::APPEARED.with(Marks::APPEARED_DIR).with(Marks::MOVED_TO);
        let mut all = self.with(next);
        if next == Marks::MISSED {
            // It was missed before any of these came.
            return match () {
                () if self.any(Marks::GONE) => all.with(Marks::LOST),
                () if self.any(Marks::MOVED_FROM) => self,
                () => all.with(Marks::UNREAD),
            };
        }
        let ends = next.any(Marks::GONE.with(Marks::MOVED_TO));
        if ends && self.any(Marks::UNREAD) {
            all = all.with(Marks::LOST);
        }
        if next.any(Marks::GONE.with(Marks::MOVED_FROM)) {
            all = Marks(all.0 & !Marks::UNREAD.0);
        }
        if next.any(arriving.with(Marks::WRITTEN)) {
            all = all.with(Marks::UNREAD);
        }
        all
    }

    /// Whether a hint is among them: somebody did something.
    pub(crate) fn are_hinted(self) -> bool {
        let unhinted = Marks::REREAD.with(Marks::MISSED).with(Marks::UNREAD).with(Marks::LOST);
        self.0 & !unhinted.0 != 0
    }

    /// Whether there are none: then only a scan is asked for.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of them that are among the given ones.
    pub(crate) fn only(self, of: Marks) -> Marks {
        Marks(self.0 & of.0)
    }

    /// Both together.
    pub(crate) const fn with(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

/// How much of a directory is to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scan {
    /// Only the path itself is to be looked at.
    No,
    /// Its entries, one level; and everything below those that [`Work::arrivals`] names.
    Entries,
    /// Everything below it.
    Recursive,
}

/// An entry of a scanned directory that was renamed in, or is a new directory: it has to be looked at with all that
/// is below it, even if it seems unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Its absolute path.
    pub path: Arc<[u8]>,
    /// From where it was renamed, when that is known.
    pub from: Option<Vec<u8>>,
    /// Whether it was renamed or made, and whether content is to be read: [`Marks::ARRIVED`] and [`Marks::CONTENT`] at
    /// most.
    pub marks: Marks,
}

/// Names a piece of work until it is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkId(pub(super) u64);

/// Something that is due to be looked at.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// What [`super::Settle::release`] takes.
    pub id: WorkId,
    /// Absolute path.
    pub path: Arc<[u8]>,
    /// What hints said of the path itself.
    pub marks: Marks,
    /// From where it was last renamed, when that is known.
    pub from: Option<Vec<u8>>,
    /// What is to be compared besides the path itself.
    pub scan: Scan,
    /// Deletions of its entries that are not hinted one by one any more.
    pub deletions: u64,
    /// Entries below it that need more than a comparison; empty where the scan is recursive.
    pub arrivals: Vec<Arrival>,
    /// Number of the oldest hint that this covers.
    pub first_no: u64,
    /// When that came.
    pub first_ns: u64,
    /// Number of the newest hint that this covers.
    #[cfg_attr(not(test), expect(dead_code, reason = "the model test holds the map to it"))]
    pub last_no: u64,
}

impl Work {
    /// What comes first within one call: new names, then content, then old names.
    pub(super) fn class(&self) -> u8 {
        let leaving = Marks::GONE.with(Marks::MOVED_FROM).with(Marks::LOST);
        let staying = Marks(!leaving.0);
        match () {
            () if self.marks.any(Marks::MOVED_TO) || !self.arrivals.is_empty() => 0,
            () if self.marks.any(staying) || self.scan != Scan::No => 1,
            () => 2,
        }
    }
}
