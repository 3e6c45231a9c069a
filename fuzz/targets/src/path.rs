//! Names and paths.

use std::path::{Component, Path};

use sync_core::{
    limits,
    tree::{RelPath, check_name, clash_name, is_reserved},
};

/// A name that may be made on disk is one component that stays where it is put, and so is the name that a clash makes of
/// it; a path does not climb and reads back as it is written.
///
/// # Panics
/// When a promise is broken.
pub fn path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if check_name(&text).is_ok() {
        assert_one_component(&text);
        assert!(!is_reserved(&text));
        let mut unchanged = 0;
        for digits in (6..=64).step_by(2) {
            let shown = clash_name(&text, &"0123456789abcdef".repeat(4)[..digits]);
            unchanged += usize::from(shown == text);
            assert_eq!(check_name(&shown), Ok(()), "{shown:?}");
            assert_one_component(&shown);
        }
        // A long name may be what a clash makes of it; then more digits make another.
        assert!(unchanged <= 1, "{text:?} stays as it is");
    }
    if let Some(path) = RelPath::parse(&text) {
        assert!(path.components().iter().all(|name| !matches!(name.as_str(), "" | "." | "..")));
        assert!(!Path::new(&path.to_string()).components().any(|part| part == Component::ParentDir));
        assert!(RelPath::root().contains(&path) && path.contains(&path));
        if let Some((dir, name)) = path.split() {
            assert!(dir.contains(&path) && !path.contains(&dir));
            assert_eq!(dir.join(name), path);
        }
        assert_eq!(RelPath::parse(&path.to_string()), Some(path));
    }
}

fn assert_one_component(name: &str) {
    let mut components = Path::new(name).components();
    assert!(matches!(components.next(), Some(Component::Normal(only)) if only == name));
    assert!(components.next().is_none());
    assert!(name.len() <= limits::COMPONENT_BYTES_MAX && !name.contains('\0'));
}
