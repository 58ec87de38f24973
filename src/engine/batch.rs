//! Jobs over many records: one plan, one log, one budget; each record settles alone.
//!
//! An outcome is numbered by its record and its subtree: `record * subtrees + subtree`. The records
//! stay in the file that they are kept in and are read a piece at a time, and only a few of them
//! are worked on at once.

mod lines;
mod output;
mod results;
mod settled;
mod track;
mod walk;

use bytes::Bytes;
use tracing::error;

pub use results::RecordResult;
pub(super) use track::Track;
pub(super) use walk::walk;

use super::plans::Planned;
use super::ports::StoredDocument;
use super::{Engine, document_key, sha256_hex, stored};
use crate::domain::document::Kind;
use crate::domain::error::{Code, Error};
use crate::domain::id::{DocumentId, Scope};
use crate::domain::record::{Batch, MAX_INPUTS, MAX_OUTCOMES, RecordInput};

/// The name of the document that keeps the records of a request.
const NAME: &str = "inputs.jsonl";

/// Where the records of a job come from.
#[derive(Debug, Clone)]
pub enum Records {
    /// Came with the request: 1 to [`MAX_INPUTS`]. Kept like an upload.
    Inputs(Vec<RecordInput>),
}

impl Engine {
    /// Keeps the records of a new job in one file, a line each; gives the document it is kept as.
    ///
    /// Refused with `invalid_request` and `too_large`.
    pub(super) async fn keep_records(
        &self,
        scope: &Scope,
        records: Records,
        planned: &Planned,
    ) -> Result<(StoredDocument, Batch), Error> {
        let Records::Inputs(inputs) = records;
        let count = inputs.len();
        if !(1..=MAX_INPUTS).contains(&count) {
            let message = format!(
                "{count} records; a request takes 1 to {MAX_INPUTS}. Send more of them as a file."
            );
            return Err(Error::new(Code::InvalidRequest, message.clone()).at("/inputs", message));
        }
        let batch = Batch {
            records: count as u64,
            bytes: 0,
            subtrees: planned.plan.subtrees.len() as u32,
            is_file: false,
        };
        check_size(&batch)?;
        let limit = self.max_document_bytes();
        let written = tokio::task::spawn_blocking(move || lines(&inputs, limit));
        let lines = written.await.map_err(|panic| {
            error!(%panic, "batch.lines: records could not be written as lines");
            Error::internal()
        })??;
        let batch = Batch {
            bytes: lines.len() as u64,
            ..batch
        };
        Ok((self.keep_lines(scope, lines).await?, batch))
    }

    async fn keep_lines(&self, scope: &Scope, lines: Bytes) -> Result<StoredDocument, Error> {
        let inner = &self.inner;
        let document = StoredDocument {
            id: DocumentId(inner.clock.mint()),
            name: NAME.into(),
            kind: Kind::Text,
            size: lines.len() as u64,
            sha256: sha256_hex(&lines),
            page_count: 1,
            uploaded_at: inner.clock.now(),
        };
        // A delete of the same bytes must not come between the blob and its row.
        let _kept = inner.blob_gate.read().await;
        let _held = stored(inner.catalog.hold_bytes(&document.sha256, false).await)?;
        stored(
            inner
                .blobs
                .put(&document_key(&document.sha256), lines)
                .await,
        )?;
        let insert = inner.catalog.insert_document(scope, document.clone());
        stored(insert.await)?;
        Ok(document)
    }
}

/// Refuses more outcomes than a job may have.
fn check_size(batch: &Batch) -> Result<(), Error> {
    let (records, subtrees) = (batch.records, u64::from(batch.subtrees));
    if records * subtrees <= MAX_OUTCOMES {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidRequest,
        format!(
            "{records} records of {subtrees} subtrees each are {} outcomes; the limit of a job is {MAX_OUTCOMES}. Divide the records among several jobs.",
            records * subtrees
        ),
    ))
}

fn lines(inputs: &[RecordInput], limit: u64) -> Result<Bytes, Error> {
    let mut lines = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let before = lines.len();
        serde_json::to_writer(&mut lines, &input.to_line()).map_err(|cause| {
            error!(%cause, "batch.line: a record cannot be written as JSON");
            Error::internal()
        })?;
        let size = (lines.len() - before) as u64;
        if size > limit {
            let message = format!("The record has {size} bytes; the limit is {limit}.");
            return Err(
                Error::new(Code::TooLarge, message.clone()).at(format!("/inputs/{index}"), message)
            );
        }
        lines.push(b'\n');
    }
    Ok(lines.into())
}
