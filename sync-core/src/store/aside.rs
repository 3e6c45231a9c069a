//! Setting the rows of a space aside after it was built again under another handle.

use super::{Context as _, StoreError, Tables, doc_scoped, made_key, scope_range};
use crate::ids::ChangeHash;

impl Tables<'_> {
    /// Forgets everything under a handle of a space but the commits that `keep` names by replica and number, with
    /// their bodies: those are what no other handle holds.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_aside(&mut self, space: u32, keep: impl Fn(u32, u64) -> bool) -> Result<(), StoreError> {
        let mut docs = Vec::new();
        self.each_document(space, |_, row| docs.push(row.handle))?;
        for doc in docs {
            self.change.retain_in((doc, 0)..=(doc, u32::MAX), |_, _| false).context("set aside changes")?;
            self.derived.retain_in((doc, 0)..=(doc, u32::MAX), |_, _| false).context("set aside changes")?;
            let (first, last) = (doc_scoped(doc, &ChangeHash([0; 32])), doc_scoped(doc, &ChangeHash([0xff; 32])));
            let indices = first.as_slice()..=last.as_slice();
            self.change_index.retain_in(indices, |_, _| false).context("set aside changes")?;
            let (first, last) = (made_key(doc, &[0; 16], 0), made_key(doc, &[0xff; 16], u64::MAX));
            self.made.retain_in(first.as_slice()..=last.as_slice(), |_, _| false).context("set aside changes")?;
            self.snapshot.remove(doc).context("set aside a snapshot")?;
        }
        let scope = scope_range(space);
        let scope = || scope.start.as_slice()..scope.end.as_slice();
        self.document.retain_in(scope(), |_, _| false).context("set aside documents")?;
        self.entry.retain_in(scope(), |_, _| false).context("set aside entries")?;
        self.by_hash.retain_in(scope(), |_, _| false).context("set aside hashes")?;
        self.order.retain_in((space, 0)..(space + 1, 0), |_, _| false).context("set aside the order")?;
        self.replica.retain_in((space, 0)..(space + 1, 0), |_, _| false).context("set aside replicas")?;
        let logs = (space, 0, 0)..(space + 1, 0, 0);
        self.member.retain_in(logs.clone(), |_, ()| false).context("set aside members")?;
        self.commit.retain_in(logs.clone(), |(_, replica, n), _| keep(replica, n)).context("set aside commits")?;
        self.body.retain_in(logs, |(_, replica, n), _| keep(replica, n)).context("set aside bodies")?;
        self.space.remove(space).context("set aside a space")?;
        Ok(())
    }
}
