//! Makes the calls of one case of `sync_tests::faults` and tells what they led to. It may panic, run out of memory, or run
//! for ever: whoever starts it sets limits.

use std::process::ExitCode;

use sync_tests::faults;

fn main() -> ExitCode {
    let Some(case) = std::env::args().nth(1).as_deref().and_then(faults::case) else {
        return ExitCode::from(2);
    };
    faults::calls::run(case);
    ExitCode::SUCCESS
}
