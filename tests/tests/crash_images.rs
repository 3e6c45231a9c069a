//! Stores and folders survive power cuts, and stores failing disks: some hundred images and faults;
//! `benches/crash_images.rs` has them all.

use sync_core::store::StoreError;
use sync_tests::{
    crash::{
        Plan,
        faults::{Came, KINDS, Reference},
        folder,
        rig::Rig,
        run,
        state::State,
    },
    sim::{
        disk::{Failure, SimDisk},
        fs::Crash,
    },
};

#[test]
fn a_crash_image_holds_every_acknowledged_turn_and_opens() {
    let plan = Plan { seed: 1, turns: 300, images_max: 400, double_every: 2, workers: 2 };
    let (recording, totals) = run(&plan);
    assert!(recording.commits() > 100, "turns that wrote: {}", recording.commits());
    assert_eq!((totals.images, totals.double_images), (400, 200));
    assert!(totals.ahead > 0, "some hold the turn in flight: {totals:?}");
    assert!(totals.documents > 100 && totals.integrity_checks >= 10, "{totals:?}");
}

#[test]
fn a_folder_comes_to_rest_after_a_crash_with_nothing_lost() {
    for (seed, model) in [(1, Crash::Ordered), (2, Crash::AnySubset)] {
        let plan = folder::Plan { seed, model, commits: 80, images_max: 40, double_every: 2, workers: 2 };
        let (_, totals) = folder::run(plan);
        assert_eq!((totals.images, totals.double_images), (40, 20));
        assert!(totals.saved > 100 && totals.quiet > 10, "{totals:?}");
    }
}

#[test]
fn a_call_that_fails_is_an_error_and_loses_nothing() {
    let reference = Reference::make(2, 30);
    for (call, fault, lasts) in KINDS {
        let calls = reference.calls_of(call);
        let mut errors = 0;
        for after in [0, calls / 3, calls * 2 / 3, calls - 1] {
            let came = reference.fail(Failure { call, after, fault, lasts });
            assert_ne!(came, Came::Nothing, "call {after} of {calls}");
            errors += usize::from(came == Came::Error);
        }
        assert!(errors >= 3, "{fault:?} of {call:?}: {errors} errors");
    }
    let (call, fault, lasts) = KINDS[0];
    let after = reference.calls_of(call);
    assert_eq!(reference.fail(Failure { call, after, fault, lasts }), Came::Nothing, "the run has no more calls");
}

#[test]
fn a_disk_that_is_full_stops_the_work_until_there_is_room() {
    let mut rig = Rig::new(3, SimDisk::default());
    rig.marks = Some(Vec::new());
    rig.reopen(rig.disk.clone()).expect("opens");
    for _ in 0..20 {
        rig.step().expect("there is room");
    }
    rig.disk.limit(Some(rig.disk.image().held_bytes() + 4096));
    let full = (0..200).find_map(|_| rig.step().err());
    assert!(matches!(full, Some(StoreError::Redb { .. })), "{full:?}");
    let acknowledged = rig.marks.as_ref().and_then(|marks| marks.last()).expect("turns returned").state.clone();
    // Opened while the disk is full, it may fail again, or work as long as the room lasts.
    let again = rig.reopen(rig.disk.clone()).and_then(|()| State::of(rig.device()));
    match again {
        Ok(state) => assert_eq!(state, acknowledged),
        Err(error) => assert!(matches!(error, StoreError::Redb { .. }), "{error:?}"),
    }
    rig.disk.limit(None);
    rig.reopen(rig.disk.clone()).expect("opens");
    assert_eq!(State::of(rig.device()).expect("reads"), acknowledged);
    rig.step().expect("work goes on");
    rig.assert_converged().expect("work goes on");
}
