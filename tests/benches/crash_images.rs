//! Power cuts at every point of a run of 200 commits, and every call of a run failing once in every way.
//!
//! `cargo bench -p sync-tests --bench crash_images`; `KITH_BENCH_IMAGES` sets another number of images, `KITH_BENCH_SEED`
//! another seed, `KITH_BENCH_STRIDE` lets only every so-many-th call fail.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use sync_tests::{
    crash::{
        Plan,
        faults::{Came, KINDS, Reference},
        run,
    },
    sim::disk::Failure,
};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let seed = number("KITH_BENCH_SEED", 1);
    images(seed, number("KITH_BENCH_IMAGES", 50_000));
    faults(seed, number("KITH_BENCH_STRIDE", 1));
}

fn images(seed: u64, images_max: u64) {
    let started = Instant::now();
    let plan = Plan { seed, turns: 450, images_max, double_every: 4, workers: 2 };
    let (recording, totals) = run(&plan);
    println!(
        "seed {seed}: {} operations of the disk, {} commits: {totals:?} in {:.1?}",
        recording.operations(),
        recording.commits(),
        started.elapsed()
    );
}

fn faults(seed: u64, stride: u64) {
    let started = Instant::now();
    let reference = Reference::make(seed, 30);
    println!("{} turns, {:?}", reference.turns(), reference.calls);
    for (call, fault, lasts) in KINDS {
        let calls = reference.calls_of(call);
        let (next, errors) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let after = next.fetch_add(stride, Ordering::Relaxed);
                        let came = reference.fail(Failure { call, after, fault, lasts });
                        if came == Came::Nothing {
                            assert!(after >= calls, "call {after} of {calls} was not made");
                            break;
                        }
                        errors.fetch_add(u64::from(came == Came::Error), Ordering::Relaxed);
                    }
                });
            }
        });
        let errors = errors.into_inner();
        let lasting = if lasts { ", lasting" } else { "" };
        println!("{fault:?} of {call:?}{lasting}: {} faults, {errors} errors", calls.div_ceil(stride));
    }
    println!("in {:.1?}", started.elapsed());
}
