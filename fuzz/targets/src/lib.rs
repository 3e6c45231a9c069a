//! What must hold for any bytes: one function a target, which panics where a promise is broken.
//!
//! The binaries of `fuzz/` run these under libFuzzer, on a nightly compiler; the tests of the workspace run them on the
//! seeds and on every input that ever broke one. So nothing here knows libFuzzer, and each function takes plain bytes:
//! where a target needs structure, it draws it from them with [`input::Input`].

use std::{
    panic,
    sync::{Mutex, PoisonError},
};

pub mod change;
pub mod commit;
pub mod content;
pub mod entry;
pub mod folder;
pub mod input;
pub mod invite;
pub mod membership;
pub mod path;
pub mod preflight;
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
    ("apply", preflight::apply),
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
    ("preflight", preflight::preflight),
    ("store", store::store),
    ("text_diff", text::text_diff),
    ("text_merge", text::text_merge),
    ("tree", tree::tree),
    ("vector", vector::vector),
];

/// Targets in which Automerge or redb may panic, as long as our code catches it.
const CATCHING: &[&str] = &["entry", "store"];

/// What the last panic said, where a fuzzer must not hear of those that are caught.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Prepares a process that runs nothing but this target. libFuzzer ends it at the first panic, also at one that would be
/// caught: where that is allowed only one that gets out of [`run`] counts.
pub fn init(target: &str) {
    if CATCHING.contains(&target) {
        panic::set_hook(Box::new(|info| {
            *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
        }));
    }
}

/// Runs a target by its name.
///
/// # Panics
/// When there is none, or when the input breaks a promise.
pub fn run(target: &str, bytes: &[u8]) {
    let (_, check) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target that is listed");
    if let Err(reason) = panic::catch_unwind(|| check(bytes)) {
        let last = LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !last.is_empty() {
            eprintln!("{last}");
        }
        panic::resume_unwind(reason);
    }
}
