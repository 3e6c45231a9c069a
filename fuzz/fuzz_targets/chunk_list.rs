//! `chunk_list` under libFuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sync_fuzz::init("chunk_list"), |bytes: &[u8]| sync_fuzz::run("chunk_list", bytes));
