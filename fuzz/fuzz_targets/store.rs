//! `store` under libFuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sync_fuzz::init("store"), |bytes: &[u8]| sync_fuzz::run("store", bytes));
