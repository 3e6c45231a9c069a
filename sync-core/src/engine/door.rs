//! The door in the engine: every change of a commit, checked in its place, and what it does to its document.
//!
//! [`preflight`](crate::preflight) reads a change and compares its operations with its past, which [`made`](super::made)
//! finds in the store; here is the rest: whose change it is, that it comes behind its actor's last one, what it depends
//! on, and whether the document may grow. Changes add up in a [`Draft`] of each document, which `commits` writes once the
//! whole commit stands. Nothing here opens a document, but where a derived change is made again to be compared.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    commits::{CommitFault, Fault},
    made::{DraftPast, Looked, Unread},
    space::is_in,
};
use crate::{
    commit::Item,
    doc::{DocError, entry::RootSpec, promotion},
    history::Bodies,
    ids::{ChangeHash, DocId, SpaceId},
    limits,
    preflight::{self, Change, ChangeHead, Refusal, RuleError, Summary},
    probe::{Plant, planted},
    store::{
        StoreError, Tables,
        row::{ChangeRow, Clock, DocRow, LastChange},
    },
};

/// Why a change is not let in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeFault {
    /// Not well formed, or above a bound.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// One of its operations makes no sense where it stands.
    #[error("operation {counter}: {fault}")]
    Rule {
        /// The operation's counter.
        counter: u64,
        /// What is wrong with it.
        fault: preflight::Fault,
    },
    /// The document is not there, and this is not its root.
    #[error("the document does not exist and this is not its root change")]
    NoDocument,
    /// Already there, and not one that several may make.
    #[error("the change is already there")]
    Repeated,
    /// Depends on something outside its causal past.
    #[error("it depends on a change outside its causal past")]
    Dependency,
    /// Neither the commit's replica nor a derived actor.
    #[error("its actor is not the commit's")]
    Actor,
    /// Not the next change of its actor.
    #[error("it is not the next change of its actor")]
    Sequence,
    /// The change before it by its actor is not among those that it depends on, nor among those that these depend on.
    #[error("its actor's last change is not among its ancestors")]
    OwnPast,
    /// The operation counter is not above the dependencies', or too far above.
    #[error("its operation counter does not follow its dependencies")]
    Counter,
    /// The document would have too many changes or operations.
    #[error("the document has too many changes or operations")]
    DocumentFull,
    /// A derived change that its inputs do not derive.
    #[error(transparent)]
    Derived(#[from] DocError),
}

/// What ends the check of a change: the store's fault ends the turn, the change's the commit.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Change(#[from] ChangeFault),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Change(refusal.into())
    }
}

impl From<DocError> for Stop {
    fn from(error: DocError) -> Self {
        Self::Change(error.into())
    }
}

impl From<RuleError<Unread>> for Stop {
    fn from(error: RuleError<Unread>) -> Self {
        match error {
            RuleError::Past(Unread::Store(error)) => Self::Store(error),
            RuleError::Past(Unread::TooMuch) => Refusal::Limit("past changes that it names").into(),
            RuleError::Fault { counter, fault } => Self::Change(ChangeFault::Rule { counter, fault }),
        }
    }
}

/// How many changes and operations a document has.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    changes: u64,
    ops: u64,
}

impl Size {
    /// Whether one more change, of so many operations, is allowed.
    const fn has_room(self, ops: u64) -> bool {
        self.changes < limits::DOC_CHANGES_MAX && self.ops.saturating_add(ops) <= limits::DOC_OPS_MAX
    }

    const fn add(&mut self, ops: u64) {
        self.changes += 1;
        self.ops = self.ops.saturating_add(ops);
    }
}

/// A document as a commit would leave it.
pub(super) struct Draft {
    pub(super) row: DocRow,
    pub(super) old_heads: Option<Vec<ChangeHash>>,
    /// New changes with their index, and bytes where only their hash travels.
    pub(super) added: Vec<(u32, ChangeRow, Option<Vec<u8>>)>,
    /// Changes that were here and that this commit also brings.
    pub(super) brought: Vec<(u32, ChangeRow)>,
    /// What new changes made, with their index, by actor and last counter.
    pub(super) made: BTreeMap<([u8; 16], u64), (u32, Summary)>,
    /// A derived root that is new: what it made is summed up if somebody asks, for an import never does.
    pub(super) new_root: Option<Vec<u8>>,
    /// Whether this commit brings the root, which it may then not promote: the verdict must not depend on whether
    /// somebody else brought the root here before.
    brings_root: bool,
    /// What is in the commit's past, once that had to be counted.
    past: Option<Size>,
}

/// All documents of a commit, and what is read for them.
#[derive(Default)]
pub(super) struct Drafts {
    pub(super) by_doc: BTreeMap<DocId, Draft>,
    bodies: Bodies,
    looked: Looked,
}

/// Where a commit that is being checked stands.
pub(super) struct Place<'a, 't> {
    pub(super) tables: &'a Tables<'t>,
    pub(super) space: SpaceId,
    pub(super) handle: u32,
    pub(super) replica: u32,
    pub(super) replica_id: [u8; 16],
    pub(super) n: u64,
    pub(super) past: &'a Clock,
}

impl Place<'_, '_> {
    /// Drafts of the documents that are here. Roots of those that have nothing else are read at once, in the order in which
    /// they came: the first edit of each names what its root put, and neighbours rest in one body.
    pub(super) fn open(&self, items: &[Item]) -> Result<Drafts, StoreError> {
        let mut drafts = Drafts::default();
        let mut alone = BTreeMap::new();
        for doc in items.iter().map(Item::doc) {
            if !drafts.by_doc.contains_key(&doc)
                && let Some(row) = self.tables.document(self.handle, &doc)?
            {
                if row.changes == 1 {
                    alone.insert(row.handle, doc);
                }
                let old_heads = Some(row.heads.clone());
                drafts.by_doc.insert(doc, Draft::new(row, old_heads));
            }
        }
        let Drafts { by_doc, bodies, looked } = &mut drafts;
        for doc in alone.into_values() {
            if let Some(draft) = by_doc.get(&doc)
                && looked.has_room_for_roots()
            {
                looked.read_root(doc, &bodies.change(self.tables, self.handle, &draft.row, 0)?)?;
            }
        }
        Ok(drafts)
    }

    /// Checks one item and adds what it does to the drafts.
    pub(super) fn draft(&self, drafts: &mut Drafts, item: &Item, index: u32) -> Result<(), Fault> {
        let doc = item.doc();
        self.item(drafts, doc, item, index).map_err(|stop| match stop {
            Stop::Store(error) => Fault::Store(error),
            Stop::Change(reason) => Fault::Commit(CommitFault::Change { doc, reason }),
        })
    }

    fn item(&self, drafts: &mut Drafts, doc: DocId, item: &Item, index: u32) -> Result<(), Stop> {
        match item {
            Item::Change { bytes, .. } => self.change(drafts, doc, bytes, false, index),
            Item::Promotion { of, hash, .. } => match self.promotion(drafts, doc, of, hash, index)? {
                Some(bytes) => self.change(drafts, doc, &bytes, true, index),
                None => Ok(()),
            },
        }
    }

    /// The bytes of a promotion of which only the hash travels; nothing if it is here and was brought again.
    fn promotion(
        &self,
        drafts: &mut Drafts,
        doc: DocId,
        of: &ChangeHash,
        hash: &ChangeHash,
        index: u32,
    ) -> Result<Option<Vec<u8>>, Stop> {
        let Drafts { by_doc, bodies, .. } = drafts;
        let draft = by_doc.get(&doc).ok_or(ChangeFault::NoDocument)?;
        if of.0 != doc.0 || draft.brings_root {
            return Err(ChangeFault::Dependency.into());
        }
        if let Some(held) = draft.find(self.tables, hash)? {
            let bytes = bodies.change(self.tables, self.handle, &draft.row, held)?;
            let head = ChangeHead::read(&bytes)?;
            if head.deps != [*of] || !is_promotion(&head) {
                return Err(DocError::NotAnEntry("not a promotion").into());
            }
            if self.dependencies(draft, &head)?.is_none() {
                return Err(ChangeFault::Dependency.into());
            }
            self.bring_again(drafts, doc, held, index)?;
            return Ok(None);
        }
        let root = bodies.change(self.tables, self.handle, &draft.row, 0)?;
        let made = promotion::of_root(&root)?;
        if made.hash != *hash {
            return Err(DocError::NotAnEntry("another promotion").into());
        }
        Ok(Some(made.bytes))
    }

    /// A change whose bytes are known: `derived` if they did not travel.
    fn change(&self, drafts: &mut Drafts, doc: DocId, bytes: &[u8], derived: bool, index: u32) -> Result<(), Stop> {
        let change = Change::read(bytes)?;
        let head = &change.head;
        let Drafts { by_doc, bodies, looked } = &mut *drafts;
        let Some(draft) = by_doc.get_mut(&doc) else {
            let draft = self.new_document(doc, &change, bytes, index)?;
            by_doc.insert(doc, draft);
            return Ok(());
        };
        if let Some(held) = draft.find(self.tables, &head.hash)? {
            self.check_again(doc, draft, &change, bytes)?;
            return self.bring_again(drafts, doc, held, index).map_err(Stop::from);
        }
        let (deps, deps_max_op) = self.dependencies(draft, head)?.ok_or(ChangeFault::Dependency)?;
        if !head.follows(deps_max_op) {
            return Err(ChangeFault::Counter.into());
        }
        let own = head.actor == self.replica_id;
        if own {
            self.check_own(draft, head, &deps)?;
        } else if !derived {
            self.may_promote(draft, head, &deps)?;
        }
        if !self.has_room(draft, head.ops)? {
            return Err(ChangeFault::DocumentFull.into());
        }
        let mut past = DraftPast { place: self, doc, draft, bodies, looked };
        let summary = preflight::check(&change, &mut past)?;
        if !own && !derived {
            self.check_promotion(bodies, draft, &deps, bytes)?;
        }
        let row = self.row(head, deps, derived, index);
        draft.add(row, head, derived.then(|| bytes.to_vec()), own.then_some(self.replica));
        draft.keep_made(head, summary);
        Ok(())
    }

    fn row(&self, head: &ChangeHead, deps: Vec<u32>, derived: bool, index: u32) -> ChangeRow {
        let commits = vec![(self.replica, self.n, index)];
        ChangeRow { hash: head.hash, deps, max_op: head.max_op(), ops: head.ops, commits, derived }
    }

    /// The first change of a document names it, and is either by the commit's replica or derived from its own values.
    fn check_root(&self, doc: DocId, change: &Change<'_>, bytes: &[u8]) -> Result<Summary, ChangeFault> {
        let head = &change.head;
        if head.hash.0 != doc.0 || !head.deps.is_empty() {
            return Err(ChangeFault::NoDocument);
        }
        if head.seq != 1 {
            return Err(ChangeFault::Sequence);
        }
        if !head.follows(0) {
            return Err(ChangeFault::Counter);
        }
        let summary = match preflight::check(change, &mut ()) {
            Ok(summary) => summary,
            Err(RuleError::Fault { counter, fault }) => return Err(ChangeFault::Rule { counter, fault }),
            Err(RuleError::Past(never)) => match never {},
        };
        if head.actor != self.replica_id {
            RootSpec::verify(self.space, bytes)?;
        }
        Ok(summary)
    }

    fn new_document(&self, doc: DocId, change: &Change<'_>, bytes: &[u8], index: u32) -> Result<Draft, ChangeFault> {
        let head = &change.head;
        let summary = self.check_root(doc, change, bytes)?;
        let row = DocRow { handle: 0, heads: Vec::new(), changes: 0, ops: 0, lasts: Vec::new() };
        let mut draft = Draft::new(row, None);
        draft.brings_root = true;
        let own = (head.actor == self.replica_id).then_some(self.replica);
        draft.add(self.row(head, Vec::new(), false, index), head, None, own);
        if own.is_some() {
            draft.keep_made(head, summary);
        } else {
            draft.new_root = Some(bytes.to_vec());
        }
        Ok(draft)
    }

    /// A change that is here already: only what several may make may come twice, and each time its own past must hold
    /// what it depends on.
    fn check_again(&self, doc: DocId, draft: &Draft, change: &Change<'_>, bytes: &[u8]) -> Result<(), Stop> {
        let head = &change.head;
        if head.hash.0 == doc.0 {
            if head.actor == self.replica_id {
                return Err(ChangeFault::Repeated.into());
            }
            self.check_root(doc, change, bytes)?;
        } else if !is_promotion(head) {
            return Err(ChangeFault::Repeated.into());
        } else if self.dependencies(draft, head)?.is_none() || draft.brings_root {
            return Err(ChangeFault::Dependency.into());
        }
        Ok(())
    }

    /// A derived change that is here comes by one more commit, which then also has it in its past.
    fn bring_again(&self, drafts: &mut Drafts, doc: DocId, held: u32, index: u32) -> Result<(), StoreError> {
        let Some(draft) = drafts.by_doc.get_mut(&doc) else {
            return Ok(());
        };
        draft.brings_root |= held == 0;
        if draft.is_added(held) {
            return Ok(());
        }
        let mut row = match draft.brought.iter().position(|(brought, _)| *brought == held) {
            Some(position) => draft.brought.swap_remove(position).1,
            None => self.tables.change(draft.row.handle, held)?,
        };
        if let Some(past) = draft.past.as_mut().filter(|_| !self.has(&row)) {
            past.add(row.ops);
        }
        row.commits.push((self.replica, self.n, index));
        draft.brought.push((held, row));
        Ok(())
    }

    /// Whether a change is in the commit's past, or was brought earlier in its body.
    pub(super) fn has(&self, row: &ChangeRow) -> bool {
        let is_here = |replica: u32, n: u64| replica == self.replica && n == self.n;
        row.commits.iter().any(|(replica, n, _)| is_in(self.past, *replica, *n) || is_here(*replica, *n))
    }

    /// Indices and the highest counter of what a change depends on; `None` when something is outside its past.
    fn dependencies(&self, draft: &Draft, head: &ChangeHead) -> Result<Option<(Vec<u32>, u64)>, StoreError> {
        if head.deps.is_empty() {
            return Ok(None);
        }
        let mut deps = Vec::with_capacity(head.deps.len());
        let mut max_op = 0;
        for dep in &head.deps {
            let Some(index) = draft.find(self.tables, dep)? else {
                return Ok(None);
            };
            let row = draft.change(self.tables, index)?;
            if !self.has(&row) && !planted(Plant::DependencyOutsidePast) {
                return Ok(None);
            }
            max_op = max_op.max(row.max_op);
            deps.push(index);
        }
        Ok(Some((deps, max_op)))
    }

    /// A change by the commit's replica is its next one, behind its last one: else Automerge takes a set of changes in
    /// one order and panics in another.
    fn check_own(&self, draft: &Draft, head: &ChangeHead, deps: &[u32]) -> Result<(), Stop> {
        let last = draft.row.last_of(self.replica);
        if head.seq != last.map_or(0, |last| last.seq) + 1 {
            return Err(ChangeFault::Sequence.into());
        }
        match last {
            Some(last) if !draft.descends(self.tables, deps, last.index)? => Err(ChangeFault::OwnPast.into()),
            _ => Ok(()),
        }
    }

    /// Whether the document may grow. What others did concurrently does not count, for not everybody has it: only where
    /// all that is here would be too much is counted what is in the commit's past.
    fn has_room(&self, draft: &mut Draft, ops: u64) -> Result<bool, StoreError> {
        let held = Size { changes: draft.row.changes.into(), ops: draft.row.ops };
        if held.has_room(ops) {
            return Ok(true);
        }
        let past = match draft.past {
            Some(past) => past,
            None => {
                let mut past = Size::default();
                for index in 0..draft.row.changes {
                    let row = draft.change(self.tables, index)?;
                    if self.has(&row) {
                        past.add(row.ops);
                    }
                }
                *draft.past.insert(past)
            }
        };
        Ok(past.has_room(ops))
    }

    /// Whether a change that travels as bytes, and is not the commit's replica's, is a promotion in its place.
    fn may_promote(&self, draft: &Draft, head: &ChangeHead, deps: &[u32]) -> Result<(), ChangeFault> {
        match deps {
            // What it promotes came in this very commit: nobody edits what nobody has.
            [dep] if is_promotion(head) && (draft.is_added(*dep) || draft.brings_root) => Err(ChangeFault::Dependency),
            [_] if is_promotion(head) => Ok(()),
            _ => Err(ChangeFault::Actor),
        }
    }

    /// A promotion that travels as bytes is made again and compared.
    fn check_promotion(&self, bodies: &mut Bodies, draft: &Draft, deps: &[u32], bytes: &[u8]) -> Result<(), Stop> {
        let &[dep] = deps else {
            return Err(ChangeFault::Actor.into());
        };
        let history = bodies.closure(self.tables, self.handle, &draft.row, dep)?;
        Ok(promotion::verify(history, bytes)?)
    }
}

impl Draft {
    fn new(row: DocRow, old_heads: Option<Vec<ChangeHash>>) -> Self {
        Self {
            row,
            old_heads,
            added: Vec::new(),
            brought: Vec::new(),
            made: BTreeMap::new(),
            new_root: None,
            brings_root: false,
            past: None,
        }
    }

    fn add(&mut self, row: ChangeRow, head: &ChangeHead, derived: Option<Vec<u8>>, own: Option<u32>) {
        self.row.heads.retain(|held| !head.deps.contains(held));
        self.row.heads.push(head.hash);
        self.row.heads.sort_unstable();
        if let Some(replica) = own {
            let last = LastChange { replica, seq: head.seq, index: self.row.changes };
            match self.row.lasts.iter_mut().find(|held| held.replica == replica) {
                Some(held) => *held = last,
                None => self.row.lasts.push(last),
            }
        }
        if let Some(past) = &mut self.past {
            past.add(head.ops);
        }
        self.added.push((self.row.changes, row, derived));
        self.row.changes += 1;
        self.row.ops = self.row.ops.saturating_add(head.ops);
    }

    /// Keeps what the change that was added last made, if it made anything and is by an actor of ours.
    fn keep_made(&mut self, head: &ChangeHead, summary: Summary) {
        if head.ops > 0
            && let Ok(actor) = <[u8; 16]>::try_from(head.actor.as_slice())
            && let Some((index, ..)) = self.added.last()
        {
            self.made.insert((actor, head.max_op()), (*index, summary));
        }
    }

    /// The row of a change, as the commit would leave it.
    pub(super) fn change(&self, tables: &Tables<'_>, index: u32) -> Result<ChangeRow, StoreError> {
        let added = self.added.iter().map(|(index, row, _)| (index, row));
        let brought = self.brought.iter().map(|(index, row)| (index, row));
        match added.chain(brought).find(|(held, _)| **held == index) {
            Some((_, row)) => Ok(row.clone()),
            None => tables.change(self.row.handle, index),
        }
    }

    /// Whether a change is new with this commit.
    fn is_added(&self, index: u32) -> bool {
        self.added.iter().any(|(added, ..)| *added == index)
    }

    /// Whether `from` is among these changes or their ancestors. Whatever depends on it came later, so nothing before it
    /// is looked at.
    fn descends(&self, tables: &Tables<'_>, deps: &[u32], from: u32) -> Result<bool, StoreError> {
        let mut open: BTreeSet<u32> = deps.iter().copied().filter(|dep| *dep >= from).collect();
        while !open.contains(&from) {
            let Some(index) = open.pop_last() else {
                return Ok(false);
            };
            open.extend(self.change(tables, index)?.deps.into_iter().filter(|dep| *dep >= from));
        }
        Ok(true)
    }

    /// The index of a change, in the draft or in the store.
    fn find(&self, tables: &Tables<'_>, hash: &ChangeHash) -> Result<Option<u32>, StoreError> {
        if let Some((index, ..)) = self.added.iter().find(|(_, row, _)| row.hash == *hash) {
            return Ok(Some(*index));
        }
        if self.old_heads.is_none() {
            return Ok(None);
        }
        if tables.change(self.row.handle, 0)?.hash == *hash {
            return Ok(Some(0));
        }
        tables.change_index(self.row.handle, hash)
    }
}

/// Whether a change claims to be the promotion of the one change that it depends on; whoever took it in first has made
/// it again to see.
pub(super) fn is_promotion(head: &ChangeHead) -> bool {
    matches!(head.deps[..], [of] if head.seq == 1 && head.actor == promotion::actor(of).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_room_up_to_its_bounds() {
        let size = |changes, ops| Size { changes, ops };
        let (changes, ops) = (limits::DOC_CHANGES_MAX, limits::DOC_OPS_MAX);
        assert!(size(0, 0).has_room(ops));
        assert!(!size(0, 0).has_room(ops + 1));
        assert!(size(changes - 1, ops - 3).has_room(3));
        assert!(!size(changes - 1, ops - 3).has_room(4));
        assert!(!size(changes, 0).has_room(0));
        assert!(!size(1, ops).has_room(u64::MAX));
        let mut last = size(changes - 1, ops - 3);
        last.add(3);
        assert!(!last.has_room(0));
    }

    #[test]
    fn what_others_did_concurrently_takes_no_room() {
        let store = crate::store::Store::in_memory().expect("opens");
        let turn = store.begin().expect("begins");
        let mut tables = turn.tables().expect("opens");
        // Of two changes the first, by replica 0, is in the past.
        let row = |id: u8, replica, ops| {
            let commits = vec![(replica, 1, 0)];
            ChangeRow { hash: ChangeHash([id; 32]), deps: Vec::new(), max_op: 1, ops, commits, derived: false }
        };
        tables.put_change(7, 0, &row(1, 0, 10)).expect("writes");
        tables.put_change(7, 1, &row(2, 1, limits::DOC_OPS_MAX - 10)).expect("writes");
        let held = DocRow { handle: 7, heads: Vec::new(), changes: 2, ops: limits::DOC_OPS_MAX, lasts: Vec::new() };
        let room = |past: Clock, ops| {
            let (space, past) = (SpaceId([0; 32]), &past);
            let place = Place { tables: &tables, space, handle: 1, replica: 2, replica_id: [2; 16], n: 1, past };
            let mut draft = Draft::new(held.clone(), Some(Vec::new()));
            let first = place.has_room(&mut draft, ops).expect("reads");
            assert_eq!(place.has_room(&mut draft, ops).expect("reads"), first, "counted once");
            first
        };
        assert!(room(vec![(0, 1)], limits::DOC_OPS_MAX - 10));
        assert!(!room(vec![(0, 1)], limits::DOC_OPS_MAX - 9));
        assert!(room(vec![(0, 1), (1, 1)], 0));
        assert!(!room(vec![(0, 1), (1, 1)], 1));
    }

    #[test]
    fn an_ancestor_is_found_however_far_it_is() {
        let store = crate::store::Store::in_memory().expect("opens");
        let turn = store.begin().expect("begins");
        let mut tables = turn.tables().expect("opens");
        // 0 ← 1 ← 3 ← 4, and 2 beside them.
        for (index, deps) in [(0, vec![]), (1, vec![0]), (2, vec![0]), (3, vec![1]), (4, vec![3])] {
            let hash = ChangeHash([index as u8; 32]);
            let row = ChangeRow { hash, deps, max_op: 1, ops: 1, commits: Vec::new(), derived: false };
            tables.put_change(7, index, &row).expect("writes");
        }
        let held = DocRow { handle: 7, heads: Vec::new(), changes: 5, ops: 5, lasts: Vec::new() };
        let draft = Draft::new(held, Some(Vec::new()));
        let descends = |deps: &[u32], from| draft.descends(&tables, deps, from).expect("reads");
        assert!(descends(&[4], 4) && descends(&[4], 1) && descends(&[4], 0) && descends(&[2, 4], 2));
        assert!(!descends(&[4], 2) && !descends(&[2], 1) && !descends(&[1], 3));
    }
}
