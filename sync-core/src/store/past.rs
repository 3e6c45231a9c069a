//! Reads of the past: commits by the beginning of their hash, the order of arrival from its end, changes in one go.
//!
//! Only what people ask of history needs these; the engine never does.

use super::{Context as _, Snapshot, StoreError, decode_row, row::ChangeRow, scoped};
use crate::ids::CommitHash;

impl Snapshot {
    /// Commits whose hash lies between two, both included, at most so many: hash, replica, number.
    ///
    /// # Errors
    /// When the store fails.
    pub fn commits_between(
        &self,
        space: u32,
        first: &CommitHash,
        last: &CommitHash,
        most: usize,
    ) -> Result<Vec<(CommitHash, u32, u64)>, StoreError> {
        let (first, last) = (scoped(space, &first.0), scoped(space, &last.0));
        let rows = self.by_hash.range(first.as_slice()..=last.as_slice()).context("find commits")?;
        rows.take(most)
            .map(|row| {
                let (key, value) = row.context("find commits")?;
                let hash = key.value().get(4..).and_then(CommitHash::from_slice);
                let (replica, n) = value.value();
                Ok((hash.ok_or(StoreError::Row { table: "by_hash" })?, replica, n))
            })
            .collect()
    }

    /// Commits in the order of arrival from its end, at most so many: place, replica, number.
    ///
    /// # Errors
    /// When the store fails.
    pub fn order_back(&self, space: u32, most: usize) -> Result<Vec<(u64, u32, u64)>, StoreError> {
        let rows = self.order.range((space, 0)..(space + 1, 0)).context("read the order")?;
        rows.rev()
            .take(most)
            .map(|row| {
                let (key, value) = row.context("read the order")?;
                let (replica, n) = value.value();
                Ok((key.value().1, replica, n))
            })
            .collect()
    }

    /// All changes of a document by index.
    ///
    /// # Errors
    /// When the store fails.
    pub fn changes(&self, doc: u64) -> Result<Vec<ChangeRow>, StoreError> {
        let rows = self.change.range((doc, 0)..=(doc, u32::MAX)).context("read changes")?;
        rows.map(|row| decode_row("change", row.context("read changes")?.1.value())).collect()
    }
}
