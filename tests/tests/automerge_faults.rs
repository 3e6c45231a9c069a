//! What Automerge does with input that it should refuse, each case in a process of its own under limits; and that our door
//! does not let it through. When an upgrade of Automerge mends a fault, the test of its row fails and says what is seen now.

use std::path::Path;

use automerge::{
    Automerge, ObjType, ROOT, ScalarValue,
    marks::{ExpandMark, Mark},
    transaction::{CommitOptions, Transactable as _, Transaction},
};
use sync_tests::{
    chunk::{Chunk, Key, Op, Value, action, id},
    faults::{
        CASES, Gate, Input, Row, child, door,
        inputs::{self, ELEMENT, FAULTY, HONEST, LAST, LIST, OTHER, base, document_of_three, next},
    },
};

/// Runs all cases of a row and compares what is seen with the table.
#[track_caller]
fn assert_row(row: Row) {
    let program = Path::new(env!("CARGO_BIN_EXE_automerge-fault"));
    let mut wrong = Vec::new();
    let mut cases = 0;
    for case in CASES.iter().filter(|case| case.row == row) {
        cases += 1;
        let told = child::run(program, case);
        if told.len() != case.steps.len() {
            let steps = case.steps.len();
            wrong.push(format!("{}: {} of {steps} calls were told of: {told:?}", case.name, told.len()));
        }
        for (step, told) in case.steps.iter().zip(told) {
            if !told.is(step.expected()) {
                wrong.push(format!("{}: {:?} is expected, but {told}", case.name, step.expected()));
            }
        }
    }
    assert!(cases > 0, "no case of {row:?}");
    assert!(wrong.is_empty(), "Automerge is not what the table says:\n  {}", wrong.join("\n  "));
}

/// One test a row, and a list of all rows that have one.
macro_rules! rows {
    ($($(#[$doc:meta])* $test:ident: $row:ident,)*) => {
        $($(#[$doc])* #[test] fn $test() { assert_row(Row::$row); })*
        const TESTED: &[Row] = &[$(Row::$row),*];
    };
}

rows! {
    /// Stopped by: plain change chunks only.
    deflated_bytes_inflate_without_a_bound: Inflates,
    /// Stopped by: run lengths are summed and bounded before anything is walked.
    run_lengths_are_believed: RunLengths,
    /// Stopped by: `seq` is one above the actor's last change.
    a_gap_in_seq_panics: SeqGap,
    /// Stopped by: the actor's last change is in the change's own past.
    a_change_beside_the_actors_last_one_is_taken_or_panics_by_order: OwnPast,
    /// Stopped by: every object is one of the causal past; actor indices are bounded.
    an_operation_on_a_missing_object_panics: MissingObject,
    /// Stopped by: actor indices and counters of ids are bounded.
    ids_above_32_bits_panic_while_parsing: WideIds,
    /// Stopped by: keys and elements are of the object's kind, and there.
    a_key_that_the_object_cannot_have_makes_the_save_unreadable: WrongKey,
    /// Stopped by: an element of a text is inserted and deleted, never changed.
    a_change_of_an_element_of_a_text_panics_later: ChangedInText,
    /// Stopped by: no bytes behind the operations.
    an_author_behind_the_first_change_panics: Author,
    /// Stopped by: `seq` for an unknown actor, canonical form for unused ones.
    an_unknown_actor_panics: UnknownActor,
    /// Stopped by: every element is one of the causal past.
    an_insert_behind_a_missing_element_panics: MissingElement,
    /// Stopped by: Automerge itself, and by us before: actions are known ones.
    a_bad_action_is_an_error: BadAction,
    /// Stopped by: no sync message of Automerge's is ever decoded.
    bloom_filters_panic_abort_and_hang: Bloom,
    /// Stopped by: plain change chunks only.
    document_chunks_panic_and_abort: DocumentChunk,
    /// Stopped by: `seq` is one above the actor's last change; a log has no two commits of one number.
    two_changes_of_one_seq_never_converge: DuplicateSeq,
    /// Stopped by: counters end at 2^31.
    a_counter_at_the_end_of_32_bits_ends_all_editing: CounterCeiling,
    /// Stopped by: the first counter is above those of the dependencies.
    a_counter_too_low_makes_the_save_unreadable: CounterTooLow,
    /// Stopped by: the checksum is the one of the bytes; plain change chunks only.
    the_checksum_is_not_compared: Checksum,
    /// Stopped by: what was read, encoded again, gives the same bytes.
    bytes_that_are_not_canonical_make_the_save_unreadable: NotCanonical,
    /// Stopped by: all of the above.
    random_damage_is_taken_in_and_makes_saves_unreadable: Mutants,
}

#[test]
fn every_case_has_a_test_and_a_name_of_its_own() {
    for case in CASES {
        assert!(TESTED.contains(&case.row), "{} is run by no test", case.name);
        assert_eq!(CASES.iter().filter(|other| other.name == case.name).count(), 1, "{}", case.name);
    }
}

#[test]
fn our_door_refuses_each() {
    let mut wrong = Vec::new();
    for case in CASES {
        let Input { honest, faulty } = (case.build)();
        let stopped = door::first_refused(&[honest.clone(), faulty.clone()].concat());
        let expected = if faulty.is_empty() { None } else { Some(case.gate) };
        let honest_pass = stopped.is_none_or(|(index, _)| index >= honest.len());
        if !honest_pass || stopped.map(|(_, gate)| gate) != expected {
            wrong.push(format!("{}: {stopped:?} is refused, {expected:?} should: {}", case.name, case.rule));
        }
    }
    assert!(wrong.is_empty(), "the door is not what the table says:\n  {}", wrong.join("\n  "));
}

#[test]
fn an_engine_refuses_what_the_rules_refuse() {
    for case in CASES.iter().filter(|case| case.gate != Gate::Reader) {
        let Input { honest, faulty } = (case.build)();
        let taken = door::Bench::new().take(&[honest.clone(), faulty].concat());
        assert!(taken[..honest.len()].iter().all(|taken| *taken), "{}: an honest change is refused", case.name);
        assert!(taken[honest.len()..].contains(&false), "{}: {taken:?}", case.name);
    }
}

#[test]
fn an_operation_may_name_what_is_in_the_commits_past_only() {
    let there = next().with([Op::put("a", Value::unsigned(2)).over([id(1, 1)])]);
    let naming = Chunk { other_actors: vec![FAULTY.to_vec()], ..Chunk::new(&OTHER, 1, LAST + 2, &[base().hash()]) }
        .with([Op::put("a", Value::unsigned(3)).over([id(1, LAST + 1)])]);
    let mut bench = door::Bench::new();
    assert_eq!(bench.take(&[base().bytes()]), [true]);
    bench.stay(true);
    assert_eq!(bench.take(&[there.bytes(), naming.bytes()]), [true, false], "it is not in the commit's past");
    bench.stay(false);
    assert_eq!(bench.take(&[naming.bytes()]), [true], "now it is");
}

#[test]
fn a_damaged_change_that_passes_our_door_does_automerge_no_harm() {
    let base = base().bytes();
    let (mut passed, mut mutants) = (0, 0);
    for mutant in inputs::mutants() {
        mutants += 1;
        let changes = [base.clone(), mutant];
        if let Some(stopped) = door::first_refused(&changes) {
            assert_eq!(stopped.0, 1, "the honest change is refused");
            continue;
        }
        passed += 1;
        let mut doc = Automerge::new();
        let parsed = changes.map(|bytes| automerge::Change::from_bytes(bytes).expect("parses"));
        let hashes = parsed.clone().map(|change| change.hash());
        doc.apply_changes(parsed).expect("applies");
        let loaded = Automerge::load(&doc.save()).expect("loads");
        assert_eq!(loaded.get_heads(), doc.get_heads());
        let held: Vec<_> = loaded.get_changes(&[]).iter().map(|change| change.hash()).collect();
        assert_eq!(held, hashes);
    }
    assert!(0 < passed && passed < mutants / 2, "{passed} of {mutants} pass");
}

/// The bytes of a change that Automerge itself makes.
fn own_bytes(doc: &mut Automerge, edit: impl FnOnce(&mut Transaction<'_>)) -> Vec<u8> {
    let mut transaction = doc.transaction();
    edit(&mut transaction);
    transaction.commit_with(CommitOptions::default().with_time(-7).with_message("message"));
    doc.get_last_local_change().expect("it was just made").raw_bytes().to_vec()
}

fn document_of(actor: [u8; 16]) -> Automerge {
    Automerge::new().with_actor(actor.as_slice().into())
}

#[test]
fn a_built_change_has_automerges_own_bytes() {
    let mut doc = document_of(HONEST);
    let mut objects = Vec::new();
    let first = own_bytes(&mut doc, |edit| {
        edit.put(ROOT, "a", 1_u64).expect("puts");
        let list = edit.put_object(ROOT, "list", ObjType::List).expect("makes");
        edit.insert(&list, 0, "x").expect("inserts");
        objects = vec![list, edit.put_object(ROOT, "text", ObjType::Text).expect("makes")];
    });
    let built = Chunk { time: -7, message: b"message".to_vec(), ..base() };
    assert_eq!(first, built.bytes());

    let mut doc = doc.with_actor(FAULTY.as_slice().into());
    let second = own_bytes(&mut doc, |edit| {
        edit.put(ROOT, "a", ScalarValue::counter(-5)).expect("puts");
        edit.increment(ROOT, "a", 70).expect("adds");
        edit.insert(&objects[0], 1, "é").expect("inserts");
        edit.delete(&objects[0], 0).expect("deletes");
        edit.splice_text(&objects[1], 0, 0, "abc").expect("writes");
        edit.mark(&objects[1], Mark::new("bold".into(), true, 0, 2), ExpandMark::Both).expect("marks");
        edit.put(ROOT, "b", ()).expect("puts");
        edit.put(ROOT, "c", -300_i64).expect("puts");
    });
    let own = LAST + 1;
    let (list, text) = (id(1, LIST), id(1, LAST));
    let letter = |at: Key, letter: &str| Op::insert(text, at, Value::text(letter));
    let mark = |after: u64| Op {
        action: action::MARK,
        expand: true,
        ..Op::insert(text, Key::Element(id(0, own + after)), Value::default())
    };
    let built = Chunk {
        other_actors: vec![HONEST.to_vec()],
        time: -7,
        message: b"message".to_vec(),
        ..Chunk::new(&FAULTY, 1, own, &[built.hash()])
    }
    .with([
        Op::put("a", Value::counter(-5)).over([id(1, 1)]),
        Op::root("a", action::INCREMENT, Value::signed(70)).over([id(0, own)]),
        Op::insert(list, Key::Element(id(1, ELEMENT)), Value::text("é")),
        Op { action: action::DELETE, ..Op::put_in(list, Key::Element(id(1, ELEMENT)), Value::default()) }
            .over([id(1, ELEMENT)]),
        letter(Key::Head, "a"),
        letter(Key::Element(id(0, own + 4)), "b"),
        letter(Key::Element(id(0, own + 5)), "c"),
        Op { key: Key::Head, mark_name: Some("bold".into()), value: Value { kind: 2, bytes: vec![] }, ..mark(0) },
        mark(5),
        Op::put("b", Value::default()),
        Op::put("c", Value::signed(-300)),
    ]);
    assert_eq!(second, built.bytes());
}

#[test]
fn a_built_document_has_automerges_own_bytes() {
    let mut doc = document_of(OTHER);
    for (number, key) in (1_u64..).zip(["a", "b", "c"]) {
        let mut transaction = doc.transaction();
        transaction.put(ROOT, key, number).expect("puts");
        transaction.commit_with(CommitOptions::default().with_time(0));
    }
    assert_eq!(doc.save_nocompress(), document_of_three().bytes());
}
