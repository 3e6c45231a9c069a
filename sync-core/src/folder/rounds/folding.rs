//! What disks do not tell apart in names: asked of ours, told to the members, and heard of theirs.

use super::{RoundError, Rounds, host::Host, lock};

impl Rounds {
    /// Asks the disk what it does not tell apart in names, unless it has said so since the start. One that cannot be asked,
    /// as one that may only be read, is what we told last, and is asked again.
    pub(super) fn ask_the_disk(&mut self, host: &dyn Host) {
        if self.folds.is_none() {
            self.folds = self.parts.fs.folds().ok();
            let told = || host.space().and_then(|space| space.own_folds);
            let folds = self.folds.or_else(told).unwrap_or_default();
            lock(&self.parts.base).set_folds(folds);
            self.ignored.set_folds(folds);
        }
    }

    /// Tells the members what our disk does not tell apart in names, and takes in what theirs do not.
    pub(super) fn follow_folds(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        self.ask_the_disk(host);
        let Some(space) = host.space() else { return Ok(()) };
        if let (Some(own), Some(told)) = (self.folds, space.own_folds)
            && own != told
        {
            host.tell_disk(own)?;
        }
        // Until they have heard of it, what our disk cannot hold must not be planned for it.
        self.documents.set_folds(space.folds.or(self.folds.unwrap_or_default()));
        if self.documents.refresh() {
            self.planned = false;
        }
        Ok(())
    }
}
