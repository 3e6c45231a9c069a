//! A store that was restored from a backup: noticed at the first exchange, healed, and told.

use std::{fs, path::Path};

use sync_tests::{daemon::Daemon, disk::differences};
use tempfile::TempDir;

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("has a type") {
            kind if kind.is_dir() => copy_dir(&entry.path(), &target),
            kind if kind.is_file() => drop(fs::copy(entry.path(), target).expect("copies")),
            _ => {}
        }
    }
}

#[test]
fn a_state_restored_from_a_backup_heals_and_status_says_so() {
    let dir = TempDir::new().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let [a, b]: [Daemon; 2] = std::array::from_fn(|index| Daemon::new(program, dir.path(), &format!("device {index}")));
    fs::write(a.folder.join("text.txt"), "one\ntwo\nthree\n").expect("writes");
    b.join(&a.share());
    b.wait_synced();
    a.stop();
    let backup = dir.path().join("backup");
    copy_dir(&a.home, &backup);
    // What the backup does not know, and the other has.
    a.start();
    fs::write(a.folder.join("after the backup.txt"), "known to both\n").expect("writes");
    fs::write(a.folder.join("text.txt"), "zero\none\ntwo\nthree\n").expect("writes");
    a.wait_synced();
    a.stop();
    b.stop();
    fs::remove_dir_all(&a.home).expect("removes");
    copy_dir(&backup, &a.home);
    // Written under the old log once more, while nobody was there to say that its numbers are taken.
    a.start();
    fs::write(a.folder.join("offline.txt"), "only here\n").expect("writes");
    a.kith(&["wait", "--timeout", "2"]);
    fs::write(b.folder.join("from b.txt"), "b\n").expect("writes");
    b.start();
    a.wait_synced();
    b.wait_synced();
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
    assert_eq!(fs::read_to_string(b.folder.join("offline.txt")).expect("is there"), "only here\n");
    assert_eq!(fs::read_to_string(a.folder.join("from b.txt")).expect("is there"), "b\n");
    let status = a.json(&["status"]);
    let repairs = status["folders"][0]["repairs"].as_array().expect("a list");
    assert!(!repairs.is_empty() && repairs.iter().all(|repair| repair["ours"] == true), "{status:#}");
    let shown = a.kith(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("copied or restored"), "{shown}");
}
