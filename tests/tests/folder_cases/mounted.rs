//! A small disk that is mounted within the folder, and goes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use sync_tests::daemon::Daemon;
use tempfile::TempDir;

use super::{arrives, commits, program, read, words};

/// A program that runs `kith` where it may mount and nobody else sees it.
fn with_mounts_of_its_own(dir: &Path) -> Option<PathBuf> {
    let allowed = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("skipped: this system lets nobody mount a small disk of its own (unshare -rm)");
        return None;
    }
    let path = dir.join("kith-with-mounts-of-its-own");
    fs::write(&path, format!("#!/bin/sh\nexec unshare -rm '{}' \"$@\"\n", program().display())).expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("is ours");
    Some(path)
}

/// Runs a command where the daemon is.
fn beside(daemon: &Daemon, command: &str) -> bool {
    let pid = daemon.pid().to_string();
    let entered = ["--preserve-credentials", "-U", "-m", "-t", pid.as_str(), "sh", "-ec", command];
    Command::new("nsenter").args(entered).status().is_ok_and(|status| status.success())
}

#[test]
fn a_disk_within_the_folder_that_is_unmounted_deletes_nothing_elsewhere() {
    let dir = TempDir::new().expect("temporary directory");
    let Some(kith) = with_mounts_of_its_own(dir.path()) else { return };
    let (a, b) = (Daemon::new(&kith, dir.path(), "a"), Daemon::new(program(), dir.path(), "b"));
    // Its daemon is there for others, whose commands run where the tests do.
    a.start_and_forget();
    let a = Daemon::new(program(), dir.path(), "a");
    let stick = a.folder.join("stick");
    fs::create_dir(&stick).expect("makes");
    fs::write(a.folder.join("plain.txt"), "plain\n").expect("writes");
    let at = stick.display();
    if !beside(&a, &format!("mount -t tmpfs -o size=2m none '{at}'")) {
        eprintln!("skipped: nobody can enter the namespace of another process here (nsenter)");
        return;
    }
    let fill = format!("cd '{at}' && mkdir sub && for n in 1 2 3 4 5; do echo $n > $n.txt; echo $n > sub/$n.txt; done");
    assert!(beside(&a, &fill));
    b.join(&a.share());
    a.wait_synced();
    b.wait_synced();
    assert_eq!(read(&b, "stick/sub/3.txt"), "3\n");
    let before = commits(&a);

    // The same disk is mounted elsewhere meanwhile, or its bytes would be gone.
    let spare = dir.path().join("spare");
    fs::create_dir(&spare).expect("makes");
    let spare = spare.display();
    assert!(beside(&a, &format!("mount --bind '{at}' '{spare}' && umount '{at}'")));
    arrives(&a, "told of it", || words(&a).contains("not mounted"));
    fs::write(b.folder.join("stick/of b.txt"), "of b\n").expect("writes");
    fs::write(b.folder.join("beside.txt"), "beside\n").expect("writes");
    arrives(&a, "given what is beside", || a.folder.join("beside.txt").exists());
    assert_eq!(fs::read_dir(&stick).expect("lists").count(), 0, "nothing is written under the mount point");
    for name in ["stick/1.txt", "stick/sub/5.txt"] {
        assert!(b.folder.join(name).exists(), "{name} is deleted nowhere");
    }
    assert!((1..=2).contains(&(commits(&a) - before)), "those of the other device alone");
    // It goes on once the disk is back.
    assert!(beside(&a, &format!("mount --bind '{spare}' '{at}' && echo edited > '{at}/1.txt'")));
    arrives(&b, "given the edit", || read(&b, "stick/1.txt") == "edited\n");
    assert!(beside(&a, &format!("echo new > '{at}/sub/new.txt'")));
    arrives(&b, "given what is new", || b.folder.join("stick/sub/new.txt").exists());
    assert!(beside(&a, &format!("rm '{at}/2.txt'")));
    arrives(&b, "told of the delete", || !b.folder.join("stick/2.txt").exists());

    // It goes for good, and at a word so does what was on it.
    assert!(beside(&a, &format!("umount '{at}' && umount '{spare}'")));
    arrives(&a, "told of it again", || words(&a).contains("not mounted"));
    let name = a.folder.join("stick");
    let name = name.to_str().expect("is text");
    assert_eq!(a.kith(&["folder", "gone", name]).status.code(), Some(6), "not without a word");
    let gone = a.json(&["folder", "gone", name, "--yes"]);
    assert_eq!((&gone["schema"], &gone["files"]), (&"kith/gone/1".into(), &10.into()), "{gone:#}");
    arrives(&b, "told of it", || !b.folder.join("stick/sub").exists());
    a.wait_synced();
    b.wait_synced();
    assert_eq!(read(&a, "plain.txt"), "plain\n");
    a.stop();
}

#[test]
fn a_folder_that_is_a_disk_and_is_unmounted_deletes_nothing_and_goes_on() {
    let dir = TempDir::new().expect("temporary directory");
    let Some(kith) = with_mounts_of_its_own(dir.path()) else { return };
    let (a, b) = (Daemon::new(&kith, dir.path(), "a"), Daemon::new(program(), dir.path(), "b"));
    a.start_and_forget();
    let a = Daemon::new(program(), dir.path(), "a");
    let at = a.folder.display();
    if !beside(&a, &format!("mount -t tmpfs -o size=2m none '{at}'")) {
        eprintln!("skipped: nobody can enter the namespace of another process here (nsenter)");
        return;
    }
    assert!(beside(&a, &format!("cd '{at}' && mkdir d && echo one > one.txt && echo two > d/two.txt")));
    b.join(&a.share());
    a.wait_synced();
    b.wait_synced();
    assert_eq!((read(&b, "one.txt").as_str(), read(&b, "d/two.txt").as_str()), ("one\n", "two\n"));

    let spare = dir.path().join("spare");
    fs::create_dir(&spare).expect("makes");
    let spare = spare.display();
    // As one that is pulled out: the daemon has it open.
    assert!(beside(&a, &format!("mount --bind '{at}' '{spare}' && umount -l '{at}'")));
    fs::write(b.folder.join("meanwhile.txt"), "meanwhile\n").expect("writes");
    b.kith(&["wait", "--synced", "--timeout", "2s"]);
    assert_eq!(fs::read_dir(&a.folder).expect("lists").count(), 0, "nothing is written under the mount point");
    assert!(b.folder.join("one.txt").exists() && b.folder.join("d/two.txt").exists());
    // The same disk comes back.
    assert!(beside(&a, &format!("mount --bind '{spare}' '{at}' && echo edited > '{at}/one.txt'")));
    arrives(&b, "given the edit", || read(&b, "one.txt") == "edited\n");
    a.wait_synced();
    b.wait_synced();
    assert!(beside(&a, &format!("test \"$(cat '{at}/meanwhile.txt')\" = meanwhile")));
    a.stop();
}
