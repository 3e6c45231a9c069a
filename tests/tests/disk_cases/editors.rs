//! How programs save, with a look of the folder after each of their steps.

use std::{
    fs::{self, File},
    io::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use sync_core::{doc::entry::EntryOp, limits, tree::RelPath};

use crate::rounds::Folder;

/// Steps of a program are this far apart, and the folder looks in between.
const STEP_MS: u64 = 10;

/// A step of a save of `f`.
#[derive(Debug, Clone, Copy)]
enum Step {
    Write(&'static str, &'static str),
    Rename(&'static str, &'static str),
    Remove(&'static str),
    Link(&'static str, &'static str),
}

use Step::{Link, Remove, Rename, Write};

const OLD: &str = "one\ntwo\n";
const NEW: &str = "one\n2\nthree\n";

/// What programs were seen to do.
const SAVES: &[(&str, &[Step])] = &[
    ("a shell", &[Write("f", ""), Write("f", NEW)]),
    (
        "vim, by a backup that it renames",
        &[Write("4913", ""), Remove("4913"), Rename("f", "f~"), Write("f", ""), Write("f", NEW), Remove("f~")],
    ),
    ("vim, by a backup that it copies", &[Write("f~", OLD), Write("f", ""), Write("f", NEW), Remove("f~")]),
    (
        "emacs",
        &[
            Link("somebody@host.4711:1700000000", ".#f"),
            Write("#f#", NEW),
            Rename("f", "f~"),
            Write("f", NEW),
            Remove(".#f"),
            Remove("#f#"),
            Remove("f~"),
        ],
    ),
    ("nano", &[Write(".f.swp", "b0nano"), Write("f", ""), Write("f", "one\n2\n"), Write("f", NEW), Remove(".f.swp")]),
    ("VS Code", &[Write("f", ""), Write("f", NEW)]),
    (
        "JetBrains",
        &[
            Write("f___jb_tmp___", NEW),
            Rename("f", "f___jb_old___"),
            Rename("f___jb_tmp___", "f"),
            Remove("f___jb_old___"),
        ],
    ),
    (
        "an office",
        &[
            Write("~$f", "somebody"),
            Write("~WRD0000.tmp", NEW),
            Rename("f", "~WRL0001.tmp"),
            Rename("~WRD0000.tmp", "f"),
            Remove("~WRL0001.tmp"),
            Remove("~$f"),
        ],
    ),
    ("sed -i", &[Write("sedA1b2C3", NEW), Rename("sedA1b2C3", "f")]),
    ("git checkout", &[Remove("f"), Write("f", NEW)]),
];

fn take(folder: &mut Folder, step: Step) {
    let touched: Vec<&str> = match step {
        Write(name, text) => {
            fs::write(folder.at(name), text).expect("writes");
            vec![name]
        }
        Rename(from, to) => {
            fs::rename(folder.at(from), folder.at(to)).expect("renames");
            vec![from, to]
        }
        Remove(name) => {
            fs::remove_file(folder.at(name)).expect("removes");
            vec![name]
        }
        Link(target, name) => {
            std::os::unix::fs::symlink(target, folder.at(name)).expect("links");
            vec![name]
        }
    };
    for name in touched {
        folder.rounds.hint(RelPath::root().join(name), true, folder.device.mono_ms);
    }
    folder.rounds.round(&mut folder.device).expect("the engine runs");
    folder.device.mono_ms += STEP_MS;
}

/// The clock stands shortly after the time stamp of a file that is written now.
fn set_clock(folder: &mut Folder) {
    fs::write(folder.at("clock"), "x").expect("writes");
    let modified = fs::metadata(folder.at("clock")).expect("is there").modified().expect("has a time");
    let ns = modified.duration_since(UNIX_EPOCH).expect("is after 1970").as_nanos();
    folder.device.wall_ns = i64::try_from(ns).expect("is before 2262") + limits::RACY_NS * 10;
    fs::remove_file(folder.at("clock")).expect("removes");
}

#[test]
fn a_save_of_any_program_is_an_edit_also_when_it_is_looked_at_in_the_middle() {
    for (program, steps) in SAVES {
        let mut folder = Folder::new();
        set_clock(&mut folder);
        folder.put("f", OLD);
        folder.rest();
        let doc = folder.doc("f");
        for step in *steps {
            take(&mut folder, *step);
        }
        folder.device.settled = None;
        folder.rest();
        assert_eq!(folder.doc("f"), doc, "{program}: it is the same file");
        assert_eq!(folder.read("f"), NEW, "{program}");
        assert_eq!(folder.shown().into_keys().collect::<Vec<_>>(), ["f"], "{program}: nothing of it is left");
        folder.agrees();
    }
}

#[test]
fn a_touch_is_no_commit() {
    let mut folder = Folder::new();
    folder.put("f", OLD);
    folder.rest();
    let commits = folder.commits();
    File::options().append(true).open(folder.at("f")).expect("opens").set_modified(UNIX_EPOCH).expect("sets");
    folder.look_at(&["f"]);
    fs::write(folder.at("f"), OLD).expect("writes");
    folder.look_at(&["f"]);
    assert_eq!(folder.commits(), commits);
    folder.agrees();
}

#[test]
fn other_bytes_of_the_same_length_under_the_old_time_are_seen() {
    let mut folder = Folder::new();
    folder.put("f", "aaaa\n");
    folder.rest();
    for (text, hinted) in [("bbbb\n", true), ("cccc\n", false)] {
        let before = fs::metadata(folder.at("f")).expect("is there").modified().expect("has a time");
        fs::write(folder.at("f"), text).expect("writes");
        File::options().append(true).open(folder.at("f")).expect("opens").set_modified(before).expect("sets");
        if hinted {
            folder.look_at(&["f"])
        } else {
            folder.scan()
        }
        folder.agrees();
    }
}

#[test]
fn an_edit_under_the_old_time_is_not_lost_where_others_move_the_file_before_it_is_seen() {
    for swap in [false, true] {
        let mut folder = Folder::new();
        folder.put("f", "one\n");
        folder.put("g", "other\n");
        folder.rest();
        let docs = ["f", "g"].map(|name| folder.doc(name));
        let before = fs::metadata(folder.at("f")).expect("is there").modified().expect("has a time");
        fs::write(folder.at("f"), "two\n").expect("writes");
        File::options().append(true).open(folder.at("f")).expect("opens").set_modified(before).expect("sets");
        // Nobody told the folder of that, and a plan renames the file: once, or by way of our own directory.
        folder.change_elsewhere(docs[0], &[EntryOp::Name(if swap { "g" } else { "h" }.into())]);
        if swap {
            folder.change_elsewhere(docs[1], &[EntryOp::Name("f".into())]);
        }
        folder.calm();
        folder.scan();
        let name = if swap { "g" } else { "h" };
        assert_eq!(folder.read(name), "two\n", "{swap}");
        folder.agrees();
    }
}

#[test]
fn a_file_that_was_truncated_is_awaited_and_read_whole() {
    let mut folder = Folder::new();
    set_clock(&mut folder);
    folder.put("f", OLD);
    folder.rest();
    let (doc, commits) = (folder.doc("f"), folder.commits());
    let mut file = File::create(folder.at("f")).expect("truncates");
    folder.hint("f");
    for _ in 0..5 {
        folder.device.mono_ms += limits::SETTLE_MS;
        folder.rounds.round(&mut folder.device).expect("the engine runs");
    }
    assert_eq!(folder.commits(), commits, "its bytes are awaited");
    file.write_all(NEW.as_bytes()).expect("writes");
    drop(file);
    folder.look_at(&["f"]);
    assert_eq!((folder.doc("f"), folder.commits()), (doc, commits + 1));
    folder.agrees();
}

#[test]
fn a_file_may_be_empty_become_full_and_empty_again() {
    let mut folder = Folder::new();
    for bytes in ["", "full\n", "", "\n", ""] {
        folder.put("f", bytes);
        folder.rest();
        folder.agrees();
    }
    assert_eq!(folder.entries().len(), 1);
}

#[test]
fn a_file_that_is_deleted_and_made_again_within_a_second_is_the_same() {
    let mut folder = Folder::new();
    folder.put("f", OLD);
    folder.rest();
    let doc = folder.doc("f");
    fs::remove_file(folder.at("f")).expect("removes");
    folder.hint("f");
    folder.device.mono_ms += limits::VANISH_MS - 1;
    folder.rounds.round(&mut folder.device).expect("the engine runs");
    folder.put("f", NEW);
    folder.rest();
    assert_eq!(folder.doc("f"), doc);
    // After that it is another file of the same name.
    fs::remove_file(folder.at("f")).expect("removes");
    folder.look_at(&["f"]);
    folder.put("f", "again\n");
    folder.rest();
    assert_ne!(folder.doc("f"), doc);
    folder.agrees();
}

#[test]
fn a_file_that_is_written_and_never_closed_is_read_between_its_writes() {
    let mut folder = Folder::new();
    let mut log = File::create(folder.at("log")).expect("makes");
    let mut read = 0;
    for minute in 0..60 {
        for line in 0..5 {
            writeln!(log, "{minute}:{line} something happened").expect("writes");
            folder.hint("log");
            folder.device.mono_ms += limits::SETTLE_MS - 1;
            folder.rounds.round(&mut folder.device).expect("the engine runs");
        }
        folder.rest();
        let bytes = author_len(&folder);
        assert!(bytes > read);
        read = bytes;
    }
    let doc = folder.doc("log");
    assert!(folder.changes(doc) <= 62, "{} changes", folder.changes(doc));
    folder.agrees();
    drop(log);
}

fn author_len(folder: &Folder) -> usize {
    let text = sync_tests::author::text(&folder.device.engine, &folder.device.space, folder.doc("log"));
    text.expect("reads").expect("is a text").len()
}

#[test]
fn a_stale_save_over_what_was_written_here_leaves_that_in_history() {
    let mut folder = Folder::new();
    folder.put("f", "one\ntwo\n");
    folder.rest();
    let doc = folder.doc("f");
    folder.edit_elsewhere(doc, "one\nof a peer\ntwo\n");
    folder.rest();
    let before = folder.changes(doc);
    folder.put("f", "one\ntwo\nof an old window\n");
    folder.rest();
    assert_eq!(folder.read("f"), "one\ntwo\nof an old window\n");
    let changes = sync_tests::author::changes(&folder.device.engine, &folder.device.space, doc).expect("reads");
    let then = sync_core::doc::Document::from_changes(&changes[..before as usize]).expect("opens");
    assert_eq!(then.text().expect("reads").as_deref(), Some("one\nof a peer\ntwo\n"));
    folder.agrees();
}

#[test]
fn what_a_program_has_open_for_writing_is_neither_replaced_nor_deleted_before_it_is_closed() {
    let mut folder = Folder::new();
    for name in ["log", "gone", "read"] {
        folder.put(name, "one\ntwo\n");
    }
    folder.rest();
    let [log, gone, read] = ["log", "gone", "read"].map(|name| folder.doc(name));
    let open = |folder: &Folder, name| File::options().append(true).open(folder.at(name)).expect("opens");
    let mut held = [open(&folder, "log"), open(&folder, "gone")];
    let reader = File::open(folder.at("read")).expect("opens");
    folder.edit_elsewhere(log, "zero\none\ntwo\n");
    folder.edit_elsewhere(read, "zero\none\ntwo\n");
    folder.change_elsewhere(gone, &[EntryOp::Delete]);
    folder.calm();
    assert_eq!(folder.problems(), ["gone", "log"]);
    assert_eq!((folder.read("log"), folder.read("gone")), ("one\ntwo\n".into(), "one\ntwo\n".into()));
    assert_eq!(folder.read("read"), "zero\none\ntwo\n", "who only reads loses nothing");

    // What is written meanwhile is taken in as it comes; and then it is time.
    for file in &mut held {
        file.write_all(b"three\n").expect("writes");
    }
    ["log", "gone"].iter().for_each(|name| folder.hint(name));
    folder.calm();
    assert_eq!((folder.read("log"), folder.read("gone")), ("one\ntwo\nthree\n".into(), "one\ntwo\nthree\n".into()));
    drop((held, reader));
    folder.look_at(&["log"]);
    assert_eq!(folder.read("log"), "one\ntwo\nthree\n");
    assert_eq!(folder.read("gone"), "one\ntwo\nthree\n", "an edit is more than a delete");
    folder.agrees();
}

#[test]
fn what_others_did_comes_once_a_program_closes_the_file() {
    let mut folder = Folder::new();
    for name in ["log", "gone"] {
        folder.put(name, "one\n");
    }
    folder.rest();
    let [log, gone] = ["log", "gone"].map(|name| folder.doc(name));
    let held = ["log", "gone"].map(|name| File::options().append(true).open(folder.at(name)).expect("opens"));
    folder.edit_elsewhere(log, "one\ntwo\n");
    folder.change_elsewhere(gone, &[EntryOp::Delete]);
    folder.calm();
    assert_eq!(folder.problems(), ["gone", "log"]);
    drop(held);
    folder.device.mono_ms = folder.rounds.next_ms().expect("it is tried again");
    folder.rest();
    assert_eq!((folder.read("log"), folder.at("gone").exists()), ("one\ntwo\n".into(), false));
    folder.agrees();
}

#[test]
fn time_stamps_of_any_century_change_nothing() {
    let mut folder = Folder::new();
    let year = Duration::from_secs(365 * 24 * 3600);
    for (name, time) in
        [("1901", UNIX_EPOCH - 69 * year), ("2106", UNIX_EPOCH + 137 * year), ("2400", UNIX_EPOCH + 431 * year)]
    {
        folder.put(name, "before\n");
        let stamp = |folder: &Folder| {
            File::options().append(true).open(folder.at(name)).expect("opens").set_modified(time).expect("sets");
        };
        stamp(&folder);
        folder.rest();
        folder.put(name, "after!\n");
        stamp(&folder);
        folder.rest();
        folder.agrees();
        let doc = folder.doc(name);
        folder.edit_elsewhere(doc, "of a peer\n");
        folder.rest();
        assert_eq!(folder.read(name), "of a peer\n");
        folder.agrees();
    }
}
