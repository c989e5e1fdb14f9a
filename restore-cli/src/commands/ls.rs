//! `ls`: a directory as of a time, also with what is gone.

use std::collections::HashSet;
use std::ffi::OsStr;

use asof_journal::quality;
use asof_journal::reader::Moment;
use asof_journal::types::{Content, Kind, NodeId, Quality, Version};
use asof_journal::view::Entry;
use serde::Serialize;

use crate::args::LsArgs;
use crate::errors::{Error, Result};
use crate::output::{Output, Paint, PathFields, as_of, escape, local, mode_string};
use crate::path;
use crate::session::{Session, entry_at};
use crate::source::{AtSeq, Source};

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
    listing.dir(entry.node, &path)
}

/// A directory whose entries are being printed.
struct Open {
    entries: std::vec::IntoIter<(Entry, bool)>,
    node: NodeId,
    /// How long its path is.
    full: usize,
    /// How long the path is that people see.
    shown: usize,
}

struct Listing<'a> {
    source: &'a dyn Source,
    args: &'a LsArgs,
    moment: Moment,
    out: &'a mut Output,
}

impl Listing<'_> {
    /// Prints the entries of a directory, and with `-R` everything below, however deep.
    fn dir(&mut self, node: NodeId, path: &[u8]) -> Result<()> {
        let mut full = path.to_vec();
        // Relative to what people asked for.
        let mut shown = Vec::new();
        let mut met = HashSet::from([node]);
        let mut circles = 0;
        let entries = self.entries(node, false)?.into_iter();
        let mut open = vec![Open { entries, node, full: full.len(), shown: 0 }];
        while let Some(dir) = open.last_mut() {
            let Some((entry, is_gone)) = dir.entries.next() else {
                open.pop();
                continue;
            };
            full.truncate(dir.full);
            shown.truncate(dir.shown);
            path::push(&mut full, &entry.name);
            path::push(&mut shown, &entry.name);
            self.print(&full, &shown, &entry, is_gone)?;
            if !self.args.recursive || entry.kind != Kind::Dir || !self.enters(&entry, is_gone)? {
                continue;
            }
            // What is gone may have had several names; what is there has one.
            let is_circle = open.iter().any(|above| above.node == entry.node);
            if is_circle || (!is_gone && !met.insert(entry.node)) {
                let what = "the directory lies within itself or in two places; the journal may be damaged";
                self.out.problem(&format!("{}: {what}", escape(&full)));
                circles += 1;
                continue;
            }
            let entries = self.entries(entry.node, is_gone)?.into_iter();
            open.push(Open { entries, node: entry.node, full: full.len(), shown: shown.len() });
        }
        match circles {
            0 => Ok(()),
            problems => Err(Error::Partly { problems }),
        }
    }

    fn entries(&self, node: NodeId, is_gone: bool) -> Result<Vec<(Entry, bool)>> {
        let mut entries: Vec<(Entry, bool)> =
            self.source.list(node)?.into_iter().map(|entry| (entry, is_gone)).collect();
        if self.args.deleted {
            entries.extend(self.source.list_deleted(node)?.into_iter().map(|entry| (entry, true)));
            entries.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        }
        Ok(entries)
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
