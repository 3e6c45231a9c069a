//! A name that may be made on disk is one component that stays where it is put.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use sync_core::{
    limits,
    tree::{RelPath, check_name},
};

fuzz_target!(|text: &str| {
    if check_name(text).is_ok() {
        let mut components = Path::new(text).components();
        assert!(matches!(components.next(), Some(Component::Normal(name)) if name == text));
        assert!(components.next().is_none());
        assert!(text.len() <= limits::COMPONENT_BYTES_MAX && !text.contains('\0'));
    }
    if let Some(path) = RelPath::parse(text) {
        assert!(path.components().iter().all(|name| !matches!(name.as_str(), "" | "." | "..")));
        assert_eq!(RelPath::parse(&path.to_string()), Some(path));
    }
});
