//! All values of an entry's registers where both sides set them: what a conflict is about, and who put it.

use automerge::{ObjType, ScalarValue, Value};

use super::{
    DocError, Document,
    entry::{Content, decode_content, decode_parent, key},
};
use crate::ids::{ChangeHash, DocId};

/// One of the values of a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version<T> {
    /// The change that put it.
    pub by: ChangeHash,
    /// The value.
    pub value: T,
}

/// A value of the content, and what it says where it is a text.
pub type HeldContent = (Content, Option<String>);

impl Document {
    /// The values of the content, the one that wins last. A text comes with what it says.
    ///
    /// # Errors
    /// When a value is none of an entry's.
    pub fn contents(&self) -> Result<Vec<Version<HeldContent>>, DocError> {
        self.versions(key::CONTENT, |document, value, id| {
            Ok(match value {
                Value::Object(ObjType::Text) => (Content::Text, Some(document.shown_text(id)?)),
                Value::Scalar(scalar) => match scalar.as_ref() {
                    ScalarValue::Bytes(bytes) => (decode_content(bytes)?, None),
                    _ => return Err(DocError::NotAnEntry("content")),
                },
                Value::Object(_) => return Err(DocError::NotAnEntry("content")),
            })
        })
    }

    /// The values of the name, the one that wins last.
    ///
    /// # Errors
    /// When a value is none of an entry's.
    pub fn names(&self) -> Result<Vec<Version<String>>, DocError> {
        self.versions(key::NAME, |_, value, _| {
            value.as_str().map(ToOwned::to_owned).ok_or(DocError::NotAnEntry("name"))
        })
    }

    /// The values of the directory, the one that wins last.
    ///
    /// # Errors
    /// When a value is none of an entry's.
    pub fn parents(&self) -> Result<Vec<Version<Option<DocId>>>, DocError> {
        self.versions(key::PARENT, |_, value, _| decode_parent(value.as_bytes().ok_or(DocError::NotAnEntry("parent"))?))
    }

    fn versions<T>(
        &self,
        name: &str,
        read: impl Fn(&Self, &Value<'_>, &automerge::ObjId) -> Result<T, DocError>,
    ) -> Result<Vec<Version<T>>, DocError> {
        let all = if name == key::CONTENT { self.contents_in_order(None)? } else { self.all_of(name, None)? };
        all.iter()
            .map(|(value, id)| {
                let by = self.automerge.hash_for_opid(id).ok_or(DocError::NotAnEntry("a register"))?;
                Ok(Version { by: ChangeHash(by.0), value: read(self, value, id)? })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        doc::{
            Document,
            entry::{Content, ContentRef, EntryOp, RootContent, RootSpec},
        },
        ids::{ContentHash, DocId, ReplicaId, SpaceId},
    };

    fn versions_of(ops: [Vec<EntryOp>; 2]) -> (Document, [crate::ids::ChangeHash; 2]) {
        let root = RootSpec::file(SpaceId([1; 32]), None, "a", RootContent::Inline(vec![0])).build();
        let mut ours = Document::from_changes([&root.bytes]).expect("opens");
        let mut theirs = ours.clone();
        let at = ours.heads();
        let [left, right] = ops;
        let left = ours.edit(ReplicaId([10; 16]), &at, &left).expect("edits");
        let right = theirs.edit(ReplicaId([11; 16]), &at, &right).expect("edits");
        ours.apply([&right.bytes]).expect("applies");
        (ours, [left.hash, right.hash])
    }

    #[test]
    fn every_version_comes_with_the_change_that_put_it_and_setting_it_again_leaves_one() {
        let reference = |seed: u8| ContentRef { hash: ContentHash([seed; 32]), len: 5, list: [seed; 32] };
        let side = |seed: u8| {
            vec![
                EntryOp::Content(reference(seed)),
                EntryOp::Name(format!("name {seed}")),
                EntryOp::Parent(Some(DocId([seed; 32]))),
            ]
        };
        let (mut document, [left, right]) = versions_of([side(1), side(2)]);
        let contents = document.contents().expect("reads");
        let by = |hash| contents.iter().find(|version| version.by == hash).map(|version| version.value.clone());
        assert_eq!(by(left), Some((Content::Reference(reference(1)), None)));
        assert_eq!(by(right), Some((Content::Reference(reference(2)), None)));
        let entry = document.entry().expect("reads");
        let last = document.names().expect("reads").pop().expect("has names");
        assert_eq!(last.value, entry.name, "the winner comes last");
        assert_eq!(document.parents().expect("reads").len(), 2);
        assert!(entry.lost_place && !entry.lost_contents.is_empty());
        // Even the value that wins already.
        let at = document.heads();
        let again = [EntryOp::Name(entry.name.clone()), EntryOp::Parent(entry.parent)];
        document.edit(ReplicaId([10; 16]), &at, &again).expect("edits");
        let settled = document.entry().expect("reads");
        assert!(!settled.lost_place);
        assert_eq!((settled.name, settled.parent), (entry.name, entry.parent));
    }
}
