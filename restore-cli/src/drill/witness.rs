//! Witnesses: what lay on disk at an instant, written outside the journal while it was there.
//!
//! Owns the file and its form, JSON Lines: a header, a line for each path, an end. A workload may write one of its own.
//! Asks no journal what anything was.
//!
//! | line | fields |
//! |---|---|
//! | first | `asof_witness` 1; `instant` and `seq` as `asof --json sync` gave them; `journal` its uuid; `roots` what was looked at |
//! | each path | `path` (`path_b64` where it is no UTF-8), `kind`, `size`, `mode` (octal), `uid`, `gid`, `mtime_ns`, `ctime_ns`, `blake3` and `nlink` of a file, `inode` where it has several names, `target_b64` of a symlink, `xattrs`; `changed` where it was written to after the instant |
//! | last | `end` true, `entries` how many paths there were |

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::observe::Seen;
use super::report::{Evidence, Name, Stamp};

/// The version of the form.
const FORMAT: u32 = 1;
/// No line is longer: a path of 4,096 bytes in base64 and the rest.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// The kernel stamps files with the clock of its last tick, which is older by so much at most.
pub(crate) const TICK_NS: i64 = 10_000_000;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    /// [`FORMAT`].
    pub(crate) asof_witness: u32,
    /// The journal that the instant is one of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) journal: Option<String>,
    /// Everything before it was durable.
    pub(crate) instant: Stamp,
    /// Its place in the order; absent where a workload does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
    /// What was looked at, with all below: what is not in the list was not there.
    pub(crate) roots: Vec<Name>,
}

impl Header {
    /// Of what is looked at from now on.
    pub(crate) fn new(journal: String, instant: Stamp, seq: u64, roots: &[Vec<u8>]) -> Header {
        let roots = roots.iter().map(|root| Name::new(root)).collect();
        Header { asof_witness: FORMAT, journal: Some(journal), instant, seq: Some(seq), roots }
    }
}

/// A path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Where it is.
    #[serde(flatten)]
    pub(crate) name: Name,
    /// What it is.
    #[serde(flatten)]
    pub(crate) seen: Seen,
    /// It was written to after the instant, or while it was read: what it was at the instant is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) changed: bool,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    end: bool,
    entries: u64,
}

/// A line that is not the first.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Any {
    End(End),
    Line(Box<Line>),
}

/// A witness that is being written.
pub(crate) struct Writer<W: Write> {
    to: BufWriter<W>,
    entries: u64,
}

impl<W: Write> Writer<W> {
    /// Begins with the header.
    pub(crate) fn new(to: W, header: &Header) -> io::Result<Writer<W>> {
        let mut writer = Writer { to: BufWriter::new(to), entries: 0 };
        writer.object(header)?;
        Ok(writer)
    }

    /// Adds a path.
    pub(crate) fn add(&mut self, line: &Line) -> io::Result<()> {
        self.entries += 1;
        self.object(line)
    }

    /// Writes the end; gives back what was written to, and how many paths there are.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64)> {
        let entries = self.entries;
        self.object(&End { end: true, entries })?;
        Ok((self.to.into_inner().map_err(io::IntoInnerError::into_error)?, entries))
    }

    fn object(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, value)?;
        self.to.write_all(b"\n")
    }
}

/// The header of a witness.
pub(crate) fn header(path: &Path) -> io::Result<Header> {
    let mut from = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    io::Read::take(&mut from, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    parse_header(&line)
}

fn parse_header(line: &[u8]) -> io::Result<Header> {
    let header: Header =
        serde_json::from_slice(line).map_err(|error| bad(format!("it is no witness: {error}")))?;
    match header.asof_witness {
        FORMAT => Ok(header),
        other => Err(bad(format!("it has format {other}, and this program knows {FORMAT}"))),
    }
}

/// Reads a witness to its end. Each path is handed to `each` as it comes; a file that does not end as it should is refused
/// after that, and nothing that came from it is to be used.
pub(crate) fn read(path: &Path, each: &mut dyn FnMut(Line)) -> io::Result<(Header, Evidence)> {
    let mut from = BufReader::with_capacity(256 * 1024, File::open(path)?);
    let mut hasher = blake3::Hasher::new();
    let (mut header, mut ended, mut entries, mut bytes) = (None, None, 0, 0);
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let n = io::Read::take(&mut from, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if n == 0 {
            break;
        }
        bytes += n as u64;
        hasher.update(&line);
        if ended.is_some() {
            return Err(bad(format!("line {number}: something stands behind its end")));
        }
        if header.is_none() {
            header = Some(parse_header(&line)?);
            continue;
        }
        match serde_json::from_slice(&line).map_err(|error| bad(format!("line {number}: {error}")))? {
            Any::End(end) => ended = Some(end.entries),
            Any::Line(line) => {
                entries += 1;
                each(*line);
            }
        }
    }
    let header = header.ok_or_else(|| bad("it is empty".to_owned()))?;
    match ended {
        Some(count) if count == entries => {}
        Some(count) => return Err(bad(format!("it says that it has {count} paths, and has {entries}"))),
        None => return Err(bad("it has no end: whoever wrote it did not come to it".to_owned())),
    }
    let evidence = Evidence {
        what: "witness".to_owned(),
        path: Name::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())),
        blake3: hasher.finalize().to_hex().to_string(),
        bytes,
        made: Some(header.instant),
    };
    Ok((header, evidence))
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use asof_journal::types::Instant;

    use super::*;

    fn written(lines: usize) -> Vec<u8> {
        let header = Header::new("id".into(), Stamp(Instant(5)), 7, &[b"/r".to_vec()]);
        let mut writer = Writer::new(Vec::new(), &header).unwrap();
        for number in 0..lines {
            let seen = Seen { kind: "file".into(), size: number as u64, ..Seen::default() };
            let name = Name::new(format!("/r/{number}").as_bytes());
            writer.add(&Line { name, seen, changed: number == 1 }).unwrap();
        }
        writer.finish().unwrap().0
    }

    fn read_back(bytes: &[u8]) -> io::Result<(Header, Evidence, Vec<Line>)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("witness");
        std::fs::write(&path, bytes).unwrap();
        let mut lines = Vec::new();
        let (header, evidence) = read(&path, &mut |line| lines.push(line))?;
        Ok((header, evidence, lines))
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = written(3);
        let (header, evidence, lines) = read_back(&bytes).unwrap();
        assert_eq!((header.seq, header.instant), (Some(7), Stamp(Instant(5))));
        assert_eq!(evidence.blake3, blake3::hash(&bytes).to_hex().to_string());
        assert_eq!(lines.iter().map(|line| line.changed).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(lines[2].name.path, "/r/2");
    }

    #[test]
    fn a_witness_that_was_cut_or_lengthened_is_refused() {
        let whole = written(3);
        let last = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
        for cut in [0, 10, last, last - 5] {
            assert!(read_back(&whole[..cut]).is_err(), "{cut}");
        }
        let mut more = whole.clone();
        more.extend_from_slice(&whole[..last]);
        assert!(read_back(&more).is_err());
        // A line is gone from the middle.
        let text = String::from_utf8(whole).unwrap();
        let fewer: Vec<&str> =
            text.lines().enumerate().filter(|(at, _)| *at != 2).map(|(_, line)| line).collect();
        assert!(read_back(fewer.join("\n").as_bytes()).unwrap_err().to_string().contains("3 paths"));
    }
}
