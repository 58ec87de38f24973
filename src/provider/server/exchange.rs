//! One request to a model, and what closes in its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, Stream};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::refusals::{Mark, Refusals};
use super::{Inner, reading};
use crate::domain::error::Fault;
use crate::domain::evidence::{Attributions, Logprobs};
use crate::domain::pack::most_tokens;
use crate::domain::prompt;
use crate::domain::usage::Usage;
use crate::engine::ports::{Answer, Call, CallError};
use crate::provider::answer::{self, Closed, Members, Tally};
use crate::provider::gate::{Blocked, Meter, Pass, Rates, Wait};
use crate::provider::lower::{self, Lowered, lower};
use crate::provider::models::{Output, Profile};
use crate::provider::wire::{
    Ask, Cache, Delta, Failure, FailureKind, Finish, Limits, Part, Quota, Thinking, Tokens, Vendor,
};

/// A wait that is worth a word to those who watch the job.
const WORTH_TELLING: Duration = Duration::from_secs(1);
/// The longest that a call stands in line; a longer wait is a failure that says how long.
const LONGEST_HELD: Duration = Duration::from_mins(1);
/// How long a provider keeps the document for the calls that follow.
const CACHED_FOR: Duration = Duration::from_mins(10);

/// Of text; few languages have less.
const BYTES_PER_TOKEN: usize = 3;
/// What a page takes as a picture, with its text where a provider reads that too.
const PAGE_TOKENS: usize = 2_000;

/// What comes of a request, in order; [`Piece::Failed`] last, if at all.
pub(super) enum Piece {
    Held { fault: Fault, for_ms: u64 },
    Closed { index: usize, answer: Answered },
    Spent(Usage),
    Failed(Failed),
}

/// A subtree as it was answered, or a part of one.
pub(super) struct Answered {
    pub(super) value: Value,
    pub(super) attributions: Attributions,
    pub(super) logprobs: Logprobs,
}

impl Answered {
    pub(super) fn of(self, index: usize) -> Answer {
        Answer::Subtree {
            index,
            value: self.value,
            attributions: self.attributions,
            logprobs: self.logprobs,
        }
    }
}

/// How a request failed.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) kind: FailureKind,
    message: String,
    retry_after: Option<Duration>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self {
            kind: failure.kind,
            message: failure.message,
            retry_after: failure.retry_after,
        }
    }
}

impl Failed {
    /// Whether asking for less may help.
    pub(super) fn is_too_much(&self) -> bool {
        matches!(self.kind, FailureKind::Schema | FailureKind::Truncation)
    }

    pub(super) fn error(self) -> CallError {
        let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        CallError {
            fault: self.kind.fault(),
            message: self.message,
            retry_after_ms: self.retry_after.map(millis),
        }
    }
}

/// A document that the provider keeps, or does not want to keep.
pub(super) struct Entry {
    name: Option<Arc<str>>,
    until: Instant,
}

/// How the form of the answer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// By the best means that the model has.
    Bound,
    /// In words: the provider does not take the schema.
    Told,
}

/// One request, ready to be sent.
pub(super) struct Exchange {
    inner: Arc<Inner>,
    lowered: Lowered,
    ask: Ask,
    mark: Mark,
    /// The key under which the document is kept with the provider, when it is to be.
    cached_as: Option<String>,
    /// As clients call it.
    model: String,
    is_lone: bool,
    /// Whether anybody wants to know how far the values may be trusted.
    is_attributed: bool,
}

impl Exchange {
    /// The request for these subtrees of the call's plan.
    pub(super) fn of(
        inner: &Arc<Inner>,
        call: &Call,
        load: &[usize],
        form: Form,
    ) -> Result<Self, CallError> {
        let unknown = || CallError {
            fault: Fault::ProviderError,
            message: format!("The model `{}` is no longer served here.", call.model),
            retry_after_ms: None,
        };
        let own = inner.names.own(&call.model).ok_or_else(unknown)?;
        let profile = inner.profile(&call.model).ok_or_else(unknown)?;
        let output = match (form, profile.output) {
            (Form::Bound, output) => output,
            (Form::Told, Output::Text) => Output::Text,
            (Form::Told, _) => Output::Json,
        };
        let dialect = inner.lowering(output);
        let lowered = lower(&call.plan, load, dialect, call.per_key_attribution);
        let mark = Refusals::mark(
            &[&call.model, lowered.profile(), &call.document.sha256],
            lowered.answers(),
        );
        let is_kept = call.use_explicit_context_cache;
        let document = inner.document(call);
        // The same document is another one where it is sent in another form.
        let sent_as = call.attachments.first().map_or("", |file| file.media_type);
        let cached_as = is_kept.then(|| format!("{own}\0{sent_as}\0{}", call.document.sha256));
        let ask = Ask {
            model: own.to_owned(),
            system: prompt::SYSTEM.to_owned(),
            document,
            task: task(call, load, &lowered),
            schema: lowered.schema().cloned(),
            output,
            temperature: call.temperature,
            seed: call.seed,
            thinking: if call.enable_thinking {
                Thinking::On { budget: None }
            } else {
                Thinking::Off
            },
            max_output_tokens: None,
            stream: inner.stream,
            logprobs: call.per_key_attribution && inner.logprobs.unwrap_or(profile.logprobs),
            cache: Cache::Off,
            profile: Arc::clone(&profile),
        };
        let most = most_tokens(&call.plan, load, call.per_key_attribution);
        // Thoughts count as well, and how many they will be nobody knows.
        let most = most.filter(|_| !call.enable_thinking).unwrap_or(u64::MAX);
        let room = room(&ask, &profile);
        let max_output_tokens = Some(u32::try_from(most).map_or(room, |most| room.min(most)));
        Ok(Self {
            inner: Arc::clone(inner),
            lowered,
            ask: Ask {
                max_output_tokens,
                ..ask
            },
            mark,
            cached_as,
            model: call.model.clone(),
            is_lone: load.len() == 1,
            is_attributed: call.per_key_attribution,
        })
    }

    /// Sends it when its turn comes. Dropping the stream ends the request.
    pub(super) fn pieces(mut self) -> impl Stream<Item = Piece> + Send {
        async_stream::stream! {
            if let Some(failed) = self.known_refusal() {
                yield Piece::Failed(failed);
                return;
            }
            let tokens = estimate(&self.ask);
            let mut pass = match self.inner.gate.acquire(tokens, WORTH_TELLING).await {
                Ok(pass) => pass,
                Err(blocked) => {
                    if blocked.wait() > LONGEST_HELD {
                        yield Piece::Failed(turned_away(blocked));
                        return;
                    }
                    let for_ms = blocked.wait().as_millis() as u64;
                    yield Piece::Held { fault: held_by(blocked), for_ms };
                    match self.inner.gate.acquire(tokens, LONGEST_HELD).await {
                        Ok(pass) => pass,
                        Err(blocked) => {
                            yield Piece::Failed(turned_away(blocked));
                            return;
                        }
                    }
                }
            };
            self.keep_document().await;
            let began = Instant::now();
            let sent = Arc::new(AtomicU64::new(1));
            let mut members = Members::new(reading());
            let mut tally = Tally::new(reading());
            let (mut tokens, mut failure) = (None, None);
            let mut deltas = self.deltas(began, &sent);
            while let Some(delta) = deltas.next().await {
                match delta {
                    Ok(Delta::Logprobs(said)) if self.is_attributed => tally.tell(&said),
                    Ok(Delta::Text(text)) => {
                        tally.feed(&text);
                        let closed = match members.feed(&text) {
                            Ok(closed) => closed,
                            Err(broken) => {
                                failure = Some(unreadable(&broken));
                                break;
                            }
                        };
                        for piece in closed.into_iter().filter_map(|one| self.closed(one, &tally)) {
                            yield piece;
                        }
                    }
                    Ok(Delta::Limits(limits)) => pass.answered(&rates(Some(&limits))),
                    Ok(Delta::Tokens(counts)) => tokens = Some(counts),
                    Ok(Delta::Finish(finish)) => failure = ended(finish),
                    Ok(Delta::Thought(_) | Delta::Logprobs(_)) => {}
                    Err(failed) => failure = Some(failed),
                }
            }
            drop(deltas);
            // What broke with the last piece of text is only told now.
            if failure.is_none()
                && let Some(broken) = members.finish().broken
            {
                failure = Some(unreadable(&broken));
            }
            self.report(pass, failure.as_ref());
            yield Piece::Spent(self.spent(tokens, began.elapsed(), sent.load(Ordering::Relaxed)));
            if let Some(failure) = failure {
                yield Piece::Failed(failure.into());
            }
        }
    }

    /// That this is too much for the provider, where that is known without asking.
    fn known_refusal(&self) -> Option<Failed> {
        let is_bound = self.lowered.schema().is_some();
        let excess = self.lowered.excess().first().filter(|_| is_bound);
        if let Some(excess) = excess {
            let remark = format!(
                "{} {}, of which it takes {}",
                excess.figure, excess.of, excess.limit
            );
            return Some(Failure::from(FailureKind::Schema).noting(&remark).into());
        }
        let kind = self.inner.refusals.get(&self.mark)?;
        Some(Failure::from(kind).into())
    }

    fn closed(&self, closed: Closed, tally: &Tally) -> Option<Piece> {
        let index = self.lowered.index_of(&closed.name)?;
        if closed.duplicate {
            return None;
        }
        let scores = tally.scores(&closed.span);
        let logprobs = self.lowered.logprobs(index, &closed.value, &scores);
        let raised = self.lowered.raise(index, closed.value).ok()?;
        Some(Piece::Closed {
            index,
            answer: Answered {
                value: raised.value,
                attributions: raised.attributions,
                logprobs,
            },
        })
    }

    /// The deltas of the answer; of the one that begins first, where a late one is sent again.
    fn deltas(
        &self,
        began: Instant,
        sent: &Arc<AtomicU64>,
    ) -> BoxStream<'static, Result<Delta, Failure>> {
        let inner = Arc::clone(&self.inner);
        let (ask, sent) = (self.ask.clone(), Arc::clone(sent));
        let late_after = inner
            .hedging
            .then(|| inner.tardiness.late_after(&ask.model))
            .flatten();
        async_stream::stream! {
            let mut first = inner.client.ask(ask.clone()).boxed();
            let wait = late_after.unwrap_or(Duration::MAX);
            let begun = timeout(wait, first.next()).await;
            let (item, mut rest) = if let Ok(item) = begun {
                (item, first)
            } else {
                sent.fetch_add(1, Ordering::Relaxed);
                let mut second = inner.client.ask(ask.clone()).boxed();
                tokio::select! {
                    biased;
                    item = first.next() => (item, first),
                    item = second.next() => (item, second),
                }
            };
            if matches!(item, Some(Ok(_))) {
                inner.tardiness.began(&ask.model, began.elapsed());
            }
            if let Some(item) = item {
                yield item;
            }
            while let Some(item) = rest.next().await {
                yield item;
            }
        }
        .boxed()
    }

    fn report(&self, pass: Pass, failure: Option<&Failure>) {
        let Some(failure) = failure else {
            pass.succeeded();
            return;
        };
        match failure.kind {
            FailureKind::Rate => {
                pass.refused(
                    failure.retry_after.map(wait),
                    &rates(failure.limits.as_deref()),
                );
            }
            FailureKind::Overload
            | FailureKind::Server
            | FailureKind::Timeout
            | FailureKind::Broken
            | FailureKind::Malformed => pass.failed(),
            _ => pass.succeeded(),
        }
        let is_too_much = match failure.kind {
            FailureKind::Schema => true,
            // With fewer subtrees the same part may well be whole.
            FailureKind::Truncation => self.is_lone,
            _ => false,
        };
        if is_too_much {
            self.inner.refusals.add(self.mark, failure.kind);
        }
        if failure.kind == FailureKind::Cache
            && let Some(key) = &self.cached_as
        {
            self.inner.caches.lock().pop(key);
        }
    }

    fn spent(&self, tokens: Option<Tokens>, took: Duration, requests: u64) -> Usage {
        let counts = tokens.unwrap_or_default();
        let prompt = counts.prompt.unwrap_or(0);
        let answer = counts.answer.unwrap_or(0);
        let thoughts = counts.thoughts.unwrap_or(0);
        // What a call cost that was cut off or sent twice is not known.
        let is_known = requests == 1;
        Usage {
            prompt_token_count: prompt,
            candidates_token_count: answer,
            thoughts_token_count: thoughts,
            cached_content_token_count: counts.cached.unwrap_or(0),
            total_token_count: prompt + answer + thoughts,
            request_count: requests,
            latency_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            cost_usd: tokens
                .filter(|_| is_known)
                .and_then(|tokens| self.ask.profile.cost(&tokens)),
            ..self.inner.blank(&self.model)
        }
    }

    /// Has the provider keep the document for the calls that follow, where the caller wants it.
    async fn keep_document(&mut self) {
        let Some(key) = self.cached_as.clone() else {
            return;
        };
        match self.inner.client.vendor() {
            Vendor::Anthropic => self.ask.cache = Cache::Marked,
            Vendor::OpenAi => {}
            Vendor::Gemini => {
                if let Some(name) = self.inner.kept(&key, &self.ask).await {
                    self.ask.cache = Cache::Entry(name);
                }
            }
        }
    }
}

impl Inner {
    /// The entry that holds the document; made when there is none. A document that the provider
    /// does not keep, such as a short one, is not offered again for as long.
    async fn kept(&self, key: &str, ask: &Ask) -> Option<Arc<str>> {
        // One at a time: the calls of a job would each make one.
        let _alone = self.keeping.lock().await;
        let now = Instant::now();
        if let Some(entry) = self.caches.lock().get(key)
            && entry.until > now
        {
            return entry.name.clone();
        }
        let created = self.client.create_cache(ask, CACHED_FOR).await;
        let name: Option<Arc<str>> = created.ok().map(Into::into);
        let entry = Entry {
            name: name.clone(),
            // Gone before the provider drops it, with time for a call.
            until: now + CACHED_FOR / 2,
        };
        self.caches.lock().put(key.to_owned(), entry);
        name
    }

    fn lowering(&self, output: Output) -> &'static lower::Profile {
        match (output, self.client.vendor()) {
            (Output::Json, _) => &lower::JSON_MODE,
            (Output::Text, _) => &lower::TEXT,
            (Output::Schema | Output::Tool, Vendor::Gemini) => &lower::GEMINI,
            (Output::Schema | Output::Tool, Vendor::Anthropic) => &lower::ANTHROPIC,
            (Output::Schema | Output::Tool, Vendor::OpenAi) if self.names.is_vendors_own() => {
                &lower::OPENAI
            }
            (Output::Schema | Output::Tool, Vendor::OpenAi) => &lower::GRAMMAR,
        }
    }
}

fn task(call: &Call, load: &[usize], lowered: &Lowered) -> String {
    let options = prompt::Options {
        quotes: call.per_key_attribution,
        additional_instructions: call.additional_instructions.as_deref(),
        schema_in_text: lowered.schema_in_text(),
        is_attached: !call.attachments.is_empty(),
    };
    let task = prompt::task(&call.plan, load, &options);
    let corrections = call
        .corrections
        .iter()
        .filter(|correction| load.contains(&correction.index));
    let violations: Vec<_> = corrections
        .flat_map(|correction| {
            correction.errors.iter().map(|error| prompt::Violation {
                subtree: correction.index,
                pointer: error.path.as_str(),
                message: &error.message,
            })
        })
        .collect();
    if violations.is_empty() {
        task
    } else {
        prompt::repair(&task, &violations)
    }
}

fn held_by(blocked: Blocked) -> Fault {
    match blocked {
        Blocked::RateLimited(_) => Fault::ProviderRateLimit,
        Blocked::Unavailable(_) => Fault::ProviderOverloaded,
    }
}

fn turned_away(blocked: Blocked) -> Failed {
    let kind = match blocked {
        Blocked::RateLimited(_) => FailureKind::Rate,
        Blocked::Unavailable(_) => FailureKind::Overload,
    };
    Failed {
        retry_after: Some(blocked.wait()),
        ..Failure::from(kind).into()
    }
}

/// A wait as the gate takes it: without a fraction it may have been rounded up.
fn wait(wait: Duration) -> Wait {
    if wait.subsec_nanos() == 0 {
        Wait::Whole(wait)
    } else {
        Wait::Exact(wait)
    }
}

fn rates(limits: Option<&Limits>) -> Rates {
    let meter = |quota: &Quota| {
        Some(Meter {
            limit: quota.limit? as f64,
            remaining: quota.remaining? as f64,
            reset: quota.reset.map(wait),
        })
    };
    limits.map_or_else(Rates::default, |limits| Rates {
        requests: meter(&limits.requests),
        tokens: meter(&limits.tokens),
    })
}

fn unreadable(broken: &answer::Broken) -> Failure {
    Failure::from(FailureKind::Unreadable).noting(&broken.to_string())
}

fn ended(finish: Finish) -> Option<Failure> {
    finish.check().err()
}

/// Tokens of the request, roughly and rather too many.
fn estimate(ask: &Ask) -> u64 {
    let document = ask.document.iter().map(|part| match part {
        Part::Text(text) => text.len(),
        Part::File { pages, .. } => *pages as usize * PAGE_TOKENS * BYTES_PER_TOKEN,
    });
    let schema = ask
        .schema
        .as_ref()
        .map_or(0, |schema| schema.to_string().len());
    let bytes = document.sum::<usize>() + ask.system.len() + ask.task.len() + schema;
    (bytes / BYTES_PER_TOKEN) as u64
}

/// Tokens that the answer may have: what the model writes at most, in what its context leaves.
fn room(ask: &Ask, profile: &Profile) -> u32 {
    let prompt = u32::try_from(estimate(ask)).unwrap_or(u32::MAX);
    let left = profile.context_tokens.saturating_sub(prompt);
    // Too little to be worth a request is left to the provider to refuse, by its own count.
    profile.output_tokens.min(left.max(1_024))
}
