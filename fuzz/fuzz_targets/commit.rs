//! A header has one encoding; a signed commit verifies or is refused, and takes no more memory than its bounds allow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sync_core::commit::{Header, Signed};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(header.encode(), bytes);
    }
    let Ok((signed, _)) = postcard::take_from_bytes::<Signed>(bytes) else {
        return;
    };
    let Ok(header) = Header::decode(&signed.header) else {
        return;
    };
    if let Some(origin) = header.origin
        && let Ok(verified) = signed.verify(header, origin.device)
    {
        assert_eq!(verified.hash, signed.hash());
    }
});
