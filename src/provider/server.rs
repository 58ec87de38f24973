//! A server of models as the engine asks it: prompts, schemas, pacing and reading joined.
//!
//! | module | what |
//! |---|---|
//! | `names` | which names of models are this server's |
//! | `exchange` | one request: what closes in its answer, and how it ends |
//! | `begin` | the same up to where its answer begins: late ones, lost copies |
//! | `lanes` | what is learned and kept under one key |
//! | `unkeyed` | vendors for callers who bring a key |
//! | `copies` | documents that the provider keeps between calls |
//! | `pieces` | a subtree that is too much for one request |
//! | `refusals` | schemas that the provider did not take |
//! | `tardiness` | how long answers take to begin |

mod begin;
mod copies;
mod exchange;
mod lanes;
mod names;
mod pieces;
mod refusals;
mod tardiness;
mod unkeyed;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use lru::LruCache;
use parking_lot::{Mutex, RwLock};

use super::answer;
use super::client::{Bounds, Client, ClientError};
use super::models::{Models, Profile};
use super::wire::{FailureKind, Key, Part, Vendor};
use crate::domain::document::Document;
use crate::domain::own_key::OwnKey;
use crate::domain::prompt;
use crate::domain::usage::Usage;
use crate::engine::ports::{
    Answer, Attachment, Call, CallError, Lowering, Manner, Model, Price, Provider,
};

use exchange::{Answered, Exchange, Failed, Form, Piece, has_array};
use lanes::{Lane, Lanes};
use names::Names;
use pieces::Division;
pub use unkeyed::Unkeyed;

/// Of the tokens that an answer may have, the part that a call is planned for: estimates err, and
/// an answer that is cut off is paid for.
const PLANNED: f64 = 0.5;
/// Changes whenever schemas are said to providers in another way.
const LOWERING: &str = "1";
/// Documents whose prompt is kept.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// What a server is made from.
#[derive(Debug, Clone)]
pub struct Options {
    /// Models are addressed as `NAME/MODEL`, and by their own name where it tells the vendor whose
    /// own server this is.
    pub name: String,
    pub vendor: Vendor,
    /// The vendor's own address when there is none.
    pub base_url: Option<String>,
    pub key: Option<Key>,
    /// Models to list beside those that are known or that the server tells of.
    pub models: Vec<String>,
    /// Whether answers are read while they are written.
    pub stream: bool,
    /// Whether models are asked how likely their tokens were; what is known of each model where
    /// nothing is said.
    pub logprobs: Option<bool>,
    /// Whether a call whose answer is late to begin is sent a second time.
    pub hedging: bool,
    pub bounds: Bounds,
}

/// One server, with one key. Clones share everything.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    names: Arc<Names>,
    client: Client,
    /// What is of the key that the client has.
    lane: Arc<Lane>,
    /// Of the other keys that callers bring.
    lanes: Arc<Lanes>,
    profiles: Arc<Models>,
    stream: bool,
    logprobs: Option<bool>,
    hedging: bool,
    /// Prompt texts by the document's hash.
    documents: Arc<Mutex<LruCache<String, Arc<str>>>>,
    /// What the server said that it has.
    found: Arc<RwLock<Vec<String>>>,
}

impl Server {
    pub fn new(options: Options, profiles: Arc<Models>) -> Result<Self, ClientError> {
        let base_url = options
            .base_url
            .as_deref()
            .unwrap_or(options.vendor.base_url());
        let client = Client::new(options.vendor, base_url, options.key, options.bounds)?;
        Ok(Self {
            inner: Arc::new(Inner {
                names: Arc::new(Names::new(options.name, options.vendor, options.models)),
                client,
                lane: Arc::default(),
                lanes: Arc::default(),
                profiles,
                stream: options.stream,
                logprobs: options.logprobs,
                hedging: options.hedging,
                documents: Arc::new(Mutex::new(LruCache::new(KEPT))),
                found: Arc::default(),
            }),
        })
    }

    /// Asks the server which models it has, to list them. That it does not answer is no fault:
    /// models can be asked that are not listed.
    pub async fn discover(&self) {
        if let Ok(found) = self.inner.client.models().await {
            *self.inner.found.write() = found;
        }
    }
}

impl Inner {
    fn profile(&self, name: &str) -> Option<Arc<Profile>> {
        let model = self.names.own(name)?;
        let vendor = self.client.vendor();
        if self.names.is_vendors_own() {
            self.profiles.of_vendor(vendor, model)
        } else {
            let found = self.profiles.of_server(self.names.server(), model);
            match vendor {
                Vendor::OpenAi => found,
                // A server of one's own that speaks as a vendor does serves that vendor's models.
                _ => self.profiles.of_vendor(vendor, model).or(found),
            }
        }
    }

    fn describe(&self, id: String) -> Option<Model> {
        let profile = self.profile(&id)?;
        let own = self.names.own(&id)?.to_owned();
        let server = self.names.server();
        let mut ignores: Vec<_> = profile.ignores().into_iter().map(str::to_owned).collect();
        if self.client.vendor() == Vendor::OpenAi {
            ignores.push("use_explicit_context_cache".into());
        }
        Some(Model {
            display_name: own,
            description: format!("Served by {server}."),
            provider: server.to_owned(),
            ignores,
            document_inputs: profile.document_inputs(),
            attachment_limits: profile.attachment_limits(),
            context_tokens: Some(profile.context_tokens),
            output_tokens: Some(profile.output_tokens),
            price: profile.price.map(|price| Price {
                prompt: price.prompt,
                cached: price.cached.unwrap_or(price.prompt),
                answer: price.answer,
            }),
            id,
        })
    }

    /// What the model reads of the document, the same bytes in all calls of a job.
    fn document(&self, call: &Call) -> Vec<Part> {
        if call.attachments.is_empty() {
            return vec![Part::Text(self.document_text(&call.document))];
        }
        let numbered = call.attachments.iter().zip(1..);
        let file = |(attachment, number): (&Attachment, u32)| Part::File {
            media_type: attachment.media_type,
            bytes: attachment.bytes.clone(),
            // A name of ours: the one that it was uploaded under is a stranger's text.
            name: match attachment.media_type {
                "application/pdf" => "document.pdf".to_owned(),
                _ => format!("page-{number}"),
            },
            pages: attachment.pages,
        };
        numbered.map(file).collect()
    }

    fn document_text(&self, document: &Document) -> Arc<str> {
        let mut kept = self.documents.lock();
        if let Some(text) = kept.get(&document.sha256) {
            return Arc::clone(text);
        }
        let text = prompt::document(document);
        kept.put(document.sha256.clone(), Arc::clone(&text));
        text
    }

    /// Counts nothing yet.
    fn blank(&self, model: &str) -> Usage {
        Usage {
            provider: self.names.server().to_owned(),
            model: model.to_owned(),
            cost_usd: Some(0.0),
            ..Usage::default()
        }
    }
}

impl Provider for Server {
    fn models(&self) -> Vec<Model> {
        let inner = &self.inner;
        let known = inner.profiles.names(inner.client.vendor());
        let ids = inner.names.listed(known, &inner.found.read());
        ids.into_iter()
            .filter_map(|id| inner.describe(id))
            .collect()
    }

    fn model(&self, name: &str) -> Option<Model> {
        self.inner.names.own(name)?;
        self.inner.describe(name.to_owned())
    }

    fn manner(&self, model: &str) -> Manner {
        let tokens = self.inner.profile(model).map(|profile| {
            let most = f64::from(profile.output_tokens.min(profile.context_tokens / 2));
            (most * PLANNED) as u64
        });
        Manner {
            output_tokens: tokens,
            version: Some(format!("{}/{LOWERING}", prompt::VERSION)),
            takes_corrections: true,
            is_streamed: self.inner.stream,
        }
    }

    fn lowered(&self, call: &Call) -> Vec<Lowering> {
        let exchange = Exchange::of(&self.inner, call, &call.subtrees, Form::Bound);
        exchange.map_or_else(|_| Vec::new(), |exchange| exchange.changes())
    }

    fn with_key(&self, key: &OwnKey) -> Option<Arc<dyn Provider>> {
        let inner = &self.inner;
        // One that is no header's value is none of a provider's either.
        let own = Key::new(key.reveal()).ok()?;
        Some(Arc::new(Self {
            inner: Arc::new(Inner {
                names: Arc::clone(&inner.names),
                client: inner.client.with_key(own),
                lane: inner.lanes.of(key),
                lanes: Arc::clone(&inner.lanes),
                profiles: Arc::clone(&inner.profiles),
                stream: inner.stream,
                logprobs: inner.logprobs,
                hedging: inner.hedging,
                documents: Arc::clone(&inner.documents),
                found: Arc::clone(&inner.found),
            }),
        }))
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let inner = Arc::clone(&self.inner);
        async_stream::stream! {
            let mut bill = inner.blank(&call.model);
            let mut loads = VecDeque::from([call.subtrees.clone()]);
            let mut failure = None;
            while let Some(load) = loads.pop_front() {
                if bill.request_count > 0 {
                    let spent = std::mem::replace(&mut bill, inner.blank(&call.model));
                    yield Ok(Answer::Again(spent));
                }
                let exchange = match Exchange::of(&inner, &call, &load, Form::Bound) {
                    Ok(exchange) => exchange,
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                };
                let (mut left, keeps_rows) = (load, exchange.keeps_rows);
                let mut pieces = std::pin::pin!(exchange.pieces());
                let mut end = None;
                while let Some(piece) = pieces.next().await {
                    for answer in told(piece, &mut left, &mut bill, &mut end) {
                        yield Ok(answer);
                    }
                }
                let Some(failed) = end else { continue };
                if left.is_empty() {
                    continue;
                }
                if !failed.is_too_much() {
                    failure = Some(failed.error());
                    break;
                }
                // Too much for one request: less is asked for, what closed stays.
                if let [index] = left[..]
                    && keeps_rows
                    && failed.kind == FailureKind::Truncation
                    && has_array(&call.plan, &left)
                {
                    yield Ok(Answered::nothing().cut(index));
                } else if let [index] = left[..] {
                    let mut division = Division::of(&call, index, failed);
                    let settled = loop {
                        if bill.request_count > 0 {
                            let spent = std::mem::replace(&mut bill, inner.blank(&call.model));
                            yield Ok(Answer::Again(spent));
                        }
                        if let Some(settled) = division.step(&inner, &mut bill).await {
                            break settled;
                        }
                    };
                    match settled {
                        Ok(answer) => yield Ok(answer.of(index)),
                        Err(error) => {
                            failure = Some(error);
                            break;
                        }
                    }
                } else {
                    let half = left.split_off(left.len() / 2);
                    loads.push_front(half);
                    loads.push_front(left);
                }
            }
            if bill.request_count > 0 {
                yield Ok(Answer::Usage(bill));
            }
            if let Some(error) = failure {
                yield Err(error);
            }
        }
        .boxed()
    }
}

/// What a piece of an answer says, of what is still left to be answered.
fn told(
    piece: Piece,
    left: &mut Vec<usize>,
    bill: &mut Usage,
    end: &mut Option<Failed>,
) -> Vec<Answer> {
    let mut close = |index: usize| {
        let is_open = left.contains(&index);
        left.retain(|open| *open != index);
        is_open
    };
    match piece {
        Piece::Held { fault, for_ms } => vec![Answer::Held { fault, for_ms }],
        Piece::Begun { after_ms } => vec![Answer::Begun { after_ms }],
        Piece::Closed { index, answer } if close(index) => {
            let bytes = answer.written;
            vec![Answer::Written { index, bytes }, answer.of(index)]
        }
        Piece::Cut { index, answer } if close(index) => vec![answer.cut(index)],
        Piece::Closed { .. } | Piece::Cut { .. } => Vec::new(),
        Piece::Spent(usage) => {
            bill.add(&usage);
            Vec::new()
        }
        Piece::Failed(failed) => {
            *end = Some(failed);
            Vec::new()
        }
    }
}

/// How much of an answer is read.
fn reading() -> answer::Limits {
    answer::Limits::default()
}
