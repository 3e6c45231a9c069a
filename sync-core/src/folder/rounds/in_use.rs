//! Files that a program has open for writing. What it writes next goes into the very file that it has open, and would be lost
//! with that: it is neither replaced nor deleted before it is closed.

use super::{Rounds, host::Host};
use crate::{folder::apply::Applied, ids::DocId, tree::RelPath};

/// Why a file stays as it is.
pub(super) const IN_USE: &str =
    "a program has it open for writing: what others made of it comes here when that closes it";

impl Rounds {
    /// Asks anew which files are in use, as late as can be before some are replaced or deleted.
    pub(super) fn look_who_writes(&mut self) {
        self.in_use = self.parts.fs.open_for_writing();
    }

    /// Where an entry is, if it is in use.
    pub(super) fn in_use(&mut self, host: &mut dyn Host, doc: DocId) -> Option<RelPath> {
        if self.in_use.is_empty() {
            return None;
        }
        self.apply(host, |applier| applier.path(&doc)).filter(|path| self.in_use.contains(path))
    }

    /// Whether an entry is in use, which is noted then: it is tried again.
    pub(super) fn is_in_use(&mut self, host: &mut dyn Host, doc: DocId) -> bool {
        let Some(path) = self.in_use(host, doc) else { return false };
        self.note(host, Some(Applied::Problem(path, IN_USE.to_owned())));
        true
    }
}
