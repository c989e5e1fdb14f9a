//! A directory a page at a time is the directory.

use asof_journal::Result;
use asof_journal::reader::Reader;
use asof_journal::types::{Group, Kind, NodeId, Op, Unbound};
use asof_journal::view::Page;

use crate::desk::Desk;

#[test]
fn pages_of_any_size_give_what_a_list_gives() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 100)?;
    let mut nodes = Vec::new();
    for n in 0..40 {
        let name = format!("{n:02}");
        nodes.push((name.clone(), desk.create(&name, b"1")?));
        desk.create(&format!("{name}.txt"), b"2")?;
    }
    let all = desk.commit()?;
    for (name, node) in nodes.into_iter().step_by(3) {
        let (dir, name) = (NodeId::ROOT, name.into_bytes());
        let op = Op::Unbind { dir, name, node, kind: Kind::File, why: Unbound::Deleted };
        desk.journal.head.submit(vec![Group { ops: vec![op], ..Group::default() }])?;
    }
    let less = desk.commit()?;
    drop(desk);
    let reader = Reader::open(tmp.path())?;
    for seq in [all, less] {
        let view = reader.view(seq);
        let whole = (view.list(NodeId::ROOT)?, view.list_deleted(NodeId::ROOT)?);
        assert!(whole.0.len() > 60);
        for names in [1, 2, 7, 79, 80, 81, usize::MAX] {
            let (mut entries, mut deleted, mut after, mut pages) = (Vec::new(), Vec::new(), None, 0);
            loop {
                let page: Page = view.list_page(NodeId::ROOT, after.as_deref(), names)?;
                assert!(page.entries.len() + page.deleted.len() <= names);
                entries.extend(page.entries);
                deleted.extend(page.deleted);
                after = page.until;
                pages += 1;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!((entries, deleted), whole, "pages of {names}");
            assert_eq!(pages, 80usize.div_ceil(names));
        }
    }
    Ok(())
}
