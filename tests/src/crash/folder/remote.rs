//! What the peer does to documents, so that the device has something to materialize: files and directories made, texts
//! edited, contents replaced, names swapped, things moved and deleted, one at a time and many at once.

use std::{collections::BTreeMap, sync::Arc};

use sync_core::{
    commit::Item,
    content,
    doc::{
        entry::{Content, ContentRef, Entry, EntryOp, Kind, RootContent, RootSpec},
        text,
    },
    ids::{ContentHash, DocId},
    tree::{Folds, View},
};

use super::pair::Pair;
use crate::{
    author,
    sim::{editor::new_bytes, rng::Rng},
};

const NAMES: [&str; 9] = ["a.txt", "b.txt", "notes.md", "main.rs", "data.bin", "d", "e", "src", "ü.txt"];
/// Changes of one burst: more than the folder flushes one by one.
const BURST: u64 = 6;

/// The peer's documents and its tree.
struct Held {
    entries: BTreeMap<DocId, Entry>,
    view: View,
}

impl Held {
    fn of(pair: &Pair) -> Self {
        let entries = author::entries(&pair.remote, &pair.space).expect("documents of the test are sound");
        let view = View::of(&entries, Folds::NONE);
        Self { entries, view }
    }

    fn some(&self, rng: &mut Rng, wanted: impl Fn(Kind) -> bool) -> Option<DocId> {
        let shown = self.view.places().map(|(doc, _)| *doc);
        let docs: Vec<DocId> = shown.filter(|doc| wanted(self.entries[doc].kind)).collect();
        (!docs.is_empty()).then(|| *rng.pick(&docs))
    }

    fn some_dir(&self, rng: &mut Rng) -> Option<DocId> {
        if rng.chance(400) { None } else { self.some(rng, |kind| kind == Kind::Dir) }
    }

    /// An entry and all that is in it, from below.
    fn all_in(&self, top: DocId) -> Vec<DocId> {
        let mut all = vec![top];
        let mut next = 0;
        while let Some(dir) = all.get(next).copied() {
            let inside = self.view.places().filter(|(_, place)| place.parent == Some(dir));
            all.extend(inside.map(|(doc, _)| *doc));
            next += 1;
        }
        all.reverse();
        all
    }
}

/// Bytes that travel by reference; anybody may fetch them from the peer.
fn large(pair: &mut Pair, rng: &mut Rng) -> ContentRef {
    let len = 200 + rng.below(40_000);
    let bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
    let (content, _) = content::cut(&bytes[..], len).expect("memory does not fail");
    pair.contents.insert(content.hash, Arc::new(bytes));
    content
}

/// Does one thing, or several at once.
pub(super) fn act(pair: &mut Pair, rng: &mut Rng) {
    let count = if rng.chance(120) { BURST } else { 1 };
    for _ in 0..count {
        let held = Held::of(pair);
        let items =
            if rng.chance(300) || held.entries.len() < 4 { create(pair, rng, &held) } else { change(pair, rng, &held) };
        if !items.is_empty() {
            pair.remote_edit(items);
        }
    }
}

fn create(pair: &mut Pair, rng: &mut Rng, held: &Held) -> Vec<Item> {
    let parent = held.some_dir(rng);
    let name = *rng.pick(&NAMES);
    let spec = match rng.below(8) {
        0 | 1 => RootSpec::dir(pair.space, parent, name),
        2 => RootSpec::link(pair.space, parent, name, ["a.txt", "nowhere", "d"][rng.index(3)]),
        3 => RootSpec::file(pair.space, parent, name, RootContent::Reference(large(pair, rng))),
        _ => {
            let mut bytes = new_bytes(rng, None);
            bytes.truncate(sync_core::limits::INLINE_BYTES_MAX);
            RootSpec::file(pair.space, parent, name, RootContent::Inline(bytes))
        }
    };
    // Two files of one name and content are one document: it may be held, and deleted.
    let root =
        RootSpec { exec: spec.kind == Kind::File && rng.chance(100), nonce: rng.next_u64() >> 32, ..spec }.build();
    vec![Item::change(root.hash.into(), root.bytes)]
}

fn change(pair: &mut Pair, rng: &mut Rng, held: &Held) -> Vec<Item> {
    let Some(doc) = held.some(rng, |_| true) else { return Vec::new() };
    let entry = &held.entries[&doc];
    let name = EntryOp::Name((*rng.pick(&NAMES)).into());
    match rng.below(16) {
        0 => edit(pair, doc, &[name]),
        1 | 2 => {
            let parent = held.some_dir(rng);
            edit(pair, doc, &[EntryOp::Parent(parent)])
        }
        3 => edit(pair, doc, &[EntryOp::Parent(held.some_dir(rng)), name]),
        4 | 5 => swap(pair, rng, held, doc),
        6 | 7 => held.all_in(doc).into_iter().flat_map(|doc| edit(pair, doc, &[EntryOp::Delete])).collect(),
        8 if entry.kind == Kind::File => edit(pair, doc, &[EntryOp::Exec(!entry.exec)]),
        8 if entry.kind == Kind::Link => edit(pair, doc, &[EntryOp::Target("b.txt".into())]),
        _ => match held.some(rng, |kind| kind == Kind::File) {
            Some(file) => write(pair, rng, &held.entries[&file], file),
            None => Vec::new(),
        },
    }
}

fn edit(pair: &Pair, doc: DocId, ops: &[EntryOp]) -> Vec<Item> {
    let item = author::change(&pair.remote, &pair.space, doc, ops).expect("documents of the test are sound");
    item.into_iter().collect()
}

/// Each takes the other's place.
fn swap(pair: &Pair, rng: &mut Rng, held: &Held, doc: DocId) -> Vec<Item> {
    let Some(other) = held.some(rng, |_| true).filter(|other| *other != doc) else { return Vec::new() };
    let (one, two) = (&held.entries[&doc], &held.entries[&other]);
    let to = |entry: &Entry| [EntryOp::Parent(entry.parent), EntryOp::Name(entry.name.clone())];
    [edit(pair, doc, &to(two)), edit(pair, other, &to(one))].concat()
}

/// Edits a text, or replaces what is none.
fn write(pair: &mut Pair, rng: &mut Rng, entry: &Entry, doc: DocId) -> Vec<Item> {
    let old = match &entry.content {
        Some(Content::Inline(bytes)) => text::as_text(bytes).map(str::to_owned),
        Some(Content::Text) => author::text(&pair.remote, &pair.space, doc).expect("documents of the test are sound"),
        Some(Content::Reference(_)) | None => None,
    };
    let Some(old) = old.filter(|_| rng.chance(850)) else {
        let content = large(pair, rng);
        return edit(pair, doc, &[EntryOp::Content(content)]);
    };
    match text::as_text(&new_bytes(rng, Some(old.as_bytes()))) {
        Some(new) if new != old => {
            author::write(&pair.remote, &pair.space, doc, new).expect("documents of the test are sound")
        }
        _ => Vec::new(),
    }
}

/// The hash of what a file of the tree is to hold.
pub(super) fn hash_of(pair: &Pair, doc: DocId, entry: &Entry) -> Option<ContentHash> {
    match entry.content.as_ref()? {
        Content::Inline(bytes) => Some(ContentHash::of(bytes)),
        Content::Reference(content) => Some(content.hash),
        Content::Text => {
            let text = author::text(&pair.remote, &pair.space, doc).expect("documents of the test are sound");
            text.map(|text| ContentHash::of(text.as_bytes()))
        }
    }
}
