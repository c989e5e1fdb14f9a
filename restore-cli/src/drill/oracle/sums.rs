//! Lists of hashes as `sha256sum` and `b3sum` write them: what a workload noted of its files with the tools that it has.
//!
//! Owns their form, and nothing else: such a list has no instant, no metadata and no end.

use std::io;
use std::path::Path;

use crate::drill::observe::Seen;
use crate::drill::spec::{SumHash, SumSpec};
use crate::path;

/// A list is no larger; of paths of the usual length that is some millions.
const BYTES_MAX: u64 = 1 << 30;
/// Digits of a hash of 256 bits.
const DIGITS: usize = 64;

/// What a list says.
pub(super) struct Sums {
    /// Each path with all that is known of it.
    pub(super) files: Vec<(Vec<u8>, Seen)>,
    /// BLAKE3 of the list.
    pub(super) blake3: String,
    /// How long it is.
    pub(super) bytes: u64,
}

/// Reads a list. One with a line that is none is refused: what was cut or is something else proves nothing.
pub(super) fn read(spec: &SumSpec) -> io::Result<Sums> {
    let file = std::fs::File::open(&spec.file)?;
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(&file, BYTES_MAX + 1), &mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(bad("it is too large for a list of hashes".to_owned()));
    }
    if !text.is_empty() && text.last() != Some(&b'\n') {
        return Err(bad("it has no end: its last line was cut".to_owned()));
    }
    let mut files = Vec::new();
    for (number, line) in (1u64..).zip(text.split(|&byte| byte == b'\n')) {
        if line.is_empty() {
            continue;
        }
        let (hash, name) = parse(line, spec.hash).ok_or_else(|| {
            bad(format!(
                "line {number} is no {} with a name, as {} writes it",
                spec.hash.name(),
                spec.hash.tool()
            ))
        })?;
        files.push((place(&name, spec.below.as_deref(), number)?, seen(hash, spec.hash)));
    }
    if files.is_empty() {
        return Err(bad("it is empty".to_owned()));
    }
    Ok(Sums { files, blake3: blake3::hash(&text).to_hex().to_string(), bytes: text.len() as u64 })
}

fn place(name: &[u8], below: Option<&Path>, number: u64) -> io::Result<Vec<u8>> {
    let current = below.map(|below| std::os::unix::ffi::OsStrExt::as_bytes(below.as_os_str()));
    match (name.first(), current) {
        (Some(b'/'), _) => Ok(path::absolute(name, b"/")),
        (_, Some(below)) => Ok(path::absolute(name, below)),
        (_, None) => {
            Err(bad(format!("line {number} has a relative name: say below = \"DIR\" beside the file")))
        }
    }
}

fn seen(hash: String, kind: SumHash) -> Seen {
    let mut seen = Seen { kind: "file".to_owned(), ..Seen::default() };
    match kind {
        SumHash::Sha256 => seen.sha256 = Some(hash),
        SumHash::Blake3 => seen.blake3 = Some(hash),
    }
    seen
}

/// A line: `HASH  NAME`, `HASH *NAME`, or `SHA256 (NAME) = HASH`; with a backslash before it the name is escaped.
fn parse(line: &[u8], kind: SumHash) -> Option<(String, Vec<u8>)> {
    let (escaped, line) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let tag = [kind.tag().as_bytes(), b" ("].concat();
    let (digits, name) = match line.strip_prefix(tag.as_slice()) {
        Some(rest) => {
            let (before, digits) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
            (digits, before.strip_suffix(b") = ")?)
        }
        None => {
            let (digits, rest) = line.split_at_checked(DIGITS)?;
            (digits, rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?)
        }
    };
    let is_hash = digits.iter().all(u8::is_ascii_hexdigit);
    let name = if escaped { unescape(name)? } else { name.to_vec() };
    let hash = std::str::from_utf8(digits).ok()?.to_ascii_lowercase();
    (is_hash && !name.is_empty()).then_some((hash, name))
}

fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut found = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        found.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b'\\' => b'\\',
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(found)
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8], hash: SumHash, below: Option<&str>) -> io::Result<Sums> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sums");
        std::fs::write(&file, text).unwrap();
        read(&SumSpec { file, hash, at: None, below: below.map(Into::into) })
    }

    #[test]
    fn what_the_tools_write_is_read() {
        let one = "a1".repeat(32);
        let text = format!(
            "{one}  /abs\n{}  with  blanks\n{one} *./sub/../binary\n\\{one}  new\\nline\\\\x\nSHA256 (tag (1)) = {one}\n",
            one.to_uppercase()
        );
        let sums = of(text.as_bytes(), SumHash::Sha256, Some("/b")).unwrap();
        let names: Vec<_> = sums.files.iter().map(|(path, _)| String::from_utf8_lossy(path)).collect();
        assert_eq!(names, ["/abs", "/b/with  blanks", "/b/binary", "/b/new\nline\\x", "/b/tag (1)"]);
        assert!(
            sums.files.iter().all(|(_, seen)| seen.sha256.as_deref() == Some(&*one) && seen.blake3.is_none())
        );
        let other = of(format!("{one}  /x\n").as_bytes(), SumHash::Blake3, None).unwrap();
        assert!(other.files[0].1.blake3.is_some() && other.files[0].1.sha256.is_none());
        let bytes = of(&[one.as_bytes(), b"  /non\xff\n"].concat(), SumHash::Sha256, None).unwrap();
        assert_eq!(bytes.files[0].0, b"/non\xff");
    }

    #[test]
    fn what_is_no_list_is_refused_as_a_whole() {
        let one = "a1".repeat(32);
        for (text, why) in [
            (format!("{one}  /a\n{one}  rel\n"), "below"),
            (format!("{one}  /a\n{one}  /b"), "no end"),
            (format!("{one}  /a\nsha256sum: /b: Permission denied\n"), "line 2"),
            (format!("{}  /a\n", &one[1..]), "line 1"),
            (format!("{one}  \n"), "line 1"),
            (String::new(), "empty"),
            (format!("BLAKE3 (/a) = {one}\n"), "line 1"),
        ] {
            let error = of(text.as_bytes(), SumHash::Sha256, None).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(why), "{text:?}: {error}");
        }
    }
}
