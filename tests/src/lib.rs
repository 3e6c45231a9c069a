//! What the tests of several crates share.

pub mod author;
pub mod blackbox;
pub mod chunk;
pub mod cluster;
pub mod crash;
pub mod daemon;
pub mod disk;
pub mod faults;
pub mod hostile;
pub mod kill;
pub mod kill_points;
pub mod merges;
pub mod model;
pub mod sim;
