//! Document chunks: the form in which Automerge saves a whole document. Rows come from the caller, in the order in which a
//! document holds them; nothing is sorted or checked here.

use std::collections::BTreeMap;

use super::{
    DOCUMENT, Id, Key, Value, chunk,
    column::{
        ACTION, EXPAND, ID_ACTOR, ID_COUNTER, INSERT, MARK_NAME, SUCC_ACTOR, SUCC_COUNT, SUCC_COUNTER, booleans,
        differences, ids, in_order, put_bytes, put_column_heads, shared, texts, uleb, unsigned,
    },
};

/// Actor of a change.
pub const CHANGE_ACTOR: u32 = 0x01;
/// Its number among that actor's changes.
pub const CHANGE_SEQ: u32 = 0x03;
/// Counter of its last operation.
pub const CHANGE_MAX_OP: u32 = 0x13;
/// Its time.
pub const CHANGE_TIME: u32 = 0x23;
/// Its message.
pub const CHANGE_MESSAGE: u32 = 0x35;
/// How many changes it depends on.
pub const CHANGE_DEPS_COUNT: u32 = 0x40;
/// Which: rows of this table.
pub const CHANGE_DEPS: u32 = 0x43;
/// Type and length of what stands behind its columns.
pub const CHANGE_EXTRA_META: u32 = 0x56;

/// A row of a document's table of changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DocumentChange {
    /// Index of its actor.
    pub actor: u64,
    /// Its number among that actor's changes.
    pub seq: i64,
    /// Counter of its last operation.
    pub max_op: i64,
    /// Its time.
    pub time: i64,
    /// Its message.
    pub message: Option<String>,
    /// Rows of the changes it depends on.
    pub deps: Vec<i64>,
}

/// A row of a document's table of operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentOp {
    /// The operation itself.
    pub id: Id,
    /// The object it acts on; none is the root.
    pub obj: Option<Id>,
    /// Where in the object.
    pub key: Key,
    /// Whether it makes a new element of a sequence.
    pub insert: bool,
    /// What it does.
    pub action: u64,
    /// Its scalar.
    pub value: Value,
    /// What replaces it.
    pub succ: Vec<Id>,
    /// Whether a mark expands.
    pub expand: bool,
    /// The name of a mark.
    pub mark_name: Option<String>,
}

/// A document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// All actors; Automerge writes them sorted.
    pub actors: Vec<Vec<u8>>,
    /// Hashes of the heads; Automerge writes them sorted.
    pub heads: Vec<[u8; 32]>,
    /// Rows of the heads.
    pub head_rows: Vec<u64>,
    /// Its changes.
    pub changes: Vec<DocumentChange>,
    /// Its operations.
    pub ops: Vec<DocumentOp>,
    /// What stands in a column of the changes instead.
    pub change_columns: BTreeMap<u32, Vec<u8>>,
    /// What stands in a column of the operations instead.
    pub op_columns: BTreeMap<u32, Vec<u8>>,
}

impl Document {
    fn encoded_change_columns(&self) -> Vec<(u32, Vec<u8>)> {
        let changes = || self.changes.iter();
        let deps = || changes().flat_map(|change| &change.deps);
        let mut columns = vec![
            (CHANGE_ACTOR, unsigned(changes().map(|change| Some(change.actor)))),
            (CHANGE_SEQ, differences(changes().map(|change| Some(change.seq)))),
            (CHANGE_MAX_OP, differences(changes().map(|change| Some(change.max_op)))),
            (CHANGE_TIME, differences(changes().map(|change| Some(change.time)))),
            (CHANGE_MESSAGE, texts(changes().map(|change| change.message.as_deref()))),
            (CHANGE_DEPS_COUNT, unsigned(changes().map(|change| Some(change.deps.len() as u64)))),
            (CHANGE_DEPS, differences(deps().map(|row| Some(*row)))),
            // No bytes of the type "bytes": what Automerge writes for a change with nothing behind its columns.
            (CHANGE_EXTRA_META, unsigned(changes().map(|_| Some(7)))),
        ];
        columns.extend(self.change_columns.iter().map(|(spec, bytes)| (*spec, bytes.clone())));
        in_order(columns)
    }

    fn encoded_op_columns(&self) -> Vec<(u32, Vec<u8>)> {
        let ops = || self.ops.iter();
        let mut columns = shared(ops().map(|op| (op.obj, &op.key)), ops().map(|op| &op.value));
        columns.push((ID_ACTOR, unsigned(ops().map(|op| Some(op.id.actor)))));
        columns.push((ID_COUNTER, differences(ops().map(|op| Some(op.id.counter as i64)))));
        columns.push((INSERT, booleans(ops().map(|op| op.insert))));
        columns.push((ACTION, unsigned(ops().map(|op| Some(op.action)))));
        columns.extend(ids(ops().map(|op| &op.succ), [SUCC_COUNT, SUCC_ACTOR, SUCC_COUNTER]));
        if ops().any(|op| op.expand) {
            columns.push((EXPAND, booleans(ops().map(|op| op.expand))));
        }
        columns.push((MARK_NAME, texts(ops().map(|op| op.mark_name.as_deref()))));
        columns.extend(self.op_columns.iter().map(|(spec, bytes)| (*spec, bytes.clone())));
        in_order(columns)
    }

    /// The chunk.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut content = uleb(self.actors.len() as u64);
        for actor in &self.actors {
            put_bytes(&mut content, actor);
        }
        content.extend(uleb(self.heads.len() as u64));
        content.extend(self.heads.as_flattened());
        let (changes, ops) = (self.encoded_change_columns(), self.encoded_op_columns());
        put_column_heads(&mut content, &changes);
        put_column_heads(&mut content, &ops);
        content.extend(changes.iter().chain(&ops).flat_map(|(_, bytes)| bytes));
        content.extend(self.head_rows.iter().flat_map(|row| uleb(*row)));
        chunk(DOCUMENT, &content, None)
    }
}
