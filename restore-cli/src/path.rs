//! From a PATH argument to the absolute path that the journal knows.
//!
//! Paths are bytes and live-style: they say where something was, not where it is. Nothing here asks the filesystem,
//! because the path need not exist any more.

/// Makes a path absolute against `current` and normalises it by its text alone: no empty components, no `.`,
/// and `..` takes one component away.
pub(crate) fn absolute(path: &[u8], current: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let before: &[u8] = if path.first() == Some(&b'/') { b"" } else { current };
    for part in before.split(|&b| b == b'/').chain(path.split(|&b| b == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    if parts.is_empty() {
        return b"/".to_vec();
    }
    let mut absolute = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        absolute.push(b'/');
        absolute.extend_from_slice(part);
    }
    absolute
}

/// The path of an entry of a directory.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    push(&mut path, name);
    path
}

/// Makes the path of a directory that of one of its entries.
pub(crate) fn push(dir: &mut Vec<u8>, name: &[u8]) {
    if dir.last() != Some(&b'/') && !dir.is_empty() {
        dir.push(b'/');
    }
    dir.extend_from_slice(name);
}

/// The last component of an absolute path; empty for `/`.
pub(crate) fn name(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => &path[slash + 1..],
        None => path,
    }
}

/// The directory of an absolute path; that of `/` is itself.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) if slash > 0 => &path[..slash],
        _ => b"/",
    }
}

/// The name in a directory that a path is, or lies below; empty for the directory itself, and for what is elsewhere.
pub(crate) fn first_name<'p>(path: &'p [u8], dir: &[u8]) -> &'p [u8] {
    let outer = dir.strip_suffix(b"/").unwrap_or(dir);
    match path.strip_prefix(outer).and_then(|rest| rest.strip_prefix(b"/")) {
        Some(rest) => rest.split(|&b| b == b'/').next().unwrap_or_default(),
        None => b"",
    }
}

/// Whether a name from the journal can be a name in a directory. What cannot is never handed to the system.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|&b| b == b'/' || b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_by_their_text() {
        let cases: &[(&[u8], &[u8])] = &[
            (b"/a/b", b"/a/b"),
            (b"/a//b/", b"/a/b"),
            (b"/a/./b/../c", b"/a/c"),
            (b"/../..", b"/"),
            (b"/", b"/"),
            (b"", b"/home/u"),
            (b".", b"/home/u"),
            (b"..", b"/home"),
            (b"../../..", b"/"),
            (b"x", b"/home/u/x"),
            (b"./x/", b"/home/u/x"),
            (b"\xff\n", b"/home/u/\xff\n"),
            (b"...", b"/home/u/..."),
        ];
        for (path, expected) in cases {
            assert_eq!(absolute(path, b"/home/u"), *expected, "{path:?}");
        }
    }

    #[test]
    fn a_path_comes_apart_and_together() {
        assert_eq!(join(b"/", b"a"), b"/a");
        assert_eq!(join(b"/a", b"b"), b"/a/b");
        assert_eq!(join(b"", b"b"), b"b");
        assert_eq!(name(b"/a/b"), b"b");
        assert_eq!(name(b"/"), b"");
        assert_eq!((first_name(b"/a/b/c", b"/a"), first_name(b"/a/b", b"/")), (&b"b"[..], &b"a"[..]));
        assert_eq!((first_name(b"/a", b"/a"), first_name(b"/ab", b"/a")), (&b""[..], &b""[..]));
        assert_eq!((parent(b"/a/b"), parent(b"/a"), parent(b"/")), (&b"/a"[..], &b"/"[..], &b"/"[..]));
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_names() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b"] {
            assert!(!is_name(bad), "{bad:?}");
        }
        for good in [&b"a"[..], b"...", b"\xff", b" ", b"\n"] {
            assert!(is_name(good), "{good:?}");
        }
    }
}
