//! The directory of a folder goes, or is another one: nothing is deleted anywhere for that.

use std::fs;

use sync_tests::disk::tree;
use tempfile::TempDir;

use super::{pair, program, read, together, until, words, write};

#[test]
fn a_folder_whose_directory_is_gone_replaced_or_bare_deletes_nothing_elsewhere() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| {
        // So few that no count of deletes holds them.
        ["one.txt", "two.txt", "three.txt"]
            .iter()
            .for_each(|name| fs::write(folder.join(name), "x\n").expect("writes"));
    });
    let before = tree(&b.folder);
    let elsewhere = dir.path().join("elsewhere");
    let halted = || words(&a).contains("is missing or was replaced by another one");

    // Renamed away, while the daemon is stopped and while it runs.
    a.stop();
    fs::rename(&a.folder, &elsewhere).expect("renames");
    a.start();
    until(&a, "halted without its directory", halted);
    // Another one in its place.
    fs::create_dir(&a.folder).expect("makes");
    until(&a, "halted with another directory", halted);
    assert_eq!(tree(&b.folder), before);
    fs::remove_dir(&a.folder).expect("removes");
    fs::rename(&elsewhere, &a.folder).expect("renames");
    write(&a, "four.txt", "while it was away\n");
    until(&b, "given what was made meanwhile", || b.folder.join("four.txt").exists());
    together(&a, &b);

    // Its marker gone, with everything in it: as a disk that is not mounted shows.
    for name in ["one.txt", "two.txt", "three.txt", "four.txt"] {
        fs::remove_file(a.folder.join(name)).expect("removes");
    }
    fs::remove_dir_all(a.folder.join(".kith")).expect("removes");
    until(&a, "halted without its marker", || words(&a).contains("marker"));
    assert_eq!(read(&b, "four.txt"), "while it was away\n");
    assert_eq!(tree(&b.folder).len(), 4);

    // Gone for good, on the other side and in the middle of its work.
    let a_tree = tree(&b.folder);
    fs::rename(&b.folder, dir.path().join("kept")).expect("renames");
    b.stop();
    b.start();
    until(&b, "halted", || words(&b).contains("is missing or was replaced"));
    assert_eq!(tree(&dir.path().join("kept")), a_tree);
}

#[test]
fn a_directory_that_is_removed_under_a_running_daemon_deletes_nothing_elsewhere() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| {
        fs::create_dir(folder.join("d")).expect("makes");
        ["one.txt", "d/two.txt"].iter().for_each(|name| fs::write(folder.join(name), "x\n").expect("writes"));
    });
    let before = tree(&b.folder);
    fs::remove_dir_all(&a.folder).expect("removes");
    until(&a, "halted", || words(&a).contains("is missing or was replaced by another one"));
    assert_eq!(tree(&b.folder), before);
    // What the other writes goes nowhere, and waits.
    write(&b, "three.txt", "x\n");
    assert!(!a.folder.exists());
    // The files come back from the other side into a new directory.
    assert!(a.kith(&["folder", "remove", "a"]).status.success());
    fs::create_dir(&a.folder).expect("makes");
    let invite = b.json(&["invite", b.folder.to_str().expect("is text")]);
    let again = sync_tests::daemon::Daemon::new(program(), dir.path(), "again");
    again.join(invite["invite"].as_str().expect("an invite"));
    again.wait_synced();
    assert_eq!(tree(&again.folder), tree(&b.folder));
}

#[test]
fn a_folder_that_holds_many_names_unites_with_what_is_there() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b, c] = ["a", "b", "c"].map(|name| sync_tests::daemon::Daemon::new(program(), dir.path(), name));
    for daemon in [&a, &b] {
        write(daemon, "same/one.txt", "same\n");
        write(daemon, "same/two.bin", [0, 1, 2, 255]);
    }
    for daemon in [&a, &c] {
        write(daemon, "differs.txt", format!("of {}\n", daemon.folder.display()));
        write(daemon, &format!("only {}.txt", daemon.home.file_name().expect("has a name").to_string_lossy()), "x\n");
    }
    // The same files, and some that others have not, and an empty directory, in turn.
    b.join(&a.share());
    together(&a, &b);
    assert_eq!(words(&b).matches("conflict").count(), 0, "what is the same on both is one: {}", words(&b));
    c.join(a.json(&["invite", a.folder.to_str().expect("is text")])["invite"].as_str().expect("an invite"));
    for daemon in [&c, &a, &b, &c] {
        daemon.wait_synced();
    }
    together(&a, &c);
    together(&a, &b);
    let listed = super::names(&b);
    assert_eq!(listed.iter().filter(|name| name.starts_with("differs")).count(), 2, "{listed:?}");
    assert_eq!(listed.iter().filter(|name| name.starts_with("only")).count(), 2, "{listed:?}");
    // What is no place for a folder.
    let refused = |place: &str| a.kith_with(&["share", place], &[("HOME", place)]).status.code();
    assert_eq!(refused("/"), Some(5), "a whole file system");
    // Taken out and put in again, nothing is there twice.
    assert!(c.kith(&["folder", "remove", "c"]).status.success());
    write(&c, "while out.txt", "x\n");
    write(&a, "meanwhile.txt", "x\n");
    c.join(a.json(&["invite", a.folder.to_str().expect("is text")])["invite"].as_str().expect("an invite"));
    for daemon in [&c, &a, &b, &c] {
        daemon.wait_synced();
    }
    together(&a, &c);
    assert_eq!(super::names(&b).len(), listed.len() + 2, "{:?}", super::names(&b));
}
