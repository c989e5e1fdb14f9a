//! File content to blocks and back: chunking, hashing, compression, lists of extents. Pure: no I/O.

pub mod chunker;
pub mod codec;
pub mod extents;
pub mod hash;

/// Content up to this many bytes stands in the version itself.
pub const INLINE_MAX: usize = 512;
/// A file up to this size is one block.
pub const BLOCK_MAX: usize = 256 << 10;

/// What a source of file content gives next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// That many bytes were put into the buffer; at least one.
    Data(usize),
    /// That many bytes read as zero and occupy nothing; at least one.
    Hole(u64),
    /// The end of the file.
    End,
}

/// File content in file order.
pub trait Source {
    /// Puts bytes into the buffer, or tells of a hole or the end.
    ///
    /// # Errors
    /// What the system said when the file was read.
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<Piece>;
}

/// Bytes in memory are a source without holes.
impl Source for &[u8] {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<Piece> {
        let len = self.len().min(buffer.len());
        let (now, later) = self.split_at(len);
        buffer[..len].copy_from_slice(now);
        *self = later;
        Ok(if len == 0 { Piece::End } else { Piece::Data(len) })
    }
}
