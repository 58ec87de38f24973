//! The one place where providers are spoken to over HTTP.
//!
//! One client has one base URL and its connections. Redirects are not followed, since they would
//! take the key along; the proxy of the environment (`HTTPS_PROXY`, `NO_PROXY`) is used, but
//! never to this machine. The cryptography of the process has to be installed before.

pub mod answer;
pub mod frames;

use std::net::IpAddr;
use std::time::Duration;

use async_stream::try_stream;
use bytes::Bytes;
use futures_util::Stream;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response, Url};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::gemini;
use super::wire::{Ask, Delta, Failure, FailureKind, Key, Limits, Vendor, headers};
use answer::Answer;

/// What is read of an error, bytes.
const ERROR_BYTES: usize = 64 * 1024;
/// What is waited for the body of an error, and for counts behind the end of an answer.
const TAIL: Duration = Duration::from_secs(2);
/// What is waited for the end of a body whose answer is whole, so that its connection can be
/// used again.
const DRAIN: Duration = Duration::from_millis(250);
/// Pages of a list of models that are asked for.
const MODEL_PAGES: usize = 20;

/// How long is waited for a provider and how much is taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub connect: Duration,
    /// Until the answer begins, and between signs of life before its first text: a model that
    /// thinks may be silent for long.
    pub first_byte: Duration,
    /// Between two pieces of the answer once it has begun.
    pub idle: Duration,
    /// From the request to the end of the answer.
    pub total: Duration,
    /// Of a body, of the text of a stream and of one of its events, bytes.
    pub body: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_mins(1),
            idle: Duration::from_secs(30),
            total: Duration::from_mins(5),
            body: 16 * 1024 * 1024,
        }
    }
}

/// Why there can be no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The URL is not repeated where it may hold a password.
    #[error(
        "the base URL {0} cannot be used; it is http:// or https:// with a host and perhaps a path, without user, query or fragment"
    )]
    BadUrl(String),
    #[error("no HTTP client can be made: {0}")]
    NoClient(String),
}

/// Speaks to one provider. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    vendor: Vendor,
    /// With the version.
    base: Url,
    key: Option<Key>,
    bounds: Bounds,
}

impl Client {
    /// `base_url` with or without the version; `key` where the server needs one.
    pub fn new(
        vendor: Vendor,
        base_url: &str,
        key: Option<Key>,
        bounds: Bounds,
    ) -> Result<Self, ClientError> {
        let base = base(vendor, base_url)?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(bounds.connect)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("rivulet/", env!("CARGO_PKG_VERSION")));
        if is_this_machine(&base) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|e| ClientError::NoClient(e.to_string()))?;
        Ok(Self {
            http,
            vendor,
            base,
            key,
            bounds,
        })
    }

    /// The same server with another key, over the same connections.
    #[must_use]
    pub fn with_key(&self, key: Key) -> Self {
        Self {
            key: Some(key),
            ..self.clone()
        }
    }

    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Asks a model. Nothing is sent before the stream is polled, nothing is tried twice, and
    /// dropping the stream ends the request. Deltas that came before a failure count.
    pub fn ask(
        &self,
        ask: Ask,
    ) -> impl Stream<Item = Result<Delta, Failure>> + Send + 'static + use<> {
        let client = self.clone();
        try_stream! {
            let clock = Clock::start(client.bounds);
            let mut response = client.open(&ask, &clock).await?;
            if let Some(limits) = client.limits(response.headers()) {
                yield Delta::Limits(limits);
            }
            let mut answer = Answer::new(client.vendor, &ask, client.bounds.body);
            drop(ask);
            loop {
                let mut deltas = Vec::new();
                let patience = clock.patience(&answer);
                let piece = clock.next(&mut response, patience).await;
                let is_last = !matches!(piece, Ok(Some(_)));
                let read = take(&mut answer, piece, &mut deltas);
                for delta in deltas {
                    yield delta;
                }
                read?;
                if is_last {
                    break;
                }
                if answer.is_ended() {
                    let _ = clock.within(DRAIN, drain(&mut response)).await;
                    break;
                }
            }
        }
    }

    /// The models that the provider lists for the key, by the provider's names.
    pub async fn models(&self) -> Result<Vec<String>, Failure> {
        let clock = Clock::start(self.bounds);
        let wire = self.vendor.wire();
        let mut url = self.address(&["models".into()], wire.models_query());
        let first = url.clone();
        let mut names = Vec::new();
        for _ in 0..MODEL_PAGES {
            let body = self.exchange(Method::GET, url, None, &clock).await?;
            let page = wire.models(&body).ok_or(FailureKind::Malformed)?;
            names.extend(page.names);
            let Some((parameter, value)) = page.next else {
                break;
            };
            url = first.clone();
            url.query_pairs_mut().append_pair(parameter, &value);
        }
        Ok(names)
    }

    /// Has the provider keep system text and document of `ask` for `ttl`, and gives the name of
    /// the entry. A document that is too small to be kept is refused as an invalid request.
    /// Only Gemini has such entries; others fail the same way, without a request.
    pub async fn create_cache(&self, ask: &Ask, ttl: Duration) -> Result<String, Failure> {
        if self.vendor != Vendor::Gemini {
            return Err(FailureKind::Request.into());
        }
        let clock = Clock::start(self.bounds);
        let url = self.address(&["cachedContents".into()], None);
        let body = gemini::cache_body(ask, ttl);
        let body = self
            .exchange(Method::POST, url, Some(&body), &clock)
            .await?;
        gemini::cache_name(&body).ok_or_else(|| FailureKind::Malformed.into())
    }

    /// Deletes an entry of [`Client::create_cache`]. One that is gone already fails as
    /// [`FailureKind::Cache`] or [`FailureKind::NotFound`].
    pub async fn delete_cache(&self, name: &str) -> Result<(), Failure> {
        let clock = Clock::start(self.bounds);
        let path: Vec<String> = name.split('/').map(str::to_owned).collect();
        let url = self.address(&path, None);
        self.exchange(Method::DELETE, url, None, &clock).await?;
        Ok(())
    }

    /// Sends a request to a model; the head of its answer.
    async fn open(&self, ask: &Ask, clock: &Clock) -> Result<Response, Failure> {
        let wire = self.vendor.wire();
        let (path, query) = wire.path(ask);
        let url = self.address(&path, query);
        let body = wire.body(ask);
        self.send(Method::POST, url, Some(&body), clock).await
    }

    /// A request and the whole body of its answer.
    async fn exchange(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
        clock: &Clock,
    ) -> Result<Vec<u8>, Failure> {
        let mut response = self.send(method, url, body, clock).await?;
        let mut whole = Vec::new();
        while let Some(piece) = clock.next(&mut response, self.bounds.idle).await? {
            whole.extend_from_slice(&piece);
            if whole.len() > self.bounds.body {
                return Err(answer::too_large());
            }
        }
        Ok(whole)
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
        clock: &Clock,
    ) -> Result<Response, Failure> {
        let mut request = self.http.request(method, url).headers(self.headers()?);
        if let Some(body) = body {
            let body = serde_json::to_vec(body).map_err(|_| FailureKind::Request)?;
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let sent = clock.within(self.bounds.first_byte, request.send()).await?;
        let response = sent.map_err(|error| broken(&error))?;
        if response.status().is_success() {
            // One that says so beforehand takes no memory at all.
            let length = response.content_length().unwrap_or(0);
            let is_small = usize::try_from(length).is_ok_and(|length| length <= self.bounds.body);
            return is_small.then_some(response).ok_or_else(answer::too_large);
        }
        Err(self.refusal(response, clock).await)
    }

    fn headers(&self) -> Result<HeaderMap, Failure> {
        let wire = self.vendor.wire();
        let mut headers = wire.headers();
        if let Some(key) = &self.key {
            let (name, prefix) = wire.key_header();
            let value = key
                .header(prefix)
                .map_err(|_| FailureKind::Authentication)?;
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn limits(&self, headers: &HeaderMap) -> Option<Limits> {
        self.vendor.wire().limits(headers, Timestamp::now())
    }

    /// Why the provider did not do it. The status alone has to do where its body does not come.
    async fn refusal(&self, mut response: Response, clock: &Clock) -> Failure {
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Ok(Some(piece)) = clock.next(&mut response, TAIL).await {
            body.extend_from_slice(&piece);
            if body.len() > ERROR_BYTES {
                break;
            }
        }
        let headers = response.headers();
        let limits = self.limits(headers);
        let sorted = self.vendor.wire().sort(status, &body);
        let mut failure = Failure::from(sorted).with_status(status);
        let said = headers::retry_after(headers, Timestamp::now()).max(failure.retry_after);
        let used_up = || limits.filter(|_| failure.kind == FailureKind::Rate)?.wait();
        failure.retry_after = said.or_else(used_up);
        failure.limits = limits.map(Box::new);
        failure
    }

    fn address(&self, path: &[String], query: Option<&str>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.set_query(query);
        url
    }
}

/// Takes a piece of the body, its end or its break into the answer.
fn take(
    answer: &mut Answer,
    piece: Result<Option<Bytes>, Failure>,
    out: &mut Vec<Delta>,
) -> Result<(), Failure> {
    match piece {
        Ok(Some(piece)) => {
            answer.push(&piece, out)?;
            if answer.is_ended() {
                answer.end(out)?;
            }
            Ok(())
        }
        Ok(None) => answer.end(out),
        Err(_) if answer.is_settled() => answer.end(out),
        Err(failure) => Err(failure),
    }
}

async fn drain(response: &mut Response) {
    while let Ok(Some(_)) = response.chunk().await {}
}

/// The limits on time of one request.
struct Clock {
    bounds: Bounds,
    deadline: Instant,
}

impl Clock {
    fn start(bounds: Bounds) -> Self {
        Self {
            bounds,
            deadline: Instant::now() + bounds.total,
        }
    }

    async fn within<F: Future>(&self, limit: Duration, wait: F) -> Result<F::Output, Failure> {
        let end = (Instant::now() + limit).min(self.deadline);
        timeout_at(end, wait)
            .await
            .map_err(|_| FailureKind::Timeout.into())
    }

    async fn next(
        &self,
        response: &mut Response,
        limit: Duration,
    ) -> Result<Option<Bytes>, Failure> {
        let chunk = self.within(limit, response.chunk()).await?;
        chunk.map_err(|error| broken(&error))
    }

    /// How long the next piece of an answer is waited for.
    fn patience(&self, answer: &Answer) -> Duration {
        match () {
            () if answer.is_settled() => TAIL.min(self.bounds.idle),
            () if answer.has_begun() => self.bounds.idle,
            () => self.bounds.first_byte,
        }
    }
}

/// Why the connection failed, without the words of those who took part in it.
fn broken(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return FailureKind::Timeout.into();
    }
    let failure = Failure::from(FailureKind::Broken);
    if error.is_connect() {
        return failure.noting("it could not be made; check the base URL");
    }
    failure
}

/// The base URL with the version at its end.
fn base(vendor: Vendor, text: &str) -> Result<Url, ClientError> {
    let shown = if text.contains('@') {
        "with `@`".to_owned()
    } else {
        format!("`{text}`")
    };
    let url = Url::parse(text.trim()).ok();
    let is_plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let Some(mut url) = url.filter(is_plain) else {
        return Err(ClientError::BadUrl(shown));
    };
    let wire = vendor.wire();
    let path = url.path().trim_matches('/').to_owned();
    let last = path.rsplit('/').next().unwrap_or_default();
    let has_version = is_version(last) || (wire.path_holds_version() && !path.is_empty());
    if !has_version && let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(wire.version());
    }
    Ok(url)
}

/// `v1`, `v1beta`, `v4`.
fn is_version(segment: &str) -> bool {
    let rest = segment.strip_prefix('v').unwrap_or_default();
    rest.starts_with(|c: char| c.is_ascii_digit())
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
