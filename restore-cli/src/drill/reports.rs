//! The forms of a report, and the files that they go to.
//!
//! Each form has a file of its own, pure; only this one writes. A file that is there is replaced as a whole, so that
//! whoever reads it sees the old one or the new one.

mod html;
mod junit;
mod markdown;
mod prometheus;
mod words;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::aside::{self, Existing};
use super::spec::ReportFiles;
use super::store::{self, Kept, Past};
use crate::args::DrillReports;
use crate::errors::{Error, Result};
use crate::output::escape;

pub(crate) use words::{duration, measured, percent, time};

/// Whoever may read the directory may read a report, as with any file: the umask decides.
const MODE: u32 = 0o666;
/// The collector of Prometheus is another user, and there is nothing in this one but numbers and the drill's name.
const PROMETHEUS_MODE: u32 = 0o644;

/// The forms of a report that were asked for, with their files.
fn files(wanted: &ReportFiles) -> impl Iterator<Item = (Form, &PathBuf)> {
    let forms = [
        (Form::Json, &wanted.json),
        (Form::JUnit, &wanted.junit),
        (Form::Prometheus, &wanted.prometheus),
        (Form::Markdown, &wanted.markdown),
        (Form::Html, &wanted.html),
    ];
    forms.into_iter().filter_map(|(form, path)| Some((form, path.as_ref()?)))
}

/// What the command line says of a form wins.
pub(crate) fn prefer(wanted: &mut ReportFiles, said: &DrillReports) {
    let DrillReports { junit, prometheus, markdown, html, report } = said.clone();
    let ReportFiles {
        json,
        junit: for_junit,
        prometheus: for_prometheus,
        markdown: for_markdown,
        html: for_html,
    } = wanted;
    let places = [
        (json, report),
        (for_junit, junit),
        (for_prometheus, prometheus),
        (for_markdown, markdown),
        (for_html, html),
    ];
    for (place, said) in places {
        *place = said.or_else(|| place.take());
    }
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    JUnit,
    Prometheus,
    Markdown,
    Html,
}

/// Whether all files can be written, as far as that can be told before there is anything to write; so that nobody waits
/// for a drill whose report goes nowhere. `journal` is the live one, into which nothing may go.
pub(crate) fn check(wanted: &ReportFiles, journal: &Path) -> Result<()> {
    for (_, path) in files(wanted) {
        let shown = escape(path.as_os_str().as_bytes());
        let parent = parent(path);
        let inside = |source| aside::error(path, "looking at its directory", source);
        let real = std::fs::canonicalize(parent).map_err(inside)?;
        if std::fs::canonicalize(journal).is_ok_and(|journal| real.starts_with(journal)) {
            let next = "name a file outside of the journal";
            return Err(Error::usage(format!("{shown}: a report may not go into the journal"), next));
        }
        match std::fs::symlink_metadata(path) {
            Ok(meta) if !meta.is_file() => {
                let kind = meta.file_type();
                let kind = match () {
                    () if kind.is_dir() => "a directory",
                    () if kind.is_symlink() => "a symlink",
                    () if kind.is_fifo() || kind.is_socket() => "no file",
                    () => "a device",
                };
                let what = format!("{shown}: a report takes the place of a file, and this is {kind}");
                return Err(Error::usage(what, "name a file, which may be there already"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(aside::error(path, "looking at it", source)),
        }
    }
    Ok(())
}

/// Writes every form that was asked for. `past` has the report itself as its last, where it is kept. What could not be
/// written comes back; the others are there.
pub(crate) fn write_all(this: &Kept, past: &Past, wanted: &ReportFiles) -> Vec<Error> {
    let written = files(wanted).map(|(form, path)| {
        let (bytes, mode) = match form {
            Form::Json => (store::encode(&this.report)?, MODE),
            Form::JUnit => (junit::render(this)?.into_bytes(), MODE),
            Form::Prometheus => (prometheus::render(this, past)?.into_bytes(), PROMETHEUS_MODE),
            Form::Markdown => (markdown::render(this, past).into_bytes(), MODE),
            Form::Html => (html::render(this, past).into_bytes(), MODE),
        };
        aside::write(path, &bytes, mode, Existing::Replace)
    });
    written.filter_map(Result::err).collect()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests;
