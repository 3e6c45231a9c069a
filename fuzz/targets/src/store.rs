//! A store whose file was damaged.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use sync_core::{
    commit::{PackedBody, Signature},
    doc::entry::Kind,
    ids::{ChangeHash, CommitHash, ContentHash, DeviceId, DocId, InstallEpoch, ReplicaId, SpaceId},
    store::{
        Store, StoreError,
        row::{BaseRow, ChangeRow, CommitRow, DocRow, FolderRow, LastChange, ReplicaRow, SpaceRow, Stat},
    },
};

use crate::{input::edit_bytes, tree::plain};

/// A file in memory. Clones share it.
#[derive(Debug, Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

/// Longest file: one that would grow beyond it fails as a full disk does.
const FILE_BYTES_MAX: u64 = 64 << 20;

impl File {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn part(len: usize, offset: u64, part: usize) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).map_err(io::Error::other)?;
    let end = start.checked_add(part).filter(|end| *end <= len).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(start..end)
}

impl redb::StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|bytes| bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|bytes| {
            out.copy_from_slice(&bytes[part(bytes.len(), offset, out.len())?]);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > FILE_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.with(|bytes| bytes.resize(len as usize, 0));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|bytes| {
            let range = part(bytes.len(), offset, data.len())?;
            bytes[range].copy_from_slice(data);
            Ok(())
        })
    }
}

/// The bytes of a sound store, and what it holds.
fn sound() -> &'static (Vec<u8>, Vec<String>) {
    static SOUND: OnceLock<(Vec<u8>, Vec<String>)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let file = File::default();
        let store = Store::with_backend(file.clone()).expect("opens");
        for number in 0..3 {
            fill(&store, number).expect("writes");
        }
        drop(store);
        let bytes = file.with(|bytes| bytes.clone());
        let store = Store::with_backend(File(Arc::new(Mutex::new(bytes.clone())))).expect("opens again");
        let rows = rows(&store).expect("reads");
        (bytes, rows)
    })
}

fn fill(store: &Store, number: u8) -> Result<(), StoreError> {
    let id = u32::from(number) + 1;
    let (space, doc) = (SpaceId([number; 32]), DocId([number; 32]));
    let turn = store.begin()?;
    let mut tables = turn.tables()?;
    tables.put_meta("number", &number)?;
    let replica = ReplicaId([number; 16]);
    let hash = CommitHash([number; 32]);
    let row = SpaceRow {
        id: space,
        replica,
        epoch: InstallEpoch([1; 16]),
        heads: vec![hash],
        root: [2; 32],
        arrivals: 1,
        bootstrap: vec![],
        left: false,
        shared: 1,
        retired: vec![(replica, 1)],
    };
    tables.put_space(id, &row)?;
    tables.put_replica(id, 1, &ReplicaRow { id: replica, device: DeviceId([3; 32]), n: 1, hash })?;
    let commit = CommitRow {
        header: vec![number; 200],
        signature: Signature::from([4; 64]),
        arrival: 0,
        clock: vec![(1, 1)],
        membership: true,
    };
    tables.put_commit(id, 1, 1, &commit, &PackedBody::pack(&vec![number; 5000]))?;
    let change = ChangeRow {
        hash: ChangeHash([5; 32]),
        deps: vec![],
        max_op: 7,
        ops: 7,
        commits: vec![(1, 1, 0)],
        derived: true,
    };
    let heads = vec![ChangeHash([5; 32])];
    tables.put_document(
        id,
        &doc,
        &DocRow {
            handle: id.into(),
            heads: heads.clone(),
            changes: 1,
            ops: 7,
            lasts: vec![LastChange { replica: 1, seq: 1, index: 0 }],
        },
    )?;
    tables.put_change(id.into(), 0, &change)?;
    tables.put_change_index(id.into(), &change.hash, 0)?;
    tables.put_derived(id.into(), 0, &[number; 3000])?;
    tables.put_doc_snapshot(id.into(), 1, &[number; 9000])?;
    let folder = FolderRow { space, path: "folder".into(), name: "folder".into(), root: (1, 2), caught_up: true };
    tables.put_folder(id, &folder)?;
    let stat = Stat { size: 1, mtime_ns: 2, ctime_ns: 3, btime_ns: 4, inode: 5, device: 6, exec: false };
    for index in 0..40_u8 {
        let base = BaseRow {
            kind: Kind::File,
            parent: None,
            name: format!("file {index}"),
            heads: heads.clone(),
            hash: ContentHash([index; 32]),
            stat: Some(stat),
            intent: None,
            racy: false,
        };
        tables.put_base(id, &DocId([index; 32]), &base)?;
        tables.put_entry(id, &DocId([index; 32]), &heads, &plain(Kind::File, None, "a"))?;
    }
    tables.put_text(&ContentHash([number; 32]), "a text\n")?;
    tables.put_peer(&DeviceId([number; 32]), b"addresses")?;
    drop(tables);
    turn.commit()
}

/// Everything that the store says it holds.
fn rows(store: &Store) -> Result<Vec<String>, StoreError> {
    let snapshot = store.read()?;
    let mut rows = vec![format!("{:?}", snapshot.meta::<u8>("number")?)];
    for (id, space) in snapshot.spaces()? {
        rows.push(format!("{id} {space:?}"));
        for (replica, row) in snapshot.replicas(id)? {
            rows.push(format!("{replica} {row:?}"));
            for n in snapshot.membership_numbers(id, replica)? {
                rows.push(format!("{:?} {:?}", snapshot.commit_row(id, replica, n)?, snapshot.body(id, replica, n)?));
            }
        }
        rows.push(format!("{:?}", snapshot.order_from(id, 0)?));
        let mut documents = Vec::new();
        snapshot.each_document(id, |doc, row| documents.push((doc, row)))?;
        for (doc, row) in documents {
            rows.push(format!("{doc:?} {row:?} {:?}", snapshot.change_index(row.handle, &ChangeHash([5; 32]))?));
            rows.push(format!("{:?} {:?}", snapshot.change(row.handle, 0)?, snapshot.derived(row.handle, 0)?));
            rows.push(format!("{:?}", snapshot.doc_snapshot(row.handle)?));
        }
    }
    for (id, folder) in snapshot.folders()? {
        rows.push(format!("{folder:?} {:?}", snapshot.bases(id)?));
        for index in 0..40 {
            rows.push(format!("{:?}", snapshot.entry(id, &DocId([index; 32]))?));
        }
    }
    rows.push(format!("{:?} {:?}", snapshot.text(&ContentHash([0; 32]))?, snapshot.peers()?));
    Ok(rows)
}

/// A store whose file has other bytes at some places, or an end too early, opens or says why not. If its check finds
/// nothing, it holds what it held; if the check is not asked, what is read may be an error, but never ends the process.
///
/// # Panics
/// When a promise is broken.
pub fn store(input: &[u8]) {
    let (bytes, expected) = sound();
    let mut damaged = bytes.clone();
    let (cut, edits) = input.split_first().map_or((0, input), |(cut, edits)| (*cut, edits));
    edit_bytes(&mut damaged, edits);
    if cut > 0 && cut < 64 {
        damaged.truncate(damaged.len() * usize::from(cut) / 64);
    }
    let same = damaged == *bytes;
    let open = || Store::with_backend(File(Arc::new(Mutex::new(damaged.clone()))));
    let Ok(mut store) = open() else {
        assert!(!same, "a sound store opens");
        return;
    };
    match store.check() {
        Ok(()) => assert_eq!(&rows(&store).expect("was found sound"), expected),
        Err(_) => assert!(!same, "a sound store is sound"),
    }
    drop(store);
    let Ok(store) = open() else {
        return;
    };
    // redb asserts what it reads: the thread that reads a damaged page ends, and only that.
    let _rows_error_or_panic = catch_unwind(AssertUnwindSafe(|| drop((rows(&store), store))));
}
