//! `asof`: gives back any path as of any moment since its capture began.
//!
//! Owns the way from the command line to a verb, and from an error to an exit status. Does nothing else.

mod advice;
mod args;
mod browse;
mod changes;
mod client;
mod commands;
mod complete;
mod content;
mod drill;
mod errors;
#[cfg(test)]
mod fuzz;
mod help;
mod interrupt;
mod live;
mod missing;
mod moments;
mod output;
mod patch;
mod path;
mod plan;
mod reach;
mod session;
mod source;
mod suggest;
mod timespec;
mod write;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Verb};
use crate::output::Output;
use crate::session::Session;

/// The same as in every program of the project; glibc's takes twice the time for so many small pieces.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if complete::answered() {
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout with status 0, anything else to stderr with 2; a closed pipe is no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut out = Output::standard(cli.json, cli.quiet);
    let result = run(cli, &mut out).and_then(|()| out.flush());
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let status = error.exit_status();
    if status != 0 {
        // What was answered before the failure still counts.
        let _ = out.flush();
        out.error(&error);
    }
    out.abandon();
    ExitCode::from(status)
}

fn run(cli: Cli, out: &mut Output) -> errors::Result<()> {
    let session = Session::new(cli.journal)?;
    let verb = &cli.verb;
    let result = match verb {
        Verb::Status => commands::status::run(&session, out),
        Verb::Sync(args) => commands::sync::run(&session, args, out),
        Verb::Log(args) => commands::log::run(&session, args, out),
        Verb::Ls(args) => commands::ls::run(&session, args, out),
        Verb::Cat(args) => commands::cat::run(&session, args, out),
        Verb::Diff(args) => commands::diff::run(&session, args, out),
        Verb::Explain(args) => commands::explain::run(&session, args, out),
        Verb::Browse(args) => commands::browse::run(&session, args, out),
        Verb::Find(args) => commands::find::run(&session, args, out),
        Verb::Mark(args) => commands::mark::run(&session, args, out),
        Verb::Restore(args) => commands::restore::run(&session, args, out),
        Verb::Undo(args) => commands::undo::run(&session, args, out),
        Verb::Retain(args) => commands::retain::run(&session, args, out),
        Verb::Hold(args) => commands::hold::hold(&session, args, out),
        Verb::Release(args) => commands::hold::release(&session, args, out),
        Verb::Forget(args) => commands::forget::run(&session, args, out),
        Verb::Top(args) => commands::top::run(&session, args, out),
        Verb::Verify(args) => commands::verify::run(&session, args, out),
        Verb::Drill(args) => commands::drill::run(&session, args, out),
    };
    result.map_err(|error| advice::complete(&session, verb, error))
}
