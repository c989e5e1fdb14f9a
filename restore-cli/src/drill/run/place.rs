//! Where a drill may make files: never in the journal, and scratch space never where it would be captured.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use asof_journal::reader::Reader;
use asof_journal::rules::Rules;
use asof_journal::view::is_below;

use crate::errors::{Error, Result};
use crate::output::escape;
use crate::path;

/// Refuses a place that lies in the journal. It need not exist yet.
pub(crate) fn outside_journal(place: &Path, journal: &Path, what: &str) -> Result<()> {
    let (Ok(journal), Some(real)) = (std::fs::canonicalize(journal), real(place)) else { return Ok(()) };
    if real.starts_with(&journal) {
        let shown = escape(place.as_os_str().as_bytes());
        return Err(Error::usage(
            format!("{shown}: {what} lies in the journal"),
            "name a place outside of it: what lies there is asofd's, and evidence has to come from elsewhere",
        ));
    }
    Ok(())
}

/// Refuses a directory for scratch space that lies in the journal, or in what is protected and not left out there.
pub(super) fn scratch(reader: &Reader, journal: &Path, parent: &Path) -> Result<()> {
    let shown = escape(parent.as_os_str().as_bytes());
    outside_journal(parent, journal, "the scratch directory")?;
    if !parent.is_dir() {
        return Err(Error::usage(
            format!("{shown}: scratch space is made in a directory"),
            "name one that is there",
        ));
    }
    let parent = real(parent).unwrap_or_else(|| parent.to_path_buf());
    let policy = reader.view(reader.head()).policy()?;
    let inside = path::join(parent.as_os_str().as_bytes(), b"asof-drill-0");
    let root = policy.roots.iter().find(|root| is_below(&inside, &root.path));
    let Some(root) = root.map(|root| escape(&root.path)) else { return Ok(()) };
    if Rules::new(&policy).is_ok_and(|rules| rules.leaves_out(&inside, Some(true))) {
        return Ok(());
    }
    Err(Error::usage(
        format!("{shown}: scratch space would lie below {root}, and be captured"),
        "name another directory with scratch = \"DIR\" or TMPDIR, or leave this one out: exclude = [\"asof-drill-*\"]",
    ))
}

/// The place without symlinks, as far as it exists.
fn real(place: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(place).ok()?;
    absolute.ancestors().find_map(|above| {
        let real = std::fs::canonicalize(above).ok()?;
        Some(real.join(absolute.strip_prefix(above).ok()?))
    })
}
