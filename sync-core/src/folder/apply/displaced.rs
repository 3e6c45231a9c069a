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
    /// [`Applied::Dirty`] when they went back, [`Applied::Problem`] when what was displaced could not be kept and went back.
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
            self.put_back(temp, target, ours)?;
            return Err(Applied::Dirty(target.clone()));
        }
        if in_history || row.kind == Kind::Link || planted(Plant::KeepNothing) {
            let gone = self.fs.remove_file(temp);
            return gone.map_err(|error| Applied::Problem(target.clone(), error.reason()));
        }
        if let Err(error) = self.keeper.keep(temp, target, Some(row.hash)) {
            // It may be all that there is of these bytes.
            self.put_back(temp, target, ours)?;
            return Err(Applied::Problem(target.clone(), format!("what was there cannot be kept: {error}")));
        }
        Ok(())
    }

    /// Puts what an exchange displaced back in its place.
    fn put_back(&mut self, temp: &RelPath, target: &RelPath, ours: &Stat) -> Result<(), Applied> {
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
        Ok(())
    }
}
