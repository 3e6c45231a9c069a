//! Promotion: from inline or referenced content to a text that merges, with the same bytes on every machine.
//!
//! A file starts as plain bytes, which is fifty times cheaper to import than a text. The first edit promotes it: a
//! change by an actor derived from the change that put the content, built on a scratch document that holds that
//! change's history and nothing else, at time 0. Two replicas that promote concurrently thus make one change, and their
//! edits land in one text. An Automerge upgrade may change its encoding; the golden vector shows it, and the derivation
//! then gets a new context.

use std::mem::ManuallyDrop;

use automerge::{
    ObjType, ROOT,
    transaction::{CommitOptions, Transactable as _},
};

use super::{
    DocError, Document, NewChange, actor_of,
    entry::{Content, Entry},
    guarded, text,
};
use crate::ids::{ChangeHash, ContentHash, ReplicaId, context, derive16};

/// Message of a promotion.
pub const SCHEMA: &str = "kith/promotion/1";

/// The actor of the promotion of what change `of` put.
#[must_use]
pub fn actor(of: ChangeHash) -> ReplicaId {
    ReplicaId(derive16(context::PROMOTION_ACTOR, &[&of.0]))
}

/// Promotes inline content of a root change.
///
/// # Errors
/// When the change is not an entry's root, or its content is not an inline text.
pub fn of_root(root: &[u8]) -> Result<NewChange, DocError> {
    let Some(Content::Inline(bytes)) = Entry::of_root(root)?.content else {
        return Err(DocError::NotAnEntry("no inline content"));
    };
    let text = text::as_text(&bytes).ok_or(DocError::NotAnEntry("the content is not text"))?;
    build([root], text)
}

/// Promotes the content that the only head of `history` put, which is `text`.
///
/// # Errors
/// When the changes do not open, or have more than one head.
pub fn build<B: AsRef<[u8]>>(history: impl IntoIterator<Item = B>, text: &str) -> Result<NewChange, DocError> {
    let mut scratch = Document::from_changes(history)?;
    let &[of] = scratch.heads().as_slice() else {
        return Err(DocError::NotAnEntry("content was put at more than one head"));
    };
    scratch.automerge.set_actor(actor_of(actor(of)));
    let automerge = &mut scratch.automerge;
    guarded(|| {
        // Not dropped if Automerge panics in it, as for edits.
        let mut tx = ManuallyDrop::new(automerge.transaction());
        let written =
            tx.put_object(ROOT, "content", ObjType::Text).and_then(|object| tx.splice_text(&object, 0, 0, text));
        let tx = ManuallyDrop::into_inner(tx);
        written?;
        tx.commit_with(CommitOptions::default().with_message(SCHEMA).with_time(0));
        Ok(())
    })?;
    automerge.get_last_local_change().map(NewChange::from).ok_or(DocError::NotAnEntry("nothing to promote"))
}

/// Checks a promotion that travelled as bytes, because its content does not rest inline: makes it again from the text
/// that it holds, whose hash must be that of the content it replaces.
///
/// # Errors
/// When it is anything but the one promotion of that content.
pub fn verify<B: AsRef<[u8]>>(history: Vec<B>, promotion: &[u8]) -> Result<(), DocError> {
    let mut document = Document::from_changes(&history)?;
    let before = document.entry()?.content;
    document.apply([promotion])?;
    let text = document.text()?.ok_or(DocError::NotAnEntry("not a promotion"))?;
    let hash = ContentHash::of(text.as_bytes());
    let replaced = match before {
        Some(Content::Reference(content)) => content.hash == hash,
        Some(Content::Inline(bytes)) => bytes == text.as_bytes(),
        _ => false,
    };
    if replaced && build(&history, &text)?.bytes == promotion {
        Ok(())
    } else {
        Err(DocError::NotAnEntry("not the promotion of its content"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doc::entry::{EntryOp, RootContent, RootSpec},
        doc::text::Splice,
        ids::SpaceId,
    };

    fn root(text: &str) -> NewChange {
        let content = RootContent::Inline(text.as_bytes().to_vec());
        RootSpec::file(SpaceId([1; 32]), None, "a.txt", content).build()
    }

    #[test]
    fn the_promotion_is_the_one_of_the_specification() {
        let promotion = of_root(&root("one\ntwo\n").bytes).expect("is text");
        assert_eq!(
            data_encoding::HEXLOWER.encode(&promotion.bytes),
            include_str!("../../vectors/promotion.hex").trim()
        );
        verify(vec![root("one\ntwo\n").bytes], &promotion.bytes).expect("is its own promotion");
        assert!(verify(vec![root("one\ntwo?\n").bytes], &promotion.bytes).is_err());
    }

    #[test]
    fn replicas_that_promote_concurrently_merge_their_edits() {
        let root = root("one\ntwo\nthree\n");
        let promotion = of_root(&root.bytes).expect("is text");
        let edit = |replica: u8, at: usize, insert: &str| {
            let mut document = Document::from_changes([&root.bytes, &promotion.bytes]).expect("opens");
            let splice = Splice { at, delete: 0, insert: insert.into() };
            let heads = document.heads();
            document.edit(ReplicaId([replica; 16]), &heads, &[EntryOp::Splice(vec![splice])]).expect("edits")
        };
        let (first, second) = (edit(1, 0, "zero\n"), edit(2, 14, "four\n"));
        let merged =
            Document::from_changes([&root, &promotion, &second, &first].map(|change| &change.bytes)).expect("opens");
        assert_eq!(merged.text().expect("reads").as_deref(), Some("zero\none\ntwo\nthree\nfour\n"));
    }

    #[test]
    fn an_empty_file_promotes() {
        let promotion = of_root(&root("").bytes).expect("is text");
        let document = Document::from_changes([&root("").bytes, &promotion.bytes]).expect("opens");
        assert_eq!(document.text().expect("reads").as_deref(), Some(""));
    }
}
