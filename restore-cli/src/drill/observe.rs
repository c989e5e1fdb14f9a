//! What is on disk at a path: its metadata, and a hash of its content that no journal had a part in.
//!
//! Reads only, follows no symlink. What changes while it is read is said to have changed.

use std::ffi::{CString, OsStr};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// What something was, as far as a restore can bring it back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// `file`, `dir`, `symlink`, `fifo`, `socket`, `char-device` or `block-device`.
    pub(crate) kind: String,
    /// Length of a file's content in bytes.
    pub(crate) size: u64,
    /// Permissions, in octal.
    pub(crate) mode: String,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Modification time, ns since the epoch.
    pub(crate) mtime_ns: i64,
    /// Change time, ns since the epoch.
    pub(crate) ctime_ns: i64,
    /// BLAKE3 of a file's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blake3: Option<String>,
    /// SHA-256 of a file's content, where a list of such hashes says something of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// What a symlink points to, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target_b64: Option<String>,
    /// How many names a file has; absent where nobody counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nlink: Option<u64>,
    /// Of a file with several names: what is the same for all of them, its device and inode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inode: Option<String>,
    /// BLAKE3 of the names and values of extended attributes and ACLs, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) xattrs: Option<String>,
}

impl Seen {
    /// Whether it is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.kind == "file"
    }

    /// Whether it is a directory.
    pub(crate) fn is_dir(&self) -> bool {
        self.kind == "dir"
    }

    /// Whether both have the same bytes: those of a file, or the target of a symlink.
    pub(crate) fn same_content(&self, other: &Seen) -> bool {
        self.kind == other.kind
            && match self.kind.as_str() {
                "file" => match (&self.blake3, &self.sha256) {
                    (None, None) => false,
                    (Some(_), None) => self.blake3 == other.blake3,
                    (None, Some(_)) => self.sha256 == other.sha256,
                    (Some(_), Some(_)) => self.blake3 == other.blake3 && self.sha256 == other.sha256,
                },
                "symlink" => self.target_b64 == other.target_b64,
                _ => true,
            }
    }

    /// Whether more is known of it than its bytes.
    pub(crate) fn is_described(&self) -> bool {
        !self.mode.is_empty()
    }

    /// What a person sees of the differences in metadata. Owners count only where whoever runs this may set them.
    pub(crate) fn metadata_differences(&self, other: &Seen, owners: bool) -> Vec<String> {
        let mut found = Vec::new();
        if self.kind != other.kind {
            found.push(format!("kind {} instead of {}", other.kind, self.kind));
            return found;
        }
        if self.mode != other.mode && self.kind != "symlink" {
            found.push(format!("mode {} instead of {}", other.mode, self.mode));
        }
        if self.mtime_ns != other.mtime_ns {
            let off = i128::from(other.mtime_ns) - i128::from(self.mtime_ns);
            found.push(format!("modification time is off by {off} ns"));
        }
        if owners && (self.uid, self.gid) != (other.uid, other.gid) {
            found.push(format!("owner {}:{} instead of {}:{}", other.uid, other.gid, self.uid, self.gid));
        }
        if self.xattrs != other.xattrs {
            found.push("extended attributes differ".to_owned());
        }
        found
    }
}

/// Looks at a path, and hashes a file's content with `hash`. `None` where nothing is there. An error of the kind
/// `Interrupted` says that it changed meanwhile.
pub(crate) fn observe(path: &Path, hash: bool) -> io::Result<Option<Seen>> {
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut seen = of(&meta);
    if meta.file_type().is_symlink() {
        let target = std::fs::read_link(path)?;
        seen.target_b64 = Some(data_encoding::BASE64.encode(target.as_os_str().as_bytes()));
    }
    if meta.is_file() && hash {
        seen.blake3 = Some(hash_file(path, &meta)?);
    }
    if meta.is_file() || meta.is_dir() {
        seen.xattrs = xattrs(path)?;
    }
    Ok(Some(seen))
}

fn of(meta: &Metadata) -> Seen {
    let kind = meta.file_type();
    let word = match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "dir",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_char_device() => "char-device",
        () => "block-device",
    };
    let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    Seen {
        kind: word.to_owned(),
        size: if kind.is_file() { meta.len() } else { 0 },
        mode: format!("{:04o}", meta.mode() & 0o7777),
        uid: meta.uid(),
        gid: meta.gid(),
        mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
        ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
        nlink: kind.is_file().then(|| meta.nlink()),
        inode: (kind.is_file() && meta.nlink() > 1).then(|| format!("{}:{}", meta.dev(), meta.ino())),
        ..Seen::default()
    }
}

fn hash_file(path: &Path, before: &Metadata) -> io::Result<String> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut file = File::options().read(true).custom_flags(no_follow).open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer =
        vec![0; BUFFER_BYTES.min(usize::try_from(before.len()).unwrap_or(BUFFER_BYTES).max(1) + 1)];
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(buffer.get(..n).unwrap_or_default());
    }
    let after = file.metadata()?;
    let state =
        |meta: &Metadata| (meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec(), meta.mtime_nsec());
    if state(before) != state(&after) {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "it changed while it was read"));
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// SHA-256 of a file's content.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut file = File::options().read(true).custom_flags(no_follow).open(path)?;
    let mut hasher = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(data_encoding::HEXLOWER.encode(hasher.finish().as_ref())),
            Ok(n) => hasher.update(buffer.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// BLAKE3 of the attributes that a restore brings back for anybody: those of users, and ACLs.
fn xattrs(path: &Path) -> io::Result<Option<String>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let none = |error: rustix::io::Errno| {
        let plain = [
            rustix::io::Errno::NOTSUP,
            rustix::io::Errno::NOENT,
            rustix::io::Errno::ACCESS,
            rustix::io::Errno::NODATA,
        ];
        if plain.contains(&error) { Ok(0) } else { Err(io::Error::from(error)) }
    };
    // Most have none, and asking for the length costs no room.
    if rustix::fs::llistxattr_query(&path).or_else(none)? == 0 {
        return Ok(None);
    }
    let mut names = vec![0u8; 64 * 1024];
    let length = rustix::fs::llistxattr(&path, &mut names[..]).or_else(none)?;
    let mut found = Vec::new();
    for name in names.get(..length).unwrap_or_default().split(|&byte| byte == 0) {
        let shown = OsStr::from_bytes(name);
        if !(name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")) {
            continue;
        }
        let mut value = vec![0u8; 64 * 1024];
        let length = rustix::fs::lgetxattr(&path, shown, &mut value[..]).or_else(none)?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    if found.is_empty() {
        return Ok(None);
    }
    found.sort();
    let mut hasher = blake3::Hasher::new();
    for (name, value) in found {
        for part in [name, value] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(&part);
        }
    }
    Ok(Some(hasher.finalize().to_hex().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_metadata_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let one = observe(&path, true).unwrap().unwrap();
        assert_eq!(one.blake3.as_deref(), Some(&*blake3::hash(b"one").to_hex()));
        std::fs::write(&path, "two").unwrap();
        let two = observe(&path, true).unwrap().unwrap();
        assert!(!one.same_content(&two) && one.same_content(&one));
        let moved = Seen { mtime_ns: one.mtime_ns + 7, mode: "0600".into(), ..one.clone() };
        assert_eq!(one.metadata_differences(&moved, true).len(), 2);
        assert!(moved.same_content(&one));
        std::fs::hard_link(&path, dir.path().join("twin")).unwrap();
        let twin = observe(&dir.path().join("twin"), true).unwrap().unwrap();
        assert_eq!((one.nlink, &one.inode, twin.nlink), (Some(1), &None, Some(2)));
        assert_eq!(observe(&path, true).unwrap().unwrap().inode, twin.inode);
        assert_eq!(observe(&dir.path().join("none"), true).unwrap(), None);
        assert!(observe(dir.path(), true).unwrap().unwrap().is_dir());
    }

    #[test]
    fn a_hash_of_another_kind_is_compared_with_its_like_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&path).unwrap(), abc);
        let listed = Seen { kind: "file".into(), sha256: Some(abc.into()), ..Seen::default() };
        let mut seen = observe(&path, true).unwrap().unwrap();
        assert!(!listed.same_content(&seen), "nobody has computed it yet");
        seen.sha256 = Some(abc.into());
        assert!(listed.same_content(&seen) && !listed.is_described() && seen.is_described());
    }

    #[test]
    fn a_file_without_a_hash_equals_nothing() {
        let unread = Seen { kind: "file".into(), ..Seen::default() };
        assert!(!unread.same_content(&unread.clone()));
    }
}
