//! The terms on which a record stays or goes: its ladder, and whether a path of it is held.
//!
//! Paths are looked up only where something hangs on them: with one ladder and nothing held, none is.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::error::Result;
use crate::index::Cf;
use crate::index::keys::{self, Linked};
use crate::records::Records;
use crate::retention::policy::is_held;
use crate::retention::{Keeper, LadderId, Policy};
use crate::types::NodeId;
use crate::view::is_below;

/// A directory that had more paths than this is taken for one that may have had any.
const PATHS_MAX: usize = 64;
/// No path has more components.
const DEPTH_MAX: usize = 2048;
/// Directories whose paths are remembered; with more, all are looked up again.
const DIRS_MAX: usize = 65_536;

/// On which terms records stay.
pub struct Terms<'t> {
    /// The instants that stay answerable.
    pub keeper: &'t Keeper,
    policy: &'t Policy,
    holds: &'t [Vec<u8>],
    /// All paths that a directory ever had; `None` where they are too many.
    paths: HashMap<NodeId, Option<Rc<Vec<Vec<u8>>>>>,
}

impl<'t> Terms<'t> {
    /// The terms of a policy, and of paths that are held with everything below them.
    pub fn new(keeper: &'t Keeper, policy: &'t Policy, holds: &'t [Vec<u8>]) -> Terms<'t> {
        Terms { keeper, policy, holds, paths: HashMap::new() }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        self.policy
    }

    /// Those of something with these names: the ladders of all paths that it had, and whether one of them is held. A directory has all
    /// ladders, and is held with what lies below it.
    pub(crate) fn of<'n>(
        &mut self,
        records: &Records,
        is_dir: bool,
        names: impl IntoIterator<Item = (NodeId, &'n [u8])>,
    ) -> Result<(LadderId, bool)> {
        let single = self.policy.single();
        if self.holds.is_empty() && (is_dir || single.is_some()) {
            return Ok((single.unwrap_or(self.policy.union()), false));
        }
        let (mut ladder, mut held) = (LadderId::NONE, false);
        for (dir, name) in names {
            let Some(above) = self.paths_of(records, dir, &mut BTreeSet::new())? else {
                return Ok((self.policy.union(), !self.holds.is_empty()));
            };
            for above in above.iter() {
                let path = [above.as_slice(), b"/", name].concat();
                ladder = ladder.union(self.policy.ladder_of(&path));
                held |= is_held(&path, self.holds);
                held |= is_dir && self.holds.iter().any(|hold| is_below(hold, &path));
            }
        }
        // What never had a path can be anything.
        let ladder = if is_dir || ladder == LadderId::NONE { self.policy.union() } else { ladder };
        Ok((ladder, held))
    }

    /// All paths that a directory ever had, by all names of all directories above it; `/` is the empty one.
    fn paths_of(
        &mut self,
        records: &Records,
        dir: NodeId,
        below: &mut BTreeSet<NodeId>,
    ) -> Result<Option<Rc<Vec<Vec<u8>>>>> {
        if dir == NodeId::ROOT {
            return Ok(Some(Rc::new(vec![Vec::new()])));
        }
        if let Some(known) = self.paths.get(&dir) {
            return Ok(known.clone());
        }
        // A directory that was moved into what is below it now: the way in a circle leads nowhere.
        if below.len() >= DEPTH_MAX || !below.insert(dir) {
            return Ok(Some(Rc::new(Vec::new())));
        }
        let mut paths: Option<BTreeSet<Vec<u8>>> = Some(BTreeSet::new());
        for (above, name) in names_of(records, dir)? {
            let (Some(above), Some(all)) = (self.paths_of(records, above, below)?, &mut paths) else {
                paths = None;
                break;
            };
            all.extend(above.iter().map(|above| [above.as_slice(), b"/", &name].concat()));
            if all.len() > PATHS_MAX {
                paths = None;
                break;
            }
        }
        below.remove(&dir);
        if self.paths.len() >= DIRS_MAX {
            self.paths.clear();
        }
        let paths = paths.map(|paths| Rc::new(paths.into_iter().collect::<Vec<_>>()));
        self.paths.insert(dir, paths.clone());
        Ok(paths)
    }
}

/// Every name that a node ever had.
fn names_of(records: &Records, node: NodeId) -> Result<BTreeSet<(NodeId, Vec<u8>)>> {
    let damage = records.index_damage(Cf::Link);
    let mut names = BTreeSet::new();
    let mut scan = records.store.scan(Cf::Link, &keys::node(node))?;
    while let Some((_, value)) = scan.item() {
        let Linked { dir, name, .. } = Linked::decode(value).map_err(&damage)?;
        names.insert((dir, name));
        scan.advance()?;
    }
    Ok(names)
}
