//! The network of a world: connections, frames on them, gossip.

use sync_core::{
    engine::{Input, SessionId},
    ids::DeviceId,
};

use super::World;
use crate::sim::{cases::Drawn, check::Violation, net::Rumour};

impl World {
    pub(in crate::sim) fn connect(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let up = self.peers[a].process.is_some() && self.peers[b].process.is_some();
        let (device_a, device_b) = (self.peers[a].device(), self.peers[b].device());
        if a == b || !up || device_a == device_b || self.net.connected(a, b) {
            return Ok(());
        }
        // One device has one connection to another: of two copies of a device the newer one is heard.
        for copy in self.copies(a).into_iter().filter(|copy| *copy != a) {
            self.cut(copy, b)?;
        }
        for copy in self.copies(b).into_iter().filter(|copy| *copy != b) {
            self.cut(a, copy)?;
        }
        self.note(&format!("{a} and {b} connect"));
        let (session_a, session_b) = self.net.connect(a, b);
        self.turn(a, vec![Input::SessionUp { session: session_a, peer: device_b }])?;
        if self.net.connected(a, b) && self.peers[b].process.is_some() {
            self.turn(b, vec![Input::SessionUp { session: session_b, peer: device_a }])?;
        }
        Ok(())
    }

    pub(in crate::sim) fn copies(&self, of: usize) -> Vec<usize> {
        let device: DeviceId = self.peers[of].device();
        (0..self.peers.len()).filter(|other| self.peers[*other].device() == device).collect()
    }

    pub(in crate::sim) fn cut(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let Some((session_a, session_b)) = self.net.cut(a, b) else { return Ok(()) };
        self.note(&format!("{a} and {b} part"));
        self.down(a, session_a)?;
        self.down(b, session_b)
    }

    pub(super) fn down(&mut self, index: usize, session: SessionId) -> Result<(), Violation> {
        if self.peers[index].process.is_some() {
            self.turn(index, vec![Input::SessionDown { session }])?;
        }
        Ok(())
    }

    pub(super) fn cut_some(&mut self) -> Result<(), Violation> {
        let ends: Vec<(usize, usize)> = self.net.wires.keys().copied().collect();
        if ends.is_empty() {
            return Ok(());
        }
        let (a, b) = *self.rng.pick(&ends);
        self.totals.faults += 1;
        self.drew(Drawn::Parted);
        self.cut(a, b)
    }

    pub(super) fn stall(&mut self) {
        let ends: Vec<(usize, usize)> = self.net.wires.keys().copied().collect();
        if !ends.is_empty() {
            let ends = *self.rng.pick(&ends);
            if let Some(wire) = self.net.wires.get_mut(&ends) {
                wire.stalled = !wire.stalled;
                self.totals.faults += 1;
            }
        }
    }

    pub(super) fn deliver_some(&mut self) -> Result<(), Violation> {
        let moving = self.net.moving();
        if moving.is_empty() {
            return Ok(());
        }
        let ends = *self.rng.pick(&moving);
        if !self.healing && self.rng.chance(self.profile.frame_cut) {
            // A part of a frame arrived; then the connection broke.
            self.totals.faults += 1;
            return self.cut(ends.0, ends.1);
        }
        let most = 1 + self.rng.below(4);
        self.deliver(ends, most)
    }

    /// Lets up to so many frames of a direction arrive in one turn.
    pub(super) fn deliver(&mut self, (from, to): (usize, usize), most: u64) -> Result<(), Violation> {
        let Some(session) = self.net.wires.get(&(to, from)).map(|wire| wire.session) else { return Ok(()) };
        let Some(wire) = self.net.wires.get_mut(&(from, to)) else { return Ok(()) };
        let count = wire.frames.len().min(most as usize);
        let frames: Vec<Vec<u8>> = wire.frames.drain(..count).collect();
        let written: usize = frames.iter().map(Vec::len).sum();
        let back = wire.session;
        self.note(&format!("{count} frames of {from} reach {to}"));
        self.turn(to, frames.into_iter().map(|bytes| Input::Frame { session, bytes }).collect())?;
        if self.net.wires.get(&(from, to)).is_some_and(|wire| wire.session == back) {
            self.turn(from, vec![Input::Written { session: back, bytes: written }])?;
        }
        Ok(())
    }

    /// Delivers until nothing is on its way.
    pub(in crate::sim) fn deliver_all(&mut self) -> Result<(), Violation> {
        let mut steps = 0;
        while let Some(ends) = self.net.moving().first().copied() {
            self.deliver(ends, 16)?;
            steps += 1;
            if steps > 20_000 {
                return Err(self.violation("the exchange comes to rest", "20 000 frames and more to come"));
            }
        }
        Ok(())
    }

    pub(super) fn gossip(&mut self, from: usize, payload: &[u8]) {
        for to in 0..self.peers.len() {
            if to == from || self.healing || self.rng.chance(self.profile.gossip_lost) {
                continue;
            }
            let copies = 1 + u64::from(self.rng.chance(self.profile.gossip_doubled));
            for _ in 0..copies {
                self.net.rumours.push(Rumour { to, payload: payload.to_vec() });
            }
        }
    }

    /// Any rumour may come next: they overtake each other.
    pub(super) fn rumour(&mut self) -> Result<(), Violation> {
        if self.net.rumours.is_empty() {
            return Ok(());
        }
        let index = self.rng.index(self.net.rumours.len());
        let Rumour { to, payload } = self.net.rumours.swap_remove(index);
        self.note(&format!("{to} hears {} bytes", payload.len()));
        let space = self.space;
        self.turn(to, vec![Input::Announcement { space, bytes: payload }])
    }
}
