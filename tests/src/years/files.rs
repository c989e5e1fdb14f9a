//! What the files of a simulated workstation hold: few numbers each, out of which their bytes are made again and again.
//!
//! The numbers of files that were edited lie on disk: the memory of the process is what the journal takes.

use std::path::PathBuf;

use asof_journal::types::NodeId;

use crate::must::Must;
use crate::random::Random;

/// A page of a database.
const PAGE: usize = 4096;
/// A section of an object file, which changes or does not.
const SECTION: usize = 1024;

/// What sort of file it is, which says how it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Lines that are edited here and there.
    Source,
    /// Lines to which others are added.
    Note,
    /// A log, which grows until it is put aside.
    Log,
    /// Settings that a program writes anew, with little that differs.
    Settings,
    /// An office document: what was written is packed anew at each save, pictures stay as they are.
    Document,
    /// A database in pages, of which each transaction writes some.
    Database,
    /// What a compiler makes of sources: written anew as a whole, about half of it as before.
    Object,
    /// A picture, an archive: never changes.
    Fixed,
    /// A program's or an editor's temporary file.
    Temporary,
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Its node.
    pub(super) node: NodeId,
    /// The directory, by its number.
    pub(super) dir: u32,
    /// Makes its name, with `renamed`.
    pub(super) number: u32,
    /// How often it got another name.
    pub(super) renamed: u16,
    /// What sort of file it is.
    pub(super) sort: Sort,
    seed: u64,
    /// Lines, or bytes.
    length: u32,
    /// How often it was rewritten.
    revision: u32,
    /// Whether its lines are others than it began with; then `Lines` has them.
    has_changed: bool,
}

/// The lines of files that were edited, a number each.
pub(super) struct Lines(tempfile::TempDir);

impl Lines {
    pub(super) fn new() -> Lines {
        Lines(tempfile::tempdir().must("a temporary directory"))
    }

    fn path(&self, file: &File) -> PathBuf {
        self.0.path().join(file.number.to_string())
    }

    fn of(&self, file: &File) -> Vec<u32> {
        if !file.has_changed {
            let count = file.part().map_or(file.length, |part| file.length.div_ceil(part as u32));
            return (0..count).map(|line| file.original(line)).collect();
        }
        let path = self.path(file);
        let bytes = std::fs::read(&path).must(path.display());
        bytes.as_chunks().0.iter().map(|line| u32::from_le_bytes(*line)).collect()
    }

    fn put(&self, file: &mut File, lines: &[u32]) {
        file.has_changed = true;
        let bytes: Vec<u8> = lines.iter().flat_map(|line| line.to_le_bytes()).collect();
        let path = self.path(file);
        std::fs::write(&path, bytes).must(path.display());
    }

    /// Lets go of those of a file that is there no more.
    pub(super) fn remove(&self, file: &File) {
        if file.has_changed {
            let path = self.path(file);
            std::fs::remove_file(&path).must(path.display());
        }
    }
}

impl File {
    /// A new one; `length` counts lines, or bytes where there are none.
    pub(super) fn new(node: NodeId, dir: u32, number: u32, sort: Sort, length: u32, seed: u64) -> File {
        File { node, dir, number, renamed: 0, sort, seed, length, revision: 0, has_changed: false }
    }

    /// How it is called.
    pub(super) fn name(&self) -> Vec<u8> {
        let suffix = match self.sort {
            Sort::Source => "rs",
            Sort::Note => "md",
            Sort::Log => "log",
            Sort::Settings => "json",
            Sort::Document => "docx",
            Sort::Database => "sqlite",
            Sort::Object => "o",
            Sort::Fixed => "jpg",
            Sort::Temporary => "tmp",
        };
        let again = if self.renamed > 0 { format!("-{}", self.renamed) } else { String::new() };
        format!("file{}{again}.{suffix}", self.number).into_bytes()
    }

    fn has_lines(&self) -> bool {
        matches!(self.sort, Sort::Source | Sort::Note | Sort::Log | Sort::Settings | Sort::Temporary)
    }

    /// Of parts of so many bytes, each with a seed of its own.
    fn part(&self) -> Option<usize> {
        match self.sort {
            Sort::Database => Some(PAGE),
            Sort::Object => Some(SECTION),
            _ => None,
        }
    }

    fn original(&self, line: u32) -> u32 {
        (Random::new(self.seed ^ (u64::from(line) << 32)).bits() >> 32) as u32
    }

    /// What it holds now.
    pub(super) fn content(&self, lines: &Lines) -> Vec<u8> {
        if let Some(part) = self.part() {
            let parts = lines.of(self);
            let mut bytes = Vec::with_capacity(parts.len() * part);
            parts.into_iter().for_each(|seed| packed(seed, part, &mut bytes));
            return bytes;
        }
        if !self.has_lines() {
            // The part that is packed anew at each save, then what stays.
            let anew = if self.sort == Sort::Document { self.length as usize * 6 / 10 } else { 0 };
            let mut bytes = Random::new(self.seed ^ (1 + u64::from(self.revision))).bytes(anew);
            bytes.extend(Random::new(!self.seed).bytes(self.length as usize - anew));
            return bytes;
        }
        let lines = lines.of(self);
        let mut text = Vec::with_capacity(lines.len() * 40);
        lines.into_iter().for_each(|seed| line(seed, &mut text));
        text
    }

    /// Writes some pages of a database, near each other for the most part; of an object file about half.
    fn edit_parts(&self, parts: &mut [u32], random: &mut Random) {
        let count = parts.len() as u64;
        let (changes, from) = match self.sort {
            Sort::Database => (1 + random.below(5), random.below(count)),
            _ => (count / 2, 0),
        };
        for _ in 0..changes {
            let place = match self.sort {
                Sort::Database if random.below(4) > 0 => (from + random.below(8)) % count,
                _ => random.below(count),
            };
            if let Some(part) = parts.get_mut(place as usize) {
                *part = random.bits() as u32;
            }
        }
    }

    /// Changes it as its sort is changed.
    pub(super) fn edit(&mut self, of_all: &Lines, random: &mut Random) {
        self.revision += 1;
        if self.part().is_none() && !self.has_lines() {
            return;
        }
        let mut lines = of_all.of(self);
        match self.sort {
            Sort::Database | Sort::Object => self.edit_parts(&mut lines, random),
            Sort::Log | Sort::Note => {
                let added = if self.sort == Sort::Log { 5 + random.below(40) } else { 1 + random.below(5) };
                lines.extend((0..added).map(|_| random.bits() as u32));
            }
            _ => edit_lines(&mut lines, random),
        }
        of_all.put(self, &lines);
    }
}

/// A place that is worked on, and a few lines there.
fn edit_lines(lines: &mut Vec<u32>, random: &mut Random) {
    let fresh = |random: &mut Random| random.bits() as u32;
    let at = random.below(lines.len().max(1) as u64) as usize;
    for n in 0..(1 + random.below(4) as usize) {
        let at = (at + n).min(lines.len());
        match random.below(10) {
            0..4 if lines.len() < 3000 => lines.insert(at, fresh(random)),
            4 if lines.len() > 20 && at < lines.len() => drop(lines.remove(at)),
            _ => match lines.get_mut(at) {
                Some(line) => *line = fresh(random),
                None => lines.push(fresh(random)),
            },
        }
    }
}

/// Bytes that become half as long when they are compressed, out of a number.
fn packed(seed: u32, len: usize, bytes: &mut Vec<u8>) {
    let mut random = Random::new(u64::from(seed));
    let end = bytes.len() + len;
    while bytes.len() < end {
        let bits = random.bits().to_le_bytes();
        bytes.extend_from_slice(&bits);
        bytes.extend_from_slice(&[bits[0] & 3; 8]);
    }
    bytes.truncate(end);
}

/// A line of something like source code, out of a number.
fn line(seed: u32, text: &mut Vec<u8>) {
    const WORDS: [&str; 32] = [
        "self", "let", "mut", "for", "match", "return", "index", "buffer", "length", "offset", "value",
        "result", "error", "path", "name", "kind", "state", "config", "write", "read", "open", "close",
        "node", "tree", "if", "else", "None", "Some", "Ok", "Err", "the", "count",
    ];
    let mut random = Random::new(u64::from(seed));
    let mut bits = random.bits();
    text.extend_from_slice(&b"            "[..(bits % 4) as usize * 4]);
    bits >>= 2;
    for _ in 0..(1 + bits % 8) {
        let bits = random.bits();
        text.extend_from_slice(WORDS[(bits % 32) as usize].as_bytes());
        match bits >> 5 & 7 {
            0 => text.extend_from_slice(format!("_{:x}", bits >> 8 & 0xff).as_bytes()),
            1 => text.push(b'('),
            2 => text.extend_from_slice(b") "),
            3 => text.extend_from_slice(b"."),
            _ => text.push(b' '),
        }
    }
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_made_again_and_edits_change_little() {
        let (lines, mut random) = (Lines::new(), Random::new(1));
        for sort in [Sort::Source, Sort::Note, Sort::Log, Sort::Settings] {
            let mut file = File::new(NodeId(1), 0, 1, sort, 200, 7);
            let before = file.content(&lines);
            assert_eq!(before, file.content(&lines));
            file.edit(&lines, &mut random);
            let after = file.content(&lines);
            assert_ne!(before, after);
            let same = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
            let rest = before.iter().rev().zip(after.iter().rev()).take_while(|(one, other)| one == other);
            assert!(same + rest.count() + 1000 > before.len(), "{sort:?}: an edit is small");
        }
        let mut document = File::new(NodeId(1), 0, 1, Sort::Document, 100_000, 7);
        let before = document.content(&lines);
        document.edit(&lines, &mut random);
        let after = document.content(&lines);
        assert_eq!((before.len(), after.len()), (100_000, 100_000));
        assert!(before[..60_000] != after[..60_000] && before[60_000..] == after[60_000..]);
        for (sort, part, least, most) in [(Sort::Database, PAGE, 1, 5), (Sort::Object, SECTION, 20, 50)] {
            let mut file = File::new(NodeId(1), 0, 1, sort, 100 * part as u32, 7);
            let before = file.content(&lines);
            assert_eq!((before.len(), &before), (100 * part, &file.content(&lines)));
            file.edit(&lines, &mut random);
            let after = file.content(&lines);
            let changed = before.chunks(part).zip(after.chunks(part)).filter(|(one, other)| one != other);
            assert!((least..=most).contains(&changed.count()), "{sort:?}");
        }
    }
}
