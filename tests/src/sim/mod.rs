//! The simulator: the real engine, store and folder code in simulated surroundings, each run decided by one seed.
//!
//! [`world`] runs some devices against each other: first with faults, as a [`profile`] draws them from the seed, then
//! healed; [`check`] says what must hold. Its parts are [`disk`], a file on a disk that fails and loses power ([`image`] is
//! what such a disk holds, [`replay`] makes the disk of every moment of a recording), [`fs`], a file system with users and
//! a watcher, and [`editor`], what users do to it; [`cases`] says which cases that brings about. Nothing here reads a clock or the machine's randomness, and nothing here
//! is a stand-in for code of ours, but for the transport of frames and of contents.

pub mod cases;
pub mod check;
mod check_fork;
mod check_model;
mod check_more;
mod check_rest;
mod check_trees;
pub mod disk;
pub mod editor;
pub mod fs;
pub mod image;
mod net;
pub mod peer;
pub mod plant;
pub mod profile;
pub mod replay;
pub mod rng;
pub mod world;

use rand::SeedableRng as _;

/// The generator of disks: a named algorithm, so that a seed means the same after an upgrade.
pub type SimRng = rand::rngs::Xoshiro256PlusPlus;

/// The generator of a seed.
#[must_use]
pub fn rng(seed: u64) -> SimRng {
    SimRng::seed_from_u64(seed)
}
