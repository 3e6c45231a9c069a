//! The simulated network: ordered streams that stall and break, in the middle of a frame too, and gossip that is lost,
//! doubled and late.

use std::collections::{BTreeMap, VecDeque};

use sync_core::engine::SessionId;

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Wire {
    /// The sender's name for the session.
    pub(super) session: SessionId,
    /// Frames on their way.
    pub(super) frames: VecDeque<Vec<u8>>,
    /// Whether nothing arrives, though the sender goes on.
    pub(super) stalled: bool,
}

/// A gossip payload on its way.
#[derive(Debug)]
pub(super) struct Rumour {
    pub(super) to: usize,
    pub(super) payload: Vec<u8>,
}

/// All connections, by sender and receiver.
#[derive(Debug, Default)]
pub(super) struct Net {
    pub(super) wires: BTreeMap<(usize, usize), Wire>,
    pub(super) rumours: Vec<Rumour>,
    sessions: u64,
    /// Bytes of frames that were handed over, by sender and receiver, with the three of each length.
    pub(super) bytes: BTreeMap<(usize, usize), u64>,
}

impl Net {
    /// Names for the two ends of a new connection.
    pub(super) fn connect(&mut self, a: usize, b: usize) -> (SessionId, SessionId) {
        let mut wire = |from, to| {
            self.sessions += 1;
            let session = SessionId(self.sessions);
            self.wires.insert((from, to), Wire { session, frames: VecDeque::new(), stalled: false });
            session
        };
        (wire(a, b), wire(b, a))
    }

    pub(super) fn connected(&self, a: usize, b: usize) -> bool {
        self.wires.contains_key(&(a, b))
    }

    /// Ends a connection; what was on its way is lost. Gives the names of the two ends.
    pub(super) fn cut(&mut self, a: usize, b: usize) -> Option<(SessionId, SessionId)> {
        Some((self.wires.remove(&(a, b))?.session, self.wires.remove(&(b, a))?.session))
    }

    /// Everybody that a device is connected with.
    pub(super) fn neighbours(&self, of: usize) -> Vec<usize> {
        self.wires.keys().filter(|(from, _)| *from == of).map(|(_, to)| *to).collect()
    }

    /// Puts a frame on its way; one of a session that is over is lost.
    pub(super) fn send(&mut self, from: usize, session: SessionId, frame: Vec<u8>) {
        let wire = self.wires.iter_mut().find(|((sender, _), wire)| *sender == from && wire.session == session);
        if let Some((ends, wire)) = wire {
            *self.bytes.entry(*ends).or_default() += frame.len() as u64 + 3;
            wire.frames.push_back(frame);
        }
    }

    /// Directions on which something waits and can move.
    pub(super) fn moving(&self) -> Vec<(usize, usize)> {
        let moving = self.wires.iter().filter(|(_, wire)| !wire.stalled && !wire.frames.is_empty());
        moving.map(|(ends, _)| *ends).collect()
    }

    /// The connection that a session of a device is an end of.
    pub(super) fn ends(&self, of: usize, session: SessionId) -> Option<(usize, usize)> {
        self.wires.iter().find(|((from, _), wire)| *from == of && wire.session == session).map(|(ends, _)| *ends)
    }
}
