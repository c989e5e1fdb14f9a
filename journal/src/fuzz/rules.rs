//! Patterns in gitignore syntax, from a configuration or from a journal, and the paths that they are asked about.

use asof_fuzz::{Memory, Random, Target};

use super::values;
use crate::rules::Rules;
use crate::types::{Policy, RootPolicy};

/// A pattern becomes an automaton; its size is limited by the crates that make it.
const PATTERNS: Memory = Memory { fixed: 24 << 20, per_byte: 1 << 16 };
const WORDS: &[&[u8]] = &[
    b"**",
    b"**/",
    b"/**",
    b"!",
    b"*",
    b"?",
    b"[a-z]",
    b"[!a]",
    b"[",
    b"]",
    b"{a,b}",
    b"{",
    b"}",
    b"\\",
    b"/root/",
    b"/root",
    b"#",
    b" ",
    b"\n",
    b"\0",
    b"\xff",
    b"[[:alpha:]]",
    b"[\\]]",
    b"\xc3\xa9",
];

/// An input: patterns a line each, an empty line, a path.
#[test]
fn patterns_and_paths() {
    let valid = |random: &mut Random| {
        let pieces: [&[u8]; 12] =
            [b"a", b"b.o", b"*", b"**", b"/", b"?", b"[ab]", b"!", b"/root/a", b"target/", b"\\*", b"{a,b}"];
        let mut input = Vec::new();
        for _ in 0..=random.below(4) {
            for _ in 0..=random.below(3) {
                input.extend_from_slice(random.pick(&pieces));
            }
            input.push(b'\n');
        }
        input.push(b'\n');
        input.extend_from_slice(b"/root");
        input.extend(values::path(random));
        input
    };
    let check = |bytes: &[u8]| {
        let cut = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
        let path = bytes.get(cut + 2..).unwrap_or_default();
        let Ok(patterns) = std::str::from_utf8(&bytes[..cut]) else { return false };
        let root = |path: &[u8]| RootPolicy { path: path.to_vec(), ..RootPolicy::default() };
        let policy = Policy {
            roots: vec![root(b"/root"), root(b"/root/inner")],
            excludes: patterns.lines().take(16).map(str::to_owned).collect(),
            left_out: Vec::new(),
        };
        let Ok(rules) = Rules::new(&policy) else { return false };
        for dir in [None, Some(false), Some(true)] {
            let verdict = rules.verdict(path, dir);
            assert_eq!(rules.leaves_out(path, dir), verdict.is_some());
            if let Some(verdict) = verdict {
                assert!(path.starts_with(verdict.path), "a rule about another path");
            }
            rules.leaves_out_entry(path, dir);
        }
        assert!(!rules.leaves_out(b"/root/inner", Some(true)), "a root is never left out");
        // What is below something that is left out is left out.
        if rules.leaves_out(path, Some(true)) && !rules.is_root_or_above(path) {
            let below = [path, b"/q"].concat();
            assert!(rules.leaves_out(&below, None) || rules.root_of(&below) != rules.root_of(path));
        }
        rules.heeds_cachedir_tag(path);
        rules.leaves_out_everything(b"/root");
        true
    };
    Target { name: "rules", valid: &valid, mend: &|_| {}, check: &check, memory: PATTERNS, words: WORDS }
        .run();
}
