//! Writing the rows of the tables, one function each.

use serde::Serialize;

use super::{Context as _, StoreError, Tables, doc_scoped, encode_row, fork_key, made_key, scope_range, scoped};
use crate::{
    commit::PackedBody,
    doc::entry::Entry,
    ids::{ChangeHash, ChunkHash, ContentHash, DeviceId, DocId, ReplicaId, SpaceId},
    store::row::{BaseRow, ChangeRow, CommitRow, DocRow, FolderRow, ForkRow, ReplicaRow, SpaceRow},
};

macro_rules! writes {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) => $table:ident[$key:expr] = $value:expr;)*) => {
        impl Tables<'_> {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// When the store fails.
                pub fn $name(&mut self, $($arg: $ty),*) -> Result<(), StoreError> {
                    self.$table.insert($key, $value).context(concat!("write ", stringify!($table)))?;
                    Ok(())
                }
            )*
        }
    };
}

writes! {
    /// Sets a row of spaces.
    put_space(handle: u32, row: &SpaceRow) => space[handle] = encode_row(row).as_slice();
    /// Sets a row of replicas.
    put_replica(space: u32, handle: u32, row: &ReplicaRow) => replica[(space, handle)] = encode_row(row).as_slice();
    /// Sets a row of documents.
    put_document(space: u32, doc: &DocId, row: &DocRow)
        => document[scoped(space, &doc.0).as_slice()] = encode_row(row).as_slice();
    /// Sets a row of changes.
    put_change(doc: u64, index: u32, row: &ChangeRow) => change[(doc, index)] = encode_row(row).as_slice();
    /// Sets where a change is found.
    put_change_index(doc: u64, hash: &ChangeHash, index: u32)
        => change_index[doc_scoped(doc, hash).as_slice()] = index;
    /// Keeps the bytes of a change whose commit holds only its hash.
    put_derived(doc: u64, index: u32, bytes: &[u8])
        => derived[(doc, index)] = encode_row(&PackedBody::pack(bytes)).as_slice();
    /// Keeps what a change made.
    put_made(doc: u64, actor: &[u8; 16], max_op: u64, index: u32, summary: &[u8])
        => made[made_key(doc, actor, max_op).as_slice()]
        = encode_row(&(index, serde_bytes::Bytes::new(summary))).as_slice();
    /// Sets the snapshot of a document.
    put_doc_snapshot(doc: u64, changes: u32, bytes: &[u8])
        => snapshot[doc] = encode_row(&(changes, bytes)).as_slice();
    /// Sets a row of folders.
    put_folder(handle: u32, row: &FolderRow) => folder[handle] = encode_row(row).as_slice();
    /// Sets a base row.
    put_base(folder: u32, doc: &DocId, row: &BaseRow)
        => base[scoped(folder, &doc.0).as_slice()] = encode_row(row).as_slice();
    /// Caches an entry as read at some heads.
    put_entry(space: u32, doc: &DocId, heads: &[ChangeHash], row: &Entry)
        => entry[scoped(space, &doc.0).as_slice()] = encode_row(&(heads, row)).as_slice();
    /// Keeps the chunk list of a content.
    put_content(hash: &ContentHash, list: &[u8]) => content[hash.0.as_slice()] = list;
    /// Remembers where a chunk is.
    put_chunk(hash: &ChunkHash, content: &ContentHash, offset: u64)
        => chunk[hash.0.as_slice()] = encode_row(&(content, offset)).as_slice();
    /// Sets a row of forks.
    put_fork(space: &SpaceId, replica: &ReplicaId, n: u64, row: &ForkRow)
        => fork[fork_key(space, replica, n).as_slice()] = encode_row(row).as_slice();
    /// Remembers where a peer was met.
    put_peer(device: &DeviceId, addresses: &[u8]) => peer[device.0.as_slice()] = addresses;
}

impl Tables<'_> {
    /// Sets a value of the device as a whole.
    ///
    /// # Errors
    /// When the store fails.
    pub fn put_meta<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), StoreError> {
        self.meta.insert(name, encode_row(value).as_slice()).context("write meta")?;
        Ok(())
    }

    /// Writes a commit with its body, its place in the order of arrival and its hash.
    ///
    /// # Errors
    /// When the store fails.
    pub fn put_commit(
        &mut self,
        space: u32,
        replica: u32,
        n: u64,
        row: &CommitRow,
        body: &PackedBody,
    ) -> Result<(), StoreError> {
        self.commit.insert((space, replica, n), encode_row(row).as_slice()).context("write commit")?;
        self.body.insert((space, replica, n), encode_row(body).as_slice()).context("write body")?;
        self.order.insert((space, row.arrival), (replica, n)).context("write order")?;
        let hash = row.hash();
        self.by_hash.insert(scoped(space, &hash.0).as_slice(), (replica, n)).context("write by_hash")?;
        if row.membership {
            self.member.insert((space, replica, n), ()).context("write member")?;
        }
        Ok(())
    }

    /// Keeps a text, compressed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn put_text(&mut self, hash: &ContentHash, text: &str) -> Result<(), StoreError> {
        let bytes = zstd::bulk::compress(text.as_bytes(), 1).map_err(|_| StoreError::Row { table: "text" })?;
        self.text.insert(hash.0.as_slice(), bytes.as_slice()).context("write text")?;
        Ok(())
    }

    /// Forgets the base of a document.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_base(&mut self, folder: u32, doc: &DocId) -> Result<(), StoreError> {
        self.base.remove(scoped(folder, &doc.0).as_slice()).context("remove a base row")?;
        Ok(())
    }

    /// Forgets a folder and its base.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_folder(&mut self, folder: u32) -> Result<(), StoreError> {
        let range = scope_range(folder);
        self.base.retain_in(range.start.as_slice()..range.end.as_slice(), |_, _| false).context("remove base rows")?;
        self.folder.remove(folder).context("remove a folder")?;
        Ok(())
    }

    /// The next free handle of documents, folders or spaces.
    ///
    /// # Errors
    /// When the store fails.
    pub fn next_handle(&mut self, counter: &'static str, take: u64) -> Result<u64, StoreError> {
        let next: u64 = self.meta(counter)?.unwrap_or(1);
        self.put_meta(counter, &(next + take))?;
        Ok(next)
    }
}
