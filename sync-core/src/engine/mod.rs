//! The engine: `(now, inputs) → effects`, one durable turn at a time.
//!
//! [`Engine::turn`] takes all inputs that are waiting, applies them in one write transaction of the store, commits, and
//! only then returns its effects. So nothing is ever sent, announced or acknowledged that is not durable. When the
//! commit fails no effect leaves, and the engine must be dropped and made again from the store.
//!
//! The engine has no clock, no sockets, no tasks and no randomness of its own: the host brings the time with each turn
//! and a seed at the start. The same engine thus runs under tokio and iroh and under a simulator.
//!
//! It opens no document: commits are verified, stored and passed on as bytes. Where to go next: [`space`] is what is
//! known of one space, `commits` takes commits in and appends our own, `door` checks each change of one with `made`, what
//! its past made, `session` is the exchange with one peer and `sending` its sending half, `hints` what gossip says,
//! `fork` finds where two versions of one log part and `repair` builds a space again without
//! the one that lost, `command` is what the host asks for. Documents are opened by [`history`](crate::history), for
//! everybody else; only `repair` opens some, to commit again what was set aside.

#[cfg(test)]
mod bounds;
mod command;
mod commits;
mod door;
mod fork;
mod hints;
mod made;
mod repair;
mod sending;
mod session;
pub mod space;

use std::collections::BTreeMap;

pub use command::{Command, Outcome, Refused};
pub use commits::CommitFault;
pub use door::ChangeFault;
use session::Session;
use space::Space;
pub use space::{ForkStatus, PeerStatus, SpaceStatus};

use crate::{
    commit::SecretKey,
    ids::{DeviceId, DocId, ReplicaId, SpaceId, context, derive},
    limits,
    probe::{Plant, planted},
    store::{Edit, Store, StoreError, Tables, Write},
    wire::{self, CloseCode},
};

/// The time of a turn, as the host's clocks have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds that only grow; deadlines are in these.
    pub mono_ms: u64,
    /// Milliseconds since 1970; for display, and for the end of invites that this device admits with.
    pub wall_ms: u64,
}

/// Names a session with a peer; the host never reuses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Names a command or edit; the host finds its answer by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What happened outside.
#[derive(Debug)]
pub enum Input {
    /// A connection on the sync ALPN to an authenticated peer.
    SessionUp {
        /// Its new name.
        session: SessionId,
        /// The peer.
        peer: DeviceId,
    },
    /// That connection is gone.
    SessionDown {
        /// Which.
        session: SessionId,
    },
    /// A frame from a peer, not yet looked at.
    Frame {
        /// From which session.
        session: SessionId,
        /// Without its length.
        bytes: Vec<u8>,
    },
    /// The host has written so many bytes of frames to the stream.
    Written {
        /// To which session.
        session: SessionId,
        /// How many, without their lengths.
        bytes: usize,
    },
    /// A payload from gossip, not yet looked at.
    Announcement {
        /// The space of the topic.
        space: SpaceId,
        /// The payload.
        bytes: Vec<u8>,
    },
    /// Local edits, each whole or not at all, with what they mean for the base.
    Edit {
        /// The space.
        space: SpaceId,
        /// The edits.
        edits: Vec<Edit>,
        /// Where the answer goes.
        ticket: Ticket,
    },
    /// Rows for the store that need no commit.
    Write {
        /// The space that they concern.
        space: SpaceId,
        /// The rows.
        writes: Vec<Write>,
        /// Where the answer goes.
        ticket: Ticket,
    },
    /// Gossip may have missed something: compare with somebody.
    Missed {
        /// The space of the topic.
        space: SpaceId,
    },
    /// The folder agrees with the documents up to this number of the order of arrival, or with none.
    Settled {
        /// The space, by its handle: once it was built again it has another, and what was said before counts no more.
        handle: u32,
        /// Up to where; `None` while something on disk waits to be read.
        upto: Option<u64>,
    },
    /// The host asks for something.
    Command {
        /// What.
        command: Command,
        /// Where the answer goes.
        ticket: Ticket,
    },
}

/// What the host is to do, in order.
#[derive(Debug)]
pub enum Effect {
    /// Send a frame.
    Send {
        /// To which session.
        session: SessionId,
        /// Without its length.
        frame: Vec<u8>,
    },
    /// End a session.
    Close {
        /// Which.
        session: SessionId,
        /// Why.
        code: CloseCode,
    },
    /// Broadcast on the space's gossip topic.
    Announce {
        /// The space.
        space: SpaceId,
        /// The payload.
        payload: Vec<u8>,
    },
    /// Commits came in: documents changed, and the folder should follow.
    Changed {
        /// The space.
        space: SpaceId,
        /// The documents, in order of arrival.
        docs: Vec<DocId>,
        /// How far the order of arrival is now.
        arrivals: u64,
    },
    /// The answer to a command or edit.
    Done {
        /// Whose.
        ticket: Ticket,
        /// What came of it.
        outcome: Result<Outcome, Refused>,
    },
    /// Something that the application may want to know.
    Event(Event),
}

/// What an application may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The members of a space changed, or a space came or went.
    Members {
        /// The space.
        space: SpaceId,
    },
    /// A replica has two different commits of one number: a copied or restored store, or malice.
    Fork {
        /// The space.
        space: SpaceId,
        /// The replica's device, if known.
        peer: DeviceId,
    },
    /// Our own log had forked or was behind what peers have of it: this device goes on under a new replica, and the
    /// space may have been built again. Whoever holds documents or a base of it must read them anew.
    Rebuilt {
        /// The space.
        space: SpaceId,
        /// Commits that were set aside.
        set_aside: u64,
        /// How many of them were ours and were committed again.
        committed_again: u64,
        /// Edits among them that could not be made again, because their document cannot be read.
        not_made: u64,
    },
    /// Equal vectors and unequal roots: a fault that must be reported, never called synced.
    RootMismatch {
        /// The space.
        space: SpaceId,
        /// The peer.
        peer: DeviceId,
    },
    /// A peer sent what can never be accepted.
    BadPeer {
        /// The peer.
        peer: DeviceId,
        /// What was wrong.
        reason: String,
    },
}

/// The engine cannot go on with this handle of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The state machine of one device. Call [`turn`](Self::turn) with everything that happened, carry out the effects in
/// order, and call it again at the latest at [`next_deadline`](Self::next_deadline).
#[derive(Debug)]
pub struct Engine {
    store: Store,
    key: SecretKey,
    device: DeviceId,
    seed: [u8; 32],
    draws: u64,
    /// The time of the turn.
    mono_ms: u64,
    spaces: BTreeMap<u32, Space>,
    sessions: BTreeMap<SessionId, Session>,
    effects: Vec<Effect>,
    /// Whether this turn has written anything: a turn that has not needs no commit.
    dirty: bool,
}

impl Engine {
    /// Makes the engine of the device with this key from what the store holds.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: Store, key: SecretKey, seed: [u8; 32]) -> Result<Self, EngineError> {
        let snapshot = store.read()?;
        let mut spaces = BTreeMap::new();
        for (handle, row) in snapshot.spaces()? {
            if !row.left {
                spaces.insert(handle, Space::load(&snapshot, handle, row)?);
            }
        }
        Ok(Self {
            device: key.device(),
            store,
            key,
            seed,
            draws: 0,
            mono_ms: 0,
            spaces,
            sessions: BTreeMap::new(),
            effects: Vec::new(),
            dirty: false,
        })
    }

    /// This device.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// A view for readers on other threads.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Applies the inputs in one transaction and returns what is to be done.
    ///
    /// # Errors
    /// When the store fails: nothing of the turn happened, and the engine must be made again.
    pub fn turn(&mut self, now: Now, inputs: Vec<Input>) -> Result<Vec<Effect>, EngineError> {
        debug_assert!(self.effects.is_empty(), "effects of the last turn were taken");
        self.dirty = false;
        self.mono_ms = now.mono_ms;
        let turn = self.store.begin()?;
        {
            let mut tables = turn.tables()?;
            self.repair_forks(&mut tables, now)?;
            for input in inputs {
                self.handle(&mut tables, now, input)?;
            }
            self.expire(&mut tables, now)?;
            self.pump_all(&mut tables, now)?;
            for space in self.spaces.values_mut() {
                space.flush(&mut tables)?;
            }
        }
        if self.dirty
            && let Err(error) = turn.commit()
            && !planted(Plant::EffectsOnFailedCommit)
        {
            return Err(error.into());
        }
        Ok(std::mem::take(&mut self.effects))
    }

    fn handle(&mut self, tables: &mut Tables<'_>, now: Now, input: Input) -> Result<(), EngineError> {
        match input {
            Input::SessionUp { session, peer } => self.session_up(now, session, peer),
            Input::SessionDown { session } => {
                self.sessions.remove(&session);
            }
            Input::Frame { session, bytes } => match wire::decode(&bytes) {
                Ok(message) => self.message(tables, now, session, message)?,
                Err(error) => self.close(session, error.into(), &error.to_string()),
            },
            Input::Written { session, bytes } => self.written(session, bytes),
            Input::Announcement { space, bytes } => self.announcement(tables, now, space, &bytes)?,
            Input::Edit { space, edits, ticket } => {
                let outcome = self.edit(tables, now, space, edits)?;
                self.effects.push(Effect::Done { ticket, outcome });
            }
            Input::Write { space, writes, ticket } => {
                let outcome = self.write(tables, space, writes)?;
                self.effects.push(Effect::Done { ticket, outcome });
            }
            Input::Missed { space } => {
                if let Some(handle) = self.space_of(&space) {
                    self.repair(handle);
                }
            }
            Input::Settled { handle, upto } => self.settled(handle, upto),
            Input::Command { command, ticket } => {
                let outcome = self.command(tables, now, command)?;
                self.effects.push(Effect::Done { ticket, outcome });
            }
        }
        Ok(())
    }

    /// When the engine next wants a turn without any input, in monotonic milliseconds.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let sessions = self.sessions.values().filter_map(Session::deadline);
        let timers = self.spaces.values().filter_map(|space| space.repair_at);
        let losing = self.spaces.values().any(|space| !space.losing.is_empty()).then_some(0);
        let asks = self.spaces.values().filter(|space| !space.wanted.is_empty()).map(|space| space.ask_at);
        // Whoever was asked for silence is asked again when nobody's claims are waited for any more.
        let silence = self.sessions.values().any(|session| !session.silenced.is_empty());
        let links = self.sessions.values().filter(|_| silence).flat_map(|session| session.links.values());
        let patience = links.map(|link| link.patience).filter(|until| *until > self.mono_ms);
        sessions.chain(timers).chain(losing).chain(asks).chain(patience).min()
    }

    /// What is known of each space and of the peers in it.
    #[must_use]
    pub fn status(&self) -> Vec<SpaceStatus> {
        self.spaces
            .values()
            .map(|space| {
                let links = self
                    .sessions
                    .values()
                    .filter_map(|session| Some((session.peer, session.links.get(&space.handle)?)));
                space.status(self.device, links)
            })
            .collect()
    }

    fn space_of(&self, id: &SpaceId) -> Option<u32> {
        self.spaces.iter().find_map(|(handle, space)| (space.row.id == *id).then_some(*handle))
    }

    /// A number below `bound` that the seed and the count of draws decide.
    fn draw(&mut self, bound: u64) -> u64 {
        self.draws += 1;
        let bytes = derive(context::JITTER, &[&self.seed, &self.draws.to_le_bytes()]);
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[..8]);
        u64::from_le_bytes(word) % bound.max(1)
    }

    /// When the slow timer of a space rings next.
    fn next_repair(&mut self, now: Now) -> u64 {
        now.mono_ms + limits::REPAIR_EVERY_MS / 2 + self.draw(limits::REPAIR_EVERY_MS)
    }

    fn close(&mut self, session: SessionId, code: CloseCode, reason: &str) {
        if let Some(gone) = self.sessions.remove(&session) {
            if code != CloseCode::Shutdown {
                let event = Event::BadPeer { peer: gone.peer, reason: reason.to_owned() };
                self.effects.push(Effect::Event(event));
            }
            let frame = wire::encode(&wire::Message::Close { code });
            self.effects.push(Effect::Send { session, frame });
            self.effects.push(Effect::Close { session, code });
        }
    }
}

impl Engine {
    /// The handle of a space in the store, for readers.
    #[must_use]
    pub fn space_handle(&self, id: &SpaceId) -> Option<u32> {
        self.space_of(id)
    }

    /// Our own replica in a space.
    #[must_use]
    pub fn replica(&self, id: &SpaceId) -> Option<ReplicaId> {
        self.space_of(id).map(|handle| self.spaces[&handle].row.replica)
    }

    /// Whether a device may open the sync and content ALPNs: it shares a space with us.
    #[must_use]
    pub fn admitted(&self) -> Vec<DeviceId> {
        let mut devices: Vec<DeviceId> = self
            .spaces
            .values()
            .flat_map(|space| space.membership.members().map(|(device, _)| *device).chain(space.row.bootstrap.clone()))
            .collect();
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// Whether the join ALPN is open: some invite could still be used.
    #[must_use]
    pub fn expects_joiners(&self, wall_ms: u64) -> bool {
        self.spaces.values().any(|space| space.membership.has_open_invite(wall_ms))
    }

    #[doc(hidden)]
    #[must_use]
    pub fn documents(&self, id: &SpaceId) -> Vec<DocId> {
        let mut docs = Vec::new();
        if let (Some(handle), Ok(snapshot)) = (self.space_of(id), self.store.read()) {
            let _fails_as_empty = snapshot.each_document(handle, |doc, _| docs.push(doc));
        }
        docs
    }
}
