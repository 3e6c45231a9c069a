//! The reference machine: what users and their machines may do next, and nothing of what a synchroniser makes of it.
//!
//! It knows who runs and who is connected, so that only steps with a meaning are drawn, and it numbers the values. What
//! is on the disks it does not know: a step that finds nothing to do there does nothing, as in "Mysteries of Dropbox".

use std::fmt;

use proptest::{
    prelude::{BoxedStrategy, Just, Strategy as _, any},
    prop_oneof,
};
use proptest_state_machine::ReferenceStateMachine;

/// Most folders of a trace.
pub const DEVICES_MAX: usize = 4;
/// Fewest folders of a trace.
pub const DEVICES_MIN: usize = 2;

/// Where files are written: few places, so that users meet at them.
pub const PLACES: [&str; 7] = ["a.txt", "b.txt", "d/c.txt", "e/c.txt", "d/c.bin", "a.bin", "e/large.bin"];
/// How many of them, from the first, are names of texts.
const TEXTS: usize = 4;
/// The directories among them, which can be renamed, removed and made.
pub const DIRS: [&str; 3] = ["d", "e", "d/e"];

/// A file or a directory, by its number among [`PLACES`] and then [`DIRS`].
#[must_use]
pub fn place(number: usize) -> &'static str {
    PLACES.get(number).or_else(|| DIRS.get(number - PLACES.len())).expect("a place is drawn from these")
}

/// One step of a trace; the first field is whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Writes a value in place of whatever is there; in place or by replacing the file.
    Write(usize, usize, bool),
    /// Adds a value at the end of a file; in place or by replacing the file.
    Append(usize, usize, bool),
    /// Cuts a file to half.
    Truncate(usize, usize),
    /// Renames a file or a directory, over what is there.
    Rename(usize, usize, usize),
    /// Deletes a file, or a directory with all that is in it.
    Delete(usize, usize),
    /// Makes a directory.
    MakeDir(usize, usize),
    /// Cuts the connections of a device.
    Offline(usize),
    /// Lets it connect again.
    Online(usize),
    /// Kills it in the middle of whatever it does.
    Kill(usize),
    /// Starts it again.
    Start(usize),
    /// Waits until it has taken in what its user saved.
    TakeIn(usize),
    /// Gives it a moment.
    Wait(usize),
}

impl Step {
    /// What kind of step it is, for counting.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Write(..) => "write",
            Self::Append(..) => "append",
            Self::Truncate(..) => "truncate",
            Self::Rename(..) => "rename",
            Self::Delete(..) => "delete",
            Self::MakeDir(..) => "mkdir",
            Self::Offline(_) => "offline",
            Self::Online(_) => "online",
            Self::Kill(_) => "kill",
            Self::Start(_) => "start",
            Self::TakeIn(_) => "take in",
            Self::Wait(_) => "wait",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = |in_place: bool| if in_place { "in place" } else { "by replacing the file" };
        match *self {
            Self::Write(device, at, in_place) => write!(f, "{device} writes {}, {}", place(at), how(in_place)),
            Self::Append(device, at, in_place) => write!(f, "{device} appends to {}, {}", place(at), how(in_place)),
            Self::Truncate(device, at) => write!(f, "{device} truncates {}", place(at)),
            Self::Rename(device, from, to) => write!(f, "{device} renames {} to {}", place(from), place(to)),
            Self::Delete(device, at) => write!(f, "{device} deletes {}", place(at)),
            Self::MakeDir(device, at) => write!(f, "{device} makes {}", place(at)),
            Self::Offline(device) => write!(f, "{device} goes offline"),
            Self::Online(device) => write!(f, "{device} goes online"),
            Self::Kill(device) => write!(f, "{device} is killed"),
            Self::Start(device) => write!(f, "{device} starts"),
            Self::TakeIn(device) => write!(f, "{device} takes in what was saved"),
            Self::Wait(device) => write!(f, "{device} gets a moment"),
        }
    }
}

/// Whether a device runs, and whether it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Power {
    /// Its program runs.
    pub running: bool,
    /// It can reach others.
    pub online: bool,
}

/// What the choice of the next step depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Each device.
    pub devices: Vec<Power>,
    /// How many values were written so far: the number of the next one.
    pub values: u32,
    /// Whether users have files that are no texts, too.
    pub bytes: bool,
}

impl Model {
    /// So many devices that run and are connected.
    #[must_use]
    pub fn new(devices: usize, bytes: bool) -> Self {
        Self { devices: vec![Power { running: true, online: true }; devices], values: 0, bytes }
    }

    /// Whether a step has a meaning now.
    #[must_use]
    pub fn allows(&self, step: &Step) -> bool {
        let power = |device: usize| self.devices.get(device).copied();
        match *step {
            Step::Offline(device) => power(device).is_some_and(|power| power.online),
            Step::Online(device) => power(device).is_some_and(|power| !power.online),
            Step::Kill(device) | Step::TakeIn(device) | Step::Wait(device) => {
                power(device).is_some_and(|power| power.running)
            }
            Step::Start(device) => power(device).is_some_and(|power| !power.running),
            Step::Write(device, ..)
            | Step::Append(device, ..)
            | Step::Truncate(device, _)
            | Step::Rename(device, ..)
            | Step::Delete(device, _)
            | Step::MakeDir(device, _) => power(device).is_some(),
        }
    }

    /// The model after a step.
    #[must_use]
    pub fn after(mut self, step: &Step) -> Self {
        match *step {
            Step::Write(..) | Step::Append(..) => self.values += 1,
            Step::Offline(device) => self.devices[device].online = false,
            Step::Online(device) => self.devices[device].online = true,
            Step::Kill(device) => self.devices[device].running = false,
            Step::Start(device) => self.devices[device].running = true,
            _ => {}
        }
        self
    }
}

/// Traces of so many devices, with files that are no texts or without.
#[derive(Debug)]
pub struct Machine<const DEVICES: usize, const BYTES: bool>;

impl<const DEVICES: usize, const BYTES: bool> ReferenceStateMachine for Machine<DEVICES, BYTES> {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::new(DEVICES, BYTES)).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Step> {
        let device = 0..model.devices.len();
        let file = 0..if model.bytes { PLACES.len() } else { TEXTS };
        let dir = PLACES.len()..PLACES.len() + DIRS.len();
        let any_place = prop_oneof![3 => file.clone(), 2 => dir.clone()].boxed();
        let users = prop_oneof![
            6 => (device.clone(), file.clone(), any::<bool>()).prop_map(|(d, at, how)| Step::Write(d, at, how)),
            5 => (device.clone(), file.clone(), any::<bool>()).prop_map(|(d, at, how)| Step::Append(d, at, how)),
            1 => (device.clone(), file).prop_map(|(d, at)| Step::Truncate(d, at)),
            4 => (device.clone(), any_place.clone(), any_place.clone())
                .prop_filter("to another name", |(_, from, to)| from != to)
                .prop_map(|(d, from, to)| Step::Rename(d, from, to)),
            3 => (device.clone(), any_place).prop_map(|(d, at)| Step::Delete(d, at)),
            1 => (device.clone(), dir).prop_map(|(d, at)| Step::MakeDir(d, at)),
        ];
        let model = model.clone();
        let machines = device.prop_flat_map(move |d| {
            let Power { running, online } = model.devices[d];
            let network = if online { Step::Offline(d) } else { Step::Online(d) };
            if running {
                prop_oneof![8 => Just(Step::TakeIn(d)), 2 => Just(Step::Wait(d)), 2 => Just(network), 1 => Just(Step::Kill(d))]
                    .boxed()
            } else {
                prop_oneof![2 => Just(Step::Start(d)), 1 => Just(network)].boxed()
            }
        });
        prop_oneof![3 => users, 2 => machines].boxed()
    }

    fn apply(model: Model, step: &Step) -> Model {
        model.after(step)
    }

    fn preconditions(model: &Model, step: &Step) -> bool {
        model.allows(step)
    }
}
