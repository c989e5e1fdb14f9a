//! Where the built programs are, and that they are no older than their sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::must::Must;

/// The programs under test.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The agent.
    pub asofd: PathBuf,
    /// The command.
    pub asof: PathBuf,
}

impl Programs {
    /// Finds them beside the running executable (or one directory up, where cargo keeps test executables).
    ///
    /// Panics where one is missing or older than a source it was built from: `cargo test` builds a package's
    /// programs only for that package's own tests, so a result could otherwise be that of last week's agent.
    pub fn find() -> Programs {
        let me = std::env::current_exe().must("the running executable");
        let mut dir = me.parent().must("the executable's directory");
        if dir.file_name().is_some_and(|name| name == "deps") {
            dir = dir.parent().must("the directory above deps");
        }
        Programs { asofd: fresh(&dir.join("asofd")), asof: fresh(&dir.join("asof")) }
    }
}

#[track_caller]
fn fresh(program: &Path) -> PathBuf {
    let built = modified(program)
        .must(format!("{} is not built: run `cargo build --release --workspace` first", program.display()));
    // cargo writes `target: source source ...` beside each program.
    let listed = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let sources =
        listed.split_once(": ").map(|(_, sources)| sources.replace("\\ ", "\0")).unwrap_or_default();
    for source in sources.split_whitespace().map(|source| source.replace('\0', " ")) {
        if modified(Path::new(&source)).is_some_and(|changed| changed > built) {
            panic!(
                "{} is older than {source}: run `cargo build --release --workspace` first",
                program.display()
            );
        }
    }
    program.to_path_buf()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
