//! Chunk lists: how the bytes of a large file are named piece by piece.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ChunkHash, context, derive},
    limits,
};

/// One piece of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkEntry {
    /// BLAKE3 of its bytes.
    pub hash: ChunkHash,
    /// How many bytes.
    pub len: u32,
}

/// The one encoding of a chunk list: postcard.
///
/// # Panics
/// Never: a list is plain data.
#[must_use]
pub fn encode_list(chunks: &[ChunkEntry]) -> Vec<u8> {
    postcard::to_stdvec(chunks).expect("a list is plain data")
}

/// The hash that a content reference names its list by.
#[must_use]
pub fn list_hash(encoded: &[u8]) -> [u8; 32] {
    derive(context::CHUNK_LIST, &[encoded])
}

/// Reads a chunk list, which must add up to `len` bytes.
#[must_use]
pub fn decode_list(encoded: &[u8], len: u64) -> Option<Vec<ChunkEntry>> {
    if encoded.len() > limits::CHUNK_LIST_BYTES_MAX {
        return None;
    }
    let (chunks, rest) = postcard::take_from_bytes::<Vec<ChunkEntry>>(encoded).ok()?;
    let sane = chunks.iter().all(|chunk| chunk.len > 0 && chunk.len as usize <= limits::CHUNK_BYTES_MAX);
    let total: u64 = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    (rest.is_empty() && sane && total == len && chunks.len() <= limits::CHUNKS_MAX).then_some(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_must_add_up() {
        let chunks = [ChunkEntry { hash: ChunkHash([1; 32]), len: 5 }, ChunkEntry { hash: ChunkHash([2; 32]), len: 7 }];
        let encoded = encode_list(&chunks);
        assert_eq!(decode_list(&encoded, 12).as_deref(), Some(&chunks[..]));
        assert_eq!(decode_list(&encoded, 13), None);
        assert_eq!(decode_list(&encoded[1..], 12), None);
        let empty = ChunkEntry { hash: ChunkHash([1; 32]), len: 0 };
        assert_eq!(decode_list(&encode_list(&[empty]), 0), None);
    }

    #[test]
    fn chunks_hold_at_the_longest_and_one_byte_past_it() {
        let one = |len: usize| encode_list(&[ChunkEntry { hash: ChunkHash([1; 32]), len: len as u32 }]);
        let most = limits::CHUNK_BYTES_MAX;
        assert!(decode_list(&one(most), most as u64).is_some());
        assert_eq!(decode_list(&one(most + 1), most as u64 + 1), None);
    }

    #[test]
    fn lists_hold_at_the_limit_and_one_past_it() {
        let of = |count: usize, len: u32| {
            let list = encode_list(&vec![ChunkEntry { hash: ChunkHash([1; 32]), len }; count]);
            (list.len(), decode_list(&list, count as u64 * u64::from(len)).is_some())
        };
        assert!(of(limits::CHUNKS_MAX, 1).1);
        assert!(!of(limits::CHUNKS_MAX + 1, 1).1);
        // The longest chunks take four bytes each for their length, and still fit.
        let (bytes, is_some) = of(limits::CHUNKS_MAX, limits::CHUNK_BYTES_MAX as u32);
        assert!(is_some && bytes <= limits::CHUNK_LIST_BYTES_MAX, "{bytes}");
        assert_eq!(decode_list(&vec![0; limits::CHUNK_LIST_BYTES_MAX + 1], 0), None);
    }
}
