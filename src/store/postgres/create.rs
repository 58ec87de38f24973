//! New jobs: those that wait, in one transaction of two round trips.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::Terms;
use super::connection::{Connection, Param, Pool};
use super::line::Server;
use super::news;
use super::rows::storable;
use crate::engine::ports::{Created, NewJob, StoreError};
use crate::store::state;

/// A document that is being deleted is waited for.
const DOCUMENTS: &str = "SELECT documents.scope, documents.id FROM documents \
     JOIN (SELECT DISTINCT * FROM unnest($1::text[], $2::uuid[]) AS asked (scope, id)) AS asked \
     USING (scope, id) ORDER BY documents.scope, documents.id FOR KEY SHARE OF documents";
const ARRIVE: &str = "INSERT INTO tenants (scope, served) \
     SELECT scope, nextval('arrivals') FROM unnest($1::text[]) AS asked (scope) \
     WHERE NOT EXISTS (SELECT 1 FROM tenants WHERE tenants.scope = asked.scope) \
     ORDER BY scope ON CONFLICT (scope) DO NOTHING";
/// Sent once the scopes are [locked](LOCK), as whoever adds a job to one does first. Counted, and
/// not kept in a row: that row would be changed by each start and end of a job, one after the
/// other, each for as long as a flush takes.
pub const ACTIVE: &str = "SELECT scope, count(*) FROM jobs \
     WHERE ended_ms IS NULL AND status <> 'review_required' AND scope = ANY($1) GROUP BY scope";
/// Nobody else adds jobs to these scopes until the end of the transaction. No lock of a row, so
/// that claims, which give the scopes a new place in line, go on meanwhile. `1` keeps it apart from
/// other locks of this kind.
pub const LOCK: &str = "SELECT pg_advisory_xact_lock(1, key) FROM ( \
     SELECT DISTINCT hashtext(scope) AS key FROM unnest($1::text[]) AS asked (scope) \
     ORDER BY key) AS keys";
/// Sent once the scopes are locked, too.
const TAKEN: &str = "SELECT scope, key FROM idempotency \
     JOIN unnest($1::text[], $2::text[]) AS asked (scope, key) USING (scope, key)";
/// Not locked: what others add at the same moment may lead a little over the limit.
pub const TOTAL: &str = "SELECT count(*) FROM ( \
     SELECT 1 FROM jobs WHERE ended_ms IS NULL AND status <> 'review_required' LIMIT $1) AS active";
const PLANS: &str = "SELECT key FROM plans WHERE key = ANY($1) ORDER BY key FOR KEY SHARE";
const WRITE: &str = "WITH planned AS ( \
     INSERT INTO plans (key, plan) SELECT * FROM unnest($1::text[], $2::text[]) \
     ON CONFLICT (key) DO NOTHING), \
     listed AS ( \
     INSERT INTO jobs (id, scope, status, sequence, created_ms, updated_ms, ended_ms, expires_ms, \
     state, document_id, document_sha256) \
     SELECT * FROM unnest($3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], \
     $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::uuid[], $13::text[])), \
     specified AS ( \
     INSERT INTO specs (job_id, document_name, schema_name, plan, spec) \
     SELECT * FROM unnest($3::uuid[], $14::text[], $15::text[], $16::text[], $17::text[])), \
     keyed AS ( \
     INSERT INTO idempotency (scope, key, request_hash, job_id) \
     SELECT * FROM unnest($20::text[], $21::text[], $22::text[], $23::uuid[])) \
     INSERT INTO events (job_id, sequence, kind, payload) \
     SELECT * FROM unnest($3::uuid[], $6::bigint[], $18::text[], $19::text[])";

/// What stands before a group is stored.
struct Before {
    /// Keys of requests, by scope.
    taken: HashSet<(String, String)>,
    documents: HashSet<(String, Uuid)>,
    /// Active jobs by scope.
    active: HashMap<String, i64>,
    /// Active jobs of all scopes, as far as they matter.
    total: i64,
    plans: HashSet<String>,
}

pub struct Creator {
    pool: Pool,
    terms: Arc<Terms>,
}

impl Server<NewJob, Created> for Creator {
    fn serve<'a>(
        &'a mut self,
        group: &'a [NewJob],
    ) -> BoxFuture<'a, Result<Vec<Created>, StoreError>> {
        self.create(group).boxed()
    }
}

impl Creator {
    pub fn new(pool: Pool, terms: Arc<Terms>) -> Self {
        Self { pool, terms }
    }

    async fn create(&self, group: &[NewJob]) -> Result<Vec<Created>, StoreError> {
        let connection = self.pool.connection().await?;
        let mut before = look(&connection, group).await?;
        let mut accepted = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        for new in group {
            let answer = before.accept(new);
            if answer == Created::Stored {
                accepted.push(new);
            }
            answers.push(answer);
        }
        if !accepted.is_empty() {
            self.write(&connection, &accepted, &before.plans).await?;
        }
        Ok(answers)
    }

    async fn write(
        &self,
        connection: &Connection,
        new: &[&NewJob],
        known: &HashSet<String>,
    ) -> Result<(), StoreError> {
        let rows = Rows::of(new, known, self.terms.max_event_bytes)?;
        let write = connection.statement(WRITE).await?;
        let notify = connection.statement(news::NOTIFY).await?;
        let (params, hint): (_, [Param; 2]) = (rows.params(), [&news::WORK, &""]);
        let answers = async {
            try_join!(
                connection.send(&write, &params),
                connection.commit(),
                connection.send(&notify, &hint),
            )?;
            Ok(())
        };
        connection.within(answers).await?;
        connection.settle();
        Ok(())
    }
}

/// Begins a transaction and locks what a group needs to stay as it is.
async fn look(connection: &Connection, group: &[NewJob]) -> Result<Before, StoreError> {
    let owners: Vec<_> = group.iter().map(|new| new.scope.as_str()).collect();
    let documents: Vec<_> = group
        .iter()
        .map(|new| new.view.spec.document_id.0)
        .collect();
    let scopes: BTreeSet<_> = owners.iter().copied().collect();
    let scopes: Vec<_> = scopes.into_iter().collect();
    let plans: Vec<_> = group
        .iter()
        .map(|new| new.view.spec.plan.as_str())
        .collect();
    let of_documents = connection.statement(DOCUMENTS).await?;
    let arrive = connection.statement(ARRIVE).await?;
    let lock = connection.statement(LOCK).await?;
    let of_tenants = connection.statement(ACTIVE).await?;
    let of_keys = connection.statement(TAKEN).await?;
    let of_all = connection.statement(TOTAL).await?;
    let of_plans = connection.statement(PLANS).await?;
    let keyed = group.iter().filter_map(|new| {
        let key = new.key.as_ref()?;
        Some((new.scope.as_str(), key.as_str()))
    });
    let (askers, keys): (Vec<_>, Vec<_>) = keyed.unzip();
    let (of_group, by_name): ([Param; 2], [Param; 2]) = ([&owners, &documents], [&askers, &keys]);
    let (of_scopes, by_key): ([Param; 1], [Param; 1]) = ([&scopes], [&plans]);
    let queue = group.iter().map(|new| i64::from(new.queue_limit)).max();
    let enough: [Param; 1] = [&queue];
    let answers = async {
        Ok(try_join!(
            connection.begin("BEGIN"),
            connection.send(&of_documents, &of_group),
            connection.send(&arrive, &of_scopes),
            connection.send(&lock, &of_scopes),
            connection.send(&of_tenants, &of_scopes),
            connection.send(&of_keys, &by_name),
            connection.send(&of_plans, &by_key),
            connection.send(&of_all, &enough),
        )?)
    };
    let ((), documents, _, _, tenants, taken, plans, total) = connection.within(answers).await?;
    Ok(Before {
        taken: pairs(&taken)?,
        documents: pairs(&documents)?,
        active: pairs(&tenants)?,
        total: match total.first() {
            Some(row) => row.try_get(0)?,
            None => 0,
        },
        plans: plans
            .iter()
            .map(|row| Ok(row.try_get(0)?))
            .collect::<Result<_, StoreError>>()?,
    })
}

/// The first two columns.
fn pairs<C, A, B>(rows: &[Row]) -> Result<C, StoreError>
where
    C: FromIterator<(A, B)>,
    A: for<'row> FromSql<'row>,
    B: for<'row> FromSql<'row>,
{
    let pair = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(pair).collect()
}

impl Before {
    fn accept(&mut self, new: &NewJob) -> Created {
        let scope = new.scope.as_str().to_owned();
        // Asked before all else: a request that was made before is not refused for what has
        // changed.
        let key = new
            .key
            .as_ref()
            .map(|key| (scope.clone(), key.as_str().to_owned()));
        if key.as_ref().is_some_and(|key| self.taken.contains(key)) {
            return Created::KeyTaken;
        }
        let document = (scope, new.view.spec.document_id.0);
        if !self.documents.contains(&document) {
            return Created::DocumentGone;
        }
        let active = self.active.entry(document.0).or_default();
        if *active >= i64::from(new.active_limit) {
            return Created::TooManyActive;
        }
        if self.total >= i64::from(new.queue_limit) {
            return Created::QueueFull;
        }
        *active += 1;
        self.total += 1;
        self.taken.extend(key);
        Created::Stored
    }
}

/// The rows of new jobs, by column.
#[derive(Default)]
struct Rows<'a> {
    plan_keys: Vec<&'a str>,
    plans: Vec<String>,
    ids: Vec<Uuid>,
    owners: Vec<&'a str>,
    status: Vec<&'static str>,
    sequences: Vec<i64>,
    created: Vec<i64>,
    updated: Vec<i64>,
    ended: Vec<Option<i64>>,
    expires: Vec<Option<i64>>,
    states: Vec<String>,
    documents: Vec<Uuid>,
    hashes: Vec<&'a str>,
    document_names: Vec<String>,
    schema_names: Vec<Option<String>>,
    planned: Vec<&'a str>,
    specs: Vec<String>,
    kinds: Vec<&'static str>,
    payloads: Vec<String>,
    askers: Vec<&'a str>,
    keys: Vec<&'a str>,
    hashes_of_requests: Vec<Option<&'a str>>,
    keyed: Vec<Uuid>,
}

impl<'a> Rows<'a> {
    fn of(
        new: &[&'a NewJob],
        known: &HashSet<String>,
        max_event_bytes: usize,
    ) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        let mut plans = BTreeMap::new();
        for job in new {
            let key = job.view.spec.plan.as_str();
            if !known.contains(key) {
                plans.insert(key, &job.plan);
            }
            rows.push(job, max_event_bytes)?;
        }
        for (key, plan) in plans {
            rows.plan_keys.push(key);
            rows.plans.push(serde_json::to_string(&**plan)?);
        }
        Ok(rows)
    }

    fn push(&mut self, new: &'a NewJob, max_event_bytes: usize) -> Result<(), StoreError> {
        let (view, spec) = (&new.view, &new.view.spec);
        self.ids.push(view.id.0);
        self.owners.push(new.scope.as_str());
        self.status.push(view.status.name());
        self.sequences.push(view.sequence as i64);
        self.created.push(view.created_at.0);
        self.updated.push(view.updated_at.0);
        self.ended.push(view.ended_at.map(|at| at.0));
        self.expires.push(view.expires_at.map(|at| at.0));
        self.states.push(state::write(view)?);
        self.documents.push(spec.document_id.0);
        self.hashes.push(&spec.document_sha256);
        self.document_names
            .push(storable(&spec.document_name).into_owned());
        let schema = spec.schema_name.as_deref();
        self.schema_names
            .push(schema.map(|name| storable(name).into_owned()));
        self.planned.push(&spec.plan);
        self.specs.push(serde_json::to_string(spec)?);
        self.kinds.push(new.start.event.kind().name());
        self.payloads
            .push(new.start.encode(max_event_bytes)?.payload);
        if let Some(key) = &new.key {
            self.askers.push(new.scope.as_str());
            self.keys.push(key.as_str());
            self.hashes_of_requests.push(spec.request_hash.as_deref());
            self.keyed.push(view.id.0);
        }
        Ok(())
    }

    /// In the order in which [`WRITE`] counts them.
    fn params(&self) -> [Param<'_>; 23] {
        [
            &self.plan_keys,
            &self.plans,
            &self.ids,
            &self.owners,
            &self.status,
            &self.sequences,
            &self.created,
            &self.updated,
            &self.ended,
            &self.expires,
            &self.states,
            &self.documents,
            &self.hashes,
            &self.document_names,
            &self.schema_names,
            &self.planned,
            &self.specs,
            &self.kinds,
            &self.payloads,
            &self.askers,
            &self.keys,
            &self.hashes_of_requests,
            &self.keyed,
        ]
    }
}
