//! `folder_plan` under libFuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sync_fuzz::init("folder_plan"), |bytes: &[u8]| sync_fuzz::run("folder_plan", bytes));
