//! 2 000 files in 200 directories with one of 200 MB, between two daemons on this machine.
//!
//! `cargo bench -p sync-tests --bench large_folder`; `KITH_BENCH_BYTES` sets another size of the large file.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{fs, path::Path, time::Instant};

use sync_tests::{daemon::Daemon, disk::differences};

fn main() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let (a, b) = (Daemon::new(program, dir.path(), "a"), Daemon::new(program, dir.path(), "b"));
    for index in 0..2_000_usize {
        let sub = a.folder.join(format!("dir {:03}", index % 200));
        fs::create_dir_all(&sub).expect("makes");
        let bytes = match index % 3 {
            0 => format!("text {index} ü\n").repeat(index % 400).into_bytes(),
            1 => (0..index * 17 % 60_000).map(|byte| (byte * index) as u8).collect(),
            _ => Vec::new(),
        };
        fs::write(sub.join(format!("file {index} 漢")), bytes).expect("writes");
    }
    let large = std::env::var("KITH_BENCH_BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000_000);
    let mut noise = vec![0; large];
    blake3::Hasher::new().update(b"large").finalize_xof().fill(&mut noise);
    fs::write(a.folder.join("large file.bin"), noise).expect("writes");
    let started = Instant::now();
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    a.wait_synced();
    println!(
        "2 000 files and one of {large} bytes: {:.2} s from share to both synced",
        started.elapsed().as_secs_f64()
    );
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
    println!("peak memory: {} MB and {} MB", a.peak_memory() / 1_000_000, b.peak_memory() / 1_000_000);
}
