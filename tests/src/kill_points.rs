//! Two real daemons live a whole life, from the first start to a stop, and one of them ends at a named point on the way.
//!
//! The life has something for every point of [`sync_core::probe::POINTS`]. Whatever the point: the daemon starts again,
//! both folders end equal, what users did is there, and no temporary file stays.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use crate::{
    daemon::Daemon,
    disk::{differences, stray_files},
};

/// How often a command is tried whose daemon died under it.
const TRIES: usize = 10;
/// How often the status of a daemon is looked at until it has heard of all renames.
const STATUS_TRIES: usize = 2_000;
/// Files that give their name to another one.
const CHAINS: u64 = 8;
/// Bytes of a file that rests in no document.
const LARGE_BYTES: usize = 300_000;
/// Edits of one file, more than a snapshot waits for.
const MANY_EDITS: usize = 70;

/// Which of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The one that shares the folder.
    Host,
    /// The one that joins it.
    Joiner,
}

struct Pair {
    a: Daemon,
    b: Daemon,
    note: PathBuf,
}

/// Lets two daemons live, of which one ends the `nth` time that it reaches a point. Says whether it did.
///
/// # Panics
/// When something is lost, stays different, or is left behind.
#[must_use]
pub fn live(program: &Path, victim: Victim, point: &str, nth: u64) -> bool {
    let dir = tempfile::tempdir().expect("temporary directory");
    let pair = Pair {
        a: Daemon::new(program, dir.path(), "a"),
        b: Daemon::new(program, dir.path(), "b"),
        note: dir.path().join("killed"),
    };
    populate(&pair.a.folder);
    let note = pair.note.to_str().expect("temporary paths are text");
    let at = format!("{point}:{nth}");
    let armed = [("KITH_KILL_AT", at.as_str()), ("KITH_KILL_NOTE", note)];
    let victim = if victim == Victim::Host { &pair.a } else { &pair.b };
    let started = victim.kith_with(&["daemon", "start"], &armed);
    assert!(started.status.success() || pair.was_killed(), "{at}: {started:?}\n{}", victim.log());
    pair.meet();
    pair.wait();
    edit(&pair.a.folder, &pair.b.folder);
    pair.wait();
    if point.starts_with("snapshot") {
        pair.edit_much();
    }
    if point == "write.put-aside" {
        pair.rename_while_halted(victim);
    }
    for daemon in [&pair.a, &pair.b] {
        // One that ends in the middle of this is gone, too.
        let _dies_perhaps = daemon.kith(&["daemon", "stop"]);
        pair.command(daemon, &["daemon", "start"]);
    }
    pair.wait();
    pair.check(&at);
    pair.was_killed()
}

impl Pair {
    fn was_killed(&self) -> bool {
        self.note.exists()
    }

    /// Runs a command until it succeeds: it starts a daemon that is gone, and the other one may have to be started first.
    fn command(&self, daemon: &Daemon, args: &[&str]) -> Output {
        let mut last = None;
        for _ in 0..TRIES {
            let output = daemon.kith(args);
            if output.status.success() {
                return output;
            }
            assert!(self.was_killed(), "kith {args:?} fails though nobody was killed: {output:?}\n{}", daemon.log());
            for other in [&self.a, &self.b] {
                let _starts_it = other.kith(&["daemon", "start"]);
            }
            last = Some(output);
        }
        panic!("kith {args:?}: {last:?}\n{}", daemon.log());
    }

    fn has_folder(daemon: &Daemon) -> bool {
        let output = daemon.kith(&["folder", "list", "--json"]);
        let listed: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
        listed.is_some_and(|listed| listed["folders"].as_array().is_some_and(|folders| !folders.is_empty()))
    }

    fn meet(&self) {
        let (here, there) = (text(&self.a.folder), text(&self.b.folder));
        let shared = self.command(&self.a, &["share", here, "--json"]);
        let shared: serde_json::Value = serde_json::from_slice(&shared.stdout).expect("is JSON");
        let invite = shared["invite"].as_str().expect("an invite").to_owned();
        for _ in 0..TRIES {
            let joined = self.b.kith(&["join", &invite, there, "--json"]);
            // The answer may have been lost and not the folder.
            if joined.status.success() || Self::has_folder(&self.b) {
                return;
            }
            assert!(self.was_killed(), "{joined:?}\n{}", self.b.log());
            let _starts_it = self.a.kith(&["daemon", "start"]);
        }
        panic!("the joiner does not get in\n{}\n{}", self.a.log(), self.b.log());
    }

    fn wait(&self) {
        for daemon in [&self.a, &self.b, &self.a] {
            // A wait would be for somebody who is gone and whom nobody starts.
            for there in [&self.a, &self.b] {
                self.command(there, &["daemon", "start"]);
            }
            self.command(daemon, &["wait", "--synced", "--timeout", "15s"]);
        }
    }

    fn edit_much(&self) {
        let path = self.b.folder.join("long.txt");
        let mut text = fs::read_to_string(&path).expect("reads");
        for edit in 0..MANY_EDITS {
            text.push_str(&format!("edit {edit}\n"));
            fs::write(&path, &text).expect("writes");
            self.wait();
        }
    }

    /// Files of the other device take the names of others that move on, while this one stands still, so that it hears of
    /// many at once.
    fn rename_while_halted(&self, victim: &Daemon) {
        let other = if std::ptr::eq(victim, &self.a) { &self.b } else { &self.a };
        let before = commits(other);
        let told = victim.halted(|| {
            // In one go it would be read as an edit of what is under the name.
            [('b', 'c', 1), ('a', 'b', 2)].into_iter().all(|(from, to, step)| {
                for index in 0..CHAINS {
                    let name = |place: char| other.folder.join(format!("chain {index} {place}"));
                    fs::rename(name(from), name(to)).expect("renames");
                }
                (0..STATUS_TRIES).any(|_| commits(other) >= before + step * CHAINS)
            })
        });
        assert!(
            told,
            "a rename makes a commit
{}",
            other.log()
        );
        self.wait();
    }

    fn check(&self, at: &str) {
        assert_eq!(differences(&self.a.folder, &self.b.folder), Vec::<String>::new(), "{at}");
        for daemon in [&self.a, &self.b] {
            assert_eq!(stray_files(&daemon.folder), Vec::<PathBuf>::new(), "{at}");
            assert!(!daemon.log().contains("panicked"), "{at}: {}", daemon.log());
        }
        check_edits(&self.a.folder, at);
    }
}

fn commits(daemon: &Daemon) -> u64 {
    let output = daemon.kith(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    status["folders"][0]["commits"].as_u64().expect("a number")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

fn large(name: &str) -> Vec<u8> {
    let mut bytes = vec![0; LARGE_BYTES];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    fs::write(folder.join(name), bytes).expect("writes");
}

/// What is there before anybody joins.
fn populate(folder: &Path) {
    for dir in ["of host", "of joiner", "deep/er"] {
        fs::create_dir_all(folder.join(dir)).expect("makes");
    }
    put(folder, "log.txt", "one\ntwo\nthree\nfour\nfive\n");
    put(folder, "long.txt", "start\n");
    for name in [
        "of host/inside.txt",
        "of joiner/inside.txt",
        "deep/er/inside.txt",
        "h1.txt",
        "h2.txt",
        "j1.txt",
        "j2.txt",
        "s1.txt",
        "s2.txt",
    ] {
        put(folder, name, name);
    }
    for index in 0..CHAINS {
        for place in ['a', 'b'] {
            let name = format!("chain {index} {place}");
            put(folder, &name, &name);
        }
    }
    for name in ["gone by host.bin", "gone by joiner.bin", "new by host.bin", "new by joiner.bin", "both.bin"] {
        put(folder, name, large(name));
    }
    std::os::unix::fs::symlink("log.txt", folder.join("link")).expect("links");
}

fn swap(folder: &Path, one: &str, other: &str) {
    let by_way_of = folder.join("swap");
    for (from, to) in
        [(folder.join(one), by_way_of.clone()), (folder.join(other), folder.join(one)), (by_way_of, folder.join(other))]
    {
        fs::rename(from, to).expect("renames");
    }
}

/// Both users at once: each does to its own files what the other's disk must follow.
fn edit(a: &Path, b: &Path) {
    put(a, "log.txt", "of host\none\ntwo\nthree\nfour\nfive\n");
    put(b, "log.txt", "one\ntwo\nthree\nfour\nfive\nof joiner\n");
    put(a, "both.bin", large("both, of host"));
    put(b, "both.bin", large("both, of joiner"));
    for (folder, who, letter) in [(a, "host", "h"), (b, "joiner", "j")] {
        fs::remove_file(folder.join(format!("gone by {who}.bin"))).expect("removes");
        put(folder, &format!("new by {who}.bin"), large(&format!("newer by {who}")));
        fs::rename(folder.join(format!("of {who}")), folder.join(format!("moved by {who}"))).expect("renames");
        swap(folder, &format!("{letter}1.txt"), &format!("{letter}2.txt"));
        fs::create_dir(folder.join(format!("made by {who}"))).expect("makes");
        put(folder, &format!("made by {who}/text.txt"), who);
    }
}

fn check_edits(folder: &Path, at: &str) {
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{at}: {name}: {error}"));
    let log = String::from_utf8(read("log.txt")).expect("is text");
    assert_eq!(log, "of host\none\ntwo\nthree\nfour\nfive\nof joiner\n", "{at}");
    for (who, letter) in [("host", "h"), ("joiner", "j")] {
        assert!(!folder.join(format!("gone by {who}.bin")).exists(), "{at}: deleted by {who}");
        assert!(read(&format!("new by {who}.bin")) == large(&format!("newer by {who}")), "{at}: replaced by {who}");
        assert_eq!(read(&format!("moved by {who}/inside.txt")), format!("of {who}/inside.txt").as_bytes(), "{at}");
        assert_eq!(read(&format!("{letter}1.txt")), format!("{letter}2.txt").as_bytes(), "{at}");
        assert_eq!(read(&format!("made by {who}/text.txt")), who.as_bytes(), "{at}");
    }
    // Both replaced it: one keeps the name, the other is beside it.
    let both: Vec<Vec<u8>> = fs::read_dir(folder)
        .expect("lists")
        .map(|entry| entry.expect("lists").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("both")))
        .map(|path| fs::read(path).expect("reads"))
        .collect();
    for who in ["host", "joiner"] {
        assert!(both.contains(&large(&format!("both, of {who}"))), "{at}: the bytes of {who} are gone");
    }
}
