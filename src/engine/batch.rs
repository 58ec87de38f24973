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

use lines::Lines;
pub(super) use output::write_output;
pub use results::RecordResult;
pub(super) use settled::{Settled, end};
pub(super) use track::{End, Track};
pub(super) use walk::walk;

use super::plans::Planned;
use super::ports::StoredDocument;
use super::{Engine, Inner, document_key, sha256_hex, stored};
use crate::domain::document::Kind;
use crate::domain::error::{Code, Error};
use crate::domain::id::{DocumentId, FileId, Scope};
use crate::domain::record::{Batch, MAX_INPUTS, MAX_OUTCOMES, MAX_RECORDS, RecordInput};

/// The name of the document that keeps the records of a request.
const NAME: &str = "inputs.jsonl";

/// Where the records of a job come from.
#[derive(Debug, Clone)]
pub enum Records {
    /// Came with the request: 1 to [`MAX_INPUTS`]. Kept like an upload.
    Inputs(Vec<RecordInput>),
    /// A file of lines, of which each that is not blank is a record: 1 to [`MAX_RECORDS`]. A line
    /// that cannot be read fails its record and no other.
    File(FileId),
}

impl Engine {
    /// Keeps the records of a new job in one file, a line each; gives the document it is kept as.
    ///
    /// Refused with `invalid_request`, `too_large` and the codes of the file.
    pub(super) async fn keep_records(
        &self,
        scope: &Scope,
        records: Records,
        planned: &Planned,
    ) -> Result<(StoredDocument, Batch), Error> {
        let batch = Batch {
            records: 0,
            bytes: 0,
            subtrees: planned.plan.subtrees.len() as u32,
            is_file: matches!(records, Records::File(_)),
        };
        match records {
            Records::Inputs(inputs) => self.keep_inputs(scope, inputs, batch).await,
            Records::File(file) => self.keep_file(scope, file, batch).await,
        }
    }

    async fn keep_inputs(
        &self,
        scope: &Scope,
        inputs: Vec<RecordInput>,
        mut batch: Batch,
    ) -> Result<(StoredDocument, Batch), Error> {
        let count = inputs.len();
        if !(1..=MAX_INPUTS).contains(&count) {
            let message = format!(
                "{count} records; a request takes 1 to {MAX_INPUTS}. Upload more of them as a file and send `file_id`."
            );
            return Err(refused("/inputs", message));
        }
        batch.records = count as u64;
        check_size(&batch)?;
        let limit = self.max_document_bytes();
        let written = tokio::task::spawn_blocking(move || lines_of(&inputs, limit));
        let lines = written.await.map_err(|panic| {
            error!(%panic, "batch.lines: records could not be written as lines");
            Error::internal()
        })??;
        batch.bytes = lines.len() as u64;
        let (inner, sha256) = (&self.inner, sha256_hex(&lines));
        let document = inner.kept_as(NAME, batch.bytes, sha256);
        inner.keep_lines(scope, &document, Some(lines)).await?;
        Ok((document, batch))
    }

    /// The file stays as it is; a document of the same bytes keeps them for the job.
    async fn keep_file(
        &self,
        scope: &Scope,
        file: FileId,
        mut batch: Batch,
    ) -> Result<(StoredDocument, Batch), Error> {
        let file = self.complete_upload(scope, file).await?;
        let mut lines = Lines::of(&self.inner, &file.sha256, file.size);
        while lines.count() <= MAX_RECORDS && lines.next().await?.is_some() {}
        batch.records = lines.count();
        batch.bytes = file.size;
        if batch.records == 0 {
            let message = format!(
                "File {} has no line that is not blank. Send a file with a record in each line.",
                file.id
            );
            return Err(refused("/file_id", message));
        }
        if batch.records > MAX_RECORDS {
            let message = format!(
                "File {} has more than {MAX_RECORDS} records, the limit. Divide it among several jobs.",
                file.id
            );
            return Err(refused("/file_id", message));
        }
        check_size(&batch)?;
        let document = self.inner.kept_as(&file.name, file.size, file.sha256);
        self.inner.keep_lines(scope, &document, None).await?;
        Ok((document, batch))
    }
}

impl Inner {
    fn kept_as(&self, name: &str, size: u64, sha256: String) -> StoredDocument {
        StoredDocument {
            id: DocumentId(self.clock.mint()),
            name: name.into(),
            kind: Kind::Text,
            size,
            sha256,
            page_count: 1,
            uploaded_at: self.clock.now(),
        }
    }

    /// Without `lines` their bytes are there already, as those of a file.
    async fn keep_lines(
        &self,
        scope: &Scope,
        document: &StoredDocument,
        lines: Option<Bytes>,
    ) -> Result<(), Error> {
        let sha256 = &document.sha256;
        // A delete of the same bytes must not come between the blob and its row.
        let _kept = self.blob_gate.read().await;
        let _held = stored(self.catalog.hold_bytes(sha256, false).await)?;
        match lines {
            Some(lines) => stored(self.blobs.put(&document_key(sha256), lines).await)?,
            None if stored(self.catalog.is_blob_needed(sha256).await)? => {}
            None => {
                let message = "The file was deleted a moment ago.";
                return Err(Error::new(Code::FileNotFound, message));
            }
        }
        let insert = self.catalog.insert_document(scope, document.clone());
        stored(insert.await)
    }
}

fn refused(pointer: &str, message: String) -> Error {
    Error::new(Code::InvalidRequest, message.clone()).at(pointer, message)
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

fn lines_of(inputs: &[RecordInput], limit: u64) -> Result<Bytes, Error> {
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
            let error = Error::new(Code::TooLarge, message.clone());
            return Err(error.at(format!("/inputs/{index}"), message));
        }
        lines.push(b'\n');
    }
    Ok(lines.into())
}
