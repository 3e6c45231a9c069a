//! What a store holds, small enough to compare: two engines of equal state hold the same rows.

use std::io::Write as _;

use blake3::Hasher;
use sync_core::{
    commit::PackedBody,
    engine::Engine,
    ids::SpaceId,
    store::{Snapshot, StoreError},
    version::VersionVector,
};

/// What a device holds after a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Each space: its vector, root and number of commits in the order of arrival.
    pub spaces: Vec<(SpaceId, VersionVector, [u8; 32], u64)>,
    /// Digest of the rows: commits, bodies, documents, changes, snapshots, folders, bases, entries and peers.
    pub rows: [u8; 32],
}

impl State {
    /// Reads all that an engine's store holds.
    ///
    /// # Errors
    /// When the store fails.
    pub fn of(engine: &Engine) -> Result<Self, StoreError> {
        let status = engine.status().into_iter();
        let spaces = status.map(|space| (space.space, space.vector, space.root, space.arrivals)).collect();
        Ok(Self { spaces, rows: digest(&engine.store().read()?)? })
    }
}

/// Feeds a row to a digest as it prints; rows are small, and what prints alike is alike.
fn add(hasher: &mut Hasher, row: &impl std::fmt::Debug) {
    writeln!(hasher, "{row:?}").expect("a hasher takes all");
}

fn digest(snapshot: &Snapshot) -> Result<[u8; 32], StoreError> {
    let mut hasher = Hasher::new();
    for (space, row) in snapshot.spaces()? {
        add(&mut hasher, &(space, row));
        add(&mut hasher, &snapshot.replicas(space)?);
        add_commits(&mut hasher, snapshot, space)?;
        add_documents(&mut hasher, snapshot, space)?;
    }
    for (folder, row) in snapshot.folders()? {
        add(&mut hasher, &(folder, row, snapshot.bases(folder)?));
    }
    add(&mut hasher, &snapshot.peers()?);
    Ok(*hasher.finalize().as_bytes())
}

fn add_commits(hasher: &mut Hasher, snapshot: &Snapshot, space: u32) -> Result<(), StoreError> {
    let mut from = 0;
    loop {
        let order = snapshot.order_from(space, from)?;
        let Some((last, ..)) = order.last() else { return Ok(()) };
        from = last + 1;
        for (arrival, replica, n) in order {
            let row = snapshot.commit_row(space, replica, n)?.ok_or(StoreError::Row { table: "commit" })?;
            let place = snapshot.commit_by_hash(space, &row.hash())?;
            add(hasher, &(arrival, row.arrival, place, row.membership, &row.clock));
            hasher.update(&row.header);
            // As it rests: unpacking would cost more than all the rest.
            match snapshot.body(space, replica, n)? {
                PackedBody::Plain(bytes) | PackedBody::Zstd { bytes, .. } => hasher.update(&bytes),
            };
        }
    }
}

fn add_documents(hasher: &mut Hasher, snapshot: &Snapshot, space: u32) -> Result<(), StoreError> {
    let mut documents = Vec::new();
    snapshot.each_document(space, |doc, row| documents.push((doc, row)))?;
    for (doc, row) in documents {
        for index in 0..row.changes {
            let change = snapshot.change(row.handle, index)?;
            if change.derived {
                hasher.update(&snapshot.derived(row.handle, index)?);
            }
            add(hasher, &(snapshot.change_index(row.handle, &change.hash)?, change));
        }
        if let Some((changes, bytes)) = snapshot.doc_snapshot(row.handle)? {
            add(hasher, &changes);
            hasher.update(&bytes);
        }
        add(hasher, &snapshot.entry(space, &doc)?);
        add(hasher, &(doc, row));
    }
    Ok(())
}
