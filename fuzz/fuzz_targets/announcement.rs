//! A payload of gossip is an announcement that encodes and decodes to itself, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sync_core::wire;

fuzz_target!(|payload: &[u8]| {
    if let Ok(announcement) = wire::decode_announcement(payload) {
        // A shortest encoding is never longer than another one.
        let again = wire::encode_announcement(&announcement).expect("fits as it did");
        assert_eq!(wire::decode_announcement(&again).as_ref(), Ok(&announcement));
    }
});
