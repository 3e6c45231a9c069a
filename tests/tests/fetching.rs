//! Contents that are on their way when the daemon that serves them is killed.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use sync_tests::{
    daemon::{Daemon, signal},
    disk::differences,
};
use tempfile::TempDir;
use tokio::time::{Duration, Instant};

/// Large enough to be still on its way when its first chunk is seen.
const LARGE_BYTES: usize = 96 << 20;
/// How long a first chunk may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(b"fetched").finalize_xof().fill(&mut noise);
    noise
}

/// What a daemon logged since its last start.
fn log(daemon: &Daemon) -> String {
    let log = fs::read_to_string(daemon.home.join("daemon.log")).expect("is logged");
    log.rsplit_once("node is up").expect("has started").1.to_owned()
}

/// Whether any of a content is in its temporary file.
fn has_begun(folder: &Path) -> bool {
    let Ok(listed) = fs::read_dir(folder.join(".kith/tmp")) else { return false };
    let parts = listed.filter_map(Result::ok).filter(|entry| entry.file_name().to_string_lossy().starts_with("part-"));
    parts.filter_map(|part| part.metadata().ok()).any(|part| part.blocks() > 0)
}

/// The beginning of a device's id, as logs have it.
fn device(daemon: &Daemon) -> String {
    let status = daemon.json(&["status"]);
    status["device"]["id"].as_str().expect("an id")[..10].to_owned()
}

#[test]
fn a_content_comes_from_another_peer_while_the_killed_one_still_counts_as_here() {
    let dir = TempDir::new().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let [a, b, c] = ["a", "b", "c"].map(|name| Daemon::new(program, dir.path(), name));
    fs::write(a.folder.join("small"), "small").expect("writes");
    b.join(&a.share());
    b.wait_synced();
    let invite = a.json(&["invite", a.folder.to_str().expect("is text")]);
    c.join(invite["invite"].as_str().expect("an invite"));
    for daemon in [&c, &b, &a] {
        daemon.wait_synced();
    }
    c.stop();
    fs::write(a.folder.join("large"), noise(LARGE_BYTES)).expect("writes");
    for daemon in [&a, &b] {
        daemon.wait_synced();
    }
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
    // The first serves, and is killed in the middle; the second, which has all of it, is there from then on only.
    let (serving, id) = (a.pid(), device(&a));
    let absent = b.halt();
    let started = c.kith_with(&["daemon", "start"], &[("KITH_LOG", "info,sync_net=debug")]);
    assert!(started.status.success(), "{}", c.log());
    let deadline = Instant::now() + DEADLINE;
    while !has_begun(&c.folder) {
        assert!(Instant::now() < deadline, "nothing came: {}", c.log());
        std::thread::yield_now();
    }
    signal("KILL", serving);
    assert!(!c.folder.join("large").exists(), "was killed too late");
    drop(absent);
    c.wait_synced();
    assert_eq!(differences(&b.folder, &c.folder), Vec::<String>::new());
    // It did not wait until the connection was given up.
    let log = log(&c);
    let line = |words: &str| log.lines().position(|line| line.contains(words) && line.contains(&id));
    let left = line("the peer is silent, and others can be asked").unwrap_or_else(|| panic!("never left: {log}"));
    let down = line("session is down").unwrap_or(usize::MAX);
    assert!(left < down, "{log}");
    assert_eq!(sync_tests::disk::stray_files(&c.folder), Vec::<PathBuf>::new());
}
