//! From a save on one side to the other side's disk: 200 saves between two daemons on this machine.
//!
//! `cargo bench -p sync-tests --bench save_latency`; `KITH_BENCH_SAVES` sets another number of saves.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use sync_tests::daemon::Daemon;

const LINES: usize = 400;

fn main() {
    let saves: usize = std::env::var("KITH_BENCH_SAVES").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let dir = tempfile::tempdir().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let (a, b) = (Daemon::new(program, dir.path(), "a"), Daemon::new(program, dir.path(), "b"));
    let mut lines: Vec<String> = (0..LINES).map(|line| format!("line {line} of a text that is edited\n")).collect();
    fs::write(a.folder.join("text.txt"), lines.concat()).expect("writes");
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    let mut in_place = Vec::new();
    let mut atomic = Vec::new();
    for save in 0..saves {
        lines[save % LINES] = format!("line {} as saved at number {save}\n", save % LINES);
        let text = lines.concat();
        let started = Instant::now();
        if save % 2 == 0 {
            fs::write(a.folder.join("text.txt"), &text).expect("writes");
        } else {
            // As editors do it: a new file, renamed over the old.
            fs::write(a.folder.join(".text.txt.new.swp"), &text).expect("writes");
            fs::rename(a.folder.join(".text.txt.new.swp"), a.folder.join("text.txt")).expect("renames");
        }
        while fs::read(b.folder.join("text.txt")).expect("reads") != text.as_bytes() {
            assert!(started.elapsed() < Duration::from_secs(20), "save {save} did not arrive\n{}", b.log());
            // Only to leave the two cores to the daemons.
            std::thread::park_timeout(Duration::from_micros(300));
        }
        if save % 2 == 0 { &mut in_place } else { &mut atomic }.push(started.elapsed());
    }
    let mut all = [in_place.clone(), atomic.clone()].concat();
    for (name, times) in [("all", &mut all), ("written in place", &mut in_place), ("renamed over", &mut atomic)] {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
        println!("{name}: {} saves, p50 {:.1} ms, p99 {:.1} ms", times.len(), at(50), at(99));
    }
    println!("peak memory: {} MB and {} MB", a.peak_memory() / 1_000_000, b.peak_memory() / 1_000_000);
}
