//! What can be found of something in a directory, however it is stored: byte for byte in every file, and in everything that any
//! part of a file decompresses to.

use std::path::{Path, PathBuf};

use asof_journal::reader::Reader;
use asof_journal::types::{BlockId, Content, Extent};
use zstd::zstd_safe;

use crate::must::Must;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Nothing that is compressed in a journal is longer.
const PLAIN_MAX: usize = 64 << 20;

/// Places where any of the needles is found: files, with how it lies there.
pub fn found_in(dir: &Path, needles: &[&[u8]]) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).must(dir.display()).flatten() {
            let path = entry.path();
            for needle in needles {
                let name = entry.file_name();
                if contains(name.as_encoded_bytes(), needle) {
                    found.push(format!("the name {}", path.display()));
                }
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(path),
                Ok(kind) if kind.is_file() => in_file(&path, needles, &mut found),
                _ => {}
            }
        }
    }
    found
}

fn in_file(path: &PathBuf, needles: &[&[u8]], found: &mut Vec<String>) {
    // RocksDB may take a file away meanwhile.
    let Ok(bytes) = std::fs::read(path) else { return };
    let mut look = |bytes: &[u8], how: &str| {
        for needle in needles.iter().filter(|needle| contains(bytes, needle)) {
            found.push(format!("{}, {how}: {}", path.display(), needle.escape_ascii()));
        }
    };
    look(&bytes, "as it is");
    let mut at = 0;
    while let Some(next) = bytes[at..].windows(4).position(|window| window == MAGIC) {
        at += next;
        let frame = &bytes[at..];
        if let Ok(len) = zstd_safe::find_frame_compressed_size(frame)
            && let Ok(plain) = zstd::bulk::decompress(&frame[..len], PLAIN_MAX)
        {
            look(&plain, &format!("decompressed from {at}"));
        }
        at += 1;
    }
}

/// Every block that any version refers to at the top, or any delta rests on, is read by its id: what only a delta tells.
pub fn found_in_blocks(reader: &Reader, ids: &[BlockId], needles: &[&[u8]]) -> usize {
    let holds = |id: &BlockId| {
        let block = reader.block(*id);
        block.is_ok_and(|block| needles.iter().any(|needle| contains(&block, needle)))
    };
    ids.iter().filter(|id| holds(id)).count()
}

/// The blocks of a content, without those of lists.
pub fn blocks_of(content: &Content) -> Vec<BlockId> {
    let extents: &[Extent] = match content {
        Content::Extents(extents) => extents,
        _ => &[],
    };
    let ids = extents.iter().filter_map(|extent| match extent {
        Extent::Block { id, .. } | Extent::List { id, .. } => Some(*id),
        Extent::Hole { .. } => None,
    });
    ids.collect()
}

/// Whether bytes have others in them.
pub fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return true };
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| byte == first) {
        at += next;
        if bytes[at..].starts_with(needle) {
            return true;
        }
        at += 1;
    }
    false
}
