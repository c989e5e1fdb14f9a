//! Block ids: BLAKE3 keyed with the journal's own key, so that ids tell nothing to whoever lacks it.

use crate::types::FullId;

/// The key of a journal's block ids.
#[derive(Clone, Copy)]
pub struct IdKey(pub [u8; 32]);

impl IdKey {
    /// The id of a block with these plain bytes.
    pub fn id(&self, plain: &[u8]) -> FullId {
        FullId(*blake3::keyed_hash(&self.0, plain).as_bytes())
    }
}

impl std::fmt::Debug for IdKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_the_key_and_on_every_byte() {
        let key = IdKey([1; 32]);
        assert_ne!(key.id(b"a"), IdKey([2; 32]).id(b"a"));
        assert_ne!(key.id(b"a"), key.id(b"b"));
        assert_eq!(key.id(b"a").short().0, key.id(b"a").0[..16]);
    }
}
