//! What the tests of several crates share.

pub mod cluster;
pub mod daemon;
pub mod disk;
pub mod hostile;
pub mod kill;
