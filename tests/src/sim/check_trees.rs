//! Which devices show the same: the trees on their disks, but for what is never synced.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use sync_core::{
    folder::{FoundKind, Ignored},
    tree::{RelPath, View, check_link},
};

use super::{cases::Drawn, peer::Peer, world::World};
use crate::disk::Seen;

/// Where users say what is ignored.
const IGNORE_FILE: &str = ".kithignore";

impl World {
    /// The same of the disks of devices that may only read, beside one that may write.
    pub(super) fn differences_of_readers(&self) -> Result<(), String> {
        let Some(writer) = self.shown(false).next() else { return Ok(()) };
        self.shown(true).try_for_each(|reader| self.trees_are_equal(writer, reader, &BTreeSet::new()))
    }

    /// Devices with a folder, that may only read or that may write.
    pub(super) fn shown(&self, reads_only: bool) -> impl Iterator<Item = usize> {
        let is_shown =
            move |index: &usize| self.peers[*index].has_folder && self.peers[*index].reads_only == reads_only;
        (0..self.peers.len()).filter(is_shown)
    }

    /// Tells the first thing in which two disks differ, but for what is never synced and what is lacking.
    pub(super) fn trees_are_equal(&self, left: usize, right: usize, lacking: &BTreeSet<PathBuf>) -> Result<(), String> {
        let sides = [left, right].map(|index| (self.peers[index].fs.tree(), self.peers[index].rules()));
        let [(a, _), (b, _)] = &sides;
        // What stands where a link is that leads out of the folder cannot be shown there, nor what is in it.
        let foreign = |path: &Path| {
            let is_foreign = |tree: &BTreeMap<PathBuf, Seen>, at| tree.get(at).is_some_and(|seen| is_foreign(at, seen));
            sides.iter().any(|(tree, _)| path.ancestors().any(|at| is_foreign(tree, at)))
        };
        let ignored = |path: &Path| sides.iter().any(|(tree, rules)| is_ignored(rules, path, tree.get(path)));
        // A directory that others deleted stays with what is never synced.
        let stays = |path: &Path| {
            sides.iter().any(|(tree, rules)| {
                let mut below = tree.range(path.to_owned()..).take_while(|(below, _)| below.starts_with(path));
                below.any(|(below, seen)| is_ignored(rules, below, Some(seen)) || is_foreign(below, seen))
            })
        };
        // Where a rule covers what stands in a place that another entry is to have, that is told, and stays so; the other
        // stays where it was.
        let told = |path: &Path| {
            let waits = |index: &usize| {
                let peer = &self.peers[*index];
                peer.has_problem_at(path)
                    || self.place_of_based(*index, path).is_some_and(|at| peer.has_problem_at(&at))
            };
            self.drawn(Drawn::Rules) && [left, right].iter().any(waits)
        };
        let differs = |path: &&PathBuf| {
            a.get(*path) != b.get(*path)
                && !is_left_alone(path)
                && !foreign(path)
                && !lacking.contains(*path)
                && !ignored(path)
                && !stays(path)
                && !told(path)
        };
        let Some(path) = a.keys().chain(b.keys()).find(differs) else { return Ok(()) };
        let of = |index: usize, tree: &BTreeMap<PathBuf, Seen>| {
            let (seen, base) = (tree.get(path), self.peers[index].based(path));
            let rounds = self.peers[index].process.as_ref().and_then(|process| process.rounds.as_ref());
            let beside: Vec<_> = tree.keys().filter(|other| other.parent() == path.parent()).collect();
            format!(
                "on {index} is {seen:?}, base {base:?}, beside it {beside:?}, problems {:?}",
                rounds.map(|rounds| rounds.report().problems)
            )
        };
        Err(format!("{path:?} {}, {}", of(left, a), of(right, b)))
    }

    /// Where what a folder has at a path belongs.
    fn place_of_based(&self, index: usize, path: &Path) -> Option<PathBuf> {
        let status = self.peers[index].status(&self.space)?;
        let entries = self.entries(index).ok()?.into_iter().map(|(doc, (entry, _))| (doc, entry)).collect();
        let view = View::of(&entries, status.folds);
        let placed = self.peers[index].based(path).into_iter().find_map(|(doc, _)| view.path_of(&doc))?;
        Some(PathBuf::from(placed.to_string()))
    }
}

impl Peer {
    /// Whether the folder tells that something cannot be synced at a path, or above it.
    pub(super) fn has_problem_at(&self, path: &Path) -> bool {
        let rounds = self.process.as_ref().and_then(|process| process.rounds.as_ref());
        let problems = rounds.map(|rounds| rounds.report().problems).unwrap_or_default();
        problems.iter().any(|problem| problem.path.contains(&rel_path(path)))
    }

    /// What the folder ignores, by the files that are there now.
    fn rules(&self) -> Ignored {
        let mut rules = Ignored::default();
        for (path, kind) in self.fs.paths() {
            if let Some((dir, IGNORE_FILE)) = path.split().filter(|_| kind == FoundKind::File) {
                rules.load(&self.fs, &dir);
            }
        }
        rules
    }
}

/// What an editor that was killed leaves and every folder ignores.
fn is_left_alone(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.ends_with(".swp") || name.starts_with(".#"))
}

/// The path as the folder has it.
fn rel_path(path: &Path) -> RelPath {
    let components = path.components().map(|component| component.as_os_str().to_string_lossy().into_owned());
    RelPath::from_components(components.collect())
}

/// A link that leads out of the folder stays where its user made it.
fn is_foreign(path: &Path, seen: &Seen) -> bool {
    let Seen::Link(target) = seen else { return false };
    check_link(&rel_path(path), &target.to_string_lossy()).is_err()
}

/// Whether rules say that a path stays where it is.
fn is_ignored(rules: &Ignored, path: &Path, seen: Option<&Seen>) -> bool {
    rules.covers(&rel_path(path), matches!(seen, Some(Seen::Dir)))
}
