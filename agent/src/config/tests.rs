//! Tests of reading and checking a configuration.

use std::fs;

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
        // An empty file of its own, so that none of this machine's is read.
        fs::write(self.dir.join("none.toml"), "").expect("write");
        RunArgs {
            journal: Some(self.dir.join("journal")),
            roots: roots.iter().map(|root| self.dir.join(root)).collect(),
            config: Some(self.dir.join("none.toml")),
            ..RunArgs::default()
        }
    }

    fn load(&self, text: &str) -> Result<Loaded, ConfigError> {
        load(&RunArgs { roots: Vec::new(), ..self.with_file(text) })
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
    assert!(loaded.warnings.is_empty() && loaded.config.policy.excludes.is_empty());
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
    let Loaded { config, rules, .. } = load(&args).expect("loaded");
    assert_eq!(config.journal, setup.dir.join("journal"));
    assert_eq!(config.roots, [setup.dir.join("root")]);
    assert!(
        rules.leaves_out(&bytes(&setup, "root/sub/x"), None)
            && !rules.leaves_out(&bytes(&setup, "root/x"), None)
    );
    assert_eq!((config.log_format, config.workers), (LogFormat::Json, 3));
    assert_eq!((config.settle.quiet_ms, config.settle.stretch_max_ms), (50, 2000));
    let alone = RunArgs { journal: None, roots: Vec::new(), ..args };
    let loaded = load(&alone).expect("loaded");
    assert_eq!(loaded.config.journal, setup.dir.join("elsewhere"));
    assert_eq!(loaded.config.roots, [setup.dir.join("other")]);
    let pattern = format!("{base}/root/sub");
    assert_eq!(loaded.warnings, [Warning::ExcludeOutside { pattern }]);
}

fn bytes(setup: &Setup, path: &str) -> Vec<u8> {
    setup.dir.join(path).as_os_str().as_bytes().to_vec()
}

#[test]
fn every_key_is_read_and_what_is_shown_is_a_configuration_that_says_the_same() {
    let setup = Setup::create();
    let base = setup.dir.path().display();
    let text = format!(
        "journal = '{base}/j'\nroots = ['{base}/other']\nexclude = ['*.o', '!keep.o']\none_file_system = false\n\
         cachedir_tag = true\nfile_bytes_max = '2 GiB'\nlog_format = 'json'\nworkers = 2\nreconcile_every = '10m'\n\
         poll_every = 0\n[settle]\nclosed_ms = 1\nquiet_ms = 2\nmax_delay_ms = 300\nstretch_max_ms = 400\n\
         children_max = 5\nentries_max = 6000\n[[root]]\npath = '{base}/root'\nexclude = ['target/']\n\
         one_file_system = true\ncachedir_tag = false\n"
    );
    let args = RunArgs { journal: None, roots: Vec::new(), ..setup.with_file(&text) };
    let loaded = load(&args).expect("loaded");
    let config = &loaded.config;
    assert_eq!(config.policy.excludes, ["*.o", "!keep.o"]);
    let [other, root] = config.policy.roots.as_slice() else { panic!("{:?}", config.policy) };
    assert_eq!((other.one_file_system, other.cachedir_tag, other.excludes.len()), (false, true, 0));
    assert_eq!(
        (root.one_file_system, root.cachedir_tag, &root.excludes[..]),
        (true, false, &["target/".into()][..])
    );
    assert_eq!(config.file_bytes_max, Some(2 << 30));
    assert_eq!((config.reconcile_every, config.poll_every), (Some(Duration::from_secs(600)), None));
    let shown = show(&loaded);
    assert!(shown.contains("\nreconcile_every = \"600s\"\n") && shown.contains("config.toml"), "{shown}");
    let again = load(&RunArgs { journal: None, roots: Vec::new(), ..setup.with_file(&shown) }).expect(&shown);
    assert_eq!(again.config, loaded.config, "{shown}");
    // A flag names the roots; one that has a table keeps its rules.
    let flagged = load(&setup.with_file(&text)).expect("loaded");
    assert_eq!(flagged.config.policy.roots.first(), Some(root));
}

#[test]
fn unknown_keys_and_bad_values_are_named_with_their_line() {
    let setup = Setup::create();
    for (text, named) in [
        ("colour = 1", ":1: unknown key colour; there are"),
        ("workers = 1\nexcludes = []", ":2: unknown key excludes; did you mean exclude?"),
        ("\n[settle]\nquite_ms = 1", ":3: unknown key settle.quite_ms; did you mean settle.quiet_ms?"),
        ("[[root]]\npath = '/'\nexlcude = []", ":3: unknown key root.exlcude; did you mean root.exclude?"),
        ("[sttle]", ":1: unknown key sttle; did you mean settle?"),
        ("[settle]\nmax_delay_ms = 0", ":2: settle.max_delay_ms is 0, but has to be at least 100"),
        ("[settle]\nentries_max = 0", "settle.entries_max"),
        ("[settle]\nchildren_max = 0", "settle.children_max"),
        ("[settle]\nstretch_max_ms = 1", "settle.stretch_max_ms is 1, but has to be at least 2000"),
        ("workers = -1", ":1: workers has to be a whole number, 0 or more, and is the integer -1"),
        ("exclude = 'x'", ":1: exclude has to be a list, and is the string 'x'"),
        ("exclude = [\n'x',\n7]", ":3: exclude has to be a text: a pattern, and is the integer 7"),
        ("settle = 3", "settle has to be a table: [settle]"),
        ("root = 3", "root has to be a list of tables: [[root]]"),
        ("[root]\npath = '/'", "root has to be a list of tables: [[root]]"),
        ("root = [1]", "root has to be a table"),
        ("[[root]]\nexclude = []", ":1: root.path is missing"),
        ("[[root]]\npath = 3", "root.path has to be a text"),
        ("roots = ['relative']", ":1: roots: relative is not an absolute path"),
        ("journal = true", "journal has to be a text: an absolute path, and is the boolean true"),
        ("one_file_system = 'no'", "one_file_system has to be true or false"),
        ("log_format = 'xml'", "log_format has to be \"text\" or \"json\", and is the string 'xml'"),
        ("file_bytes_max = '1 furlong'", "file_bytes_max has to be a number of bytes"),
        ("reconcile_every = '1 fortnight'", "reconcile_every has to be a number of seconds"),
        ("scrub_per_day = '3'", "scrub_per_day has to be a number of percent"),
        ("poll_every = '5ms'", ":1: poll_every has to be at least 1 s, or 0 for never"),
        ("exclude = ['ok',\n'a[']", ":2: exclude: pattern \"a[\": unclosed character class"),
        ("exclude = ['']", ":1: exclude: pattern \"\": names nothing"),
        ("exclude = ['# no']", "exclude: pattern \"# no\": a comment means nothing here"),
        ("exclude = ['x',\n'*']", ":2: exclude: pattern \"*\": leaves out everything below root"),
        ("journal = ", "expected"),
        ("a = 1\na = 2", ":2: duplicate key"),
    ] {
        let error = load(&setup.with_file(text)).expect_err(text);
        assert!(error.to_string().contains(named), "{text:?} gives: {error}");
        assert!(error.to_string().contains("config.toml"), "{error}");
        assert_eq!(error.exit_status(), 1);
    }
}

#[test]
fn patterns_of_a_root_are_its_own_and_are_named_as_such() {
    let setup = Setup::create();
    let base = setup.dir.path().display();
    let two = |one: &str, other: &str| {
        setup.load(&format!(
            "[[root]]\npath = '{base}/root'\nexclude = {one}\n[[root]]\npath = '{base}/other'\nexclude = {other}\n"
        ))
    };
    let rules = two("['*.o']", "['*.k', '!x.k']").expect("loaded").rules;
    assert!(
        rules.leaves_out(&bytes(&setup, "root/x.o"), None)
            && !rules.leaves_out(&bytes(&setup, "other/x.o"), None)
    );
    assert!(
        rules.leaves_out(&bytes(&setup, "other/y.k"), None)
            && !rules.leaves_out(&bytes(&setup, "other/x.k"), None)
    );
    let error = two("[]", "['a', '/**']").expect_err("everything").to_string();
    assert!(error.contains(":6: root.exclude: pattern \"/**\": leaves out everything below root"), "{error}");
    // A negation behind it says that it is meant.
    two("['*', '!*.rs']", "[]").expect("loaded");
    let twice = setup.load(&format!("[[root]]\npath = '{base}/root'\n[[root]]\npath = '{base}/./root'\n"));
    assert!(matches!(twice, Err(ConfigError::RootTwice { .. })), "{twice:?}");
}

#[test]
fn a_symlink_is_followed_once_and_said_and_one_to_nowhere_is_refused() {
    let setup = Setup::create();
    std::os::unix::fs::symlink(setup.dir.join("root"), setup.dir.join("link")).expect("symlink");
    std::os::unix::fs::symlink(setup.dir.join("gone"), setup.dir.join("dangling")).expect("symlink");
    let loaded = load(&setup.args(&["link"])).expect("loaded");
    assert_eq!(loaded.config.roots, [setup.dir.join("root")]);
    assert!(loaded.warnings.is_empty() && loaded.notes[0].contains("symlink"), "{:?}", loaded.notes);
    for roots in [&["dangling"][..], &["root", "dangling"]] {
        let error = load(&setup.args(roots)).expect_err("dangling");
        assert!(matches!(error, ConfigError::RootDangling { .. }), "{error}");
        assert!(error.to_string().contains("gone"), "{error}");
    }
    // What is excluded by the path that a root was named by is excluded.
    let base = setup.dir.path().display();
    let text = format!("roots = ['{base}/link']\nexclude = ['{base}/link/sub/']\n");
    assert_eq!(setup.load(&text).expect("loaded").config.policy.excludes, [format!("{base}/root/sub/")]);
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
    let journal = |setup: &Setup, path| LeftOut { path: bytes(setup, path), what: Place::Journal };
    let config = load(&setup.args(&["."])).expect("loaded").config;
    assert_eq!(config.policy.left_out, [journal(&setup, "journal")]);
    // Also where it is not there yet, and is named through a symlink.
    let through = RunArgs { journal: Some(setup.dir.join("link/new/deep")), ..setup.args(&["."]) };
    let config = load(&through).expect("loaded").config;
    assert_eq!(config.policy.left_out, [journal(&setup, "journal/new/deep")]);
}

#[test]
fn nested_and_repeated_roots_become_one() {
    let setup = Setup::create();
    let loaded = load(&setup.args(&["root/sub", "root", "other", "root"])).expect("loaded");
    assert_eq!(loaded.config.roots, [setup.dir.join("other"), setup.dir.join("root")]);
    assert_eq!(loaded.warnings.len(), 2);
    assert!(loaded.warnings[1].to_string().contains("sub"), "{:?}", loaded.warnings);
    assert_eq!(loaded.config.policy.roots.len(), 3, "with rules of its own below the inner one");
}

#[test]
fn the_command_line_is_what_it_is_said_to_be() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
    let line = ["asofd", "run", "--journal", "/j", "--root", "/a", "--root", "/b", "--log-format", "json"];
    let Command::Run(args) = Cli::try_parse_from(line).expect("parsed").command else { panic!("run") };
    assert_eq!(args.roots, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!(args.log_format, Some(LogFormat::Json));
}

#[test]
fn the_event_source_can_be_chosen() {
    let setup = Setup::create();
    let backend = |text: &str| load(&setup.with_file(text)).map(|loaded| loaded.config.backend);
    assert_eq!(backend("").expect("loaded"), Backend::Auto);
    assert_eq!(backend("backend = \"notify\"").expect("loaded"), Backend::Notify);
    assert_eq!(backend("backend = \"inotify\"").expect("loaded"), Backend::Inotify);
    let error = backend("backend = \"fanotify\"").expect_err("unknown").to_string();
    assert!(error.contains("backend") && error.contains("inotify"), "{error}");
}

#[test]
fn retention_is_read_and_shown_as_it_is_in_force() {
    let setup = Setup::create();
    let base = setup.dir.path().display();
    let text = format!(
        "[retention]\nkeep = [\"all for 1 day\", \"1 hour for 30 days\", \"1 week\"]\nimmutable = \"36 hours\"\n\
         budget_per_day = \"2 GiB\"\n[[retention.rule]]\npatterns = [\"*.iso\"]\nkeep = [\"1 day\"]\n\
         [[root]]\npath = \"{base}/root\"\nkeep = [\"all\"]\n[[root]]\npath = \"{base}/other\"\n"
    );
    let loaded = setup.load(&text).expect("loaded");
    let shown = show(&loaded);
    for line in [
        "[retention]\nkeep = [\n    \"all for 1 day\",\n    \"1 hour for 30 days\",\n    \"1 week\",\n]\n",
        "immutable = \"36 hours\"\nbudget_per_day = 2147483648\n",
        "[[retention.rule]]\npatterns = [\n    \"*.iso\",\n]\nkeep = [\n    \"1 day\",\n]\n",
        "cachedir_tag = false\nkeep = [\n    \"all\",\n]\n",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    // What is shown means the same.
    let again = setup.load(&shown).expect("loaded again");
    assert_eq!(again.config.retention, loaded.config.retention);
    assert_eq!(show(&again), shown);
    // Roots are known by where they are.
    std::os::unix::fs::symlink(setup.dir.join("root"), setup.dir.join("link")).expect("a link");
    let text = format!("[[root]]\npath = \"{base}/link\"\nkeep = [\"1 day\"]\n");
    let loaded = setup.load(&text).expect("loaded");
    let root = setup.dir.join("root").as_os_str().as_bytes().to_vec();
    assert_eq!(loaded.config.retention.roots.first().map(|(path, _)| path), Some(&root));
}

#[test]
fn retention_that_makes_no_sense_is_refused_with_its_line() {
    let setup = Setup::create();
    let root = format!("roots = [\"{}/root\"]\n", setup.dir.path().display());
    for (text, part) in [
        ("[retention]\nkeeep = []\n", ":3: unknown key retention.keeep; did you mean retention.keep?"),
        ("[[retention.rule]]\npattern = []\n", ":3: unknown key retention.rule.pattern; did you mean"),
        ("[retention]\nkeep = []\n", ":3: retention.keep: there is no step, so that nothing would be kept"),
        (
            "[retention]\nkeep = [\"1 day for 9 days\", \"1 hour\"]\n",
            ":3: retention.keep: step 2, \"1 hour\": its interval",
        ),
        ("[retention]\nkeep = [\"1 hour for 2 days\", \"90 minutes\"]\n", "write \"2 hours\""),
        ("retention = 3\n", ":2: retention has to be a table: [retention]"),
    ] {
        let error = setup.load(&format!("{root}{text}")).expect_err("refused").to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}
