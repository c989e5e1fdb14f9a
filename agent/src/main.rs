//! `asofd`, the agent of asof: captures every file change under its roots into a journal, as it happens.
//!
//! Owns the process: arguments, logging, exit status. What it does is in the modules.

#![cfg_attr(test, allow(clippy::expect_used, reason = "a test fails by panicking"))]

mod appender;
mod capture;
mod check;
mod clock;
mod config;
mod control;
mod dirty;
mod fs;
mod health;
mod mounts;
mod pool;
mod reread;
mod retain;
mod room;
mod rpo;
mod rules;
mod run;
mod scan;
mod scrub;
mod settle;
mod status;
mod sys;
#[cfg(test)]
mod testdir;
mod watch;
mod worker;

/// Fuzz targets look at what an input costs.
#[cfg(test)]
#[global_allocator]
static MEMORY: asof_fuzz::Counting = asof_fuzz::Counting;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use config::{Cli, Command, LogFormat, RunArgs};

/// The same as in every program of the project; glibc's takes twice the time for so many small pieces.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Run(args) => start(args),
        Command::CheckConfig(args) => check(&args),
    }
}

/// Says what would be in force, or why nothing would.
fn check(args: &RunArgs) -> ExitCode {
    match config::load(args) {
        Ok(loaded) => {
            for note in &loaded.notes {
                eprintln!("asofd: {note}");
            }
            for warning in &loaded.warnings {
                eprintln!("asofd: warning: {warning}");
            }
            match io::stdout().write_all(config::show(&loaded).as_bytes()) {
                // Whoever reads it has seen enough.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    eprintln!("asofd: writing the output: {error}");
                    ExitCode::FAILURE
                }
                _ => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            eprintln!("asofd: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

fn start(args: RunArgs) -> ExitCode {
    sys::ignore_lease_breaks();
    // What RocksDB makes is nobody else's business either.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let loaded = match config::load(&args) {
        Ok(loaded) => loaded,
        Err(error) => {
            init_logging(args.log_format.unwrap_or_default());
            tracing::error!("{error}");
            return ExitCode::from(error.exit_status());
        }
    };
    init_logging(loaded.config.log_format);
    loaded.log();
    match run::run(loaded, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_status())
        }
    }
}

/// Sends log lines to stderr; `RUST_LOG` says which, `info` by default. Colours are for terminals only.
fn init_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
