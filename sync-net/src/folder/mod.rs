//! A folder of a node: the thread that follows a disk and a space, and what others share with it.

pub(crate) mod requests;
mod taken;
pub(crate) mod trash;
mod watcher;
mod watching;
mod worker;

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sync_core::{
    doc::entry::ContentRef,
    folder::{
        Base, Fs as _,
        disk::{Disk, temp_dir},
        rounds::Held,
    },
    ids::{ContentHash, DocId, SpaceId},
    limits,
    store::row::FolderRow,
    tree::RelPath,
};
use tokio_util::sync::CancellationToken;

use crate::{
    actor::lock,
    status::{ConflictStatus, PolledStatus, ProblemStatus},
};

use requests::Request;
pub(crate) use taken::{check_untaken, has_marker_of};
use trash::Kept;
pub(crate) use worker::{Worker, WorkerParts};

/// Hints that wait; with more of them the whole folder is looked at.
const HINTS_WAITING_MAX: usize = 4096;

/// Prefix of the files that show how far the watcher is.
const COOKIE: &str = "cookie-";

/// Something that may have changed on disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hint {
    pub(crate) path: RelPath,
    /// Whether its writer has closed it, so that nothing more is to be awaited.
    pub(crate) closed: bool,
}

/// What becomes of changes that were too many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldDecision {
    /// They happen.
    Approve,
    /// They are undone, where they were made.
    Reject,
}

#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) docs: BTreeSet<DocId>,
    pub(crate) hints: BTreeSet<Hint>,
    pub(crate) fetched: BTreeSet<ContentHash>,
    /// Where directories may have come, which are not watched yet.
    pub(crate) directories: BTreeSet<RelPath>,
    /// Look at everything.
    pub(crate) rescan: bool,
    /// Hints were lost.
    pub(crate) lost: bool,
    /// The space was built again.
    pub(crate) rebuilt: bool,
    /// Somebody's word about what is held.
    pub(crate) decision: Option<HeldDecision>,
    /// What people ask for.
    pub(crate) requests: Vec<Request>,
    pub(crate) stop: bool,
    woken: bool,
    /// The folder's thread took mail and has not yet reported what came of it.
    working: bool,
}

/// Where others leave word for a folder's thread.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    wake: Condvar,
    wanted: Mutex<BTreeSet<ContentHash>>,
    cookies: AtomicU64,
    cookie_seen: AtomicU64,
    stopped: CancellationToken,
}

impl Mailbox {
    fn post(&self, write: impl FnOnce(&mut Mail)) {
        let mut mail = lock(&self.mail);
        write(&mut mail);
        mail.woken = true;
        self.wake.notify_one();
    }

    /// Documents changed by commits of others.
    pub(crate) fn changed(&self, docs: Vec<DocId>) {
        self.post(|mail| mail.docs.extend(docs));
    }

    /// Something may have changed on disk.
    pub(crate) fn hint(&self, hint: Hint) {
        self.post(|mail| {
            if mail.hints.len() >= HINTS_WAITING_MAX {
                mail.hints.clear();
                mail.rescan = true;
            } else if !mail.rescan {
                mail.hints.insert(hint);
            }
        });
    }

    /// A directory may have come, which is not watched yet.
    pub(crate) fn directory(&self, path: RelPath) {
        self.post(|mail| {
            if mail.directories.len() >= HINTS_WAITING_MAX {
                mail.directories.clear();
                (mail.rescan, mail.lost) = (true, true);
            } else if !mail.lost {
                mail.directories.insert(path);
            }
        });
    }

    /// Somebody wants everything to be looked at that nobody told of.
    pub(crate) fn scan(&self) {
        self.post(|mail| mail.rescan = true);
    }

    /// Cookies went with a watcher that ended: the scan that follows sees what they stood for.
    pub(crate) fn give_up_cookies(&self) {
        self.scan();
        self.see_cookie(self.cookies.load(Ordering::Relaxed));
    }

    /// Hints were lost, and cookies with them: the scan that follows sees what they stood for.
    pub(crate) fn rescan(&self) {
        self.post(|mail| (mail.rescan, mail.lost) = (true, true));
        self.see_cookie(self.cookies.load(Ordering::Relaxed));
    }

    /// A content is here now.
    pub(crate) fn fetched(&self, content: ContentHash) {
        self.post(|mail| mail.fetched.extend([content]));
    }

    /// The space was built again: what is known of it is read anew.
    pub(crate) fn rebuilt(&self) {
        self.post(|mail| mail.rebuilt = true);
    }

    /// Somebody has looked at what is held.
    pub(crate) fn decide(&self, decision: HeldDecision) {
        self.post(|mail| mail.decision = Some(decision));
    }

    /// Something that the folder depends on may be otherwise now.
    pub(crate) fn wake(&self) {
        self.post(|_| {});
    }

    /// Somebody asks for something. Says whether there was room.
    pub(crate) fn request(&self, request: Request) -> bool {
        let mut room = false;
        self.post(|mail| {
            room = mail.requests.len() < limits::FOLDER_REQUESTS_MAX;
            if room {
                mail.requests.push(request);
            }
        });
        room
    }

    /// Ends the folder's thread.
    pub(crate) fn stop(&self) {
        self.stopped.cancel();
        self.post(|mail| mail.stop = true);
    }

    /// Rings when the folder ends.
    pub(crate) fn stopped(&self) -> CancellationToken {
        self.stopped.clone()
    }

    /// The number of a new cookie: a file that is made to see when the watcher has told everything that came before it.
    pub(crate) fn new_cookie(&self) -> u64 {
        self.cookies.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The watcher saw a cookie.
    pub(crate) fn see_cookie(&self, cookie: u64) {
        self.cookie_seen.fetch_max(cookie, Ordering::Release);
    }

    /// Whether the watcher has told everything that came before a cookie.
    pub(crate) fn has_seen(&self, cookie: u64) -> bool {
        self.cookie_seen.load(Ordering::Acquire) >= cookie
    }

    /// The folder's thread has reported what came of the mail that it took.
    pub(crate) fn reported(&self) {
        lock(&self.mail).working = false;
    }

    /// Whether nothing is waiting and everything that was taken is reported.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty() && !lock(&self.mail).working
    }

    /// Whether nothing is waiting.
    pub(crate) fn is_empty(&self) -> bool {
        let mail = lock(&self.mail);
        let nothing = mail.docs.is_empty() && mail.hints.is_empty() && mail.fetched.is_empty();
        nothing && mail.requests.is_empty() && mail.decision.is_none() && !mail.rescan && !mail.rebuilt
    }

    /// Takes what is there, after waiting for it at most so long.
    pub(crate) fn take(&self, wait: Duration) -> Mail {
        let mail = lock(&self.mail);
        let (mut mail, _) =
            self.wake.wait_timeout_while(mail, wait, |mail| !mail.woken).unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *mail);
        mail.working = true;
        taken
    }

    pub(crate) fn want(&self, contents: BTreeSet<ContentHash>) {
        *lock(&self.wanted) = contents;
    }

    /// Whether the folder still lacks a content.
    pub(crate) fn wants(&self, content: &ContentHash) -> bool {
        lock(&self.wanted).contains(content)
    }
}

/// What the folder's thread tells others about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct FolderReport {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Files that the tree shows, on disk or not yet.
    pub(crate) files_wanted: u64,
    pub(crate) conflicts: Vec<ConflictStatus>,
    pub(crate) problems: Vec<ProblemStatus>,
    /// Something waits to be read or written.
    pub(crate) busy: bool,
    /// Contents that nobody here has given us yet.
    pub(crate) lacking: usize,
    /// Why the folder stands still, if it does.
    pub(crate) halted: Option<String>,
    /// How much waits for somebody's word.
    pub(crate) held: Held,
    /// Whether the first catch-up is over.
    pub(crate) caught_up: bool,
    /// Whether a cookie would be seen.
    pub(crate) sees_cookies: bool,
    /// Whether all changes on disk show at once.
    pub(crate) told_all: bool,
    /// Why not, where people can do something about it or should know.
    pub(crate) polled: Option<PolledStatus>,
}

/// What the folder's thread shares with those who serve and fetch contents.
#[derive(Debug)]
pub(crate) struct FolderShared {
    pub(crate) disk: Arc<Disk>,
    pub(crate) base: Arc<Mutex<Base>>,
    pub(crate) report: Mutex<FolderReport>,
    /// What was displaced and rests in no history.
    pub(crate) kept: Arc<Kept>,
}

impl FolderShared {
    /// Opens some file that held a content when it was last seen, or one that is kept. Whoever reads it checks each chunk.
    pub(crate) fn open_content(&self, content: &ContentHash) -> io::Result<Option<File>> {
        let paths: Vec<RelPath> = {
            let base = lock(&self.base);
            base.with_hash(content).iter().filter_map(|doc| base.path_of(doc)).collect()
        };
        for path in paths {
            match self.disk.open_file(&path) {
                Ok(file) => return Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.kept.open_content(content)
    }

    /// Some file of this machine that held a content when it was last seen.
    pub(crate) fn file_of(&self, content: &ContentHash) -> Option<PathBuf> {
        let in_folder = {
            let base = lock(&self.base);
            base.with_hash(content).iter().find_map(|doc| base.path_of(doc))
        };
        let on_disk =
            |path: RelPath| path.components().iter().fold(self.disk.path().to_owned(), |at, name| at.join(name));
        in_folder.map(on_disk).or_else(|| self.kept.find(content).map(|kept| kept.file))
    }

    /// Whether some file of this machine still holds a content, byte for byte.
    pub(crate) async fn holds(self: &Arc<Self>, content: &ContentRef) -> bool {
        let (shared, hash) = (Arc::clone(self), content.hash);
        let checked = tokio::task::spawn_blocking(move || {
            let mut hasher = blake3::Hasher::new();
            let file = shared.open_content(&hash).ok().flatten()?;
            hasher.update_reader(file).ok()?;
            Some(hasher.finalize().as_bytes() == &hash.0)
        });
        checked.await.ok().flatten().unwrap_or(false)
    }

    /// Makes a cookie and removes it again.
    pub(crate) fn drop_cookie(&self, cookie: u64) -> io::Result<()> {
        let path = temp_dir().join(&format!("{COOKIE}{cookie}"));
        drop(self.disk.open_or_create(&path)?);
        self.disk.remove_file(&path).map_err(|error| error.source)
    }

    /// Opens a temporary file to read and write, and makes it where it is not there.
    pub(crate) fn open_temp(&self, name: &str) -> io::Result<File> {
        self.disk.open_or_create(&temp_dir().join(name))
    }
}

/// A folder that runs.
#[derive(Debug)]
pub(crate) struct FolderHandle {
    pub(crate) row: FolderRow,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) shared: Arc<FolderShared>,
    pub(crate) thread: Option<std::thread::JoinHandle<()>>,
}

impl FolderHandle {
    pub(crate) fn path(&self) -> &Path {
        Path::new(&self.row.path)
    }

    pub(crate) const fn space(&self) -> SpaceId {
        self.row.space
    }

    /// Ends the thread after what it is in the middle of.
    pub(crate) fn stop(&mut self) {
        self.mailbox.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a folder's thread had panicked");
        }
        // Whoever still serves from the disk does not keep others from it.
        self.shared.disk.release();
    }
}

/// Where a folder's displaced files are kept.
pub(crate) fn trash_dir(home: &Path, folder: u32) -> PathBuf {
    home.join("trash").join(folder.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_hints_than_may_wait_are_one_scan() {
        let mailbox = Mailbox::default();
        let hint = |number: usize| Hint { path: RelPath::root().join(&number.to_string()), closed: false };
        (0..HINTS_WAITING_MAX).for_each(|number| mailbox.hint(hint(number)));
        let mail = mailbox.take(Duration::ZERO);
        assert_eq!((mail.hints.len(), mail.rescan), (HINTS_WAITING_MAX, false), "at the bound");
        (0..=HINTS_WAITING_MAX).for_each(|number| mailbox.hint(hint(number)));
        let mail = mailbox.take(Duration::ZERO);
        assert_eq!((mail.hints.len(), mail.rescan), (0, true), "and one past it");
    }

    #[test]
    fn more_directories_than_may_wait_are_all_of_them() {
        let mailbox = Mailbox::default();
        let directory = |number: usize| mailbox.directory(RelPath::root().join(&number.to_string()));
        (0..HINTS_WAITING_MAX).for_each(directory);
        let mail = mailbox.take(Duration::ZERO);
        assert_eq!((mail.directories.len(), mail.lost), (HINTS_WAITING_MAX, false), "at the bound");
        (0..=HINTS_WAITING_MAX).for_each(directory);
        let mail = mailbox.take(Duration::ZERO);
        assert_eq!((mail.directories.len(), mail.rescan, mail.lost), (0, true, true), "and one past it");
        mailbox.scan();
        let mail = mailbox.take(Duration::ZERO);
        assert_eq!((mail.rescan, mail.lost), (true, false), "who only wants to know loses nothing");
    }

    #[test]
    fn requests_wait_up_to_a_bound() {
        let mailbox = Mailbox::default();
        let ask = || {
            let (answer, _) = tokio::sync::oneshot::channel();
            mailbox.request(Request { ask: requests::Ask::Why(RelPath::root()), answer })
        };
        assert!((0..limits::FOLDER_REQUESTS_MAX).all(|_| ask()), "at the bound");
        assert!(!ask(), "and one past it");
        assert_eq!(mailbox.take(Duration::ZERO).requests.len(), limits::FOLDER_REQUESTS_MAX);
        assert!(ask());
    }

    #[test]
    fn what_is_said_again_takes_no_more_room() {
        let mailbox = Mailbox::default();
        for _ in 0..10 {
            mailbox.changed(vec![DocId([1; 32]), DocId([2; 32])]);
            mailbox.fetched(ContentHash([3; 32]));
        }
        let mail = mailbox.take(Duration::ZERO);
        assert_eq!((mail.docs.len(), mail.fetched.len()), (2, 1));
    }
}
