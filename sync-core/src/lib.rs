//! The deterministic core of Kith.

pub mod commit;
pub mod content;
pub mod doc;
pub mod engine;
pub mod folder;
pub mod history;
pub mod ids;
pub mod limits;
pub mod member;
pub mod preflight;
pub mod probe;
pub mod store;
pub mod tree;
pub mod version;
pub mod wire;
