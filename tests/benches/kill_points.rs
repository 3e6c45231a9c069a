//! Every named point at which a process can be killed, for the host and for the joiner: it starts again, nothing is lost,
//! both end equal, nothing is left behind. Every point must be reached by one of them.
//!
//! `cargo bench -p sync-tests --bench kill_points`; `KITH_KILL_POINTS` names some points, by commas, `KITH_KILL_NTH` how
//! often the process passes before it ends.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::Path;

use sync_core::probe::POINTS;
use sync_tests::kill_points::{Victim, live};

fn main() {
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let asked = std::env::var("KITH_KILL_POINTS").ok();
    let nth = std::env::var("KITH_KILL_NTH").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let is_asked = |point: &str| asked.as_ref().is_none_or(|asked| asked.split(',').any(|asked| asked == point));
    let mut missed = Vec::new();
    let mut failed = Vec::new();
    for point in POINTS.iter().filter(|point| is_asked(point)) {
        // One that does not hold says so on stderr; the others are still of interest.
        let reached = [Victim::Host, Victim::Joiner].map(|victim| {
            let lived = std::panic::catch_unwind(|| live(program, victim, point, nth));
            lived.unwrap_or_else(|_| {
                failed.push((point, victim));
                true
            })
        });
        println!("{point}:{nth} reached by the host: {}, by the joiner: {}", reached[0], reached[1]);
        if !reached.contains(&true) {
            missed.push(point);
        }
    }
    assert!(failed.is_empty(), "points that are not survived: {failed:?}");
    // Later times are reached by chance.
    assert!(nth > 1 || missed.is_empty(), "points that no life reaches: {missed:?}");
}
