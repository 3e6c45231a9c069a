//! Looks at the disk and compares it with the base, directory by directory.
//!
//! A look costs one `statx` a file and reads no content. What is as the base has it leaves no trace; the rest is
//! [`Looks`], from which [`local`](super::local) tells what the user did.

use std::collections::{BTreeMap, BTreeSet};

use super::{Base, Fault, Found, FoundKind, Fs, FsError, Ignored, Listed, Problem, mounts::is_other};
use crate::{
    doc::entry::Kind,
    ids::DocId,
    store::row::BaseRow,
    tree::{RelPath, check_link, check_name},
};

/// Something on disk that the base does not know at this place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appeared {
    /// Its name.
    pub name: String,
    /// What it is.
    pub found: Found,
    /// What is in it, if it is a directory.
    pub children: Vec<Self>,
    /// What else is, or may be.
    pub unseen: Unseen,
    /// Whether it cannot be synced, or nothing is in it, as far as can be seen, but what is ignored, the rules that say so,
    /// and what cannot be synced.
    pub left_alone: bool,
}

/// What is not told of a directory: what stood there before may still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// These names: what has them cannot be synced.
    Names(Vec<String>),
    /// Anything: it cannot be listed.
    All,
}

impl Default for Unseen {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

/// Where disk and base differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// Same place and kind under another name that the disk has as the same one, with that name.
    pub renamed: Vec<(DocId, String, Found)>,
    /// Same place and kind, another look: it may have other bytes.
    pub touched: Vec<(DocId, Found)>,
    /// Directories that are on another file system than the base has them on, and lack what it has in them: nothing is known
    /// of what is in them.
    pub away: Vec<DocId>,
    /// In the base and not there, the top of each missing tree.
    pub vanished: Vec<DocId>,
    /// There and not in the base, with the directory that it is in.
    pub appeared: Vec<(Option<DocId>, Appeared)>,
    /// What cannot be synced.
    pub problems: Vec<Problem>,
    /// Directories whose ignore file was seen.
    pub ignore_files: Vec<RelPath>,
}

/// The kind of entry that something on disk can become.
#[must_use]
pub const fn kind_of(found: FoundKind) -> Option<Kind> {
    match found {
        FoundKind::Dir => Some(Kind::Dir),
        FoundKind::File => Some(Kind::File),
        FoundKind::Link => Some(Kind::Link),
        FoundKind::Other => None,
    }
}

/// Whether a look at an entry on disk says that its bytes or its executable bit may have changed.
#[must_use]
pub fn is_touched(row: &BaseRow, found: &Found) -> bool {
    let Some(stat) = row.stat else {
        return true;
    };
    match row.kind {
        // A directory's own times change with its entries, which are looked at one by one.
        Kind::Dir => !stat.same_file(&found.stat),
        Kind::File | Kind::Link => {
            row.racy
                || !stat.same_content(&found.stat)
                || stat.ctime_ns != found.stat.ctime_ns
                || stat.exec != found.stat.exec
        }
    }
}

/// An entry of the base and its row.
type Known<'a> = (DocId, &'a BaseRow);

/// Compares parts of a disk with the base.
#[derive(Debug)]
pub struct Observer<'a> {
    fs: &'a dyn Fs,
    base: &'a Base,
    ignored: &'a Ignored,
    looks: Looks,
    /// Where something new was seen. A path may be looked at for itself and again with the directory that it is in.
    appeared: BTreeSet<RelPath>,
    /// What directories hold in which paths were looked at one by one, by what names have in common for the disk.
    listings: BTreeMap<RelPath, BTreeMap<String, Vec<Listed>>>,
    /// Files that somebody was seen to write into.
    written: BTreeSet<&'a RelPath>,
}

impl<'a> Observer<'a> {
    /// Looks at this disk. Files of `written` count as touched whatever they look like.
    #[must_use]
    pub fn new(fs: &'a dyn Fs, base: &'a Base, ignored: &'a Ignored, written: BTreeSet<&'a RelPath>) -> Self {
        let (looks, appeared, listings) = (Looks::default(), BTreeSet::new(), BTreeMap::new());
        Self { fs, base, ignored, looks, appeared, listings, written }
    }

    /// What was seen.
    #[must_use]
    pub fn finish(mut self) -> Looks {
        let mut seen = BTreeSet::new();
        self.looks.away.retain(|doc| seen.insert(*doc));
        seen.clear();
        self.looks.vanished.retain(|doc| seen.insert(*doc));
        seen.clear();
        self.looks.touched.retain(|(doc, _)| seen.insert(*doc));
        seen.clear();
        self.looks.renamed.retain(|(doc, ..)| seen.insert(*doc));
        self.looks
    }

    /// Looks at a directory of the base and everything in it.
    ///
    /// # Errors
    /// When the directory itself cannot be read; one below it that cannot be is a problem, and nothing in it is missing.
    pub fn directory(&mut self, dir: Option<DocId>, path: &RelPath) -> Result<(), FsError> {
        let (base, ignored) = (self.base, self.ignored);
        let known = base.known(dir).map(|(name, doc, row)| (name, (*doc, row))).collect();
        let listed = self.fs.list(path)?;
        self.compare_all(dir, path, listed, known, |path, is_dir| ignored.is_ignored(path, is_dir));
        let ousted =
            base.ousted(dir).filter(|(_, row)| !ignored.is_ignored(&path.join(&row.name), row.kind == Kind::Dir));
        self.looks.vanished.extend(ousted.map(|(doc, _)| doc));
        Ok(())
    }

    /// Compares what a directory holds, or a part of it, with what the base has there.
    fn compare_all(
        &mut self,
        dir: Option<DocId>,
        path: &RelPath,
        listed: Vec<Listed>,
        mut missing: BTreeMap<&'a String, Known<'a>>,
        is_ignored: impl Fn(&RelPath, bool) -> bool,
    ) {
        let respelled = self.respelled(&listed, &missing);
        for listed in listed {
            let was = listed.name.as_ref().ok().and_then(|name| respelled.get(name)).copied();
            if let Ok(name) = &listed.name
                && kind_of(listed.found.kind).is_none()
            {
                // What cannot be synced stands in the place of an entry, which is not deleted by that.
                missing.remove(was.map_or(name, |(was, _)| was));
            }
            let Some(name) = self.usable(path, listed.name, &listed.found) else {
                continue;
            };
            let below = path.join(&name);
            let known = missing.remove(&name).or_else(|| self.known(self.base.child(dir, &name)));
            if is_ignored(&below, listed.found.kind == FoundKind::Dir) {
                continue;
            }
            let known = known.or_else(|| missing.remove(was?.0));
            self.compare(dir, &below, known, name, listed.found);
        }
        let gone = missing
            .into_iter()
            .filter(|(name, (_, row))| !is_ignored(&path.join(name), row.kind == Kind::Dir))
            .map(|(_, (doc, _))| doc);
        self.looks.vanished.extend(gone);
    }

    /// Names that a disk which folds them shows in place of names of the base, by the new one. What stands there under its
    /// old name, too, as where another disk is mounted, is nobody else.
    fn respelled(
        &self,
        listed: &[Listed],
        missing: &BTreeMap<&'a String, Known<'a>>,
    ) -> BTreeMap<String, (&'a String, DocId)> {
        let folds = self.base.folds();
        if !folds.any() {
            return BTreeMap::new();
        }
        let here: BTreeSet<&String> = listed.iter().filter_map(|listed| listed.name.as_ref().ok()).collect();
        let away = missing.iter().filter(|(name, _)| !here.contains(**name));
        let away: BTreeMap<_, _> = away.map(|(name, (doc, _))| (folds.key(name), (*name, *doc))).collect();
        let new = here.into_iter().filter(|name| !missing.contains_key(*name));
        new.filter_map(|name| Some((name.clone(), *away.get(&folds.key(name))?))).collect()
    }

    /// Looks at one path that may have changed. The directory must be in the base; where it is not, the nearest one
    /// above that is stands for it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn path(&mut self, path: &RelPath) -> Result<(), FsError> {
        let mut dir = None;
        let mut at = RelPath::root();
        let Some((last, above)) = path.components().split_last() else {
            return self.directory(None, path);
        };
        let mut name = last;
        for component in above {
            let known =
                self.base.child(dir, component).or_else(|| self.base.namesakes(dir, component).first().copied());
            let row = known.and_then(|doc| self.base.row(&doc)).filter(|row| row.kind == Kind::Dir);
            let Some(row) = row else {
                name = component;
                break;
            };
            dir = known;
            at = at.join(&row.name);
        }
        if let Some(above) = self.other_above(dir)? {
            return self.path(&above);
        }
        if self.base.folds().any() {
            return self.names_like(dir, &at, name);
        }
        let path = at.join(name);
        let known = self.base.child(dir, name);
        match self.fs.look(&path)? {
            None => match self.not_a_directory(&at)? {
                // Something else stands in the place of a directory above: that is to be looked at.
                Some(above) => self.path(&above)?,
                None => self.looks.vanished.extend(known),
            },
            Some(found) => {
                if self.ignored.covers(&path, found.kind == FoundKind::Dir) {
                    return Ok(());
                }
                if let Some(name) = self.usable(&at, Ok(name.clone()), &found) {
                    self.compare(dir, &path, self.known(known), name, found);
                }
            }
        }
        Ok(())
    }

    /// Looks at whatever a disk that folds names has under this one: a look by name would not tell how it is written.
    fn names_like(&mut self, dir: Option<DocId>, path: &RelPath, name: &str) -> Result<(), FsError> {
        let (base, ignored) = (self.base, self.ignored);
        let key = base.folds().key(name).into_owned();
        if !self.listings.contains_key(path) {
            let mut listing: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
            let all = match self.fs.list(path) {
                Err(error) if error.fault() == Fault::NotFound => Vec::new(),
                listed => listed?,
            };
            for listed in all {
                if let Ok(name) = &listed.name {
                    listing.entry(base.folds().key(name).into_owned()).or_default().push(listed);
                }
            }
            self.listings.insert(path.clone(), listing);
        }
        let listed = self.listings.get(path).and_then(|listing| listing.get(&key)).cloned().unwrap_or_default();
        let known = base.namesakes(dir, name).into_iter();
        let known = known.filter_map(|doc| Some((doc, base.row(&doc)?))).map(|known| (&known.1.name, known)).collect();
        self.compare_all(dir, path, listed, known, |path, is_dir| ignored.covers(path, is_dir));
        Ok(())
    }

    /// The first component of a path at which something stands that is no directory.
    fn not_a_directory(&self, path: &RelPath) -> Result<Option<RelPath>, FsError> {
        let mut at = RelPath::root();
        for component in path.components() {
            at = at.join(component);
            match self.fs.look(&at)? {
                Some(found) if found.kind != FoundKind::Dir => return Ok(Some(at)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The first directory, from the top, that is on another file system than it was, or was the top of one and is not
    /// there: what is missing below may be missing with it.
    fn other_above(&self, dir: Option<DocId>) -> Result<Option<RelPath>, FsError> {
        let mut above = Vec::new();
        let mut next = dir;
        while let Some((doc, (row, stat))) = next.and_then(|doc| Some((doc, self.base.on_disk(&doc)?))) {
            let Some(path) = self.base.path_of(&doc) else { break };
            let found = self.fs.look(&path)?.filter(|found| found.kind == FoundKind::Dir);
            let is_as_known = match &found {
                Some(found) => !is_other(&stat, &found.stat),
                None => !self.base.is_mount(&doc),
            };
            if above.is_empty() && found.is_some() && is_as_known {
                return Ok(None);
            }
            above.push((path, is_as_known));
            next = row.parent;
        }
        Ok(above.into_iter().rev().find(|(_, is_as_known)| !is_as_known).map(|(path, _)| path))
    }

    /// Whether a directory lacks anything that the base has in it.
    fn lacks(&self, doc: DocId, path: &RelPath) -> bool {
        let Ok(listed) = self.fs.list(path) else { return true };
        let here: BTreeMap<&str, FoundKind> =
            listed.iter().filter_map(|listed| Some((listed.name.as_deref().ok()?, listed.found.kind))).collect();
        self.base.children(Some(doc)).any(|(name, child)| {
            let (below, kind) = (path.join(name), self.base.row(child).map(|row| row.kind));
            if self.ignored.covers(&below, kind == Some(Kind::Dir)) {
                return false;
            }
            let is_there = here.get(name.as_str()).is_some_and(|found| kind_of(*found) == kind);
            !is_there || (kind == Some(Kind::Dir) && self.lacks(*child, &below))
        })
    }

    /// Why a link cannot be an entry, if it cannot.
    fn fault_of_link(&self, path: &RelPath) -> Option<String> {
        match self.fs.read_link(path) {
            Ok(target) => check_link(path, &target).err().map(|fault| fault.to_string()),
            Err(error) => Some(error.reason()),
        }
    }

    /// The name of something that can become an entry; else it is a problem.
    fn usable(&mut self, dir: &RelPath, name: Result<String, String>, found: &Found) -> Option<String> {
        let (name, reason) = match name {
            Err(shown) => (shown, "the name is not UTF-8".to_owned()),
            Ok(name) if kind_of(found.kind).is_none() => (name, "neither a file, a directory nor a link".to_owned()),
            Ok(name) => match check_name(&name) {
                Ok(()) => return Some(name),
                // Our own state and version control are left alone, which is no problem.
                Err(crate::tree::NameFault::Reserved) => return None,
                Err(fault) => (name, fault.to_string()),
            },
        };
        self.looks.problems.push(Problem { path: dir.join(&name), reason });
        None
    }

    fn known(&self, doc: Option<DocId>) -> Option<Known<'a>> {
        doc.and_then(|doc| Some((doc, self.base.row(&doc)?)))
    }

    fn compare(&mut self, dir: Option<DocId>, path: &RelPath, known: Option<Known<'a>>, name: String, found: Found) {
        if name == super::ignored::IGNORE_FILE
            && let Some((above, _)) = path.split()
        {
            self.looks.ignore_files.push(above);
        }
        match known {
            Some((doc, row))
                if found.kind == FoundKind::Dir
                    && row.stat.is_some_and(|was| row.kind == Kind::Dir && is_other(&was, &found.stat))
                    && self.lacks(doc, path) =>
            {
                self.looks.away.push(doc);
            }
            Some((doc, row)) if Some(row.kind) == kind_of(found.kind) => {
                if row.name != name {
                    self.looks.renamed.push((doc, name, found));
                } else if is_touched(row, &found) || (row.kind == Kind::File && self.written.contains(path)) {
                    self.looks.touched.push((doc, found));
                }
                if row.kind == Kind::Dir {
                    self.below(path, |observer| observer.directory(Some(doc), path));
                }
            }
            other => {
                if other.is_some()
                    && found.kind == FoundKind::Link
                    && let Some(reason) = self.fault_of_link(path)
                {
                    // What cannot be synced stands in the place of an entry, which is not deleted by that.
                    self.looks.problems.push(Problem { path: path.clone(), reason });
                    return;
                }
                self.looks.vanished.extend(other.map(|(doc, _)| doc));
                if !self.appeared.insert(path.clone()) {
                    return;
                }
                let appeared = self.with_children(path, name, found);
                self.looks.appeared.push((dir, appeared));
            }
        }
    }

    fn below(&mut self, path: &RelPath, look: impl FnOnce(&mut Self) -> Result<(), FsError>) {
        if let Err(error) = look(self) {
            self.looks.problems.push(Problem { path: path.clone(), reason: error.reason() });
        }
    }

    /// Something that the base does not know at this path, with everything that is in it.
    fn with_children(&mut self, path: &RelPath, name: String, found: Found) -> Appeared {
        let mut appeared = Appeared { name, found, children: Vec::new(), unseen: Unseen::default(), left_alone: false };
        if found.kind == FoundKind::Dir {
            // Until it can be listed nobody knows what is in it.
            (appeared.unseen, appeared.left_alone) = (Unseen::All, true);
            self.below(path, |observer| {
                (appeared.children, appeared.unseen, appeared.left_alone) = observer.unknown(path)?;
                Ok(())
            });
        } else if found.kind == FoundKind::Link
            && let Some(reason) = self.fault_of_link(path)
        {
            self.looks.problems.push(Problem { path: path.clone(), reason });
            appeared.left_alone = true;
        }
        appeared
    }

    /// Everything in a directory that the base does not know, and whether it is one to be left alone.
    fn unknown(&mut self, path: &RelPath) -> Result<(Vec<Appeared>, Unseen, bool), FsError> {
        let mut left = false;
        let mut all: Vec<Appeared> = Vec::new();
        let mut unseen = Vec::new();
        for listed in self.fs.list(path)? {
            let named = listed.name.clone();
            let Some(name) = self.usable(path, listed.name, &listed.found) else {
                unseen.extend(named);
                left = true;
                continue;
            };
            let below = path.join(&name);
            if self.ignored.is_ignored(&below, listed.found.kind == FoundKind::Dir) {
                left = true;
                continue;
            }
            if name == super::ignored::IGNORE_FILE {
                self.looks.ignore_files.push(path.clone());
            }
            let appeared = self.with_children(&below, name, listed.found);
            all.push(appeared);
        }
        let is_left = |child: &Appeared| child.left_alone || child.name == super::ignored::IGNORE_FILE;
        let left_alone = (left || all.iter().any(|child| child.left_alone)) && all.iter().all(is_left);
        Ok((all, Unseen::Names(unseen), left_alone))
    }
}
