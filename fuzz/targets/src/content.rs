//! Chunk lists and the cutter that makes them.

use std::io::Read;

use sync_core::{
    content::{self, decode_list, encode_list, list_hash},
    ids::{ChunkHash, ContentHash},
    limits,
};

use crate::input::Input;

/// A chunk list adds up to the length that the input begins with, or is refused.
///
/// # Panics
/// When a promise is broken.
pub fn chunk_list(bytes: &[u8]) {
    let Some((len, list)) = bytes.split_first_chunk() else {
        return;
    };
    let len = u64::from_le_bytes(*len);
    if let Some(chunks) = decode_list(list, len) {
        assert_eq!(chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>(), len);
        assert!(chunks.iter().all(|chunk| chunk.len as usize <= limits::CHUNK_BYTES_MAX));
        let again = encode_list(&chunks);
        assert!(again.len() <= list.len());
        assert_eq!(decode_list(&again, len), Some(chunks));
    }
}

/// Most bytes that one input makes, so that one run stays short.
const CUT_BYTES_MAX: usize = 384 * 1024;

/// However a file comes in, and however long it was said to be: the chunks are its bytes, within their bounds, each under
/// its hash, and the same bytes are cut the same way.
///
/// # Panics
/// When a promise is broken.
pub fn cut(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let said = if input.one_in(4) { Some(input.number()) } else { None };
    let step = 1 + usize::from(input.byte()) * 97;
    let data = some_data(&mut input);
    let size = said.unwrap_or(data.len() as u64);
    let (content, chunks) = content::cut(&data[..], size).expect("memory reads");
    assert_eq!((content.hash, content.len), (ContentHash::of(&data), data.len() as u64));
    assert_eq!(content.list, list_hash(&encode_list(&chunks)));
    assert_eq!(decode_list(&encode_list(&chunks), content.len).as_ref(), Some(&chunks));
    let mut rest = &data[..];
    for chunk in &chunks {
        let (bytes, after) = rest.split_at(chunk.len as usize);
        assert_eq!(ChunkHash::of(bytes), chunk.hash);
        rest = after;
    }
    assert!(rest.is_empty());
    let slow = content::cut(Slow { data: &data, step }, size).expect("memory reads");
    assert_eq!(slow, (content, chunks));
}

/// Bytes of runs: of one value, counting up, or like noise.
fn some_data(input: &mut Input<'_>) -> Vec<u8> {
    let mut data = Vec::new();
    while !input.is_empty() && data.len() < CUT_BYTES_MAX {
        let len = usize::from(input.byte()) * usize::from(input.byte());
        let seed = input.byte();
        match input.below(4) {
            0 => data.extend(std::iter::repeat_n(seed, len)),
            1 => data.extend((0..len).map(|at| (at as u8).wrapping_add(seed))),
            2 => data.extend_from_slice(input.bytes(255)),
            _ => {
                let mut state = u32::from(seed) | 1;
                data.extend((0..len).map(|_| {
                    // Numbers of a linear congruence, of which the high bits look like noise.
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                }));
            }
        }
    }
    data
}

/// Gives a few bytes at a time.
struct Slow<'a> {
    data: &'a [u8],
    step: usize,
}

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = out.len().min(self.step);
        self.data.read(&mut out[..len])
    }
}
