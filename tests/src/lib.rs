//! What the tests of several crates share.

pub mod chunk;
pub mod cluster;
pub mod daemon;
pub mod disk;
pub mod faults;
pub mod kill;
