//! A folder on disk and its documents: disk into documents, documents onto disk.
//!
//! Three states of each entry are compared: the disk as a scan sees it, the tree that the documents make, and the
//! [`Base`], on which the two last agreed. The pure parts are [`local`] (disk against base: what did the user do?) and
//! [`plan`] (tree against base: what is to be done?); [`observe`] looks, [`ingest`] turns what the user did into edits,
//! [`mounts`] knows which parts stand still because their file system is away,
//! [`unite`] tells what would become of a directory that has files when it joins,
//! [`apply`] writes, checking each path against the base at the last moment, and `recover` finds its way after a crash. [`Fs`] is the disk, [`disk`] the real one.
//! [`rounds`] joins them all: it reads documents, submits edits and keeps the base in the store, by way of its host.
//!
//! Nothing here knows the engine or a task, or reads a clock: that is the host's.
//! No base, or a file that cannot be read, never means "deleted".

pub mod apply;
mod base;
pub mod disk;
mod fs;
mod ignored;
pub mod ingest;
pub mod local;
pub mod mounts;
pub mod observe;
pub mod plan;
pub mod rails;
mod recover;
pub mod rounds;
pub mod stale;
pub mod unite;

use std::collections::BTreeMap;

pub use base::Base;
pub use fs::{Fault, FileRead, FileWrite, Found, FoundKind, Fs, FsError, Listed, find_folds};
pub use ignored::Ignored;
pub use recover::Noted;

use crate::{
    doc::entry::{Entry, Kind},
    ids::{ChangeHash, DocId},
    tree::{Folds, RelPath, View},
};

/// All entries of a space as the folder's host last read them, and the tree that they make.
#[derive(Debug, Default)]
pub struct Documents {
    entries: BTreeMap<DocId, Entry>,
    heads: BTreeMap<DocId, Vec<ChangeHash>>,
    view: View,
    folds: Folds,
    stale: bool,
}

impl Documents {
    /// Takes an entry in as read at some heads.
    pub fn set(&mut self, doc: DocId, heads: Vec<ChangeHash>, entry: Entry) {
        let same_place = self.entries.get(&doc).is_some_and(|old| same_place(old, &entry));
        self.stale |= !same_place;
        self.entries.insert(doc, entry);
        self.heads.insert(doc, heads);
    }

    /// Sets what some member's disk does not tell apart in names.
    pub fn set_folds(&mut self, folds: Folds) {
        self.stale |= self.folds != folds;
        self.folds = folds;
    }

    /// Computes the tree again if an entry changed its place, its life or its conflicts. Says whether it did.
    pub fn refresh(&mut self) -> bool {
        let stale = std::mem::take(&mut self.stale);
        if stale {
            self.view = View::of(&self.entries, self.folds);
        }
        stale
    }

    /// An entry's registers.
    #[must_use]
    pub fn entry(&self, doc: &DocId) -> Option<&Entry> {
        self.entries.get(doc)
    }

    /// Where directories were when they were deleted.
    pub fn deleted_dirs(&self) -> impl Iterator<Item = (Option<DocId>, &str)> {
        let deleted = self.entries.values().filter(|entry| entry.kind == Kind::Dir && !entry.alive);
        deleted.map(|entry| (entry.parent, entry.name.as_str()))
    }

    /// The heads that an entry was read at.
    #[must_use]
    pub fn heads(&self, doc: &DocId) -> Option<&[ChangeHash]> {
        self.heads.get(doc).map(Vec::as_slice)
    }

    /// The tree as of the last refresh.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }
}

fn same_place(old: &Entry, new: &Entry) -> bool {
    old.kind == new.kind
        && old.parent == new.parent
        && old.name == new.name
        && old.alive == new.alive
        && old.lost_place == new.lost_place
        && old.lost_contents == new.lost_contents
        && old.parent_stamp == new.parent_stamp
}

/// A path that cannot be synced, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub path: RelPath,
    /// Why, for people.
    pub reason: String,
}
