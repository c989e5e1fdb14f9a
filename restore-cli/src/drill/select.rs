//! What a drill restores: which instant, which paths, how much room that takes.
//!
//! Asks the journal what there is to choose from, and a witness of the instant what else there was. Restores nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;

use asof_journal::reader::{Moment, Reader};
use asof_journal::types::{GapReason, Instant, Kind, NodeId, Seq};
use asof_journal::view::is_below;

use super::bring::Top;
use super::ledger::{Draw, Ledger, drawn};
use super::report::{Name, Selection};
use super::spec::{At, Scenario, Spec};
use super::stop::{Tried, inconclusive};
use crate::interrupt;
use crate::output::{Output, counted};
use crate::path;
use crate::session::Session;
use crate::source::{AtSeq, Source};
use crate::timespec::TimeSpec;

/// What was chosen.
pub(crate) struct Chosen {
    /// What the journal has of it.
    pub(crate) tops: Vec<Top>,
    /// All of it.
    pub(crate) paths: BTreeSet<Vec<u8>>,
    /// Whether what was chosen are the tops of trees, with all below.
    pub(crate) is_trees: bool,
    /// Whether the ledger takes note of it.
    pub(crate) counts: bool,
    /// Bytes of content.
    pub(crate) bytes: u64,
    /// For the report.
    pub(crate) selection: Selection,
}

/// The instant that is restored. `asked` is the seed of a pass that is to be repeated.
pub(crate) fn moment(
    session: &Session,
    at: &At,
    seed: u64,
    asked: Option<(&Ledger, u64)>,
    out: &mut Output,
) -> Tried<Moment> {
    let reader = session.reader()?;
    let spec = match at {
        At::Latest => TimeSpec::Now,
        At::Time(text) => session.time(text)?,
        At::RandomWithin(within, _) => match asked.and_then(|(ledger, seed)| ledger.pass_of(seed)) {
            Some(pass) => TimeSpec::Seq(Seq(pass.seq)),
            None => whole(reader, random(session, reader, *within, seed)?)?,
        },
    };
    let moment = session.moment(reader, Some(spec), out)?;
    match reader.thinned_around(moment.seq)? {
        None => Ok(moment),
        // What the policy let go is no failure, and nobody can tell it from one.
        Some(_) => inconclusive(format!("not everything of {} is kept, by the retention policy", moment.seq)),
    }
}

/// The instant nearest before one that is drawn, or else after it, of which everything is kept.
fn whole(reader: &Reader, drawn: Instant) -> Tried<TimeSpec> {
    let Some(resolved) = reader.at_instant(drawn)? else { return Ok(TimeSpec::Instant(drawn)) };
    let near = reader.thinned_around(resolved.moment.seq)?.and_then(|around| around.before.or(around.after));
    Ok(near.map_or(TimeSpec::Instant(drawn), |near| TimeSpec::Seq(near.seq)))
}

fn random(session: &Session, reader: &Reader, within: std::time::Duration, seed: u64) -> Tried<Instant> {
    let now = session.now().timestamp_nanos_opt().unwrap_or(i64::MAX);
    let Some(first) = reader.info()?.first else {
        return inconclusive("nothing has been captured yet");
    };
    // While the first capture was under way, less was there than there had been.
    let gaps = reader.view(reader.head()).all_gaps()?;
    let whole = gaps
        .iter()
        .filter(|gap| gap.reason == GapReason::Starting && gap.from <= first.instant && !gap.is_open())
        .map(|gap| gap.until)
        .max()
        .map_or(first.instant, |until| until.max(first.instant));
    let within = i64::try_from(within.as_nanos()).unwrap_or(i64::MAX);
    let from = now.saturating_sub(within).max(whole.0).min(now);
    let span = u64::try_from(now.saturating_sub(from)).unwrap_or(0);
    Ok(Instant(from.saturating_add(i64::try_from(drawn(seed, "instant", span)).unwrap_or(0))))
}

/// The roots that were protected then.
pub(crate) fn roots(reader: &Reader, moment: &Moment) -> Tried<Vec<Vec<u8>>> {
    let policy = reader.view_at(moment).policy()?;
    let all: Vec<Vec<u8>> = policy.roots.into_iter().map(|root| root.path).collect();
    Ok(outermost(&all))
}

/// Without what lies in others.
fn outermost(paths: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let sorted: BTreeSet<&Vec<u8>> = paths.iter().collect();
    for path in sorted {
        if !kept.iter().any(|above| is_below(path, above)) {
            kept.push(path.clone());
        }
    }
    kept
}

/// Which files below paths a witness knows.
pub(crate) type Witnessed<'w> = &'w dyn Fn(&[Vec<u8>]) -> Vec<Vec<u8>>;

/// Chooses. `witnessed` are the files that a witness of this very instant knows, which are drawn from even where the
/// journal does not know them.
pub(crate) fn choose(
    spec: &Spec,
    reader: &Reader,
    moment: &Moment,
    ledger: &mut Ledger,
    asked: Option<u64>,
    witnessed: Witnessed<'_>,
) -> Tried<Chosen> {
    let source = AtSeq::new(reader, moment);
    let everything = spec.what.everything || spec.scenario == Scenario::Everything;
    let named: Vec<Vec<u8>> =
        spec.what.paths.iter().map(|path| path::absolute(path.as_os_str().as_bytes(), b"/")).collect();
    let below = if named.is_empty() { roots(reader, moment)? } else { outermost(&named) };
    let names = below.iter().map(|path| Name::new(path)).collect();
    let Some(sample) = spec.what.sample else {
        let what = if everything { "everything".to_owned() } else { counted(below.len() as u64, "path") };
        let selection = Selection { what, below: names, candidates: None, chosen: below.len() as u64 };
        let mut bytes = 0;
        let mut tops = Vec::new();
        for path in &below {
            let Some(entry) = source.resolve(path)? else { continue };
            tops.push(Top { path: path.clone(), is_dir: entry.kind == Kind::Dir });
            bytes += bytes_below(&source, entry.node, entry.kind)?;
        }
        let is_trees = true;
        return Ok(Chosen {
            tops,
            paths: below.into_iter().collect(),
            is_trees,
            counts: true,
            bytes,
            selection,
        });
    };
    let mut candidates: BTreeMap<Vec<u8>, Option<NodeId>> =
        witnessed(&below).into_iter().map(|path| (path, None)).collect();
    for path in &below {
        candidates.extend(files(&source, path)?.into_iter().map(|(path, node)| (path, Some(node))));
    }
    let paths: Vec<Vec<u8>> = candidates.keys().cloned().collect();
    let Draw { chosen, counts } = ledger.draw(&paths, sample, asked);
    let paths: BTreeSet<Vec<u8>> = chosen.into_iter().filter_map(|at| paths.get(at).cloned()).collect();
    let mut bytes = 0;
    let mut tops = Vec::new();
    for path in &paths {
        let Some(Some(node)) = candidates.get(path) else { continue };
        bytes += size(&source, *node)?;
        tops.push(Top { path: path.clone(), is_dir: false });
    }
    let selection = Selection {
        what: sample.to_string(),
        below: names,
        candidates: Some(candidates.len() as u64),
        chosen: paths.len() as u64,
    };
    Ok(Chosen { tops, paths, is_trees: false, counts, bytes, selection })
}

/// A path and what it stood for.
pub(crate) type Placed = (Vec<u8>, NodeId);

/// What is done with each path that is met.
type Taker<'t> = &'t mut dyn FnMut(&[u8], NodeId, Kind) -> Tried<()>;

/// The files at and below a path as the journal has them.
pub(crate) fn files(source: &dyn Source, top: &[u8]) -> Tried<Vec<Placed>> {
    let mut found = Vec::new();
    let Some(entry) = source.resolve(top)? else { return Ok(found) };
    each(source, top, entry.node, entry.kind, &mut |path, node, kind| {
        if kind == Kind::File {
            found.push((path.to_vec(), node));
        }
        Ok(())
    })?;
    Ok(found)
}

fn bytes_below(source: &dyn Source, node: NodeId, kind: Kind) -> Tried<u64> {
    let mut bytes = 0;
    let mut met = BTreeSet::new();
    each(source, b"", node, kind, &mut |_, node, kind| {
        if kind == Kind::File && met.insert(node) {
            bytes += size(source, node)?;
        }
        Ok(())
    })?;
    Ok(bytes)
}

fn size(source: &dyn Source, node: NodeId) -> Tried<u64> {
    Ok(source.version(node)?.map_or(0, |at| at.version.meta.size))
}

fn each(source: &dyn Source, top: &[u8], node: NodeId, kind: Kind, take: Taker<'_>) -> Tried<()> {
    let mut open = vec![(top.to_vec(), node, kind)];
    // Damage may make a directory its own.
    let mut met = BTreeSet::new();
    while let Some((path, node, kind)) = open.pop() {
        if interrupt::requested() {
            return Err(crate::errors::Error::Interrupted.into());
        }
        take(&path, node, kind)?;
        if kind == Kind::Dir && met.insert(node) {
            for entry in source.list(node)? {
                open.push((path::join(&path, &entry.name), entry.node, entry.kind));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_another_is_not_restored_twice() {
        let paths = [&b"/a/b"[..], b"/a", b"/ab", b"/a/c/d", b"/a"].map(<[u8]>::to_vec);
        assert_eq!(outermost(&paths), [b"/a".to_vec(), b"/ab".to_vec()]);
    }
}
