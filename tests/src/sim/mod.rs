//! Simulated surroundings of the real code: parts that fail, lie and lose on demand, each run decided by one seed.
//!
//! Nothing here reads a clock or the machine's randomness, and nothing here is a stand-in for code of ours.

pub mod editor;
pub mod fs;
pub mod rng;
