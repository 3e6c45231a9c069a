//! Entry documents of anybody's making.

use std::{
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
};

use automerge::{
    ActorId, Automerge, Change, ObjType, PatchLog, ROOT, ReadDoc as _, ScalarValue, TextEncoding,
    transaction::{CommitOptions, Transactable as _, Transaction},
};
use sync_core::{
    doc::{
        DocError, Document,
        entry::{Content, ContentRef, Entry, EntryOp, RootContent, RootSpec},
        promotion,
    },
    ids::{ChangeHash, ContentHash, DocId, ReplicaId, SpaceId},
};

use crate::input::Input;

const SPACE: SpaceId = SpaceId([1; 32]);
/// Changes of one input: Automerge takes its time.
const CHANGES_MAX: usize = 12;
/// Registers, and one that no version knows.
const KEYS: &[&str] = &["kind", "parent", "name", "alive", "content", "exec", "target", "nonce", "more"];

/// A root change is what its values derive and reads back; whatever registers others put beside ours, or instead, the
/// document opens and reads the same whatever came first, or is an error everywhere.
///
/// # Panics
/// When a promise is broken.
pub fn entry(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let spec = some_spec(&mut input);
    let root = spec.build();
    assert_eq!(spec.build(), root);
    assert_eq!(RootSpec::verify(SPACE, &root.bytes).is_ok(), spec.space == SPACE);
    let quick = Entry::of_root(&root.bytes).expect("a root reads");
    assert_eq!(opened(&[&root.bytes]), Ok(quick.clone()));
    assert_eq!((quick.kind, &quick.name, quick.parent), (spec.kind, &spec.name, spec.parent));
    assert!(quick.alive && quick.exec == spec.exec && quick.target == spec.target);
    let promoted = promotion::of_root(&root.bytes).ok();
    if let Some(promoted) = &promoted {
        promotion::verify(vec![&root.bytes], &promoted.bytes).expect("is its own promotion");
    }

    let promoted = promoted.map(|change| change.bytes).filter(|_| input.one_in(2));
    let changes = history(&mut input, &root.bytes, promoted);
    let forward = opened(&changes);
    // Dependencies first is all that an order owes: the last of two that do not know each other may come first.
    let order = another_order(&changes, usize::from(input.byte()));
    assert_eq!(forward, opened(&order));
    let Ok(document) = Document::from_changes(&changes) else {
        return;
    };
    if let Ok(bytes) = document.save() {
        let loaded = Document::from_snapshot(&bytes).expect("was proven to load");
        assert_eq!(forward, loaded.entry().map_err(kind_of_error));
    }
    edit_as_it_is(document, &forward, &[root.hash]);
}

/// Every read agrees with the entry, and an edit of any state of it is taken or refused.
fn edit_as_it_is(mut document: Document, entry: &Result<Entry, &'static str>, behind: &[ChangeHash]) {
    let at = document.heads();
    let text = document.text();
    let then = document.text_at(&at);
    assert_eq!(text.as_ref().ok(), then.as_ref().ok());
    let content = document.content_at(&at);
    if let Ok(entry) = entry
        && let Ok(content) = content
    {
        assert_eq!(content.map(|(_, content)| content), entry.content);
        assert_eq!(entry.content == Some(Content::Text), matches!(text, Ok(Some(_))));
    }
    // As a folder does whose disk is behind, and then at all that is held.
    let ops = [EntryOp::Delete, EntryOp::Name("gone".into()), EntryOp::Exec(true), EntryOp::Parent(None)];
    for (replica, at) in [(98, behind.to_vec()), (99, at)] {
        let edited = document.edit(ReplicaId([replica; 16]), &at, &ops);
        assert!(!matches!(edited, Err(DocError::Panicked)), "an edit panics");
    }
    if let Ok(entry) = document.entry() {
        assert_eq!(entry.name, "gone");
    }
}

fn kind_of_error(error: DocError) -> &'static str {
    match error {
        DocError::NotAnEntry(_) => "not an entry",
        _ => "other",
    }
}

fn opened<B: AsRef<[u8]>>(changes: &[B]) -> Result<Entry, &'static str> {
    let document = Document::from_changes(changes).expect("Automerge reads what it wrote");
    document.entry().map_err(kind_of_error)
}

fn some_reference(input: &mut Input<'_>) -> ContentRef {
    ContentRef { hash: ContentHash(input.array()), len: input.number(), list: input.array() }
}

fn some_spec(input: &mut Input<'_>) -> RootSpec {
    let space = if input.one_in(8) { SpaceId([2; 32]) } else { SPACE };
    let parent = (!input.one_in(2)).then(|| DocId(input.array()));
    let name = String::from_utf8_lossy(input.bytes(20)).into_owned();
    let mut spec = match input.below(4) {
        0 => RootSpec::dir(space, parent, &name),
        1 => RootSpec::link(space, parent, &name, &String::from_utf8_lossy(input.bytes(20))),
        2 => RootSpec::file(space, parent, &name, RootContent::Reference(some_reference(input))),
        _ => RootSpec::file(space, parent, &name, RootContent::Inline(input.bytes(60).to_vec())),
    };
    spec.exec = input.one_in(2);
    spec.nonce = if input.one_in(4) { input.number() } else { 0 };
    spec
}

/// A history of changes by a few actors, each made at some heads that its writer knew. Automerge writes them, so each is
/// well formed; what they say is anybody's.
fn history(input: &mut Input<'_>, root: &[u8], promoted: Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut all = Automerge::new_with_encoding(TextEncoding::UnicodeCodePoint);
    let mut changes = vec![root.to_vec()];
    changes.extend(promoted);
    let decoded = changes.iter().map(|bytes| Change::from_bytes(bytes.clone()).expect("is a change"));
    all.apply_changes(decoded.collect::<Vec<_>>()).expect("applies");
    let mut heads = vec![all.get_heads()];
    while !input.is_empty() && changes.len() < CHANGES_MAX {
        let at = input.of(&heads).clone();
        all.set_actor(ActorId::from([1 + input.byte() % 3; 16]));
        let Ok(tx) = all.transaction_at(PatchLog::inactive(), &at) else {
            continue;
        };
        // Automerge may panic over what it is told to write here, and again while it undoes that: then the transaction is
        // left as it is, and the history ends.
        let mut tx = ManuallyDrop::new(tx);
        if catch_unwind(AssertUnwindSafe(|| write_anything(input, &mut tx))).is_err() {
            break;
        }
        let (made, _) = ManuallyDrop::into_inner(tx).commit_with(CommitOptions::default().with_time(0));
        if let Some(hash) = made {
            let change = all.get_change_by_hash(&hash).expect("was just made");
            changes.push(change.raw_bytes().to_vec());
            heads.push(vec![hash]);
            heads.push(all.get_heads());
        }
    }
    changes
}

fn write_anything(input: &mut Input<'_>, tx: &mut Transaction<'_>) {
    for _ in 0..=input.below(3) {
        let key = *input.of(KEYS);
        // Whether Automerge takes it is no matter: a number cannot be added to a text.
        let _taken = match input.below(12) {
            0 => tx.delete(ROOT, key),
            1 => tx.put_object(ROOT, key, *input.of(&[ObjType::Map, ObjType::List, ObjType::Text])).map(drop),
            2 => tx.increment(ROOT, key, 1),
            3 => match tx.get(ROOT, key) {
                Ok(Some((_, object))) => tx.splice_text(object, 0, 0, "ü\n"),
                _ => Ok(()),
            },
            _ => tx.put(ROOT, key, some_value(input)),
        };
    }
}

fn some_value(input: &mut Input<'_>) -> ScalarValue {
    match input.below(10) {
        0 => ScalarValue::Null,
        1 => ScalarValue::Boolean(input.one_in(2)),
        2 => ScalarValue::Uint(input.number()),
        3 => ScalarValue::counter(3),
        4 => ScalarValue::F64(f64::NAN),
        5 => (*input.of(&["dir", "file", "link", "a", "", "..", "socket"])).into(),
        6 => ScalarValue::Bytes(input.bytes(40).to_vec()),
        7 => ScalarValue::Bytes(input.array::<32>().to_vec()),
        8 => {
            let reference = some_reference(input);
            ScalarValue::Bytes(postcard::to_extend(&reference, vec![1]).expect("a reference is plain data"))
        }
        _ => ScalarValue::Timestamp(input.number() as i64),
    }
}

/// The same changes, each after what it depends on, and otherwise as late or early as can be.
fn another_order(changes: &[Vec<u8>], seed: usize) -> Vec<&Vec<u8>> {
    let mut left: Vec<(Change, &Vec<u8>)> =
        changes.iter().map(|bytes| (Change::from_bytes(bytes.clone()).expect("is a change"), bytes)).collect();
    let mut order: Vec<&Vec<u8>> = Vec::new();
    let mut held: Vec<ChangeHash> = Vec::new();
    let mut state = seed;
    while !left.is_empty() {
        let ready: Vec<usize> = left
            .iter()
            .enumerate()
            .filter(|(_, (change, _))| change.deps().iter().all(|dep| held.contains(&ChangeHash(dep.0))))
            .map(|(index, _)| index)
            .collect();
        state = state.wrapping_mul(31).wrapping_add(17);
        let (change, bytes) = left.swap_remove(ready[state % ready.len()]);
        held.push(ChangeHash(change.hash().0));
        order.push(bytes);
    }
    order
}
