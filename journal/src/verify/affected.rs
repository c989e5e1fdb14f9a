//! What damage costs: which paths cannot be restored exactly, and as of when.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Verification;
use super::names::{Names, joined};
use crate::error::{Error, Result};
use crate::format::op::{take_extents, take_version};
use crate::format::wire::Take;
use crate::index::Cf;
use crate::index::keys;
use crate::records::Records;
use crate::types::{BlockId, Content, Extent, Instant, NodeId, Seq};

/// Lists of extents whose soundness is remembered.
const LISTS_MAX: usize = 1 << 20;
/// No tree of extents is deeper.
const EXTENT_DEPTH_MAX: usize = 12;

/// A path that cannot be restored exactly for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affected {
    /// The absolute path, as it was named then.
    pub path: Vec<u8>,
    /// The node.
    pub node: NodeId,
    /// From this `Seq` on.
    pub from: Seq,
    /// Up to this one, as of which it is whole again, or something else; `None` where that is so still.
    pub until: Option<Seq>,
    /// When that was.
    pub from_instant: Option<Instant>,
    /// When that was.
    pub until_instant: Option<Instant>,
    /// Why.
    pub why: Arc<str>,
}

impl Verification {
    /// Visits every path that cannot be restored exactly, node by node; the visitor returns `false` to stop. Only content
    /// is meant: what groups said that are lost is not known.
    ///
    /// # Errors
    /// `Io`, `Index`.
    pub fn affected(&self, visit: &mut dyn FnMut(Affected) -> bool) -> Result<()> {
        let mut any = false;
        self.affected_and_missing(&mut |affected| {
            any = true;
            visit(affected)
        })?;
        // Either it came to the end, or there was something.
        self.any_affected.get_or_init(|| any);
        Ok(())
    }

    /// The same, and gives the blocks that are referred to and that no batch knows; only up to where it was stopped.
    pub(crate) fn affected_and_missing(
        &self,
        visit: &mut dyn FnMut(Affected) -> bool,
    ) -> Result<HashSet<BlockId>> {
        let records = self.reader.records();
        let damage = records.index_damage(Cf::Version);
        let (lists, missing) = (HashMap::new(), HashSet::new());
        let mut check = Check { records, unreadable: &self.unreadable, lists, missing };
        let mut names = Names::new(records);
        let mut scan = records.store.scan(Cf::Version, &[])?;
        let mut node: Option<NodeId> = None;
        let mut spans: Vec<(Seq, Seq, Arc<str>)> = Vec::new();
        let mut newer = Seq::MAX;
        while let Some((key, value)) = scan.item() {
            let at = keys::parse_seq(key).map(|seq| NodeId(seq.0)).map_err(&damage)?;
            let seq = keys::parse_node_seq(key).map_err(&damage)?;
            let version = take_version(&mut Take::new(value)).map_err(&damage)?;
            if node != Some(at) {
                if let Some(node) = node
                    && !self.tell(&mut names, node, &std::mem::take(&mut spans), visit)?
                {
                    return Ok(check.missing);
                }
                (node, newer) = (Some(at), Seq::MAX);
            }
            if let Content::Extents(extents) = &version.content
                && let Some(why) = check.extents(extents, 0)?
            {
                spans.push((seq, newer, why));
            }
            newer = seq;
            scan.advance()?;
        }
        if let Some(node) = node {
            self.tell(&mut names, node, &spans, visit)?;
        }
        Ok(check.missing)
    }

    /// Tells of one node; gives whether to go on.
    fn tell(
        &self,
        names: &mut Names<'_>,
        node: NodeId,
        spans: &[(Seq, Seq, Arc<str>)],
        visit: &mut dyn FnMut(Affected) -> bool,
    ) -> Result<bool> {
        if spans.is_empty() {
            return Ok(true);
        }
        let mut by_path: BTreeMap<Vec<u8>, Vec<(Seq, Seq)>> = BTreeMap::new();
        let mut why: HashMap<(Vec<u8>, Seq), Arc<str>> = HashMap::new();
        for named in names.of(node)? {
            for (from, until, reason) in spans {
                let (from, until) = ((*from).max(named.from), (*until).min(named.until));
                if from < until {
                    by_path.entry(named.path.clone()).or_default().push((from, until));
                    why.insert((named.path.clone(), from), reason.clone());
                }
            }
        }
        for (path, spans) in by_path {
            for (from, until) in joined(spans) {
                let until = Some(until).filter(|until| *until != Seq::MAX);
                let instant = |seq| Ok::<_, Error>(self.reader.at_seq(seq)?.map(|moment| moment.instant));
                let affected = Affected {
                    node,
                    from,
                    until,
                    from_instant: instant(from)?,
                    until_instant: until.map(instant).transpose()?.flatten(),
                    why: why.get(&(path.clone(), from)).cloned().unwrap_or_else(|| "damaged".into()),
                    path: path.clone(),
                };
                if !visit(affected) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Whether content can be read.
struct Check<'c> {
    records: &'c Records,
    unreadable: &'c HashMap<BlockId, Arc<str>>,
    /// What is known of lists of extents.
    lists: HashMap<BlockId, Option<Arc<str>>>,
    /// Blocks that are referred to and are nowhere.
    missing: HashSet<BlockId>,
}

impl Check<'_> {
    /// Why content cannot be read; `None` where it can.
    fn extents(&mut self, extents: &[Extent], depth: usize) -> Result<Option<Arc<str>>> {
        for extent in extents {
            let why = match *extent {
                Extent::Hole { .. } => None,
                Extent::Block { id, .. } => self.block(id)?,
                Extent::List { id, len } => self.list(id, len, depth)?,
            };
            if why.is_some() {
                return Ok(why);
            }
        }
        Ok(None)
    }

    fn block(&mut self, id: BlockId) -> Result<Option<Arc<str>>> {
        if let Some(why) = self.unreadable.get(&id) {
            return Ok(Some(why.clone()));
        }
        let known = self.records.store.get(Cf::Block, &id.0)?.is_some();
        if !known {
            self.missing.insert(id);
        }
        Ok((!known).then(|| format!("block {id} is not in the journal").into()))
    }

    fn list(&mut self, id: BlockId, len: u64, depth: usize) -> Result<Option<Arc<str>>> {
        if let Some(known) = self.lists.get(&id) {
            return Ok(known.clone());
        }
        let why = self.read_list(id, len, depth)?;
        if self.lists.len() >= LISTS_MAX {
            self.lists.clear();
        }
        self.lists.insert(id, why.clone());
        Ok(why)
    }

    fn read_list(&mut self, id: BlockId, len: u64, depth: usize) -> Result<Option<Arc<str>>> {
        if let Some(why) = self.block(id)? {
            return Ok(Some(why));
        }
        if depth >= EXTENT_DEPTH_MAX {
            return Ok(Some("lists of extents nested too deeply".into()));
        }
        let block = match self.records.block(id) {
            Ok(block) => block,
            Err(error) if crate::recovery::is_damage(&error) => return Ok(Some(error.to_string().into())),
            Err(error) => return Err(error),
        };
        match take_extents(&mut Take::new(&block)) {
            Ok(inner) if inner.iter().map(Extent::len).sum::<u64>() == len => self.extents(&inner, depth + 1),
            Ok(_) => Ok(Some("a list of extents of the wrong length".into())),
            Err(error) => Ok(Some(error.to_string().into())),
        }
    }
}
