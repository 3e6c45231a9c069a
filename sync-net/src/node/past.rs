//! What people ask of the past: a folder's history opened, states named, logs. Reads the store on threads of its own, and
//! changes nothing.

use std::{cmp::Reverse, collections::BTreeMap};

use sync_core::{
    commit::{Body, BodyKind, Item},
    doc::entry::{Entry, Kind},
    folder::ingest::kind_word,
    history::{
        Library, Shelf,
        log::{Deed, Held, Touch},
        past::{Candidate, Past, Standing},
        point::{Point, RevError},
    },
    ids::{ChangeHash, CommitHash, DeviceId, DocId, SpaceId},
    limits,
    member::MemberOp,
    preflight::ChangeHead,
    store::{StoreError, row::DocRow},
    tree::RelPath,
};

use super::{Node, lock};
use crate::{
    error::{HistoryFault, NodeError},
    folder::FolderHandle,
    history::{Author, Change, Commit, Did, Kept, Log, When},
};

/// A folder's history as of one committed turn.
pub(super) struct Opened {
    pub(super) folder: u32,
    pub(super) name: String,
    pub(super) space: SpaceId,
    pub(super) handle: u32,
    pub(super) library: Library,
    pub(super) now: Past,
    now_ms: u64,
    authors: BTreeMap<u32, Author>,
}

/// An entry as it was.
#[derive(Clone)]
pub(super) struct Then {
    pub(super) doc: DocId,
    pub(super) row: DocRow,
    pub(super) heads: Vec<ChangeHash>,
    pub(super) entry: Entry,
    /// Where it was.
    pub(super) path: RelPath,
}

/// A point, and the commit that it is of.
pub(super) struct At {
    pub(super) point: Point,
    pub(super) commit: Option<CommitHash>,
}

/// Reads a path that came from outside.
pub(super) fn parse_path(path: &str) -> Result<RelPath, NodeError> {
    let parsed = RelPath::parse(path).filter(|path| !path.is_root());
    parsed.ok_or_else(|| HistoryFault::Path(path.to_owned()).into())
}

/// Runs work that reads much on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NodeError> + Send + 'static,
) -> Result<T, NodeError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| NodeError::Stopped)?
}

/// How many commits a page of a log has.
fn page(asked: Option<usize>) -> usize {
    asked.unwrap_or(limits::LOG_COMMITS).min(limits::LOG_COMMITS_MAX)
}

impl Node {
    /// What changed in a folder, or at one path of it: at most so many commits, newest first.
    ///
    /// # Errors
    /// When there is no such folder, or nothing was ever at that path.
    pub async fn log(&self, folder: &str, path: Option<&str>, most: Option<usize>) -> Result<Log, NodeError> {
        let most = page(most);
        let path = path.map(parse_path).transpose()?;
        let (node, folder) = (self.clone(), folder.to_owned());
        blocking(move || {
            let mut opened = node.open_past(&folder)?;
            match path {
                Some(path) => {
                    let kept = node.kept_under(opened.folder, &path)?;
                    Ok(Log { kept, ..opened.log_of(&path, most)? })
                }
                None => opened.log_of_all(most),
            }
        })
        .await
    }

    /// What is kept of a path, and of what was under it, on this device only.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn kept(&self, folder: &str, path: &str) -> Result<Vec<Kept>, NodeError> {
        let path = RelPath::parse(path).ok_or_else(|| HistoryFault::Path(path.to_owned()))?;
        self.kept_under(self.find(folder)?, &path)
    }

    /// Opens a folder's history.
    pub(super) fn open_past(&self, folder: &str) -> Result<Opened, NodeError> {
        let handle = self.find(folder)?;
        let (space, name) = self.with_folder(handle, |held| (held.space(), held.row.name.clone()))?;
        let (space_handle, _) = self.space_row(&space)?;
        let snapshot = self.0.engine.store.read()?;
        let names = self.member_names(&space);
        let authors = snapshot.replicas(space_handle)?.into_iter().map(|(replica, row)| {
            let here = row.device == self.0.own;
            let name = if here { Some(&self.0.name) } else { names.get(&row.device) };
            let name = name.cloned().unwrap_or_else(|| row.device.short());
            (replica, Author { device: row.device.to_string(), name, here })
        });
        let authors = authors.collect();
        let mut library = Library::new(snapshot, space_handle, Shelf::default());
        let now = Past::now(&mut library)?;
        let now_ms = self.0.clock.now().wall_ms;
        Ok(Opened { folder: handle, name, space, handle: space_handle, library, now, now_ms, authors })
    }

    fn member_names(&self, space: &SpaceId) -> BTreeMap<DeviceId, String> {
        let status = self.0.engine.status().borrow().clone();
        let found = status.spaces.iter().find(|held| held.space == *space);
        found.into_iter().flat_map(|space| &space.peers).map(|peer| (peer.device, peer.name.clone())).collect()
    }

    pub(super) fn with_folder<T>(&self, folder: u32, work: impl FnOnce(&FolderHandle) -> T) -> Result<T, NodeError> {
        lock(&self.0.running).get(&folder).map(work).ok_or(NodeError::Stopped)
    }

    pub(super) fn kept_under(&self, folder: u32, path: &RelPath) -> Result<Vec<Kept>, NodeError> {
        let kept = self.with_folder(folder, |held| held.shared.kept.under(path))?;
        let shown = kept.into_iter().map(|kept| Kept {
            path: kept.path,
            hash: kept.hash.to_string(),
            bytes: kept.len,
            at_ms: kept.kept_ms,
            until_ms: kept.kept_ms + limits::KEEP_MS,
        });
        Ok(shown.collect())
    }
}

impl Opened {
    pub(super) fn author(&self, replica: u32) -> Author {
        let unknown = || Author { device: String::new(), name: "unknown".into(), here: false };
        self.authors.get(&replica).cloned().unwrap_or_else(unknown)
    }

    pub(super) fn commit(&self, touch: &Touch) -> Commit {
        let by = self.author(touch.replica);
        Commit { rev: touch.commit.to_string(), at_ms: touch.wall_ms, by, changes: Vec::new(), more: 0 }
    }

    /// Entries that are or were at a path; none is an error.
    pub(super) fn find(&mut self, path: &RelPath) -> Result<Vec<Candidate>, NodeError> {
        let found = self.now.find(&mut self.library, path)?;
        if found.is_empty() { Err(HistoryFault::NoPath(path.to_string()).into()) } else { Ok(found) }
    }

    /// A state that people named.
    pub(super) fn at(&self, when: &When) -> Result<At, NodeError> {
        match when {
            When::AtMs(ms) => {
                let point = Point::at_time(self.library.rows(), self.handle, *ms, self.now_ms)?;
                Ok(At { point, commit: None })
            }
            When::Rev(rev) => match Point::named(self.library.rows(), self.handle, rev) {
                Ok(named) => Ok(At { point: named.point, commit: Some(named.hash) }),
                Err(RevError::Store(error)) => Err(error.into()),
                Err(RevError::Unknown(rev)) => Err(HistoryFault::UnknownRev(rev).into()),
                Err(RevError::Ambiguous { rev, commits }) => {
                    let commits = commits.iter().map(CommitHash::short).collect();
                    Err(HistoryFault::AmbiguousRev { rev, commits }.into())
                }
                Err(error) => Err(HistoryFault::BadRev(format!("{rev} names no state: {error}")).into()),
            },
        }
    }

    /// What was at a path at some point: the entry that the commit changed, if it is one of this path; else what was shown
    /// there; else an entry of this path under the name that it had. A file that the commit changed has what its author
    /// saved: what others had written at the same time may be in the commit's past, and was not on his disk.
    pub(super) fn then(&mut self, path: &RelPath, at: &At) -> Result<Option<(Past, Then)>, NodeError> {
        let found = self.find(path)?;
        let past = Past::at(&mut self.library, &at.point)?;
        let mut choices: Vec<DocId> = Vec::new();
        let mut saved: BTreeMap<DocId, (Vec<ChangeHash>, Entry)> = BTreeMap::new();
        for candidate in &found {
            let Some(row) = self.now.row(&candidate.doc).filter(|_| at.commit.is_some()) else { continue };
            let touches = self.library.touches(row, limits::LOG_COMMITS_MAX)?;
            if let Some(touch) = touches.iter().find(|touch| Some(touch.commit) == at.commit) {
                choices.push(candidate.doc);
                let heads = self.library.authored(row, touch)?;
                let entry = self.library.entry_at(&candidate.doc, row, &heads)?;
                if entry.alive && entry.kind == Kind::File {
                    saved.insert(candidate.doc, (heads, entry));
                }
            }
        }
        choices.extend(past.view().at(path));
        choices.extend(found.iter().map(|candidate| candidate.doc));
        let then = choices.into_iter().find_map(|doc| {
            let (row, path) = (past.row(&doc)?.clone(), past.view().path_of(&doc)?);
            let then = saved.remove(&doc).or_else(|| Some((past.heads(&doc).to_vec(), past.entry(&doc)?.clone())));
            let (heads, entry) = then?;
            Some(Then { doc, row, heads, entry, path })
        });
        Ok(then.map(|then| (past, then)))
    }

    pub(super) fn held(&mut self, then: &Then) -> Result<Held, NodeError> {
        Ok(self.library.held_at(&then.doc, &then.row, &then.heads, &then.entry)?)
    }

    fn log_of(&mut self, path: &RelPath, most: usize) -> Result<Log, NodeError> {
        let found = self.find(path)?;
        let mut docs: Vec<DocId> = found.iter().map(|candidate| candidate.doc).collect();
        if docs.iter().any(|doc| self.now.entry(doc).is_some_and(|entry| entry.kind == Kind::Dir)) {
            docs = self.now.within(&docs);
        }
        let mut by_arrival: BTreeMap<Reverse<u64>, Vec<(Touch, DocId)>> = BTreeMap::new();
        for doc in docs {
            let Some(row) = self.now.row(&doc) else { continue };
            for touch in self.library.touches(row, most + 1)? {
                by_arrival.entry(Reverse(touch.arrival)).or_default().push((touch, doc));
            }
        }
        let more = by_arrival.len() > most;
        let mut commits = Vec::new();
        let mut counted = 0;
        for touches in by_arrival.into_values().take(most) {
            let Some((first, _)) = touches.first() else { continue };
            let mut commit = self.commit(first);
            commit.more = touches.len().saturating_sub(limits::LOG_ENTRIES_MAX) as u64;
            for (touch, doc) in touches.into_iter().take(limits::LOG_ENTRIES_MAX) {
                commit.changes.push(self.change(&doc, &touch, &mut counted)?);
            }
            commits.push(commit);
        }
        let first = found.first();
        Ok(Log {
            folder: self.name.clone(),
            path: Some(path.to_string()),
            standing: first.map(|first| standing_word(first.standing).to_owned()),
            now_at: first.map(|first| self.now.path_of(&first.doc).to_string()),
            commits,
            more,
            kept: Vec::new(),
        })
    }

    pub(super) fn change(&mut self, doc: &DocId, touch: &Touch, counted: &mut usize) -> Result<Change, NodeError> {
        let path = self.now.path_of(doc).to_string();
        let Some(row) = self.now.row(doc) else { return Ok(Change { path, did: Vec::new() }) };
        *counted += 1;
        let deeds = self.library.deeds(doc, row, touch, *counted <= limits::LOG_COUNTED_MAX)?;
        Ok(Change { path, did: deeds.into_iter().map(|deed| self.did(deed)).collect() })
    }

    fn did(&self, deed: Deed) -> Did {
        match deed {
            Deed::Created { kind, len } => Did::Created { kind: kind_word(kind).into(), bytes: len },
            Deed::Edited { lines } => Did::Edited {
                added: lines.map(|(added, _)| added as u64),
                removed: lines.map(|(_, removed)| removed as u64),
            },
            Deed::Replaced { len } => Did::Replaced { bytes: len },
            Deed::Renamed { from } => Did::Renamed { from },
            Deed::Moved { from } => Did::Moved { from: self.now.dir_path(from.as_ref()).to_string() },
            Deed::Exec(on) => Did::Executable { on },
            Deed::Target { from } => Did::Target { from },
            Deed::Deleted => Did::Deleted,
            Deed::Restored => Did::Restored,
            Deed::Kept => Did::Kept,
        }
    }

    fn log_of_all(&mut self, most: usize) -> Result<Log, NodeError> {
        let mut order = self.library.rows().order_back(self.handle, most + 1)?;
        let more = order.len() > most;
        order.truncate(most);
        let mut commits = Vec::new();
        let mut counted = 0;
        for (_, replica, n) in order {
            commits.push(self.whole_commit(replica, n, &mut counted)?);
        }
        let folder = self.name.clone();
        Ok(Log { folder, path: None, standing: None, now_at: None, commits, more, kept: Vec::new() })
    }

    fn whole_commit(&mut self, replica: u32, n: u64, counted: &mut usize) -> Result<Commit, NodeError> {
        let rows = self.library.rows();
        let damaged = || StoreError::Row { table: "body" };
        let row = rows.commit_row(self.handle, replica, n)?.ok_or(StoreError::Row { table: "commit" })?;
        let kind = if row.membership { BodyKind::Membership } else { BodyKind::Changes };
        let body = rows.body(self.handle, replica, n)?;
        let body = Body::decode(&body.unpack().map_err(|_| damaged())?, kind).map_err(|_| damaged())?;
        let mut commit = self.commit(&self.library.bare_touch(replica, n)?);
        let items = match body {
            Body::Membership(ops) => {
                let did = ops.iter().map(|op| Did::Members { text: member_words(op) }).collect();
                commit.changes.push(Change { path: String::new(), did });
                return Ok(commit);
            }
            Body::Changes(items) => items,
        };
        let mut docs: BTreeMap<DocId, Vec<ChangeHash>> = BTreeMap::new();
        for item in items {
            let hash = match &item {
                Item::Change { bytes, .. } => ChangeHead::read(bytes).map_err(|_| damaged())?.hash,
                Item::Promotion { hash, .. } => *hash,
            };
            docs.entry(item.doc()).or_default().push(hash);
        }
        commit.more = docs.len().saturating_sub(limits::LOG_ENTRIES_MAX) as u64;
        for (doc, hashes) in docs.into_iter().take(limits::LOG_ENTRIES_MAX) {
            let Some(row) = self.now.row(&doc) else { continue };
            let touch = self.library.touch_of((replica, n), &doc, row, &hashes)?;
            commit.changes.push(self.change(&doc, &touch, counted)?);
        }
        commit.changes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(commit)
    }
}

pub(super) const fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Here => "here",
        Standing::Gone => "gone",
        Standing::Before => "before",
    }
}

fn member_words(op: &MemberOp) -> String {
    match op {
        MemberOp::Genesis { space_name, .. } => format!("began the folder {space_name}"),
        MemberOp::Invite { role, .. } => format!("made an invite for a {role}"),
        MemberOp::Accept { name, .. } => format!("let {name} in"),
        MemberOp::Disk { folds } => match (folds.case, folds.form) {
            (true, _) => "has a disk that does not tell a from A".to_owned(),
            (false, true) => "has a disk that does not tell forms of an accent apart".to_owned(),
            (false, false) => "has a disk that tells all names apart".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_log_is_as_long_as_asked_up_to_a_bound() {
        assert_eq!(page(None), limits::LOG_COMMITS);
        assert_eq!(page(Some(limits::LOG_COMMITS_MAX)), limits::LOG_COMMITS_MAX);
        assert_eq!(page(Some(limits::LOG_COMMITS_MAX + 1)), limits::LOG_COMMITS_MAX);
    }
}
