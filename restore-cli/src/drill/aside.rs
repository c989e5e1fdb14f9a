//! Files that are whole or not there: written aside, made durable, then given their name.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::errors::{Error, Result};
use crate::output::escape;

/// Whether a file that is there already gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It does.
    Replace,
    /// It stays, and that is an error.
    Keep,
}

/// Writes a file beside its place and renames it there; it survives a crash of the system. `mode` is subject to the umask.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |action| move |source| error(path, action, source);
    let mut aside = tempfile::Builder::new()
        .prefix(".asof-drill-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(parent)
        .map_err(failed("writing a file beside it"))?;
    aside.write_all(bytes).map_err(failed("writing it"))?;
    aside.as_file().sync_all().map_err(failed("making it durable"))?;
    let named = match existing {
        Existing::Replace => aside.persist(path),
        Existing::Keep => aside.persist_noclobber(path),
    };
    named.map_err(|refused| error(path, "giving it its name", refused.error))?;
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed("making its name durable"))
}

/// An error of the system with its path.
pub(crate) fn error(path: &Path, action: &'static str, source: std::io::Error) -> Error {
    Error::Io { path: escape(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())), action, source }
}
