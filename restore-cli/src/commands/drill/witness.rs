//! `drill witness`: what lies on disk now, hashed and written outside the journal, for drills to compare with.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use asof_journal::control::Request;
use asof_journal::rules::Rules;
use asof_journal::types::Instant;
use serde::Serialize;

use super::super::sync;
use crate::args::DrillWitnessArgs;
use crate::drill::observe::Seen;
use crate::drill::oracle::{ENDING, is_left_out, is_unchanged};
use crate::drill::report::{Name, Stamp};
use crate::drill::run::place::outside_journal;
use crate::drill::walk;
use crate::drill::witness::{Header, Line, Writer};
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Output, PathFields, counted, escape, local};
use crate::session::Session;

/// What was written, in JSON.
#[derive(Serialize)]
struct Written {
    #[serde(flatten)]
    file: PathFields,
    instant: String,
    seq: u64,
    at: String,
    entries: u64,
    /// Entries that changed meanwhile: nothing is said of what they were.
    changed: u64,
}

/// Makes everything durable, and then looks at all of it.
pub(crate) fn run(session: &Session, args: &DrillWitnessArgs, out: &mut Output) -> Result<()> {
    interrupt::catch();
    outside_journal(&args.to, session.journal(), "a witness")?;
    let synced =
        sync::ask(session, &args.timeout, "see the log of asofd", |timeout_ms| Request::Sync { timeout_ms })?;
    let instant =
        chrono::DateTime::parse_from_rfc3339(&synced.instant).ok().and_then(|at| at.timestamp_nanos_opt());
    let instant =
        instant.map(Instant).ok_or_else(|| Error::failed("asofd gave an instant that is none", ""))?;
    let reader = session.reader()?;
    let view = reader.view(reader.head());
    let policy = view.policy()?;
    let rules = Rules::new(&policy).map_err(|error| {
        Error::failed(
            format!("the rules in the journal are not understood: {error}"),
            "use the asof of that asofd",
        )
    })?;
    let tops = tops(session, args, &policy.roots.iter().map(|root| root.path.clone()).collect::<Vec<_>>())?;
    let to = target(&args.to, instant);
    let shown = escape(to.as_os_str().as_bytes());
    if to.symlink_metadata().is_ok() {
        return Err(Error::failed(
            format!("{shown} is there already"),
            "name a new file, or a directory: then it is named after the instant",
        ));
    }
    let io = |action: &'static str| {
        let path = shown.clone();
        move |source: io::Error| Error::Io { path: path.clone(), action, source }
    };
    let header = Header::new(reader.info()?.uuid, Stamp(instant), synced.seq, &tops);
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let aside = tempfile::Builder::new()
        .prefix(".asof-witness-")
        .tempfile_in(dir)
        .map_err(io("writing the witness"))?;
    let mut writer = Writer::new(aside, &header).map_err(io("writing the witness"))?;
    let changed = look(&tops, &rules, instant, &mut writer, out).map_err(io("writing the witness"))?;
    if interrupt::requested() {
        return Err(Error::Interrupted);
    }
    let (aside, entries) = writer.finish().map_err(io("writing the witness"))?;
    aside.as_file().sync_all().map_err(io("making the witness durable"))?;
    aside.persist_noclobber(&to).map_err(|error| io("naming the witness")(error.error))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("making the witness durable"))?;
    if out.is_json() {
        let file = PathFields::new(to.as_os_str().as_bytes());
        return out.object(&Written {
            file,
            instant: synced.instant,
            seq: synced.seq,
            at: synced.at,
            entries,
            changed,
        });
    }
    let at = local(instant);
    out.line(&format!(
        "{shown}: {} as of {at} ({})",
        counted(entries, "entry").replace("entrys", "entries"),
        synced.at
    ))?;
    if changed > 0 {
        out.note(&format!("{changed} of them changed meanwhile: of those nothing is said"));
    }
    Ok(())
}

/// What is looked at: what was named, else all roots.
fn tops(session: &Session, args: &DrillWitnessArgs, roots: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    if args.paths.is_empty() {
        return Ok(roots.to_vec());
    }
    let tops: Vec<Vec<u8>> = args
        .paths
        .iter()
        .map(|path| Ok(session.path(path, Some(crate::timespec::TimeSpec::Now))?.0))
        .collect::<Result<_>>()?;
    for top in &tops {
        if !roots.iter().any(|root| asof_journal::view::is_below(top, root)) {
            return Err(Error::usage(
                format!("{}: it lies below no protected root, so no drill can restore it", escape(top)),
                "`asof status` lists the roots",
            ));
        }
    }
    Ok(tops)
}

/// The file: one in a directory is named after the instant.
fn target(to: &Path, instant: Instant) -> PathBuf {
    match to.is_dir() {
        true => to.join(format!("{}.{ENDING}", instant.to_utc().format("%Y%m%dT%H%M%S%.9fZ"))),
        false => to.to_path_buf(),
    }
}

/// Looks at everything; gives how much had changed since the instant.
fn look<W: io::Write>(
    tops: &[Vec<u8>],
    rules: &Rules,
    instant: Instant,
    writer: &mut Writer<W>,
    out: &mut Output,
) -> io::Result<u64> {
    let mut paths = Vec::new();
    let skip = |path: &[u8], is_dir: bool| is_left_out(rules, path, is_dir);
    let mut refused = |path: &Path, error: io::Error| {
        out.warn(&format!(
            "{}: {error}: nothing below it is in the witness",
            escape(path.as_os_str().as_bytes())
        ));
    };
    for top in tops {
        walk::walk(walk::as_path(top), &skip, &mut |path| paths.push(path), &mut refused);
    }
    let (mut changed, mut failed) = (0, None);
    walk::observe_all(paths, &mut |path, look| {
        let line = match look {
            Ok(Some(seen)) => {
                let is_changed = !is_unchanged(&seen, instant);
                Line { name: Name::new(path.as_os_str().as_bytes()), seen, changed: is_changed }
            }
            // It went meanwhile, so its directory changed.
            Ok(None) => return,
            Err(_) => {
                let seen = Seen { kind: "file".to_owned(), ..Seen::default() };
                Line { name: Name::new(path.as_os_str().as_bytes()), seen, changed: true }
            }
        };
        if line.seen.kind == "socket" {
            return;
        }
        changed += u64::from(line.changed);
        if failed.is_none() {
            failed = writer.add(&line).err();
        }
    });
    failed.map_or(Ok(changed), Err)
}
