//! Contents of files: cut into chunks, named by hash.

mod list;

pub use list::{ChunkEntry, decode_list, encode_list, list_hash};
