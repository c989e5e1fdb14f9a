//! What is mounted where, and whether that has changed: `/proc/self/mountinfo`.
//!
//! Over-mounting a directory sends no event, so the table is polled. Decides nothing.

use std::fs::File;
use std::io::{self, Read, Seek};

use asof_journal::view::is_below;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The kernel's table of what this process sees mounted.
const TABLE: &str = "/proc/self/mountinfo";

/// Filesystems that other machines change without an event here.
const NETWORK: [&str; 12] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "9p",
    "afs",
    "lustre",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.rclone",
    "fuse.s3fs",
];

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where, absolute.
    pub at: Vec<u8>,
    /// What sort of filesystem.
    pub kind: String,
}

/// The table as it was when it was read last.
#[derive(Debug)]
pub(crate) struct Mounts {
    file: File,
    mounts: Vec<Mount>,
}

impl Mounts {
    /// Opens and reads the table.
    pub(crate) fn open() -> io::Result<Mounts> {
        let mut mounts = Mounts { file: File::open(TABLE)?, mounts: Vec::new() };
        mounts.read()?;
        Ok(mounts)
    }

    /// Whether the table changed since it was read last; then it is read again. One system call where it did not.
    pub(crate) fn poll(&mut self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.file, PollFlags::PRI)];
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&none))?;
        let changed = fds[0].revents().intersects(PollFlags::PRI | PollFlags::ERR);
        if changed {
            self.read()?;
        }
        Ok(changed)
    }

    fn read(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut text)?;
        self.mounts = parse(&text);
        Ok(())
    }

    /// What is mounted strictly below a directory, each place once.
    pub(crate) fn below(&self, dir: &[u8]) -> impl Iterator<Item = &Mount> {
        let of = move |mount: &&Mount| mount.at != dir && is_below(&mount.at, dir);
        let hidden = |n: usize, mount: &Mount| self.mounts.iter().skip(n + 1).any(|over| over.at == mount.at);
        self.mounts
            .iter()
            .enumerate()
            .filter(move |(n, mount)| of(mount) && !hidden(*n, mount))
            .map(|(_, mount)| mount)
    }

    /// The network filesystem that a path is on, if it is on one.
    pub(crate) fn network(&self, path: &[u8]) -> Option<&str> {
        // Of several at one place the last one is seen.
        let on = self
            .mounts
            .iter()
            .filter(|mount| is_below(path, &mount.at))
            .max_by_key(|mount| mount.at.len())?;
        NETWORK.contains(&on.kind.as_str()).then_some(&on.kind)
    }
}

/// Reads the table: the fifth field is the place, the one after the dash the kind of filesystem.
fn parse(table: &[u8]) -> Vec<Mount> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let at = unescape(fields.nth(4)?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        Some(Mount { at, kind: String::from_utf8_lossy(kind).into_owned() })
    };
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// Undoes what the kernel does to blanks, newlines and backslashes: a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                out.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"22 1 254:0 / / rw,noatime shared:1 - ext4 /dev/vda rw\n\
        30 22 0:25 / /home/a\\040b\\134c rw master:2 propagate_from:3 - tmpfs none rw\n\
        31 22 0:26 / /home/n rw - nfs4 server:/x rw\n\
        32 31 0:27 /sub /home/n/inner rw - ext4 /dev/vdb rw\n\
        33 22 0:28 / /home/n/inner rw - tmpfs none rw\n";

    #[test]
    fn the_table_is_read_with_its_escapes() {
        let mounts = Mounts { file: File::open("/dev/null").expect("open"), mounts: parse(SAMPLE) };
        let below: Vec<_> =
            mounts.below(b"/home").map(|mount| (&mount.at[..], mount.kind.as_str())).collect();
        assert_eq!(
            below,
            [(&b"/home/a b\\c"[..], "tmpfs"), (b"/home/n", "nfs4"), (b"/home/n/inner", "tmpfs")]
        );
        assert_eq!(mounts.below(b"/home/n/inner").count(), 0, "the place itself is not below it");
        assert_eq!(mounts.network(b"/home/n/x"), Some("nfs4"));
        assert_eq!(mounts.network(b"/home/n/inner/x"), None);
        assert_eq!(mounts.network(b"/home/nx"), None);
    }

    #[test]
    fn the_machine_has_a_root_and_nothing_changes_by_itself() {
        let mut mounts = Mounts::open().expect("open");
        assert!(mounts.mounts.iter().any(|mount| mount.at == b"/"));
        // Somebody else may mount something meanwhile; not every time.
        assert!((0..100).any(|_| !mounts.poll().expect("poll")));
    }

    /// Fuzz target: the kernel writes the table, and names in it are anybody's.
    #[test]
    fn fuzz_of_any_table() {
        let valid = |random: &mut asof_fuzz::Random| {
            let name = random.some_bytes(12);
            let escaped: String = name
                .iter()
                .filter(|byte| **byte != 0)
                .map(|byte| match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}"),
                    byte if byte.is_ascii() => char::from(*byte).to_string(),
                    byte => format!("\\{byte:03o}"),
                })
                .collect();
            let table = format!("30 22 0:25 / /m{escaped} rw master:2 - tmpfs none rw\n").into_bytes();
            let at = [b"/m".to_vec(), name.into_iter().filter(|byte| *byte != 0).collect()].concat();
            assert_eq!(parse(&table), [Mount { at, kind: "tmpfs".into() }]);
            [SAMPLE.to_vec(), table].concat()
        };
        let check = |table: &[u8]| {
            let mounts = Mounts { file: File::open("/dev/null").expect("open"), mounts: parse(table) };
            assert!(mounts.mounts.iter().all(|mount| mount.at.len() <= table.len()));
            mounts.network(b"/home/n/x");
            mounts.below(b"/home").count() > 0
        };
        let memory = asof_fuzz::Memory { fixed: 8 << 10, per_byte: 100 };
        let words: &[&[u8]] = &[b" - ", b"\\", b"\\777", b"\\+12", b"\n", b"-", b" "];
        asof_fuzz::Target { name: "mounts", valid: &valid, mend: &|_| {}, check: &check, memory, words }
            .run();
    }
}
