//! `ls`: a directory as of a time, also with what is gone.

use std::ffi::OsStr;

use asof_journal::quality;
use asof_journal::reader::Moment;
use asof_journal::types::{Content, Kind, NodeId, Quality, Version};
use asof_journal::view::Entry;
use serde::Serialize;

use crate::args::LsArgs;
use crate::errors::Result;
use crate::output::{Output, Paint, PathFields, as_of, escape, local, mode_string};
use crate::path;
use crate::session::{Session, entry_at};
use crate::source::{AtSeq, Source};

/// Directories nest no deeper than this in a listing; a journal that says otherwise is damaged.
const DEPTH_MAX: usize = 4096;

/// One entry in JSON.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    path: PathFields,
    kind: &'static str,
    node: u64,
    deleted: bool,
    /// Since when the name stands for this node, or since when it is gone.
    since_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_b64: Option<String>,
    instant: String,
    seq: u64,
}

/// Prints what was there.
pub(crate) fn run(session: &Session, args: &LsArgs, out: &mut Output) -> Result<()> {
    let at = session.optional_time(args.at.as_deref())?;
    let (path, at) = session.path(args.path.as_deref().unwrap_or(OsStr::new(".")), at)?;
    let reader = session.reader()?;
    let moment = session.moment(reader, at, out)?;
    out.note(&as_of(&moment));
    let source = AtSeq::new(reader, &moment);
    let entry = entry_at(&source, &path, &moment)?;
    let mut listing = Listing { source: &source, args, moment, out };
    if entry.kind != Kind::Dir {
        if let Some(path) = &args.path {
            session.check_kind(path, args.at.is_some(), entry.kind)?;
        }
        let name = path::name(&path).to_vec();
        return listing.print(&path, &name, &entry, false);
    }
    listing.dir(entry.node, &path, &[], false, 0)
}

struct Listing<'a> {
    source: &'a dyn Source,
    args: &'a LsArgs,
    moment: Moment,
    out: &'a mut Output,
}

impl Listing<'_> {
    /// Prints the entries of a directory; `shown` is its path as people see it, relative to what they asked for.
    fn dir(&mut self, node: NodeId, full: &[u8], shown: &[u8], is_gone: bool, depth: usize) -> Result<()> {
        let mut entries: Vec<(Entry, bool)> =
            self.source.list(node)?.into_iter().map(|entry| (entry, is_gone)).collect();
        if self.args.deleted {
            entries.extend(self.source.list_deleted(node)?.into_iter().map(|entry| (entry, true)));
            entries.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        }
        for (entry, is_gone) in entries {
            let (full, shown) = (path::join(full, &entry.name), path::join(shown, &entry.name));
            self.print(&full, &shown, &entry, is_gone)?;
            if self.args.recursive
                && entry.kind == Kind::Dir
                && depth < DEPTH_MAX
                && self.enters(&entry, is_gone)?
            {
                self.dir(entry.node, &full, &shown, is_gone, depth + 1)?;
            }
        }
        Ok(())
    }

    /// A directory that is gone from here because it moved is listed where it is now.
    fn enters(&self, entry: &Entry, is_gone: bool) -> Result<bool> {
        Ok(!is_gone || self.source.path_of(entry.node)?.is_none())
    }

    fn print(&mut self, full: &[u8], shown: &[u8], entry: &Entry, is_gone: bool) -> Result<()> {
        if self.out.is_json() {
            let version = self.source.version(entry.node)?.map(|found| found.version);
            let line = self.line(full, entry, version.as_ref(), is_gone);
            return self.out.object(&line);
        }
        let name = if is_gone { self.out.paint(Paint::Red, &escape(shown)) } else { escape(shown) };
        let gone = if is_gone { format!("  (gone since {})", entry.since) } else { String::new() };
        if !self.args.long {
            return self.out.line(&format!("{name}{gone}"));
        }
        let Some(found) = self.source.version(entry.node)? else {
            let letters = mode_string(entry.kind, 0);
            let kind = letters.get(..1).unwrap_or_default();
            return self
                .out
                .line(&format!("{kind}????????? {:>6} {:>6} {:>12} {:35} {name}{gone}", "-", "-", "-", "-"));
        };
        let Version { meta, content, quality, .. } = &found.version;
        let mark = match quality {
            Quality::Clean => String::new(),
            _ => format!("  ({})", quality::word(&found.version)),
        };
        let arrow = match content {
            Content::Inline(target) if meta.kind == Kind::Symlink => {
                format!(" -> {}", escape(target))
            }
            _ => String::new(),
        };
        let (mode, when) = (mode_string(meta.kind, meta.mode), local(meta.mtime));
        self.out.line(&format!(
            "{mode} {:>6} {:>6} {:>12} {when} {name}{arrow}{mark}{gone}",
            meta.uid, meta.gid, meta.size
        ))
    }

    fn line(&self, full: &[u8], entry: &Entry, version: Option<&Version>, is_gone: bool) -> Line {
        let target = version.and_then(|version| match &version.content {
            Content::Inline(target) if entry.kind == Kind::Symlink => Some(PathFields::pair(target)),
            _ => None,
        });
        let (target, target_b64) = target.map_or((None, None), |(text, base64)| (Some(text), base64));
        let meta = version.map(|version| &version.meta);
        Line {
            path: PathFields::new(full),
            kind: entry.kind.as_str(),
            node: entry.node.0,
            deleted: is_gone,
            since_seq: entry.since.0,
            size: meta.map(|meta| meta.size),
            mode: meta.map(|meta| format!("{:04o}", meta.mode & 0o7777)),
            uid: meta.map(|meta| meta.uid),
            gid: meta.map(|meta| meta.gid),
            mtime: meta.map(|meta| meta.mtime.to_rfc3339()),
            quality: version.map(quality::word),
            target,
            target_b64,
            instant: self.moment.instant.to_rfc3339(),
            seq: self.moment.seq.0,
        }
    }
}
