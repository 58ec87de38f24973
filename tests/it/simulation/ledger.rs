//! What was seen to happen, beside what the store says of itself.

use std::collections::{BTreeMap, BTreeSet};

use rivulet::domain::id::JobId;
use rivulet::engine::ports::{Claimed, Committed, Guard};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::memory::Memory;

/// A process, from its start to its death.
pub type LifeNumber = u32;

#[derive(Default)]
pub struct Ledger {
    /// Who may write to the job, by the last claim that nothing has overtaken.
    owners: BTreeMap<JobId, (LifeNumber, u64)>,
    released: BTreeSet<JobId>,
    /// The epochs that a process has heard of, and those it was told are over.
    claimed: BTreeMap<(LifeNumber, JobId), u64>,
    given_up: BTreeSet<(LifeNumber, JobId)>,
    fenced: BTreeMap<(LifeNumber, JobId), u64>,
    /// Processes that have told a client that the job is cancelled.
    cancelled: BTreeSet<(LifeNumber, JobId)>,
    /// What a process was told to be written, and when.
    told: BTreeMap<(LifeNumber, JobId), Vec<(u64, Instant)>>,
    /// Jobs that were stored for a client.
    pub stored: BTreeMap<u64, Vec<JobId>>,
    /// Asks under way.
    asking: BTreeMap<(LifeNumber, u64, usize, String), u32>,
}

impl Ledger {
    /// The store has given these jobs away.
    pub fn claim(&mut self, life: LifeNumber, claimed: &[Claimed]) {
        for job in claimed {
            self.owners.insert(job.view.id, (life, job.epoch));
            self.released.remove(&job.view.id);
        }
    }

    /// The process has learned of its claim.
    pub fn learn(&mut self, life: LifeNumber, claimed: &[Claimed]) {
        for job in claimed {
            self.claimed.insert((life, job.view.id), job.epoch);
            self.given_up.remove(&(life, job.view.id));
        }
    }

    /// The store has taken a write. Says what is wrong with that.
    pub fn commit(&mut self, life: LifeNumber, job: JobId, guard: &Guard) -> Result<(), String> {
        let Guard::Lease { epoch } = guard else {
            self.owners.remove(&job);
            return Ok(());
        };
        let owner = self.owners.get(&job);
        if owner == Some(&(life, *epoch)) {
            return Ok(());
        }
        Err(format!(
            "a fenced write has landed: by life {life} with epoch {epoch}, but the owner is {owner:?}"
        ))
    }

    /// The process that the store gave the job to, and the epoch.
    pub fn owner(&self, job: JobId) -> Option<(LifeNumber, u64)> {
        let is_released = self.released.contains(&job);
        self.owners.get(&job).copied().filter(|_| !is_released)
    }

    /// The process was told that a write of its own can never be made: it leaves the job, and its
    /// word that it does may be lost.
    pub fn give_up(&mut self, life: LifeNumber, job: JobId) {
        self.given_up.insert((life, job));
    }

    pub fn has_given_up(&self, life: LifeNumber, job: JobId) -> bool {
        self.given_up.contains(&(life, job))
    }

    /// Whether the answer to that claim has come.
    pub fn has_learned(&self, life: LifeNumber, job: JobId, epoch: u64) -> bool {
        self.claimed.get(&(life, job)) == Some(&epoch)
    }

    /// The lease was given back. What its owner had sent before may still come.
    pub fn release(&mut self, job: JobId) {
        self.released.insert(job);
    }

    pub fn reopen(&mut self, job: JobId) {
        self.owners.remove(&job);
        self.cancelled.retain(|(_, of)| *of != job);
    }

    /// The process has heard the answer to a write of its own.
    pub fn hear(&mut self, life: LifeNumber, job: JobId, epoch: u64, done: &Committed) {
        match done {
            Committed::Stored { view, .. } => {
                let told = self.told.entry((life, job)).or_default();
                told.push((view.sequence, Instant::now()));
            }
            Committed::Moved { sequence } => {
                let told = self.told.entry((life, job)).or_default();
                told.push((*sequence, Instant::now()));
            }
            Committed::Fenced | Committed::Missing | Committed::Refused { .. } => {
                let fenced = self.fenced.entry((life, job)).or_default();
                *fenced = epoch.max(*fenced);
            }
        }
    }

    /// When the process was told that this event is written.
    pub fn told(&self, life: LifeNumber, job: JobId, sequence: u64) -> Option<Instant> {
        let told = self.told.get(&(life, job))?.iter();
        let mut reached = told.filter(|(last, _)| *last >= sequence);
        reached.next().map(|(_, at)| *at)
    }

    /// A client was told by this process that the job is cancelled.
    pub fn cancel(&mut self, life: LifeNumber, job: JobId) {
        self.cancelled.insert((life, job));
    }

    /// The process asks a model for a subtree of a client's job. Says what is wrong with that.
    pub fn ask(
        &mut self,
        disk: &Memory,
        life: LifeNumber,
        client: u64,
        (index, window): (usize, &str),
    ) -> Result<(), String> {
        let asking = (life, client, index, window.to_owned());
        *self.asking.entry(asking).or_default() += 1;
        // Of two jobs under one name, one of them deleted, nobody knows which one is meant.
        let Some([job]) = self.stored.get(&client).map(Vec::as_slice) else {
            return Ok(());
        };
        let (job, key) = (*job, (life, *job));
        if self.cancelled.contains(&key) {
            return Err("this process has told a client that the job is cancelled".into());
        }
        let claimed = self.claimed.get(&key).copied().unwrap_or(0);
        if self
            .fenced
            .get(&key)
            .is_some_and(|fenced| *fenced >= claimed)
        {
            return Err("this process was told that the job is not its own any more".into());
        }
        let is_owner = self.owners.get(&job).is_some_and(|owner| owner.0 == life);
        let row = disk.jobs.get(&job);
        let is_settled = row.is_some_and(|row| row.outcomes.contains_key(&(index as u32)));
        if is_owner && is_settled {
            return Err("it has an outcome already".into());
        }
        Ok(())
    }

    /// Whether no window with these rows was read for the client's job before. Who does not own the
    /// job any more may not know of it.
    pub fn is_news(
        &self,
        disk: &Memory,
        life: LifeNumber,
        client: u64,
        rows: &[Value],
    ) -> Result<(), String> {
        let Some([job]) = self.stored.get(&client).map(Vec::as_slice) else {
            return Ok(());
        };
        if self.owners.get(job).is_none_or(|owner| owner.0 != life) {
            return Ok(());
        }
        let is_known = disk.kept_windows(*job).any(|body| {
            let body: Value = serde_json::from_str(body).unwrap();
            body["pieces"][0]["rows"] == json!(rows)
        });
        if is_known && !rows.is_empty() {
            return Err(format!("a window was read before, from {} on", rows[0]));
        }
        Ok(())
    }

    pub fn asked(&mut self, life: LifeNumber, client: u64, (index, window): (usize, &str)) {
        let asking = (life, client, index, window.to_owned());
        let asking = self.asking.entry(asking).or_default();
        *asking = asking.saturating_sub(1);
    }

    /// Asks under way for the same; none where two jobs have one name.
    pub fn asking(&self, life: LifeNumber, client: u64, (index, window): (usize, &str)) -> u32 {
        if self.stored.get(&client).is_some_and(|jobs| jobs.len() > 1) {
            return 0;
        }
        let asking = (life, client, index, window.to_owned());
        let asking = self.asking.get(&asking);
        asking.copied().unwrap_or(0)
    }
}
