//! What real daemons hold back until somebody gives their word: many deletes and overwrites at once.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sync_tests::{daemon::Daemon, disk::differences};
use tempfile::TempDir;

/// Enough that a quarter of them is more than what always passes.
const FILES: usize = 120;

fn pair(dir: &TempDir) -> [Daemon; 2] {
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let [a, b] = ["a", "b"].map(|name| Daemon::new(program, dir.path(), name));
    for index in 0..FILES {
        fs::write(a.folder.join(format!("file {index:03}.txt")), text(index)).expect("writes");
    }
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    a.wait_synced();
    [a, b]
}

fn text(index: usize) -> String {
    format!("first line of {index}\nsecond line\n")
}

/// Whatever the state of the folder is: one that needs somebody ends with another code.
fn status(daemon: &Daemon) -> Value {
    let output = daemon.kith(&["status", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    document["folders"][0].clone()
}

/// Asks again and again, each time after a short wait of the daemon's own, for a minute and more.
fn until(daemon: &Daemon, what: &str, done: impl Fn() -> bool) {
    for _ in 0..300 {
        if done() {
            return;
        }
        daemon.kith(&["wait", "--synced", "--timeout", "200ms"]);
    }
    let shown = String::from_utf8_lossy(&daemon.kith(&["status"]).stdout).into_owned();
    panic!("never {what}: {shown}\n{}", daemon.log());
}

fn held(outgoing: [usize; 2], incoming: [usize; 2]) -> Value {
    json!({
        "outgoing_deletes": outgoing[0], "outgoing_overwrites": outgoing[1],
        "incoming_deletes": incoming[0], "incoming_overwrites": incoming[1], "awaited": 0,
    })
}

/// How many names there are: files come and go while this looks.
fn files(daemon: &Daemon) -> usize {
    let listed = fs::read_dir(&daemon.folder).expect("lists");
    listed.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() != ".kith")).count()
}

#[test]
fn a_mass_delete_waits_for_a_word_on_both_sides_and_additions_go_on() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir);
    a.stop();
    for index in 0..60 {
        fs::remove_file(a.folder.join(format!("file {index:03}.txt"))).expect("removes");
    }
    fs::write(a.folder.join("new.txt"), "added meanwhile\n").expect("writes");
    a.start();
    until(&a, "held on the side that deleted", || status(&a)["held"] == held([60, 0], [0, 0]));
    until(&b, "given what was added", || b.folder.join("new.txt").exists());
    assert_eq!((files(&a), files(&b)), (FILES - 60 + 1, FILES + 1));
    let shown = a.kith(&["status"]);
    let words = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(shown.status.code(), Some(3), "{words}");
    assert!(words.contains("60 deletes made on this device") && words.contains("kith folder approve"), "{words}");

    // A restart forgets nothing.
    a.stop();
    a.start();
    until(&a, "held again", || status(&a)["held"] == held([60, 0], [0, 0]));
    assert!(a.kith(&["folder", "approve"]).status.success());
    until(&a, "done where it was approved", || status(&a)["held"].is_null());
    until(&b, "held on the other side", || status(&b)["held"] == held([0, 0], [60, 0]));
    assert_eq!(files(&b), FILES + 1);
    assert!(b.kith(&["folder", "approve"]).status.success());
    until(&b, "done", || files(&b) == FILES - 60 + 1);
    a.wait_synced();
    b.wait_synced();
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
    assert_eq!((&status(&a)["held"], &status(&b)["held"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_rejected_mass_rewrite_comes_back_and_what_was_written_is_kept() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir);
    a.stop();
    for index in 0..40 {
        fs::write(a.folder.join(format!("file {index:03}.txt")), format!("rot13 {index}\n")).expect("writes");
    }
    fs::remove_file(a.folder.join("file 100.txt")).expect("removes");
    a.start();
    until(&a, "held", || status(&a)["held"] == held([1, 40], [0, 0]));
    // Without a word nothing is undone either.
    assert_eq!(a.kith(&["folder", "reject"]).status.code(), Some(6));
    assert!(a.kith(&["folder", "reject", "--yes"]).status.success());
    let is_back = |index: usize| {
        fs::read_to_string(a.folder.join(format!("file {index:03}.txt"))).is_ok_and(|held| held == text(index))
    };
    until(&a, "back", || (0..FILES).all(is_back));
    a.wait_synced();
    b.wait_synced();
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
    assert_eq!(status(&a)["held"], Value::Null);
    let path = a.folder.join("file 007.txt");
    let kept = a.json(&["restore", path.to_str().expect("is text"), "--list"]);
    assert_eq!(kept["kept"].as_array().map(Vec::len), Some(1), "what was written is kept: {kept:#}");
}

/// Bytes that are no text, and too many to rest inline.
fn noise(seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; 40_000];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn what_only_another_device_has_comes_back_once_that_is_here_and_nothing_is_lost_until_then() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir);
    let picture = |index: u8| format!("picture {index}.bin");
    for index in 0..45 {
        fs::write(a.folder.join(picture(index)), noise(index)).expect("writes");
    }
    a.wait_synced();
    b.wait_synced();
    b.stop();
    a.stop();
    for index in 0..44 {
        fs::write(a.folder.join(picture(index)), noise(100 + index)).expect("writes");
    }
    fs::remove_file(a.folder.join(picture(44))).expect("removes");
    a.start();
    until(&a, "held", || status(&a)["held"] == held([1, 44], [0, 0]));
    assert!(a.kith(&["folder", "reject", "--yes"]).status.success());
    until(&a, "waiting for what was", || status(&a)["held"]["awaited"] == 45);
    let words = String::from_utf8_lossy(&a.kith(&["status"]).stdout).into_owned();
    assert!(words.contains("45 files will come back"), "{words}");
    let holds = |index: u8, seed: u8| fs::read(a.folder.join(picture(index))).is_ok_and(|held| held == noise(seed));
    assert!((0..44).all(|index| holds(index, 100 + index)), "what stands there is all that is left on this disk");
    b.start();
    until(&a, "back", || (0..45).all(|index| holds(index, index)));
    a.wait_synced();
    b.wait_synced();
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
    assert_eq!(status(&a)["held"], Value::Null);
}

#[test]
fn what_others_deleted_and_is_rejected_comes_back_to_them() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir);
    a.stop();
    for index in 0..50 {
        fs::remove_file(a.folder.join(format!("file {index:03}.txt"))).expect("removes");
    }
    a.start();
    until(&a, "held", || status(&a)["held"] == held([50, 0], [0, 0]));
    assert!(a.kith(&["folder", "approve"]).status.success());
    until(&b, "held on the other side", || status(&b)["held"] == held([0, 0], [50, 0]));
    assert!(b.kith(&["folder", "reject", "--yes"]).status.success());
    until(&a, "back where it was deleted", || files(&a) == FILES);
    a.wait_synced();
    b.wait_synced();
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
    assert_eq!(files(&b), FILES);
}

#[test]
fn what_others_rewrote_waits_for_a_word_here_and_either_word_is_done_everywhere() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir);
    let other = |index: usize| format!("rewritten {index}\n");
    let holds = |daemon: &Daemon, wanted: &dyn Fn(usize) -> String| {
        (0..40).all(|index| {
            fs::read_to_string(daemon.folder.join(format!("file {index:03}.txt")))
                .is_ok_and(|held| held == wanted(index))
        })
    };
    for keeps in [true, false] {
        a.stop();
        for index in 0..40 {
            fs::write(a.folder.join(format!("file {index:03}.txt")), other(index)).expect("writes");
        }
        a.start();
        until(&a, "held where it was written", || status(&a)["held"] == held([0, 40], [0, 0]));
        assert!(a.kith(&["folder", "approve"]).status.success());
        until(&b, "held on the other side", || status(&b)["held"] == held([0, 0], [0, 40]));
        assert!(holds(&b, &text), "nothing is overwritten before somebody says so");
        if keeps {
            assert!(b.kith(&["folder", "reject", "--yes"]).status.success());
            // Where it comes back it overwrites as much.
            until(&a, "held where it comes back", || status(&a)["held"] == held([0, 0], [0, 40]));
            assert!(a.kith(&["folder", "approve"]).status.success());
        } else {
            assert!(b.kith(&["folder", "approve"]).status.success());
        }
        let wanted: &dyn Fn(usize) -> String = if keeps { &text } else { &other };
        until(&a, "done", || holds(&a, wanted));
        until(&b, "done", || holds(&b, wanted));
        a.wait_synced();
        b.wait_synced();
        assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
        assert_eq!((&status(&a)["held"], &status(&b)["held"]), (&Value::Null, &Value::Null));
    }
}

#[test]
fn a_file_that_a_program_changes_after_each_write_is_left_alone_for_a_while() {
    let dir = TempDir::new().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let [a, b] = ["a", "b"].map(|name| Daemon::new(program, dir.path(), name));
    fs::write(a.folder.join("fought.txt"), "begun\n").expect("writes");
    b.join(&a.share());
    b.wait_synced();
    let words = |daemon: &Daemon| String::from_utf8_lossy(&daemon.kith(&["status"]).stdout).into_owned();
    let rests = || words(&b).contains("another program changes it each time");
    let (here, there) = (a.folder.join("fought.txt"), b.folder.join("fought.txt"));
    let mut turn = 0;
    while !rests() {
        turn += 1;
        assert!(turn <= 12, "the fight is noticed: {}\n{}", words(&b), b.log());
        // Whoever is at b undoes what a writes, each time that it shows.
        fs::write(&here, format!("a says {turn}\n")).expect("writes");
        until(&b, "given it", || {
            fs::read_to_string(&there).is_ok_and(|held| held.contains(&format!("a says {turn}"))) || rests()
        });
        if !rests() {
            fs::write(&there, format!("b says {turn}\n")).expect("writes");
            until(&a, "told", || fs::read_to_string(&here).is_ok_and(|held| held.contains(&format!("b says {turn}"))));
        }
    }
    // Nothing else waits for it, and later it is tried again.
    fs::write(a.folder.join("beside.txt"), "beside\n").expect("writes");
    until(&b, "given what is beside", || b.folder.join("beside.txt").exists());
    until(&b, "given it in the end", || fs::read(&here).ok() == fs::read(&there).ok() && !rests());
    a.wait_synced();
    b.wait_synced();
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
}

#[test]
fn folders_within_each_other_are_refused() {
    let dir = TempDir::new().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let a = Daemon::new(program, dir.path(), "a");
    fs::create_dir_all(a.folder.join("inner")).expect("makes");
    let _invite = a.share();
    for other in [a.folder.join("inner"), dir.path().to_owned()] {
        let refused = a.kith(&["share", other.to_str().expect("is text")]);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && !other.join(".kith").exists(), "{}: {words}", other.display());
    }
    let inner = a.folder.join("inner");
    let refused = a.kith(&["share", inner.to_str().expect("is text"), "--json"]);
    let document: Value = serde_json::from_slice(&refused.stderr).expect("a document");
    assert!(document["message"].as_str().is_some_and(|words| words.contains("overlap")), "{document:#}");
    assert_eq!(a.json(&["status"])["folders"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_folder_that_holds_nothing_has_nothing_to_decide() {
    let dir = TempDir::new().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let a = Daemon::new(program, dir.path(), "a");
    let _invite = a.share();
    let asked = a.kith(&["folder", "approve"]);
    assert!(asked.status.success());
    assert!(String::from_utf8_lossy(&asked.stderr).contains("nothing to decide"));
    let none = a.kith(&["folder", "approve", "elsewhere"]);
    assert_eq!(none.status.code(), Some(5), "{}", String::from_utf8_lossy(&none.stderr));
}
