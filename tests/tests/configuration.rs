//! The configuration: checked before anything starts, obeyed, and read again while the agent runs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use asof_tests::agent::Agent;
use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use asof_tests::wait::{PATIENCE, eventually};

const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n";

fn write(path: impl AsRef<Path>, content: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().must("a directory")).must(path.display());
    fs::write(path, content).must(path.display());
}

fn configure(site: &Site, text: &str) -> PathBuf {
    let path = site.path("config.toml");
    write(&path, text);
    path
}

fn check(site: &Site, further: &[&dyn AsRef<OsStr>]) -> Output {
    let mut command = Command::new(&site.programs.asofd);
    command.arg("check-config").arg("--journal").arg(&site.journal).args(arguments(further));
    command.env("ASOF_CONFIG", "/dev/null").output().must("asofd check-config")
}

fn names(site: &Site, dir: &Path, at: &str) -> Vec<String> {
    let listed = site.asof(arguments(&[&"--json", &"ls", &dir, &"--at", &at])).exits(0).json_lines();
    listed
        .iter()
        .map(|line| line["path"].as_str().must("path").rsplit('/').next().must("name").into())
        .collect()
}

/// What happened to a path, newest first.
fn history(site: &Site, path: &Path) -> Vec<String> {
    let lines = site.asof(arguments(&[&"--json", &"log", &path])).exits(0).json_lines();
    lines.iter().map(|line| line["what"].as_str().must("what").to_string()).collect()
}

fn gaps(site: &Site) -> u64 {
    site.status()["gaps"].as_u64().must("gaps")
}

#[test]
fn check_config_prints_what_is_in_force_or_what_is_wrong() {
    let site = Site::new();
    let root = site.root.display();
    let good = configure(
        &site,
        &format!(
            "exclude = ['*.o']\nreconcile_every = '2h'\n[[root]]\npath = '{root}'\nexclude = ['target/']\n"
        ),
    );
    let told = check(&site, &[&"--config", &good]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let text = String::from_utf8_lossy(&told.stdout);
    for line in [
        "reconcile_every = \"2h\"",
        "quiet_ms = 200",
        "    \"*.o\",",
        "    \"target/\",",
        "cachedir_tag = false",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
    }
    assert!(text.contains(&format!("path = \"{root}\"")), "{text}");
    assert!(!site.journal.exists(), "nothing is made");
    // What is printed says the same as what it was made of.
    let again = site.path("again.toml");
    fs::write(&again, &told.stdout).must("again.toml");
    let twice = check(&site, &[&"--config", &again]);
    let body = |output: &Output| {
        String::from_utf8_lossy(&output.stdout).lines().skip(1).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(body(&told), body(&twice));

    for (text, status, named) in [
        ("[settle]\nquite_ms = 3", 1, ":2: unknown key settle.quite_ms; did you mean settle.quiet_ms?"),
        ("exclude = ['*']", 1, "leaves out everything below root"),
        ("workers = 'many'", 1, ":1: workers has to be a whole number"),
    ] {
        let told = check(&site, &[&"--root", &site.root, &"--config", &configure(&site, text)]);
        assert_eq!(told.status.code(), Some(status), "{told:?}");
        assert!(told.stdout.is_empty());
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(said.contains(named) && said.contains("config.toml"), "{said}");
    }
    assert_eq!(check(&site, &[]).status.code(), Some(2), "no root at all");
    assert_eq!(check(&site, &[&"--rot", &"/"]).status.code(), Some(2));
}

#[test]
fn roots_that_cannot_be_roots_are_refused_and_a_symlink_is_followed_once() {
    let site = Site::new();
    let (file, link, dangling) = (site.path("file"), site.path("link"), site.path("dangling"));
    write(&file, "no root");
    std::os::unix::fs::symlink(site.path("nowhere"), &dangling).must("symlink");
    for root in [&file, &dangling] {
        let args = ["--root".into(), OsString::from(root)];
        let (status, log) = Agent::start_with(&site, Command::new(&site.programs.asofd), &args).ends();
        assert_eq!(status, 1, "{log}");
        assert!(log.contains(&*root.to_string_lossy()), "{log}");
    }
    std::os::unix::fs::symlink(&site.root, &link).must("symlink");
    let args = ["--root".into(), OsString::from(&link)];
    let agent = Agent::start_with(&site, Command::new(&site.programs.asofd), &args);
    agent.protecting(&site);
    assert!(agent.log().contains("is a symlink"), "{}", agent.log());
    write(site.root.join("kept"), "kept");
    // Wherever the link leads later, what it led to at the start is protected.
    fs::remove_file(&link).must("unlink");
    std::os::unix::fs::symlink(site.path("nowhere"), &link).must("symlink");
    let synced = site.sync();
    assert_eq!(names(&site, &site.root, &synced.at), ["kept"]);
    agent.terminate();
}

#[test]
fn a_root_in_a_root_is_protected_once_by_its_own_rules() {
    let site = Site::new();
    let inner = site.root.join("work/mine");
    for name in ["work/other", "work/mine/x.iso", "work/mine/x.log", "x.log", "x.iso"] {
        write(site.root.join(name), name);
    }
    let config = configure(
        &site,
        &format!(
            "[[root]]\npath = '{}'\nexclude = ['work/', '*.iso']\n[[root]]\npath = '{}'\nexclude = ['*.log']\n",
            site.root.display(),
            inner.display()
        ),
    );
    let agent = Agent::start_configured(&site, &config);
    agent.allow("is protected by root");
    agent.protecting(&site);
    write(inner.join("new.iso"), "new");
    write(site.root.join("work/later"), "left out");
    let synced = site.sync();
    assert_eq!(names(&site, &site.root, &synced.at), ["work", "x.log"]);
    assert_eq!(names(&site, &site.root.join("work"), &synced.at), ["mine"]);
    assert_eq!(names(&site, &inner, &synced.at), ["new.iso", "x.iso"]);
    let history = site.asof(arguments(&[&"log", &inner.join("x.iso")])).exits(0).text();
    assert_eq!(history.matches("created").count(), 1, "{history}");
    agent.terminate();
}

#[test]
fn a_storm_in_an_excluded_tree_leads_to_no_capture() {
    let site = Site::new();
    let long = "n".repeat(251);
    let odd = OsStr::from_bytes(b"caf\xe9\n");
    write(site.root.join("src/main.rs"), "fn main() {}");
    write(site.root.join(odd).join("x"), "kept");
    write(site.root.join("target/debug/deps/old"), "left out");
    let config = configure(
        &site,
        &format!(
            "roots = ['{}']\nexclude = ['target/', '*.tmp', '*.o', 'nnn*.obj', '!keep.tmp']\n",
            site.root.display()
        ),
    );
    let agent = Agent::start_configured(&site, &config);
    agent.protecting(&site);
    site.sync();
    let before = (site.counter("versions"), site.counter("files_read"), site.counter("groups"));
    for dir in 0..40 {
        for file in 0..50 {
            write(site.root.join(format!("target/debug/deps-{dir}/{file}.rlib")), "built");
        }
    }
    fs::rename(site.root.join("target/debug/deps-0"), site.root.join("target/debug/moved")).must("rename");
    fs::remove_dir_all(site.root.join("target/debug/deps-1")).must("rm -r");
    site.sync();
    let after = (site.counter("versions"), site.counter("files_read"), site.counter("groups"));
    assert_eq!((before.0, before.1), (after.0, after.1), "nothing is captured");
    assert_eq!(after.2 - before.2, 1, "the sync's own mark and nothing else");

    for name in
        [format!("{long}.obj"), "x.tmp".into(), "keep.tmp".into(), format!("{long}.rs"), "target.txt".into()]
    {
        write(site.root.join("src").join(name), "x");
    }
    write(site.root.join(odd).join("x.o"), "left out");
    // A file of that name is no directory, and a directory that gets it is left out with what was in it.
    write(site.root.join("src/target"), "a file");
    write(site.root.join("later/deep/x"), "kept until it is renamed");
    site.sync();
    fs::rename(site.root.join("later"), site.root.join("src/sub")).must("rename");
    fs::create_dir(site.root.join("out")).must("mkdir");
    fs::rename(site.root.join("src/sub"), site.root.join("out/target")).must("rename");
    let synced = site.sync();
    assert_eq!(
        names(&site, &site.root.join("src"), &synced.at),
        ["keep.tmp", "main.rs", &format!("{long}.rs"), "target", "target.txt"]
    );
    assert_eq!(names(&site, &site.root.join(odd), &synced.at), ["x"]);
    assert!(names(&site, &site.root.join("out"), &synced.at).is_empty());
    agent.terminate();
}

#[test]
fn a_cachedir_tag_counts_while_it_is_there() {
    let site = Site::new();
    let (cache, fake) = (site.root.join("cache"), site.root.join("fake"));
    write(cache.join("CACHEDIR.TAG"), TAG);
    write(cache.join("old/x"), "left out");
    write(fake.join("CACHEDIR.TAG"), "Signature: somebody's own");
    write(fake.join("x"), "kept");
    let config = configure(&site, &format!("roots = ['{}']\ncachedir_tag = true\n", site.root.display()));
    let agent = Agent::start_configured(&site, &config);
    agent.protecting(&site);
    let tagged = site.sync();
    assert_eq!(names(&site, &cache, &tagged.at), ["CACHEDIR.TAG"]);
    assert_eq!(names(&site, &fake, &tagged.at), ["CACHEDIR.TAG", "x"]);
    let versions = site.counter("versions");
    for number in 0..100 {
        write(cache.join(format!("new-{number}/x")), "left out");
    }
    site.sync();
    // The directory with the tag got new times, and nothing in it was captured.
    assert!(site.counter("versions") - versions <= 2);

    fs::remove_file(cache.join("CACHEDIR.TAG")).must("rm");
    let untagged = site.sync();
    assert_eq!(names(&site, &cache, &untagged.at).len(), 101);
    write(cache.join("new-7/y"), "kept");
    let synced = site.sync();
    assert_eq!(names(&site, &cache.join("new-7"), &synced.at), ["x", "y"]);

    write(cache.join("CACHEDIR.TAG"), TAG);
    let again = site.sync();
    assert_eq!(names(&site, &cache, &again.at), ["CACHEDIR.TAG"]);
    assert_eq!(history(&site, &cache.join("old"))[0], "uncovered");
    let restored = site.restore(&cache.join("new-7"), &synced.at);
    assert_eq!(fs::read(restored.join("y")).must("y"), b"kept");
    agent.terminate();
}

#[test]
fn files_over_the_limit_are_known_and_named_and_not_read() {
    let site = Site::new();
    let (small, large) = (site.root.join("small"), site.root.join("large"));
    write(&small, "small");
    write(&large, &"large ".repeat(1000));
    let text = |limit: &str| format!("roots = ['{}']\nfile_bytes_max = '{limit}'\n", site.root.display());
    let agent = Agent::start_configured(&site, &configure(&site, &text("4 KiB")));
    agent.protecting(&site);
    let synced = site.sync();
    assert_eq!(site.counter("files_read"), 1);
    assert_eq!(names(&site, &site.root, &synced.at), ["large", "small"]);
    let target = site.fresh("partly");
    let partly =
        site.asof(arguments(&[&"restore", &site.root, &"--at", &synced.at, &"--to", &target])).exits(3);
    assert!(partly.stderr.contains("large") && partly.stderr.contains("file_bytes_max"), "{}", partly.stderr);
    assert_eq!(fs::read(target.join("small")).must("small"), b"small");
    let read = site.counter("files_read");
    write(&large, &"larger ".repeat(1000));
    site.sync();
    assert_eq!(site.counter("files_read"), read);
    // With the limit raised it is read at once.
    configure(&site, &text("1 MiB"));
    agent.reload();
    let synced = site.sync();
    let cat = site.asof(arguments(&[&"cat", &large, &"--at", &synced.at])).exits(0);
    assert_eq!(cat.stdout, "larger ".repeat(1000).as_bytes());
    agent.terminate();
}

#[test]
fn a_reload_changes_what_is_different_and_nothing_else() {
    let site = Site::new();
    let (kept, second, third) = (site.root.clone(), site.path("second"), site.path("third"));
    for root in [&kept, &second, &third] {
        write(root.join("file"), "before");
        write(root.join("noise/log"), "before");
    }
    let roots =
        |second: &Path, more: &str| format!("roots = ['{}', '{}']\n{more}", kept.display(), second.display());
    let agent = Agent::start_configured(&site, &configure(&site, &roots(&second, "")));
    agent.protecting(&site);
    let before = site.sync();
    let (gaps_before, listed) = (gaps(&site), site.counter("directories_listed"));

    // The same again: nothing is looked at.
    agent.reload();
    site.sync();
    assert_eq!((gaps(&site), site.counter("directories_listed")), (gaps_before, listed));

    // A root and an exclude come, a root goes, while files are being written.
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _writer = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let number = written.fetch_add(1, Ordering::Relaxed);
                for root in [&kept, &second, &third] {
                    write(root.join(format!("written/{number}")), &number.to_string());
                    write(root.join("noise/log"), &number.to_string());
                }
            }
        });
        let some = |least: u64| {
            let goal = written.load(Ordering::Relaxed) + least;
            eventually(PATIENCE, "files to be written", || {
                (written.load(Ordering::Relaxed) >= goal).then_some(())
            });
        };
        some(20);
        configure(&site, &roots(&third, "exclude = ['noise/']\n[settle]\nquiet_ms = 100\n"));
        agent.reload();
        some(20);
        stop.store(true, Ordering::Relaxed);
    });
    let after = site.sync();
    let count = usize::try_from(written.load(Ordering::Relaxed)).must("a count");
    for root in [&kept, &third] {
        assert_eq!(names(&site, root, &after.at), ["file", "written"], "{}", root.display());
        let restored = site.restore(&root.join("written"), &after.at);
        assert_eq!(
            fs::read_dir(&restored).must("written").count(),
            count,
            "nothing is missed in {}",
            root.display()
        );
    }
    site.asof(arguments(&[&"ls", &second, &"--at", &after.at])).exits(5);
    assert_eq!(history(&site, &kept.join("noise"))[0], "uncovered");
    assert_eq!(history(&site, &second)[0], "uncovered");
    let lines = site.asof(arguments(&[&"log", &kept])).exits(0).text();
    assert!(!lines.contains("deleted"), "{lines}");
    // What was captured of the root that went is there still.
    let restored = site.restore(&second, &before.at);
    assert_eq!(fs::read(restored.join("noise/log")).must("log"), b"before");
    assert_eq!(gaps(&site), gaps_before + 1, "one for the root that came, none for the one that stayed");
    let status = site.status();
    assert_eq!(status["state"], "protecting", "{status}");
    assert!(!status.to_string().contains("second"), "{status}");

    // What is left out no more is captured again, and the root that went is back.
    configure(
        &site,
        &format!("roots = ['{}', '{}', '{}']\n", kept.display(), second.display(), third.display()),
    );
    agent.reload();
    let back = site.sync();
    for root in [&kept, &second, &third] {
        assert_eq!(names(&site, root, &back.at), ["file", "noise", "written"]);
        write(root.join("noise/more"), "watched");
    }
    let synced = site.sync();
    for root in [&kept, &second, &third] {
        assert_eq!(names(&site, &root.join("noise"), &synced.at), ["log", "more"]);
    }
    agent.terminate();
}

#[test]
fn a_broken_file_changes_nothing_and_is_named_until_it_is_mended() {
    let site = Site::new();
    write(site.root.join("x.o"), "kept");
    let root = site.root.display();
    let agent = Agent::start_configured(&site, &configure(&site, &format!("roots = ['{root}']\n")));
    agent.protecting(&site);
    for broken in
        [format!("roots = ['{root}']\nexclude = ['[']\n"), "roots = [".into(), "roots = ['/nowhere']".into()]
    {
        agent.allow("could not be read again");
        configure(&site, &broken);
        agent.reload_in_vain();
        let status = eventually(PATIENCE, "the status to name it", || {
            let status = site.status();
            status["problems"].to_string().contains("could not be read again").then_some(status)
        });
        assert_eq!(status["state"], "protecting", "what was in force stays: {status}");
        write(site.root.join("y.o"), &broken);
        let synced = site.sync();
        assert_eq!(names(&site, &site.root, &synced.at), ["x.o", "y.o"]);
    }
    configure(&site, &format!("roots = ['{root}']\nworkers = 1\nexclude = ['*.o']\n"));
    agent.allow("workers");
    agent.reload();
    let synced = site.sync();
    assert!(names(&site, &site.root, &synced.at).is_empty());
    assert_eq!(site.status()["problems"].as_array().map(Vec::len), Some(0));
    agent.terminate();
}

#[test]
fn roots_may_become_wider_and_narrower() {
    let site = Site::new();
    let (outer, inner) = (site.root.clone(), site.root.join("a/b"));
    write(inner.join("in"), "in");
    write(outer.join("a/out"), "out");
    let roots = |root: &Path| configure(&site, &format!("roots = ['{}']\n", root.display()));
    let agent = Agent::start_configured(&site, &roots(&inner));
    agent.protecting(&site);
    site.sync();
    roots(&outer);
    agent.reload();
    write(inner.join("while-wide"), "x");
    let wide = site.sync();
    assert_eq!(names(&site, &outer.join("a"), &wide.at), ["b", "out"]);
    assert_eq!(names(&site, &inner, &wide.at), ["in", "while-wide"]);
    roots(&inner);
    agent.reload();
    write(inner.join("while-narrow"), "x");
    write(outer.join("a/not-protected"), "x");
    let narrow = site.sync();
    assert_eq!(names(&site, &outer.join("a"), &narrow.at), ["b"]);
    assert_eq!(names(&site, &inner, &narrow.at), ["in", "while-narrow", "while-wide"]);
    let history = |path: &Path| history(&site, path);
    assert_eq!(history(&inner.join("in")), ["modified", "created"], "it was protected all the time");
    agent.terminate();
    // The same at a start: what is protected no longer is not taken for deleted.
    let elsewhere = site.path("elsewhere");
    write(elsewhere.join("x"), "x");
    let agent = Agent::start_configured(&site, &roots(&elsewhere));
    agent.protecting(&site);
    site.sync();
    assert_eq!(history(&inner)[0], "uncovered");
    agent.terminate();
}

/// A tmpfs for the length of a test.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path) -> Option<Mounted> {
        fs::create_dir_all(at).must(at.display());
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "asof-test"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Mounted(at.to_path_buf()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn other_filesystems_are_entered_where_that_is_wanted() {
    let site = Site::new();
    let mount = site.root.join("sub/mnt");
    let Some(_mounted) = Mounted::new(&mount) else {
        eprintln!("skipped: this needs to mount a tmpfs");
        return;
    };
    write(mount.join("deep/x"), "on another filesystem");
    let config = |one: bool| {
        configure(&site, &format!("[[root]]\npath = '{}'\none_file_system = {one}\n", site.root.display()))
    };
    let agent = Agent::start_configured(&site, &config(true));
    agent.protecting(&site);
    let synced = site.sync();
    assert!(names(&site, &site.root.join("sub"), &synced.at).is_empty());
    let asked = |at: &str| {
        site.asof(arguments(&[&"--json", &"explain", &mount.join("deep/x"), &"--at", &at])).exits(0).json()
    };
    let why = eventually(PATIENCE, "the policy to name the filesystem", || {
        let why = asked(&site.sync().at);
        (why["verdict"] == "excluded").then_some(why)
    });
    assert_eq!(why["rule"]["kind"], "other_filesystem", "{why}");
    config(false);
    agent.reload();
    write(mount.join("deep/y"), "watched");
    let synced = site.sync();
    assert_eq!(names(&site, &mount.join("deep"), &synced.at), ["x", "y"]);
    assert_eq!(asked(&synced.at)["verdict"], "captured");
    config(true);
    agent.reload();
    let synced = site.sync();
    assert!(names(&site, &site.root.join("sub"), &synced.at).is_empty());
    assert_eq!(history(&site, &mount)[0], "uncovered");
    agent.terminate();
}
