//! What is known of one path: disk, base and tree, what waits, and what was decided last.

use super::{Decision, Rounds, lock};
use crate::{
    doc::entry::{Content, Entry, Kind},
    folder::{Found, FoundKind},
    ids::DocId,
    store::row::BaseRow,
    tree::{ConflictKind, NameFault, RelPath},
};

/// Everything that a folder knows of one path.
#[derive(Debug, Clone)]
pub struct Why {
    /// What stands there on disk, or why that cannot be seen.
    pub disk: Result<Option<Found>, String>,
    /// What disk and documents agreed on last.
    pub base: Option<BaseRow>,
    /// The entry that the tree shows there, or else the one that the base has.
    pub doc: Option<DocId>,
    /// Its registers.
    pub entry: Option<Entry>,
    /// Whether the tree shows it.
    pub shown: bool,
    /// Whether the base has all that the document has.
    pub is_current: bool,
    /// Why it cannot be shown.
    pub hidden: Option<NameFault>,
    /// The rule by which it is ignored.
    pub ignored: Option<String>,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// Whether it waits to be looked at.
    pub waits: bool,
    /// Whether its bytes are still to come from a peer.
    pub lacks_content: bool,
    /// Conflicts of the entry.
    pub conflicts: Vec<ConflictKind>,
    /// What was decided last since the start.
    pub decision: Option<Decision>,
}

impl Rounds {
    /// Tells what is known of a path. Reads the disk once and changes nothing.
    #[must_use]
    pub fn why(&self, path: &RelPath) -> Why {
        let disk = self.parts.fs.look(path).map_err(|error| error.reason());
        let view = self.documents.view();
        let shown = view.at(path);
        let (doc, base) = {
            let base = lock(&self.parts.base);
            let doc = shown.or_else(|| base.at(path));
            (doc, doc.and_then(|doc| base.row(&doc).cloned()))
        };
        let entry = doc.and_then(|doc| self.documents.entry(&doc)).cloned();
        let is_dir = match (&disk, &entry) {
            (Ok(Some(found)), _) => found.kind == FoundKind::Dir,
            (_, Some(entry)) => entry.kind == Kind::Dir,
            _ => false,
        };
        let named = |reasons: &std::collections::BTreeMap<RelPath, String>| reasons.get(path).cloned();
        let unreadable = doc.and_then(|doc| self.unreadable.get(&doc)).cloned();
        let away = self.away_problems().into_iter().find(|(top, _)| top.contains(path));
        let away = away.map(|(_, reason)| reason.to_owned());
        let heads = doc.and_then(|doc| self.documents.heads(&doc));
        let content = entry.as_ref().and_then(|entry| match entry.content {
            Some(Content::Reference(content)) => Some(content.hash),
            _ => None,
        });
        Why {
            shown: shown.is_some(),
            is_current: base.as_ref().zip(heads).is_some_and(|(row, heads)| row.heads == heads),
            hidden: view.hidden.iter().find(|(hidden, _)| Some(*hidden) == doc).map(|(_, fault)| *fault),
            ignored: self.ignored.reason(path, is_dir),
            problem: named(&self.scan_problems).or_else(|| named(&self.write_problems)).or(unreadable).or(away),
            waits: self.dirty.keys().any(|dirty| dirty.contains(path))
                || doc.is_some_and(|d| self.pending.contains(&d)),
            lacks_content: content.is_some_and(|hash| self.wants.contains_key(&hash)),
            conflicts: view.conflicts.iter().filter(|found| Some(found.doc) == doc).map(|found| found.kind).collect(),
            decision: self.decisions.of(path).cloned(),
            disk,
            base,
            doc,
            entry,
        }
    }
}
