//! The cases, in groups by cause. `rule` names what of ours stops each.

use super::{Call::*, Case, Gate, Input, Row, Seen::*, Step, inputs, step};

/// For cases that need no more: what they do takes a few megabytes.
const MEMORY_BYTES: u64 = 1 << 30;
/// For cases that take as much memory as there is: they reach this soon.
const LITTLE_MEMORY_BYTES: u64 = 256 << 20;
/// For cases that end by themselves.
const CPU_SECONDS: u64 = 20;
/// For cases that do not.
const HANG_CPU_SECONDS: u64 = 1;

impl Case {
    const fn new(
        row: Row,
        name: &'static str,
        build: fn() -> Input,
        steps: &'static [Step],
        (gate, rule): (Gate, &'static str),
    ) -> Self {
        Self { name, row, build, steps, gate, rule, memory_bytes: MEMORY_BYTES, cpu_seconds: CPU_SECONDS }
    }

    /// The same with little memory.
    const fn in_little_memory(self) -> Self {
        Self { memory_bytes: LITTLE_MEMORY_BYTES, ..self }
    }

    /// The same, expected to compute without end.
    const fn without_end(self) -> Self {
        Self { cpu_seconds: HANG_CPU_SECONDS, ..self }
    }
}

const PLAIN: (Gate, &str) = (Gate::Reader, "plain change chunks only: no other form of a change, no documents");
const COUNTS: (Gate, &str) = (Gate::Reader, "run lengths are summed and bounded before anything is walked");
const IDS: (Gate, &str) = (Gate::Reader, "actor indices and counters of ids are bounded");
const CANONICAL: (Gate, &str) = (Gate::Reader, "what was read, encoded again, gives the same bytes");
const CHECKSUM: (Gate, &str) = (Gate::Reader, "the checksum is the one of the bytes");
const COUNTER: (Gate, &str) = (Gate::Reader, "operation counters end at 2^31");
const NO_SYNC_MESSAGES: (Gate, &str) = (Gate::Reader, "no message of Automerge's sync protocol is ever decoded");
const SEQ: (Gate, &str) =
    (Gate::Engine, "seq is one above the actor's last change of the document in the commit's past");
const OWN_PAST: (Gate, &str) = (Gate::Engine, "the actor's last change is among the change's ancestors");
const FIRST_COUNTER: (Gate, &str) = (Gate::Engine, "the first counter is above those of the dependencies");
const NAMES: (Gate, &str) =
    (Gate::Rules, "every id that an operation names belongs to the causal past, and is of the right kind");
const UNCHANGED_IN_TEXT: (Gate, &str) = (Gate::Rules, "an element of a text is inserted and deleted, never changed");

/// All cases.
pub const CASES: &[Case] = &[
    // Deflated.
    Case::new(Row::Inflates, "message-inflates", inputs::message_inflates, &[step(Parse, Aborts)], PLAIN)
        .in_little_memory(),
    Case::new(
        Row::Inflates,
        "zeros-inflate",
        inputs::zeros_inflate,
        &[step(Incremental, Says("0 operations, changed: false, above 100 MiB: true"))],
        PLAIN,
    )
    .in_little_memory(),
    Case::new(Row::Inflates, "column-inflates", inputs::column_inflates, &[step(Load, Fails("memory"))], PLAIN)
        .in_little_memory(),
    // Run lengths.
    Case::new(Row::RunLengths, "ops-without-end", inputs::ops_without_end, &[step(Parse, Hangs)], COUNTS).without_end(),
    Case::new(
        Row::RunLengths,
        "ops-without-end-incremental",
        inputs::ops_without_end,
        &[step(Incremental, Hangs)],
        COUNTS,
    )
    .without_end(),
    Case::new(
        Row::RunLengths,
        "four-million-ops",
        inputs::four_million_ops,
        &[step(Parse, Fine), step(Apply, Aborts)],
        COUNTS,
    )
    .in_little_memory(),
    Case::new(Row::RunLengths, "preds-without-end", inputs::preds_without_end, &[step(Parse, Aborts)], COUNTS)
        .in_little_memory(),
    // Places.
    Case::new(Row::SeqGap, "seq-gap", inputs::seq_gap, GRAPH_WITHOUT_OPS, SEQ),
    Case::new(
        Row::OwnPast,
        "second-behind-first",
        inputs::second_behind_first,
        &[step(ApplyTogether, Fine), step(Heads, Says("2 heads")), step(SaveAndLoad, Fails("missing ops"))],
        OWN_PAST,
    ),
    Case::new(
        Row::OwnPast,
        "second-before-first",
        inputs::second_before_first,
        &[step(ApplyTogether, Panics("change_graph.rs"))],
        SEQ,
    ),
    Case::new(Row::MissingObject, "missing-object", inputs::missing_object, BATCH_WITHOUT_OPS, NAMES),
    Case::new(Row::MissingObject, "no-object", inputs::no_object, BATCH_WITHOUT_OPS, NAMES),
    Case::new(
        Row::MissingObject,
        "actor-index-too-high",
        inputs::actor_index_too_high,
        &[step(Parse, Fine), step(Apply, Panics("InvalidActorIndex"))],
        IDS,
    ),
    Case::new(Row::WideIds, "wide-counter", inputs::wide_counter, &[step(Parse, Panics("types.rs"))], IDS),
    Case::new(Row::WideIds, "wide-actor-index", inputs::wide_actor_index, &[step(Parse, Panics("types.rs"))], IDS),
    Case::new(
        Row::WrongKey,
        "map-key-on-list",
        inputs::map_key,
        &[step(Apply, Fine), step(Changes, Panics("collector.rs")), step(SaveAndLoad, Fails("missing ops"))],
        NAMES,
    ),
    Case::new(
        Row::WrongKey,
        "missing-element-set",
        inputs::missing_element_set,
        &[step(Apply, Fine), step(Changes, Panics("collector.rs")), step(SaveAndLoad, Fails("missing ops"))],
        NAMES,
    ),
    Case::new(Row::WrongKey, "two-map-keys-on-list", inputs::two_map_keys, BATCH_WITHOUT_OPS, NAMES),
    Case::new(Row::WrongKey, "two-missing-elements-set", inputs::two_missing_elements_set, BATCH_WITHOUT_OPS, NAMES),
    Case::new(
        Row::ChangedInText,
        "increment-in-text",
        inputs::increment_in_text,
        &[step(Apply, Fine), step(SaveAndLoad, Fine), step(FrontOfText, Panics("op.rs"))],
        UNCHANGED_IN_TEXT,
    ),
    Case::new(
        Row::ChangedInText,
        "lesser-of-two-in-text-deleted",
        inputs::lesser_of_two_in_text_deleted,
        &[step(Apply, Panics("exposed value must record the value it replaces"))],
        UNCHANGED_IN_TEXT,
    ),
    Case::new(
        Row::Author,
        "author-at-seq-2",
        inputs::author_at_seq_2,
        GRAPH_WITHOUT_OPS,
        (Gate::Reader, "no bytes behind the operations"),
    ),
    Case::new(
        Row::UnknownActor,
        "unknown-actor",
        inputs::unknown_actor,
        &[
            step(Parse, Fine),
            step(Incremental, Panics("batch.rs")),
            step(LoadAppended, Panics("batch.rs")),
            step(Apply, Panics("batch.rs")),
            step(SaveAndLoad, Fine),
        ],
        SEQ,
    ),
    Case::new(
        Row::UnknownActor,
        "unknown-other-actor",
        inputs::unknown_other_actor,
        &[
            step(Parse, Fine),
            step(Incremental, Panics("batch.rs")),
            step(LoadAppended, Panics("batch.rs")),
            step(Apply, Panics("batch.rs")),
            step(SaveAndLoad, Panics("automerge.rs")),
            step(Put, Fine).checked(Panics("automerge.rs")),
        ],
        CANONICAL,
    ),
    Case::new(
        Row::MissingElement,
        "insert-behind-missing-element",
        inputs::missing_element_insert,
        BATCH_WITHOUT_OPS,
        NAMES,
    ),
    Case::new(
        Row::BadAction,
        "bad-action",
        inputs::bad_action,
        &[step(Parse, Fails("unrecognized action index 99"))],
        (Gate::Reader, "actions are known ones"),
    ),
    // Sync messages.
    Case::new(
        Row::Bloom,
        "bloom-without-bits",
        inputs::bloom_without_bits,
        &[step(ReceiveMessage, Fine), step(AnswerEmpty, Fine), step(Answer, Panics("bloom.rs"))],
        NO_SYNC_MESSAGES,
    ),
    Case::new(
        Row::Bloom,
        "bloom-of-all-probes",
        inputs::bloom_of_all_probes,
        &[step(ReceiveMessage, Fine), step(AnswerEmpty, Fine), step(Answer, Aborts)],
        NO_SYNC_MESSAGES,
    ),
    Case::new(
        Row::Bloom,
        "bloom-of-many-probes",
        inputs::bloom_of_many_probes,
        &[step(ReceiveMessage, Fine), step(AnswerEmpty, Fine), step(Answer, Hangs)],
        NO_SYNC_MESSAGES,
    )
    .without_end(),
    // Documents.
    Case::new(
        Row::DocumentChunk,
        "dependency-beyond",
        inputs::dependency_beyond,
        &[
            step(Load, Panics("change_graph.rs")),
            step(Incremental, Panics("change_graph.rs")),
            step(Receive, Panics("change_graph.rs")),
        ],
        PLAIN,
    ),
    Case::new(
        Row::DocumentChunk,
        "too-many-dependency-counts",
        inputs::too_many_dependency_counts,
        &[
            step(Load, Panics("change_graph.rs")),
            step(Incremental, Panics("change_graph.rs")),
            step(Receive, Panics("change_graph.rs")),
        ],
        PLAIN,
    ),
    Case::new(
        Row::DocumentChunk,
        "dependency-forward",
        inputs::dependency_forward,
        &[
            step(Load, Panics("collector.rs")),
            step(Incremental, Panics("collector.rs")),
            step(Receive, Panics("collector.rs")),
        ],
        PLAIN,
    ),
    Case::new(
        Row::DocumentChunk,
        "cut-column",
        inputs::cut_column,
        &[step(Load, Panics("hexane")), step(Incremental, Panics("hexane")), step(Receive, Panics("hexane"))],
        PLAIN,
    ),
    Case::new(Row::DocumentChunk, "actors-without-end", inputs::actors_without_end, &[step(Load, Aborts)], PLAIN)
        .in_little_memory(),
    Case::new(
        Row::DocumentChunk,
        "negative-seq",
        inputs::negative_seq,
        &[step(Load, Fails("changes out of order"))],
        PLAIN,
    ),
    Case::new(
        Row::DocumentChunk,
        "huge-max-op",
        inputs::huge_max_op,
        &[step(Load, Fails("max_op is lower than start_op"))],
        PLAIN,
    ),
    // One number twice.
    Case::new(
        Row::DuplicateSeq,
        "sibling-in-a-batch",
        inputs::sibling_in_a_batch,
        &[step(ApplyTogether, Fails("duplicate seq")), step(Holds, Says("0 of 2, waits for 0"))],
        SEQ,
    ),
    Case::new(
        Row::DuplicateSeq,
        "siblings",
        inputs::siblings,
        &[step(MergeSiblings, Fails("duplicate seq")), step(SyncSiblings, Says("apart: true, talking: true"))],
        SEQ,
    ),
    Case::new(
        Row::DuplicateSeq,
        "dependant-of-sibling",
        inputs::dependant_of_sibling,
        &[step(Apply, Fails("duplicate seq")), step(Holds, Says("0 of 2, waits for 1"))],
        SEQ,
    ),
    Case::new(
        Row::DuplicateSeq,
        "forged-old-seq",
        inputs::forged_old_seq,
        // Of the honest numbers 3 and 2 only 2 is there in the end: the queued 3 is gone.
        &[step(Apply, Fails("duplicate seq")), step(Holds, Says("1 of 3, waits for 0"))],
        SEQ,
    ),
    // Counters.
    Case::new(
        Row::CounterCeiling,
        "last-counter",
        inputs::last_counter,
        &[
            step(Apply, Fine),
            step(SaveAndLoad, Fine),
            step(Put, Panics("types.rs")),
            step(PutAfterLoad, Panics("types.rs")),
        ],
        COUNTER,
    ),
    Case::new(
        Row::CounterCeiling,
        "beyond-last-counter",
        inputs::beyond_last_counter,
        &[step(Parse, Fine), step(Apply, Panics("types.rs"))],
        COUNTER,
    ),
    Case::new(
        Row::CounterCeiling,
        "counter-too-large",
        inputs::counter_too_large,
        &[step(Parse, Fails("counter too large"))],
        COUNTER,
    ),
    Case::new(
        Row::CounterTooLow,
        "counter-too-low",
        inputs::counter_too_low,
        &[step(Apply, Fine), step(SaveAndLoad, Fails("max_op is lower than start_op"))],
        FIRST_COUNTER,
    ),
    Case::new(
        Row::CounterTooLow,
        "counter-used-twice",
        inputs::counter_used_twice,
        &[step(Apply, Fine), step(Changes, Panics("collector.rs")), step(SaveAndLoad, Panics("collector.rs"))],
        FIRST_COUNTER,
    ),
    // Checksum and other form.
    Case::new(
        Row::Checksum,
        "wrong-checksum",
        inputs::wrong_checksum,
        &[
            step(PassOn, Says("raw, right checksum: false, garbage: false")),
            step(Incremental, Says("0 operations, changed: false")),
            step(LoadAppended, Fails("checksum")),
            step(Apply, Fine),
        ],
        CHECKSUM,
    ),
    Case::new(
        Row::Checksum,
        "other-form",
        inputs::other_form,
        &[
            step(PassOn, Says("not raw, right checksum: true, garbage: false")),
            step(Incremental, Says("1 operations, changed: true")),
        ],
        PLAIN,
    ),
    Case::new(
        Row::Checksum,
        "other-form-with-garbage",
        inputs::other_form_with_garbage,
        &[
            step(PassOn, Says("not raw, right checksum: true, garbage: true")),
            step(Incremental, Says("1 operations, changed: true")),
        ],
        PLAIN,
    ),
    // Second forms of valid operations.
    Case::new(Row::NotCanonical, "missing-pred", inputs::missing_pred, REWRITTEN, NAMES),
    Case::new(Row::NotCanonical, "unknown-column", inputs::unknown_column, REWRITTEN, CANONICAL),
    Case::new(Row::NotCanonical, "literal-for-run", inputs::literal_for_run, REWRITTEN, CANONICAL),
    Case::new(Row::NotCanonical, "unused-actor", inputs::unused_actor, REWRITTEN, CANONICAL),
    Case::new(
        Row::NotCanonical,
        "unused-actor-and-honest-edits",
        inputs::unused_actor,
        &[
            step(Apply, Fine),
            step(PutOften, Fine),
            step(SaveAndLoad, Fails("mismatching heads")),
            step(Rescue, Fails("mismatching heads")),
            step(LoadUnverified, Fine),
            step(SyncNewPeer, Says("peer has nothing, talking: true")),
        ],
        CANONICAL,
    ),
    Case::new(
        Row::Mutants,
        "mutants",
        inputs::nothing_faulty,
        &[step(Mutants, Says("accepted, unreadable, panics: some, some, some"))],
        CANONICAL,
    ),
];

/// The change is taken in, and what comes out again is another one.
const REWRITTEN: &[Step] = &[
    step(Apply, Fine),
    step(SaveAndLoad, Fails("mismatching heads")),
    step(Changes, Says("1 of 1 heads lacking")).checked(Panics("collector.rs")),
    step(FreshPeer, Says("other heads")).checked(Panics("collector.rs")),
];

/// A panic at the same place however the change comes in; what is left can be edited, and saved, and what was saved is lost.
const fn left_without_ops(place: &'static str) -> [Step; 6] {
    [
        step(Parse, Fine),
        step(Incremental, Panics(place)),
        step(LoadAppended, Panics(place)),
        step(Apply, Panics(place)),
        step(Put, Fine),
        step(SaveAndLoad, Fails("missing ops")),
    ]
}

const GRAPH_WITHOUT_OPS: &[Step] = &left_without_ops("change_graph.rs");
const BATCH_WITHOUT_OPS: &[Step] = &left_without_ops("batch.rs");
