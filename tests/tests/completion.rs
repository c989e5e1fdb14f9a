//! Completion in real shells: paths as they were, also of what is gone, with names of every sort.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use asof_tests::must::Must;
use asof_tests::site::{Site, Synced};
use asof_tests::tree::has_program;

fn write(path: impl AsRef<Path>, content: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().must("a directory")).must(path.display());
    fs::write(path, content).must(path.display());
}

/// A history in which most of what there was is gone.
struct Past {
    site: Site,
    before: Synced,
}

impl Past {
    fn new() -> Past {
        let site = Site::new();
        for name in
            ["notes.txt", "two words.txt", "work/plan.txt", "work/$HOME 'q\".txt", "gone/deep/inner.txt"]
        {
            write(site.root.join(name), name);
        }
        write(site.root.join(OsStr::from_bytes(b"work/caf\xe9")), "bytes");
        write(site.root.join("a:b=c@d"), "breaks");
        let agent = site.start();
        let before = site.sync();
        site.asof(["mark", "when it was whole"]).exits(0);
        fs::remove_dir_all(site.root.join("gone")).must("rm -r");
        fs::remove_dir_all(site.root.join("work")).must("rm -r");
        write(site.root.join("new.txt"), "new");
        site.sync();
        agent.terminate();
        Past { site, before }
    }

    /// What the function that bash was given answers, in the protocol by which bash asks. `word` is the part that bash
    /// would replace.
    fn bash(&self, line: &str, word: &str) -> Vec<Vec<u8>> {
        let script = format!(
            "source <(COMPLETE=bash asof) || exit 9\nCOMP_LINE=$1 COMP_POINT=${{#1}}\ncd {}\n_asof asof \"$2\" x\n\
             [[ ${{#COMPREPLY[@]}} == 0 ]] || printf '%s\\0' \"${{COMPREPLY[@]}}\"",
            self.site.root.display()
        );
        let asked = self.site.shell(&script).with_word("script").with_word(line).with_word(word);
        let asked = asked.with_variable("ASOF_JOURNAL", &self.site.journal).exits(0);
        assert_eq!(asked.stderr, "", "nobody wants to read that while typing");
        let words = asked.stdout.split(|b| *b == 0).filter(|word| !word.is_empty());
        words.map(<[u8]>::to_vec).collect()
    }

    #[track_caller]
    fn expect(&self, line: &str, word: &str, expected: &[&str]) {
        let found: Vec<String> =
            self.bash(line, word).iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        assert_eq!(found, expected, "{line}");
    }
}

#[test]
fn bash_gets_paths_as_of_the_time_on_the_line() {
    let past = Past::new();
    let root = past.site.root.display().to_string();
    let at = &past.before.at;
    let below =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| format!("{root}/{name}")).collect() };
    let expect = |line: &str, names: &[&str]| {
        let word = line.rsplit(' ').next().unwrap_or_default();
        let expected = below(names);
        past.expect(line, word, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    };
    // Now, and with what is gone: somebody looks for it.
    expect(&format!("asof cat {root}/n"), &["new.txt", "notes.txt"]);
    expect(&format!("asof cat {root}/g"), &["gone/"]);
    expect(&format!("asof cat {root}/gone/"), &["gone/deep/"]);
    expect(&format!("asof cat {root}/gone/deep/in"), &["gone/deep/inner.txt"]);
    // At a time what was there then, and nothing else.
    expect(&format!("asof cat --at {at} {root}/n"), &["notes.txt"]);
    expect(&format!("asof ls --at={at} {root}/work/pl"), &["work/plan.txt"]);
    expect(&format!("asof restore {root}/notes.txt@{at} {root}/g"), &["gone/"]);
    expect(&format!("asof cat --at now {root}/g"), &[]);
    expect(&format!("asof ls --deleted --at now {root}/g"), &["gone/"]);
    expect(&format!("asof log --until {at} {root}/ne"), &[]);
    expect(&format!("asof diff --from {at} {root}/w"), &["work/"]);
    // A time that means nothing, a directory that never was.
    expect(&format!("asof cat --at nonsense {root}/n"), &[]);
    expect(&format!("asof cat {root}/never/"), &[]);
    // Relative, and from where the reader stands.
    past.expect("asof cat no", "no", &["notes.txt"]);
    past.expect("asof ls gone/de", "gone/de", &["gone/deep/"]);
    past.expect("asof ls ./no", "./no", &["./notes.txt"]);
}

#[test]
fn bash_gets_names_of_any_bytes_and_only_the_part_that_it_replaces() {
    let past = Past::new();
    past.expect("asof cat two", "two", &["two words.txt"]);
    past.expect("asof cat two\\ w", "two\\ w", &["two words.txt"]);
    past.expect("asof cat 'two w", "two w", &["two words.txt"]);
    past.expect("asof cat \"two w", "two w", &["two words.txt"]);
    // In what bash might expand, the quotes are ours.
    past.expect("asof cat work/\\$HO", "work/\\$HO", &["work/\\$HOME\\ \\'q\\\".txt"]);
    past.expect(
        "asof cat 'work/",
        "work/",
        &["work/$HOME '\\''q\".txt", "work/caf\u{fffd}", "work/plan.txt"],
    );
    assert_eq!(past.bash("asof cat work/ca", "work/ca"), [b"work/caf\xe9".to_vec()]);
    // Bash cuts words at these.
    past.expect("asof cat a:b", "b", &["b=c@d"]);
    past.expect("asof cat a:b=", "", &["c@d"]);
    past.expect("asof cat a:b=c@", "", &["d"]);
}

#[test]
fn bash_gets_verbs_and_options_and_nothing_where_there_is_no_journal() {
    let past = Past::new();
    past.expect("asof re", "re", &["restore", "retain", "release"]);
    past.expect("asof ls --del", "--del", &["--deleted"]);
    past.expect("asof restore x --overwrite if", "if", &["if-changed"]);
    // Times: words, and the names that instants have. Bash cuts what is typed at the colon.
    past.expect("asof ls --at yes", "yes", &["yesterday"]);
    past.expect("asof ls --at mark:wh", "wh", &["when it was whole"]);
    past.expect("asof cat notes.txt@mark:", "", &["when it was whole"]);
    let verbs = past.bash("asof ", "");
    for verb in [&b"log"[..], b"ls", b"restore", b"help"] {
        assert!(verbs.iter().any(|known| known == verb), "{}", verb.escape_ascii());
    }
    fs::rename(&past.site.journal, past.site.path("elsewhere")).must("mv");
    past.expect("asof cat n", "n", &[]);
    past.expect("asof re", "re", &["restore", "retain", "release"]);
    assert!(!past.site.journal.exists(), "completing makes nothing");
}

/// What a shell on a terminal does with keys; what it is told to write is in the file afterwards.
fn typed(past: &Past, shell: &str, keys: &[u8]) -> PathBuf {
    let out = past.site.fresh("out");
    let mut line = keys.to_vec();
    line.extend_from_slice(format!(" > {}\nexit\n", out.display()).as_bytes());
    let input = past.site.fresh("keys");
    fs::write(&input, line).must("keys");
    let programs = past.site.programs.asof.parent().must("programs");
    let path = [programs.as_os_str(), &std::env::var_os("PATH").unwrap_or_default()].join(OsStr::new(":"));
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", shell, "/dev/null"]).env("PATH", path).current_dir(&past.site.root);
    command.env("ASOF_JOURNAL", &past.site.journal).env("TERM", "dumb").env("HOME", past.site.path("."));
    command.stdin(File::open(&input).must("keys")).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = command.status().must("script");
    out
}

#[test]
fn a_real_bash_at_a_terminal_completes_what_is_gone() {
    if !has_program("script") {
        eprintln!("script is not there: no terminal");
        return;
    }
    let past = Past::new();
    let rc = past.site.path("rc");
    fs::write(&rc, "source <(COMPLETE=bash asof)\n").must("rc");
    let shell = format!("bash --noprofile --rcfile {} -i", rc.display());
    let at = &past.before.at;
    for (keys, content) in [
        (format!("asof cat --at {at} gone/d\tin\t"), "gone/deep/inner.txt"),
        (format!("asof cat --at {at} tw\t"), "two words.txt"),
        (format!("asof cat --at {at} work/\\$\t"), "work/$HOME 'q\".txt"),
        (format!("asof cat --at {at} 'work/$\t"), "work/$HOME 'q\".txt"),
        (format!("asof cat --at {at} a:b=\t"), "breaks"),
        (format!("asof cat --at {at} work/ca\t"), "bytes"),
    ] {
        let out = typed(&past, &shell, keys.as_bytes());
        assert_eq!(fs::read_to_string(&out).unwrap_or_default(), content, "{keys:?}");
    }
}

#[test]
fn zsh_and_fish_get_the_same_paths() {
    let past = Past::new();
    let ask = |shell: &str, words: &[&str]| {
        let index = (words.len() - 1).to_string();
        let line = format!("COMPLETE={shell} _CLAP_COMPLETE_INDEX={index} _CLAP_IFS=$'\\n' asof -- \"$@\"");
        let mut asked = past.site.shell(&line).with_word("script");
        for word in words {
            asked = asked.with_word(word);
        }
        let root = &past.site.root;
        asked.in_dir(root).with_variable("ASOF_JOURNAL", &past.site.journal).exits(0).text()
    };
    let at = &past.before.at;
    for shell in ["zsh", "fish"] {
        let found = ask(shell, &["asof", "cat", "--at", at, "gone/deep/i"]);
        assert!(found.contains("gone/deep/inner.txt"), "{shell}: {found}");
        assert!(ask(shell, &["asof", "cat", "tw"]).contains("two words.txt"));
        assert!(ask(shell, &["asof", "exp"]).contains("explain"));
        assert!(!ask(shell, &["asof", "cat", "--at", "now", "gone/"]).contains("deep"));
        if has_program(shell) {
            let sourced =
                past.site.shell(&format!("COMPLETE={shell} asof > lines; {shell} -c 'source ./lines'"));
            let sourced = match shell {
                // What it registers with is loaded by whoever wants completion at all.
                "zsh" => past.site.shell("COMPLETE=zsh asof > lines; zsh -f -c 'autoload -U compinit; compinit -D; source ./lines'"),
                _ => sourced,
            };
            assert_eq!(sourced.in_dir(&past.site.path(".")).exits(0).stderr, "");
        }
    }
    let unknown = past.site.shell("COMPLETE=nosuch asof").run();
    assert!(unknown.stderr.contains("unknown shell"), "{}", unknown.stderr);
}
