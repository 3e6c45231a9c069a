//! `kill -9` of either daemon, 100 cycles while files change: opens again, loses nothing, ends equal.
//!
//! `cargo bench -p sync-tests --bench kill`; `KITH_BENCH_CYCLES` sets another number of cycles.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::Path;

use sync_tests::{
    daemon::Daemon,
    disk::{differences, stray_files},
    kill,
};

fn main() {
    let cycles: usize = std::env::var("KITH_BENCH_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let dir = tempfile::tempdir().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let (a, b) = (Daemon::new(program, dir.path(), "a"), Daemon::new(program, dir.path(), "b"));
    std::fs::write(a.folder.join("log.txt"), "start\n").expect("writes");
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    for cycle in 0..cycles {
        kill::cycle(&a, &b, cycle);
    }
    a.wait_synced();
    b.wait_synced();
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
    for daemon in [&a, &b] {
        assert!(stray_files(&daemon.folder).is_empty(), "stray temporary files");
    }
    kill::assert_nothing_lost(&a, cycles);
    println!("{cycles} cycles of kill -9: nothing lost, trees equal, no stray files");
}
