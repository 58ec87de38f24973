//! One call: ask, settle each subtree as it closes, ask again for what is missing or wrong.

use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::Value;
use tokio::sync::{Notify, OnceCell, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Inner;
use super::array::{Arrays, Reading};
use super::batch::Track;
use super::bonds::Bonds;
use super::budget::{Need, Purse, Ticket};
use super::journal::{Halt, Journal};
use super::lease::{Lease, Right};
use super::metrics::label;
use super::plans::Planned;
use super::ports::{Answer, Attachment, Call, CallError, Correction, Provider};
use super::rates::{Taken, questions};
use super::settle::Checked;
use super::waits::Waits;
use crate::domain::cost::{self, Bound, size};
use crate::domain::document::{Document, DocumentInput};
use crate::domain::error::Fault;
use crate::domain::event::SubtreeRetry;
use crate::domain::evidence::{Attributions, Index, Logprobs};
use crate::domain::excerpt::excerpt;
use crate::domain::id::Scope;
use crate::domain::job::{AnswerKey, Draft, JobSpec, Ordinal, TakenBack};
use crate::domain::pack::{Load, Work};
use crate::domain::retry;
use crate::domain::usage::Usage;

/// What all calls of a run share.
pub(super) struct Run {
    pub(super) engine: Arc<Inner>,
    pub(super) spec: Arc<JobSpec>,
    pub(super) document: Arc<Document>,
    pub(super) planned: Arc<Planned>,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) lease: Arc<Lease>,
    pub(super) journal: Journal,
    /// Names the provider and model, counts nothing: what every bill starts from.
    pub(super) blank: Usage,
    /// By subtree, what its answer is kept under; empty where answers are not kept.
    pub(super) keys: Vec<AnswerKey>,
    /// Whether an answer that does not follow its schema is asked for once more.
    pub(super) takes_corrections: bool,
    /// Answers that are checked against each other.
    pub(super) bonds: Bonds,
    pub(super) waits: Arc<Waits>,
    /// Calls of the job that may still begin at once.
    pub(super) slots: Arc<Semaphore>,
    /// What is sent in place of the document's words; empty until it is read.
    pub(super) attachments: OnceCell<Arc<[Attachment]>>,
    pub(super) purse: Arc<Purse>,
    /// What the subtrees are thought to take.
    pub(super) work: Work,
    /// Tokens that all calls begin with, before anything was learned.
    pub(super) shared_tokens: f64,
    /// The document's words, made once when attributions are asked for.
    pub(super) index: OnceCell<Arc<Index>>,
    pub(super) scope: Scope,
    /// Which time the job runs, from 1; and arrays of earlier runs that are read again.
    pub(super) number: u32,
    pub(super) taken_back: Vec<TakenBack>,
    /// The arrays among the subtrees, and which of them are long.
    pub(super) arrays: Arrays,
    /// Of a batch: the record that is extracted from.
    pub(super) record: Option<Track>,
}

/// A call under way: what is still missing, and what was spent on it that no event has told yet.
pub(super) struct Progress {
    pub(super) missing: Load,
    pub(super) attempt: u32,
    pub(super) started: Instant,
    pub(super) spent: Usage,
    /// What was wrong with earlier answers of subtrees that are still missing.
    corrections: Vec<Correction>,
    /// The same, of the answers that are being read.
    pub(super) wrong: Vec<Correction>,
    /// Subtrees that were asked for with their faults named: once each.
    pub(super) corrected: Load,
    /// What the call is about: all of it, or the pages that were chosen for it.
    pub(super) document: Arc<Document>,
    /// Arrays whose answer was cut off.
    cut: Load,
    /// Set where the call reads one window of an array: what it brings is handed back and makes no
    /// outcome.
    pub(super) reading: Option<Reading>,
    /// Told once, when the answer begins or is not going to.
    leads: Option<Arc<Notify>>,
}

/// What an answer has told of itself so far.
#[derive(Default)]
struct Heard {
    first_ms: Option<u64>,
    /// Subtrees that were answered, with the letters of their values.
    said: Vec<(usize, usize)>,
    usage: Option<Usage>,
    /// Whether it took several requests.
    is_divided: bool,
    is_cut: bool,
}

/// A request, and whether it has begun: it does when its answer is first looked for.
struct Asked {
    answers: BoxStream<'static, Answered>,
    has_begun: bool,
}

type Answered = Result<Answer, CallError>;

impl Heard {
    fn begin(&mut self, after_ms: u64) {
        self.first_ms.get_or_insert(after_ms);
    }

    /// Keeps how long an answer was, where the request is one that is learned from.
    fn size(&mut self, index: usize, letters: usize) {
        if self.first_ms.is_some() {
            self.said.push((index, letters));
        }
    }

    /// Measures a value, where nobody told how it was written.
    fn value(&mut self, index: usize, value: &Value) {
        if self.said.iter().all(|(known, _)| *known != index) {
            self.size(index, size::letters(value));
        }
    }
}

impl Run {
    /// Queues a draft, of a batch in the name of its record.
    pub(super) async fn say(&self, draft: Draft) -> Result<(), Halt> {
        match &self.record {
            Some(record) => record.say(&self.journal, draft).await,
            None => self.journal.push(draft).await,
        }
    }

    /// What the outcome of a subtree is numbered in the job.
    pub(super) fn ordinal(&self, index: usize) -> Ordinal {
        let first = self.record.as_ref().map_or(0, Track::first);
        first + index as Ordinal
    }

    /// Brings every subtree of `load` to an outcome. While the engine drains, and once the job is
    /// known to be no longer ours, no request is begun.
    ///
    /// `leads` is told when the document was read, or when this call cannot read it for now.
    ///
    /// Gives the arrays whose answer was cut off, which have no outcome yet, and what was spent.
    pub(super) async fn call(
        &self,
        load: Load,
        leads: Option<Arc<Notify>>,
    ) -> Result<(Load, Usage), Halt> {
        self.waits.begin(&self.journal).await?;
        let mut progress = Progress {
            leads,
            document: self.pages_for(&load).await,
            ..self.progress(load)
        };
        self.tell_of_whole(&progress.missing).await?;
        self.ask_until_settled(&mut progress).await?;
        self.mend().await?;
        self.waits.end(&self.journal).await?;
        Ok((progress.cut, progress.spent))
    }

    /// Asks for subtrees that have an answer already, with what is wrong with it.
    pub(super) async fn ask_again(
        &self,
        load: Load,
        corrections: Vec<Correction>,
    ) -> Result<(), Halt> {
        let mut progress = Progress {
            corrections,
            document: self.pages_for(&load).await,
            ..self.progress(load)
        };
        self.ask_until_settled(&mut progress).await?;
        // The first answer stands.
        for index in std::mem::take(&mut progress.cut) {
            self.falls_back(index, &progress.spent);
            progress.spent = self.blank.clone();
        }
        Ok(())
    }

    pub(super) fn progress(&self, missing: Load) -> Progress {
        Progress {
            missing,
            attempt: 1,
            started: Instant::now(),
            spent: self.blank.clone(),
            corrections: Vec::new(),
            wrong: Vec::new(),
            corrected: Load::new(),
            document: Arc::clone(&self.document),
            cut: Load::new(),
            reading: None,
            leads: None,
        }
    }

    /// The document, or where that is too long the pages that fit the question best. Lists get the
    /// whole: a row that is not shown would be missed by nobody.
    async fn pages_for(&self, load: &Load) -> Arc<Document> {
        let lists = self.work.items.iter().filter(|item| item.is_list);
        let has_list = lists.into_iter().any(|item| load.contains(&item.index));
        let form = self.spec.config.document_input;
        let is_read = matches!(form, DocumentInput::Auto | DocumentInput::Text);
        if !self.work.is_excerpted || has_list || !is_read {
            return Arc::clone(&self.document);
        }
        let (document, plan) = (Arc::clone(&self.document), Arc::clone(&self.planned.plan));
        let (load, tokens) = (load.clone(), self.work.shared);
        let chosen =
            tokio::task::spawn_blocking(move || excerpt(&document, &plan, &load, tokens)).await;
        chosen.map_or_else(|_| Arc::clone(&self.document), Arc::new)
    }

    pub(super) async fn ask_until_settled(&self, progress: &mut Progress) -> Result<(), Halt> {
        loop {
            if self.engine.is_draining() {
                return Err(Halt::Drained);
            }
            // Whoever owns the job now asks for the rest.
            if self.journal.is_lost() {
                return Err(Halt::Lost);
            }
            let mut ticket = match self.ticket(progress).await? {
                Ok(ticket) => ticket,
                Err(error) => return self.give_up(progress, error).await,
            };
            let outcome = self.ask(progress, &mut ticket).await?;
            drop(ticket);
            let is_only_wrong = progress.take_corrections();
            let error = match outcome {
                Ok(()) if progress.missing.is_empty() => return Ok(()),
                Ok(()) if is_only_wrong => {
                    // Nothing failed: there is nothing to wait for.
                    progress.attempt += 1;
                    continue;
                }
                Ok(()) => CallError {
                    fault: Fault::InvalidJson,
                    message: "The answer ended without this part.".into(),
                    retry_after_ms: None,
                },
                Err(error) => error,
            };
            match self.delay(progress, &error) {
                Some(delay) => {
                    let delay = self.in_time(delay);
                    self.announce_retry(progress, &error, delay).await?;
                    self.pause(delay, error.fault).await?;
                    progress.attempt += 1;
                }
                None => return self.give_up(progress, error).await,
            }
        }
    }

    async fn pause(&self, delay: Duration, fault: Fault) -> Result<(), Halt> {
        self.waits.wait(&self.journal, fault).await?;
        tokio::select! {
            biased;
            () = self.engine.drained() => {}
            () = tokio::time::sleep(delay) => {}
        }
        self.waits.go_on(&self.journal).await
    }

    /// One request; settles what it answers.
    async fn ask(
        &self,
        progress: &mut Progress,
        ticket: &mut Ticket,
    ) -> Result<Result<(), CallError>, Halt> {
        let mut asked = Asked {
            answers: self.provider.ask(self.request(progress)),
            has_begun: false,
        };
        let load = progress.missing.clone();
        let corrected = progress.corrections.iter().map(|known| known.index);
        progress.corrected.extend(corrected);
        let mut last: Option<(usize, Checked, (Attributions, Logprobs))> = None;
        let mut heard = Heard::default();
        let (mut failure, mut is_held) = (None, false);
        while failure.is_none()
            && let Some(answer) = self.next_in_time(&mut asked).await?
        {
            progress.tell_others();
            if is_held {
                is_held = false;
                self.waits.go_on(&self.journal).await?;
            }
            match answer {
                Ok(rows @ Answer::Subtree { .. }) if progress.reading.is_some() => {
                    self.take_rows(progress, rows);
                }
                Ok(Answer::Subtree {
                    index,
                    value,
                    attributions,
                    logprobs,
                }) => {
                    heard.value(index, &value);
                    let Some(checked) = self.check(progress, index, value) else {
                        continue;
                    };
                    progress.missing.retain(|missing| *missing != index);
                    let said = (attributions, logprobs);
                    if progress.missing.is_empty() {
                        // The last one waits for the bill, which comes at the end of the answer.
                        last = Some((index, checked, said));
                    } else {
                        self.settle(progress, index, checked, said).await?;
                    }
                }
                Ok(cut @ Answer::Cut { .. }) => self.take_cut(progress, &mut heard, cut),
                Ok(Answer::Begun { after_ms }) => heard.begin(after_ms),
                Ok(Answer::Written { index, bytes }) => heard.size(index, bytes),
                Ok(Answer::Held { fault, .. }) => {
                    // Nothing is sent yet: the job may be another's when it is.
                    asked.has_begun = false;
                    is_held = true;
                    self.waits.wait(&self.journal, fault).await?;
                }
                Ok(Answer::Again(usage)) => {
                    asked.has_begun = false;
                    failure = self.go_on(progress, ticket, &mut heard, usage).await?;
                }
                Ok(Answer::Usage(usage)) => {
                    progress.spent.add(&usage);
                    ticket.pay(&usage);
                    heard.usage = Some(usage);
                }
                Err(error) => failure = Some(error),
            }
        }
        if is_held {
            self.waits.go_on(&self.journal).await?;
        }
        self.account(progress, ticket, (&load, &heard), failure.as_ref());
        if let Some((index, checked, said)) = last {
            self.settle(progress, index, checked, said).await?;
        }
        self.count_call(failure.as_ref());
        Ok(match failure {
            Some(error) if !progress.missing.is_empty() => Err(error),
            _ => Ok(()),
        })
    }

    /// Leave for a call to send a further request, after one that cost so much; why it may not.
    async fn go_on(
        &self,
        progress: &mut Progress,
        ticket: &mut Ticket,
        heard: &mut Heard,
        usage: Usage,
    ) -> Result<Option<CallError>, Halt> {
        progress.spent.add(&usage);
        heard.is_divided = true;
        let renewed = tokio::select! {
            biased;
            () = self.engine.drained() => return Err(Halt::Drained),
            renewed = ticket.renew(&usage, self.need(progress)) => renewed,
        };
        // A request that is not sent has no bill to wait for.
        heard.usage = renewed.is_err().then_some(usage);
        Ok(renewed.err())
    }

    /// Leaves an array that was cut off to be read in windows.
    fn take_cut(&self, progress: &mut Progress, heard: &mut Heard, cut: Answer) {
        // Nothing is learned from an answer that was not written to its end.
        heard.is_cut = true;
        if progress.reading.is_some() {
            self.take_rows(progress, cut);
        } else if let Answer::Cut { index, .. } = cut
            && progress.missing.contains(&index)
        {
            progress.missing.retain(|missing| *missing != index);
            progress.cut.push(index);
        }
    }

    /// What a request that is over tells of its cost.
    fn account(
        &self,
        progress: &mut Progress,
        ticket: &mut Ticket,
        (load, heard): (&[usize], &Heard),
        failure: Option<&CallError>,
    ) {
        match failure {
            None if progress.reading.is_some() => {}
            None => self.learn(load, heard),
            Some(error) if heard.usage.is_none() => self.unbilled(progress, ticket, error),
            Some(_) => {}
        }
    }

    /// The value with what is wrong with it; none where it was not asked for, or is to be asked
    /// for once more.
    fn check(&self, progress: &mut Progress, index: usize, value: Value) -> Option<Checked> {
        if !progress.missing.contains(&index) {
            return None;
        }
        let checked = self.checked(index, value)?;
        let breaches = checked.breaches();
        if breaches.is_empty() || !self.takes_corrections || progress.corrected.contains(&index) {
            return Some(checked);
        }
        progress.wrong.push(Correction {
            index,
            errors: breaches,
        });
        None
    }

    fn count_call(&self, failure: Option<&CallError>) {
        let outcome = failure.map_or("answered", |error| error.fault.name());
        let labels = [
            label("model", &self.spec.config.model),
            label("outcome", outcome),
        ]
        .concat();
        self.engine.metrics.calls.get_or_create(&labels).inc();
    }

    /// The next piece of an answer. The request begins, and goes on, only while the job is ours.
    async fn next(&self, asked: &mut Asked) -> Result<Option<Answered>, Halt> {
        let Asked { answers, has_begun } = asked;
        let is_shared = self.engine.jobs.is_shared();
        loop {
            if is_shared && !*has_begun {
                self.engine.assure(&self.lease).await?;
            }
            // A stop may have begun while the store was asked, or while the call was held.
            if !*has_begun && self.engine.is_draining() {
                return Err(Halt::Drained);
            }
            let right = poll_fn(|context| {
                let poll = || answers.poll_next_unpin(context);
                match self.lease.act(is_shared && !*has_begun, poll) {
                    Right::Done(polled) => {
                        *has_begun = true;
                        polled.map(Right::Done)
                    }
                    Right::Unsure => Poll::Ready(Right::Unsure),
                    Right::Over => Poll::Ready(Right::Over),
                }
            });
            match right.await {
                Right::Done(answer) => return Ok(answer),
                Right::Unsure => {}
                Right::Over => return Err(Halt::Lost),
            }
        }
    }

    /// The next piece of an answer, or that the time of the job is over.
    async fn next_in_time(&self, asked: &mut Asked) -> Result<Option<Answered>, Halt> {
        let Some(deadline) = self.purse.deadline() else {
            return self.next(asked).await;
        };
        match timeout_at(deadline, self.next(asked)).await {
            Ok(answer) => answer,
            Err(_) => Ok(Some(Err(self.purse.overtime()))),
        }
    }

    /// The part of a wait that lies within the time of the job.
    fn in_time(&self, delay: Duration) -> Duration {
        let deadline = self.purse.deadline();
        deadline.map_or(delay, |deadline| {
            delay.min(deadline.saturating_duration_since(Instant::now()))
        })
    }

    /// Leave to make the next request, or that the budget does not take it.
    async fn ticket(&self, progress: &Progress) -> Result<Result<Ticket, CallError>, Halt> {
        tokio::select! {
            biased;
            () = self.engine.drained() => Err(Halt::Drained),
            ticket = self.purse.take(self.need(progress)) => Ok(ticket),
        }
    }

    fn need(&self, progress: &Progress) -> Need {
        if !self.spec.config.budget.is_set() {
            return Need::default();
        }
        let reading = progress.reading.as_ref();
        let weight = reading.map_or_else(
            || self.work.weight_of(&progress.missing),
            |reading| reading.array.weight,
        );
        let terms = &self.work.terms;
        let bill = |bound| cost::bill(terms, &[weight], cost::Start::AtOnce, bound);
        let (low, likely) = (bill(Bound::Low), bill(Bound::Likely));
        let cheapest = terms.price.map_or(0.0, |price| {
            // The document may have been read before, by another job.
            let cached = if terms.caches { weight.shared } else { 0.0 };
            cost::money(&price, &cost::Bill { cached, ..low })
        });
        Need {
            tokens: low.tokens(),
            likely_tokens: likely.tokens(),
            cost: cheapest,
            likely_cost: likely.cost.unwrap_or(0.0),
        }
    }

    /// A request that ended without a bill. When it was cut off, what it did cost is not known;
    /// else nothing was sent.
    fn unbilled(&self, progress: &mut Progress, ticket: &mut Ticket, error: &CallError) {
        if error.fault == Fault::BudgetExceeded {
            progress.spent.add(&Usage {
                request_count: 1,
                cost_usd: None,
                ..self.blank.clone()
            });
        } else {
            ticket.give_back();
        }
    }

    fn learn(&self, load: &[usize], heard: &Heard) {
        let (Some(usage), Some(first_ms)) = (&heard.usage, heard.first_ms) else {
            return;
        };
        // Under a caller's own key nothing is learned that others would see.
        if self.spec.has_own_key {
            return;
        }
        // How long a part of the document became is not what the model's count is learned from.
        if self.work.is_excerpted || heard.is_divided || heard.is_cut {
            return;
        }
        let taken = Taken {
            usage,
            first_ms,
            said: &heard.said,
            located: &|index| self.arrays.located(index),
            shared: self.shared_tokens,
            own: questions(&self.planned.plan, load),
        };
        self.engine
            .rates
            .learn(&self.spec.config, &self.planned, &taken);
    }

    fn request(&self, progress: &Progress) -> Call {
        let config = &self.spec.config;
        let array = progress.reading.as_ref().map(|reading| &reading.array);
        Call {
            model: config.model.clone(),
            document: Arc::clone(&progress.document),
            attachments: self.attachments(),
            plan: Arc::clone(array.map_or(&self.planned.plan, |array| &array.plan)),
            plan_key: array
                .map_or(&self.planned.key, |array| &array.plan_key)
                .clone(),
            subtrees: progress.missing.clone(),
            additional_instructions: config.additional_instructions.clone(),
            temperature: config.temperature,
            seed: config.seed,
            enable_thinking: config.enable_thinking,
            per_key_attribution: config.per_key_attribution,
            use_explicit_context_cache: config.use_explicit_context_cache,
            corrections: progress.corrections.clone(),
            keeps_rows: self.arrays.are_read_in_windows(),
        }
    }

    fn delay(&self, progress: &Progress, error: &CallError) -> Option<Duration> {
        retry::delay(
            progress.attempt,
            self.spec.config.n_max_retries,
            error.fault,
            error.retry_after_ms,
            self.spread(progress),
        )
        .map(Duration::from_millis)
    }

    /// Differs between calls that fail together, and is the same when all is done once more.
    fn spread(&self, progress: &Progress) -> u64 {
        let mut spread = DefaultHasher::new();
        (self.lease.job, &progress.missing, progress.attempt).hash(&mut spread);
        if self.record.is_some() {
            self.ordinal(0).hash(&mut spread);
        }
        spread.finish()
    }

    async fn announce_retry(
        &self,
        progress: &Progress,
        error: &CallError,
        delay: Duration,
    ) -> Result<(), Halt> {
        for index in &progress.missing {
            let Some(subtree) = self.planned.plan.subtrees.get(*index) else {
                continue;
            };
            let retry = SubtreeRetry {
                subtree_id: subtree.id.clone(),
                path: subtree.path.clone(),
                record_index: None,
                record_id: None,
                attempt: progress.attempt,
                max_attempts: self.spec.config.n_max_retries + 1,
                error_message: error.message.clone(),
                error_type: error.fault,
                retry_delay_ms: millis(delay),
                window: progress.reading.as_ref().map(|reading| reading.window),
            };
            self.say(Draft::Retry(retry)).await?;
        }
        Ok(())
    }
}

impl Progress {
    /// Lets those go that waited for this call to read the document.
    fn tell_others(&mut self) {
        if let Some(leads) = self.leads.take() {
            leads.notify_one();
        }
    }

    /// Makes what was wrong the corrections of the next request. Gives whether all that is missing
    /// was answered this time, if wrongly.
    fn take_corrections(&mut self) -> bool {
        let wrong = std::mem::take(&mut self.wrong);
        let is_wrong = |index: usize| wrong.iter().any(|wrong| wrong.index == index);
        let is_only_wrong = self.missing.iter().all(|index| is_wrong(*index));
        let missing = &self.missing;
        self.corrections
            .retain(|known| missing.contains(&known.index) && !is_wrong(known.index));
        self.corrections.extend(wrong);
        is_only_wrong
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
