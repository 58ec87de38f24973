//! One request to a model, and what closes in its answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::Stream;
use serde_json::Value;
use tokio::time::Instant;

use super::begin::{Begun, Sent};
use super::refusals::{Mark, Refusals};
use super::{Inner, reading};
use crate::domain::error::Fault;
use crate::domain::evidence::{Attributions, Logprobs};
use crate::domain::pack::most_tokens;
use crate::domain::plan::{Kind, Plan};
use crate::domain::prompt;
use crate::domain::usage::Usage;
use crate::engine::ports::{Answer, Call, CallError, Lowering};
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
pub(super) const LONGEST_HELD: Duration = Duration::from_mins(1);

/// Of text; few languages have less.
const BYTES_PER_TOKEN: usize = 3;
/// What a page takes as a picture, with its text where a provider reads that too.
const PAGE_TOKENS: usize = 2_000;

/// What comes of a request, in order; [`Piece::Failed`] last, if at all.
pub(super) enum Piece {
    Held {
        fault: Fault,
        for_ms: u64,
    },
    /// The first word came, so long after the request was sent.
    Begun {
        after_ms: u64,
    },
    Closed {
        index: usize,
        answer: Answered,
    },
    /// The answer was cut off inside this array.
    Cut {
        index: usize,
        answer: Answered,
    },
    Spent(Usage),
    Failed(Failed),
}

/// A subtree as it was answered, or a part of one.
pub(super) struct Answered {
    pub(super) value: Value,
    pub(super) attributions: Attributions,
    pub(super) logprobs: Logprobs,
    /// Bytes of it as it was written.
    pub(super) written: usize,
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

    pub(super) fn cut(self, index: usize) -> Answer {
        Answer::Cut {
            index,
            value: self.value,
            attributions: self.attributions,
            logprobs: self.logprobs,
        }
    }

    /// Of an array that was cut off before its first row was whole.
    pub(super) fn nothing() -> Self {
        Self {
            value: Value::Null,
            attributions: Attributions::new(),
            logprobs: Logprobs::new(),
            written: 0,
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
        CallError {
            fault: self.kind.fault(),
            message: self.message,
            retry_after_ms: self.retry_after.map(millis),
        }
    }
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
    pub(super) inner: Arc<Inner>,
    lowered: Lowered,
    pub(super) ask: Ask,
    mark: Mark,
    /// The key under which the document is kept with the provider, when it is to be.
    pub(super) cached_as: Option<String>,
    /// As clients call it.
    model: String,
    subtrees: Vec<usize>,
    /// Whether anybody wants to know how far the values may be trusted.
    is_attributed: bool,
    /// Whether the rows of an array that is cut off are wanted.
    pub(super) keeps_rows: bool,
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
        let keeps_rows = call.keeps_rows && has_array(&call.plan, load);
        // An answer that was cut off is of use where its rows are.
        let wanted = if keeps_rows { "rows" } else { "" };
        let mark = Refusals::mark(
            &[
                &call.model,
                lowered.profile(),
                &call.document.sha256,
                wanted,
            ],
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
            subtrees: load.to_vec(),
            is_attributed: call.per_key_attribution,
            keeps_rows,
        })
    }

    /// Sends it when its turn comes. Dropping the stream ends the request.
    pub(super) fn pieces(mut self) -> impl Stream<Item = Piece> + Send {
        async_stream::stream! {
            if let Some(failed) = self.known_refusal() {
                yield Piece::Failed(failed);
                return;
            }
            self.keep_document().await;
            let tokens = estimate(&self.ask);
            let pass = match self.inner.lane.gate.acquire(tokens, WORTH_TELLING).await {
                Ok(pass) => pass,
                Err(blocked) => {
                    if blocked.wait() > LONGEST_HELD {
                        yield Piece::Failed(turned_away(blocked));
                        return;
                    }
                    let for_ms = blocked.wait().as_millis() as u64;
                    yield Piece::Held { fault: held_by(blocked), for_ms };
                    match self.inner.lane.gate.acquire(tokens, LONGEST_HELD).await {
                        Ok(pass) => pass,
                        Err(blocked) => {
                            yield Piece::Failed(turned_away(blocked));
                            return;
                        }
                    }
                }
            };
            let began = Instant::now();
            let mut members = Members::new(reading());
            let mut tally = Tally::new(reading());
            let (mut tokens, mut failure) = (None, None);
            let mut has_begun = false;
            let Begun { mut leg, first: mut next, sent } = self.begin(pass).await;
            while let Some(delta) = next {
                if !has_begun && matches!(delta, Ok(Delta::Text(_) | Delta::Thought(_))) {
                    has_begun = true;
                    if self.inner.stream {
                        yield Piece::Begun { after_ms: millis(began.elapsed()) };
                    }
                }
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
                    Ok(Delta::Limits(_) | Delta::Thought(_) | Delta::Logprobs(_)) => {}
                    Ok(Delta::Tokens(counts)) => tokens = Some(counts),
                    Ok(Delta::Finish(finish)) => failure = ended(finish),
                    Err(failed) => failure = Some(failed),
                }
                next = leg.deltas.next().await;
            }
            drop(leg.deltas);
            if let Some(cut) = self.cut(failure.as_ref(), &members, &tally) {
                yield cut;
            }
            // What broke with the last piece of text is only told now.
            if failure.is_none()
                && let Some(broken) = members.finish().broken
            {
                failure = Some(unreadable(&broken));
            }
            self.report(leg.pass, failure.as_ref());
            let is_free = tokens.is_none() && failure.as_ref().is_some_and(is_refused);
            let tokens = if is_free { Some(Tokens::NONE) } else { tokens };
            yield Piece::Spent(self.spent(tokens, began.elapsed(), sent));
            if let Some(failure) = failure {
                yield Piece::Failed(failure.into());
            }
        }
    }

    /// What is asked for otherwise than the schema says; where the provider would not take it, that
    /// it is asked for in smaller parts.
    pub(super) fn changes(&self) -> Vec<Lowering> {
        let notes = self.lowered.notes().iter().map(|note| Lowering {
            subtree: note.subtree,
            pointer: note.pointer.clone(),
            what: note.what.clone(),
        });
        let is_bound = self.lowered.schema().is_some();
        let excess = self.lowered.excess().iter().filter(|_| is_bound);
        let first = self.subtrees.first().copied().unwrap_or_default();
        let excess = excess.map(|excess| Lowering {
            subtree: first,
            pointer: String::new(),
            what: format!(
                "is asked for in smaller parts: the call has {} {}, of which the provider takes {}",
                excess.figure, excess.of, excess.limit
            ),
        });
        notes.chain(excess).collect()
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
        let kind = self.inner.lane.refusals.get(&self.mark)?;
        Some(Failure::from(kind).into())
    }

    fn closed(&self, closed: Closed, tally: &Tally) -> Option<Piece> {
        let index = self.lowered.index_of(&closed.name)?;
        if closed.duplicate {
            return None;
        }
        let scores = tally.scores(&closed.span);
        let written = closed.span.end.saturating_sub(closed.span.start) as usize;
        let logprobs = self.lowered.logprobs(index, &closed.value, &scores);
        let raised = self.lowered.raise(index, closed.value).ok()?;
        Some(Piece::Closed {
            index,
            answer: Answered {
                value: raised.value,
                attributions: raised.attributions,
                logprobs,
                written,
            },
        })
    }

    /// Of an answer that was cut off inside an array, the array as far as it is whole.
    fn cut(&self, failure: Option<&Failure>, members: &Members, tally: &Tally) -> Option<Piece> {
        let failure = failure.filter(|_| self.keeps_rows)?;
        if failure.kind != FailureKind::Truncation {
            return None;
        }
        match self.closed(members.cut()?, tally)? {
            Piece::Closed { index, answer } => Some(Piece::Cut { index, answer }),
            _ => None,
        }
    }

    /// Tells the gate how a request ended, and remembers what was too much.
    pub(super) fn report(&self, pass: Pass, failure: Option<&Failure>) {
        settle(pass, failure);
        let Some(failure) = failure else {
            return;
        };
        let is_too_much = match failure.kind {
            FailureKind::Schema => true,
            // With fewer subtrees the same part may well be whole.
            FailureKind::Truncation => self.subtrees.len() == 1 && !self.keeps_rows,
            _ => false,
        };
        if is_too_much {
            self.inner.lane.refusals.add(self.mark, failure.kind);
        }
    }

    fn spent(&self, tokens: Option<Tokens>, took: Duration, sent: Sent) -> Usage {
        let counts = tokens.unwrap_or_default();
        let prompt = counts.prompt.unwrap_or(0);
        let answer = counts.answer.unwrap_or(0);
        let thoughts = counts.thoughts.unwrap_or(0);
        Usage {
            prompt_token_count: prompt,
            candidates_token_count: answer,
            thoughts_token_count: thoughts,
            cached_content_token_count: counts.cached.unwrap_or(0),
            total_token_count: prompt + answer + thoughts,
            request_count: sent.requests,
            latency_ms: millis(took),
            // What a call cost that was cut off or sent twice is not known.
            cost_usd: tokens
                .filter(|_| sent.is_counted)
                .and_then(|tokens| self.ask.profile.cost(&tokens)),
            ..self.inner.blank(&self.model)
        }
    }
}

impl Inner {
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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

pub(super) fn has_array(plan: &Plan, load: &[usize]) -> bool {
    let mut subtrees = load.iter().filter_map(|index| plan.subtrees.get(*index));
    subtrees.any(|subtree| subtree.kind == Kind::AgenticArray)
}

fn held_by(blocked: Blocked) -> Fault {
    match blocked {
        Blocked::RateLimited(_) => Fault::ProviderRateLimit,
        Blocked::Unavailable(_) => Fault::ProviderOverloaded,
    }
}

/// Whether the provider said no before it did anything that costs.
fn is_refused(failure: &Failure) -> bool {
    failure.status.is_some_and(|status| status >= 400)
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

/// Tells the gate how a request ended.
pub(super) fn settle(pass: Pass, failure: Option<&Failure>) {
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
}

/// A wait as the gate takes it: without a fraction it may have been rounded up.
fn wait(wait: Duration) -> Wait {
    if wait.subsec_nanos() == 0 {
        Wait::Whole(wait)
    } else {
        Wait::Exact(wait)
    }
}

pub(super) fn rates(limits: Option<&Limits>) -> Rates {
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
pub(super) fn estimate(ask: &Ask) -> u64 {
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
