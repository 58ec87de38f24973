//! The output of a batch as a file: a line for each record, in the order in which they were sent.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::try_unfold;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tracing::error;
use uuid::Uuid;

use super::results::RecordResult;
use super::settled::Settled;
use crate::domain::error::{Code, Error};
use crate::domain::id::{FileId, JobId, Scope};
use crate::domain::job::JobView;
use crate::domain::record::{Batch, RecordStatus};
use crate::engine::catalog::hex;
use crate::engine::journal::Halt;
use crate::engine::ports::{Pieces, StoreError, StoredFile};
use crate::engine::run::{Shared, patiently};
use crate::engine::{Inner, document_key, stored};

/// Bytes of a piece of the file.
const PIECE: usize = 256 << 10;
/// Times that a file which is deleted as it is made is made anew.
const TRIES: usize = 3;
const MEDIA_TYPE: &str = "application/jsonl";
/// The member of a line that says that its record is not whole.
const ERROR: &str = "$error";

impl RecordResult {
    /// The record as a line of the output, without its end: the value; or, of a record that is not
    /// whole, an object whose only member is `$error`, with what there is of the value as
    /// `partial`.
    ///
    /// No value is taken for that: of one that has a top-level member of this name, or of this name
    /// with further `$` before it, the name gets one more.
    pub fn to_line(&self) -> Value {
        if self.status == RecordStatus::Succeeded {
            return self.value.clone().map_or(Value::Null, escaped);
        }
        let (code, message) = match &self.error {
            Some((fault, message)) => (fault.name(), message.as_str()),
            None => ("internal", ""),
        };
        let mut told = json!({ "code": code, "message": message });
        if let Some(value) = &self.value {
            told["partial"] = value.clone();
        }
        json!({ ERROR: told })
    }
}

fn escaped(value: Value) -> Value {
    match value {
        Value::Object(members) if members.keys().any(|name| is_taken(name)) => {
            let members = members.into_iter().map(|(name, value)| {
                let name = if is_taken(&name) {
                    format!("${name}")
                } else {
                    name
                };
                (name, value)
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn is_taken(name: &str) -> bool {
    name.ends_with(ERROR) && name.trim_start_matches('$') == "error"
}

/// Writes what became of all records of a job that has an outcome of each, and gives the file.
///
/// The file is the same, and has the same id, however often it is written: a run that was cut off
/// after it leaves nothing over.
pub(in crate::engine) async fn write_output(
    shared: &Arc<Shared>,
    view: &JobView,
    batch: Batch,
) -> Result<FileId, Halt> {
    // What was said last has to be in the log, which the file is made from.
    shared.journal.flush().await?;
    let output = Output {
        inner: Arc::clone(&shared.engine),
        scope: shared.scope.clone(),
        view: Arc::new(view.clone()),
        batch,
    };
    match patiently(&shared.engine, || output.write()).await? {
        Ok(file) => Ok(file),
        Err(cause) => {
            error!(%cause, "batch.output: the output cannot be written");
            Err(Halt::Lost)
        }
    }
}

struct Output {
    inner: Arc<Inner>,
    scope: Scope,
    view: Arc<JobView>,
    batch: Batch,
}

/// How far the file is.
struct Place {
    settled: Settled,
    next: u64,
}

impl Output {
    async fn write(&self) -> Result<FileId, Error> {
        let (inner, id) = (&self.inner, file_id(self.view.id, self.view.run));
        if stored(inner.files.file(&self.scope, id).await)?.is_some() {
            return Ok(id);
        }
        // Read twice, since a file lies under its hash.
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut pieces = self.pieces();
        while let Some(piece) = pieces.next().await {
            let piece = stored(piece)?;
            hash.update(&piece);
            size += piece.len() as u64;
        }
        let now = inner.clock.now();
        let lifetime = inner.settings.lifetimes.files;
        let file = StoredFile {
            id,
            name: format!("{}.jsonl", self.view.id),
            media_type: MEDIA_TYPE.into(),
            size,
            sha256: hex(&hash.finalize()),
            created_at: now,
            expires_at: lifetime.map(|time| now.plus(time)),
        };
        let key = document_key(&file.sha256);
        for _ in 0..TRIES {
            stored(inner.blobs.put_pieces(&key, self.pieces()).await)?;
            // A delete of the same bytes must not come between the blob and its row.
            let _kept = inner.blob_gate.read().await;
            let _held = stored(inner.catalog.hold_bytes(&file.sha256, false).await)?;
            if stored(inner.blobs.get_range(&key, 0..1).await)?.is_some() {
                stored(inner.files.insert_file(&self.scope, file).await)?;
                return Ok(id);
            }
        }
        let message = "The output was deleted as it was written.";
        Err(Error::new(Code::StoreUnavailable, message))
    }

    fn pieces(&self) -> Pieces<'_> {
        let place = Place {
            settled: Settled::of(&self.scope, self.view.id, 0),
            next: 0,
        };
        try_unfold(place, |mut place| async {
            let mut piece = Vec::new();
            while piece.len() < PIECE && place.next < self.batch.records {
                let index = place.next;
                let line = self.line(&mut place.settled, index).await.map_err(away)?;
                piece.extend_from_slice(line.to_string().as_bytes());
                piece.push(b'\n');
                place.next += 1;
            }
            Ok((!piece.is_empty()).then(|| (Bytes::from(piece), place)))
        })
        .boxed()
    }

    async fn line(&self, settled: &mut Settled, index: u64) -> Result<Value, Error> {
        let (first, subtrees) = (self.batch.first(index), self.batch.subtrees);
        let outcomes = settled.take(&self.inner, first, subtrees).await?;
        let result = RecordResult::of(index, &self.view, self.batch, outcomes)?;
        result.map(|result| result.to_line()).ok_or_else(|| {
            error!(job = %self.view.id, index, "batch.unsettled: a record has no end");
            Error::internal()
        })
    }
}

/// What the store said, for those who write on.
fn away(error: Error) -> StoreError {
    match error.code {
        Code::StoreUnavailable => StoreError::Unavailable(error.detail),
        Code::StorageFull => StoreError::Full(error.detail),
        _ => StoreError::Failed(error.detail),
    }
}

/// The same for the same run of a job, and with the time of the job in it, as all ids.
fn file_id(job: JobId, run: u32) -> FileId {
    let mut bytes = *job.0.as_bytes();
    let mut hash = Sha256::new();
    hash.update(bytes);
    hash.update(run.to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    // The first half of an id is its time, and the top of the second its variant.
    bytes[9..].copy_from_slice(&hash[..7]);
    FileId(Uuid::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::Fault;

    fn record(status: RecordStatus, value: Option<Value>) -> RecordResult {
        RecordResult {
            index: 0,
            id: None,
            status,
            value,
            attributions: None,
            failed: Vec::new(),
            arrays: Vec::new(),
            validation: None,
            error: Some((Fault::Timeout, "late".into())),
        }
    }

    #[test]
    fn a_value_is_its_line_and_a_failure_says_why() {
        let whole = record(RecordStatus::Succeeded, Some(json!({"a": {"$error": 1}})));
        assert_eq!(whole.to_line(), json!({"a": {"$error": 1}}));
        let failed = record(RecordStatus::Failed, None).to_line();
        assert_eq!(
            failed,
            json!({"$error": {"code": "timeout", "message": "late"}})
        );
        let partial = record(RecordStatus::Partial, Some(json!({"a": 1}))).to_line();
        assert_eq!(
            partial,
            json!({"$error": {"code": "timeout", "message": "late", "partial": {"a": 1}}})
        );
    }

    #[test]
    fn no_value_is_taken_for_a_failure_and_none_for_another() {
        let line = |value: Value| record(RecordStatus::Succeeded, Some(value)).to_line();
        assert_eq!(
            line(json!({"$error": {"code": "timeout"}, "$$error": 2, "error": 3, "a$error": 4})),
            json!({"$$error": {"code": "timeout"}, "$$$error": 2, "error": 3, "a$error": 4})
        );
        assert_eq!(line(json!(["$error"])), json!(["$error"]));
    }
}
