//! What must hold, one function each: after every step, after a start, and in the end.
//!
//! The names in [`Violation::rule`] are those of `docs/testing.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use sync_core::{
    commit::SecretKey,
    doc::entry::{Content, Entry},
    engine::{Command, Effect, Engine, Input, Now, PeerStatus, SessionId, SpaceStatus, Ticket},
    history::{HistoryError, Library, Shelf},
    ids::{ContentHash, DeviceId, DocId, InstallEpoch},
    member::Role,
    store::{Snapshot, Store},
    tree::{RelPath, View},
    version::{Tip, VersionVector},
    wire::{self, Message, SpaceHello},
};

use super::{peer::Peer, rng::Rng, world::World};

/// Something did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The seed that replays it.
    pub seed: u64,
    /// And the number of devices.
    pub peers: usize,
    /// What must hold.
    pub rule: &'static str,
    /// What was found instead.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} with {} devices: not \"{}\": {}", self.seed, self.peers, self.rule, self.what)
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Checks {
    vectors: BTreeMap<usize, VersionVector>,
    rebuilt: BTreeSet<usize>,
    /// Whether a log was forked, so that commits were made again on top of what others wrote.
    forked: bool,
}

impl Checks {
    /// A space was built again at a device: its vector starts anew.
    pub(super) fn rebuilt(&mut self, index: usize) {
        self.vectors.remove(&index);
        self.rebuilt.insert(index);
        self.forked = true;
    }

    /// A store was put back to an older state.
    pub(super) fn restored(&mut self, index: usize) {
        self.vectors.remove(&index);
    }
}

impl World {
    // ---- after every step ----

    pub(super) fn check_step(&mut self) -> Result<(), Violation> {
        for index in 0..self.peers.len() {
            self.vectors_only_grow(index)?;
        }
        self.check_more_step()
    }

    fn vectors_only_grow(&mut self, index: usize) -> Result<(), Violation> {
        let Some(status) = self.peers[index].status(&self.space) else { return Ok(()) };
        if self.checks.rebuilt.remove(&index) {
            self.peers[index].acked = BTreeMap::from([(status.replica, status.vector.len_of(&status.replica))]);
        }
        let before = self.checks.vectors.insert(index, status.vector.clone());
        let grows = before.as_ref().is_none_or(|before| status.vector.covers(before));
        let same = before.as_ref().is_none_or(|before| before.forked_at(&status.vector).next().is_none());
        if grows && same {
            return Ok(());
        }
        Err(self.violation("vectors only grow", &format!("at {index}: {before:?} became {:?}", status.vector)))
    }

    // ---- after a start ----

    /// The store holds at least what was acknowledged before the crash.
    pub(super) fn check_start(&mut self, index: usize) -> Result<(), Violation> {
        let Some(status) = self.peers[index].status(&self.space) else { return Ok(()) };
        if self.peers[index].restored {
            return Ok(());
        }
        for (replica, n) in &self.peers[index].acked {
            if status.vector.len_of(replica) < *n {
                let what = format!("{index} had {n} commits of its log and has {}", status.vector.len_of(replica));
                return Err(self.violation("what was acknowledged outlives a crash", &what));
            }
        }
        // Commits of others that were never told as durable may be gone with the power.
        self.checks.vectors.remove(&index);
        Ok(())
    }

    // ---- healing ----

    /// Tells the first thing in which two devices differ, or in which a disk differs from the documents.
    pub(super) fn differences(&self) -> Result<(), String> {
        let first = self.peers[0].status(&self.space).ok_or("0 is not in the space")?;
        let gone = self.gone_contents();
        for (index, peer) in self.peers.iter().enumerate() {
            let status = peer.status(&self.space).ok_or_else(|| format!("{index} is not in the space"))?;
            if status.vector != first.vector {
                return Err(format!("vectors of 0 and {index}: {:?} and {:?}", first.vector, status.vector));
            }
            if status.root != first.root {
                return Err(format!("roots of 0 and {index}"));
            }
            if peer.is_held() {
                let report = peer.process.as_ref().and_then(|process| Some(process.rounds.as_ref()?.report()));
                let wanted = self.where_wanted_contents_were(index);
                return Err(format!("the folder of {index} waits for somebody's word: {report:?}{wanted}"));
            }
            if let Some(other) = self.believed_behind(index, &status) {
                return Err(format!("{index} does not know that {other} is in sync"));
            }
            if let Some(rounds) = peer.process.as_ref().and_then(|process| process.rounds.as_ref()) {
                let report = rounds.report();
                // What a crash or its user left behind on a device that may only read stays there, and in the way of what
                // comes: it cannot tell anybody.
                let lacks = report.lacking > gone.get(&index).map_or(0, BTreeSet::len);
                if !peer.reads_only && (report.busy || report.halted.is_some() || lacks) {
                    let lacking = if lacks { self.where_wanted_contents_were(index) } else { String::new() };
                    return Err(format!("the folder of {index} is not at rest: {report:?}{lacking}"));
                }
            } else if peer.has_folder {
                return Err(format!("the folder of {index} does not run"));
            }
        }
        let lacking = self.paths_of(&gone.into_values().flatten().collect())?;
        let shown: Vec<usize> = self.shown(false).collect();
        shown.windows(2).try_for_each(|pair| self.trees_are_equal(pair[0], pair[1], &lacking))
    }

    fn copies_of(&self, device: DeviceId) -> Vec<&Peer> {
        self.peers.iter().filter(|peer| peer.device() == device).collect()
    }

    /// A peer that a device is linked to and does not count as in sync, though both have everything and are at rest. Of
    /// copies nobody knows which one is meant.
    fn believed_behind(&self, index: usize, status: &SpaceStatus) -> Option<String> {
        let is_settled = |device: DeviceId| match &self.copies_of(device)[..] {
            [one] => one.status(&self.space).is_some_and(|held| held.settled && held.vector == status.vector),
            _ => false,
        };
        let is_behind = |told: &&PeerStatus| told.linked && !told.synced && is_settled(told.device);
        let behind = status.peers.iter().filter(|_| status.settled && self.copies(index).len() == 1).find(is_behind);
        behind.map(|told| told.name.clone())
    }

    /// Contents that folders wait for, by device, and that are nowhere any more: a large file is only in files, and all
    /// who had this one deleted it or wrote over it before anybody else had it.
    fn gone_contents(&self) -> BTreeMap<usize, BTreeSet<ContentHash>> {
        let wanted: BTreeMap<usize, BTreeSet<ContentHash>> = (self.peers.iter().enumerate())
            .filter_map(|(index, peer)| Some((index, peer.process.as_ref()?.fetches.keys().copied().collect())))
            .filter(|(_, hashes): &(usize, BTreeSet<ContentHash>)| !hashes.is_empty())
            .collect();
        if wanted.is_empty() {
            return wanted;
        }
        let in_files = self.in_files();
        let (mut let_go, mut missed) = (BTreeSet::new(), BTreeSet::new());
        for saved in self.peers.iter().flat_map(|peer| peer.fs.saved()) {
            let is_missed = saved.ended_ns.is_none() && !saved.excused && !saved.nameless;
            let of = if is_missed { &mut missed } else { &mut let_go };
            of.insert(ContentHash::of(&saved.bytes));
        }
        let is_gone =
            |hash: &ContentHash| let_go.contains(hash) && !missed.contains(hash) && !in_files.contains_key(hash);
        wanted.into_iter().map(|(index, hashes)| (index, hashes.into_iter().filter(is_gone).collect())).collect()
    }

    /// Who saved what a folder waits for, where, and what became of that.
    fn where_wanted_contents_were(&self, index: usize) -> String {
        let mut told = String::new();
        for hash in self.peers[index].process.iter().flat_map(|process| process.fetches.keys()) {
            let at = self.paths_of(&BTreeSet::from([*hash])).unwrap_or_default();
            told.push_str(&format!("; it waits for {hash} at {at:?}"));
            for (of, peer) in self.peers.iter().enumerate() {
                let shown = peer.fs.paths().into_iter().map(|(path, _)| path);
                let shown =
                    shown.filter(|path| peer.fs.read(path).is_some_and(|bytes| ContentHash::of(&bytes) == *hash));
                let kept = peer.fs.kept().into_iter().filter(|(_, bytes)| ContentHash::of(bytes) == *hash);
                let at: Vec<String> = shown.map(|path| path.to_string()).chain(kept.map(|(name, _)| name)).collect();
                if !at.is_empty() {
                    told.push_str(&format!(", {of} has it at {at:?}"));
                }
                let same = peer.fs.saved().into_iter().filter(|saved| ContentHash::of(&saved.bytes) == *hash);
                for saved in same {
                    let (path, at_ns, ended_ns) = (&saved.path, saved.at_ns, saved.ended_ns);
                    let (excused, nameless) = (saved.excused, saved.nameless);
                    told.push_str(&format!(
                        ", saved by {of} as {path} at {at_ns}, ended {ended_ns:?}, excused {excused}, nameless {nameless}"
                    ));
                }
            }
        }
        told
    }

    /// Where the files with these contents are, or would be.
    fn paths_of(&self, contents: &BTreeSet<ContentHash>) -> Result<BTreeSet<PathBuf>, String> {
        let Some(status) = self.peers[0].status(&self.space).filter(|_| !contents.is_empty()) else {
            return Ok(BTreeSet::new());
        };
        let entries = self.entries(0).map_err(|violation| violation.to_string())?;
        let entries: BTreeMap<DocId, Entry> = entries.into_iter().map(|(doc, (entry, _))| (doc, entry)).collect();
        let view = View::of(&entries, status.folds);
        let has = |entry: &Entry| matches!(&entry.content, Some(Content::Reference(content)) if contents.contains(&content.hash));
        let docs = entries.iter().filter(|(_, entry)| has(entry)).map(|(doc, _)| doc);
        Ok(docs.filter_map(|doc| view.path_of(doc)).map(|path| PathBuf::from(path.to_string())).collect())
    }

    // ---- in the end ----

    pub(super) fn check_end(&mut self) -> Result<(), Violation> {
        self.documents_are_equal()?;
        self.documents_are_those_of_the_model()?;
        self.a_rescan_plans_nothing()?;
        self.quiet_devices_rest()?;
        self.no_user_byte_is_lost()?;
        self.writes_stay_inside()?;
        self.nothing_unauthorised_is_held()?;
        self.replay_gives_the_same()?;
        self.check_more_end()
    }

    pub(super) fn snapshot(&self, index: usize) -> Result<(u32, Snapshot), Violation> {
        let engine = self.peers[index].process.as_ref().map(|process| &process.engine);
        let read = engine.and_then(|engine| Some((engine.space_handle(&self.space)?, engine.store().read().ok()?)));
        read.ok_or_else(|| self.violation("stores can be read", &format!("at {index}")))
    }

    pub(super) fn entries(&self, index: usize) -> Result<BTreeMap<DocId, (Entry, Option<String>)>, Violation> {
        let (handle, snapshot) = self.snapshot(index)?;
        let mut rows = Vec::new();
        let listed = snapshot.each_document(handle, |doc, row| rows.push((doc, row)));
        listed.map_err(|error| self.violation("stores can be read", &error.to_string()))?;
        let mut library = Library::new(snapshot, handle, Shelf::default());
        let mut entries = BTreeMap::new();
        for (doc, row) in rows {
            let read = library.entry(&doc, &row).and_then(|entry| {
                let text = matches!(entry.content, Some(Content::Text)).then(|| library.text(&doc, &row));
                Ok((entry, text.transpose()?.flatten()))
            });
            let read = read.map_err(|error| {
                self.violation("every document opens", &format!("{} at {index}: {error}", doc.short()))
            })?;
            entries.insert(doc, read);
        }
        Ok(entries)
    }

    pub(super) fn documents_are_equal(&self) -> Result<(), Violation> {
        let first = self.entries(0)?;
        for index in 1..self.peers.len() {
            let other = self.entries(index)?;
            if let Some((doc, entry)) = first.iter().find(|(doc, entry)| other.get(*doc) != Some(*entry)) {
                let what = format!("{} at 0 is {entry:?}, at {index} {:?}", doc.short(), other.get(doc));
                return Err(self.violation("all are equal after healing", &what));
            }
            if first.len() != other.len() {
                return Err(self.violation("all are equal after healing", &format!("documents of 0 and {index}")));
            }
        }
        Ok(())
    }

    /// Folders agree with the documents: looking at everything again makes no commit and writes nothing.
    fn a_rescan_plans_nothing(&mut self) -> Result<(), Violation> {
        for index in 0..self.peers.len() {
            let Some(rounds) = self.peers[index].process.as_mut().and_then(|process| process.rounds.as_mut()) else {
                continue;
            };
            rounds.rescan();
            let before = self.peers[index].status(&self.space).map(|status| status.arrivals);
            let writes = self.peers[index].fs.writes().len();
            for _ in 0..3 {
                self.quiet_round(index)?;
            }
            let after = self.peers[index].status(&self.space).map(|status| status.arrivals);
            if before != after {
                // Nobody else has them yet.
                let others = self.entries((index + 1) % self.peers.len())?;
                let mut made = self.entries(index)?;
                made.retain(|doc, entry| others.get(doc) != Some(entry));
                let was: Vec<_> = made.keys().map(|doc| others.get(doc)).collect();
                let what = format!("{index} had {before:?} commits and made it {after:?}: {was:?} became {made:?}");
                return Err(self.violation("a rescan after quiet plans nothing", &what));
            }
            // What cannot be, as where a link stands that leads out of the folder, is told and tried again.
            let peer = &self.peers[index];
            let is_told = |path: &RelPath| peer.has_problem_at(std::path::Path::new(&path.to_string()));
            let made: Vec<_> = peer.fs.writes().into_iter().skip(writes).collect();
            let told: BTreeSet<u64> =
                made.iter().filter(|write| is_told(&write.path)).map(|write| write.call).collect();
            if let Some(write) = made.iter().find(|write| !write.is_ours() && !told.contains(&write.call)) {
                return Err(self.violation("a rescan after quiet plans nothing", &format!("{index}: {write:?}")));
            }
        }
        Ok(())
    }

    /// Every content that a user left in a file is in a file, in what was kept, or in history; of a text that was merged
    /// before it was ever alone in history, all lines are together in one of these.
    pub(super) fn no_user_byte_is_lost(&self) -> Result<(), Violation> {
        let mut held = self.history()?;
        held.extend(self.in_files());
        // What was committed again is beside what others wrote meanwhile: each of its lines is somewhere.
        let lines: BTreeSet<&[u8]> =
            held.values().filter(|_| self.checks.forked).flat_map(|bytes| bytes.split(|byte| *byte == b'\n')).collect();
        let is_in_lines = |bytes: &[u8]| {
            std::str::from_utf8(bytes).is_ok() && bytes.split(|byte| *byte == b'\n').all(|line| lines.contains(line))
        };
        for (index, peer) in self.peers.iter().enumerate().filter(|(_, peer)| peer.has_folder) {
            for saved in peer.fs.saved() {
                // Who writes into a file that has lost its name writes to nobody: a gap of every program that replaces
                // files by renaming, and stated in docs/testing.md.
                let let_go = saved.ended_ns.is_some() || saved.excused || saved.nameless;
                if !let_go && !is_held(&held, &saved.bytes) && !is_in_lines(&saved.bytes) {
                    let shown = String::from_utf8_lossy(&saved.bytes).chars().take(200).collect::<String>();
                    let what = format!("{} of {index}, {} bytes: {shown:?}", saved.path, saved.bytes.len());
                    return Err(self.violation("no user byte is lost", &what));
                }
            }
        }
        Ok(())
    }

    /// What a store alone had is gone when an older one is put in its place, as with every backup.
    pub(super) fn forgive_what_nobody_has(&self) -> Result<(), Violation> {
        let mut held = self.in_files();
        for index in 0..self.peers.len() {
            let engine = self.copy(index, 6)?;
            let Some(handle) = engine.space_handle(&self.space) else { continue };
            let read =
                engine.store().read().map_err(|error| self.violation("stores can be read", &error.to_string()))?;
            let history = history(read, handle);
            held.extend(history.map_err(|error| self.violation("every document opens", &error.to_string()))?);
        }
        for peer in &self.peers {
            peer.fs.excuse(|saved| !is_held(&held, &saved.bytes));
        }
        Ok(())
    }

    fn in_files(&self) -> BTreeMap<ContentHash, Vec<u8>> {
        let contents = self.peers.iter().flat_map(|peer| peer.fs.contents());
        contents.map(|bytes| (ContentHash::of(&bytes), bytes.to_vec())).collect()
    }

    /// No write of the folder code names a path that leaves the root; the file system itself follows no link.
    fn writes_stay_inside(&self) -> Result<(), Violation> {
        let leaves = |name: &String| name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
        for (index, peer) in self.peers.iter().enumerate() {
            for write in peer.fs.writes() {
                if write.path.components().iter().any(leaves) {
                    return Err(self.violation("no write outside the root", &format!("at {index}: {write:?}")));
                }
            }
        }
        Ok(())
    }

    /// All contents that documents ever had, but for those that rest in files.
    fn history(&self) -> Result<BTreeMap<ContentHash, Vec<u8>>, Violation> {
        let (handle, snapshot) = self.snapshot(0)?;
        history(snapshot, handle).map_err(|error| self.violation("every document opens", &error.to_string()))
    }

    /// Nobody holds a change by a device that may only read.
    fn nothing_unauthorised_is_held(&self) -> Result<(), Violation> {
        for (index, peer) in self.peers.iter().enumerate() {
            let Some(status) = peer.status(&self.space) else { continue };
            let readers: BTreeSet<_> =
                status.peers.iter().filter(|peer| peer.role == Role::Reader).map(|peer| peer.device).collect();
            let (handle, snapshot) = self.snapshot(index)?;
            let broken = |error: &dyn fmt::Display| self.violation("stores can be read", &error.to_string());
            for (replica, log) in snapshot.replicas(handle).map_err(|error| broken(&error))? {
                if !readers.contains(&log.device) {
                    continue;
                }
                for n in 1..=log.n {
                    let row = snapshot.commit_row(handle, replica, n).map_err(|error| broken(&error))?;
                    if row.is_some_and(|row| !row.membership) {
                        let what = format!("{index} holds commit {n} of a reader");
                        return Err(self.violation("nothing unauthorised is held", &what));
                    }
                }
            }
        }
        Ok(())
    }

    /// All commits, handed to a new engine in three random orders that respect their causes, give the same.
    fn replay_gives_the_same(&self) -> Result<(), Violation> {
        let Some(status) = self.peers[0].status(&self.space) else { return Ok(()) };
        let expected = self.entries(0)?;
        let view = View::of(&expected.iter().map(|(doc, (entry, _))| (*doc, entry.clone())).collect(), status.folds);
        let mut rng = Rng::new(self.seed).fork("replay");
        for _ in 0..3 {
            let (engine, root, vector) = self.replay(&mut rng)?;
            if (root, &vector) != (status.root, &status.vector) {
                let what = format!("{vector:?} instead of {:?}", status.vector);
                return Err(self.violation("any causal order gives the same", &what));
            }
            let handle = engine.space_handle(&self.space).unwrap_or_default();
            let broken =
                |error: &dyn fmt::Display| self.violation("any causal order gives the same", &error.to_string());
            let mut library =
                Library::new(engine.store().read().map_err(|error| broken(&error))?, handle, Shelf::default());
            let mut entries = BTreeMap::new();
            for (doc, (entry, text)) in &expected {
                let row = library.row(doc).map_err(|error| broken(&error))?;
                let row = row.ok_or_else(|| broken(&"a document is missing"))?;
                let other = library.entry(doc, &row).map_err(|error| broken(&error))?;
                if text.is_some() && library.text(doc, &row).map_err(|error| broken(&error))? != *text {
                    return Err(broken(&format!("another text of {}", doc.short())));
                }
                if other != *entry {
                    return Err(broken(&format!("another entry of {}", doc.short())));
                }
                entries.insert(*doc, other);
            }
            if View::of(&entries, engine.status().remove(0).folds) != view {
                return Err(broken(&"another tree"));
            }
        }
        Ok(())
    }

    pub(super) fn replay(&self, rng: &mut Rng) -> Result<(Engine, [u8; 32], VersionVector), Violation> {
        let broken = |what: &str| self.violation("any causal order gives the same", what);
        let (handle, snapshot) = self.snapshot(0)?;
        let logs = snapshot.replicas(handle).map_err(|error| broken(&error.to_string()))?;
        let key = SecretKey::from_bytes(&[255; 32]);
        let store = Store::in_memory().map_err(|error| broken(&error.to_string()))?;
        let mut engine = Engine::open(store, key, [0; 32]).map_err(|error| broken(&error.to_string()))?;
        let host = self.peers[0].device();
        let now = Now { mono_ms: 1, wall_ms: 1 };
        let session = SessionId(1);
        let tag = self.space.tag(host);
        let command = Command::AddSpace { space: self.space, host, epoch: InstallEpoch([255; 16]) };
        let vector: VersionVector = logs.iter().map(|(_, log)| (log.id, Tip::new(log.n, &log.hash))).collect();
        let hello = SpaceHello { space: tag, flags: 0, vector, root: [0; 32] };
        let frame = |message: &Message| Input::Frame { session, bytes: wire::encode(message) };
        let mut inputs = vec![
            Input::Command { command, ticket: Ticket(0) },
            Input::SessionUp { session, peer: host },
            frame(&Message::Hello { spaces: vec![hello] }),
        ];
        // Genesis first: before it only the host is known, and it would be strange for a later hello to come.
        let mut done: BTreeMap<u32, u64> = BTreeMap::new();
        let total: u64 = logs.iter().map(|(_, log)| log.n).sum();
        for _ in 0..total {
            let mut ready = Vec::new();
            for (replica, log) in &logs {
                let n = done.get(replica).copied().unwrap_or_default() + 1;
                let row = if n > log.n {
                    None
                } else {
                    snapshot.commit_row(handle, *replica, n).map_err(|error| broken(&error.to_string()))?
                };
                if let Some(row) = row
                    && row.clock.iter().all(|(other, len)| {
                        done.get(other).copied().unwrap_or_default() >= *len || (other == replica && *len == n)
                    })
                {
                    ready.push((*replica, n, row));
                }
            }
            if ready.is_empty() {
                return Err(broken("a commit's past is not held"));
            }
            let (replica, n, row) = ready.swap_remove(rng.index(ready.len()));
            let body = snapshot.body(handle, replica, n).map_err(|error| broken(&error.to_string()))?;
            done.insert(replica, n);
            inputs.push(frame(&Message::Commits { space: tag, commits: vec![row.with_body(body)] }));
            if rng.chance(300) {
                take(&mut engine, now, std::mem::take(&mut inputs)).map_err(|what| broken(&what))?;
            }
        }
        take(&mut engine, now, inputs).map_err(|what| broken(&what))?;
        let status = engine.status().remove(0);
        Ok((engine, status.root, status.vector))
    }
}

/// All contents that the documents of a space ever had, but for those that rest in files.
pub(crate) fn history(snapshot: Snapshot, space: u32) -> Result<BTreeMap<ContentHash, Vec<u8>>, HistoryError> {
    let mut held = BTreeMap::new();
    let mut rows = Vec::new();
    snapshot.each_document(space, |doc, row| rows.push((doc, row)))?;
    let mut library = Library::new(snapshot, space, Shelf::default());
    for (doc, row) in rows {
        let document = library.open(&doc, &row)?;
        for index in 0..row.changes {
            let change = library.rows().change(row.handle, index)?;
            match document.content_at(&[change.hash])?.map(|(_, content)| content) {
                Some(Content::Inline(bytes)) => {
                    held.insert(ContentHash::of(&bytes), bytes);
                }
                Some(Content::Text) => {
                    let text = document.text_at(&[change.hash])?;
                    held.extend(text.map(|text| (ContentHash::of(text.as_bytes()), text.into_bytes())));
                }
                Some(Content::Reference(_)) | None => {}
            }
        }
    }
    Ok(held)
}

/// Whether a content is there, or one that it was merged into.
fn is_held(held: &BTreeMap<ContentHash, Vec<u8>>, bytes: &[u8]) -> bool {
    held.contains_key(&ContentHash::of(bytes)) || held.values().any(|other| has_all_lines(other, bytes))
}

/// Whether a text has every line of another.
pub(crate) fn has_all_lines(text: &[u8], of: &[u8]) -> bool {
    let lines: BTreeSet<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    std::str::from_utf8(of).is_ok() && of.split(|byte| *byte == b'\n').all(|line| lines.contains(line))
}

/// Gives a turn in which nothing may be refused.
fn take(engine: &mut Engine, now: Now, inputs: Vec<Input>) -> Result<(), String> {
    let effects = engine.turn(now, inputs).map_err(|error| error.to_string())?;
    match effects.iter().find(|effect| matches!(effect, Effect::Close { .. })) {
        Some(_) => Err(format!("a commit was refused: {effects:?}")),
        None => Ok(()),
    }
}

impl Peer {
    /// What the base has at a path.
    pub(super) fn based(&self, path: &std::path::Path) -> Vec<(DocId, bool)> {
        let Some(base) = self.process.as_ref().and_then(|process| process.base.lock().ok()) else { return Vec::new() };
        let rows = base
            .rows()
            .filter(|(doc, _)| base.path_of(doc).is_some_and(|held| std::path::Path::new(&held.to_string()) == path));
        rows.map(|(doc, row)| (*doc, row.stat.is_some())).collect()
    }

    /// The bytes of a content, if a file that held it when it was last seen still does.
    pub(super) fn content(&self, hash: &ContentHash) -> Option<Vec<u8>> {
        let process = self.process.as_ref()?;
        let base = process.base.lock().ok()?;
        let paths: Vec<_> = base.with_hash(hash).iter().filter_map(|doc| base.path_of(doc)).collect();
        let mut bytes = paths.iter().filter_map(|path| self.fs.read(path));
        bytes.find(|bytes| ContentHash::of(bytes) == *hash)
    }
}
