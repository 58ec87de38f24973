//! The socket, the script, and the record of what was asked.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::body::{BodyStream, SizedStream};
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use socket2::{SockRef, Socket};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::asked::{Asked, Wire};
use super::failure::{Failure, Hint};
use super::honest::Honest;
use super::limit::{Counts, Gauge, Limit};
use super::pace::{Cache, Pace};
use super::reply::{End, Reply, What};
use super::send::{self, Plan};
use super::speech::{Speech, tokens};
use super::{anthropic, gemini, openai};

/// The key that is let in, and so is every one that begins with it.
pub const KEY: &str = "tests-key-0f6a";
/// Calls that were sent within this after a 429 cannot have known of it.
const GRACE: Duration = Duration::from_millis(30);
const LARGEST_BODY: usize = 256 << 20;

type Answerer = dyn Fn(&Asked) -> Value + Send + Sync;
type Script = dyn Fn(&Asked) -> Option<Reply> + Send + Sync;

/// Goes with its last handle.
pub struct Server {
    pub address: SocketAddr,
    handle: ServerHandle,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Option<Arc<Script>>>,
    queue: Mutex<VecDeque<Reply>>,
    answerer: Mutex<Arc<Answerer>>,
    pace: Mutex<Option<Pace>>,
    cache: Mutex<Cache>,
    gauge: Mutex<Option<Gauge>>,
    /// When the last 429 was sent, and until when it said to wait.
    ban: Mutex<Option<(Instant, Instant)>>,
    /// The same, of every one.
    bans: Mutex<Vec<(Instant, Instant)>>,
    /// From arrival to last byte.
    spans: Mutex<Vec<(Instant, Instant)>>,
    counts: Mutex<Counts>,
    asked: Mutex<Vec<Asked>>,
    /// Lists of models, caches.
    aside: Mutex<Vec<Asked>>,
    contents: Mutex<HashMap<String, Value>>,
    contents_made: AtomicUsize,
    contents_refused: Mutex<VecDeque<Failure>>,
    /// Tokens below which a content is not kept.
    least_content: AtomicU64,
    changed: Notify,
    number: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    abandoned: AtomicUsize,
    is_strict: AtomicBool,
    keeps: AtomicBool,
}

impl Drop for Server {
    fn drop(&mut self) {
        // The command is sent by the call; what it returns only waits.
        drop(self.handle.stop(false));
    }
}

impl Server {
    pub fn start() -> Self {
        Self::bind("127.0.0.1:0".parse().unwrap())
    }

    /// On a thread of its own, so that a test's paused clock does not stop it.
    pub fn bind(address: SocketAddr) -> Self {
        let honest = Honest::default();
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            queue: Mutex::default(),
            answerer: Mutex::new(Arc::new(move |asked| honest.answer(asked))),
            pace: Mutex::default(),
            cache: Mutex::default(),
            gauge: Mutex::default(),
            ban: Mutex::default(),
            bans: Mutex::default(),
            spans: Mutex::default(),
            counts: Mutex::default(),
            asked: Mutex::default(),
            aside: Mutex::default(),
            contents: Mutex::default(),
            contents_made: AtomicUsize::new(0),
            contents_refused: Mutex::default(),
            least_content: AtomicU64::new(0),
            changed: Notify::new(),
            number: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            is_strict: AtomicBool::new(true),
            keeps: AtomicBool::new(true),
        });
        let (told, started) = std::sync::mpsc::channel();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(web::PayloadConfig::new(LARGEST_BODY))
                        .app_data(web::Data::from(Arc::clone(&served)))
                        .default_service(web::to(serve))
                })
                .on_connect(|connection, kept| {
                    if let Some(stream) = connection.downcast_ref::<TcpStream>() {
                        kept.insert(Arc::new(SockRef::from(stream).try_clone().unwrap()));
                    }
                })
                .workers(1)
                .tcp_nodelay(true)
                // A client that has gone is noticed while an answer hangs.
                .h1_allow_half_closed(false)
                .keep_alive(Duration::from_secs(75))
                .shutdown_timeout(0)
                .disable_signals()
                .bind(address)
                .unwrap();
                let address = server.addrs()[0];
                let running = server.run();
                told.send((address, running.handle())).unwrap();
                running.await.unwrap();
            });
        });
        let (address, handle) = started.recv().unwrap();
        Self {
            address,
            handle,
            shared,
        }
    }

    /// What a client is told as the vendor's address: `/v1` belongs to it for OpenAI alone.
    pub fn base(&self, wire: Wire) -> String {
        match wire {
            Wire::OpenAi => format!("http://{}/v1", self.address),
            Wire::Gemini | Wire::Anthropic => format!("http://{}", self.address),
        }
    }

    /// Asked for each call first; where it says nothing the queue is next.
    pub fn script(
        &self,
        script: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
    ) -> &Self {
        *self.shared.script.lock() = Some(Arc::new(script));
        self
    }

    /// The next calls get these, in order of arrival; those after them an honest answer.
    pub fn next<R: Into<Reply>>(&self, replies: impl IntoIterator<Item = R>) -> &Self {
        self.shared
            .queue
            .lock()
            .extend(replies.into_iter().map(Into::into));
        self
    }

    /// All calls from now on get this.
    pub fn always(&self, reply: impl Into<Reply>) -> &Self {
        let reply = reply.into();
        self.script(move |_| Some(reply.clone()))
    }

    /// Back to honest answers.
    pub fn relent(&self) -> &Self {
        *self.shared.script.lock() = None;
        self.shared.queue.lock().clear();
        self
    }

    /// What an honest answer says.
    pub fn answers(&self, answerer: impl Fn(&Asked) -> Value + Send + Sync + 'static) -> &Self {
        *self.shared.answerer.lock() = Arc::new(answerer);
        self
    }

    /// Honest answers come at this pace, one token a frame.
    pub fn pace(&self, pace: Pace) -> &Self {
        *self.shared.pace.lock() = Some(pace);
        self
    }

    /// From now on, with full buckets.
    pub fn limit(&self, limit: Limit) -> &Self {
        *self.shared.gauge.lock() = Some(Gauge::new(limit));
        *self.shared.counts.lock() = Counts::default();
        *self.shared.ban.lock() = None;
        self.shared.bans.lock().clear();
        self
    }

    /// Takes requests that a vendor would refuse for their members.
    pub fn lenient(&self) -> &Self {
        self.shared.is_strict.store(false, Ordering::Relaxed);
        self
    }

    /// Remembers no request: for long runs.
    pub fn forgetful(&self) -> &Self {
        self.shared.keeps.store(false, Ordering::Relaxed);
        self
    }

    /// Calls of a model, in order of arrival.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().clone()
    }

    /// Calls of a model since the start.
    pub fn count(&self) -> usize {
        self.shared.number.load(Ordering::Relaxed)
    }

    /// All other requests: lists of models, caches.
    pub fn aside(&self) -> Vec<Asked> {
        self.shared.aside.lock().clone()
    }

    pub fn counts(&self) -> Counts {
        *self.shared.counts.lock()
    }

    /// When each 429 was sent, and until when it said to wait.
    pub fn refusals(&self) -> Vec<(Instant, Instant)> {
        self.shared.bans.lock().clone()
    }

    /// Arrival and last byte of every call whose answer was sent whole, in order of the last byte.
    pub fn spans(&self) -> Vec<(Instant, Instant)> {
        self.shared.spans.lock().clone()
    }

    /// Contents of fewer tokens are too small to be kept.
    pub fn least_content(&self, tokens: u64) -> &Self {
        self.shared.least_content.store(tokens, Ordering::Relaxed);
        self
    }

    /// The next content is refused so.
    pub fn refuse_content(&self, failure: Failure) -> &Self {
        self.shared.contents_refused.lock().push_back(failure);
        self
    }

    /// Drops all cached contents, as if their time were over.
    pub fn expire_contents(&self) -> &Self {
        self.shared.contents.lock().clear();
        self
    }

    /// Names of cached contents that were not deleted.
    pub fn cached(&self) -> Vec<String> {
        self.shared.contents.lock().keys().cloned().collect()
    }

    /// Calls whose answer has not ended, and the most there ever were.
    pub fn open(&self) -> (usize, usize) {
        let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (load(&self.shared.open), load(&self.shared.most_open))
    }

    /// Calls that the client dropped before their answer had ended.
    pub fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Ordering::Relaxed)
    }

    pub async fn until_asked(&self, count: usize) {
        self.until(|server| server.count() >= count).await;
    }

    pub async fn until_abandoned(&self, count: usize) {
        self.until(|server| server.abandoned() >= count).await;
    }

    /// Until no answer is on its way.
    pub async fn until_idle(&self) {
        self.until(|server| server.open().0 == 0).await;
    }

    async fn until(&self, reached: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if reached(self) {
                return;
            }
            changed.await;
        }
    }
}

/// A call whose answer has not ended.
struct Open {
    shared: Arc<Shared>,
    at: Instant,
    ended: bool,
}

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        let now = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most_open.fetch_max(now, Ordering::Relaxed);
        Self {
            shared: Arc::clone(shared),
            at: Instant::now(),
            ended: false,
        }
    }

    fn end(&mut self) {
        self.ended = true;
        if self.shared.keeps.load(Ordering::Relaxed) {
            self.shared.spans.lock().push((self.at, Instant::now()));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.abandoned.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.shared.changed.notify_waiters();
    }
}

async fn serve(request: HttpRequest, body: Bytes, shared: web::Data<Shared>) -> HttpResponse {
    let shared = shared.into_inner();
    let mut asked = read(&request, body);
    let is_call = asked.method == "POST"
        && ["enerateContent", "/chat/completions", "/messages"]
            .iter()
            .any(|end| asked.path.split('?').next().unwrap_or("").ends_with(end));
    if !is_call {
        let answer = beside(&shared, &asked);
        shared.aside.lock().push(asked);
        shared.changed.notify_waiters();
        return answer;
    }
    shared.with_contents(&mut asked);
    asked.number = shared.number.fetch_add(1, Ordering::Relaxed) + 1;
    let open = Open::new(&shared);
    shared.counts.lock().calls += 1;
    if shared.keeps.load(Ordering::Relaxed) {
        shared.asked.lock().push(asked.clone());
    }
    shared.changed.notify_waiters();
    let (reply, told) = shared.reply(&asked);
    shared.send(asked, reply, told, open, &request).await
}

fn read(request: &HttpRequest, body: Bytes) -> Asked {
    let headers = request.headers().iter().map(|(name, value)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    let headers: HashMap<_, _> = headers.collect();
    let path = request.uri().to_string();
    let wire = match () {
        () if path.starts_with("/v1beta") => Wire::Gemini,
        () if path.starts_with("/v1/messages") || headers.contains_key("anthropic-version") => {
            Wire::Anthropic
        }
        () => Wire::OpenAi,
    };
    let json: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (texts, system_texts) = match wire {
        Wire::Gemini => gemini::texts(&json),
        Wire::OpenAi => openai::texts(&json),
        Wire::Anthropic => anthropic::texts(&json),
    };
    let (model, stream) = match wire {
        Wire::Gemini => {
            let name = path.strip_prefix("/v1beta/models/").unwrap_or("");
            let name = name.split([':', '?']).next().unwrap_or("");
            (name.to_owned(), path.contains(":streamGenerateContent"))
        }
        _ => {
            let name = json["model"].as_str().unwrap_or("");
            (name.to_owned(), json["stream"] == true)
        }
    };
    Asked {
        number: 0,
        at: Instant::now(),
        wire,
        method: request.method().to_string(),
        path,
        headers,
        body,
        json,
        model,
        stream,
        texts,
        system_texts,
        kept: 0,
    }
}

/// Why the request's key is not let in.
fn locked_out(asked: &Asked) -> Option<Failure> {
    let key = match asked.wire {
        Wire::Gemini => asked.header("x-goog-api-key"),
        Wire::OpenAi => asked
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer ")),
        Wire::Anthropic => asked.header("x-api-key"),
    };
    match (key, asked.wire) {
        (Some(key), _) if key.starts_with(KEY) => None,
        (None, Wire::Gemini) => Some(Failure::Forbidden),
        _ => Some(Failure::BadKey),
    }
}

fn objection(asked: &Asked) -> Option<Failure> {
    if asked.json.is_null() {
        return Some(Failure::Invalid("The body is not JSON.".into()));
    }
    let message = match asked.wire {
        Wire::Gemini => gemini::objection(&asked.json),
        Wire::OpenAi => openai::objection(&asked.json),
        Wire::Anthropic => anthropic::objection(asked),
    };
    message.map(Failure::Invalid)
}

/// Lists of models and Gemini's cached contents.
fn beside(shared: &Shared, asked: &Asked) -> HttpResponse {
    let refuse = |failure: Failure| {
        let refusal = failure.on(asked);
        let mut answer = HttpResponse::build(StatusCode::from_u16(refusal.status).unwrap());
        answer.content_type("application/json").body(refusal.body)
    };
    if let Some(failure) = locked_out(asked) {
        return refuse(failure);
    }
    let path = asked.path.split('?').next().unwrap_or("");
    let name = path.strip_prefix("/v1beta/").unwrap_or("");
    match (asked.method.as_str(), path) {
        ("GET", "/v1beta/models") => HttpResponse::Ok().json(gemini::models()),
        ("GET", "/v1/models") if asked.wire == Wire::Anthropic => {
            HttpResponse::Ok().json(anthropic::models())
        }
        ("GET", "/v1/models") => HttpResponse::Ok().json(openai::models()),
        ("POST", "/v1beta/cachedContents") => {
            if let Some(failure) = shared.contents_refused.lock().pop_front() {
                return refuse(failure);
            }
            let tokens = tokens(&asked.texts.concat());
            let least = shared.least_content.load(Ordering::Relaxed);
            if tokens < least {
                let message = format!(
                    "Cached content is too small. total_token_count={tokens}, min_total_token_count={least}"
                );
                return refuse(Failure::Invalid(message));
            }
            let made = shared.contents_made.fetch_add(1, Ordering::Relaxed) + 1;
            let name = format!("cachedContents/{made}");
            let mut contents = shared.contents.lock();
            contents.insert(name.clone(), asked.json.clone());
            let stamp = "2030-01-01T00:00:00Z";
            HttpResponse::Ok().json(json!({
                "name": name, "model": asked.json["model"], "createTime": stamp,
                "updateTime": stamp, "expireTime": stamp, "displayName": "",
                "usageMetadata": {"totalTokenCount": tokens}
            }))
        }
        ("DELETE", _) if shared.contents.lock().remove(name).is_some() => {
            HttpResponse::Ok().json(json!({}))
        }
        _ => refuse(Failure::NotFound),
    }
}

impl Shared {
    /// Puts the texts of the cached content that a call names before its own.
    fn with_contents(&self, asked: &mut Asked) {
        let name = asked.json["cachedContent"].as_str().unwrap_or("");
        if let Some(content) = self.contents.lock().get(name) {
            let (mut texts, count) = gemini::texts(content);
            asked.kept = tokens(&texts.concat());
            texts.append(&mut asked.texts);
            asked.texts = texts;
            asked.system_texts = asked.system_texts.max(count);
        }
    }

    /// The reply and the rate headers that go with any reply.
    fn reply(&self, asked: &Asked) -> (Reply, Vec<(String, String)>) {
        if let Some(failure) = locked_out(asked) {
            return (failure.into(), Vec::new());
        }
        if self.is_strict.load(Ordering::Relaxed)
            && let Some(failure) = objection(asked)
        {
            return (failure.into(), Vec::new());
        }
        let cached = asked.json["cachedContent"].as_str();
        if cached.is_some_and(|name| !self.contents.lock().contains_key(name)) {
            return (Failure::ContentGone.into(), Vec::new());
        }
        self.note_early(asked.at);
        let (mut taken, mut told) = (Ok(()), Vec::new());
        if let Some(gauge) = self.gauge.lock().as_mut() {
            taken = gauge.take(tokens(&asked.prompt()), asked.at);
            told = gauge.headers(asked.wire);
        }
        if let Err(hint) = taken {
            return (Failure::RateLimit(hint).into(), told);
        }
        let script = self.script.lock().clone();
        let scripted = script.and_then(|script| script(asked));
        let reply = scripted.or_else(|| self.queue.lock().pop_front());
        (reply.unwrap_or_else(Reply::honest), told)
    }

    fn note_early(&self, at: Instant) {
        if let Some((sent, until)) = *self.ban.lock()
            && at > sent + GRACE
            && at < until
        {
            self.counts.lock().early += 1;
        }
    }

    fn note_refused(&self, hint: Hint) {
        self.counts.lock().refused += 1;
        let now = Instant::now();
        let until = hint.wait().map_or(now, |wait| now + wait);
        let mut ban = self.ban.lock();
        let later = ban.map_or(until, |(_, known)| known.max(until));
        *ban = Some((now, later));
        if self.keeps.load(Ordering::Relaxed) {
            self.bans.lock().push((now, until));
        }
    }

    /// The reply with its words: what is honest is asked for, what is a scenario is played.
    fn resolved(&self, asked: &Asked, reply: Reply) -> (Reply, Option<Speech>) {
        let value = || {
            let answerer = Arc::clone(&*self.answerer.lock());
            answerer(asked)
        };
        match &reply.what {
            What::Honest => {
                let speech = Speech::text(value().to_string());
                let pace = reply.manner.pace.or(*self.pace.lock());
                let reply = match pace {
                    Some(pace) => reply.paced(pace),
                    None => reply,
                };
                (reply, Some(speech))
            }
            What::Scenario(scenario) => {
                let mut played = scenario.reply(asked, &value());
                played.headers.extend(reply.headers);
                played.manner.holds.extend(reply.manner.holds);
                played.manner.delay = reply.manner.delay;
                self.resolved(asked, played)
            }
            What::Value(value) => {
                let speech = Speech::text(value.to_string());
                (reply, Some(speech))
            }
            What::Speech(speech) => {
                let speech = speech.clone();
                (reply, Some(speech))
            }
            What::Failure(failure) => {
                match failure {
                    Failure::RateLimit(hint) => self.note_refused(*hint),
                    Failure::QuotaGone => self.note_refused(Hint::None),
                    _ => {}
                }
                (reply, None)
            }
            What::Raw { .. } => (reply, None),
        }
    }

    async fn send(
        self: &Arc<Self>,
        asked: Asked,
        reply: Reply,
        told: Vec<(String, String)>,
        mut open: Open,
        request: &HttpRequest,
    ) -> HttpResponse {
        let (reply, mut speech) = self.resolved(&asked, reply);
        let prompt = asked.prompt();
        let pace = reply.manner.pace;
        let (all, cached) =
            self.cache
                .lock()
                .look(&prompt, asked.at, pace.map_or(0, |pace| pace.least_cached));
        // Without a pace nobody has a cache to speak of, but for what was put there on purpose.
        let cached = if pace.is_some() { cached } else { 0 };
        let cached = cached.max(asked.kept).min(all);
        if let Some(speech) = &mut speech {
            speech.count(all, cached);
        }
        let mut start = asked.at + reply.manner.delay;
        if let Some(pace) = pace {
            start += pace.reading(all, cached);
            self.cache.lock().warm(&prompt, start);
        }
        let mut plan = send::plan(&asked, &reply, speech.as_ref());
        plan.headers.extend(told);
        match plan.end {
            End::HangBefore => std::future::pending().await,
            End::Reset => {
                let socket = request.conn_data::<Arc<Socket>>().unwrap();
                let _ = socket.set_linger(Some(Duration::ZERO));
                let _ = socket.shutdown(std::net::Shutdown::Both);
                open.ended = true;
            }
            _ => {}
        }
        if let (Some(pace), false) = (pace, asked.stream) {
            start += pace.writing(plan.due());
        }
        sleep_until(start).await;
        respond(plan, reply, start, open)
    }
}

fn respond(plan: Plan, reply: Reply, start: Instant, mut open: Open) -> HttpResponse {
    let mut answer = HttpResponse::build(StatusCode::from_u16(plan.status).unwrap());
    for (name, value) in &plan.headers {
        answer.insert_header((name.as_str(), value.as_str()));
    }
    let length = plan.length;
    let is_cut = plan.end == End::Cut;
    let mut manner = reply.manner;
    if length.is_some() {
        // It has waited for all of its writing already.
        manner.pace = None;
    }
    let pieces = send::stream(plan, manner, start);
    open.ended |= is_cut;
    let body = async_stream::stream! {
        let mut open = open;
        for await piece in pieces {
            yield piece;
        }
        open.end();
    };
    match length {
        Some(length) => answer.body(SizedStream::new(length, Box::pin(body))),
        None => answer.body(BodyStream::new(Box::pin(body))),
    }
}
