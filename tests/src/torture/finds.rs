//! Looking for names, naively: through every tree there was, backwards.

use std::collections::BTreeSet;

use asof_journal::find::{self, Gone, Names, Search};
use asof_journal::reader::Reader;
use asof_journal::types::{NodeId, Op, Seq, Unbound};

use super::history::{History, same};

/// Every so many `Seq`s a search is compared; the newest always.
const EVERY: u64 = 6;

/// Compares which names there ever were, and when each entry was there last.
///
/// # Errors
/// In words, where they differ.
pub fn compare(history: &History, reader: &Reader) -> Result<(), String> {
    let bound = |(_, op): (Seq, &Op)| match op {
        Op::Bind { dir, name, .. } => Some((name.clone(), *dir)),
        _ => None,
    };
    let entries: BTreeSet<(Vec<u8>, NodeId)> = ops(history).filter_map(bound).collect();
    let all: Vec<_> = entries.iter().cloned().collect();
    same("the names there ever were", &found(reader, Names::From(b""))?, &all)?;
    for (name, _) in &entries {
        let only = |wanted: &dyn Fn(&[u8]) -> bool| -> Vec<_> {
            all.iter().filter(|(name, _)| wanted(name)).cloned().collect()
        };
        same("a name", &found(reader, Names::Exactly(name))?, &only(&|other| other == name))?;
        same(
            "names with a front",
            &found(reader, Names::From(name))?,
            &only(&|other| other.starts_with(name)),
        )?;
    }
    let last = history.last().0;
    for at in (1..=last).filter(|at| at % EVERY == 0 || *at == last).map(Seq) {
        let mut search = Search::new(reader, at);
        for (name, dir) in &entries {
            let sighting = search.last_seen(*dir, name).map_err(|error| error.to_string())?;
            let seen = sighting.map(|sighting| {
                let why = match sighting.gone {
                    Some(Gone::Unbound(why)) => Some(why),
                    Some(Gone::WithDirectory(_)) | None => None,
                };
                (sighting.last, sighting.path, sighting.entry.node, sighting.gone.is_some(), why)
            });
            same(
                &format!("{name:?} in {dir}, last seen up to {at}"),
                &seen,
                &last_seen(history, *dir, name, at),
            )?;
        }
    }
    Ok(())
}

fn ops(history: &History) -> impl Iterator<Item = (Seq, &Op)> {
    history.groups().flat_map(|(seq, group)| group.ops.iter().map(move |op| (seq, op)))
}

fn found(reader: &Reader, wanted: Names<'_>) -> Result<Vec<(Vec<u8>, NodeId)>, String> {
    let mut seen = Vec::new();
    find::names(reader, wanted, &mut |name, dir| {
        seen.push((name.to_vec(), dir));
        Ok::<bool, asof_journal::Error>(true)
    })
    .map_err(|error| error.to_string())?;
    Ok(seen)
}

/// When it was there last, its path and node then, whether it was gone at `at`, and why its name was taken from it.
type Seen = (Seq, Vec<u8>, NodeId, bool, Option<Unbound>);

fn last_seen(history: &History, dir: NodeId, name: &[u8], at: Seq) -> Option<Seen> {
    let why = history.state(at).names.get(&(dir, name.to_vec()))?.gone;
    (1..=at.0).rev().map(Seq).find_map(|seq| {
        let state = history.state(seq);
        let bound = state.names.get(&(dir, name.to_vec())).filter(|bound| bound.gone.is_none())?;
        Some((seq, state.path(dir, name)?, bound.node, seq != at, why))
    })
}
