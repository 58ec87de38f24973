//! A store in memory that several simulated processes share, and that outlives each of them.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use rivulet::domain::event::Kind;
use rivulet::domain::id::{DocumentId, IdempotencyKey, JobId, Scope};
use rivulet::domain::job::{Draft, JobView, Ordinal};
use rivulet::domain::plan::Plan;
use rivulet::domain::time::Time;
use rivulet::engine::ports::{
    Claimed, Commit, Committed, Created, Deleted, Guard, Keyed, LogPage, NewJob, Outcome, Release,
    Reopen, Reopened, Snapshot, StoredDocument, StoredEvent,
};

const MAX_EVENT_BYTES: usize = 64 << 10;
const RETENTION_MS: u64 = 7 * 86_400_000;

/// A job as it lies on the disk.
pub struct Row {
    pub scope: Scope,
    pub view: JobView,
    pub events: Vec<StoredEvent>,
    pub outcomes: BTreeMap<Ordinal, (u64, Option<Bytes>)>,
    /// Whoever has the lease, and until when. An empty name keeps it from everybody.
    owner: Option<(String, Time)>,
    epoch: u64,
    crashes: u32,
}

/// What is on the disk. Each call is one transaction.
#[derive(Default)]
pub struct Memory {
    pub jobs: BTreeMap<JobId, Row>,
    plans: HashMap<String, Plan>,
    pub documents: BTreeMap<(String, DocumentId), StoredDocument>,
    pub blobs: HashMap<String, Bytes>,
    keys: BTreeMap<(String, String), JobId>,
    /// The claim that last took a job of the scope.
    served: BTreeMap<String, u64>,
    claims: u64,
}

impl Memory {
    fn active(&self, scope: &Scope) -> u32 {
        let active = |row: &&Row| row.scope == *scope && !row.view.status.is_terminal();
        self.jobs.values().filter(active).count() as u32
    }

    fn all_active(&self) -> u32 {
        let active = |row: &&Row| !row.view.status.is_terminal();
        self.jobs.values().filter(active).count() as u32
    }

    fn has_document(&self, scope: &Scope, id: DocumentId) -> bool {
        self.documents
            .contains_key(&(scope.as_str().to_owned(), id))
    }

    pub fn create(&mut self, new: NewJob) -> Created {
        let key = new
            .key
            .as_ref()
            .map(|key| (new.scope.as_str().to_owned(), key.as_str().to_owned()));
        if key.as_ref().is_some_and(|key| self.keys.contains_key(key)) {
            return Created::KeyTaken;
        }
        if !self.has_document(&new.scope, new.view.spec.document_id) {
            return Created::DocumentGone;
        }
        if self.active(&new.scope) >= new.active_limit {
            return Created::TooManyActive;
        }
        if self.all_active() >= new.queue_limit {
            return Created::QueueFull;
        }
        let id = new.view.id;
        self.plans
            .entry(new.view.spec.plan.clone())
            .or_insert_with(|| (*new.plan).clone());
        if let Some(key) = key {
            self.keys.insert(key, id);
        }
        self.jobs.insert(
            id,
            Row {
                scope: new.scope,
                events: vec![stored(&new.start).0],
                view: new.view,
                outcomes: BTreeMap::new(),
                owner: None,
                epoch: 0,
                crashes: 0,
            },
        );
        Created::Stored
    }

    pub fn claim(&mut self, owner: &str, now: Time, lease_ms: u64, limit: u32) -> Vec<Claimed> {
        let mut claimed = Vec::new();
        while claimed.len() < limit as usize
            && let Some(id) = self.next_waiting(now)
        {
            self.claims += 1;
            let row = self.jobs.get_mut(&id).unwrap();
            self.served
                .insert(row.scope.as_str().to_owned(), self.claims);
            row.owner = Some((owner.to_owned(), now.plus_millis(lease_ms)));
            row.epoch += 1;
            row.crashes += u32::from(row.view.status.name() != "pending");
            claimed.push(Claimed {
                scope: row.scope.clone(),
                view: row.view.clone(),
                epoch: row.epoch,
                crashes: row.crashes,
            });
        }
        claimed
    }

    fn next_waiting(&self, now: Time) -> Option<JobId> {
        let is_free = |row: &Row| {
            let leased = row.owner.as_ref().is_some_and(|(_, until)| *until >= now);
            !row.view.status.is_terminal() && !leased
        };
        let waiting = self.jobs.iter().filter(|(_, row)| is_free(row));
        let turn = |row: &Row| self.served.get(row.scope.as_str()).copied().unwrap_or(0);
        waiting
            .min_by_key(|(id, row)| (turn(row), row.view.created_at, **id))
            .map(|(id, _)| *id)
    }

    pub fn renew(&mut self, owner: &str, jobs: &[JobId], now: Time, lease_ms: u64) {
        for id in jobs {
            let lease = self.jobs.get_mut(id).and_then(|row| row.owner.as_mut());
            if let Some((_, until)) = lease.filter(|(name, _)| name == owner) {
                *until = now.plus_millis(lease_ms);
            }
        }
    }

    pub fn release(
        &mut self,
        job: JobId,
        epoch: u64,
        now: Time,
        pause_ms: u64,
        release: Release,
    ) {
        let Some(row) = self.jobs.get_mut(&job) else {
            return;
        };
        let is_held = row.owner.as_ref().is_some_and(|(name, _)| !name.is_empty());
        if row.epoch != epoch || row.view.status.is_terminal() || !is_held {
            return;
        }
        row.owner = Some((String::new(), Time(now.0 - 1).plus_millis(pause_ms)));
        if release == Release::HandedOver && row.view.status.name() != "pending" {
            // The next claim adds it again. Counts may stand at one below nothing.
            row.crashes = row.crashes.wrapping_sub(1);
        }
    }

    /// A process starts on a disk that it has for itself.
    pub fn clear_leases(&mut self) {
        for row in self.jobs.values_mut() {
            row.owner = None;
        }
    }

    pub fn commit(&mut self, commit: Commit, now: Time) -> Committed {
        let Some(row) = self.jobs.get_mut(&commit.job) else {
            return Committed::Missing;
        };
        let before = row.view.status;
        match &commit.guard {
            Guard::Lease { epoch } if *epoch != row.epoch || before.is_terminal() => {
                return Committed::Fenced;
            }
            Guard::Caller { scope } if *scope != row.scope => return Committed::Missing,
            _ => {}
        }
        let (mut view, mut events) = (row.view.clone(), Vec::new());
        let mut outcomes = row.outcomes.clone();
        for draft in commit.drafts {
            let ordinal = draft.ordinal();
            if ordinal.is_some_and(|ordinal| outcomes.contains_key(&ordinal)) {
                continue;
            }
            match view.admit(draft, now, RETENTION_MS) {
                Ok(envelope) => {
                    let (event, aside) = stored(&envelope);
                    if let Some(ordinal) = ordinal {
                        outcomes.insert(ordinal, (event.sequence, aside));
                    }
                    events.push(event);
                }
                Err(refusal) => {
                    return Committed::Refused {
                        refusal,
                        status: before,
                    };
                }
            }
        }
        if matches!(commit.guard, Guard::Caller { .. }) {
            row.epoch += 1;
            row.owner = None;
        }
        if view.status.is_terminal() {
            row.owner = None;
        }
        row.view = view.clone();
        row.outcomes = outcomes;
        row.events.extend(events.iter().cloned());
        Committed::Stored {
            view: Box::new(view),
            events,
        }
    }

    pub fn reopen(&mut self, reopen: Reopen, now: Time) -> Reopened {
        let (active, all) = (self.active(&reopen.scope), self.all_active());
        let Some(row) = self.jobs.get(&reopen.job) else {
            return Reopened::Missing;
        };
        if row.scope != reopen.scope {
            return Reopened::Missing;
        }
        if row.view.sequence != reopen.at_sequence {
            return Reopened::Changed;
        }
        if !self.has_document(&reopen.scope, row.view.spec.document_id) {
            return Reopened::DocumentGone;
        }
        let mut view = row.view.clone();
        let draft = Draft::Reopen {
            failed_fields: reopen.failed_fields,
        };
        let Ok(envelope) = view.admit(draft, now, RETENTION_MS) else {
            return Reopened::Changed;
        };
        if active >= reopen.active_limit {
            return Reopened::TooManyActive;
        }
        if all >= reopen.queue_limit {
            return Reopened::QueueFull;
        }
        let row = self.jobs.get_mut(&reopen.job).unwrap();
        let errors: Vec<u64> = row
            .events
            .iter()
            .filter(|event| event.kind == Kind::SubtreeError)
            .map(|event| event.sequence)
            .collect();
        row.outcomes
            .retain(|_, (sequence, _)| !errors.contains(sequence));
        let event = stored(&envelope).0;
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

    fn of(&self, scope: &Scope, job: JobId) -> Option<&Row> {
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

    pub fn events(&self, scope: &Scope, job: JobId, after: u64, limit: u32) -> Option<LogPage> {
        let row = self.of(scope, job)?;
        let events = row.events.iter().skip(after as usize).take(limit as usize);
        Some(LogPage {
            events: events.cloned().collect(),
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
        let mut outcomes: Vec<_> = row
            .outcomes
            .iter()
            .map(|(ordinal, (sequence, aside))| Outcome {
                ordinal: *ordinal,
                event: row.events[*sequence as usize - 1].clone(),
                aside: aside.clone(),
            })
            .collect();
        outcomes.sort_by_key(|outcome| outcome.event.sequence);
        Some(Snapshot {
            view: row.view.clone(),
            outcomes,
        })
    }

    pub fn plan(&self, key: &str) -> Option<Plan> {
        self.plans.get(key).cloned()
    }

    pub fn delete(&mut self, scope: &Scope, job: JobId) -> Deleted {
        match self.of(scope, job) {
            None => Deleted::Missing,
            Some(row) if !row.view.status.is_terminal() => Deleted::InUse,
            Some(_) => {
                self.jobs.remove(&job);
                self.keys.retain(|_, of| *of != job);
                Deleted::Gone
            }
        }
    }
}

/// An event as it is kept, and what its frame leaves out.
fn stored(envelope: &rivulet::domain::event::Envelope) -> (StoredEvent, Option<Bytes>) {
    let encoded = envelope.encode(MAX_EVENT_BYTES).unwrap();
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
