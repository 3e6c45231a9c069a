//! Version vectors against a naive model.

use std::collections::BTreeMap;

use sync_core::{
    ids::{CommitHash, ReplicaId, SpaceTag},
    version::{Causality, Tip, VersionVector},
    wire::{self, Message},
};

use crate::input::Input;

/// Replica → number and hash, as a map that knows nothing.
type Model = BTreeMap<u8, (u64, u8)>;

/// How many vectors are in play.
const VECTORS: usize = 3;

/// Any history of three vectors is that of three maps, and their order and merge obey the laws of sets of commits.
///
/// # Panics
/// When a promise is broken.
pub fn vector(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut vectors: [VersionVector; VECTORS] = Default::default();
    let mut models: [Model; VECTORS] = Default::default();
    let mut steps = 0;
    while !input.is_empty() && steps < 64 {
        steps += 1;
        let (at, other) = (input.below(VECTORS), input.below(VECTORS));
        let replica = input.byte() % 5;
        match input.below(4) {
            0 | 1 => {
                let (n, hash) = (input.number().max(1), input.byte() % 2);
                vectors[at].advance(ReplicaId([replica; 16]), Tip::new(n, &CommitHash([hash; 32])));
                let held = models[at].entry(replica).or_insert((n, hash));
                if n > held.0 {
                    *held = (n, hash);
                }
            }
            2 => {
                let n = input.number();
                vectors[at].rewind(ReplicaId([replica; 16]), n);
                match models[at].get_mut(&replica) {
                    Some(_) if n == 0 => drop(models[at].remove(&replica)),
                    Some(held) if held.0 > n => *held = (n, 0),
                    _ => {}
                }
            }
            _ => {
                let from = vectors[other].clone();
                vectors[at].merge(&from);
                for (replica, tip) in models[other].clone() {
                    let held = models[at].entry(replica).or_insert(tip);
                    if tip.0 > held.0 {
                        *held = tip;
                    }
                }
            }
        }
        assert_same(&vectors[at], &models[at]);
    }
    for (a, model_a) in vectors.iter().zip(&models) {
        assert_travels(a);
        for (b, model_b) in vectors.iter().zip(&models) {
            assert_order(a, b, model_a, model_b);
            for c in &vectors {
                assert_eq!(numbers(&merged(&merged(a, b), c)), numbers(&merged(a, &merged(b, c))));
            }
        }
    }
}

fn assert_same(vector: &VersionVector, model: &Model) {
    let read: Model = vector.iter().map(|(replica, tip)| (replica.0[0], (tip.n, tip.hash[0]))).collect();
    assert_eq!(&read, model);
    assert_eq!((vector.len(), vector.is_empty()), (model.len(), model.is_empty()));
    assert!(vector.is_well_formed());
    for replica in 0..6 {
        let held = model.get(&replica).copied();
        assert_eq!(vector.len_of(&ReplicaId([replica; 16])), held.map_or(0, |(n, _)| n));
        assert_eq!(vector.tip(&ReplicaId([replica; 16])).map(|tip| (tip.n, tip.hash[0])), held);
    }
}

fn assert_order(a: &VersionVector, b: &VersionVector, model_a: &Model, model_b: &Model) {
    let len = |model: &Model, replica: &u8| model.get(replica).map_or(0, |(n, _)| *n);
    let covers = |a: &Model, b: &Model| b.keys().all(|replica| len(a, replica) >= len(b, replica));
    assert_eq!(a.covers(b), covers(model_a, model_b));
    let expected = match (covers(model_a, model_b), covers(model_b, model_a)) {
        (true, true) => Causality::Equal,
        (true, false) => Causality::After,
        (false, true) => Causality::Before,
        (false, false) => Causality::Concurrent,
    };
    assert_eq!(a.causality(b), expected);
    let forked: Vec<u8> = a.forked_at(b).map(|replica| replica.0[0]).collect();
    let expected: Vec<u8> = model_a
        .iter()
        .filter(|(replica, (n, hash))| model_b.get(replica).is_some_and(|(m, other)| m == n && other != hash))
        .map(|(replica, _)| *replica)
        .collect();
    assert_eq!(forked, expected);

    let beyond = a.beyond(b);
    let expected: Vec<(u8, u64, u64)> = model_a
        .iter()
        .filter(|(replica, (n, _))| *n > len(model_b, replica))
        .map(|(replica, (n, _))| (*replica, len(model_b, replica) + 1, *n))
        .collect();
    assert_eq!(beyond.iter().map(|range| (range.replica.0[0], range.from, range.to)).collect::<Vec<_>>(), expected);
    assert_eq!(beyond.is_empty(), b.covers(a));

    let both = merged(a, b);
    assert!(both.covers(a) && both.covers(b));
    assert_eq!(merged(&both, a), both);
    assert_eq!(merged(a, a), *a);
    // Where logs forked each side keeps its own hash; the numbers are the same.
    assert_eq!(numbers(&both), numbers(&merged(b, a)));
    let mut sent = b.clone();
    for range in beyond {
        sent.advance(range.replica, a.tip(&range.replica).expect("a range is of a held log"));
    }
    assert_eq!(numbers(&sent), numbers(&both), "what is beyond is what is lacking");
}

fn merged(a: &VersionVector, b: &VersionVector) -> VersionVector {
    let mut both = a.clone();
    both.merge(b);
    both
}

fn numbers(vector: &VersionVector) -> Vec<(ReplicaId, u64)> {
    vector.iter().map(|(replica, tip)| (*replica, tip.n)).collect()
}

fn assert_travels(vector: &VersionVector) {
    let message = Message::Durable { space: SpaceTag([0; 16]), vector: vector.clone(), settled: true };
    let bytes = wire::encode(&message);
    assert_eq!(wire::decode(&bytes), Ok(message));
}
