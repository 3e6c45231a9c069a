//! The command `kith` under a name of its own, so that tests and benches of this package find it built.
//!
//! `KITH_KILL_AT=POINT:NTH` lets it end as if killed when it reaches a point of `sync_core::probe` for the nth time; it
//! then leaves the file that `KITH_KILL_NOTE` names. `KITH_PANIC_AT=POINT:NTH` lets the thread panic that reaches it.

use std::process::ExitCode;

use sync_core::probe;

fn main() -> ExitCode {
    for (variable, last_words) in [("KITH_KILL_AT", leave_note as probe::LastWords), ("KITH_PANIC_AT", end_the_thread)]
    {
        if let Ok(asked) = std::env::var(variable) {
            let armed = asked
                .split_once(':')
                .and_then(|(point, nth)| Some(probe::arm(point, nth.parse().ok()?, last_words)))
                .unwrap_or(false);
            assert!(armed, "{variable} is no point and number: {asked}");
        }
    }
    sync_cli::main()
}

fn leave_note() {
    if let Some(path) = std::env::var_os("KITH_KILL_NOTE") {
        std::fs::write(path, "").expect("the test made this directory");
    }
}

fn end_the_thread() {
    panic!("a test wanted it");
}
