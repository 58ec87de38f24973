//! A client with one job: sends it until it is acknowledged, follows it over every cut, and
//! cancels, retries, repeats and deletes as its chance has it.

use std::sync::Arc;
use std::time::Duration;

use rivulet::domain::config::Config;
use rivulet::domain::error::{Code, Error};
use rivulet::domain::event::Kind;
use rivulet::domain::id::{Cursor, IdempotencyKey, JobId, Scope};
use rivulet::domain::metadata::Metadata;
use rivulet::domain::status::Status;
use rivulet::engine::keys::Principal;
use rivulet::engine::ports::StoredEvent;
use rivulet::engine::{
    DocumentSource, Engine, Follow, JobRequest, News, Repeat, SchemaSource, Submitted, Wanted,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::model::{FIELDS, NAME, value};
use super::weather::{CALM, JOBS};
use super::wire::short;
use super::world::{Life, Running, World, dice};
use crate::support::dice::Dice;

/// Users, who share the clients.
const SCOPES: [&str; 3] = ["alice", "bob", "carol"];
/// A wake-up that was lost is made up for a second later; one that was not is no later than this.
const PROMPT: Duration = Duration::from_millis(700);
/// A read that failed is made once more after a second.
const CALMED: Duration = Duration::from_secs(3);

/// Whose job it is, by what the request says.
pub fn client_of(config: &Config) -> u64 {
    parse(config.additional_instructions.as_deref())
}

pub fn parse(instructions: Option<&str>) -> u64 {
    instructions.unwrap().parse().unwrap()
}

/// Why a call came to nothing.
#[derive(Debug)]
enum Failure {
    /// The process is gone, or the client has waited long enough.
    Gone,
    Refused(Error),
}

pub struct Client {
    world: Arc<World>,
    number: u64,
    dice: Dice,
    scope: Scope,
    key: IdempotencyKey,
    /// The last event that was read.
    seen: u64,
    is_deleted: bool,
}

impl Client {
    pub fn new(world: Arc<World>, number: u64) -> Self {
        let scope = SCOPES[number as usize % SCOPES.len()];
        Self {
            dice: dice(world.seed, 100_000 + number),
            world,
            number,
            scope: Scope::new(scope),
            key: IdempotencyKey::parse(&format!("key-{number}")).unwrap(),
            seen: 0,
            is_deleted: false,
        }
    }

    pub fn scopes() -> impl Iterator<Item = Scope> {
        SCOPES.into_iter().map(Scope::new)
    }

    fn percent(&mut self, share: u64) -> bool {
        self.dice.roll(100) < share
    }

    async fn pause(&mut self, most: u64) {
        let pause = Duration::from_millis(1 + self.dice.roll(most));
        sleep(pause).await;
    }

    /// A node that serves.
    async fn node(&mut self) -> Running {
        loop {
            let node = self.dice.roll(self.world.nodes.len() as u64) as usize;
            if let Some(running) = self.world.running(node) {
                return running;
            }
            self.pause(400).await;
        }
    }

    /// Calls a process, for as long as it lives and the client's patience lasts.
    async fn call<T>(
        &mut self,
        life: &Life,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let patience = Duration::from_millis(500 + self.dice.roll(6_000));
        let answer = async {
            life.awake().await;
            let answer = call.await;
            life.awake().await;
            answer
        };
        tokio::select! {
            biased;
            () = life.died() => Err(Failure::Gone),
            answer = answer => answer.map_err(Failure::Refused),
            () = sleep(patience) => Err(Failure::Gone),
        }
    }

    /// Whether to ask again; what no client should ever be told is a violation.
    async fn is_passing(&mut self, failure: &Failure) -> bool {
        let is_passing = match failure {
            Failure::Gone => true,
            Failure::Refused(error) => matches!(
                error.code,
                Code::StoreUnavailable
                    | Code::Draining
                    | Code::TooManyJobs
                    | Code::QueueFull
                    | Code::IdempotencyKeyInUse
                    | Code::TooManyStreams
            ),
        };
        let is_broken = self.world.weather.broken > 0
            && matches!(failure, Failure::Refused(error) if error.code == Code::Internal);
        if is_passing || is_broken {
            let is_full = matches!(
                failure,
                Failure::Refused(error) if matches!(error.code, Code::TooManyJobs | Code::QueueFull)
            );
            self.pause(if is_full { 15_000 } else { 2_000 }).await;
        }
        is_passing || is_broken
    }

    fn surprise(&self, doing: &str, what: &dyn std::fmt::Debug) {
        let number = self.number;
        self.world
            .violate(format!("client {number} {doing}: {what:?}"));
    }

    fn note(&self, life: &Life, what: impl FnOnce() -> String) {
        self.world
            .note(|| format!("{life} client {} {}", self.number, what()));
    }

    fn request(&self, concurrent: u64, retries: u64) -> JobRequest {
        JobRequest {
            document: DocumentSource::Stored(self.world.document()),
            schema: SchemaSource::Inline(self.world.schema.clone()),
            config: Some(json!({
                "model": NAME,
                "max_num_concurrent_requests": concurrent,
                "n_max_retries": retries,
                "validate_response_schema": self.world.weather.is_bound,
                "additional_instructions": self.number.to_string(),
            })),
            callback_url: None,
            callback_secret: None,
            metadata: Metadata::default(),
            dialect: None,
            endpoint: None,
            options: None,
        }
    }

    /// Sends the request until it is acknowledged.
    async fn submit(&mut self) -> Submitted {
        loop {
            let Running { life, engine } = self.node().await;
            let (concurrent, retries) = (1 + self.dice.roll(3), self.dice.roll(3));
            let request = self.request(concurrent, retries);
            let repeat = Repeat {
                body_sha256: [self.number as u8; 32],
                key: Some(self.key.clone()),
                seen: None,
            };
            let caller = caller(&self.scope);
            let submit = engine.submit_once(&caller, request, repeat);
            match self.call(&life, submit).await {
                Ok(submitted) => {
                    self.note(&life, || format!("has {}", short(submitted.view.id)));
                    return submitted;
                }
                Err(failure) => {
                    if !self.is_passing(&failure).await {
                        self.surprise("submits", &failure);
                    }
                }
            }
        }
    }

    /// The same client at another screen.
    fn other(&self) -> Self {
        let mut other = Self::new(Arc::clone(&self.world), self.number);
        other.dice = dice(self.world.seed, 200_000 + self.number);
        other
    }

    /// Sends the request twice at once, which must lead to one job.
    async fn submit_twice(&mut self) -> JobId {
        let mut other = self.other();
        let (one, two) = tokio::join!(self.submit(), other.submit());
        if one.view.id != two.view.id || !(one.is_repeat || two.is_repeat) {
            self.surprise("has two jobs", &(one.view.id, two.view.id));
        }
        one.view.id
    }

    /// Sends the request once more: it must lead to the same job.
    async fn repeat(&mut self, job: JobId) {
        let again = self.submit().await;
        if again.view.id != job || !again.is_repeat {
            self.surprise("repeats", &(again.view.id, job, again.is_repeat));
        }
        let Running { life, engine } = self.node().await;
        let repeat = Repeat {
            body_sha256: [0xff; 32],
            key: Some(self.key.clone()),
            seen: None,
        };
        let (request, caller) = (self.request(1, 0), caller(&self.scope));
        let other = engine.submit_once(&caller, request, repeat);
        match self.call(&life, other).await {
            Err(Failure::Refused(error)) if error.code == Code::IdempotencyKeyReused => {}
            Err(failure) if self.is_passing(&failure).await => {}
            other => self.surprise("misuses its key", &other.map(|made| made.view.id)),
        }
    }

    /// Reads the log to its end, over as many connections as it takes.
    async fn follow(&mut self, job: JobId) {
        loop {
            let Running { life, engine } = self.node().await;
            if self.dice.roll(16) == 0 {
                // Reads all of it once more.
                self.seen = 0;
            }
            let read = if self.dice.roll(4) == 0 {
                self.read_page(&life, &engine, job).await
            } else {
                self.read_stream(&life, &engine, job).await
            };
            match read {
                Ok(true) => return,
                Ok(false) => {}
                Err(failure) => {
                    if !self.is_passing(&failure).await {
                        self.surprise("follows", &failure);
                    }
                }
            }
        }
    }

    fn cursor(&self, job: JobId) -> Option<Cursor> {
        (self.seen > 0).then_some(Cursor {
            job: Some(job),
            sequence: self.seen,
        })
    }

    /// Whether the log has ended.
    async fn read_page(
        &mut self,
        life: &Life,
        engine: &Engine,
        job: JobId,
    ) -> Result<bool, Failure> {
        let (cursor, limit) = (self.cursor(job), 1 + self.dice.roll(20) as u32);
        let wait = Duration::from_millis(self.dice.roll(3_000));
        let scope = self.scope.clone();
        let page = engine.events_page(&scope, job, cursor, limit, wait);
        let page = self.call(life, page).await?;
        self.read(job, &page.events);
        if page.terminal {
            self.has_read_all(job);
        }
        Ok(page.terminal)
    }

    /// Whether the log has ended.
    async fn read_stream(
        &mut self,
        life: &Life,
        engine: &Engine,
        job: JobId,
    ) -> Result<bool, Failure> {
        let scope = self.scope.clone();
        let follow = engine.follow(&scope, job, self.cursor(job));
        let mut follower = match self.call(life, follow).await? {
            Follow::Ended => {
                self.has_read_all(job);
                return Ok(true);
            }
            Follow::Stream(follower) => follower,
        };
        let mut pages = 1 + self.dice.roll(12);
        while pages > 0 {
            pages -= 1;
            let asked = Instant::now();
            match self.call(life, follower.next()).await? {
                News::Page(page) => {
                    self.is_prompt(life, job, asked, page.events());
                    self.read(job, page.events());
                }
                News::Ended => {
                    self.has_read_all(job);
                    return Ok(true);
                }
                News::Draining => break,
            }
            if self.dice.roll(8) == 0 {
                self.pause(1_500).await;
            }
        }
        Ok(false)
    }

    /// Whether what was written by the process that is followed came as soon as it could.
    fn is_prompt(&self, life: &Life, job: JobId, asked: Instant, events: &[StoredEvent]) {
        let first = events.first().unwrap().sequence;
        let told = self.world.ledger.lock().told(life.number, job, first);
        let Some(since) = told.map(|told| told.max(asked)) else {
            return;
        };
        if life.is_well_for(since, CALMED) && since.elapsed() > PROMPT {
            let late = since.elapsed();
            self.surprise("is woken late", &(life.to_string(), first, late));
        }
    }

    /// Every event must be the next one, and as it is written.
    fn read(&mut self, job: JobId, events: &[StoredEvent]) {
        for event in events {
            if event.sequence != self.seen + 1 {
                self.surprise("reads out of order", &(job, self.seen, event.sequence));
            }
            self.seen = event.sequence;
            let disk = self.world.disk.lock();
            let row = disk.jobs.get(&job);
            let written = row.map(|row| row.events.get(event.sequence as usize - 1) == Some(event));
            drop(disk);
            if written == Some(false) {
                self.surprise("reads what is not written", &(job, event.sequence));
            }
        }
    }

    /// The log was said to have ended.
    fn has_read_all(&self, job: JobId) {
        let disk = self.world.disk.lock();
        let row = disk.jobs.get(&job);
        let last = row.map(|row| row.events[self.seen as usize - 1].kind);
        drop(disk);
        if last.is_some_and(|kind| kind != Kind::End) {
            self.surprise("is told of an end", &(job, self.seen, last));
        }
    }

    async fn cancel(&mut self, job: JobId) {
        loop {
            let Running { life, engine } = self.node().await;
            let scope = self.scope.clone();
            match self.call(&life, engine.cancel(&scope, job, None)).await {
                Ok(view) => {
                    self.note(&life, || format!("has cancelled {}", short(job)));
                    let mut ledger = self.world.ledger.lock();
                    ledger.cancel(life.number, job);
                    drop(ledger);
                    if view.status != Status::Cancelled {
                        self.surprise("cancels", &view.status);
                    }
                    return;
                }
                Err(Failure::Refused(error)) if error.code == Code::JobAlreadyEnded => return,
                Err(failure) => {
                    if !self.is_passing(&failure).await {
                        self.surprise("cancels", &failure);
                        return;
                    }
                }
            }
        }
    }

    /// Whether the job goes on.
    async fn retry(&mut self, job: JobId) -> bool {
        loop {
            let Running { life, engine } = self.node().await;
            let caller = caller(&self.scope);
            match self.call(&life, engine.retry(&caller, job)).await {
                Ok(view) => {
                    self.note(&life, || format!("retries {}", short(job)));
                    return view.status == Status::Pending;
                }
                // An earlier try of ours has come through.
                Err(Failure::Refused(error)) if error.code == Code::JobActive => return true,
                Err(Failure::Refused(error)) if error.code == Code::NothingToRetry => return false,
                Err(failure) => {
                    if !self.is_passing(&failure).await {
                        self.surprise("retries", &failure);
                        return false;
                    }
                }
            }
        }
    }

    /// The combined result must be what the model said, and nothing else.
    async fn look(&mut self, job: JobId) {
        let Running { life, engine } = self.node().await;
        let scope = self.scope.clone();
        let result = engine.result(&scope, job, Wanted::SoFar);
        match self.call(&life, result).await {
            Ok(result) => {
                let parts = result.results.as_object().unwrap();
                let view = &result.view;
                let left_out = view.subtrees_succeeded.checked_sub(parts.len() as u64);
                let may_be_out = u64::from(self.world.weather.is_bound);
                let is_whole = left_out.is_some_and(|out| out <= may_be_out)
                    && parts.len() as u64 * FIELDS <= view.total_fields;
                let is_right = parts
                    .iter()
                    .all(|(name, part)| *part == value(self.number, &format!("/{name}")));
                if !is_whole || !is_right {
                    self.surprise("reads a wrong result", &result.results);
                }
            }
            Err(failure) => {
                if !self.is_passing(&failure).await {
                    self.surprise("reads the result", &failure);
                }
            }
        }
    }

    async fn delete(&mut self, job: JobId) {
        let mut tries = 0;
        loop {
            let Running { life, engine } = self.node().await;
            let scope = self.scope.clone();
            match self.call(&life, engine.delete_job(&scope, job)).await {
                Ok(()) => break,
                Err(Failure::Refused(error)) if error.code == Code::JobNotFound && tries > 0 => {
                    break;
                }
                // A retry of ours has landed late.
                Err(Failure::Refused(error)) if error.code == Code::JobActive => return,
                Err(failure) => {
                    // It may have been deleted all the same.
                    self.is_deleted = true;
                    if !self.is_passing(&failure).await {
                        self.surprise("deletes", &failure);
                        return;
                    }
                }
            }
            tries += 1;
        }
        self.is_deleted = true;
        if self.world.row(job).is_some() {
            self.surprise("deletes", &"the job is still there");
        }
    }

    /// All a client does. Gives the job when it must be there at the end.
    pub async fn live(mut self) -> Option<JobId> {
        let arrival = self.dice.roll(CALM / 2);
        sleep(Duration::from_millis(arrival)).await;
        let weather = self.world.weather.clone();
        let job = if self.percent(weather.repeats) {
            self.submit_twice().await
        } else {
            self.submit().await.view.id
        };
        if self.percent(weather.repeats) {
            self.repeat(job).await;
        }
        if self.percent(weather.cancels) {
            let mut other = self.other();
            let cancelling = async {
                let most = if other.percent(50) { 60 } else { 8_000 };
                other.pause(most).await;
                other.cancel(job).await;
                if other.percent(30) {
                    other.cancel(job).await;
                }
            };
            tokio::join!(self.follow(job), cancelling);
        } else {
            self.follow(job).await;
        }
        self.look(job).await;
        for _ in 0..2 {
            if self.percent(weather.retries) && self.retry(job).await {
                self.follow(job).await;
                self.look(job).await;
            }
        }
        if self.percent(weather.repeats) {
            self.repeat(job).await;
        }
        if self.percent(weather.deletes) {
            self.delete(job).await;
        }
        (!self.is_deleted).then_some(job)
    }

    pub fn all(world: &Arc<World>) -> impl Iterator<Item = Self> {
        (0..JOBS).map(|number| Self::new(Arc::clone(world), number))
    }
}

/// Somebody without a limit of their own.
fn caller(scope: &Scope) -> Principal {
    Principal {
        scope: scope.clone(),
        ..Principal::local()
    }
}
