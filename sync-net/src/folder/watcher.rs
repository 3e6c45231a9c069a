//! File system events as hints. An event only says where to look; a full scan finds everything that it missed.

use std::{path::Path, sync::Arc};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};
use sync_core::tree::{RelPath, STATE_DIR, is_reserved};
use tracing::warn;

use super::{COOKIE, Hint, Mailbox};

/// Watches a directory and everything in it until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn start(root: &Path, mailbox: Arc<Mailbox>) -> notify::Result<Self> {
        let base = root.to_owned();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) => forward(&base, &mailbox, &event),
            Err(error) => {
                warn!(%error, "file system events were lost");
                mailbox.rescan();
            }
        })?;
        watcher.watch(root, RecursiveMode::Recursive)?;
        Ok(Self { _watcher: watcher })
    }
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
    for path in &event.paths {
        if let Some(path) = relative(root, path) {
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
