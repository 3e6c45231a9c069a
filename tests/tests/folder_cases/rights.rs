//! Files and directories that the daemon has no right to, and a disk that nobody may watch.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use sync_tests::daemon::Daemon;
use tempfile::TempDir;

use super::{program, read, together, until, words, write};

/// A program that gives `kith` no rights but those of files.
fn without_privileges(dir: &Path) -> Option<PathBuf> {
    let drop = "setpriv --bounding-set=-all --inh-caps=-all";
    let works = Command::new("sh").args(["-c", &format!("{drop} true")]).status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: no privileges can be dropped here (setpriv)");
        return None;
    }
    let path = dir.join("kith-without-privileges");
    fs::write(&path, format!("#!/bin/sh\nexec {drop} '{}' \"$@\"\n", program().display())).expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("is ours");
    Some(path)
}

#[test]
fn what_cannot_be_read_or_written_is_a_problem_and_no_delete() {
    let dir = TempDir::new().expect("temporary directory");
    let Some(kith) = without_privileges(dir.path()) else { return };
    let (a, b) = (Daemon::new(&kith, dir.path(), "a"), Daemon::new(program(), dir.path(), "b"));
    for name in ["plain.txt", "secret.txt", "closed/inside.txt", "fixed/inside.txt"] {
        write(&a, name, format!("{name}\n"));
    }
    b.join(&a.share());
    together(&a, &b);
    let set = |name: &str, mode: u32| {
        fs::set_permissions(a.folder.join(name), fs::Permissions::from_mode(mode)).expect("is ours");
    };
    // Nobody may read these any more, and nothing may be made in that one. The daemon only sees them as they are then.
    a.halted(|| {
        write(&a, "secret.txt", "edited and closed\n");
        write(&a, "new secret.txt", "new and closed\n");
        for (name, mode) in [("secret.txt", 0), ("new secret.txt", 0), ("closed", 0), ("fixed", 0o555)] {
            set(name, mode);
        }
    });
    write(&b, "fixed/inside.txt", "of b\n");
    write(&b, "plain.txt", "of b\n");
    until(&a, "given what can be written", || read(&a, "plain.txt") == "of b\n");
    until(&a, "told of each", || {
        let words = words(&a);
        ["secret.txt", "new secret.txt", "closed", "fixed"].iter().all(|name| words.contains(name))
    });
    for name in ["secret.txt", "closed/inside.txt"] {
        assert_eq!(read(&b, name), format!("{name}\n"), "nothing is deleted, and nothing is emptied");
    }
    assert!(!b.folder.join("new secret.txt").exists());
    for (name, mode) in [("secret.txt", 0o644), ("new secret.txt", 0o644), ("closed", 0o755), ("fixed", 0o755)] {
        set(name, mode);
    }
    until(&a, "given what could not be written", || read(&a, "fixed/inside.txt") == "of b\n");
    together(&a, &b);
    assert_eq!(
        (read(&b, "secret.txt").as_str(), read(&b, "new secret.txt").as_str()),
        ("edited and closed\n", "new and closed\n")
    );
}

#[test]
fn a_folder_that_cannot_be_watched_is_scanned_by_each_start() {
    let dir = TempDir::new().expect("temporary directory");
    // Limits of the system hold in a namespace of our own, and nowhere else.
    let limit = "echo 0 > /proc/sys/user/max_inotify_instances";
    let works = Command::new("unshare").args(["-r", "sh", "-c", limit]).status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: this system gives nobody a namespace of limits (unshare -r)");
        return;
    }
    let path = dir.path().join("kith-without-watches");
    let inner = format!("{limit}; exec \"$0\" \"$@\"");
    fs::write(&path, format!("#!/bin/sh\nexec unshare -r sh -c '{inner}' '{}' \"$@\"\n", program().display()))
        .expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("is ours");
    let (a, b) = (Daemon::new(&path, dir.path(), "a"), Daemon::new(program(), dir.path(), "b"));
    write(&a, "one.txt", "one\n");
    b.join(&a.share());
    together(&a, &b);
    assert!(a.log().contains("the folder is not watched"), "{}", a.log());
    // What others do arrives as ever, and what is done here is seen by the next scan.
    write(&b, "two.txt", "two\n");
    until(&a, "given what the other made", || a.folder.join("two.txt").exists());
    a.stop();
    write(&a, "three.txt", "three\n");
    a.start();
    together(&a, &b);
    assert_eq!(read(&b, "three.txt"), "three\n");
}
