//! A drill from its file to its verdict.
//!
//! Owns the order of things and the clocks: what is prepared before the restore is requested, what counts as recovery, what
//! is cleaned up. Never writes to the live tree or the live journal.

mod draft;
mod failure;
pub(crate) mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use asof_journal::reader::{Moment, Reader};
use asof_journal::rules::Rules;
use asof_journal::types::{GapReason, Instant};
use asof_journal::view::related;

use super::assert::{self, LastSuccess};
use super::bring;
use super::child::ms;
use super::compare::{self, Findings};
use super::hooks::{self, About, Event};
use super::ledger::Ledger;
use super::oracle::{Case, Oracle, Wanted};
use super::report::{Assertion, Gap, Name, Outcome, Report, Stamp, Target};
use super::reports;
use super::scenario::{self, Prepared};
use super::scratch::{self, Scratch};
use super::select;
use super::spec::{At, Spec};
use super::stop::{Stop, Tried};
use super::store::{self, Kept, Past, Store};
use super::witness;
use crate::args::DrillArgs;
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Output, Paint, escape};
use crate::session::Session;

pub(crate) use draft::{Draft, now};

/// Where everything is restored into, within the scratch space.
pub(crate) const RESTORED: &str = "restored";

/// Runs a drill, keeps its report, and ends with its verdict.
pub(crate) fn run(session: &Session, args: &DrillArgs, file: &Path, out: &mut Output) -> Result<()> {
    interrupt::catch();
    interrupt::catch_hangup();
    let (mut spec, text) = Spec::read(file)?;
    if args.seed.is_some() {
        spec.seed = args.seed;
    }
    reports::prefer(&mut spec.reports, &args.reports);
    for to in spec.hooks.start.iter().chain(&spec.hooks.success).chain(&spec.hooks.failure) {
        hooks::check(to).map_err(|why| {
            Error::usage(format!("hooks: {why}"), "say an http or https address, or a list of words")
        })?;
    }
    reports::check(&spec.reports, session.journal())?;
    let info = session.reader()?.info()?;
    let state = match args.state.clone().or_else(|| spec.state.clone()) {
        Some(state) => state,
        None => store::default_state()?,
    };
    place::outside_journal(&state, session.journal(), "the state directory")?;
    let store = Store::new(&state, &info.uuid);
    store.prepare()?;
    let past = store.past()?;
    let parent = spec.scratch.clone().unwrap_or_else(std::env::temp_dir);
    place::scratch(session.reader()?, session.journal(), &parent)?;

    let mut draft = Draft::new(&spec, file, &text, session.journal(), &info.uuid);
    draft.report.hooks = hooks::tell(&spec.hooks, Event::Start, &About { drill: &spec.name, report: None });
    draft.report.clean_up = scratch::remove_left(&parent);
    if let Some(broken) = past.breaks.first() {
        let what =
            format!("the chain of past reports is broken: {}; `asof drill history` says where", broken.what);
        draft.report.warnings.push(what);
    }
    let mut drill =
        Drill { session: session.again(), spec: &spec, store: &store, past: &past, out: &mut *out };
    let ended = drill.conduct(&parent, &mut draft);
    let interrupted = match ended {
        Ok(()) => None,
        Err(Stop::Inconclusive(why)) => {
            draft.unjudged(&spec, &why);
            None
        }
        Err(Stop::Error(
            error @ (Error::Interrupted | Error::Usage { .. } | Error::OutputClosed | Error::Output(_)),
        )) => Some(error),
        Err(Stop::Error(error)) => {
            draft.unjudged(&spec, &error.to_string());
            None
        }
    };
    draft.end();
    if let Some(error) = interrupted {
        draft.unjudged(&spec, &error.to_string());
        hooks::tell(&spec.hooks, Event::Failure, &About { drill: &spec.name, report: Some(&draft.report) });
        return Err(match error {
            Error::Interrupted => advised(&draft.report),
            other => other,
        });
    }
    publish(&spec, &store, draft.report, out)
}

/// What is left of a drill that was interrupted, for whoever interrupted it.
fn advised(report: &Report) -> Error {
    let left = report.clean_up.iter().find(|piece| !piece.removed);
    let next = match left {
        None => "its scratch space is removed, and no report of it is kept; the same command begins anew"
            .to_owned(),
        Some(left) => format!("{} is left: remove it, or let the next drill do so", left.path.path),
    };
    Error::Advised { what: "the drill was interrupted".to_owned(), next, status: 130 }
}

/// Tells everybody, keeps the report, prints it, and gives the verdict.
fn publish(spec: &Spec, store: &Store, mut report: Report, out: &mut Output) -> Result<()> {
    let about = About { drill: &spec.name, report: Some(&report) };
    let told = hooks::tell(&spec.hooks, Event::of(report.outcome), &about);
    report.hooks.extend(told);
    let silent: Vec<String> = hooks::warnings(&report.hooks).collect();
    report.warnings.extend(silent);
    let kept = store.append(report)?;
    let past = store.past()?;
    let mut unwritten = reports::write_all(&kept, &past, &spec.reports);
    for error in &unwritten {
        out.problem(&error.to_string());
    }
    show(&kept, out)?;
    verdict(&kept)?;
    match unwritten.pop() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// What a person sees, or the report as JSON.
fn show(kept: &Kept, out: &mut Output) -> Result<()> {
    let report = &kept.report;
    for warning in &report.warnings {
        out.warn(&escape(warning.as_bytes()));
    }
    if out.is_json() {
        return out.object(report);
    }
    let word = |outcome: Outcome, out: &Output| {
        let (paint, word) = match outcome {
            Outcome::Pass => (Paint::Green, "pass"),
            Outcome::Fail => (Paint::Red, "FAIL"),
            Outcome::Inconclusive => (Paint::Yellow, "?"),
        };
        out.paint(paint, &format!("{word:4}"))
    };
    for Assertion { name, outcome, message, details, details_left_out, .. } in &report.assertions {
        let line = format!("{}  {name:16}  {}", word(*outcome, out), escape(message.as_bytes()));
        out.line(&line)?;
        if *outcome != Outcome::Pass {
            for detail in details.iter().take(5) {
                out.line(&format!("        {detail}"))?;
            }
            let more = *details_left_out + details.len().saturating_sub(5) as u64;
            if more > 0 {
                out.line(&format!("        and {more} more"))?;
            }
        }
    }
    let at =
        report.instant.resolved.map_or(String::new(), |at| format!(" as of {}", crate::output::local(at.0)));
    let drill = escape(report.identity.drill.as_bytes());
    let outcome = report.outcome.as_str();
    out.line(&format!("{drill}: {outcome}: {} ({}{at})", escape(report.why.as_bytes()), report.scenario))?;
    let file = escape(std::os::unix::ffi::OsStrExt::as_bytes(kept.file.as_os_str()));
    out.note(&format!("the report is number {} of its chain: {file}", report.chain.number));
    Ok(())
}

fn verdict(kept: &Kept) -> Result<()> {
    let Report { outcome, identity, why, seed, .. } = &kept.report;
    let drill = escape(identity.drill.as_bytes());
    let again = format!("--seed {seed} takes the same choices again");
    match outcome {
        Outcome::Pass => Ok(()),
        Outcome::Fail => Err(Error::assertion(format!("the drill {drill} failed: {why}"), again)),
        Outcome::Inconclusive => Err(Error::Inconclusive {
            what: format!("the drill {drill} is inconclusive: {why}"),
            next: again,
        }),
    }
}

/// A drill that is being run.
pub(crate) struct Drill<'d> {
    /// Opened anew, after everything was made durable.
    pub(crate) session: Session,
    /// What it is.
    pub(crate) spec: &'d Spec,
    store: &'d Store,
    past: &'d Past,
    out: &'d mut Output,
}

impl Drill<'_> {
    /// Everything between the first look and the clean-up.
    fn conduct(&mut self, parent: &Path, draft: &mut Draft) -> Tried<()> {
        let scratch = Scratch::create(parent, self.spec.max_bytes.map(|most| most.0))?;
        let done = self.within(&scratch, draft);
        draft.report.cost.scratch_limit_bytes = scratch.limit();
        draft.report.cost.peak_memory_of_programs_bytes = scratch.memory();
        let told = {
            scratch.used();
            draft.report.cost.scratch_bytes = Some(scratch.peak());
            scratch.remove()
        };
        if let (false, Some(why)) = (told.removed, &told.why) {
            draft
                .report
                .warnings
                .push(format!("scratch space could not be removed: {}: {why}", told.path.path));
        }
        draft.report.clean_up.push(told);
        done
    }

    fn within(&mut self, scratch: &Scratch, draft: &mut Draft) -> Tried<()> {
        let seed = draft.report.seed;
        let failure = failure::suppose(self, scratch, draft)?;
        let mut ledger =
            Ledger::open(self.store.dir(), &self.spec.name, seed).map_err(|source| Error::Io {
                path: escape(std::os::unix::ffi::OsStrExt::as_bytes(self.store.dir().as_os_str())),
                action: "reading what was drilled before",
                source,
            })?;
        let mut prepared = scenario::prepare(self, scratch, draft, &mut ledger, seed)?;
        if prepared.chosen.paths.is_empty() {
            return Err(Stop::Inconclusive("nothing was selected: there is nothing to restore".to_owned()));
        }
        draft.selected(&prepared);
        scratch.room_for(prepared.chosen.bytes)?;
        let into = scratch.make(RESTORED)?;

        draft.requested();
        scenario::locate(&mut prepared, scratch, draft)?;
        let mut brought = bring::restore(
            scratch,
            &prepared.journal,
            &prepared.at,
            &prepared.chosen.tops,
            &into,
            &mut draft.report.commands,
        )?;
        brought.lab_root.clone_from(&prepared.lab_root);
        draft.restored(&brought);
        let there = brought.look(&|path| prepared.oracle.wants_sha256(path))?;
        let restored = compare::Restored {
            there: &there,
            refused: &brought.refused,
            chosen: &prepared.chosen.paths,
            excused: &prepared.excused,
            owners: rustix::process::geteuid().is_root(),
        };
        let findings = compare::compare(&restored, &prepared.oracle);
        draft.verified(&findings, &brought);
        scratch.used();

        let rpo = match &prepared.rpo {
            Some(rpo) => *rpo,
            None => failure.rpo(&prepared, self),
        };
        draft.measured(self.spec, rpo.ok(), &prepared, failure.at);
        let reader_moment = prepared.moment;
        let tops = &prepared.chosen.paths;
        let gaps = |window: std::time::Duration| self.gaps(&reader_moment, window, tops);
        let case = assert::Case {
            spec: self.spec,
            scratch,
            brought: &brought,
            findings: &findings,
            remarks: &prepared.oracle.remarks,
            gaps: &gaps,
            rto: draft.report.rto,
            rpo: draft.report.rpo,
            rpo_unknown: rpo.err().unwrap_or_default(),
            last_success: last_success(self.past, &self.spec.name, draft.started),
        };
        let mut commands = std::mem::take(&mut draft.report.commands);
        let judged = assert::judge(&case, &mut commands);
        draft.report.commands = commands;
        let mut judged = judged?;
        judged.extend(scenario::judge(&prepared, &brought, &findings));
        assert::number(&mut judged);
        draft.report.gaps = self.window_gaps(&prepared)?;
        draft.judged(judged);
        draft.report.evidence.append(&mut prepared.oracle.evidence);
        draft.report.warnings.extend(prepared.oracle.remarks.iter().cloned());
        self.cover(&mut ledger, &prepared, &findings, draft)
    }

    /// Asks witnesses and the live tree what was chosen had been at an instant of the live journal. `is_meant` says whether
    /// that is the one that the drill names.
    pub(crate) fn ask_oracle(
        &self,
        moment: &Moment,
        paths: &BTreeSet<Vec<u8>>,
        is_trees: bool,
        is_meant: bool,
    ) -> Tried<Oracle> {
        let reader = self.session.reader()?;
        let rules = rules(reader, moment)?;
        let trees: Vec<Vec<u8>> = paths.iter().cloned().collect();
        let wanted = if is_trees { Wanted::Trees(&trees) } else { Wanted::Paths(paths) };
        let journal = reader.info()?.uuid;
        let now = Instant(chrono::Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX));
        let at = is_meant.then_some(&self.spec.when.at);
        let case = Case { moment, journal: &journal, rules: &rules, wanted, now, at };
        let oracle = Oracle::ask(&self.spec.oracle, &case);
        match interrupt::requested() {
            true => Err(Stop::Error(Error::Interrupted)),
            false => Ok(oracle),
        }
    }

    /// The instant of the live journal that is meant, with everything before now made durable where an agent runs.
    pub(crate) fn moment(&mut self, ledger: &Ledger, seed: u64) -> Tried<Moment> {
        let asked = self.spec.seed.map(|seed| (ledger, seed));
        select::moment(&self.session, &self.spec.when.at, seed, asked, self.out)
    }

    /// Chooses from the live journal.
    pub(crate) fn choose(&self, moment: &Moment, ledger: &mut Ledger) -> Tried<select::Chosen> {
        let reader = self.session.reader()?;
        let journal = reader.info()?.uuid;
        let witnessed = |below: &[Vec<u8>]| witnessed_files(self.spec, &journal, moment, below);
        select::choose(self.spec, reader, moment, ledger, self.spec.seed, &witnessed)
    }

    fn gaps(
        &self,
        moment: &Moment,
        window: std::time::Duration,
        paths: &BTreeSet<Vec<u8>>,
    ) -> Tried<Vec<Gap>> {
        let until = moment.instant.max(moment.asked);
        let from = Instant(until.0.saturating_sub(i64::try_from(window.as_nanos()).unwrap_or(i64::MAX)));
        let reader = self.session.reader()?;
        let mut gaps = reader.view(reader.head()).all_gaps()?;
        // Before the first capture there is no history that could have a gap.
        gaps.retain(|gap| {
            gap.reason != GapReason::Starting
                && gap.from <= until
                && gap.until >= from
                && paths.iter().any(|path| related(path, &gap.scope))
        });
        let gaps = gaps.into_iter().map(|gap| Gap {
            from: Stamp(gap.from),
            to: (!gap.is_open()).then_some(Stamp(gap.until)),
            below: Name::new(&gap.scope),
            why: match gap.detail.is_empty() {
                true => gap.reason.as_str().to_owned(),
                false => format!("{}: {}", gap.reason.as_str(), gap.detail),
            },
        });
        Ok(gaps.collect())
    }

    /// Those of the largest window that an assertion looks at; of the last day where none does.
    fn window_gaps(&self, prepared: &Prepared) -> Tried<Vec<Gap>> {
        if self.spec.scenario.has_lab() {
            return Ok(Vec::new());
        }
        let windows = self.spec.asserts.iter().filter_map(|assert| match assert {
            super::spec::Assert::NoGap { window } => Some(window.0),
            _ => None,
        });
        let window = windows.max().unwrap_or(super::spec::Length::default().0);
        self.gaps(&prepared.moment, window, &prepared.chosen.paths)
    }

    /// Takes note of what was drilled, and says how much there was ever.
    fn cover(
        &self,
        ledger: &mut Ledger,
        prepared: &Prepared,
        findings: &Findings,
        draft: &mut Draft,
    ) -> Tried<()> {
        let reader = self.session.reader()?;
        let info = reader.info()?;
        let head = match reader.at_seq(reader.head())? {
            Some(head) => head,
            None => return Ok(()),
        };
        if !self.spec.scenario.has_lab() && prepared.chosen.counts {
            let taken: BTreeMap<&[u8], bool> = match prepared.chosen.is_trees {
                false => prepared
                    .chosen
                    .paths
                    .iter()
                    .map(|path| (path.as_slice(), findings.compared.contains(path)))
                    .collect(),
                true => findings.compared.iter().map(|path| (path.as_slice(), true)).collect(),
            };
            ledger.note(draft.report.seed, prepared.moment.seq.0, prepared.moment.instant.0, taken);
            if let Err(error) = ledger.save() {
                draft.report.warnings.push(format!("what was drilled could not be noted: {error}"));
            }
        }
        let source = crate::source::AtSeq::new(reader, &head);
        let (mut total, mut drilled) = (0, 0);
        for root in select::roots(reader, &head)? {
            let files = select::files(&source, &root)?;
            total += files.len() as u64;
            drilled += ledger.compared(files.iter().map(|(path, _)| path.as_slice()));
        }
        let first = info.first.map_or(head.instant, |first| first.instant);
        draft.covered((drilled, total), ledger.days(first.0, head.instant.0.max(first.0)));
        Ok(())
    }
}

/// What the policy left out at an instant.
pub(crate) fn rules(reader: &Reader, moment: &Moment) -> Tried<Rules> {
    Rules::new(&reader.view_at(moment).policy()?).map_err(|error| {
        let what = format!("the rules in the journal are not understood: {error}");
        Stop::Error(Error::failed(what, "use the version of asof that wrote the journal, or a newer one"))
    })
}

/// The files below paths that a witness of this very instant knows.
fn witnessed_files(spec: &Spec, journal: &str, moment: &Moment, below: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for path in super::oracle::files(&spec.oracle.witness, &mut Vec::new()) {
        let is_it = witness::header(&path).is_ok_and(|header| {
            header.seq == Some(moment.seq.0) && header.journal.as_deref().is_none_or(|named| named == journal)
        });
        if is_it {
            let mut files = Vec::new();
            let read = witness::read(&path, &mut |line| {
                let path = line.name.bytes();
                if line.seen.is_file() && below.iter().any(|top| asof_journal::view::is_below(&path, top)) {
                    files.push(path);
                }
            });
            // One that is broken says nothing; the oracle says why.
            if read.is_ok() {
                found.append(&mut files);
            }
        }
    }
    found
}

/// How long ago everything but the age itself held.
fn last_success(past: &Past, name: &str, now: Stamp) -> LastSuccess {
    let ago = |at: Stamp| u64::try_from(now.0.0.saturating_sub(at.0.0).max(0)).unwrap_or(0) / 1_000_000;
    let mut first = None;
    for kept in past.of(name).rev() {
        first = Some(kept.report.times.ended);
        let mut others = kept.report.assertions.iter().filter(|of| of.kind != "last-success-age").peekable();
        if others.peek().is_some() && others.all(|of| of.outcome == Outcome::Pass) {
            return LastSuccess::Ago(ago(kept.report.times.ended));
        }
    }
    first.map_or(LastSuccess::First, |first| LastSuccess::Never(ago(first)))
}
