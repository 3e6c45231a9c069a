//! `commit` under libFuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sync_fuzz::init("commit"), |bytes: &[u8]| sync_fuzz::run("commit", bytes));
