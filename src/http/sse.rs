//! A follower as an event stream: frames, heartbeat, headers.

use actix_web::HttpResponse;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use async_stream::try_stream;
use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use super::Options;
use super::error::Problem;
use crate::domain::event::Links;
use crate::domain::id::JobId;
use crate::engine::Follower;
use crate::engine::ports::StoredEvent;

/// The pace at which clients come back, milliseconds: a base and what is added at random, so
/// that readers cut off together do not return together.
const RETRY_MS: u64 = 1_500;
const RETRY_SPREAD_MS: u64 = 1_000;

/// One line without a blank one after it: several clients take a blank line for an empty event.
const HEARTBEAT: Bytes = Bytes::from_static(b":hb\n");

/// The response that streams `follower` until its log ends or the client leaves. Dropping it
/// drops the follower and nothing else.
pub fn respond(mut follower: Box<Follower>, options: &Options, _pings: bool) -> HttpResponse {
    let (job, heartbeat) = (follower.job(), options.heartbeat);
    let frames = try_stream! {
        yield preamble();
        loop {
            match tokio::time::timeout(heartbeat, follower.next()).await {
                Ok(Some(events)) => {
                    // An error here cuts the connection without the last chunk, so that nobody
                    // takes it for the end of the log.
                    let events = events.map_err(Problem)?;
                    yield encode(job, &events);
                }
                Ok(None) => break,
                Err(_) => yield HEARTBEAT,
            }
        }
    };
    let frames: std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, Problem>>>> =
        Box::pin(frames);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store, no-transform"))
        .insert_header(("X-Accel-Buffering", "no"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header(("X-Stream-Protocol", "1"))
        .insert_header(("X-Job-Id", job.to_string()))
        .insert_header((LOCATION, Links::of(job).job))
        .streaming(frames)
}

/// Belongs to the first frame: no blank line ends it.
fn preamble() -> Bytes {
    let random = Uuid::new_v4().as_u128() as u64 % (RETRY_SPREAD_MS + 1);
    Bytes::from(format!(":ok\nretry: {}\n", RETRY_MS + random))
}

/// Whole frames only. The id stands last: a client that is cut off inside a frame has not seen it.
fn encode(job: JobId, events: &[StoredEvent]) -> Bytes {
    let job = job.to_string();
    let size = events.iter().map(|event| event.payload.len() + 120).sum();
    let mut bytes = BytesMut::with_capacity(size);
    for event in events {
        bytes.extend_from_slice(b"event: ");
        bytes.extend_from_slice(event.kind.name().as_bytes());
        bytes.extend_from_slice(b"\ndata: ");
        bytes.extend_from_slice(&event.payload);
        bytes.extend_from_slice(b"\nid: ");
        bytes.extend_from_slice(job.as_bytes());
        bytes.extend_from_slice(b".");
        bytes.extend_from_slice(event.sequence.to_string().as_bytes());
        bytes.extend_from_slice(b"\n\n");
    }
    bytes.freeze()
}
