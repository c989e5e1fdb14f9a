//! The names that things have in a live tree until a restore gives them their own: built and parsed in one place.
//!
//! A name is `.asof-`, the process, `.`, when that started, `~` and letters or digits. The agent and the history know such
//! names by their form, so that what a restore does in passing is not taken for something that somebody did. Looks at
//! nothing: which processes there are is for others to say.

/// How every such name begins.
const PREFIX: &str = ".asof-";

/// What a name of this form says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temporary<'n> {
    /// The process that gave it.
    pub pid: u32,
    /// When that process started, in ticks since the boot.
    pub started: u64,
    /// What tells its names apart.
    pub rest: &'n str,
}

impl<'n> Temporary<'n> {
    /// What a name says; `None` where it is not exactly of the form.
    pub fn parse(name: &'n [u8]) -> Option<Temporary<'n>> {
        let name = std::str::from_utf8(name.strip_prefix(PREFIX.as_bytes())?).ok()?;
        let (process, rest) = name.split_once('~')?;
        let (pid, started) = process.split_once('.')?;
        let pid = hex(pid).and_then(|pid| u32::try_from(pid).ok())?;
        let is_plain = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_plain.then_some(Temporary { pid, started: hex(started)?, rest })
    }

    /// The front of all names that a process gives.
    pub fn front(pid: u32, started: u64) -> String {
        format!("{PREFIX}{pid:x}.{started:x}~")
    }
}

/// A number as [`Temporary::front`] writes it.
fn hex(digits: &str) -> Option<u64> {
    let is_plain = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(digits, 16).ok().filter(|_| is_plain)
}

/// Whether a name is one that a restore gives to what is not complete, or in the way.
pub fn is_temporary(name: &[u8]) -> bool {
    Temporary::parse(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_such_a_name() {
        let name = format!("{}{}", Temporary::front(0x1f, 0xabc), "t00");
        assert_eq!(
            Temporary::parse(name.as_bytes()),
            Some(Temporary { pid: 0x1f, started: 0xabc, rest: "t00" })
        );
        for name in [
            &b".asof-1"[..],
            b".asof-1~0",
            b".asof-1.2~",
            b".asof-1.2~a/b",
            b".asof-1.2~a.txt",
            b".asof-x.1~0",
            b".asof-+1.1~0",
            b".asof-1F.1~0",
            b".asof-1ffffffff.1~0",
            b".asof-1.~0",
            b"asof-1.1~0",
            b".asof-notes",
            b".asof-1.1~\xff",
        ] {
            assert!(!is_temporary(name), "{}", name.escape_ascii());
        }
    }
}
