//! Who wins a conflict is a total order: of two one wins, whoever else is there; who wins over a winner wins over whom that
//! one beats; and nobody asks who came first. For names that several entries claim, and for registers that several
//! devices set at once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sync_core::{
    doc::{
        Document,
        entry::{Content, ContentRef, Entry, EntryOp, Kind, RootContent, RootSpec},
    },
    folder::Documents,
    ids::{ChangeHash, ContentHash, DocId, ReplicaId, SpaceId},
    tree::{Folds, View},
};
use sync_tests::model::{Model, reordered};

/// Checks that a choice among any of these is one of a total order: `wins` says who wins among some of them.
fn assert_total_order(count: usize, wins: impl Fn(&[usize]) -> usize) {
    let beats = |a: usize, b: usize| {
        let winner = wins(&[a, b]);
        assert!(winner == a || winner == b, "one of two wins");
        assert_eq!(winner, wins(&[b, a]), "whoever came first");
        winner == a
    };
    let table: Vec<Vec<bool>> = (0..count).map(|a| (0..count).map(|b| a != b && beats(a, b)).collect()).collect();
    for a in 0..count {
        for b in (0..count).filter(|b| *b != a) {
            assert_ne!(table[a][b], table[b][a], "of two one wins");
            for c in (0..count).filter(|c| *c != a && *c != b) {
                assert!(!(table[a][b] && table[b][c]) || table[a][c], "{a} beats {b}, {b} beats {c}: a cycle");
            }
        }
    }
    let all: Vec<usize> = (0..count).collect();
    let winner = wins(&all);
    assert!(all.iter().all(|other| *other == winner || table[winner][*other]), "who wins among all beats each");
}

// ---- names ----

/// An entry, drawn: its id, kind, parent, name, when it was moved there, and whether it lives.
type Drawn = ([u8; 32], usize, Option<usize>, usize, u64, bool);

fn drawn() -> impl Strategy<Value = Drawn> {
    (
        any::<[u8; 32]>(),
        0..3_usize,
        proptest::option::of(0..8_usize),
        0..2_usize,
        1..4_u64,
        proptest::bool::weighted(0.9),
    )
}

fn entry(kind: usize, parent: Option<DocId>, name: &str, stamp: u64) -> Entry {
    Entry {
        kind: [Kind::Dir, Kind::File, Kind::Link][kind],
        parent,
        name: name.into(),
        alive: true,
        content: None,
        exec: false,
        target: None,
        lost_contents: Vec::new(),
        lost_place: false,
        parent_stamp: (stamp, vec![1]),
        first_parent: None,
    }
}

/// The tree of entries that arrived in this order, looked at after each.
fn view_of(arrivals: &[&(DocId, Entry)]) -> View {
    let mut documents = Documents::default();
    for (doc, entry) in arrivals {
        documents.set(*doc, vec![ChangeHash(doc.0)], entry.clone());
        documents.refresh();
    }
    documents.view().clone()
}

// ---- registers ----

/// A register that several set at once.
#[derive(Debug, Clone, Copy)]
enum Register {
    Name,
    Parent,
    Content,
    Target,
}

/// What device `index` puts there.
fn put(register: Register, index: usize) -> EntryOp {
    let byte = index as u8 + 1;
    match register {
        Register::Name => EntryOp::Name(format!("name {index}")),
        Register::Parent => EntryOp::Parent(Some(DocId([byte; 32]))),
        Register::Content => EntryOp::Content(ContentRef { hash: ContentHash([byte; 32]), len: 1, list: [byte; 32] }),
        Register::Target => EntryOp::Target(format!("target {index}")),
    }
}

/// Who put what an entry shows.
fn who(register: Register, entry: &Entry) -> usize {
    let number = |text: &str| text.rsplit(' ').next().and_then(|number| number.parse().ok());
    let of_byte = |byte: u8| usize::from(byte) - 1;
    match register {
        Register::Name => number(&entry.name).expect("somebody named it"),
        Register::Target => number(entry.target.as_deref().unwrap_or_default()).expect("somebody set it"),
        Register::Parent => of_byte(entry.parent.expect("somebody moved it").0[0]),
        Register::Content => match &entry.content {
            Some(Content::Reference(content)) => of_byte(content.hash.0[0]),
            other => panic!("somebody replaced it: {other:?}"),
        },
    }
}

proptest! {
    #[test]
    fn the_winner_of_a_name_is_a_total_order(
        claims in proptest::collection::btree_map(any::<[u8; 32]>(), (0..3_usize, 1..4_u64), 2..7)
    ) {
        let claims: Vec<(DocId, Entry)> =
            claims.into_iter().map(|(id, (kind, stamp))| (DocId(id), entry(kind, None, "a.txt", stamp))).collect();
        assert_total_order(claims.len(), |among| {
            let view = view_of(&among.iter().map(|index| &claims[*index]).collect::<Vec<_>>());
            let winner = view.child(None, "a.txt").expect("somebody keeps the name");
            claims.iter().position(|(doc, _)| *doc == winner).expect("is one of them")
        });
    }

    #[test]
    fn a_tree_does_not_depend_on_the_order_of_arrival(
        drawn in proptest::collection::vec(drawn(), 1..8),
        order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let ids: Vec<DocId> = drawn.iter().map(|(id, ..)| DocId(*id)).collect();
        prop_assume!(ids.iter().collect::<BTreeSet<_>>().len() == ids.len());
        let entries: Vec<(DocId, Entry)> = drawn
            .iter()
            .map(|(id, kind, parent, name, stamp, alive)| {
                // Into each other, too: then one move gives way.
                let parent = parent.and_then(|parent| ids.get(parent).copied());
                let entry = entry(*kind, parent, ["a", "b.txt"][*name], *stamp);
                (DocId(*id), Entry { alive: *alive, ..entry })
            })
            .collect();
        let arrivals: Vec<&(DocId, Entry)> = order.iter().filter_map(|index| entries.get(*index)).collect();
        let whole: BTreeMap<DocId, Entry> = entries.iter().cloned().collect();
        prop_assert_eq!(view_of(&arrivals), View::of(&whole, Folds::NONE));
    }

    #[test]
    fn the_winner_of_a_register_is_a_total_order(
        replicas in proptest::collection::btree_map(any::<[u8; 16]>(), 0..3_usize, 2..5),
        register in prop_oneof![
            Just(Register::Name), Just(Register::Parent), Just(Register::Content), Just(Register::Target)
        ],
        picks in proptest::collection::vec(0..64_usize, 16),
    ) {
        let root = RootSpec::file(SpaceId([1; 32]), None, "a.txt", RootContent::Inline(b"x".to_vec())).build();
        // What each does without having heard of the others; some have done other things before.
        let logs: Vec<Vec<Vec<u8>>> = replicas
            .iter()
            .enumerate()
            .map(|(index, (replica, before))| {
                let mut document = Document::from_changes([&root.bytes]).expect("opens");
                let ops = std::iter::repeat_n(EntryOp::Keep, *before).chain([put(register, index)]);
                let edit = |op| {
                    let at = document.heads();
                    document.edit(ReplicaId(*replica), &at, &[op]).expect("edits").bytes
                };
                ops.map(edit).collect()
            })
            .collect();
        assert_total_order(logs.len(), |among| {
            let logs = among.iter().flat_map(|index| logs[*index].clone());
            let changes: Vec<Vec<u8>> = std::iter::once(root.bytes.clone()).chain(logs).collect();
            let mut picks = picks.iter().cycle();
            let order = reordered(&changes, |ready| picks.next().expect("has no end") % ready).expect("is whole");
            let shown = Document::from_changes(&order).and_then(|document| document.entry()).expect("reads");
            assert_eq!(Model::of(order).and_then(|model| model.entry()), Ok(shown.clone()), "the naive model");
            who(register, &shown)
        });
    }
}

/// The check can tell: stone, paper and scissors are no order.
#[test]
#[should_panic(expected = "a cycle")]
fn a_cycle_is_no_order() {
    assert_total_order(3, |among| match *among {
        [a, b] => {
            if (a + 1) % 3 == b {
                b
            } else {
                a
            }
        }
        _ => 0,
    });
}
