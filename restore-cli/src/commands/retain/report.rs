//! What `retain --dry-run` says: for people a table and sentences, all of it as JSON Lines.

use std::os::unix::ffi::OsStrExt;

use asof_journal::reader::Reader;
use asof_journal::retention::effect::{Counts, Effect, Reasons};
use asof_journal::retention::ladder::{duration, interval};
use asof_journal::retention::{Every, Keeper, Ladder, Policy, Stretch};
use asof_journal::types::Seq;
use indicatif::HumanBytes;
use serde::Serialize;

use super::Source;
use crate::errors::Result;
use crate::output::{Output, PathFields, counted, escape, local};

/// One line of `retain --json`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    /// The policy that was looked at.
    Policy { from: String, keep: Vec<String>, immutable: String, ladders: usize },
    /// A path of which something would go. Without `path`: all that are not told apart.
    Path {
        #[serde(flatten)]
        path: Option<PathFields>,
        #[serde(flatten)]
        counts: CountsLine,
    },
    /// A time of which only some instants could be asked for any more.
    Stretch {
        keep: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        from_seq: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<String>,
        until_seq: u64,
        /// Without it: only what special rules keep.
        #[serde(skip_serializing_if = "Option::is_none")]
        every: Option<String>,
        instants: u64,
    },
    /// Everything together.
    Summary {
        paths: u64,
        #[serde(flatten)]
        counts: CountsLine,
        #[serde(skip_serializing_if = "Option::is_none")]
        oldest_dropped_seq: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        newest_dropped_seq: Option<u64>,
        lists_unreadable: u64,
        instant: String,
        seq: u64,
    },
}

/// What becomes of records.
#[derive(Serialize)]
struct CountsLine {
    bytes: u64,
    base_bytes: u64,
    versions_dropped: u64,
    versions_kept: u64,
    names_dropped: u64,
    names_kept: u64,
    kept: ReasonsLine,
}

/// Why versions stay.
#[derive(Serialize)]
struct ReasonsLine {
    current: u32,
    immutable: u32,
    all: u32,
    grid: u32,
    marks: u32,
    held: u32,
    deletions: u32,
}

impl CountsLine {
    fn new(counts: &Counts) -> CountsLine {
        let Reasons { current, immutable, all, grid, marks, held, deletions } = counts.kept;
        CountsLine {
            bytes: counts.bytes,
            base_bytes: counts.base_bytes,
            versions_dropped: counts.versions_dropped,
            versions_kept: counts.kept.total(),
            names_dropped: counts.bindings_dropped,
            names_kept: counts.bindings_kept,
            kept: ReasonsLine { current, immutable, all, grid, marks, held, deletions },
        }
    }
}

/// Says what a policy would do.
pub(super) struct Report<'r> {
    pub(super) out: &'r mut Output,
    pub(super) reader: &'r Reader,
    pub(super) policy: &'r Policy,
    pub(super) keeper: &'r Keeper,
    pub(super) source: &'r Source,
}

impl Report<'_> {
    /// Prints all of it.
    pub(super) fn print(&mut self, effect: &Effect) -> Result<()> {
        self.policy()?;
        self.paths(effect)?;
        self.summary(effect)?;
        self.stretches(effect)
    }

    fn policy(&mut self) -> Result<()> {
        let from = match self.source {
            Source::Proposed => "--keep".to_owned(),
            Source::Agent => "the running asofd".to_owned(),
            Source::File(path) => escape(path.as_os_str().as_bytes()),
            Source::Default => "the default".to_owned(),
        };
        let ladders = self.policy.ladders();
        let immutable = duration(self.policy.immutable_minutes());
        if self.out.is_json() {
            let keep = ladders.first().map(texts).unwrap_or_default();
            return self.out.object(&Line::Policy { from, keep, immutable, ladders: ladders.len() });
        }
        for (at, ladder) in ladders.iter().enumerate() {
            let what = if at == 0 { "keep" } else { "for some paths" };
            self.out.note(&format!("{what}: {}", texts(ladder).join(", ")));
        }
        self.out.note(&format!("from {from}; what was so within the last {immutable} stays in any case"));
        Ok(())
    }

    fn paths(&mut self, effect: &Effect) -> Result<()> {
        for one in &effect.paths {
            if self.out.is_json() {
                let path = one.path.as_deref().map(PathFields::new);
                self.out.object(&Line::Path { path, counts: CountsLine::new(&one.counts) })?;
                continue;
            }
            let path = match &one.path {
                Some(path) => escape(path),
                None => "(other paths together)".to_owned(),
            };
            let counts = &one.counts;
            let all = counts.versions_dropped + counts.kept.total();
            let bytes = HumanBytes(counts.bytes).to_string();
            let goes = format!("{} of {}", counts.versions_dropped, counted(all, "version"));
            let names = match counts.bindings_dropped {
                0 => String::new(),
                dropped => format!(", {} of its names", dropped),
            };
            let stays = reasons(&counts.kept);
            self.out.line(&format!("{bytes:>12}  {goes:<24}  {path}  ({stays}{names})"))?;
        }
        let hidden = effect.paths_concerned.saturating_sub(effect.paths.len() as u64);
        if hidden > 0 {
            self.out.note(&format!("{} more: -n 0 names all that lose something", counted(hidden, "path")));
        }
        Ok(())
    }

    fn summary(&mut self, effect: &Effect) -> Result<()> {
        let total = &effect.total;
        if self.out.is_json() {
            let seq = self.keeper.now();
            return self.out.object(&Line::Summary {
                paths: effect.paths_concerned,
                counts: CountsLine::new(total),
                oldest_dropped_seq: effect.dropped.map(|(oldest, _)| oldest.0),
                newest_dropped_seq: effect.dropped.map(|(_, newest)| newest.0),
                lists_unreadable: effect.unreadable,
                instant: self.instant(seq)?.unwrap_or_default(),
                seq: seq.0,
            });
        }
        let (versions, names) =
            (total.versions_dropped + total.kept.total(), total.bindings_dropped + total.bindings_kept);
        if total.versions_dropped + total.bindings_dropped == 0 {
            self.out.line(&format!("nothing would go; {} stay", counted(versions, "version")))?;
        } else {
            self.out.line(&format!(
                "{} of {} and {} of {} would go, which frees {}; {}",
                total.versions_dropped,
                counted(versions, "version"),
                total.bindings_dropped,
                counted(names, "change of a name"),
                HumanBytes(total.bytes),
                reasons(&total.kept),
            ))?;
        }
        if total.base_bytes > 0 {
            self.out.line(&format!(
                "of these, {} are bases of differences that stay: they go once those are stored anew, which costs some",
                HumanBytes(total.base_bytes)
            ))?;
        }
        if effect.unreadable > 0 {
            self.out.warn(&format!(
                "{} could not be read; what they refer to is not counted: `asof verify --deep` says more",
                counted(effect.unreadable, "list of blocks of a large file")
            ));
        }
        Ok(())
    }

    /// Which instants could no longer be asked for.
    fn stretches(&mut self, effect: &Effect) -> Result<()> {
        if effect.dropped.is_none() && effect.total.bindings_dropped == 0 {
            return Ok(());
        }
        let several = self.policy.ladders().len() > 1;
        for (id, ladder) in self.policy.numbered() {
            let exact = self.keeper.exact_from(id);
            let coarse = |stretch: &&Stretch| stretch.every != Some(Every::All) && stretch.from < exact;
            let stretches: Vec<Stretch> = self.keeper.stretches(id).iter().filter(coarse).copied().collect();
            if several && !self.out.is_json() && !stretches.is_empty() {
                self.out.line(&format!("paths that keep {}:", texts(ladder).join(", ")))?;
            }
            for stretch in stretches {
                self.stretch(ladder, &stretch, exact)?;
            }
        }
        Ok(())
    }

    fn stretch(&mut self, ladder: &Ladder, stretch: &Stretch, exact: Seq) -> Result<()> {
        let (from, until) = (stretch.from.max(Seq(1)), stretch.until.min(exact));
        let every = match stretch.every {
            Some(Every::Minutes(minutes)) => Some(interval(minutes)),
            Some(Every::All) | None => None,
        };
        if self.out.is_json() {
            let (from_seq, until_seq) = (from.0, until.0);
            let (from, until) = (self.instant(from)?, self.instant(until)?);
            let (keep, instants) = (texts(ladder), stretch.instants);
            return self.out.object(&Line::Stretch {
                keep,
                from,
                from_seq,
                until,
                until_seq,
                every,
                instants,
            });
        }
        let stays = match every {
            Some(every) => format!("every {every}: {} stay", counted(stretch.instants, "instant")),
            None => "only what is marked, held or deleted since".to_owned(),
        };
        let shown = |at: Seq| -> Result<String> {
            Ok(self.reader.at_seq(at)?.map_or_else(|| at.to_string(), |moment| local(moment.instant)))
        };
        let line = format!("from {} to {}: {stays}", shown(from)?, shown(until)?);
        self.out.line(&line)
    }

    fn instant(&self, seq: Seq) -> Result<Option<String>> {
        Ok(self.reader.at_seq(seq)?.map(|moment| moment.instant.to_rfc3339()))
    }
}

fn texts(ladder: &Ladder) -> Vec<String> {
    ladder.steps().iter().map(ToString::to_string).collect()
}

/// Why the rest stays.
fn reasons(kept: &Reasons) -> String {
    let words = [
        (kept.current, "current"),
        (kept.immutable, "recent"),
        (kept.all, "where all are kept"),
        (kept.grid, "by the interval"),
        (kept.marks, "by marks"),
        (kept.held, "held"),
        (kept.deletions, "before deletions"),
    ];
    let said: Vec<String> =
        words.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}")).collect();
    match said.as_slice() {
        [] => "none stays".to_owned(),
        said => format!("stay: {}", said.join(", ")),
    }
}
