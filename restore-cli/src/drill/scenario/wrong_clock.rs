//! The clock is off while the agent runs, and is put right later. The order of things has to hold all the same.

use std::ffi::OsStr;
use std::path::PathBuf;

use asof_journal::reader::Moment;

use super::lab::{Lab, Synced, ms_between, put};
use super::{Particular, Prepared};
use crate::drill::assert::verdict;
use crate::drill::bring;
use crate::drill::ledger::Ledger;
use crate::drill::oracle::Oracle;
use crate::drill::report::{Assertion, Outcome};
use crate::drill::run::{Draft, Drill, now};
use crate::drill::scratch::Scratch;
use crate::drill::stop::{Tried, inconclusive};

/// What FAKETIME's library is called where distributions put it, below `/usr/lib` and its directories.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
/// How far the clock is off where the drill does not say.
const OFFSET_SECONDS: i64 = -400 * 86_400;
/// What the file holds that tells both states apart.
const TEXTS: [&str; 2] = ["written under a wrong clock\n", "written when the clock was right again\n"];

/// Works under a wrong clock, then under the right one; the state under the wrong one is what is restored.
pub(super) fn prepare(
    drill: &Drill<'_>,
    moment: &Moment,
    scratch: &Scratch,
    draft: &mut Draft,
    ledger: &mut Ledger,
    _: u64,
) -> Tried<Prepared> {
    let Some(library) = library() else {
        return inconclusive(
            "libfaketime is not installed, and without it no clock can be off for one program alone",
        );
    };
    let seconds = drill.spec.clock_offset.map_or(OFFSET_SECONDS, |offset| offset.0);
    let mut lab = Lab::fill(drill, moment, scratch, draft, ledger)?;
    let file = lab.work()?.join("state");
    lab.start(&[
        ("LD_PRELOAD", library.into()),
        ("FAKETIME", format!("{seconds:+}").into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ])?;
    put(&file, TEXTS[0])?;
    let wrong = lab.sync(draft)?;
    let expected = lab.observe()?;
    let off = wrong.instant.0.0.saturating_sub(now().0.0) / 1_000_000_000;
    lab.stop()?;
    lab.start(&[])?;
    put(&file, TEXTS[1])?;
    let edited = now().0;
    let right = lab.sync(draft)?;
    let failure = now().0;
    let mut told = vec![clock_was_off(off, seconds), order(&wrong, &right)];
    for (synced, text) in [(&wrong, TEXTS[0]), (&right, TEXTS[1])] {
        told.push(state(&lab, &file, synced, text, scratch, draft)?);
    }
    let mut prepared = lab.prepared(&wrong, Oracle::told(expected), Particular::Told(told))?;
    prepared.failure = Some(failure);
    prepared.rpo = Some(Ok(ms_between(edited, failure)));
    Ok(prepared)
}

/// Whether the library did what it is for.
fn clock_was_off(off: i64, wanted: i64) -> Assertion {
    let outcome = if (off - wanted).abs() <= 60 { Outcome::Pass } else { Outcome::Inconclusive };
    verdict("clock", outcome, format!("the agent's clock was off by {off} s, and was to be by {wanted} s"))
}

fn order(wrong: &Synced, right: &Synced) -> Assertion {
    let outcome = if wrong.seq < right.seq { Outcome::Pass } else { Outcome::Fail };
    let message = format!("what came first is seq:{}, what came later is seq:{}", wrong.seq, right.seq);
    verdict("order", outcome, message)
}

/// Whether a place in the order shows what was there when it was given out, whatever its clock showed.
fn state(
    lab: &Lab<'_>,
    file: &std::path::Path,
    synced: &Synced,
    text: &str,
    scratch: &Scratch,
    draft: &mut Draft,
) -> Tried<Assertion> {
    let at = format!("seq:{}", synced.seq);
    let words = [OsStr::new("cat"), OsStr::new("--at"), OsStr::new(&at), file.as_os_str()];
    let argv = bring::asof(&lab.journal, &words)?;
    let program = crate::drill::child::Program {
        what: "the state at a place".to_owned(),
        argv,
        directory: None,
        limit: None,
    };
    let mut found = String::new();
    let ran = crate::drill::child::run(scratch, program, &mut |line| {
        found.push_str(&String::from_utf8_lossy(line));
        found.push('\n');
    })?;
    draft.report.commands.push(ran.command);
    let outcome = if found == text { Outcome::Pass } else { Outcome::Fail };
    let has = found.trim_end().escape_debug();
    Ok(verdict("state", outcome, format!("at {at} the file has \"{has}\", and had \"{}\"", text.trim_end())))
}

fn library() -> Option<PathBuf> {
    let dirs = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let mut candidates =
        dirs.chain([PathBuf::from("/usr/lib"), PathBuf::from("/usr/lib64")]).map(|dir| dir.join(LIBRARY));
    candidates.find(|path| path.is_file())
}
