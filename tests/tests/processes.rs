//! Real `kith` processes with real folders: the main job as scripts drive it.

use std::{fs, path::Path};

use sync_tests::{
    daemon::Daemon,
    disk::{differences, stray_files, tree},
};
use tempfile::TempDir;

fn daemons<const N: usize>(dir: &TempDir) -> [Daemon; N] {
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    std::array::from_fn(|index| Daemon::new(program, dir.path(), &format!("device {index}")))
}

fn assert_equal(a: &Daemon, b: &Daemon) {
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
}

/// 200 directories with texts, binaries, empty files and names of all kinds.
fn populate(folder: &Path, files: usize, large_bytes: usize) {
    for index in 0..files {
        let sub = folder.join(format!("dir {:02}/sub-{}", index % 20, index % 200));
        fs::create_dir_all(&sub).expect("makes");
        let (name, bytes) = match index % 5 {
            0 => (format!("text {index}.txt"), format!("line of {index}\n").repeat(index % 300).into_bytes()),
            1 => (format!("ünï-{index}-漢字.md"), format!("# {index}\n").into_bytes()),
            2 => (format!("bytes{index}.bin"), (0..index * 13 % 40_000).map(|byte| (byte * index) as u8).collect()),
            3 => (format!("empty{index}"), Vec::new()),
            _ => (format!("source{index}.rs"), format!("fn f{index}() {{}}\n").repeat(40).into_bytes()),
        };
        fs::write(sub.join(name), bytes).expect("writes");
    }
    let mut noise = vec![0; large_bytes];
    blake3::Hasher::new().update(b"large").finalize_xof().fill(&mut noise);
    fs::write(folder.join("large file.bin"), noise).expect("writes");
    fs::create_dir(folder.join("empty directory")).expect("makes");
}

#[test]
fn two_daemons_share_2000_files_and_a_restart_does_nothing() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = daemons(&dir);
    // The full 200 MB are for the release profile; see `benches/large_folder.rs`.
    populate(&a.folder, 2_000, 20 << 20);
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    a.wait_synced();
    assert_equal(&a, &b);
    assert_eq!(tree(&a.folder).len(), 2_000 + 20 + 200 + 2);
    let before = [commits(&a), commits(&b)];
    for daemon in [&a, &b] {
        daemon.stop();
        daemon.start();
    }
    a.wait_synced();
    b.wait_synced();
    assert_eq!([commits(&a), commits(&b)], before, "a restart makes no commit");
    assert_equal(&a, &b);
    let status = a.json(&["status"]);
    assert_eq!(status["schema"], "kith/status/1");
    assert_eq!(status["folders"][0]["state"], "up_to_date", "{status:#}");
    assert_eq!(status["folders"][0]["files"], 2_001);
    assert_eq!(status["folders"][0]["peers"][0]["synced"], true);
}

/// How many commits a daemon's status counts for its folder.
fn commits(daemon: &Daemon) -> u64 {
    daemon.json(&["status"])["folders"][0]["commits"].as_u64().expect("a number of commits")
}

#[test]
fn edits_made_while_both_were_stopped_are_all_there() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = daemons(&dir);
    let text: String = (0..1000).map(|line| format!("line {line} of a text of 30 kB\n")).collect();
    fs::create_dir(a.folder.join("dir")).expect("makes");
    for (name, bytes) in [("text.txt", text.as_str()), ("dir/inside.txt", "one\ntwo\n"), ("contested.txt", "x\n")] {
        fs::write(a.folder.join(name), bytes).expect("writes");
    }
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    a.stop();
    b.stop();
    fs::write(a.folder.join("text.txt"), text.replace("line 10 of", "LINE TEN of")).expect("writes");
    fs::write(b.folder.join("text.txt"), text.replace("line 900 of", "LINE 900 of")).expect("writes");
    fs::write(a.folder.join("from a"), "a").expect("writes");
    fs::write(b.folder.join("from b"), "b").expect("writes");
    fs::rename(a.folder.join("dir"), a.folder.join("renamed")).expect("renames");
    fs::write(b.folder.join("dir/inside.txt"), "one\ntwo\nthree\n").expect("writes");
    fs::remove_file(a.folder.join("contested.txt")).expect("removes");
    fs::write(b.folder.join("contested.txt"), "x\nkept\n").expect("writes");
    a.start();
    b.start();
    a.wait_synced();
    b.wait_synced();
    assert_equal(&a, &b);
    let read = |name: &str| fs::read_to_string(a.folder.join(name)).expect(name);
    assert_eq!(read("text.txt"), text.replace("line 10 of", "LINE TEN of").replace("line 900 of", "LINE 900 of"));
    assert_eq!(read("renamed/inside.txt"), "one\ntwo\nthree\n");
    assert_eq!((read("from a"), read("from b")), ("a".into(), "b".into()));
    assert_eq!(read("contested.txt"), "x\nkept\n");
    assert!(!a.folder.join("dir").exists() && !b.folder.join("dir").exists());
}

#[test]
fn three_daemons_of_which_one_was_away_and_one_joins_late_end_equal() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b, c] = daemons(&dir);
    fs::write(a.folder.join("shared.txt"), "start\n").expect("writes");
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    b.stop();
    for round in 0..20 {
        fs::write(a.folder.join("shared.txt"), format!("start\nround {round} of the first\n")).expect("writes");
        fs::write(a.folder.join(format!("a{round}.txt")), "a").expect("writes");
        fs::write(b.folder.join(format!("b{round}.bin")), vec![0; 1000 * round]).expect("writes");
        a.wait_synced();
    }
    fs::write(b.folder.join("shared.txt"), "edited while away\nstart\n").expect("writes");
    let late = a.json(&["invite", a.folder.to_str().expect("is text")]);
    c.join(late["invite"].as_str().expect("an invite"));
    c.wait_synced();
    b.start();
    for daemon in [&b, &a, &c, &b, &a] {
        daemon.wait_synced();
    }
    assert_equal(&a, &b);
    assert_equal(&a, &c);
    let merged = fs::read_to_string(c.folder.join("shared.txt")).expect("reads");
    assert_eq!(merged, "edited while away\nstart\nround 19 of the first\n");
}

#[test]
fn a_daemon_killed_again_and_again_loses_nothing() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = daemons(&dir);
    fs::write(a.folder.join("log.txt"), "start\n").expect("writes");
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    // The 100 cycles of a release are `cargo bench --bench kill`; these are for every run.
    for cycle in 0..6 {
        sync_tests::kill::cycle(&a, &b, cycle);
    }
    a.wait_synced();
    b.wait_synced();
    assert_equal(&a, &b);
    for daemon in [&a, &b] {
        assert_eq!(stray_files(&daemon.folder), Vec::<std::path::PathBuf>::new());
    }
    sync_tests::kill::assert_nothing_lost(&a, 6);
}

#[test]
fn mistakes_get_an_error_with_a_hint_and_the_right_exit_code() {
    let dir = TempDir::new().expect("temporary directory");
    let [a] = daemons(&dir);
    let code = |args: &[&str]| a.kith(args).status.code();
    assert_eq!(code(&["status"]), Some(4), "no daemon");
    assert_eq!(code(&["shrae"]), Some(2), "no such command");
    assert_eq!(code(&["share", "/nonexistent/directory"]), Some(5), "no such directory");
    let invite = a.share();
    assert_eq!(code(&["invite", "no such folder"]), Some(5));
    assert_eq!(code(&["join", &invite[..invite.len() - 3], "x"]), Some(2), "a damaged invite");
    let error = a.kith(&["invite", "no such folder", "--json"]);
    let error: serde_json::Value = serde_json::from_slice(&error.stderr).expect("an error in JSON");
    assert_eq!(error["schema"], "kith/error/1");
    assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{error}");
    assert_eq!(code(&["daemon", "run"]), Some(8), "one daemon a home");
    assert_eq!(code(&["wait", "--synced", "--timeout", "20s"]), Some(0));
    assert_eq!(code(&["help", "exit-codes"]), Some(0));
}
