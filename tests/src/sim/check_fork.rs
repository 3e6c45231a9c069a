//! Copies of stores that come to grief on purpose. A fork: two copies of one device's store each make a commit of one number, and two others hear of one each.
//!
//! What the simulator's own faults bring about now and then happens here in each run, on copies of the stores that are
//! thrown away afterwards.

use sync_core::{
    commit::Item,
    doc::entry::{RootContent, RootSpec},
    engine::{Effect, Engine, Input, Now, SessionId, Ticket},
    ids::DocId,
    store::{Edit, Store},
};

use super::{
    check::Violation,
    disk::{Call, Failure, Fault, SimDisk},
    image::Loss,
    world::World,
};

/// Meetings after which nothing may be left to say.
const MEETINGS: u64 = 5;
/// Frames of one meeting.
const FRAMES_MAX: usize = 20_000;
const RULE: &str = "a fork costs nobody an edit";

impl World {
    /// Each copy tells another device of its edit, and these two meet. Both edits are held by all four in the end, and
    /// all are equal.
    pub(super) fn a_fork_costs_nobody_an_edit(&self, a: usize, b: usize) -> Result<(), Violation> {
        let broken = |what: &str| self.violation(RULE, what);
        let knows = |index: &usize| {
            let is_in = self.peers[*index].status(&self.space).is_some_and(|status| status.name.is_some());
            *index != a && *index != b && is_in && self.copies(*index).len() == 1
        };
        let Some(c) = (0..self.peers.len()).find(knows) else { return Ok(()) };
        let [mut one, mut other] = [self.copy(a, 1)?, self.copy(a, 2)?];
        let [mut left, mut right] = [self.copy(b, 3)?, self.copy(c, 4)?];
        let docs = [self.edit(&mut one, "script one.txt")?, self.edit(&mut other, "script other.txt")?];
        let sessions = |meeting: u64| 2 * meeting + 100;
        for meeting in 0..MEETINGS {
            let met = meet(&mut one, &mut left, sessions(3 * meeting))
                .and_then(|()| meet(&mut other, &mut right, sessions(3 * meeting + 1)))
                .and_then(|()| meet(&mut left, &mut right, sessions(3 * meeting + 2)));
            met.map_err(|what| broken(&what))?;
        }
        let engines = [&one, &other, &left, &right];
        for engine in engines {
            let held = engine.documents(&self.space);
            if let Some(doc) = docs.iter().find(|doc| !held.contains(doc)) {
                return Err(broken(&format!("{} is lost at {}", doc.short(), engine.device().short())));
            }
        }
        let vector = |engine: &Engine| engine.status().into_iter().find(|status| status.space == self.space);
        let vectors = engines.map(|engine| vector(engine).map(|status| status.vector));
        if vectors.iter().any(|vector| *vector != vectors[0]) {
            return Err(broken(&format!("the fork does not heal: {vectors:?}")));
        }
        Ok(())
    }

    /// The disk fails under a turn: either nobody hears that it is done, or it is there after a start.
    pub(super) fn a_failed_turn_tells_nothing(&self, a: usize) -> Result<(), Violation> {
        let disk = self.peers[a].disk.fork().crash(Loss::Nothing, 0);
        let mut engine = self.open(a, &disk, 4)?;
        disk.fail(Failure { call: Call::Sync, after: 0, fault: Fault::Io, lasts: false });
        let told = self.edit(&mut engine, "script failed.txt");
        drop(engine);
        let engine = self.open(a, &disk.crash(Loss::All, 0), 5)?;
        match told {
            Ok(doc) if !engine.documents(&self.space).contains(&doc) => {
                Err(self.violation("a failed turn tells nothing", &format!("at {a}")))
            }
            _ => Ok(()),
        }
    }

    /// The engine of a device as if it started now, on a copy of its disk.
    pub(super) fn copy(&self, index: usize, seed: u8) -> Result<Engine, Violation> {
        self.open(index, &self.peers[index].disk.fork().crash(Loss::Nothing, 0), seed)
    }

    fn open(&self, index: usize, disk: &SimDisk, seed: u8) -> Result<Engine, Violation> {
        let store = Store::with_backend(disk.clone()).map_err(|error| error.to_string());
        let engine = store.and_then(|store| {
            Engine::open(store, self.peers[index].key.clone(), [seed; 32]).map_err(|error| error.to_string())
        });
        engine.map_err(|error| self.violation("a store opens after a crash", &error))
    }

    fn edit(&self, engine: &mut Engine, name: &str) -> Result<DocId, Violation> {
        let root = RootSpec::file(self.space, None, name, RootContent::Inline(name.as_bytes().to_vec())).build();
        let doc = DocId::from(root.hash);
        let edits = vec![Edit { items: vec![Item::change(doc, root.bytes)], writes: Vec::new() }];
        let input = Input::Edit { space: self.space, edits, ticket: Ticket(0) };
        match engine.turn(Now { mono_ms: 1, wall_ms: 1 }, vec![input]) {
            Ok(_) => Ok(doc),
            Err(error) => Err(self.violation(RULE, &error.to_string())),
        }
    }
}

/// Lets two engines talk until nothing more is said.
fn meet(left: &mut Engine, right: &mut Engine, sessions: u64) -> Result<(), String> {
    let devices = (left.device(), right.device());
    let ends = [SessionId(sessions), SessionId(sessions + 1)];
    let mut waiting = [
        vec![Input::SessionUp { session: ends[0], peer: devices.1 }],
        vec![Input::SessionUp { session: ends[1], peer: devices.0 }],
    ];
    let mut said = 0;
    let mut now_ms = sessions * 1_000;
    // A turn without input ends what only time ends, and lets what was found be mended.
    let mut quiet = 0;
    while quiet < 3 {
        now_ms += 200;
        quiet += 1;
        for (own, engine) in [&mut *left, &mut *right].into_iter().enumerate() {
            let inputs = std::mem::take(&mut waiting[own]);
            let effects =
                engine.turn(Now { mono_ms: now_ms, wall_ms: 1 }, inputs).map_err(|error| error.to_string())?;
            for effect in effects {
                let Effect::Send { session, frame: bytes } = effect else { continue };
                if session == ends[own] {
                    waiting[own].push(Input::Written { session, bytes: bytes.len() });
                    waiting[1 - own].push(Input::Frame { session: ends[1 - own], bytes });
                    quiet = 0;
                    said += 1;
                }
            }
        }
        if said > FRAMES_MAX {
            return Err("two devices do not come to an end".into());
        }
    }
    for (session, engine) in ends.into_iter().zip([left, right]) {
        let down = vec![Input::SessionDown { session }];
        engine.turn(Now { mono_ms: now_ms, wall_ms: 1 }, down).map_err(|error| error.to_string())?;
    }
    Ok(())
}
