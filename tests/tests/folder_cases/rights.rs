//! Files and directories that the daemon has no right to.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use sync_tests::daemon::Daemon;
use tempfile::TempDir;

use super::{arrives, program, read, together, until, words, write};

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
fn a_directory_that_cannot_be_read_and_moves_is_not_emptied_elsewhere() {
    let dir = TempDir::new().expect("temporary directory");
    let Some(kith) = without_privileges(dir.path()) else { return };
    let (a, b) = (Daemon::new(&kith, dir.path(), "a"), Daemon::new(program(), dir.path(), "b"));
    for name in ["d/one.txt", "d/below/two.txt", "outer/closed/three.txt", "others.txt"] {
        write(&a, name, format!("{name}\n"));
    }
    b.join(&a.share());
    together(&a, &b);
    let set = |name: &str, mode: u32| {
        fs::set_permissions(a.folder.join(name), fs::Permissions::from_mode(mode)).expect("is ours");
    };
    a.halted(|| {
        for (name, to) in [("d", "e"), ("outer", "elsewhere")] {
            fs::rename(a.folder.join(name), a.folder.join(to)).expect("renames");
        }
        set("e", 0);
        set("elsewhere/closed", 0);
    });
    arrives(&b, "told that they moved", || b.folder.join("e").exists() && b.folder.join("elsewhere").exists());
    until(&a, "told of both", || words(&a).contains("e") && words(&a).contains("elsewhere/closed"));
    write(&a, "others.txt", "goes on\n");
    arrives(&b, "given the rest", || read(&b, "others.txt") == "goes on\n");
    let there = ["e/one.txt", "e/below/two.txt", "elsewhere/closed/three.txt"];
    assert!(there.iter().all(|name| b.folder.join(name).exists()), "what cannot be seen is not gone");
    set("e", 0o755);
    set("elsewhere/closed", 0o755);
    together(&a, &b);
    assert!(there.iter().all(|name| a.folder.join(name).exists() && b.folder.join(name).exists()));
}

#[test]
fn a_directory_that_cannot_be_read_leaves_the_others_watched() {
    let dir = TempDir::new().expect("temporary directory");
    let Some(kith) = without_privileges(dir.path()) else { return };
    let (a, b) = (Daemon::new(&kith, dir.path(), "a"), Daemon::new(program(), dir.path(), "b"));
    for name in ["closed/inside.txt", "open/below/inside.txt"] {
        write(&a, name, format!("{name}\n"));
    }
    let set = |mode: u32| {
        fs::set_permissions(a.folder.join("closed"), fs::Permissions::from_mode(mode)).expect("is ours");
    };
    set(0);
    b.join(&a.share());
    arrives(&b, "given what can be read", || b.folder.join("open/below/inside.txt").exists());
    write(&a, "open/below/new.txt", "new\n");
    arrives(&b, "told of it", || b.folder.join("open/below/new.txt").exists());
    assert!(words(&a).contains("closed"), "{}", words(&a));
    set(0o755);
    arrives(&b, "given what can be read now", || b.folder.join("closed/inside.txt").exists());
    write(&a, "closed/new.txt", "new\n");
    arrives(&b, "told of that, too", || b.folder.join("closed/new.txt").exists());
    together(&a, &b);
    assert!(!a.log().contains("the folder is not watched"), "{}", a.log());
}
