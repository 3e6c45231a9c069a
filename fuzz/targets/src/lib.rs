//! What must hold for any bytes: one function a target, which panics where a promise is broken.
//!
//! The binaries of `fuzz/` run these under libFuzzer, on a nightly compiler; the tests of the workspace run them on the
//! seeds and on every input that ever broke one. So nothing here knows libFuzzer, and each function takes plain bytes:
//! where a target needs structure, it draws it from them with [`input::Input`].

pub mod change;
pub mod commit;
pub mod content;
pub mod entry;
pub mod folder;
pub mod input;
pub mod invite;
pub mod membership;
pub mod path;
pub mod seeds;
pub mod store;
pub mod text;
pub mod tree;
pub mod vector;
pub mod wire;

/// Checks one input; panics where a promise is broken.
pub type Check = fn(&[u8]);

/// Every target by its name: that of its binary, of its seeds and of its regressions.
pub const TARGETS: &[(&str, Check)] = &[
    ("announcement", wire::announcement),
    ("body", commit::body),
    ("change", change::change),
    ("chunk_list", content::chunk_list),
    ("commit", commit::commit),
    ("cut", content::cut),
    ("entry", entry::entry),
    ("folder_local", folder::local::folder_local),
    ("folder_plan", folder::plan::folder_plan),
    ("frame", wire::frame),
    ("hello", wire::hello),
    ("invite", invite::invite),
    ("membership", membership::membership),
    ("path", path::path),
    ("store", store::store),
    ("text_diff", text::text_diff),
    ("text_merge", text::text_merge),
    ("tree", tree::tree),
    ("vector", vector::vector),
];

/// Runs a target by its name.
///
/// # Panics
/// When there is none, or when the input breaks a promise.
pub fn run(target: &str, bytes: &[u8]) {
    let (_, check) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target that is listed");
    check(bytes);
}
