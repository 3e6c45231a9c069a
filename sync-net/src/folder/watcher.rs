//! File system events as hints. An event only says where to look; a scan finds everything that it missed.
//!
//! Each directory is watched for itself, so that one that cannot be leaves the others as they are: it is listed here, and
//! `watching` looks into it by itself. What comes by mail of new directories has to be handed to [`Watch::follow`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs, io,
    os::unix::fs::MetadataExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use notify::{
    ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};
use sync_core::{
    folder::disk::{is_remote, temp_dir},
    limits,
    probe::reach,
    tree::{RelPath, STATE_DIR, is_reserved},
};
use tracing::warn;

use super::{COOKIE, Hint, Mailbox};

/// Why a directory is looked into now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// This user watches as many as the system allows.
    Limit,
    /// Others change what is in it without this system.
    Remote,
    /// It cannot be read, or the system refuses for another reason.
    Unreadable,
}

/// Directories of which not everything is told; each stands for all that is below it.
#[derive(Debug, Default)]
pub(super) struct Missed {
    tops: BTreeMap<RelPath, Why>,
    /// There are more than are listed.
    more: bool,
}

impl Missed {
    fn add(&mut self, dir: RelPath, why: Why) {
        if self.tops.iter().any(|(top, held)| *held == why && *top != dir && top.contains(&dir)) {
            return;
        }
        if self.tops.len() < limits::UNWATCHED_LISTED_MAX || self.tops.contains_key(&dir) {
            self.tops.insert(dir, why);
        } else {
            self.more = true;
        }
    }

    /// Forgets what is at a path and below.
    fn forget(&mut self, path: &RelPath) {
        self.tops.retain(|dir, _| !path.contains(dir));
    }

    /// Whether everything is told.
    pub(super) fn is_empty(&self) -> bool {
        self.tops.is_empty() && !self.more
    }

    /// The directories to look into; `None` when that is the whole folder.
    pub(super) fn listed(&self) -> Option<Vec<RelPath>> {
        let is_all = self.more || self.tops.keys().any(RelPath::is_root);
        (!is_all).then(|| self.tops.keys().cloned().collect())
    }

    /// One of those with this reason, and how many those are at least.
    pub(super) fn first(&self, why: Why) -> Option<(&RelPath, usize)> {
        let mut of_this = self.tops.iter().filter(|(_, held)| **held == why).map(|(dir, _)| dir);
        let first = of_this.next()?;
        Some((first, 1 + of_this.count()))
    }
}

/// Watches a directory and everything in it until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    root: PathBuf,
    watcher: Option<RecommendedWatcher>,
    ended: Arc<AtomicBool>,
    missed: Missed,
    /// Whether files that show how far the watcher is are seen.
    sees_cookies: bool,
    /// File systems that were met, by device number, and whether others change them.
    devices: BTreeMap<u64, bool>,
}

/// Is dropped with the watcher's thread, however that ends.
struct Ending {
    ended: Arc<AtomicBool>,
    mailbox: Arc<Mailbox>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.mailbox.wake();
    }
}

impl Watch {
    /// Begins to watch. What was changed before is not told.
    pub(super) fn start(root: &Path, mailbox: Arc<Mailbox>) -> notify::Result<Self> {
        let base = root.to_owned();
        let ended = Arc::new(AtomicBool::new(false));
        let ending = Ending { ended: Arc::clone(&ended), mailbox };
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            reach("watch.event");
            match event {
                Ok(event) => forward(&base, &ending.mailbox, &event),
                Err(error) => {
                    warn!(%error, "file system events were lost");
                    ending.mailbox.rescan();
                }
            }
        })?;
        let mut watch = Self {
            root: root.to_owned(),
            watcher: Some(watcher),
            ended,
            missed: Missed::default(),
            sees_cookies: false,
            devices: BTreeMap::new(),
        };
        // Before anything that may use the limit up.
        watch.sees_cookies = watch.watch_one(&watch.on_disk(&temp_dir())).is_ok();
        watch.follow_all();
        Ok(watch)
    }

    /// Whether the thread that listens has ended: nothing is told any more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether a file that is made to see how far the watcher is will be told.
    pub(super) const fn sees_cookies(&self) -> bool {
        self.sees_cookies
    }

    /// What is not told.
    pub(super) const fn missed(&self) -> &Missed {
        &self.missed
    }

    /// Watches what may be new at these paths, with all that is below.
    pub(super) fn follow(&mut self, paths: BTreeSet<RelPath>) {
        let mut done: Option<RelPath> = None;
        for path in paths {
            // In their order what is below a path comes right after it.
            if done.as_ref().is_none_or(|done| !done.contains(&path)) {
                self.missed.forget(&path);
                self.add(path.clone());
                done = Some(path);
            }
        }
    }

    /// Watches everything, as when what came was lost.
    pub(super) fn follow_all(&mut self) {
        self.missed = Missed::default();
        self.add(RelPath::root());
    }

    /// Tries again what could not be watched.
    pub(super) fn retry(&mut self) {
        let Missed { tops, more } = std::mem::take(&mut self.missed);
        for (dir, why) in tops {
            let is_full = self.missed.first(Why::Limit).is_some();
            if why == Why::Remote || (why == Why::Limit && is_full) {
                // It is watched and looked into all the same; or there was no room for the one before.
                self.missed.add(dir, why);
            } else {
                self.add(dir);
            }
        }
        if !more {
            return;
        }
        if self.missed.first(Why::Limit).is_some() {
            self.missed.more = true;
        } else {
            self.follow_all();
        }
    }

    fn on_disk(&self, dir: &RelPath) -> PathBuf {
        dir.components().iter().fold(self.root.clone(), |path, name| path.join(name))
    }

    /// Watches a directory and those below it, from the top, as far as that goes.
    fn add(&mut self, top: RelPath) {
        let mut open = VecDeque::from([(top, None)]);
        while let Some((dir, device_above)) = open.pop_front() {
            let path = self.on_disk(&dir);
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            if !found.is_dir() {
                continue;
            }
            let is_mount = device_above != Some(found.dev());
            if is_mount && *self.devices.entry(found.dev()).or_insert_with(|| is_remote(&path)) {
                self.missed.add(dir.clone(), Why::Remote);
            }
            // Watched before it is listed: what is made in it from now on is told.
            let listed = self.watch_one(&path).map(|()| directories_in(&path));
            match listed {
                Ok(Ok(names)) => open.extend(names.into_iter().map(|name| (dir.join(&name), Some(found.dev())))),
                Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => self.missed.add(dir, Why::Unreadable),
                Ok(Err(_)) | Err(ErrorKind::PathNotFound) => {}
                Err(ErrorKind::MaxFilesWatch) => {
                    self.missed.add(dir, Why::Limit);
                    open.drain(..).for_each(|(dir, _)| self.missed.add(dir, Why::Limit));
                }
                Err(_) => self.missed.add(dir, Why::Unreadable),
            }
        }
    }

    /// The thread that listens answers; when it has ended meanwhile, the library panics.
    fn watch_one(&mut self, path: &Path) -> Result<(), ErrorKind> {
        let ended = || ErrorKind::Generic("the watcher has ended".into());
        let watcher = self.watcher.as_mut().filter(|_| !self.ended.load(Ordering::Acquire)).ok_or_else(ended)?;
        let asked = catch_unwind(AssertUnwindSafe(|| watcher.watch(path, RecursiveMode::NonRecursive)));
        asked.map_err(|_| ended())?.map_err(|error| error.kind)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The library panics where its thread has ended, and nothing would hear that it is dropped.
        match self.watcher.take() {
            Some(watcher) if self.has_ended() => std::mem::forget(watcher),
            watcher => drop(catch_unwind(AssertUnwindSafe(|| drop(watcher)))),
        }
    }
}

/// Names of the directories in one, but those that are never synced.
fn directories_in(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
            && !is_reserved(&name)
        {
            names.push(name);
        }
    }
    Ok(names)
}

fn forward(root: &Path, mailbox: &Mailbox, event: &Event) {
    if event.need_rescan() {
        mailbox.rescan();
        return;
    }
    for path in &event.paths {
        if let Some(cookie) = cookie(root, path) {
            mailbox.see_cookie(cookie);
            return;
        }
    }
    let closed = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        // A name that came or went is final; what is under it is looked at anyway.
        EventKind::Modify(ModifyKind::Name(RenameMode::From | RenameMode::To | RenameMode::Both | RenameMode::Any))
        | EventKind::Remove(_) => true,
        EventKind::Access(_) => return,
        _ => false,
    };
    let may_be_directory = matches!(
        event.kind,
        EventKind::Create(CreateKind::Folder | CreateKind::Any) | EventKind::Modify(ModifyKind::Name(RenameMode::To))
    );
    for path in &event.paths {
        if let Some(path) = relative(root, path) {
            if may_be_directory {
                mailbox.directory(path.clone());
            }
            mailbox.hint(Hint { path, closed });
        }
    }
}

/// The number of a cookie, if the path is one.
fn cookie(root: &Path, path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_prefix(COOKIE)?;
    let within = path.parent()?.strip_prefix(root).ok()?;
    (within == Path::new(STATE_DIR).join("tmp")).then(|| name.parse().ok())?
}

/// The path within the folder; `None` for the root itself, for our own state, and for names that are not text, which a
/// scan reports.
fn relative(root: &Path, path: &Path) -> Option<RelPath> {
    let rest = path.strip_prefix(root).ok()?;
    let components: Option<Vec<String>> =
        rest.iter().map(|component| component.to_str().map(ToOwned::to_owned)).collect();
    let components = components?;
    if components.is_empty() || components.iter().any(|component| is_reserved(component)) {
        return None;
    }
    Some(RelPath::from_components(components))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_are_not_watched_are_listed_up_to_a_bound() {
        let mut missed = Missed::default();
        assert!(missed.is_empty());
        let dir = |number: usize| RelPath::root().join("d").join(&number.to_string());
        (0..limits::UNWATCHED_LISTED_MAX).for_each(|number| missed.add(dir(number), Why::Limit));
        assert_eq!(missed.listed().map(|dirs| dirs.len()), Some(limits::UNWATCHED_LISTED_MAX), "at the bound");
        missed.add(dir(0), Why::Limit);
        assert!(missed.listed().is_some(), "one that is listed already");
        missed.add(dir(limits::UNWATCHED_LISTED_MAX), Why::Limit);
        assert_eq!(missed.listed(), None, "and one past it: the whole folder");
        assert_eq!(missed.first(Why::Limit).map(|(_, count)| count), Some(limits::UNWATCHED_LISTED_MAX));
        assert_eq!(missed.first(Why::Remote), None);
        missed.forget(&RelPath::root().join("d"));
        assert!(!missed.is_empty(), "what is not listed is not forgotten");
    }

    #[test]
    fn what_others_change_is_looked_into_though_it_is_watched() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::create_dir_all(dir.path().join("mount/below")).expect("makes");
        let mut watch = Watch::start(dir.path(), Arc::default()).expect("starts");
        assert!(watch.missed().is_empty());
        // As if it were one: no such file system is at hand.
        let device = fs::metadata(dir.path()).expect("is there").dev();
        watch.devices.insert(device, true);
        let mount = RelPath::root().join("mount");
        watch.follow(BTreeSet::from([mount.clone(), mount.join("below")]));
        for _ in 0..2 {
            assert_eq!(watch.missed().listed(), Some(vec![mount.clone()]), "its top stands for all of it");
            assert_eq!(watch.missed().first(Why::Remote), Some((&mount, 1)));
            watch.retry();
        }
        watch.follow(BTreeSet::from([mount.join("below")]));
        assert_eq!(watch.missed().first(Why::Remote), Some((&mount, 1)), "also of what is new in it");
        watch.follow_all();
        assert_eq!(watch.missed().listed(), None, "the whole folder is on it");
    }

    #[test]
    fn every_directory_is_watched_but_what_is_never_synced() {
        let dir = tempfile::tempdir().expect("temporary directory");
        for name in ["a/b/c", ".kith/tmp", ".git/objects"] {
            fs::create_dir_all(dir.path().join(name)).expect("makes");
        }
        let mailbox = Arc::new(Mailbox::default());
        let mut watch = Watch::start(dir.path(), Arc::clone(&mailbox)).expect("starts");
        assert!(watch.missed().is_empty() && watch.sees_cookies() && !watch.has_ended());
        let heard = |name: &str| {
            fs::write(dir.path().join(name), "x").expect("writes");
            let path = RelPath::parse(name).expect("a path of a test");
            (0..100).any(|_| mailbox.take(std::time::Duration::from_millis(100)).hints.iter().any(|h| h.path == path))
        };
        assert!(heard("f") && heard("a/b/c/f"));
        fs::write(dir.path().join(".git/objects/f"), "x").expect("writes");
        // A new one is named, and watched once it is followed.
        fs::create_dir_all(dir.path().join("new/below")).expect("makes");
        let new = RelPath::root().join("new");
        let mut named = BTreeSet::new();
        for _ in 0..100 {
            named.extend(mailbox.take(std::time::Duration::from_millis(100)).directories);
            if named.contains(&new) {
                break;
            }
        }
        watch.follow(named);
        assert!(heard("new/below/f"));
        assert!(
            mailbox.take(std::time::Duration::ZERO).hints.iter().all(|hint| !hint.path.to_string().contains("git"))
        );
    }
}
