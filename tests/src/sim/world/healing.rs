//! Healing of a world: faults are over, and all must come to be equal.

use sync_core::member::Role;

use super::{HEAL_ROUNDS, HEAL_STEP_MS, World};
use crate::sim::{cases::Drawn, check::Violation, fs::WatchFaults};

/// Rounds in which what a reader changed is taken back: it waits for contents.
const REVERT_ROUNDS: u32 = 8;

impl World {
    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.healing = true;
        self.note("faults are over");
        self.net.rumours.clear();
        for index in 0..self.peers.len() {
            let peer = &mut self.peers[index];
            peer.disk.heal();
            peer.fs.heal();
            peer.fs.set_watch_faults(WatchFaults::default());
            // Who was to type in the middle of a round that never came does it now: from here on users are quiet.
            peer.fs.catch_up();
            if let Some(mut job) = peer.typing.take() {
                let fs = peer.fs.clone();
                job.run(&fs);
            }
            peer.fs.mend();
        }
        let count = self.peers.len();
        for index in 0..count {
            self.start(index)?;
        }
        let last = self.profile.peers - 1;
        if self.profile.late_joiner && self.peers[last].status(&self.space).is_none() {
            self.join(last, Role::Writer)?;
        }
        for wire in self.net.wires.values_mut() {
            wire.stalled = false;
        }
        // Events that were lost are made up for by the next full look.
        for peer in &mut self.peers {
            if let Some(rounds) = peer.process.as_mut().and_then(|process| process.rounds.as_mut()) {
                rounds.rescan();
            }
        }
        let mut rounds = 0;
        loop {
            self.heal_round()?;
            rounds += 1;
            if let Err(difference) = self.differences() {
                if rounds >= HEAL_ROUNDS {
                    return Err(self.violation("all are equal after healing", &difference));
                }
            } else {
                self.totals.heal_rounds = u64::from(rounds);
                return self.readers_take_back();
            }
        }
    }

    /// Who may only read takes back what he changed, and has what the others have.
    fn readers_take_back(&mut self) -> Result<(), Violation> {
        let readers: Vec<usize> = (0..self.peers.len()).filter(|index| self.peers[*index].reads_only).collect();
        if self.profile.odd == 0 || readers.is_empty() {
            return Ok(());
        }
        for round in 1.. {
            for index in &readers {
                let (now_ms, space) = (self.now_ms, self.space);
                let (turned, told) = self.peers[*index].revert(now_ms, &space);
                self.note(&format!("user of {index} takes back what he changed: {told}"));
                self.carry_out(*index, turned)?;
                self.drew(Drawn::Reverted);
            }
            self.heal_round()?;
            match self.differences().and_then(|()| self.differences_of_readers()) {
                Ok(()) => break,
                Err(difference) if round == REVERT_ROUNDS => {
                    return Err(self.violation("who may only read can take back what he changed", &difference));
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Connects everybody in a ring, delivers everything, lets folders do their rounds, and lets some time pass.
    pub(in crate::sim) fn heal_round(&mut self) -> Result<(), Violation> {
        let before = self.before_a_round();
        let count = self.peers.len();
        // Copies of a device take turns: there is one connection to a device.
        self.heals += 1;
        let turn = self.heals % 2 == 1;
        let here: Vec<usize> = (0..count)
            .filter(|index| self.copies(*index).len() == 1 || (*index < self.profile.peers) == turn)
            .collect();
        // A ring and no more: what two do not share directly must be passed on.
        for (place, a) in here.iter().enumerate() {
            self.connect(*a, here[(place + 1) % here.len()])?;
            // Until it has the genesis, a joiner knows nobody but its host; and who knows only whoever is no more does not
            // talk to the neighbours that he has now.
            let knows_one = self.peers[*a].status(&self.space).is_none_or(|status| status.name.is_none());
            if knows_one || !self.homes_lost.is_empty() {
                self.connect(*a, 0)?;
            }
        }
        for index in (0..count).filter(|_| self.drawn.contains(&Drawn::Mount)).collect::<Vec<_>>() {
            let (now_ms, space) = (self.now_ms, self.space);
            let turned = self.peers[index].let_go(now_ms, &space);
            self.carry_out(index, turned)?;
        }
        for _ in 0..6 {
            self.deliver_all()?;
            for index in 0..count {
                self.tick(300);
                self.round(index)?;
                for _ in 0..8 {
                    self.fetch(index);
                }
            }
            self.tick(700);
            self.deadlines()?;
        }
        self.tick(HEAL_STEP_MS);
        self.deadlines()?;
        self.bytes_fit_what_is_missing(&before)
    }

    /// A round of a folder when nothing fails any more.
    pub(in crate::sim) fn quiet_round(&mut self, index: usize) -> Result<(), Violation> {
        self.healing = true;
        self.tick(2_500);
        self.round(index)
    }
}
