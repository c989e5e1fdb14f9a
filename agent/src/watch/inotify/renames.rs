//! Renames as the queue tells them: one name's event, the other name's, and the directory's own.
//!
//! Pure. Owns what was told of a rename until the rest of it comes.
//!
//! The kernel queues the events of one rename while it holds both directories: no other name in them comes or goes
//! between `MOVED_FROM`, `MOVED_TO` and the moved directory's own `MOVE_SELF`. Events of other directories may. The own
//! event is the only one that says which watch moved: the names alone do not tell the two halves of an exchange apart,
//! and a name in a queue that is read late may have changed hands.

use std::collections::VecDeque;

use super::tree::Wd;

/// Renames under way at one time: as many as processors at most; those of files that left, and of directories that
/// nobody watches, have no end and go when newer ones need the room.
const RENAMES_MAX: usize = 64;

/// A name in a watched directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub parent: Wd,
    pub name: Box<[u8]>,
}

impl Place {
    pub(super) fn new(parent: Wd, name: &[u8]) -> Place {
        Place { parent, name: name.into() }
    }
}

/// What the own event of a directory means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SelfMoved {
    /// It went to this place.
    To(Place),
    /// It left all that is watched.
    Away,
    /// It is known to be where it went already, or that is told by later events.
    Known,
}

#[derive(Debug)]
struct Rename {
    cookie: u32,
    /// Absolute path of the old name, for the hint of the new one; none where that is left out.
    from_path: Option<Vec<u8>>,
    dir: bool,
    from: Place,
    to: Option<Place>,
}

/// Renames of which not everything was told yet, the newest last.
#[derive(Debug, Default)]
pub(super) struct Renames {
    waiting: VecDeque<Rename>,
}

impl Renames {
    /// A name was left.
    pub(super) fn from(&mut self, cookie: u32, dir: bool, from: Place, from_path: Option<Vec<u8>>) {
        if dir {
            self.forget(&from);
        }
        if self.waiting.len() >= RENAMES_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Rename { cookie, from_path, dir, from, to: None });
    }

    /// A name was taken; gives the path of the old one, where that was watched and is not left out.
    pub(super) fn to(&mut self, cookie: u32, dir: bool, to: Place) -> Option<Vec<u8>> {
        if dir {
            self.waiting.retain(|rename| {
                rename.cookie == cookie || !(rename.from == to || rename.to.as_ref() == Some(&to))
            });
        }
        let at = self.waiting.iter().rposition(|rename| rename.cookie == cookie)?;
        if dir {
            let rename = self.waiting.get_mut(at)?;
            rename.to = Some(to);
            return rename.from_path.clone();
        }
        self.waiting.remove(at)?.from_path
    }

    /// A directory that is at `place`, as far as is known, says that it moved.
    pub(super) fn moved(&mut self, place: &Place) -> SelfMoved {
        let about = |rename: &Rename| {
            rename.dir && (rename.from == *place || rename.to.as_ref().is_some_and(|to| to == place))
        };
        let Some(rename) = self.waiting.iter().rposition(about).and_then(|at| self.waiting.remove(at)) else {
            return SelfMoved::Known;
        };
        match rename.to {
            Some(to) if to == *place => SelfMoved::Known,
            Some(to) => SelfMoved::To(to),
            None => SelfMoved::Away,
        }
    }

    /// A name was given to a new directory, or taken from one: what renames said of it is over.
    pub(super) fn forget(&mut self, place: &Place) {
        self.waiting
            .retain(|rename| !(rename.dir && (rename.from == *place || rename.to.as_ref() == Some(place))));
    }

    /// Events were lost.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place::new(1, name.as_bytes())
    }

    #[test]
    fn the_two_halves_of_an_exchange_are_told_apart() {
        let mut renames = Renames::default();
        renames.from(7, true, place("a"), Some(b"/r/a".to_vec()));
        assert_eq!(renames.to(7, true, place("b")), Some(b"/r/a".to_vec()));
        assert_eq!(renames.moved(&place("a")), SelfMoved::To(place("b")));
        renames.from(8, true, place("b"), Some(b"/r/b".to_vec()));
        assert_eq!(renames.to(8, true, place("a")), Some(b"/r/b".to_vec()));
        assert_eq!(renames.moved(&place("b")), SelfMoved::To(place("a")));
        // Found at its new place before its own event came: there is nothing left to do.
        renames.from(9, true, place("a"), None);
        assert_eq!(renames.to(9, true, place("b")), None);
        assert_eq!(renames.moved(&place("b")), SelfMoved::Known);
        assert_eq!(renames.moved(&place("b")), SelfMoved::Known, "it is told once");
    }

    #[test]
    fn who_leaves_without_arriving_is_away() {
        let mut renames = Renames::default();
        renames.from(1, true, place("a"), None);
        assert_eq!(renames.moved(&place("a")), SelfMoved::Away);
        assert_eq!(renames.moved(&place("a")), SelfMoved::Known);
        // What left before a new directory got the name says nothing of that one.
        renames.from(2, true, place("a"), None);
        renames.forget(&place("a"));
        assert_eq!(renames.moved(&place("a")), SelfMoved::Known);
    }

    #[test]
    fn renames_without_an_end_are_bounded() {
        let mut renames = Renames::default();
        for cookie in 0..1000 {
            renames.from(cookie, false, place(&cookie.to_string()), None);
        }
        assert_eq!(renames.waiting.len(), RENAMES_MAX);
        assert_eq!(renames.to(999, false, place("z")), None);
        assert_eq!(renames.waiting.len(), RENAMES_MAX - 1);
    }
}
