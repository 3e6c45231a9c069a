//! A device that may only read takes back what was changed on it.

use std::fs;

use sync_tests::{daemon::Daemon, disk::differences};
use tempfile::TempDir;

use super::{commits, names, program, read, rename, together, until, words, write};

/// A writer and a reader who have the same.
fn pair(dir: &TempDir) -> [Daemon; 2] {
    let [a, b] = ["a", "b"].map(|name| Daemon::new(program(), dir.path(), name));
    for name in ["edited.txt", "deleted.txt", "moved.txt", "kept.txt", "d/in.txt", "old/one.txt", "old/two.txt"] {
        write(&a, name, format!("{name} of the others\n"));
    }
    write(&a, "picture.bin", [7; 40_000]);
    std::os::unix::fs::symlink("kept.txt", a.folder.join("link")).expect("links");
    let shared = a.json(&["share", a.folder.to_str().expect("is text"), "--role", "reader"]);
    b.join(shared["invite"].as_str().expect("an invite"));
    together(&a, &b);
    [a, b]
}

fn change_everything(b: &Daemon) {
    write(b, "edited.txt", "edited here\n");
    write(b, "picture.bin", [8; 40_000]);
    fs::remove_file(b.folder.join("deleted.txt")).expect("removes");
    rename(b, "moved.txt", "d/elsewhere.txt");
    rename(b, "old", "new");
    write(b, "new/two.txt", "edited in a directory that moved\n");
    write(b, "made/deep/own.txt", "made here\n");
    fs::remove_file(b.folder.join("link")).expect("removes");
    std::os::unix::fs::symlink("edited.txt", b.folder.join("link")).expect("links");
}

#[test]
fn what_a_reader_changed_is_taken_back_and_kept() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir);
    let before = commits(&a);
    change_everything(&b);
    until(&b, "told that it stays there", || words(&b).contains("may only read"));
    let folder = b.folder.to_str().expect("is text");
    // Nothing happens without a word, and who asks first is told what would.
    assert_eq!(b.kith(&["revert"]).status.code(), Some(6));
    let told = b.json(&["revert", folder, "--dry-run"]);
    let was = |path: &str| {
        let paths = told["paths"].as_array().expect("a list");
        paths.iter().find(|one| one["path"] == path).map(|one| one["was"].as_str().expect("a word").to_owned())
    };
    let expected = [
        ("edited.txt", "edited"),
        ("picture.bin", "edited"),
        ("link", "edited"),
        ("deleted.txt", "deleted"),
        ("moved.txt", "moved"),
        ("old", "moved"),
        ("made/deep/own.txt", "made"),
    ];
    for (path, word) in expected {
        assert_eq!(was(path).as_deref(), Some(word), "{path}: {told:#}");
    }
    assert_eq!(read(&b, "edited.txt"), "edited here\n", "a dry run changes nothing");

    // One path alone.
    let edited = b.folder.join("edited.txt");
    let edited = edited.to_str().expect("is text");
    let one = b.json(&["revert", edited, "--yes"]);
    assert_eq!((&one["schema"], one["paths"].as_array().map(Vec::len)), (&"kith/revert/1".into(), Some(1)), "{one:#}");
    until(&b, "given the others' version", || read(&b, "edited.txt") == "edited.txt of the others\n");
    assert!(b.folder.join("made/deep/own.txt").exists(), "the rest stays");

    // And all of it; the bytes of the picture are no more on this device.
    b.json(&["revert", "--yes"]);
    until(&b, "as the others", || differences(&a.folder, &b.folder).is_empty());
    together(&a, &b);
    assert_eq!(commits(&a), before, "nobody was told of anything");
    assert!(!words(&b).contains("may only read"), "{}", words(&b));
    assert_eq!(names(&b), names(&a));
    let kept = b.json(&["restore", folder, "--list"]);
    let kept: Vec<&str> =
        kept["kept"].as_array().expect("a list").iter().filter_map(|one| one["path"].as_str()).collect();
    for path in ["edited.txt", "picture.bin", "link", "made/deep/own.txt", "old/two.txt"] {
        assert!(kept.contains(&path), "{path} is kept: {kept:?}");
    }
    let nothing = b.json(&["revert", "--yes"]);
    assert_eq!(nothing["paths"].as_array().map(Vec::len), Some(0));
}

#[test]
fn who_may_write_has_nothing_to_take_back() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir);
    let refused = a.kith(&["revert", "--yes"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("may write here"), "{words}");
    together(&a, &b);
}

#[test]
fn what_others_do_in_what_a_reader_deleted_or_moved_comes_when_that_is_taken_back() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir);
    fs::remove_dir_all(b.folder.join("d")).expect("removes");
    rename(&b, "old", "new");
    write(&b, "new/own.txt", "made in a directory that moved\n");
    rename(&b, "moved.txt", "elsewhere.txt");
    until(&b, "told that it stays there", || words(&b).contains("may only read"));
    write(&a, "d/more.txt", "more\n");
    write(&a, "d/sub/deep.txt", "deep\n");
    write(&a, "old/one.txt", "edited by the others\n");
    write(&a, "moved.txt", "edited by the others\n");
    write(&a, "last.txt", "last\n");
    until(&b, "there", || b.folder.join("last.txt").exists());
    // It waits at rest, and is not tried over and over.
    let state = || {
        let status = b.kith(&["status", "--json"]).stdout;
        serde_json::from_slice::<serde_json::Value>(&status).expect("JSON")["folders"][0]["state"].clone()
    };
    until(&b, "at rest", || state() == "attention");
    assert!(!b.folder.join("d").exists() && b.folder.join("new/own.txt").exists());
    b.json(&["revert", "--yes"]);
    until(&b, "as the others", || differences(&a.folder, &b.folder).is_empty());
    let kept = b.json(&["restore", b.folder.to_str().expect("is text"), "--list"]);
    let own = kept["kept"].as_array().expect("a list").iter().any(|one| one["path"] == "old/own.txt");
    assert!(own, "{kept:#}");
}
