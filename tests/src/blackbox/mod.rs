//! A black-box model after "Mysteries of Dropbox" (Hughes, Pierce, Arts, Norell 2014): real programs on two to four
//! folders, users who write, append, truncate, rename and delete, and machines that go offline, die and come back. In the end
//! all folders are byte-equal, a look at all of them again changes nothing, and every value ever written is in a file, in a
//! conflict, or in history.
//!
//! `model` draws the steps, `user` does them and keeps the books of values, `synchroniser` is what can be under test (`kith`
//! and `syncthing`), `check` looks at the end. This file runs traces. Nothing here looks into a program: what Kith's
//! parts do under faults the simulator knows.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::atomic::Ordering,
};

use proptest::{
    strategy::Strategy as _,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use proptest_state_machine::ReferenceStateMachine as _;

pub mod check;
pub mod kith;
pub mod model;
pub mod synchroniser;
pub mod syncthing;
pub mod user;

use check::Found;
use model::{DEVICES_MAX, DEVICES_MIN, Machine, Model, Step};
use synchroniser::{Outcome, Synchroniser};
use user::{Excuse, Ledger};

/// Fewest and most steps of a trace.
const STEPS: std::ops::RangeInclusive<usize> = 4..=24;
/// How often a trace that failed is run again, with less of it.
const SHRINKS_MAX: u32 = 30;
/// Traces that a set of programs sees, each in a directory of its own, before new ones take its place.
pub const TRACES_OF_ONE: usize = 40;

/// The directories of the traces that a set of programs sees.
#[must_use]
pub fn trace_dirs() -> Vec<String> {
    (0..TRACES_OF_ONE).map(|trace| format!("t{trace}")).collect()
}

/// How many devices the trace of a seed has.
#[must_use]
pub const fn devices_of(seed: u64) -> usize {
    DEVICES_MIN + (seed % (DEVICES_MAX - DEVICES_MIN + 1) as u64) as usize
}

/// Makes a synchroniser with so many devices, which share a folder with these directories.
pub type Make<'a> = dyn Fn(usize, &[String]) -> Outcome<Box<dyn Synchroniser>> + Sync + 'a;

/// What was done and found.
#[derive(Debug, Default, Clone)]
pub struct Totals {
    /// Traces.
    pub traces: u64,
    /// Steps by their kind.
    pub steps: BTreeMap<&'static str, u64>,
    /// Steps of users that found something to do.
    pub effective: u64,
    /// Values that somebody owed in the end, and where they were.
    pub found: Found,
    /// Values that nobody owed, and why.
    pub excused: BTreeMap<Excuse, u64>,
}

impl Totals {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.traces += other.traces;
        self.effective += other.effective;
        for (kind, count) in &other.steps {
            *self.steps.entry(kind).or_default() += count;
        }
        for (excuse, count) in &other.excused {
            *self.excused.entry(*excuse).or_default() += count;
        }
        self.found.file += other.found.file;
        self.found.conflict += other.found.conflict;
        self.found.history += other.found.history;
    }

    /// Values that were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        let Found { file, conflict, history } = self.found;
        file + conflict + history + self.excused.values().sum::<u64>()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { file, conflict, history } = self.found;
        writeln!(f, "traces: {}", self.traces)?;
        let steps: Vec<String> = self.steps.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        writeln!(f, "steps: {} ({})", self.steps.values().sum::<u64>(), steps.join(", "))?;
        writeln!(f, "steps of users that found something to do: {}", self.effective)?;
        writeln!(f, "values written: {}", self.written())?;
        writeln!(f, "  in a file: {file}, in a conflict: {conflict}, in history: {history}")?;
        let excused = |excuse| self.excused.get(&excuse).copied().unwrap_or_default();
        writeln!(
            f,
            "  overwritten by their own user before anybody could have seen them: {}",
            excused(Excuse::Unseen)
        )?;
        writeln!(f, "  only copies, of files without a history of their own: {}", excused(Excuse::OnlyCopy))?;
        write!(f, "  written into a file that was replaced in that moment: {}", excused(Excuse::Replaced))
    }
}

/// A trace that broke a property.
#[derive(Debug)]
pub struct Violation {
    /// Its seed.
    pub seed: u64,
    /// How many devices it had.
    pub devices: usize,
    /// What was wrong first, before anything was left out.
    pub first: String,
    /// What is wrong with the steps that are left.
    pub what: String,
    /// Those, and the ones that were drawn.
    pub steps: Vec<Step>,
    /// All that were drawn.
    pub drawn: Vec<Step>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} devices: {}", self.seed, self.devices, self.what)?;
        for (name, steps) in [("the shortest trace that fails", &self.steps), ("as drawn", &self.drawn)] {
            writeln!(f, "{name}:")?;
            let mut value = 0;
            for step in steps {
                let writes = matches!(step, Step::Write(..) | Step::Append(..));
                if writes {
                    writeln!(f, "  {step}: value {value}")?;
                    value += 1;
                } else {
                    writeln!(f, "  {step}")?;
                }
            }
        }
        write!(f, "as drawn it failed with: {}", self.first)
    }
}

/// Runs the traces of seeds with as many devices each, in a few sets of programs, one after the other.
pub struct Runner<'a> {
    make: &'a Make<'a>,
    bytes: bool,
    current: Option<Current>,
}

/// A set of programs that run, and how many traces they have seen.
struct Current {
    under_test: Box<dyn Synchroniser>,
    devices: usize,
    traces: usize,
}

impl fmt::Debug for Runner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").finish_non_exhaustive()
    }
}

impl<'a> Runner<'a> {
    /// Nothing runs yet. `bytes` says whether users have files that are no texts, too.
    #[must_use]
    pub fn new(make: &'a Make<'a>, bytes: bool) -> Self {
        Self { make, bytes, current: None }
    }

    /// Runs the trace of a seed; one that fails is made shorter.
    ///
    /// # Errors
    /// The shortest trace that was found to fail.
    pub fn run(&mut self, seed: u64) -> Result<Totals, Box<Violation>> {
        let devices = devices_of(seed);
        let config = Config { cases: 1, max_shrink_iters: SHRINKS_MAX, failure_persistence: None, ..Config::default() };
        let mut bytes = [0; 32];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let traces = match (devices, self.bytes) {
            (2, true) => Machine::<2, true>::sequential_strategy(STEPS).boxed(),
            (3, true) => Machine::<3, true>::sequential_strategy(STEPS).boxed(),
            (_, true) => Machine::<4, true>::sequential_strategy(STEPS).boxed(),
            (2, false) => Machine::<2, false>::sequential_strategy(STEPS).boxed(),
            (3, false) => Machine::<3, false>::sequential_strategy(STEPS).boxed(),
            (_, false) => Machine::<4, false>::sequential_strategy(STEPS).boxed(),
        };
        let (totals, first) = (RefCell::new(Totals::default()), RefCell::new(None));
        let this = RefCell::new(self);
        let ran = runner.run(&traces, |(model, steps, seen)| {
            if let Some(seen) = seen {
                seen.fetch_add(steps.len(), Ordering::SeqCst);
            }
            match this.borrow_mut().trace(model, &steps) {
                Ok(done) => {
                    totals.borrow_mut().add(&done);
                    Ok(())
                }
                Err(what) => {
                    // At once: to make it shorter takes minutes.
                    if first.borrow().is_none() {
                        eprintln!("seed {seed} breaks a property: {}", what.lines().next().unwrap_or_default());
                    }
                    first.borrow_mut().get_or_insert_with(|| (what.clone(), steps));
                    Err(TestCaseError::fail(what))
                }
            }
        });
        match ran {
            Ok(()) => Ok(totals.into_inner()),
            Err(error) => {
                let (what, steps) = match error {
                    TestError::Fail(reason, (_, steps, _)) => (reason.to_string(), steps),
                    TestError::Abort(reason) => (reason.to_string(), Vec::new()),
                };
                let (first, drawn) = first.into_inner().unwrap_or_default();
                Err(Box::new(Violation { seed, devices, first, what, steps, drawn }))
            }
        }
    }

    /// Runs one trace, in programs of which nobody knows anything bad.
    fn trace(&mut self, model: Model, steps: &[Step]) -> Outcome<Totals> {
        let devices = model.devices.len();
        let mut current = match self.current.take() {
            Some(current) if current.devices == devices && current.traces < TRACES_OF_ONE => current,
            _ => Current { under_test: (self.make)(devices, &trace_dirs())?, devices, traces: 0 },
        };
        let dir = format!("t{}", current.traces);
        current.traces += 1;
        // Helpers that drive programs panic where a program does not do what it is told.
        let ran = catch_unwind(AssertUnwindSafe(|| play(current.under_test.as_mut(), &dir, model, steps)));
        let ran = ran.unwrap_or_else(|panic| Err(words_of(panic.as_ref())));
        match ran {
            Ok(totals) => {
                self.current = Some(current);
                Ok(totals)
            }
            Err(what) => {
                let about = catch_unwind(AssertUnwindSafe(|| current.under_test.describe())).unwrap_or_default();
                Err(format!("{what}\n{about}"))
            }
        }
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "a panic".into())
}

/// Plays all steps, brings everybody back, and checks.
fn play(under_test: &mut dyn Synchroniser, dir: &str, mut model: Model, steps: &[Step]) -> Outcome<Totals> {
    let folders: Vec<PathBuf> = (0..under_test.devices()).map(|device| under_test.folder(device).to_owned()).collect();
    let mut ledger = Ledger::new(dir, folders.len());
    let mut totals = Totals { traces: 1, ..Totals::default() };
    for step in steps {
        *totals.steps.entry(step.kind()).or_default() += 1;
        match *step {
            Step::Offline(device) => under_test.disconnect(device)?,
            Step::Online(device) => under_test.connect(device)?,
            Step::Kill(device) => under_test.kill(device)?,
            Step::Start(device) => under_test.start(device)?,
            Step::TakeIn(device) => {
                under_test.take_in(device, &ledger.unseen_files(&folders[device], device))?;
                ledger.seen(device);
            }
            Step::Wait(device) => under_test.pause(device),
            _ => ledger.act(step, model.values, &folders, &|text| under_test.promise(text)),
        }
        model = model.after(step);
    }
    for (device, power) in model.devices.iter().enumerate() {
        if !power.online {
            under_test.connect(device)?;
        }
        if !power.running {
            under_test.start(device)?;
        }
    }
    check::equal_after_quiet(under_test)?;
    check::rescan_plans_nothing(under_test)?;
    totals.found = check::every_value_is_somewhere(under_test, dir, &ledger)?;
    totals.effective = ledger.effective;
    for excuse in ledger.excused().values() {
        *totals.excused.entry(*excuse).or_default() += 1;
    }
    Ok(totals)
}

/// Runs the traces of these seeds, in so many threads at a time; a thread ends at its first violation.
///
/// # Panics
/// When a thread does.
pub fn sweep(make: &Make<'_>, seeds: std::ops::Range<u64>, threads: u64, bytes: bool) -> (Totals, Vec<Violation>) {
    let run = |thread: u64| {
        let mut runner = Runner::new(make, bytes);
        let mut totals = Totals::default();
        for seed in (seeds.start + thread..seeds.end).step_by(usize::try_from(threads).expect("few threads")) {
            match runner.run(seed) {
                Ok(done) => totals.add(&done),
                Err(violation) => return (totals, Some(*violation)),
            }
        }
        (totals, None)
    };
    let mut all = (Totals::default(), Vec::new());
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        for thread in threads {
            let (totals, violation) = thread.join().expect("a trace's panic is its violation");
            all.0.add(&totals);
            all.1.extend(violation);
        }
    });
    all
}
