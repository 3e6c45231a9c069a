//! The calls of a case, made in this process. A panic is caught and told, and what was being done goes on: what Automerge
//! is like after a caught panic is part of what is looked at. The process that runs this has limits, see `child`.

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
};

use automerge::{
    Automerge, Change, ROOT, ReadDoc as _,
    sync::{Message, State, SyncDoc as _},
    transaction::Transactable as _,
};

use super::{Call, Case, Input, inputs};

/// What a call says when it returns; `None` if nothing is remarkable.
type Said = Result<Option<String>, String>;

/// Begins the line that names a call. Automerge writes lines of its own.
pub(super) const CALLS: &str = "fault calls";
/// Begins the line that tells what it led to.
pub(super) const SEES: &str = "fault sees";

/// Where the last panic was, and what it said.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Makes all calls of a case. Each is named before it is made, and told after, so that whoever reads along knows where the
/// process ended.
///
/// # Panics
/// When the honest changes do not apply, or nobody listens.
pub fn run(case: &Case) {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or("", |place| in_its_crate(place.file()));
        let message = panic.payload_as_str().unwrap_or_default();
        *LAST_PANIC.lock().expect("nobody panics with it") = format!("{place}: {message}");
    }));
    let mut bench = Bench::new((case.build)());
    let mut out = std::io::stdout();
    for step in case.steps {
        writeln!(out, "{CALLS} {:?}", step.call).expect("somebody listens");
        let told = match bench.guarded(step.call) {
            Ok(Ok(None)) => "fine".into(),
            Ok(Ok(Some(text))) => format!("says {text}"),
            Ok(Err(error)) => format!("fails {error}"),
            Err(panic) => format!("panics {panic}"),
        };
        writeln!(out, "{SEES} {}", told.replace('\n', " ")).expect("somebody listens");
    }
}

/// The end of a path that begins with the directory of a crate: the rest differs from machine to machine.
fn in_its_crate(path: &str) -> &str {
    let sources = path.rfind("/src/").unwrap_or_default();
    path[..sources].rfind('/').map_or(path, |dir| &path[dir + 1..])
}

struct Bench {
    input: Input,
    doc: Automerge,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn parse(bytes: &[u8]) -> Result<Change, String> {
    Change::from_bytes(bytes.to_vec()).map_err(text)
}

fn parse_all(changes: &[Vec<u8>]) -> Result<Vec<Change>, String> {
    changes.iter().map(|bytes| parse(bytes)).collect()
}

fn apply(doc: &mut Automerge, changes: impl IntoIterator<Item = Change>) -> Result<(), String> {
    doc.apply_changes(changes.into_iter().collect::<Vec<_>>()).map_err(text)
}

fn edit(doc: &mut Automerge, number: u64) -> Result<(), String> {
    let mut transaction = doc.transaction();
    transaction.put(ROOT, format!("edit {number}"), number).map_err(text)?;
    transaction.commit();
    Ok(())
}

/// Passes messages both ways until nobody has any, or the rounds are over, and returns whether somebody still talks. A
/// message that is refused is as good as lost.
fn sync(a: &mut Automerge, b: &mut Automerge, rounds: usize) -> bool {
    let (mut to_b, mut to_a) = (State::new(), State::new());
    for _ in 0..rounds {
        let from_a = a.generate_sync_message(&mut to_b);
        let from_b = b.generate_sync_message(&mut to_a);
        if from_a.is_none() && from_b.is_none() {
            return false;
        }
        if let Some(message) = from_a {
            let _refused = b.receive_sync_message(&mut to_a, message);
        }
        if let Some(message) = from_b {
            let _refused = a.receive_sync_message(&mut to_b, message);
        }
    }
    true
}

impl Bench {
    fn new(input: Input) -> Self {
        let mut bench = Self { input, doc: Automerge::new() };
        bench.doc = bench.fresh();
        bench
    }

    /// A document with the honest changes.
    fn fresh(&self) -> Automerge {
        let mut doc = Automerge::new().with_actor(inputs::HONEST.as_slice().into());
        let honest = parse_all(&self.input.honest).expect("honest changes parse");
        apply(&mut doc, honest).expect("honest changes apply");
        // Own edits come from an actor of their own.
        doc.with_actor([0xdd_u8; 16].as_slice().into())
    }

    fn guarded(&mut self, call: Call) -> Result<Said, String> {
        catch_unwind(AssertUnwindSafe(|| self.make(call)))
            .map_err(|_| LAST_PANIC.lock().expect("nobody panics with it").clone())
    }

    fn make(&mut self, call: Call) -> Said {
        match call {
            Call::Parse => parse_all(&self.input.faulty).map(|_| None),
            Call::PassOn => self.pass_on(),
            Call::Apply => self.apply_each(),
            Call::ApplyTogether => apply(&mut self.doc, parse_all(&self.input.faulty)?).map(|()| None),
            Call::Holds => self.holds(),
            Call::Heads => Ok(Some(format!("{} heads", self.doc.get_heads().len()))),
            Call::Put => edit(&mut self.doc, 1).map(|()| None),
            Call::PutOften => (0..100).try_for_each(|number| edit(&mut self.doc, number)).map(|()| None),
            Call::SaveAndLoad => self.save_and_load().map(|doc| self.compare(&doc)),
            Call::PutAfterLoad => edit(&mut self.save_and_load()?, 1).map(|()| None),
            Call::Changes => Ok(self.changes()),
            Call::FrontOfText => self.front_of_text(),
            Call::FreshPeer => self.fresh_peer(),
            Call::SyncNewPeer => Ok(Some(self.sync_new_peer())),
            Call::Rescue => Automerge::rescue(&self.doc.save()).map(|_| None).map_err(text),
            Call::LoadUnverified => Automerge::load_unverified_heads(&self.doc.save()).map(|_| None).map_err(text),
            Call::Incremental => self.incremental(),
            Call::LoadAppended => {
                let bytes = [self.fresh().save(), self.input.faulty.concat()].concat();
                Automerge::load(&bytes).map(|_| None).map_err(text)
            }
            Call::Load => Automerge::load(&self.input.faulty.concat()).map(|_| None).map_err(text),
            Call::Receive => {
                let message = inputs::sync_message(2, None, Some(&self.input.faulty.concat()));
                self.receive(&message, self.fresh(), false)
            }
            Call::ReceiveMessage => self.receive(&self.input.faulty.concat(), self.fresh(), false),
            Call::Answer => self.receive(&self.input.faulty.concat(), self.fresh(), true),
            Call::AnswerEmpty => self.receive(&self.input.faulty.concat(), Automerge::new(), true),
            Call::MergeSiblings => self.merge_siblings(),
            Call::SyncSiblings => self.sync_siblings(),
            Call::Mutants => Ok(Some(self.mutants())),
        }
    }

    fn apply_each(&mut self) -> Said {
        let mut errors = Vec::new();
        for bytes in &self.input.faulty {
            let change = parse(bytes)?;
            errors.extend(apply(&mut self.doc, [change]).err());
        }
        if errors.is_empty() { Ok(None) } else { Err(errors.join("; ")) }
    }

    /// Whether a change that is passed on has the bytes that came, though they are not the ones that its hash is about.
    fn pass_on(&self) -> Said {
        let mut change = parse(self.input.faulty.first().ok_or("no change")?)?;
        let came = &self.input.faulty[0];
        let right = change.hash().0[..4] == change.raw_bytes()[4..8];
        let as_came = if change.raw_bytes() == came { "raw" } else { "not raw" };
        let garbage = change.bytes().ends_with(b"garbage");
        Ok(Some(format!("{as_came}, right checksum: {right}, garbage: {garbage}")))
    }

    fn holds(&self) -> Said {
        let faulty = parse_all(&self.input.faulty)?;
        let held = faulty.iter().filter(|change| self.doc.get_change_meta_by_hash(&change.hash()).is_some()).count();
        let missing = self.doc.get_missing_deps(&[]).len();
        Ok(Some(format!("{held} of {}, waits for {missing}", faulty.len())))
    }

    fn save_and_load(&self) -> Result<Automerge, String> {
        Automerge::load(&self.doc.save()).map_err(text)
    }

    fn compare(&self, other: &Automerge) -> Option<String> {
        (other.get_heads() != self.doc.get_heads()).then(|| "other heads".into())
    }

    fn changes(&self) -> Option<String> {
        let changes = self.doc.get_changes(&[]);
        let heads = self.doc.get_heads();
        let lacks = heads.iter().filter(|head| !changes.iter().any(|change| change.hash() == **head)).count();
        (lacks > 0).then(|| format!("{lacks} of {} heads lacking", heads.len()))
    }

    fn front_of_text(&self) -> Said {
        let (_, object) = self.doc.get(ROOT, "text").map_err(text)?.ok_or("no text")?;
        self.doc.get_all(&object, 0).map(|values| Some(format!("{} values", values.len()))).map_err(text)
    }

    fn fresh_peer(&self) -> Said {
        let mut peer = Automerge::new();
        apply(&mut peer, self.doc.get_changes(&[]))?;
        Ok(self.compare(&peer))
    }

    fn sync_new_peer(&mut self) -> String {
        let mut peer = Automerge::new();
        let talks = sync(&mut self.doc, &mut peer, 30);
        let has = if peer.get_heads().is_empty() { "nothing" } else { "something" };
        let other = self.compare(&peer).unwrap_or_else(|| "equal".into());
        format!("{other}, peer has {has}, talking: {talks}")
    }

    fn incremental(&self) -> Said {
        let mut doc = self.fresh();
        let before = doc.get_heads();
        let count = doc.load_incremental(&self.input.faulty.concat()).map_err(text)?;
        let changed = doc.get_heads() != before;
        let costly = peak_memory() > 100 << 20;
        Ok(Some(format!("{count} operations, changed: {changed}, above 100 MiB: {costly}")))
    }

    fn receive(&self, message: &[u8], mut doc: Automerge, answers: bool) -> Said {
        let message = Message::decode(message).map_err(text)?;
        let mut state = State::new();
        doc.receive_sync_message(&mut state, message).map_err(text)?;
        if answers {
            doc.generate_sync_message(&mut state).ok_or("no answer")?;
        }
        Ok(None)
    }

    fn siblings(&self) -> Result<(Automerge, Automerge), String> {
        let (mut left, mut right) = (self.fresh(), self.fresh());
        let mut faulty = parse_all(&self.input.faulty)?;
        let rest = faulty.split_off(1);
        apply(&mut left, faulty)?;
        apply(&mut right, rest)?;
        Ok((left, right))
    }

    fn merge_siblings(&self) -> Said {
        let (mut left, mut right) = self.siblings()?;
        let one = left.clone().merge(&mut right).map_err(text);
        let other = right.merge(&mut left).map_err(text);
        match (one, other) {
            (Err(one), Err(other)) => Err(format!("{one}; {other}")),
            (one, other) => Ok(Some(format!("{one:?} {other:?}"))),
        }
    }

    fn sync_siblings(&self) -> Said {
        let (mut left, mut right) = self.siblings()?;
        let talks = sync(&mut left, &mut right, 20);
        let apart = left.get_heads() != right.get_heads();
        Ok(Some(format!("apart: {apart}, talking: {talks}")))
    }

    /// Applies damaged changes, each to a fresh document, and counts what comes of it.
    fn mutants(&self) -> String {
        let (mut accepted, mut unreadable, mut panics) = (0, 0, 0);
        for mutant in inputs::mutants() {
            let input = Input { faulty: vec![mutant], ..self.input.clone() };
            let mut bench = Self { input, doc: self.fresh() };
            match bench.guarded(Call::Apply) {
                Ok(Ok(_)) => {
                    accepted += 1;
                    unreadable += u32::from(bench.guarded(Call::SaveAndLoad) != Ok(Ok(None)));
                }
                Ok(Err(_)) => {}
                Err(_) => panics += 1,
            }
        }
        let some = |count| if count > 0 { "some" } else { "none" };
        let words = [some(accepted), some(unreadable), some(panics)].join(", ");
        format!("accepted, unreadable, panics: {words} ({accepted}, {unreadable}, {panics})")
    }
}

/// The most memory that this process has had.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
}
