//! Charging: one way over all versions for each part of the blocks, on which somebody says of each version who is charged for what it
//! refers to, or that nobody is.
//!
//! What is common to `effect` and `top`: it owns the ways, and what of a tree somebody wants to look at; it counts nothing.

use std::collections::{HashMap, HashSet};

use super::ledger::{Cost, Ledger, Sums};
use super::survey::{NodeRecords, Referred, each_node, referred};
use crate::error::Result;
use crate::format::op::take_extents;
use crate::format::wire::whole;
use crate::reader::Reader;
use crate::records::Records;
use crate::types::{BlockId, NodeId};
use crate::view::is_below;

/// No tree of lists is deeper.
const LISTS_DEPTH_MAX: usize = 12;
/// Paths of so many directories are remembered.
const PATHS_MAX: usize = 65_536;

/// Who says who is charged.
pub(super) trait Charging {
    /// Charges for the versions of a node, of which it is known whether it lies where somebody wants to look.
    fn node(&mut self, node: &NodeRecords<'_>, is_within: bool, charges: &mut Charges<'_, '_>) -> Result<()>;

    /// Is told what a block costs whoever was charged for it.
    fn cost(&mut self, cost: &Cost);

    /// Whether it wants to know what all blocks are together, even where nobody is charged.
    fn wants_sums(&self) -> bool;
}

/// What is charged on one way.
pub(super) struct Charges<'c, 'r> {
    ledger: &'c mut Ledger,
    lists: &'c mut Lists<'r>,
    /// Whether this is the first way: records are counted on one only.
    pub(super) is_first: bool,
}

impl Charges<'_, '_> {
    /// Charges a group for all that a version needs; `None`: whoever else is charged for it, it is free.
    pub(super) fn version(&mut self, node: &NodeRecords<'_>, at: usize, group: Option<u32>) {
        let ledger = &mut *self.ledger;
        self.lists.each(node.referred(at), &mut |id| match group {
            Some(group) => ledger.charge(id, group),
            None => ledger.free(id),
        });
    }
}

/// What the ways found.
pub(super) struct Charged {
    pub(super) sums: Sums,
    /// Blocks with lists that could not be read: what they refer to is not counted.
    pub(super) unreadable: u64,
}

/// Goes as many ways as the ledger needs. `go_on` is asked all the time; `None` where it says no.
pub(super) fn charge_all(
    reader: &Reader,
    within: &mut Within<'_>,
    charging: &mut dyn Charging,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Charged>> {
    let records = reader.records();
    let (mut ledger, mut is_first, mut stopped) = (Ledger::new(), true, false);
    let mut charged = Charged { sums: Sums::default(), unreadable: 0 };
    loop {
        let mut lists = Lists { records, seen: HashSet::new(), unreadable: 0 };
        each_node(records, &mut |node| {
            stopped |= !go_on();
            if stopped {
                return Ok(false);
            }
            let is_within = within.node(node)?;
            lists.seen.clear();
            charging.node(
                node,
                is_within,
                &mut Charges { ledger: &mut ledger, lists: &mut lists, is_first },
            )?;
            Ok(true)
        })?;
        if stopped {
            return Ok(None);
        }
        charged.unreadable = charged.unreadable.max(lists.unreadable);
        if ledger.charges_nothing() && !charging.wants_sums() {
            return Ok(Some(charged));
        }
        let more = ledger.settle(records, &mut charged.sums, &mut |cost| charging.cost(&cost))?;
        is_first = false;
        if !more {
            return Ok(Some(charged));
        }
    }
}

/// Blocks with lists of further extents, each of a node read once.
struct Lists<'r> {
    records: &'r Records,
    seen: HashSet<BlockId>,
    unreadable: u64,
}

impl Lists<'_> {
    /// Visits every block that is needed for what is referred to.
    fn each(&mut self, referred: &[Referred], visit: &mut dyn FnMut(BlockId)) {
        self.down(referred, 0, visit);
    }

    fn down(&mut self, referred: &[Referred], depth: usize, visit: &mut dyn FnMut(BlockId)) {
        for one in referred {
            match *one {
                Referred::Block(id) => visit(id),
                Referred::List(id) => {
                    visit(id);
                    if !self.seen.insert(id) {
                        continue;
                    }
                    match self.list(id) {
                        Some(inner) if depth < LISTS_DEPTH_MAX => self.down(&inner, depth + 1, visit),
                        _ => self.unreadable += 1,
                    }
                }
            }
        }
    }

    fn list(&self, id: BlockId) -> Option<Vec<Referred>> {
        let block = self.records.block(id).ok()?;
        let extents = whole(&block, take_extents).ok()?;
        Some(extents.iter().filter_map(referred).collect())
    }
}

/// Whether names lie where somebody wants to look.
pub(super) struct Within<'r> {
    reader: &'r Reader,
    below: Option<&'r [u8]>,
    known: HashMap<NodeId, Option<Vec<u8>>>,
}

impl<'r> Within<'r> {
    /// At a path or below it; `None`: anywhere.
    pub(super) fn new(reader: &'r Reader, below: Option<&'r [u8]>) -> Within<'r> {
        Within { reader, below, known: HashMap::new() }
    }

    fn node(&mut self, node: &NodeRecords<'_>) -> Result<bool> {
        match node.last_name() {
            Some((dir, name)) => self.name(dir, name),
            None => Ok(self.below.is_none()),
        }
    }

    pub(super) fn name(&mut self, dir: NodeId, name: &[u8]) -> Result<bool> {
        let Some(below) = self.below else { return Ok(true) };
        if self.known.len() > PATHS_MAX {
            self.known.clear();
        }
        if !self.known.contains_key(&dir) {
            self.known.insert(dir, last_path(self.reader, dir)?);
        }
        let path = self.known.get(&dir);
        Ok(path.and_then(Option::as_ref).is_some_and(|path| {
            let path =
                if path == b"/" { [b"/", name].concat() } else { [path, b"/".as_slice(), name].concat() };
            is_below(&path, below)
        }))
    }
}

/// The path of a directory: now, or when it lost it.
fn last_path(reader: &Reader, dir: NodeId) -> Result<Option<Vec<u8>>> {
    let now = reader.view(reader.head());
    if let Some(path) = now.path_of(dir)? {
        return Ok(Some(path));
    }
    match now.way_lost(dir)? {
        Some((seq, _)) => reader.view(seq.previous()).path_of(dir),
        None => Ok(None),
    }
}

/// Part of all packs together.
pub(super) fn packed_bytes(plain: u64, sums: &Sums) -> u64 {
    let worth = u128::from(plain) * u128::from(sums.pack_stored) / u128::from(sums.pack_plain.max(1));
    u64::try_from(worth).unwrap_or(u64::MAX)
}
