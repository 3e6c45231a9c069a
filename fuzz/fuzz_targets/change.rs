//! The door reads what a change claims, within bounds and in time proportional to its bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sync_core::{limits, preflight::ChangeHead};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(head) = ChangeHead::read(bytes) {
        assert!(head.seq > 0 && head.start_op > 0);
        assert!(head.ops <= limits::CHANGE_OPS_MAX && head.max_op() <= limits::CHANGE_COUNTER_MAX);
        assert!(head.deps.len() <= limits::CHANGE_DEPS_MAX);
    }
});
