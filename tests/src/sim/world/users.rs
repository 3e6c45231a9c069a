//! Users and folders of a world: what people do, rounds of folders, contents that arrive.

use sync_core::{folder::Fs as _, folder::disk::temp_dir, folder::ingest::DOWNLOAD};

use super::World;
use crate::sim::{
    cases::Drawn,
    check::Violation,
    editor::{Action, Job, buffer, odd_action, random_action, stale_save},
    fs::DiskFault,
};

impl World {
    /// A user goes on with what is under way, or begins something.
    pub(super) fn user(&mut self, index: usize, all: bool) {
        let peer = &mut self.peers[index];
        if !peer.has_folder || (peer.reads_only && self.profile.odd == 0) || peer.fs.is_dead() {
            return;
        }
        if peer.typing.is_none() {
            let action = self.action(index);
            let fd = self.next_fd;
            self.next_fd += action.fds();
            let what = format!("user of {index}: {action:?}");
            self.peers[index].typing = Some(Job::new(&action, fd));
            self.note(&what);
        }
        let whole = all || self.rng.chance(600);
        let peer = &mut self.peers[index];
        let fs = peer.fs.clone();
        if let Some(job) = &mut peer.typing {
            if whole {
                job.run(&fs);
            } else {
                job.step(&fs);
            }
            if job.is_done() {
                peer.typing = None;
            }
        }
    }

    /// What a user does next: what he does every day, something out of the way, or a save of what he loaded long ago.
    fn action(&mut self, index: usize) -> Action {
        let odd = self.profile.odd > 0 && self.rng.chance(self.profile.odd);
        let peer = &mut self.peers[index];
        let (drawn, action) = if !odd {
            let action = random_action(&mut self.rng, &peer.fs);
            (action.draws(&peer.fs), action)
        } else if let Some(loaded) = peer.buffer.take_if(|_| self.rng.chance(200)) {
            (vec![Drawn::StaleBuffer], stale_save(&mut self.rng, &peer.fs, loaded))
        } else {
            if peer.buffer.is_none() {
                peer.buffer = buffer(&mut self.rng, &peer.fs);
            }
            let (drawn, action) = loop {
                let drawn = odd_action(&mut self.rng, &peer.fs);
                if drawn.0 != Drawn::Rules || !self.drawn.contains(&Drawn::Mount) {
                    break drawn;
                }
            };
            (vec![drawn], action)
        };
        self.drawn.extend(drawn);
        if self.peers[index].process.is_none() {
            self.drew(Drawn::WhileStopped);
        }
        if self.peers[index].reads_only {
            self.drew(Drawn::ReaderEdits);
        }
        action
    }

    /// What waits for a word gets one sooner or later; in the end somebody approves of everything.
    fn give_word(&mut self, index: usize) -> Result<(), Violation> {
        // What somebody took back, and waits for the others' bytes, he does not change his mind about.
        if !self.peers[index].is_held() || self.peers[index].awaits() || !(self.healing || self.rng.chance(200)) {
            return Ok(());
        }
        // Who may only read has nothing to tell the others.
        let approve = self.healing || self.peers[index].reads_only || self.rng.chance(500);
        self.note(&format!("user of {index} {} what is held", if approve { "approves" } else { "rejects" }));
        self.totals.words += 1;
        self.drew(Drawn::Word);
        let (now_ms, space) = (self.now_ms, self.space);
        let turned = self.peers[index].decide(now_ms, &space, approve);
        self.carry_out(index, turned)
    }

    pub(in crate::sim) fn round(&mut self, index: usize) -> Result<(), Violation> {
        if self.peers[index].process.as_ref().is_none_or(|process| process.rounds.is_none()) {
            return Ok(());
        }
        self.give_word(index)?;
        let fs = self.peers[index].fs.clone();
        let mut power = self.arm_store(index);
        if !self.healing && self.rng.chance(self.profile.folder_fault) {
            let fault = *self.rng.pick(&[DiskFault::Io, DiskFault::NoSpace, DiskFault::Denied]);
            fs.fail_nth(1 + self.rng.below(40), fault);
            self.totals.faults += 1;
            self.drew(Drawn::DiskFault);
        }
        if !self.healing && self.rng.chance(self.profile.power_in_step) {
            fs.cut_power_at(1 + self.rng.below(60));
            power = true;
        }
        let types = self.peers[index].typing.is_none() && !self.peers[index].reads_only;
        if !self.healing && types && self.rng.chance(self.profile.race) {
            let action = self.action(index);
            self.drew(Drawn::InARound);
            let fd = self.next_fd;
            self.next_fd += action.fds();
            self.note(&format!("user of {index}, in a round: {action:?}"));
            fs.schedule(1 + self.rng.below(50), Job::new(&action, fd).into_steps());
        }
        let (now_ms, space) = (self.now_ms, self.space);
        let written = fs.writes().len();
        let turned = self.peers[index].round(now_ms, &space);
        if self.log.is_some() {
            for write in &fs.writes()[written..] {
                self.note(&format!("  {index}: {} {}", write.operation, write.path));
            }
            let status = self.peers[index].status(&self.space);
            let bytes: usize = fs.contents().iter().map(|bytes| bytes.len()).sum();
            let commits = status.map_or(0, |status| status.arrivals);
            self.note(&format!("  {index} has {commits} commits and {bytes} bytes"));
        }
        let dead = fs.is_dead();
        self.note(&format!(
            "{index} does a round, {} calls so far{}",
            fs.calls(),
            if dead { ", and dies" } else { "" }
        ));
        self.disarm(index, power, &turned)?;
        if dead && self.peers[index].process.is_some() {
            self.kill(index, power && self.profile.power)?;
        }
        self.carry_out(index, turned)
    }

    /// A content that a folder wants comes from a neighbour that has it on disk.
    pub(super) fn fetch(&mut self, index: usize) {
        let Some(process) = &self.peers[index].process else { return };
        let wanted: Vec<_> = process.fetches.values().copied().collect();
        if wanted.is_empty() {
            return;
        }
        let content = *self.rng.pick(&wanted);
        for from in self.net.neighbours(index) {
            let Some(mut bytes) = self.peers[from].content(&content.hash) else { continue };
            let is_bad = !self.healing && self.profile.bad_content > 0 && self.rng.chance(self.profile.bad_content);
            if is_bad {
                self.drew(Drawn::BadContent);
                let at = self.rng.index(bytes.len());
                match bytes.get_mut(at) {
                    Some(byte) if self.rng.chance(500) => *byte ^= 1,
                    _ => bytes.truncate(at),
                }
            }
            let fs = self.peers[index].fs.clone();
            let temp = temp_dir().join(&format!("{DOWNLOAD}{}", content.hash));
            let written = fs.create(&temp).is_ok_and(|mut file| {
                std::io::Write::write_all(&mut file, &bytes).is_ok() && file.flush_to_disk().is_ok()
            });
            if written && let Some(process) = &mut self.peers[index].process {
                process.fetches.remove(&content.hash);
                process.fetched.insert(content.hash);
            }
            self.note(&format!("{index} has the content {} from {from}: {written}", content.hash));
            return;
        }
    }
}
