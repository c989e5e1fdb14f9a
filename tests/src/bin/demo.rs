//! The demo: a real tree, three instants, everything given back and compared, told as a short story with figures.
//!
//! Run by `make demo`. Ends with a non-zero status on any difference; removes everything it made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use asof_tests::agent::Agent;
use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::site::{Site, arguments, occupied_bytes, remove};
use asof_tests::wait::quiet;
use asof_tests::{copy, oracle};

/// Fewer would show nothing.
const FILES_MIN: u64 = 5_000;

/// How long nothing happens on either side of the instant that is noted by the plain clock.
const QUIET: Duration = Duration::from_secs(3);

/// An instant, and how the tree was then.
struct Noted {
    name: &'static str,
    at: String,
    copy: PathBuf,
}

fn main() -> ExitCode {
    let tree = match tree_to_show() {
        Ok(tree) => tree,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    if tell(&tree) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `TREE`, else the sources that cargo has unpacked for the build.
fn tree_to_show() -> Result<PathBuf, String> {
    let tree = match std::env::var_os("TREE").filter(|tree| !tree.is_empty()) {
        Some(tree) => PathBuf::from(tree),
        None => {
            let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
            let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
            home.unwrap_or_default().join("registry/src")
        }
    };
    if !tree.is_dir() {
        return Err(format!("{} is no directory: say `make demo TREE=/some/tree`", tree.display()));
    }
    let files = oracle::census(&tree).files;
    if files < FILES_MIN {
        return Err(format!(
            "{} has {files} files, and the demo wants {FILES_MIN}: say `make demo TREE=/some/tree`",
            tree.display()
        ));
    }
    Ok(tree)
}

fn tell(source: &Path) -> bool {
    let site = Site::new();
    let mut random = Random::new(2026);
    let tree = site.root.join("tree");
    copy::copy(source, &tree);
    let census = oracle::census(&site.root);
    say(&format!(
        "A copy of {}: {} files, {} directories, {} other entries, {}.",
        source.display(),
        census.files,
        census.dirs,
        census.others,
        bytes(census.bytes)
    ));

    let start = Instant::now();
    let agent = site.start();
    let first = site.sync();
    let seconds = start.elapsed().as_secs_f64();
    say(&format!(
        "asofd has captured and made durable all of it in {seconds:.2} s; the journal takes {}.",
        bytes(occupied_bytes(&site.journal))
    ));
    let mut noted = vec![note(&site, "the tree as it came (by sync)", first.at)];

    let (edited, took) = timed(|| edit(&tree, &mut random, 200));
    let (from, to, moved) = rename_largest(&tree);
    say(&format!(
        "{edited} files got a line more ({took:.2} s), and {} with {moved} entries below is now called {}.",
        show(&site, &from),
        show(&site, &to)
    ));
    quiet(QUIET);
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    noted.push(note(&site, "edited and renamed (by the clock)", now));
    quiet(QUIET);

    let (deleted, overwritten) = delete_and_overwrite(&tree, &mut random);
    let (third, took) = timed(|| site.sync());
    say(&format!(
        "{deleted} files were deleted and {overwritten} overwritten; sync made that durable in {:.0} ms.",
        took * 1e3
    ));
    noted.push(note(&site, "deleted and overwritten (by sync)", third.at));

    let mut same = give_back(&site, &noted, "beside the running agent");
    show_history(&site, &to);
    let (rss, counters) = (peak_memory(&agent), site.status()["counters"].clone());
    agent.terminate();
    same &= give_back(&site, &noted[1..2], "from the journal alone, no agent running");
    say(&format!(
        "In all: {} instants of history in {} of journal; the agent read {} files and needed {} of memory at most.",
        noted.len(),
        bytes(occupied_bytes(&site.journal)),
        counters["files_read"],
        bytes(rss)
    ));
    say(if same {
        "Every byte and every attribute is as it was."
    } else {
        "THERE ARE DIFFERENCES: see above."
    });
    same
}

fn say(line: &str) {
    println!("* {line}");
}

fn note(site: &Site, name: &'static str, at: String) -> Noted {
    let copied = site.fresh("as-it-was");
    copy::copy(&site.root, &copied);
    say(&format!("Noted: {name}, --at {at}"));
    Noted { name, at, copy: copied }
}

fn give_back(site: &Site, noted: &[Noted], how: &str) -> bool {
    let mut same = true;
    for instant in noted {
        let (restored, seconds) = timed(|| site.restore(&site.root, &instant.at));
        let census = oracle::census(&restored);
        let differences = oracle::compare(&instant.copy, &restored);
        let verdict = if differences.is_empty() {
            "equal to the copy taken then".into()
        } else {
            format!("{} DIFFERENCES", differences.len())
        };
        say(&format!(
            "Restored {how}: {}: {} files, {} in {seconds:.2} s: {verdict}.",
            instant.name,
            census.files,
            bytes(census.bytes)
        ));
        for difference in differences.iter().take(20) {
            println!("    {difference}");
        }
        same &= differences.is_empty();
        remove(&restored);
    }
    same
}

fn files(tree: &Path) -> Vec<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let full = |path: &Vec<u8>| tree.join(Path::new(std::ffi::OsStr::from_bytes(path)));
    let paths = oracle::paths_below(tree);
    paths
        .iter()
        .map(full)
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file()))
        .collect()
}

fn edit(tree: &Path, random: &mut Random, count: usize) -> usize {
    let chosen = random.take(&files(tree), count);
    for path in &chosen {
        let mut content = fs::read(path).must(path.display());
        let middle = content.len() / 2;
        content.splice(middle..middle, *b"\na line more\n");
        fs::write(path, content).must(path.display());
    }
    chosen.len()
}

/// Renames the directory with the most entries below it, the top ones left out; gives both names and the count.
fn rename_largest(tree: &Path) -> (PathBuf, PathBuf, usize) {
    let mut below: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for file in files(tree) {
        for dir in file.ancestors().skip(1).take_while(|dir| *dir != tree) {
            *below.entry(dir.to_path_buf()).or_default() += 1;
        }
    }
    let deep_enough = |dir: &Path| dir.strip_prefix(tree).is_ok_and(|rest| rest.components().count() >= 2);
    let largest = below.iter().filter(|(dir, _)| deep_enough(dir)).max_by_key(|(_, count)| **count);
    let (from, count) = largest.or_else(|| below.iter().next()).must("a directory with files in it");
    let to = tree.join("renamed by the demo");
    fs::rename(from, &to).must(from.display());
    (from.clone(), to, *count)
}

fn delete_and_overwrite(tree: &Path, random: &mut Random) -> (usize, usize) {
    let chosen = random.take(&files(tree), 500);
    let (deleted, overwritten) = chosen.split_at(chosen.len() * 3 / 5);
    for path in deleted {
        fs::remove_file(path).must(path.display());
    }
    for path in overwritten {
        let len = random.below(20_000) as usize;
        fs::write(path, random.text(len)).must(path.display());
    }
    (deleted.len(), overwritten.len())
}

fn show_history(site: &Site, dir: &Path) {
    let log = site.asof(arguments(&[&"log", &dir, &"-n", &"4"])).exits(0);
    println!("  $ asof log {:?} -n 4", show(site, dir));
    for line in log.text().lines().take(8) {
        println!("  {}", line.replace(&*site.root.to_string_lossy(), ""));
    }
}

fn show(site: &Site, path: &Path) -> String {
    path.strip_prefix(&site.root).unwrap_or(path).display().to_string()
}

fn peak_memory(agent: &Agent) -> u64 {
    asof_tests::measure::peak_memory_of(agent.pid()).unwrap_or(0)
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let value = run();
    (value, start.elapsed().as_secs_f64())
}

fn bytes(count: u64) -> String {
    asof_tests::measure::show_bytes(count as f64)
}
