//! Jobs on a disk that outlives every simulated process. Each call is one transaction.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use rivulet::domain::event::{Envelope, Kind};
use rivulet::domain::id::{DocumentId, FileId, IdempotencyKey, JobId, SchemaId, Scope, WebhookId};
use rivulet::domain::job::{AnswerKey, Draft, JobView, Ordinal};
use rivulet::domain::plan::Plan;
use rivulet::domain::status::Status;
use rivulet::domain::time::Time;
use rivulet::engine::ports::{
    Claimed, Commit, Committed, Created, DefinitionKind, Deleted, Guard, Kept, KeptWindow, Keyed,
    LogPage, NewJob, Outcome, Release, Reopen, Reopened, SECRET_BYTES, Snapshot, StoreError,
    StoredChunk, StoredDefinition, StoredDocument, StoredEvent, StoredFile, StoredKey,
    StoredSchema, StoredUpload, StoredWebhook,
};
use uuid::Uuid;

use super::outbox::Parcel;

/// A job as it lies on the disk.
#[derive(Clone)]
pub struct Row {
    pub scope: Scope,
    pub view: JobView,
    pub events: Vec<StoredEvent>,
    /// The event that settled it, and what its frame leaves out.
    pub outcomes: BTreeMap<Ordinal, (u64, Option<Bytes>)>,
    /// An empty name keeps the job from everybody until the lease is over.
    owner: Option<String>,
    leased_until: Time,
    epoch: u64,
    /// One below nothing while a job that was handed over waits: its next claim adds one.
    crashes: i64,
}

#[derive(Default)]
pub struct Tenant {
    /// Counted up and down, as a row of its own would be.
    pub active: u32,
    /// Who has the lowest goes first; below nothing until the first claim.
    served: i64,
}

/// What time it is: for events, and for leases.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub wall: Time,
    pub lease: Time,
}

pub type Owned<Id> = (String, Id);

pub struct Memory {
    pub max_event_bytes: usize,
    pub retention_ms: u64,
    pub jobs: BTreeMap<JobId, Row>,
    pub tenants: BTreeMap<String, Tenant>,
    plans: HashMap<String, Plan>,
    keys: BTreeMap<(String, String), JobId>,
    pub documents: BTreeMap<Owned<DocumentId>, StoredDocument>,
    pub schemas: BTreeMap<Owned<SchemaId>, StoredSchema>,
    pub definitions: BTreeMap<Owned<(DefinitionKind, Uuid)>, StoredDefinition>,
    pub api_keys: BTreeMap<String, StoredKey>,
    pub secrets: BTreeMap<String, [u8; SECRET_BYTES]>,
    pub blobs: HashMap<String, Bytes>,
    answers: BTreeMap<(JobId, Ordinal), AnswerKey>,
    windows: BTreeMap<(JobId, AnswerKey), String>,
    pub webhooks: BTreeMap<Owned<WebhookId>, StoredWebhook>,
    pub outbox: BTreeMap<Uuid, Parcel>,
    pub files: BTreeMap<Owned<FileId>, StoredFile>,
    pub uploads: BTreeMap<Owned<FileId>, (StoredUpload, Vec<StoredChunk>)>,
}

impl Memory {
    pub fn new(max_event_bytes: usize, retention_ms: u64) -> Self {
        Self {
            max_event_bytes,
            retention_ms,
            jobs: BTreeMap::new(),
            tenants: BTreeMap::new(),
            plans: HashMap::new(),
            keys: BTreeMap::new(),
            documents: BTreeMap::new(),
            schemas: BTreeMap::new(),
            definitions: BTreeMap::new(),
            api_keys: BTreeMap::new(),
            secrets: BTreeMap::new(),
            blobs: HashMap::new(),
            answers: BTreeMap::new(),
            windows: BTreeMap::new(),
            webhooks: BTreeMap::new(),
            outbox: BTreeMap::new(),
            files: BTreeMap::new(),
            uploads: BTreeMap::new(),
        }
    }

    /// Jobs of the scope that have not ended, counted one by one.
    pub fn active(&self, scope: &str) -> u32 {
        let rows = self.jobs.values();
        let active = rows.filter(|row| row.scope.as_str() == scope && is_active(row));
        active.count() as u32
    }

    /// The windows of a job that were read.
    pub fn kept_windows(&self, job: JobId) -> impl Iterator<Item = &str> {
        let mut all = self.windows.range((job, [0; 32])..=(job, [u8::MAX; 32]));
        std::iter::from_fn(move || all.next().map(|(_, body)| body.as_str()))
    }

    fn slots(&self, scope: &Scope) -> u32 {
        let tenant = self.tenants.get(scope.as_str());
        tenant.map_or(0, |tenant| tenant.active)
    }

    fn all_slots(&self) -> u32 {
        self.tenants.values().map(|tenant| tenant.active).sum()
    }

    fn has_document(&self, scope: &Scope, id: DocumentId) -> bool {
        let key = (scope.as_str().to_owned(), id);
        self.documents.contains_key(&key)
    }

    pub fn create(&mut self, new: NewJob) -> Result<Created, StoreError> {
        let scope = new.scope.as_str().to_owned();
        let key = new.key.map(|key| (scope.clone(), key.as_str().to_owned()));
        if key.as_ref().is_some_and(|key| self.keys.contains_key(key)) {
            return Ok(Created::KeyTaken);
        }
        if !self.has_document(&new.scope, new.view.spec.document_id) {
            return Ok(Created::DocumentGone);
        }
        if self.slots(&new.scope) >= new.active_limit {
            return Ok(Created::TooManyActive);
        }
        if self.all_slots() >= new.queue_limit {
            return Ok(Created::QueueFull);
        }
        let id = new.view.id;
        if self.jobs.contains_key(&id) {
            return Err(StoreError::Failed("an id is given once".into()));
        }
        let waiting = self.tenants.values().map(|tenant| tenant.served);
        let newest = waiting.filter(|served| *served < 0).max();
        let tenant = self.tenants.entry(scope).or_insert_with(|| Tenant {
            active: 0,
            served: newest.unwrap_or(i64::MIN) + 1,
        });
        tenant.active += 1;
        let plan = self.plans.entry(new.view.spec.plan.clone());
        plan.or_insert_with(|| (*new.plan).clone());
        if let Some(key) = key {
            self.keys.insert(key, id);
        }
        let row = Row {
            scope: new.scope,
            events: vec![written(&new.start, self.max_event_bytes).0],
            view: new.view,
            outcomes: BTreeMap::new(),
            owner: None,
            leased_until: Time(0),
            epoch: 0,
            crashes: 0,
        };
        self.jobs.insert(id, row);
        Ok(Created::Stored)
    }

    pub fn claim(&mut self, owner: &str, now: Now, lease_ms: u64, limit: u32) -> Vec<Claimed> {
        for row in self.jobs.values_mut() {
            if row.leased_until < now.lease {
                row.owner = None;
            }
        }
        let mut claimed = Vec::new();
        while claimed.len() < limit as usize
            && let Some(id) = self.next_waiting()
        {
            let last = self.tenants.values().map(|tenant| tenant.served).max();
            let row = self.jobs.get_mut(&id).unwrap();
            let tenant = self.tenants.get_mut(row.scope.as_str()).unwrap();
            tenant.served = last.unwrap_or(0).max(0) + 1;
            row.owner = Some(owner.to_owned());
            row.leased_until = now.lease.plus_millis(lease_ms);
            row.epoch += 1;
            row.crashes += i64::from(row.view.status != Status::Pending);
            claimed.push(Claimed {
                scope: row.scope.clone(),
                view: row.view.clone(),
                epoch: row.epoch,
                crashes: row.crashes as u32,
            });
        }
        claimed
    }

    fn next_waiting(&self) -> Option<JobId> {
        let waiting = self.jobs.values();
        let waiting = waiting.filter(|row| is_active(row) && row.owner.is_none());
        let turn = |row: &Row| self.tenants[row.scope.as_str()].served;
        let next = waiting.min_by_key(|row| (turn(row), row.view.created_at, row.view.id));
        next.map(|row| row.view.id)
    }

    pub fn renew(&mut self, owner: &str, jobs: &[JobId], now: Now, lease_ms: u64) {
        for id in jobs {
            let row = self.jobs.get_mut(id);
            if let Some(row) = row.filter(|row| row.owner.as_deref() == Some(owner)) {
                row.leased_until = now.lease.plus_millis(lease_ms);
            }
        }
    }

    pub fn release(
        &mut self,
        job: JobId,
        epoch: u64,
        now: Now,
        pause_ms: u64,
        release: Release,
    ) -> bool {
        let Some(row) = self.jobs.get_mut(&job) else {
            return false;
        };
        let is_held = row.owner.as_deref().is_some_and(|owner| !owner.is_empty());
        if row.epoch != epoch || !is_active(row) || !is_held {
            return false;
        }
        row.owner = Some(String::new());
        row.leased_until = Time(now.lease.plus_millis(pause_ms).0 - 1);
        let has_begun = row.view.status != Status::Pending;
        row.crashes -= i64::from(release == Release::HandedOver && has_begun);
        true
    }

    /// A process starts on a disk that it has for itself.
    pub fn clear_leases(&mut self) {
        let held = |row: &Row| row.view.status == Status::ReviewRequired;
        for row in self.jobs.values_mut().filter(|row| !held(row)) {
            row.owner = None;
        }
        self.clear_parcels();
    }

    pub fn commit(&mut self, commit: Commit, now: Now) -> Committed {
        let Some(row) = self.jobs.get_mut(&commit.job) else {
            return Committed::Missing;
        };
        let before = row.view.status;
        let is_caller = match &commit.guard {
            Guard::Lease { epoch } if *epoch != row.epoch => return Committed::Fenced,
            Guard::Lease { .. } if commit.at_sequence.is_some_and(|at| at != row.view.sequence) => {
                let sequence = row.view.sequence;
                return Committed::Moved { sequence };
            }
            Guard::Lease { .. } if before.is_idle() => return Committed::Fenced,
            Guard::Caller { scope } if *scope != row.scope => return Committed::Missing,
            Guard::Caller { .. } => true,
            Guard::Lease { .. } => false,
        };
        let (mut view, mut events) = (row.view.clone(), Vec::new());
        let mut outcomes = BTreeMap::new();
        let (mut answers, mut windows) = (Vec::new(), Vec::new());
        for draft in commit.drafts {
            if let Draft::Window(window) = draft {
                view.pay(&window);
                windows.push(window);
                continue;
            }
            let ordinal = draft.ordinal();
            let answer = draft.answer();
            let is_settled =
                |ordinal| row.outcomes.contains_key(&ordinal) || outcomes.contains_key(&ordinal);
            if ordinal.is_some_and(is_settled) {
                continue;
            }
            match view.admit(draft, now.wall, self.retention_ms) {
                Ok(envelope) => {
                    let (event, aside) = written(&envelope, self.max_event_bytes);
                    answers.extend(ordinal.zip(answer));
                    if let Some(ordinal) = ordinal {
                        outcomes.insert(ordinal, (event.sequence, aside));
                    }
                    events.push(event);
                }
                Err(refusal) => {
                    let status = before;
                    return Committed::Refused { refusal, status };
                }
            }
        }
        row.epoch += u64::from(is_caller);
        if is_caller || view.status.is_terminal() {
            row.owner = None;
        }
        if view.status == Status::ReviewRequired {
            row.owner = Some(String::new());
            row.leased_until = Time(i64::MAX);
        }
        let epoch = row.epoch;
        row.view = view.clone();
        row.outcomes.append(&mut outcomes);
        row.events.extend(events.iter().cloned());
        if view.status.is_idle() && !before.is_idle() {
            self.free_slot(commit.job);
        }
        if view.status.is_terminal() && !before.is_terminal() {
            let scope = self.jobs[&commit.job].scope.clone();
            self.post(&scope, &view);
        }
        for (ordinal, key) in answers {
            self.answers.insert((commit.job, ordinal), key);
        }
        for window in windows {
            let kept = self.windows.entry((commit.job, window.key));
            kept.or_insert_with(|| window.body.get().to_owned());
        }
        Committed::Stored {
            view: Box::new(view),
            events,
            epoch,
        }
    }

    fn free_slot(&mut self, job: JobId) {
        let scope = self.jobs[&job].scope.as_str();
        self.tenants.get_mut(scope).unwrap().active -= 1;
    }

    pub fn reopen(&mut self, reopen: Reopen, now: Now) -> Reopened {
        let Some(row) = self.of(&reopen.scope, reopen.job) else {
            return Reopened::Missing;
        };
        if row.view.sequence != reopen.at_sequence {
            return Reopened::Changed;
        }
        if !self.has_document(&reopen.scope, row.view.spec.document_id) {
            return Reopened::DocumentGone;
        }
        let mut view = row.view.clone();
        let draft = Draft::Reopen {
            failed_fields: reopen.failed_fields,
            incomplete: reopen.incomplete.len() as u64,
        };
        let Ok(envelope) = view.admit(draft, now.wall, self.retention_ms) else {
            return Reopened::Changed;
        };
        if self.slots(&reopen.scope) >= reopen.active_limit {
            return Reopened::TooManyActive;
        }
        if self.all_slots() >= reopen.queue_limit {
            return Reopened::QueueFull;
        }
        let event = written(&envelope, self.max_event_bytes).0;
        let tenant = self.tenants.get_mut(reopen.scope.as_str());
        tenant.unwrap().active += 1;
        let row = self.jobs.get_mut(&reopen.job).unwrap();
        let events = &row.events;
        let is_error = |sequence| event_at(events, sequence).kind == Kind::SubtreeError;
        let is_taken_back = |ordinal: &Ordinal| reopen.incomplete.contains(ordinal);
        row.outcomes
            .retain(|ordinal, (sequence, _)| !is_error(*sequence) && !is_taken_back(ordinal));
        row.events.push(event.clone());
        row.view = view.clone();
        row.owner = None;
        row.epoch += 1;
        row.crashes = 0;
        Reopened::Stored {
            view: Box::new(view),
            event,
        }
    }

    pub fn of(&self, scope: &Scope, job: JobId) -> Option<&Row> {
        self.jobs.get(&job).filter(|row| row.scope == *scope)
    }

    pub fn view(&self, scope: &Scope, job: JobId) -> Option<JobView> {
        self.of(scope, job).map(|row| row.view.clone())
    }

    pub fn by_key(&self, scope: &Scope, key: &IdempotencyKey) -> Option<Keyed> {
        let key = (scope.as_str().to_owned(), key.as_str().to_owned());
        let row = self.jobs.get(self.keys.get(&key)?)?;
        Some(Keyed {
            request_hash: row.view.spec.request_hash.clone().unwrap_or_default(),
            view: row.view.clone(),
        })
    }

    pub fn events(
        &self,
        scope: &Scope,
        job: JobId,
        after: u64,
        limit: u32,
        max_bytes: usize,
    ) -> Option<LogPage> {
        let row = self.of(scope, job)?;
        let from = row.events.partition_point(|event| event.sequence <= after);
        let (mut events, mut bytes) = (Vec::new(), 0);
        for event in row.events[from..].iter().take(limit as usize) {
            bytes += event.payload.len();
            if bytes > max_bytes && !events.is_empty() {
                break;
            }
            events.push(event.clone());
        }
        Some(LogPage {
            events,
            last_sequence: row.view.sequence,
            terminal: row.view.status.is_terminal(),
        })
    }

    pub fn positions(&self, jobs: &[JobId]) -> Vec<(JobId, u64)> {
        let known = jobs.iter().filter_map(|job| self.jobs.get(job));
        known.map(|row| (row.view.id, row.view.sequence)).collect()
    }

    pub fn snapshot(&self, scope: &Scope, job: JobId) -> Option<Snapshot> {
        let row = self.of(scope, job)?;
        let outcome = |(ordinal, (sequence, aside)): (&Ordinal, &(u64, Option<Bytes>))| {
            let event = row.events.iter().find(|event| event.sequence == *sequence);
            Some(Outcome {
                ordinal: *ordinal,
                event: event?.clone(),
                aside: aside.clone(),
            })
        };
        let mut outcomes: Vec<_> = row.outcomes.iter().filter_map(outcome).collect();
        outcomes.sort_by_key(|outcome| outcome.event.sequence);
        Some(Snapshot {
            view: row.view.clone(),
            outcomes,
        })
    }

    /// Outcomes by ordinal, from a number on.
    pub fn outcomes(
        &self,
        scope: &Scope,
        job: JobId,
        from: Ordinal,
        (limit, max_bytes): (u32, usize),
    ) -> Option<Vec<Outcome>> {
        let mut outcomes = self.snapshot(scope, job)?.outcomes;
        outcomes.retain(|outcome| outcome.ordinal >= from);
        outcomes.sort_by_key(|outcome| outcome.ordinal);
        outcomes.truncate(limit as usize);
        let mut bytes = 0;
        let fits = outcomes.iter().take_while(|outcome| {
            let is_first = bytes == 0;
            bytes += outcome.event.payload.len() + outcome.aside.as_ref().map_or(0, Bytes::len);
            is_first || bytes <= max_bytes
        });
        let fits = fits.count();
        outcomes.truncate(fits);
        Some(outcomes)
    }

    /// The newest outcomes of the scope under these keys.
    pub fn answers(&self, scope: &Scope, keys: &[AnswerKey]) -> Vec<Kept> {
        let newest = |key: &AnswerKey| {
            let found = self.answers.iter().rev().filter(|(_, of)| *of == key);
            found.into_iter().find_map(|((job, ordinal), _)| {
                let outcomes = self.snapshot(scope, *job)?.outcomes;
                let outcome = outcomes.into_iter().find(|one| one.ordinal == *ordinal)?;
                Some(Kept { key: *key, outcome })
            })
        };
        keys.iter().filter_map(newest).collect()
    }

    /// Under each key the window of the job, or else the newest of the scope.
    pub fn windows(&self, scope: &Scope, job: JobId, keys: &[AnswerKey]) -> Vec<KeptWindow> {
        let of = |job: JobId, key: &AnswerKey| {
            let body = self.windows.get(&(job, *key))?.clone();
            let key = *key;
            (self.jobs.get(&job)?.scope == *scope).then_some(KeptWindow { key, job, body })
        };
        let newest = |key: &AnswerKey| self.jobs.keys().rev().find_map(|job| of(*job, key));
        let found = keys.iter().map(|key| of(job, key).or_else(|| newest(key)));
        found.flatten().collect()
    }

    /// Which of these claims still hold.
    pub fn held(&self, claims: &[(JobId, u64)]) -> Vec<JobId> {
        let holds = |(job, epoch): &&(JobId, u64)| {
            let row = self.jobs.get(job);
            row.is_some_and(|row| row.epoch == *epoch && is_active(row))
        };
        claims.iter().filter(holds).map(|(job, _)| *job).collect()
    }

    pub fn plan(&self, key: &str) -> Option<Plan> {
        self.plans.get(key).cloned()
    }

    pub fn delete(&mut self, scope: &Scope, job: JobId) -> Deleted {
        match self.of(scope, job) {
            None => Deleted::Missing,
            Some(row) if is_active(row) => Deleted::InUse,
            Some(row) => {
                let plan = row.view.spec.plan.clone();
                self.jobs.remove(&job);
                self.windows.retain(|(of, _), _| *of != job);
                self.forget_parcels(job);
                self.keys.retain(|_, of| *of != job);
                if !self.jobs.values().any(|row| row.view.spec.plan == plan) {
                    self.plans.remove(&plan);
                }
                Deleted::Gone
            }
        }
    }

    pub fn sweep(&mut self, now: Time, limit: u32) -> u32 {
        let (mut swept, limit) = (0, limit as usize);
        while swept < limit {
            let rows = self.jobs.values_mut();
            let over = rows.filter(|row| {
                let is_over = row.view.expires_at.is_some_and(|expires| expires <= now);
                is_over && row.view.status != Status::Expired
            });
            let Some(row) = over.min_by_key(|row| row.view.expires_at) else {
                break;
            };
            let events = row.events.len().min(limit - swept);
            row.events.drain(..events);
            swept += events;
            if swept < limit {
                row.outcomes.clear();
                row.view.status = Status::Expired;
                let job = row.view.id;
                self.windows.retain(|(of, _), _| *of != job);
                self.forget_parcels(job);
                swept += 1;
            }
        }
        swept as u32
    }
}

pub fn is_active(row: &Row) -> bool {
    !row.view.status.is_terminal()
}

fn event_at(events: &[StoredEvent], sequence: u64) -> &StoredEvent {
    &events[events.partition_point(|event| event.sequence < sequence)]
}

/// An event as it is kept, and what its frame leaves out.
fn written(envelope: &Envelope, max_event_bytes: usize) -> (StoredEvent, Option<Bytes>) {
    let encoded = envelope.encode(max_event_bytes).unwrap();
    let aside = encoded
        .aside
        .map(|aside| Bytes::from(serde_json::to_vec(&aside).unwrap()));
    let event = StoredEvent {
        sequence: envelope.sequence,
        kind: envelope.event.kind(),
        payload: encoded.payload.into(),
    };
    (event, aside)
}
