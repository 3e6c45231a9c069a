//! A chunk list adds up, or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sync_core::content::{decode_list, encode_list};

fuzz_target!(|input: (u64, &[u8])| {
    let (len, bytes) = input;
    if let Some(chunks) = decode_list(bytes, len) {
        assert_eq!(chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>(), len);
        assert_eq!(decode_list(&encode_list(&chunks), len), Some(chunks));
    }
});
