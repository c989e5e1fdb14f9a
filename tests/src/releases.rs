//! A git repository made of successive releases of a real package: each one's sources, committed on top of the one before.
//!
//! The releases come through cargo, as a dependency would, so that no host is named here.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::measure::run;
use crate::must::Must;
use crate::site::remove;

/// A package with some four hundred files, of which every minor release changes many.
const PACKAGE: &str = "tokio";
/// Minor releases of its version 1, from 0; the patch release is 0.
const MINORS: u32 = 45;
/// So many may be unavailable, and are left out: a release that was withdrawn is not given out.
const UNAVAILABLE_MAX: usize = 8;

/// Makes the repository with `count` releases, oldest first; gives their tags, or why there are not so many.
///
/// `scratch` is for what comes and goes on the way.
pub fn repository(at: &Path, scratch: &Path, count: usize, log: &Path) -> Result<Vec<String>, String> {
    fs::create_dir_all(at).must(at.display());
    run(git(at).args(["init", "--quiet"]), log)?;
    let mut tags = Vec::new();
    let mut unavailable = 0;
    for minor in 0..MINORS {
        if tags.len() == count {
            break;
        }
        let version = format!("1.{minor}.0");
        let project = scratch.join("project");
        let fetched = fetch(&project, &version, log);
        if let Err(why) = fetched {
            unavailable += 1;
            if unavailable > UNAVAILABLE_MAX {
                return Err(format!("{PACKAGE} {version}, and {} before it: {why}", unavailable - 1));
            }
        } else {
            commit(at, &project.join("vendor").join(PACKAGE), &version, log)?;
            tags.push(version);
        }
        remove(&project);
    }
    if tags.len() < count {
        return Err(format!("only {} releases of {PACKAGE} are to be had", tags.len()));
    }
    Ok(tags)
}

/// git in a directory, without this machine's settings and without work behind the back.
pub fn git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.arg("-C").arg(dir).args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
    command.args(["-c", "user.name=storm", "-c", "user.email=storm@example.invalid"]);
    command
}

/// cargo in a directory, with nothing that a build around it has set.
pub fn cargo(dir: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.env_remove("CARGO_TARGET_DIR").env_remove("MAKEFLAGS").env_remove("MFLAGS").current_dir(dir);
    command
}

/// Has a project's dependency put into its `vendor/`.
fn fetch(project: &Path, version: &str, log: &Path) -> Result<(), String> {
    fs::create_dir_all(project.join("src")).must(project.display());
    let manifest = format!(
        "[package]\nname = \"project\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n\
         [dependencies]\n{PACKAGE} = {{ version = \"={version}\", default-features = false }}\n"
    );
    fs::write(project.join("Cargo.toml"), manifest).must(project.display());
    fs::write(project.join("src/lib.rs"), "").must(project.display());
    run(cargo(project).args(["vendor", "--quiet", "vendor"]), log)?;
    Ok(())
}

/// Makes the working tree the release, and commits it.
fn commit(at: &Path, sources: &Path, version: &str, log: &Path) -> Result<(), String> {
    for entry in fs::read_dir(at).must(at.display()).flatten().filter(|entry| entry.file_name() != ".git") {
        if entry.path().is_dir() {
            remove(&entry.path());
        } else {
            fs::remove_file(entry.path()).must(entry.path().display());
        }
    }
    run(Command::new("cp").arg("-a").arg(sources.join(".")).arg(at), log)?;
    run(git(at).args(["add", "--all", "--force"]), log)?;
    run(git(at).args(["commit", "--quiet", "-m", version]), log)?;
    run(git(at).args(["tag", version]), log)?;
    Ok(())
}
