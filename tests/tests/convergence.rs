//! Random edits, moves, deletes and deliveries over three engines in memory end equal.

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestError, TestRng, TestRunner},
};
use sync_core::{
    doc::entry::{EntryOp, Kind},
    ids::DocId,
};
use sync_tests::{cluster::Cluster, sim::rng::Rng};

const DEVICES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Create { at: usize, parent: usize, name: usize, dir: bool },
    Write { at: usize, doc: usize, line: usize, text: usize },
    Rename { at: usize, doc: usize, name: usize },
    Move { at: usize, doc: usize, parent: usize },
    Delete { at: usize, doc: usize },
    Connect { a: usize, b: usize },
    Disconnect { a: usize, b: usize },
    Deliver { from: usize, to: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..DEVICES;
    let pick = 0..12_usize;
    prop_oneof![
        3 => (at.clone(), pick.clone(), 0..4_usize, any::<bool>())
            .prop_map(|(at, parent, name, dir)| Step::Create { at, parent, name, dir }),
        4 => (at.clone(), pick.clone(), 0..6_usize, 0..5_usize)
            .prop_map(|(at, doc, line, text)| Step::Write { at, doc, line, text }),
        2 => (at.clone(), pick.clone(), 0..4_usize).prop_map(|(at, doc, name)| Step::Rename { at, doc, name }),
        2 => (at.clone(), pick.clone(), pick.clone()).prop_map(|(at, doc, parent)| Step::Move { at, doc, parent }),
        1 => (at.clone(), pick).prop_map(|(at, doc)| Step::Delete { at, doc }),
        2 => (at.clone(), at.clone()).prop_map(|(a, b)| Step::Connect { a, b }),
        1 => (at.clone(), at.clone()).prop_map(|(a, b)| Step::Disconnect { a, b }),
        6 => (at.clone(), at).prop_map(|(from, to)| Step::Deliver { from, to }),
    ]
}

const NAMES: [&str; 4] = ["a.txt", "b.txt", "c", "d"];
const LINES: [&str; 5] = ["", "alpha\n", "beta gamma\n", "über 漢\r\n", "}\n"];

fn pick(cluster: &Cluster, at: usize, index: usize, wanted: impl Fn(Kind) -> bool) -> Option<DocId> {
    let docs: Vec<DocId> =
        cluster.entries(at).into_iter().filter_map(|(doc, entry)| wanted(entry.kind).then_some(doc)).collect();
    // The last one for all that are too many: so a case that fails shrinks to few documents.
    docs.get(index.min(docs.len().saturating_sub(1))).copied()
}

fn run(cluster: &mut Cluster, step: &Step) {
    match *step {
        Step::Create { at, parent, name, dir } => {
            let parent = pick(cluster, at, parent, |kind| kind == Kind::Dir).filter(|_| parent % 3 > 0);
            cluster.create(at, parent, NAMES[name], (!dir).then_some("one\ntwo\nthree\n"));
        }
        Step::Write { at, doc, line, text } => {
            if let Some(doc) = pick(cluster, at, doc, |kind| kind == Kind::File) {
                let old = cluster.text(at, doc).expect("a file of the test is text");
                let mut lines: Vec<&str> = old.split_inclusive('\n').collect();
                let place = line.min(lines.len());
                if text == 0 && place < lines.len() {
                    lines.remove(place);
                } else {
                    lines.insert(place, LINES[text]);
                }
                cluster.write(at, doc, &lines.concat());
            }
        }
        Step::Rename { at, doc, name } => {
            if let Some(doc) = pick(cluster, at, doc, |_| true) {
                cluster.change(at, doc, &[EntryOp::Name(NAMES[name].into())]);
            }
        }
        Step::Move { at, doc, parent } => {
            if let Some(doc) = pick(cluster, at, doc, |_| true) {
                let parent = pick(cluster, at, parent, |kind| kind == Kind::Dir).filter(|_| parent % 3 > 0);
                cluster.change(at, doc, &[EntryOp::Parent(parent)]);
            }
        }
        Step::Delete { at, doc } => {
            if let Some(doc) = pick(cluster, at, doc, |_| true) {
                cluster.change(at, doc, &[EntryOp::Delete]);
            }
        }
        Step::Connect { a, b } if a != b => cluster.connect(a, b),
        Step::Disconnect { a, b } if a != b => cluster.disconnect(a, b),
        Step::Deliver { from, to } if from != to => {
            cluster.deliver(from, to);
        }
        Step::Connect { .. } | Step::Disconnect { .. } | Step::Deliver { .. } => {}
    }
}

/// How many cases to run: few with the other tests, as many as asked for in a sweep.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: Some(Box::new(proptest::test_runner::FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/regressions/convergence.txt"
        )))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn replicas_converge_whatever_is_done_and_delivered(
        steps in proptest::collection::vec(step(), 1..60),
        order in any::<u64>(),
    ) {
        let mut cluster = Cluster::new(DEVICES);
        for step in &steps {
            run(&mut cluster, step);
        }
        cluster.heal();
        cluster.assert_converged();
        let mut rng = Rng::new(order);
        cluster.assert_modelled(|ready| rng.index(ready));
    }
}

/// A property that fails tells a case that people can read: here the property is planted, and holds until two devices have
/// written different lines into one text.
#[test]
fn a_failure_shrinks_to_a_case_that_people_can_read() {
    let config = ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let failed = runner.run(&proptest::collection::vec(step(), 1..40), |steps| {
        let mut cluster = Cluster::new(DEVICES);
        for step in &steps {
            run(&mut cluster, step);
        }
        cluster.heal();
        let texts: Vec<String> = cluster.docs(0).into_iter().filter_map(|doc| cluster.text(0, doc)).collect();
        prop_assert!(!texts.iter().any(|text| text.contains(LINES[1]) && text.contains(LINES[3])), "planted");
        Ok(())
    });
    let Err(TestError::Fail(reason, steps)) = failed else { panic!("the planted failure is found: {failed:?}") };
    assert!(reason.to_string().contains("planted"), "{reason}");
    let shown = format!("{steps:?}");
    assert!(steps.len() <= 4 && shown.len() < 300, "a file, and a line from each: {shown}");
    let writes = steps.iter().filter(|step| matches!(step, Step::Write { .. })).count();
    assert_eq!(writes, 2, "{shown}");
}

#[test]
fn edits_of_one_text_on_three_devices_that_never_all_met_merge() {
    let mut cluster = Cluster::new(3);
    let doc = cluster.create(0, None, "a.txt", Some("one\ntwo\nthree\n"));
    cluster.heal();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        cluster.disconnect(a, b);
    }
    cluster.write(0, doc, "zero\none\ntwo\nthree\n");
    cluster.write(1, doc, "one\ntwo and a half\nthree\n");
    cluster.write(2, doc, "one\ntwo\nthree\nfour\n");
    // 0 and 2 never meet: 1 carries.
    cluster.connect(0, 1);
    cluster.deliver_all();
    cluster.connect(1, 2);
    cluster.deliver_all();
    cluster.assert_converged();
    assert_eq!(cluster.text(0, doc).as_deref(), Some("zero\none\ntwo and a half\nthree\nfour\n"));
}

#[test]
fn a_rename_meets_an_edit_and_a_delete_loses_against_an_edit() {
    let mut cluster = Cluster::new(2);
    let kept = cluster.create(0, None, "kept.txt", Some("x\n"));
    let moved = cluster.create(0, None, "moved.txt", Some("y\n"));
    cluster.heal();
    cluster.disconnect(0, 1);
    cluster.change(0, kept, &[EntryOp::Delete]);
    cluster.write(1, kept, "x\nmore\n");
    cluster.change(0, moved, &[EntryOp::Name("other.txt".into())]);
    cluster.write(1, moved, "y\nmore\n");
    cluster.heal();
    cluster.assert_converged();
    let view = cluster.view(0);
    assert_eq!(view.path_of(&kept).map(|path| path.to_string()).as_deref(), Some("kept.txt"));
    assert_eq!(view.path_of(&moved).map(|path| path.to_string()).as_deref(), Some("other.txt"));
    assert_eq!(cluster.text(0, moved).as_deref(), Some("y\nmore\n"));
}

#[test]
fn a_small_commit_travels_on_gossip_alone() {
    let mut cluster = Cluster::new(3);
    cluster.heal();
    // 1 is there, so gossip has a neighbour; 2 hears it from that.
    cluster.disconnect(0, 2);
    cluster.disconnect(1, 2);
    cluster.announced.clear();
    let doc = cluster.create(0, None, "a.txt", Some("x\n"));
    let (from, payload) = cluster.announced.pop().expect("a commit is announced");
    assert_eq!(from, 0);
    cluster.hear(2, &payload);
    assert_eq!(cluster.text(2, doc).as_deref(), Some("x\n"));
    assert_eq!(cluster.vector(0), cluster.vector(2));
}

#[test]
fn an_announcement_that_cannot_be_used_is_asked_about_and_garbage_is_passed_over() {
    let mut cluster = Cluster::new(3);
    cluster.heal();
    cluster.disconnect(0, 1);
    cluster.announced.clear();
    cluster.create(0, None, "first", Some("x\n"));
    cluster.create(0, None, "second", Some("y\n"));
    let (_, payload) = cluster.announced.pop().expect("a commit is announced");
    // 1 lacks the first commit, and asks 2, which has it from 0.
    cluster.hear(1, &payload);
    cluster.hear(1, b"garbage");
    cluster.deliver_all();
    cluster.assert_converged();
}
