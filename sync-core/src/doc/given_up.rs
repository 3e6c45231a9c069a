//! Which content an entry shows where several were put at once.
//!
//! Automerge lets the one with the largest id win. But where one side replaced a file and then deleted it, and the other
//! side replaced it, too, the file lives on by the second edit alone. To show the first one's bytes then is what nobody
//! wanted, and often nobody has them: whoever deleted them has not, and it may be that nobody else ever had. So a content
//! that its own side gave up gives way. As with everything that is shown, this is a function of the document and the heads.

use automerge::{ObjId, ROOT, ReadDoc as _, ScalarValue, Value};

use super::{DocError, Document, entry::key};

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

    /// All contents, the one that is shown last: those that their own side deleted come first, if bytes are left besides.
    /// A text stays where it is, since it could not be put again without losing what others write into it.
    pub(super) fn contents_in_order(
        &self,
        at: Option<&[automerge::ChangeHash]>,
    ) -> Result<Vec<(Value<'_>, ObjId)>, DocError> {
        let all = self.all_of(key::CONTENT, at)?;
        if all.len() < 2 {
            return Ok(all);
        }
        let mut living = Vec::new();
        for (_, id) in self.all_of(key::ALIVE, at)? {
            living.extend(self.automerge.hash_for_opid(&id));
        }
        let (mut given_up, kept): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|(_, id)| {
            let by = self.automerge.hash_for_opid(id);
            !by.is_some_and(|by| living.iter().any(|alive| self.is_past(by, *alive)))
        });
        let shows_bytes = kept.last().is_some_and(|(value, _)| matches!(value, Value::Scalar(_)));
        if given_up.is_empty() || !shows_bytes {
            return Ok(all);
        }
        given_up.extend(kept);
        Ok(given_up)
    }

    /// The content that is shown now, if Automerge would say another: whoever edits puts it again, since for those who come
    /// later nothing tells any more who had given up what.
    pub(super) fn content_to_write_down(&self) -> Result<Option<ScalarValue>, DocError> {
        let shown = self.contents_in_order(None)?.pop();
        let wins = self.all_of(key::CONTENT, None)?.pop();
        let (Some((Value::Scalar(shown), id)), Some((_, wins))) = (shown, wins) else { return Ok(None) };
        Ok((id != wins).then(|| shown.into_owned()))
    }

    /// Whether a change is another, or in its past. What a change has in its past began with smaller counters.
    fn is_past(&self, past: automerge::ChangeHash, of: automerge::ChangeHash) -> bool {
        let Some(start) = self.automerge.get_change_meta_by_hash(&past).map(|meta| meta.start_op) else { return false };
        let mut open = vec![of];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(hash) = open.pop() {
            if hash == past {
                return true;
            }
            let meta = self.automerge.get_change_meta_by_hash(&hash);
            if let Some(meta) = meta.filter(|meta| meta.start_op > start && seen.insert(hash)) {
                open.extend_from_slice(&meta.deps);
            }
        }
        false
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
            assert_eq!(document.entry().expect("reads").lost_contents, []);
            assert_eq!(document.contents().expect("reads").len(), 1);
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
