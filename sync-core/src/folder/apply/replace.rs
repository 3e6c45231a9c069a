//! Puts bytes of the user's choice where an entry is, as a program would that saves over it: an older version comes back.
//!
//! The base stays as it is, so that the next look takes the bytes in like any edit. As with every write, the disk must be
//! as the base has it, what comes out of an exchange is looked at, and what rests in no history is kept.

use super::{Applied, Applier, RESTORED, failed};
use crate::{
    doc::entry::Kind,
    folder::{
        FsError,
        disk::temp_dir,
        observe::{is_touched, kind_of},
    },
    ids::DocId,
    store::row::{BaseRow, Stat},
    tree::RelPath,
};

/// Where the bytes for an entry are made ready.
#[must_use]
pub(crate) fn temp_of(doc: &DocId) -> RelPath {
    temp_dir().join(&format!("{RESTORED}{doc}"))
}

impl Applier<'_> {
    /// Exchanges what an entry has on disk for a temporary file of the same kind. Says where to look.
    ///
    /// # Errors
    /// What stands in the way; the disk is as it was then, and the temporary file is gone.
    pub fn replace(&mut self, doc: DocId, temp: &RelPath, in_history: bool) -> Result<RelPath, Applied> {
        let checked = self.check_replace(doc, temp);
        let exchanged = checked.and_then(|(target, row, ours)| match self.fs.exchange(temp, &target) {
            Ok(()) => Ok((target, row, ours)),
            Err(error) => Err(failed(target, &error)),
        });
        let (target, row, ours) = exchanged.inspect_err(|_| {
            let _left_for_the_sweep = self.fs.remove_file(temp);
        })?;
        self.let_go(temp, &target, &row, &ours, in_history).inspect_err(|applied| {
            // What came out could not be kept: it goes back where it was.
            if matches!(applied, Applied::Problem(..)) && self.fs.exchange(temp, &target).is_ok() {
                let _left_for_the_sweep = self.fs.remove_file(temp);
            }
        })?;
        Ok(target)
    }

    /// Where the entry is, what the base has of it, and what the temporary file looks like.
    fn check_replace(&self, doc: DocId, temp: &RelPath) -> Result<(RelPath, BaseRow, Stat), Applied> {
        let not_there = || Applied::Problem(RelPath::root(), "the entry is not on this disk".into());
        let target = self.path(&doc).ok_or_else(not_there)?;
        let row = self.base.on_disk(&doc).map(|(row, _)| row.clone()).ok_or_else(not_there)?;
        let failed = |error: &FsError| failed(target.clone(), error);
        let found = self.fs.look(&target).map_err(|error| failed(&error))?;
        let as_known = found.is_some_and(|found| kind_of(found.kind) == Some(row.kind) && !is_touched(&row, &found));
        if !as_known {
            return Err(Applied::Dirty(target));
        }
        if row.kind == Kind::File {
            let made = self.fs.look(temp).map_err(|error| failed(&error))?;
            let exec = made.is_some_and(|made| made.stat.exec);
            self.fs.set_mode(temp, exec, Some(&target), true).map_err(|error| failed(&error))?;
        }
        let ours = self.fs.look(temp).map_err(|error| failed(&error))?.ok_or_else(not_there)?;
        Ok((target, row, ours.stat))
    }
}
