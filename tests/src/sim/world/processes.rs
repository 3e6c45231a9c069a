//! Processes of a world: starts, crashes, power cuts, backups that are put back and copies that run.

use super::World;
use crate::sim::{cases::Drawn, check::Violation, image::Loss};

impl World {
    pub(in crate::sim) fn start(&mut self, index: usize) -> Result<(), Violation> {
        if self.peers[index].process.is_some() {
            return Ok(());
        }
        self.note(&format!("{index} starts"));
        let (now_ms, space) = (self.now_ms, self.space);
        match self.peers[index].start(now_ms, &space) {
            Ok(turned) => {
                self.carry_out(index, turned)?;
                self.check_start(index)
            }
            Err(error) => Err(self.violation("a store opens after a crash", &format!("{index}: {error}"))),
        }
    }

    pub(super) fn crash(&mut self, index: usize) -> Result<(), Violation> {
        if self.peers[index].process.is_none() {
            return Ok(());
        }
        self.totals.faults += 1;
        let power = self.profile.power && self.rng.chance(500);
        self.kill(index, power)
    }

    /// Ends a process at once; with the power, what was not flushed goes too.
    pub(in crate::sim) fn kill(&mut self, index: usize, power: bool) -> Result<(), Violation> {
        self.note(&format!("{index} is killed{}", if power { ", with the power" } else { "" }));
        self.drew(Drawn::Killed);
        let loss = if power {
            *self.rng.pick(&[Loss::All, Loss::Nothing, Loss::Tail, Loss::Some, Loss::Torn])
        } else {
            Loss::Nothing
        };
        let seed = self.rng.next_u64();
        let peer = &mut self.peers[index];
        peer.disk = peer.disk.crash(loss, seed);
        if power {
            peer.typing = None;
            peer.fs.crash(&mut self.rng);
        } else {
            peer.fs.restart();
        }
        peer.process = None;
        for other in self.net.neighbours(index) {
            if let Some((_, session)) = self.net.cut(index, other) {
                self.down(other, session)?;
            }
        }
        Ok(())
    }

    /// A backup is made, put back, or run on another machine.
    pub(super) fn rare(&mut self, index: usize) -> Result<(), Violation> {
        if self.profile.restore && self.peers[index].has_folder {
            let Some(image) = self.peers[index].backup.take() else {
                self.peers[index].backup = Some(self.peers[index].disk.image());
                return Ok(());
            };
            if self.peers[index].process.is_some() {
                self.kill(index, false)?;
            }
            self.totals.faults += 1;
            self.note(&format!("the store of {index} is put back"));
            self.drew(Drawn::Restored);
            self.peers[index].disk = self.peers[index].disk.restore(image);
            self.peers[index].restored = true;
            self.checks.restored(index);
            self.forgive_what_nobody_has()?;
        } else if self.profile.clone
            && self.copies(index).len() == 1
            && self.peers.len() <= self.profile.peers
            && self.peers[index].status(&self.space).is_some()
        {
            self.totals.faults += 1;
            let copy = self.peers.len();
            self.note(&format!("{copy} is a copy of {index}"));
            self.drew(Drawn::Doubled);
            self.add_peer(copy);
            self.peers[copy].key = self.peers[index].key.clone();
            self.peers[copy].has_folder = false;
            self.peers[copy].disk = self.peers[index].disk.fork().crash(Loss::Nothing, 0);
        }
        Ok(())
    }

    pub(super) fn acknowledge(&mut self, index: usize) {
        let Some(status) = self.peers[index].status(&self.space) else { return };
        let n = status.vector.len_of(&status.replica);
        self.peers[index].acked.insert(status.replica, n);
    }
}
