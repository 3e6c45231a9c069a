//! The host's clocks, in one place, so that the engine gets them with each turn and nobody reads them elsewhere.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sync_core::engine::Now;

/// Monotonic time since this was made, and wall time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Milliseconds since the start.
    pub(crate) fn mono_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Both clocks for a turn.
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.mono_ms(), wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Wall time in nanoseconds since 1970, as the time stamps of this machine's disks have it.
    pub(crate) fn wall_ns(&self) -> i64 {
        i64::try_from(self.now().wall_ms).unwrap_or(i64::MAX / 1_000_000).saturating_mul(1_000_000)
    }

    /// How long until a deadline.
    pub(crate) fn until(&self, deadline_ms: u64) -> Duration {
        Duration::from_millis(deadline_ms.saturating_sub(self.mono_ms()))
    }
}
