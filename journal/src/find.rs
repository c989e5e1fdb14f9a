//! Looking for names: which directories ever had an entry of a name, and what became of each by a given time.
//!
//! Owns the way over the index of names. Knows no pattern: whoever looks says which names are wanted.

use std::collections::HashMap;

use crate::error::Result;
use crate::index::Cf;
use crate::index::keys::{self, Bound};
use crate::reader::Reader;
use crate::types::{NodeId, Seq, Unbound};
use crate::view::Entry;

/// How often an entry may have been there and gone before the search for the last time gives up.
const ENDS_MAX: usize = 10_000;
/// Paths of directories that are remembered while one search goes on.
const PATHS_MAX: usize = 100_000;

/// Which names are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names<'n> {
    /// This one.
    Exactly(&'n [u8]),
    /// Those that begin so.
    From(&'n [u8]),
}

/// Takes a name and a directory that had it; `false` ends the visit.
pub type Visitor<'v, E> = &'v mut dyn FnMut(&[u8], NodeId) -> std::result::Result<bool, E>;

/// Visits the names that were ever bound, in byte order, each with every directory that had it.
///
/// # Errors
/// `Index`, and those of the visitor.
pub fn names<E: From<crate::error::Error>>(
    reader: &Reader,
    wanted: Names<'_>,
    visit: Visitor<'_, E>,
) -> std::result::Result<(), E> {
    let records = reader.records();
    let damage = records.index_damage(Cf::Filename);
    let prefix = match wanted {
        Names::Exactly(name) => keys::filename_name(name),
        Names::From(front) => front.to_vec(),
    };
    let mut scan = records.store.scan(Cf::Filename, &prefix)?;
    while let Some((key, _)) = scan.item() {
        let (name, dir) = keys::parse_filename(key).map_err(&damage)?;
        if !visit(name, dir)? {
            break;
        }
        scan.advance()?;
    }
    Ok(())
}

/// When an entry was there last, up to a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The entry as it was then.
    pub entry: Entry,
    /// Its absolute path then.
    pub path: Vec<u8>,
    /// The last `Seq` at which it was there, up to the time of the search.
    pub last: Seq,
    /// Why it was gone right behind that; `None` where it was there to the end.
    pub gone: Option<Gone>,
}

/// Why an entry is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Its name was taken from it.
    Unbound(Unbound),
    /// A directory above it has no name: it was taken from it, or the way leads there by now.
    WithDirectory(Unbound),
}

/// Tells what became of entries by one time.
pub struct Search<'r> {
    reader: &'r Reader,
    seq: Seq,
    paths: HashMap<(NodeId, Seq), Reach>,
}

/// How a directory can be reached at a `Seq`.
#[derive(Clone, Debug)]
enum Reach {
    /// Under this path.
    Path(Vec<u8>),
    /// Not since this `Seq`: something on the way lost its name then, or moved below what had lost its own.
    Ended(Seq, Unbound),
    /// It never could.
    Never,
}

impl<'r> Search<'r> {
    /// A search as of a `Seq`.
    pub fn new(reader: &'r Reader, seq: Seq) -> Search<'r> {
        Search { reader, seq, paths: HashMap::new() }
    }

    /// When the entry was there last; `None` where it never was up to then.
    ///
    /// # Errors
    /// `Index`.
    pub fn last_seen(&mut self, dir: NodeId, name: &[u8]) -> Result<Option<Sighting>> {
        let (mut at, mut gone) = (self.seq, None);
        for _ in 0..ENDS_MAX {
            let end = match self.reader.view(at).binding(dir, name)? {
                None => return Ok(None),
                Some((seq, Bound::Gone { why, .. })) => {
                    gone = gone.or(Some(Gone::Unbound(why)));
                    seq
                }
                Some((since, Bound::To { node, kind, .. })) => match self.reach(dir, at)? {
                    Reach::Path(path) => {
                        let path = if path == b"/" {
                            [b"/", name].concat()
                        } else {
                            [&path, b"/".as_slice(), name].concat()
                        };
                        let entry = Entry { dir, name: name.to_vec(), node, kind, since };
                        return Ok(Some(Sighting { entry, path, last: at, gone }));
                    }
                    Reach::Ended(seq, why) => {
                        gone = gone.or(Some(Gone::WithDirectory(why)));
                        seq
                    }
                    Reach::Never => return Ok(None),
                },
            };
            // Always further back: what ended, ended at `at` or before.
            at = end.min(at).previous();
        }
        Ok(None)
    }

    fn reach(&mut self, dir: NodeId, at: Seq) -> Result<Reach> {
        if let Some(known) = self.paths.get(&(dir, at)) {
            return Ok(known.clone());
        }
        let view = self.reader.view(at);
        let found = match view.path_of(dir)? {
            Some(path) => Reach::Path(path),
            None => view.way_lost(dir)?.map_or(Reach::Never, |(seq, why)| Reach::Ended(seq, why)),
        };
        if self.paths.len() >= PATHS_MAX {
            self.paths.clear();
        }
        self.paths.insert((dir, at), found.clone());
        Ok(found)
    }
}
