//! What must hold once a device has come to rest after a power cut.

use std::{collections::BTreeMap, path::PathBuf};

use sync_core::{
    doc::entry::Kind,
    folder::{Fs as _, Ignored, disk::temp_dir},
    ids::{ContentHash, DocId},
    tree::{Folds, RelPath, View},
};

use super::{pair::Pair, remote::hash_of};
use crate::{
    author,
    disk::Seen,
    sim::{
        check::{has_all_lines, history},
        fs::Saved,
    },
};

/// Rounds after a rescan in which nothing may happen.
const QUIET_ROUNDS: u32 = 3;
const QUIET_MS: i64 = 2_500;

/// All of it.
///
/// # Panics
/// When something does not hold.
pub(super) fn check(pair: &mut Pair, saved: &[Saved]) {
    let hashes = tree_and_disk_agree(pair);
    base_and_tree_agree(pair, &hashes);
    no_temporary_file_is_left(pair);
    no_user_byte_is_lost(pair, saved);
    a_rescan_plans_nothing(pair);
}

/// The disk shows the tree and nothing else. Gives the hash of each file that the tree shows.
fn tree_and_disk_agree(pair: &Pair) -> BTreeMap<DocId, ContentHash> {
    let entries = author::entries(&pair.remote, &pair.space).expect("the peer's documents open");
    let engine = &pair.device.process.as_ref().expect("runs").engine;
    let own = author::entries(engine, &pair.space).expect("the device's documents open");
    assert_eq!(own, entries, "entries of the device and of its peer");
    let view = View::of(&entries, Folds::NONE);
    let (mut wanted, mut hashes) = (BTreeMap::new(), BTreeMap::new());
    for (doc, _) in view.places() {
        let entry = &entries[doc];
        let path = PathBuf::from(view.path_of(doc).expect("is shown").to_string());
        let shown = match entry.kind {
            Kind::Dir => Shown::Dir,
            Kind::Link => Shown::Link(entry.target.clone().unwrap_or_default()),
            Kind::File => {
                let hash = hash_of(pair, *doc, entry).expect("a file has a content");
                hashes.insert(*doc, hash);
                Shown::File(hash, entry.exec)
            }
        };
        wanted.insert(path, shown);
    }
    let rules = Ignored::default();
    let ignored = |path: &PathBuf, seen: &Seen| {
        let names = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
        rules.covers(&RelPath::from_components(names.collect()), *seen == Seen::Dir)
    };
    let mut found = pair.device.fs.tree();
    found.retain(|path, seen| !ignored(path, seen));
    let found: BTreeMap<PathBuf, Shown> = found.into_iter().map(|(path, seen)| (path, seen.into())).collect();
    for (path, shown) in &wanted {
        assert_eq!(found.get(path), Some(shown), "{path:?} on the disk, and in the tree");
    }
    if let Some((path, shown)) = found.iter().find(|(path, _)| !wanted.contains_key(*path)) {
        panic!("{path:?} is on the disk and not in the tree: {shown:?}");
    }
    hashes
}

/// What a path shows, as far as an entry says it.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Dir,
    File(ContentHash, bool),
    Link(String),
}

impl From<Seen> for Shown {
    fn from(seen: Seen) -> Self {
        match seen {
            Seen::Dir => Self::Dir,
            Seen::File(hash, _, exec) => Self::File(ContentHash(hash), exec),
            Seen::Link(target) => Self::Link(target.to_string_lossy().into_owned()),
        }
    }
}

/// The base has what the tree shows, at the heads that the documents have, in memory as in the store.
fn base_and_tree_agree(pair: &Pair, hashes: &BTreeMap<DocId, ContentHash>) {
    let process = pair.device.process.as_ref().expect("runs");
    let entries = author::entries(&pair.remote, &pair.space).expect("the peer's documents open");
    let documents = author::documents(&pair.remote, &pair.space).expect("the peer's store reads");
    let view = View::of(&entries, Folds::NONE);
    let base = process.base.lock().expect("nobody panicked with it");
    for (doc, place) in view.places() {
        let (row, _) = base.on_disk(doc).unwrap_or_else(|| panic!("{place:?} is not in the base"));
        assert_eq!((row.parent, &row.name), (place.parent, &place.name), "where the base has it");
        assert_eq!(row.heads, documents[doc].heads, "heads in the base of {place:?}");
        assert_eq!(row.intent, None, "an intent is left for {place:?}");
        if let Some(hash) = hashes.get(doc) {
            assert_eq!(row.hash, *hash, "hash in the base of {place:?}");
        }
    }
    let rest = base.rows().find(|(doc, row)| row.stat.is_some() && view.place_of(doc).is_none());
    assert_eq!(rest, None, "the base has what the tree does not show");
    let snapshot = process.engine.store().read().expect("the store reads");
    let (folder, _) = snapshot.folders().expect("the store reads").remove(0);
    let stored: BTreeMap<DocId, _> = snapshot.bases(folder).expect("the store reads").into_iter().collect();
    let held: BTreeMap<DocId, _> = base.rows().map(|(doc, row)| (*doc, row.clone())).collect();
    assert_eq!(stored, held, "the base in the store and in memory");
}

fn no_temporary_file_is_left(pair: &Pair) {
    let left = pair.device.fs.list(&temp_dir()).expect("the directory of temporary files is there");
    assert!(left.is_empty(), "temporary files are left: {left:?}");
}

/// What users had saved, and had not let go of, is in a file, in what was kept, or in history; of a text that was merged
/// before it was alone in history, all lines are together in one of these.
fn no_user_byte_is_lost(pair: &Pair, saved: &[Saved]) {
    let engine = &pair.device.process.as_ref().expect("runs").engine;
    let snapshot = engine.store().read().expect("the store reads");
    let mut held = history(snapshot, engine.space_handle(&pair.space).expect("is in the space")).expect("opens");
    held.extend(pair.device.fs.contents().iter().map(|bytes| (ContentHash::of(bytes), bytes.to_vec())));
    for saved in saved.iter().filter(|saved| saved.ended_ns.is_none() && !saved.excused && !saved.nameless) {
        let is_held = held.contains_key(&ContentHash::of(&saved.bytes))
            || held.values().any(|other| has_all_lines(other, &saved.bytes));
        assert!(is_held, "{}, {} bytes, is lost: {:?}", saved.path, saved.bytes.len(), shown(&saved.bytes));
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(200).collect()
}

/// Looking at everything again makes no commit and writes nothing.
fn a_rescan_plans_nothing(pair: &mut Pair) {
    let rounds = pair.device.process.as_mut().and_then(|process| process.rounds.as_mut());
    rounds.expect("runs").rescan();
    let before = (pair.arrivals(), pair.device.fs.writes().len());
    for _ in 0..QUIET_ROUNDS {
        pair.tick(QUIET_MS);
        pair.round();
    }
    assert_eq!(pair.arrivals(), before.0, "a rescan makes commits");
    let writes = pair.device.fs.writes();
    let write = writes[before.1..].iter().find(|write| !write.is_ours());
    assert_eq!(write, None, "a rescan writes");
}
