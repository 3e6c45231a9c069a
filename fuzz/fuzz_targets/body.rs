//! A body has one encoding, and a packed one inflates within its bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sync_core::{
    commit::{Body, BodyKind, PackedBody},
    limits,
};

fuzz_target!(|bytes: &[u8]| {
    for kind in [BodyKind::Changes, BodyKind::Membership] {
        if let Ok(body) = Body::decode(bytes, kind) {
            let again = body.encode().expect("is within its bounds");
            assert_eq!(again, bytes);
            let packed = PackedBody::pack(&again);
            assert_eq!(packed.unpack().expect("was just packed").as_ref(), again);
        }
    }
    if let Ok(packed) = postcard::from_bytes::<PackedBody>(bytes)
        && let Ok(plain) = packed.unpack()
    {
        assert!(plain.len() <= limits::BODY_BYTES_MAX);
    }
});
