//! Automerge documents: the only code that names `automerge`.
//!
//! [`Document`] is one open document. [`entry`] gives the documents of a folder their schema, [`promotion`] turns inline
//! content into text the same way on every machine, [`text`] turns two versions of a text into splices (`lines`
//! aligns them), `shown` tells what a text shows where heads meet (`gaps` is its rule). Nothing here reads a store or knows of commits: the caller brings changes as bytes that `preflight` has let in, and takes bytes
//! away.

pub mod again;
pub mod compare;
pub mod entry;
mod gaps;
mod given_up;
mod lines;
pub mod promotion;
mod shown;
pub mod text;
pub mod versions;

pub use shown::{LineConflict, LineVersion};

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{ActorId, Automerge, Change, ReadDoc as _, TextEncoding};

use crate::ids::{ChangeHash, ReplicaId};

/// Positions in texts count Unicode scalar values, whatever features other crates switch on in Automerge.
const ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

/// A document cannot be opened, read or edited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocError {
    /// Automerge refused bytes that the door let in: a fault of ours or of the disk.
    #[error("automerge refused a change: {0}")]
    Automerge(String),
    /// Automerge panicked; the document in memory is gone, what is stored is untouched.
    #[error("automerge panicked while a document was open")]
    Panicked,
    /// A change depends on one that is not in the document.
    #[error("a change depends on one that is not held")]
    MissingDependency,
    /// The document is not an entry of a folder, or not one that this program understands.
    #[error("the document is not an entry: {0}")]
    NotAnEntry(&'static str),
    /// The edit names a state that does not contain this replica's own last change.
    #[error("the edit is based on a state without this replica's own last change")]
    StaleBase,
    /// The edit changes nothing: what it deletes was deleted.
    #[error("the edit changes nothing")]
    NoChange,
    /// A snapshot does not load to the heads that it was made of.
    #[error("a snapshot does not give back its document")]
    Snapshot,
    /// Its history has so many changes that it takes in no content any more.
    #[error("so many saves are in its history that it takes in no more: copy it, and delete this one")]
    Full,
}

impl DocError {
    /// Whether the document itself is at fault, and not what was to be done with it.
    #[must_use]
    pub const fn is_of_the_document(&self) -> bool {
        matches!(self, Self::Automerge(_) | Self::Panicked | Self::MissingDependency | Self::Snapshot | Self::Full)
    }
}

impl From<automerge::AutomergeError> for DocError {
    fn from(error: automerge::AutomergeError) -> Self {
        Self::Automerge(error.to_string())
    }
}

/// Runs code of Automerge on what came from elsewhere. The door lets nothing in that panics there; should it happen
/// all the same, the document that was in hand is dropped and the caller gets an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, DocError>) -> Result<T, DocError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(DocError::Panicked))
}

/// A change that this replica made and that no commit holds yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChange {
    /// Its hash.
    pub hash: ChangeHash,
    /// One plain change chunk.
    pub bytes: Vec<u8>,
}

impl From<Change> for NewChange {
    fn from(change: Change) -> Self {
        Self { hash: ChangeHash(change.hash().0), bytes: change.raw_bytes().to_vec() }
    }
}

/// One open document.
#[derive(Debug, Clone)]
pub struct Document {
    automerge: Automerge,
}

impl Document {
    /// Opens a document from all its changes, dependencies first.
    ///
    /// # Errors
    /// When Automerge refuses them or something is missing.
    pub fn from_changes<B: AsRef<[u8]>>(changes: impl IntoIterator<Item = B>) -> Result<Self, DocError> {
        let mut document = Self { automerge: Automerge::new_with_encoding(ENCODING) };
        document.apply(changes)?;
        Ok(document)
    }

    /// Opens a document from what [`save`](Self::save) gave.
    ///
    /// # Errors
    /// When the bytes do not load.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, DocError> {
        guarded(|| {
            let options = automerge::LoadOptions::new().text_encoding(ENCODING);
            let automerge = Automerge::load_with_options(bytes, options)?;
            Ok(Self { automerge })
        })
    }

    /// Applies changes in one batch; known ones are passed over.
    ///
    /// # Errors
    /// When Automerge refuses one or a dependency is missing. The document must be dropped then.
    pub fn apply<B: AsRef<[u8]>>(&mut self, changes: impl IntoIterator<Item = B>) -> Result<(), DocError> {
        let changes = changes.into_iter().map(|bytes| decode(bytes.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let automerge = &mut self.automerge;
        guarded(|| {
            #[cfg(any(test, feature = "probes"))]
            probe::meet(&changes);
            automerge.apply_changes(changes)?;
            if automerge.get_missing_deps(&[]).is_empty() { Ok(()) } else { Err(DocError::MissingDependency) }
        })
    }

    /// Changes that nothing else here depends on, sorted.
    #[must_use]
    pub fn heads(&self) -> Vec<ChangeHash> {
        self.automerge.get_heads().into_iter().map(|hash| ChangeHash(hash.0)).collect()
    }

    /// The whole document in Automerge's compact form, proven to load to the same heads.
    ///
    /// # Errors
    /// When it does not.
    pub fn save(&self) -> Result<Vec<u8>, DocError> {
        let bytes = guarded(|| Ok(self.automerge.save()))?;
        if Self::from_snapshot(&bytes)?.heads() == self.heads() { Ok(bytes) } else { Err(DocError::Snapshot) }
    }

    /// The bytes of a change and of all that it depends on, dependencies first.
    ///
    /// # Errors
    /// When it is not here.
    pub(crate) fn closure(&self, of: ChangeHash) -> Result<Vec<Vec<u8>>, DocError> {
        self.past(&[of])
    }

    /// The bytes of some changes and of all that they depend on, dependencies first.
    fn past(&self, heads: &[ChangeHash]) -> Result<Vec<Vec<u8>>, DocError> {
        let mut wanted = std::collections::BTreeSet::new();
        let mut open = hashes_of(heads);
        while let Some(hash) = open.pop() {
            if wanted.insert(hash) {
                let change = self.automerge.get_change_by_hash(&hash).ok_or(DocError::MissingDependency)?;
                open.extend_from_slice(change.deps());
            }
        }
        let changes = self.automerge.get_changes(&[]).into_iter();
        Ok(changes.filter(|change| wanted.contains(&change.hash())).map(|change| change.raw_bytes().to_vec()).collect())
    }

    /// Whether every hash names a change of this document.
    #[must_use]
    pub fn has(&self, hashes: &[ChangeHash]) -> bool {
        hashes.iter().all(|hash| self.automerge.get_change_meta_by_hash(&hash_of(*hash)).is_some())
    }
}

fn decode(bytes: &[u8]) -> Result<Change, DocError> {
    guarded(|| Change::from_bytes(bytes.to_vec()).map_err(|error| DocError::Automerge(error.to_string())))
}

const fn hash_of(hash: ChangeHash) -> automerge::ChangeHash {
    automerge::ChangeHash(hash.0)
}

fn hashes_of(hashes: &[ChangeHash]) -> Vec<automerge::ChangeHash> {
    hashes.iter().map(|hash| hash_of(*hash)).collect()
}

fn actor_of(replica: ReplicaId) -> ActorId {
    ActorId::from(replica.0)
}

/// A failure of Automerge that a test plants, for none is known that the door lets through.
#[cfg(any(test, feature = "probes"))]
pub mod probe {
    use std::cell::Cell;

    use crate::ids::ChangeHash;

    thread_local! {
        static PANICS: Cell<Option<ChangeHash>> = const { Cell::new(None) };
    }

    /// From now on, applying this change panics in this thread; none does any more without one.
    pub fn panic_on(change: Option<ChangeHash>) {
        PANICS.set(change);
    }

    pub(super) fn meet(changes: &[automerge::Change]) {
        let planted = PANICS.get();
        assert!(!changes.iter().any(|change| Some(ChangeHash(change.hash().0)) == planted), "a planted failure");
    }
}

#[cfg(test)]
mod meeting;

#[cfg(test)]
pub(crate) mod testing {
    use super::{
        Change,
        entry::{EntryOp, RootContent, RootSpec},
        text::Splice,
    };
    use crate::{
        doc::{Document, promotion},
        ids::{ReplicaId, SpaceId},
        preflight::ChangeHead,
    };

    /// Changes that Automerge wrote, each with what Automerge says about it.
    pub(crate) fn sample_changes() -> Vec<(Vec<u8>, ChangeHead)> {
        let spec = RootSpec::file(SpaceId([1; 32]), None, "a.txt", RootContent::Inline(b"one\ntwo\n".to_vec()));
        let root = spec.build();
        let promoted = promotion::of_root(&root.bytes).expect("is text");
        let mut document = Document::from_changes([&root.bytes, &promoted.bytes]).expect("opens");
        let at = document.heads();
        let splice = Splice { at: 4, delete: 3, insert: "zwei ünd".into() };
        let edit = document.edit(ReplicaId([9; 16]), &at, &[EntryOp::Splice(vec![splice])]).expect("edits");
        [root.bytes, promoted.bytes, edit.bytes]
            .into_iter()
            .map(|bytes| {
                let change = Change::from_bytes(bytes.clone()).expect("decodes");
                let head = ChangeHead {
                    hash: crate::ids::ChangeHash(change.hash().0),
                    deps: change.deps().iter().map(|dep| crate::ids::ChangeHash(dep.0)).collect(),
                    actor: change.actor_id().to_bytes().to_vec(),
                    seq: change.seq(),
                    start_op: change.start_op().get(),
                    ops: change.len() as u64,
                    time: change.timestamp(),
                    message: change.message().unwrap_or_default().as_bytes().to_vec(),
                };
                (bytes, head)
            })
            .collect()
    }
}
