//! Points: states of a space that people can name, by a commit or by a time.
//!
//! A point is a set of commits that holds the past of each: so many of every log. What a clock says is shown to people
//! and asked for by people, and only here it chooses anything: which state to show. No state is ever decided by it.

use std::collections::BTreeMap;

use crate::{
    commit::Header,
    ids::CommitHash,
    store::{
        Snapshot, StoreError,
        row::{ChangeRow, CommitRow},
    },
};

/// Fewest hex digits that name a commit: below this a name would hardly ever be of one commit alone.
pub const REV_DIGITS_MIN: usize = 4;

/// Most commits that an ambiguous name lists.
const CANDIDATES_MAX: usize = 8;

/// Why a name is no commit's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevError {
    /// Not hex digits, too few, or too many.
    #[error("a revision is {REV_DIGITS_MIN} to 64 hex digits of a commit")]
    NotARevision,
    /// No commit's hash begins so.
    #[error("no commit begins with {0}")]
    Unknown(String),
    /// Several do.
    #[error("{} commits begin with {rev}", .commits.len())]
    Ambiguous {
        /// What was asked for.
        rev: String,
        /// Some of them.
        commits: Vec<CommitHash>,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A commit that was found by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its hash.
    pub hash: CommitHash,
    /// Its log, by handle.
    pub replica: u32,
    /// Its number there.
    pub n: u64,
    /// It and its past.
    pub point: Point,
}

/// So many commits of each log, by the handle of its replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Point(BTreeMap<u32, u64>);

impl Point {
    /// Everything that is held.
    ///
    /// # Errors
    /// When the store fails.
    pub fn now(rows: &Snapshot, space: u32) -> Result<Self, StoreError> {
        Ok(Self(rows.replicas(space)?.into_iter().map(|(handle, row)| (handle, row.n)).collect()))
    }

    /// A commit and its past.
    #[must_use]
    pub fn of(row: &CommitRow) -> Self {
        Self(row.clock.iter().copied().collect())
    }

    /// The same without one commit and what is behind it in its log.
    #[must_use]
    pub fn before(mut self, replica: u32, n: u64) -> Self {
        if let Some(held) = self.0.get_mut(&replica) {
            *held = (*held).min(n.saturating_sub(1));
        }
        self
    }

    /// Whether a commit is in it.
    #[must_use]
    pub fn has(&self, replica: u32, n: u64) -> bool {
        self.0.get(&replica).is_some_and(|held| *held >= n)
    }

    /// Whether a change is in it: some commit that brought it is.
    #[must_use]
    pub fn has_change(&self, row: &ChangeRow) -> bool {
        row.commits.iter().any(|(replica, n, _)| self.has(*replica, *n))
    }

    /// The one commit whose hash begins with these hex digits.
    ///
    /// # Errors
    /// When there is none or more than one.
    pub fn named(rows: &Snapshot, space: u32, rev: &str) -> Result<Named, RevError> {
        let (first, last) = hash_range(rev).ok_or(RevError::NotARevision)?;
        let mut found = rows.commits_between(space, &first, &last, CANDIDATES_MAX)?;
        match found.len() {
            0 => Err(RevError::Unknown(rev.to_owned())),
            1 => {
                let (hash, replica, n) = found.remove(0);
                let row = rows.commit_row(space, replica, n)?.ok_or(StoreError::Row { table: "commit" })?;
                Ok(Named { hash, replica, n, point: Self::of(&row) })
            }
            _ => {
                let commits = found.into_iter().map(|(hash, ..)| hash).collect();
                Err(RevError::Ambiguous { rev: rev.to_owned(), commits })
            }
        }
    }

    /// What had been committed by a time, in milliseconds since 1970, as far as the writers' clocks tell. A commit counts
    /// as no earlier than its past, and a stamp later than `now_ms` says nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub fn at_time(rows: &Snapshot, space: u32, at_ms: u64, now_ms: u64) -> Result<Self, StoreError> {
        let mut times: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        let mut next = 0;
        loop {
            let batch = rows.order_from(space, next)?;
            let Some((last, ..)) = batch.last() else { break };
            next = last + 1;
            for (_, replica, n) in batch {
                let row = rows.commit_row(space, replica, n)?.ok_or(StoreError::Row { table: "commit" })?;
                let stamp = wall_ms(&row)?;
                let past = row.clock.iter().filter_map(|(other, upto)| {
                    let held = times.get(other)?;
                    let upto = usize::try_from(*upto).ok()?.min(held.len());
                    held.get(upto.checked_sub(1)?).copied()
                });
                let stamp = if stamp <= now_ms { stamp } else { 0 };
                let time = past.chain([stamp]).max().unwrap_or_default();
                times.entry(replica).or_default().push(time);
            }
        }
        // Within a log times only grow.
        let counts = times.into_iter().map(|(replica, times)| (replica, times.partition_point(|time| *time <= at_ms)));
        Ok(Self(counts.map(|(replica, count)| (replica, count as u64)).collect()))
    }
}

/// What the writer's clock said, in milliseconds since 1970.
///
/// # Errors
/// When the row is damaged.
pub fn wall_ms(row: &CommitRow) -> Result<u64, StoreError> {
    let header = Header::decode(&row.header).map_err(|_| StoreError::Row { table: "commit" })?;
    Ok(header.wall_ms)
}

/// The first and the last hash that begin with some hex digits.
fn hash_range(rev: &str) -> Option<(CommitHash, CommitHash)> {
    if !(REV_DIGITS_MIN..=2 * CommitHash::LEN).contains(&rev.len()) || !rev.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let filled = |digit: char| format!("{rev}{}", digit.to_string().repeat(2 * CommitHash::LEN - rev.len()));
    Some((filled('0').parse().ok()?, filled('f').parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_span_all_hashes_that_begin_with_them() {
        let (first, last) = hash_range("aBc12").expect("are digits");
        assert_eq!(first.to_string(), format!("abc12{}", "0".repeat(59)));
        assert_eq!(last.to_string(), format!("abc12{}", "f".repeat(59)));
        let whole = "7".repeat(64);
        assert_eq!(hash_range(&whole).map(|(first, last)| first == last), Some(true));
        for rev in ["", "abc", "abcg", "héad", &"7".repeat(65)] {
            assert_eq!(hash_range(rev), None, "{rev}");
        }
    }

    #[test]
    fn a_point_holds_the_beginning_of_each_log() {
        let point = Point([(1, 5), (2, 1)].into());
        assert!(point.has(1, 5) && point.has(1, 1) && !point.has(1, 6) && !point.has(3, 1));
        let before = point.before(1, 4);
        assert!(before.has(1, 3) && !before.has(1, 4) && before.has(2, 1));
        assert!(!before.before(2, 1).has(2, 1));
    }
}
