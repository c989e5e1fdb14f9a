//! What the kernel refuses, in a namespace of its own: too few watches, directories that may not be read, other mounts.

use super::*;

/// Runs one of these tests again in a namespace of its own; says whether it could.
fn again_in_namespace(test: &str, unshare: &[&str], first: &str) -> bool {
    if std::env::var_os("ASOF_TEST_IN_NAMESPACE").is_some() {
        return false;
    }
    let script = format!("{first} && exec \"$0\" --exact --nocapture watch::inotify::tests::limits::{test}");
    let output = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", &script])
        .arg(std::env::current_exe().expect("this program"))
        .env("ASOF_TEST_IN_NAMESPACE", "1")
        .output()
        .expect("unshare");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare:") {
        println!("skipped: namespaces are not to be had here: {said}");
        return true;
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

#[test]
fn at_the_limit_of_watches_every_directory_that_is_not_seen_is_told() {
    let few = "echo 20 > /proc/sys/user/max_inotify_watches";
    if again_in_namespace(
        "at_the_limit_of_watches_every_directory_that_is_not_seen_is_told",
        &["--user", "--map-root-user"],
        few,
    ) {
        return;
    }
    let mut site = Site::new();
    for number in 0..30 {
        fs::create_dir_all(site.root().join(format!("d{number}/inner"))).expect("mkdir");
    }
    let reached = site.source.watch(&site.root()).expect_err("over the limit");
    assert!(matches!(reached, WatchError::LimitReached { .. }), "{reached}");
    let watched: BTreeSet<PathBuf> = site
        .source
        .tree
        .subtree(1)
        .into_iter()
        .map(|wd| PathBuf::from(std::ffi::OsString::from_vec(site.source.tree.path(wd).expect("a path"))))
        .collect();
    assert_eq!(watched.len(), 20);
    let mut unseen = BTreeSet::new();
    for hint in site.take() {
        assert!(matches!(hint.what, What::SourceError { limit: true, .. }), "{hint:?}");
        unseen.insert(PathBuf::from(std::ffi::OsString::from_vec(hint.path)));
    }
    for number in 0..30 {
        for path in [site.root().join(format!("d{number}")), site.root().join(format!("d{number}/inner"))] {
            let told = unseen.contains(&path) || unseen.contains(path.parent().expect("a parent"));
            assert!(watched.contains(&path) != told, "{}: either watched or told", path.display());
        }
    }
    // Later too, and what is tried again when there is room is watched.
    fs::create_dir(site.root().join("late")).expect("mkdir");
    site.settle();
    let hints = site.take();
    let late = site.root().join("late");
    let about = |hint: &&Hint| hint.path == late.as_os_str().as_bytes();
    assert!(
        hints.iter().filter(about).any(|hint| matches!(hint.what, What::SourceError { limit: true, .. }))
    );
    assert!(hints.iter().filter(about).any(|hint| hint.what == What::Appeared { dir: true }), "{hints:?}");
    let full = site.source.watch(&late).expect_err("still full");
    assert!(matches!(full, WatchError::LimitReached { .. }), "{full}");
    let removed = watched.iter().filter(|path| path.ends_with("inner")).take(2);
    for path in removed {
        fs::remove_dir(path).expect("rmdir");
    }
    site.settle();
    site.source.watch(&late).expect("there is room");
    site.take();
    fs::write(late.join("f"), "x").expect("write");
    site.settle();
    assert!(site.take().iter().any(|hint| hint.what == What::Closed));
}

#[test]
fn a_directory_that_may_not_be_read_is_told_and_the_others_are_watched() {
    if again_in_namespace(
        "a_directory_that_may_not_be_read_is_told_and_the_others_are_watched",
        &["--user"],
        "true",
    ) {
        return;
    }
    let mut site = Site::new();
    for name in ["closed/inner", "open/inner"] {
        fs::create_dir_all(site.root().join(name)).expect("mkdir");
    }
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(site.root().join("closed"), mode(0)).expect("chmod");
    site.source.watch(&site.root()).expect("watched");
    assert_eq!(site.source.tree.len(), 3);
    let [hint] = &site.take()[..] else { panic!("one hint") };
    assert_eq!(hint.path, site.root().join("closed").into_os_string().into_vec());
    assert!(matches!(hint.what, What::SourceError { limit: false, .. }), "{hint:?}");
    fs::set_permissions(site.root().join("closed"), mode(0o700)).expect("chmod");
    site.source.watch(&site.root().join("closed")).expect("watched");
    site.settle();
    site.check("opened");
}

#[test]
fn other_mounts_are_not_entered_and_unmounting_is_told() {
    if again_in_namespace(
        "other_mounts_are_not_entered_and_unmounting_is_told",
        &["--user", "--map-root-user", "--mount"],
        "true",
    ) {
        return;
    }
    let mut site = Site::new();
    let run = |program: &str, arguments: &[&str], path: &Path| {
        assert!(Command::new(program).args(arguments).arg(path).status().expect(program).success());
    };
    fs::create_dir(site.root().join("mnt")).expect("mkdir");
    fs::create_dir(site.root().join("d")).expect("mkdir");
    run("mount", &["-t", "tmpfs", "none"], &site.root().join("mnt"));
    fs::create_dir(site.root().join("mnt/inner")).expect("mkdir");
    site.source.watch(&site.root()).expect("watched");
    assert_eq!((site.source.tree.len(), site.kernel_watches()), (2, 2));
    assert_eq!(site.take(), []);
    let mnt = site.root().join("mnt");
    // A root of its own within the root.
    site.source.watch(&mnt).expect("watched");
    assert_eq!(site.source.tree.len(), 4);
    fs::create_dir(mnt.join("later")).expect("mkdir");
    site.settle();
    let later =
        Hint { path: mnt.join("later").into_os_string().into_vec(), what: What::Appeared { dir: true } };
    assert_eq!(site.take(), [later]);
    site.source.watch(&site.root()).expect("again");
    site.source.unwatch(&mnt).expect("unwatched");
    assert_eq!(site.source.tree.len(), 2);
    // Where the rules let other filesystems in, they are part of the root.
    let path = site.root().into_os_string().into_vec();
    let rules = |one_file_system| {
        let root = RootPolicy { path: path.clone(), one_file_system, ..RootPolicy::default() };
        Rules::of(Policy { roots: vec![root], ..Policy::default() }, None).expect("rules")
    };
    site.source.options.rules.replace(rules(false));
    site.source.apply_rules().expect("alive");
    assert_eq!(site.source.tree.len(), 5, "root, d, mnt and what is in it");
    assert_eq!(site.take().len(), 3, "each is told");
    // The same directories once more, under another name: seen under the first one only.
    fs::create_dir(site.root().join("alias")).expect("mkdir");
    run("mount", &["--bind", mnt.to_str().expect("text")], &site.root().join("alias"));
    site.settle();
    site.take();
    let refused = site.source.watch(&site.root().join("alias")).expect_err("the other one has its watch");
    assert!(refused.to_string().contains("root/mnt, which is watched"), "{refused}");
    site.source.watch(&site.root()).expect("the others are");
    let hints = site.take();
    assert!(
        hints.iter().any(|hint| matches!(hint.what, What::SourceError { limit: false, .. })),
        "{hints:?}"
    );
    assert_eq!(site.source.tree.len(), 5);
    run("umount", &[], &site.root().join("alias"));
    site.source.options.rules.replace(rules(true));
    site.source.apply_rules().expect("alive");
    site.settle();
    assert_eq!(site.source.tree.len(), 3, "root, d, alias");
    // A mount as a root, which goes away.
    let mut other = Site::new();
    other.source.watch(&mnt).expect("watched");
    assert_eq!(other.source.tree.len(), 3);
    run("umount", &[], &mnt);
    other.settle();
    let unmounted = Hint { path: mnt.into_os_string().into_vec(), what: What::Unmounted };
    assert_eq!(other.take(), [unmounted]);
    assert_eq!((other.source.tree.len(), other.kernel_watches()), (0, 0));
    assert!(other.source.tops.is_empty());
}
