//! What Automerge 0.12 does with input that it should refuse: each case with what is done, what was seen, and which of our
//! gates stops the input before it gets there.
//!
//! The table is data. `inputs` builds the bytes, `calls` makes the calls in a process of their own (the program
//! `automerge-fault`), `child` runs that process under limits and reads what it saw. `table` holds the cases, and
//! `door` takes them to our own gates. When an upgrade
//! mends a fault, its case fails: then the case is changed to what is seen now, and stays.

pub mod calls;
pub mod child;
pub mod door;
pub mod inputs;
mod table;

pub use self::{inputs::Input, table::CASES};

/// Something done with the input. "The document" has taken in the honest changes; a "fresh" one has, too, and nothing else
/// was done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Parses every faulty change, and drops it.
    Parse,
    /// Parses the first faulty change and says whether what would be passed on is what came.
    PassOn,
    /// Parses the faulty changes and applies them to the document one by one.
    Apply,
    /// Parses the faulty changes and applies them to the document in one batch.
    ApplyTogether,
    /// Says how many of the faulty changes the document holds, and on how many it waits.
    Holds,
    /// Says how many heads the document has.
    Heads,
    /// Edits the document.
    Put,
    /// Edits the document a hundred times.
    PutOften,
    /// Saves the document and loads what was saved; says so if the heads differ.
    SaveAndLoad,
    /// The same, and edits what was loaded.
    PutAfterLoad,
    /// Asks the document for all its changes; says so if a head is not among them.
    Changes,
    /// Lists all values, also those in conflict, at the front of the document's text.
    FrontOfText,
    /// Gives all changes of the document to a fresh peer; says so if the heads differ.
    FreshPeer,
    /// Syncs the document with an empty peer by Automerge's own protocol, 30 rounds.
    SyncNewPeer,
    /// Saves the document and asks for its values without its history.
    Rescue,
    /// Saves the document and loads it without comparing heads.
    LoadUnverified,
    /// Loads the faulty bytes as the next part of a fresh document; says how many operations came in.
    Incremental,
    /// Loads a saved fresh document with the faulty bytes behind it.
    LoadAppended,
    /// Loads the faulty bytes as a document.
    Load,
    /// Receives the faulty bytes in a sync message, with a fresh document.
    Receive,
    /// Receives the faulty bytes as a sync message, with a fresh document.
    ReceiveMessage,
    /// The same, and answers.
    Answer,
    /// The same, with an empty document.
    AnswerEmpty,
    /// One replica takes the first faulty change, another the rest; then they merge.
    MergeSiblings,
    /// The same, and they sync 20 rounds by Automerge's own protocol.
    SyncSiblings,
    /// Applies each of [`inputs::mutants`] to a fresh document and says what came of it.
    Mutants,
}

/// What a call led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It returned, and nothing is remarkable.
    Fine,
    /// It returned, and says this.
    Says(&'static str),
    /// An error whose text has this.
    Fails(&'static str),
    /// A panic at a place whose file and message have this.
    Panics(&'static str),
    /// The process aborted: memory ran out, or a panic could not unwind.
    Aborts,
    /// Still computing at the limit of processor time.
    Hangs,
}

/// One call and what it led to.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// What is done.
    pub call: Call,
    /// What is seen in a release build.
    pub seen: Seen,
    /// What is seen instead where Automerge's debug assertions and overflow checks are on.
    pub checked: Option<Seen>,
}

impl Step {
    /// What this build must see.
    #[must_use]
    pub fn expected(&self) -> Seen {
        self.checked.filter(|_| cfg!(debug_assertions)).unwrap_or(self.seen)
    }

    /// The same, but seen otherwise where debug assertions and overflow checks are on.
    #[must_use]
    const fn checked(self, seen: Seen) -> Self {
        Self { checked: Some(seen), ..self }
    }
}

/// A call and what it leads to.
const fn step(call: Call, seen: Seen) -> Step {
    Step { call, seen, checked: None }
}

/// The part of our own code that refuses the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The reader of one change: its bytes are malformed, above a bound, or not the ones that its content has.
    Reader,
    /// The rules about what a change's operations may name, judged with its causal past.
    Rules,
    /// The engine, from the change's place among others: number, dependencies, counter.
    Engine,
}

/// One way to hurt Automerge.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name, for the command line.
    pub name: &'static str,
    /// The row of the list of faults that it belongs to.
    pub row: Row,
    /// Makes the input.
    pub build: fn() -> Input,
    /// What is done, and seen.
    pub steps: &'static [Step],
    /// The gate that must refuse it.
    pub gate: Gate,
    /// Which rule of ours that is.
    pub rule: &'static str,
    /// Address space of the process.
    pub memory_bytes: u64,
    /// Processor time of the process.
    pub cpu_seconds: u64,
}

/// A group of cases with one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Deflated bytes are inflated without a bound.
    Inflates,
    /// Run lengths are believed.
    RunLengths,
    /// The numbers of an actor's changes have a gap.
    SeqGap,
    /// A change does not depend on the actor's own last one.
    OwnPast,
    /// An operation on an object that is not there.
    MissingObject,
    /// Numbers of ids above 32 bits.
    WideIds,
    /// A key or element that the object cannot have.
    WrongKey,
    /// An element of a text that is changed.
    ChangedInText,
    /// An author footer where none may be.
    Author,
    /// Actors that nobody knows.
    UnknownActor,
    /// An insert behind an element that is not there.
    MissingElement,
    /// An action that does not exist.
    BadAction,
    /// Bloom filters of the sync protocol.
    Bloom,
    /// Document chunks.
    DocumentChunk,
    /// Two changes of one actor with one number.
    DuplicateSeq,
    /// Counters near the end of 32 bits.
    CounterCeiling,
    /// A counter below those of the dependencies.
    CounterTooLow,
    /// The checksum, and the deflated form.
    Checksum,
    /// Valid operations in bytes that Automerge would not write.
    NotCanonical,
    /// What random damage comes to.
    Mutants,
}

/// The case of this name.
#[must_use]
pub fn case(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

/// The changes of a case: the honest ones that go before, then the faulty ones, in the order in which a peer would send them.
#[must_use]
pub fn changes(case: &Case) -> Vec<Vec<u8>> {
    let Input { honest, faulty } = (case.build)();
    [honest, faulty].concat()
}
