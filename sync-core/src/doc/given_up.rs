//! Which content an entry shows where several were put at once.
//!
//! Automerge lets the one with the largest id win. But where one side replaced a file and then deleted it, and the other
//! side replaced it, too, the file lives on by the second edit alone. To show the first one's bytes then is what nobody
//! wanted, and often nobody has them: whoever deleted them has not, and it may be that nobody else ever had. So a content
//! that was there when its own side deleted the file gives way. As with everything that is shown, this is a function of the document and the heads.

use std::collections::BTreeSet;

use automerge::{ObjId, ROOT, ReadDoc as _, Value};

use super::{DocError, Document, entry::key};
use crate::preflight::{self, Action, Key};

impl Document {
    /// All values of a register, the one that Automerge lets win last.
    pub(super) fn all_of(
        &self,
        name: &str,
        at: Option<&[automerge::ChangeHash]>,
    ) -> Result<Vec<(Value<'_>, ObjId)>, DocError> {
        Ok(match at {
            Some(heads) => self.automerge.get_all_at(ROOT, name, heads)?,
            None => self.automerge.get_all(ROOT, name)?,
        })
    }

    /// All contents, the one that is shown last: those that somebody deleted the file with come first, if others are left.
    pub(super) fn contents_in_order(
        &self,
        at: Option<&[automerge::ChangeHash]>,
    ) -> Result<Vec<(Value<'_>, ObjId)>, DocError> {
        let all = self.all_of(key::CONTENT, at)?;
        if all.len() < 2 {
            return Ok(all);
        }
        let heads = at.map_or_else(|| self.automerge.get_heads(), <[_]>::to_vec);
        let put_by: Vec<_> = all.iter().map(|(_, id)| self.automerge.hash_for_opid(id)).collect();
        let oldest = put_by.iter().flatten().filter_map(|hash| self.automerge.get_change_meta_by_hash(hash));
        let oldest = oldest.map(|meta| meta.start_op).min().unwrap_or_default();
        let mut deleted = BTreeSet::new();
        for change in self.past_since(&heads, oldest) {
            if self.deletes(change) {
                deleted.extend(self.past_since(&[change], oldest));
            }
        }
        let is_given_up = |by: &Option<automerge::ChangeHash>| by.is_some_and(|by| deleted.contains(&by));
        if put_by.iter().all(is_given_up) {
            return Ok(all);
        }
        let (mut ordered, kept): (Vec<_>, Vec<_>) = all.into_iter().zip(put_by).partition(|(_, by)| is_given_up(by));
        ordered.extend(kept);
        Ok(ordered.into_iter().map(|(value, _)| value).collect())
    }

    /// Some changes and what is in their past and began with at least that counter. What a change has in its past began
    /// with smaller ones.
    fn past_since(&self, of: &[automerge::ChangeHash], counter: u64) -> BTreeSet<automerge::ChangeHash> {
        let mut past = BTreeSet::new();
        let mut open = of.to_vec();
        while let Some(hash) = open.pop() {
            let meta = self.automerge.get_change_meta_by_hash(&hash);
            if let Some(meta) = meta.filter(|meta| meta.start_op >= counter && past.insert(hash)) {
                open.extend_from_slice(&meta.deps);
            }
        }
        past
    }

    /// Whether a change deletes the entry.
    fn deletes(&self, change: automerge::ChangeHash) -> bool {
        self.automerge.get_change_by_hash(&change).is_some_and(|change| {
            preflight::Change::read(change.raw_bytes()).is_ok_and(|change| {
                let is_delete = |op: &preflight::Op<'_>| {
                    op.object.is_none() && op.key == Key::Map(key::ALIVE) && op.action == Action::Delete
                };
                change.ops.iter().any(is_delete)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        doc::{
            Document,
            entry::{Content, ContentRef, EntryOp, RootContent, RootSpec},
        },
        ids::{ContentHash, ReplicaId, SpaceId},
    };

    const SIDES: [ReplicaId; 3] = [ReplicaId([10; 16]), ReplicaId([11; 16]), ReplicaId([12; 16])];

    fn reference(seed: u8) -> ContentRef {
        ContentRef { hash: ContentHash([seed; 32]), len: 5, list: [seed; 32] }
    }

    /// What each side does to one file, one change after the other, and what is shown when all have met, in either order.
    fn met(sides: [&[EntryOp]; 2]) -> Document {
        let root = RootSpec::file(SpaceId([1; 32]), None, "a", RootContent::Inline(vec![0])).build();
        let changes = [0, 1].map(|side| {
            let mut document = Document::from_changes([&root.bytes]).expect("opens");
            let mut changes = Vec::new();
            for op in sides[side] {
                let at = document.heads();
                changes.push(document.edit(SIDES[side], &at, std::slice::from_ref(op)).expect("edits").bytes);
            }
            changes
        });
        let all = |first: usize| {
            let mut document = Document::from_changes([&root.bytes]).expect("opens");
            document.apply(&changes[first]).expect("applies");
            document.apply(&changes[1 - first]).expect("applies");
            document
        };
        let [left, right] = [0, 1].map(all);
        assert_eq!(left.entry().expect("reads"), right.entry().expect("reads"));
        left
    }

    fn shown(document: &Document) -> Option<Content> {
        let entry = document.entry().expect("reads");
        assert!(entry.alive);
        assert_eq!(document.entry_at(&document.heads()).expect("reads"), entry);
        let (_, content) = document.content_at(&document.heads()).expect("reads").expect("has one");
        assert_eq!(entry.content.as_ref(), Some(&content));
        entry.content
    }

    #[test]
    fn bytes_that_their_own_side_deleted_give_way_to_those_that_kept_the_file() {
        let put = |seed: u8| EntryOp::Content(reference(seed));
        let gives_up = [put(1), EntryOp::Delete];
        let again = [put(1), EntryOp::Name("b".into()), EntryOp::Delete];
        // Whoever has the larger ids.
        for (sides, wanted) in [
            ([&gives_up[..], &[put(2)]], 2),
            ([&[put(2)], &gives_up[..]], 2),
            ([&again[..], &[put(2)]], 2),
            ([&[put(2)], &again[..]], 2),
            // Nobody gave anything up: the larger id.
            ([&[put(1)], &[put(2)]], 2),
            ([&[put(1), EntryOp::Keep], &[put(2)]], 2),
            ([&[put(2)], &[put(1)]], 1),
        ] {
            assert_eq!(shown(&met(sides)), Some(Content::Reference(reference(wanted))), "{sides:?}");
        }
        // The only content there is stays.
        let kept = met([&gives_up, &[EntryOp::Name("b".into())]]);
        assert_eq!(shown(&kept), Some(Content::Reference(reference(1))));
    }

    #[test]
    fn what_is_shown_stays_so_when_somebody_edits() {
        let put = |seed: u8| EntryOp::Content(reference(seed));
        for op in [EntryOp::Name("c".into()), EntryOp::Keep, EntryOp::Exec(true)] {
            let mut document = met([&[put(2)], &[put(1), EntryOp::Delete]]);
            let at = document.heads();
            document.edit(SIDES[2], &at, &[op]).expect("edits");
            assert_eq!(shown(&document), Some(Content::Reference(reference(2))));
        }
        // Other bytes go over both; and whoever deletes deletes.
        let mut document = met([&[put(2)], &[put(1), EntryOp::Delete]]);
        let at = document.heads();
        document.edit(SIDES[2], &at, &[put(3)]).expect("edits");
        assert_eq!(shown(&document), Some(Content::Reference(reference(3))));
        let at = document.heads();
        document.edit(SIDES[2], &at, &[EntryOp::Delete]).expect("deletes");
        assert!(!document.entry().expect("reads").alive);
    }
}
