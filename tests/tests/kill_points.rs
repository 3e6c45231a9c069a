//! Some of the points at which a process can be killed; `benches/kill_points.rs` has all of them.

use std::path::Path;

use sync_tests::kill_points::{Victim, live};

fn assert_survives(victim: Victim, point: &str, nth: u64) {
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    assert!(live(program, victim, point, nth), "{victim:?} never reached {point}");
}

#[test]
fn a_host_that_dies_when_it_let_somebody_in() {
    assert_survives(Victim::Host, "engine.accepted", 1);
}

#[test]
fn a_joiner_that_dies_between_a_write_and_its_note() {
    assert_survives(Victim::Joiner, "write.after-exchange", 1);
}

#[test]
fn a_joiner_that_dies_in_the_middle_of_a_fetch() {
    assert_survives(Victim::Joiner, "fetch.chunk-written", 2);
}

#[test]
fn a_host_that_dies_before_a_turn_is_on_the_disk() {
    assert_survives(Victim::Host, "store.turn.before-commit", 9);
}
