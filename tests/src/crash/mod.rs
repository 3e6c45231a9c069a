//! Crashes of the store: the power goes at every point of a recorded run, and what is left must be a store.
//!
//! [`Recording::make`] lets a device work on a recording disk ([`rig`]) and notes what it held after each turn ([`state`]).
//! [`run`] makes images of the disk as a power cut would leave it after each operation, opens them, and checks:
//! the store equals a committed prefix of turns which contains every acknowledged one; redb finds no fault; documents open;
//! work goes on; and the same holds when the power goes again while the first image is opened. [`faults`] lets calls fail
//! instead.

pub mod faults;
pub mod folder;
pub mod rig;
pub mod state;

use std::{
    ops::AddAssign,
    sync::atomic::{AtomicBool, Ordering},
};

use rand::RngExt as _;
use rig::{Mark, Rig};
use state::State;
use sync_core::engine::Engine;

use crate::{
    author,
    sim::{
        disk::SimDisk,
        image::{Image, Loss},
        replay::{Log, Replay},
        rng,
    },
};

/// How the unsynced writes fare at each point of the recording. Right after a sync nothing can be lost: that is the image
/// where all later ones are.
const LOSSES: [Loss; 18] = [
    Loss::Nothing,
    Loss::Tail,
    Loss::Some,
    Loss::Some,
    Loss::Some,
    Loss::Some,
    Loss::Some,
    Loss::Some,
    Loss::Some,
    Loss::Some,
    Loss::Torn,
    Loss::Torn,
    Loss::Torn,
    Loss::Torn,
    Loss::Torn,
    Loss::Torn,
    Loss::Torn,
    Loss::Torn,
];

/// Of so many images, one has its documents opened and is checked by redb itself.
const SAMPLE: u64 = 32;

/// What was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Images of crashes.
    pub images: u64,
    /// Images of crashes while such an image was opened and worked on.
    pub double_images: u64,
    /// Images that held the turn in flight, too.
    pub ahead: u64,
    /// Documents that were opened.
    pub documents: u64,
    /// Images that redb's own check was run on.
    pub integrity_checks: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.images += other.images;
        self.double_images += other.double_images;
        self.ahead += other.ahead;
        self.documents += other.documents;
        self.integrity_checks += other.integrity_checks;
    }
}

/// How much to check.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides the run and all that is lost.
    pub seed: u64,
    /// Turns of the run.
    pub turns: usize,
    /// Images at the most, spread over the run.
    pub images_max: u64,
    /// Of so many images, one gets a second crash while it is opened.
    pub double_every: u64,
    /// Threads.
    pub workers: u64,
}

/// Says which image it was when a check fails.
struct Context {
    seed: u64,
    image: u64,
    loss: Loss,
    at: usize,
}

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, image, loss, at } = self;
            eprintln!("seed {seed}, image {image}: power cut after operation {at}, lost: {loss:?}");
        }
    }
}

/// A run of a device, with its disk.
#[derive(Debug)]
pub struct Recording {
    seed: u64,
    log: Log,
    marks: Vec<Mark>,
    empty: State,
}

/// A disk after a crash, opened and worked on.
struct Opened {
    /// What it held.
    state: State,
    /// When it was open.
    open: usize,
    /// When one more commit was acknowledged.
    appended: usize,
    /// What was done until it was closed again.
    log: Log,
    disk: SimDisk,
}

impl Recording {
    /// Lets a device work for so many turns and then close its store.
    ///
    /// # Panics
    /// When something fails, which nothing has a reason to.
    #[must_use]
    pub fn make(seed: u64, turns: usize) -> Self {
        let disk = SimDisk::default();
        disk.record();
        let mut rig = Rig::new(seed, disk.clone());
        rig.marks = Some(Vec::new());
        rig.reopen(disk).expect("opens");
        let empty = State::of(rig.device()).expect("reads");
        while rig.turns < turns {
            rig.step().expect("a healthy disk does not fail");
        }
        rig.assert_converged().expect("a healthy disk does not fail");
        let Rig { disk, marks, .. } = rig;
        let log = disk.take_log().expect("was recorded");
        Self { seed, log, marks: marks.expect("was asked for"), empty }
    }

    /// How many operations of the disk it has.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.log.ops.len()
    }

    /// How many images can be made of it.
    #[must_use]
    pub fn images(&self) -> u64 {
        let mut replay = self.log.replay();
        let mut images = losses(&replay).len();
        while replay.step() {
            images += losses(&replay).len();
        }
        images as u64
    }

    /// How many commits of the store it has: turns that wrote.
    #[must_use]
    pub fn commits(&self) -> usize {
        let ats: Vec<usize> = self.marks.iter().map(|mark| mark.at).collect();
        ats.windows(2).filter(|pair| pair[0] < pair[1]).count() + 1
    }

    /// What a crash after so many operations may leave: what was acknowledged, or the turn in flight as well.
    fn allowed(&self, at: usize) -> (&State, &State) {
        let returned = self.marks.partition_point(|mark| mark.at <= at);
        let acknowledged = returned.checked_sub(1).map_or(&self.empty, |last| &self.marks[last].state);
        let in_flight = self.marks.get(returned).map_or(acknowledged, |mark| &mark.state);
        (acknowledged, in_flight)
    }

    /// Checks a share of the images: those whose turn it is for this worker.
    fn check_share(&self, plan: &Plan, worker: u64, failed: &AtomicBool) -> Totals {
        let mut totals = Totals::default();
        let mut replay = self.log.replay();
        let images = self.images();
        let wanted = images.min(plan.images_max);
        let (mut index, mut taken) = (0, 0);
        loop {
            for loss in losses(&replay) {
                // Spread evenly over all: as many are taken as the share of those passed says.
                let is_taken = index * wanted / images < (index + 1) * wanted / images;
                if is_taken && taken % plan.workers == worker && !failed.load(Ordering::Relaxed) {
                    let turn = taken / plan.workers;
                    let image = replay.image(*loss, &mut rng(self.seed ^ index));
                    let _context = Context { seed: self.seed, image: index, loss: *loss, at: replay.at() };
                    let opened = self.check_image(image, replay.at(), turn.is_multiple_of(SAMPLE), &mut totals);
                    if turn.is_multiple_of(plan.double_every) {
                        self.check_double(index, &opened, turn.is_multiple_of(SAMPLE), &mut totals);
                    }
                }
                taken += u64::from(is_taken);
                index += 1;
            }
            if !replay.step() {
                return totals;
            }
        }
    }

    /// Checks the image of a crash after so many operations.
    fn check_image(&self, image: Image, at: usize, is_sample: bool, totals: &mut Totals) -> Opened {
        let (acknowledged, in_flight) = self.allowed(at);
        let opened = check_opens(image, &[acknowledged, in_flight], "appended", is_sample, totals);
        totals.images += 1;
        totals.ahead += u64::from(opened.state != *acknowledged);
        opened
    }

    /// Checks the image of a crash while the image of a crash was opened and worked on.
    fn check_double(&self, index: u64, opened: &Opened, is_sample: bool, totals: &mut Totals) {
        let mut rng = rng(!(self.seed ^ index));
        let cut = rng.random_range(0..=opened.log.ops.len());
        let loss = if rng.random_bool(0.1) { Loss::All } else { LOSSES[rng.random_range(0..LOSSES.len())] };
        let _context = Context { seed: self.seed, image: index, loss, at: cut };
        let mut replay = opened.log.replay();
        while replay.at() < cut && replay.step() {}
        let image = replay.image(loss, &mut rng);
        let after = State::of(&rig::open(&opened.disk).expect("opens again")).expect("reads");
        let (before, after) = (&opened.state, &after);
        // What the first opening saw, it may have told somebody: it must not fall back behind that.
        let allowed = match cut {
            cut if cut < opened.open => [before, before],
            cut if cut < opened.appended => [before, after],
            _ => [after, after],
        };
        check_opens(image, &allowed, "appended again", is_sample, totals);
        totals.double_images += 1;
    }
}

/// What can be lost at a place of a recording.
fn losses(replay: &Replay<'_>) -> &'static [Loss] {
    if replay.unsynced().is_empty() { &[Loss::All] } else { &LOSSES }
}

/// Opens the store on an image and checks what it holds and that it works.
fn check_opens(image: Image, allowed: &[&State], name: &str, is_sample: bool, totals: &mut Totals) -> Opened {
    let disk = SimDisk::from_image(image);
    disk.record();
    let mut engine = rig::open(&disk).expect("an image of a crash opens");
    let open = disk.recorded();
    let state = State::of(&engine).expect("reads");
    assert!(
        allowed.contains(&&state),
        "neither what was acknowledged nor what was in flight: {:?}, but {:?}",
        state.spaces,
        allowed.iter().map(|state| &state.spaces).collect::<Vec<_>>()
    );
    if is_sample && let Some(space) = engine.status().first().map(|status| status.space) {
        let documents = author::documents(&engine, &space).expect("reads");
        for doc in documents.keys() {
            author::text(&engine, &space, *doc).expect("a document opens");
        }
        let entries = author::entries(&engine, &space).expect("entries read");
        assert_eq!(entries.len(), documents.len());
        totals.documents += documents.len() as u64;
    }
    rig::append(&mut engine, name).expect("work goes on");
    let appended = disk.recorded();
    let arrivals = |engine: &Engine| engine.status().first().map_or(0, |space| space.arrivals);
    assert_eq!(arrivals(&engine), state.spaces.first().map_or(0, |space| space.3) + 1, "one commit more");
    drop(engine);
    let log = disk.take_log().expect("was recorded");
    if is_sample {
        assert_integrity(&disk);
        totals.integrity_checks += 1;
    }
    Opened { state, open, appended, log, disk }
}

/// Lets redb read every page of a closed store.
///
/// # Panics
/// When it finds fault with one.
pub fn assert_integrity(disk: &SimDisk) {
    let mut database = redb::Database::builder().create_with_backend(disk.clone()).expect("opens");
    assert!(database.check_integrity().expect("every page reads"), "redb had to repair");
}

/// Records a run and checks images of it on several threads.
///
/// # Panics
/// When an image does not hold what it must; what was printed before says which.
#[must_use]
pub fn run(plan: &Plan) -> (Recording, Totals) {
    let recording = Recording::make(plan.seed, plan.turns);
    let failed = AtomicBool::new(false);
    let mut totals = Totals::default();
    std::thread::scope(|scope| {
        let (recording, failed) = (&recording, &failed);
        let workers: Vec<_> = (0..plan.workers)
            .map(|worker| {
                scope.spawn(move || {
                    // The others stop when one has failed.
                    let work = std::panic::AssertUnwindSafe(|| recording.check_share(plan, worker, failed));
                    std::panic::catch_unwind(work).unwrap_or_else(|panic| {
                        failed.store(true, Ordering::Relaxed);
                        std::panic::resume_unwind(panic)
                    })
                })
            })
            .collect();
        for worker in workers {
            totals += worker.join().expect("the images hold what they must");
        }
    });
    (recording, totals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::image::Op;

    /// The checks must be able to fail: a disk that says that it synced, and did not, loses what was acknowledged.
    #[test]
    fn a_disk_that_lies_about_its_syncs_is_found_out() {
        let mut recording = Recording::make(1, 40);
        for op in &mut recording.log.ops {
            if *op == Op::Sync {
                *op = Op::Write { offset: 0, bytes: Vec::new().into() };
            }
        }
        let plan = Plan { seed: 1, turns: 40, images_max: 200, double_every: 1, workers: 1 };
        let check = || recording.check_share(&plan, 0, &AtomicBool::new(false));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err());
    }

    /// The same for a device that acknowledges a turn before its last write.
    #[test]
    fn a_device_that_acknowledges_too_early_is_found_out() {
        let mut recording = Recording::make(1, 40);
        for mark in &mut recording.marks {
            mark.at = mark.at.saturating_sub(2);
        }
        let plan = Plan { seed: 1, turns: 40, images_max: 1000, double_every: 1000, workers: 1 };
        let check = || recording.check_share(&plan, 0, &AtomicBool::new(false));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err());
    }
}
