//! Power cuts at every point of a run of 200 commits, of a store alone and of a store and a folder, and every call of a run
//! on a store failing once in every way.
//!
//! `cargo bench -p sync-tests --bench crash_images -- [store] [folder] [faults]`, all three if none is named;
//! `KITH_BENCH_IMAGES` sets another number of images of each, `KITH_BENCH_SEED` another seed, `KITH_BENCH_STRIDE` lets only
//! every so-many-th call fail.

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
        folder, run,
    },
    sim::{disk::Failure, fs::Crash},
};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let seed = number("KITH_BENCH_SEED", 1);
    let images_max = number("KITH_BENCH_IMAGES", 50_000);
    let parts: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with("--")).collect();
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|named| named == part);
    if wants("store") {
        images(seed, images_max);
    }
    if wants("folder") {
        for model in [Crash::Ordered, Crash::AnySubset] {
            folder_images(seed, model, images_max / 2);
        }
    }
    if wants("faults") {
        faults(seed, number("KITH_BENCH_STRIDE", 1));
    }
}

fn folder_images(seed: u64, model: Crash, images_max: u64) {
    let started = Instant::now();
    let plan = folder::Plan { seed, model, commits: 200, images_max, double_every: 4, workers: 2 };
    let (recording, totals) = folder::run(plan);
    let (operations, moments) = recording.operations();
    println!(
        "seed {seed}, {model:?}: {operations} operations of the store's disk, {moments} of the folder's: {totals:?} in {:.1?}",
        started.elapsed()
    );
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
