//! What a folder makes of whatever its disk shows, case by case of docs/folder-semantics.md: a real disk and a real engine,
//! the rounds driven by hand, so that a look can come at any moment of a save.
//!
//! Two disks, a network and a watcher are in `folder_cases`.

mod contents;
mod editors;
mod ignoring;
mod links;
mod names;
mod places;
mod unwritten;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sync_core::{
    commit::Item,
    doc::entry::{Content, Entry, EntryOp, RootContent, RootSpec},
    folder::rounds::host::Host as _,
    ids::{ContentHash, DocId},
    store::Edit,
    tree::{Folds, RelPath, View},
};
use sync_tests::{
    author,
    disk::{Seen, tree},
};

use crate::rounds::Folder;

impl Folder {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As the user does, with any bytes and in any directory.
    fn put(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("is in the folder")).expect("makes");
        fs::write(path, bytes).expect("writes");
        self.hint(name);
    }

    /// The folder hears of these paths and comes to rest.
    fn look_at(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.hint(name));
        self.rest();
    }

    /// A full scan, to which nobody gave a hint.
    fn scan(&mut self) {
        self.rounds.rescan();
        self.device.settled = None;
        self.calm();
    }

    /// Commits that the space has.
    fn commits(&self) -> u64 {
        self.device.space().expect("is in the space").arrivals
    }

    fn entries(&self) -> BTreeMap<DocId, Entry> {
        author::entries(&self.device.engine, &self.device.space).expect("reads")
    }

    fn doc(&self, path: &str) -> DocId {
        let view = View::of(&self.entries(), Folds::NONE);
        view.at(&RelPath::parse(path).expect("a path of a test"))
            .unwrap_or_else(|| panic!("nothing is shown at {path}"))
    }

    fn content(&self, path: &str) -> Content {
        self.entries()[&self.doc(path)].content.clone().expect("is a file")
    }

    /// Changes that a file's document has.
    fn changes(&self, doc: DocId) -> u32 {
        author::documents(&self.device.engine, &self.device.space).expect("reads")[&doc].changes
    }

    /// What the documents say stands where, in words that [`on_disk`] has too.
    fn shown(&self) -> BTreeMap<String, String> {
        let entries = self.entries();
        let view = View::of(&entries, Folds::NONE);
        let placed = view.places().map(|(doc, _)| {
            let entry = &entries[doc];
            let hash = match &entry.content {
                Some(Content::Inline(bytes)) => Some(ContentHash::of(bytes)),
                Some(Content::Reference(content)) => Some(content.hash),
                Some(Content::Text) => author::text(&self.device.engine, &self.device.space, *doc)
                    .expect("reads")
                    .map(|text| ContentHash::of(text.as_bytes())),
                None => None,
            };
            let seen = match (hash, &entry.target) {
                (Some(hash), _) => format!("{hash} {}", entry.exec),
                (None, Some(target)) => format!("-> {target}"),
                (None, None) => "a directory".to_owned(),
            };
            (view.path_of(doc).expect("has a place").to_string(), seen)
        });
        placed.collect()
    }

    /// Disk and documents say the same, but for these paths; and a scan finds nothing to do.
    #[track_caller]
    fn agrees_but_for(&mut self, but: &[&str]) {
        let on_disk = |folder: &Self| {
            let mut on_disk = on_disk(folder.dir.path());
            on_disk.retain(|path, _| !but.contains(&path.as_str()));
            on_disk
        };
        let mut shown = self.shown();
        shown.retain(|path, _| !but.contains(&path.as_str()));
        let found = on_disk(self);
        assert_eq!(found, shown);
        let commits = self.commits();
        self.scan();
        assert_eq!((self.commits(), on_disk(self)), (commits, found), "a scan plans nothing");
    }

    #[track_caller]
    fn agrees(&mut self) {
        self.agrees_but_for(&[]);
        assert_eq!(self.problems(), Vec::<String>::new());
    }

    /// Paths that have a problem.
    fn problems(&self) -> Vec<String> {
        self.rounds.report().problems.iter().map(|problem| problem.path.to_string()).collect()
    }

    /// As a peer does: a new entry.
    fn make_elsewhere(&mut self, spec: &RootSpec) -> DocId {
        let root = spec.build();
        let doc = DocId::from(root.hash);
        self.commit_elsewhere(doc, Item::change(doc, root.bytes));
        doc
    }

    fn file_elsewhere(&mut self, parent: Option<DocId>, name: &str, text: &str) -> DocId {
        let content = RootContent::Inline(text.as_bytes().to_vec());
        self.make_elsewhere(&RootSpec::file(self.device.space, parent, name, content))
    }

    /// A commit of which the folder does not hear.
    fn edit_unheard(&mut self, doc: DocId, text: &str) {
        let items = author::write(&self.device.engine, &self.device.space, doc, text).expect("edits");
        self.device.edit(vec![Edit { items, writes: Vec::new() }]).expect("the engine runs");
    }

    /// As a peer does: moves, renames, deletes.
    fn change_elsewhere(&mut self, doc: DocId, ops: &[EntryOp]) {
        let item = author::change(&self.device.engine, &self.device.space, doc, ops).expect("edits");
        self.commit_elsewhere(doc, item.expect("changes something"));
    }

    fn commit_elsewhere(&mut self, doc: DocId, item: Item) {
        self.device.edit(vec![Edit { items: vec![item], writes: Vec::new() }]).expect("the engine runs");
        self.rounds.documents_changed([doc]);
        self.device.settled = None;
    }
}

/// What stands where in a directory.
fn on_disk(root: &Path) -> BTreeMap<String, String> {
    let words = |seen: &Seen| match seen {
        Seen::Dir => "a directory".to_owned(),
        Seen::File(hash, _, exec) => format!("{} {exec}", ContentHash(*hash)),
        Seen::Link(target) => format!("-> {}", target.display()),
    };
    tree(root).iter().map(|(path, seen)| (path.to_string_lossy().into_owned(), words(seen))).collect()
}
