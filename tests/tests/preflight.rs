//! The door against Automerge itself: what Automerge writes passes, and what passes does Automerge no harm.
//!
//! `PREFLIGHT_MUTATIONS` sets how many changes are mutated, `PREFLIGHT_SEED` where the numbers begin; a failure prints
//! the seed of its case. The fuzz targets `preflight` and `apply` run the same code (`sync_fuzz::preflight`).

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use automerge::Change as AutomergeChange;
use proptest::prelude::*;
use sync_core::preflight::Change;
use sync_fuzz::{
    input::Input,
    preflight::{
        alike::assert_read_alike,
        history, mutate,
        world::{Closed, Held, World},
    },
};

/// Bytes of choices for one change: more than it draws.
const CHANGE_CHOICES: usize = 300;

/// Bytes that look random and follow from a seed (splitmix64).
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).collect()
}

fn world(seed: u64, changes: usize) -> World {
    let choices = noise(seed, changes * CHANGE_CHOICES);
    let mut input = Input::new(&choices);
    let mut world = World::default();
    for change in history::random(&mut input, changes) {
        assert_read_alike(&change);
        if let Err(closed) = world.let_in(change.raw_bytes()) {
            panic!("seed {seed}: {closed:?}: {:?}\nbehind {:#?}", change.decode(), world.described());
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_automerge_writes_passes(seed: u64, changes in 1_usize..24) {
        world(seed, changes);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let chunk = mutate::chunk(&bytes);
        if let Ok(change) = Change::read(&chunk) {
            prop_assert_eq!(change.encode(), chunk);
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: Cell<String> = const { Cell::new(String::new()) };
}

/// Turns a panic of Automerge into an error that names its place, without printing it.
fn quietly<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(
            move |info| {
                if QUIET.get() { MESSAGE.set(format!("panic: {info}")) } else { usual(info) }
            },
        ));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    result.unwrap_or_else(|_| Err(MESSAGE.take()))
}

/// How cases ended.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    same: u64,
    unreadable: u64,
    place: u64,
    rule: u64,
    passed: u64,
}

/// Mutates changes of random histories, and verifies the promise for those that pass.
fn mutations(from: u64, mutant: impl Fn(&mut Input<'_>, &[Held], &[u8]) -> Option<Vec<u8>>) -> Tally {
    const CASES_A_HISTORY: u64 = 40;
    let cases = number("PREFLIGHT_MUTATIONS", 400);
    let seed = number("PREFLIGHT_SEED", from);
    let mut tally = Tally::default();
    for round in 0..cases.div_ceil(CASES_A_HISTORY) {
        let seed = seed.wrapping_add(round);
        let world = world(seed, 4 + (seed % 7) as usize);
        for case in 0..CASES_A_HISTORY {
            let choices = noise(!seed ^ case << 32, 2 * CHANGE_CHOICES);
            let mut input = Input::new(&choices);
            let place = input.below(world.held.len());
            tally.cases += 1;
            let original = &world.held[place].bytes;
            let Some(bytes) = mutant(&mut input, &world.held, original).filter(|bytes| bytes != original) else {
                tally.same += 1;
                continue;
            };
            let mut mutated = world.without(place);
            match mutated.let_in(&bytes) {
                Err(Closed::Unreadable(_)) => tally.unreadable += 1,
                Err(Closed::Place(_)) => tally.place += 1,
                Err(Closed::Rule(_)) => tally.rule += 1,
                Ok(()) => {
                    tally.passed += 1;
                    if let Err(error) = quietly(|| mutated.verify(&mut input)) {
                        let decoded = |bytes: &[u8]| AutomergeChange::from_bytes(bytes.to_vec()).map(|c| c.decode());
                        panic!(
                            "seed {seed}, case {case}, change {place}: {error}\nwas {:?}\nis {:?}\namong {:#?}",
                            decoded(original),
                            decoded(&bytes),
                            mutated.described(),
                        );
                    }
                }
            }
        }
    }
    eprintln!("{tally:?}");
    tally
}

#[test]
fn mutated_bytes_do_no_harm() {
    let tally = mutations(1, |input, _, bytes| Some(mutate::bytes(input, bytes)));
    assert!(tally.passed > 0 && tally.unreadable > 0, "{tally:?}");
}

#[test]
fn mutated_operations_do_no_harm() {
    let tally = mutations(1_000_000, mutate::operations);
    assert!(tally.passed > 0 && tally.rule > 0, "{tally:?}");
}

#[test]
fn histories_of_automerge_do_no_harm() {
    for seed in 0..number("PREFLIGHT_MUTATIONS", 400).div_ceil(20) {
        let choices = noise(!seed, 2 * CHANGE_CHOICES);
        let result = world(seed, 12).verify(&mut Input::new(&choices));
        assert_eq!(result, Ok(()), "seed {seed}");
    }
}

/// Most of what is built passes, or the target `apply` would prove little.
#[test]
fn most_of_what_is_built_passes() {
    let (mut built, mut passed) = (0, 0);
    for seed in 0..200 {
        let choices = noise(seed, 4 * CHANGE_CHOICES);
        let mut input = Input::new(&choices);
        let mut world = World::default();
        for _ in 0..8 {
            let change = sync_fuzz::preflight::build::change(&mut input, &world);
            assert!(Change::read(&change).is_ok(), "seed {seed}");
            built += 1;
            passed += u32::from(world.let_in(&change).is_ok());
        }
    }
    assert!(passed * 10 > built * 7, "{passed} of {built}");
}
