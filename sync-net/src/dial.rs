//! Keeps sessions up: dials every member that is not here, with a growing pause after each failure.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use iroh::{
    Endpoint, EndpointAddr, EndpointId, TransportAddr,
    address_lookup::memory::MemoryLookup,
    endpoint::Connection,
    protocol::{AcceptError, ProtocolHandler},
};
use sync_core::{ids::DeviceId, wire::SYNC_ALPN};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::{
    actor::{EngineHandle, lock},
    clock::Clock,
    session::{self, Sessions},
};

/// How long one attempt may take: lookups on a local network need most of it.
const DIAL_TIMEOUT: Duration = Duration::from_secs(8);
/// First pause after a failure; each further one is twice as long.
const PAUSE_MS: u64 = 250;
/// Even a pause that is over lets others run.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// A session that ends sooner mends no failure: else a peer that ends each at once would be dialled four times a second.
const BRIEF_MS: u64 = 5_000;
/// Longest pause: a peer that comes back dials us, too.
const PAUSE_MS_MAX: u64 = 30_000;

/// Answers peers that dial us.
#[derive(Debug, Clone)]
pub(crate) struct SyncHandler {
    pub(crate) engine: EngineHandle,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) own: DeviceId,
    pub(crate) clock: Clock,
    pub(crate) tasks: TaskTracker,
}

impl ProtocolHandler for SyncHandler {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        // In a task of its own: a panic there must not end the endpoint.
        let run = session::run(self.engine.clone(), Arc::clone(&self.sessions), self.own, self.clock, connection);
        let _ended = self.tasks.spawn(run).await;
        Ok(())
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Attempt {
    busy: bool,
    unreachable: bool,
    failures: u32,
    next_ms: u64,
}

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialled {
    /// There was a session for a while.
    Session,
    /// The connection ended soon: the peer does not let us in, or holds one of ours for alive that we have lost, or one of
    /// both does not understand the other.
    Brief,
    /// Nobody answered.
    Nobody,
}

/// What is known of attempts to reach members.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    attempts: Mutex<BTreeMap<DeviceId, Attempt>>,
}

impl Dialer {
    /// Whether the last attempt to reach a peer failed. One that was never tried may be there.
    pub(crate) fn is_unreachable(&self, device: &DeviceId) -> bool {
        lock(&self.attempts).get(device).is_some_and(|attempt| attempt.unreachable)
    }

    /// Takes the members that should be dialled now.
    fn due(&self, wanted: &[DeviceId], now_ms: u64) -> Vec<DeviceId> {
        let mut attempts = lock(&self.attempts);
        wanted
            .iter()
            .filter(|device| {
                let attempt = attempts.entry(**device).or_default();
                let due = !attempt.busy && now_ms >= attempt.next_ms;
                attempt.busy |= due;
                due
            })
            .copied()
            .collect()
    }

    fn done(&self, device: DeviceId, dialled: Dialled, now_ms: u64) {
        let mut attempts = lock(&self.attempts);
        let attempt = attempts.entry(device).or_default();
        attempt.busy = false;
        attempt.unreachable = dialled == Dialled::Nobody;
        let failures = attempt.failures.saturating_add(1);
        let (failures, doublings) = match dialled {
            Dialled::Session => (0, 0),
            // Soon again the first time: it may be just taking us in, or have been killed and started again.
            Dialled::Brief => (failures, failures - 1),
            Dialled::Nobody => (failures, failures),
        };
        attempt.failures = failures;
        let pause = PAUSE_MS << doublings.min(7);
        attempt.next_ms = now_ms + pause.min(PAUSE_MS_MAX);
    }

    fn next_ms(&self, wanted: &[DeviceId]) -> Option<u64> {
        let attempts = lock(&self.attempts);
        wanted
            .iter()
            .filter_map(|device| attempts.get(device))
            .filter(|attempt| !attempt.busy)
            .map(|attempt| attempt.next_ms)
            .min()
    }
}

/// Everything that a dial needs.
#[derive(Debug, Clone)]
pub(crate) struct Dialing {
    pub(crate) endpoint: Endpoint,
    pub(crate) engine: EngineHandle,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) own: DeviceId,
    pub(crate) clock: Clock,
    pub(crate) tasks: TaskTracker,
}

/// Feeds the addresses at which peers were last met to the endpoint.
pub(crate) fn remember(lookup: &MemoryLookup, peers: Vec<(DeviceId, Vec<u8>)>) {
    for (device, addresses) in peers {
        let Ok(id) = EndpointId::from_bytes(&device.0) else { continue };
        if let Ok(addresses) = postcard::from_bytes::<Vec<TransportAddr>>(&addresses) {
            lookup.add_endpoint_info(EndpointAddr::from_parts(id, addresses));
        }
    }
}

/// Dials until the node stops.
pub(crate) async fn run(dialing: Dialing) {
    let mut status = dialing.engine.status();
    loop {
        let wanted: Vec<DeviceId> = {
            let now = status.borrow_and_update();
            let missing = |device: &DeviceId| *device != dialing.own && !dialing.sessions.is_up(device);
            now.admitted.iter().copied().filter(missing).collect()
        };
        for device in dialing.dialer.due(&wanted, dialing.clock.mono_ms()) {
            dialing.tasks.spawn(dial(dialing.clone(), device));
        }
        let pause = if wanted.is_empty() {
            // Whoever goes shows in the engine's status.
            Duration::from_millis(PAUSE_MS_MAX)
        } else {
            let next = dialing.dialer.next_ms(&wanted);
            next.map_or(Duration::from_millis(PAUSE_MS), |next| dialing.clock.until(next).max(SHORTEST_PAUSE))
        };
        tokio::select! {
            changed = status.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn dial(dialing: Dialing, device: DeviceId) {
    let Ok(id) = EndpointId::from_bytes(&device.0) else {
        return;
    };
    let attempt = tokio::time::timeout(DIAL_TIMEOUT, dialing.endpoint.connect(id, SYNC_ALPN)).await;
    match attempt {
        Ok(Ok(connection)) => {
            let run = session::run(
                dialing.engine.clone(),
                Arc::clone(&dialing.sessions),
                dialing.own,
                dialing.clock,
                connection,
            );
            let began_ms = dialing.clock.mono_ms();
            run.await;
            let now_ms = dialing.clock.mono_ms();
            let brief = now_ms < began_ms + BRIEF_MS;
            dialing.dialer.done(device, if brief { Dialled::Brief } else { Dialled::Session }, now_ms);
        }
        Ok(Err(error)) => {
            debug!(peer = device.short(), %error, "a peer cannot be reached");
            dialing.dialer.done(device, Dialled::Nobody, dialing.clock.mono_ms());
        }
        Err(_) => {
            debug!(peer = device.short(), "a peer did not answer in time");
            dialing.dialer.done(device, Dialled::Nobody, dialing.clock.mono_ms());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a peer is dialled within so many milliseconds, if each attempt ends at once in this way.
    fn attempts(dialer: &Dialer, within_ms: u64, dialled: Dialled) -> Vec<u64> {
        let peer = DeviceId([1; 32]);
        let due = (0..within_ms).filter(|now_ms| {
            let due = dialer.due(&[peer], *now_ms) == [peer];
            if due {
                dialer.done(peer, dialled, *now_ms);
            }
            due
        });
        due.collect()
    }

    #[test]
    fn who_ends_each_session_at_once_is_dialled_ever_more_rarely() {
        let dialer = Dialer::default();
        let brief = attempts(&dialer, 10_000, Dialled::Brief);
        assert_eq!(brief, [0, 250, 750, 1_750, 3_750, 7_750], "not four sessions a second");
        assert!(!dialer.is_unreachable(&DeviceId([1; 32])));
        assert_eq!(attempts(&Dialer::default(), 8_000, Dialled::Nobody), [0, 500, 1_500, 3_500, 7_500]);
        assert_eq!(attempts(&Dialer::default(), 1_000, Dialled::Session), [0, 250, 500, 750]);
        assert!(attempts(&Dialer::default(), 10 * PAUSE_MS_MAX, Dialled::Brief).len() < 20);
    }

    #[test]
    fn a_session_makes_the_next_pause_short_again() {
        let (dialer, peer) = (Dialer::default(), DeviceId([1; 32]));
        let _brief = attempts(&dialer, 1_000, Dialled::Brief);
        dialer.done(peer, Dialled::Session, 1_000);
        assert_eq!(dialer.next_ms(&[peer]), Some(1_000 + PAUSE_MS));
    }
}
