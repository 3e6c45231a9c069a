//! A space that a test writes, commit by commit.

use super::{Library, Shelf, point::Point};
use crate::{
    commit::{Item, SecretKey},
    doc::{
        Document,
        entry::{EntryOp, RootContent, RootSpec},
        promotion,
        text::diff,
    },
    engine::{Command, Effect, Engine, Input, Now, Outcome, Ticket},
    ids::{CommitHash, DocId, InstallEpoch, ReplicaId, SpaceId},
    store::{Edit, Store},
};

/// One device that writes what the test says, at the times that it says.
pub(crate) struct Writer {
    pub(crate) engine: Engine,
    pub(crate) space: SpaceId,
    pub(crate) handle: u32,
    pub(crate) replica: ReplicaId,
    pub(crate) wall_ms: u64,
}

impl Writer {
    pub(crate) fn new() -> Self {
        let engine = Engine::open(Store::in_memory().expect("opens"), SecretKey::from_bytes(&[1; 32]), [0; 32]);
        let engine = engine.expect("opens");
        let (space, replica) = (SpaceId([0; 32]), ReplicaId([0; 16]));
        let mut writer = Self { engine, space, handle: 0, replica, wall_ms: 1000 };
        let founding = Command::CreateSpace {
            name: "space".into(),
            device_name: "device".into(),
            random: [7; 32],
            epoch: InstallEpoch([0; 16]),
        };
        writer.turn(Input::Command { command: founding, ticket: Ticket(0) });
        let spaces = writer.engine.store().read().expect("reads").spaces().expect("reads");
        let (handle, row) = spaces.into_iter().next().expect("is in a space");
        (writer.handle, writer.space, writer.replica) = (handle, row.id, row.replica);
        writer
    }

    pub(crate) fn turn(&mut self, input: Input) {
        let now = Now { mono_ms: 1, wall_ms: self.wall_ms };
        let effects = self.engine.turn(now, vec![input]).expect("the store in memory does not fail");
        for effect in effects {
            if let Effect::Done { outcome: Ok(Outcome::Edited { stale, .. }), .. } = &effect {
                assert_eq!(stale, &Vec::<usize>::new());
            }
            assert!(!matches!(effect, Effect::Done { outcome: Err(_), .. }), "{effect:?}");
        }
    }

    pub(crate) fn commit(&mut self, items: Vec<Item>) {
        let edits = vec![Edit { items, writes: Vec::new() }];
        self.turn(Input::Edit { space: self.space, edits, ticket: Ticket(0) });
    }

    pub(crate) fn make(&mut self, spec: &RootSpec) -> File {
        let root = spec.build();
        let doc = DocId::from(root.hash);
        self.commit(vec![Item::change(doc, root.bytes.clone())]);
        File { doc, document: Document::from_changes([&root.bytes]).expect("opens"), root: root.bytes }
    }

    pub(crate) fn file(&mut self, parent: Option<DocId>, name: &str, text: &str) -> File {
        let content = RootContent::Inline(text.as_bytes().to_vec());
        self.make(&RootSpec::file(self.space, parent, name, content))
    }

    pub(crate) fn edit(&mut self, file: &mut File, ops: &[EntryOp]) {
        let item = self.change(file, ops);
        self.commit(vec![item]);
    }

    pub(crate) fn change(&self, file: &mut File, ops: &[EntryOp]) -> Item {
        let at = file.document.heads();
        let bytes = file.document.edit(self.replica, &at, ops).expect("edits").bytes;
        Item::change(file.doc, bytes)
    }

    pub(crate) fn save(&mut self, file: &mut File, text: &str) {
        let mut items = Vec::new();
        if file.document.text().expect("reads").is_none() {
            let promotion = promotion::of_root(&file.root).expect("is text");
            file.document.apply([&promotion.bytes]).expect("applies");
            items.push(Item::Promotion { doc: file.doc, of: file.doc.into(), hash: promotion.hash });
        }
        let old = file.document.text().expect("reads").expect("is a text");
        let item = self.change(file, &[EntryOp::Splice(diff(&old, text))]);
        items.push(item);
        self.commit(items);
    }

    pub(crate) fn library(&self) -> Library {
        Library::new(self.engine.store().read().expect("reads"), self.handle, Shelf::default())
    }

    /// The newest commit.
    pub(crate) fn last(&self) -> CommitHash {
        let rows = self.engine.store().read().expect("reads");
        let (_, replica, n) = rows.order_back(self.handle, 1).expect("reads")[0];
        rows.commit_row(self.handle, replica, n).expect("reads").expect("is there").hash()
    }

    pub(crate) fn named(&self, commit: &CommitHash) -> Point {
        Point::named(self.library().rows(), self.handle, &commit.to_string()).expect("is held").point
    }
}

pub(crate) struct File {
    pub(crate) doc: DocId,
    pub(crate) document: Document,
    pub(crate) root: Vec<u8>,
}
