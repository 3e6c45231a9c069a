//! Links, and what is neither a file nor a directory.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    process::Command,
};

use sync_core::{doc::entry::EntryOp, limits};

use crate::rounds::Folder;

#[test]
fn links_are_their_text_and_are_not_followed() {
    let mut folder = Folder::new();
    folder.put("d/f", "one\n");
    for (target, name) in
        [("d", "to a directory"), ("d/f", "to a file"), ("nowhere", "to nothing"), ("ring", "ring"), ("../d", "d/up")]
    {
        symlink(target, folder.at(name)).expect("links");
    }
    folder.scan();
    assert_eq!(folder.shown().len(), 7, "nothing is there twice: {:?}", folder.shown());
    folder.agrees();
    fs::remove_file(folder.at("to nothing")).expect("removes");
    symlink("elsewhere", folder.at("to nothing")).expect("links");
    folder.look_at(&["to nothing"]);
    folder.agrees();
    let doc = folder.doc("to nothing");
    folder.change_elsewhere(doc, &[EntryOp::Target("d".into())]);
    folder.rest();
    assert_eq!(fs::read_link(folder.at("to nothing")).expect("is a link").to_str(), Some("d"));
    folder.agrees();
}

#[test]
fn links_that_lead_out_are_problems_and_nobody_is_told() {
    let mut folder = Folder::new();
    symlink("/etc/passwd", folder.at("absolute")).expect("links");
    symlink("../outside", folder.at("climbing")).expect("links");
    folder.scan();
    assert_eq!(folder.problems(), ["absolute", "climbing"]);
    assert_eq!(folder.entries().len(), 0);
}

#[test]
fn a_directory_that_became_a_link_is_not_written_through() {
    let mut folder = Folder::new();
    let outside = tempfile::tempdir().expect("temporary directory");
    fs::write(outside.path().join("f"), "secret\n").expect("writes");
    folder.put("d/f", "one\n");
    folder.rest();
    let dir = folder.doc("d");
    // Nobody heard of it when a peer's file arrives.
    fs::remove_dir_all(folder.at("d")).expect("removes");
    symlink(outside.path(), folder.at("d")).expect("links");
    folder.file_elsewhere(Some(dir), "g", "of a peer\n");
    folder.calm();
    folder.scan();
    assert_eq!(fs::read_to_string(outside.path().join("f")).expect("is there"), "secret\n");
    assert_eq!(fs::read_dir(outside.path()).expect("lists").count(), 1);
    assert!(folder.problems().contains(&"d".to_owned()), "{:?}", folder.problems());
}

#[test]
fn what_stands_in_the_place_of_a_directory_and_cannot_be_synced_deletes_nothing() {
    for how in ["an absolute link", "a climbing link", "a pipe"] {
        for heard_of in [&[][..], &["d"][..], &["d/f", "d/e/g"][..], &["d/e/g", "d"][..]] {
            let mut folder = Folder::new();
            folder.put("d/f", "one\n");
            folder.put("d/e/g", "two\n");
            folder.put("other", "other\n");
            folder.rest();
            let (shown, commits) = (folder.shown(), folder.commits());
            fs::rename(folder.at("d"), folder.at(".kith/elsewhere")).expect("renames");
            match how {
                "an absolute link" => symlink("/etc", folder.at("d")).expect("links"),
                "a climbing link" => symlink("../outside", folder.at("d")).expect("links"),
                _ => pipe(&folder, "d"),
            }
            heard_of.iter().for_each(|name| folder.hint(name));
            folder.calm();
            folder.scan();
            let case = format!("{how}, {heard_of:?}");
            assert_eq!((folder.commits(), folder.shown()), (commits, shown.clone()), "{case}");
            assert!(folder.problems().contains(&"d".to_owned()), "{case}: {:?}", folder.problems());
            // What others do in it waits, and is done when it is there again.
            let doc = folder.doc("d/f");
            folder.edit_elsewhere(doc, "of a peer\n");
            folder.calm();
            fs::remove_file(folder.at("d")).expect("removes");
            fs::rename(folder.at(".kith/elsewhere"), folder.at("d")).expect("renames");
            folder.device.mono_ms += limits::SETTLE_MS_MAX * 10;
            folder.scan();
            folder.rest();
            assert_eq!((folder.doc("d/f"), folder.read("d/f").as_str()), (doc, "of a peer\n"), "{case}");
            folder.agrees();
        }
    }
}

fn pipe(folder: &Folder, name: &str) {
    let made = Command::new("mkfifo").arg(folder.at(name)).status().expect("mkfifo runs");
    assert!(made.success());
}

#[test]
fn pipes_and_sockets_are_problems_and_stop_nothing() {
    let mut folder = Folder::new();
    pipe(&folder, "pipe");
    let _socket = UnixListener::bind(folder.at("socket")).expect("binds");
    folder.put("f", "one\n");
    folder.look_at(&["pipe", "socket"]);
    assert_eq!(folder.problems(), ["pipe", "socket"]);
    folder.scan();
    assert_eq!(folder.problems(), ["pipe", "socket"]);
    assert_eq!(folder.shown().into_keys().collect::<Vec<_>>(), ["f"]);
}

#[test]
fn a_pipe_in_the_place_of_a_file_deletes_nothing() {
    let mut folder = Folder::new();
    folder.put("f", "one\n");
    folder.put("other", "other\n");
    folder.rest();
    let (doc, commits) = (folder.doc("f"), folder.commits());
    fs::remove_file(folder.at("f")).expect("removes");
    pipe(&folder, "f");
    folder.hint("f");
    folder.calm();
    folder.scan();
    assert_eq!((folder.commits(), folder.problems()), (commits, vec!["f".to_owned()]));
    // Nor is it written over, or taken away.
    folder.edit_elsewhere(doc, "of a peer\n");
    folder.calm();
    assert!(!fs::symlink_metadata(folder.at("f")).expect("is there").is_file());
    fs::remove_file(folder.at("f")).expect("removes");
    fs::write(folder.at("f"), "one\n").expect("writes");
    folder.scan();
    folder.rest();
    assert_eq!((folder.doc("f"), folder.read("f").as_str()), (doc, "of a peer\n"));
    folder.agrees();
}

#[test]
fn what_a_pipe_stands_for_in_a_directory_that_moved_is_not_deleted() {
    let mut folder = Folder::new();
    folder.put("d/f", "one\n");
    folder.put("d/g", "two\n");
    folder.rest();
    let docs = ["d/f", "d/g"].map(|name| folder.doc(name));
    std::fs::remove_file(folder.at("d/f")).expect("removes");
    pipe(&folder, "d/f");
    std::fs::remove_file(folder.at("d/g")).expect("removes");
    std::fs::rename(folder.at("d"), folder.at("e")).expect("renames");
    folder.look_at(&["d", "e"]);
    let entries = folder.entries();
    assert_eq!(docs.map(|doc| entries[&doc].alive), [true, false], "one cannot be told to be gone, the other is");
    assert_eq!(folder.problems(), ["e/f"]);
    std::fs::remove_file(folder.at("e/f")).expect("removes");
    folder.look_at(&["e/f"]);
    assert!(!folder.entries()[&docs[0]].alive);
}
