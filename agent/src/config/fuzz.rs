//! Fuzz target: a configuration file, read, checked against the disk, shown, and read again.

use std::fs;

use asof_fuzz::{Memory, Random, Target};

use super::*;
use crate::testdir::TestDir;

/// Patterns become automata; the rest is a few tables.
const MEMORY: Memory = Memory { fixed: 24 << 20, per_byte: 1 << 16 };
const WORDS: &[&[u8]] = &[
    b"[[root]]\n",
    b"[settle]\n",
    b"path = \"/\"\n",
    b"exclude = [\"*\", \"!/x\"]\n",
    b"one_file_system = false\n",
    b"\"18446744073709551615ms\"",
    b"18446744073709551615",
    b"0x7fffffffffffffff",
    b"\"9999999999999999999 TiB\"",
    b"-1",
    b"1e3",
    b"inf",
    b"1979-05-27T07:32:00Z",
    b"'''",
    b"\"\"\"",
    b"\\u0000",
    b"\\U0010ffff",
    b"a.b.c.d.e = 1\n",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"x = {x = {x = {x = {x = {x = {x = {x = {x = {x = {x = {x = {x = {x = {x = {x = {x = {x = {x = {",
];

fn line(random: &mut Random) -> String {
    let pattern = |random: &mut Random| {
        let pieces = ["*.o", "target/", "/a/b", "!/keep", "[a-z]x", "**/cache", "\\\\#n", "é"];
        format!("\"{}\"", random.pick(&pieces))
    };
    let number = |random: &mut Random| random.number() >> 1;
    match random.below(10) {
        0 => format!("exclude = [{}, {}]", pattern(random), pattern(random)),
        1 => format!("one_file_system = {}", random.one_in(2)),
        2 => format!("cachedir_tag = {}", random.one_in(2)),
        3 => format!("file_bytes_max = {}", random.pick(&["0", "5", "\"2 GiB\"", "\"7T\""])),
        4 => format!("reconcile_every = {}", random.pick(&["0", "1", "\"30m\"", "\"1500ms\"", "\"9d\""])),
        5 => format!("poll_every = {}", 1 + random.below(1_000_000_000)),
        6 => format!("log_format = {}", random.pick(&["\"text\"", "\"json\""])),
        7 => format!("backend = {}", random.pick(&["\"auto\"", "\"notify\"", "\"inotify\""])),
        8 => format!("workers = {}", number(random)),
        _ => String::new(),
    }
}

#[test]
fn configuration_files() {
    let dir = TestDir::create();
    let (root, other) = (dir.join("root"), dir.join("other"));
    for place in [root.join("sub"), other.clone()] {
        fs::create_dir_all(place).expect("mkdir");
    }
    let file = dir.join("config.toml");
    let args = RunArgs {
        journal: Some(dir.join("journal")),
        roots: vec![root.clone(), other.clone()],
        config: Some(file.clone()),
        log_format: None,
    };
    let read = |text: &[u8]| {
        fs::write(&file, text).expect("write");
        load(&args)
    };
    let valid = |random: &mut Random| {
        let mut lines: Vec<String> = (0..random.below(6)).map(|_| line(random)).collect();
        lines.sort();
        lines.dedup_by_key(|line| line.split(' ').next().unwrap_or_default().to_owned());
        if random.one_in(2) {
            lines.push(format!("[settle]\nclosed_ms = {}", random.number() >> 1));
        }
        if random.one_in(2) {
            lines.push(format!("[[root]]\npath = \"{}\"\nexclude = [\"*.iso\"]", root.display()));
        }
        let text = lines.join("\n").into_bytes();
        if let Err(error) = read(&text) {
            panic!("{error}");
        }
        text
    };
    let check = |text: &[u8]| {
        let Ok(loaded) = read(text) else { return false };
        assert_eq!(loaded.config.roots, [other.clone(), root.clone()], "flags say which roots");
        let shown = show(&loaded);
        match read(shown.as_bytes()) {
            Ok(again) => assert_eq!(again.config, loaded.config, "what is shown means the same:\n{shown}"),
            Err(error) => panic!("what is shown is no configuration: {error}\n{shown}"),
        }
        true
    };
    Target { name: "config", valid: &valid, mend: &|_| {}, check: &check, memory: MEMORY, words: WORDS }
        .run();
}
