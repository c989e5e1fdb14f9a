//! Patches between trees in memory.

use asof_journal::types::Content;

use super::*;
use crate::source::memory::Memory;

fn stanzas(before: &Memory, after: &Memory, path: &str) -> Vec<String> {
    let patch = Patch::new(before, after, path.as_bytes()).unwrap();
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    patch
        .stanzas(path.as_bytes())
        .unwrap()
        .into_iter()
        .map(|(path, stanza)| match stanza {
            Stanza::Text(text) => show(&text),
            Stanza::Remark(why) => format!("# {} {why}", show(&path)),
        })
        .collect()
}

fn tree() -> Memory {
    let mut tree = Memory::new();
    tree.file("/r/a", b"one\n");
    tree.file("/r/d/x", b"three\n");
    tree.file("/r/d/e/y", b"four\n");
    tree
}

#[test]
fn what_comes_goes_and_changes_has_the_form_of_git() {
    let (before, mut after) = (tree(), tree());
    after.write("/r/a", b"two\n");
    after.edit("/r/a", |version| version.meta.mode = 0o755);
    after.file("/r/empty", b"");
    after.file("/r/with blank", b"x");
    after.symlink("/r/link", b"a");
    after.remove("/r/d/x");
    assert_eq!(
        stanzas(&before, &after, "/r"),
        [
            "diff --git a/a b/a\nold mode 100644\nnew mode 100755\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+two\n",
            "diff --git a/d/x b/d/x\ndeleted file mode 100644\n--- a/d/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-three\n",
            "diff --git a/empty b/empty\nnew file mode 100644\n",
            "diff --git a/link b/link\nnew file mode 120000\n--- /dev/null\n+++ b/link\n@@ -0,0 +1 @@\n+a\n\
             \\ No newline at end of file\n",
            "diff --git \"a/with blank\" \"b/with blank\"\nnew file mode 100644\n--- /dev/null\n+++ b/with blank\t\n\
             @@ -0,0 +1 @@\n+x\n\\ No newline at end of file\n",
        ]
    );
}

#[test]
fn a_directory_that_was_renamed_is_renames_of_its_files() {
    let (before, mut after) = (tree(), tree());
    after.rename("/r/d", "/r/moved");
    after.write("/r/moved/e/y", b"four\nfive\n");
    assert_eq!(
        stanzas(&before, &after, "/r"),
        [
            "diff --git a/d/e/y b/moved/e/y\nrename from d/e/y\nrename to moved/e/y\n--- a/d/e/y\n+++ b/moved/e/y\n\
             @@ -1 +1,2 @@\n four\n+five\n",
            "diff --git a/d/x b/moved/x\nsimilarity index 100%\nrename from d/x\nrename to moved/x\n",
        ]
    );
}

#[test]
fn a_name_that_was_taken_over_is_a_change_and_no_rename() {
    let (before, mut after) = (tree(), tree());
    after.remove("/r/a");
    after.rename("/r/d/x", "/r/a");
    assert_eq!(
        stanzas(&before, &after, "/r"),
        [
            "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+three\n",
            "diff --git a/d/x b/d/x\ndeleted file mode 100644\n--- a/d/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-three\n",
        ]
    );
}

#[test]
fn another_kind_is_one_that_goes_and_one_that_comes() {
    let (before, mut after) = (tree(), tree());
    after.remove("/r/a");
    after.symlink("/r/a", b"d/x");
    let all = stanzas(&before, &after, "/r/a");
    assert_eq!(all.len(), 1);
    assert!(all[0].starts_with("diff --git a/a b/a\ndeleted file mode 100644\n"), "{}", all[0]);
    assert!(all[0].contains("\ndiff --git a/a b/a\nnew file mode 120000\n"), "{}", all[0]);
}

#[test]
fn what_no_patch_can_say_is_a_remark() {
    let (before, mut after) = (tree(), tree());
    after.file("/r/binary", b"a\0b");
    after.write("/r/a", b"\0");
    after.file("/r/unread", b"x");
    after.edit("/r/unread", |version| version.content = Content::Unread(13));
    after.rename("/r/d/x", "/r/renamed");
    after.write("/r/renamed", b"\0\0");
    after.edit("/r/d/e/y", |version| version.meta.mode = 0o600);
    assert_eq!(
        stanzas(&before, &after, "/r"),
        [
            "# /r/a binary: 4 and 1 bytes",
            "# /r/binary binary: 0 and 3 bytes",
            "diff --git a/d/x b/d/x\ndeleted file mode 100644\n--- a/d/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-three\n",
            "# /r/renamed binary: 6 and 2 bytes",
            "# /r/unread its content was not captured",
        ]
    );
}

#[test]
fn a_patch_of_one_file_is_applied_where_it_lies() {
    let (before, mut after) = (tree(), tree());
    after.write("/r/d/x", b"3\n");
    let patch = Patch::new(&before, &after, b"/r/d/x").unwrap();
    assert_eq!(patch.base(), b"/r/d");
    assert_eq!(
        stanzas(&before, &after, "/r/d/x"),
        ["diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-three\n+3\n"]
    );
    assert_eq!(Patch::new(&before, &after, b"/").unwrap().base(), b"/");
}
