//! Real daemons with real folders, case by case of docs/folder-semantics.md: what only shows with a watcher, a network and
//! two disks. One pair of daemons goes through many cases.
//!
//! What a single disk can show is in `disk_cases`, what documents alone can show in `tree_cases`.

mod apart;
mod folding;
mod joining;
mod mounted;
mod reverting;
mod rights;
mod roots;
mod saving;
mod shown;
mod watches;
mod watching;

use std::{fs, path::Path};

use sync_tests::{daemon::Daemon, disk::differences};
use tempfile::TempDir;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kith-under-test"))
}

/// Two devices that share what `before` put into the first one's folder.
fn pair(dir: &TempDir, before: impl FnOnce(&Path)) -> [Daemon; 2] {
    let [a, b] = ["a", "b"].map(|name| Daemon::new(program(), dir.path(), name));
    before(&a.folder);
    b.join(&a.share());
    together(&a, &b);
    [a, b]
}

/// Waits until both have everything of each other.
#[track_caller]
fn together(a: &Daemon, b: &Daemon) {
    for daemon in [a, b, a] {
        daemon.wait_synced();
    }
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
}

/// Asks again and again, each time after a short wait of the daemon's own, for a minute and more.
#[track_caller]
fn until(daemon: &Daemon, what: &str, done: impl Fn() -> bool) {
    for _ in 0..300 {
        if done() {
            return;
        }
        daemon.kith(&["wait", "--synced", "--timeout", "200ms"]);
    }
    panic!("never {what}: {}\n{}", words(daemon), daemon.log());
}

/// The same for what comes to a daemon by itself: it has nothing to wait for until then, so that no wait would take a while.
#[track_caller]
fn arrives(daemon: &Daemon, what: &str, done: impl Fn() -> bool) {
    // Each takes ten milliseconds and more, where nothing else runs.
    for _ in 0..4_000 {
        if done() {
            return;
        }
        daemon.kith(&["daemon", "status"]);
    }
    panic!("never {what}: {}\n{}", words(daemon), daemon.log());
}

/// The status for people.
fn words(daemon: &Daemon) -> String {
    String::from_utf8_lossy(&daemon.kith(&["status"]).stdout).into_owned()
}

/// Commits of the folder, whatever state it is in.
fn commits(daemon: &Daemon) -> u64 {
    let output = daemon.kith(&["status", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
    document["folders"][0]["commits"].as_u64().expect("a number of commits")
}

fn read(daemon: &Daemon, name: &str) -> String {
    fs::read_to_string(daemon.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn write(daemon: &Daemon, name: &str, bytes: impl AsRef<[u8]>) {
    let path = daemon.folder.join(name);
    fs::create_dir_all(path.parent().expect("is in the folder")).expect("makes");
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn rename(daemon: &Daemon, from: &str, to: &str) {
    fs::rename(daemon.folder.join(from), daemon.folder.join(to)).unwrap_or_else(|error| panic!("{from}: {error}"));
}

/// Names in the folder's top directory, but ours.
fn names(daemon: &Daemon) -> Vec<String> {
    let listed = fs::read_dir(&daemon.folder).expect("lists");
    let mut names: Vec<String> =
        listed.map(|entry| entry.expect("lists").file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != ".kith");
    names.sort();
    names
}
