//! What a user did to a disk, told from two looks at it.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::{
    doc::entry::Kind,
    folder::{
        Base, Found, FoundKind,
        local::{Into, Local, local},
        observe::{Appeared, Looks, Unseen, is_touched, kind_of},
    },
    ids::DocId,
    store::row::Stat,
    tree::Place,
};

use super::{row, stat};
use crate::{input::Input, tree::doc};

/// Names on the disk; few, so that one goes where another was.
const NAMES: &[&str] = &["a", "b", "c", "d"];
/// Deepest directory of an input.
const DEPTH_MAX: usize = 4;

/// Something on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    kind: FoundKind,
    stat: Stat,
    children: BTreeMap<String, Self>,
}

/// What is told, done to the base, gives the disk as it is: every entry is where it was, moved, or gone, and never two of
/// these.
///
/// # Panics
/// When a promise is broken.
pub fn folder_local(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut inodes = 0;
    let mut root = Node { kind: FoundKind::Dir, stat: stat(0), children: BTreeMap::new() };
    for _ in 0..=input.below(16) {
        make(&mut input, &mut root, &mut inodes);
    }
    let base = base_of(&root);
    for _ in 0..=input.below(16) {
        change(&mut input, &mut root, &mut inodes);
    }
    let mut looks = Looks::default();
    look(&base, None, &root, &mut looks);
    // Nothing says in which order looks come.
    if input.one_in(2) {
        looks.vanished.reverse();
        looks.appeared.reverse();
    }
    let told = local(&base, looks);
    assert_once(&told);
    assert_eq!(done(&base, &told), shape(&root));
}

/// A directory of the tree that choices of the input lead to.
fn some_dir<'a>(input: &mut Input<'_>, root: &'a mut Node) -> &'a mut Node {
    let mut at = root;
    for _ in 0..DEPTH_MAX {
        let dirs: Vec<String> =
            at.children.iter().filter(|(_, node)| node.kind == FoundKind::Dir).map(|(name, _)| name.clone()).collect();
        if dirs.is_empty() || input.one_in(2) {
            break;
        }
        let name = input.of(&dirs).clone();
        at = at.children.get_mut(&name).expect("was just listed");
    }
    at
}

fn make(input: &mut Input<'_>, root: &mut Node, inodes: &mut u64) {
    *inodes += 1;
    // An inode that was used before comes again, with its birth where the file system keeps none: or it is a hard link.
    let inode = if input.one_in(6) { 1 + input.below(usize::try_from(*inodes).unwrap_or(1)) as u64 } else { *inodes };
    let kind = *input.of(&[FoundKind::Dir, FoundKind::File, FoundKind::File, FoundKind::Link]);
    let inode = if kind == FoundKind::Dir { *inodes } else { inode };
    let node = Node { kind, stat: stat(inode), children: BTreeMap::new() };
    let name = (*input.of(NAMES)).to_owned();
    some_dir(input, root).children.entry(name).or_insert(node);
}

fn change(input: &mut Input<'_>, root: &mut Node, inodes: &mut u64) {
    let name = (*input.of(NAMES)).to_owned();
    match input.below(6) {
        0 => make(input, root, inodes),
        1 => drop(some_dir(input, root).children.remove(&name)),
        2 => {
            if let Some(node) = some_dir(input, root).children.get_mut(&name) {
                node.stat.mtime_ns += 1;
            }
        }
        3 => {
            // Saved by way of a new file.
            *inodes += 1;
            if let Some(node) = some_dir(input, root).children.get_mut(&name)
                && node.kind != FoundKind::Dir
            {
                node.stat = stat(*inodes);
            }
        }
        _ => {
            let Some(node) = some_dir(input, root).children.remove(&name) else {
                return;
            };
            let to = (*input.of(NAMES)).to_owned();
            some_dir(input, root).children.insert(to, node);
        }
    }
}

fn base_of(root: &Node) -> Base {
    let mut base = Base::default();
    let mut open = vec![(None, root)];
    while let Some((parent, node)) = open.pop() {
        for (name, child) in &node.children {
            let next = doc(base.rows().count());
            let kind = kind_of(child.kind).expect("a kind that is synced");
            let mut row = row(kind, &Place { parent, name: name.clone() }, vec![], 0);
            row.stat = Some(child.stat);
            base.set(next, Some(row));
            open.push((Some(next), child));
        }
    }
    base
}

/// Compares a directory of the base with the disk.
fn look(base: &Base, dir: Option<DocId>, node: &Node, looks: &mut Looks) {
    for (name, child) in &node.children {
        let found = Found { kind: child.kind, stat: child.stat };
        let known = base.child(dir, name);
        match known.and_then(|known| base.row(&known)) {
            Some(row) if Some(row.kind) == kind_of(child.kind) => {
                if let Some(known) = known {
                    if is_touched(row, &found) {
                        looks.touched.push((known, found));
                    }
                    look(base, Some(known), child, looks);
                }
            }
            _ => {
                looks.vanished.extend(known);
                looks.appeared.push((dir, appeared(name, child)));
            }
        }
    }
    let gone = base.children(dir).filter(|(name, _)| !node.children.contains_key(*name));
    looks.vanished.extend(gone.map(|(_, known)| *known));
}

fn appeared(name: &str, node: &Node) -> Appeared {
    Appeared {
        name: name.to_owned(),
        found: Found { kind: node.kind, stat: node.stat },
        children: node.children.iter().map(|(name, child)| appeared(name, child)).collect(),
        unseen: Unseen::default(),
        left_alone: false,
    }
}

fn assert_once(told: &Local) {
    let gone: BTreeSet<DocId> = told.gone.iter().copied().collect();
    let moved: BTreeSet<DocId> = told.moved.iter().map(|moved| moved.doc).collect();
    let touched: BTreeSet<DocId> = told.touched.iter().map(|(doc, _)| *doc).collect();
    assert_eq!(gone.len(), told.gone.len(), "gone twice");
    assert_eq!(moved.len(), told.moved.len(), "moved twice");
    assert_eq!(touched.len(), told.touched.len(), "touched twice");
    assert!(gone.is_disjoint(&moved) && gone.is_disjoint(&touched), "gone and still there");
    for (index, made) in told.made.iter().enumerate() {
        assert!(!matches!(made.into, Into::Made(dir) if dir >= index), "made before its directory");
    }
}

/// Path → kind of everything that is on disk.
type Shape = BTreeMap<Vec<String>, Kind>;

fn shape(root: &Node) -> Shape {
    let mut shape = Shape::new();
    let mut open = vec![(Vec::new(), root)];
    while let Some((path, node)) = open.pop() {
        for (name, child) in &node.children {
            let below: Vec<String> = path.iter().chain([name]).cloned().collect();
            shape.insert(below.clone(), kind_of(child.kind).expect("a kind that is synced"));
            open.push((below, child));
        }
    }
    shape
}

/// Who is where: an entry, or something that was made, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Doc(DocId),
    Made(usize),
}

/// The base after what was told is done to it.
fn done(base: &Base, told: &Local) -> Shape {
    let dir_of = |into: Into| match into {
        Into::Known(dir) => dir.map(Who::Doc),
        Into::Made(index) => Some(Who::Made(index)),
    };
    let mut all: BTreeMap<Who, (Option<Who>, String, Kind)> = base
        .rows()
        .map(|(doc, row)| (Who::Doc(*doc), (row.parent.map(Who::Doc), row.name.clone(), row.kind)))
        .collect();
    for gone in &told.gone {
        all.remove(&Who::Doc(*gone));
    }
    for moved in &told.moved {
        let kind = kind_of(moved.found.kind).expect("a kind that is synced");
        all.insert(Who::Doc(moved.doc), (dir_of(moved.into), moved.name.clone(), kind));
    }
    for (index, made) in told.made.iter().enumerate() {
        let kind = kind_of(made.found.kind).expect("a kind that is synced");
        all.insert(Who::Made(index), (dir_of(made.into), made.name.clone(), kind));
    }
    let mut shape = Shape::new();
    for who in all.keys() {
        let mut path = Vec::new();
        let mut next = Some(*who);
        while let Some(who) = next {
            let (parent, name, _) = all.get(&who).expect("what is there is in a directory that is there");
            path.push(name.clone());
            next = *parent;
            assert!(path.len() <= all.len(), "a directory is in itself");
        }
        path.reverse();
        assert_eq!(shape.insert(path, all[who].2), None, "two at one place");
    }
    shape
}
