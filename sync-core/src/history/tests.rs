//! The past of a space that a test wrote commit by commit.

use std::sync::Arc;

use super::{
    Bodies, Shelf,
    log::{Deed, Held},
    past::{Past, Standing},
    point::{Point, RevError},
    testing::{File, Writer},
};
use crate::{
    commit::Item,
    doc::{
        Document,
        entry::{EntryOp, Kind, RootContent, RootSpec},
        promotion,
        text::diff,
    },
    ids::{CommitHash, DocId, SpaceId},
    limits,
    tree::RelPath,
};

fn path(text: &str) -> RelPath {
    RelPath::parse(text).expect("a path of a test")
}

fn deeds_of(writer: &Writer, doc: &DocId) -> Vec<Vec<Deed>> {
    let mut library = writer.library();
    let row = library.row(doc).expect("reads").expect("is held");
    let touches = library.touches(&row, limits::LOG_COMMITS_MAX).expect("reads");
    touches.iter().map(|touch| library.deeds(doc, &row, touch, true).expect("reads")).collect()
}

/// What a file held at a point; `None` when it was not there.
fn held_at(writer: &Writer, doc: &DocId, point: &Point) -> Option<String> {
    let mut library = writer.library();
    let row = library.row(doc).expect("reads").expect("is held");
    let heads = library.heads_at(doc, &row, point).expect("reads");
    if heads.is_empty() {
        return None;
    }
    let entry = library.entry_at(doc, &row, &heads).expect("reads");
    match library.held_at(doc, &row, &heads, &entry).expect("reads") {
        Held::Bytes(bytes) if entry.alive => Some(String::from_utf8(bytes).expect("is text")),
        _ => None,
    }
}

#[test]
fn a_log_tells_what_each_commit_did_and_every_state_can_be_had_again() {
    let mut writer = Writer::new();
    let dir = writer.make(&RootSpec::dir(writer.space, None, "d"));
    let mut file = writer.file(None, "a.txt", "one\ntwo\n");
    let created = writer.last();
    writer.save(&mut file, "one\n2\nthree\n");
    let edited = writer.last();
    writer.edit(&mut file, &[EntryOp::Name("b.txt".into()), EntryOp::Parent(Some(dir.doc))]);
    writer.edit(&mut file, &[EntryOp::Exec(true)]);
    writer.edit(&mut file, &[EntryOp::Delete]);
    let deleted = writer.last();
    writer.edit(&mut file, &[EntryOp::Keep]);
    writer.save(&mut file, "three\n");
    let expected = [
        vec![Deed::Edited { lines: Some((0, 2)) }],
        vec![Deed::Restored],
        vec![Deed::Deleted],
        vec![Deed::Exec(true)],
        vec![Deed::Renamed { from: "a.txt".into() }, Deed::Moved { from: None }],
        vec![Deed::Edited { lines: Some((2, 1)) }],
        vec![Deed::Created { kind: Kind::File, len: Some(8) }],
    ];
    assert_eq!(deeds_of(&writer, &file.doc), expected);
    let held = |commit: &CommitHash| held_at(&writer, &file.doc, &writer.named(commit));
    assert_eq!(held(&created).as_deref(), Some("one\ntwo\n"));
    assert_eq!(held(&edited).as_deref(), Some("one\n2\nthree\n"));
    assert_eq!(held(&deleted), None);
    assert_eq!(held(&writer.last()).as_deref(), Some("three\n"));
    let past = Past::at(&mut writer.library(), &writer.named(&edited)).expect("reads");
    assert_eq!(past.view().path_of(&file.doc), Some(path("a.txt")));
}

#[test]
fn what_is_not_counted_is_told_in_the_same_words() {
    let mut writer = Writer::new();
    let mut file = writer.file(None, "a.txt", "one\n");
    writer.save(&mut file, "two\n");
    writer.save(&mut file, "three\n");
    writer.edit(&mut file, &[EntryOp::Delete]);
    writer.save(&mut file, "four\n");
    let mut library = writer.library();
    let row = library.row(&file.doc).expect("reads").expect("is held");
    let touches = library.touches(&row, 10).expect("reads");
    let mut words = |counted| -> Vec<Vec<Deed>> {
        touches.iter().map(|touch| library.deeds(&file.doc, &row, touch, counted).expect("reads")).collect()
    };
    let mut counted = words(true);
    for deed in counted.iter_mut().flatten() {
        if let Deed::Edited { lines } = deed {
            assert!(lines.take().is_some());
        }
    }
    assert_eq!(words(false), counted);
    assert_eq!(counted[0], [Deed::Restored, Deed::Edited { lines: None }]);
}

#[test]
fn a_page_of_a_log_is_its_newest_commits() {
    let mut writer = Writer::new();
    let mut file = writer.file(None, "a.txt", "0\n");
    for number in 1..=5 {
        writer.save(&mut file, &format!("{number}\n"));
    }
    let library = writer.library();
    let row = library.row(&file.doc).expect("reads").expect("is held");
    let all = library.touches(&row, 100).expect("reads");
    assert_eq!(all.len(), 6);
    assert_eq!(library.touches(&row, 2).expect("reads"), all[..2]);
    assert!(all.windows(2).all(|pair| pair[0].arrival > pair[1].arrival));
    assert_eq!(all[0].commit, writer.last());
}

#[test]
fn an_entry_is_found_where_it_is_where_it_was_deleted_and_where_it_was_before() {
    let mut writer = Writer::new();
    let mut dir = writer.make(&RootSpec::dir(writer.space, None, "old"));
    let mut file = writer.file(Some(dir.doc), "a.txt", "a\n");
    let mut gone = writer.file(Some(dir.doc), "gone.txt", "gone\n");
    writer.edit(&mut gone, &[EntryOp::Delete]);
    writer.edit(&mut file, &[EntryOp::Name("b.txt".into())]);
    writer.edit(&mut dir, &[EntryOp::Name("new".into())]);
    let mut library = writer.library();
    let now = Past::now(&mut library).expect("reads");
    let mut find = |text: &str| {
        let found = now.find(&mut library, &path(text)).expect("reads");
        found.into_iter().map(|candidate| (candidate.standing, candidate.doc)).collect::<Vec<_>>()
    };
    assert_eq!(find("new/b.txt"), [(Standing::Here, file.doc)]);
    assert_eq!(find("new/gone.txt"), [(Standing::Gone, gone.doc)]);
    assert_eq!(find("old/gone.txt"), [(Standing::Before, gone.doc)]);
    assert_eq!(find("old/a.txt"), [(Standing::Before, file.doc)]);
    assert_eq!(find("old"), [(Standing::Before, dir.doc)]);
    assert_eq!(find("never"), []);
    assert_eq!(now.within(&[dir.doc]).len(), 3);
}

#[test]
fn a_time_names_what_had_been_committed_whatever_single_clocks_said() {
    let mut writer = Writer::new();
    let mut file = writer.file(None, "a.txt", "0\n");
    // The clock stands in 1970, then far ahead, then is right again.
    for (wall_ms, text) in [(10_000, "1\n"), (1, "2\n"), (20_000, "3\n"), (9_000_000, "4\n"), (30_000, "5\n")] {
        writer.wall_ms = wall_ms;
        writer.save(&mut file, text);
    }
    let at = |at_ms: u64| {
        let point = Point::at_time(writer.library().rows(), writer.handle, at_ms, 40_000).expect("reads");
        held_at(&writer, &file.doc, &point)
    };
    assert_eq!(at(500), None);
    assert_eq!(at(1000).as_deref(), Some("0\n"));
    assert_eq!(at(9_999).as_deref(), Some("0\n"));
    // A stamp before its own past counts as that, and one of the future as nothing.
    assert_eq!(at(10_000).as_deref(), Some("2\n"));
    assert_eq!(at(25_000).as_deref(), Some("4\n"));
    assert_eq!(at(30_000).as_deref(), Some("5\n"));
}

#[test]
fn a_revision_is_as_many_digits_as_name_one_commit() {
    let mut writer = Writer::new();
    let mut file = writer.file(None, "a.txt", "0\n");
    let mut seen = vec![writer.last()];
    let twins = loop {
        writer.edit(&mut file, &[EntryOp::Keep]);
        let last = writer.last();
        if let Some(twin) = seen.iter().find(|seen| seen.0[..2] == last.0[..2]) {
            break [*twin, last];
        }
        seen.push(last);
        assert!(seen.len() < 3000, "two of so many begin with the same four digits");
    };
    let library = writer.library();
    let named = |rev: &str| Point::named(library.rows(), writer.handle, rev);
    let four = &twins[0].to_string()[..4];
    let Err(RevError::Ambiguous { commits, .. }) = named(four) else { panic!("two begin with {four}") };
    assert!(twins.iter().all(|twin| commits.contains(twin)) && commits.len() == 2);
    for twin in twins {
        assert_eq!(named(&twin.to_string()[..20]).expect("is one").hash, twin);
    }
    assert!(matches!(named("0000000000000000"), Err(RevError::Unknown(_))));
    assert!(matches!(named("abc"), Err(RevError::NotARevision)));
}

#[test]
fn the_shelf_holds_the_last_documents_and_no_more() {
    let mut shelf = Shelf::default();
    let documents: Vec<DocId> = (0..=limits::OPEN_DOCUMENTS_MAX)
        .map(|number| {
            let content = RootContent::Inline(Vec::new());
            let root = RootSpec::file(SpaceId([1; 32]), None, &number.to_string(), content).build();
            let doc = DocId::from(root.hash);
            if number == limits::OPEN_DOCUMENTS_MAX {
                assert_eq!(shelf.open.len(), number, "at the bound");
            }
            shelf.put(doc, Document::from_changes([&root.bytes]).expect("opens"), 1);
            doc
        })
        .collect();
    assert_eq!(shelf.open.len(), limits::OPEN_DOCUMENTS_MAX, "and one past it");
    assert!(shelf.take(&documents[0]).is_none(), "the oldest went");
    assert!(documents[1..].iter().all(|doc| shelf.take(doc).is_some()));
}

#[test]
fn bodies_are_kept_up_to_their_bytes_and_the_last_used_go_last() {
    let item = |len: usize| Item::change(DocId([1; 32]), vec![0; len]);
    let body = |len: usize| Arc::new(vec![item(len)]);
    let overhead = item(1 << 20).encoded_len() - (1 << 20);
    let half = limits::BODIES_KEPT_BYTES_MAX / 2 - overhead;
    let kept = |bodies: &Bodies| bodies.recent.iter().map(|(key, _)| key.2).collect::<Vec<_>>();
    let mut bodies = Bodies::default();
    bodies.keep((0, 0, 1), body(half));
    bodies.keep((0, 0, 2), body(half));
    assert_eq!((kept(&bodies), bodies.bytes), (vec![1, 2], limits::BODIES_KEPT_BYTES_MAX), "at the bound");
    bodies.keep((0, 0, 3), body(1));
    assert_eq!(kept(&bodies), [2, 3], "and past it");
    bodies.keep((0, 0, 4), body(3 * half));
    assert_eq!(kept(&bodies), [4], "the last one stays, however large");
    bodies.forget((0, 0, 4));
    assert_eq!((kept(&bodies), bodies.bytes), (vec![], 0));
}

#[test]
fn the_time_of_a_file_is_that_of_its_newest_content() {
    let mut writer = Writer::new();
    let root = RootSpec::file(writer.space, None, "f", RootContent::Inline(b"one\ntwo\n".to_vec())).build();
    let doc = DocId::from(root.hash);
    let mtime = |writer: &Writer| {
        let mut library = writer.library();
        let row = library.row(&doc).expect("reads").expect("is held");
        library.mtime_ns(&doc, &row).expect("reads")
    };
    writer.commit(vec![Item::content(doc, root.bytes.clone(), -5)]);
    assert_eq!(mtime(&writer), Some(-5));
    let document = Document::from_changes([&root.bytes]).expect("opens");
    let mut file = File { doc, document, root: root.bytes };
    writer.edit(&mut file, &[EntryOp::Name("g".into())]);
    assert_eq!(mtime(&writer), Some(-5), "a name is no content");
    let promotion = promotion::of_root(&file.root).expect("is text");
    file.document.apply([&promotion.bytes]).expect("applies");
    writer.commit(vec![Item::Promotion { doc, of: doc.into(), hash: promotion.hash }]);
    assert_eq!(mtime(&writer), Some(-5), "nor is the same as a text");
    for mtime_ns in [9, 3] {
        let splices = diff(&file.document.text().expect("reads").expect("is a text"), &mtime_ns.to_string());
        let Item::Change { bytes, .. } = writer.change(&mut file, &[EntryOp::Splice(splices)]) else { unreachable!() };
        writer.commit(vec![Item::content(doc, bytes, mtime_ns)]);
        assert_eq!(mtime(&writer), Some(mtime_ns), "whatever the one before says");
    }
    let untold = writer.file(None, "untold", "x");
    let mut library = writer.library();
    let row = library.row(&untold.doc).expect("reads").expect("is held");
    assert_eq!(library.mtime_ns(&untold.doc, &row).expect("reads"), None);
}
