//! A follower as an event stream: frames, heartbeat, age, headers.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep_until};
use uuid::Uuid;

use super::Options;
use super::error::Problem;
use crate::domain::event::Links;
use crate::domain::id::JobId;
use crate::domain::time::Time;
use crate::engine::ports::StoredEvent;
use crate::engine::{Follower, News};

/// The pace at which clients come back, milliseconds: a base and what is added at random, so
/// that readers cut off together do not return together.
const RETRY: (u64, u64) = (1_500, 1_000);
/// The same when the server stops: all of its readers are cut off at once.
const DRAIN_RETRY: (u64, u64) = (500, 4_500);

/// A client that closes its connection cannot be told from one that is only done with sending:
/// the web server goes on for both. What is written then comes back as an error, but not before
/// the second write. So two heartbeats are sent ahead of their time, this far apart.
const PROBES: u8 = 2;
const PROBE_AFTER: Duration = Duration::from_secs(1);

/// The most bytes of a chunk, unless a frame is larger. With what may wait before it, it fits into
/// the buffer that every connection has; a buffer that grows stays large while the stream is open.
const CHUNK: usize = 7_000;

/// One line without a blank one after it: several clients take a blank line for an empty event.
const HEARTBEAT: Bytes = Bytes::from_static(b":hb\n");

/// The response that streams `follower` until its log ends, the stream is too old, the engine
/// drains or the client leaves. Dropping it drops the follower and nothing else.
///
/// `pings`: silence is broken by events named `ping` instead of comments.
pub fn respond(follower: Box<Follower>, options: &Options, pings: bool) -> HttpResponse {
    let job = follower.job();
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store, no-transform"))
        .insert_header(("X-Accel-Buffering", "no"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header(("X-Stream-Protocol", "1"))
        .insert_header(("X-Job-Id", job.to_string()))
        .insert_header((LOCATION, Links::of(job).job))
        .streaming(Frames::new(follower, options, pings))
}

/// The body of a stream. Written as a state machine, since thousands of them are idle at once: it
/// keeps no future but its timer.
struct Frames {
    follower: Box<Follower>,
    stage: Stage,
    /// Of the page that is being sent: whole frames.
    rest: Bytes,
    heartbeat: Duration,
    pings: bool,
    /// Heartbeats that are still to be sent early.
    probes: u8,
    /// The last poll found nothing to do, and left its task to news of the log and to the timer.
    is_waiting: bool,
    /// When bytes were last given.
    spoken: Instant,
    closes: Instant,
    /// Not moved by every event: when it fires, it is set again to what is then due.
    timer: Pin<Box<Sleep>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    Closed,
}

type Chunk = Option<Result<Bytes, Problem>>;

impl Frames {
    fn new(follower: Box<Follower>, options: &Options, pings: bool) -> Self {
        let now = Instant::now();
        // Up to a tenth less, so that streams opened together are not closed together.
        let tenth = options.max_stream_age / 10;
        let closes = now + options.max_stream_age - tenth.mul_f64(random(1_000) as f64 / 1_000.0);
        let heartbeat = options.heartbeat;
        Self {
            follower,
            stage: Stage::Opening,
            rest: Bytes::new(),
            heartbeat,
            pings,
            probes: 0,
            is_waiting: false,
            spoken: now,
            closes,
            timer: Box::pin(sleep_until(closes.min(now + heartbeat))),
        }
    }

    /// Belongs to the first frame: no blank line ends it.
    fn open(&mut self) -> Bytes {
        let pace = if self.follower.is_draining() {
            self.stage = Stage::Closed;
            DRAIN_RETRY
        } else {
            self.stage = Stage::Open;
            RETRY
        };
        self.say(format!(":ok\n{}", retry(pace)).into())
    }

    fn go_on(&mut self) -> Bytes {
        let chunk = cut(&mut self.rest);
        self.say(chunk)
    }

    /// Notes that there was no silence.
    fn say(&mut self, bytes: Bytes) -> Bytes {
        self.spoken = Instant::now();
        bytes
    }

    fn close(&mut self, last: Chunk) -> Chunk {
        self.stage = Stage::Closed;
        last
    }

    fn poll_log(&mut self, context: &mut Context) -> Poll<Chunk> {
        let news = ready!(self.follower.poll_next(context));
        self.is_waiting = false;
        Poll::Ready(match news {
            Ok(News::Page(page)) => {
                let job = self.follower.job();
                self.rest = page.frames(|events| encode(job, events));
                Some(Ok(self.go_on()))
            }
            Ok(News::Ended) => self.close(None),
            Ok(News::Draining) => self.close(Some(Ok(retry(DRAIN_RETRY).into()))),
            // An error cuts the connection without the last chunk, so that nobody takes it for
            // the end of the log.
            Err(error) => self.close(Some(Err(Problem(error)))),
        })
    }

    fn poll_silence(&mut self, context: &mut Context) -> Poll<Chunk> {
        // Woken by neither: it is the socket.
        if self.is_waiting && !self.timer.is_elapsed() && self.probes == 0 {
            self.probes = PROBES;
            self.set_timer();
        }
        self.is_waiting = false;
        while self.timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= self.closes {
                return Poll::Ready(self.close(None));
            }
            if Instant::now() >= self.due() {
                return Poll::Ready(Some(Ok(self.beat())));
            }
            self.set_timer();
        }
        self.is_waiting = self.follower.is_waiting();
        Poll::Pending
    }

    fn beat(&mut self) -> Bytes {
        self.probes = self.probes.saturating_sub(1);
        let sign = if self.pings {
            ping(self.follower.now())
        } else {
            HEARTBEAT
        };
        let sign = self.say(sign);
        self.set_timer();
        sign
    }

    /// When silence is to be broken.
    fn due(&self) -> Instant {
        let silence = if self.probes > 0 {
            self.heartbeat.min(PROBE_AFTER)
        } else {
            self.heartbeat
        };
        self.spoken + silence
    }

    fn set_timer(&mut self) {
        let next = self.closes.min(self.due());
        self.timer.as_mut().reset(next);
    }
}

impl Stream for Frames {
    type Item = Result<Bytes, Problem>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context) -> Poll<Chunk> {
        let this = self.get_mut();
        match this.stage {
            Stage::Closed => Poll::Ready(None),
            Stage::Opening => Poll::Ready(Some(Ok(this.open()))),
            Stage::Open if Instant::now() >= this.closes => Poll::Ready(this.close(None)),
            Stage::Open if !this.rest.is_empty() => Poll::Ready(Some(Ok(this.go_on()))),
            Stage::Open => {
                let news = this.poll_log(context);
                if news.is_pending() {
                    return this.poll_silence(context);
                }
                news
            }
        }
    }
}

/// Takes whole frames off the front. What holds a large frame goes as one.
fn cut(rest: &mut Bytes) -> Bytes {
    let within = rest.get(..CHUNK);
    let end = within.and_then(|within| within.windows(2).rposition(|pair| pair == b"\n\n"));
    match end {
        Some(end) => rest.split_to(end + 2),
        None => std::mem::take(rest),
    }
}

/// At least 0 and at most `most`.
fn random(most: u64) -> u64 {
    Uuid::new_v4().as_u128() as u64 % (most + 1)
}

fn retry((base, spread): (u64, u64)) -> String {
    format!("retry: {}\n", base + random(spread))
}

/// Not in the log: without an id, it moves no cursor.
fn ping(now: Time) -> Bytes {
    let payload = json!({ "type": "ping", "time": now });
    format!("event: ping\ndata: {payload}\n\n").into()
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
        // Writing to a buffer that grows cannot fail.
        let _ = write!(bytes, ".{}\n\n", event.sequence);
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Kind;

    fn chunks(sizes: &[usize]) -> (Bytes, Vec<Bytes>) {
        let events = sizes.iter().enumerate().map(|(index, size)| StoredEvent {
            sequence: index as u64 + 1,
            kind: Kind::SubtreeResult,
            payload: "x".repeat(*size).into(),
        });
        let frames = encode(JobId(Uuid::nil()), &events.collect::<Vec<_>>());
        let (mut rest, mut chunks) = (frames.clone(), Vec::new());
        while !rest.is_empty() {
            chunks.push(cut(&mut rest));
        }
        (frames, chunks)
    }

    #[test]
    fn a_page_is_sent_in_chunks_of_whole_frames_that_fit_the_buffer() {
        for sizes in [
            vec![10],
            vec![400; 80],
            vec![6_800, 10, 6_900, 6_800],
            vec![3_400; 9],
        ] {
            let (frames, chunks) = chunks(&sizes);
            assert_eq!(chunks.concat(), frames);
            assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK));
            assert!(chunks.iter().all(|chunk| chunk.ends_with(b"\n\n")));
        }
        assert_eq!(chunks(&[400; 80]).1.len(), 6);
    }

    #[test]
    fn a_large_frame_is_sent_in_one_piece() {
        let (frames, chunks) = chunks(&[10, 60_000]);
        assert_eq!(chunks.concat(), frames);
        assert_eq!(chunks.len(), 2);
        assert!(chunks[1].len() > 60_000);
    }
}
