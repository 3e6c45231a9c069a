//! What a crash may leave and must not, what comes between two calls, and how events go wrong.

use std::{collections::BTreeSet, io::Read as _};

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use sync_core::{
    folder::{Fault, find_folds, ingest},
    ids::ContentHash,
};

use super::*;
use crate::sim::editor::{Job, random_action};

const START_NS: i64 = 1_700_000_000_000_000_000;

fn fs_with(config: Config) -> SimFs {
    SimFs::new(config, START_NS, &Rng::new(1))
}

fn fs(crash: Crash) -> SimFs {
    fs_with(Config { crash, ..Config::default() })
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).expect("a path of a test")
}

fn write(fs: &SimFs, at: &str, bytes: &[u8]) {
    let (fd, at) = (99, path(at));
    for op in [
        UserOp::Open { fd, path: at, how: OpenHow::Truncate },
        UserOp::Write { fd, bytes: bytes.to_vec() },
        UserOp::Close { fd },
    ] {
        fs.user(&op).expect("the user can write");
    }
}

/// All that a crash left in many runs of the same calls.
fn outcomes(crash: Crash, calls: impl Fn(&SimFs), at: &str) -> BTreeSet<Option<Vec<u8>>> {
    let outcome = |seed| {
        let fs = fs(crash);
        calls(&fs);
        fs.crash(&mut Rng::new(seed));
        fs.read(&path(at))
    };
    (0..200).map(outcome).collect()
}

#[test]
fn an_unflushed_file_may_be_there_whole_in_part_empty_or_not_at_all() {
    let long = vec![b'x'; 2000];
    for crash in [Crash::Ordered, Crash::AnySubset] {
        let seen = outcomes(crash, |fs| fs.write_new(&path("f"), &long, false).expect("writes"), "f");
        assert!(
            seen.contains(&None) && seen.contains(&Some(vec![])) && seen.contains(&Some(long.clone())),
            "{crash:?}"
        );
        assert!(seen.len() > 3, "{crash:?}: some are torn");
    }
}

#[test]
fn flushed_bytes_last_and_their_name_only_with_its_directory_where_nothing_more_is_promised() {
    let calls = |fs: &SimFs| fs.write_new(&path("f"), b"whole", true).expect("writes");
    assert_eq!(outcomes(Crash::Ordered, calls, "f"), BTreeSet::from([Some(b"whole".to_vec())]));
    assert_eq!(outcomes(Crash::AnySubset, calls, "f"), BTreeSet::from([None, Some(b"whole".to_vec())]));
    let calls = |fs: &SimFs| {
        calls(fs);
        fs.flush_dir(&RelPath::root()).expect("flushes");
    };
    assert_eq!(outcomes(Crash::AnySubset, calls, "f"), BTreeSet::from([Some(b"whole".to_vec())]));
}

#[test]
fn an_exchange_is_old_or_new_and_a_flush_of_either_directory_makes_it_last() {
    let swap = |fs: &SimFs| {
        fs.make_dir(&path("tmp")).expect("makes");
        write(fs, "f", b"old");
        fs.flush_all().expect("flushes");
        fs.write_new(&path("tmp/new"), b"new", true).expect("writes");
        fs.exchange(&path("tmp/new"), &path("f")).expect("swaps");
    };
    for crash in [Crash::Ordered, Crash::AnySubset] {
        let both = BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())]);
        assert_eq!(outcomes(crash, swap, "f"), both, "{crash:?}");
        for dir in ["", "tmp"] {
            let calls = |fs: &SimFs| {
                swap(fs);
                fs.flush_dir(&path(dir)).expect("flushes");
            };
            assert_eq!(outcomes(crash, calls, "f"), BTreeSet::from([Some(b"new".to_vec())]), "{crash:?} {dir:?}");
        }
    }
}

#[test]
fn a_rename_before_the_bytes_are_flushed_can_leave_an_empty_file() {
    let calls = |fs: &SimFs| {
        fs.write_new(&path("temp"), b"bytes", false).expect("writes");
        fs.rename_new(&path("temp"), &path("f")).expect("renames");
        fs.flush_dir(&RelPath::root()).expect("flushes");
    };
    for crash in [Crash::Ordered, Crash::AnySubset] {
        let seen = outcomes(crash, calls, "f");
        assert!(seen.contains(&Some(vec![])) && !seen.contains(&None), "{crash:?}: {seen:?}");
    }
}

#[test]
fn a_failed_flush_loses_the_bytes_and_the_next_one_says_nothing() {
    let fs = fs(Crash::Ordered);
    let mut file = fs.create(&path("f")).expect("creates");
    std::io::Write::write_all(&mut file, b"bytes").expect("writes");
    fs.fail_nth(1, DiskFault::Io);
    file.flush_to_disk().expect_err("fails");
    file.flush_to_disk().expect("the pages are clean now");
    drop(file);
    fs.flush_dir(&RelPath::root()).expect("flushes");
    assert_eq!(fs.read(&path("f")).as_deref(), Some(&b"bytes"[..]), "nobody sees it before the crash");
    fs.crash(&mut Rng::new(3));
    assert_ne!(fs.read(&path("f")).as_deref(), Some(&b"bytes"[..]));
}

#[test]
fn what_users_do_lasts_where_it_is_said_to_and_is_excused_where_not() {
    for durable in [true, false] {
        let mut lost = 0;
        for seed in 0..100 {
            let config = Config { user_writes_durable: durable, crash: Crash::AnySubset, ..Config::default() };
            let fs = fs_with(config);
            fs.user(&UserOp::MakeDir(path("d"))).expect("makes");
            write(&fs, "d/f", b"mine");
            fs.crash(&mut Rng::new(seed));
            lost += usize::from(fs.read(&path("d/f")).as_deref() != Some(b"mine"));
            assert_eq!(fs.saved()[0].excused, !durable);
        }
        assert_eq!(lost > 0, !durable);
    }
}

#[test]
fn handles_of_before_a_crash_are_worth_nothing() {
    let fs = fs(Crash::Ordered);
    write(&fs, "f", b"x");
    let mut file = fs.open(&path("f")).expect("opens");
    fs.crash(&mut Rng::new(1));
    assert!(file.read(&mut [0; 4]).is_err());
    drop(file);
    assert_eq!(fs.read(&path("f")).as_deref(), Some(&b"x"[..]));
}

#[test]
fn the_power_goes_at_a_call_and_nothing_happens_after_it() {
    let fs = fs(Crash::Ordered);
    fs.cut_power_at(2);
    fs.make_dir(&path("a")).expect("the power is on");
    fs.make_dir(&path("b")).expect_err("the power is gone");
    fs.make_dir(&path("c")).expect_err("it does not come back");
    assert!(fs.is_dead());
    fs.restart();
    fs.make_dir(&path("c")).expect("a restart brings it back");
    assert_eq!(fs.paths().len(), 2);
}

#[test]
fn a_scheduled_writer_comes_between_open_and_the_end_of_reading() {
    let fs = fs_with(Config { read_bytes_max: 2, ..Config::default() });
    write(&fs, "f", b"aaaa");
    fs.schedule(
        4,
        [
            UserOp::Open { fd: 1, path: path("f"), how: OpenHow::InPlace },
            UserOp::Write { fd: 1, bytes: b"bbbb".to_vec() },
        ],
    );
    let mut file = fs.open(&path("f")).expect("opens");
    let before = file.stat().expect("stats");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("reads");
    assert_eq!(bytes, b"aabb");
    assert_ne!(file.stat().expect("stats"), before);
}

#[test]
fn the_folder_never_takes_a_file_that_changed_while_it_was_read() {
    let old = vec![b'a'; 20];
    let load_with = |nth| {
        let fs = fs_with(Config { read_bytes_max: 7, ..Config::default() });
        write(&fs, "f", &old);
        let first = fs.calls();
        fs.schedule(
            nth,
            [
                UserOp::Open { fd: 1, path: path("f"), how: OpenHow::InPlace },
                UserOp::Write { fd: 1, bytes: b"bbbbbbbbbbbb".to_vec() },
                UserOp::Close { fd: 1 },
            ],
        );
        let loaded = ingest::load(&fs, &path("f"), START_NS);
        (loaded.map(|loaded| loaded.hash), fs.calls() - first)
    };
    let (_, calls) = load_with(1_000);
    let mut moving = 0;
    for nth in 1..=calls {
        match load_with(nth).0 {
            // Written before it was first looked at.
            Ok(hash) => assert_eq!(hash, ContentHash::of(b"bbbbbbbbbbbbaaaaaaaa"), "before call {nth}"),
            Err(error) => {
                assert!(matches!(error, ingest::LoadError::Moving), "{error}");
                moving += 1;
            }
        }
    }
    assert!(moving >= 4, "{moving} of {calls}");
}

#[test]
fn an_open_file_outlives_its_name() {
    let fs = fs(Crash::Ordered);
    write(&fs, "f", b"bytes");
    let mut file = fs.open(&path("f")).expect("opens");
    fs.user(&UserOp::Remove(path("f"))).expect("removes");
    write(&fs, "f", b"other");
    let mut bytes = String::new();
    file.read_to_string(&mut bytes).expect("reads");
    assert_eq!(bytes, "bytes");
}

#[test]
fn an_inode_comes_again_with_another_birth() {
    let fs = fs(Crash::Ordered);
    write(&fs, "a", b"");
    let first = fs.look(&path("a")).expect("looks").expect("is there").stat;
    fs.user(&UserOp::Remove(path("a"))).expect("removes");
    write(&fs, "b", b"");
    let second = fs.look(&path("b")).expect("looks").expect("is there").stat;
    assert_eq!(first.inode, second.inode);
    assert!(!first.same_file(&second));
}

#[test]
fn coarse_stamps_hide_quick_changes_and_follow_the_clock_back() {
    let fs = fs_with(Config { granularity_ns: 2_000_000_000, ..Config::default() });
    write(&fs, "f", b"one");
    let first = fs.look(&path("f")).expect("looks").expect("is there").stat;
    write(&fs, "f", b"two");
    assert_eq!(fs.look(&path("f")).expect("looks").expect("is there").stat, first);
    fs.set_now_ns(START_NS - 5_000_000_000);
    write(&fs, "f", b"six");
    let back = fs.look(&path("f")).expect("looks").expect("is there").stat;
    assert_eq!(back.mtime_ns, START_NS - 6_000_000_000);
}

#[test]
fn a_full_disk_takes_a_part_and_refuses_the_rest() {
    let fs = fs_with(Config { capacity_bytes: Some(6), ..Config::default() });
    write(&fs, "f", b"1234");
    let error = fs.write_new(&path("g"), b"5678", false).expect_err("is full");
    assert_eq!(error.fault(), Fault::NoSpace);
    assert_eq!(fs.read(&path("g")).as_deref(), Some(&b"56"[..]));
    assert_eq!(fs.make_dir(&path("d")).expect_err("is full").fault(), Fault::NoSpace);
    fs.remove_file(&path("f")).expect("removing needs no room");
    fs.write_new(&path("h"), b"5678", false).expect("there is room");
}

#[test]
fn rights_are_asked_of_files_and_directories() {
    let fs = fs(Crash::Ordered);
    fs.user(&UserOp::MakeDir(path("d"))).expect("makes");
    write(&fs, "d/f", b"x");
    let chmod = |at: &str, mode| fs.user(&UserOp::Chmod { path: path(at), mode }).expect("sets");
    chmod("d/f", 0o200);
    assert_eq!(fs.open(&path("d/f")).err().map(|error| error.fault()), Some(Fault::Denied));
    chmod("d", 0o500);
    assert_eq!(fs.remove_file(&path("d/f")).expect_err("may not").fault(), Fault::Denied);
    assert!(fs.look(&path("d/f")).expect("may look").is_some());
    chmod("d", 0);
    assert_eq!(fs.list(&path("d")).expect_err("may not").fault(), Fault::Denied);
    assert_eq!(fs.look(&path("d/f")).expect_err("may not").fault(), Fault::Denied);
}

#[test]
fn events_come_twice_late_never_or_as_one_rescan() {
    let run = |faults: WatchFaults| {
        let fs = fs(Crash::Ordered);
        fs.watch();
        fs.set_watch_faults(faults);
        write(&fs, "f", b"x");
        fs
    };
    let plain = run(WatchFaults::default()).events();
    let hint = |closed| WatchEvent::Hint { path: path("f"), closed };
    assert_eq!(plain, [hint(false), hint(false), hint(true)]);
    assert!(run(WatchFaults { lost_per_mille: 1000, ..WatchFaults::default() }).events().is_empty());
    assert_eq!(run(WatchFaults { doubled_per_mille: 1000, ..WatchFaults::default() }).events().len(), 6);
    assert_eq!(run(WatchFaults { queue_max: 2, ..WatchFaults::default() }).events(), [WatchEvent::Rescan]);
    let late = run(WatchFaults { delayed_per_mille: 1000, delay_max_ns: 1 << 40, ..WatchFaults::default() });
    assert!(late.events().is_empty());
    late.set_now_ns(START_NS + (1 << 41));
    assert_eq!(late.events().len(), 3);
    assert_eq!(late.next_event_ns(), None);
}

#[test]
fn our_own_directory_tells_of_cookies_only_and_its_writes_are_set_apart() {
    let fs = fs(Crash::Ordered);
    fs.make_state_dirs().expect("makes");
    fs.watch();
    fs.write_new(&path(".kith/tmp/cookie-7"), b"", false).expect("writes");
    fs.write_new(&path(".kith/other"), b"", false).expect("writes");
    let events = fs.events();
    assert!(!events.is_empty());
    assert!(events.iter().all(|event| *event == WatchEvent::Temp("cookie-7".into())), "{events:?}");
    assert!(fs.writes().iter().all(FolderWrite::is_ours));
    fs.write_new(&path("f"), b"", false).expect("writes");
    assert!(!fs.writes().last().expect("was noted").is_ours());
    assert!(fs.paths().iter().all(|(path, _)| *path == self::path("f")));
}

#[test]
fn what_is_in_a_new_directory_is_not_told_before_it_is_watched() {
    let fs = fs(Crash::Ordered);
    fs.watch();
    fs.user(&UserOp::MakeDir(path("d"))).expect("makes");
    write(&fs, "d/f", b"x");
    assert_eq!(fs.events(), [WatchEvent::Hint { path: path("d"), closed: false }]);
    write(&fs, "d/f", b"y");
    assert!(fs.events().contains(&WatchEvent::Hint { path: path("d/f"), closed: true }));
}

#[test]
fn what_is_kept_leaves_the_folder_and_its_bytes_stay() {
    let fs = fs(Crash::Ordered);
    write(&fs, "f", b"precious");
    SimTrash(fs.clone()).keep(&path("f"), &path("d/name"), None).expect("keeps");
    assert!(fs.paths().is_empty());
    assert_eq!(fs.kept(), BTreeMap::from([("1-name".to_owned(), b"precious".to_vec())]));
    assert!(fs.contents().iter().any(|bytes| ***bytes == *b"precious"));
}

#[test]
fn every_fault_of_a_write_leaves_what_a_disk_could() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let fs = SimFs::new(Config::default(), START_NS, &Rng::new(seed));
        fs.fail_nth(1, DiskFault::Io);
        fs.write_new(&path("f"), b"bytes", true).expect_err("fails");
        seen.insert(fs.read(&path("f")).map(|bytes| bytes.len()));
    }
    assert!(seen.contains(&None) && seen.contains(&Some(0)) && seen.contains(&Some(5)), "{seen:?}");
}

proptest! {
    /// Whatever a user does and whenever the power goes, what is left is a tree that can be read and worked on.
    #[test]
    fn a_crash_leaves_a_whole_tree(seed in any::<u64>(), any_subset in any::<bool>()) {
        let crash = if any_subset { Crash::AnySubset } else { Crash::Ordered };
        let fs = fs_with(Config { crash, user_writes_durable: false, ..Config::default() });
        let mut rng = Rng::new(seed);
        for round in 0..4 {
            for nth in 0..30 {
                let action = random_action(&mut rng, &fs);
                Job::new(&action, (round * 100 + nth) * 10_000).run(&fs);
                if rng.chance(100) {
                    let (dir, _) = fs.paths().into_iter().find(|(_, kind)| *kind == FoundKind::Dir).unwrap_or((RelPath::root(), FoundKind::Dir));
                    fs.flush_dir(&dir).expect("flushes");
                }
            }
            fs.crash(&mut rng);
            let state = fs.state();
            for (id, node) in &state.live.nodes {
                if let Some((dir, name)) = &node.place {
                    prop_assert_eq!(state.live.entries(*dir).get(name), Some(id));
                    prop_assert!(state.live.names(*id).is_some() || !state.live.is_within(ROOT, *id));
                }
            }
            let placed = 2 + state.live.below(ROOT).len() + state.live.below(OUTSIDE).len();
            prop_assert_eq!(placed, state.live.nodes.len(), "every node is in the tree once");
            let inodes: BTreeSet<u64> = state.live.nodes.values().map(|node| node.inode).collect();
            prop_assert_eq!(inodes.len(), state.live.nodes.len(), "no two have one inode");
        }
    }

    /// After everything was flushed a crash changes nothing.
    #[test]
    fn what_was_flushed_lasts(seed in any::<u64>(), any_subset in any::<bool>()) {
        let crash = if any_subset { Crash::AnySubset } else { Crash::Ordered };
        let fs = fs_with(Config { crash, user_writes_durable: false, ..Config::default() });
        let mut rng = Rng::new(seed);
        for nth in 0..40 {
            Job::new(&random_action(&mut rng, &fs), nth * 10_000).run(&fs);
        }
        fs.settle();
        let before = fs.tree();
        let report = fs.crash(&mut rng);
        prop_assert_eq!(report, CrashReport::default());
        prop_assert_eq!(fs.tree(), before);
    }

    /// What users did is on the disk at once where that is said, whatever else is lost.
    #[test]
    fn durable_users_lose_nothing(seed in any::<u64>(), any_subset in any::<bool>()) {
        let crash = if any_subset { Crash::AnySubset } else { Crash::Ordered };
        let fs = fs_with(Config { crash, ..Config::default() });
        let mut rng = Rng::new(seed);
        for nth in 0..40 {
            Job::new(&random_action(&mut rng, &fs), nth * 10_000).run(&fs);
        }
        let before = fs.tree();
        fs.crash(&mut rng);
        prop_assert_eq!(fs.tree(), before);
    }
}

#[test]
fn a_disk_that_folds_names_finds_each_under_all_and_keeps_it_as_it_was_written() {
    for folds in [Folds::NONE, Folds::ALL, Folds { case: true, form: false }, Folds { case: false, form: true }] {
        let fs = fs_with(Config { folds, ..Config::default() });
        fs.make_state_dirs().expect("makes");
        assert_eq!(find_folds(&fs).expect("asks"), folds);
        assert_eq!(fs.list(&temp_dir()).expect("lists"), [], "it leaves nothing");
    }
    let fs = fs_with(Config { folds: Folds::ALL, user_writes_durable: false, ..Config::default() });
    let names = || fs.paths().into_iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>();
    fs.make_dir(&path("Dir")).expect("makes");
    fs.write_new(&path("dir/File"), b"1", false).expect("writes");
    assert_eq!(names(), ["Dir", "Dir/File"]);
    assert_eq!(fs.read(&path("DIR/FILE")).as_deref(), Some(&b"1"[..]));
    assert_eq!(fs.write_new(&path("dir/file"), b"2", false).expect_err("is taken").fault(), Fault::Exists);
    // Nothing of ours gets other letters by a rename to a name that is not taken; a user's program does.
    assert_eq!(fs.rename_new(&path("Dir/File"), &path("Dir/file")).expect_err("is taken").fault(), Fault::Exists);
    fs.user(&UserOp::Rename { from: path("dir/FILE"), to: path("Dir/file") }).expect("renames");
    assert_eq!(names(), ["Dir", "Dir/file"]);
    fs.write_new(&path("new"), b"3", false).expect("writes");
    fs.exchange(&path("NEW"), &path("dir/FILE")).expect("exchanges");
    assert_eq!(
        (names(), fs.read(&path("Dir/file"))),
        (vec!["Dir".into(), "Dir/file".into(), "new".into()], Some(b"3".to_vec()))
    );
    fs.remove_file(&path("DIR/file")).expect("removes");
    fs.remove_dir(&path("dIR")).expect("removes");
    assert_eq!(names(), ["new"]);
}
