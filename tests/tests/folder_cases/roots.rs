//! The directory of a folder goes, or is another one: nothing is deleted anywhere for that.

use std::fs;

use sync_tests::disk::tree;
use tempfile::TempDir;

use super::{arrives, pair, program, read, together, until, words, write};

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
    let pause = || drop(a.kith(&["wait", "--synced", "--timeout", "2s"]));

    // Away and another one in its place, while the daemon runs.
    fs::rename(&a.folder, &elsewhere).expect("renames");
    fs::create_dir(&a.folder).expect("makes");
    pause();
    assert_eq!((tree(&b.folder), tree(&elsewhere)), (before.clone(), before.clone()));
    // The same for a daemon that starts.
    a.stop();
    a.start();
    until(&a, "halted with another directory", halted);
    a.stop();
    fs::remove_dir(&a.folder).expect("removes");
    a.start();
    pause();
    assert_eq!((tree(&b.folder), tree(&elsewhere)), (before.clone(), before));
    a.stop();
    fs::rename(&elsewhere, &a.folder).expect("renames");
    write(&a, "four.txt", "while it was away\n");
    a.start();
    together(&a, &b);

    // Its marker gone, with everything in it: as a disk that is not mounted shows.
    for name in ["one.txt", "two.txt", "three.txt", "four.txt"] {
        fs::remove_file(a.folder.join(name)).expect("removes");
    }
    fs::remove_dir_all(a.folder.join(".kith")).expect("removes");
    until(&a, "halted without its marker", || words(&a).contains("marker"));
    assert_eq!(read(&b, "four.txt"), "while it was away\n");
    assert_eq!(tree(&b.folder).len(), 4);
}

#[test]
fn a_folder_whose_directory_is_missing_at_the_start_goes_on_when_it_is_back() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| {
        fs::create_dir(folder.join("d")).expect("makes");
        ["one.txt", "d/two.txt"].iter().for_each(|name| fs::write(folder.join(name), "x\n").expect("writes"));
    });
    let before = tree(&b.folder);
    let elsewhere = dir.path().join("elsewhere");
    let halted = || words(&a).contains("is missing or was replaced by another one");
    a.stop();
    fs::rename(&a.folder, &elsewhere).expect("renames");
    a.start();
    until(&a, "halted without its directory", halted);
    write(&b, "three.txt", "meanwhile\n");
    b.kith(&["wait", "--synced", "--timeout", "2s"]);
    assert_eq!((tree(&elsewhere), tree(&b.folder).len()), (before.clone(), before.len() + 1));
    // An empty one in its place is not it, as a mount point shows before the disk is there.
    fs::create_dir(&a.folder).expect("makes");
    b.kith(&["wait", "--synced", "--timeout", "2s"]);
    assert!(halted());
    assert!(!a.folder.join(".kith").exists() && !a.folder.join("three.txt").exists());
    fs::remove_dir(&a.folder).expect("removes");
    write(&b, "d/two.txt", "y\n");
    fs::rename(&elsewhere, &a.folder).expect("renames");
    until(&a, "on its way again", || !halted());
    together(&a, &b);
    assert_eq!((read(&a, "three.txt").as_str(), read(&a, "d/two.txt").as_str()), ("meanwhile\n", "y\n"));
    // And it is watched, in every directory.
    write(&a, "d/four.txt", "four\n");
    arrives(&b, "heard of", || b.folder.join("d/four.txt").exists());
    together(&a, &b);
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
    // What the other writes goes nowhere; and who joins anew gets it all.
    write(&b, "three.txt", "x\n");
    let invite = b.json(&["invite", b.folder.to_str().expect("is text")]);
    let again = sync_tests::daemon::Daemon::new(program(), dir.path(), "again");
    again.join(invite["invite"].as_str().expect("an invite"));
    // Not a wait for all peers: the first is here as well, and stands still.
    arrives(&again, "given all of it", || tree(&again.folder) == tree(&b.folder));
    assert!(!a.folder.exists());
    assert_eq!(tree(&b.folder).len(), before.len() + 1);
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
    // Taken out and put in again, nothing is there twice.
    let removed = c.kith(&["--yes", "folder", "remove", c.folder.to_str().expect("is text")]);
    assert!(removed.status.success(), "{removed:?}");
    write(&c, "while out.txt", "x\n");
    write(&a, "meanwhile.txt", "x\n");
    c.join(a.json(&["invite", a.folder.to_str().expect("is text")])["invite"].as_str().expect("an invite"));
    for daemon in [&c, &a, &b, &c] {
        daemon.wait_synced();
    }
    together(&a, &c);
    assert_eq!(super::names(&b).len(), listed.len() + 2, "{:?}", super::names(&b));
}

#[test]
fn homes_and_whole_file_systems_are_no_folders_unless_somebody_insists() {
    let dir = TempDir::new().expect("temporary directory");
    let a = sync_tests::daemon::Daemon::new(program(), dir.path(), "a");
    let home = dir.path().join("somebody");
    fs::create_dir(&home).expect("makes");
    let text = home.to_str().expect("is text");
    let code = |args: &[&str]| a.kith_with(args, &[("HOME", text)]).status.code();
    for root in ["/", "/proc"] {
        assert_eq!(code(&["share", root]), Some(6), "a whole file system");
    }
    assert_eq!(code(&["share", text]), Some(6), "a home directory");
    assert_eq!(code(&["share", dir.path().to_str().expect("is text")]), Some(6), "one with a home in it");
    assert_eq!(code(&["daemon", "status"]), Some(4), "nothing was started for that");
    assert_eq!(code(&["share", "/", "--force"]), Some(2), "nobody means that one");
    assert_eq!(code(&["share", text, "--force"]), Some(0));
    assert_eq!(code(&["share", text]), Some(0), "another invite");
}
