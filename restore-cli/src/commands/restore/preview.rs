//! What a restore in place shows before it begins, and the question whether it may.

use std::io::{self, BufRead, IsTerminal, Write};

use asof_journal::types::Kind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;

use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Output, PathFields};
use crate::plan::in_place::{Amount, InPlacePlan, Preview};
use crate::plan::{LinkTo, Origin, RestorePlan, describe};

/// How many entries are named before a restore; a dry run names all.
const NAMED_MAX: usize = 20;

/// How a plan comes to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// It is not.
    DryRun,
    /// It was given on the command line.
    Given,
    /// A person is asked.
    Asked,
}

impl Consent {
    /// What the options say. Errors: nobody is there to be asked.
    pub(crate) fn of(out: &Output, yes: bool, dry_run: bool, verb: &str) -> Result<Consent> {
        if dry_run {
            return Ok(Consent::DryRun);
        }
        consent_to(out, yes, verb, "changes the live tree", "-n")
    }
}

/// Consent to what a verb does; `look` is the option that only shows it. Errors: nobody is there to be asked.
pub(crate) fn consent_to(out: &Output, yes: bool, verb: &str, does: &str, look: &str) -> Result<Consent> {
    if yes {
        return Ok(Consent::Given);
    }
    if out.is_json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let why = if out.is_json() { "does not ask under --json" } else { "there is no terminal to ask on" };
        let what = format!("{verb} {does}, and {why}");
        return Err(Error::usage(what, format!("say --yes to do it, or {look} to see what it would do")));
    }
    Ok(Consent::Asked)
}

/// One line of a plan in place.
#[derive(Serialize)]
struct Line {
    r#type: &'static str,
    action: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    path: PathFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

/// An amount in JSON.
#[derive(Serialize)]
struct Amounts {
    entries: u64,
    bytes: u64,
}

impl From<Amount> for Amounts {
    fn from(amount: Amount) -> Amounts {
        Amounts { entries: amount.entries, bytes: amount.bytes }
    }
}

/// A plan in place, counted.
#[derive(Serialize)]
struct Counted {
    r#type: &'static str,
    created: Amounts,
    overwritten: Amounts,
    deleted: Amounts,
    metadata: u64,
    unchanged: u64,
    left: u64,
    problems: u64,
}

/// An entry of a plan.
struct Named {
    path: Vec<u8>,
    action: &'static str,
    kind: &'static str,
    size: Option<u64>,
}

/// Shows what a plan will do: a dry run as data and entry by entry, else as a remark and in short.
pub(crate) fn show(out: &mut Output, planned: &InPlacePlan, consent: Consent) -> Result<()> {
    let mut named = named(&planned.plan);
    named.sort_by(|one, other| one.path.cmp(&other.path));
    if consent == Consent::DryRun {
        for entry in &named {
            if out.is_json() {
                let path = PathFields::new(&entry.path);
                let Named { action, kind, size, .. } = *entry;
                out.object(&Line { r#type: "plan", action, kind, path, size })?;
            } else {
                out.line(&describe(entry.action, &entry.path, entry.size))?;
            }
        }
    } else {
        for entry in named.iter().take(NAMED_MAX) {
            out.note(&format!("  {}", describe(entry.action, &entry.path, entry.size)));
        }
        if let Some(more) = named.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
            out.note(&format!("  ... and {more} more (-n names all)"));
        }
    }
    let preview = &planned.preview;
    if out.is_json() {
        return out.object(&Counted {
            r#type: "preview",
            created: preview.created.into(),
            overwritten: preview.overwritten.into(),
            deleted: preview.deleted.into(),
            metadata: preview.metadata,
            unchanged: preview.unchanged,
            left: preview.left,
            problems: planned.plan.problems.len() as u64,
        });
    }
    out.note(&sentence(preview));
    Ok(())
}

/// Asks, where that is to be. Errors: the answer is not yes.
pub(crate) fn ask(out: &mut Output, planned: &InPlacePlan, consent: Consent) -> Result<()> {
    if consent != Consent::Asked {
        return Ok(());
    }
    let problems = planned.plan.problems.len();
    let left = if problems > 0 {
        format!("; {problems} named above will be left as they are")
    } else {
        String::new()
    };
    confirm(out, &format!("{}{left}", sentence(&planned.preview)), "nothing was changed")
}

/// Asks whether what a sentence says is to be done. Errors: the answer is not yes; `left` says what that means.
pub(crate) fn confirm(out: &mut Output, sentence: &str, left: &str) -> Result<()> {
    out.flush()?;
    let mut stderr = io::stderr();
    // Who is asked has to see of what, also under -q.
    let _ = write!(stderr, "{sentence}\nGo ahead? [y/N] ");
    let _ = stderr.flush();
    let answer = answer()?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::failed(left, "answer y to go ahead, or say --yes")),
    }
}

/// What a person says. Ctrl-C only sets a flag, which a read would not notice.
fn answer() -> Result<String> {
    let stdin = io::stdin();
    loop {
        if interrupt::requested() {
            return Err(Error::Interrupted);
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let ready = poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&timeout));
        if matches!(ready, Ok(0) | Err(Errno::INTR)) {
            continue;
        }
        let mut answer = String::new();
        let _ = stdin.lock().read_line(&mut answer);
        return Ok(answer);
    }
}

/// Every entry that a plan changes.
fn named(plan: &RestorePlan) -> Vec<Named> {
    let mut named = Vec::new();
    let mut push =
        |path, action, kind: Kind, size| named.push(Named { path, action, kind: kind.as_str(), size });
    for (index, dir) in (0u32..).zip(&plan.dirs).skip(1) {
        let action = match dir.origin {
            Origin::Made => "create",
            Origin::Replaces(_) => "overwrite",
            Origin::There { differs: true } => "metadata",
            Origin::There { differs: false } | Origin::Goes => continue,
        };
        push(plan.path_of_dir(index), action, Kind::Dir, None);
    }
    let action = |replaces: bool| if replaces { "overwrite" } else { "create" };
    for node in &plan.nodes {
        let size = (node.kind == Kind::File).then_some(node.size);
        push(plan.path_in(node.dir, &node.name), action(node.replaces.is_some()), node.kind, size);
    }
    for link in &plan.links {
        let kind = match link.target {
            LinkTo::Node(index) => plan.nodes.get(index as usize).map_or(Kind::File, |node| node.kind),
            LinkTo::Kept(index) => plan.kept.get(index as usize).map_or(Kind::File, |kept| kept.seen.kind),
        };
        push(plan.path_in(link.dir, &link.name), action(link.replaces.is_some()), kind, None);
    }
    for kept in plan.kept.iter().filter(|kept| kept.node.is_some()) {
        push(plan.path_in(kept.dir, &kept.name), "metadata", kept.seen.kind, None);
    }
    for gone in &plan.deletions {
        let size = (gone.seen.kind == Kind::File).then_some(gone.seen.size);
        push(plan.path_in(gone.dir, &gone.name), "delete", gone.seen.kind, size);
    }
    named
}

fn sentence(preview: &Preview) -> String {
    let amount = |amount: Amount| format!("{} ({})", amount.entries, indicatif::HumanBytes(amount.bytes));
    let mut text = format!(
        "in place: {} created, {} overwritten, {} deleted, {} metadata only, {} unchanged",
        amount(preview.created),
        amount(preview.overwritten),
        amount(preview.deleted),
        preview.metadata,
        preview.unchanged,
    );
    if preview.left > 0 {
        text.push_str(&format!(", {} left as --overwrite says", preview.left));
    }
    text
}
