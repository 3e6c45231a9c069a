//! The black-box model, a few traces: real daemons on two to four folders keep every value, and end byte-equal.

use std::path::Path;

use sync_tests::blackbox::{
    kith::Kith,
    sweep,
    synchroniser::{Outcome, Synchroniser},
};
use tempfile::TempDir;

/// Threads, each with as many devices in every trace: these are the numbers of devices that there are.
const THREADS: u64 = 3;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_value_ends_in_a_file_a_conflict_or_history_and_folders_are_equal() {
    let dir = TempDir::new().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let make = |devices: usize, dirs: &[String]| -> Outcome<Box<dyn Synchroniser>> {
        let home = tempfile::tempdir_in(dir.path()).expect("temporary directory").keep();
        Ok(Box::new(Kith::new(program, &home, devices, dirs, 0)))
    };
    let first = number("BLACKBOX_FIRST", 0);
    let (totals, violations) = sweep(&make, first..first + number("BLACKBOX_TRACES", 15), THREADS);
    let shown: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{}\n{totals}", shown.join("\n\n"));
    // Something was at stake.
    assert!(totals.written() > 0 && totals.found.file > 0 && totals.found.history > 0, "{totals}");
}
