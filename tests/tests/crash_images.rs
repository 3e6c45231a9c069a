//! The store survives power cuts and failing disks: some hundred images and faults; `benches/crash_images.rs` has them all.

use sync_tests::{
    crash::{
        Plan,
        faults::{Came, KINDS, Reference},
        run,
    },
    sim::disk::Failure,
};

#[test]
fn a_crash_image_holds_every_acknowledged_turn_and_opens() {
    let plan = Plan { seed: 1, turns: 200, images_max: 300, doubles_each: 1, workers: 2 };
    let (recording, totals) = run(&plan);
    assert!(recording.commits() > 100, "turns that wrote: {}", recording.commits());
    assert_eq!((totals.images, totals.double_images), (300, 300));
    assert!(totals.ahead > 0, "some hold the turn in flight: {totals:?}");
    assert!(totals.documents > 100 && totals.integrity_checks > 10, "{totals:?}");
}

#[test]
fn a_call_that_fails_is_an_error_and_loses_nothing() {
    let reference = Reference::make(2, 30);
    for (call, fault, lasts) in KINDS {
        let calls = reference.calls_of(call);
        let mut errors = 0;
        // A few of each kind, others for each, and the last of all.
        let stride = (calls / 5) as usize | 1;
        for after in (errors..calls).step_by(stride).chain([calls - 1]) {
            let came = reference.fail(Failure { call, after, fault, lasts });
            assert_ne!(came, Came::Nothing, "call {after} of {calls}");
            errors += u64::from(came == Came::Error);
        }
        assert!(errors > 2, "{fault:?} of {call:?}: {errors} errors");
        let beyond = Failure { call, after: calls, fault, lasts };
        assert_eq!(reference.fail(beyond), Came::Nothing);
    }
}
