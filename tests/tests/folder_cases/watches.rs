//! Directories that cannot be watched, and watchers and folders whose threads end.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use sync_tests::daemon::Daemon;
use tempfile::TempDir;

use super::{arrives, pair, program, read, together, until, words, write};

/// A program that runs `kith` where `limit` was set: limits of the system hold in a namespace of our own, and nowhere else.
fn limited(dir: &Path, limit: &str) -> Option<PathBuf> {
    let works = Command::new("unshare").args(["-r", "sh", "-c", limit]).status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: this system gives nobody a namespace of limits (unshare -r)");
        return None;
    }
    let path = dir.join("kith-with-a-limit");
    let inner = format!("{limit}; exec \"$0\" \"$@\"");
    fs::write(&path, format!("#!/bin/sh\nexec unshare -r sh -c '{inner}' '{}' \"$@\"\n", program().display()))
        .expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("is ours");
    Some(path)
}

#[test]
fn a_folder_that_cannot_be_watched_is_looked_at_now_and_then() {
    let dir = TempDir::new().expect("temporary directory");
    let Some(kith) = limited(dir.path(), "echo 0 > /proc/sys/user/max_inotify_instances") else { return };
    let (a, b) = (Daemon::new(&kith, dir.path(), "a"), Daemon::new(program(), dir.path(), "b"));
    write(&a, "one.txt", "one\n");
    b.join(&a.share());
    together(&a, &b);
    assert!(a.log().contains("the folder is not watched"), "{}", a.log());
    assert!(words(&a).contains("sudo sysctl fs.inotify.max_user_instances="), "{}", words(&a));
    // What others do arrives as ever, and what is done here soon.
    write(&b, "two.txt", "two\n");
    arrives(&b, "taken by the other", || a.folder.join("two.txt").exists());
    write(&a, "d/three.txt", "three\n");
    arrives(&b, "given what was made", || b.folder.join("d/three.txt").exists());
    // Who waits for it waits for a look.
    write(&a, "four.txt", "four\n");
    together(&a, &b);
    assert_eq!(read(&b, "four.txt"), "four\n");
}

#[test]
fn directories_beyond_the_limit_of_watches_are_looked_into_until_there_are_more() {
    let dir = TempDir::new().expect("temporary directory");
    let Some(kith) = limited(dir.path(), "echo 12 > /proc/sys/user/max_inotify_watches") else { return };
    let (a, b) = (Daemon::new(&kith, dir.path(), "a"), Daemon::new(program(), dir.path(), "b"));
    for index in 0..24 {
        write(&a, &format!("{index}/below/file.txt"), "before\n");
    }
    b.join(&a.share());
    together(&a, &b);
    let says = "only 12 directories may be watched here";
    assert!(words(&a).contains(says), "{}", words(&a));
    assert!(words(&a).contains("sudo sysctl user.max_inotify_watches="), "{}", words(&a));
    assert!(!words(&a).contains("needs you"), "{}", words(&a));
    // Each directory, watched or not, is followed; also one that is new.
    for index in 0..24 {
        write(&a, &format!("{index}/below/file.txt"), format!("{index}\n"));
    }
    write(&a, "new/below/file.txt", "new\n");
    let arrived = |index: usize| fs::read_to_string(b.folder.join(format!("{index}/below/file.txt")));
    arrives(&b, "given all", || (0..24).all(|index| arrived(index).is_ok_and(|text| text == format!("{index}\n"))));
    arrives(&b, "given what is new", || b.folder.join("new/below/file.txt").exists());
    // Once there are more, everything is watched, and nobody has to do anything.
    let raise = "echo 1000 > /proc/sys/user/max_inotify_watches";
    let pid = a.pid().to_string();
    let entered = ["-t", &pid, "-U", "--preserve-credentials", "sh", "-c", raise];
    let raised = Command::new("nsenter").args(entered).status().is_ok_and(|status| status.success());
    assert!(raised, "who made a namespace may enter it");
    until(&a, "watching everything", || !words(&a).contains("directories may be watched here"));
    write(&a, "23/below/file.txt", "after\n");
    write(&a, "new/below/other.txt", "after\n");
    arrives(&b, "told at once", || {
        arrived(23).is_ok_and(|text| text == "after\n") && b.folder.join("new/below/other.txt").exists()
    });
    together(&a, &b);
}

#[test]
fn a_watcher_whose_thread_ends_is_begun_again() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| {
        fs::create_dir_all(folder.join("d")).expect("makes");
        fs::write(folder.join("d/one.txt"), "one\n").expect("writes");
    });
    a.stop();
    let started = a.kith_with(&["daemon", "start"], &[("KITH_PANIC_AT", "watch.event:1")]);
    assert!(started.status.success(), "{started:?}");
    together(&a, &b);
    // Whatever it was told last is lost, and found.
    write(&a, "d/two.txt", "two\n");
    arrives(&b, "given what the dead one was told", || b.folder.join("d/two.txt").exists());
    until(&a, "watched again", || a.log().contains("the folder is watched again"));
    until(&a, "as ever", || !words(&a).contains("not at once"));
    write(&a, "d/three.txt", "three\n");
    arrives(&b, "told by the new one", || b.folder.join("d/three.txt").exists());
    together(&a, &b);
}

#[test]
fn a_folder_whose_thread_ends_by_a_fault_says_so_and_begins_anew() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| fs::write(folder.join("one.txt"), "one\n").expect("writes"));
    a.stop();
    let started = a.kith_with(&["daemon", "start"], &[("KITH_PANIC_AT", "folder.round:2")]);
    assert!(started.status.success(), "{started:?}");
    write(&a, "two.txt", "two\n");
    until(&a, "said to stand still", || words(&a).contains("ended by a fault of this program"));
    assert!(!a.kith(&["wait", "--synced", "--timeout", "1s"]).status.success(), "it is not at rest");
    write(&b, "three.txt", "three\n");
    until(&a, "on its way again", || !words(&a).contains("ended by a fault"));
    together(&a, &b);
    assert_eq!((read(&b, "two.txt").as_str(), read(&a, "three.txt").as_str()), ("two\n", "three\n"));
    write(&a, "four.txt", "four\n");
    arrives(&b, "told as ever", || b.folder.join("four.txt").exists());
}
