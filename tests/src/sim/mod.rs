//! Parts of a machine that a test holds in its hand: nothing here has a clock, a task or randomness of its own.
//!
//! [`disk`] is a file on a disk that can fail and lose power; [`image`] is what such a disk holds, and what of it survives;
//! [`replay`] walks a recording and makes the disk of every moment of it.

pub mod disk;
pub mod image;
pub mod replay;

use rand::SeedableRng as _;

/// The generator of all simulations: a named algorithm, so that a seed means the same after an upgrade.
pub type SimRng = rand::rngs::Xoshiro256PlusPlus;

/// The generator of a seed.
#[must_use]
pub fn rng(seed: u64) -> SimRng {
    SimRng::seed_from_u64(seed)
}
