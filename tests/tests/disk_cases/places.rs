//! Where things are: moves, swaps, copies, directories that come and go, and names that others have too.

use std::fs;

use sync_core::{
    doc::entry::{EntryOp, Kind},
    folder::{Fs as _, rounds::host::Host as _},
    ids::DocId,
    limits,
    store::{
        Write,
        row::{BaseRow, Stat},
    },
};

use crate::rounds::Folder;

#[test]
fn files_that_change_names_in_a_ring_end_with_each_others_bytes() {
    for ring in [&["a", "b"][..], &["a", "b", "c"]] {
        let mut folder = Folder::new();
        for name in ring {
            folder.put(name, format!("this was {name}\n"));
        }
        folder.rest();
        let rename = |from: &str, to: &str| fs::rename(folder.at(from), folder.at(to)).expect("renames");
        rename(ring[0], "aside");
        for pair in ring.windows(2) {
            rename(pair[1], pair[0]);
        }
        rename("aside", ring[ring.len() - 1]);
        folder.look_at(ring);
        for (at, name) in ring.iter().enumerate() {
            let was = ring[(at + 1) % ring.len()];
            assert_eq!(folder.read(name), format!("this was {was}\n"));
        }
        assert_eq!(folder.entries().len(), ring.len(), "no file more");
        folder.agrees();
    }
}

#[test]
fn a_ring_of_renames_by_a_peer_is_made_on_the_disk() {
    let mut folder = Folder::new();
    let names = ["a", "b", "c"];
    for name in names {
        folder.put(name, format!("this was {name}\n"));
    }
    folder.rest();
    let docs = names.map(|name| folder.doc(name));
    for (at, doc) in docs.into_iter().enumerate() {
        folder.change_elsewhere(doc, &[EntryOp::Name(names[(at + 1) % 3].into())]);
    }
    folder.rest();
    assert_eq!(names.map(|name| folder.read(name)), ["this was c\n", "this was a\n", "this was b\n"]);
    folder.agrees();
}

#[test]
fn a_chain_of_renames_is_followed() {
    let mut folder = Folder::new();
    for name in ["a", "b"] {
        folder.put(name, format!("this was {name}\n"));
    }
    folder.rest();
    let docs = ["a", "b"].map(|name| folder.doc(name));
    fs::rename(folder.at("b"), folder.at("c")).expect("renames");
    folder.look_at(&["b", "c"]);
    fs::rename(folder.at("a"), folder.at("b")).expect("renames");
    folder.look_at(&["a", "b"]);
    assert_eq!(["b", "c"].map(|name| folder.doc(name)), docs);
    folder.agrees();
}

#[test]
fn a_copy_and_a_hard_link_are_files_of_their_own() {
    let mut folder = Folder::new();
    folder.put("f", "one\n");
    folder.rest();
    let doc = folder.doc("f");
    fs::copy(folder.at("f"), folder.at("copy")).expect("copies");
    fs::hard_link(folder.at("f"), folder.at("link")).expect("links");
    folder.look_at(&["copy", "link"]);
    assert_eq!((folder.doc("f"), folder.entries().len()), (doc, 3));
    folder.agrees();
    // What is written through one name shows under the other.
    fs::write(folder.at("link"), "one\ntwo\n").expect("writes");
    folder.look_at(&["link", "f"]);
    assert_eq!((folder.read("f").as_str(), folder.read("copy").as_str()), ("one\ntwo\n", "one\n"));
    folder.agrees();
    // A peer's edit of one of them is of that one: the link ends.
    folder.edit_elsewhere(doc, "of a peer\n");
    folder.rest();
    assert_eq!((folder.read("f").as_str(), folder.read("link").as_str()), ("of a peer\n", "one\ntwo\n"));
    folder.agrees();
}

#[test]
fn a_directory_that_leaves_and_comes_back_soon_is_the_same() {
    let mut folder = Folder::new();
    let outside = tempfile::tempdir_in(folder.dir.path().parent().expect("has one")).expect("temporary directory");
    folder.put("d/sub/f", "one\n");
    folder.rest();
    let doc = folder.doc("d/sub/f");
    let commits = folder.commits();
    let there = outside.path().join("d");
    fs::rename(folder.at("d"), &there).expect("renames");
    folder.hint("d");
    folder.device.mono_ms += limits::SETTLE_MS;
    folder.rounds.round(&mut folder.device).expect("the engine runs");
    fs::rename(&there, folder.at("d")).expect("renames");
    folder.look_at(&["d"]);
    assert_eq!((folder.doc("d/sub/f"), folder.commits()), (doc, commits));
    folder.agrees();
    // Whoever stays away is gone, and what comes then is new.
    fs::rename(folder.at("d"), &there).expect("renames");
    folder.look_at(&["d"]);
    assert_eq!(folder.shown().len(), 0);
    fs::write(there.join("sub/f"), "edited outside\n").expect("writes");
    fs::rename(&there, folder.at("e")).expect("renames");
    folder.look_at(&["e"]);
    assert_eq!(folder.read("e/sub/f"), "edited outside\n");
    folder.agrees();
}

#[test]
fn a_directory_that_moves_within_is_one_commit_with_all_that_is_in_it() {
    let mut folder = Folder::new();
    for name in ["d/a", "d/b", "d/sub/c", "to/x"] {
        folder.put(name, name);
    }
    folder.rest();
    let (docs, commits) = (["d", "d/a", "d/sub/c"].map(|name| folder.doc(name)), folder.commits());
    fs::rename(folder.at("d"), folder.at("to/e")).expect("renames");
    folder.look_at(&["d", "to/e"]);
    assert_eq!(["to/e", "to/e/a", "to/e/sub/c"].map(|name| folder.doc(name)), docs);
    assert_eq!(folder.commits(), commits + 1);
    folder.agrees();
}

#[test]
fn directories_made_at_once_are_found_from_their_top() {
    let mut folder = Folder::new();
    let deep = vec!["d"; limits::TREE_DEPTH_MAX - 2].join("/");
    fs::create_dir_all(folder.at(&deep)).expect("makes");
    fs::write(folder.at(&format!("{deep}/f")), "deep\n").expect("writes");
    // All that a watcher tells in time.
    folder.look_at(&["d"]);
    assert_eq!(folder.shown().len(), limits::TREE_DEPTH_MAX - 1);
    folder.agrees();
}

#[test]
fn what_is_deeper_than_can_be_shown_is_told_and_left_alone() {
    let mut folder = Folder::new();
    let deep = vec!["d"; limits::TREE_DEPTH_MAX + 2].join("/");
    fs::create_dir_all(folder.at(&deep)).expect("makes");
    fs::write(folder.at(&format!("{deep}/f")), "deep\n").expect("writes");
    folder.hint("d");
    folder.calm();
    assert!(!folder.rounds.report().hidden.is_empty());
    folder.scan();
    assert_eq!(folder.read(&format!("{deep}/f")), "deep\n");
}

#[test]
fn empty_directories_are_kept_and_go() {
    let mut folder = Folder::new();
    fs::create_dir_all(folder.at("d/empty")).expect("makes");
    folder.look_at(&["d"]);
    folder.agrees();
    let doc = folder.doc("d/empty");
    folder.change_elsewhere(doc, &[EntryOp::Delete]);
    folder.rest();
    assert!(!folder.at("d/empty").exists() && folder.at("d").exists());
    fs::remove_dir(folder.at("d")).expect("removes");
    folder.look_at(&["d"]);
    folder.agrees();
}

#[test]
fn a_name_may_be_a_file_a_directory_and_a_link_in_turn() {
    let mut folder = Folder::new();
    let remove = |folder: &Folder| {
        let path = folder.at("x");
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    };
    let mut kinds = Vec::new();
    for (now, slowly) in [
        ("file", false),
        ("dir", false),
        ("link", false),
        ("file", false),
        ("link", true),
        ("dir", true),
        ("file", true),
    ] {
        if !kinds.is_empty() {
            remove(&folder).expect("removes");
            if slowly {
                folder.look_at(&["x"]);
            }
        }
        match now {
            "file" => fs::write(folder.at("x"), "a file\n").expect("writes"),
            "dir" => {
                fs::create_dir(folder.at("x")).expect("makes");
                fs::write(folder.at("x/inside"), "inside\n").expect("writes");
            }
            _ => std::os::unix::fs::symlink("somewhere", folder.at("x")).expect("links"),
        }
        folder.look_at(&["x"]);
        let doc = folder.doc("x");
        kinds.push(folder.entries()[&doc].kind);
        folder.agrees();
    }
    use Kind::{Dir, File, Link};
    assert_eq!(kinds, [File, Dir, Link, File, Link, Dir, File]);
}

#[test]
fn a_peers_file_becomes_a_directory_here() {
    let mut folder = Folder::new();
    folder.put("x", "a file\n");
    folder.rest();
    let file = folder.doc("x");
    folder.change_elsewhere(file, &[EntryOp::Delete]);
    let space = folder.device.space;
    let dir = folder.make_elsewhere(&sync_core::doc::entry::RootSpec::dir(space, None, "x"));
    folder.file_elsewhere(Some(dir), "inside", "inside\n");
    folder.rest();
    assert_eq!(folder.read("x/inside"), "inside\n");
    folder.agrees();
}

/// A peer's other file of one name, which is shown beside ours or in its place. Returns both names.
fn clash(folder: &mut Folder) -> [String; 2] {
    folder.put("f.txt", "mine\n");
    folder.rest();
    folder.file_elsewhere(None, "f.txt", "theirs\n");
    folder.rest();
    let names: Vec<String> = folder.shown().into_keys().collect();
    let [beside, plain] = &names[..] else { panic!("two files: {names:?}") };
    assert!(plain == "f.txt" && beside.starts_with("f ("), "{names:?}");
    folder.agrees();
    [plain.clone(), beside.clone()]
}

#[test]
fn a_file_that_is_shown_beside_a_clash_takes_the_name_that_its_user_gives() {
    let mut folder = Folder::new();
    let [plain, beside] = clash(&mut folder);
    let (text, doc) = (folder.read(&beside), folder.doc(&beside));
    fs::rename(folder.at(&beside), folder.at("g.txt")).expect("renames");
    folder.look_at(&[&beside, "g.txt"]);
    assert_eq!((folder.read("g.txt"), folder.doc("g.txt")), (text, doc));
    assert!(folder.rounds.report().conflicts.is_empty());
    assert!(folder.at(&plain).exists());
    folder.agrees();
}

#[test]
fn a_file_that_is_shown_beside_a_clash_can_be_edited_and_deleted() {
    let mut folder = Folder::new();
    let [plain, beside] = clash(&mut folder);
    let kept = folder.read(&plain);
    folder.put(&beside, "edited\n");
    folder.rest();
    assert_eq!(folder.read(&beside), "edited\n");
    folder.agrees();
    fs::remove_file(folder.at(&beside)).expect("removes");
    folder.look_at(&[&beside]);
    assert_eq!(folder.shown().into_keys().collect::<Vec<_>>(), ["f.txt"]);
    assert_eq!(folder.read(&plain), kept);
    folder.agrees();
}

#[test]
fn a_clash_ends_with_the_one_that_had_the_name() {
    let mut folder = Folder::new();
    let [plain, beside] = clash(&mut folder);
    let text = folder.read(&beside);
    fs::remove_file(folder.at(&plain)).expect("removes");
    folder.look_at(&[&plain]);
    assert_eq!(folder.read("f.txt"), text, "the other one gets the name");
    assert!(!folder.at(&beside).exists());
    folder.agrees();
}

#[test]
fn a_directory_of_many_files_is_read_whole() {
    let mut folder = Folder::new();
    fs::create_dir(folder.at("many")).expect("makes");
    for index in 0..5_000 {
        fs::write(folder.at(&format!("many/{index}")), index.to_string()).expect("writes");
    }
    folder.look_at(&["many"]);
    assert_eq!(folder.shown().len(), 5_001);
    folder.agrees();
}

/// A text of so many lines of eight bytes, of which the first `kept` are `a`'s and the others `b`'s.
fn lines(kept: usize, all: usize) -> String {
    (0..all).map(|n| if n < kept { format!("line {n:02}\n") } else { format!("LINE {n:02}\n") }).collect()
}

#[test]
fn a_text_that_moved_and_changed_is_the_same_document_if_half_of_it_stayed() {
    // Lines that stay, lines of all, and whether it is one.
    for (kept, all, is_same) in [(5, 10, true), (4, 10, false), (4, 8, true), (7, 7, true), (6, 7, false)] {
        let mut folder = Folder::new();
        folder.put("old.txt", lines(all, all));
        folder.put("stays.txt", "another text\n".repeat(9));
        folder.rest();
        let doc = folder.doc("old.txt");
        fs::create_dir(folder.at("sub")).expect("makes");
        fs::remove_file(folder.at("old.txt")).expect("removes");
        folder.put("sub/new.txt", lines(kept, all));
        folder.look_at(&["old.txt", "sub"]);
        assert_eq!(folder.doc("sub/new.txt") == doc, is_same, "{kept} of {all} lines");
        folder.agrees();
        if is_same {
            // What others write into it goes where it is now.
            folder.edit_elsewhere(doc, &format!("{}of a peer\n", lines(kept, all)));
            folder.rest();
            assert!(folder.read("sub/new.txt").ends_with("of a peer\n"));
        }
    }
}

#[test]
fn of_several_texts_that_moved_and_changed_each_finds_its_own() {
    let mut folder = Folder::new();
    let text = |who: &str, changed: usize| -> String {
        (0..20).map(|n| if n < changed { format!("{n} now\n") } else { format!("{n} of {who}\n") }).collect()
    };
    for who in ["a", "b", "c"] {
        folder.put(&format!("{who}.txt"), text(who, 0));
    }
    folder.rest();
    let docs = ["a.txt", "b.txt", "c.txt"].map(|name| folder.doc(name));
    for (who, changed) in [("c", 3), ("a", 9), ("b", 1)] {
        fs::remove_file(folder.at(&format!("{who}.txt"))).expect("removes");
        folder.put(&format!("new {who}.txt"), text(who, changed));
        folder.hint(&format!("{who}.txt"));
    }
    folder.rest();
    assert_eq!(["new a.txt", "new b.txt", "new c.txt"].map(|name| folder.doc(name)), docs);
    folder.agrees();
}

#[test]
fn so_many_texts_are_compared_and_no_more() {
    for (files, is_same) in [(limits::ALIKE_FILES_MAX, true), (limits::ALIKE_FILES_MAX + 1, false)] {
        let mut folder = Folder::new();
        let text = |file: usize, end: &str| format!("{}{end}\n", format!("line of {file}\n").repeat(10));
        for file in 0..files {
            folder.put(&format!("old {file}"), text(file, "as it was"));
        }
        // Of so many others that these are not held as too many at once.
        for file in 0..8 * files {
            folder.put(&format!("other {file}"), format!("{file}"));
        }
        folder.rest();
        let docs: Vec<DocId> = (0..files).map(|file| folder.doc(&format!("old {file}"))).collect();
        for file in 0..files {
            fs::remove_file(folder.at(&format!("old {file}"))).expect("removes");
            folder.put(&format!("new {file}"), text(file, "as it is"));
            folder.hint(&format!("old {file}"));
        }
        folder.rest();
        let now: Vec<DocId> = (0..files).map(|file| folder.doc(&format!("new {file}"))).collect();
        assert_eq!(now == docs, is_same, "{files} files");
        assert!(is_same || docs.iter().all(|doc| !now.contains(doc)), "none is told by its lines then");
    }
}

#[test]
fn what_is_deleted_in_a_directory_that_moves_at_once_is_deleted_where_it_is_then() {
    let mut folder = Folder::new();
    for name in ["e/gone", "e/sub/gone", "e/stays"] {
        folder.put(name, format!("this was {name}\n"));
    }
    folder.rest();
    fs::rename(folder.at("e"), folder.at("d")).expect("renames");
    fs::rename(folder.at("d/sub"), folder.at("d/below")).expect("renames");
    for name in ["d/gone", "d/below/gone"] {
        fs::remove_file(folder.at(name)).expect("removes");
    }
    // What the system tells of it: the deletes under the paths that it was told to watch.
    folder.look_at(&["e", "d", "e/sub", "e/below", "e/gone", "e/sub/gone"]);
    let there: Vec<String> = folder.shown().into_keys().collect();
    assert_eq!(there, ["d", "d/below", "d/stays"], "without a scan");
    folder.agrees();
}

#[test]
fn what_is_deleted_in_a_directory_that_a_peer_moves_meanwhile_is_deleted_where_it_is_then() {
    let mut folder = Folder::new();
    for name in ["e/gone", "e/stays"] {
        folder.put(name, format!("this was {name}\n"));
    }
    folder.rest();
    let doc = folder.doc("e");
    fs::remove_file(folder.at("e/gone")).expect("removes");
    folder.hint("e/gone");
    folder.device.mono_ms += limits::SETTLE_MS;
    folder.rounds.round(&mut folder.device).expect("the engine runs");
    assert_eq!(folder.shown().len(), 3, "it may come back");
    folder.change_elsewhere(doc, &[EntryOp::Name("d".into())]);
    folder.rest();
    let there: Vec<String> = folder.shown().into_keys().collect();
    assert_eq!(there, ["d", "d/stays"], "without a scan");
    folder.agrees();
}

#[test]
fn what_is_deleted_in_directories_that_a_peer_swaps_meanwhile_is_deleted_where_it_is_then() {
    for here in ["a", "b"] {
        let mut folder = Folder::new();
        for name in ["a/stays", "b/stays"] {
            folder.put(name, format!("this was {name}\n"));
        }
        folder.put(&format!("{here}/gone"), "gone\n");
        folder.rest();
        let docs = ["a", "b"].map(|name| folder.doc(name));
        fs::remove_file(folder.at(&format!("{here}/gone"))).expect("removes");
        folder.hint(&format!("{here}/gone"));
        folder.device.mono_ms += limits::SETTLE_MS;
        folder.rounds.round(&mut folder.device).expect("the engine runs");
        for (doc, name) in docs.into_iter().zip(["b", "a"]) {
            folder.change_elsewhere(doc, &[EntryOp::Name(name.into())]);
        }
        folder.rest();
        let there: Vec<String> = folder.shown().into_keys().collect();
        assert_eq!(there, ["a", "a/stays", "b", "b/stays"], "without a scan, of {here}");
        folder.agrees();
    }
}

#[test]
fn a_disk_that_has_another_number_than_it_had_is_the_same() {
    let mut folder = Folder::new();
    for name in ["d/f", "d/sub/g", "top"] {
        folder.put(name, "one\n");
    }
    folder.rest();
    // As if all of it had been noted while the disk had another number.
    let (device, inode) = folder.disk.root_identity().expect("looks").expect("is there");
    let was = device + 1000;
    let bases = folder.device.engine.store().read().expect("reads").bases(folder.handle).expect("reads");
    let noted = bases.into_iter().map(|(doc, row)| {
        let stat = row.stat.map(|stat| Stat { device: was, ..stat });
        Write::Base { folder: folder.handle, doc, row: Some(Box::new(BaseRow { stat, ..row })) }
    });
    let noted: Vec<Write> = noted.collect();
    folder.device.write(noted).expect("the engine runs");
    folder.device.root = Some((was, inode));
    folder.restart();
    let commits = folder.commits();
    folder.agrees();
    assert_eq!(folder.commits(), commits);
    let rows = folder.device.engine.store().read().expect("reads");
    let root = rows.folders().expect("reads").into_iter().find(|(handle, _)| *handle == folder.handle);
    assert_eq!(root.map(|(_, row)| row.root), Some((device, inode)), "noted for the next start");
    drop(rows);
    // What is missing now is no file system that is away.
    std::fs::remove_dir_all(folder.at("d")).expect("removes");
    folder.put("top", "two\n");
    folder.look_at(&["d"]);
    folder.rest();
    assert_eq!(folder.shown().into_keys().collect::<Vec<_>>(), ["top"]);

    // Without its marker it could be any disk.
    std::fs::remove_file(folder.at(".kith/folder")).expect("removes");
    folder.restart();
    assert!(folder.rounds.report().halted.is_some());
}
