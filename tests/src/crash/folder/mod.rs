//! Crashes of a device with a folder: the power goes at every point of a recorded run, and takes what neither disk had
//! flushed, each by itself.
//!
//! [`Recording::make`] lets a device work on two recording disks (`tape`), with a user who edits files and a peer whose
//! changes it materializes (`pair`, `remote`). [`run`] makes images of both disks as a power cut would leave them after
//! each operation of either, starts the device on them, and checks (`check`) that it comes to rest with nothing lost and
//! all in agreement; and the same when the power goes again in the middle of that.

mod check;
mod pair;
mod remote;
mod tape;

use std::{
    ops::AddAssign,
    sync::atomic::{AtomicBool, Ordering},
};

use pair::{Contents, Pair};
use sync_core::ids::SpaceId;
use tape::{Losses, Place, Tape};

use crate::sim::{
    editor::{Action, Job, random_action},
    fs::{Config, Crash, SimFs},
    rng::Rng,
};

/// Where simulated time begins: some day in 2026.
const START_NS: i64 = 1_780_000_000_000_000_000;
/// Time between a power cut and the next start.
const OFF_MS: i64 = 1_500;
/// Calls of the folder within which a user may come in between.
const RACE_CALLS: u64 = 40;

/// What was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Images of crashes.
    pub images: u64,
    /// Images of crashes while such an image was started and came to rest.
    pub double_images: u64,
    /// Images in which the user had done nothing that the documents did not hold: no commit may come of the crash.
    pub quiet: u64,
    /// Files of users that had to be there.
    pub saved: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.images += other.images;
        self.double_images += other.double_images;
        self.quiet += other.quiet;
        self.saved += other.saved;
    }
}

/// How much to check.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides the run and all that is lost.
    pub seed: u64,
    /// What the folder's disk promises.
    pub model: Crash,
    /// Commits of the run.
    pub commits: u64,
    /// Images at the most, spread over the run.
    pub images_max: u64,
    /// Of so many images, one gets a second crash while the device comes to rest.
    pub double_every: u64,
    /// Threads.
    pub workers: u64,
}

/// Says which image it was when a check fails.
struct Context {
    plan: Plan,
    image: u64,
    place: Place,
    losses: Losses,
    again: Option<(Place, Losses)>,
}

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { plan: Plan { seed, model, commits, .. }, image, place, losses, again } = self;
            eprintln!(
                "seed {seed}, {model:?}, {commits} commits, image {image}: power cut at {place:?}, lost: {losses:?}, \
                 then: {again:?}"
            );
        }
    }
}

/// A run of a device, with its disks.
#[derive(Debug)]
pub struct Recording {
    plan: Plan,
    space: SpaceId,
    contents: Contents,
    tape: Tape,
}

impl Recording {
    /// Lets a device work until there are so many commits.
    ///
    /// # Panics
    /// When something fails, which nothing has a reason to.
    #[must_use]
    pub fn make(plan: Plan) -> Self {
        let mut rng = Rng::new(plan.seed).fork("folder images");
        // In one run of four a crash takes from users what they had not flushed.
        let durable = !plan.seed.is_multiple_of(4);
        let config = Config { crash: plan.model, user_writes_durable: durable, ..Config::default() };
        let fs = SimFs::new(config, START_NS, &rng.fork("fs"));
        let mut pair = Pair::found(fs);
        pair.settle().expect("a healthy disk does not fail");
        let own = pair.own();
        pair.record(own);
        let mut fd = 1;
        while pair.arrivals() < plan.commits {
            step(&mut pair, &mut rng, &mut fd);
            // What a user saved and nothing flushed, a crash may change.
            pair.quiet &= durable;
            pair.mark();
        }
        let tape = pair.take_tape();
        Self { plan, space: pair.space, contents: pair.contents, tape }
    }

    /// How many operations of the store's disk it has, and how many moments of the folder's.
    #[must_use]
    pub const fn operations(&self) -> (usize, usize) {
        (self.tape.log.ops.len(), self.tape.moments.len())
    }

    /// How many images can be made of it.
    #[must_use]
    pub fn images(&self) -> u64 {
        let mut walk = self.tape.walk();
        self.tape.places().into_iter().map(|place| walk.losses(place).len() as u64).sum()
    }

    /// Checks a share of the images: those whose turn it is for this worker.
    fn check_share(&self, worker: u64, failed: &AtomicBool) -> Totals {
        let plan = self.plan;
        let mut totals = Totals::default();
        let mut walk = self.tape.walk();
        let images = self.images();
        let wanted = images.min(plan.images_max);
        let (mut index, mut taken) = (0, 0);
        for place in self.tape.places() {
            for losses in walk.losses(place) {
                // Spread evenly over all: as many are taken as the share of those passed says.
                let is_taken = index * wanted / images < (index + 1) * wanted / images;
                if is_taken && taken % plan.workers == worker && !failed.load(Ordering::Relaxed) {
                    let doubles = (taken / plan.workers).is_multiple_of(plan.double_every);
                    let mut context = Context { plan, image: index, place, losses, again: None };
                    let repair = self.check_image(&self.tape, (place, losses), &walk, index, &mut totals);
                    totals.images += 1;
                    if doubles {
                        self.check_double(&repair, index, &mut context, &mut totals);
                    }
                }
                taken += u64::from(is_taken);
                index += 1;
            }
        }
        totals
    }

    /// Starts the device on an image, lets it come to rest, and checks. Gives the tape of all that.
    fn check_image(
        &self,
        tape: &Tape,
        (place, losses): (Place, Losses),
        walk: &tape::Walk<'_>,
        index: u64,
        totals: &mut Totals,
    ) -> Tape {
        let mark = tape.mark(place);
        let (fs, store) = walk.crash(place, losses, self.plan.seed ^ index);
        let saved = fs.saved();
        let now_ms = tape.moments[place.moment].now_ns() / 1_000_000 + OFF_MS;
        let mut pair = Pair::after_a_crash(fs, store, mark, (self.space, self.contents.clone()), now_ms);
        pair.record(mark.own);
        pair.start();
        assert!(pair.own() >= mark.own, "{} commits were acknowledged, {} are left", mark.own, pair.own());
        pair.settle().unwrap_or_else(|what| panic!("{what}"));
        if mark.quiet {
            assert_eq!(pair.own(), mark.own, "what the folder wrote itself was taken for edits");
            totals.quiet += 1;
        }
        let repair = pair.take_tape();
        check::check(&mut pair, &saved);
        totals.saved += saved.len() as u64;
        repair
    }

    /// Takes the power away again, somewhere in the repair.
    fn check_double(&self, repair: &Tape, index: u64, context: &mut Context, totals: &mut Totals) {
        let mut rng = Rng::new(!(self.plan.seed ^ index));
        let place = *rng.pick(&repair.places());
        let mut walk = repair.walk();
        let losses = *rng.pick(&walk.losses(place));
        context.again = Some((place, losses));
        self.check_image(repair, (place, losses), &walk, !index, totals);
        totals.double_images += 1;
    }
}

/// The user, the peer or both do something, and the folder comes to rest; now and then the user comes in between.
fn step(pair: &mut Pair, rng: &mut Rng, fd: &mut u64) {
    let kind = rng.below(10);
    if kind < 7 {
        for _ in 0..=rng.below(3) {
            remote::act(pair, rng);
        }
    }
    if kind >= 6 {
        pair.quiet = false;
        pair.mark();
        for _ in 0..=rng.below(2) {
            let action = random_action(rng, &pair.device.fs);
            if may_lead_out(&action) {
                continue;
            }
            let mut job = Job::new(&action, *fd);
            *fd += action.fds();
            if kind == 9 {
                // In the middle of a round that writes.
                pair.exchange();
                pair.device.fs.schedule(1 + rng.below(RACE_CALLS), job.into_steps());
                pair.tick(100);
                pair.round();
                pair.device.fs.catch_up();
            } else {
                job.run(&pair.device.fs.clone());
            }
            pair.spread();
        }
    }
    pair.settle().expect("a healthy disk does not fail");
    pair.spread();
    pair.quiet = true;
}

/// Whether an action makes a link that may lead out of the folder, now or once it is moved. Such a link stands where others
/// have none, or a file, and the folder would never be as they are.
fn may_lead_out(action: &Action) -> bool {
    matches!(action, Action::Link { target, .. } if target.starts_with(['.', '/']))
}

/// Records a run and checks images of it on several threads.
///
/// # Panics
/// When something does not hold on an image; what was printed before says which.
#[must_use]
pub fn run(plan: Plan) -> (Recording, Totals) {
    let recording = Recording::make(plan);
    let failed = AtomicBool::new(false);
    let mut totals = Totals::default();
    std::thread::scope(|scope| {
        let (recording, failed) = (&recording, &failed);
        let workers: Vec<_> = (0..plan.workers)
            .map(|worker| {
                scope.spawn(move || {
                    // The others stop when one has failed.
                    let work = std::panic::AssertUnwindSafe(|| recording.check_share(worker, failed));
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
