//! `folder_local` under libFuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sync_fuzz::init("folder_local"), |bytes: &[u8]| sync_fuzz::run("folder_local", bytes));
