//! Tests of reading and checking a configuration.

use super::*;
use crate::testdir::TestDir;

struct Setup {
    dir: TestDir,
}

impl Setup {
    fn create() -> Setup {
        let dir = TestDir::create();
        fs::create_dir_all(dir.join("root/sub")).expect("mkdir");
        fs::create_dir(dir.join("other")).expect("mkdir");
        Setup { dir }
    }

    fn args(&self, roots: &[&str]) -> RunArgs {
        RunArgs {
            journal: Some(self.dir.join("journal")),
            roots: roots.iter().map(|root| self.dir.join(root)).collect(),
            ..RunArgs::default()
        }
    }

    fn with_file(&self, text: &str) -> RunArgs {
        fs::write(self.dir.join("config.toml"), text).expect("write");
        RunArgs { config: Some(self.dir.join("config.toml")), ..self.args(&["root"]) }
    }
}

#[test]
fn flags_alone_are_enough() {
    let setup = Setup::create();
    let loaded = load(&setup.args(&["root"])).expect("loaded");
    assert_eq!(loaded.config.roots, [setup.dir.join("root")]);
    assert_eq!(loaded.config.journal, setup.dir.join("journal"));
    assert_eq!(loaded.config.settle, Timings::default());
    assert!((1..=4).contains(&loaded.config.workers));
    assert!(loaded.warnings.is_empty() && loaded.config.exclude.is_empty());
}

#[test]
fn the_file_says_the_same_and_flags_win() {
    let setup = Setup::create();
    let base = setup.dir.path().display();
    let text = format!(
        "journal = \"{base}/elsewhere\"\nroots = [\"{base}/other\"]\nexclude = [\"{base}/root/sub\"]\n\
         log_format = \"json\"\nworkers = 3\n[settle]\nquiet_ms = 50\nstretch_max_ms = 0\n"
    );
    let args = setup.with_file(&text);
    let config = load(&args).expect("loaded").config;
    assert_eq!(config.journal, setup.dir.join("journal"));
    assert_eq!(config.roots, [setup.dir.join("root")]);
    assert_eq!(config.exclude, [setup.dir.join("root/sub")]);
    assert_eq!((config.log_format, config.workers), (LogFormat::Json, 3));
    assert_eq!((config.settle.quiet_ms, config.settle.stretch_max_ms), (50, 2000));
    let alone = RunArgs { journal: None, roots: Vec::new(), ..args };
    let loaded = load(&alone).expect("loaded");
    assert_eq!(loaded.config.journal, setup.dir.join("elsewhere"));
    assert_eq!(loaded.config.roots, [setup.dir.join("other")]);
    assert_eq!(loaded.warnings, [Warning::ExcludeOutside { path: setup.dir.join("root/sub") }]);
}

#[test]
fn unknown_keys_and_bad_values_are_named() {
    let setup = Setup::create();
    for (text, named) in [
        ("colour = 1", "colour"),
        ("[settle]\nquite_ms = 1", "quite_ms"),
        ("[settle]\nmax_delay_ms = 0", "settle.max_delay_ms"),
        ("[settle]\nentries_max = 0", "settle.entries_max"),
        ("[settle]\nchildren_max = 0", "settle.children_max"),
        ("[settle]\nstretch_max_ms = 1", "settle.stretch_max_ms"),
        ("workers = -1", "workers"),
        ("exclude = [\"relative\"]", "relative"),
    ] {
        let error = load(&setup.with_file(text)).expect_err(text);
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(error.exit_status(), 1);
    }
}

#[test]
fn a_root_has_to_be_a_directory() {
    let setup = Setup::create();
    fs::write(setup.dir.join("file"), "").expect("write");
    assert!(matches!(load(&setup.args(&["missing"])), Err(ConfigError::Root { .. })));
    assert!(matches!(load(&setup.args(&["file"])), Err(ConfigError::RootNotDirectory { .. })));
    let nothing = load(&setup.args(&[])).expect_err("no root");
    assert_eq!(nothing.exit_status(), 2);
}

#[test]
fn a_root_in_the_journal_is_refused_and_a_journal_in_a_root_left_out() {
    let setup = Setup::create();
    fs::create_dir_all(setup.dir.join("journal/segments")).expect("mkdir");
    std::os::unix::fs::symlink(setup.dir.join("journal"), setup.dir.join("link")).expect("symlink");
    for root in ["journal", "journal/segments", "link/segments"] {
        assert!(matches!(load(&setup.args(&[root])), Err(ConfigError::RootInJournal { .. })), "{root}");
    }
    let config = load(&setup.args(&["."])).expect("loaded").config;
    assert_eq!(config.exclude, [setup.dir.join("journal")]);
    // Also where it is not there yet, and is named through a symlink.
    let through = RunArgs { journal: Some(setup.dir.join("link/new/deep")), ..setup.args(&["."]) };
    let config = load(&through).expect("loaded").config;
    assert_eq!(config.exclude, [setup.dir.join("journal/new/deep")]);
}

#[test]
fn nested_and_repeated_roots_become_one() {
    let setup = Setup::create();
    let loaded = load(&setup.args(&["root/sub", "root", "other", "root"])).expect("loaded");
    assert_eq!(loaded.config.roots, [setup.dir.join("other"), setup.dir.join("root")]);
    assert_eq!(loaded.warnings.len(), 2);
    assert!(loaded.warnings[1].to_string().contains("sub"), "{:?}", loaded.warnings);
}

#[test]
fn the_command_line_is_what_it_is_said_to_be() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
    let line = ["asofd", "run", "--journal", "/j", "--root", "/a", "--root", "/b", "--log-format", "json"];
    let Command::Run(args) = Cli::try_parse_from(line).expect("parsed").command;
    assert_eq!(args.roots, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!(args.log_format, Some(LogFormat::Json));
}
