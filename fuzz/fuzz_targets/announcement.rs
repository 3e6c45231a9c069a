//! `announcement` under libFuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sync_fuzz::init("announcement"), |bytes: &[u8]| sync_fuzz::run("announcement", bytes));
