//! Older versions back: what was there is found in history, its bytes are brought here, and the folder's thread does the
//! rest.

use std::{io, sync::Arc};

use sync_core::{
    doc::entry::{ContentRef, Kind},
    folder::{
        disk::temp_dir,
        ingest::DOWNLOAD,
        rounds::restoring::{Fate, Step, Wanted},
    },
    history::{
        log::{Deed, Held, Touch},
        past::{Past, Standing},
        point::Point,
    },
    ids::{ContentHash, DocId, SpaceId},
    limits,
    tree::RelPath,
};
use tokio::sync::oneshot;

use super::{
    Node,
    past::{At, Opened, Then, blocking, parse_path},
};
use crate::{
    content::Wanted as WantedContent,
    error::{HistoryFault, NodeError},
    folder::requests::{Answer, Ask, Request},
    history::{Content, Restored, RestoredPath, When},
};

/// Deletes of one device within this time are taken for one: a large directory goes in several commits.
const ONE_DELETE_MS: u64 = 60_000;
/// How many of the last commits of an entry are looked at for the one that deleted it: edits that did not know of it may
/// have come later.
const DELETION_DEPTH: usize = 16;

/// What is to be done for a restore.
struct Plan {
    folder: u32,
    name: String,
    space: SpaceId,
    path: RelPath,
    what: What,
    /// Contents that must be here first, and the files that they are of.
    contents: Vec<(ContentRef, RelPath)>,
}

enum What {
    /// Entries as they were.
    Entries { wanted: Vec<Wanted>, of_file: Option<Held> },
    /// A file that is kept on this device, in place of what is there now.
    Kept { content: ContentRef, shown: Option<DocId> },
}

impl Node {
    /// Brings a file, or a directory with what was in it, back as it was. Without a state, the last one in which something
    /// that is gone was there.
    ///
    /// # Errors
    /// When there is no such folder, path or state, its bytes are nowhere to be had, or the disk does not come to rest.
    pub async fn restore(&self, folder: &str, path: &str, to: Option<When>) -> Result<Restored, NodeError> {
        let plan = self.plan_restore(folder, path, to).await?;
        for (content, of) in &plan.contents {
            self.bring_to(plan.folder, content, of).await?;
        }
        let (asked, shown) = (plan.path.clone(), plan.path.to_string());
        let ask = match plan.what {
            What::Entries { wanted, .. } => Ask::Restore(wanted),
            What::Kept { content, shown } => {
                let held = Held::Elsewhere(content);
                let step = match shown {
                    Some(doc) => Step::Write { doc, held },
                    None => Step::WriteNew { path: plan.path.clone(), held },
                };
                Ask::CarryOut { paths: vec![plan.path], steps: vec![step] }
            }
        };
        let paths = match self.ask(plan.folder, ask).await? {
            // The directories above are of no interest, unless they stand in the way.
            Answer::Restored(fates) => fates
                .into_iter()
                .filter(|(path, fate)| asked.contains(path) || matches!(fate, Fate::Refused(_)))
                .map(|(path, fate)| restored_path(&path, fate))
                .collect(),
            _ => vec![RestoredPath { path: shown.clone(), outcome: "restored".into(), reason: None }],
        };
        Ok(Restored { folder: plan.name, path: shown, paths })
    }

    /// The bytes of a file as it was.
    ///
    /// # Errors
    /// As for [`restore`](Self::restore), or when it was no file.
    pub async fn content(&self, folder: &str, path: &str, to: Option<When>) -> Result<Content, NodeError> {
        let plan = self.plan_restore(folder, path, to).await?;
        let shown = plan.path.to_string();
        let content = match &plan.what {
            What::Entries { of_file: Some(Held::Bytes(bytes)), .. } => {
                let hash = ContentHash::of(bytes).to_string();
                return Ok(Content { len: bytes.len() as u64, bytes: Some(bytes.clone()), file: None, hash });
            }
            What::Entries { of_file: Some(Held::Elsewhere(content)), .. } | What::Kept { content, .. } => *content,
            What::Entries { .. } => return Err(HistoryFault::Directory(shown).into()),
        };
        self.bring_to(plan.folder, &content, &plan.path).await?;
        let file = self.with_folder(plan.folder, |held| held.shared.file_of(&content.hash))?;
        let file = file.ok_or_else(|| self.no_content(plan.space, &plan.path))?;
        let file = file.to_str().map(ToOwned::to_owned).ok_or(HistoryFault::Path(shown))?;
        Ok(Content { bytes: None, file: Some(file), hash: content.hash.to_string(), len: content.len })
    }

    /// Asks a folder's thread, and waits for its answer.
    pub(super) async fn ask(&self, folder: u32, ask: Ask) -> Result<Answer, NodeError> {
        let (answer, answered) = oneshot::channel();
        let room = self.with_folder(folder, |held| held.mailbox.request(Request { ask, answer }))?;
        if !room {
            return Err(HistoryFault::NotAtRest("the folder is busy with other requests".into()).into());
        }
        match answered.await.map_err(|_| NodeError::Stopped)? {
            Answer::NotAtRest(what) => Err(HistoryFault::NotAtRest(what).into()),
            Answer::Refused(why) => Err(HistoryFault::Refused(why).into()),
            answer => Ok(answer),
        }
    }

    async fn plan_restore(&self, folder: &str, path: &str, to: Option<When>) -> Result<Plan, NodeError> {
        let path = parse_path(path)?;
        let (node, folder) = (self.clone(), folder.to_owned());
        blocking(move || node.plan_restore_blocking(&folder, path, to)).await
    }

    fn plan_restore_blocking(&self, folder: &str, path: RelPath, to: Option<When>) -> Result<Plan, NodeError> {
        let mut opened = self.open_past(folder)?;
        let kept = match &to {
            Some(When::Rev(rev)) => self.kept_by_hash(opened.folder, &path, rev)?,
            _ => None,
        };
        let at = match to {
            None => opened.last_alive(&path),
            Some(to) => opened.at(&to).map(|at| (at, to)),
        };
        let plan = |opened: Opened, path, what, contents| {
            let Opened { folder, name, space, .. } = opened;
            Ok(Plan { folder, name, space, path, what, contents })
        };
        let (at, to) = match (at, kept) {
            // Its beginning names a file that is kept, and no commit.
            (Err(NodeError::History(HistoryFault::UnknownRev(_))), Some(content)) => {
                let shown = opened.now.view().at(&path);
                return plan(opened, path, What::Kept { content, shown }, Vec::new());
            }
            (at, _) => at?,
        };
        let not_then = || HistoryFault::NotThen { path: path.to_string(), when: to.to_string() };
        let (past, then) = opened.then(&path, &at)?.ok_or_else(not_then)?;
        let mut entries = vec![(path.clone(), then.clone())];
        if then.entry.kind == Kind::Dir {
            let inside = past.subtree(then.doc, &path);
            check_count(inside.len(), &path)?;
            entries = inside.into_iter().filter_map(|(path, doc)| Some((path, then_of(&past, doc)?))).collect();
        }
        let mut wanted: Vec<Wanted> = above(&past, &path);
        let mut contents = Vec::new();
        let mut of_file = None;
        for (at, then) in entries {
            let held = opened.held(&then)?;
            self.stage(&opened, &then, &held, &at, &mut contents)?;
            if at == path && then.entry.kind == Kind::File {
                of_file = Some(held);
            }
            wanted.push(Wanted { path: at, doc: then.doc, heads: then.heads });
        }
        plan(opened, path, What::Entries { wanted, of_file }, contents)
    }

    /// Sees to it that bytes can be had when the folder writes them: what rests in history and would have to travel as a
    /// reference is kept as a file, what is elsewhere is to be brought.
    fn stage(
        &self,
        opened: &Opened,
        then: &Then,
        held: &Held,
        path: &RelPath,
        contents: &mut Vec<(ContentRef, RelPath)>,
    ) -> Result<(), NodeError> {
        match held {
            Held::Elsewhere(content) => contents.push((*content, path.clone())),
            Held::Bytes(bytes) if opened.now.view().at(path).is_none() => {
                let shared = self.with_folder(opened.folder, |held| Arc::clone(&held.shared))?;
                let hash = ContentHash::of(bytes);
                let is_now = opened.now.entry(&then.doc).is_some_and(|now| now.content == then.entry.content);
                if !is_now && shared.file_of(&hash).is_none() {
                    shared
                        .kept
                        .put(bytes, path)
                        .map_err(|source| NodeError::Home { path: self.0.home.clone(), source })?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn kept_by_hash(&self, folder: u32, path: &RelPath, prefix: &str) -> Result<Option<ContentRef>, NodeError> {
        let kept = self.with_folder(folder, |held| held.shared.kept.under(path))?;
        let mut found = kept.into_iter().filter(|kept| {
            kept.path == path.to_string() && prefix.len() >= 4 && kept.hash.to_string().starts_with(prefix)
        });
        Ok(found.next().map(|kept| ContentRef { hash: kept.hash, len: kept.len, list: [0; 32] }))
    }

    /// Brings a content here, unless it is: from whoever is here and has it.
    pub(super) async fn bring_to(&self, folder: u32, content: &ContentRef, of: &RelPath) -> Result<(), NodeError> {
        let (space, shared, mailbox) =
            self.with_folder(folder, |held| (held.space(), Arc::clone(&held.shared), Arc::clone(&held.mailbox)))?;
        if shared.holds(content).await {
            return Ok(());
        }
        let wanted = WantedContent { space, content: *content, folder: Arc::clone(&shared), mailbox };
        if !self.0.fetcher.fetch_once(&wanted).await {
            return Err(self.no_content(space, of));
        }
        let temp = temp_dir().join(&format!("{DOWNLOAD}{}", content.hash));
        let from = temp.components().iter().fold(shared.disk.path().to_owned(), |path, part| path.join(part));
        let (hash, of) = (content.hash, of.clone());
        let kept = tokio::task::spawn_blocking(move || shared.kept.take(&from, &of, Some(hash))).await;
        let kept = kept.map_err(|_| NodeError::Stopped)?;
        match kept {
            // The folder itself wanted it, and has it now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| NodeError::Home { path: self.0.home.clone(), source }),
        }
    }

    fn no_content(&self, space: SpaceId, of: &RelPath) -> NodeError {
        let status = self.0.engine.status().borrow().clone();
        let space = status.spaces.iter().find(|held| held.space == space);
        let who: Vec<String> = space
            .into_iter()
            .flat_map(|space| &space.peers)
            .map(|peer| {
                let is_up = self.0.sessions.is_up(&peer.device);
                format!("{}: {}", peer.name, if is_up { "does not have them" } else { "away" })
            })
            .collect();
        let who = if who.is_empty() { "there is no other".to_owned() } else { who.join(", ") };
        HistoryFault::NoContent { path: of.to_string(), who }.into()
    }
}

impl Opened {
    /// The last point at which something was at a path that is gone now. Of a directory, before the first delete in it that
    /// went with its own.
    fn last_alive(&mut self, path: &RelPath) -> Result<(At, When), NodeError> {
        let found = self.find(path)?;
        let is_there = found.iter().any(|candidate| candidate.standing != Standing::Gone);
        let mut last: Option<(Touch, DocId)> = None;
        for candidate in found.iter().filter(|_| !is_there) {
            if let Some(touch) = self.deletion(&candidate.doc)?
                && last.as_ref().is_none_or(|(newest, _)| newest.arrival < touch.arrival)
            {
                last = Some((touch, candidate.doc));
            }
        }
        let no_state = || HistoryFault::BadRev(format!("{path} is there: say which state to restore, with --to"));
        let (touch, doc) = last.ok_or_else(no_state)?;
        let mut first = touch.n;
        for inside in self.now.within(&[doc]) {
            if let Some(other) = self.deletion(&inside)?
                && other.replica == touch.replica
                && touch.wall_ms.saturating_sub(other.wall_ms) <= ONE_DELETE_MS
            {
                first = first.min(other.n);
            }
        }
        let row = self.library.rows().commit_row(self.handle, touch.replica, touch.n)?;
        let point = row.map(|row| Point::of(&row).before(touch.replica, first)).unwrap_or_default();
        Ok((At { point, commit: None }, When::Rev(touch.commit.short())))
    }

    /// The commit that deleted an entry which is gone.
    fn deletion(&mut self, doc: &DocId) -> Result<Option<Touch>, NodeError> {
        if self.now.view().place_of(doc).is_some() {
            return Ok(None);
        }
        let Some(row) = self.now.row(doc) else { return Ok(None) };
        for touch in self.library.touches(row, DELETION_DEPTH)? {
            if self.library.deeds(doc, row, &touch, false)?.contains(&Deed::Deleted) {
                return Ok(Some(touch));
            }
        }
        Ok(None)
    }
}

fn then_of(past: &Past, doc: DocId) -> Option<Then> {
    let (row, entry) = (past.row(&doc)?.clone(), past.entry(&doc)?.clone());
    Some(Then { doc, row, heads: past.heads(&doc).to_vec(), entry, path: past.view().path_of(&doc)? })
}

/// The directories that a path was in, as far as they were there then.
fn above(past: &Past, path: &RelPath) -> Vec<Wanted> {
    let components = path.components();
    (1..components.len())
        .filter_map(|depth| {
            let path = RelPath::from_components(components.get(..depth)?.to_vec());
            let doc = past.view().at(&path)?;
            let is_dir = past.entry(&doc)?.kind == Kind::Dir;
            is_dir.then(|| Wanted { path, doc, heads: past.heads(&doc).to_vec() })
        })
        .collect()
}

fn restored_path(path: &RelPath, fate: Fate) -> RestoredPath {
    let (outcome, reason) = match fate {
        Fate::Restored => ("restored", None),
        Fate::Same => ("same", None),
        Fate::Refused(why) => ("refused", Some(why)),
    };
    RestoredPath { path: path.to_string(), outcome: outcome.into(), reason }
}

/// One restore brings back so many entries and no more.
fn check_count(count: usize, path: &RelPath) -> Result<(), HistoryFault> {
    if count > limits::RESTORE_ENTRIES_MAX { Err(HistoryFault::TooMuch(path.to_string())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_restore_brings_back_so_many_entries() {
        let path = RelPath::root().join("d");
        assert!(check_count(limits::RESTORE_ENTRIES_MAX, &path).is_ok());
        assert!(matches!(check_count(limits::RESTORE_ENTRIES_MAX + 1, &path), Err(HistoryFault::TooMuch(_))));
    }
}
