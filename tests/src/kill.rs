//! Kills daemons while files change, and checks what they had reported as durable.

use std::{fs, io::Write as _};

use crate::daemon::Daemon;

/// One cycle: files change on both sides, a daemon dies somewhere in between, and starts again.
///
/// What is asserted: a file that `wait --synced` had reported survives on both disks.
///
/// # Panics
/// When something is lost.
pub fn cycle(a: &Daemon, b: &Daemon, cycle: usize) {
    let (victim, other) = if cycle.is_multiple_of(2) { (a, b) } else { (b, a) };
    let sure = format!("sure {cycle}.txt");
    fs::write(a.folder.join(&sure), format!("cycle {cycle}\n").repeat(50)).expect("writes");
    a.wait_synced();
    // These may be anywhere on their way when the process dies.
    for (daemon, line) in [(victim, "victim"), (other, "other")] {
        let log = daemon.folder.join("log.txt");
        let mut text = fs::read_to_string(&log).expect("reads");
        text.push_str(&format!("cycle {cycle} at {line}\n"));
        fs::write(&log, text).expect("writes");
        let noise = format!("noise {cycle} {line}.bin");
        let mut file = fs::File::create(daemon.folder.join(noise)).expect("creates");
        file.write_all(&vec![cycle as u8; 1000 * (cycle % 90)]).expect("writes");
    }
    let dir = victim.folder.join(format!("dir {cycle}"));
    fs::create_dir(&dir).expect("makes");
    fs::write(dir.join("inside.txt"), "x").expect("writes");
    // Spread over the steps of a save: the work of finding the process takes a few milliseconds, too.
    for _ in 0..cycle * 37 % 50 {
        std::hint::black_box(fs::metadata(&dir).expect("is there"));
        std::thread::yield_now();
    }
    victim.kill();
    fs::rename(&dir, victim.folder.join(format!("renamed {cycle}"))).expect("renames");
    victim.start();
    for daemon in [a, b] {
        let text = fs::read_to_string(daemon.folder.join(&sure)).expect("what was reported as durable is there");
        assert_eq!(text, format!("cycle {cycle}\n").repeat(50));
    }
}

/// After all cycles: everything that was ever written is there.
///
/// # Panics
/// When something is not.
pub fn assert_nothing_lost(a: &Daemon, cycles: usize) {
    let log = fs::read_to_string(a.folder.join("log.txt")).expect("reads");
    for cycle in 0..cycles {
        for line in ["victim", "other"] {
            let noise = a.folder.join(format!("noise {cycle} {line}.bin"));
            let bytes = fs::read(&noise).unwrap_or_else(|error| panic!("{}: {error}", noise.display()));
            assert_eq!(bytes, vec![cycle as u8; 1000 * (cycle % 90)]);
            let wanted = format!("cycle {cycle} at {line}\n");
            assert!(log.contains(&wanted), "{wanted} is not in the log:\n{log}");
        }
        assert!(a.folder.join(format!("renamed {cycle}/inside.txt")).exists());
    }
}
