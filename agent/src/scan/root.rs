//! Roots: opened, identified, bound below the placeholders that lead to them.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use asof_journal::types::{Kind, NodeId, Op};

use super::{Result, ScanError, Scanner};
use crate::fs::RootHandle;
use crate::pool::Ticket;

/// A root as the worker knows it.
pub(crate) struct Root {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// Open at it.
    pub handle: RootHandle,
    /// Its node.
    pub node: NodeId,
    /// Its mount: what is on another one is not protected.
    pub mnt_id: u64,
    /// Its device: what is on another one is another filesystem, or a subvolume.
    pub dev: u64,
}

impl Scanner {
    /// Opens a root, and binds it and the placeholders above it where they are not bound yet.
    pub(crate) fn open_root(&self, path: &[u8], ticket: &Arc<Ticket>) -> Result<Root> {
        let at = |source| ScanError::Io { path: path.to_vec(), source };
        let handle =
            self.fs().open_root(std::path::Path::new(std::ffi::OsStr::from_bytes(path))).map_err(at)?;
        let dir = self.fs().open_dir(&handle, b"").map_err(at)?;
        let stat = self.fs().stat_dir(&dir).map_err(at)?;
        let identity = self.fs().identity_dir(&dir, &stat).map_err(at)?;
        let mut above = NodeId::ROOT;
        let names: Vec<&[u8]> = path.split(|&b| b == b'/').filter(|name| !name.is_empty()).collect();
        let (last, ancestors) = names.split_last().map_or((&b""[..], &[][..]), |(last, rest)| (*last, rest));
        for name in ancestors {
            above = match self.head().view().lookup(above, name)? {
                Some(entry) if entry.kind == Kind::Dir => entry.node,
                _ => {
                    let node = self.head().new_node();
                    let bind =
                        Op::Bind { dir: above, name: name.to_vec(), node, kind: Kind::Dir, succeeds: None };
                    self.submit(vec![bind], None, ticket)?;
                    node
                }
            };
        }
        let version = self.dir_version(&dir, &stat);
        if last.is_empty() {
            // The root is `/` itself, which every journal has.
            self.change_version(NodeId::ROOT, version, Vec::new(), None, ticket)?;
            return Ok(Root {
                path: path.to_vec(),
                handle,
                node: NodeId::ROOT,
                mnt_id: stat.mnt_id,
                dev: stat.dev,
            });
        }
        let bound = self.head().view().lookup(above, last)?;
        let known = self.head().find(&identity)?;
        let (node, ops) = match (bound, known) {
            (Some(entry), Some(node)) if entry.node == node => (node, Vec::new()),
            // The placeholder of an inner root becomes real, or another directory took the root's place.
            (Some(entry), None) if self.head().view().version(entry.node)?.is_none() => {
                (entry.node, vec![Op::Identify { node: entry.node, identity }])
            }
            (bound, known) => {
                let ops = self.take_name(above, last, Kind::Dir, bound.as_ref(), known, &identity)?;
                (ops.0, ops.1)
            }
        };
        self.change_version(node, version, ops, None, ticket)?;
        Ok(Root { path: path.to_vec(), handle, node, mnt_id: stat.mnt_id, dev: stat.dev })
    }
}
