//! Bodies that come too slowly: a connection is not held, with what it has sent, for ever.

use std::io;
use std::time::Duration;

use actix_web::error::PayloadError;
use async_stream::try_stream;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout_at};

/// How slow a client may be.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time that every body has.
    pub grace: Duration,
    /// Bytes a second, on the average, beyond it.
    pub rate: u64,
    /// Time without any byte.
    pub silence: Duration,
}

impl Pace {
    pub const USUAL: Self = Self {
        grace: Duration::from_secs(10),
        rate: 1 << 10,
        silence: Duration::from_secs(10),
    };
}

/// `chunks` as they come, and an error in the place of one that comes too late.
pub fn paced<S>(mut chunks: S, pace: Pace) -> impl Stream<Item = Result<Bytes, PayloadError>>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    try_stream! {
        let began = Instant::now();
        let mut seen = 0;
        loop {
            let due = began + pace.grace + Duration::from_secs(seen / pace.rate);
            let due = due.min(Instant::now() + pace.silence);
            let Ok(next) = timeout_at(due, chunks.next()).await else {
                Err(PayloadError::Io(io::Error::from(io::ErrorKind::TimedOut)))?;
                break;
            };
            let Some(chunk) = next else { break };
            let chunk = chunk?;
            seen += chunk.len() as u64;
            yield chunk;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{iter, pending, repeat};

    use super::*;

    const SHORT: Pace = Pace {
        grace: Duration::from_millis(20),
        rate: 1 << 10,
        silence: Duration::from_millis(5),
    };

    type Chunk = Result<Bytes, PayloadError>;

    fn chunk(size: usize) -> Bytes {
        Bytes::from(vec![0; size])
    }

    async fn read(chunks: impl Stream<Item = Chunk> + Unpin) -> (u64, bool) {
        let mut chunks = Box::pin(paced(chunks, SHORT));
        let mut seen = 0;
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => seen += chunk.len() as u64,
                Err(_) => return (seen, false),
            }
        }
        (seen, true)
    }

    #[tokio::test]
    async fn what_comes_in_time_is_passed_on_whole() {
        let many: Vec<_> = (0..50).map(|_| Ok(chunk(1 << 20))).collect();
        assert_eq!(read(iter(many)).await, (50 << 20, true));
    }

    #[tokio::test]
    async fn a_body_that_falls_silent_is_given_up_however_much_has_come() {
        let begun = iter([Ok(chunk(10)), Ok(chunk(50 << 20))]);
        let stuck = Box::pin(begun.chain(pending()));
        assert_eq!(read(stuck).await, ((50 << 20) + 10, false));
    }

    #[tokio::test]
    async fn a_body_that_drips_is_given_up() {
        let drip = repeat(()).then(|()| async {
            tokio::task::yield_now().await;
            Ok(chunk(0))
        });
        assert_eq!(read(Box::pin(drip)).await, (0, false));
    }
}
