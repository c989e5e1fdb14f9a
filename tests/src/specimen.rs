//! Small journals with everything in them, copies of them that are damaged, and the judgement on such a copy: what a
//! check says against what restores wrongly.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use asof_journal::append::Limits;
use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::{Content, Extent, GapReason, Seq};
use asof_journal::verify::{Options, Verification, verify};
use asof_journal::{Error, Result};
use tempfile::TempDir;

use crate::desk::{Desk, Shown};
use crate::must::Must;

/// A journal in good order, and what each of its instants must show.
pub struct Specimen {
    dir: TempDir,
    /// The journal.
    pub journal: PathBuf,
    /// What it must show.
    pub shown: Vec<Shown>,
    /// The segments by file name.
    pub segments: BTreeMap<String, Vec<u8>>,
}

/// How much a specimen holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Some kilobytes: every form of content but lists of extents.
    Small,
    /// Lists of extents, too, and files of several megabytes.
    Large,
}

/// Lines that compress and repeat nowhere.
pub fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 24);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(format!("line {state:x}\n").as_bytes());
    }
    out.truncate(len);
    out
}

/// Long content in which every quarter of a megabyte is another one, and which takes little room.
fn long(len: usize, seed: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 64);
    while out.len() < len {
        let pattern = text(48, seed + (out.len() >> 17) as u64);
        out.extend_from_slice(&pattern);
    }
    out.truncate(len);
    out
}

impl Specimen {
    /// Makes one.
    pub fn new(size: Size) -> Specimen {
        let dir = TempDir::with_prefix("asof-specimen-").must("a temporary directory");
        let journal = dir.path().join("j");
        let limits = Limits { segment_bytes_max: 900, ..Limits::default() };
        let mut desk = Desk::open(&journal, 0, limits);
        write_history(&mut desk, size);
        let shown = desk.close();
        let segments = read_dir(&Layout::new(&journal).segments());
        Specimen { dir, journal, shown, segments }
    }

    /// A copy beside it, with the index or without.
    pub fn copy(&self, name: &str, with_index: bool) -> PathBuf {
        let to = self.dir.path().join(name);
        let _ = fs::remove_dir_all(&to);
        copy_journal(&self.journal, &to, with_index);
        to
    }
}

fn write_history(desk: &mut Desk, size: Size) {
    let mut draft = text(2_500, 1);
    desk.mkdir("/d");
    desk.mkdir("/d/e");
    desk.write("/small", b"a few bytes");
    desk.write("/d/draft", &draft);
    desk.write("/d/e/notes", &text(900, 2));
    desk.commit();
    let mut big = long(300_000, 3);
    desk.write("/d/big", &big);
    desk.commit();
    for round in 0..3 {
        draft.splice(1000..1000, format!("round {round}\n").into_bytes());
        desk.write("/d/draft", &draft);
        desk.commit();
    }
    desk.link("/d/draft", "/linked");
    desk.write("/small", b"a few bytes more");
    desk.commit();
    desk.rename_dir("/d/e", "/d/f");
    desk.commit();
    draft.extend_from_slice(b"saved\n");
    desk.save("/d/draft", &draft);
    big.splice(5_000..5_000, *b"an edit");
    desk.write("/d/big", &big);
    desk.commit();
    if size == Size::Large {
        let mut huge = long(9_000_000, 1000);
        desk.write("/huge", &huge);
        desk.commit();
        huge.splice(4_000_000..4_000_000, *b"an edit");
        desk.write("/huge", &huge);
        desk.write("/d/more", &text(60_000, 9));
        desk.commit();
    }
    desk.rename("/d/f/notes", "/notes");
    desk.rename_dir("/d", "/dir");
    desk.commit();
    desk.remove("/small");
    desk.write("/dir/last", &text(1_200, 5));
    desk.commit();
    draft.extend_from_slice(b"once more\n");
    desk.write("/dir/draft", &draft);
    desk.commit();
}

/// The files of a directory by name.
pub fn read_dir(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).must(dir.display()) {
        let entry = entry.must(dir.display());
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() {
            files.insert(name, fs::read(entry.path()).must(entry.path().display()));
        }
    }
    files
}

/// Copies a journal file by file; the copies can be written.
pub fn copy_journal(from: &Path, to: &Path, with_index: bool) {
    let dirs: &[&str] = if with_index { &["segments", "index"] } else { &["segments"] };
    for dir in dirs {
        fs::create_dir_all(to.join(dir)).must(to.display());
        for (name, bytes) in read_dir(&from.join(dir)) {
            fs::write(to.join(dir).join(&name), bytes).must(name);
        }
    }
    for name in ["journal.json", "journal.json.copy"] {
        fs::copy(from.join(name), to.join(name)).must(name);
    }
}

/// The content of a path as of a `Seq`; `None` where there is no file, or one whose content then went.
pub fn content_of(reader: &Reader, path: &str, at: Seq) -> Result<Option<Vec<u8>>> {
    let view = reader.view(at);
    let Some(entry) = view.resolve(path.as_bytes())? else { return Ok(None) };
    let Some(at) = view.version(entry.node)? else { return Ok(None) };
    match &at.version.content {
        Content::Inline(bytes) => return Ok(Some(bytes.clone())),
        Content::Thinned => return Ok(None),
        _ => {}
    }
    let mut bytes = Vec::new();
    for extent in view.extents(&at.version)? {
        match extent {
            Extent::Block { id, .. } => bytes.extend_from_slice(&view.block(id)?),
            Extent::Hole { len } => bytes.resize(bytes.len() + len as usize, 0),
            Extent::List { .. } => panic!("a list in flattened extents"),
        }
    }
    Ok(Some(bytes))
}

/// What a damaged copy was found to be.
pub struct Judgement {
    /// What a deep check says.
    pub found: Verification,
    /// Whether it says that all is well.
    pub sound: bool,
    /// Places and instants that could not be read.
    pub failing: usize,
    /// Places and instants that show something older, where the check names groups that are lost.
    pub older: usize,
}

/// Checks a damaged copy and reads everything in it as of every instant.
///
/// Stops the test where wrong bytes come out; where something older comes out and neither the check nor the view says that
/// groups are lost; where what the check names is not exactly what cannot be read; where anything panics or cannot be
/// opened at all.
#[track_caller]
pub fn judge(journal: &Path, shown: &[Shown], what: &str) -> Judgement {
    let options = Options { deep: true, threads: 1, ..Options::default() };
    let found =
        verify(journal, &options, &|_| true).unwrap_or_else(|error| panic!("{what}: verify: {error}"));
    let sound = found.is_sound().unwrap_or_else(|error| panic!("{what}: verify: {error}"));
    let mut affected = Vec::new();
    found
        .affected(&mut |one| {
            affected.push(one);
            true
        })
        .unwrap_or_else(|error| panic!("{what}: verify: {error}"));
    let reader = Reader::open(journal).unwrap_or_else(|error| panic!("{what}: open: {error}"));
    let paths: BTreeSet<&String> = shown.iter().flat_map(|shown| shown.files.keys()).collect();
    let ever: BTreeSet<&Vec<u8>> = shown.iter().flat_map(|shown| shown.files.values()).collect();
    let (mut failing, mut older) = (0, 0);
    for Shown { seq, files } in shown {
        for &path in &paths {
            let is_named = affected.iter().any(|one| {
                one.path == path.as_bytes() && one.from <= *seq && one.until.is_none_or(|until| *seq < until)
            });
            match content_of(&reader, path, *seq) {
                Err(Error::DamagedBlock { .. } | Error::MissingBlock { .. }) => {
                    assert!(
                        is_named,
                        "{what}: {path} at {seq} cannot be read, and the check does not name it"
                    );
                    failing += 1;
                }
                Err(error) => panic!("{what}: {path} at {seq}: {error}"),
                Ok(_) if is_named => panic!("{what}: {path} at {seq} is named and can be read"),
                Ok(bytes) if bytes.as_ref() == files.get(path) => {}
                Ok(bytes) => {
                    assert!(
                        found.lost.iter().any(|lost| lost.first <= *seq),
                        "{what}: {path} at {seq} is not what it was, and the check knows of no loss"
                    );
                    assert!(
                        bytes.as_ref().is_none_or(|bytes| ever.contains(bytes)),
                        "{what}: {path} at {seq} has bytes that it never had"
                    );
                    let gaps = reader.view(*seq).gaps(path.as_bytes()).must("gaps");
                    let refused = reader.at_seq(*seq).must("a moment").is_none();
                    assert!(
                        refused || gaps.iter().any(|gap| gap.reason == GapReason::Damaged),
                        "{what}: {path} at {seq} shows something older without a word"
                    );
                    older += 1;
                }
            }
        }
    }
    assert!(!sound || failing + older == 0, "{what}: sound, and {failing} fail, {older} are older");
    Judgement { found, sound, failing, older }
}
