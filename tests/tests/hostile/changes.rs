//! Changes that Automerge must never see: each in a commit that is right in everything else.

use sync_core::{
    commit::Item,
    doc::entry::{RootContent, RootSpec},
    ids::DocId,
    limits,
    wire::{CloseCode, Message},
};
use sync_tests::{
    chunk::{
        Parts, chunk as sealed,
        column::{
            ACTION, INSERT, KEY_STRING, OBJ_ACTOR, OBJ_COUNTER, PRED_ACTOR, PRED_COUNT, PRED_COUNTER, VALUE_META, run,
            sleb, uleb,
        },
        hash_of,
    },
    hostile::{bench::Bench, client::within, standing::Member},
};

use super::script;

/// A root change as the member's own replica would write it: no entry's values derive its actor.
fn root(member: &Member) -> Parts {
    let spec = RootSpec::file(member.space, None, "bomb.txt", RootContent::Inline(b"x".to_vec()));
    let actor = member.replica().0.to_vec();
    Parts::read(&spec.build().bytes).with(|chunk| chunk.actor = actor)
}

/// The item that brings a document's root.
fn rooted(bytes: Vec<u8>) -> Item {
    Item::change(DocId(hash_of(&bytes)), bytes)
}

/// A run of one number, or a single one.
fn numbers(count: i64, value: u64) -> Vec<u8> {
    run(count, &uleb(value))
}

/// What is wrong, and the items that have it.
type Case<'a> = (&'a str, &'a dyn Fn(&Member) -> Vec<Item>);

/// Plays each case with a fresh member and says which were let in.
async fn let_in(bench: &Bench, cases: &[Case<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut member = bench.member().await;
    for (what, make) in cases {
        let items = make(&member);
        let forge = member.forge(items);
        let mut wire = member.send(&bench.a.address, &[forge.sign()]).await;
        let replica = member.replica();
        let taken = async {
            while let Some(frame) = wire.hear().await {
                if let Ok(Message::Durable { vector, .. }) = sync_core::wire::decode(&frame)
                    && vector.len_of(&replica) > 0
                {
                    return true;
                }
            }
            false
        };
        if within(what, taken).await {
            found.push((*what).to_owned());
            member = bench.member().await;
        } else {
            wire.ends_with(what, CloseCode::BadCommit).await;
        }
    }
    found
}

async fn none_is_let_in(bench: &Bench, cases: &[Case<'_>]) {
    let before = bench.state().await;
    let found = let_in(bench, cases).await;
    assert_eq!(found, Vec::<String>::new(), "these were taken in");
    let after = bench.state().await;
    // Where the first member of the script is the last, it is the only one more.
    assert_eq!((after.root, after.files), (before.root, before.files), "no document changed");
}

fn one(chunk: Parts) -> Vec<Item> {
    vec![rooted(chunk.bytes())]
}

#[test]
fn chunks_that_are_no_plain_change_are_refused() {
    script(async |bench| {
        let cases: &[Case<'_>] = &[
            ("a document chunk", &|member| vec![rooted(sealed(0, &root(member).bytes()[10..], None))]),
            ("a deflated chunk", &|member| vec![rooted(sealed(2, &root(member).bytes()[10..], None))]),
            ("an unknown chunk", &|_| vec![rooted(sealed(9, &[0; 40], None))]),
            ("an empty chunk", &|_| vec![rooted(sealed(1, &[], None))]),
            ("nothing", &|_| vec![Item::change(DocId([1; 32]), Vec::new())]),
            ("a wrong checksum", &|member| {
                let mut bytes = root(member).bytes();
                bytes[4] ^= 1;
                vec![rooted(bytes)]
            }),
            ("bytes behind the chunk", &|member| vec![rooted([root(member).bytes(), vec![0]].concat())]),
            ("two chunks", &|member| vec![rooted([root(member).bytes(), root(member).bytes()].concat())]),
            ("bytes behind the operations", &|member| one(root(member).with(|chunk| chunk.extra = vec![1, 2, 3]))),
            ("a deflated column", &|member| one(root(member).with(|chunk| chunk.columns[0].0 |= 0b1000))),
            ("columns out of order", &|member| one(root(member).with(|chunk| chunk.columns.reverse()))),
            ("a column twice", &|member| {
                one(root(member).with(|chunk| chunk.columns.insert(0, chunk.columns[0].clone())))
            }),
            ("33 columns", &|member| {
                one(root(member).with(|chunk| chunk.columns = (0..33).map(|at| (at * 16, vec![])).collect()))
            }),
        ];
        none_is_let_in(bench, cases).await;
    });
}

#[test]
fn numbers_that_lie_are_refused() {
    script(async |bench| {
        let cases: &[Case<'_>] = &[
            ("2^62 operations", &|member| one(root(member).with(|chunk| *chunk.column(ACTION) = numbers(1 << 62, 1)))),
            ("2^62 operations in two runs", &|member| {
                one(root(member)
                    .with(|chunk| *chunk.column(ACTION) = [numbers(1 << 61, 1), numbers(1 << 61, 2)].concat()))
            }),
            ("more operations than a change may have", &|member| {
                let ops = limits::CHANGE_OPS_MAX as i64 + 1;
                one(root(member).with(|chunk| *chunk.column(ACTION) = numbers(ops, 1)))
            }),
            ("a gap in its numbers", &|member| one(root(member).with(|chunk| chunk.seq = 2))),
            ("number 0", &|member| one(root(member).with(|chunk| chunk.seq = 0))),
            ("a number of 2^63", &|member| one(root(member).with(|chunk| chunk.seq = 1 << 63))),
            ("a counter of 0", &|member| one(root(member).with(|chunk| chunk.start_op = 0))),
            ("a counter of 2^31", &|member| one(root(member).with(|chunk| chunk.start_op = 1 << 31))),
            ("a counter of 2^32 - 1", &|member| one(root(member).with(|chunk| chunk.start_op = u64::from(u32::MAX)))),
            ("a counter of 2^64 - 1", &|member| one(root(member).with(|chunk| chunk.start_op = u64::MAX))),
            ("another's actor", &|member| one(root(member).with(|chunk| chunk.actor = vec![7; 16]))),
            ("no actor", &|member| one(root(member).with(|chunk| chunk.actor.clear()))),
            ("a long actor", &|member| one(root(member).with(|chunk| chunk.actor = vec![7; 4096]))),
            ("a long message", &|member| one(root(member).with(|chunk| chunk.message = vec![b'x'; 1025]))),
            ("1025 other actors", &|member| {
                one(root(member)
                    .with(|chunk| chunk.others = (0..1025_u32).map(|at| at.to_be_bytes().to_vec()).collect()))
            }),
            ("a dependency that nobody has", &|member| one(root(member).with(|chunk| chunk.deps = vec![[9; 32]]))),
            ("a dependency twice", &|member| one(root(member).with(|chunk| chunk.deps = vec![[9; 32]; 2]))),
            ("257 dependencies", &|member| {
                one(root(member).with(|chunk| chunk.deps = (0..257_u16).map(|at| [at as u8; 32]).collect()))
            }),
        ];
        none_is_let_in(bench, cases).await;
    });
}

/// The second change of a document: deletes nothing and depends on the first.
fn second(root: &Parts) -> Parts {
    let ops = root.columns.len();
    assert!(ops > 0, "a root has operations");
    // As many operations as the root has, so that the counter goes on behind them.
    root.with(|chunk| {
        chunk.deps = vec![root.hash()];
        chunk.seq = 2;
        chunk.start_op = 6;
        chunk.message.clear();
    })
}

fn both(root: &Parts, change: impl FnOnce(&mut Parts)) -> Vec<Item> {
    let doc = DocId(root.hash());
    vec![rooted(root.bytes()), Item::change(doc, second(root).with(change).bytes())]
}

#[test]
fn changes_out_of_their_place_are_refused() {
    script(async |bench| {
        let cases: &[Case<'_>] = &[
            ("a gap in its numbers", &|member| both(&root(member), |chunk| chunk.seq = 3)),
            ("a number once more", &|member| both(&root(member), |chunk| chunk.seq = 1)),
            ("a counter that is taken", &|member| both(&root(member), |chunk| chunk.start_op = 1)),
            ("a counter that jumps", &|member| {
                both(&root(member), |chunk| chunk.start_op = limits::CHANGE_COUNTER_JUMP_MAX + 100)
            }),
            ("another's actor", &|member| both(&root(member), |chunk| chunk.actor = vec![1; 16])),
            ("no dependency", &|member| both(&root(member), |chunk| chunk.deps.clear())),
            ("the same change twice", &|member| {
                let root = rooted(root(member).bytes());
                vec![root.clone(), root]
            }),
            ("a root of another name", &|member| vec![Item::change(DocId([5; 32]), root(member).bytes())]),
            ("the second before the first", &|member| {
                let mut items = both(&root(member), |_| {});
                items.reverse();
                items
            }),
            ("one without its document", &|member| both(&root(member), |_| {}).split_off(1)),
        ];
        none_is_let_in(bench, cases).await;
    });
}

#[test]
fn operations_that_automerge_cannot_bear_are_refused() {
    script(async |bench| {
        let cases: &[Case<'_>] = &[
            ("2^62 predecessors", &|member| {
                one(root(member).with(|chunk| *chunk.column(PRED_COUNT) = numbers(5, 1 << 62)))
            }),
            ("2^62 keys", &|member| {
                let key = [sleb(1 << 62), uleb(1), b"k".to_vec()].concat();
                one(root(member).with(|chunk| *chunk.column(KEY_STRING) = key))
            }),
            ("2^62 inserts", &|member| one(root(member).with(|chunk| *chunk.column(INSERT) = uleb(1 << 62)))),
            ("a value of 2^60 bytes", &|member| {
                one(root(member).with(|chunk| *chunk.column(VALUE_META) = numbers(5, (1 << 60) << 4 | 6)))
            }),
            ("an object that is not there", &|member| {
                one(root(member).with(|chunk| {
                    chunk.columns.insert(0, (OBJ_ACTOR, numbers(5, 0)));
                    chunk.columns.insert(1, (OBJ_COUNTER, numbers(5, 99)));
                }))
            }),
            ("an actor that is not there", &|member| {
                one(root(member).with(|chunk| {
                    chunk.columns.insert(0, (OBJ_ACTOR, numbers(5, 9)));
                    chunk.columns.insert(1, (OBJ_COUNTER, numbers(5, 1)));
                }))
            }),
            ("a counter of 2^40", &|member| {
                one(root(member).with(|chunk| {
                    chunk.columns.insert(0, (OBJ_ACTOR, numbers(5, 0)));
                    chunk.columns.insert(1, (OBJ_COUNTER, numbers(5, 1 << 40)));
                }))
            }),
            ("predecessors that are not there", &|member| {
                one(root(member).with(|chunk| {
                    *chunk.column(PRED_COUNT) = numbers(5, 1);
                    chunk.columns.push((PRED_ACTOR, numbers(5, 0)));
                    chunk.columns.push((PRED_COUNTER, [sleb(5), sleb(99)].concat()));
                }))
            }),
            ("an action of 99", &|member| one(root(member).with(|chunk| *chunk.column(ACTION) = numbers(5, 99)))),
            ("an actor that no operation names", &|member| {
                one(root(member).with(|chunk| chunk.others = vec![vec![0xaa; 16]]))
            }),
            ("a column that nobody knows", &|member| {
                one(root(member).with(|chunk| chunk.columns.push((0x7c0, vec![1, 2, 3]))))
            }),
            ("a run that is written out", &|member| {
                let actions = [sleb(-5), vec![1; 5]].concat();
                one(root(member).with(|chunk| *chunk.column(ACTION) = actions))
            }),
            ("fewer keys than operations", &|member| {
                one(root(member).with(|chunk| *chunk.column(KEY_STRING) = [sleb(-1), uleb(1), b"k".to_vec()].concat()))
            }),
        ];
        none_is_let_in(bench, cases).await;
    });
}
