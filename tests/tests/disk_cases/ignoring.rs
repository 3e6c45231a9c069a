//! Rules of what is not synced, as they come, change and go.

use std::fs;

use sync_core::doc::entry::{EntryOp, RootSpec};

use crate::rounds::Folder;

#[test]
fn a_file_that_is_ignored_from_now_on_is_deleted_nowhere() {
    let mut folder = Folder::new();
    for name in ["mine.log", "theirs.log", "f"] {
        folder.put(name, "one\ntwo\n");
    }
    folder.rest();
    let docs = ["mine.log", "theirs.log"].map(|name| folder.doc(name));
    folder.put(".kithignore", "*.log\n");
    folder.rest();
    folder.scan();
    let commits = folder.commits();
    // What either side makes of it stays there.
    folder.put("mine.log", "one\ntwo\nmine\n");
    folder.rest();
    folder.scan();
    assert_eq!(folder.commits(), commits);
    folder.edit_elsewhere(docs[1], "theirs\none\ntwo\n");
    folder.rest();
    assert_eq!(folder.read("theirs.log"), "one\ntwo\n");
    assert!(docs == ["mine.log", "theirs.log"].map(|name| folder.doc(name)), "the others keep both");
    // Without the rule each gets what the other did, and nothing old comes back.
    folder.put(".kithignore", "*.tmp\n");
    folder.rest();
    folder.scan();
    folder.rest();
    assert_eq!(folder.read("mine.log"), "one\ntwo\nmine\n");
    assert_eq!(folder.read("theirs.log"), "theirs\none\ntwo\n");
    assert_eq!(docs, ["mine.log", "theirs.log"].map(|name| folder.doc(name)));
    folder.agrees();
}

#[test]
fn rules_end_with_the_file_that_they_are_in() {
    let mut folder = Folder::new();
    folder.put(".kithignore", "*.log\n");
    folder.put("sub/.kithignore", "*.tmp\n");
    folder.put("a.log", "a\n");
    folder.put("sub/a.tmp", "a\n");
    folder.scan();
    assert_eq!(folder.shown().into_keys().collect::<Vec<_>>(), [".kithignore", "sub", "sub/.kithignore"]);
    fs::remove_file(folder.at("sub/.kithignore")).expect("removes");
    folder.look_at(&["sub/.kithignore"]);
    folder.rest();
    assert!(folder.shown().contains_key("sub/a.tmp"), "{:?}", folder.shown());
    fs::remove_file(folder.at(".kithignore")).expect("removes");
    folder.look_at(&[".kithignore"]);
    folder.rest();
    folder.agrees();
    assert_eq!(folder.shown().into_keys().collect::<Vec<_>>(), ["a.log", "sub", "sub/a.tmp"]);
}

#[test]
fn rules_of_a_peer_hold_once_they_are_here() {
    let mut folder = Folder::new();
    let rules = folder.file_elsewhere(None, ".kithignore", "*.log\n");
    folder.rest();
    // The watcher tells of our own writes too.
    folder.look_at(&[".kithignore"]);
    folder.put("a.log", "a\n");
    folder.rest();
    assert_eq!(folder.shown().into_keys().collect::<Vec<_>>(), [".kithignore"]);
    folder.change_elsewhere(rules, &[EntryOp::Delete]);
    folder.rest();
    folder.look_at(&[".kithignore"]);
    folder.rest();
    folder.scan();
    folder.agrees();
    assert!(folder.shown().contains_key("a.log"));
}

#[test]
fn exceptions_and_rules_of_directories_below_hold_on_disk() {
    let mut folder = Folder::new();
    folder.put(".kithignore", "*.log\n!keep.log\n/build/\n");
    folder.put("sub/.kithignore", "!b.log\nkeep.log\n");
    for name in ["a.log", "keep.log", "build/x", "sub/b.log", "sub/keep.log", "sub/build/y", "sub/deep/b.log"] {
        folder.put(name, name);
    }
    folder.scan();
    let shown: Vec<String> = folder.shown().into_keys().filter(|path| folder.at(path).is_file()).collect();
    assert_eq!(shown, [".kithignore", "keep.log", "sub/.kithignore", "sub/b.log", "sub/build/y", "sub/deep/b.log"]);
}

#[test]
fn a_directory_that_a_peer_deletes_stays_with_what_is_ignored_in_it() {
    let mut folder = Folder::new();
    folder.put(".kithignore", "*.o\n");
    folder.put("d/f", "one\n");
    folder.put("d/f.o", "object\n");
    folder.put("d/sub/g", "one\n");
    folder.scan();
    for name in ["d/f", "d/sub/g", "d/sub", "d"] {
        let doc = folder.doc(name);
        folder.change_elsewhere(doc, &[EntryOp::Delete]);
    }
    folder.calm();
    assert_eq!(folder.read("d/f.o"), "object\n");
    assert!(!folder.at("d/f").exists() && !folder.at("d/sub").exists());
    let commits = folder.commits();
    folder.scan();
    folder.scan();
    assert!(folder.at("d/f.o").exists());
    assert_eq!(folder.commits(), commits, "it is nobody's");
    // Who makes it anew has it with the others, and it is one.
    folder.put("d/new", "new\n");
    folder.rest();
    folder.agrees_but_for(&["d/f.o"]);
}

#[test]
fn a_directory_that_a_peer_deletes_stays_with_what_cannot_be_synced_and_is_not_made_anew() {
    let mut folder = Folder::new();
    for name in ["d/f", "e/sub/f"] {
        folder.put(name, "one\n");
    }
    for name in ["d/out", "e/sub/out"] {
        std::os::unix::fs::symlink("/etc/passwd", folder.at(name)).expect("links");
    }
    folder.scan();
    let [d, e, sub] = ["d", "e", "e/sub"].map(|name| folder.doc(name));
    // Others call it otherwise before they delete it: under that name it is not known here.
    folder.change_elsewhere(d, &[EntryOp::Name("other".into())]);
    for doc in [folder.doc("other/f"), folder.doc("e/sub/f"), d, sub, e] {
        folder.change_elsewhere(doc, &[EntryOp::Delete]);
    }
    folder.calm();
    assert!(!folder.at("d/f").exists() && !folder.at("e/sub/f").exists());
    let commits = folder.commits();
    folder.scan();
    assert_eq!((folder.commits(), folder.problems()), (commits, vec!["d/out".to_owned(), "e/sub/out".to_owned()]));
    assert!(folder.at("d/out").is_symlink() && folder.at("e/sub/out").is_symlink());
}

#[test]
fn what_the_rules_of_a_directory_cover_that_others_delete_is_sent_to_nobody() {
    let mut folder = Folder::new();
    folder.put("project/.kithignore", ".env\n");
    folder.put("project/code", "code\n");
    folder.put("project/sub/code", "code\n");
    folder.put("project/sub/.env", "secret below\n");
    folder.put("project/.env", "secret\n");
    folder.put("empty/.kithignore", ".env\n");
    folder.scan();
    for name in [
        "project/.kithignore",
        "project/code",
        "project/sub/code",
        "project/sub",
        "project",
        "empty/.kithignore",
        "empty",
    ] {
        let doc = folder.doc(name);
        folder.change_elsewhere(doc, &[EntryOp::Delete]);
    }
    folder.calm();
    let stays = |folder: &Folder| {
        assert_eq!(folder.read("project/.env"), "secret\n");
        assert_eq!(folder.read("project/sub/.env"), "secret below\n");
        assert!(folder.at("project/.kithignore").exists() && !folder.at("project/code").exists());
        assert!(!folder.at("empty").exists(), "rules that cover nothing go");
    };
    stays(&folder);
    let commits = folder.commits();
    folder.scan();
    folder.restart();
    folder.scan();
    folder.scan();
    stays(&folder);
    assert_eq!((folder.commits(), folder.shown().len()), (commits, 0));
    assert_eq!(folder.problems(), Vec::<String>::new());
    // Others make one of the name again: it is the one that stands there.
    let project = folder.make_elsewhere(&RootSpec::dir(folder.device.space, None, "project"));
    folder.file_elsewhere(Some(project), "code", "new code\n");
    folder.calm();
    folder.scan();
    assert_eq!(folder.read("project/code"), "new code\n");
    assert!(!folder.shown().keys().any(|path| path.ends_with(".env")), "{:?}", folder.shown());
    folder.agrees_but_for(&["project/.env", "project/sub", "project/sub/.env"]);
}

#[test]
fn rules_that_are_no_text_hold_as_far_as_they_are() {
    let mut folder = Folder::new();
    folder.put(".kithignore", b"caf\xe9\n*.log\n");
    folder.put("a.log", "log\n");
    folder.put("f", "one\n");
    folder.scan();
    assert_eq!(folder.shown().into_keys().collect::<Vec<_>>(), [".kithignore", "f"]);
}

#[test]
fn locks_of_editors_stay_here() {
    let mut folder = Folder::new();
    for name in
        [".f.swp", ".f.swo", ".DS_Store", "Thumbs.db", "desktop.ini", ".#f", "~$report.docx", ".~lock.report.odt#"]
    {
        folder.put(name, "of a program\n");
    }
    std::os::unix::fs::symlink("somebody@host.4711", folder.at(".#g")).expect("links");
    folder.put("f", "one\n");
    folder.scan();
    assert_eq!(folder.shown().into_keys().collect::<Vec<_>>(), ["f"]);
}

#[test]
fn what_others_move_to_where_it_is_ignored_leaves_its_place_and_no_other_way_is_in_it() {
    let mut folder = Folder::new();
    for name in ["a.txt", "b.txt", "c.txt", "d.txt", "out/f.txt"] {
        folder.put(name, format!("{name}\n"));
    }
    folder.put("build/kept", "kept\n");
    folder.rest();
    let docs = ["a.txt", "b.txt", "c.txt", "d.txt", "out"].map(|name| folder.doc(name));
    let build = folder.doc("build");
    folder.put(".kithignore", "/build/\n/target/\n*.log\n");
    folder.rest();
    let [a, b, c, d, out] = docs;
    // Into a directory that is here, under an ignored name, and a directory as a whole; another file takes a place.
    folder.change_elsewhere(a, &[EntryOp::Parent(Some(build))]);
    folder.change_elsewhere(b, &[EntryOp::Name("b.log".into())]);
    folder.change_elsewhere(out, &[EntryOp::Name("target".into())]);
    folder.change_elsewhere(c, &[EntryOp::Name("a.txt".into())]);
    // Under an ignored name in a directory that comes with it.
    let new = folder.make_elsewhere(&RootSpec::dir(folder.device.space, None, "new"));
    folder.change_elsewhere(d, &[EntryOp::Parent(Some(new)), EntryOp::Name("d.log".into())]);
    folder.rest();
    assert_eq!(folder.read("new/d.log"), "d.txt\n");
    assert_eq!(folder.read("build/a.txt"), "a.txt\n");
    assert_eq!(folder.read("b.log"), "b.txt\n");
    assert_eq!(folder.read("target/f.txt"), "out/f.txt\n");
    assert_eq!(folder.read("a.txt"), "c.txt\n");
    assert!(["b.txt", "c.txt", "d.txt", "out"].iter().all(|name| !folder.at(name).exists()));
    let commits = folder.commits();
    folder.scan();
    assert_eq!(folder.commits(), commits);
    // Without the rule all are synced again, where they are.
    fs::remove_file(folder.at(".kithignore")).expect("removes");
    folder.look_at(&[".kithignore"]);
    folder.rest();
    folder.scan();
    folder.agrees();
    assert_eq!(folder.read("target/f.txt"), "out/f.txt\n");
}
