//! The bytes of one version, in order.
//!
//! Every block was checked against its id by the journal; nothing is made up for one that is not there.

use asof_journal::reader::Around;
use asof_journal::types::{Content, Extent, Version};

use crate::errors::{Error, Result};
use crate::output::{escape, local};
use crate::source::Source;

/// What `Content::Unread` says of a file that was longer than the configuration wanted to have read.
const EFBIG: i32 = rustix::io::Errno::FBIG.raw_os_error();

/// Why there is nothing to be had of what was kept for a while.
pub(crate) const THINNED: &str = "what stood there then is not kept (the retention policy, or `asof forget`); \
                                  `asof log PATH` shows what is";

/// The moments next to one that is not kept whole of which everything is kept, as the end of a sentence.
pub(crate) fn whole_around(around: &Around) -> String {
    let near: Vec<String> = [(around.before, "before"), (around.after, "after")]
        .into_iter()
        .filter_map(|(at, which)| at.map(|at| format!("{} ({}) {which} it", local(at.instant), at.seq)))
        .collect();
    match near.is_empty() {
        true => String::new(),
        false => format!("; everything is kept of {}", near.join(" and of ")),
    }
}

/// Why more may have been in a directory than the journal knows of a time.
pub(crate) fn not_whole(around: &Around) -> String {
    let whole = whole_around(around);
    format!("what came and went around that time is not kept, so more may have been in it{whole}")
}

/// Why there is no content: what the system said, or what the configuration wanted.
pub(crate) fn unread(errno: i32) -> String {
    match errno {
        EFBIG => "its content was not captured: it is longer than the agent's file_bytes_max".to_owned(),
        _ => {
            let error = std::io::Error::from_raw_os_error(errno);
            format!("its content could not be read when it was captured: {error}")
        }
    }
}

/// Zeros to write for a hole.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Hands the bytes of a version to `take`, piece by piece. `path` is for error messages.
pub(crate) fn stream(
    source: &dyn Source,
    version: &Version,
    path: &[u8],
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    match &version.content {
        Content::None => Ok(()),
        Content::Inline(bytes) => take(bytes),
        Content::Unread(errno) => Err(Error::NoContent { path: path.to_vec(), why: unread(*errno) }),
        Content::Thinned => {
            let what = format!("{}: what stood there then is not kept", escape(path));
            let next = "`asof explain PATH --at TIME` says why, and `asof log PATH` shows what is kept";
            Err(Error::not_reachable(what, next))
        }
        Content::Extents(_) => {
            for extent in source.extents(version)? {
                match extent {
                    Extent::Hole { len } => zeros(len, take)?,
                    Extent::Block { id, .. } | Extent::List { id, .. } => take(&source.block(id)?)?,
                }
            }
            Ok(())
        }
    }
}

/// All bytes of a version; `None` where there are more than `most`.
pub(crate) fn whole(
    source: &dyn Source,
    version: &Version,
    path: &[u8],
    most: u64,
) -> Result<Option<Vec<u8>>> {
    if version.meta.size > most {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    stream(source, version, path, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(Some(bytes))
}

/// The first bytes of a version, so many at most; no block behind them is read.
pub(crate) fn head(source: &dyn Source, version: &Version, path: &[u8], most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Content::Extents(_) = &version.content {
        for extent in source.extents(version)? {
            match extent {
                _ if bytes.len() >= most => break,
                Extent::Hole { len } => {
                    let room = most - bytes.len();
                    bytes.resize(bytes.len() + usize::try_from(len).map_or(room, |len| len.min(room)), 0);
                }
                Extent::Block { id, .. } | Extent::List { id, .. } => {
                    bytes.extend_from_slice(&source.block(id)?);
                }
            }
        }
    } else {
        stream(source, version, path, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
    }
    bytes.truncate(most);
    Ok(bytes)
}

fn zeros(mut len: u64, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    while len > 0 {
        let piece = usize::try_from(len).map_or(ZEROS.len(), |len| len.min(ZEROS.len()));
        take(ZEROS.get(..piece).unwrap_or_default())?;
        len -= piece as u64;
    }
    Ok(())
}
