//! What comes out of an exchange: let go, kept, or put back where it was.

use super::{Applied, Applier, failed};
use crate::{
    doc::entry::Kind,
    probe::{Plant, planted},
    store::row::{BaseRow, Stat},
    tree::RelPath,
};

impl Applier<'_> {
    /// Looks at what an exchange displaced, and lets it go or keeps it; bytes that the base did not know go back. `ours` is
    /// what was put in their place.
    ///
    /// # Errors
    /// [`Applied::Dirty`] when they went back, [`Applied::Problem`] when what was displaced could not be kept and lies at
    /// `temp`.
    pub(super) fn let_go(
        &mut self,
        temp: &RelPath,
        target: &RelPath,
        row: &BaseRow,
        ours: &Stat,
        in_history: bool,
    ) -> Result<(), Applied> {
        let displaced = self.fs.look(temp).map_err(|error| failed(target.clone(), &error))?;
        let unseen = planted(Plant::WriteWithoutCheck);
        let as_known =
            unseen || displaced.is_some_and(|found| row.stat.is_some_and(|stat| stat.same_content(&found.stat)));
        if !as_known {
            self.fs.exchange(temp, target).map_err(|error| failed(target.clone(), &error))?;
            // Somebody may have saved into ours in between.
            match self.fs.look(temp) {
                Ok(Some(found)) if !ours.same_content(&found.stat) => {
                    let _stays_where_it_is = self.keeper.keep(temp, target, None);
                }
                _ => {
                    let _left_for_the_sweep = self.fs.remove_file(temp);
                }
            }
            return Err(Applied::Dirty(target.clone()));
        }
        let gone = if in_history || row.kind == Kind::Link || planted(Plant::KeepNothing) {
            self.fs.remove_file(temp).map_err(|error| error.reason())
        } else {
            self.keeper.keep(temp, target, Some(row.hash)).map_err(|error| error.to_string())
        };
        gone.map_err(|reason| Applied::Problem(target.clone(), reason))
    }
}
