//! Style as an ordinary test: what a reader relies on in every source file.

use std::fs;
use std::path::{Path, PathBuf};

use asof_tests::must::Must;

/// Lines of a file before its tests; above it there is a second noun in it.
const LINES_MAX: usize = 600;

/// Crates whose code meets bytes from disk, kernel and users.
const PRODUCT: [&str; 3] = ["journal", "agent", "restore-cli"];

struct Source {
    path: PathBuf,
    name: String,
    lines: Vec<String>,
    /// Lines before the file's own tests; none in a file that is all tests.
    code: usize,
    product: bool,
}

fn sources() -> Vec<Source> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().must("the workspace");
    let mut queue: Vec<PathBuf> = PRODUCT.iter().chain(&["tests"]).map(|name| workspace.join(name)).collect();
    let mut sources = Vec::new();
    let mut all_tests = Vec::new();
    while let Some(path) = queue.pop() {
        if path.is_dir() {
            queue.extend(fs::read_dir(&path).must(path.display()).flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(workspace).must("a path in the workspace");
            let text = fs::read_to_string(&path).must(path.display());
            let lines: Vec<String> = text.lines().map(Into::into).collect();
            let mut code = lines.len();
            for (number, module) in test_modules(&lines) {
                match module.strip_suffix(';') {
                    Some(name) => all_tests.push(module_file(&path, name)),
                    None => code = code.min(number),
                }
            }
            let in_src = relative.components().nth(1).is_some_and(|part| part.as_os_str() == "src");
            let product = in_src && PRODUCT.iter().any(|name| relative.starts_with(name));
            let name = relative.display().to_string();
            sources.push(Source { path, name, lines, code, product });
        }
    }
    for source in &mut sources {
        let stem = source.path.with_extension("");
        if all_tests.iter().any(|tests| stem == *tests || source.path.starts_with(tests)) {
            source.code = 0;
        }
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(sources.len() > 10, "the workspace is found");
    sources
}

/// Modules for tests only: where their attribute stands, and their name with what follows it (`;` or ` {`).
fn test_modules(lines: &[String]) -> Vec<(usize, String)> {
    let mut modules = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if line.trim() == "#[cfg(test)]" {
            let item =
                lines[number + 1..].iter().map(|line| line.trim()).find(|line| !line.starts_with("#["));
            if let Some((_, module)) = item.and_then(|item| item.split_once("mod ")) {
                modules.push((number, module.to_string()));
            }
        }
    }
    modules
}

/// Where the module `name` of a file lies, without `.rs`.
fn module_file(of: &Path, name: &str) -> PathBuf {
    let owns_its_directory =
        ["lib", "main", "mod"].iter().any(|stem| of.file_stem().is_some_and(|found| found == *stem));
    if owns_its_directory { of.with_file_name(name) } else { of.with_extension("").join(name) }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_small() {
    let mut problems = Vec::new();
    for source in sources() {
        let header = source.lines.first().is_some_and(|line| line.starts_with("//! ") && line.len() > 20);
        if !header {
            problems.push(format!("{}: begins without a //! header that says what it owns", source.name));
        }
        if source.code > LINES_MAX {
            problems.push(format!(
                "{}: {} lines before its tests, {LINES_MAX} at most",
                source.name, source.code
            ));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn nothing_is_unfinished_asleep_or_cut_short() {
    // Written apart, so that this file passes its own test.
    let everywhere =
        [["todo", "!("], ["unimplemented", "!("], ["#[ig", "nore"], ["thread", "::sleep"], ["dbg", "!("]];
    let in_product = [[".unw", "rap()"], [".exp", "ect("]];
    let mut problems = Vec::new();
    for source in sources() {
        for (number, line) in source.lines.iter().enumerate() {
            let text = line.trim_start();
            if text.starts_with("//") {
                continue;
            }
            let mut words: Vec<String> = everywhere.iter().map(|parts| parts.concat()).collect();
            if source.product && number < source.code {
                words.extend(in_product.iter().map(|parts| parts.concat()));
            }
            for word in words.iter().filter(|word| text.contains(word.as_str())) {
                problems.push(format!("{}:{}: {word}", source.name, number + 1));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
