//! Texts merge as people merge: as git does wherever it sees no conflict, and without losing anything where it does.

use sync_tests::merges::{Meeting, Verdict, compare, grow, shown};

/// A seed that fails says so; `grow::case(seed, sides)` is its case.
const CASES: u64 = 300;

#[test]
fn what_git_merges_without_a_conflict_is_merged_the_same() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut clean = 0;
    for seed in 0..CASES {
        let case = grow::case(seed, 2);
        match compare(dir.path(), &case) {
            Ok(verdict) => clean += u64::from(verdict == Verdict::Equal),
            Err(found) => panic!("seed {seed}: {found}\n{case:?}"),
        }
    }
    assert!(clean > CASES / 4, "{clean} of {CASES} cases are merged by git");
}

#[test]
fn three_and_four_sides_that_meet_in_any_order_end_equal_and_lose_nothing() {
    let orders: [&[&[usize]]; 2] = [
        &[&[0, 1, 2], &[2, 1, 0], &[1, 2, 0], &[2, 0, 1]],
        &[&[0, 1, 2, 3], &[3, 2, 1, 0], &[2, 0, 3, 1], &[1, 3, 0, 2]],
    ];
    for seed in 0..CASES / 6 {
        for (sides, orders) in [3, 4].into_iter().zip(orders) {
            let case = grow::case(seed, sides);
            let meeting = Meeting::new(&case);
            let text = shown(&meeting.met(orders[0]));
            for order in orders {
                assert_eq!(shown(&meeting.met(order)), text, "seed {seed}, {order:?}: {case:?}");
                let joined = shown(&meeting.joined(order));
                assert_eq!(meeting.lost(&joined), None, "seed {seed}, {order:?}: {joined:?} of {case:?}");
            }
            assert_eq!(meeting.lost(&text), None, "seed {seed}: {text:?} of {case:?}");
        }
    }
}

#[test]
fn an_edit_that_all_sides_made_is_there_once() {
    for seed in 0..CASES / 4 {
        let mut case = grow::case(seed, 1);
        let side = case.sides[0].clone();
        for count in 2..=4 {
            case.sides = vec![side.clone(); count];
            let order: Vec<usize> = (0..count).collect();
            let meeting = Meeting::new(&case);
            assert_eq!(shown(&meeting.met(&order)), side, "seed {seed}: {case:?}");
            assert_eq!(shown(&meeting.joined(&order)), side, "seed {seed}: {case:?}");
        }
    }
}
