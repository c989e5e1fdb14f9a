//! The index after a compaction: what the old segments gave it and the new one does not goes, what the new one says comes.
//!
//! Derived from the segments alone, so that it can be done again after a crash. Any part of it can be on disk before the rest:
//! blocks are found in the old segments or in the new one, and both are there until all of it is.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::wire::Malformed;
use crate::index::apply;
use crate::index::db::Db;
use crate::index::keys::{self, Located};
use crate::index::{Cf, Entry};
use crate::recovery;
use crate::segments::{SegmentFile, SegmentSet, Walked, walk_batches};
use crate::types::SegmentId;

/// So many changes are made at once.
const CHANGES_AT_ONCE: usize = 4096;

/// Brings an index from the old segments to the new one; `compacted` is what it is made from afterwards.
pub(crate) fn apply(
    db: &Db,
    set: &SegmentSet,
    old: &[Arc<SegmentFile>],
    new: &SegmentFile,
    compacted: &[SegmentId],
) -> Result<()> {
    let gone: HashSet<SegmentId> = old.iter().map(|segment| segment.id).collect();
    let mut keep: HashSet<(Cf, Vec<u8>)> = HashSet::new();
    let mut puts = Vec::new();
    each_entry(set, new, &mut |entry| {
        keep.insert((entry.cf, entry.key.clone()));
        match entry.cf {
            // What is there is the same, or came later.
            Cf::Identity | Cf::Filename | Cf::Meta => return Ok(()),
            // A copy that lies elsewhere came later, and is the one that counts.
            Cf::Block if located(db, &entry.key)?.is_some_and(|segment| !gone.contains(&segment)) => {
                return Ok(());
            }
            _ => {}
        }
        puts.push(entry);
        if puts.len() >= CHANGES_AT_ONCE {
            db.write(&puts)?;
            puts.clear();
        }
        Ok(())
    })?;
    db.write(&puts)?;
    let mut names = HashSet::new();
    for segment in old {
        let mut deletes: Vec<(Cf, Vec<u8>)> = Vec::new();
        each_entry(set, segment, &mut |entry| {
            let Entry { cf, key, value } = entry;
            let record = (cf, key);
            if keep.contains(&record) {
                return Ok(());
            }
            let (_, key) = &record;
            match cf {
                Cf::Meta => return Ok(()),
                Cf::Block if located(db, key)?.is_none_or(|segment| !gone.contains(&segment)) => {
                    return Ok(());
                }
                // Another node may have come to it since.
                Cf::Identity if db.get(cf, key)?.as_ref() != Some(&value) => return Ok(()),
                // It stands for all times that the name was bound there.
                Cf::Filename => {
                    names.insert(record.1);
                    return Ok(());
                }
                _ => {}
            }
            deletes.push(record);
            if deletes.len() >= CHANGES_AT_ONCE {
                db.delete(&deletes)?;
                deletes.clear();
            }
            Ok(())
        })?;
        db.delete(&deletes)?;
    }
    let mut deletes = Vec::new();
    for key in names {
        let (name, dir) = keys::parse_filename(&key).map_err(refused)?;
        // A marker alone is no name that anybody could look for.
        if !is_bound_somewhen(db, &keys::binding_name(dir, name))? {
            deletes.push((Cf::Filename, key));
        }
    }
    db.delete(&deletes)?;
    let (key, value) = (keys::COMPACTED.to_vec(), keys::encode_compacted(compacted));
    db.write(&[Entry { cf: Cf::Meta, key, value }])?;
    db.flush()
}

fn is_bound_somewhen(db: &Db, prefix: &[u8]) -> Result<bool> {
    let mut iterator = db.iterator(Cf::Binding, prefix)?;
    iterator.seek(prefix);
    while let Some((key, value)) = iterator.item().filter(|(key, _)| key.starts_with(prefix)) {
        let _ = key;
        if value.first() == Some(&0) {
            return Ok(true);
        }
        iterator.next();
    }
    db.check(&iterator)?;
    Ok(false)
}

/// The segment in which the index says that a block lies.
fn located(db: &Db, key: &[u8]) -> Result<Option<SegmentId>> {
    let Some(value) = db.get(Cf::Block, key)? else { return Ok(None) };
    Ok(Some(Located::decode(&value).map_err(refused)?.frame.segment))
}

fn refused(error: Malformed) -> Error {
    Error::Index { path: Default::default(), what: error.to_string() }
}

/// Visits everything that a segment says to an index, but for how far it has come. Held at a time: a batch, and where its blocks lie.
fn each_entry(
    set: &SegmentSet,
    segment: &SegmentFile,
    visit: &mut dyn FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let end = recovery::end_of(set, segment)?;
    let mut entries = Vec::new();
    walk_batches(segment, segment.start, segment.first_chain(), end, &mut |walked| {
        if let Walked::Batch(batch, place) = walked {
            for (seq, group) in batch.numbered() {
                apply::group(seq, group, &mut entries);
                entries.drain(..).try_for_each(&mut *visit)?;
            }
            apply::places(&batch, &place, &mut entries);
            entries.drain(..).try_for_each(&mut *visit)?;
        }
        Ok(())
    })?;
    Ok(())
}
