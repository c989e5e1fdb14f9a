//! What the browser asks of the journal, as a seam, and the values that it gets.
//!
//! Tests put a tree in memory in the journal's place. Draws nothing, decides nothing.

use asof_journal::types::{Instant, Kind, NodeId, Seq};

use crate::errors::Result;
use crate::moments::{Moment, Placed};

/// Two places in the order: the state before a moment, and the state after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Just before.
    pub(super) before: Seq,
    /// After it.
    pub(super) after: Seq,
}

/// What became of an entry in the selected moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing.
    Same,
    /// It came.
    Created,
    /// It changed, or something below it.
    Modified,
    /// It went.
    Deleted,
    /// It went earlier.
    Gone,
}

impl Mark {
    /// The letter that stands for it.
    pub(super) fn letter(self) -> char {
        match self {
            Mark::Same => ' ',
            Mark::Created => '+',
            Mark::Modified => '~',
            Mark::Deleted => '-',
            Mark::Gone => 'x',
        }
    }
}

/// An entry of the directory that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its name.
    pub(super) name: Vec<u8>,
    /// What it is.
    pub(super) kind: Kind,
    /// The node.
    pub(super) node: NodeId,
    /// What became of it.
    pub(super) mark: Mark,
    /// The place at which it is shown and restored: for what is gone, one at which it was there.
    pub(super) at: Seq,
    /// Its size, once it was asked for.
    pub(super) size: Option<u64>,
}

/// A directory at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Its entries: directories first, then in byte order of their names.
    pub(super) rows: Vec<Row>,
    /// What there is to say of the directory itself.
    pub(super) note: Option<String>,
    /// Whether there are more entries, which are being read.
    pub(super) is_partial: bool,
}

impl Listing {
    /// Takes further entries in.
    pub(super) fn add(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
        // Two sorted runs, or a few: no more work than going through them.
        self.rows.sort_by(|one, other| order(one).cmp(&order(other)));
    }

    /// Where an entry of that name and kind stands.
    pub(super) fn position(&self, row: &Row) -> Option<usize> {
        let at = self.rows.partition_point(|other| order(other) < order(row));
        self.rows.get(at).filter(|other| order(other) == order(row)).map(|_| at)
    }
}

/// Directories first, then by name.
fn order(row: &Row) -> (bool, &[u8]) {
    (row.kind != Kind::Dir, &row.name)
}

/// How a line of a preview is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it is.
    Plain,
    /// A line that came.
    Added,
    /// A line that went.
    Removed,
    /// Said by the browser, not by the file.
    Aside,
}

/// Lines to show of a file, ready for a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Preview {
    /// The lines.
    pub(super) lines: Vec<(Tone, String)>,
}

/// What a preview shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    /// The file at the moment.
    Content,
    /// What the moment changed in it.
    SinceBefore,
    /// What changed in it from the moment until now.
    UntilNow,
}

/// A name that was looked for, and when something happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    /// When.
    pub(super) seq: Seq,
    /// The absolute path.
    pub(super) path: Vec<u8>,
}

/// How far something has come that is done a little at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Whether there is nothing more.
    pub(super) is_done: bool,
    /// Back to when it has come.
    pub(super) back_to: Option<Instant>,
}

/// Where a timeline ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// At the newest there is: the journal is looked at anew.
    Newest,
    /// Where the last one ended.
    Same,
}

/// The journal, to a browser.
pub(super) trait Data {
    /// Begins the timeline of a directory.
    fn begin(&mut self, dir: &[u8], until: Until) -> Result<()>;
    /// Older moments of the timeline, for so long as `wants` says.
    fn older(&mut self, wants: &dyn Fn() -> bool, take: &mut dyn FnMut(Moment)) -> Result<Progress>;
    /// The place where the timeline ends.
    fn end(&self) -> Seq;
    /// The gaps in the coverage of the timeline's directory.
    fn gaps(&self) -> Result<Vec<Placed>>;
    /// Begins to list a directory as of a moment, with what the moment did to it; with `gone`, also what went earlier. Gives
    /// what there is to say of the directory itself.
    fn list(&mut self, dir: &[u8], span: Span, gone: bool) -> Result<Option<String>>;
    /// Further entries of it, for so long as `wants` says; at least a few. Whether that was all.
    fn rows(&mut self, wants: &dyn Fn() -> bool, take: &mut dyn FnMut(Row)) -> Result<bool>;
    /// The size of a file.
    fn size(&self, row: &Row) -> Result<Option<u64>>;
    /// The place at which what is gone was there last, and whole.
    fn whole_at(&self, path: &[u8], row: &Row) -> Result<Seq>;
    /// What to show of an entry.
    fn preview(&self, path: &[u8], row: &Row, span: Span, pane: Pane) -> Result<Preview>;
    /// Begins to look for a name that contains `text` in everything that happened below the timeline's directory.
    fn look_for(&mut self, text: &str) -> Result<()>;
    /// Further hits, the newest first, for so long as `wants` says.
    fn hits(&mut self, wants: &dyn Fn() -> bool, take: &mut dyn FnMut(Hit)) -> Result<Progress>;
}
