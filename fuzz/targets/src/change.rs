//! The door for changes.

use sync_core::{
    limits,
    preflight::{Change, ChangeHead, Summary, check},
};

/// The door reads what a change claims, within bounds and in time proportional to its bytes; and all of it in one form.
///
/// # Panics
/// When a promise is broken.
pub fn change(bytes: &[u8]) {
    if let Ok(head) = ChangeHead::read(bytes) {
        assert!(head.seq > 0 && head.start_op > 0);
        assert!(head.ops <= limits::CHANGE_OPS_MAX && head.max_op() <= limits::CHANGE_COUNTER_MAX);
        assert!(head.deps.len() <= limits::CHANGE_DEPS_MAX);
    }
    if let Ok(change) = Change::read(bytes) {
        assert_eq!(change.encode(), bytes);
        assert_eq!(ChangeHead::read(bytes).as_ref(), Ok(&change.head));
        if let Ok(summary) = check(&change, &mut ()) {
            assert_eq!(Summary::decode(&summary.encode(), &change.head.actor), Ok(summary));
        }
    }
}
