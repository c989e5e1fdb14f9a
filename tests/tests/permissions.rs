//! A journal is its owner's: whatever the umask, whoever knocks, wherever it lies.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use asof_journal::storage::Layout;
use asof_tests::agent::Agent;
use asof_tests::must::Must;
use asof_tests::site::Site;
use asof_tests::tree::has_program;

/// Nobody, on Debian and nearly everywhere.
const NOBODY: u32 = 65534;

fn put(path: &Path, content: &str) {
    fs::write(path, content).must(path.display());
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).must(path.display()).mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).must(path.display());
}

fn everything_below(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_path_buf()];
    for entry in fs::read_dir(dir).must(dir.display()) {
        let path = entry.must(dir.display()).path();
        match path.is_dir() {
            true => all.extend(everything_below(&path)),
            false => all.push(path),
        }
    }
    all
}

#[track_caller]
fn is_private(journal: &Path) {
    let open: Vec<String> = everything_below(journal)
        .iter()
        .filter(|path| mode(path) & 0o077 != 0)
        .map(|path| format!("{:04o} {}", mode(path), path.display()))
        .collect();
    assert!(open.is_empty(), "group or others have rights:\n{}", open.join("\n"));
}

/// Runs the agent under a umask that takes nothing away.
fn start_without_umask(site: &Site) -> Agent {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(&site.programs.asofd);
    let agent = Agent::start_with(site, command, &["--root".into(), site.root.clone().into()]);
    agent.protecting(site);
    agent
}

#[test]
fn everything_in_a_journal_is_private_whatever_the_umask() {
    let site = Site::new();
    put(&site.root.join("file"), "content");
    let agent = start_without_umask(&site);
    site.sync();
    is_private(&site.journal);
    assert!(Layout::new(&site.journal).socket().exists());
    agent.terminate();
    is_private(&site.journal);
    let sealed = everything_below(&Layout::new(&site.journal).segments());
    assert!(sealed.iter().any(|path| mode(path) == 0o400), "a sealed segment is read-only");

    // One that was made with more rights loses them.
    for path in everything_below(&site.journal) {
        let more = if path.is_dir() { 0o755 } else { 0o644 };
        set_mode(&path, more);
    }
    let agent = start_without_umask(&site);
    is_private(&site.journal);
    site.take("after");
    agent.terminate();
    is_private(&site.journal);
    site.check_all("private");
}

#[test]
fn a_journal_that_others_can_write_is_refused() {
    let site = Site::new();
    fs::create_dir(&site.journal).must("mkdir");
    for writable in [0o777, 0o770, 0o702] {
        set_mode(&site.journal, writable);
        let (status, log) = Agent::start(&site, &[]).ends();
        assert_eq!(status, 1, "{log}");
        let helps = format!("chmod 700 {}", site.journal.display());
        assert!(log.contains("others can write to it") && log.contains(&helps), "{writable:o}: {log}");
        assert_eq!(fs::read_dir(&site.journal).must("ls").count(), 0, "nothing was written");
    }
    set_mode(&site.journal, 0o755);
    let above = site.journal.parent().must("above").to_path_buf();
    set_mode(&above, 0o777);
    let (status, log) = Agent::start(&site, &[]).ends();
    assert!(status == 1 && log.contains(&format!("chmod o-w {}", above.display())), "{log}");
    set_mode(&above, 0o755);
    site.start().terminate();
}

/// A command line that runs a program as another user; says why where there can be none.
fn as_nobody(program: &Path) -> Result<Command, String> {
    if !rustix::process::geteuid().is_root() || !has_program("setpriv") {
        return Err("running as another user needs root and setpriv".into());
    }
    let command = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(program);
        command
    };
    match command().arg("--help").output() {
        Ok(output) if output.status.success() => Ok(command()),
        _ => Err(format!("nobody may not reach {}", program.display())),
    }
}

#[test]
fn a_journal_of_somebody_else_is_not_written() {
    let site = Site::new();
    let program = site.path("asofd");
    fs::copy(&site.programs.asofd, &program).must("copying asofd");
    let command = match as_nobody(&program) {
        Ok(command) => command,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    // Root is somebody else, too: what it writes its owner could not write any more.
    fs::create_dir(&site.journal).must("mkdir");
    chown(&site.journal, Some(NOBODY), Some(NOBODY)).must("chown");
    let (status, log) = Agent::start(&site, &[]).ends();
    assert!(status == 1 && log.contains("it belongs to user 65534, and this is user 0"), "{log}");

    chown(&site.journal, Some(0), Some(0)).must("chown");
    let arguments = ["--root".into(), site.root.clone().into()];
    let (status, log) = Agent::start_with(&site, command, &arguments).ends();
    assert!(status == 1 && log.contains("it belongs to user 0, and this is user 65534"), "{log}");
}

#[test]
fn the_socket_answers_its_owner_and_nobody_else() {
    let site = Site::new();
    let program = site.path("asof");
    fs::copy(&site.programs.asof, &program).must("copying asof");
    let mut command = match as_nobody(&program) {
        Ok(command) => command,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let agent = site.start();
    // As if the modes were no help at all.
    set_mode(&site.journal, 0o755);
    set_mode(&Layout::new(&site.journal).socket(), 0o666);
    let output = command.arg("--journal").arg(&site.journal).arg("sync").output().must("asof");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("this asofd is another user's"), "{said}");
    site.sync();
    agent.terminate();
}
