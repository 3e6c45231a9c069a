//! What waits for somebody's word, looked at in chosen moments on a real disk, as in `rounds`.

use std::fs;

use sync_core::{
    limits,
    tree::{Folds, View},
};
use sync_tests::author;

use crate::rounds::Folder;

/// More than is deleted without a word.
const FILES: usize = limits::HOLD_ENTRIES_MIN + 5;

fn file(number: usize) -> String {
    format!("{number:02}.txt")
}

/// A folder of many files and a directory.
fn folder() -> Folder {
    let mut folder = Folder::new();
    for number in 0..FILES {
        folder.save(&file(number), &format!("text {number}\n"));
    }
    fs::create_dir(folder.dir.path().join("dir")).expect("makes");
    fs::write(folder.dir.path().join("dir/in"), "in\n").expect("writes");
    folder.hint("dir");
    folder.rest();
    folder
}

/// Paths of the tree, sorted.
fn paths(folder: &Folder) -> Vec<String> {
    let entries = author::entries(&folder.device.engine, &folder.device.space).expect("reads");
    let view = View::of(&entries, Folds::default());
    let mut paths: Vec<String> = entries.keys().filter_map(|doc| Some(view.path_of(doc)?.to_string())).collect();
    paths.sort_unstable();
    paths
}

fn documents(folder: &Folder) -> usize {
    folder.device.engine.documents(&folder.device.space).len()
}

/// Puts other things in the places of all files.
fn replace(folder: &mut Folder) {
    let at = |name: &str| folder.dir.path().join(name);
    for number in 0..FILES {
        fs::remove_file(at(&file(number))).expect("removes");
    }
    for number in (0..FILES).filter(|number| ![1, 2].contains(number)) {
        fs::create_dir(at(&file(number))).expect("makes");
    }
    fs::write(at("00.txt/new"), "new\n").expect("writes");
    std::os::unix::fs::symlink("elsewhere", at("01.txt")).expect("links");
    fs::rename(at("dir"), at("02.txt")).expect("renames");
    fs::write(at("other"), "other\n").expect("writes");
    for number in 0..FILES {
        folder.hint(&file(number));
    }
    folder.hint("dir");
    folder.hint("other");
    folder.calm();
}

#[test]
fn what_takes_the_place_of_what_is_held_waits_with_it() {
    let mut folder = folder();
    let before = paths(&folder);
    replace(&mut folder);
    let mut with_other = before.clone();
    with_other.push("other".into());
    for _ in 0..3 {
        let held = folder.rounds.report().held;
        assert_eq!((held.outgoing.deletes, held.outgoing.overwrites), (FILES, 0));
        assert_eq!(paths(&folder), with_other, "what is added elsewhere goes on, and nothing else does");
        folder.rounds.rescan();
        folder.calm();
    }
    let known = documents(&folder);
    folder.rounds.approve(folder.device.mono_ms);
    folder.rest();
    let mut after: Vec<String> = (0..FILES).map(file).collect();
    after.extend(["00.txt/new".into(), "02.txt/in".into(), "other".into()]);
    after.sort_unstable();
    assert_eq!(paths(&folder), after);
    assert_eq!(documents(&folder), known + FILES, "the directory that moved is the one that it was");
    assert_eq!(folder.read("00.txt/new"), "new\n");
    assert_eq!(folder.read("02.txt/in"), "in\n");
}

#[test]
fn what_is_rejected_comes_back_beside_what_took_its_place() {
    let mut folder = folder();
    replace(&mut folder);
    folder.rounds.reject(&mut folder.device).expect("the engine runs");
    folder.rest();
    let shown = paths(&folder);
    for path in ["00.txt", "00.txt/new", "02.txt", "02.txt/in", "other"] {
        assert!(shown.iter().any(|shown| shown == path), "{path} in {shown:?}");
    }
    // Each file is there with its bytes: those of which something took the place under another name.
    let mut texts: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder.dir.path()).expect("lists").flatten() {
        if entry.file_type().expect("has a type").is_file() {
            texts.extend(fs::read_to_string(entry.path()));
        }
    }
    for number in 0..FILES {
        assert!(texts.contains(&format!("text {number}\n")), "{number} in {texts:?}");
    }
    assert!(folder.rounds.report().held.is_empty());
}
