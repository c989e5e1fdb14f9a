//! What a restore says: progress, problems and the summary.

use std::time::{Duration, Instant as Stopwatch};

use asof_journal::reader::Moment;
use serde::Serialize;

use super::in_place::Done;
use crate::errors::{Error, Result};
use crate::output::{Output, PathFields, escape, local};
use crate::plan::in_place::InPlacePlan;
use crate::plan::{Older, Problem, RestorePlan, Totals, describe};
use crate::source::Source;
use crate::write::{Counts, Event};

/// How often a line of progress goes out under `--json`.
const JSON_PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// One line of `restore --json`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Plan {
        kind: &'static str,
        #[serde(flatten)]
        path: PathFields,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
    },
    Progress {
        files: u64,
        files_total: u64,
        bytes: u64,
        bytes_total: u64,
    },
    Problem {
        #[serde(flatten)]
        path: PathFields,
        error: String,
    },
    /// An older version is taken, which is clean; `quality` is that of the one that was asked for.
    Older {
        #[serde(flatten)]
        path: PathFields,
        quality: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        instant: Option<String>,
        seq: u64,
    },
    Summary {
        files: u64,
        dirs: u64,
        symlinks: u64,
        hardlinks: u64,
        specials: u64,
        bytes: u64,
        cloned: u64,
        skipped: u64,
        sockets: u64,
        torn: u64,
        provisional: u64,
        older: u64,
        none_clean: u64,
        problems: u64,
        dry_run: bool,
        seconds: f64,
        instant: String,
        seq: u64,
        /// Where not everything of that moment is kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        thinned: Option<Thinned>,
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        in_place: Option<InPlace>,
    },
}

/// The nearest moments of which everything is kept, for `--at`.
#[derive(Serialize)]
struct Thinned {
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// What the summary of a restore in place has beside that.
#[derive(Serialize)]
struct InPlace {
    created: u64,
    overwritten: u64,
    deleted: u64,
    metadata: u64,
    unchanged: u64,
    left: u64,
    /// `--at` of the state before it; absent where it is not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

/// One restore's voice.
pub(super) struct Report<'o> {
    /// Where it goes.
    pub(super) out: &'o mut Output,
    source: &'o dyn Source,
    moment: Moment,
    started: Stopwatch,
}

impl<'o> Report<'o> {
    /// Of a restore of a moment that began at `started`; `source` tells when a version was committed.
    pub(super) fn new(
        out: &'o mut Output,
        source: &'o dyn Source,
        moment: Moment,
        started: Stopwatch,
    ) -> Report<'o> {
        Report { out, source, moment, started }
    }

    /// Ends with a plan in place that is not carried out: nobody asked for that, or there is nothing to do.
    pub(super) fn planned_in_place(
        &mut self,
        planned: &InPlacePlan,
        dry_run: bool,
        is_undo: bool,
    ) -> Result<()> {
        self.beforehand(&planned.plan);
        let problems = planned.plan.problems.len() as u64;
        match dry_run {
            true => {}
            false if is_undo && problems > 0 => self.left_by_undo(problems),
            false => self.out.note("there is nothing to do"),
        }
        let preview = &planned.preview;
        let in_place = InPlace {
            created: preview.created.entries,
            overwritten: preview.overwritten.entries,
            deleted: preview.deleted.entries,
            metadata: preview.metadata,
            unchanged: preview.unchanged,
            left: preview.left,
            before: None,
        };
        let counts = if dry_run { would_be(&planned.plan.totals) } else { Counts::default() };
        self.summary(&planned.plan, counts, dry_run, Some(in_place))
    }

    /// Says how to go on from what an undo leaves.
    fn left_by_undo(&mut self, problems: u64) {
        let (what, is) = if problems == 1 { ("1 entry", "is") } else { ("entries", "are") };
        let number = if problems == 1 { String::new() } else { format!("{problems} ") };
        self.out.note(&format!(
            "{number}{what} named above {is} left: `asof undo` tries again, `asof undo --overwrite always` also takes back \
             what was changed since, `asof undo --next` leaves it and goes on to the restore before"
        ));
    }

    /// Says what a restore in place did, how it is taken back, and how it ends.
    pub(super) fn finish_in_place(
        &mut self,
        planned: &InPlacePlan,
        done: &Done,
        is_undo: bool,
    ) -> Result<()> {
        let counts = done.counts;
        self.last_progress(&planned.plan, &counts);
        let before = done.id.map(|id| id.to_string());
        if let Some(before) = &before {
            self.out.note(&match is_undo {
                false => "`asof undo` takes this back".to_owned(),
                true => format!("the state before this undo is {before}"),
            });
        }
        let problems = planned.plan.problems.len() as u64 + counts.problems;
        if is_undo && problems > 0 {
            self.left_by_undo(problems);
        }
        let in_place = InPlace {
            created: counts.created,
            overwritten: counts.overwritten,
            deleted: counts.deleted,
            metadata: counts.metadata,
            unchanged: planned.preview.unchanged,
            left: planned.preview.left,
            before,
        };
        self.summary(&planned.plan, counts, false, Some(in_place))
    }

    /// Prints the plan instead of carrying it out.
    pub(super) fn dry_run(&mut self, plan: &RestorePlan, target: &[u8]) -> Result<()> {
        self.out.note(&format!("would restore to {}", escape(target)));
        for (index, dir) in (0u32..).zip(&plan.dirs) {
            if dir.node.is_some() {
                self.planned("dir", &plan.path_of_dir(index), None)?;
            }
        }
        for node in &plan.nodes {
            self.planned(node.kind.as_str(), &plan.path_in(node.dir, &node.name), Some(node.size))?;
        }
        for link in &plan.links {
            self.planned("hardlink", &plan.path_in(link.dir, &link.name), None)?;
        }
        self.beforehand(plan);
        self.summary(plan, would_be(&plan.totals), true, None)
    }

    fn planned(&mut self, kind: &'static str, path: &[u8], size: Option<u64>) -> Result<()> {
        if self.out.is_json() {
            return self.out.object(&Line::Plan { kind, path: PathFields::new(path), size });
        }
        self.out.line(&describe(kind, path, size))
    }

    /// Names what is known beforehand, and starts the bar.
    pub(super) fn begin(&mut self, plan: &RestorePlan) {
        self.beforehand(plan);
        self.out.start_progress(plan.totals.bytes);
        self.last_progress(plan, &Counts::default());
    }

    /// What is known before anything is written.
    fn beforehand(&mut self, plan: &RestorePlan) {
        for older in &plan.older {
            self.older(older);
        }
        for problem in &plan.problems {
            self.problem(problem);
        }
    }

    fn older(&mut self, older: &Older) {
        let instant = self.source.instant_of(older.seq).ok().flatten();
        if self.out.is_json() {
            let line = Line::Older {
                path: PathFields::new(&older.path),
                quality: older.quality,
                instant: instant.map(|instant| instant.to_rfc3339()),
                seq: older.seq.0,
            };
            let _ = self.out.object(&line);
        }
        let of = instant.map_or_else(|| older.seq.to_string(), |at| format!("{} ({})", local(at), older.seq));
        self.out.note(&format!(
            "{}: the clean version of {of} is taken; that of the time was {}",
            escape(&older.path),
            older.quality
        ));
    }

    /// Passes on what a restore under way has to say.
    pub(super) fn hear(&mut self, event: Event, counts: &Counts, plan: &RestorePlan) {
        match event {
            Event::Problem(problem) => self.problem(&problem),
            Event::Remark(text) => self.out.warn(text),
            Event::Progress(counts) => {
                self.out.progress(counts.bytes, format!("{}/{} files", counts.files, plan.totals.files));
                self.json_progress(&counts, plan);
                return;
            }
        }
        self.json_progress(counts, plan);
    }

    fn json_progress(&mut self, counts: &Counts, plan: &RestorePlan) {
        let elapsed = self.started.elapsed().as_millis();
        // Ticks come ten times a second; every fifth is enough for a script.
        if self.out.is_json() && elapsed % JSON_PROGRESS_EVERY.as_millis() < 100 {
            self.last_progress(plan, counts);
        }
    }

    fn last_progress(&mut self, plan: &RestorePlan, counts: &Counts) {
        if self.out.is_json() {
            let line = Line::Progress {
                files: counts.files,
                files_total: plan.totals.files,
                bytes: counts.bytes,
                bytes_total: plan.totals.bytes,
            };
            // A reader that went away does not end a restore.
            let _ = self.out.object(&line).and_then(|()| self.out.flush());
        }
    }

    fn problem(&mut self, problem: &Problem) {
        self.out.problem(&format!("{}: {}", escape(&problem.path), problem.error));
        if self.out.is_json() {
            let line = Line::Problem { path: PathFields::new(&problem.path), error: problem.error.clone() };
            let _ = self.out.object(&line);
        }
    }

    /// Says what was done, and how it ends.
    pub(super) fn finish(&mut self, plan: &RestorePlan, counts: Counts) -> Result<()> {
        self.last_progress(plan, &counts);
        self.summary(plan, counts, false, None)
    }

    fn summary(
        &mut self,
        plan: &RestorePlan,
        counts: Counts,
        dry_run: bool,
        in_place: Option<InPlace>,
    ) -> Result<()> {
        let problems = plan.problems.len() as u64 + counts.problems;
        let totals = plan.totals;
        if totals.sockets > 0 {
            self.out
                .note(&format!("{} sockets left out: the programs that listen create them", totals.sockets));
        }
        for text in trust(&totals, dry_run) {
            self.out.warn(&text);
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let result = if self.out.is_json() {
            self.out.object(&Line::Summary {
                files: counts.files,
                dirs: counts.dirs,
                symlinks: counts.symlinks,
                hardlinks: counts.hardlinks,
                specials: counts.specials,
                bytes: counts.bytes,
                cloned: counts.cloned,
                skipped: counts.skipped,
                sockets: totals.sockets,
                torn: totals.torn,
                provisional: totals.provisional,
                older: totals.older,
                none_clean: totals.none_clean,
                problems,
                dry_run,
                seconds,
                instant: self.moment.instant.to_rfc3339(),
                seq: self.moment.seq.0,
                thinned: self.source.around()?.map(|around| Thinned {
                    before: around.before.map(|at| at.seq.to_string()),
                    after: around.after.map(|at| at.seq.to_string()),
                }),
                in_place,
            })
        } else {
            // A dry run in place has said it already.
            match in_place {
                Some(_) if dry_run => {}
                Some(_) => self.out.note(&in_place_sentence(&counts, seconds)),
                None => self.out.note(&sentence(&counts, seconds, dry_run)),
            }
            Ok(())
        };
        match result {
            Err(Error::OutputClosed) | Ok(()) if problems > 0 => Err(Error::Partly { problems }),
            other => other,
        }
    }
}

/// How far what is taken can be trusted, where that is not all the way.
fn trust(totals: &Totals, dry_run: bool) -> Vec<String> {
    let mut said = Vec::new();
    let advice =
        if totals.none_clean == 0 { "; `--prefer clean` takes older ones that are whole" } else { "" };
    if totals.torn > 0 {
        said.push(format!("{} files kept changing while they were captured (torn){advice}", totals.torn));
    }
    if totals.provisional > 0 {
        let count = totals.provisional;
        said.push(format!(
            "{count} files may have been written to while they were captured (provisional){advice}"
        ));
    }
    if totals.older > 0 {
        let done = if dry_run { "would be restored" } else { "were restored" };
        said.push(format!("{} files {done} as they were earlier, when they were clean", totals.older));
    }
    said
}

/// What a plan comes to where nothing goes wrong.
fn would_be(totals: &Totals) -> Counts {
    Counts {
        dirs: totals.dirs,
        files: totals.files,
        symlinks: totals.symlinks,
        specials: totals.specials,
        hardlinks: totals.hardlinks,
        bytes: totals.bytes,
        ..Counts::default()
    }
}

fn in_place_sentence(counts: &Counts, seconds: f64) -> String {
    let Counts { created, overwritten, deleted, metadata, .. } = *counts;
    let bytes = indicatif::HumanBytes(counts.bytes);
    format!(
        "restored in place: {created} created, {overwritten} overwritten ({bytes} written), {deleted} deleted, {metadata} \
         metadata only, in {seconds:.1} s"
    )
}

fn sentence(counts: &Counts, seconds: f64, dry_run: bool) -> String {
    let Counts { files, dirs, symlinks, hardlinks, specials, skipped, .. } = *counts;
    let bytes = indicatif::HumanBytes(counts.bytes);
    let lead = if dry_run { "would restore" } else { "restored" };
    let mut text = format!(
        "{lead} {files} files ({bytes}), {dirs} directories, {symlinks} symlinks, {hardlinks} hard links"
    );
    if specials > 0 {
        text.push_str(&format!(", {specials} fifos and devices"));
    }
    if skipped > 0 {
        text.push_str(&format!("; {skipped} left as they were"));
    }
    text.push_str(&format!(" in {seconds:.1} s"));
    text
}
