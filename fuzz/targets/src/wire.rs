//! The doors for frames, announcements and hellos.

use std::collections::BTreeMap;

use sync_core::{
    ids::{CommitHash, ReplicaId, SpaceTag},
    limits,
    version::{Tip, VersionVector},
    wire::{self, Message, SpaceHello},
};

use crate::input::Input;

/// Bytes of a peer are a message that encodes and decodes to itself, or an error.
///
/// # Panics
/// When a promise is broken.
pub fn frame(frame: &[u8]) {
    if let Ok(message) = wire::decode(frame) {
        let again = wire::encode(&message);
        // A shortest encoding is never longer than another one.
        assert!(again.len() <= frame.len());
        assert_eq!(wire::decode(&again).as_ref(), Ok(&message));
    }
}

/// A payload of gossip is an announcement that encodes and decodes to itself, or an error.
///
/// # Panics
/// When a promise is broken.
pub fn announcement(payload: &[u8]) {
    if let Ok(announcement) = wire::decode_announcement(payload) {
        let again = wire::encode_announcement(&announcement).expect("fits as it did");
        assert!(again.len() <= payload.len());
        assert_eq!(wire::decode_announcement(&again).as_ref(), Ok(&announcement));
    }
}

/// Most replicas of one input in all: more than one frame holds, and few enough that one run stays short.
const REPLICAS_MAX: usize = 8 * limits::REPLICAS_MAX;

/// Hellos of any number of spaces and replicas are split into frames that fit, decode, have one encoding and lose
/// nothing; what is out of bounds is refused.
///
/// # Panics
/// When a promise is broken.
pub fn hello(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut spaces = Vec::new();
    let mut replicas = 0;
    let wanted = match input.below(4) {
        0 => 2 * limits::HELLO_SPACES_MAX,
        _ => 8,
    };
    let wanted = input.below(wanted + 1);
    while spaces.len() < wanted && replicas < REPLICAS_MAX {
        let space = space_hello(&mut input);
        replicas += space.vector.len();
        spaces.push(space);
    }
    let frames = wire::hello_frames(spaces.clone());
    assert!(!frames.is_empty());
    assert_eq!(frames.concat(), spaces, "the frames together say all");
    for spaces in frames {
        let in_bounds = spaces.iter().all(|space| space.vector.is_well_formed());
        let message = Message::Hello { spaces };
        let encoded = wire::encode(&message);
        assert!(encoded.len() <= limits::FRAME_BYTES_MAX);
        match wire::decode(&encoded) {
            Ok(decoded) => {
                assert!(in_bounds && decoded == message);
                assert_eq!(wire::encode(&decoded), encoded);
            }
            Err(_) => assert!(!in_bounds),
        }
    }
}

fn space_hello(input: &mut Input<'_>) -> SpaceHello {
    let count = match input.below(16) {
        15 => limits::REPLICAS_MAX - input.below(2),
        14 => input.below(512),
        _ => input.below(5),
    };
    let seed = input.byte();
    let largest = input.one_in(2);
    let vector: BTreeMap<ReplicaId, Tip> = (0..count)
        .map(|index| {
            let mut id = [seed; 16];
            id[..8].copy_from_slice(&(index as u64).to_be_bytes());
            let n = if largest { u64::MAX } else { 1 + index as u64 };
            (ReplicaId(id), Tip::new(n, &CommitHash([seed; 32])))
        })
        .collect();
    let mut vector: VersionVector = vector.into_iter().collect();
    if input.one_in(16) {
        // An empty log is not well formed.
        vector = vector
            .iter()
            .map(|(id, tip)| (*id, *tip))
            .chain([(ReplicaId([255; 16]), Tip { n: 0, hash: [0; 16] })])
            .collect();
    }
    SpaceHello { space: SpaceTag(input.array()), flags: input.byte(), vector, root: input.array() }
}
