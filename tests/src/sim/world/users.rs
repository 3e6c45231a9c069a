//! Users and folders of a world: what people do, rounds of folders, contents that arrive.

use sync_core::{folder::Fs as _, folder::disk::temp_dir, folder::ingest::DOWNLOAD};

use super::World;
use crate::sim::{
    check::Violation,
    editor::{Job, random_action},
    fs::DiskFault,
};

impl World {
    /// A user goes on with what is under way, or begins something.
    pub(super) fn user(&mut self, index: usize, all: bool) {
        let peer = &mut self.peers[index];
        if !peer.has_folder || peer.reads_only || peer.fs.is_dead() {
            return;
        }
        if peer.typing.is_none() {
            let action = random_action(&mut self.rng, &peer.fs);
            let fd = self.next_fd;
            self.next_fd += action.fds();
            let what = format!("user of {index}: {action:?}");
            peer.typing = Some(Job::new(&action, fd));
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

    /// What waits for a word gets one sooner or later; in the end somebody approves of everything.
    fn give_word(&mut self, index: usize) -> Result<(), Violation> {
        if !self.peers[index].is_held() || !(self.healing || self.rng.chance(200)) {
            return Ok(());
        }
        // Who may only read has nothing to tell the others.
        let approve = self.healing || self.peers[index].reads_only || self.rng.chance(500);
        self.note(&format!("user of {index} {} what is held", if approve { "approves" } else { "rejects" }));
        self.totals.words += 1;
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
        }
        if !self.healing && self.rng.chance(self.profile.power_in_step) {
            fs.cut_power_at(1 + self.rng.below(60));
            power = true;
        }
        let types = self.peers[index].typing.is_none() && !self.peers[index].reads_only;
        if !self.healing && types && self.rng.chance(self.profile.race) {
            let action = random_action(&mut self.rng, &fs);
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
            let Some(bytes) = self.peers[from].content(&content.hash) else { continue };
            let fs = self.peers[index].fs.clone();
            let temp = temp_dir().join(&format!("{DOWNLOAD}{}", content.hash));
            let written = fs.create(&temp).is_ok_and(|mut file| {
                std::io::Write::write_all(&mut file, &bytes).is_ok() && file.flush_to_disk().is_ok()
            });
            if written && let Some(process) = &mut self.peers[index].process {
                process.fetches.remove(&content.hash);
                process.fetched.insert(content.hash);
            }
            self.note(&format!("{index} has a content from {from}: {written}"));
            return;
        }
    }
}
