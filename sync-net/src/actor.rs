//! The engine's thread: takes what is waiting, gives the engine one turn, carries the effects out.
//!
//! Inputs come over one bounded channel, which is how a busy store slows its peers down. Effects leave without waiting:
//! a session that cannot take a frame is closed, a folder finds its documents in its mailbox.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sync_core::{
    engine::{Command, Effect, Engine, Event, Input, Outcome, Refused, SessionId, SpaceStatus, Ticket},
    ids::{DeviceId, SpaceId},
    limits,
    store::{Edit, Snapshot, Store, StoreError, Write},
    wire::CloseCode,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::{clock::Clock, error::NodeError, folder::Mailbox};

/// Inputs that wait for a turn: one turn's worth, so that senders feel a slow disk at once.
const INPUTS_WAITING_MAX: usize = limits::TURN_INPUTS_MAX;
/// Announcements that wait for gossip; more are dropped, since gossip is a hint.
const ANNOUNCEMENTS_WAITING_MAX: usize = 256;
/// How long an engine without deadlines sleeps.
const IDLE: Duration = Duration::from_secs(3600);

/// Announcements on their way to gossip.
pub(crate) type Announced = mpsc::Receiver<(SpaceId, Vec<u8>)>;

/// An input, and its place among the bytes that may wait.
#[derive(Debug)]
struct Waiting {
    input: Input,
    _room: Option<OwnedSemaphorePermit>,
}

/// What goes to one session: frames, bounded by number and bytes, and a word that ends it whatever waits.
#[derive(Debug)]
struct Outbox {
    frames: mpsc::Sender<Vec<u8>>,
    waiting_bytes: Arc<AtomicUsize>,
    end: watch::Sender<Option<CloseCode>>,
}

/// The other end of an [`Outbox`].
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// To be sent, in order.
    pub(crate) frames: mpsc::Receiver<Vec<u8>>,
    /// To be lowered by what was sent.
    pub(crate) waiting_bytes: Arc<AtomicUsize>,
    /// Why to end.
    pub(crate) end: watch::Receiver<Option<CloseCode>>,
}

/// What tasks of the node share with the engine's thread.
#[derive(Debug)]
pub(crate) struct Shared {
    sessions: Mutex<BTreeMap<SessionId, Outbox>>,
    mailboxes: Mutex<BTreeMap<SpaceId, Arc<Mailbox>>>,
    waiting: Mutex<BTreeMap<Ticket, oneshot::Sender<Result<Outcome, Refused>>>>,
    tickets: AtomicU64,
    next_session: AtomicU64,
    status: watch::Sender<Arc<EngineStatus>>,
    announcements: mpsc::Sender<(SpaceId, Vec<u8>)>,
}

/// What the engine knew after its last turn.
#[derive(Debug, Default)]
pub(crate) struct EngineStatus {
    pub(crate) spaces: Vec<SpaceStatus>,
    pub(crate) admitted: Vec<DeviceId>,
    /// Whether the join protocol is open.
    pub(crate) expects_joiners: bool,
}

/// Locks, whatever a panicking holder left: all that is guarded here stays whole between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The store for readers, until the node stops: then it closes, whoever still holds this.
#[derive(Debug, Clone)]
pub(crate) struct StoreCell(Arc<Mutex<Option<Store>>>);

impl StoreCell {
    fn new(store: Store) -> Self {
        Self(Arc::new(Mutex::new(Some(store))))
    }

    fn close(&self) {
        lock(&self.0).take();
    }

    /// A view of the last committed turn.
    ///
    /// # Errors
    /// When the store is closed or fails.
    pub(crate) fn read(&self) -> Result<Snapshot, StoreError> {
        lock(&self.0).as_ref().ok_or(StoreError::Closed)?.read()
    }
}

/// A way to the engine.
#[derive(Debug, Clone)]
pub(crate) struct EngineHandle {
    inputs: mpsc::Sender<Waiting>,
    /// Room for frames that wait for a turn.
    frame_room: Arc<Semaphore>,
    stop: mpsc::Sender<()>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: StoreCell,
}

impl EngineHandle {
    /// Starts the engine's thread.
    pub(crate) fn start(
        engine: Engine,
        clock: Clock,
    ) -> std::io::Result<(Self, Announced, std::thread::JoinHandle<()>)> {
        let (inputs, receiver) = mpsc::channel(INPUTS_WAITING_MAX);
        let (stop, stopped) = mpsc::channel(1);
        let (announcements, announced) = mpsc::channel(ANNOUNCEMENTS_WAITING_MAX);
        let shared = Arc::new(Shared {
            sessions: Mutex::default(),
            mailboxes: Mutex::default(),
            waiting: Mutex::default(),
            tickets: AtomicU64::new(1),
            next_session: AtomicU64::new(1),
            status: watch::Sender::new(Arc::new(EngineStatus::default())),
            announcements,
        });
        // Only to wait on: the thread must outlive the node's own runtime by the turn that it is in.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let handle = Self {
            inputs,
            frame_room: Arc::new(Semaphore::new(limits::FRAMES_WAITING_BYTES_MAX)),
            stop,
            shared: Arc::clone(&shared),
            store: StoreCell::new(engine.store().clone()),
        };
        let actor = Actor { engine, clock, inputs: receiver, stopped, shared, runtime };
        let thread = std::thread::Builder::new().name("kith-engine".into()).spawn(move || actor.run())?;
        Ok((handle, announced, thread))
    }

    /// Hands an input over; waits while the engine is busy. What is sent to an engine that stopped is lost, as it would
    /// be with the process.
    pub(crate) async fn send(&self, input: Input) {
        let _stopped = self.inputs.send(Waiting { input, _room: None }).await;
    }

    /// Hands a frame over; waits as well while frames of others fill the room.
    pub(crate) async fn send_frame(&self, session: SessionId, bytes: Vec<u8>) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.frame_room).acquire_many_owned(len).await.ok();
        let _stopped = self.inputs.send(Waiting { input: Input::Frame { session, bytes }, _room: room }).await;
    }

    /// The same from a thread.
    pub(crate) fn send_blocking(&self, input: Input) {
        let _stopped = self.inputs.blocking_send(Waiting { input, _room: None });
    }

    fn ticket(&self) -> (Ticket, oneshot::Receiver<Result<Outcome, Refused>>) {
        let ticket = Ticket(self.shared.tickets.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        lock(&self.shared.waiting).insert(ticket, sender);
        (ticket, receiver)
    }

    /// Ends the engine's thread after the turns that are waiting.
    pub(crate) async fn stop(&self) {
        let _stopped_already = self.stop.send(()).await;
        self.store.close();
    }

    /// Runs a command.
    pub(crate) async fn command(&self, command: Command) -> Result<Outcome, NodeError> {
        let (ticket, answer) = self.ticket();
        self.send(Input::Command { command, ticket }).await;
        Ok(answer.await.map_err(|_| NodeError::Stopped)??)
    }

    /// The same from a thread.
    pub(crate) fn command_blocking(&self, command: Command) -> Result<Outcome, NodeError> {
        let (ticket, answer) = self.ticket();
        self.send_blocking(Input::Command { command, ticket });
        Ok(answer.blocking_recv().map_err(|_| NodeError::Stopped)??)
    }

    /// Submits edits from a thread; returns the order of arrival and what was stale.
    pub(crate) fn edit_blocking(&self, space: SpaceId, edits: Vec<Edit>) -> Result<Vec<usize>, NodeError> {
        let (ticket, answer) = self.ticket();
        self.send_blocking(Input::Edit { space, edits, ticket });
        match answer.blocking_recv().map_err(|_| NodeError::Stopped)?? {
            Outcome::Edited { stale, .. } => Ok(stale),
            _ => Ok(Vec::new()),
        }
    }

    /// Writes rows from a thread.
    pub(crate) fn write_blocking(&self, space: SpaceId, writes: Vec<Write>) -> Result<(), NodeError> {
        if writes.is_empty() {
            return Ok(());
        }
        let (ticket, answer) = self.ticket();
        self.send_blocking(Input::Write { space, writes, ticket });
        answer.blocking_recv().map_err(|_| NodeError::Stopped)??;
        Ok(())
    }

    /// A name for a new session, and the frames that it is to send.
    pub(crate) fn open_session(&self) -> (SessionId, Outgoing) {
        let session = SessionId(self.shared.next_session.fetch_add(1, Ordering::Relaxed));
        let (frames, receiver) = mpsc::channel(crate::session::FRAMES_WAITING_MAX);
        let (end, ended) = watch::channel(None);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let outgoing = Outgoing { frames: receiver, waiting_bytes: Arc::clone(&waiting_bytes), end: ended };
        lock(&self.shared.sessions).insert(session, Outbox { frames, waiting_bytes, end });
        (session, outgoing)
    }

    /// Forgets a session that is over.
    pub(crate) async fn close_session(&self, session: SessionId) {
        lock(&self.shared.sessions).remove(&session);
        self.send(Input::SessionDown { session }).await;
    }

    /// Where the folder of a space finds its documents.
    pub(crate) fn add_mailbox(&self, space: SpaceId, mailbox: Arc<Mailbox>) {
        lock(&self.shared.mailboxes).insert(space, mailbox);
    }

    pub(crate) fn remove_mailbox(&self, space: &SpaceId) {
        lock(&self.shared.mailboxes).remove(space);
    }

    /// What the engine knew after its last turn, and a way to wait for the next.
    pub(crate) fn status(&self) -> watch::Receiver<Arc<EngineStatus>> {
        self.shared.status.subscribe()
    }
}

struct Actor {
    engine: Engine,
    clock: Clock,
    inputs: mpsc::Receiver<Waiting>,
    stopped: mpsc::Receiver<()>,
    shared: Arc<Shared>,
    runtime: tokio::runtime::Runtime,
}

impl Actor {
    fn run(mut self) {
        self.publish();
        while let Some(inputs) = self.gather() {
            match self.engine.turn(self.clock.now(), inputs) {
                Ok(effects) => {
                    // Answers come last: who has one finds the status, and with it the allow-list, as the turn left them.
                    let (answers, others): (Vec<_>, Vec<_>) =
                        effects.into_iter().partition(|effect| matches!(effect, Effect::Done { .. }));
                    others.into_iter().for_each(|effect| self.carry_out(effect));
                    self.publish();
                    answers.into_iter().for_each(|effect| self.carry_out(effect));
                }
                Err(error) => {
                    error!(%error, "the store failed: this node stops, and opens it again when it is started");
                    break;
                }
            }
        }
        // Whoever waits for an answer learns that none comes.
        lock(&self.shared.waiting).clear();
        lock(&self.shared.sessions).clear();
    }

    /// Waits for an input or the next deadline, and takes what else is there. `None` when nobody is left.
    fn gather(&mut self) -> Option<Vec<Input>> {
        let wait = self.engine.next_deadline().map_or(IDLE, |deadline| self.clock.until(deadline));
        let (inputs, stopped) = (&mut self.inputs, &mut self.stopped);
        let first = self.runtime.block_on(async {
            tokio::select! {
                biased;
                waiting = inputs.recv() => Some(Some(waiting?)),
                _ = stopped.recv() => None,
                () = tokio::time::sleep(wait) => Some(None),
            }
        })?;
        let mut bytes = 0;
        // The room of what is taken is free again: the turn's own bound holds for it from here.
        let mut gathered: Vec<Input> = first.into_iter().map(|waiting| waiting.input).collect();
        while gathered.len() < limits::TURN_INPUTS_MAX && bytes < limits::TURN_BYTES_MAX {
            let Ok(Waiting { input: next, _room }) = self.inputs.try_recv() else { break };
            if let Input::Frame { bytes: frame, .. } = &next {
                bytes += frame.len();
            }
            gathered.push(next);
        }
        Some(gathered)
    }

    fn publish(&self) {
        let status = EngineStatus {
            spaces: self.engine.status(),
            admitted: self.engine.admitted(),
            expects_joiners: self.engine.expects_joiners(self.clock.now().wall_ms),
        };
        let changed = {
            let last = self.shared.status.borrow();
            last.spaces != status.spaces
                || last.admitted != status.admitted
                || last.expects_joiners != status.expects_joiners
        };
        if changed {
            self.shared.status.send_replace(Arc::new(status));
            for mailbox in lock(&self.shared.mailboxes).values() {
                mailbox.wake();
            }
        }
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Send { session, frame } => self.send(session, frame),
            Effect::Close { session, code } => self.end(session, code),
            Effect::Announce { space, payload } => {
                // Gossip is a hint: what it has no room for is found by comparing.
                let _dropped = self.shared.announcements.try_send((space, payload));
            }
            Effect::Changed { space, docs, .. } => {
                if let Some(mailbox) = lock(&self.shared.mailboxes).get(&space) {
                    mailbox.changed(docs);
                }
            }
            Effect::Done { ticket, outcome } => {
                if let Some(waiting) = lock(&self.shared.waiting).remove(&ticket) {
                    let _gave_up = waiting.send(outcome);
                }
            }
            Effect::Event(event) => {
                report(&event);
                if let Event::Rebuilt { space, .. } = event
                    && let Some(mailbox) = lock(&self.shared.mailboxes).get(&space)
                {
                    mailbox.rebuilt();
                }
            }
        }
    }

    fn send(&self, session: SessionId, frame: Vec<u8>) {
        let sessions = lock(&self.shared.sessions);
        let Some(outbox) = sessions.get(&session) else { return };
        let bytes = frame.len();
        let waiting = outbox.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = waiting == 0 || waiting + bytes <= limits::SESSION_WAITING_BYTES_MAX;
        if !has_room || outbox.frames.try_send(frame).is_err() {
            drop(sessions);
            // It takes nothing any more.
            self.end(session, CloseCode::Timeout);
        }
    }

    /// Ends a session, whatever waits for it.
    fn end(&self, session: SessionId, code: CloseCode) {
        if let Some(outbox) = lock(&self.shared.sessions).remove(&session) {
            outbox.end.send_replace(Some(code));
        }
    }
}

fn report(event: &Event) {
    match event {
        Event::Members { space } => info!(space = space.short(), "the members of a space changed"),
        Event::Fork { space, peer } => {
            warn!(space = space.short(), peer = peer.short(), "two different logs of one replica");
        }
        Event::Rebuilt { space, set_aside, committed_again, not_made } => {
            warn!(
                space = space.short(),
                set_aside,
                committed_again,
                not_made,
                "a log had forked, as after a store was copied or restored: repaired"
            );
        }
        Event::RootMismatch { space, peer } => {
            warn!(space = space.short(), peer = peer.short(), "equal vectors and unequal roots: not synced");
        }
        Event::BadPeer { peer, reason } => warn!(peer = peer.short(), reason, "ended a session"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use sync_core::commit::SecretKey;

    use super::*;

    const FRAME: usize = limits::FRAME_BYTES_MAX;

    fn engine() -> Engine {
        let store = Store::in_memory().expect("opens");
        Engine::open(store, SecretKey::from_bytes(&[1; 32]), [0; 32]).expect("opens")
    }

    /// An actor that nobody runs, with room for this many inputs, and what feeds it.
    fn actor(inputs_waiting: usize) -> (Actor, EngineHandle, Announced) {
        let engine = engine();
        let (inputs, receiver) = mpsc::channel(inputs_waiting);
        let (stop, stopped) = mpsc::channel(1);
        let (announcements, announced) = mpsc::channel(ANNOUNCEMENTS_WAITING_MAX);
        let shared = Arc::new(Shared {
            sessions: Mutex::default(),
            mailboxes: Mutex::default(),
            waiting: Mutex::default(),
            tickets: AtomicU64::new(1),
            next_session: AtomicU64::new(1),
            status: watch::Sender::new(Arc::new(EngineStatus::default())),
            announcements,
        });
        let handle = EngineHandle {
            inputs,
            frame_room: Arc::new(Semaphore::new(limits::FRAMES_WAITING_BYTES_MAX)),
            stop,
            shared: Arc::clone(&shared),
            store: StoreCell::new(engine.store().clone()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("builds");
        let actor = Actor { engine, clock: Clock::start(), inputs: receiver, stopped, shared, runtime };
        (actor, handle, announced)
    }

    fn frame(bytes: usize) -> Input {
        Input::Frame { session: SessionId(1), bytes: vec![0; bytes] }
    }

    #[test]
    fn a_turn_takes_so_many_inputs_and_no_more() {
        let (mut actor, handle, _) = actor(2 * limits::TURN_INPUTS_MAX);
        let feed = |count| (0..count).for_each(|_| handle.send(frame(0)).now_or_never().expect("there is room"));
        feed(limits::TURN_INPUTS_MAX + 1);
        assert_eq!(actor.gather().map(|inputs| inputs.len()), Some(limits::TURN_INPUTS_MAX));
        assert_eq!(actor.gather().map(|inputs| inputs.len()), Some(1));
        feed(limits::TURN_INPUTS_MAX);
        assert_eq!(actor.gather().map(|inputs| inputs.len()), Some(limits::TURN_INPUTS_MAX));
    }

    #[test]
    fn a_turn_takes_so_many_bytes_of_frames_and_no_more() {
        let (mut actor, handle, _) = actor(limits::TURN_INPUTS_MAX);
        let frames = limits::TURN_BYTES_MAX / FRAME;
        // The first one is taken whatever it is; the rest until the bytes are there.
        for _ in 0..frames + 2 {
            handle.send(frame(FRAME)).now_or_never().expect("there is room");
        }
        assert_eq!(actor.gather().map(|inputs| inputs.len()), Some(frames + 1));
        assert_eq!(actor.gather().map(|inputs| inputs.len()), Some(1));
    }

    #[test]
    fn frames_wait_outside_when_their_room_is_full() {
        let (mut actor, handle, _) = actor(limits::TURN_INPUTS_MAX);
        let send = |bytes| handle.send_frame(SessionId(1), vec![0; bytes]).now_or_never();
        for _ in 0..limits::FRAMES_WAITING_BYTES_MAX / FRAME {
            assert_eq!(send(FRAME), Some(()), "up to the bound");
        }
        assert_eq!(send(1), None, "and not a byte past it");
        actor.gather().expect("there is some");
        assert_eq!(send(1), Some(()));
    }

    #[test]
    fn inputs_wait_outside_when_their_queue_is_full() {
        let (_actor, handle, _) = actor(INPUTS_WAITING_MAX);
        for _ in 0..INPUTS_WAITING_MAX {
            assert_eq!(handle.send(frame(0)).now_or_never(), Some(()));
        }
        assert_eq!(handle.send(frame(0)).now_or_never(), None);
    }

    #[test]
    fn a_session_that_takes_nothing_is_closed_at_its_bound_of_bytes() {
        let (actor, handle, _) = actor(1);
        let (session, outgoing) = handle.open_session();
        let send = |bytes| actor.carry_out(Effect::Send { session, frame: vec![0; bytes] });
        for _ in 0..limits::SESSION_WAITING_BYTES_MAX / FRAME {
            send(FRAME);
        }
        assert_eq!(*outgoing.end.borrow(), None, "at the bound");
        send(1);
        assert_eq!(*outgoing.end.borrow(), Some(CloseCode::Timeout), "and one byte past it");
    }

    #[test]
    fn a_session_that_takes_nothing_is_closed_at_its_bound_of_frames() {
        let (actor, handle, _) = actor(1);
        let (session, outgoing) = handle.open_session();
        let send = || actor.carry_out(Effect::Send { session, frame: vec![0] });
        (0..crate::session::FRAMES_WAITING_MAX).for_each(|_| send());
        assert_eq!(*outgoing.end.borrow(), None, "at the bound");
        send();
        assert_eq!(*outgoing.end.borrow(), Some(CloseCode::Timeout), "and one past it");
    }

    #[test]
    fn announcements_that_have_no_room_are_dropped() {
        let (actor, _handle, mut announced) = actor(1);
        for number in 0..=ANNOUNCEMENTS_WAITING_MAX as u32 {
            let payload = number.to_le_bytes().to_vec();
            actor.carry_out(Effect::Announce { space: SpaceId([0; 32]), payload });
        }
        let held: Vec<_> = std::iter::from_fn(|| announced.try_recv().ok()).collect();
        assert_eq!(held.len(), ANNOUNCEMENTS_WAITING_MAX);
        let last = (ANNOUNCEMENTS_WAITING_MAX as u32 - 1).to_le_bytes().to_vec();
        assert_eq!(held.last().map(|(_, payload)| payload), Some(&last));
    }
}
