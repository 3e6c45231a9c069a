//! What a host's workers do between turns, for one engine: read documents from its store, and make the items of an edit.
//!
//! Nothing here gives the engine a turn; who does is [`cluster`](crate::cluster), or a test that lets stores fail. So all
//! of it hands on what the store says.

use std::collections::BTreeMap;

use sync_core::{
    commit::Item,
    doc::{
        DocError, Document,
        entry::{Content, Entry, EntryOp, RootContent, RootSpec},
        promotion, text,
    },
    engine::Engine,
    history::{Bodies, HistoryError, Library, Shelf},
    ids::{DocId, SpaceId},
    store::row::DocRow,
};

/// Reads the documents of a space as of the last turn.
///
/// # Errors
/// When the store fails.
///
/// # Panics
/// When the engine is not in the space.
pub fn library(engine: &Engine, space: &SpaceId) -> Result<Library, HistoryError> {
    let handle = engine.space_handle(space).expect("is in the space");
    Ok(Library::new(engine.store().read()?, handle, Shelf::default()))
}

/// The ids and rows of all documents of a space.
///
/// # Errors
/// When the store fails.
///
/// # Panics
/// When the engine is not in the space.
pub fn documents(engine: &Engine, space: &SpaceId) -> Result<BTreeMap<DocId, DocRow>, HistoryError> {
    let handle = engine.space_handle(space).expect("is in the space");
    let mut rows = BTreeMap::new();
    engine.store().read()?.each_document(handle, |doc, row| {
        rows.insert(doc, row);
    })?;
    Ok(rows)
}

fn open(library: &mut Library, doc: &DocId) -> Result<(DocRow, Document), HistoryError> {
    let row = library.row(doc)?.expect("is held");
    let document = library.open(doc, &row)?;
    Ok((row, document))
}

/// Makes a file or, without content, a directory.
#[must_use]
pub fn create(space: SpaceId, parent: Option<DocId>, name: &str, content: Option<&str>) -> (DocId, Item) {
    let spec = match content {
        Some(text) => RootSpec::file(space, parent, name, RootContent::Inline(text.as_bytes().to_vec())),
        None => RootSpec::dir(space, parent, name),
    };
    let root = spec.build();
    let doc = DocId::from(root.hash);
    (doc, Item::change(doc, root.bytes))
}

/// Applies operations at a document's current heads; nothing when they change nothing.
///
/// # Errors
/// When the store fails or Automerge does.
///
/// # Panics
/// When the document is not held.
pub fn change(engine: &Engine, space: &SpaceId, doc: DocId, ops: &[EntryOp]) -> Result<Option<Item>, HistoryError> {
    let (_, mut document) = open(&mut library(engine, space)?, &doc)?;
    let heads = document.heads();
    match document.edit(engine.replica(space).expect("is in the space"), &heads, ops) {
        Err(DocError::NoChange) => Ok(None),
        change => Ok(Some(Item::change(doc, change?.bytes))),
    }
}

/// Turns a file's text into `new`, promoting it first where it must.
///
/// # Errors
/// When the store fails or Automerge does.
///
/// # Panics
/// When the document is not held or no text.
pub fn write(engine: &Engine, space: &SpaceId, doc: DocId, new: &str) -> Result<Vec<Item>, HistoryError> {
    let mut library = library(engine, space)?;
    let (row, mut document) = open(&mut library, &doc)?;
    let mut items = Vec::new();
    if let Some(Content::Inline(_)) = document.entry()?.content {
        let promotion = promotion::of_root(&library.root_change(&row)?)?;
        document.apply([&promotion.bytes])?;
        items.push(Item::Promotion { doc, of: doc.into(), hash: promotion.hash });
    }
    let old = document.text()?.expect("is a text");
    let heads = document.heads();
    let ops = [EntryOp::Splice(text::diff(&old, new))];
    let replica = engine.replica(space).expect("is in the space");
    let change = document.edit(replica, &heads, &ops)?;
    items.push(Item::change(doc, change.bytes));
    Ok(items)
}

/// A file's text now.
///
/// # Errors
/// When the store fails or Automerge does.
///
/// # Panics
/// When the document is not held.
pub fn text(engine: &Engine, space: &SpaceId, doc: DocId) -> Result<Option<String>, HistoryError> {
    let (_, document) = open(&mut library(engine, space)?, &doc)?;
    match document.entry()?.content {
        Some(Content::Inline(bytes)) => Ok(Some(String::from_utf8(bytes).expect("tests write text"))),
        _ => Ok(document.text()?),
    }
}

/// All changes of a document, in the order of arrival.
///
/// # Errors
/// When the store fails.
///
/// # Panics
/// When the document is not held.
pub fn changes(engine: &Engine, space: &SpaceId, doc: DocId) -> Result<Vec<Vec<u8>>, HistoryError> {
    let handle = engine.space_handle(space).expect("is in the space");
    let snapshot = engine.store().read()?;
    let row = snapshot.document(handle, &doc)?.expect("is held");
    let mut bodies = Bodies::default();
    (0..row.changes).map(|index| Ok(bodies.change(&snapshot, handle, &row, index)?)).collect()
}

/// All entries that an engine holds.
///
/// # Errors
/// When the store fails or Automerge does.
pub fn entries(engine: &Engine, space: &SpaceId) -> Result<BTreeMap<DocId, Entry>, HistoryError> {
    let mut library = library(engine, space)?;
    let documents = documents(engine, space)?;
    documents.into_iter().map(|(doc, row)| Ok((doc, library.entry(&doc, &row)?))).collect()
}
