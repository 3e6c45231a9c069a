//! Version vectors: which commits of a space somebody has.
//!
//! A vector maps each replica to the length of its log and the first half of the hash of its last commit. Commits
//! are causal and logs have no holes, so a vector names one exact set of commits. The hash makes a copied or
//! restored store visible: equal numbers with unequal hashes are a fork, never "in sync".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{CommitHash, ReplicaId},
    limits,
    probe::{Plant, planted},
};

/// Length of a replica's log and the head of its last commit's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// Number of the last commit; at least 1.
    pub n: u64,
    /// First 16 bytes of that commit's hash.
    pub hash: [u8; 16],
}

impl Tip {
    /// The tip that `hash` makes as commit `n`.
    #[must_use]
    pub fn new(n: u64, hash: &CommitHash) -> Self {
        let mut short = [0; 16];
        if !planted(Plant::ForgetHashInVector) {
            short.copy_from_slice(&hash.0[..16]);
        }
        Self { n, hash: short }
    }

    /// Whether `hash` is the commit that this tip names.
    #[must_use]
    pub fn names(&self, hash: &CommitHash) -> bool {
        self.hash == hash.0[..16]
    }
}

/// Commits `from..=to` of one replica's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRange {
    /// Whose log.
    pub replica: ReplicaId,
    /// First number, from 1.
    pub from: u64,
    /// Last number, inclusive.
    pub to: u64,
}

/// How two vectors relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Causality {
    /// Same commits.
    Equal,
    /// The left one has everything of the right one, and more.
    After,
    /// The right one has everything of the left one, and more.
    Before,
    /// Each has something that the other lacks.
    Concurrent,
}

/// Replica → tip of its log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionVector(BTreeMap<ReplicaId, Tip>);

impl VersionVector {
    /// The vector of an empty store.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The tip of a replica's log, if anything of it is held.
    #[must_use]
    pub fn tip(&self, replica: &ReplicaId) -> Option<Tip> {
        self.0.get(replica).copied()
    }

    /// Length of a replica's log; 0 when nothing is held.
    #[must_use]
    pub fn len_of(&self, replica: &ReplicaId) -> u64 {
        self.0.get(replica).map_or(0, |tip| tip.n)
    }

    /// Moves a replica forward; a smaller or equal number leaves the vector as it is.
    pub fn advance(&mut self, replica: ReplicaId, tip: Tip) {
        let held = self.0.entry(replica).or_insert(tip);
        if tip.n > held.n {
            *held = tip;
        }
    }

    /// Moves a replica back to `n` commits of which no hash is known, because their owner asks for what follows.
    pub fn rewind(&mut self, replica: ReplicaId, n: u64) {
        if n == 0 {
            self.0.remove(&replica);
        } else if let Some(held) = self.0.get_mut(&replica)
            && held.n > n
        {
            *held = Tip { n, hash: [0; 16] };
        }
    }

    /// Takes the larger tip of each replica.
    pub fn merge(&mut self, other: &Self) {
        for (replica, tip) in &other.0 {
            self.advance(*replica, *tip);
        }
    }

    /// Replicas and tips in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (&ReplicaId, &Tip)> {
        self.0.iter()
    }

    /// Number of replicas.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a vector from the wire is within bounds: no empty logs, not too many replicas.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.0.len() <= limits::REPLICAS_MAX && self.0.values().all(|tip| tip.n > 0)
    }

    /// What `self` has and `other` lacks, one range a replica.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Vec<LogRange> {
        self.0
            .iter()
            .filter_map(|(replica, tip)| {
                let held = other.len_of(replica);
                (tip.n > held).then(|| LogRange { replica: *replica, from: held + 1, to: tip.n })
            })
            .collect()
    }

    /// Whether everything that `other` counts is counted here. Hashes are not compared.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(replica, tip)| self.len_of(replica) >= tip.n)
    }

    /// How the two relate by their numbers. Equal numbers with unequal hashes are a fork, which
    /// [`forked_at`](Self::forked_at) finds.
    #[must_use]
    pub fn causality(&self, other: &Self) -> Causality {
        match (self.covers(other), other.covers(self)) {
            (true, true) => Causality::Equal,
            (true, false) => Causality::After,
            (false, true) => Causality::Before,
            (false, false) => Causality::Concurrent,
        }
    }

    /// Replicas of equal length and unequal hash.
    pub fn forked_at<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = ReplicaId> + 'a {
        self.0.iter().filter_map(|(replica, tip)| {
            other.tip(replica).is_some_and(|theirs| theirs.n == tip.n && theirs.hash != tip.hash).then_some(*replica)
        })
    }
}

impl FromIterator<(ReplicaId, Tip)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, Tip)>>(tips: I) -> Self {
        Self(tips.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector() -> impl Strategy<Value = VersionVector> {
        proptest::collection::btree_map(0u8..6, 1u64..20, 0..6).prop_map(|logs| {
            logs.into_iter()
                .map(|(replica, n)| {
                    let hash = CommitHash([n as u8; 32]);
                    (ReplicaId([replica; 16]), Tip::new(n, &hash))
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn sending_what_is_beyond_makes_the_other_cover(a in vector(), mut b in vector()) {
            for range in a.beyond(&b) {
                prop_assert!(range.from == b.len_of(&range.replica) + 1 && range.from <= range.to);
                b.advance(range.replica, a.tip(&range.replica).expect("a range is of a held log"));
            }
            prop_assert!(b.covers(&a));
        }

        #[test]
        fn merge_is_the_least_upper_bound(a in vector(), b in vector()) {
            let mut ab = a.clone();
            ab.merge(&b);
            let mut ba = b.clone();
            ba.merge(&a);
            prop_assert_eq!(&ab, &ba);
            prop_assert!(ab.covers(&a) && ab.covers(&b));
            prop_assert_eq!(ab.causality(&ab), Causality::Equal);
        }
    }

    #[test]
    fn a_log_of_the_largest_length_has_nothing_beyond_it() {
        let of = |n| VersionVector::from_iter([(ReplicaId([7; 16]), Tip::new(n, &CommitHash([1; 32])))]);
        assert_eq!(of(5).beyond(&of(u64::MAX)), []);
        let range = LogRange { replica: ReplicaId([7; 16]), from: 6, to: u64::MAX };
        assert_eq!(of(u64::MAX).beyond(&of(5)), [range]);
    }

    #[test]
    fn equal_numbers_with_other_hashes_are_a_fork() {
        let replica = ReplicaId([7; 16]);
        let one: VersionVector = [(replica, Tip::new(3, &CommitHash([1; 32])))].into_iter().collect();
        let two: VersionVector = [(replica, Tip::new(3, &CommitHash([2; 32])))].into_iter().collect();
        assert_eq!(one.causality(&two), Causality::Equal);
        assert_eq!(one.forked_at(&two).collect::<Vec<_>>(), [replica]);
    }

    #[test]
    fn a_vector_has_so_many_replicas_and_no_more() {
        let of = |count: u32| -> VersionVector {
            let replica = |index: u32| {
                let mut id = [0; 16];
                id[..4].copy_from_slice(&index.to_le_bytes());
                (ReplicaId(id), Tip::new(1, &CommitHash([1; 32])))
            };
            (0..count).map(replica).collect()
        };
        assert!(of(limits::REPLICAS_MAX as u32).is_well_formed());
        assert!(!of(limits::REPLICAS_MAX as u32 + 1).is_well_formed());
    }
}
