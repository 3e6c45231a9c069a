//! The door against Automerge itself.
//!
//! `history` lets Automerge write, `build` and `mutate` write what it would not; `world` is the door with a past, and the
//! promise about what passes it; `alike` compares two readers of one change. The tests of the workspace use all of these
//! with random bytes by the hundred thousand (`tests/tests/preflight.rs`).

pub mod alike;
pub mod build;
pub mod history;
pub mod mutate;
pub mod world;

use self::{
    alike::assert_read_alike,
    world::{CHANGES_MAX, World},
};
use crate::input::Input;

/// Bytes of one input that are looked at: a few small changes show what many large ones do, and Automerge takes its time.
const INPUT_BYTES_MAX: usize = 160;
/// Changes of one input of `preflight`.
const HISTORY_MAX: usize = 4;
/// Changes of one input of `apply`.
const BUILT_MAX: usize = 8;

const _: () = assert!(BUILT_MAX < CHANGES_MAX);

/// What Automerge writes passes the door, and both read the same in it. So they do in what the door lets in when
/// operations of it were changed.
///
/// # Panics
/// When a promise is broken.
pub fn preflight(bytes: &[u8]) {
    let mut input = Input::new(&bytes[..bytes.len().min(INPUT_BYTES_MAX)]);
    let mut world = World::default();
    for change in history::random(&mut input, HISTORY_MAX) {
        assert_read_alike(&change);
        if let Err(closed) = world.let_in(change.raw_bytes()) {
            panic!("{closed:?}: {:?}\nbehind {:#?}", change.decode(), world.described());
        }
    }
    while !input.is_empty() && !world.held.is_empty() {
        let place = input.below(world.held.len());
        let others = &world.held[..place];
        let original = &world.held[place].bytes;
        let mutant = if input.one_in(4) {
            Some(mutate::bytes(&mut input, original))
        } else {
            mutate::operations(&mut input, others, original)
        };
        if let Some(bytes) = mutant
            && world.before(place).let_in(&bytes).is_ok()
        {
            assert_read_alike(&automerge::Change::from_bytes(bytes).expect("Automerge reads what passes"));
        }
    }
}

/// What passes the door does Automerge no harm, in any causal order and batching.
///
/// # Panics
/// When a promise is broken.
pub fn apply(bytes: &[u8]) {
    let mut input = Input::new(&bytes[..bytes.len().min(INPUT_BYTES_MAX)]);
    let mut world = World::default();
    let mut tries = 0;
    while !input.is_empty() && world.held.len() < BUILT_MAX && tries < 2 * BUILT_MAX {
        tries += 1;
        let built = build::change(&mut input, &world);
        let changed = if input.one_in(4) { mutate::operations(&mut input, &world.held, &built) } else { None };
        // What the door refuses is refused.
        let _ = world.let_in(&changed.unwrap_or(built));
    }
    if let Err(broken) = world.verify(&mut input) {
        panic!("{broken}\namong {:#?}", world.described());
    }
}
