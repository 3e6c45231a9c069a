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

    fn done(&self, device: DeviceId, connected: bool, now_ms: u64) {
        let mut attempts = lock(&self.attempts);
        let attempt = attempts.entry(device).or_default();
        attempt.busy = false;
        attempt.unreachable = !connected;
        attempt.failures = if connected { 0 } else { attempt.failures.saturating_add(1) };
        let pause = PAUSE_MS << attempt.failures.min(7);
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
            run.await;
            dialing.dialer.done(device, true, dialing.clock.mono_ms());
        }
        Ok(Err(error)) => {
            debug!(peer = device.short(), %error, "a peer cannot be reached");
            dialing.dialer.done(device, false, dialing.clock.mono_ms());
        }
        Err(_) => {
            debug!(peer = device.short(), "a peer did not answer in time");
            dialing.dialer.done(device, false, dialing.clock.mono_ms());
        }
    }
}
