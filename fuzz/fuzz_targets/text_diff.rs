//! The splices between two texts turn the one into the other, in order and apart.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sync_core::doc::text::{apply, diff};

fuzz_target!(|texts: (&str, &str)| {
    let (old, new) = texts;
    let splices = diff(old, new);
    assert_eq!(apply(old, &splices), new);
    assert!(splices.windows(2).all(|pair| pair[0].at + pair[0].delete <= pair[1].at));
});
