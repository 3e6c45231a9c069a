//! Documents are what a naive model makes of their changes, and nobody sends much more than the other lacks.
//!
//! The model is [`model`](crate::model), which knows nothing of Automerge; devices are compared with each other in
//! [`check`](super::check).

use std::collections::BTreeMap;

use sync_core::{
    doc::{DocError, Document, entry::Content},
    version::VersionVector,
};

use super::{check::Violation, rng::Rng, world::World};
use crate::{
    author,
    model::{Misfit, Model, reordered},
};

/// Bytes that two devices may exchange in a round whatever is missing: hellos, acknowledgements, the state of folders.
const TALK_BYTES: u64 = 64 * 1024;
/// How many times what is missing may be sent.
const TIMES_MAX: u64 = 3;

/// How things stood before a round of healing.
#[derive(Debug)]
pub(super) struct Before {
    bytes: BTreeMap<(usize, usize), u64>,
    vectors: Vec<VersionVector>,
}

impl World {
    // ---- the model ----

    /// Each document, with its changes in a random causal order, is in the model what devices show.
    pub(super) fn documents_are_those_of_the_model(&self) -> Result<(), Violation> {
        let rule = "documents are those of the model";
        let broken = |what: &str| self.violation(rule, what);
        let Some(process) = &self.peers[0].process else { return Ok(()) };
        let (engine, space) = (&process.engine, &self.space);
        let mut rng = Rng::new(self.seed).fork("model");
        for (doc, (entry, text)) in self.entries(0)? {
            let changes = author::changes(engine, space, doc).map_err(|error| broken(&error.to_string()))?;
            let misfit = |Misfit(what)| broken(&format!("{}: {what}", doc.short()));
            let order = reordered(&changes, |ready| rng.index(ready)).map_err(misfit)?;
            let model = Model::of(&order).map_err(misfit)?;
            if model.entry().as_ref() != Ok(&entry) {
                return Err(broken(&format!("{} is {entry:?}, and in the model {:?}", doc.short(), model.entry())));
            }
            if entry.content == Some(Content::Text) {
                let unread = |error: DocError| broken(&error.to_string());
                let document = Document::from_changes(&order).map_err(unread)?;
                let (held, shown) = (document.held_text().map_err(unread)?, document.text().map_err(unread)?);
                if model.text() != held || shown != text {
                    let texts = (model.text(), held, text, shown);
                    return Err(broken(&format!(
                        "{} in the model, held, shown, and shown again: {texts:?}",
                        doc.short()
                    )));
                }
            }
        }
        Ok(())
    }

    // ---- bytes ----

    /// How things stand before a round of healing.
    pub(super) fn before_a_round(&self) -> Before {
        let vector =
            |index: usize| self.peers[index].status(&self.space).map(|status| status.vector).unwrap_or_default();
        Before { bytes: self.net.bytes.clone(), vectors: (0..self.peers.len()).map(vector).collect() }
    }

    /// In a round a device sends another at most three times what it holds in the end and the other lacked in the
    /// beginning, and what devices tell each other anyway.
    pub(super) fn bytes_fit_what_is_missing(&self, before: &Before) -> Result<(), Violation> {
        for (&(from, to), bytes) in &self.net.bytes {
            let sent = bytes - before.bytes.get(&(from, to)).copied().unwrap_or_default();
            if sent <= TALK_BYTES {
                continue;
            }
            let lacked = before.vectors.get(to).cloned().unwrap_or_default();
            let missing = self.bytes_beyond(from, &lacked)?;
            if sent > TIMES_MAX * missing + TALK_BYTES {
                let what = format!("{from} sent {to} {sent} bytes, and {missing} were missing");
                return Err(self.violation("bytes fit what is missing", &what));
            }
        }
        Ok(())
    }

    /// What a device holds beyond a vector, in bytes of commits as they travel.
    fn bytes_beyond(&self, index: usize, vector: &VersionVector) -> Result<u64, Violation> {
        let broken = |error: &dyn std::fmt::Display| self.violation("stores can be read", &error.to_string());
        let Some(status) = self.peers[index].status(&self.space) else { return Ok(0) };
        let (handle, snapshot) = self.snapshot(index)?;
        let logs = snapshot.replicas(handle).map_err(|error| broken(&error))?;
        let mut bytes = 0;
        for range in status.vector.beyond(vector) {
            let Some((replica, _)) = logs.iter().find(|(_, log)| log.id == range.replica) else { continue };
            for n in range.from..=range.to {
                let Some(row) = snapshot.commit_row(handle, *replica, n).map_err(|error| broken(&error))? else {
                    continue;
                };
                let body = snapshot.body(handle, *replica, n).map_err(|error| broken(&error))?;
                bytes += row.with_body(body).wire_len() as u64;
            }
        }
        Ok(bytes)
    }
}
