//! A recording of two disks, the folder's and the store's, and the crashes that can be tried on it.

use crate::sim::{
    fs::{Moment, SimFs},
    image::{Image, Loss},
    replay::{Log, Replay},
    rng::Rng,
};

/// What is acknowledged at some time.
#[derive(Debug)]
pub(super) struct Mark {
    /// How many moments of the folder's disk were recorded then.
    pub(super) moments: usize,
    /// How many operations of the store's disk.
    pub(super) store_at: usize,
    /// The peer's disk.
    pub(super) remote: Image,
    /// Commits of the device itself that were durable.
    pub(super) own: u64,
    /// Whether the user had done nothing that the documents did not hold.
    pub(super) quiet: bool,
}

/// What was done to both disks.
#[derive(Debug)]
pub(super) struct Tape {
    pub(super) log: Log,
    pub(super) moments: Vec<Moment>,
    pub(super) marks: Vec<Mark>,
}

/// A place between two operations: the moment of the folder's disk, and how much of the store's was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) moment: usize,
    pub(super) store_at: usize,
}

/// What each disk loses: first the folder's, then the store's.
pub(super) type Losses = (Loss, Loss);

/// How both fare where both have something to lose. They do so apart from each other.
const BOTH: [Losses; 14] = [
    (Loss::All, Loss::All),
    (Loss::Nothing, Loss::Nothing),
    (Loss::All, Loss::Nothing),
    (Loss::Nothing, Loss::All),
    (Loss::Tail, Loss::Tail),
    (Loss::Some, Loss::Some),
    (Loss::Some, Loss::Some),
    (Loss::Some, Loss::Torn),
    (Loss::Torn, Loss::Some),
    (Loss::Torn, Loss::Torn),
    (Loss::Torn, Loss::Torn),
    (Loss::Torn, Loss::All),
    (Loss::All, Loss::Torn),
    (Loss::Some, Loss::Nothing),
];

/// How one of them does where the other has nothing to lose.
const ONE: [Loss; 8] =
    [Loss::All, Loss::Nothing, Loss::Tail, Loss::Some, Loss::Some, Loss::Some, Loss::Torn, Loss::Torn];

impl Tape {
    /// All places, in order.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for (moment, at) in self.moments.iter().enumerate() {
            let end = self.moments.get(moment + 1).map_or(self.log.ops.len(), |next| next.store_at);
            places.extend((at.store_at..=end).map(|store_at| Place { moment, store_at }));
        }
        places
    }

    /// What had been acknowledged at a place.
    pub(super) fn mark(&self, place: Place) -> &Mark {
        let before = |mark: &Mark| mark.moments <= place.moment + 1 && mark.store_at <= place.store_at;
        let behind = self.marks.partition_point(before);
        &self.marks[behind.max(1) - 1]
    }

    /// Begins to walk from crash to crash.
    pub(super) fn walk(&self) -> Walk<'_> {
        Walk { tape: self, replay: self.log.replay() }
    }
}

/// Goes through the places of a tape, forwards.
#[derive(Debug)]
pub(super) struct Walk<'t> {
    tape: &'t Tape,
    replay: Replay<'t>,
}

impl Walk<'_> {
    /// Goes to a place, and tells what can be lost there.
    pub(super) fn losses(&mut self, place: Place) -> Vec<Losses> {
        while self.replay.at() < place.store_at && self.replay.step() {}
        let (flushed, synced) = (self.tape.moments[place.moment].is_flushed(), self.replay.unsynced().is_empty());
        match (flushed, synced) {
            (true, true) => vec![(Loss::All, Loss::All)],
            (true, false) => ONE.map(|loss| (Loss::All, loss)).to_vec(),
            (false, true) => ONE.map(|loss| (loss, Loss::All)).to_vec(),
            (false, false) => BOTH.to_vec(),
        }
    }

    /// Both disks after a power cut at the place that the walk is at.
    pub(super) fn crash(&self, place: Place, (folder, store): Losses, seed: u64) -> (SimFs, Image) {
        let mut rng = Rng::new(seed);
        let fs = self.tape.moments[place.moment].crash(folder, &mut rng);
        (fs, self.replay.image(store, &mut crate::sim::rng(seed)))
    }
}
