//! Joining a folder: the invite, the first look at what is on both sides, and the folder.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use sync_core::{
    engine::Command,
    folder::{
        Fs,
        disk::Disk,
        unite::{Union, UniteError, unite},
    },
    history::{Library, Shelf, past::Past},
    ids::{DeviceId, InstallEpoch, SpaceId},
    limits,
    probe::reach,
    tree::{RelPath, STATE_DIR},
};

use tracing::warn;

use super::{Node, WAIT_TICK, existing_dir, past::blocking};
use crate::{actor::lock, error::NodeError, folder::check_untaken, invite::Invite, join};

/// How long a joiner looks for what its host has, before it joins without having told what meets.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// A folder that was joined.
#[derive(Debug, Clone)]
pub struct Joined {
    /// What people call it here.
    pub folder: String,
    /// Its space.
    pub space: SpaceId,
    /// Where it is.
    pub path: PathBuf,
    /// What people call the device that took us in.
    pub host: String,
    /// What the directory and the space have, where the directory had something and the host could be asked in time.
    pub meeting: Option<Meeting>,
}

/// What joining does to what is on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meeting {
    /// Goes to the others.
    pub only_here: Paths,
    /// Comes here.
    pub only_there: Paths,
    /// Stays as it is.
    pub same: Paths,
    /// Both versions stay, one of them under another name.
    pub different: Paths,
    /// Was not compared: it is more than is read for a look, or cannot be read.
    pub uncompared: Paths,
}

/// Files and links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    /// How many.
    pub count: u64,
    /// The first of them, sorted.
    pub first: Vec<String>,
}

impl Paths {
    fn of(paths: &[RelPath]) -> Self {
        let first = paths.iter().take(limits::MEETING_PATHS_MAX).map(ToString::to_string).collect();
        Self { count: paths.len() as u64, first }
    }
}

impl Meeting {
    fn of(union: &Union) -> Self {
        Self {
            only_here: Paths::of(&union.only_here),
            only_there: Paths::of(&union.only_there),
            same: Paths::of(&union.same),
            different: Paths::of(&union.different),
            uncompared: Paths::of(&union.uncompared),
        }
    }
}

/// How many look at each space that has no folder here, or not yet.
pub(super) type Visits = Mutex<BTreeMap<SpaceId, usize>>;

/// One of those. It also ends when whoever asked for it is gone; the space is then left at the next start.
struct Visit<'a> {
    visits: &'a Visits,
    space: SpaceId,
}

impl<'a> Visit<'a> {
    fn new(visits: &'a Visits, space: SpaceId) -> Self {
        *lock(visits).entry(space).or_default() += 1;
        Self { visits, space }
    }

    /// Ends it. Says whether it was the last of its space.
    fn end(self) -> bool {
        let visits = self.visits;
        let space = self.space;
        drop(self);
        !lock(visits).contains_key(&space)
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut visits = lock(self.visits);
        if let Some(count) = visits.get_mut(&self.space) {
            *count -= 1;
            if *count == 0 {
                visits.remove(&self.space);
            }
        }
    }
}

impl Node {
    /// Joins the folder of an invite and keeps it in this directory, which is made where it is not there. Both sides are
    /// united: nothing is deleted, and where they differ both versions stay.
    ///
    /// # Errors
    /// When the invite is refused, its host cannot be reached, or the directory cannot be used. Nothing changed then.
    pub async fn join(&self, invite: &Invite, dir: &Path, name: Option<String>) -> Result<Joined, NodeError> {
        self.check_invite(invite)?;
        let made = !dir.exists();
        std::fs::create_dir_all(dir)
            .map_err(|error| NodeError::Directory { path: dir.to_owned(), reason: error.to_string() })?;
        let path = existing_dir(dir)?;
        let joined = match self.check_place(invite, &path) {
            Ok(()) => self.visit(invite.space(), self.join_at(invite, &path, name)).await,
            Err(error) => Err(error),
        };
        if joined.is_err() && made {
            // Only if it is still empty: it was not there before.
            let _kept_if_used = std::fs::remove_dir(&path);
        }
        joined
    }

    /// Tells what [`join`](Self::join) would do, and writes nothing into the directory. The device becomes a member for
    /// that, and what the space has is fetched but for large files; the same invite lets it join afterwards.
    ///
    /// # Errors
    /// As `join`, and when the host does not tell in time what it has.
    pub async fn try_join(&self, invite: &Invite, dir: &Path, name: Option<String>) -> Result<Joined, NodeError> {
        self.check_invite(invite)?;
        let path = if dir.exists() { existing_dir(dir)? } else { dir.to_owned() };
        self.check_place(invite, &path)?;
        self.visit(invite.space(), self.try_join_at(invite, path, name)).await
    }

    async fn try_join_at(&self, invite: &Invite, path: PathBuf, name: Option<String>) -> Result<Joined, NodeError> {
        let (welcome, host) = self.enter(invite).await?;
        let space = invite.space();
        if !self.catch_up(space).await? {
            let source = "it did not tell in time what it has".into();
            return Err(NodeError::Unreachable { peer: host.short(), source });
        }
        let meeting = Some(self.meeting(space, &path, limits::MEETING_BYTES_TRIED_MAX).await?);
        let folder = self.free_name(name.as_deref().or(Some(&welcome.space_name)), &path)?;
        Ok(Joined { folder, space, path, host: welcome.host_name, meeting })
    }

    /// Does something in a space that has no folder here, or not yet. When the last that does so is done and there is still
    /// no folder, the space is left: there is nothing to keep up then.
    async fn visit<T>(&self, space: SpaceId, work: impl Future<Output = Result<T, NodeError>>) -> Result<T, NodeError> {
        let visit = Visit::new(&self.0.visits, space);
        let done = work.await;
        let _one_at_a_time = self.0.joining.lock().await;
        let is_last = visit.end();
        if is_last && self.running_in(&space).is_none() && self.space_row(&space).is_ok() {
            let left = self.0.engine.command(Command::LeaveSpace { space }).await;
            // What went wrong before comes first.
            return done.and_then(|done| left.map(|_| done));
        }
        done
    }

    fn check_invite(&self, invite: &Invite) -> Result<(), NodeError> {
        if invite.host().id.as_bytes() == &self.0.own.0 {
            return Err(NodeError::OwnInvite);
        }
        match self.running_in(&invite.space()) {
            Some(held) => Err(NodeError::AlreadyJoined(held)),
            None => Ok(()),
        }
    }

    fn check_place(&self, invite: &Invite, path: &Path) -> Result<(), NodeError> {
        self.check_overlap(path)?;
        check_untaken(path, Some(invite.space()))
    }

    async fn join_at(&self, invite: &Invite, path: &Path, name: Option<String>) -> Result<Joined, NodeError> {
        let (welcome, _) = self.enter(invite).await?;
        let space = invite.space();
        let meeting = if is_bare(path) {
            None
        } else if self.catch_up(space).await? {
            let meeting = self.meeting(space, path, limits::MEETING_BYTES_MAX).await;
            // The folder meets the same and says so for as long as it lasts.
            meeting.inspect_err(|error| warn!(%error, "what meets in a folder cannot be told")).ok()
        } else {
            warn!(space = space.short(), "a folder is joined before its host has told what it has");
            None
        };
        // To look takes a while, in which somebody may have joined with the same invite, or taken the directory.
        let _one_at_a_time = self.0.joining.lock().await;
        self.check_invite(invite)?;
        self.check_place(invite, path)?;
        let name = self.free_name(name.as_deref().or(Some(&welcome.space_name)), path)?;
        self.add_folder(space, path.to_owned(), name.clone(), false).await?;
        Ok(Joined { folder: name, space, path: path.to_owned(), host: welcome.host_name, meeting })
    }

    /// Becomes a member, and takes part in the space.
    async fn enter(&self, invite: &Invite) -> Result<(join::Welcome, DeviceId), NodeError> {
        self.0.lookup.add_endpoint_info(invite.host().clone());
        let welcome = join::join(&self.0.endpoint, self.0.own, &self.0.name, invite).await?;
        let host = DeviceId(*invite.host().id.as_bytes());
        let epoch = InstallEpoch(rand::random());
        self.0.engine.command(Command::AddSpace { space: invite.space(), host, epoch }).await?;
        reach("join.space-added");
        Ok((welcome, host))
    }

    /// Waits until a space is here that was just entered. False when that takes too long.
    async fn catch_up(&self, space: SpaceId) -> Result<bool, NodeError> {
        let mut status = self.0.engine.status();
        let until_ms = self.0.clock.mono_ms() + LOOK_TIMEOUT.as_millis() as u64;
        loop {
            let is_here = status.borrow_and_update().spaces.iter().any(|found| {
                let linked = found.peers.iter().any(|peer| peer.linked);
                found.space == space && found.name.is_some() && !found.behind && linked
            });
            if is_here || self.0.clock.mono_ms() >= until_ms {
                return Ok(is_here);
            }
            if matches!(tokio::time::timeout(WAIT_TICK, status.changed()).await, Ok(Err(_))) {
                return Err(NodeError::Stopped);
            }
        }
    }

    async fn meeting(&self, space: SpaceId, path: &Path, bytes_max: u64) -> Result<Meeting, NodeError> {
        let (handle, _) = self.space_row(&space)?;
        let snapshot = self.0.engine.store.read()?;
        let (path, wall_ns) = (path.to_owned(), self.0.clock.wall_ns());
        blocking(move || {
            let unusable = |reason: String| NodeError::Directory { path: path.clone(), reason };
            let mut library = Library::new(snapshot, handle, Shelf::default());
            let tree = Past::now(&mut library)?;
            // One that is not there yet has nothing.
            let disk = match Disk::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                disk => Some(disk.map_err(|error| unusable(error.to_string()))?),
            };
            let disk = disk.as_ref().map(|disk| disk as &dyn Fs);
            match unite(disk, &mut library, &tree, bytes_max, wall_ns) {
                Ok(union) => Ok(Meeting::of(&union)),
                Err(UniteError::History(error)) => Err(error.into()),
                Err(error) => Err(unusable(error.to_string())),
            }
        })
        .await
    }
}

/// Whether a directory has nothing that a folder would look at.
fn is_bare(path: &Path) -> bool {
    let listed = std::fs::read_dir(path);
    listed.is_ok_and(|listed| listed.flatten().all(|entry| entry.file_name() == STATE_DIR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meeting_names_so_many_paths_and_counts_the_rest() {
        for (count, named) in [(0, 0), (100, 100), (101, 100)] {
            let paths: Vec<RelPath> = (0..count).map(|n| RelPath::root().join(&format!("file {n:03}"))).collect();
            let told = Paths::of(&paths);
            assert_eq!((told.count, told.first.len()), (count, named));
            assert!(told.first.iter().zip(&paths).all(|(told, path)| *told == path.to_string()));
        }
        assert_eq!(limits::MEETING_PATHS_MAX, 100);
    }
}
