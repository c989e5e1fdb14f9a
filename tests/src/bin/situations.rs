//! The five situations of the README, lived through for real: what was typed, and what came.
//!
//! `make situations` prints them as they stand in the README; `--check README.md` holds the README to them. Runs as root in
//! a mount namespace of its own, as user ada in an empty `/home`: nothing of this machine is touched, and the paths
//! are those that are printed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use asof_tests::must::Must;
use asof_tests::programs::Programs;
use asof_tests::wait::quiet;

/// Where the section of the README begins; it ends with the next of its level.
const HEADING: &str = "## When something is lost";
/// Who lives in the namespace.
const ADA: &str = "1000";
/// Set inside of the namespace.
const INSIDE: &str = "--inside";

/// How long nothing happens between two situations.
const BETWEEN: Duration = Duration::from_secs(11);

/// What stands above them.
const INTRODUCTION: &str = "\
What follows was typed by Ada, whose home is protected by a running `asofd`, and is what came: `make situations` lives it again, word for
word. Nothing here needs a time that somebody noted. Asking never changes anything; what a restore does is shown before with `-n`; what it
did is taken back with `asof undo`.";

/// One of the five.
struct Situation {
    title: &'static str,
    /// What happened, for the reader.
    told: &'static str,
    /// What happens before, unseen.
    happens: &'static str,
    /// What is typed then: a remark for the reader, and the command. `{at N}` is the N-th `seq:` that the command before
    /// printed; `{next}` the command that it said to be next.
    typed: &'static [(&'static str, &'static str)],
}

const SITUATIONS: &[Situation] = &[
    Situation {
        title: "A file is gone",
        told: "A letter was deleted. Ada knows neither when nor what it was called exactly.",
        happens: "mkdir letters; echo 'Dear bank,' > 'letters/to the bank.txt'; echo 'Dear Bob,' > letters/bob.txt; \
                  asof sync; rm 'letters/to the bank.txt'",
        typed: &[
            ("", "asof find '*bank*' --deleted"),
            (
                "It can be read before it is brought back. A command without a time fails, and says which one works:",
                "asof cat 'letters/to the bank.txt'",
            ),
            ("", "{next}"),
            ("", "asof restore 'letters/to the bank.txt' --at {at 1} --in-place --yes"),
        ],
    },
    Situation {
        title: "A bad save",
        told: "Half of a report was overwritten, and saved.",
        happens: "printf 'Results\\n\\nAll 12 samples melted.\\nNobody was hurt.\\n' > report.txt; asof sync; sleep 1; \
                  printf 'Results\\n\\nTODO\\n' > report.txt",
        typed: &[
            ("", "asof log report.txt"),
            ("What did the save before the last one have?", "asof diff -p report.txt --from {at 3}"),
            ("", "asof restore report.txt --at {at 1} --in-place --yes"),
            ("", "cat report.txt"),
        ],
    },
    Situation {
        title: "A refactoring went wrong",
        told: "Before a large change Ada named the instant: `asof mark before-rename`. A script then went over all files.",
        happens: "mkdir -p project/src project/doc; for n in $(seq 6); do echo \"let count = $n;\" > project/src/part$n.rs; \
                  done; echo '# Parts' > project/doc/parts.md; asof mark before-rename; sleep 1; for part in project/src/*; do \
                  text=$(cat $part); echo \"${text/count/cuont}\" > $part; done; rm -r project/doc; touch project/src/new.rs",
        typed: &[
            ("", "asof log project"),
            ("", "asof diff project --from mark:before-rename"),
            (
                "What would be done? `--exact` also deletes what was not there.",
                "asof restore project --at mark:before-rename --in-place --exact -n",
            ),
            ("", "asof restore project --at mark:before-rename --in-place --exact --yes"),
            (
                "That was hasty: `new.rs` was wanted. Take it back, and bring only back what was there:",
                "asof undo --yes",
            ),
            ("", "asof restore project --at mark:before-rename --in-place --yes"),
        ],
    },
    Situation {
        title: "A directory is lost",
        told: "`rm -r` met the wrong directory.",
        happens: "mkdir -p photos/2025/summer photos/2026; for n in 1 2 3; do head -c 2000 /dev/urandom > \
                  photos/2025/summer/$n.jpg; done; asof sync; sleep 11; rm -r photos/2025",
        typed: &[
            ("", "asof ls --deleted photos"),
            ("", "asof log photos"),
            ("", "asof ls -R photos/2025"),
            ("", "{next}"),
            ("", "asof restore photos/2025 --at {at 1} --in-place --yes"),
        ],
    },
    Situation {
        title: "A home on a new disk",
        told: "The disk is new and empty, at `/mnt/new-disk`; the journal was saved from the old one. It needs no `asofd` to be read.\n\
               What Ada had yesterday, or at any other time, is brought back whole.",
        happens: "cp -a ~/.local/state/asof /mnt/new-disk/journal",
        typed: &[
            ("", "asof --journal /mnt/new-disk/journal status"),
            ("", "asof --journal /mnt/new-disk/journal restore /home/ada --to /mnt/new-disk/ada"),
            ("Nothing differs but the journal, which is no part of itself:", "diff -r ~ /mnt/new-disk/ada"),
        ],
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [INSIDE] => {
            println!("{}", live());
            ExitCode::SUCCESS
        }
        [] => {
            println!("{}", lived());
            ExitCode::SUCCESS
        }
        ["--check", readme] => check(Path::new(readme)),
        _ => {
            eprintln!("usage: situations [--check README.md]");
            ExitCode::from(2)
        }
    }
}

/// Runs this program again, where it may make a home of its own.
fn lived() -> String {
    assert!(
        rustix::process::geteuid().is_root(),
        "a mount namespace with a home of its own needs root: run as root"
    );
    let me = std::env::current_exe().must("this program");
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "--propagation", "private", "--"]).arg(me).arg(INSIDE);
    let output = inside.stdin(Stdio::null()).stderr(Stdio::inherit()).output().must("unshare");
    assert!(output.status.success(), "the situations ended with {}", output.status);
    String::from_utf8(output.stdout).must("text").trim_end().to_owned()
}

/// Compares what came now with what the README says came; numbers are those of another day.
fn check(readme: &Path) -> ExitCode {
    let text = fs::read_to_string(readme).must(readme.display());
    let begin = text.find(HEADING).must(format!("{HEADING} in {}", readme.display()));
    let section = &text[begin..];
    let end = section[HEADING.len()..].find("\n## ").map_or(section.len(), |end| HEADING.len() + end);
    let (told, came) = (without_numbers(&section[..end]), without_numbers(&lived()));
    let mut ours = came.lines();
    for (number, line) in told.trim_end().lines().enumerate() {
        let other = ours.next().unwrap_or("(nothing)");
        if line != other {
            eprintln!("line {} of the section differs\n  README: {line}\n  now:    {other}", number + 1);
            eprintln!("`make situations` prints what is to stand there");
            return ExitCode::FAILURE;
        }
    }
    if let Some(more) = ours.next() {
        eprintln!("the section ends before: {more}");
        return ExitCode::FAILURE;
    }
    println!("{} says what comes", readme.display());
    ExitCode::SUCCESS
}

/// Every run of digits is one sign.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out
}

/// A home, an agent, and everything that happens there.
fn live() -> String {
    settle_in();
    let mut agent = ada("asofd run --journal ~/.local/state/asof --root ~");
    let mut agent =
        agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().must("asofd");
    run(
        "for n in $(seq 400); do asof --json status 2>&1 | grep -q '\"state\":\"protecting\"' && exit; sleep 0.05; done; exit 1",
    );
    let mut story = format!("{HEADING}\n\n{INTRODUCTION}\n");
    for Situation { title, told, happens, typed } in SITUATIONS {
        run(happens);
        run("asof sync");
        story.push_str(&format!("\n### {title}\n\n{told}\n"));
        let mut before = String::new();
        for (remark, command) in *typed {
            if !remark.is_empty() {
                story.push_str(&format!("\n{remark}\n"));
            }
            let command = filled(command, &before);
            let (came, _) = said(&command);
            story.push_str(&format!("\n    $ {command}\n"));
            for line in came.lines() {
                story.push_str(format!("    {line}").trim_end());
                story.push('\n');
            }
            before = came;
        }
        // What is a moment is told by the time between.
        quiet(BETWEEN);
    }
    let _ = agent.kill();
    let _ = agent.wait();
    story.trim_end().to_owned()
}

/// An empty home on a filesystem of its own, another disk, and the programs where programs are.
fn settle_in() {
    let programs = Programs::find();
    let copies: Vec<(Vec<u8>, &str)> = [(&programs.asof, "asof"), (&programs.asofd, "asofd")]
        .map(|(path, name)| (fs::read(path).must(path.display()), name))
        .into();
    for dir in ["/home", "/mnt", "/usr/local/bin"] {
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs", dir]).status();
        assert!(status.must("mount").success(), "a filesystem at {dir}");
    }
    for (bytes, name) in copies {
        let path = Path::new("/usr/local/bin").join(name);
        fs::write(&path, bytes).must(path.display());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).must("chmod");
    }
    for dir in ["/home/ada", "/mnt/new-disk"] {
        fs::create_dir(dir).must(dir);
        std::os::unix::fs::chown(dir, Some(1000), Some(1000)).must("chown");
    }
}

/// A line that ada types.
fn ada(line: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", ADA, "--regid", ADA, "--clear-groups", "bash", "-c", line]);
    command
        .env_clear()
        .env("HOME", "/home/ada")
        .env("USER", "ada")
        .env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").current_dir("/home/ada");
    command
}

/// A command with what the one before printed in the place of what stands in braces.
fn filled(command: &str, before: &str) -> String {
    if command == "{next}" {
        let (_, next) = before.split_once("  next: ").must(format!("a next command in {before}"));
        return next.lines().next().must("a command").to_owned();
    }
    let mut command = command.to_owned();
    let seqs: Vec<&str> = before.split("seq:").skip(1).collect();
    for (number, seq) in (1..).zip(seqs) {
        let digits = seq.find(|c: char| !c.is_ascii_digit()).unwrap_or(seq.len());
        command = command.replace(&format!("{{at {number}}}"), &format!("seq:{}", &seq[..digits]));
    }
    assert!(!command.contains("{at "), "{command} after\n{before}");
    command
}

/// What a line prints, on both streams, and whether it succeeds.
fn said(line: &str) -> (String, bool) {
    let output = ada(&format!("exec 2>&1; {line}")).stdin(Stdio::null()).output().must("bash");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

/// The same of what must succeed.
fn run(line: &str) {
    let (text, is_well) = said(line);
    assert!(is_well, "$ {line}\n{text}");
}
