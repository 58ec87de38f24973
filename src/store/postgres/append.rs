//! Appending to logs: the commits of many jobs in one transaction of two round trips.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::try_join;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Terms;
use super::clock::DatabaseClock;
use super::connection::{Connection, Param, Pool};
use super::line::Server;
use super::news;
use super::outbox::{self, Endpoints};
use super::rows::{self, JOBS, VIEW};
use super::windows;
use crate::domain::id::{JobId, Scope};
use crate::domain::job::{Draft, JobView, Ordinal};
use crate::engine::ports::{Commit, Committed, Guard, StoreError, StoredEvent};
use crate::store::state;

/// Sent after the lock was asked for: answered with what stands once it is held.
const SETTLED: &str = "SELECT outcomes.job_id, outcomes.ordinal FROM outcomes \
     JOIN unnest($1::uuid[], $2::bigint[]) AS asked (job_id, ordinal) USING (job_id, ordinal)";
const WRITE: &str = "WITH logged AS ( \
     INSERT INTO events (job_id, sequence, kind, payload) \
     SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[])), \
     settled AS ( \
     INSERT INTO outcomes (job_id, ordinal, sequence, aside, answer) \
     SELECT * FROM unnest($5::uuid[], $6::bigint[], $7::bigint[], $8::text[], $18::bytea[])) \
     UPDATE jobs SET status = new.status, sequence = new.sequence, updated_ms = new.updated_ms, \
     ended_ms = new.ended_ms, expires_ms = new.expires_ms, state = new.state, epoch = new.epoch, \
     owner = CASE WHEN new.status = 'review_required' THEN '' WHEN new.lets_go THEN NULL \
     ELSE owner END, \
     lease_ms = CASE WHEN new.status = 'review_required' THEN 9223372036854775807 \
     WHEN new.lets_go THEN NULL ELSE lease_ms END \
     FROM unnest($9::uuid[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], \
     $14::bigint[], $15::text[], $16::bigint[], $17::boolean[]) \
     AS new (id, status, sequence, updated_ms, ended_ms, expires_ms, state, epoch, lets_go) \
     WHERE jobs.id = new.id";

/// A job that is locked, and what becomes of it.
struct Held {
    scope: Scope,
    view: JobView,
    epoch: u64,
    clock: i64,
    is_changed: bool,
    /// Its owner loses the lease.
    lets_go: bool,
}

/// The rows that a group adds.
#[derive(Default)]
struct New {
    event_jobs: Vec<Uuid>,
    event_sequences: Vec<i64>,
    event_kinds: Vec<&'static str>,
    event_payloads: Vec<String>,
    outcome_jobs: Vec<Uuid>,
    outcome_ordinals: Vec<i64>,
    outcome_sequences: Vec<i64>,
    outcome_asides: Vec<Option<String>>,
    outcome_answers: Vec<Option<Vec<u8>>>,
    windows: windows::New,
    outbox: outbox::New,
}

impl New {
    fn take(&mut self, more: Self) {
        self.event_jobs.extend(more.event_jobs);
        self.event_sequences.extend(more.event_sequences);
        self.event_kinds.extend(more.event_kinds);
        self.event_payloads.extend(more.event_payloads);
        self.outcome_jobs.extend(more.outcome_jobs);
        self.outcome_ordinals.extend(more.outcome_ordinals);
        self.outcome_sequences.extend(more.outcome_sequences);
        self.outcome_asides.extend(more.outcome_asides);
        self.outcome_answers.extend(more.outcome_answers);
        self.windows.take(more.windows);
        self.outbox.take(more.outbox);
    }
}

type Settled = HashSet<(JobId, Ordinal)>;

pub struct Appender {
    pool: Pool,
    terms: Arc<Terms>,
    clock: Arc<DatabaseClock>,
}

impl Server<Commit, Committed> for Appender {
    fn serve<'a>(
        &'a mut self,
        group: &'a [Commit],
    ) -> BoxFuture<'a, Result<Vec<Committed>, StoreError>> {
        self.append(group).boxed()
    }
}

impl Appender {
    pub fn new(pool: Pool, terms: Arc<Terms>, clock: Arc<DatabaseClock>) -> Self {
        Self { pool, terms, clock }
    }

    async fn append(&self, group: &[Commit]) -> Result<Vec<Committed>, StoreError> {
        let connection = self.pool.connection().await?;
        let (mut held, mut settled, endpoints) = self.hold(&connection, group).await?;
        let mut new = New::default();
        let mut answers = Vec::with_capacity(group.len());
        for commit in group {
            answers.push(self.admit(commit, &endpoints, &mut held, &mut settled, &mut new)?);
        }
        let changed: Vec<_> = held.values().filter(|held| held.is_changed).collect();
        if changed.is_empty() {
            return Ok(answers);
        }
        write(&connection, &changed, &new).await?;
        Ok(answers)
    }

    /// Locks the jobs of a group and reads what their commits depend on.
    async fn hold(
        &self,
        connection: &Connection,
        group: &[Commit],
    ) -> Result<(HashMap<JobId, Held>, Settled, Endpoints), StoreError> {
        let ids: Vec<_> = group.iter().map(|commit| commit.job.0).collect();
        let outcomes = group.iter().flat_map(|commit| {
            let ordinals = commit.drafts.iter().filter_map(Draft::ordinal);
            ordinals.map(|ordinal| (commit.job.0, i64::from(ordinal)))
        });
        let (jobs, ordinals): (Vec<_>, Vec<_>) = outcomes.unzip();
        // In the order of the ids, so that two groups never wait for each other.
        let rows = format!(
            "SELECT {VIEW}, jobs.scope, jobs.epoch, clock_ms() FROM {JOBS} \
             WHERE jobs.id = ANY($1) ORDER BY jobs.id FOR NO KEY UPDATE OF jobs"
        );
        let rows = connection.statement(&rows).await?;
        let settled = connection.statement(SETTLED).await?;
        let endpoints = connection.statement(outbox::ENDPOINTS).await?;
        let asked = Instant::now();
        let (by_id, both): ([Param; 1], [Param; 2]) = ([&ids], [&jobs, &ordinals]);
        let answers = async {
            let endpoints = async {
                if !group.iter().any(ends) {
                    return Ok(Vec::new());
                }
                connection.send(&endpoints, &by_id).await
            };
            Ok(try_join!(
                connection.begin("BEGIN"),
                connection.send(&rows, &by_id),
                connection.send(&settled, &both),
                endpoints,
            )?)
        };
        let ((), rows, settled, endpoints) = connection.within(answers).await?;
        if let Some(row) = rows.first() {
            self.clock.learn(row.try_get(11)?, asked);
        }
        let jobs = rows
            .iter()
            .map(|row| held(row).map(|held| (held.view.id, held)));
        let jobs = jobs.collect::<Result<_, _>>()?;
        let endpoints = outbox::endpoints(&endpoints)?;
        Ok((jobs, read_settled(&settled)?, endpoints))
    }

    fn admit(
        &self,
        commit: &Commit,
        endpoints: &Endpoints,
        jobs: &mut HashMap<JobId, Held>,
        settled: &mut Settled,
        new: &mut New,
    ) -> Result<Committed, StoreError> {
        let Some(held) = jobs.get_mut(&commit.job) else {
            return Ok(Committed::Missing);
        };
        let before = held.view.status;
        let (mut epoch, mut lets_go) = (held.epoch, held.lets_go);
        match &commit.guard {
            Guard::Lease { epoch: mine } if *mine != epoch => return Ok(Committed::Fenced),
            Guard::Lease { .. }
                if commit
                    .at_sequence
                    .is_some_and(|at| at != held.view.sequence) =>
            {
                let sequence = held.view.sequence;
                return Ok(Committed::Moved { sequence });
            }
            Guard::Lease { .. } if before.is_idle() => return Ok(Committed::Fenced),
            Guard::Lease { .. } => {}
            Guard::Caller { scope } if *scope != held.scope => return Ok(Committed::Missing),
            Guard::Caller { .. } => (epoch, lets_go) = (epoch + 1, true),
        }
        let now = self.terms.moment(held.clock);
        let (mut view, mut rows, mut outcomes) = (held.view.clone(), New::default(), Vec::new());
        let mut events = Vec::with_capacity(commit.drafts.len());
        for draft in &commit.drafts {
            if let Draft::Window(window) = draft {
                rows.windows.add(commit.job, window);
                view.pay(window);
                continue;
            }
            let outcome = draft.ordinal().map(|ordinal| (commit.job, ordinal));
            if outcome.is_some_and(|one| settled.contains(&one) || outcomes.contains(&one)) {
                continue;
            }
            match view.admit(draft.clone(), now, self.terms.retention_ms) {
                Ok(envelope) => events.push(self.log(&mut rows, &envelope, draft)?),
                Err(refusal) => {
                    let status = before;
                    return Ok(Committed::Refused { refusal, status });
                }
            }
            outcomes.extend(outcome);
        }
        if view.status.is_terminal() && !before.is_terminal() {
            lets_go = true;
            rows.outbox.add(&held.scope, &view, endpoints);
        }
        settled.extend(outcomes);
        held.is_changed |= !rows.windows.is_empty();
        new.take(rows);
        held.is_changed |= view.sequence != held.view.sequence || epoch != held.epoch;
        (held.view, held.epoch, held.lets_go) = (view, epoch, lets_go);
        Ok(Committed::Stored {
            view: Box::new(held.view.clone()),
            events,
            epoch,
        })
    }

    fn log(
        &self,
        rows: &mut New,
        envelope: &crate::domain::event::Envelope,
        draft: &Draft,
    ) -> Result<StoredEvent, StoreError> {
        let encoded = envelope.encode(self.terms.max_event_bytes)?;
        rows.event_jobs.push(envelope.job.0);
        rows.event_sequences.push(envelope.sequence as i64);
        rows.event_kinds.push(envelope.event.kind().name());
        let event = StoredEvent {
            sequence: envelope.sequence,
            kind: envelope.event.kind(),
            payload: encoded.payload.clone().into(),
        };
        rows.event_payloads.push(encoded.payload);
        if let Some(ordinal) = draft.ordinal() {
            let aside = encoded.aside.as_ref().map(serde_json::to_string);
            rows.outcome_jobs.push(envelope.job.0);
            rows.outcome_ordinals.push(i64::from(ordinal));
            rows.outcome_sequences.push(envelope.sequence as i64);
            rows.outcome_asides.push(aside.transpose()?);
            rows.outcome_answers.push(draft.answer().map(Vec::from));
        }
        Ok(event)
    }
}

fn ends(commit: &Commit) -> bool {
    let mut drafts = commit.drafts.iter();
    drafts.any(|draft| match draft {
        Draft::End(_) => true,
        Draft::Review(review) => review.decision.is_some(),
        _ => false,
    })
}

fn held(row: &Row) -> Result<Held, StoreError> {
    Ok(Held {
        view: rows::view(row)?,
        scope: Scope::new(row.try_get::<_, String>(9)?),
        epoch: row.try_get::<_, i64>(10)? as u64,
        clock: row.try_get(11)?,
        is_changed: false,
        lets_go: false,
    })
}

fn read_settled(rows: &[Row]) -> Result<Settled, StoreError> {
    let one = |row: &Row| Ok((JobId(row.try_get(0)?), row.try_get::<_, i64>(1)? as Ordinal));
    rows.iter().map(one).collect()
}

async fn write(connection: &Connection, changed: &[&Held], new: &New) -> Result<(), StoreError> {
    let column = |of: fn(&Held) -> i64| changed.iter().map(|held| of(held)).collect::<Vec<_>>();
    let ids: Vec<_> = changed.iter().map(|held| held.view.id.0).collect();
    let status: Vec<_> = changed.iter().map(|held| held.view.status.name()).collect();
    let sequences = column(|held| held.view.sequence as i64);
    let updated = column(|held| held.view.updated_at.0);
    let times = |of: fn(&Held) -> Option<i64>| changed.iter().map(|held| of(held)).collect();
    let ended: Vec<_> = times(|held| held.view.ended_at.map(|at| at.0));
    let expires: Vec<_> = times(|held| held.view.expires_at.map(|at| at.0));
    let states = changed.iter().map(|held| state::write(&held.view));
    let states = states.collect::<Result<Vec<_>, _>>()?;
    let epochs = column(|held| held.epoch as i64);
    let lets_go: Vec<_> = changed.iter().map(|held| held.lets_go).collect();
    let ends = changed
        .iter()
        .map(|held| (held.view.id, held.view.sequence));
    let (channel, hint) = (news::EVENTS, news::events(ends));

    let write = connection.statement(WRITE).await?;
    let keep = connection.statement(windows::KEEP).await?;
    let post = connection.statement(outbox::POST).await?;
    let notify = connection.statement(news::NOTIFY).await?;
    let rows: [Param; 18] = [
        &new.event_jobs,
        &new.event_sequences,
        &new.event_kinds,
        &new.event_payloads,
        &new.outcome_jobs,
        &new.outcome_ordinals,
        &new.outcome_sequences,
        &new.outcome_asides,
        &ids,
        &status,
        &sequences,
        &updated,
        &ended,
        &expires,
        &states,
        &epochs,
        &lets_go,
        &new.outcome_answers,
    ];
    let hint: [Param; 2] = [&channel, &hint];
    let read: [Param; 3] = [&new.windows.jobs, &new.windows.keys, &new.windows.bodies];
    let notices = new.outbox.columns();
    let answers = async {
        let posted = async {
            if new.outbox.is_empty() {
                return Ok(Vec::new());
            }
            connection.send(&post, &notices).await
        };
        let kept = async {
            if new.windows.is_empty() {
                return Ok(Vec::new());
            }
            connection.send(&keep, &read).await
        };
        // After the commit, in a transaction of its own that writes nothing: a notification holds
        // a lock on all others until its transaction is flushed.
        try_join!(
            connection.send(&write, &rows),
            kept,
            posted,
            connection.commit(),
            connection.send(&notify, &hint)
        )?;
        Ok(())
    };
    connection.within(answers).await?;
    connection.settle();
    Ok(())
}
