//! Contents of files between peers: serves chunks from the folder's own files, fetches what a folder lacks.
//!
//! A request is one bidirectional stream: a frame that asks, a frame that answers, then the bytes in frames. Every chunk
//! is verified where it is read and again where it arrives, and the whole file before it counts as fetched. What is
//! fetched lies in the folder's directory for temporary files under its hash, so a cut loses at most one chunk. How long
//! a silent peer is waited for is in `patience`.

mod patience;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::SinkExt as _;
use iroh::{
    Endpoint, EndpointId,
    endpoint::Connection,
    protocol::{AcceptError, ProtocolHandler},
};
use serde::{Deserialize, Serialize};
use sync_core::{
    content::{ChunkEntry, decode_list, list_hash},
    doc::entry::ContentRef,
    folder::ingest::DOWNLOAD,
    ids::{ChunkHash, ContentHash, DeviceId, SpaceId, SpaceTag},
    limits,
    probe::reach,
    wire::CONTENT_ALPN,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use self::patience::{Others, unless_silent};
use crate::{
    actor::{EngineHandle, StoreCell, lock},
    folder::{FolderShared, Mailbox},
    frames::{self, FrameReader, FrameWriter},
    guests::Guests,
    session::{Sessions, device_of},
    sources::{FETCHES_MAX, Slot, Sources},
};

/// Bytes of a list or chunk in one frame.
const PIECE_BYTES: usize = 256 * 1024;
/// Bytes asked for at once, so that a slow peer can be left for another.
const REQUEST_BYTES: u64 = 16 << 20;
/// How long a peer may be silent within an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// A chunk or list that comes more slowly than this over its whole length is asked for elsewhere.
const SLOWEST_BYTES_PER_SECOND: u64 = 16 * 1024;
/// What a chunk takes in an encoded list, at most.
const LISTED_CHUNK_BYTES: u64 = 37;
/// Pause before all peers are asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Asks for the chunk list of a content, or for some of its chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ContentRequest {
    /// The space, as the sender tags it.
    space: SpaceTag,
    content: ContentHash,
    want: Want,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Want {
    List,
    Chunks { from: u32, count: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum ContentResponse {
    /// The encoded list follows, of this length.
    List { len: u32 },
    /// The chunks follow, one after the other.
    Chunks,
    /// The content is not here, or not any more.
    NotHere,
}

/// Folders that contents are served from, by space.
#[derive(Debug, Default)]
pub(crate) struct Folders(Mutex<BTreeMap<SpaceId, Arc<FolderShared>>>);

impl Folders {
    pub(crate) fn add(&self, space: SpaceId, folder: Arc<FolderShared>) {
        lock(&self.0).insert(space, folder);
    }

    pub(crate) fn remove(&self, space: &SpaceId) {
        lock(&self.0).remove(space);
    }

    fn tagged(&self, peer: DeviceId, tag: SpaceTag) -> Option<(SpaceId, Arc<FolderShared>)> {
        let folders = lock(&self.0);
        folders.iter().find(|(space, _)| space.tag(peer) == tag).map(|(space, folder)| (*space, Arc::clone(folder)))
    }
}

/// Serves contents to members.
#[derive(Debug, Clone)]
pub(crate) struct ContentHandler {
    pub(crate) engine: EngineHandle,
    pub(crate) folders: Arc<Folders>,
    pub(crate) guests: Arc<Guests>,
    pub(crate) tasks: TaskTracker,
}

impl ProtocolHandler for ContentHandler {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        let peer = device_of(&connection);
        let _guest = self.guests.admit(&connection);
        while let Ok((send, receive)) = connection.accept_bi().await {
            let handler = self.clone();
            self.tasks.spawn(async move {
                let (mut reader, mut writer) = (frames::request_reader(receive), frames::writer(send));
                if let Err(error) = handler.serve(peer, &mut reader, &mut writer).await {
                    debug!(peer = peer.short(), %error, "a content was not served");
                }
            });
        }
        Ok(())
    }
}

impl ContentHandler {
    async fn serve(&self, peer: DeviceId, reader: &mut FrameReader, writer: &mut FrameWriter) -> io::Result<()> {
        let request = tokio::time::timeout(ANSWER_TIMEOUT, frames::read(reader)).await?;
        let request: ContentRequest = request.ok_or(io::ErrorKind::InvalidData)?;
        let found = self.folders.tagged(peer, request.space).filter(|(space, _)| self.is_member(space, &peer));
        let list = match &found {
            Some(_) => stored_list(&self.engine.store, &request.content)?,
            None => None,
        };
        let (Some((_, folder)), Some(list)) = (found, list) else {
            return frames::write(writer, &ContentResponse::NotHere).await;
        };
        match request.want {
            Want::List => {
                frames::write(writer, &ContentResponse::List { len: list.len() as u32 }).await?;
                write_pieces(writer, list.into()).await?;
            }
            Want::Chunks { from, count } => {
                self.serve_chunks(&folder, request.content, &list, from as usize, count as usize, writer).await?;
            }
        }
        writer.get_mut().finish().map_err(io::Error::other)
    }

    fn is_member(&self, space: &SpaceId, peer: &DeviceId) -> bool {
        let status = self.engine.status();
        let status = status.borrow();
        let found = status.spaces.iter().find(|held| held.space == *space);
        found.is_some_and(|held| held.peers.iter().any(|member| member.device == *peer))
    }

    async fn serve_chunks(
        &self,
        folder: &Arc<FolderShared>,
        content: ContentHash,
        list: &[u8],
        from: usize,
        count: usize,
        writer: &mut FrameWriter,
    ) -> io::Result<()> {
        let chunks: Vec<ChunkEntry> = postcard::from_bytes(list).map_err(io::Error::other)?;
        let asked = asked_for(&chunks, from, count).ok_or(io::ErrorKind::InvalidInput)?.to_vec();
        let mut offset: u64 = chunks[..from].iter().map(|chunk| u64::from(chunk.len)).sum();
        let folder_for_open = Arc::clone(folder);
        let file = blocking(move || folder_for_open.open_content(&content)).await?;
        let Some(file) = file.map(Arc::new) else {
            return frames::write(writer, &ContentResponse::NotHere).await;
        };
        frames::write(writer, &ContentResponse::Chunks).await?;
        for chunk in asked {
            let file = Arc::clone(&file);
            let bytes = blocking(move || read_chunk(&file, chunk, offset)).await?;
            // The file changed under our hands: the stream ends short, and the peer asks somebody else.
            let bytes = bytes.ok_or(io::ErrorKind::NotFound)?;
            write_pieces(writer, bytes.into()).await?;
            offset += u64::from(chunk.len);
        }
        Ok(())
    }
}

/// The chunks that a request names, if it may ask for so many.
fn asked_for(chunks: &[ChunkEntry], from: usize, count: usize) -> Option<&[ChunkEntry]> {
    chunks.get(from..from.saturating_add(count)).filter(|_| count <= limits::CHUNK_REQUEST_MAX)
}

fn stored_list(store: &StoreCell, content: &ContentHash) -> io::Result<Option<Vec<u8>>> {
    store.read().and_then(|rows| rows.content(content)).map_err(io::Error::other)
}

/// Reads a chunk and checks that it is the one it should be.
fn read_chunk(file: &File, chunk: ChunkEntry, offset: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; chunk.len as usize];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok((ChunkHash::of(&bytes) == chunk.hash).then_some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

async fn write_pieces(writer: &mut FrameWriter, mut bytes: Bytes) -> io::Result<()> {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        // Who asks and does not read must not keep a chunk in memory by it.
        tokio::time::timeout(ANSWER_TIMEOUT, writer.send(piece)).await??;
    }
    Ok(())
}

/// Reads exactly `len` bytes of frames; more or fewer are the sender's fault, and so is to dribble.
async fn read_pieces(reader: &mut FrameReader, len: usize) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + ANSWER_TIMEOUT + Duration::from_secs(len as u64 / SLOWEST_BYTES_PER_SECOND);
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let frame = timeout_at(deadline.min(Instant::now() + ANSWER_TIMEOUT), reader.next()).await?;
        let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)??;
        if frame.is_empty() || bytes.len() + frame.len() > len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes)
}

/// Fetches contents for all folders of a node.
#[derive(Debug)]
pub(crate) struct Fetcher {
    pub(crate) endpoint: Endpoint,
    pub(crate) engine: EngineHandle,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) own: DeviceId,
    pub(crate) tasks: TaskTracker,
    pub(crate) runtime: tokio::runtime::Handle,
    under_way: Mutex<BTreeSet<(SpaceId, ContentHash)>>,
    /// There is one connection to each peer: whoever needs it first dials, and the others wait for that.
    dialling: Mutex<BTreeMap<DeviceId, Arc<tokio::sync::Mutex<()>>>>,
    sources: Sources,
    slots: Semaphore,
    /// Taken while a list above [`limits::CHUNK_LIST_LARGE_BYTES`] is in memory.
    large_list: Semaphore,
}

/// The turn of a large list, where the list is one.
type Room<'a> = Option<SemaphorePermit<'a>>;

/// A content that a folder lacks, and who wants to know when it is here.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) space: SpaceId,
    pub(crate) content: ContentRef,
    pub(crate) folder: Arc<FolderShared>,
    pub(crate) mailbox: Arc<Mailbox>,
}

/// What one peer is asked for, and whether others could be.
#[derive(Clone, Copy)]
struct Asking<'a> {
    peer: DeviceId,
    wanted: &'a Wanted,
    others: Others<'a>,
}

impl Fetcher {
    pub(crate) fn new(
        endpoint: Endpoint,
        engine: EngineHandle,
        sessions: Arc<Sessions>,
        own: DeviceId,
        tasks: TaskTracker,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            endpoint,
            engine,
            sessions,
            own,
            tasks,
            runtime,
            under_way: Mutex::default(),
            dialling: Mutex::default(),
            sources: Sources::default(),
            slots: Semaphore::new(FETCHES_MAX),
            large_list: Semaphore::new(1),
        }
    }

    /// Fetches a content in the background, unless that is under way.
    pub(crate) fn fetch(self: &Arc<Self>, wanted: Wanted) {
        let key = (wanted.space, wanted.content.hash);
        if !lock(&self.under_way).insert(key) {
            return;
        }
        let fetcher = Arc::clone(self);
        let stopped = wanted.mailbox.stopped();
        let work = async move {
            let ended = tokio::select! {
                () = fetcher.fetch_until_done(&wanted) => true,
                () = stopped.cancelled() => false,
            };
            // Before the folder hears of it: it may want the content again at once.
            lock(&fetcher.under_way).remove(&key);
            if ended {
                wanted.mailbox.fetched(wanted.content.hash);
            }
        };
        self.tasks.spawn_on(work, &self.runtime);
    }

    async fn fetch_until_done(&self, wanted: &Wanted) {
        loop {
            if !wanted.mailbox.wants(&wanted.content.hash) {
                return;
            }
            {
                let Ok(_slot) = self.slots.acquire().await else { return };
                let slot = |peer| self.sources.slot(peer).map(Some);
                if self.fetch_from_any(wanted, slot).await {
                    return;
                }
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Asks everybody who is here for a content, once. Says whether it came; it is in its temporary file then.
    pub(crate) async fn fetch_once(&self, wanted: &Wanted) -> bool {
        self.fetch_from_any(wanted, |_| Some(None)).await
    }

    /// Asks one peer after the other for which there is a slot, where slots are needed.
    async fn fetch_from_any<'a>(&self, wanted: &Wanted, slot: impl Fn(DeviceId) -> Option<Option<Slot<'a>>>) -> bool {
        let mut asked = BTreeSet::new();
        for peer in self.peers(&wanted.space) {
            asked.insert(peer);
            let Some(slot) = slot(peer) else { continue };
            // Also whoever came meanwhile; who was asked already is not waited for less the next time.
            let others = || self.peers(&wanted.space).iter().any(|peer| !asked.contains(peer));
            let fetched = self.fetch_from(Asking { peer, wanted, others: &others }).await;
            if let Some(slot) = slot {
                slot.done(&fetched);
            }
            match fetched {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => debug!(peer = peer.short(), %error, "a content did not come"),
            }
        }
        false
    }

    /// Members of the space that are here: those that failed least first, of these those that ever served us, and of these
    /// whoever is settled, since it surely has everything.
    fn peers(&self, space: &SpaceId) -> Vec<DeviceId> {
        let up = self.sessions.devices();
        let status = self.engine.status();
        let status = status.borrow();
        let Some(held) = status.spaces.iter().find(|held| held.space == *space) else {
            return Vec::new();
        };
        let mut peers: Vec<_> = held.peers.iter().filter(|peer| up.contains(&peer.device)).collect();
        peers.sort_by_key(|peer| (self.sources.rank(&peer.device), Reverse(peer.synced)));
        peers.into_iter().map(|peer| peer.device).collect()
    }

    /// The connection for contents to a peer; none once the session that it goes with is over.
    async fn connection(&self, peer: DeviceId) -> io::Result<Connection> {
        let place = Arc::clone(lock(&self.dialling).entry(peer).or_default());
        let _turn = place.lock().await;
        let (session, sync, open) = self.sessions.contents(&peer).ok_or(io::ErrorKind::NotConnected)?;
        if let Some(open) = open {
            return Ok(open);
        }
        let id = EndpointId::from_bytes(&peer.0).map_err(io::Error::other)?;
        let connection = tokio::select! {
            dial = tokio::time::timeout(ANSWER_TIMEOUT, self.endpoint.connect(id, CONTENT_ALPN)) => dial?,
            _over = sync.closed() => return Err(io::ErrorKind::NotConnected.into()),
        };
        let connection = connection.map_err(io::Error::other)?;
        self.sessions.tie_contents(&peer, session, &connection);
        Ok(connection)
    }

    /// Asks for something; the answer comes with what follows it, and the connection that it comes on.
    async fn ask(
        &self,
        Asking { peer, wanted, others }: Asking<'_>,
        want: Want,
    ) -> io::Result<(ContentResponse, FrameReader, Connection)> {
        let connection = unless_silent(None, others, self.connection(peer)).await?;
        let request = ContentRequest { space: wanted.space.tag(self.own), content: wanted.content.hash, want };
        // All of it: a peer may as well allow no stream, or take no byte of the request.
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, async {
            let (send, receive) = connection.open_bi().await?;
            let mut writer = frames::writer(send);
            frames::write(&mut writer, &request).await?;
            writer.get_mut().finish().map_err(io::Error::other)?;
            let mut reader = frames::reader(receive);
            let response = frames::read(&mut reader).await.ok_or(io::ErrorKind::InvalidData)?;
            io::Result::Ok((response, reader))
        });
        let (response, reader) = unless_silent(Some(&connection), others, async { answer.await? }).await?;
        Ok((response, reader, connection))
    }

    /// The chunks of a content, and the right to hold so many.
    async fn list(&self, asking: Asking<'_>) -> io::Result<Option<(Vec<ChunkEntry>, Room<'_>)>> {
        let content = asking.wanted.content;
        let stored = stored_list(&self.engine.store, &content.hash)?;
        if let Some(list) = stored.filter(|list| list_hash(list) == content.list) {
            let Some(room) = room_for(&self.large_list, list.len()) else { return Ok(None) };
            return Ok(decode_list(&list, content.len).map(|chunks| (chunks, room)));
        }
        let (response, mut reader, connection) = self.ask(asking, Want::List).await?;
        let ContentResponse::List { len } = response else {
            return Ok(None);
        };
        if !may_be_listed(content.len, len) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(room) = room_for(&self.large_list, len as usize) else { return Ok(None) };
        let pieces = read_pieces(&mut reader, len as usize);
        let list = unless_silent(Some(&connection), asking.others, pieces).await?;
        if list_hash(&list) != content.list {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the chunk list is not the one that was named"));
        }
        let chunks = decode_list(&list, content.len);
        let chunks =
            chunks.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the chunk list does not add up"))?;
        Ok(Some((chunks, room)))
    }

    /// Fetches what is missing from one peer; false when the peer does not have it.
    async fn fetch_from(&self, asking: Asking<'_>) -> io::Result<bool> {
        let wanted = asking.wanted;
        let Some((chunks, _room)) = self.list(asking).await? else {
            return Ok(false);
        };
        reach("fetch.listed");
        let name = format!("{DOWNLOAD}{}", wanted.content.hash);
        let folder = Arc::clone(&wanted.folder);
        let file = Arc::new(blocking(move || folder.open_temp(&name)).await?);
        reach("fetch.opened");
        let missing = {
            let (file, folder) = (Arc::clone(&file), Arc::clone(&wanted.folder));
            let (chunks, store) = (chunks.clone(), self.engine.store.clone());
            blocking(move || missing_chunks(&file, &folder, &store, &chunks)).await?
        };
        let offsets = offsets(&chunks);
        for (from, count) in requests(&chunks, &missing) {
            let want = Want::Chunks { from: from as u32, count: count as u32 };
            let (ContentResponse::Chunks, mut reader, connection) = self.ask(asking, want).await? else {
                return Ok(false);
            };
            for index in from..from + count {
                let chunk = chunks[index];
                let pieces = read_pieces(&mut reader, chunk.len as usize);
                let bytes = unless_silent(Some(&connection), asking.others, pieces).await?;
                if ChunkHash::of(&bytes) != chunk.hash {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk is not the one that was named"));
                }
                let (file, offset) = (Arc::clone(&file), offsets[index]);
                blocking(move || file.write_all_at(&bytes, offset)).await?;
                reach("fetch.chunk-written");
            }
        }
        let content = wanted.content;
        blocking(move || seal(&file, &content)).await?;
        reach("fetch.sealed");
        Ok(true)
    }
}

/// The right to hold a list of this length; `None` while somebody else holds a large one. Nobody waits for it, since who
/// waits would keep a slot that others could use.
fn room_for(large_list: &Semaphore, list_bytes: usize) -> Option<Room<'_>> {
    if list_bytes <= limits::CHUNK_LIST_LARGE_BYTES {
        return Some(None);
    }
    large_list.try_acquire().ok().map(Some)
}

/// Whether a content of this length may have a list of so many bytes: no chunk is empty, so there are no more of them than
/// bytes.
fn may_be_listed(content_len: u64, list_bytes: u32) -> bool {
    let longest = content_len.saturating_add(1).saturating_mul(LISTED_CHUNK_BYTES);
    list_bytes as usize <= limits::CHUNK_LIST_BYTES_MAX && u64::from(list_bytes) <= longest
}

fn offsets(chunks: &[ChunkEntry]) -> Vec<u64> {
    let starts = chunks.iter().scan(0, |next, chunk| {
        let start = *next;
        *next += u64::from(chunk.len);
        Some(start)
    });
    starts.collect()
}

/// Which chunks are neither in the unfinished file nor in any file of the folder; the latter are copied over.
fn missing_chunks(
    part: &File,
    folder: &FolderShared,
    store: &StoreCell,
    chunks: &[ChunkEntry],
) -> io::Result<Vec<usize>> {
    let resumed = part.metadata()?.len() > 0;
    let rows = store.read().map_err(io::Error::other)?;
    let mut sources: BTreeMap<ContentHash, Option<File>> = BTreeMap::new();
    let mut missing = Vec::new();
    for (index, (chunk, offset)) in chunks.iter().zip(offsets(chunks)).enumerate() {
        if resumed && read_chunk(part, *chunk, offset)?.is_some() {
            continue;
        }
        let held = rows.chunk(&chunk.hash).map_err(io::Error::other)?;
        let copied = match held {
            Some((content, at)) => {
                if let std::collections::btree_map::Entry::Vacant(vacant) = sources.entry(content) {
                    vacant.insert(folder.open_content(&content)?);
                }
                match &sources[&content] {
                    Some(file) => read_chunk(file, *chunk, at)?,
                    None => None,
                }
            }
            None => None,
        };
        match copied {
            Some(bytes) => part.write_all_at(&bytes, offset)?,
            None => missing.push(index),
        }
    }
    Ok(missing)
}

/// Runs of missing chunks, each small enough to ask for at once.
fn requests(chunks: &[ChunkEntry], missing: &[usize]) -> Vec<(usize, usize)> {
    let mut requests: Vec<(usize, usize)> = Vec::new();
    let mut bytes = 0;
    for index in missing {
        let len = u64::from(chunks[*index].len);
        match requests.last_mut() {
            Some((from, count))
                if *from + *count == *index && *count < limits::CHUNK_REQUEST_MAX && bytes + len <= REQUEST_BYTES =>
            {
                *count += 1;
                bytes += len;
            }
            _ => {
                requests.push((*index, 1));
                bytes = len;
            }
        }
    }
    requests
}

/// Cuts the file to its length, checks the hash of the whole, and makes it last.
fn seal(file: &File, content: &ContentRef) -> io::Result<()> {
    file.set_len(content.len)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < content.len {
        let read = file.read_at(&mut buffer, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&buffer[..read]);
        offset += read as u64;
    }
    if hasher.finalize().as_bytes() != &content.hash.0 {
        // The author's reference lies; what was fetched is of no use to anybody.
        file.set_len(0)?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the content is not the one that was named"));
    }
    file.sync_all()
}

#[cfg(test)]
mod tests;
