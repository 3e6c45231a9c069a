//! The door for changes.

use sync_core::{limits, preflight::ChangeHead};

/// The door reads what a change claims, within bounds and in time proportional to its bytes.
///
/// # Panics
/// When a promise is broken.
pub fn change(bytes: &[u8]) {
    if let Ok(head) = ChangeHead::read(bytes) {
        assert!(head.seq > 0 && head.start_op > 0);
        assert!(head.ops <= limits::CHANGE_OPS_MAX && head.max_op() <= limits::CHANGE_COUNTER_MAX);
        assert!(head.deps.len() <= limits::CHANGE_DEPS_MAX);
    }
}
