//! Texts where heads meet: what is shown, what is written down, what is listed.

use automerge::ReadDoc as _;

use super::{
    DocError, Document,
    entry::{EntryOp, RootContent, RootSpec},
    promotion,
    shown::{apart, parses},
    text::{self, Splice},
};
use crate::{
    ids::{ReplicaId, SpaceId},
    limits,
};

const A: ReplicaId = ReplicaId([10; 16]);
const B: ReplicaId = ReplicaId([11; 16]);
const C: ReplicaId = ReplicaId([12; 16]);

fn document(text: &str) -> Document {
    document_of("a.txt", text)
}

fn document_of(name: &str, text: &str) -> Document {
    let content = RootContent::Inline(text.as_bytes().to_vec());
    let root = RootSpec::file(SpaceId([1; 32]), None, name, content).build();
    let promoted = promotion::of_root(&root.bytes).expect("is text");
    Document::from_changes([root.bytes, promoted.bytes]).expect("opens")
}

/// Another device's copy, which writes `new` there; returns the change.
fn save(document: &mut Document, replica: ReplicaId, new: &str) -> Vec<u8> {
    let at = document.heads();
    let old = shown(document);
    let change = document.edit(replica, &at, &[EntryOp::Splice(text::diff(&old, new))]).expect("edits");
    assert_eq!(shown(document), new);
    change.bytes
}

fn shown(document: &Document) -> String {
    let text = document.text().expect("reads").expect("is text");
    assert_eq!(document.text_at(&document.heads()).expect("reads").as_ref(), Some(&text));
    text
}

fn held(document: &Document) -> String {
    let text = document.text_object(None).expect("reads").expect("is text");
    document.automerge.text(text).expect("reads")
}

/// Two devices that wrote these over one text, and have met; with what they wrote.
fn met(base: &str, left: &str, right: &str) -> Document {
    let (mut ours, mut theirs) = (document(base), document(base));
    let (our, their) = (save(&mut ours, A, left), save(&mut theirs, B, right));
    ours.apply([&their]).expect("applies");
    theirs.apply([&our]).expect("applies");
    assert_eq!(shown(&ours), shown(&theirs));
    assert_eq!(ours.conflicts().expect("reads"), theirs.conflicts().expect("reads"));
    ours
}

#[test]
fn an_edit_that_both_made_shows_once_and_stays_so_when_the_heads_are_joined() {
    for op in [
        EntryOp::Splice(vec![Splice { at: 0, delete: 1, insert: "O".into() }]),
        EntryOp::Splice(Vec::new()),
        EntryOp::Name("b.txt".into()),
        EntryOp::Keep,
        EntryOp::Delete,
    ] {
        let mut document = met("one\ntwo\nthree\n", "one\nnew\ntwo\n3\n", "one\nnew\ntwo\n3\n");
        assert_eq!(shown(&document), "one\nnew\ntwo\n3\n");
        assert_ne!(held(&document), shown(&document));
        let at = document.heads();
        document.edit(C, &at, std::slice::from_ref(&op)).expect("edits");
        let first = if matches!(&op, EntryOp::Splice(splices) if !splices.is_empty()) { "One" } else { "one" };
        assert_eq!(shown(&document), format!("{first}\nnew\ntwo\n3\n"), "{op:?}");
        assert_eq!(held(&document), shown(&document), "{op:?}");
        // And as it was.
        assert_eq!(document.text_at(&at).expect("reads").as_deref(), Some("one\nnew\ntwo\n3\n"));
    }
}

#[test]
fn a_delete_of_what_is_deleted_is_no_change_for_the_sake_of_the_text() {
    let mut document = met("one\n", "one\ntwo\n", "one\ntwo\n");
    let at = document.heads();
    document.edit(C, &at, &[EntryOp::Delete]).expect("deletes");
    let at = document.heads();
    assert!(matches!(document.edit(C, &at, &[EntryOp::Delete]), Err(DocError::NoChange)));
}

#[test]
fn two_that_join_at_once_delete_the_same() {
    let document = met("one\n", "one\ntwo\n", "one\ntwo\n");
    let (mut ours, mut theirs) = (document.clone(), document);
    let (our, their) = (save(&mut ours, A, "zero\none\ntwo\n"), save(&mut theirs, C, "one\ntwo\nthree\n"));
    ours.apply([&their]).expect("applies");
    theirs.apply([&our]).expect("applies");
    assert_eq!(shown(&ours), "zero\none\ntwo\nthree\n");
    assert_eq!(shown(&theirs), shown(&ours));
}

#[test]
fn three_sides_show_one_copy_whoever_met_and_wrote_first() {
    let base = "top\nend\n";
    let sides = ["top\nfn a {\n}\nend\n", "top\nfn a {\n}\nend\n", "top\nfn a {\n}\nend.\n"];
    let replicas = [A, B, C];
    for order in [[0, 1, 2], [0, 2, 1], [1, 2, 0], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        for joins in [false, true] {
            let changes: Vec<Vec<u8>> =
                (0..3).map(|side| save(&mut document(base), replicas[side], sides[side])).collect();
            let mut met = document(base);
            met.apply([&changes[order[0]], &changes[order[1]]]).expect("applies");
            if joins {
                let at = met.heads();
                met.edit(replicas[order[0]], &at, &[EntryOp::Name("b.txt".into())]).expect("renames");
            }
            met.apply([&changes[order[2]]]).expect("applies");
            assert_eq!(shown(&met), "top\nfn a {\n}\nend.\n", "{order:?} {joins}");
            let at = met.heads();
            met.edit(replicas[order[0]], &at, &[EntryOp::Keep]).expect("joins");
            assert_eq!(held(&met), "top\nfn a {\n}\nend.\n", "{order:?} {joins}");
        }
    }
}

#[test]
fn a_block_of_a_third_side_between_them_stays_and_the_copy_goes() {
    let changes = [(A, "fn a {\n}\n"), (B, "fn b {\n}\n"), (C, "fn a {\n}\n")]
        .map(|(replica, block)| save(&mut document("top\nend\n"), replica, &format!("top\n{block}end\n")));
    for joined in [None, Some([0, 1]), Some([1, 2]), Some([0, 2])] {
        let mut met = document("top\nend\n");
        if let Some(first) = joined {
            met.apply(first.map(|side| &changes[side])).expect("applies");
            let at = met.heads();
            met.edit(ReplicaId([9; 16]), &at, &[EntryOp::Keep]).expect("joins");
        }
        met.apply(&changes).expect("applies");
        let text = shown(&met);
        assert_eq!(text.matches("fn a {\n}\n").count(), 1, "{joined:?}: {text}");
        assert_eq!(text.matches("fn b {\n}\n").count(), 1, "{joined:?}: {text}");
        assert_eq!(text.len(), "top\nfn a {\n}\nfn b {\n}\nend\n".len(), "{joined:?}: {text}");
    }
}

#[test]
fn a_line_that_only_one_could_keep_comes_back_when_heads_are_joined() {
    // Written by hand: our own diff takes the last of equal lines on both sides.
    let base = "a\nx\nx\nb\n";
    let (mut ours, mut theirs) = (document(base), document(base));
    let cut = |at| [EntryOp::Splice(vec![Splice { at, delete: 2, insert: String::new() }])];
    let at = ours.heads();
    ours.edit(A, &at, &cut(2)).expect("edits");
    let their = theirs.edit(B, &at, &cut(4)).expect("edits");
    ours.apply([&their.bytes]).expect("applies");
    assert_eq!((held(&ours).as_str(), shown(&ours).as_str()), ("a\nb\n", "a\nx\nb\n"));
    // Both that join the heads write it down, and it is still one line.
    let (mut one, mut other) = (ours.clone(), ours);
    let change = save(&mut one, A, "A\nx\nb\n");
    save(&mut other, B, "a\nx\nB\n");
    other.apply([&change]).expect("applies");
    assert_eq!(shown(&other), "A\nx\nB\n");
}

#[test]
fn a_line_that_both_rewrote_is_listed_until_somebody_touches_it() {
    let mut document = met("one\ntwo 2\nthree\n", "one\ntwo A\nthree\n", "one\ntwo B\nthree\n");
    let listed = document.conflicts().expect("reads");
    let [conflict] = listed.as_slice() else { panic!("one line: {listed:?}") };
    assert_eq!(conflict.range, 4..11);
    let merged = conflict.merged.clone();
    assert!(["two AB\n", "two BA\n"].contains(&merged.as_str()), "{merged}");
    let mut versions = [conflict.sides[0].text.clone(), conflict.sides[1].text.clone()];
    versions.sort();
    assert_eq!(versions, ["two A\n", "two B\n"]);
    save(&mut document, C, &format!("zero\none\n{merged}three\n"));
    save(&mut document, C, &format!("zero\none\n{merged}4\n"));
    let listed = document.conflicts().expect("reads");
    assert_eq!((listed.len(), listed[0].range.clone(), &listed[0].merged), (1, 9..16, &merged));
    save(&mut document, C, "zero\none\ntwo C\n4\n");
    assert_eq!(document.conflicts().expect("reads"), []);
}

/// Several devices that wrote these over one text, and have met, in any order.
fn all_met(base: &str, versions: &[&str]) -> Document {
    let start = document(base);
    let changes: Vec<Vec<u8>> = (versions.iter().enumerate())
        .map(|(index, version)| save(&mut start.clone(), ReplicaId([index as u8 + 20; 16]), version))
        .collect();
    let mut met = start.clone();
    met.apply(&changes).expect("applies");
    let mut other = start;
    for change in changes.iter().rev() {
        other.apply([change]).expect("applies");
    }
    assert_eq!(shown(&met), shown(&other));
    assert_eq!(met.conflicts().expect("reads"), other.conflicts().expect("reads"));
    met
}

/// The one conflict's versions, sorted.
fn versions_of(document: &Document) -> Vec<String> {
    let listed = document.conflicts().expect("reads");
    let [conflict] = listed.as_slice() else { panic!("one line: {listed:?}") };
    let mut versions: Vec<String> = conflict.sides.iter().map(|side| side.text.clone()).collect();
    versions.sort();
    versions
}

#[test]
fn a_line_that_three_rewrote_lists_three_sides() {
    let base = "one\ntwo 2\nthree\n";
    let three = ["one\ntwo A\nthree\n", "one\ntwo B\nthree\n", "one\ntwo C\nthree\n"];
    let mut document = all_met(base, &three);
    assert_eq!(versions_of(&document), ["two A\n", "two B\n", "two C\n"]);
    let before = document.conflicts().expect("reads");
    let at = document.heads();
    document.edit(C, &at, &[EntryOp::Keep]).expect("joins");
    assert_eq!(document.conflicts().expect("reads"), before);
    // One that changed another line is no side, and two with one version are one.
    let four = [three[0], three[1], "ONE\ntwo 2\nthree\n", three[0]];
    assert_eq!(versions_of(&all_met(base, &four)), ["two A\n", "two B\n"]);
    // One deleted the line with its end: the next one is part of it then, and who kept something has it in its version.
    let gone = ["one\nthree\n", "one\ntwo 2 B\nthree\n", "one\nthe 2 C\nthree\n"];
    assert_eq!(versions_of(&all_met(base, &gone)), ["the 2 C\nthree\n", "three\n", "two 2 B\nthree\n"]);
}

#[test]
fn json_that_the_merge_would_break_stays_one_sides_and_is_listed() {
    let sides = ["{\"a\": 1,\n\"b\": 2}\n", "{\"a\": 1}\n", "{\"a\": 1,\n\"c\": [3,\n4]}\n"];
    let met = |name: &str, left: &str, right: &str| {
        let (mut ours, mut theirs) = (document_of(name, sides[0]), document_of(name, sides[0]));
        let (our, their) = (save(&mut ours, A, left), save(&mut theirs, B, right));
        ours.apply([&their]).expect("applies");
        theirs.apply([&our]).expect("applies");
        assert_eq!(shown(&ours), shown(&theirs));
        ours
    };
    assert!(!parses(&shown(&met("a.txt", sides[1], sides[2]))), "the case is one");
    let mut document = met("a.json", sides[1], sides[2]);
    let text = shown(&document);
    assert!(sides[1..].contains(&text.as_str()), "{text}");
    let listed = document.conflicts().expect("reads");
    assert_eq!((listed.len(), &listed[0].merged), (1, &text));
    let at = document.heads();
    document.edit(C, &at, &[EntryOp::Keep]).expect("edits");
    assert_eq!((held(&document), shown(&document)), (text.clone(), text));
    assert_eq!(document.conflicts().expect("reads"), listed);
    // What merges to JSON is merged.
    let other = "{\"a\": 1,\n\"b\": 3}\n";
    assert_eq!(shown(&met("a.json", "{\"a\": 0,\n\"b\": 2}\n", other)), "{\"a\": 0,\n\"b\": 3}\n");
}

#[test]
fn edits_of_different_places_are_no_conflict() {
    let document = met("one\ntwo\nthree\n", "ONE\ntwo\nthree\n", "one\ntwo\nTHREE\n");
    assert_eq!(shown(&document), "ONE\ntwo\nTHREE\n");
    assert_eq!(held(&document), shown(&document));
    assert_eq!(document.conflicts().expect("reads"), []);
}

#[test]
fn heads_that_did_not_touch_the_text_are_not_read() {
    let mut ours = document("one\n");
    let mut theirs = ours.clone();
    let at = ours.heads();
    save(&mut ours, A, "one\ntwo\n");
    let renamed = theirs.edit(B, &at, &[EntryOp::Name("b.txt".into())]).expect("renames");
    ours.apply([&renamed.bytes]).expect("applies");
    assert_eq!(apart(&ours.automerge, &ours.automerge.get_heads()).len(), 1);
    assert_eq!(shown(&ours), "one\ntwo\n");
}

/// A text to which so many devices added one line at once, all the same.
fn same_lines(sides: usize) -> Document {
    let mut met = document("top\nend\n");
    for side in 0..sides {
        let change = save(&mut document("top\nend\n"), ReplicaId([side as u8 + 1; 16]), "top\nnew\nend\n");
        met.apply([&change]).expect("applies");
    }
    met
}

#[test]
fn equal_edits_of_so_many_heads_are_found_and_of_more_not() {
    assert_eq!(shown(&same_lines(limits::JOINED_HEADS_MAX)), "top\nnew\nend\n");
    let more = same_lines(limits::JOINED_HEADS_MAX + 1);
    assert_eq!(shown(&more).matches("new\n").count(), limits::JOINED_HEADS_MAX + 1, "it shows all that it holds");
}

#[test]
fn a_line_that_both_rewrote_is_listed_for_so_many_joins() {
    let mut document = met("one\n", "two\n", "three\n");
    let at = document.heads();
    document.edit(C, &at, &[EntryOp::Keep]).expect("joins");
    // That was one join.
    for join in 2..=limits::CONFLICT_JOINS_MAX + 1 {
        assert_eq!(document.conflicts().expect("reads").len(), 1, "before join {join}");
        let mut other = document.clone();
        let at = document.heads();
        document.edit(A, &at, &[EntryOp::Exec(join % 2 == 0)]).expect("edits");
        let change = other.edit(B, &at, &[EntryOp::Name(format!("{join}.txt"))]).expect("edits");
        document.apply([&change.bytes]).expect("applies");
        let at = document.heads();
        document.edit(C, &at, &[EntryOp::Keep]).expect("joins");
    }
    assert_eq!(document.conflicts().expect("reads"), [], "its join is too long ago");
}
