//! A negative control: a byte of a block is changed in a copy of the journal, and that has to be found.
//!
//! Owns where the damage is, and what finding it means: the check names the path, the restore refuses it, and no wrong byte
//! comes back.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use asof_journal::reader::{Moment, Reader};
use asof_journal::segments::SegmentFile;
use asof_journal::storage::{Layout, OsStorage};
use asof_journal::types::{Content, Extent, NodeId, SegmentId};
use serde::Deserialize;

use super::copy::failed;
use crate::drill::assert::verdict;
use crate::drill::bring::{self, Brought};
use crate::drill::compare::Findings;
use crate::drill::ledger::drawn;
use crate::drill::report::{Assertion, Name, Outcome};
use crate::drill::run::Draft;
use crate::drill::scratch::Scratch;
use crate::drill::select::{self, Chosen};
use crate::drill::stop::{Tried, inconclusive};
use crate::output::escape;
use crate::source::{AtSeq, Source};

/// Damage, and what the check said of it.
pub(crate) struct Planted {
    /// The file that needs the block.
    path: Vec<u8>,
    /// Where it is, in words.
    place: String,
    /// What the check says cannot be restored as of the instant.
    pub(super) named: BTreeSet<Vec<u8>>,
    /// Its exit status.
    status: Option<i32>,
}

/// A line of `verify --json`, as far as it matters.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Affected {
        #[serde(flatten)]
        name: Name,
        from_seq: u64,
        #[serde(default)]
        until_seq: Option<u64>,
    },
    #[serde(other)]
    Other,
}

/// Changes a byte in a block that something of what was chosen needs, and has the copy checked.
pub(super) fn plant(
    copy: &Path,
    moment: &Moment,
    chosen: &Chosen,
    seed: u64,
    scratch: &Scratch,
    draft: &mut Draft,
) -> Tried<Planted> {
    let (path, place) = {
        let reader = Reader::open(copy)?;
        let Some((path, segment, offset)) = target(&reader, moment, chosen, seed)? else {
            return inconclusive(
                "nothing of what was chosen has a block of its own: files of 512 bytes and less have none",
            );
        };
        (path, change(copy, segment, offset, seed)?)
    };
    let mut named = BTreeSet::new();
    let words = ["verify", "--deep"].map(OsStr::new);
    let ran =
        bring::ask(scratch, copy, "find planted damage", &words, &mut draft.report.commands, &mut |value| {
            if let Ok(Line::Affected { name, from_seq, until_seq }) = serde_json::from_value(value)
                && from_seq <= moment.seq.0
                && until_seq.is_none_or(|until| until > moment.seq.0)
            {
                named.insert(name.bytes());
            }
        })?;
    Ok(Planted { path, place, named, status: ran.command.status })
}

/// A file of what was chosen, and where one of its blocks lies.
fn target(
    reader: &Reader,
    moment: &Moment,
    chosen: &Chosen,
    seed: u64,
) -> Tried<Option<(Vec<u8>, SegmentId, u64)>> {
    let source = AtSeq::new(reader, moment);
    let mut files: Vec<(Vec<u8>, NodeId)> = Vec::new();
    for path in &chosen.paths {
        files.extend(select::files(&source, path)?);
    }
    let first = usize::try_from(drawn(seed, "planted file", files.len().max(1) as u64 - 1)).unwrap_or(0);
    let (before, from) = files.split_at_checked(first).unwrap_or_default();
    for (path, node) in from.iter().chain(before) {
        let Some(at) = source.version(*node)? else { continue };
        if !matches!(at.version.content, Content::Extents(_)) {
            continue;
        }
        for extent in source.extents(&at.version)? {
            if let Extent::Block { id, .. } = extent
                && let Some((segment, offset)) = source.locality(id)?
            {
                return Ok(Some((path.clone(), SegmentId(segment), offset)));
            }
        }
    }
    Ok(None)
}

/// Changes one bit in the middle of the body of a frame; says where that is.
fn change(copy: &Path, segment: SegmentId, offset: u64, seed: u64) -> Tried<String> {
    let layout = Layout::new(copy);
    let path = [layout.segment(segment), layout.open_segment(segment)].into_iter().find(|path| path.exists());
    let path = path.unwrap_or_else(|| layout.segment(segment));
    let header = SegmentFile::open(&OsStorage, path.clone(), segment)?.frame_header(offset)?;
    let within = drawn(seed, "planted byte", u64::from(header.stored_len.max(1)) - 1);
    let at = offset + asof_journal::format::frame::HEADER_LEN as u64 + within;
    let file = File::options().read(true).write(true).open(&path).map_err(|source| failed(&path, source))?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).map_err(|source| failed(&path, source))?;
    let flipped = byte.map(|byte| byte ^ (1 << drawn(seed, "planted bit", 7)));
    file.write_all_at(&flipped, at).map_err(|source| failed(&path, source))?;
    let name = path.file_name().unwrap_or_default();
    Ok(format!("byte {at} of segment {}", escape(std::os::unix::ffi::OsStrExt::as_bytes(name))))
}

impl Planted {
    /// Whether it was found, by the check and by the restore.
    pub(super) fn judge(&self, brought: &Brought, findings: &Findings) -> Assertion {
        let (path, place) = (escape(&self.path), &self.place);
        let is_wrong =
            findings.differing.iter().any(|(path, _)| self.named.contains(path) || *path == self.path);
        let outcome = |outcome, what: &str| {
            let mut told = verdict("detected", outcome, what.to_owned());
            told.details = vec![format!("one bit is changed in {place}, which {path} needs")];
            told
        };
        match (self.status, self.named.contains(&self.path), brought.refused.contains_key(&self.path)) {
            _ if is_wrong => outcome(Outcome::Fail, "wrong bytes came back from a damaged block"),
            (Some(4), true, true) => outcome(
                Outcome::Pass,
                &format!("`asof verify --deep` names {path}, and the restore refuses it"),
            ),
            (Some(4), false, _) => {
                outcome(Outcome::Fail, &format!("`asof verify --deep` found damage, and did not name {path}"))
            }
            (Some(4), true, false) => outcome(Outcome::Fail, &format!("the restore did not refuse {path}")),
            (Some(0), ..) => {
                outcome(Outcome::Fail, "`asof verify --deep` found nothing: the damage went unnoticed")
            }
            _ => outcome(Outcome::Inconclusive, "`asof verify --deep` could not be run to its end"),
        }
    }
}
