//! What happens now and then to a device as a whole: its disk, its home, its clock.

use std::collections::BTreeSet;

use sync_core::{
    engine::Command,
    folder::FoundKind,
    ids::InstallEpoch,
    member::Role,
    tree::{Folds, RelPath},
};

use super::World;
use crate::sim::{cases::Drawn, check::Violation, disk::SimDisk, fs::SimFs};

/// Some days more than a year.
const YEAR_MS: u64 = 400 * 24 * 3_600_000;
/// Number of the file systems that are mounted within others.
const STICK: u64 = 0x20_0001;
/// Numbers that the disk of a folder may have.
const DISKS: u64 = 0x10_0001;
/// Inode of a directory that stands where the folder's was.
const OTHER_INODE: u64 = 77_777;
/// Room that a disk has when it is nearly full.
const LITTLE_ROOM_BYTES: u64 = 20_000;

impl World {
    /// Notes that this came.
    pub(super) fn drew(&mut self, drawn: Drawn) {
        self.drawn.insert(drawn);
    }

    /// Whether this came.
    pub(in crate::sim) fn drawn(&self, drawn: Drawn) -> bool {
        self.drawn.contains(&drawn)
    }

    pub(super) fn odd(&mut self, index: usize) -> Result<(), Violation> {
        match self.rng.below(7) {
            0 => self.the_root_goes_or_comes(index),
            1 => self.a_file_system_comes_or_goes(index),
            2 => return self.the_disk_is_another(index),
            3 => return self.the_folder_is_added_again(index),
            4 => return self.the_home_is_lost(index),
            5 => return self.a_year_passes(),
            _ => self.the_disk_fills_or_empties(index),
        }
        Ok(())
    }

    fn the_root_goes_or_comes(&mut self, index: usize) {
        let instead = match self.rng.below(4) {
            0 => Some(None),
            1 => Some(Some((STICK, OTHER_INODE))),
            2 => return self.the_disk_has_another_number(index),
            _ => None,
        };
        self.note(&format!("at the root of {index} is {instead:?} instead"));
        self.peers[index].fs.replace_root(instead);
        if instead.is_some() {
            self.drew(Drawn::RootGone);
        }
    }

    /// The disk was taken away and plugged in again, maybe before anybody looked.
    fn the_disk_has_another_number(&mut self, index: usize) {
        let number = DISKS + self.rng.below(4);
        self.note(&format!("the disk of {index} is number {number} now"));
        self.peers[index].fs.configure(|config| config.device = number);
        self.drew(Drawn::Renumbered);
    }

    fn a_file_system_comes_or_goes(&mut self, index: usize) {
        let fs = self.peers[index].fs.clone();
        let dirs = fs.paths().into_iter().filter(|(_, kind)| *kind == FoundKind::Dir);
        let dirs: Vec<RelPath> = dirs.map(|(path, _)| path).collect();
        // What is mounted is in no journal of a file system that loses power. And what is on a file system that goes while
        // a rule comes to cover it stands still for good, which is not to be compared.
        if self.profile.power || dirs.is_empty() || self.drawn.contains(&Drawn::Rules) {
            return;
        }
        let dir = self.rng.pick(&dirs).clone();
        let comes = fs.mount(&dir, STICK + self.rng.below(2)).is_ok();
        if !comes && fs.unmount(&dir).is_ok() && self.rng.chance(300) {
            let _is_there = fs.lose_unmounted(&dir);
        }
        self.note(&format!("a file system {} at {dir} of {index}", if comes { "comes" } else { "goes" }));
        self.drew(Drawn::Mount);
    }

    /// The folder moves to a disk with other rules of names, while the program does not run.
    fn the_disk_is_another(&mut self, index: usize) -> Result<(), Violation> {
        let folds = *self.rng.pick(&[Folds::NONE, Folds::ALL, Folds { case: true, form: false }]);
        if !self.peers[index].has_folder || !holds_all(&self.peers[index].fs, folds) {
            return Ok(());
        }
        if self.peers[index].process.is_some() {
            self.kill(index, false)?;
        }
        self.note(&format!("the disk of {index} is one with {folds:?}"));
        self.peers[index].fs.settle();
        self.peers[index].fs.remount(folds);
        self.drew(Drawn::OtherDisk);
        Ok(())
    }

    fn the_folder_is_added_again(&mut self, index: usize) -> Result<(), Violation> {
        let space = self.space;
        let peer = &self.peers[index];
        let runs = peer.process.as_ref().is_some_and(|process| process.rounds.is_some());
        let Some(folder) = peer.folder_row(&space).map(|(folder, _)| folder).filter(|_| runs) else { return Ok(()) };
        self.note(&format!("{index} removes its folder and adds it again"));
        self.command(index, Command::RemoveFolder { folder })?;
        self.peers[index].close_folder();
        self.drew(Drawn::FolderAgain);
        self.bind_folder(index, false)
    }

    /// A device loses its store and its key, and joins with the folder that is still there.
    fn the_home_is_lost(&mut self, index: usize) -> Result<(), Violation> {
        let peer = &self.peers[index];
        let is_in = peer.process.is_some() && peer.status(&self.space).is_some_and(|status| status.name.is_some());
        let host_runs = self.peers[0].process.is_some();
        // Of copies and backups nobody could say which store was the last to have something.
        if index == 0 || !is_in || !host_runs || peer.reads_only || self.may_fork() || self.homes_lost.contains(&index)
        {
            return Ok(());
        }
        self.kill(index, false)?;
        self.note(&format!("the home of {index} is lost"));
        self.homes_lost.insert(index);
        let peer = &mut self.peers[index];
        peer.lose_home(index);
        self.checks.restored(index);
        self.forgive_what_nobody_has()?;
        self.drew(Drawn::LostHome);
        self.join_with(index, Role::Writer, 200 + index as u8, InstallEpoch([100 + index as u8; 16]))
    }

    fn a_year_passes(&mut self) -> Result<(), Violation> {
        if !self.profile.hours {
            return Ok(());
        }
        self.drew(Drawn::Year);
        self.let_pass(YEAR_MS)
    }

    fn the_disk_fills_or_empties(&mut self, index: usize) {
        let fs = &self.peers[index].fs;
        let full = self.rng.chance(500);
        let room = fs.used_bytes() + self.rng.below(LITTLE_ROOM_BYTES);
        fs.configure(|config| config.capacity_bytes = full.then_some(room));
        self.note(&format!("the disk of {index} {}", if full { "fills" } else { "has room" }));
        if full {
            self.drew(Drawn::FullDisk);
        }
    }
}

/// Whether a disk that folds names so much can hold all that is on this one.
fn holds_all(fs: &SimFs, folds: Folds) -> bool {
    let mut taken = BTreeSet::new();
    fs.paths().into_iter().all(|(path, _)| {
        let keys = path.components().iter().map(|name| folds.key(name).into_owned()).collect::<Vec<_>>();
        taken.insert(keys)
    })
}

impl crate::sim::peer::Peer {
    /// Store and key are gone.
    fn lose_home(&mut self, index: usize) {
        self.key = sync_core::commit::SecretKey::from_bytes(&[150 + index as u8; 32]);
        self.disk = SimDisk::default();
        self.acked.clear();
        self.backup = None;
        // Whoever finds the folder finds it where it was.
        self.fs.replace_root(None);
    }
}
