//! Names: whatever a disk allows is kept as it is written, and what is ours is left alone.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

use sync_core::limits;

use crate::rounds::Folder;

/// Names that are trouble somewhere.
const STRANGE: [&str; 22] = [
    "-rf",
    "--",
    " leading",
    "trailing ",
    "trailing.",
    "two\nlines",
    "tab\there",
    "a:b",
    "what?",
    "st*r",
    "<angle>",
    "quote\"d",
    "back\\slash",
    "pipe|d",
    "CON",
    "nul.txt",
    "com1",
    "...",
    "e\u{301}",
    "\u{e9}",
    "ünï-漢字-👩‍👩‍👧",
    "~",
];

/// What our own temporary files are called, where they are not ours.
const LIKE_OURS: [&str; 7] = ["new-00", "aside-00", "deleted-00", "restored-00", "download-00", "kith", "tmp"];

#[test]
fn names_are_kept_as_they_are_written() {
    let mut folder = Folder::new();
    let long = "x".repeat(limits::COMPONENT_BYTES_MAX);
    let letters = "ü".repeat(limits::COMPONENT_BYTES_MAX / 2);
    let names: Vec<&str> = STRANGE.into_iter().chain(LIKE_OURS).chain([long.as_str(), letters.as_str()]).collect();
    for name in &names {
        folder.put(name, format!("in {name}\n"));
        folder.put(&format!("dir {name}").chars().take(60).collect::<String>(), "beside\n");
    }
    folder.rest();
    folder.agrees();
    // Fewer than wait for somebody's word.
    for name in names.iter().step_by(2) {
        let doc = folder.doc(name);
        folder.edit_elsewhere(doc, "of a peer\n");
    }
    folder.rest();
    for name in names.iter().step_by(2) {
        assert_eq!(folder.read(name), "of a peer\n", "{name:?}");
    }
    folder.agrees();
}

#[test]
fn names_of_a_peer_are_made_as_they_are_written() {
    let mut folder = Folder::new();
    for name in STRANGE.into_iter().chain(LIKE_OURS) {
        folder.file_elsewhere(None, name, "of a peer\n");
    }
    folder.rest();
    for name in STRANGE.into_iter().chain(LIKE_OURS) {
        assert_eq!(folder.read(name), "of a peer\n", "{name:?}");
    }
    folder.agrees();
}

#[test]
fn the_name_beside_a_clash_fits_the_disk() {
    let mut folder = Folder::new();
    let long = "ü".repeat(limits::COMPONENT_BYTES_MAX / 2);
    folder.put(&long, "mine\n");
    folder.rest();
    folder.file_elsewhere(None, &long, "theirs\n");
    folder.rest();
    assert_eq!(folder.shown().len(), 2);
    folder.agrees();
}

#[test]
fn a_name_that_is_not_text_is_a_problem_and_stops_nothing() {
    let mut folder = Folder::new();
    let path = folder.dir.path().join(OsStr::from_bytes(b"caf\xe9"));
    fs::write(&path, "latin\n").expect("writes");
    folder.put("f", "one\n");
    folder.scan();
    assert_eq!(folder.problems(), ["caf\u{fffd}"]);
    assert_eq!(folder.shown().into_keys().collect::<Vec<_>>(), ["f"]);
    assert_eq!(fs::read(&path).expect("is there"), b"latin\n");
    fs::rename(path, folder.at("café")).expect("renames");
    folder.scan();
    folder.agrees();
}

#[test]
fn version_control_and_our_own_state_stay_here() {
    let mut folder = Folder::new();
    for name in [".git/config", "sub/.git/HEAD", ".hg/x", ".svn/x", ".jj/x", ".kith/mine", "sub/.kith/theirs"] {
        folder.put(name, "of a tool\n");
    }
    folder.put("sub/f", "one\n");
    folder.scan();
    assert_eq!(folder.shown().into_keys().collect::<Vec<_>>(), ["sub", "sub/f"]);
    assert_eq!(folder.problems(), Vec::<String>::new());
    assert_eq!(folder.read("sub/.git/HEAD"), "of a tool\n");
}

#[test]
fn a_rename_by_case_or_normal_form_is_a_rename() {
    let mut folder = Folder::new();
    folder.put("dir/file", "one\n");
    folder.put("\u{e9}", "accent\n");
    folder.rest();
    let docs = ["dir", "dir/file", "\u{e9}"].map(|name| folder.doc(name));
    for (from, to) in [("dir", "Dir"), ("\u{e9}", "e\u{301}")] {
        fs::rename(folder.at(from), folder.at(to)).expect("renames");
        folder.look_at(&[from, to]);
    }
    fs::rename(folder.at("Dir/file"), folder.at("Dir/FILE")).expect("renames");
    folder.look_at(&["Dir/file", "Dir/FILE"]);
    assert_eq!(["Dir", "Dir/FILE", "e\u{301}"].map(|name| folder.doc(name)), docs);
    folder.agrees();
}
