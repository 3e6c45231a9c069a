//! What a crash leaves: changes wait in a log until something flushes them, each with those that must come before it.
//!
//! A change is atomic. It needs the earlier changes of the same directory entries, the making of what it names, and
//! enough else that any set that is closed under needs gives a whole tree. Bytes are kept apart from the changes: of a
//! file whose bytes were not flushed a crash leaves the old, the new, or a mixture.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::tree::{Body, Change, Name, NodeId, Place, Tree};
use crate::sim::{image::Loss, rng::Rng};

/// What a flush means and what a crash may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Roughly ext4 with `data=ordered`: changes of directories last in the order in which they were made, and every
    /// flush makes all earlier ones last. Bytes reach the disk later than the names of their files.
    Ordered,
    /// As little as POSIX promises: a flush of a file is of its bytes and rights only, a flush of a directory of its
    /// entries only, and of the rest any subset may last.
    AnySubset,
}

/// What a crash did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// Changes of directories and rights that lasted without a flush.
    pub kept: usize,
    /// Those that did not.
    pub lost: usize,
    /// Files whose bytes had not been flushed and are now the old ones, or none.
    pub stale: usize,
    /// Files whose bytes are now a mixture.
    pub torn: usize,
}

/// Bytes go to the disk in units of this.
const BLOCK_BYTES: usize = 512;

#[derive(Debug, Clone)]
struct Pending {
    change: Change,
    now_ns: i64,
    needs: BTreeSet<u64>,
}

/// Changes that are not on the disk yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pending: BTreeMap<u64, Pending>,
    next: u64,
    last_at: BTreeMap<Place, u64>,
    made: BTreeMap<NodeId, u64>,
    freed: BTreeMap<u64, u64>,
    last_dir_move: Option<u64>,
    /// Files whose bytes are not on the disk, and whether they were cut to nothing since they were.
    dirty: BTreeMap<NodeId, bool>,
}

fn places(change: &Change) -> Vec<&Place> {
    match change {
        Change::Make { at, .. } | Change::Remove { at, .. } => vec![at],
        Change::Rename { from, to, .. } => vec![from, to],
        Change::Exchange { a, b } => vec![a, b],
        Change::Mode { .. } => vec![],
    }
}

impl Log {
    /// Notes a change that is about to be made to `live`. Returns its number.
    pub(super) fn push(&mut self, change: Change, now_ns: i64, live: &Tree) -> u64 {
        let seq = self.next;
        self.next += 1;
        let mut needs = BTreeSet::new();
        for place in places(&change) {
            // On a disk that folds names, one name is free for another that is the same only when it is gone.
            needs.extend(self.last_at.insert((place.0, live.key(&place.1)), seq));
            needs.extend(self.made.get(&place.0));
        }
        match &change {
            Change::Make { node, new, .. } => {
                needs.extend(self.freed.get(&new.inode));
                self.made.insert(*node, seq);
            }
            Change::Remove { node, .. } => {
                needs.extend(self.inside(*node));
                self.freed.insert(live.node(*node).inode, seq);
            }
            Change::Rename { from, to, node, replaced } => {
                if let Some(replaced) = replaced {
                    needs.extend(self.inside(*replaced));
                    self.freed.insert(live.node(*replaced).inode, seq);
                }
                if from.0 != to.0 && live.node(*node).is_dir() {
                    needs.extend(self.last_dir_move.replace(seq));
                }
            }
            Change::Exchange { a, b } => {
                let is_dir = |at: &Place| live.entries(at.0).get(&at.1).is_some_and(|node| live.node(*node).is_dir());
                if a.0 != b.0 && (is_dir(a) || is_dir(b)) {
                    needs.extend(self.last_dir_move.replace(seq));
                }
            }
            Change::Mode { node, .. } => needs.extend(self.made.get(node)),
        }
        needs.retain(|need| self.pending.contains_key(need));
        self.pending.insert(seq, Pending { change, now_ns, needs });
        seq
    }

    /// Changes of entries in a directory: it can go only after they have happened.
    fn inside(&self, dir: NodeId) -> Vec<u64> {
        let touches = |pending: &Pending| places(&pending.change).iter().any(|place| place.0 == dir);
        self.pending.iter().filter(|(_, pending)| touches(pending)).map(|(seq, _)| *seq).collect()
    }

    pub(super) fn all(&self) -> Vec<u64> {
        self.pending.keys().copied().collect()
    }

    /// Puts changes on the disk, with everything that they need.
    pub(super) fn commit(&mut self, durable: &mut Tree, seqs: Vec<u64>) {
        let mut open = seqs;
        let mut wanted = BTreeSet::new();
        while let Some(seq) = open.pop() {
            if let Some(pending) = self.pending.get(&seq)
                && wanted.insert(seq)
            {
                open.extend(&pending.needs);
            }
        }
        for seq in wanted {
            if let Some(pending) = self.pending.remove(&seq)
                && let Some(detached) = durable.apply(&pending.change, pending.now_ns)
            {
                durable.nodes.remove(&detached);
            }
        }
        if self.pending.is_empty() {
            (self.last_at, self.made, self.freed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            self.last_dir_move = None;
        }
    }

    /// The bytes of a file changed.
    pub(super) fn soil(&mut self, node: NodeId, cut_to_nothing: bool) {
        *self.dirty.entry(node).or_default() |= cut_to_nothing;
    }

    /// The file is gone for good.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.dirty.remove(&node);
    }

    /// A flush failed: its pages are clean now and will never be written, as Linux does it.
    pub(super) fn lose_pages(&mut self, node: NodeId) {
        self.dirty.remove(&node);
    }

    /// Puts the bytes and rights of a file on the disk, under whatever name is there.
    pub(super) fn flush_file(&mut self, durable: &mut Tree, live: &Tree, node: NodeId) {
        let Some(now) = live.nodes.get(&node) else { return };
        let is_dirty = self.dirty.remove(&node).is_some();
        let made = self.made.get(&node).and_then(|seq| self.pending.get_mut(seq));
        let target = match made {
            Some(Pending { change: Change::Make { new, .. }, .. }) => Some(new),
            _ => durable.nodes.get_mut(&node),
        };
        if let Some(target) = target {
            target.mode = now.mode;
            // Pages that a failed flush has lost are clean: they stay lost.
            if is_dirty {
                target.body = now.body.clone();
                (target.mtime_ns, target.ctime_ns) = (now.mtime_ns, now.ctime_ns);
            }
        }
        self.pending.retain(|_, pending| !matches!(pending.change, Change::Mode { node: of, .. } if of == node));
    }

    /// Puts everything on the disk.
    pub(super) fn flush_all(&mut self, durable: &mut Tree, live: &Tree) {
        let all = self.all();
        self.commit(durable, all);
        let dirty: Vec<NodeId> = self.dirty.keys().copied().collect();
        for node in dirty {
            self.flush_file(durable, live, node);
        }
    }

    /// Puts the entries of a directory on the disk.
    pub(super) fn flush_dir(&mut self, durable: &mut Tree, dir: NodeId, model: Crash) {
        let seqs = match model {
            Crash::Ordered => self.all(),
            Crash::AnySubset => self.inside(dir),
        };
        self.commit(durable, seqs);
    }

    /// Loses power: what is left is in `durable` then. Of a disk that writes in order no subset but a first part lasts.
    pub(super) fn crash(
        self,
        durable: &mut Tree,
        live: &Tree,
        (model, loss): (Crash, Option<Loss>),
        rng: &mut Rng,
    ) -> CrashReport {
        let chosen = match (loss, model) {
            (Some(Loss::All), _) => BTreeSet::new(),
            (Some(Loss::Nothing), _) => self.pending.keys().copied().collect(),
            (Some(Loss::Tail), _) | (_, Crash::Ordered) => self.prefix(rng),
            (_, Crash::AnySubset) => self.subset(rng),
        };
        let mut report = CrashReport { kept: chosen.len(), ..CrashReport::default() };
        report.lost = self.pending.len() - chosen.len();
        let dirty = self.dirty.clone();
        let mut log = self;
        log.commit(durable, chosen.into_iter().collect());
        for (node, was_cut) in dirty {
            if let (Some(new), Some(old)) = (live.nodes.get(&node), durable.nodes.get_mut(&node)) {
                let Some(bytes) = new.content() else { continue };
                let before = old.content().cloned().unwrap_or_default();
                let after = match fate(loss, rng) {
                    0 => Arc::clone(&before),
                    1 => Arc::clone(bytes),
                    _ => Arc::new(torn(&before, bytes, was_cut || before.is_empty(), model, rng)),
                };
                if after == *bytes {
                    (old.mtime_ns, old.ctime_ns) = (new.mtime_ns, new.ctime_ns);
                } else {
                    report.stale += usize::from(after == before);
                    report.torn += usize::from(after != before);
                    // Times rest in the inode, which may be written although the bytes were not.
                    if after != before || rng.chance(250) {
                        (old.mtime_ns, old.ctime_ns) = (new.mtime_ns, new.ctime_ns);
                    }
                }
                old.body = Body::File(after);
            }
        }
        report
    }

    fn prefix(&self, rng: &mut Rng) -> BTreeSet<u64> {
        let count = match rng.below(4) {
            0 => 0,
            1 => self.pending.len(),
            _ => rng.index(self.pending.len() + 1),
        };
        self.pending.keys().take(count).copied().collect()
    }

    fn subset(&self, rng: &mut Rng) -> BTreeSet<u64> {
        let per_mille = *rng.pick(&[0, 250, 500, 750, 1000]);
        let mut chosen = BTreeSet::new();
        for (seq, pending) in &self.pending {
            let possible = pending.needs.iter().all(|need| chosen.contains(need) || !self.pending.contains_key(need));
            if rng.chance(per_mille) && possible {
                chosen.insert(*seq);
            }
        }
        chosen
    }

    /// How many changes wait, and the bytes of how many files.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.pending.len(), self.dirty.len())
    }
}

/// What becomes of bytes that were not flushed: 0, the old ones; 1, the new ones; else a mixture.
const fn fate(loss: Option<Loss>, rng: &mut Rng) -> u64 {
    match loss {
        Some(Loss::All) => 0,
        Some(Loss::Nothing) => 1,
        Some(Loss::Tail | Loss::Some) => rng.below(2),
        Some(Loss::Torn) | None => rng.below(3),
    }
}

/// A mixture of old and new bytes.
fn torn(old: &[u8], new: &[u8], fresh: bool, model: Crash, rng: &mut Rng) -> Vec<u8> {
    let blocks = new.len().div_ceil(BLOCK_BYTES);
    if fresh && model == Crash::Ordered {
        let end = rng.index(blocks + 1) * BLOCK_BYTES;
        return new[..end.min(new.len())].to_vec();
    }
    let len = if fresh || rng.chance(500) { new.len() } else { old.len() };
    let mut mixed = vec![0; len];
    for (index, block) in mixed.chunks_mut(BLOCK_BYTES).enumerate() {
        let from = if rng.chance(500) {
            new
        } else if fresh {
            continue;
        } else {
            old
        };
        let start = (index * BLOCK_BYTES).min(from.len());
        let part = &from[start..(start + block.len()).min(from.len())];
        block[..part.len()].copy_from_slice(part);
    }
    mixed
}

/// A name for people.
pub(super) fn shown(name: &Name) -> String {
    String::from_utf8_lossy(name).into_owned()
}
