//! The writing side as the agent's threads share it: the newest state, and where new observations are submitted.
//!
//! What is submitted is part of the newest state at once, before it is written: whoever looks at a directory again a
//! moment later finds there what was submitted for it.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::append::{ContentFrame, Mark};
use crate::content::hash::IdKey;
use crate::error::{Error, Result};
use crate::index::apply;
use crate::index::{Cf, Entry};
use crate::landmarks::{self, Forgot, Holding, Restored};
use crate::records::Records;
use crate::types::{
    BlockId, FullId, Group, Identity, Instant, MarkName, NodeId, Op, SegmentId, Seq, Unbound,
};
use crate::view::View;

/// Observations on their way to the appender; they are committed together.
#[derive(Debug, Default)]
pub struct Submission {
    pub(crate) frames: Vec<ContentFrame>,
    pub(crate) groups: Vec<Group>,
    pub(crate) entries: Vec<Entry>,
    /// Whether it is to stand in a new segment, so that the one before is sealed.
    pub(crate) begins_segment: bool,
    /// The last `Seq` that it got.
    pub last_seq: Seq,
}

impl Submission {
    /// Whether nothing may join its batch behind it: a mark is the last of its batch, so that the batch's instant and
    /// the mark's `Seq` mean the same state.
    pub fn is_barrier(&self) -> bool {
        self.groups.iter().flat_map(|group| &group.ops).any(|op| matches!(op, Op::Mark(_)))
    }
}

/// How far writing has come.
#[derive(Clone, Debug, Default)]
pub struct Watermarks {
    /// The last `Seq` that was submitted.
    pub queued: Seq,
    /// The last place that survives the death of this process.
    pub written: Mark,
    /// The last place that survives a power cut.
    pub durable: Mark,
}

/// Where submissions go; blocks while the queue is full, fails once the appender is gone.
pub type Sink = Box<dyn Fn(Submission) -> std::result::Result<(), ()> + Send + Sync>;

/// The newest state of a journal that is being written to.
pub struct Head {
    records: Records,
    key: IdKey,
    next_node: AtomicU64,
    order: Mutex<Order>,
    /// Blocks that were submitted and that the index does not have yet.
    pending: Mutex<HashSet<BlockId>>,
    /// Blocks that the journal has and that were found damaged: content that comes again is stored again.
    distrusted: Mutex<HashSet<BlockId>>,
    /// Blocks of segments that are being compacted: they may go, so content that comes again is stored again.
    departing: Mutex<HashSet<BlockId>>,
    /// Who has looked up blocks and has not submitted yet what refers to them.
    users: Mutex<Users>,
    has_submitted: Condvar,
    next_segment: AtomicU64,
    watermarks: Mutex<Watermarks>,
    moved: Condvar,
    /// The index refused a write: it is left as it is, and rebuilt at the next start.
    index_failed: AtomicBool,
}

/// Users by the generation in which they began.
#[derive(Default)]
struct Users {
    generation: u64,
    counts: BTreeMap<u64, usize>,
}

/// Held from the first look-up of a block until what refers to it is submitted.
pub(crate) struct Use<'h> {
    head: &'h Head,
    generation: u64,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        let mut users = lock(&self.head.users);
        if let Some(count) = users.counts.get_mut(&self.generation) {
            *count -= 1;
            if *count == 0 {
                users.counts.remove(&self.generation);
            }
        }
        self.head.has_submitted.notify_all();
    }
}

struct Order {
    next_seq: Seq,
    sink: Option<Sink>,
}

impl Head {
    pub(crate) fn new(
        records: Records,
        key: IdKey,
        next_node: NodeId,
        next_segment: SegmentId,
        durable: Mark,
    ) -> Head {
        Head {
            records,
            key,
            next_node: AtomicU64::new(next_node.0.max(1)),
            order: Mutex::new(Order { next_seq: durable.seq.next(), sink: None }),
            pending: Mutex::default(),
            distrusted: Mutex::default(),
            departing: Mutex::default(),
            users: Mutex::default(),
            has_submitted: Condvar::new(),
            next_segment: AtomicU64::new(next_segment.0),
            watermarks: Mutex::new(Watermarks { queued: durable.seq, written: durable, durable }),
            moved: Condvar::new(),
            index_failed: AtomicBool::new(false),
        }
    }

    /// Says where submissions go from now on; `None` refuses them.
    pub fn connect(&self, sink: Option<Sink>) {
        lock(&self.order).sink = sink;
    }

    /// The newest state, with everything that was submitted.
    pub fn view(&self) -> View<'_> {
        self.records.view(Seq::MAX)
    }

    /// The node with that identity on disk, whether it has a name now or not.
    ///
    /// # Errors
    /// `Index`.
    pub fn find(&self, identity: &Identity) -> Result<Option<NodeId>> {
        let value = self.records.store.get(Cf::Identity, &crate::index::keys::identity(identity))?;
        let damage = self.records.index_damage(Cf::Identity);
        value
            .map(|value| crate::index::keys::parse_seq(&value).map(|seq| NodeId(seq.0)))
            .transpose()
            .map_err(damage)
    }

    /// What somebody named so, also where it is not committed yet.
    ///
    /// # Errors
    /// `Index`.
    pub fn mark(&self, name: &MarkName) -> Result<Option<Seq>> {
        landmarks::seq_of(&self.records, name)
    }

    /// The restores into the live tree that are committed, the oldest first.
    ///
    /// # Errors
    /// `Index`.
    pub fn restores(&self) -> Result<Vec<Restored>> {
        landmarks::restores(&self.records)
    }

    /// What is held.
    ///
    /// # Errors
    /// `Index`.
    pub fn holds(&self) -> Result<Vec<Holding>> {
        landmarks::holds(&self.records)
    }

    /// What was noted of things that were forgotten, the oldest first.
    ///
    /// # Errors
    /// `Index`.
    pub fn forgotten(&self) -> Result<Vec<Forgot>> {
        landmarks::forgotten(&self.records)
    }

    /// The paths that are held, with everything below them.
    ///
    /// # Errors
    /// `Index`.
    pub fn held_paths(&self) -> Result<Vec<Vec<u8>>> {
        landmarks::held_paths(&self.records)
    }

    /// A node id that was never given before.
    pub fn new_node(&self) -> NodeId {
        NodeId(self.next_node.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn next_node(&self) -> NodeId {
        NodeId(self.next_node.load(Ordering::Relaxed))
    }

    /// Submits groups, each with a `Seq` of its own, behind everything submitted before. Gives the last `Seq`.
    ///
    /// An unbind counts only while the name still stands for that node: whoever saw the node leave may be overtaken by
    /// whoever saw another one arrive.
    ///
    /// # Errors
    /// `Poisoned`, once the appender is gone; `Index`.
    pub fn submit(&self, groups: Vec<Group>) -> Result<Seq> {
        self.submit_with(Vec::new(), groups)
    }

    /// The same for what is to begin a new segment, so that everything before it lies in sealed ones.
    ///
    /// # Errors
    /// As for [`Head::submit`].
    pub fn submit_in_new_segment(&self, groups: Vec<Group>) -> Result<Seq> {
        self.send(Vec::new(), groups, true)
    }

    pub(crate) fn submit_with(&self, frames: Vec<ContentFrame>, groups: Vec<Group>) -> Result<Seq> {
        self.send(frames, groups, false)
    }

    fn send(&self, frames: Vec<ContentFrame>, mut groups: Vec<Group>, begins_segment: bool) -> Result<Seq> {
        let mut entries = Vec::with_capacity(groups.len() * 4);
        let mut order = lock(&self.order);
        for group in &mut groups {
            self.drop_stale_unbinds(group)?;
            let start = entries.len();
            apply::group(order.next_seq, group, &mut entries);
            self.records.store.overlay(entries[start..].iter().cloned());
            order.next_seq = order.next_seq.next();
        }
        let last_seq = order.next_seq.previous();
        let ids = || frames.iter().flat_map(|frame| frame.members.iter().map(|(id, _)| id.short()));
        lock(&self.pending).extend(ids());
        let mut distrusted = lock(&self.distrusted);
        if !distrusted.is_empty() {
            ids().for_each(|id| {
                distrusted.remove(&id);
            });
        }
        drop(distrusted);
        lock(&self.watermarks).queued = last_seq;
        let gone = || Error::Poisoned { cause: "the appender is gone".into() };
        let sink = order.sink.as_ref().ok_or_else(gone)?;
        sink(Submission { frames, groups, entries, begins_segment, last_seq }).map_err(|()| gone())?;
        Ok(last_seq)
    }

    fn drop_stale_unbinds(&self, group: &mut Group) -> Result<()> {
        let view = self.view();
        let mut stale = Vec::new();
        for (n, op) in group.ops.iter().enumerate() {
            let Op::Unbind { dir, name, node, why, .. } = op else { continue };
            let is_stale = match view.lookup(*dir, name)? {
                Some(bound) => bound.node != *node,
                // What came and went unread was never bound.
                None => *why != Unbound::Unread,
            };
            if is_stale {
                stale.push(n);
            }
        }
        for n in stale.into_iter().rev() {
            group.ops.remove(n);
        }
        Ok(())
    }

    /// Whether the journal has the block, or will have it before anything that is submitted from now on.
    ///
    /// # Errors
    /// `Index`.
    pub fn has_block(&self, id: BlockId) -> Result<bool> {
        if lock(&self.pending).contains(&id) {
            return Ok(true);
        }
        if lock(&self.distrusted).contains(&id) || self.departs(id) {
            return Ok(false);
        }
        Ok(self.records.store.get(Cf::Block, &id.0)?.is_some())
    }

    /// Takes blocks for not there until they are stored again: their bytes were found damaged.
    pub(crate) fn distrust(&self, blocks: impl IntoIterator<Item = BlockId>) {
        lock(&self.distrusted).extend(blocks);
    }

    /// Whether a block may go at any moment, and nothing new may refer to it.
    pub(crate) fn departs(&self, id: BlockId) -> bool {
        lock(&self.departing).contains(&id)
    }

    /// From now on nothing new refers to these blocks; waits until nobody does any more who has not submitted it.
    /// Gives `false`, and lets them stay, when the time ran out.
    pub(crate) fn begin_departure(
        &self,
        blocks: impl IntoIterator<Item = BlockId>,
        timeout: Duration,
    ) -> bool {
        lock(&self.departing).extend(blocks);
        let mut users = lock(&self.users);
        users.generation += 1;
        let generation = users.generation;
        let before =
            |users: &mut Users| users.counts.keys().next().is_some_and(|oldest| *oldest < generation);
        let waited = self.has_submitted.wait_timeout_while(users, timeout, before);
        let (users, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(users);
        if timed_out.timed_out() {
            self.end_departure();
        }
        !timed_out.timed_out()
    }

    /// What was to go has gone, and the rest stays.
    pub(crate) fn end_departure(&self) {
        lock(&self.departing).clear();
    }

    /// Keeps blocks that are looked up from being taken away.
    pub(crate) fn use_blocks(&self) -> Use<'_> {
        let mut users = lock(&self.users);
        let generation = users.generation;
        *users.counts.entry(generation).or_default() += 1;
        Use { head: self, generation }
    }

    /// A segment number that was never given before.
    pub(crate) fn new_segment(&self) -> SegmentId {
        SegmentId(self.next_segment.fetch_add(1, Ordering::Relaxed))
    }

    /// The id of a block with these plain bytes.
    pub fn id(&self, plain: &[u8]) -> FullId {
        self.key.id(plain)
    }

    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// How far writing has come.
    pub fn watermarks(&self) -> Watermarks {
        lock(&self.watermarks).clone()
    }

    /// Waits until `seq` is durable; `false` when the time ran out.
    pub fn wait_durable(&self, seq: Seq, timeout: Duration) -> bool {
        let guard = lock(&self.watermarks);
        let waited = self.moved.wait_timeout_while(guard, timeout, |marks| marks.durable.seq < seq);
        let (marks, _) = waited.unwrap_or_else(PoisonError::into_inner);
        marks.durable.seq >= seq
    }

    /// The instant at which a `Seq` was committed; `None` where it is not yet, or is not known.
    pub fn instant_of(&self, seq: Seq) -> Option<Instant> {
        crate::reader::moment_of(&self.records, seq).ok().flatten().map(|moment| moment.instant)
    }

    /// Through when everything is covered, as the last durable mark says.
    pub fn covered_through(&self) -> Option<Instant> {
        let value = self.records.store.get(Cf::Meta, crate::index::keys::APPLIED).ok().flatten()?;
        crate::index::keys::Applied::decode(&value).ok()?.covered_through
    }

    /// Whether the index refused a write; the next start rebuilds it.
    pub fn index_failed(&self) -> bool {
        self.index_failed.load(Ordering::Relaxed)
    }

    pub(crate) fn publish_written(&self, mark: Mark) {
        lock(&self.watermarks).written = mark;
    }

    pub(crate) fn publish_durable(&self, mark: Mark) {
        lock(&self.watermarks).durable = mark;
        self.moved.notify_all();
    }

    /// Moves entries from the overlay into RocksDB. Where RocksDB refuses, the overlay keeps everything, so that
    /// nothing wrong is ever answered; the index on disk stays behind and is rebuilt at the next start.
    pub(crate) fn index(&self, submitted: &[Entry], placed: Vec<Entry>) {
        let store = &self.records.store;
        let written = match store.db() {
            Some(db) if !self.index_failed() => db.write(submitted.iter().chain(&placed)),
            _ => Ok(()),
        };
        if store.db().is_none() || self.index_failed() || written.is_err() {
            self.index_failed.store(true, Ordering::Relaxed);
            store.overlay(placed.iter().cloned());
        } else {
            store.forget(submitted);
        }
        let mut pending = lock(&self.pending);
        for entry in placed.iter().filter(|entry| entry.cf == Cf::Block) {
            if let Ok(id) = <[u8; 16]>::try_from(entry.key.as_slice()) {
                pending.remove(&BlockId(id));
            }
        }
    }

    pub(crate) fn flush_index(&self) {
        if let Some(db) = self.records.store.db()
            && db.flush().is_err()
        {
            self.give_up_index();
        }
    }

    /// Nothing more is put into the index: it is made anew at the next start.
    pub(crate) fn give_up_index(&self) {
        self.index_failed.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
