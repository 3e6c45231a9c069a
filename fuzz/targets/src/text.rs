//! Two versions of a text, their splices, and what becomes of them in a document.

use sync_core::{
    doc::{
        Document,
        entry::{EntryOp, RootContent, RootSpec},
        promotion,
        text::{Splice, apply, as_text, diff},
    },
    ids::{ReplicaId, SpaceId},
    limits,
};
use unicode_segmentation::GraphemeCursor;

use crate::input::texts;

/// The splices between two texts, which a NUL divides, turn the one into the other, in order, apart, and without
/// splitting what belongs together.
///
/// # Panics
/// When a promise is broken.
pub fn text_diff(bytes: &[u8]) {
    let [old, new] = texts(bytes);
    let splices = diff(&old, &new);
    assert_eq!(apply(&old, &splices), new);
    assert!(splices.windows(2).all(|pair| pair[0].at + pair[0].delete <= pair[1].at));
    assert_eq!(splices.is_empty(), old == new);
    let boundaries: Vec<usize> = old.char_indices().map(|(at, _)| at).chain([old.len()]).collect();
    for splice in &splices {
        for at in [splice.at, splice.at + splice.delete] {
            assert_whole(&old, boundaries[at]);
        }
    }
}

/// A byte position of a splice is not inside a line end or a grapheme.
fn assert_whole(text: &str, at: usize) {
    assert!(!(text[..at].ends_with('\r') && text[at..].starts_with('\n')), "a line end is split at {at}");
    let is_boundary = GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0);
    assert_eq!(is_boundary, Ok(true), "a grapheme is split at {at}");
}

/// Longest text of one input: Automerge takes its time.
const TEXT_BYTES_MAX: usize = 4096;

/// A text that two sides change at once, three texts with NUL between them: each side reads its own, and both read the
/// same when they have met, in either order, from changes and from a snapshot, and after an edit that joins the heads.
/// What both made alike is there once.
///
/// # Panics
/// When a promise is broken.
pub fn text_merge(bytes: &[u8]) {
    let [base, left, right] = texts(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]);
    let inline = as_text(base.as_bytes()).is_some() && base.len() <= limits::INLINE_BYTES_MAX;
    assert!(inline, "texts of the input are short and have no NUL");
    let root = RootSpec::file(SpaceId([1; 32]), None, "a.txt", RootContent::Inline(base.clone().into_bytes())).build();
    let promoted = promotion::of_root(&root.bytes).expect("is text");
    let open = || Document::from_changes([&root.bytes, &promoted.bytes]).expect("opens");
    let edit = |replica: u8, new: &str| {
        let mut document = open();
        let at = document.heads();
        let splices: Vec<Splice> = diff(&base, new);
        let change = document.edit(ReplicaId([replica; 16]), &at, &[EntryOp::Splice(splices)]).expect("edits");
        assert_eq!(document.text().expect("reads").as_deref(), Some(new));
        assert_eq!(document.text_at(&at).expect("reads").as_deref(), Some(&*base));
        (document, change)
    };
    let (mut ours, our_change) = edit(1, &left);
    let (mut theirs, their_change) = edit(2, &right);
    ours.apply([&their_change.bytes]).expect("applies");
    theirs.apply([&our_change.bytes]).expect("applies");
    let merged = ours.text().expect("reads").expect("is text");
    assert_eq!(theirs.text().expect("reads").as_ref(), Some(&merged));
    assert_eq!((ours.heads(), ours.entry().expect("reads")), (theirs.heads(), theirs.entry().expect("reads")));
    let all = [&root, &promoted, &their_change, &our_change].map(|change| &change.bytes);
    assert_eq!(Document::from_changes(all).expect("opens").text().expect("reads").as_ref(), Some(&merged));
    let loaded = Document::from_snapshot(&ours.save().expect("saves")).expect("loads");
    assert_eq!(loaded.text().expect("reads").as_ref(), Some(&merged));
    if left == base || left == right {
        assert_eq!(merged, right);
    } else if right == base {
        assert_eq!(merged, left);
    }
    assert_eq!(theirs.conflicts().expect("reads"), ours.conflicts().expect("reads"));
    join(ours, &merged);
}

/// Whoever joins the heads writes down what was shown: nothing changes, whatever was edited, and then there is nothing to
/// be written down.
fn join(mut document: Document, shown: &str) {
    let met = document.heads();
    for _ in 0..2 {
        let at = document.heads();
        document.edit(ReplicaId([3; 16]), &at, &[EntryOp::Keep]).expect("edits");
        assert_eq!(document.text().expect("reads").as_deref(), Some(shown));
    }
    assert_eq!(document.text_at(&met).expect("reads").as_deref(), Some(shown));
}
