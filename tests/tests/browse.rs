//! `asof browse` on a real terminal: driven by keys through tmux, and the terminal is afterwards as it was before.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use asof_journal::append::Limits;
use asof_tests::desk::Desk;
use asof_tests::must::Must;
use asof_tests::site::Site;
use asof_tests::tree::has_program;
use asof_tests::wait::{PATIENCE, eventually};
use rustix::process::{Pid, Signal};

/// A terminal of its own, in a tmux server of its own.
struct Screen {
    socket: PathBuf,
    dir: PathBuf,
}

impl Screen {
    /// Runs `asof browse` with these words in a terminal of that size.
    #[track_caller]
    fn browse(site: &Site, (width, height): (u16, u16), words: &str) -> Screen {
        let dir = site.fresh("terminal");
        fs::create_dir(&dir).must(dir.display());
        let screen = Screen { socket: dir.join("tmux"), dir };
        // The shell stays behind asof, so that what it left can be looked at.
        let script = format!(
            "cd {dir}\nstty -g > before\n{asof} --journal {journal} browse {words}\necho $? > status.new\nstty -g > after\n\
             mv status.new status\nexec cat\n",
            dir = screen.dir.display(),
            asof = site.programs.asof.display(),
            journal = site.journal.display(),
        );
        let path = screen.dir.join("script");
        fs::write(&path, script).must(path.display());
        let size = ["-x".to_string(), width.to_string(), "-y".into(), height.to_string()];
        let mut command = screen.command();
        command.args(["new-session", "-d"]).args(size).arg(format!("exec sh {}", path.display()));
        assert!(command.status().must("tmux").success(), "{command:?}");
        screen
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(&self.socket).args(["-f", "/dev/null"]);
        command.env("TZ", "UTC").env("LANG", "C.UTF-8").env("SHELL", "/bin/sh");
        command.env_remove("TMUX").env_remove("NO_COLOR").stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().must("tmux");
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What the terminal shows.
    #[track_caller]
    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until it shows all of these.
    #[track_caller]
    fn shows(&self, texts: &[&str]) -> &Screen {
        let mut last = String::new();
        let start = std::time::Instant::now();
        eventually(2 * PATIENCE, format!("{texts:?}"), || {
            last = self.text();
            let all = texts.iter().all(|text| last.contains(text));
            assert!(all || start.elapsed() < PATIENCE, "waited for {texts:?}; there is\n{last}");
            all.then_some(())
        });
        self
    }

    /// Presses keys by their names, or types text.
    #[track_caller]
    fn keys(&self, keys: &[&str]) -> &Screen {
        self.tmux(&[&["send-keys"], keys].concat());
        self
    }

    /// Keeps a picture where `ASOF_SHOTS` says.
    fn shot(&self, name: &str) {
        if let Some(dir) = std::env::var_os("ASOF_SHOTS") {
            let path = Path::new(&dir).join(format!("{name}.txt"));
            fs::write(&path, self.text()).must(path.display());
        }
    }

    /// Waits until asof has ended; holds it to a status, and the terminal to how it was before.
    #[track_caller]
    fn is_as_before(&self, status: &str) {
        let read = |name: &str| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        eventually(PATIENCE, format!("asof to end; there is\n{}", self.text()), || {
            self.dir.join("status").exists().then_some(())
        });
        assert_eq!(read("status").trim(), status, "{}", self.text());
        assert_eq!(read("before"), read("after"), "the modes of the terminal");
        let flags = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag} #{keypad_flag}"]);
        assert_eq!(flags.trim(), "0 1 0", "the picture is gone and the cursor is back");
    }

    /// The process of asof.
    #[track_caller]
    fn pid(&self) -> Pid {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        eventually(PATIENCE, "asof to run", || {
            let text = fs::read_to_string(&children).ok()?;
            Pid::from_raw(text.split_whitespace().next()?.parse().ok()?)
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
    }
}

/// Three moments: a tree, an edit ten minutes later, and a lost directory.
fn lived(site: &Site) {
    let mut desk = Desk::open(&site.journal, 0, Limits::default());
    for dir in ["/work", "/work/src", "/work/docs"] {
        desk.mkdir(dir);
    }
    for n in 0..30 {
        desk.write(
            &format!("/work/src/part-{n:02}.rs"),
            format!("//! Part {n}.\nfn main() {{}}\n").as_bytes(),
        );
    }
    desk.write("/work/notes.txt", b"milk\nbread\n");
    desk.write("/work/evil\x1b]0;owned\x07", b"\x1b[2Jnot obeyed\n");
    desk.commit();
    desk.pass(600);
    desk.write("/work/notes.txt", b"milk\nbutter\n");
    desk.commit();
    desk.pass(600);
    desk.remove_dir("/work/src");
    desk.write("/work/docs/new.md", b"# New\n");
    desk.commit();
    desk.close();
}

fn can_run() -> bool {
    let can = has_program("tmux");
    if !can {
        eprintln!("skipped: tmux is not installed");
    }
    can
}

#[test]
fn a_lost_directory_is_found_looked_at_and_restored_with_keys() {
    if !can_run() {
        return;
    }
    for size in [(80, 24), (160, 50)] {
        let site = Site::new();
        lived(&site);
        let screen = Screen::browse(&site, size, "/work");
        let shot = |name: &str| screen.shot(&format!("{}x{}-{name}", size.0, size.1));
        screen.shows(&["asof browse  /work", "moment 1 of 3", "30 files and 1 directory deleted below src/"]);
        screen.shows(&["- src/", "~ docs/", "  notes.txt", "q quit"]);
        shot("1-moment");
        screen.keys(&["Left"]).shows(&["moment 2 of 3", "~ notes.txt", "notes.txt changed"]);
        screen.keys(&["G"]).shows(&["milk", "butter"]).keys(&["d"]).shows(&["-bread", "+butter"]);
        shot("2-diff");
        screen.keys(&["d", "d", "Right", "g", "g"]).shows(&["moment 1 of 3"]);
        screen.keys(&["G", "k", "k", "k"]).keys(&["g", "j", "Enter"]);
        screen.shows(&["asof browse  /work/src", "deleted in this moment", "part-00.rs", "//! Part 0."]);
        shot("3-deleted-directory");
        screen
            .keys(&["/"])
            .shows(&["type a part of a name"])
            .keys(&["-l", "notes"])
            .shows(&["hit 1 of", "moment 2"]);
        shot("4-search");
        screen.keys(&["Enter", "n"]).shows(&["moment 3 of 3", "+ notes.txt", "hit 2 of 2"]);
        screen.keys(&["?"]).shows(&["the moment before, after"]);
        shot("5-help");
        screen.keys(&["x", "End"]).shows(&["moment 1 of 3"]).keys(&["g", "j"]).shows(&["2 of "]);
        screen.keys(&["r"]).shows(&["restore /work/src as of seq:", "./restored-2023-11-14-"]);
        screen.keys(&["C-u"]).keys(&["-l", "back/src"]).keys(&["Enter"]).shows(&["the plan:", "part-00.rs"]);
        shot("6-plan");
        screen.keys(&["Enter"]).shows(&["done:", "30 files"]);
        shot("7-restored");
        screen.keys(&["Enter", "q"]);
        screen.is_as_before("0");
        screen.shows(&["/work/src as of seq:", "to back/src"]);
        let restored = screen.dir.join("back/src/part-07.rs");
        assert_eq!(fs::read_to_string(&restored).must(restored.display()), "//! Part 7.\nfn main() {}\n");
        let mode = fs::metadata(screen.dir.join("back")).must("back").permissions().mode();
        assert_eq!(mode & 0o022, 0, "a directory made on the way is as the user's umask wants it");
        let title = screen.tmux(&["display-message", "-p", "#{pane_title}"]);
        assert!(!title.contains("owned"), "no name is obeyed: {title}");
    }
}

#[test]
fn a_bad_save_is_taken_back_in_place() {
    if !can_run() {
        return;
    }
    let site = Site::new();
    let agent = site.start();
    let notes = site.root.join("notes.txt");
    let content = || fs::read_to_string(&notes).must(notes.display());
    fs::write(&notes, "the good version\n").must(notes.display());
    let good = site.sync();
    fs::write(&notes, "a mistake\n").must(notes.display());
    site.sync();
    let screen = Screen::browse(&site, (80, 24), &format!("{} --at {}", site.root.display(), good.at));
    screen.shows(&["+ notes.txt", "the good version"]).keys(&["d", "d"]).shows(&["+a mistake"]);
    screen.keys(&["r"]).shows(&["Tab in place or not"]).keys(&["Tab"]).shows(&["where it was (in place)"]);
    screen.keys(&["Enter"]).shows(&["the plan:", "notes.txt"]);
    assert_eq!(content(), "a mistake\n", "a plan changes nothing");
    screen.keys(&["Enter"]).shows(&["done:"]).keys(&["Enter", "q"]);
    screen.is_as_before("0");
    assert_eq!(content(), "the good version\n");
    site.asof(["undo", "--yes"]).exits(0);
    assert_eq!(content(), "a mistake\n");
    agent.terminate();
}

#[test]
fn every_end_gives_the_terminal_back() {
    if !can_run() {
        return;
    }
    let site = Site::new();
    lived(&site);
    let begin = || {
        let screen = Screen::browse(&site, (80, 24), "/work --at seq:36");
        screen.shows(&["moment 1 of 2", "notes.txt changed"]);
        screen
    };
    let screen = begin();
    screen.keys(&["C-c"]).is_as_before("0");
    for signal in [Signal::TERM, Signal::INT] {
        let screen = begin();
        rustix::process::kill_process(screen.pid(), signal).must("a signal");
        screen.is_as_before("130");
        screen.shows(&["asof: ended by a signal"]);
    }
}

#[test]
fn it_follows_the_size_of_the_terminal() {
    if !can_run() {
        return;
    }
    let site = Site::new();
    lived(&site);
    let screen = Screen::browse(&site, (80, 24), "/work/src");
    screen.shows(&["asof browse  /work/src", "- part-00.rs"]);
    let resize = |width: &str, height: &str| screen.tmux(&["resize-window", "-x", width, "-y", height]);
    resize("120", "40");
    screen.shows(&["part-20.rs", "q quit"]);
    resize("30", "8");
    screen.shows(&["too small: 40x10 is needed"]);
    resize("80", "24");
    screen.shows(&["- part-00.rs", "q quit"]).keys(&["q"]).is_as_before("0");
}

#[test]
fn without_a_terminal_it_says_what_does_the_same() {
    let site = Site::new();
    lived(&site);
    let refused = site.asof(["browse", "/work"]).exits(2);
    assert!(refused.stderr.contains("asof log") && refused.stderr.contains("asof ls"), "{}", refused.stderr);
    site.asof(["--json", "browse", "/work"]).exits(2);
    if can_run() {
        let screen = Screen::browse(&site, (80, 24), "/nowhere");
        screen.is_as_before("5");
        screen.shows(&["asof: /nowhere", "next:"]);
    }
}
