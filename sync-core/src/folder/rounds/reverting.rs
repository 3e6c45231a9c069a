//! A device that may only read takes back what its user changed: its disk shows again what the others have.
//!
//! What was made or edited here is in nobody's history, so all of it goes to the keeper before anything takes its place.
//! Where the others' bytes are not here yet, what stands on the disk stays until they are, as with what was
//! rejected (`holding`).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    RoundError, Rounds,
    host::{Host, Stopped},
    lock,
    restoring::Asked,
};
use crate::{
    doc::entry::Kind,
    folder::{
        Fault, Found, FoundKind, FsError,
        disk::temp_dir,
        local::{Into as Within, Local, Made, local},
    },
    ids::DocId,
    store::Write,
    tree::RelPath,
};

/// Looks that one taking back needs: moves are undone first, and then what is left is looked at anew.
const LOOKS_MAX: usize = 8;

/// What is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// It was made here: it is kept, and gone from the folder.
    Made,
    /// It was edited here: the edit is kept, and the others' version is back.
    Edited,
    /// It was deleted here, and is back.
    Deleted,
    /// It was moved here, and is where the others have it.
    Moved,
}

/// What a look found that others are not told, as far as it was asked for.
struct Changed {
    local: Local,
    /// Of what was made, where it is and what, directories before what is in them.
    made: Vec<(RelPath, FoundKind)>,
    /// Of what moved, from where and to where.
    moved: Vec<(DocId, RelPath, RelPath)>,
}

impl Rounds {
    /// Tells what a device that may only read has otherwise than the others, at these paths and below.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub fn changed_here(
        &mut self,
        host: &mut dyn Host,
        paths: &[RelPath],
    ) -> Result<Asked<Vec<(RelPath, Back)>>, Stopped> {
        Asked::or_stopped(self.try_changed_here(host, paths))
    }

    /// Takes that back.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub fn revert(&mut self, host: &mut dyn Host, paths: &[RelPath]) -> Result<Asked<Vec<(RelPath, Back)>>, Stopped> {
        Asked::or_stopped(self.try_revert(host, paths))
    }

    fn try_changed_here(
        &mut self,
        host: &mut dyn Host,
        paths: &[RelPath],
    ) -> Result<Asked<Vec<(RelPath, Back)>>, RoundError> {
        if let Some(not) = self.may_revert(host, paths)? {
            return Ok(not);
        }
        let changed = self.changed(host, paths)?;
        // What this look had to say of problems, the next round says.
        self.rescan();
        let mut back: BTreeMap<RelPath, Back> = BTreeMap::new();
        let base = lock(&self.parts.base);
        let of = |doc: &DocId| base.path_of(doc);
        back.extend(changed.made.into_iter().map(|(path, _)| (path, Back::Made)));
        back.extend(changed.local.touched.iter().filter_map(|(doc, _)| Some((of(doc)?, Back::Edited))));
        back.extend(changed.local.gone.iter().filter_map(|doc| Some((of(doc)?, Back::Deleted))));
        back.extend(changed.moved.into_iter().map(|(_, from, _)| (from, Back::Moved)));
        Ok(Asked::Done(back.into_iter().collect()))
    }

    fn may_revert<T>(&mut self, host: &mut dyn Host, paths: &[RelPath]) -> Result<Option<Asked<T>>, RoundError> {
        if !host.space().is_some_and(|space| space.reads_only) {
            let why = "this device may write here, so what was changed is everybody's: see kith log and kith restore";
            return Ok(Some(Asked::Refused(why.into())));
        }
        Ok(match self.rest_at(host, &paths.iter().collect::<Vec<_>>())? {
            Some(Asked::NotYet(what)) => Some(Asked::NotYet(what)),
            Some(Asked::Refused(why)) => Some(Asked::Refused(why)),
            Some(Asked::Done(())) | None => None,
        })
    }

    fn try_revert(
        &mut self,
        host: &mut dyn Host,
        paths: &[RelPath],
    ) -> Result<Asked<Vec<(RelPath, Back)>>, RoundError> {
        if let Some(not) = self.may_revert(host, paths)? {
            return Ok(not);
        }
        let mut back: BTreeMap<RelPath, Back> = BTreeMap::new();
        for _ in 0..LOOKS_MAX {
            let changed = self.changed(host, paths)?;
            if changed.moved.is_empty() {
                self.put_away_made(host, &changed.made, &mut back)?;
                self.refuse(host, changed.local, &mut back)?;
                break;
            }
            // From the deep to the shallow: what is in a directory that moved goes out of it first.
            let mut moved = changed.moved;
            moved.sort_by_key(|(_, _, to)| std::cmp::Reverse(to.components().len()));
            for (doc, from, to) in moved {
                self.move_back(host, doc, &from, &to)?;
                back.insert(from, Back::Moved);
            }
        }
        self.rescan();
        self.follow(host)?;
        Ok(Asked::Done(back.into_iter().collect()))
    }

    /// Looks at everything, and takes what is asked for of what differs.
    fn changed(&mut self, host: &dyn Host, paths: &[RelPath]) -> Result<Changed, RoundError> {
        let looks = self.look(true, &BTreeMap::new())?;
        let is_asked = |path: &RelPath| paths.iter().any(|asked| asked.contains(path));
        let mut local = {
            let base = lock(&self.parts.base);
            local(&base, looks)
        };
        let (mut made, mut moved) = (Vec::new(), Vec::new());
        {
            let base = lock(&self.parts.base);
            let is_asked_of = |doc: &DocId| base.path_of(doc).is_some_and(|path| is_asked(&path));
            let path_in = |into: Within, name: &str| match into {
                Within::Known(dir) => Some(base.dir_path(dir)?.join(name)),
                Within::Made(index) => Some(path_of_made(&local.made, index, &base)?.join(name)),
            };
            made.extend(local.made.iter().filter_map(|one| Some((path_in(one.into, &one.name)?, one.found.kind))));
            for one in &local.moved {
                if let Some((from, to)) = base.path_of(&one.doc).zip(path_in(one.into, &one.name)) {
                    moved.push((one.doc, from, to));
                }
            }
            local.gone.retain(is_asked_of);
            local.touched.retain(|(doc, _)| is_asked_of(doc));
        }
        made.retain(|(path, _)| is_asked(path));
        moved.retain(|(_, from, to)| is_asked(from) || is_asked(to));
        let edited: BTreeSet<DocId> = self.edited(host, &local.touched);
        local.touched.retain(|(doc, _)| edited.contains(doc));
        Ok(Changed { local, made, moved })
    }

    /// Which of these have other bytes, another text or another executable bit than the base knows.
    fn edited(&self, host: &dyn Host, touched: &[(DocId, Found)]) -> BTreeSet<DocId> {
        let mut edited: BTreeSet<DocId> = self.with_other_bytes(host, touched).into_iter().collect();
        let base = lock(&self.parts.base);
        for (doc, found) in touched {
            let Some((row, stat)) = base.on_disk(doc) else { continue };
            let is_other = match row.kind {
                Kind::Dir => false,
                Kind::File => stat.exec != found.stat.exec,
                Kind::Link => {
                    let text = base.path_of(doc).and_then(|path| self.parts.fs.read_link(&path).ok());
                    text.is_none_or(|text| crate::ids::ContentHash::of(text.as_bytes()) != row.hash)
                }
            };
            if is_other {
                edited.insert(*doc);
            }
        }
        edited
    }

    /// Puts an entry that moved where it was. Where that cannot be, nobody knows it any more: the next look finds it as
    /// something that was made, and the others' version is written anew.
    fn move_back(&mut self, host: &mut dyn Host, doc: DocId, from: &RelPath, to: &RelPath) -> Result<(), RoundError> {
        match self.parts.fs.rename_new(to, from) {
            Ok(()) => {
                for path in [from, to] {
                    if let Some((dir, _)) = path.split() {
                        self.parts.fs.flush_dir(&dir)?;
                    }
                }
                Ok(())
            }
            Err(error) if matches!(error.fault(), Fault::Exists | Fault::NotFound | Fault::NotEmpty) => {
                let docs = lock(&self.parts.base).subtree(doc);
                self.forget(host, &docs)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn forget(&mut self, host: &mut dyn Host, docs: &[DocId]) -> Result<(), RoundError> {
        let folder = self.parts.folder;
        self.put_rows(host, docs.iter().map(|doc| Write::Base { folder, doc: *doc, row: None }).collect())?;
        let mut base = lock(&self.parts.base);
        docs.iter().for_each(|doc| base.set(*doc, None));
        Ok(())
    }

    /// What was made goes to the keeper; directories go once they are empty, and stay with what is never synced.
    fn put_away_made(
        &mut self,
        host: &mut dyn Host,
        made: &[(RelPath, FoundKind)],
        back: &mut BTreeMap<RelPath, Back>,
    ) -> Result<(), RoundError> {
        for (path, kind) in made.iter().rev() {
            match kind {
                FoundKind::Dir => match self.parts.fs.remove_dir(path) {
                    Err(error) if matches!(error.fault(), Fault::NotEmpty | Fault::NotFound) => continue,
                    removed => removed?,
                },
                FoundKind::File | FoundKind::Link => self.put_away(host, path, *kind)?,
                FoundKind::Other => continue,
            }
            back.insert(path.clone(), Back::Made);
        }
        Ok(())
    }

    fn put_away(&mut self, host: &mut dyn Host, path: &RelPath, kind: FoundKind) -> Result<(), RoundError> {
        let failed = |source| FsError { operation: "keep a copy of", path: path.clone(), source };
        if kind != FoundKind::Link {
            return Ok(host.keeper().keep(path, path, None).map_err(failed)?);
        }
        // Of a link that rests in no history its text is kept, as a file.
        let temp = temp_dir().join("kept-link");
        match self.parts.fs.remove_file(&temp) {
            Err(error) if error.fault() != Fault::NotFound => return Err(error.into()),
            _ => {}
        }
        let text = self.parts.fs.read_link(path)?;
        self.parts.fs.write_new(&temp, text.as_bytes(), true)?;
        host.keeper().keep(&temp, path, None).map_err(failed)?;
        Ok(self.parts.fs.remove_file(path)?)
    }

    /// What was edited or deleted comes back as what was rejected does.
    fn refuse(
        &mut self,
        host: &mut dyn Host,
        local: Local,
        back: &mut BTreeMap<RelPath, Back>,
    ) -> Result<(), RoundError> {
        let (mut refused, mut links) = (Vec::new(), Vec::new());
        {
            let base = lock(&self.parts.base);
            for (doc, found) in &local.touched {
                let Some(path) = base.path_of(doc) else { continue };
                back.insert(path.clone(), Back::Edited);
                if found.kind == FoundKind::Link {
                    links.push((*doc, path));
                } else {
                    refused.push((*doc, false));
                }
            }
            for doc in &local.gone {
                back.extend(base.path_of(doc).map(|path| (path, Back::Deleted)));
                refused.push((*doc, true));
            }
        }
        for (doc, path) in links {
            self.forget(host, &[doc])?;
            self.put_away(host, &path, FoundKind::Link)?;
        }
        self.refuse_outgoing(host, refused)
    }
}

/// Where something that was made is.
fn path_of_made(made: &[Made], index: usize, base: &crate::folder::Base) -> Option<RelPath> {
    let mut names = Vec::new();
    let mut at = made.get(index)?;
    let dir = loop {
        names.push(&at.name);
        match at.into {
            Within::Known(dir) => break base.dir_path(dir)?,
            Within::Made(above) => at = made.get(above)?,
        }
    };
    Some(names.into_iter().rev().fold(dir, |path, name| path.join(name)))
}
