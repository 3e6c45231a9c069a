//! Contents of files: cut into chunks, named by hash.
//!
//! Content above [`INLINE_BYTES_MAX`](crate::limits::INLINE_BYTES_MAX) travels as chunks that FastCDC cuts by what the
//! bytes are, so that an insertion moves no other cut. The list of chunks is named by hash and fetched like a chunk.

mod list;

use std::io::{self, Read};

pub use list::{ChunkEntry, decode_list, encode_list, list_hash};

use crate::{
    doc::entry::ContentRef,
    ids::{ChunkHash, ContentHash},
    limits,
};

/// The average length of chunks of a content of this size: the root of 36 times the size.
#[must_use]
pub fn chunk_average(size: u64) -> u32 {
    let (smallest, largest) = limits::CHUNK_AVERAGE_BYTES;
    let average = size.saturating_mul(36).isqrt();
    // FastCDC wants even numbers; a power of two keeps the cuts of a file that grows a little.
    u32::try_from(average).unwrap_or(largest).clamp(smallest, largest).next_power_of_two().min(largest)
}

/// The chunks of a stream, and the reference that names them; nothing is held but one window.
///
/// # Errors
/// When the stream does.
pub fn cut(source: impl Read, size: u64) -> io::Result<(ContentRef, Vec<ChunkEntry>)> {
    let average = chunk_average(size) as usize;
    let mut whole = blake3::Hasher::new();
    let mut chunks = Vec::new();
    let mut len = 0;
    let cutter = fastcdc::v2020::StreamCDC::new(source, average / 4, average, average * 4);
    for chunk in cutter {
        let chunk = chunk.map_err(io::Error::from)?;
        whole.update(&chunk.data);
        len += chunk.data.len() as u64;
        chunks.push(ChunkEntry { hash: ChunkHash::of(&chunk.data), len: chunk.data.len() as u32 });
    }
    let content =
        ContentRef { hash: ContentHash(*whole.finalize().as_bytes()), len, list: list_hash(&encode_list(&chunks)) };
    Ok((content, chunks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, seed: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(seed).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn an_insertion_at_the_front_changes_few_chunks() {
        let old = noise(4 << 20, b"a");
        let new = [b"x", &old[..]].concat();
        let (_, before) = cut(&old[..], old.len() as u64).expect("reads");
        let (content, after) = cut(&new[..], new.len() as u64).expect("reads");
        let fresh = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!(fresh <= 2, "{fresh} of {} chunks are new", after.len());
        assert_eq!(content.hash, ContentHash::of(&new));
        assert_eq!(decode_list(&encode_list(&after), content.len), Some(after));
    }

    #[test]
    fn chunks_stay_within_their_bounds_for_any_size() {
        for size in [0, 1, 16 * 1024, 1 << 30, 1 << 40, u64::MAX] {
            let average = chunk_average(size) as usize;
            assert!(average * 4 <= limits::CHUNK_BYTES_MAX && average >= 16 * 1024);
        }
        let (_, chunks) = cut(&b"x"[..], 1).expect("reads");
        assert_eq!(chunks.len(), 1);
        let (empty, none) = cut(&b""[..], 0).expect("reads");
        assert_eq!((empty.len, none.len()), (0, 0));
    }

    #[test]
    fn the_average_chunk_stays_between_its_ends() {
        let (smallest, largest) = limits::CHUNK_AVERAGE_BYTES;
        // Where the root of 36 times the size passes each end.
        let size_of = |average: u32| u64::from(average).pow(2).div_ceil(36);
        assert_eq!(chunk_average(0), smallest);
        assert_eq!(chunk_average(size_of(smallest)), smallest);
        assert_eq!(chunk_average(size_of(smallest + 1)), 2 * smallest);
        assert_eq!(chunk_average(size_of(largest / 2)), largest / 2);
        for size in [size_of(largest / 2 + 1), size_of(largest), size_of(largest) + 1, u64::MAX] {
            assert_eq!(chunk_average(size), largest);
        }
    }
}
