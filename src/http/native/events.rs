//! The log of a job: as a stream, and in pages of JSON.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, HeaderValue, VARY};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::error;

use crate::domain::error::{Code, Error};
use crate::domain::id::{Cursor, JobId};
use crate::engine::{Engine, EventsPage, Follow};
use crate::http::accept::choose;
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::query::Parameters;
use crate::http::{Options, on, resource, sse};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/jobs/{id}/events", [on(Method::GET, events)]));
}

const STREAM: &str = "text/event-stream";
const PAGE: &str = "application/json";

/// Events of a page when the request names no number, and the most.
const LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;
/// Seconds that a page may wait for its first event.
const MAX_WAIT: u32 = 30;

#[derive(Serialize)]
struct PageBody<'a> {
    job_id: JobId,
    /// The bytes that they were committed with.
    events: Vec<&'a RawValue>,
    last_event_id: String,
    last_sequence_number: u64,
    terminal: bool,
}

impl<'a> PageBody<'a> {
    fn of(job: JobId, page: &'a EventsPage) -> Result<Self, Error> {
        let events = page.events.iter();
        let events = events.map(|event| serde_json::from_slice(&event.payload));
        let events: Result<_, _> = events.collect();
        Ok(Self {
            job_id: job,
            events: events.map_err(|cause| {
                error!(%job, %cause, "events.unreadable: a stored event is not JSON");
                Error::internal()
            })?,
            last_event_id: format!("{job}.{}", page.cursor),
            last_sequence_number: page.last_sequence,
            terminal: page.terminal,
        })
    }
}

async fn events(
    engine: web::Data<Engine>,
    options: web::Data<Options>,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = JobId::parse(&id)?;
    let parameters = Parameters::of(&request)?;
    refuse_protocol(&parameters)?;
    let pings = parameters.word("heartbeat", &["comment", "event"])? == 1;
    let form = form(&request)?;
    let cursor = match last_event_id(&request)? {
        // A browser that comes back repeats the address it began with.
        None => parameters.get("after").map_or(Ok(None), Cursor::parse)?,
        header => header,
    };
    let mut response = if form == PAGE {
        let limit = parameters.number("limit", 1..=MAX_LIMIT, LIMIT)?;
        let wait = parameters.number("wait", 0..=MAX_WAIT, 0)?;
        let wait = Duration::from_secs(wait.into());
        let page = engine.events_page(&caller.0, id, cursor, limit, wait).await;
        HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "no-store"))
            .json(PageBody::of(id, &page?)?)
    } else {
        follow(engine.follow(&caller.0, id, cursor).await?, &options, pings)
    };
    let accept = HeaderValue::from_static("Accept");
    response.headers_mut().append(VARY, accept);
    Ok(response)
}

/// The stream, or the word that there is nothing to come.
pub(super) fn follow(follow: Follow, options: &Options, pings: bool) -> HttpResponse {
    match follow {
        Follow::Ended => HttpResponse::NoContent().finish(),
        Follow::Stream(follower) => sse::respond(follower, options, pings),
    }
}

pub(super) fn refuse_protocol(parameters: &Parameters) -> Result<(), Error> {
    match parameters.get("protocol") {
        None | Some("1") => Ok(()),
        Some(version) => {
            let shown: String = version.chars().take(80).collect();
            let message =
                format!("Protocol {shown} is not spoken here. Leave `protocol` out, or send 1.");
            Err(Error::new(Code::UnsupportedProtocol, message))
        }
    }
}

/// The header `Last-Event-ID`; empty counts as not given.
pub(super) fn last_event_id(request: &HttpRequest) -> Result<Option<Cursor>, Error> {
    let header = request.headers().get("Last-Event-ID");
    let text = header.map(|value| String::from_utf8_lossy(value.as_bytes()));
    text.map_or(Ok(None), |text| Cursor::parse(&text))
}

fn form(request: &HttpRequest) -> Result<&'static str, Error> {
    let headers = request.headers().get_all(ACCEPT);
    let texts: Vec<_> = headers
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    let text = texts.join(",");
    choose(&text, &[STREAM, PAGE]).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        let message = format!(
            "`Accept: {shown}` takes no form that events have. Accept `{STREAM}`, or `{PAGE}` for pages."
        );
        Error::new(Code::NotAcceptable, message)
    })
}
