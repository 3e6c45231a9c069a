//! The base: for each entry, the state on which disk and documents last agreed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    doc::entry::Kind,
    ids::{ContentHash, DocId},
    store::row::{BaseRow, Stat},
    tree::{Folds, Place, RelPath},
};

/// What is on disk in one directory, by name.
type Siblings = BTreeMap<String, (DocId, Arc<BaseRow>)>;

/// The base of one folder in memory, the same as in the store. Rows name directories by document, so a directory of any
/// size moves with one row.
#[derive(Debug, Default)]
pub struct Base {
    rows: BTreeMap<DocId, Arc<BaseRow>>,
    /// With the rows: a scan asks for those of one directory after another, and to find each by its id would cost more
    /// than the look at the disk.
    children: BTreeMap<Option<DocId>, Siblings>,
    folds: Folds,
    /// The same by what names have in common on a disk that folds them; empty on others.
    folded: BTreeMap<Option<DocId>, BTreeMap<String, BTreeSet<DocId>>>,
    by_hash: BTreeMap<ContentHash, Vec<DocId>>,
    /// Device number of the root, where it is known.
    root_device: Option<u64>,
    /// Entries that are not in their directories for a while, and what is in them with them.
    aside: BTreeSet<DocId>,
    /// Entries whose place another one has taken since, and that are not known to have gone elsewhere yet.
    ousted: BTreeSet<DocId>,
    files: usize,
    bytes: u64,
}

impl Base {
    /// Sets what the disk does not tell apart in names.
    pub fn set_folds(&mut self, folds: Folds) {
        self.folds = folds;
        self.folded.clear();
        let hooked = self.children.iter().filter(|_| folds.any()).flat_map(|(dir, siblings)| {
            siblings.iter().map(move |(name, (doc, _))| (*dir, folds.key(name).into_owned(), *doc))
        });
        for (dir, key, doc) in hooked {
            self.folded.entry(dir).or_default().entry(key).or_default().insert(doc);
        }
    }

    /// The base from its rows.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = (DocId, BaseRow)>) -> Self {
        let mut base = Self::default();
        for (doc, row) in rows {
            base.set(doc, Some(row));
        }
        base
    }

    /// Sets the device number of the root.
    pub const fn set_root_device(&mut self, device: u64) {
        self.root_device = Some(device);
    }

    /// Device number of the root, where it is known.
    #[must_use]
    pub const fn root_device(&self) -> Option<u64> {
        self.root_device
    }

    /// Sets or forgets a row.
    pub fn set(&mut self, doc: DocId, row: Option<BaseRow>) {
        let old = self.rows.remove(&doc);
        if let Some(old) = &old {
            self.unhook(&doc, old);
            if let Some(docs) = self.by_hash.get_mut(&old.hash) {
                docs.retain(|held| *held != doc);
                if docs.is_empty() {
                    self.by_hash.remove(&old.hash);
                }
            }
            if let (Kind::File, Some(stat)) = (old.kind, old.stat) {
                self.files -= 1;
                self.bytes -= stat.size;
            }
        }
        let Some(row) = row.map(Arc::new) else {
            self.aside.remove(&doc);
            return;
        };
        if let Some(stat) = row.stat {
            // What lost its place to another one, and is still to go elsewhere, does not take it back by what else is noted.
            let keeps_place = old.is_some_and(|old| (old.parent, &old.name) == (row.parent, &row.name));
            let lost_place = keeps_place && self.child(row.parent, &row.name).is_some();
            if lost_place {
                self.ousted.insert(doc);
            } else if !self.aside.contains(&doc) {
                self.hook(doc, &row);
            }
            if row.kind == Kind::File {
                self.by_hash.entry(row.hash).or_default().push(doc);
                self.files += 1;
                self.bytes += stat.size;
            }
        }
        self.rows.insert(doc, row);
    }

    /// Takes an entry out of its directory, with everything in it: until it is put somewhere again, it is not missing there
    /// and in nobody's way.
    pub fn put_aside(&mut self, doc: DocId) {
        if let Some(row) = self.rows.remove(&doc) {
            self.unhook(&doc, &row);
            self.rows.insert(doc, row);
        }
        self.aside.insert(doc);
    }

    fn hook(&mut self, doc: DocId, row: &Arc<BaseRow>) {
        let siblings = self.children.entry(row.parent).or_default();
        let before = siblings.insert(row.name.clone(), (doc, Arc::clone(row)));
        self.ousted.extend(before.map(|(other, _)| other).filter(|other| *other != doc));
        if self.folds.any() {
            let key = self.folds.key(&row.name).into_owned();
            self.folded.entry(row.parent).or_default().entry(key).or_default().insert(doc);
        }
    }

    fn unhook(&mut self, doc: &DocId, row: &BaseRow) {
        self.ousted.remove(doc);
        if let Some(siblings) = self.children.get_mut(&row.parent)
            && siblings.get(&row.name).is_some_and(|(held, _)| held == doc)
        {
            siblings.remove(&row.name);
        }
        if let Some(siblings) = self.folded.get_mut(&row.parent)
            && let Some(docs) = siblings.get_mut(&*self.folds.key(&row.name))
            && docs.remove(doc)
            && docs.is_empty()
        {
            siblings.remove(&*self.folds.key(&row.name));
        }
    }

    /// Puts an entry that was aside into the directory that its next row names.
    pub fn bring_back(&mut self, doc: &DocId) {
        self.aside.remove(doc);
    }

    /// Whether an entry is out of its directory.
    #[must_use]
    pub fn is_aside(&self, doc: &DocId) -> bool {
        self.aside.contains(doc)
    }

    /// The row of an entry; it may hold an intent only.
    #[must_use]
    pub fn row(&self, doc: &DocId) -> Option<&BaseRow> {
        self.rows.get(doc).map(Arc::as_ref)
    }

    /// The row and last look of an entry that is on disk.
    #[must_use]
    pub fn on_disk(&self, doc: &DocId) -> Option<(&BaseRow, Stat)> {
        let row = self.rows.get(doc)?;
        Some((row, row.stat?))
    }

    /// All rows by id.
    pub fn rows(&self) -> impl Iterator<Item = (&DocId, &BaseRow)> {
        self.rows.iter().map(|(doc, row)| (doc, row.as_ref()))
    }

    /// What is on disk in a directory.
    pub fn children(&self, dir: Option<DocId>) -> impl Iterator<Item = (&String, &DocId)> {
        self.known(dir).map(|(name, doc, _)| (name, doc))
    }

    /// The same with their rows.
    pub fn known(&self, dir: Option<DocId>) -> impl Iterator<Item = (&String, &DocId, &BaseRow)> {
        let children = self.children.get(&dir).into_iter().flatten();
        children.map(|(name, (doc, row))| (name, doc, row.as_ref()))
    }

    /// What is on disk under a name of a directory.
    #[must_use]
    pub fn child(&self, dir: Option<DocId>, name: &str) -> Option<DocId> {
        Some(self.children.get(&dir)?.get(name)?.0)
    }

    /// Entries of a directory that were somewhere when they were last seen where another one was seen since: they are not
    /// there any more.
    pub fn ousted(&self, dir: Option<DocId>) -> impl Iterator<Item = (DocId, &BaseRow)> {
        let rows = self.ousted.iter().filter_map(|doc| Some((*doc, self.row(doc)?)));
        rows.filter(move |(_, row)| row.parent == dir)
    }

    /// Whether another entry was seen since where this one was.
    #[must_use]
    pub fn is_ousted(&self, doc: &DocId) -> bool {
        self.ousted.contains(doc)
    }

    /// What this disk does not tell apart in names.
    #[must_use]
    pub const fn folds(&self) -> Folds {
        self.folds
    }

    /// What is on disk in a directory under names that are this one for the disk.
    #[must_use]
    pub fn namesakes(&self, dir: Option<DocId>, name: &str) -> Vec<DocId> {
        if !self.folds.any() {
            return self.child(dir, name).into_iter().collect();
        }
        let docs = self.folded.get(&dir).and_then(|siblings| siblings.get(&*self.folds.key(name)));
        docs.into_iter().flatten().copied().collect()
    }

    /// Whether an entry on disk is to get another name that is the same one for the disk.
    #[must_use]
    pub fn is_respelled(&self, row: &BaseRow, place: &Place) -> bool {
        self.folds.any()
            && (row.parent == place.parent && row.name != place.name)
            && self.folds.key(&row.name) == self.folds.key(&place.name)
    }

    /// The path of an entry on disk.
    #[must_use]
    pub fn path_of(&self, doc: &DocId) -> Option<RelPath> {
        let mut components = Vec::new();
        let mut next = Some(*doc);
        while let Some(doc) = next {
            let row = self.rows.get(&doc)?;
            components.push(row.name.clone());
            next = row.parent;
            if components.len() > crate::limits::TREE_DEPTH_MAX + 1 {
                return None;
            }
        }
        components.reverse();
        Some(RelPath::from_components(components))
    }

    /// The path of a directory on disk; the root for `None`.
    #[must_use]
    pub fn dir_path(&self, dir: Option<DocId>) -> Option<RelPath> {
        dir.map_or_else(|| Some(RelPath::root()), |dir| self.path_of(&dir))
    }

    /// The entry at a path.
    #[must_use]
    pub fn at(&self, path: &RelPath) -> Option<DocId> {
        let mut at = None;
        for component in path.components() {
            at = Some(self.child(at, component)?);
        }
        at
    }

    /// Files that held these bytes when they were last seen.
    #[must_use]
    pub fn with_hash(&self, hash: &ContentHash) -> &[DocId] {
        self.by_hash.get(hash).map_or(&[], Vec::as_slice)
    }

    /// An entry and everything under it on disk.
    #[must_use]
    pub fn subtree(&self, doc: DocId) -> Vec<DocId> {
        let mut all = vec![doc];
        let mut next = 0;
        while let Some(doc) = all.get(next).copied() {
            all.extend(self.children(Some(doc)).map(|(_, child)| *child));
            next += 1;
        }
        all
    }

    /// How many files are on disk, and their bytes.
    #[must_use]
    pub const fn totals(&self) -> (usize, u64) {
        (self.files, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lost_a_place_does_not_take_it_back_and_leaves_it_to_the_other() {
        let doc = |id: u8| DocId([id; 32]);
        let stat = |inode| Stat { size: 1, mtime_ns: 1, ctime_ns: 1, btime_ns: 1, inode, device: 1, exec: false };
        let row = |name: &str, inode| BaseRow {
            kind: Kind::File,
            parent: None,
            name: name.into(),
            heads: vec![],
            hash: ContentHash([0; 32]),
            stat: Some(stat(inode)),
            intent: None,
            racy: false,
        };
        let mut base = Base::new([(doc(1), row("f", 1))]);
        // Its user moved it and made another one there, which is noted first; then that the first is about to move.
        base.set(doc(2), Some(row("f", 2)));
        base.set(doc(1), Some(BaseRow { racy: true, ..row("f", 1) }));
        assert_eq!(base.child(None, "f"), Some(doc(2)));
        assert_eq!(base.ousted(None).map(|(doc, _)| doc).collect::<Vec<_>>(), [doc(1)]);
        base.set(doc(1), Some(row("g", 1)));
        assert_eq!(base.ousted(None).count(), 0);
        assert_eq!((base.child(None, "f"), base.child(None, "g")), (Some(doc(2)), Some(doc(1))));
    }
}
