//! `text_merge` under libFuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sync_fuzz::init("text_merge"), |bytes: &[u8]| sync_fuzz::run("text_merge", bytes));
