//! The store: the only code that names `redb`.
//!
//! One file a device, one thread that writes. A turn of the engine is one [`Turn`]: a redb write transaction with
//! two-phase commit, so that a crash leaves either all of a turn or nothing. Readers use [`Snapshot`]s on other threads.
//! `docs/STORAGE.md` describes each table; [`row`] holds the rows. Integer handles for spaces, replicas and documents
//! exist only in here and never travel.
//!
//! Any redb error in a write ends the handle: the caller drops the store and opens it again.

mod aside;
#[cfg(test)]
mod cache;
mod edit;
mod past;
pub mod row;
mod unfinished;
mod writes;

use std::{
    fs::{File, OpenOptions},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

pub use edit::{Edit, Write};
use redb::{
    Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase as _, ReadableTable as _, StorageBackend,
    Table, TableDefinition, WriteTransaction, backends::FileBackend,
};
use row::{BaseRow, ChangeRow, CommitRow, DocRow, FolderRow, ForkRow, ReplicaRow, SpaceRow};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    commit::PackedBody,
    doc::entry::Entry,
    ids::{ChangeHash, ChunkHash, CommitHash, ContentHash, DeviceId, DocId, ReplicaId, SpaceId},
    limits,
    probe::{self, Plant, planted},
};

/// Version of the tables. A store of another version is refused, never guessed at.
const SCHEMA: u32 = 2;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const SPACE: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("space");
const REPLICA: TableDefinition<'_, (u32, u32), &[u8]> = TableDefinition::new("replica");
const COMMIT: TableDefinition<'_, (u32, u32, u64), &[u8]> = TableDefinition::new("commit");
const BODY: TableDefinition<'_, (u32, u32, u64), &[u8]> = TableDefinition::new("body");
const ORDER: TableDefinition<'_, (u32, u64), (u32, u64)> = TableDefinition::new("order");
const BY_HASH: TableDefinition<'_, &[u8], (u32, u64)> = TableDefinition::new("by_hash");
const MEMBER: TableDefinition<'_, (u32, u32, u64), ()> = TableDefinition::new("member");
const DOCUMENT: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("document");
const CHANGE: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("change");
const CHANGE_INDEX: TableDefinition<'_, &[u8], u32> = TableDefinition::new("change_index");
const DERIVED: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("derived");
const MADE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("made");
const SNAPSHOT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshot");
const FOLDER: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("folder");
const BASE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("base");
const ENTRY: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entry");
const CONTENT: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("content");
const CHUNK: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("chunk");
const TEXT: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("text");
const FORK: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("fork");
const PEER: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("peer");

/// The store failed. What it held before the failed turn is untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store is in use by another process")]
    Locked,
    /// It was closed by its owner.
    #[error("the store is closed")]
    Closed,
    /// Written by another version of the program.
    #[error("the store has schema {found}, this program knows {SCHEMA}")]
    Schema {
        /// What the file says.
        found: u32,
    },
    /// The file is not what redb wrote.
    #[error("the store's file is damaged")]
    Damaged,
    /// redb failed.
    #[error("the store failed while it was to {operation}")]
    Redb {
        /// What was to be done.
        operation: &'static str,
        /// redb's reason.
        #[source]
        source: Box<redb::Error>,
    },
    /// A row does not decode: the file is damaged, or a fault of ours.
    #[error("a row of table {table} is damaged")]
    Row {
        /// The table.
        table: &'static str,
    },
}

trait Context<T> {
    fn context(self, operation: &'static str) -> Result<T, StoreError>;
}

impl<T, E: Into<redb::Error>> Context<T> for Result<T, E> {
    fn context(self, operation: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Redb { operation, source: Box::new(source.into()) })
    }
}

fn decode_row<T: DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| StoreError::Row { table })
}

fn encode_row<T: Serialize>(row: &T) -> Vec<u8> {
    postcard::to_stdvec(row).expect("rows are plain data")
}

/// Key of a table that is sorted by space or folder first.
fn scoped(scope: u32, id: &[u8]) -> Vec<u8> {
    [&scope.to_be_bytes()[..], id].concat()
}

fn doc_scoped(doc: u64, hash: &ChangeHash) -> Vec<u8> {
    [&doc.to_be_bytes()[..], &hash.0].concat()
}

/// Key of what an actor's change made, by the counter of its last operation. All actors in it have the same length, so
/// that one's keys lie together.
fn made_key(doc: u64, actor: &[u8; 16], max_op: u64) -> Vec<u8> {
    [&doc.to_be_bytes()[..], actor, &max_op.to_be_bytes()].concat()
}

/// Key of the table of forks.
fn fork_key(space: &SpaceId, replica: &ReplicaId, n: u64) -> Vec<u8> {
    [&space.0[..], &replica.0, &n.to_be_bytes()].concat()
}

/// All keys of a scope.
fn scope_range(scope: u32) -> Range<Vec<u8>> {
    // One past the largest: a scope is a small counter and never reaches the last number.
    scope.to_be_bytes().to_vec()..(scope.saturating_add(1)).to_be_bytes().to_vec()
}

/// An open store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    database: Arc<Database>,
}

impl Store {
    /// Opens the store in a file, and makes it when it is not there.
    ///
    /// # Errors
    /// When another process has it, it is of another schema, or the disk fails.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).context("open")?;
        let is_new = file.metadata().context("open")?.len() == 0;
        let store = Self::with_backend(FileBackend::new(file).context("open")?)?;
        // A file without a durable name is gone after a power cut, with all that was acknowledged.
        probe::reach("store.made");
        if is_new && let Some(dir) = path.parent() {
            let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
            File::open(dir).and_then(|dir| dir.sync_all()).context("open")?;
        }
        Ok(store)
    }

    /// Opens a store on a backend, such as a disk in memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self, StoreError> {
        unfinished::discard(&backend)?;
        Self::open_with(|| Database::builder().set_cache_size(limits::STORE_CACHE_BYTES).create_with_backend(backend))
    }

    /// A store that is gone with its handle.
    ///
    /// # Errors
    /// When memory cannot be had.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::with_backend(redb::backends::InMemoryBackend::new())
    }

    /// redb asserts what it reads where it cannot return an error, and a damaged file fails there: that must not end the
    /// process, which has to say what is the matter.
    fn open_with(open: impl FnOnce() -> Result<Database, redb::DatabaseError>) -> Result<Self, StoreError> {
        let opened = catch_unwind(AssertUnwindSafe(|| Self::checked(open())));
        opened.unwrap_or(Err(StoreError::Damaged))
    }

    fn checked(opened: Result<Database, redb::DatabaseError>) -> Result<Self, StoreError> {
        let database = match opened {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::Locked),
            other => other.context("open")?,
        };
        let store = Self { database: Arc::new(database) };
        if store.is_new()? {
            let turn = store.begin()?;
            turn.tables()?.put_meta("schema", &SCHEMA)?;
            turn.commit()?;
            return Ok(store);
        }
        // Only read: a table whose name rotted is missing, and a turn would make an empty one in its place.
        match store.read()?.meta::<u32>("schema")? {
            Some(SCHEMA) => Ok(store),
            Some(found) => Err(StoreError::Schema { found }),
            None => Err(StoreError::Damaged),
        }
    }

    /// Whether nothing was ever written.
    fn is_new(&self) -> Result<bool, StoreError> {
        let transaction = self.database.begin_read().context("begin to read")?;
        Ok(transaction.list_tables().context("list the tables")?.next().is_none())
    }

    /// Checks every page against its checksum, which takes as long as reading the file. Opening does not: it believes a
    /// file that was closed in order, and a page that rotted since is found here or when it is read.
    ///
    /// # Errors
    /// When it is not as it was committed; [`StoreError::Locked`] while somebody else shares it. The store must be
    /// dropped then.
    pub fn check(&mut self) -> Result<(), StoreError> {
        let database = Arc::get_mut(&mut self.database).ok_or(StoreError::Locked)?;
        match catch_unwind(AssertUnwindSafe(|| database.check_integrity())) {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) | Err(_) => Err(StoreError::Damaged),
            Ok(Err(error)) => Err(error).context("check"),
        }
    }

    /// Begins the one write transaction.
    ///
    /// # Errors
    /// When redb cannot.
    pub fn begin(&self) -> Result<Turn, StoreError> {
        let mut transaction = self.database.begin_write().context("begin a turn")?;
        let durability = if planted(Plant::SkipFsync) { Durability::None } else { Durability::Immediate };
        transaction.set_durability(durability).map_err(|source| StoreError::Redb {
            operation: "begin a turn",
            source: Box::new(redb::Error::from(source)),
        })?;
        transaction.set_two_phase_commit(true);
        Ok(Turn { transaction })
    }

    /// A consistent view of the last committed turn.
    ///
    /// # Errors
    /// When redb cannot.
    pub fn read(&self) -> Result<Snapshot, StoreError> {
        let transaction = self.database.begin_read().context("begin to read")?;
        Snapshot::open(&transaction)
    }
}

/// One write transaction.
pub struct Turn {
    transaction: WriteTransaction,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turn")
    }
}

impl Turn {
    /// Opens all tables; drop them before [`commit`](Self::commit).
    ///
    /// # Errors
    /// When redb cannot.
    pub fn tables(&self) -> Result<Tables<'_>, StoreError> {
        Tables::open(&self.transaction)
    }

    /// Makes the turn durable.
    ///
    /// # Errors
    /// When it is not; the store must be dropped then.
    pub fn commit(self) -> Result<(), StoreError> {
        probe::reach("store.turn.before-commit");
        self.transaction.commit().context("commit a turn")?;
        probe::reach("store.turn.after-commit");
        Ok(())
    }
}

macro_rules! tables {
    ($($field:ident: $definition:ident, $key:ty, $value:ty;)*) => {
        /// The tables of a turn.
        pub struct Tables<'t> {
            $($field: Table<'t, $key, $value>,)*
        }

        impl<'t> Tables<'t> {
            fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
                Ok(Self {
                    $($field: transaction.open_table($definition).context("open a table")?,)*
                })
            }
        }

        /// The tables as of one committed turn.
        pub struct Snapshot {
            $($field: ReadOnlyTable<$key, $value>,)*
        }

        impl Snapshot {
            fn open(transaction: &ReadTransaction) -> Result<Self, StoreError> {
                Ok(Self {
                    $($field: transaction.open_table($definition).context("open a table")?,)*
                })
            }
        }
    };
}

tables! {
    meta: META, &'static str, &'static [u8];
    space: SPACE, u32, &'static [u8];
    replica: REPLICA, (u32, u32), &'static [u8];
    commit: COMMIT, (u32, u32, u64), &'static [u8];
    body: BODY, (u32, u32, u64), &'static [u8];
    order: ORDER, (u32, u64), (u32, u64);
    by_hash: BY_HASH, &'static [u8], (u32, u64);
    member: MEMBER, (u32, u32, u64), ();
    document: DOCUMENT, &'static [u8], &'static [u8];
    change: CHANGE, (u64, u32), &'static [u8];
    change_index: CHANGE_INDEX, &'static [u8], u32;
    derived: DERIVED, (u64, u32), &'static [u8];
    made: MADE, &'static [u8], &'static [u8];
    snapshot: SNAPSHOT, u64, &'static [u8];
    folder: FOLDER, u32, &'static [u8];
    base: BASE, &'static [u8], &'static [u8];
    entry: ENTRY, &'static [u8], &'static [u8];
    content: CONTENT, &'static [u8], &'static [u8];
    chunk: CHUNK, &'static [u8], &'static [u8];
    text: TEXT, &'static [u8], &'static [u8];
    fork: FORK, &'static [u8], &'static [u8];
    peer: PEER, &'static [u8], &'static [u8];
}

impl std::fmt::Debug for Tables<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tables")
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Snapshot")
    }
}

/// What a turn and a snapshot can both be asked, where the caller does not care which it has.
pub trait Rows {
    /// The replicas of a space by handle.
    ///
    /// # Errors
    /// When the store fails.
    fn replica_rows(&self, space: u32) -> Result<Vec<(u32, ReplicaRow)>, StoreError>;
    /// Each membership commit of a log, with its body.
    ///
    /// # Errors
    /// When the store fails.
    fn membership_rows(&self, space: u32, replica: u32) -> Result<Vec<(u64, CommitRow, PackedBody)>, StoreError>;
    /// Spaces that folders are bound to.
    ///
    /// # Errors
    /// When the store fails.
    fn folder_spaces(&self) -> Result<Vec<SpaceId>, StoreError>;
    /// A change of a document.
    ///
    /// # Errors
    /// When the store fails.
    fn change_row(&self, doc: u64, index: u32) -> Result<ChangeRow, StoreError>;
    /// Forks of a space: whose log, from which commit, what was done.
    ///
    /// # Errors
    /// When the store fails.
    fn fork_rows(&self, space: &SpaceId) -> Result<Vec<(ReplicaId, u64, ForkRow)>, StoreError>;
    /// The body of a commit.
    ///
    /// # Errors
    /// When the store fails.
    fn packed_body(&self, space: u32, replica: u32, n: u64) -> Result<PackedBody, StoreError>;
    /// Bytes of a change whose commit holds only its hash.
    ///
    /// # Errors
    /// When the store fails.
    fn derived_bytes(&self, doc: u64, index: u32) -> Result<Vec<u8>, StoreError>;
}

/// Rows of a table of encoded values, read the same way in a turn and in a snapshot.
macro_rules! reads {
    ($($on:tt)*) => {
        impl Rows for $($on)* {
            fn replica_rows(&self, space: u32) -> Result<Vec<(u32, ReplicaRow)>, StoreError> {
                self.replicas(space)
            }

            fn membership_rows(
                &self,
                space: u32,
                replica: u32,
            ) -> Result<Vec<(u64, CommitRow, PackedBody)>, StoreError> {
                self.membership_numbers(space, replica)?
                    .into_iter()
                    .map(|n| {
                        let row = self.commit_row(space, replica, n)?;
                        let row = row.ok_or(StoreError::Row { table: "commit" })?;
                        Ok((n, row, self.body(space, replica, n)?))
                    })
                    .collect()
            }

            fn folder_spaces(&self) -> Result<Vec<SpaceId>, StoreError> {
                Ok(self.folders()?.into_iter().map(|(_, row)| row.space).collect())
            }

            fn change_row(&self, doc: u64, index: u32) -> Result<ChangeRow, StoreError> {
                self.change(doc, index)
            }

            fn fork_rows(&self, space: &SpaceId) -> Result<Vec<(ReplicaId, u64, ForkRow)>, StoreError> {
                self.forks(space)
            }

            fn packed_body(&self, space: u32, replica: u32, n: u64) -> Result<PackedBody, StoreError> {
                self.body(space, replica, n)
            }

            fn derived_bytes(&self, doc: u64, index: u32) -> Result<Vec<u8>, StoreError> {
                self.derived(doc, index)
            }
        }

        impl $($on)* {
            /// A value of the device as a whole.
            ///
            /// # Errors
            /// When the store fails.
            pub fn meta<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
                let row = self.meta.get(name).context("read meta")?;
                row.map(|row| decode_row("meta", row.value())).transpose()
            }

            /// All spaces by handle.
            ///
            /// # Errors
            /// When the store fails.
            pub fn spaces(&self) -> Result<Vec<(u32, SpaceRow)>, StoreError> {
                let rows = self.space.iter().context("read spaces")?;
                rows.map(|row| {
                    let (key, value) = row.context("read spaces")?;
                    Ok((key.value(), decode_row("space", value.value())?))
                })
                .collect()
            }

            /// The replicas of a space by handle.
            ///
            /// # Errors
            /// When the store fails.
            pub fn replicas(&self, space: u32) -> Result<Vec<(u32, ReplicaRow)>, StoreError> {
                let rows = self.replica.range((space, 0)..(space + 1, 0)).context("read replicas")?;
                rows.map(|row| {
                    let (key, value) = row.context("read replicas")?;
                    Ok((key.value().1, decode_row("replica", value.value())?))
                })
                .collect()
            }

            /// Commit `n` of a log, without its body.
            ///
            /// # Errors
            /// When the store fails.
            pub fn commit_row(&self, space: u32, replica: u32, n: u64) -> Result<Option<CommitRow>, StoreError> {
                let row = self.commit.get((space, replica, n)).context("read a commit")?;
                row.map(|row| decode_row("commit", row.value())).transpose()
            }

            /// The body of commit `n` of a log.
            ///
            /// # Errors
            /// When the store fails or the row is not there.
            pub fn body(&self, space: u32, replica: u32, n: u64) -> Result<PackedBody, StoreError> {
                let row = self.body.get((space, replica, n)).context("read a body")?;
                decode_row("body", row.ok_or(StoreError::Row { table: "body" })?.value())
            }

            /// Which log and number a commit hash has.
            ///
            /// # Errors
            /// When the store fails.
            pub fn commit_by_hash(&self, space: u32, hash: &CommitHash) -> Result<Option<(u32, u64)>, StoreError> {
                let row = self.by_hash.get(scoped(space, &hash.0).as_slice()).context("find a commit")?;
                Ok(row.map(|row| row.value()))
            }

            /// Numbers of a log's membership commits.
            ///
            /// # Errors
            /// When the store fails.
            pub fn membership_numbers(&self, space: u32, replica: u32) -> Result<Vec<u64>, StoreError> {
                let rows = self.member.range((space, replica, 0)..=(space, replica, u64::MAX));
                rows.context("read membership")?
                    .map(|row| Ok(row.context("read membership")?.0.value().2))
                    .collect()
            }

            /// Up to a frame's worth of commits from a place in the order of arrival: place, replica, number.
            ///
            /// # Errors
            /// When the store fails.
            pub fn order_from(&self, space: u32, arrival: u64) -> Result<Vec<(u64, u32, u64)>, StoreError> {
                let rows = self.order.range((space, arrival)..(space + 1, 0)).context("read the order")?;
                rows.take(limits::BODY_ITEMS_MAX)
                    .map(|row| {
                        let (key, value) = row.context("read the order")?;
                        let (replica, n) = value.value();
                        Ok((key.value().1, replica, n))
                    })
                    .collect()
            }

            /// A document's row.
            ///
            /// # Errors
            /// When the store fails.
            pub fn document(&self, space: u32, doc: &DocId) -> Result<Option<DocRow>, StoreError> {
                let row = self.document.get(scoped(space, &doc.0).as_slice()).context("read a document")?;
                row.map(|row| decode_row("document", row.value())).transpose()
            }

            /// Calls `visit` for each document of a space, in the order of their ids.
            ///
            /// # Errors
            /// When the store fails.
            pub fn each_document(&self, space: u32, mut visit: impl FnMut(DocId, DocRow)) -> Result<(), StoreError> {
                let range = scope_range(space);
                let rows = self.document.range(range.start.as_slice()..range.end.as_slice());
                for row in rows.context("read documents")? {
                    let (key, value) = row.context("read documents")?;
                    let doc = DocId::from_slice(&key.value()[4..]).ok_or(StoreError::Row { table: "document" })?;
                    visit(doc, decode_row("document", value.value())?);
                }
                Ok(())
            }

            /// A change of a document by its index, which counts from 0 in order of arrival.
            ///
            /// # Errors
            /// When the store fails or the row is not there.
            pub fn change(&self, doc: u64, index: u32) -> Result<ChangeRow, StoreError> {
                let row = self.change.get((doc, index)).context("read a change")?;
                decode_row("change", row.ok_or(StoreError::Row { table: "change" })?.value())
            }

            /// The index of a change in its document.
            ///
            /// # Errors
            /// When the store fails.
            pub fn change_index(&self, doc: u64, hash: &ChangeHash) -> Result<Option<u32>, StoreError> {
                let row = self.change_index.get(doc_scoped(doc, hash).as_slice()).context("find a change")?;
                Ok(row.map(|row| row.value()))
            }

            /// Bytes of a change whose commit holds only its hash.
            ///
            /// # Errors
            /// When the store fails or the row is not there.
            pub fn derived(&self, doc: u64, index: u32) -> Result<Vec<u8>, StoreError> {
                let row = self.derived.get((doc, index)).context("read a derived change")?;
                decode_row::<PackedBody>("derived", row.ok_or(StoreError::Row { table: "derived" })?.value())?
                    .unpack()
                    .map(std::borrow::Cow::into_owned)
                    .map_err(|_| StoreError::Row { table: "derived" })
            }

            /// The change that holds an actor's operation, if it is kept by what it made, or else the actor's next one
            /// that is: its index, and the summary.
            ///
            /// # Errors
            /// When the store fails.
            pub fn made(&self, doc: u64, actor: &[u8; 16], counter: u64) -> Result<Option<(u32, Vec<u8>)>, StoreError> {
                let (first, last) = (made_key(doc, actor, counter), made_key(doc, actor, u64::MAX));
                let mut rows = self.made.range(first.as_slice()..=last.as_slice()).context("find what was made")?;
                let Some(row) = rows.next() else {
                    return Ok(None);
                };
                let (_, value) = row.context("find what was made")?;
                decode_row::<(u32, serde_bytes::ByteBuf)>("made", value.value())
                    .map(|(index, summary)| Some((index, summary.into_vec())))
            }

            /// The newest snapshot of a document: how many changes it holds, and its bytes.
            ///
            /// # Errors
            /// When the store fails.
            pub fn doc_snapshot(&self, doc: u64) -> Result<Option<(u32, Vec<u8>)>, StoreError> {
                let row = self.snapshot.get(doc).context("read a snapshot")?;
                row.map(|row| decode_row("snapshot", row.value())).transpose()
            }

            /// All folders by handle.
            ///
            /// # Errors
            /// When the store fails.
            pub fn folders(&self) -> Result<Vec<(u32, FolderRow)>, StoreError> {
                let rows = self.folder.iter().context("read folders")?;
                rows.map(|row| {
                    let (key, value) = row.context("read folders")?;
                    Ok((key.value(), decode_row("folder", value.value())?))
                })
                .collect()
            }

            /// All base rows of a folder.
            ///
            /// # Errors
            /// When the store fails.
            pub fn bases(&self, folder: u32) -> Result<Vec<(DocId, BaseRow)>, StoreError> {
                let range = scope_range(folder);
                let rows = self.base.range(range.start.as_slice()..range.end.as_slice());
                rows.context("read base")?
                    .map(|row| {
                        let (key, value) = row.context("read base")?;
                        let doc = DocId::from_slice(&key.value()[4..]).ok_or(StoreError::Row { table: "base" })?;
                        Ok((doc, decode_row("base", value.value())?))
                    })
                    .collect()
            }

            /// The cached entry of a document and the heads that it was read at.
            ///
            /// # Errors
            /// When the store fails.
            pub fn entry(&self, space: u32, doc: &DocId) -> Result<Option<(Vec<ChangeHash>, Entry)>, StoreError> {
                let row = self.entry.get(scoped(space, &doc.0).as_slice()).context("read an entry")?;
                row.map(|row| decode_row("entry", row.value())).transpose()
            }

            /// The chunk list of a content.
            ///
            /// # Errors
            /// When the store fails.
            pub fn content(&self, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
                let row = self.content.get(hash.0.as_slice()).context("read a chunk list")?;
                Ok(row.map(|row| row.value().to_vec()))
            }

            /// Some content that holds a chunk, and the offset in it.
            ///
            /// # Errors
            /// When the store fails.
            pub fn chunk(&self, hash: &ChunkHash) -> Result<Option<(ContentHash, u64)>, StoreError> {
                let row = self.chunk.get(hash.0.as_slice()).context("find a chunk")?;
                row.map(|row| decode_row("chunk", row.value())).transpose()
            }

            /// A kept text by the hash of its bytes.
            ///
            /// # Errors
            /// When the store fails or the row is damaged.
            pub fn text(&self, hash: &ContentHash) -> Result<Option<String>, StoreError> {
                let damaged = || StoreError::Row { table: "text" };
                let Some(row) = self.text.get(hash.0.as_slice()).context("read a text")? else {
                    return Ok(None);
                };
                let bytes = zstd::bulk::decompress(row.value(), limits::TEXT_BYTES_MAX).map_err(|_| damaged())?;
                String::from_utf8(bytes).map(Some).map_err(|_| damaged())
            }

            /// Forks of a space, by replica and number.
            ///
            /// # Errors
            /// When the store fails.
            pub fn forks(&self, space: &SpaceId) -> Result<Vec<(ReplicaId, u64, ForkRow)>, StoreError> {
                let (first, last) = (fork_key(space, &ReplicaId([0; 16]), 0), fork_key(space, &ReplicaId([0xff; 16]), u64::MAX));
                let rows = self.fork.range(first.as_slice()..=last.as_slice()).context("read forks")?;
                rows.map(|row| {
                    let (key, value) = row.context("read forks")?;
                    let damaged = StoreError::Row { table: "fork" };
                    let Some((id, n)) = key.value().get(32..).and_then(|key| key.split_at_checked(16)) else {
                        return Err(damaged);
                    };
                    let (Some(id), Ok(n)) = (ReplicaId::from_slice(id), n.try_into()) else {
                        return Err(damaged);
                    };
                    Ok((id, u64::from_be_bytes(n), decode_row("fork", value.value())?))
                })
                .collect()
            }

            /// Addresses at which a peer was last met, in the host's encoding.
            ///
            /// # Errors
            /// When the store fails.
            pub fn peers(&self) -> Result<Vec<(DeviceId, Vec<u8>)>, StoreError> {
                let rows = self.peer.iter().context("read peers")?;
                rows.map(|row| {
                    let (key, value) = row.context("read peers")?;
                    let device = DeviceId::from_slice(key.value()).ok_or(StoreError::Row { table: "peer" })?;
                    Ok((device, value.value().to_vec()))
                })
                .collect()
            }
        }
    };
}

reads!(Tables<'_>);
reads!(Snapshot);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_opens_once_and_again_after_it_is_dropped() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("kith.redb");
        let store = Store::open(&path).expect("opens");
        assert!(matches!(Store::open(&path), Err(StoreError::Locked)));
        let turn = store.begin().expect("begins");
        turn.tables().expect("opens").put_meta("x", &7_u32).expect("writes");
        turn.commit().expect("commits");
        drop(store);
        let store = Store::open(&path).expect("opens again");
        assert_eq!(store.read().expect("reads").meta::<u32>("x").expect("reads"), Some(7));
    }

    #[test]
    fn a_store_is_checked_page_by_page() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("kith.redb");
        let mut store = Store::open(&path).expect("opens");
        let turn = store.begin().expect("begins");
        turn.tables().expect("opens").put_doc_snapshot(1, 1, &[7; 9000]).expect("writes");
        turn.commit().expect("commits");
        assert!(matches!(store.clone().check(), Err(StoreError::Locked)));
        store.check().expect("is sound");
        drop(store);
        let mut bytes = std::fs::read(&path).expect("reads");
        let page = bytes.windows(100).position(|window| window == [7; 100]).expect("rests in the file");
        bytes[page] = 8;
        std::fs::write(&path, bytes).expect("writes");
        let mut store = Store::open(&path).expect("opens: nothing reads that page");
        assert!(store.check().is_err());
    }

    #[test]
    fn a_file_that_is_not_a_store_is_an_error() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("kith.redb");
        drop(Store::open(&path).expect("opens"));
        let sound = std::fs::read(&path).expect("reads");
        for cut in [1, 9, 64, 320, 4096, sound.len() / 2, sound.len() - 1] {
            std::fs::write(&path, &sound[..cut]).expect("writes");
            assert!(Store::open(&path).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_store_of_another_schema_is_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("kith.redb");
        let store = Store::open(&path).expect("opens");
        let turn = store.begin().expect("begins");
        turn.tables().expect("opens").put_meta("schema", &99_u32).expect("writes");
        turn.commit().expect("commits");
        drop(store);
        assert!(matches!(Store::open(&path), Err(StoreError::Schema { found: 99 })));
    }

    #[test]
    fn what_was_made_is_found_by_actor_and_counter_until_it_is_set_aside() {
        let store = Store::in_memory().expect("opens");
        let turn = store.begin().expect("begins");
        let mut tables = turn.tables().expect("opens");
        let (a, b) = ([1; 16], [2; 16]);
        for (doc, actor, max_op, index) in [(7, a, 10, 1), (7, a, 300, 3), (7, b, 20, 2), (8, a, 400, 4)] {
            tables.put_made(doc, &actor, max_op, index, &[index as u8]).expect("writes");
        }
        let found = |tables: &Tables<'_>, doc, actor, counter| {
            tables.made(doc, actor, counter).expect("reads").map(|(index, summary)| (index, summary[0]))
        };
        assert_eq!(found(&tables, 7, &a, 1), Some((1, 1)));
        assert_eq!(found(&tables, 7, &a, 10), Some((1, 1)));
        assert_eq!(found(&tables, 7, &a, 11), Some((3, 3)));
        assert_eq!(found(&tables, 7, &a, 301), None);
        assert_eq!(found(&tables, 7, &b, 20), Some((2, 2)));
        assert_eq!(found(&tables, 7, &b, 21), None);
        let row = DocRow { handle: 7, heads: Vec::new(), changes: 4, ops: 0, lasts: Vec::new() };
        tables.put_document(1, &DocId([1; 32]), &row).expect("writes");
        tables.set_aside(1, |_, _| false).expect("sets aside");
        assert_eq!((found(&tables, 7, &a, 1), found(&tables, 7, &b, 1)), (None, None));
        assert_eq!(found(&tables, 8, &a, 1), Some((4, 4)));
    }

    #[test]
    fn a_turn_that_is_dropped_leaves_nothing() {
        let store = Store::in_memory().expect("opens");
        let turn = store.begin().expect("begins");
        turn.tables().expect("opens").put_meta("x", &7_u32).expect("writes");
        drop(turn);
        assert_eq!(store.read().expect("reads").meta::<u32>("x").expect("reads"), None);
    }
}
