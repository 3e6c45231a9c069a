//! Runs seeds of the simulator: `simulate FIRST COUNT [PEERS]` sweeps on all cores and tells totals and violations,
//! `simulate log SEED [PEERS]` tells one run line by line, `simulate plants [SEEDS_MAX]` finds each planted fault.

#![expect(clippy::print_stdout, reason = "what it finds is its output")]

use std::{
    collections::BTreeMap,
    num::NonZero,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use sync_tests::sim::{
    cases::{self, Drawn},
    plant::{TABLE, first_find},
    world::{self, Totals},
};

/// Violations that are told one by one.
const TOLD_MAX: usize = 25;

fn number(argument: Option<&String>, default: u64) -> u64 {
    argument.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "log") {
        return log(number(arguments.get(1), 0), number(arguments.get(2), 5) as usize);
    }
    if arguments.first().is_some_and(|first| first == "plants") {
        return plants(number(arguments.get(1), 100));
    }
    sweep(number(arguments.first(), 0), number(arguments.get(1), 300), number(arguments.get(2), 5) as usize)
}

fn log(seed: u64, peers: usize) -> ExitCode {
    let outcomes = world::run_logged(seed, peers, |line| println!("{line}"));
    println!("{:?}", outcomes.totals);
    match outcomes.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table of `docs/testing.md` as the seeds find it now.
fn plants(seeds_max: u64) -> ExitCode {
    let next = AtomicU64::new(0);
    let finds = Mutex::new(vec![None; TABLE.len()]);
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((index, row)) =
                    Some(next.fetch_add(1, Ordering::Relaxed) as usize).and_then(|at| Some((at, TABLE.get(at)?)))
                {
                    let found = first_find(row.plant, 0..seeds_max);
                    finds.lock().expect("nothing panics while it holds the lock")[index] = found;
                }
            });
        }
    });
    let finds = finds.into_inner().expect("all threads are done");
    println!("| fault | what it breaks | rule that finds it | first seed |\n|---|---|---|---|");
    for (row, found) in TABLE.iter().zip(&finds) {
        let (seed, rule) = found.map_or(("none".to_owned(), ""), |(seed, rule)| (seed.to_string(), rule));
        println!("| `{:?}` | {} | {rule} | {seed} |", row.plant, row.breaks);
    }
    if finds.iter().all(Option::is_some) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn sweep(first: u64, count: u64, peers: usize) -> ExitCode {
    let next = AtomicU64::new(0);
    let found = Mutex::new((Totals::default(), 0));
    let drawn = Mutex::new(BTreeMap::<Drawn, u64>::new());
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let seed = first + index;
                    let run = std::panic::catch_unwind(|| world::run(seed, peers));
                    let mut found = found.lock().expect("nothing panics while it holds the lock");
                    let violation = match run {
                        Ok(outcomes) => {
                            found.0.add(&outcomes.totals);
                            let mut drawn = drawn.lock().expect("nothing panics while it holds the lock");
                            outcomes.drawn.into_iter().for_each(|came| *drawn.entry(came).or_default() += 1);
                            outcomes.violation.map(|violation| violation.to_string())
                        }
                        Err(_) => Some(format!("seed {seed} with {peers} devices: a panic")),
                    };
                    // At once: a sweep may take hours.
                    if let Some(violation) = violation {
                        found.1 += 1;
                        if found.1 <= TOLD_MAX {
                            println!("{violation}");
                        }
                    }
                }
            });
        }
    });
    let (totals, violations) = found.into_inner().expect("all threads are done");
    let hours = totals.peer_ms / 3_600_000;
    println!(
        "{count} seeds from {first} with {peers} devices: {violations} violations; {} steps, {} faults, {hours} hours of devices, \
         {} commits, {} rounds of healing, {} words for what was held",
        totals.steps, totals.faults, totals.commits, totals.heal_rounds, totals.words,
    );
    let drawn = drawn.into_inner().expect("all threads are done");
    let seeds_with: Vec<String> = drawn.iter().map(|(came, seeds)| format!("{came:?} {seeds}")).collect();
    println!("seeds that drew: {}", seeds_with.join(", "));
    let missing: Vec<Drawn> = cases::all().into_iter().filter(|of| !drawn.contains_key(of)).collect();
    if !missing.is_empty() {
        println!("not drawn by any: {missing:?}");
    }
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
