//! What people ask of a folder: older versions back, conflicts ended. Each is an edit like any other, by one of two ways.
//!
//! Bytes of an entry that is on disk are put there as a program would that saves over it, and the next look takes them in
//! ([`Applier::replace`](crate::folder::apply::Applier::replace)). What is on no disk, and registers, are edited in the
//! document, and the disk follows. Either way what the user saved meanwhile is taken in first: while a path is not at rest
//! the answer is [`Asked::NotYet`], and the host asks again after another round. Nothing is ever deleted to restore
//! something else.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    RoundError, Rounds,
    host::{Host, HostError, Stopped},
    in_use::IN_USE,
    lock,
};
use crate::{
    doc::{
        entry::{Entry, EntryOp, Kind},
        text::Splice,
    },
    folder::{
        Fault,
        apply::{Applied, temp_of},
        ingest::{Ready, kind_word},
    },
    history::log::Held,
    ids::{ChangeHash, DocId},
    store::Write,
    tree::RelPath,
};

/// One entry that is to be as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is to be. Directories come before what is in them.
    pub path: RelPath,
    /// The document that it was.
    pub doc: DocId,
    /// The document's heads then.
    pub heads: Vec<ChangeHash>,
}

/// What became of one that was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is as it was then.
    Restored,
    /// It was so already.
    Same,
    /// It cannot be, and why.
    Refused(String),
}

/// One step of what ends a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Gives a file that is on disk these bytes.
    Write {
        /// The entry.
        doc: DocId,
        /// The bytes.
        held: Held,
    },
    /// Makes a file of these bytes, unless something is there.
    WriteNew {
        /// Where.
        path: RelPath,
        /// The bytes.
        held: Held,
    },
    /// Sets the content once more to what it is, so that no other stands beside it.
    Settle {
        /// The entry.
        doc: DocId,
    },
    /// Changes a text.
    Splice {
        /// The entry.
        doc: DocId,
        /// The heads at which the positions are.
        heads: Vec<ChangeHash>,
        /// The changes.
        splices: Vec<Splice>,
    },
    /// Sets registers.
    Registers {
        /// The entry.
        doc: DocId,
        /// To what.
        ops: Vec<EntryOp>,
    },
}

/// What came of something that people asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<T> {
    /// Done.
    Done(T),
    /// Something must come to rest first: what, for people.
    NotYet(String),
    /// It cannot be done here.
    Refused(String),
}

impl<T> Asked<T> {
    pub(super) fn or_stopped(result: Result<Self, RoundError>) -> Result<Self, Stopped> {
        match result {
            Ok(asked) => Ok(asked),
            Err(RoundError::Host(HostError::Stopped(stopped))) => Err(stopped),
            Err(error) => Ok(Self::Refused(error.to_string())),
        }
    }
}

/// The way in which something on disk was changed, or why it was not.
enum Put {
    Done,
    NotYet(String),
    Refused(String),
}

impl Rounds {
    /// Brings entries back as they were.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub fn restore(&mut self, host: &mut dyn Host, wanted: &[Wanted]) -> Result<Asked<Vec<(RelPath, Fate)>>, Stopped> {
        Asked::or_stopped(self.try_restore(host, wanted))
    }

    /// Carries steps out one after the other; each finds what the one before it left. `paths` are where they concern the
    /// disk.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub fn carry_out(&mut self, host: &mut dyn Host, paths: &[RelPath], steps: &[Step]) -> Result<Asked<()>, Stopped> {
        Asked::or_stopped(self.try_carry_out(host, paths, steps))
    }

    /// Takes in what is on disk at some paths. Says what is not at rest, or why nothing can be changed here.
    pub(super) fn come_to_rest(
        &mut self,
        host: &mut dyn Host,
        paths: &[&RelPath],
    ) -> Result<Option<Asked<()>>, RoundError> {
        match self.rest_at(host, paths)? {
            Some(Asked::Refused(why)) => Ok(Some(Asked::Refused(why))),
            _ if host.space().is_some_and(|space| space.reads_only) => {
                Ok(Some(Asked::Refused("this device may only read".into())))
            }
            asked => Ok(asked),
        }
    }

    /// The same, whether or not this device may write.
    pub(super) fn rest_at(&mut self, host: &mut dyn Host, paths: &[&RelPath]) -> Result<Option<Asked<()>>, RoundError> {
        let now = host.now().mono_ms;
        for path in paths {
            self.hint((*path).clone(), true, now);
        }
        self.try_round(host)?;
        if let Some(reason) = &self.halted {
            return Ok(Some(Asked::Refused(reason.clone())));
        }
        if !self.caught_up {
            return Ok(Some(Asked::Refused("the folder waits for its first peer".into())));
        }
        let moving =
            self.dirty.keys().find(|dirty| paths.iter().any(|path| dirty.contains(path) || path.contains(dirty)));
        if let Some(path) = moving {
            return Ok(Some(Asked::NotYet(format!("{path} is being written"))));
        }
        Ok((!self.pending.is_empty()).then(|| Asked::NotYet("commits are being read".into())))
    }

    fn try_restore(
        &mut self,
        host: &mut dyn Host,
        wanted: &[Wanted],
    ) -> Result<Asked<Vec<(RelPath, Fate)>>, RoundError> {
        let paths: Vec<&RelPath> = wanted.iter().map(|wanted| &wanted.path).collect();
        match self.come_to_rest(host, &paths)? {
            Some(Asked::NotYet(what)) => return Ok(Asked::NotYet(what)),
            Some(Asked::Refused(why)) => return Ok(Asked::Refused(why)),
            Some(Asked::Done(())) | None => {}
        }
        let mut fates: BTreeMap<RelPath, Fate> = BTreeMap::new();
        let on_disk = self.revive(host, wanted, &mut fates)?;
        for want in on_disk {
            match self.restore_on_disk(host, want)? {
                Ok(fate) => drop(fates.insert(want.path.clone(), fate)),
                Err(what) => {
                    self.follow(host)?;
                    return Ok(Asked::NotYet(what));
                }
            }
        }
        self.follow(host)?;
        Ok(Asked::Done(wanted.iter().filter_map(|want| fates.remove_entry(&want.path)).collect()))
    }

    /// After something was changed: takes it in, and lets the disk follow.
    pub(super) fn follow(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        self.planned = false;
        self.try_round(host)
    }

    /// Brings back in their documents what is on no disk. Returns what is left to do on disk.
    fn revive<'a>(
        &mut self,
        host: &mut dyn Host,
        wanted: &'a [Wanted],
        fates: &mut BTreeMap<RelPath, Fate>,
    ) -> Result<Vec<&'a Wanted>, RoundError> {
        let mut dirs: BTreeMap<RelPath, DocId> = BTreeMap::new();
        let mut used: BTreeSet<DocId> = BTreeSet::new();
        let mut ready = Vec::new();
        let mut on_disk = Vec::new();
        let mut revived = Vec::new();
        for want in wanted {
            let shown = self.documents.view().at(&want.path);
            let source = self.documents.entry(&want.doc).map(|entry| entry.kind);
            let Some(kind) = source else {
                fates.insert(want.path.clone(), Fate::Refused("its document cannot be read".into()));
                continue;
            };
            if let Some(there) = shown.and_then(|doc| self.documents.entry(&doc)) {
                if there.kind != kind {
                    let why = format!("a {} is there now: move it away first", kind_word(there.kind));
                    fates.insert(want.path.clone(), Fate::Refused(why));
                } else if kind == Kind::Dir {
                    fates.insert(want.path.clone(), Fate::Same);
                } else {
                    on_disk.push(want);
                }
                continue;
            }
            let free = self.documents.view().place_of(&want.doc).is_none()
                && lock(&self.parts.base).row(&want.doc).is_none()
                && !used.contains(&want.doc);
            if !free && kind != Kind::Dir {
                on_disk.push(want);
                continue;
            }
            let Some((dir, name)) = want.path.split() else { continue };
            let parent = match self.dir_of(host, &dir, &mut dirs, &mut ready)? {
                Ok(parent) => parent,
                Err(why) => {
                    fates.insert(want.path.clone(), Fate::Refused(why));
                    continue;
                }
            };
            let one = if free {
                self.ingest_one(host, want.doc, |ingest| ingest.revived(want.doc, parent, name, &want.heads))?
            } else {
                Some(self.ingest_with(host, |ingest| ingest.new_dir(parent, name))?)
            };
            if let Some(one) = one {
                used.insert(one.doc);
                if kind == Kind::Dir {
                    dirs.insert(want.path.clone(), one.doc);
                }
                revived.push(&want.path);
                ready.push(one);
            }
        }
        if !ready.is_empty() {
            self.submit(host, ready)?;
            self.follow(host)?;
        }
        for path in revived {
            let there = self.documents.view().at(path).is_some();
            let again = || Fate::Refused("it changed at the same moment: try again".into());
            fates.insert(path.clone(), if there { Fate::Restored } else { again() });
        }
        Ok(on_disk)
    }

    /// The document of a directory, made where there is none.
    fn dir_of(
        &mut self,
        host: &mut dyn Host,
        path: &RelPath,
        dirs: &mut BTreeMap<RelPath, DocId>,
        ready: &mut Vec<Ready>,
    ) -> Result<Result<Option<DocId>, String>, RoundError> {
        let Some((above, name)) = path.split() else { return Ok(Ok(None)) };
        if let Some(doc) = dirs.get(path) {
            return Ok(Ok(Some(*doc)));
        }
        if let Some(doc) = self.documents.view().at(path) {
            let is_dir = self.documents.entry(&doc).is_some_and(|entry| entry.kind == Kind::Dir);
            return Ok(if is_dir { Ok(Some(doc)) } else { Err(format!("{path} is no directory now")) });
        }
        let parent = match self.dir_of(host, &above, dirs, ready)? {
            Ok(parent) => parent,
            Err(why) => return Ok(Err(why)),
        };
        let made = self.ingest_with(host, |ingest| ingest.new_dir(parent, name))?;
        dirs.insert(path.clone(), made.doc);
        let doc = made.doc;
        ready.push(made);
        Ok(Ok(Some(doc)))
    }

    /// A file or link as it is to be, on disk. `Err`: something must come to rest first.
    fn restore_on_disk(&mut self, host: &mut dyn Host, want: &Wanted) -> Result<Result<Fate, String>, RoundError> {
        let then = self.ingest_with(host, |ingest| {
            let Some(row) = ingest.library.row(&want.doc)? else { return Ok(None) };
            let entry = ingest.library.entry_at(&want.doc, &row, &want.heads)?;
            let held = ingest.library.held_at(&want.doc, &row, &want.heads, &entry)?;
            Ok(Some((entry, held)))
        })?;
        let Some((entry, held)) = then else { return Ok(Ok(Fate::Refused("its document is not here".into()))) };
        if let Some(doc) = self.documents.view().at(&want.path) {
            let is_so = {
                let base = lock(&self.parts.base);
                base.on_disk(&doc).is_some_and(|(row, stat)| match &entry.target {
                    Some(target) => row.hash == crate::ids::ContentHash::of(target.as_bytes()),
                    None => Some(row.hash) == held.hash() && stat.exec == entry.exec,
                })
            };
            if is_so {
                return Ok(Ok(Fate::Same));
            }
        }
        Ok(match self.put(host, &want.path, &entry, &held)? {
            Put::Done => Ok(Fate::Restored),
            Put::NotYet(what) => Err(what),
            Put::Refused(why) => Ok(Fate::Refused(why)),
        })
    }

    /// Puts a file or link on disk at a path, in place of what the tree shows there or where nothing is.
    fn put(&mut self, host: &mut dyn Host, path: &RelPath, entry: &Entry, held: &Held) -> Result<Put, RoundError> {
        let shown = self.documents.view().at(path);
        if let Some(doc) = shown {
            self.look_who_writes();
            if self.in_use(host, doc).is_some() {
                return Ok(Put::Refused(IN_USE.to_owned()));
            }
        }
        let temp = temp_of(&shown.unwrap_or(DocId([0; 32])));
        if self.parts.fs.look(&temp)?.is_some() {
            self.parts.fs.remove_file(&temp)?;
        }
        match (&entry.target, held) {
            (Some(target), _) => self.parts.fs.make_link(&temp, target)?,
            (None, Held::Bytes(bytes)) => self.parts.fs.write_new(&temp, bytes, true)?,
            (None, Held::Elsewhere(content)) => {
                if !self.copy_held(host, content, &temp) {
                    return Ok(Put::Refused("its bytes are not on this device".into()));
                }
            }
            (None, Held::None) => return Ok(Put::Refused("it was no file".into())),
        }
        if entry.target.is_none() {
            self.parts.fs.set_mode(&temp, entry.exec, None, true)?;
        }
        let Some(doc) = shown else {
            return Ok(match self.parts.fs.rename_new(&temp, path) {
                Ok(()) => {
                    self.mark_dirty(host, path.clone(), 0);
                    Put::Done
                }
                Err(error) => {
                    let _left_for_the_sweep = self.parts.fs.remove_file(&temp);
                    if error.fault() == Fault::Exists {
                        self.mark_dirty(host, path.clone(), 0);
                        Put::NotYet(format!("something stands at {path} that is not taken in yet"))
                    } else {
                        Put::Refused(error.reason())
                    }
                }
            });
        };
        let mut library = self.library(host)?;
        let in_history = self.in_history(&mut library, &doc);
        self.shelf = library.into_shelf();
        let in_history = in_history?;
        Ok(match self.apply(host, |applier| applier.replace(doc, &temp, in_history)) {
            Ok(path) => {
                self.mark_dirty(host, path, 0);
                Put::Done
            }
            Err(Applied::Dirty(path)) => {
                self.mark_dirty(host, path.clone(), 0);
                Put::NotYet(format!("{path} changed on disk"))
            }
            Err(Applied::Problem(_, why)) => Put::Refused(why),
            Err(Applied::Done(..) | Applied::Left(_)) => Put::Done,
        })
    }

    fn try_carry_out(
        &mut self,
        host: &mut dyn Host,
        paths: &[RelPath],
        steps: &[Step],
    ) -> Result<Asked<()>, RoundError> {
        let paths: Vec<&RelPath> = paths.iter().collect();
        for step in steps {
            if let Some(asked) = self.come_to_rest(host, &paths)? {
                return Ok(asked);
            }
            let put = match step {
                Step::Write { doc, held } => self.write_over(host, doc, held)?,
                Step::WriteNew { path, held } => {
                    let there = self.parts.fs.look(path)?.is_some();
                    if there { Put::Done } else { self.put(host, path, &plain_file(), held)? }
                }
                Step::Settle { doc } => self.settle(host, *doc)?,
                Step::Splice { doc, heads, splices } => self.splice(host, *doc, heads, splices)?,
                Step::Registers { doc, ops } => self.set_registers(host, *doc, ops, Vec::new())?,
            };
            match put {
                Put::Done => {}
                Put::NotYet(what) => return Ok(Asked::NotYet(what)),
                Put::Refused(why) => return Ok(Asked::Refused(why)),
            }
        }
        match self.come_to_rest(host, &paths)? {
            Some(Asked::Refused(why)) => Ok(Asked::Refused(why)),
            // What was asked for is done; what follows follows by itself.
            _ => Ok(Asked::Done(())),
        }
    }

    fn write_over(&mut self, host: &mut dyn Host, doc: &DocId, held: &Held) -> Result<Put, RoundError> {
        let gone = || Put::Refused("the file is not on this disk".into());
        let (path, exec, hash) = {
            let base = lock(&self.parts.base);
            let Some((row, stat)) = base.on_disk(doc) else { return Ok(gone()) };
            let Some(path) = base.path_of(doc) else { return Ok(gone()) };
            (path, stat.exec, row.hash)
        };
        if Some(hash) == held.hash() {
            return Ok(Put::Done);
        }
        let put = self.put(host, &path, &Entry { exec, ..plain_file() }, held)?;
        self.follow(host)?;
        Ok(put)
    }

    fn settle(&mut self, host: &mut dyn Host, doc: DocId) -> Result<Put, RoundError> {
        let Some(entry) = self.documents.entry(&doc).cloned() else {
            return Ok(Put::Refused("its document cannot be read".into()));
        };
        if entry.lost_contents.is_empty() {
            return Ok(Put::Done);
        }
        match self.ingest_with(host, |ingest| ingest.as_reference(&doc, &entry))? {
            Some((op, writes)) => self.set_registers(host, doc, &[op], writes),
            None => Ok(Put::Done),
        }
    }

    fn splice(
        &mut self,
        host: &mut dyn Host,
        doc: DocId,
        heads: &[ChangeHash],
        splices: &[Splice],
    ) -> Result<Put, RoundError> {
        if !self.is_current(&doc) {
            return Ok(Put::NotYet(NOT_CURRENT.into()));
        }
        let wall_ns = host.now().wall_ns;
        let Some(ready) = self.ingest_one(host, doc, |ingest| ingest.text_edit(doc, heads, splices, wall_ns))? else {
            return Ok(Put::Refused("it changed at the same moment: try again".into()));
        };
        self.submit(host, vec![ready])?;
        self.follow(host)?;
        Ok(Put::Done)
    }

    fn set_registers(
        &mut self,
        host: &mut dyn Host,
        doc: DocId,
        ops: &[EntryOp],
        writes: Vec<Write>,
    ) -> Result<Put, RoundError> {
        if !self.is_current(&doc) {
            return Ok(Put::NotYet(NOT_CURRENT.into()));
        }
        let heads = self.documents.heads(&doc).unwrap_or_default().to_vec();
        let mut moved_on = false;
        let ready = self.ingest_one(host, doc, |ingest| {
            // A peer's change may have come since: that is not on the disk yet.
            moved_on = !ingest.is_at(&doc, &heads)?;
            if moved_on { Ok(None) } else { ingest.registers(doc, ops, writes) }
        })?;
        if moved_on {
            self.follow(host)?;
            return Ok(Put::NotYet(NOT_CURRENT.into()));
        }
        self.submit(host, ready.into_iter().collect())?;
        self.follow(host)?;
        Ok(Put::Done)
    }

    /// Whether the disk has what the document has, as far as is known, or nothing of it.
    fn is_current(&self, doc: &DocId) -> bool {
        let base = lock(&self.parts.base);
        let row = base.row(doc);
        row.is_none_or(|row| row.intent.is_none() && self.documents.heads(doc) == Some(&row.heads))
    }
}

/// Why a conflict does not end yet.
const NOT_CURRENT: &str = "the disk does not have the newest version yet";

/// A file of no particular kind.
fn plain_file() -> Entry {
    Entry {
        kind: Kind::File,
        parent: None,
        name: String::new(),
        alive: true,
        content: None,
        exec: false,
        target: None,
        lost_contents: Vec::new(),
        lost_place: false,
        parent_stamp: (0, Vec::new()),
        first_parent: None,
    }
}
