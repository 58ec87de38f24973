//! The records of a batch, one after the other and a few at once.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::task::JoinSet;
use tracing::error;

use super::Track;
use super::lines::{Line, Lines};
use super::settled::{Settled, end};
use super::track::Ends;
use crate::domain::document::Document;
use crate::domain::error::{Code, Error, Fault};
use crate::domain::job::{Draft, ErrorDraft, JobView, Ordinal};
use crate::domain::record::{Batch, RecordInput, RecordSource, text};
use crate::engine::journal::Halt;
use crate::engine::metrics::label;
use crate::engine::ports::Outcome;
use crate::engine::run::{Shared, call_all, patiently};
use crate::engine::{ASK_AGAIN, Engine, Inner};

/// Longer lines are read where nobody waits.
const LONG_LINE: usize = 64 << 10;

/// Brings every record to its end. Gives how many subtrees were asked for, or why the records
/// cannot be read.
///
/// No more records are begun at once than calls may be made, so that what is in memory does not
/// grow with their number.
pub(in crate::engine) async fn walk(
    shared: &Arc<Shared>,
    view: &JobView,
    batch: Batch,
) -> Result<Result<usize, (Fault, String)>, Halt> {
    let engine = &shared.engine;
    let mut lines = Lines::of(engine, &shared.spec.document_sha256, batch.bytes);
    let mut settled = if view.subtrees_succeeded + view.subtrees_failed == 0 {
        Settled::none(&shared.scope, view.id)
    } else {
        Settled::of(&shared.scope, view.id, 0)
    };
    let most = shared.spec.config.max_num_concurrent_requests as usize;
    let mut open = JoinSet::new();
    let (mut asked, mut outcome) = (0, Ok(()));
    while outcome.is_ok() && !engine.is_draining() {
        let line = match next_line(engine, &mut lines).await? {
            Ok(Some(line)) if line.index < batch.records => line,
            Ok(None) if lines.count() < batch.records => return Ok(Err(gone())),
            Ok(_) => break,
            Err(error) => return Ok(Err((Fault::Internal, error.detail))),
        };
        let first = batch.first(line.index);
        let before = taken(engine, &mut settled, first, batch.subtrees).await?;
        if before.len() == batch.subtrees as usize {
            continue;
        }
        asked += batch.subtrees as usize - before.len();
        while open.len() >= most && outcome.is_ok() {
            outcome = joined(&mut open).await?;
        }
        open.spawn(extract(Arc::clone(shared), batch, line, before));
    }
    while !open.is_empty() {
        // Those that are under way are paid for.
        if let Err(halt) = joined(&mut open).await? {
            outcome = Err(halt);
        }
    }
    if engine.is_draining() {
        outcome = Err(Halt::Drained);
    }
    outcome.map(|()| Ok(asked))
}

fn gone() -> (Fault, String) {
    let message = "The file holds fewer records than when the job was made.";
    (Fault::Internal, message.into())
}

/// The end of one record that was begun. A job that is no longer ours stops at once.
async fn joined(open: &mut JoinSet<Result<(), Halt>>) -> Result<Result<(), Halt>, Halt> {
    match open.join_next().await {
        None | Some(Ok(Ok(()))) => Ok(Ok(())),
        Some(Ok(Err(Halt::Drained))) => Ok(Err(Halt::Drained)),
        Some(Ok(Err(Halt::Lost))) => Err(Halt::Lost),
        Some(Err(panic)) => {
            error!(%panic, "batch.record_panicked: a record broke");
            Err(Halt::Lost)
        }
    }
}

/// As [`patiently`] asks: for as long as the store does not answer.
async fn next_line(engine: &Inner, lines: &mut Lines) -> Result<Result<Option<Line>, Error>, Halt> {
    loop {
        match lines.next().await {
            Err(error) if is_away(&error) => pause(engine).await?,
            answer => return Ok(answer),
        }
    }
}

/// The same of the outcomes from before.
async fn taken(
    engine: &Inner,
    settled: &mut Settled,
    first: Ordinal,
    count: u32,
) -> Result<Vec<Outcome>, Halt> {
    loop {
        match settled.take(engine, first, count).await {
            Ok(outcomes) => return Ok(outcomes),
            Err(error) if is_away(&error) => pause(engine).await?,
            Err(cause) => {
                // The lease runs out and the job is claimed again.
                error!(%cause, "batch.outcomes: the outcomes so far cannot be read");
                return Err(Halt::Lost);
            }
        }
    }
}

fn is_away(error: &Error) -> bool {
    matches!(error.code, Code::StoreUnavailable | Code::StorageFull)
}

async fn pause(engine: &Inner) -> Result<(), Halt> {
    tokio::select! {
        biased;
        () = engine.drained() => Err(Halt::Drained),
        () = tokio::time::sleep(ASK_AGAIN) => Ok(()),
    }
}

/// Brings the subtrees of one record that have no outcome to one.
async fn extract(
    shared: Arc<Shared>,
    batch: Batch,
    line: Line,
    before: Vec<Outcome>,
) -> Result<(), Halt> {
    let requires_rows = shared.spec.config.require_complete_arrays;
    let mut ends = Ends::new(batch.subtrees as usize, requires_rows);
    for outcome in &before {
        ends.settle(outcome.ordinal as usize, end(outcome));
    }
    let pending = ends.pending();
    let input = read(line.bytes, shared.engine.settings.max_document_bytes).await;
    let (id, source) = match input {
        Ok(input) => (input.id, Ok(input.source)),
        Err(wrong) => (None, Err(wrong)),
    };
    let track = Track::new(line.index, id, batch.first(line.index), ends);
    let document = match source {
        Ok(source) => document(&shared, source).await?,
        Err(wrong) => Err(wrong),
    };
    let document = match document {
        Ok(document) => document,
        Err(wrong) => return refuse(&shared, &track, &pending, &wrong).await,
    };
    let run = shared.run(document, &pending, &before, Some(track));
    let run = Arc::new(run.await);
    let pending = run.reuse(&shared.scope, pending).await?;
    call_all(&run, &pending).await
}

/// A line as a record, or a sentence about what is wrong with it.
async fn read(bytes: Result<Bytes, u64>, limit: u64) -> Result<RecordInput, String> {
    let bytes = bytes.map_err(|size| {
        format!("The line of the record has {size} bytes; the limit of a document is {limit}.")
    })?;
    let is_long = bytes.len() >= LONG_LINE;
    let read = move || {
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| format!("The line of the record is not JSON: {error}."))?;
        RecordInput::of_line(value)
    };
    if !is_long {
        return read();
    }
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|_| Err("The line of the record could not be read.".into()))
}

async fn document(
    shared: &Shared,
    source: RecordSource,
) -> Result<Result<Arc<Document>, String>, Halt> {
    let inner = &shared.engine;
    let words = match source {
        RecordSource::Text(words) => words,
        RecordSource::Data(data) => text(&data),
        RecordSource::Document(id) => {
            let engine = Engine {
                inner: Arc::clone(inner),
            };
            let asked = patiently(inner, || async {
                let stored = engine.document(&shared.scope, id).await?;
                inner.parsed_document(&stored.sha256).await
            });
            let read = asked.await?.map_err(|error| error.detail);
            return Ok(read.and_then(with_text));
        }
    };
    let read = inner.read(words.into()).await;
    Ok(read.map_err(|error| error.detail).and_then(with_text))
}

/// Records are read by their words.
fn with_text(document: Arc<Document>) -> Result<Arc<Document>, String> {
    if document.kind.has_text() {
        return Ok(document);
    }
    Err("The document of the record has pictures and no words. Extract from it in a job of its own, with a model that sees.".into())
}

/// Fails all that is left of a record that cannot be read.
async fn refuse(
    shared: &Shared,
    track: &Track,
    pending: &[usize],
    wrong: &str,
) -> Result<(), Halt> {
    let outcomes = &shared.engine.metrics.subtrees;
    for index in pending {
        let Some(subtree) = shared.planned.plan.subtrees.get(*index) else {
            continue;
        };
        outcomes.get_or_create(&label("outcome", "error")).inc();
        let draft = ErrorDraft {
            ordinal: *index as u32,
            subtree_id: subtree.id.clone(),
            path: subtree.path.clone(),
            fields: subtree.total_fields,
            fault: Fault::DocumentUnreadable,
            message: wrong.chars().take(2_000).collect(),
            usage: shared.blank(),
            attempts: 0,
            duration_ms: 0,
            record: None,
        };
        track.say(&shared.journal, Draft::Error(draft)).await?;
    }
    Ok(())
}
