//! First sync of 10 000 texts of 2 kB between two daemons on this machine: time and memory.
//!
//! `cargo bench -p sync-tests --bench first_sync`; `KITH_BENCH_FILES` sets another number of files.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{fs, path::Path, time::Instant};

use sync_tests::{daemon::Daemon, disk::differences};

fn main() {
    let files: usize = std::env::var("KITH_BENCH_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let dir = tempfile::tempdir().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let (a, b) = (Daemon::new(program, dir.path(), "a"), Daemon::new(program, dir.path(), "b"));
    for index in 0..files {
        let sub = a.folder.join(format!("d{:03}", index % 200));
        fs::create_dir_all(&sub).expect("makes");
        let line = format!("file {index}: the quick brown fox jumps over the lazy dog, {}\n", index * 7919);
        fs::write(sub.join(format!("f{index}.txt")), line.repeat(2000 / line.len() + 1)).expect("writes");
    }
    let copied = Instant::now();
    let copy = std::process::Command::new("cp").arg("-r").arg(&a.folder).arg(dir.path().join("copy")).status();
    assert!(copy.expect("cp runs").success());
    let copied = copied.elapsed();
    let started = Instant::now();
    let invite = a.share();
    a.wait_synced();
    let imported = started.elapsed();
    let started = Instant::now();
    b.join(&invite);
    let joined = started.elapsed();
    b.wait_synced();
    a.wait_synced();
    let synced = started.elapsed();
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
    println!("first sync of {files} texts of 2 kB (cp -r: {:.2} s)", copied.as_secs_f64());
    println!("  share and import: {:.2} s", imported.as_secs_f64());
    println!("  join to both synced: {:.2} s (join itself {:.2} s)", synced.as_secs_f64(), joined.as_secs_f64());
    println!("  in all: {:.2} s", (imported + synced).as_secs_f64());
    println!("  peak memory: {} MB and {} MB", a.peak_memory() / 1_000_000, b.peak_memory() / 1_000_000);
}
