//! `text_diff` under libFuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sync_fuzz::init("text_diff"), |bytes: &[u8]| sync_fuzz::run("text_diff", bytes));
