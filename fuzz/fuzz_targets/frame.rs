//! Bytes of a peer are a message that encodes and decodes to itself, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sync_core::wire;

fuzz_target!(|frame: &[u8]| {
    if let Ok(message) = wire::decode(frame) {
        let again = wire::encode(&message);
        assert_eq!(wire::decode(&again).as_ref(), Ok(&message));
    }
});
