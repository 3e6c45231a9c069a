//! The folder's two decisions, each against a model of a disk that does what it is told.

pub mod local;
pub mod plan;

use sync_core::{
    doc::entry::{Entry, Kind},
    ids::{ChangeHash, ContentHash, DocId},
    store::row::{BaseRow, Stat},
    tree::Place,
};

use crate::{
    input::Input,
    tree::{doc, plain, some_name},
};

/// Documents of one input.
const DOCS: usize = 14;

fn stat(inode: u64) -> Stat {
    Stat { size: 1, mtime_ns: 1, ctime_ns: 1, btime_ns: 1, inode, device: 1, exec: false }
}

fn row(kind: Kind, place: &Place, heads: Vec<ChangeHash>, inode: u64) -> BaseRow {
    BaseRow {
        kind,
        parent: place.parent,
        name: place.name.clone(),
        heads,
        hash: ContentHash([0; 32]),
        stat: Some(stat(inode)),
        intent: None,
        racy: false,
    }
}

/// Changes some entries, or makes them: a number of versions an entry, so that each change moves its heads.
fn change_entries(input: &mut Input<'_>, entries: &mut Vec<(DocId, Entry, u8)>, good: bool) {
    for _ in 0..=input.below(12) {
        let index = input.below(DOCS);
        let parent = (!input.one_in(3)).then(|| doc(input.below(DOCS)));
        let Some((_, entry, version)) = entries.get_mut(index) else {
            let kind = *input.of(&[Kind::Dir, Kind::Dir, Kind::File, Kind::Link]);
            let next = doc(entries.len());
            entries.push((next, plain(kind, parent, &some_name(input, good)), 0));
            continue;
        };
        *version = version.wrapping_add(1);
        match input.below(5) {
            0 => entry.alive = !entry.alive,
            1 => entry.name = some_name(input, good),
            2 => {
                let other = input.below(DOCS);
                let taken = entries.get(other).map(|(_, other, _)| (other.parent, other.name.clone()));
                if let (Some((parent, name)), Some((_, entry, _))) = (taken, entries.get_mut(index)) {
                    (entry.parent, entry.name) = (parent, name);
                }
            }
            3 => {
                entry.parent = parent;
                entry.parent_stamp.0 += 1;
            }
            // Another content.
            _ => {}
        }
    }
}
