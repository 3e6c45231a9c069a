//! What goes wrong in one run, and how often: drawn from the seed, each fault on or off and then a rate, so that rare
//! combinations come about.

use sync_core::{limits::HOLD_ENTRIES_MIN, tree::Folds};

use super::rng::Rng;

/// Rates are in a thousand, of the events that they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Devices at the start.
    pub peers: usize,
    /// Steps under faults.
    pub steps: u64,
    /// Files that users begin with.
    pub files: u64,
    /// Weight of each kind of step.
    pub weights: Weights,
    /// Whether one device may only read.
    pub reader: bool,
    /// A device that joins in the middle of the run.
    pub late_joiner: bool,
    /// Gossip payloads that never arrive; 1000 is no gossip at all.
    pub gossip_lost: u64,
    /// Gossip payloads that arrive twice.
    pub gossip_doubled: u64,
    /// Frames of which only a part arrives before the connection ends.
    pub frame_cut: u64,
    /// Rounds in which a user's step comes between two calls of the folder code.
    pub race: u64,
    /// Watcher events that are lost, doubled and late.
    pub watch: (u64, u64, u64),
    /// Turns in which a call on the store's disk fails.
    pub store_fault: u64,
    /// Rounds in which a call on the folder's disk fails.
    pub folder_fault: u64,
    /// Turns and rounds in which the power goes in the middle.
    pub power_in_step: u64,
    /// Whether a power cut loses what was not flushed.
    pub power: bool,
    /// Offset of wall clocks, in milliseconds to either side.
    pub skew_ms: i64,
    /// Steps in which a wall clock jumps.
    pub clock_jump: u64,
    /// Whether some device is restored from an older backup of its store.
    pub restore: bool,
    /// Whether some store is copied to another machine, which runs beside the first.
    pub clone: bool,
    /// Steps of the file system's time stamps.
    pub granularity_ns: i64,
    /// Whether whole hours pass now and then.
    pub hours: bool,
    /// So many deletes and overwrites a minute are never held.
    pub hold_above: usize,
    /// A device whose disk does not tell so much apart in names.
    pub folding: Option<(usize, Folds)>,
    /// Of a thousand things that a user does, those that are out of the way ([`odd_action`](super::editor::odd_action)).
    pub odd: u64,
    /// Most events that wait for a folder.
    pub queue_max: Option<usize>,
    /// Contents that arrive in part, or are others.
    pub bad_content: u64,
}

/// How often each kind of step comes, against the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Some frames of one direction arrive.
    pub deliver: u64,
    /// A user or an editor does something.
    pub user: u64,
    /// A folder does a round.
    pub round: u64,
    /// Time passes.
    pub tick: u64,
    /// Two devices find each other.
    pub connect: u64,
    /// A connection ends.
    pub cut: u64,
    /// A direction stands still, or goes on.
    pub stall: u64,
    /// A process is killed, or the power goes.
    pub crash: u64,
    /// A process starts.
    pub start: u64,
    /// A gossip payload arrives.
    pub gossip: u64,
    /// A content arrives.
    pub fetch: u64,
    /// A store is restored or copied.
    pub rare: u64,
    /// Something happens to a disk, a home, a clock.
    pub odd: u64,
}

/// Zero half of the time, else up to `most`.
fn sometimes(rng: &mut Rng, most: u64) -> u64 {
    if rng.chance(500) { 0 } else { 1 + rng.below(most) }
}

/// The first seeds are those that find planted faults: they are of Linux alone, and of what happens every day.
const PLAIN_SEEDS: u64 = 8;

impl Profile {
    /// The same, with a device on a disk that folds names in some seeds. Its draws are its own, so that the rest of a seed
    /// stays as it is.
    #[must_use]
    pub fn with_folding(mut self, seed: u64) -> Self {
        let mut rng = Rng::new(seed).fork("a disk that folds names");
        if seed >= PLAIN_SEEDS && rng.chance(300) {
            let folds = [Folds::ALL, Folds::ALL, Folds { case: true, form: false }, Folds { case: false, form: true }];
            self.folding = Some((rng.index(self.peers), *rng.pick(&folds)));
        }
        self
    }

    /// The same, with things that happen now and then, in most seeds.
    #[must_use]
    pub fn with_oddities(mut self, seed: u64) -> Self {
        let mut rng = Rng::new(seed).fork("what is out of the way");
        if seed >= PLAIN_SEEDS && rng.chance(800) {
            self.odd = 100 + rng.below(500);
            self.weights.user += rng.below(20);
            self.weights.odd = sometimes(&mut rng, 5);
            self.queue_max = rng.chance(300).then(|| 1 + rng.index(12));
            self.bad_content = sometimes(&mut rng, 600);
        }
        self
    }

    /// The profile of a seed, for so many devices.
    #[must_use]
    pub fn draw(rng: &mut Rng, peers: usize) -> Self {
        Self {
            peers,
            steps: 150 + rng.below(250),
            files: 1 + rng.below(6),
            weights: Weights {
                deliver: 30 + rng.below(60),
                user: 4 + rng.below(20),
                round: 20 + rng.below(30),
                tick: 8 + rng.below(15),
                connect: 3 + rng.below(10),
                cut: rng.below(6),
                stall: sometimes(rng, 5),
                crash: sometimes(rng, 5),
                start: 6,
                gossip: rng.below(12),
                fetch: 4 + rng.below(8),
                rare: 1,
                odd: 0,
            },
            reader: rng.chance(200),
            late_joiner: rng.chance(300),
            gossip_lost: if rng.chance(300) { 1000 } else { rng.below(500) },
            gossip_doubled: sometimes(rng, 300),
            frame_cut: sometimes(rng, 100),
            race: sometimes(rng, 400),
            watch: (sometimes(rng, 300), sometimes(rng, 300), sometimes(rng, 500)),
            store_fault: sometimes(rng, 15),
            folder_fault: sometimes(rng, 60),
            power_in_step: sometimes(rng, 20),
            power: rng.chance(600),
            skew_ms: if rng.chance(500) { 0 } else { 10 * 365 * 24 * 3_600_000 },
            clock_jump: sometimes(rng, 30),
            restore: rng.chance(150),
            clone: rng.chance(150),
            granularity_ns: *rng.pick(&[1, 1, 1, 10_000_000, 2_000_000_000]),
            hours: rng.chance(300),
            hold_above: *rng.pick(&[0, 2, 5, HOLD_ENTRIES_MIN, HOLD_ENTRIES_MIN]),
            folding: None,
            odd: 0,
            queue_max: None,
            bad_content: 0,
        }
    }
}
