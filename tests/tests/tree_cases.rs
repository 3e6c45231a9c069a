//! What three devices that were apart make of one tree, row by row of the table in docs/folder-semantics.md: real engines,
//! and every order in which they can meet.
//!
//! No disk is here; what a folder does with its disk is in `disk_cases` and `folder_cases`.

use std::collections::BTreeMap;

use sync_core::{
    doc::entry::{Entry, EntryOp, Kind},
    engine::Command,
    ids::DocId,
    tree::{ConflictKind, Folds, View, clash_name},
};
use sync_tests::cluster::Cluster;

/// In which order three devices get their connections; each brings everything across that it can.
const MEETINGS: [[(usize, usize); 3]; 6] = [
    [(0, 1), (1, 2), (0, 2)],
    [(0, 1), (0, 2), (1, 2)],
    [(1, 2), (0, 1), (0, 2)],
    [(1, 2), (0, 2), (0, 1)],
    [(0, 2), (0, 1), (1, 2)],
    [(0, 2), (1, 2), (0, 1)],
];

/// What everybody shows in the end.
struct Shown {
    cluster: Cluster,
    view: View,
    /// Paths of directories, with a stroke at the end, and of files, with their text.
    tree: BTreeMap<String, String>,
}

impl Shown {
    fn of(cluster: Cluster) -> Self {
        let (view, entries) = (cluster.view(0), cluster.entries(0));
        let tree = view
            .places()
            .map(|(doc, _)| {
                let path = view.path_of(doc).expect("what has a place has a path");
                match entries[doc].kind {
                    Kind::Dir => (format!("{path}/"), String::new()),
                    _ => (path.to_string(), cluster.text(0, *doc).expect("is a text")),
                }
            })
            .collect();
        Self { cluster, view, tree }
    }

    #[track_caller]
    fn is(&self, wanted: &[(&str, &str)]) {
        let wanted: BTreeMap<String, String> =
            wanted.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        assert_eq!(self.tree, wanted);
        assert!(self.view.hidden.is_empty(), "{:?}", self.view.hidden);
    }

    fn conflicts(&self) -> Vec<(DocId, ConflictKind)> {
        self.view.conflicts.iter().map(|conflict| (conflict.doc, conflict.kind)).collect()
    }

    fn entry(&self, doc: DocId) -> Entry {
        self.cluster.entries(0)[&doc].clone()
    }
}

type Act<'a, T> = &'a dyn Fn(&mut Cluster, usize, T);

/// Three devices have what `before` made, do something each on their own, and meet in every order; all show the same then.
#[track_caller]
fn apart<T: Copy>(before: impl Fn(&mut Cluster) -> T, acts: [Act<'_, T>; 3]) -> (Shown, T) {
    let mut shown: Option<(Shown, T)> = None;
    for meeting in MEETINGS {
        let mut cluster = Cluster::new(3);
        let made = before(&mut cluster);
        cluster.heal();
        for (a, b) in meeting {
            cluster.disconnect(a, b);
        }
        for (at, act) in acts.into_iter().enumerate() {
            act(&mut cluster, at, made);
        }
        for (a, b) in meeting {
            cluster.heal_pair(a, b);
        }
        cluster.assert_converged();
        let one = Shown::of(cluster);
        if let Some((first, _)) = &shown {
            assert_eq!((&one.tree, &one.view), (&first.tree, &first.view), "{meeting:?}");
        }
        shown = Some((one, made));
    }
    shown.expect("they met")
}

/// Makes a file in a directory or at the top.
fn make(cluster: &mut Cluster, at: usize, dir: Option<DocId>, name: &str, text: &str) {
    cluster.create(at, dir, name, Some(text));
}

fn nothing<T: Copy>(_: &mut Cluster, _: usize, _: T) {}

fn name(name: &str) -> Vec<EntryOp> {
    vec![EntryOp::Name(name.into())]
}

fn into(dir: DocId) -> Vec<EntryOp> {
    vec![EntryOp::Parent(Some(dir))]
}

fn beside(name: &str, doc: DocId) -> String {
    clash_name(name, &doc.to_string()[..6])
}

#[test]
fn edits_of_three_sides_in_different_places_merge() {
    let before = |cluster: &mut Cluster| cluster.create(0, None, "a", Some("one\ntwo\nthree\nfour\nfive\n"));
    let (shown, _) = apart(
        before,
        [
            &|cluster, at, doc| cluster.write(at, doc, "ONE\ntwo\nthree\nfour\nfive\n"),
            &|cluster, at, doc| cluster.write(at, doc, "one\ntwo\nTHREE\nfour\nfive\n"),
            &|cluster, at, doc| cluster.write(at, doc, "one\ntwo\nthree\nfour\nFIVE\n"),
        ],
    );
    shown.is(&[("a", "ONE\ntwo\nTHREE\nfour\nFIVE\n")]);
    assert_eq!(shown.conflicts(), []);
}

#[test]
fn the_same_edit_of_three_sides_is_there_once() {
    let before = |cluster: &mut Cluster| cluster.create(0, None, "a", Some("one\ntwo\n"));
    let formatted = |cluster: &mut Cluster, at: usize, doc: DocId| cluster.write(at, doc, "one\nand a half\n  two\n");
    let (shown, _) = apart(before, [&formatted, &formatted, &formatted]);
    shown.is(&[("a", "one\nand a half\n  two\n")]);
}

#[test]
fn lines_that_three_sides_add_at_either_end_all_stay() {
    let before = |cluster: &mut Cluster| cluster.create(0, None, "a", Some("middle\n"));
    let both_ends =
        |cluster: &mut Cluster, at: usize, doc: DocId| cluster.write(at, doc, &format!("top {at}\nmiddle\nend {at}\n"));
    let (shown, _) = apart(before, [&both_ends, &both_ends, &both_ends]);
    let text = &shown.tree["a"];
    let (above, below) = text.split_once("middle\n").expect("the middle stays whole");
    let sorted = |part: &str| {
        let mut lines: Vec<String> = part.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(above), ["top 0", "top 1", "top 2"]);
    assert_eq!(sorted(below), ["end 0", "end 1", "end 2"]);
}

#[test]
fn an_edit_outlives_deletes_of_the_others() {
    let before = |cluster: &mut Cluster| cluster.create(0, None, "a", Some("one\n"));
    let delete = |cluster: &mut Cluster, at: usize, doc: DocId| cluster.change(at, doc, &[EntryOp::Delete]);
    let (shown, _) = apart(before, [&delete, &|cluster, at, doc| cluster.write(at, doc, "one\nand more\n"), &delete]);
    shown.is(&[("a", "one\nand more\n")]);
}

#[test]
fn what_all_sides_delete_is_gone() {
    let before = |cluster: &mut Cluster| {
        let dir = cluster.create(0, None, "d", None);
        (dir, cluster.create(0, Some(dir), "a", Some("one\n")))
    };
    let delete = |cluster: &mut Cluster, at: usize, (dir, file): (DocId, DocId)| {
        cluster.change(at, file, &[EntryOp::Delete]);
        cluster.change(at, dir, &[EntryOp::Delete]);
    };
    let (shown, _) = apart(before, [&delete, &delete, &delete]);
    shown.is(&[]);
    assert_eq!(shown.conflicts(), []);
}

#[test]
fn a_rename_a_move_and_an_edit_all_take_effect() {
    let before = |cluster: &mut Cluster| {
        let dir = cluster.create(0, None, "d", None);
        (dir, cluster.create(0, None, "a", Some("one\n")))
    };
    let (shown, _) = apart(
        before,
        [
            &|cluster, at, (_, file)| cluster.change(at, file, &name("b")),
            &|cluster, at, (dir, file)| cluster.change(at, file, &into(dir)),
            &|cluster, at, (_, file)| cluster.write(at, file, "one\ntwo\n"),
        ],
    );
    shown.is(&[("d/", ""), ("d/b", "one\ntwo\n")]);
    assert_eq!(shown.conflicts(), []);
}

#[test]
fn of_three_renames_one_wins_and_is_listed() {
    let before = |cluster: &mut Cluster| cluster.create(0, None, "a", Some("one\n"));
    let rename = |cluster: &mut Cluster, at: usize, doc: DocId| cluster.change(at, doc, &name(["b", "c", "d"][at]));
    let (shown, doc) = apart(before, [&rename, &rename, &rename]);
    assert_eq!(shown.tree.len(), 1);
    assert!(["b", "c", "d"].iter().any(|won| shown.tree.contains_key(*won)), "{:?}", shown.tree);
    assert_eq!(shown.conflicts(), [(doc, ConflictKind::Place)]);
}

#[test]
fn of_three_moves_one_wins_and_nothing_is_there_twice() {
    let before = |cluster: &mut Cluster| {
        let dirs = ["x", "y", "z"].map(|name| cluster.create(0, None, name, None));
        (dirs, cluster.create(0, None, "a", Some("one\n")))
    };
    let put = |cluster: &mut Cluster, at: usize, (dirs, file): ([DocId; 3], DocId)| {
        cluster.change(at, file, &into(dirs[at]));
    };
    let (shown, (_, file)) = apart(before, [&put, &put, &put]);
    assert_eq!(shown.tree.keys().filter(|path| path.ends_with("/a")).count(), 1, "{:?}", shown.tree);
    assert_eq!(shown.tree.len(), 4);
    assert_eq!(shown.conflicts(), [(file, ConflictKind::Place)]);
}

fn three_directories(cluster: &mut Cluster) -> [DocId; 3] {
    ["a", "b", "c"].map(|name| {
        let dir = cluster.create(0, None, name, None);
        cluster.create(0, Some(dir), &format!("in {name}"), Some(name));
        dir
    })
}

/// Whatever was moved where, all directories and what was in them are there once.
#[track_caller]
fn all_three_are_there(shown: &Shown, cycles: usize) {
    for name in ["a", "b", "c"] {
        let (dir, file) = (format!("{name}/"), format!("{name}/in {name}"));
        let count =
            |end: &str| shown.tree.keys().filter(|path| **path == end || path.ends_with(&format!("/{end}"))).count();
        assert_eq!((count(&dir), count(&file)), (1, 1), "{:?}", shown.tree);
    }
    assert_eq!(shown.tree.len(), 6);
    let listed = shown.conflicts().iter().filter(|(_, kind)| *kind == ConflictKind::Cycle).count();
    assert_eq!(listed, cycles, "{:?}", shown.conflicts());
}

#[test]
fn three_directories_moved_round_in_a_ring_lose_one_of_the_moves() {
    let ring = |cluster: &mut Cluster, at: usize, dirs: [DocId; 3]| {
        cluster.change(at, dirs[at], &into(dirs[(at + 1) % 3]));
    };
    let (shown, _) = apart(three_directories, [&ring, &ring, &ring]);
    all_three_are_there(&shown, 1);
}

#[test]
fn two_rings_that_share_a_directory_are_both_cut() {
    let (shown, _) = apart(
        three_directories,
        [
            &|cluster, at, [a, b, c]| {
                cluster.change(at, a, &into(b));
                cluster.change(at, c, &into(b));
            },
            &|cluster, at, [a, b, _]| cluster.change(at, b, &into(a)),
            &|cluster, at, [_, b, c]| cluster.change(at, b, &into(c)),
        ],
    );
    // The two moves of one directory are one register, so at most one of the rings is left to cut.
    all_three_are_there(&shown, shown.conflicts().iter().filter(|(_, kind)| *kind == ConflictKind::Cycle).count());
    assert!(shown.conflicts().iter().any(|(_, kind)| *kind == ConflictKind::Cycle), "{:?}", shown.conflicts());
}

#[test]
fn a_directory_that_two_sides_move_below_itself_stays_a_tree() {
    let before = |cluster: &mut Cluster| {
        let [a, _, c] = three_directories(cluster);
        (a, cluster.create(0, Some(a), "below", None), c)
    };
    let (shown, _) = apart(
        before,
        [
            &|cluster, at, (a, _, c)| cluster.change(at, a, &into(c)),
            &|cluster, at, (_, below, c)| cluster.change(at, c, &into(below)),
            &nothing,
        ],
    );
    assert_eq!(shown.tree.len(), 7, "{:?}", shown.tree);
    assert_eq!(shown.conflicts().len(), 1);
}

#[test]
fn a_directory_that_one_deletes_and_others_fill_lives_with_what_lives() {
    let before = |cluster: &mut Cluster| {
        let dir = cluster.create(0, None, "d", None);
        (dir, ["x", "y"].map(|name| cluster.create(0, Some(dir), name, Some("one\n"))))
    };
    let (shown, _) = apart(
        before,
        [
            &|cluster, at, (dir, files)| {
                for doc in [files[0], files[1], dir] {
                    cluster.change(at, doc, &[EntryOp::Delete]);
                }
            },
            &|cluster, at, (dir, _)| make(cluster, at, Some(dir), "new", "new\n"),
            &|cluster, at, (_, files)| cluster.write(at, files[1], "one\ntwo\n"),
        ],
    );
    shown.is(&[("d/", ""), ("d/new", "new\n"), ("d/y", "one\ntwo\n")]);
}

#[test]
fn what_is_moved_into_a_directory_that_others_delete_keeps_it_alive() {
    let before = |cluster: &mut Cluster| {
        let dir = cluster.create(0, None, "d", None);
        (dir, cluster.create(0, None, "a", Some("one\n")))
    };
    let delete =
        |cluster: &mut Cluster, at: usize, (dir, _): (DocId, DocId)| cluster.change(at, dir, &[EntryOp::Delete]);
    let (shown, _) =
        apart(before, [&delete, &|cluster, at, (dir, file)| cluster.change(at, file, &into(dir)), &delete]);
    shown.is(&[("d/", ""), ("d/a", "one\n")]);
}

#[test]
fn the_same_file_made_on_three_sides_is_one() {
    let made = |cluster: &mut Cluster, at: usize, (): ()| make(cluster, at, None, "a", "same\n");
    let (shown, ()) = apart(|_| (), [&made, &made, &made]);
    shown.is(&[("a", "same\n")]);
    assert_eq!((shown.cluster.docs(0).len(), shown.conflicts().len()), (1, 0));
}

#[test]
fn different_files_of_one_name_all_stay_until_the_clash_ends() {
    let made = |cluster: &mut Cluster, at: usize, (): ()| make(cluster, at, None, "a.txt", &format!("{at}\n"));
    let (mut shown, ()) = apart(|_| (), [&made, &made, &made]);
    let mut docs = shown.cluster.docs(0);
    docs.sort();
    let [first, second, third] = docs[..] else { panic!("three documents: {docs:?}") };
    let text = |shown: &Shown, doc| shown.cluster.text(0, doc).expect("is a text");
    for (doc, at) in [(first, "a.txt".to_owned()), (second, beside("a.txt", second)), (third, beside("a.txt", third))] {
        assert_eq!(shown.tree[&at], text(&shown, doc));
    }
    let listed = shown.conflicts();
    assert_eq!(listed, [(second, ConflictKind::Name), (third, ConflictKind::Name)]);
    // Somebody adopts the name of one, and deletes the one that had it: the last one gets it, and nothing is listed.
    shown.cluster.change(1, second, &name("b.txt"));
    shown.cluster.change(2, first, &[EntryOp::Delete]);
    shown.cluster.deliver_all();
    shown.cluster.assert_converged();
    let (of_second, of_third) = (text(&shown, second), text(&shown, third));
    let shown = Shown::of(shown.cluster);
    shown.is(&[("a.txt", &of_third), ("b.txt", &of_second)]);
    assert_eq!(shown.conflicts(), []);
}

#[test]
fn a_name_beside_a_clash_may_be_taken_too() {
    let made = |cluster: &mut Cluster, at: usize, (): ()| {
        if at < 2 {
            cluster.create(at, None, "a", Some(&format!("{at}\n")));
        } else {
            // Whichever loses: somebody has a file of the name that it would be shown under.
            for text in ["0\n", "1\n"] {
                let mut other = Cluster::new(1);
                let doc = other.create(0, None, "a", Some(text));
                cluster.create(at, None, &beside("a", doc), Some("taken\n"));
            }
        }
    };
    let (shown, ()) = apart(|_| (), [&made, &made, &made]);
    assert_eq!(shown.tree.len(), 4, "{:?}", shown.tree);
    assert_eq!(shown.tree.values().filter(|text| *text == "taken\n").count(), 2);
    let (doc, kind) = shown.conflicts()[0];
    assert_eq!((kind, shown.conflicts().len()), (ConflictKind::Name, 1));
    let path = shown.view.path_of(&doc).expect("is shown").to_string();
    assert_eq!(path, clash_name("a", &doc.to_string()[..8]), "a longer mark");
}

#[test]
fn a_directory_keeps_its_name_beside_files_of_it() {
    let (shown, ()) = apart(
        |_| (),
        [
            &|cluster, at, ()| make(cluster, at, None, "a", "of 0\n"),
            &|cluster, at, ()| {
                let dir = cluster.create(at, None, "a", None);
                cluster.create(at, Some(dir), "inside", Some("of 1\n"));
            },
            &nothing,
        ],
    );
    let file = shown.conflicts()[0].0;
    shown.is(&[("a/", ""), ("a/inside", "of 1\n"), (&beside("a", file), "of 0\n")]);
}

#[test]
fn a_file_that_became_a_directory_and_was_edited_stays_beside_it() {
    let before = |cluster: &mut Cluster| cluster.create(0, None, "a", Some("one\n"));
    let (shown, file) = apart(
        before,
        [
            &|cluster, at, file| {
                cluster.change(at, file, &[EntryOp::Delete]);
                let dir = cluster.create(at, None, "a", None);
                cluster.create(at, Some(dir), "inside", Some("new\n"));
            },
            &|cluster, at, file| cluster.write(at, file, "one\ntwo\n"),
            &nothing,
        ],
    );
    shown.is(&[("a/", ""), ("a/inside", "new\n"), (&beside("a", file), "one\ntwo\n")]);
}

#[test]
fn a_name_that_was_deleted_and_made_again_as_something_else_is_that() {
    let before = |cluster: &mut Cluster| cluster.create(0, None, "a", Some("one\n"));
    let (shown, _) = apart(
        before,
        [
            &|cluster, at, file| {
                cluster.change(at, file, &[EntryOp::Delete]);
                cluster.create(at, None, "a", None);
            },
            &|cluster, at, file| cluster.change(at, file, &[EntryOp::Delete]),
            &nothing,
        ],
    );
    shown.is(&[("a/", "")]);
    assert_eq!(shown.conflicts(), []);
}

#[test]
fn a_chain_of_renames_on_two_sides_ends_where_each_said() {
    let before = |cluster: &mut Cluster| ["a", "b"].map(|name| cluster.create(0, None, name, Some(name)));
    let (shown, _) = apart(
        before,
        [
            &|cluster, at, [a, _]| cluster.change(at, a, &name("b")),
            &|cluster, at, [_, b]| cluster.change(at, b, &name("c")),
            &|cluster, at, [_, b]| cluster.write(at, b, "b, edited"),
        ],
    );
    shown.is(&[("b", "a"), ("c", "b, edited")]);
    assert_eq!(shown.conflicts(), []);
}

#[test]
fn renames_at_three_depths_and_an_edit_below_all_take_effect() {
    let before = |cluster: &mut Cluster| {
        let dir = cluster.create(0, None, "d", None);
        let sub = cluster.create(0, Some(dir), "sub", None);
        (dir, sub, cluster.create(0, Some(sub), "file", Some("one\n")))
    };
    let (shown, _) = apart(
        before,
        [
            &|cluster, at, (dir, ..)| cluster.change(at, dir, &name("e")),
            &|cluster, at, (_, sub, _)| cluster.change(at, sub, &name("below")),
            &|cluster, at, (.., file)| cluster.write(at, file, "one\ntwo\n"),
        ],
    );
    shown.is(&[("e/", ""), ("e/below/", ""), ("e/below/file", "one\ntwo\n")]);
    assert_eq!(shown.conflicts(), []);
}

#[test]
fn an_executable_bit_goes_with_edits_and_renames_of_others() {
    let before = |cluster: &mut Cluster| cluster.create(0, None, "run", Some("one\n"));
    let (shown, doc) = apart(
        before,
        [
            &|cluster, at, doc| cluster.change(at, doc, &[EntryOp::Exec(true)]),
            &|cluster, at, doc| cluster.write(at, doc, "one\ntwo\n"),
            &|cluster, at, doc| cluster.change(at, doc, &name("walk")),
        ],
    );
    shown.is(&[("walk", "one\ntwo\n")]);
    assert!(shown.entry(doc).exec);
}

#[test]
fn names_that_differ_by_case_or_normal_form_are_two() {
    let (shown, ()) = apart(
        |_| (),
        [
            &|cluster, at, ()| make(cluster, at, None, "a", "small\n"),
            &|cluster, at, ()| make(cluster, at, None, "A", "large\n"),
            &|cluster, at, ()| {
                cluster.create(at, None, "\u{e9}", Some("one letter\n"));
                cluster.create(at, None, "e\u{301}", Some("letter and accent\n"));
            },
        ],
    );
    shown.is(&[("A", "large\n"), ("a", "small\n"), ("e\u{301}", "letter and accent\n"), ("\u{e9}", "one letter\n")]);
}

#[test]
fn names_that_a_members_disk_has_as_one_clash_on_every_machine_until_it_has_another_disk() {
    let tell = |cluster: &mut Cluster, at: usize, folds: Folds| {
        let space = cluster.space;
        cluster.command(at, Command::TellDisk { space, folds });
    };
    let (shown, ()) = apart(
        |_| (),
        [
            &|cluster, at, ()| make(cluster, at, None, "a.txt", "small\n"),
            &|cluster, at, ()| {
                make(cluster, at, None, "A.txt", "large\n");
                make(cluster, at, None, "e\u{301}", "letter and accent\n");
            },
            &|cluster, at, ()| {
                tell(cluster, at, Folds::ALL);
                make(cluster, at, None, "\u{c9}", "one letter\n");
            },
        ],
    );
    let of_text = |text: &str| {
        let found = shown.tree.iter().find(|(_, held)| *held == text);
        found.map(|(path, _)| path.clone()).expect("is shown")
    };
    for (names, texts) in [
        (["a.txt", "A.txt"], ["small\n", "large\n"]),
        (["e\u{301}", "\u{c9}"], ["letter and accent\n", "one letter\n"]),
    ] {
        let paths = texts.map(of_text);
        let kept = paths.iter().zip(names).filter(|(path, name)| *path == name).count();
        assert_eq!(kept, 1, "{paths:?}");
    }
    assert_eq!((shown.tree.len(), shown.conflicts().len()), (4, 2));

    let mut cluster = shown.cluster;
    tell(&mut cluster, 2, Folds::NONE);
    cluster.heal();
    cluster.assert_converged();
    let names = ["A.txt", "a.txt", "e\u{301}", "\u{c9}"];
    assert_eq!(Shown::of(cluster).tree.keys().collect::<Vec<_>>(), names);
}

#[test]
fn a_rename_by_case_alone_is_a_rename() {
    let before = |cluster: &mut Cluster| {
        let dir = cluster.create(0, None, "dir", None);
        (dir, cluster.create(0, Some(dir), "file", Some("one\n")))
    };
    let (shown, _) = apart(
        before,
        [
            &|cluster, at, (dir, _)| cluster.change(at, dir, &name("Dir")),
            &|cluster, at, (_, file)| cluster.change(at, file, &name("File")),
            &|cluster, at, (_, file)| cluster.write(at, file, "one\ntwo\n"),
        ],
    );
    shown.is(&[("Dir/", ""), ("Dir/File", "one\ntwo\n")]);
}
