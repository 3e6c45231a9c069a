//! Random histories of a space's members.
//!
//! Devices of a small group write membership commits to logs of their own and hear of each other's in any order. What
//! stands is what the rules let stand in the past that its author knew, as on a real device.

use std::{collections::BTreeMap, sync::OnceLock};

use sync_core::{
    commit::{Body, SecretKey},
    ids::{CommitHash, DeviceId, InviteKey, SpaceId},
    member::{MemberCommit, MemberOp, Membership, Role, prove_invite, rank},
    tree::Folds,
};

use crate::input::Input;

/// Devices; the first one founds the space, the last one is never told the secret of an invite.
const DEVICES: usize = 5;
/// Invites that are in play.
const INVITES: usize = 3;
/// Commits of one history: each is evaluated in its past, and proofs take their time.
const COMMITS_MAX: usize = 14;

/// How many commits of each device are in a past.
type Clock = BTreeMap<usize, u64>;

struct Placed {
    device: usize,
    n: u64,
    /// Its past, itself included.
    clock: Clock,
    commit: MemberCommit,
}

struct Keys {
    devices: Vec<DeviceId>,
    invites: Vec<SecretKey>,
    genesis: MemberOp,
    space: SpaceId,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let devices: Vec<DeviceId> =
            (1..=DEVICES as u8).map(|seed| SecretKey::from_bytes(&[seed; 32]).device()).collect();
        let invites = (1..=INVITES as u8).map(|seed| SecretKey::from_bytes(&[seed + 100; 32])).collect();
        let genesis = genesis_of(devices[0]);
        let body = Body::Membership(vec![genesis.clone()]).encode().expect("is small");
        Keys { devices, invites, genesis, space: SpaceId::from_genesis(&body) }
    })
}

fn genesis_of(device: DeviceId) -> MemberOp {
    MemberOp::Genesis { device, random: [7; 32], space_name: "space".into(), device_name: "first".into() }
}

/// Whatever members and strangers write, whenever it arrives: all who hold the same commits see the same members, each of
/// them was let in by somebody who could give that role, and nobody by an invite that was used up.
///
/// # Panics
/// When a promise is broken.
pub fn membership(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut history: Vec<Placed> = Vec::new();
    let mut known: Vec<Clock> = vec![Clock::new(); DEVICES];
    if !input.one_in(8) {
        write(&mut history, &mut known, 0, Clock::new(), vec![keys().genesis.clone()], 0);
    }
    let mut steps = 0;
    while !input.is_empty() && history.len() < COMMITS_MAX && steps < 96 {
        steps += 1;
        let (device, other) = (input.below(DEVICES), input.below(DEVICES));
        if input.one_in(3) {
            let theirs = known[other].clone();
            merge(&mut known[device], &theirs);
            continue;
        }
        let past = if input.one_in(8) { Clock::new() } else { known[device].clone() };
        let ops: Vec<MemberOp> = (0..=input.below(3)).map(|_| some_op(&mut input)).collect();
        let salt = input.byte();
        write(&mut history, &mut known, device, past, ops, salt);
    }
    assert_ranked_along_the_graph(&history);
    let everything = evaluate(history.iter());
    assert_no_escalation(&history, &everything);
    for seed in 0..3 {
        let order = arrival(&history, input.byte().wrapping_add(seed));
        assert_eq!(evaluate(order.iter().map(|index| &history[*index])), everything);
    }
    for clock in &known {
        let held: Vec<&Placed> = history.iter().filter(|placed| is_in(clock, placed)).collect();
        assert_no_escalation(&history, &evaluate(held.into_iter()));
    }
}

/// Appends a commit to a device's log if it stands in its past, as every device would find.
fn write(history: &mut Vec<Placed>, known: &mut [Clock], device: usize, past: Clock, ops: Vec<MemberOp>, salt: u8) {
    // A log has no holes: the own last commit is always in the past, but for a first one.
    let n = history.iter().filter(|placed| placed.device == device).count() as u64 + 1;
    if past.get(&device).copied().unwrap_or_default() + 1 != n {
        return;
    }
    let mut members = evaluate(history.iter().filter(|placed| is_in(&past, placed)));
    let before = members.clone();
    let author = keys().devices[device];
    if members.apply(keys().space, author, &ops).is_err() {
        assert_eq!(members, before, "a commit applies whole or not at all");
        return;
    }
    let mut clock = past;
    clock.insert(device, n);
    let mut hash = [salt; 32];
    hash[31] = history.len() as u8;
    let commit = MemberCommit { hash: CommitHash(hash), author, ops };
    merge(&mut known[device], &clock);
    history.push(Placed { device, n, clock, commit });
}

fn merge(into: &mut Clock, from: &Clock) {
    for (device, n) in from {
        let held = into.entry(*device).or_default();
        *held = (*held).max(*n);
    }
}

fn is_in(clock: &Clock, placed: &Placed) -> bool {
    clock.get(&placed.device).is_some_and(|n| *n >= placed.n)
}

fn rank_of(placed: &Placed) -> (u64, CommitHash) {
    rank(placed.clock.values().copied(), placed.commit.hash)
}

fn evaluate<'a>(commits: impl Iterator<Item = &'a Placed>) -> Membership {
    let mut commits: Vec<&Placed> = commits.collect();
    commits.sort_by_key(|placed| rank_of(placed));
    Membership::at(commits.into_iter().map(|placed| &placed.commit))
}

fn some_op(input: &mut Input<'_>) -> MemberOp {
    let keys = keys();
    let device = *input.of(&keys.devices);
    match input.below(8) {
        0 => keys.genesis.clone(),
        1 if device == keys.devices[1] => MemberOp::Disk { folds: Folds::ALL },
        1 => genesis_of(device),
        2..=4 => MemberOp::Invite {
            key: InviteKey(input.of(&keys.invites).public()),
            role: *input.of(&[Role::Reader, Role::Writer, Role::Owner]),
            uses: input.below(3) as u32,
            expires_ms: 1000,
        },
        _ => {
            let used = input.of(&keys.invites);
            let proof = match input.below(8) {
                0 => prove_invite(input.of(&keys.invites), keys.space, device),
                1 => prove_invite(used, SpaceId([0; 32]), device),
                2 => prove_invite(used, keys.space, *input.of(&keys.devices)),
                _ => prove_invite(used, keys.space, device),
            };
            let name = *input.of(&["laptop", "desk", "ü", "", " ", "a\nb"]);
            MemberOp::Accept { invite: InviteKey(used.public()), device, name: name.into(), proof }
        }
    }
}

fn assert_ranked_along_the_graph(history: &[Placed]) {
    for placed in history {
        let past =
            history.iter().filter(|other| is_in(&placed.clock, other) && other.commit.hash != placed.commit.hash);
        for earlier in past {
            assert!(rank_of(earlier) < rank_of(placed), "a commit comes after its past");
        }
    }
}

/// An order in which the commits may arrive, each after its past.
fn arrival(history: &[Placed], seed: u8) -> Vec<usize> {
    let mut held = Clock::new();
    let mut left: Vec<usize> = (0..history.len()).collect();
    let mut order = Vec::new();
    let mut state = usize::from(seed);
    while !left.is_empty() {
        let ready: Vec<usize> = left
            .iter()
            .copied()
            .filter(|index| {
                let placed = &history[*index];
                placed.clock.iter().all(|(device, n)| {
                    let own = u64::from(*device == placed.device);
                    held.get(device).copied().unwrap_or_default() >= n - own
                })
            })
            .collect();
        state = state.wrapping_mul(31).wrapping_add(17);
        let next = ready[state % ready.len()];
        merge(&mut held, &BTreeMap::from([(history[next].device, history[next].n)]));
        left.retain(|index| *index != next);
        order.push(next);
    }
    order
}

/// Every member but the founder used an invite that somebody of at least its role made, and no invite took in more than
/// it has uses.
fn assert_no_escalation(history: &[Placed], membership: &Membership) {
    let ops = || history.iter().flat_map(|placed| placed.commit.ops.iter().map(move |op| (placed.commit.author, op)));
    let founder = keys().devices[0];
    let mut only_by: BTreeMap<InviteKey, u32> = BTreeMap::new();
    for (device, member) in membership.members() {
        if *device == founder && member.role == Role::Owner {
            continue;
        }
        let used: Vec<InviteKey> = ops()
            .filter_map(|(_, op)| match op {
                MemberOp::Accept { invite, device: taken_in, .. } if taken_in == device => Some(*invite),
                _ => None,
            })
            .collect();
        let allowed = ops().any(|(author, op)| {
            matches!(op, MemberOp::Invite { key, role, .. } if used.contains(key) && *role == member.role)
                && membership.role(&author).is_some_and(|own| own >= member.role && own >= Role::Writer)
        });
        assert!(allowed, "{device} is {} and nobody could make it that", member.role);
        if let [only] = used.as_slice() {
            *only_by.entry(*only).or_default() += 1;
        }
    }
    for (key, count) in only_by {
        let uses = ops().filter_map(|(_, op)| match op {
            MemberOp::Invite { key: made, uses, .. } if *made == key => Some(*uses),
            _ => None,
        });
        assert!(Some(count) <= uses.max(), "an invite took in {count}");
    }
}
