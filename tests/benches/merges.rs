//! Merges of random edits beside those of `git merge-file`: how many it merges without a conflict, and whether ours are equal.
//!
//! `cargo bench -p sync-tests --bench merges -- --cases 100000 --from 0`; prints each case that differs, and fails then.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{thread, time::Instant};

use sync_tests::merges::{Verdict, compare, grow};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let value = arguments.iter().skip_while(|argument| *argument != name).nth(1);
        value.map_or(default, |value| value.parse().expect("a number"))
    };
    let (cases, from) = (number("--cases", 2_000), number("--from", 0));
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let started = Instant::now();
    let parts: Vec<(u64, u64, u64)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| scope.spawn(move || run((from + worker..from + cases).step_by(threads as usize))))
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker ends")).collect()
    });
    let sum = |of: fn(&(u64, u64, u64)) -> u64| parts.iter().map(of).sum::<u64>();
    let (clean, conflicts, wrong) = (sum(|part| part.0), sum(|part| part.1), sum(|part| part.2));
    println!("{cases} cases from seed {from} in {:.0} s", started.elapsed().as_secs_f64());
    println!("  merged by git and equal: {clean}; conflicts of git, nothing lost: {conflicts}; wrong: {wrong}");
    assert_eq!(wrong, 0, "cases differ");
}

/// Equal, in conflict, wrong.
fn run(seeds: impl Iterator<Item = u64>) -> (u64, u64, u64) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut counts = (0, 0, 0);
    for seed in seeds {
        let case = grow::case(seed, 2);
        match compare(dir.path(), &case) {
            Ok(Verdict::Equal) => counts.0 += 1,
            Ok(Verdict::Conflict) => counts.1 += 1,
            Err(found) => {
                counts.2 += 1;
                println!("seed {seed}: {found}\n{case:?}");
            }
        }
    }
    counts
}
