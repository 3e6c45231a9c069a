//! Daemons that the system gives too little: one home or one folder for two of them, a full disk, few open files, little
//! memory. They say so, go on as far as they can, and lose nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use sync_tests::{
    daemon::Daemon,
    disk::{differences, stray_files, tree},
};
use tempfile::TempDir;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kith-under-test"))
}

/// A program that sets something up for the daemon that `kith` then starts.
fn wrapped(dir: &Path, setup: &str) -> PathBuf {
    let path = dir.join("kith-wrapped");
    let kith = program().display();
    fs::write(&path, format!("#!/bin/sh\n{setup}\nexec '{kith}' \"$@\"\n")).expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("is ours");
    path
}

fn populate(folder: &Path, files: usize) {
    for index in 0..files {
        let dir = folder.join(format!("dir {}", index % 30));
        fs::create_dir_all(&dir).expect("makes");
        let bytes: Vec<u8> = (0..index * 400).map(|byte| (byte * index) as u8).collect();
        fs::write(dir.join(format!("file {index}")), bytes).expect("writes");
    }
}

#[test]
fn a_home_has_one_daemon() {
    let dir = TempDir::new().expect("temporary directory");
    let one = Daemon::new(program(), dir.path(), "one");
    one.start();
    let second = one.kith(&["daemon", "run"]);
    assert_eq!(second.status.code(), Some(8), "busy: {second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains("a daemon already runs for"), "{second:?}");
    one.stop();
}

#[test]
fn a_folder_of_another_home_is_refused_and_left_alone() {
    let dir = TempDir::new().expect("temporary directory");
    let (one, other) = (Daemon::new(program(), dir.path(), "one"), Daemon::new(program(), dir.path(), "other"));
    let inner = one.folder.join("inner");
    fs::create_dir(&inner).expect("makes");
    fs::write(one.folder.join("mine.txt"), "mine").expect("writes");
    let invite = one.share();
    one.wait_synced();
    let before = tree(&one.folder);
    let refused = |args: &[&str]| {
        let output = other.kith(args);
        assert_eq!(output.status.code(), Some(8), "busy: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("{} is a folder of another kith", one.folder.display())), "{said}");
    };
    let (folder, inner) = (one.folder.to_str().expect("is text"), inner.to_str().expect("is text"));
    refused(&["share", folder]);
    refused(&["share", inner]);
    // The same space in the same place: the marker is right, but somebody is there.
    refused(&["join", &invite, folder]);
    assert_eq!(other.json(&["status"])["folders"], serde_json::json!([]));
    assert_eq!(tree(&one.folder), before);
    fs::write(one.folder.join("mine.txt"), "still mine").expect("writes");
    one.wait_synced();
    // Nor does it become anybody's while its daemon does not run.
    one.stop();
    refused(&["share", folder]);
    refused(&["share", inner]);
    one.start();
    one.wait_synced();
    // The invite was not used up.
    other.join(&invite);
    other.wait_synced();
    assert_eq!(fs::read(other.folder.join("mine.txt")).expect("came"), b"still mine");
}

#[test]
fn who_lost_the_home_joins_again_where_the_files_are() {
    let dir = TempDir::new().expect("temporary directory");
    let (host, lost) = (Daemon::new(program(), dir.path(), "host"), Daemon::new(program(), dir.path(), "lost"));
    fs::write(host.folder.join("file.txt"), "file").expect("writes");
    lost.join(&host.share());
    lost.wait_synced();
    lost.stop();
    fs::write(lost.folder.join("new.txt"), "written meanwhile").expect("writes");
    let mut again = Daemon::new(program(), dir.path(), "again");
    again.folder.clone_from(&lost.folder);
    again.join(&host.share());
    again.wait_synced();
    host.wait_synced();
    assert_eq!(fs::read(host.folder.join("new.txt")).expect("came"), b"written meanwhile");
    assert_eq!(differences(&host.folder, &again.folder), Vec::<String>::new());
}

/// A joiner under a limit of the system gets and makes files like any other.
fn limited(limit: &str) {
    let dir = TempDir::new().expect("temporary directory");
    let a = Daemon::new(program(), dir.path(), "a");
    let b = Daemon::new(&wrapped(dir.path(), limit), dir.path(), "b");
    populate(&a.folder, 300);
    let invite = a.share();
    b.start();
    let pid = b.pid();
    b.join(&invite);
    b.wait_synced();
    populate(&b.folder.join("dir 0"), 100);
    b.wait_synced();
    a.wait_synced();
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new(), "{limit}");
    assert_eq!(b.pid(), pid, "{limit}: it is the same process\n{}", b.log());
    assert!(!b.log().contains("panicked"), "{limit}: {}", b.log());
}

#[test]
fn few_open_files_cost_nothing() {
    limited("ulimit -n 64");
}

#[test]
fn little_memory_costs_nothing() {
    // glibc reserves 64 MiB of addresses for each of many threads, which is no memory but counts here.
    limited("export MALLOC_ARENA_MAX=2; ulimit -v 1048576");
}

#[test]
fn a_full_disk_holds_up_what_does_not_fit_and_nothing_else() {
    let allowed = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("skipped: this system lets nobody mount a small disk of its own (unshare -rm)");
        return;
    }
    let dir = TempDir::new().expect("temporary directory");
    let (a, b) = (Daemon::new(program(), dir.path(), "a"), Daemon::new(program(), dir.path(), "b"));
    // The disk of b is there for its daemon alone.
    let disk = b.folder.display();
    let inner = wrapped(dir.path(), &format!("mount -t tmpfs -o size=2m none '{disk}' || exit 90"));
    let outer = dir.path().join("kith-on-a-small-disk");
    fs::write(&outer, format!("#!/bin/sh\nexec unshare -rm '{}' \"$@\"\n", inner.display())).expect("writes");
    fs::set_permissions(&outer, fs::Permissions::from_mode(0o700)).expect("is ours");
    Daemon::new(&outer, dir.path(), "b").start_and_forget();
    let seen = PathBuf::from(format!("/proc/{}/root{disk}", b.pid()));

    fs::write(a.folder.join("small.txt"), "small\n").expect("writes");
    fs::write(a.folder.join("too large.bin"), vec![7; 5 << 20]).expect("writes");
    let invite = a.share();
    b.join(&invite);
    let waited = b.kith(&["wait", "--synced", "--timeout", "5s"]);
    assert!(!waited.status.success(), "5 MiB do not fit into 2");
    assert_eq!(fs::read_to_string(seen.join("small.txt")).expect("is there"), "small\n");
    fs::remove_file(a.folder.join("too large.bin")).expect("removes");
    b.wait_synced();
    // What fits, and leaves less than is kept free: a tenth of so small a disk.
    let nearly = a.folder.join("nearly all.bin");
    fs::write(&nearly, vec![8; (2 << 20) - (150 << 10)]).expect("writes");
    let waited = b.kith(&["wait", "--synced", "--timeout", "5s"]);
    let words = String::from_utf8_lossy(&b.kith(&["status"]).stdout).into_owned();
    assert!(!waited.status.success() && words.contains("the disk is nearly full"), "{words}");
    assert!(!seen.join("nearly all.bin").exists());
    fs::remove_file(nearly).expect("removes");
    b.wait_synced();
    // There is room again, and both go on.
    fs::write(seen.join("from b.txt"), "from b\n").expect("writes");
    b.wait_synced();
    a.wait_synced();
    assert_eq!(differences(&a.folder, &seen), Vec::<String>::new());
    assert_eq!(fs::read_to_string(a.folder.join("from b.txt")).expect("came"), "from b\n");
    assert_eq!(stray_files(&seen), Vec::<PathBuf>::new());
    b.stop();
}
