//! Two versions of a file side by side, and what is on disk beside the newest.

use std::io::Read as _;

use sync_core::{
    doc::{compare, entry::Kind, text::as_text},
    history::{
        log::{Deed, Held},
        past::Standing,
        point::Point,
    },
    ids::DocId,
    limits,
    store::row::DocRow,
    tree::RelPath,
};

use super::{
    Node, lock,
    past::{Opened, Then, blocking, parse_path},
};
use crate::{
    error::{HistoryFault, NodeError},
    history::{Diff, Diffs, Version, When},
};

/// How many of the last commits of an entry are looked at for one that changed what it holds.
const LAST_DEPTH: usize = 100;

impl Node {
    /// What differs at a path between two states; unless told, between the one before the last change and now.
    ///
    /// # Errors
    /// When there is no such folder, path or state.
    pub async fn diff(
        &self,
        folder: &str,
        path: &str,
        from: Option<When>,
        to: Option<When>,
    ) -> Result<Diffs, NodeError> {
        let path = parse_path(path)?;
        let (node, folder) = (self.clone(), folder.to_owned());
        blocking(move || node.open_past(&folder)?.diffs(&node, &path, from.as_ref(), to.as_ref())).await
    }
}

impl Opened {
    fn diffs(
        &mut self,
        node: &Node,
        path: &RelPath,
        from: Option<&When>,
        to: Option<&When>,
    ) -> Result<Diffs, NodeError> {
        let no_path = || HistoryFault::NoPath(path.to_string());
        let main = *self.find(path)?.first().ok_or_else(no_path)?;
        let row = self.now.row(&main.doc).cloned().ok_or_else(no_path)?;
        let entry = self.now.entry(&main.doc).cloned().ok_or_else(no_path)?;
        if entry.kind == Kind::Dir {
            return Err(HistoryFault::Directory(path.to_string()).into());
        }
        let newest = Then {
            doc: main.doc,
            heads: row.heads.clone(),
            entry,
            row: row.clone(),
            path: self.now.path_of(&main.doc),
        };
        let (to_label, newer) = match to {
            None => ("now".to_owned(), Some(newest)),
            Some(to) => self.named(path, to)?,
        };
        let (from_label, older) = match from {
            None => self.before_last(&main.doc, &row)?,
            Some(from) => self.named(path, from)?,
        };
        let (old, old_text) = self.version(from_label, older.as_ref(), path)?;
        let (new, new_text) = self.version(to_label, newer.as_ref(), path)?;
        let unsynced = if to.is_none() && main.standing == Standing::Here {
            self.unsynced(node, (path, &main.doc), &new, new_text.as_deref())?
        } else {
            None
        };
        let diff = diff_of(old, old_text.as_deref(), new, new_text.as_deref());
        Ok(Diffs { folder: self.name.clone(), path: path.to_string(), diff, unsynced })
    }

    fn named(&mut self, path: &RelPath, when: &When) -> Result<(String, Option<Then>), NodeError> {
        let at = self.at(when)?;
        let label = at.commit.map_or_else(|| when.to_string(), |commit| commit.short());
        Ok((label, self.then(path, &at)?.map(|(_, then)| then)))
    }

    /// An entry as it was before the last change here of what it holds; a rename is none.
    fn before_last(&mut self, doc: &DocId, row: &DocRow) -> Result<(String, Option<Then>), NodeError> {
        let of_content = |deed: &Deed| !matches!(deed, Deed::Renamed { .. } | Deed::Moved { .. } | Deed::Kept);
        let touches = self.library.touches(row, LAST_DEPTH)?;
        let mut last = None;
        for touch in &touches {
            if self.library.deeds(doc, row, touch, false)?.iter().any(of_content) {
                last = Some(touch);
                break;
            }
        }
        let Some(last) = last.or(touches.first()) else { return Ok(("before".into(), None)) };
        let point = Point::now(self.library.rows(), self.handle)?.before(last.replica, last.n);
        let heads = self.library.heads_at(doc, row, &point)?;
        let label = format!("before {}", last.commit.short());
        if heads.is_empty() {
            return Ok((label, None));
        }
        let entry = self.library.entry_at(doc, row, &heads)?;
        let path = self.now.path_of(doc);
        Ok((label, Some(Then { doc: *doc, row: row.clone(), heads, entry, path })))
    }

    fn version(
        &mut self,
        label: String,
        then: Option<&Then>,
        path: &RelPath,
    ) -> Result<(Version, Option<String>), NodeError> {
        let Some(then) = then.filter(|then| then.entry.alive) else {
            let path = path.to_string();
            let absent = Version {
                label,
                there: false,
                path,
                bytes: None,
                hash: None,
                text: true,
                executable: false,
                target: None,
            };
            return Ok((absent, Some(String::new())));
        };
        let held = self.held(then)?;
        let text = match &held {
            Held::Bytes(bytes) => as_text(bytes).map(ToOwned::to_owned),
            _ => None,
        };
        let version = Version {
            label,
            there: true,
            path: then.path.to_string(),
            bytes: held.size(),
            hash: held.hash().map(|hash| hash.to_string()),
            text: text.is_some(),
            executable: then.entry.exec,
            target: then.entry.target.clone(),
        };
        Ok((version, text))
    }

    /// What is on disk at a path, where that is neither what the documents have nor what was taken in already: bytes of
    /// another version may still be to come.
    fn unsynced(
        &self,
        node: &Node,
        (path, doc): (&RelPath, &DocId),
        now: &Version,
        text: Option<&str>,
    ) -> Result<Option<Diff>, NodeError> {
        // What is not there or cannot be read is for `why` to tell.
        let file = node.with_folder(self.folder, |held| held.shared.disk.open_file(path))?;
        let Ok(file) = file else { return Ok(None) };
        let mut bytes = Vec::new();
        let most = limits::TEXT_BYTES_MAX as u64 + 1;
        if file.take(most).read_to_end(&mut bytes).is_err() || bytes.len() as u64 == most {
            return Ok(None);
        }
        let on_disk = as_text(&bytes).map(ToOwned::to_owned);
        let held = Held::Bytes(bytes);
        let is_taken_in = node.with_folder(self.folder, |folder| {
            let base = lock(&folder.shared.base);
            base.on_disk(doc).is_some_and(|(row, _)| Some(row.hash) == held.hash())
        })?;
        let hash = held.hash().map(|hash| hash.to_string());
        if is_taken_in || hash == now.hash {
            return Ok(None);
        }
        let label = "on disk, not taken in yet".into();
        let version = Version { label, hash, bytes: held.size(), text: on_disk.is_some(), ..now.clone() };
        Ok(Some(diff_of(now.clone(), text, version, on_disk.as_deref())))
    }
}

fn diff_of(from: Version, old: Option<&str>, to: Version, new: Option<&str>) -> Diff {
    let texts = old.zip(new).filter(|_| from.target.is_none() && to.target.is_none());
    let (added, removed) = texts.map_or((0, 0), |(old, new)| compare::count(old, new));
    let what = |version: &Version| (version.there, version.hash.clone(), version.target.clone(), version.executable);
    let differs = what(&from) != what(&to);
    let hunks = texts.map(|(old, new)| compare::unified(old, new));
    Diff { from, to, differs, added: added as u64, removed: removed as u64, hunks }
}
