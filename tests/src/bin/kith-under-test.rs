//! The command `kith` under a name of its own, so that tests and benches of this package find it built.
//!
//! `KITH_KILL_AT=POINT:NTH` lets it end as if killed when it reaches a point of `sync_core::probe` for the nth time; it
//! then leaves the file that `KITH_KILL_NOTE` names.

use std::process::ExitCode;

use sync_core::probe;

fn main() -> ExitCode {
    if let Ok(asked) = std::env::var("KITH_KILL_AT") {
        let armed = asked
            .split_once(':')
            .and_then(|(point, nth)| Some(probe::arm(point, nth.parse().ok()?, leave_note)))
            .unwrap_or(false);
        assert!(armed, "KITH_KILL_AT is no point and number: {asked}");
    }
    sync_cli::main()
}

fn leave_note() {
    if let Some(path) = std::env::var_os("KITH_KILL_NOTE") {
        std::fs::write(path, "").expect("the test made this directory");
    }
}
