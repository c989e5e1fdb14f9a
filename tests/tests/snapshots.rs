//! Every verb and every exit status, word for word: what changes in an answer shows as a difference here.
//!
//! `SNAPSHOTS=overwrite cargo test --test snapshots` takes over what is printed now. Paths of this machine, sizes on
//! disk, ids and durations are replaced by words; everything else is compared to the byte.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use asof_journal::storage::Layout;
use asof_tests::must::Must;
use asof_tests::site::{Output, Site};
use asof_tests::staged;
use asof_tests::tree::has_program;
use asof_tests::wait::{PATIENCE, eventually};
use snapbox::data::DataFormat;
use snapbox::{Assert, Data, IntoData};

/// A winter and a summer time, so that local time is not UTC.
const ZONE: &str = "Europe/Berlin";
const SIGINT: u64 = 2;

/// What was typed and what came, on the staged journal.
struct Transcript {
    site: Site,
    text: String,
}

impl Transcript {
    fn new() -> Transcript {
        let mut site = Site::new();
        site.journal = site.path("journal");
        staged::write(&site.journal);
        Transcript { site, text: String::new() }
    }

    /// Runs a line as it is typed, in the site's directory.
    fn run(&mut self, line: &str) -> Output {
        let shell = self.site.shell(&format!("export TZ={ZONE}; {line}")).in_dir(&self.site.path("."));
        let output = shell.with_variable("ASOF_JOURNAL", &self.site.journal).run();
        self.note(line, &output.stdout, &output.stderr, output.status);
        output
    }

    fn note(&mut self, line: &str, stdout: &[u8], stderr: &str, status: i32) {
        self.text.push_str(&format!("$ {line}\n"));
        for (sign, stream) in [("|", stdout), ("!", stderr.as_bytes())] {
            let shown = readable(stream);
            for line in shown.lines() {
                self.text.push_str(format!("{sign} {line}").trim_end());
                self.text.push('\n');
            }
        }
        self.text.push_str(&format!("= {status}\n\n"));
    }

    /// Holds everything so far to what it was.
    #[track_caller]
    fn is(self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(name).with_extension("txt");
        let site = self.site.path(".").canonicalize().must("the site");
        let text = self.text.replace(&*site.to_string_lossy(), "SITE");
        let expected = Data::read_from(&path, Some(DataFormat::Text)).raw();
        Assert::new().action_env("SNAPSHOTS").eq(settled(&text).into_data().raw(), expected);
    }
}

/// A stream as lines of text: what is no text is written as an escape.
fn readable(stream: &[u8]) -> String {
    let mut text = String::new();
    for chunk in stream.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|c| if c == '\0' { '\u{2400}' } else { c }));
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// The text without what differs from run to run.
fn settled(text: &str) -> String {
    let mut text = text.to_owned();
    for (lead, end, word) in [
        (" in ", " s (", "SECONDS"),
        (" in ", " s\n", "SECONDS"),
        ("checked    ", " in ", "SIZE"),
        ("\"segments\":1,\"bytes\":", ",", "SIZE"),
        ("\"seconds\":", ",\"", "SECONDS"),
        ("\"seconds\":", "}", "SECONDS"),
        ("\"journal_bytes\":", ",", "BYTES"),
        // Compressed keys and times of the journal are longer by a word now and then.
        ("\"segments\":2,\"bytes\":", ",", "BYTES"),
        ("SITE/journal (", ")", "SIZE"),
    ] {
        text = between(&text, lead, end, word);
    }
    ids(&text)
}

/// Replaces a number or a size between two texts.
fn between(text: &str, lead: &str, end: &str, word: &str) -> String {
    let mut parts = text.split(lead);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(lead);
        let is_number =
            |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | '-' | ' ' | 'K' | 'M' | 'i' | 'B');
        match part.find(end) {
            Some(at) if at > 0 && part[..at].chars().all(is_number) => {
                out.push_str(word);
                out.push_str(&part[at..]);
            }
            _ => out.push_str(part),
        }
    }
    out
}

/// Replaces what is made of 16 or more hexadecimal digits: ids are random.
fn ids(text: &str) -> String {
    let mut out = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_id = word.len() >= 16 && word.bytes().all(|b| b.is_ascii_hexdigit());
        out.push_str(if is_id { "ID" } else { word });
        out.push_str(&part[word.len()..]);
    }
    out
}

#[test]
fn verbs_that_look() {
    let mut now = Transcript::new();
    for line in [
        "asof log",
        "asof log --all",
        "asof --json log --moments",
        "asof log /home/ada/notes.txt",
        "asof log /home/ada/job -n 3",
        "asof log --since seq:17 --until '2023-11-14 23:19:00'",
        "asof --json log /home/ada/notes.txt",
        "asof log /home/ada/work/src",
        "asof -q log -n 1",
        "asof ls /home/ada",
        "asof ls -l /home/ada --at seq:16",
        "asof ls -R --deleted /home/ada",
        "asof ls -l /home/ada/work@23:13 2>/dev/null; asof ls /home/ada/work --at '2023-11-14 23:13:30'",
        "asof ls /home/ada/notes.txt",
        "asof --json ls /home/ada/work --at seq:16",
        "asof cat /home/ada/notes.txt --at seq:17",
        "asof cat /home/ada/link@seq:16",
        "asof -q cat /home/ada/base.db",
        "asof cat /home/ada/base.db",
        "asof diff --from seq:16 /home/ada --to seq:22",
        "asof diff --from seq:16",
        "asof --json diff --from seq:18 --to seq:21",
        "asof diff -p --from seq:16 --to seq:22 /home/ada",
        "asof --json diff -p --from seq:16 --to seq:18 /home/ada/notes.txt",
        "asof find '*.txt'",
        "asof find '*.txt' /home/ada --deleted --at seq:25",
        "asof find 'm*' --deleted",
        "asof find '*' --changed-since seq:29",
        "asof --json find plan.txt --deleted",
        "asof find nothing",
        "asof mark",
        "asof --json mark",
        "asof ls /home/ada/job --at 'mark:after lunch'",
        "asof explain /home/ada/notes.txt",
        "asof explain /home/ada/x.o",
        "asof explain /home/ada/work/src/main.rs --at seq:25",
        "asof explain /home/ada/late.txt --at seq:16",
        "asof explain /home/ada/notes.txt --at '2023-11-14 23:40:00'",
        "asof --json explain /home/ada/secret.key",
        "asof status",
        "asof --json status",
    ] {
        now.run(line);
    }
    now.is("look");
}

#[test]
fn verbs_that_do() {
    let mut now = Transcript::new();
    for line in [
        "asof restore -n /home/ada/job --to back",
        "asof restore -n /home/ada --at seq:16 --to back",
        "asof --json restore -n /home/ada/job --to back",
        "asof verify",
        "asof verify --deep",
        "asof --json verify",
    ] {
        now.run(line);
    }
    now.is("do");
    // Owners are given back to root only, and what cannot be is named.
    if rustix::process::geteuid().is_root() {
        let mut now = Transcript::new();
        for line in [
            "asof restore /home/ada/notes.txt --at seq:17 --to notes.txt && cat notes.txt",
            "asof restore /home/ada/notes.txt --at seq:17 --to notes.txt --overwrite if-changed",
            "asof -q restore /home/ada/work --at seq:16 --to work && find work | sort",
            "asof --json restore /home/ada/job --to job | grep -v '\"type\":\"progress\"'",
            "asof restore /home/ada/base.db --to base.db",
            "asof restore /home/ada/base.db --to clean.db --prefer clean",
        ] {
            now.run(line);
        }
        now.is("restore");
    }
}

#[test]
fn errors_and_their_exit_statuses() {
    let mut now = Transcript::new();
    now.text.push_str("# 1: an error\n\n");
    now.run("asof cat /home/ada/job");
    now.run("asof cat /home/ada/pipe");
    now.run("asof browse /home/ada");
    now.run("asof cat /home/ada/secret.key");
    now.run("asof sync");
    now.run("asof mark before-the-upgrade");
    now.run("asof undo --yes");
    now.run("asof restore /home/ada/notes.txt --at seq:17 --in-place --yes");
    now.run("touch there && asof restore /home/ada/notes.txt --to there");
    now.run("mkdir full && touch full/x && asof restore /home/ada/job --to full");
    now.text.push_str("# 2: usage\n\n");
    for line in [
        "asof lgo",
        "asof ls --att now",
        "asof ls --at yesteday",
        "asof ls --at '2026-03-29 02:30'",
        "asof ls --at '2026-10-25 02:30'",
        "asof ls --at @99999999999999",
        "asof diff --from seq:20 --to seq:16",
        "asof restore /home/ada/a@seq:16 /home/ada/b@seq:17 --to x",
        "asof sync --timeout soon",
        "asof mark a/b",
        "asof ls --at mark:",
        "asof find '['",
        "asof undo",
        "asof restore /home/ada/notes.txt --at seq:17 --in-place",
        "asof restore /home/ada/notes.txt --in-place --yes",
        "asof restore /home/ada/notes.txt --at seq:17",
        "asof restore /home/ada/notes.txt --at seq:17 --to x --exact",
        "asof forget /home/ada/secret.key",
    ] {
        now.run(line);
    }
    now.text.push_str("# 3: partly done\n\n");
    now.run("asof -q restore /home/ada/secret.key --to secret.key");
    now.run("asof -q restore /home/ada/base.db /home/ada/notes.txt --prefer clean -n --to x");
    now.text.push_str("# 5: not reachable\n\n");
    for line in [
        "asof ls /home/ada --at 2001-01-01",
        "asof ls /home/ada --at seq:999",
        "asof ls /home/ada --at mark:after-lunch",
        "asof ls /home/ada/work/src",
        "asof cat /home/ada/work/src/main.rs",
        "asof cat /home/ada/work/plan.txt --at seq:22",
        "asof cat '/home/ada/two  words.txt'",
        "asof restore /home/ada/nots.txt --to \"new place\"",
        "asof cat /home/ada/late.txt --at seq:16",
        "asof cat /home/ada/notes.txt/x",
        "asof log /home/ada/brief.tmp/x",
        "asof cat /home/ada/x.o",
        "asof forget --dry-run /home/ada/never",
        "asof cat /etc/passwd",
        "asof cat /home/ada/late.txt --at '2023-11-14 23:40:00'",
        "asof restore /home/ada/notes.txt --at '2023-11-14 23:40:00' --to x --strict",
        "asof --journal \"$PWD/journal\" ls /home/ada/noise.txt",
    ] {
        now.run(line);
    }
    now.text.push_str("# 10: no journal there\n\n");
    now.run("ASOF_JOURNAL= asof --journal '/nonexistent/a journal' ls");
    now.run("ASOF_JOURNAL=/nonexistent/journal asof sync");
    now.text.push_str("# 11: another writer\n\n");
    let held = now.site.path("held");
    let pen = staged::write_and_hold(&held);
    now.run("asof --journal held verify --repair");
    drop(pen);
    now.text.push_str("# 4: damage\n\n");
    damage(&now.site.journal);
    now.run("asof verify --deep");
    now.run("asof cat /home/ada/large.log | wc -l; exit ${PIPESTATUS[0]}");
    now.run("asof -q restore /home/ada/large.log --to large.log");
    now.is("errors");
}

/// Flips a bit in the largest frame of the journal: the body of a block of the large file.
fn damage(journal: &Path) {
    let segments = Layout::new(journal).segments();
    let mut files: Vec<PathBuf> =
        fs::read_dir(&segments).must(segments.display()).flatten().map(|entry| entry.path()).collect();
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).must("a segment").len()));
    let path = files.first().must("a segment");
    let mut bytes = fs::read(path).must(path.display());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let _ = fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600));
    fs::write(path, bytes).must(path.display());
}

#[test]
fn pages_of_help() {
    let mut now = Transcript::new();
    for line in ["asof -h", "asof --help", "asof ls -h"] {
        now.run(line);
    }
    let verbs: Vec<String> = {
        let listed =
            now.site.shell("COMPLETE=fish asof -- asof '' | cut -f1 | grep '^[a-z]'").exits(0).text();
        listed.lines().filter(|verb| *verb != "help").map(str::to_owned).collect()
    };
    assert!(verbs.len() >= 9, "{verbs:?}");
    for verb in verbs {
        let page = now.run(&format!("asof help {verb}"));
        let same = now.site.shell(&format!("asof {verb} --help")).exits(0);
        assert_eq!(page.stdout, same.stdout, "both say the same of {verb}");
    }
    now.is("help");
}

#[test]
fn an_interrupted_command_ends_with_130() {
    let mut now = Transcript::new();
    let mut command = Command::new(&now.site.programs.asof);
    command.arg("--journal").arg(&now.site.journal).args(["verify", "--deep", "--rate", "1"]).env("TZ", ZONE);
    let (out, said) = (now.site.path("out"), now.site.path("said"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out).must("out"))
        .stderr(File::create(&said).must("said"));
    command.process_group(0);
    let mut child = command.spawn().must("asof");
    // As soon as it catches the signal, it is at work: reading all of it at a byte a second takes a day.
    eventually(PATIENCE, "asof to catch SIGINT", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).must("its status");
        let caught =
            status.lines().find_map(|line| line.strip_prefix("SigCgt:")).must("SigCgt").trim().to_owned();
        let caught = u64::from_str_radix(&caught, 16).must("a mask");
        (caught & (1 << (SIGINT - 1)) != 0).then_some(())
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).must("kill");
    let status = child.wait().must("asof").code().unwrap_or(-1);
    let stderr = fs::read_to_string(&said).must("said");
    // How far it came is not told: nothing was found until then.
    now.note("asof verify --deep --rate 1   (and Ctrl-C)", b"", &stderr, status);
    now.is("interrupted");
}

#[test]
fn a_closed_pipe_is_success_for_every_verb() {
    let now = Transcript::new();
    for arguments in [
        &["log"][..],
        &["ls", "-lR", "/home/ada"],
        &["cat", "/home/ada/large.log"],
        &["diff", "--from", "seq:16"],
        &["diff", "-p", "--from", "seq:16"],
        &["find", "*", "--deleted"],
        &["mark"],
        &["explain", "/home/ada/notes.txt"],
        &["status"],
        &["restore", "-n", "/home/ada/job", "--to", "/nonexistent/x"],
        &["verify"],
        &["help", "restore"],
        &["--json", "log"],
    ] {
        let (reader, writer) = std::io::pipe().must("a pipe");
        drop(reader);
        let mut command = Command::new(&now.site.programs.asof);
        command.args(arguments).env("ASOF_JOURNAL", &now.site.journal).env("TZ", ZONE);
        let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output().must("asof");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("asof: "), "{arguments:?}: {stderr}");
    }
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    if !has_program("script") {
        eprintln!("script is not there: no terminal");
        return;
    }
    let now = Transcript::new();
    let on_terminal = |environment: &str| {
        let line = format!("{environment} asof diff --from seq:16 --to seq:22");
        let shell = now.site.shell(&format!("script -qec '{line}' /dev/null < /dev/null"));
        shell.with_variable("ASOF_JOURNAL", &now.site.journal).with_variable("TERM", "xterm").exits(0).text()
    };
    assert!(on_terminal("env -u NO_COLOR").contains("\x1b[3"));
    assert!(!on_terminal("env NO_COLOR=1").contains('\x1b'));
    assert!(!on_terminal("env -u NO_COLOR TERM=dumb").contains('\x1b'));
    assert!(!on_terminal("env -u NO_COLOR").contains("\x1b[0;"));
}
