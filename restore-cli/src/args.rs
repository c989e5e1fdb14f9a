//! The command line as clap knows it: words and options, no behaviour.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{complete, help};

/// What every verb has.
const GLOBAL: &str = "Everywhere";

/// Gives back any path as of any moment since its capture began.
#[derive(Debug, Parser)]
#[command(name = "asof", version, subcommand_required = true, arg_required_else_help = true)]
#[command(max_term_width = 100, long_about = help::top::ABOUT)]
#[command(after_help = help::top::SHORT, after_long_help = help::top::MORE)]
pub(crate) struct Cli {
    /// The journal directory [default: ASOF_JOURNAL, else `journal` in the configuration file of asofd, else
    /// $XDG_STATE_HOME/asof; for root /var/lib/asof].
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    pub(crate) journal: Option<PathBuf>,
    /// Print JSON: one object, or JSON Lines for lists.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Print data and errors only.
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub(crate) quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// What is protected, since when, how old the oldest uncaptured change is, gaps, sizes.
    #[command(long_about = help::status::ABOUT, after_long_help = help::status::MORE)]
    Status,
    /// Return when every change made before this call is durable.
    #[command(long_about = help::sync::ABOUT, after_long_help = help::sync::MORE)]
    Sync(SyncArgs),
    /// The history of a path (through renames), of a directory, or of everything.
    #[command(long_about = help::log::ABOUT, after_long_help = help::log::MORE)]
    Log(LogArgs),
    /// A directory as of a time.
    #[command(long_about = help::ls::ABOUT, after_long_help = help::ls::MORE)]
    Ls(LsArgs),
    /// The bytes of a file as of a time.
    #[command(long_about = help::cat::ABOUT, after_long_help = help::cat::MORE)]
    Cat(CatArgs),
    /// What changed between two times.
    #[command(long_about = help::diff::ABOUT, after_long_help = help::diff::MORE)]
    Diff(DiffArgs),
    /// Paths by name, over time: also what is gone, and what changed since a time.
    #[command(long_about = help::find::ABOUT, after_long_help = help::find::MORE)]
    Find(FindArgs),
    /// Name this instant for `--at mark:NAME`, or list the names that there are.
    #[command(long_about = help::mark::ABOUT, after_long_help = help::mark::MORE)]
    Mark(MarkArgs),
    /// Why a path is there as of a time, or is not.
    #[command(long_about = help::explain::ABOUT, after_long_help = help::explain::MORE)]
    Explain(ExplainArgs),
    /// Bring paths back as of a time.
    #[command(long_about = help::restore::ABOUT, after_long_help = help::restore::MORE)]
    Restore(RestoreArgs),
    /// A directory through time, on the whole terminal.
    #[command(long_about = help::browse::ABOUT, after_long_help = help::browse::MORE)]
    Browse(BrowseArgs),
    /// Take the last restore in place back that has not been taken back.
    #[command(long_about = help::undo::ABOUT, after_long_help = help::undo::MORE)]
    Undo(UndoArgs),
    /// Apply the retention policy, or say what it, or one that is proposed, would take out of the past.
    #[command(long_about = help::retain::ABOUT, after_long_help = help::retain::MORE)]
    Retain(RetainArgs),
    /// Keep all that a path ever was, or a marked instant, whatever the policy says; or list what is held.
    #[command(long_about = help::hold::ABOUT, after_long_help = help::hold::MORE)]
    Hold(HoldArgs),
    /// End a hold.
    #[command(long_about = help::release::ABOUT, after_long_help = help::release::MORE)]
    Release(ReleaseArgs),
    /// Take paths out of all history, content and names; or list what was forgotten.
    #[command(long_about = help::forget::ABOUT, after_long_help = help::forget::MORE)]
    Forget(ForgetArgs),
    /// What takes the space in the journal: by path, by what is new, by age.
    #[command(long_about = help::taken::ABOUT, after_long_help = help::taken::MORE)]
    Top(TopArgs),
    /// Check the journal: what is damaged, and which paths and times that concerns.
    #[command(long_about = help::verify::ABOUT, after_long_help = help::verify::MORE)]
    Verify(VerifyArgs),
    /// Run a recovery drill: restore into scratch space, compare with independent evidence, give a verdict.
    #[command(long_about = help::drill::ABOUT, after_long_help = help::drill::MORE)]
    Drill(DrillArgs),
}

/// `drill`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct DrillArgs {
    /// What belongs to drills.
    #[command(subcommand)]
    pub(crate) verb: Option<DrillVerb>,
    /// The drill.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) file: Option<PathBuf>,
    /// Make the random choices that this number makes, as a report names it; what a drill took before is taken again.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Keep reports, and what was drilled already, here [default: as the drill says].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Where else the report goes.
    #[command(flatten)]
    pub(crate) reports: DrillReports,
}

/// Where the report of a drill goes, besides where reports are kept; each wins over the same key of the file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DrillReports {
    /// Write the report as JUnit XML, for CI: what could not be told is an error.
    #[arg(long, value_name = "PATH")]
    pub(crate) junit: Option<PathBuf>,
    /// Write it as metrics for the text file collector of Prometheus.
    #[arg(long, value_name = "PATH")]
    pub(crate) prometheus: Option<PathBuf>,
    /// Write it as Markdown.
    #[arg(long, value_name = "PATH")]
    pub(crate) markdown: Option<PathBuf>,
    /// Write it as a page with plots of past drills.
    #[arg(long, value_name = "PATH")]
    pub(crate) html: Option<PathBuf>,
    /// Write the report itself.
    #[arg(long, value_name = "PATH")]
    pub(crate) report: Option<PathBuf>,
}

/// What belongs to drills.
#[derive(Debug, Subcommand)]
pub(crate) enum DrillVerb {
    /// Write a drill with every key explained.
    Init(DrillInitArgs),
    /// Note what is there now, outside the journal, for drills to compare with.
    Witness(DrillWitnessArgs),
    /// List the drills that there are, and how each ended last.
    List(DrillListArgs),
    /// List the drills that were run, newest first, and say where reports were changed or removed.
    History(DrillHistoryArgs),
}

/// `drill list`.
#[derive(Debug, Args)]
pub(crate) struct DrillListArgs {
    /// Directories of drills [default: ~/.config/asof/drills and /etc/asof/drills].
    #[arg(value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// Where reports are kept [default: as each drill says].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// `drill history`.
#[derive(Debug, Args)]
pub(crate) struct DrillHistoryArgs {
    /// The drills of this name only [default: all].
    #[arg(value_name = "NAME")]
    pub(crate) drill: Option<String>,
    /// Show the newest N only.
    #[arg(short = 'n', value_name = "N")]
    pub(crate) count: Option<usize>,
    /// Where reports are kept [default: $XDG_STATE_HOME/asof-drills; for root /var/lib/asof-drills].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// `drill init`.
#[derive(Debug, Args)]
pub(crate) struct DrillInitArgs {
    /// The new file [default: standard output].
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// `drill witness`.
#[derive(Debug, Args)]
pub(crate) struct DrillWitnessArgs {
    /// What to look at, with all below [default: everything that is protected].
    #[arg(value_name = "PATH", add = complete::path())]
    pub(crate) paths: Vec<OsString>,
    /// The new file, or a directory in which it is named after the instant. Not in the journal.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) to: PathBuf,
    /// How long to wait until everything is durable, such as 30s or 5m; 0 is without limit.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) timeout: String,
}

/// `sync`.
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// How long to wait, such as 30s, 5m or 500ms; 0 is without limit.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) timeout: String,
}

/// `log`.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// A file, also a vanished one, or a directory [default: everything].
    #[arg(value_name = "PATH", add = complete::path())]
    pub(crate) path: Option<OsString>,
    /// Leave out what happened up to this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, add = complete::time())]
    pub(crate) since: Option<String>,
    /// Leave out what happened after this time; PATH is as named then.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, add = complete::time())]
    pub(crate) until: Option<String>,
    /// Show the newest N only: moments of a directory, single changes otherwise.
    #[arg(short = 'n', value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Show the single changes of a directory, not its moments.
    #[arg(long)]
    pub(crate) all: bool,
    /// Show the moments of a directory, also under --json, which has single changes otherwise.
    #[arg(long, conflicts_with = "all")]
    pub(crate) moments: bool,
}

/// `ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// What to list [default: the current directory].
    #[arg(value_name = "PATH", add = complete::path())]
    pub(crate) path: Option<OsString>,
    /// As of when [default: now].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, add = complete::time())]
    pub(crate) at: Option<String>,
    /// Include everything below.
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Show mode, owner, size and modification time.
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Add what once was there and is gone.
    #[arg(long)]
    pub(crate) deleted: bool,
}

/// `cat`.
#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    /// The file; symlinks are followed as they pointed then.
    #[arg(value_name = "PATH", add = complete::path())]
    pub(crate) path: OsString,
    /// As of when [default: now].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, add = complete::time())]
    pub(crate) at: Option<String>,
}

/// `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// What to compare [default: everything].
    #[arg(value_name = "PATH", add = complete::path())]
    pub(crate) path: Option<OsString>,
    /// The earlier time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, add = complete::time())]
    pub(crate) from: String,
    /// The later time [default: now].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, add = complete::time())]
    pub(crate) to: Option<String>,
    /// Show a text patch.
    #[arg(short, long)]
    pub(crate) patch: bool,
}

/// `browse`.
#[derive(Debug, Args)]
pub(crate) struct BrowseArgs {
    /// A directory, or a file in it, also vanished ones [default: the current directory].
    #[arg(value_name = "PATH", add = complete::path())]
    pub(crate) path: Option<OsString>,
    /// Begin at this time [default: now]; what came after it is left out until `R`.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, add = complete::time())]
    pub(crate) at: Option<String>,
}

/// `find`.
#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// The name, or a pattern for it.
    #[arg(value_name = "GLOB")]
    pub(crate) glob: OsString,
    /// Look at this directory and below only [default: everything].
    #[arg(value_name = "PATH", add = complete::path())]
    pub(crate) path: Option<OsString>,
    /// As of when [default: now].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, add = complete::time())]
    pub(crate) at: Option<String>,
    /// Add what was there once and is gone, with the last time at which it was there.
    #[arg(long)]
    pub(crate) deleted: bool,
    /// Only what came, changed or went after this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, add = complete::time())]
    pub(crate) changed_since: Option<String>,
    /// Take small and capital letters (a to z) for the same.
    #[arg(short, long)]
    pub(crate) ignore_case: bool,
}

/// `mark`.
#[derive(Debug, Args)]
pub(crate) struct MarkArgs {
    /// The name that this instant gets.
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// How long to wait, such as 30s, 5m or 500ms; 0 is without limit.
    #[arg(long, value_name = "DURATION", default_value = "60s", requires = "name")]
    pub(crate) timeout: String,
}

/// `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Any path, also one that never was there.
    #[arg(value_name = "PATH", add = complete::path())]
    pub(crate) path: OsString,
    /// As of when [default: now].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, add = complete::time())]
    pub(crate) at: Option<String>,
}

/// `restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// What to bring back; several go inside TARGET under their own names.
    #[arg(value_name = "PATH", required = true, add = complete::path())]
    pub(crate) paths: Vec<OsString>,
    /// As of when [default: now].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, add = complete::time())]
    pub(crate) at: Option<String>,
    /// Where to: the restored thing itself, or an existing directory that a file goes into.
    #[arg(long, value_name = "TARGET", required_unless_present = "in_place", conflicts_with = "in_place")]
    pub(crate) to: Option<PathBuf>,
    /// Back to where it was. The present state is made durable first, so that `asof undo` takes it back; what the journal
    /// does not hold as it is now is left and named. Needs a time.
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Delete what is below PATH now and was not then; only what the journal holds.
    #[arg(long, requires = "in_place", conflicts_with = "to")]
    pub(crate) exact: bool,
    /// What to do with files that exist already [default: a non-empty target is refused; in place, what differs is
    /// replaced].
    #[arg(long, value_name = "WHEN")]
    pub(crate) overwrite: Option<Overwrite>,
    /// Print what would be done, and do nothing.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Do not ask before changing anything in place.
    #[arg(short, long, requires = "in_place", conflicts_with = "to")]
    pub(crate) yes: bool,
    /// Restore in place without a way back: what the present state is need not be durable, and no asofd need run.
    #[arg(long, requires = "in_place", conflicts_with = "to")]
    pub(crate) no_undo: bool,
    /// Refuse where a gap concerns a path at that time.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Which versions to take [default: those of that time, whatever their quality].
    #[arg(long, value_name = "WHICH")]
    pub(crate) prefer: Option<Prefer>,
    /// How many files to write at a time [default: one per CPU, 2 to 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: Option<u8>,
}

/// `undo`.
#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// Print what would be done, and do nothing.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// `always` also takes back what was changed since the restore.
    #[arg(long, value_name = "WHEN")]
    pub(crate) overwrite: Option<Overwrite>,
    /// Leave what an undo before left, and take back the restore before that one.
    #[arg(long)]
    pub(crate) next: bool,
    /// How many files to write at a time [default: one per CPU, 2 to 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: Option<u8>,
}

/// `retain`.
#[derive(Debug, Args)]
pub(crate) struct RetainArgs {
    /// Look at this path and below only [default: everything].
    #[arg(value_name = "PATH", requires = "dry_run", add = complete::path())]
    pub(crate) path: Option<OsString>,
    /// Say what would go, and remove nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask before anything goes.
    #[arg(short, long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Also remove what costs more to remove than it frees.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) all: bool,
    /// Take these steps for everything instead of the policy in force, the finest first, such as 'all for 2 days'
    /// '1 hour'. PATH stands before it.
    #[arg(long, value_name = "STEP", num_args = 1.., conflicts_with = "policy", requires = "dry_run")]
    pub(crate) keep: Vec<String>,
    /// Take the policy in this configuration file instead of the one in force.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub(crate) policy: Option<PathBuf>,
    /// Name so many paths at most, those with the most bytes; 0 names all [default: 20].
    #[arg(short = 'n', value_name = "N", requires = "dry_run")]
    pub(crate) count: Option<usize>,
}

/// `hold`.
#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// A path, also a vanished one, or the name of an instant [default: list what is held].
    #[arg(value_name = "PATH|mark:NAME", add = complete::path())]
    pub(crate) what: Option<OsString>,
    /// Until when [default: until it is released].
    #[arg(long, value_name = "TIME", requires = "what")]
    pub(crate) until: Option<String>,
    /// How long to wait, such as 30s, 5m or 500ms; 0 is without limit.
    #[arg(long, value_name = "DURATION", default_value = "60s", requires = "what")]
    pub(crate) timeout: String,
}

/// `forget`.
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    /// Files or directories, also vanished ones, as they were named at any time [default: list what was forgotten].
    #[arg(value_name = "PATH", add = complete::path())]
    pub(crate) paths: Vec<OsString>,
    /// Keep what stood at this time and later [default: nothing is kept].
    #[arg(long, value_name = "TIME", requires = "paths", allow_hyphen_values = true, add = complete::time())]
    pub(crate) before: Option<String>,
    /// Say what would go, and remove nothing.
    #[arg(long, requires = "paths")]
    pub(crate) dry_run: bool,
    /// Do not ask before anything goes.
    #[arg(short, long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Name the paths in the note that the journal keeps of this.
    #[arg(long, requires = "paths", conflicts_with = "dry_run")]
    pub(crate) record_names: bool,
    /// Go on with what was begun and has not come to its end.
    #[arg(long, conflicts_with = "paths")]
    pub(crate) finish: bool,
}

/// `release`.
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// What is held, as `asof hold` lists it.
    #[arg(value_name = "PATH|mark:NAME", add = complete::path())]
    pub(crate) what: OsString,
    /// How long to wait, such as 30s, 5m or 500ms; 0 is without limit.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) timeout: String,
}

/// `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Look at this path and below only [default: everything].
    #[arg(value_name = "PATH", add = complete::path())]
    pub(crate) path: Option<OsString>,
    /// How it is summed up.
    #[arg(long, value_name = "WHAT", default_value = "path")]
    pub(crate) by: TopBy,
    /// Name so many paths at most, those with the most bytes; 0 names all [default: 20].
    #[arg(short = 'n', value_name = "N")]
    pub(crate) count: Option<usize>,
}

/// How `top` sums up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopBy {
    /// What each path takes in all.
    Path,
    /// What came new for each path in the last 7 days.
    Churn,
    /// What was written when.
    Age,
}

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Read and check every byte, too.
    #[arg(long)]
    pub(crate) deep: bool,
    /// Mend what can be mended, and note what stays lost; implies --deep, and asofd must not run.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Read so many bytes a second at most, such as 50M [default: no limit].
    #[arg(long, value_name = "BYTES/s")]
    pub(crate) rate: Option<String>,
}

/// Which version of a file to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Prefer {
    /// The newest one at or before that time during whose capture nothing could have written.
    Clean,
}

/// What to do with a file that exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Overwrite {
    /// Leave it.
    Never,
    /// Leave it where size and modification time are the same, else replace it.
    IfChanged,
    /// Replace it.
    Always,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_parser_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_time_may_begin_with_a_hyphen() {
        let cli = Cli::try_parse_from(["asof", "ls", "--at", "-10m", "/x"]).unwrap();
        assert!(matches!(cli.verb, Verb::Ls(LsArgs { at: Some(at), .. }) if at == "-10m"));
    }

    #[test]
    fn every_verb_has_a_page_with_examples_and_exit_statuses_that_fits_a_terminal() {
        for verb in Cli::command().get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
            let name = verb.get_name().to_owned();
            let page = verb.render_long_help().to_string();
            for part in ["Examples:", "Exit status:", "See also:"] {
                assert!(page.contains(part), "{name} has no {part}");
            }
            for line in page.lines() {
                assert!(line.chars().count() <= 100, "{name}: {line}");
            }
            let more = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            for line in more.lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && about.len() <= 100, "{name}: {about}");
        }
    }

    #[test]
    fn verbs_that_do_not_exist_are_a_usage_error() {
        for verb in ["compact", "prune"] {
            assert_eq!(Cli::try_parse_from(["asof", verb]).unwrap_err().exit_code(), 2, "{verb}");
        }
    }
}
