//! Calls that fail: the n-th call of a run fails, and the store must say so, lose nothing and go on.
//!
//! [`Reference::make`] is a run without a fault, with what it held after each turn. [`Reference::fail`] is the same run with
//! one: it ends with a typed error, and then the disk is opened three ways, as it is, without what the operating system had
//! in memory, and after a power cut.

use sync_core::store::StoreError;

use super::{
    assert_integrity,
    rig::{Rig, open},
    state::State,
};
use crate::sim::{
    disk::{Call, Counters, Failure, Fault, SimDisk},
    image::Loss,
};

/// Everything that can go wrong with a call, for [`Reference::fail`]: what, for which calls, and whether it stays so.
pub const KINDS: [(Call, Fault, bool); 7] = [
    (Call::Any, Fault::Io, false),
    (Call::Any, Fault::Io, true),
    (Call::Write, Fault::Full, false),
    (Call::Write, Fault::Full, true),
    (Call::Any, Fault::Short, false),
    (Call::Sync, Fault::LostSync(1), false),
    (Call::Sync, Fault::LostSync(2), false),
];

/// A run without a fault.
#[derive(Debug)]
pub struct Reference {
    seed: u64,
    steps: usize,
    /// What was held after so many turns.
    states: Vec<State>,
    /// Calls of the whole run.
    pub calls: Counters,
}

/// What came of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The run ended before its turn.
    Nothing,
    /// The store said so.
    Error,
    /// Nobody noticed: it befell a store that was closing.
    Unnoticed,
}

/// Says which failure it was when a check fails.
struct Context {
    seed: u64,
    failure: Failure,
}

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, {:?}", self.seed, self.failure);
        }
    }
}

fn run(rig: &mut Rig, steps: usize) -> Result<(), StoreError> {
    rig.reopen(rig.disk.clone())?;
    for _ in 0..steps {
        rig.step()?;
    }
    rig.exchange()
}

impl Reference {
    /// Lets a device work for so many steps.
    ///
    /// # Panics
    /// When something fails, which nothing has a reason to.
    #[must_use]
    pub fn make(seed: u64, steps: usize) -> Self {
        let mut rig = Rig::new(seed, SimDisk::default());
        let empty = State::of(&open(&SimDisk::default()).expect("opens")).expect("reads");
        rig.marks = Some(Vec::new());
        run(&mut rig, steps).expect("a healthy disk does not fail");
        let marks = rig.marks.take().expect("was asked for");
        let states = std::iter::once(empty).chain(marks.into_iter().map(|mark| mark.state)).collect();
        // Reading what is held makes calls of its own.
        let mut rig = Rig::new(seed, SimDisk::default());
        run(&mut rig, steps).expect("a healthy disk does not fail");
        Self { seed, steps, states, calls: rig.disk.counters() }
    }

    /// How many turns the run has.
    #[must_use]
    pub fn turns(&self) -> usize {
        self.states.len() - 1
    }

    /// How many calls of a kind the run has.
    #[must_use]
    pub const fn calls_of(&self, call: Call) -> u64 {
        match call {
            Call::Any => self.calls.calls(),
            Call::Read => self.calls.reads,
            Call::Write => self.calls.writes,
            Call::Sync => self.calls.syncs,
        }
    }

    /// The run with a failure: checks that nothing which was acknowledged is lost, and that work goes on.
    ///
    /// # Panics
    /// When something is lost, or does not go on.
    pub fn fail(&self, failure: Failure) -> Came {
        let _context = Context { seed: self.seed, failure };
        let disk = SimDisk::default();
        disk.fail(failure);
        let mut rig = Rig::new(self.seed, disk.clone());
        let result = run(&mut rig, self.steps);
        if disk.counters().faults == 0 {
            result.expect("nothing failed");
            return Came::Nothing;
        }
        let came = match result {
            Ok(()) => Came::Unnoticed,
            Err(StoreError::Redb { .. }) => Came::Error,
            Err(error) => panic!("an error of another type: {error:?}"),
        };
        let acknowledged = &self.states[rig.turns];
        let in_flight = self.states.get(rig.turns + usize::from(rig.in_flight)).unwrap_or(acknowledged);
        for (seed, loss) in [Loss::All, Loss::Nothing, Loss::Tail, Loss::Some, Loss::Torn].into_iter().enumerate() {
            let fork = disk.fork();
            check(&fork.crash(loss, seed as u64), acknowledged, in_flight);
        }
        let fork = disk.fork();
        fork.evict();
        check(&fork, acknowledged, in_flight);
        // The very disk: the engine is dropped, and what is left of it must not be in the way.
        disk.heal();
        rig.reopen(disk.clone()).expect("opens again");
        let held = State::of(rig.device()).expect("reads");
        assert!(held == *acknowledged || held == *in_flight, "another store than was left");
        for _ in 0..5 {
            rig.step().expect("work goes on");
        }
        rig.assert_converged().expect("work goes on");
        let held = State::of(rig.device()).expect("reads");
        let after = disk.crash(Loss::All, 0);
        check(&after, &held, &held);
        assert_integrity(&after);
        came
    }
}

/// Opens a disk and checks what it holds.
fn check(disk: &SimDisk, acknowledged: &State, in_flight: &State) {
    let engine = open(disk).expect("opens");
    let held = State::of(&engine).expect("reads");
    assert!(held == *acknowledged || held == *in_flight, "what was acknowledged is not there");
}
