//! A peer that means harm: a raw client on real iroh, what it may be to its victims, and a bench of two honest daemons.
//!
//! Nothing here goes through `sync_net`: connections, streams, frames and commits are made by hand, so that every one of
//! them may be wrong. Scripts are in `tests/tests/hostile`. Start at [`bench::script`].

pub mod bench;
pub mod client;
pub mod standing;
