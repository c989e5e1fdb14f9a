//! What is to be forgotten, and the file that remembers it until it is.
//!
//! The file has what the journal has still; it goes with the last of it. A forgetting that ended halfway is gone on with from it: what of
//! it the segments do not tell any more, it does.

use std::collections::HashSet;
use std::io::ErrorKind;

use super::plan::Plan;
use crate::error::{Error, IoContext, Result};
use crate::format::wire::{self, Malformed, Put, Take};
use crate::storage::{Layout, Storage, write_atomically};
use crate::types::{BlockId, NodeId, Seq, is_plain_path};

const MAGIC: &[u8; 8] = b"asofFGT\n";
/// No such file is longer.
const BYTES_MAX: u64 = 1 << 30;

/// What somebody wants forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Plain absolute paths, each with everything below it.
    pub paths: Vec<Vec<u8>>,
    /// What was so from here on stays; `None`: nothing does.
    pub before: Option<Seq>,
    /// Who wants it: a user id.
    pub by: u32,
    /// Whether the note about it names the paths.
    pub record_names: bool,
}

/// What was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    pub order: Order,
    pub plan: Plan,
    /// Blocks that nothing else refers to.
    pub blocks: HashSet<BlockId>,
}

impl Pending {
    /// What was begun and has not come to its end; `None` where nothing is.
    ///
    /// # Errors
    /// `Io`; `Corrupt`.
    pub(crate) fn read(storage: &dyn Storage, layout: &Layout) -> Result<Option<Pending>> {
        let path = layout.forgetting();
        let file = match storage.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.context(&path)?,
        };
        let corrupt = |what: &str| Error::Corrupt { path: path.clone(), offset: 0, what: what.to_string() };
        let len = file.len().context(&path)?;
        if len > BYTES_MAX {
            return Err(corrupt("much longer than such a file can be"));
        }
        let mut bytes = vec![0; len as usize];
        let read = file.read_at(&mut bytes, 0).context(&path)?;
        bytes.truncate(read);
        let found =
            bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_at_checked(rest.len().checked_sub(4)?));
        let Some((body, _)) = found.filter(|(body, check)| crc32c::crc32c(body).to_le_bytes() == *check)
        else {
            return Err(corrupt("not what was written there"));
        };
        wire::whole(body, take_pending).map(Some).map_err(|error| corrupt(error.0))
    }

    /// Makes it survive a crash.
    ///
    /// # Errors
    /// `Io`, `Full`.
    pub(crate) fn write(&self, storage: &dyn Storage, layout: &Layout) -> Result<()> {
        let path = layout.forgetting();
        let mut body = Vec::new();
        put_pending(&mut body, self);
        let check = crc32c::crc32c(&body).to_le_bytes();
        let bytes = [MAGIC.as_slice(), &body, &check].concat();
        write_atomically(storage, &path, &bytes).context(&path)
    }

    /// It has come to its end.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn remove(storage: &dyn Storage, layout: &Layout) -> Result<()> {
        let path = layout.forgetting();
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".new");
        for path in [std::path::PathBuf::from(unfinished), path] {
            match storage.remove(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context(&path),
                _ => {}
            }
        }
        storage.sync_dir(layout.dir()).context(layout.dir())
    }
}

fn put_pending(out: &mut Vec<u8>, pending: &Pending) {
    let Pending { order, plan, blocks } = pending;
    put_paths(out, &order.paths);
    out.put_uint(order.before.unwrap_or_default().0);
    out.put_uint(u64::from(order.by));
    out.put_u8(u8::from(order.record_names));
    put_paths(out, &plan.paths);
    out.put_uint(plan.limit.0);
    out.put_uint(plan.bindings.len() as u64);
    for (dir, name, seq) in &plan.bindings {
        out.put_uint(dir.0);
        out.put_bytes(name);
        out.put_uint(seq.0);
    }
    for versions in [&plan.versions, &plan.markers] {
        out.put_uint(versions.len() as u64);
        for (node, seq) in versions {
            out.put_uint(node.0);
            out.put_uint(seq.0);
        }
    }
    out.put_uint(plan.nodes.len() as u64);
    for node in &plan.nodes {
        out.put_uint(node.0);
    }
    out.put_uint(blocks.len() as u64);
    for block in blocks {
        out.put_raw(&block.0);
    }
}

fn put_paths(out: &mut Vec<u8>, paths: &[Vec<u8>]) {
    out.put_uint(paths.len() as u64);
    for path in paths {
        out.put_bytes(path);
    }
}

fn take_paths(take: &mut Take<'_>) -> wire::Result<Vec<Vec<u8>>> {
    let count = take.count(1)?;
    let paths: Vec<Vec<u8>> = (0..count).map(|_| Ok(take.bytes()?.to_vec())).collect::<wire::Result<_>>()?;
    match paths.iter().all(|path| is_plain_path(path)) {
        true => Ok(paths),
        false => Err(Malformed("not a plain absolute path")),
    }
}

fn take_pending(take: &mut Take<'_>) -> wire::Result<Pending> {
    let order = Order {
        paths: take_paths(take)?,
        before: Some(Seq(take.uint()?)).filter(|before| *before != Seq::ZERO),
        by: take.uint32()?,
        record_names: take.u8()? != 0,
    };
    let mut plan = Plan { paths: take_paths(take)?, limit: Seq(take.uint()?), ..Plan::default() };
    for _ in 0..take.count(3)? {
        plan.bindings.insert((NodeId(take.uint()?), take.bytes()?.to_vec(), Seq(take.uint()?)));
    }
    for versions in [&mut plan.versions, &mut plan.markers] {
        for _ in 0..take.count(2)? {
            versions.insert((NodeId(take.uint()?), Seq(take.uint()?)));
        }
    }
    for _ in 0..take.count(1)? {
        plan.nodes.insert(NodeId(take.uint()?));
    }
    let mut blocks = HashSet::new();
    for _ in 0..take.count(16)? {
        blocks.insert(BlockId(take.array()?));
    }
    Ok(Pending { order, plan, blocks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OsStorage;

    #[test]
    fn what_was_begun_is_remembered_until_it_is_removed() -> Result<()> {
        let dir = tempfile::tempdir().context("tmp")?;
        let layout = Layout::new(dir.path());
        assert_eq!(Pending::read(&OsStorage, &layout)?, None);
        let paths = vec![b"/home/\xff/key".to_vec()];
        let pending = Pending {
            order: Order { paths: paths.clone(), before: Some(Seq(7)), by: 1000, record_names: true },
            plan: Plan {
                paths,
                limit: Seq(7),
                bindings: HashSet::from([(NodeId(1), b"key".to_vec(), Seq(2))]),
                versions: HashSet::from([(NodeId(3), Seq(2)), (NodeId(3), Seq(4))]),
                markers: HashSet::from([(NodeId(3), Seq(2))]),
                nodes: HashSet::from([NodeId(3)]),
                ..Plan::default()
            },
            blocks: HashSet::from([BlockId([9; 16])]),
        };
        pending.write(&OsStorage, &layout)?;
        assert_eq!(Pending::read(&OsStorage, &layout)?.as_ref(), Some(&pending));
        let path = layout.forgetting();
        let bytes = std::fs::read(&path).context(&path)?;
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).context(&path)?;
            assert!(Pending::read(&OsStorage, &layout).is_err(), "byte {at}");
        }
        Pending::remove(&OsStorage, &layout)?;
        Pending::remove(&OsStorage, &layout)?;
        assert_eq!(Pending::read(&OsStorage, &layout)?, None);
        Ok(())
    }
}
