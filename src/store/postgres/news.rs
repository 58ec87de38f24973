//! Hints between nodes: what was committed, and that there is work.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::time::Duration;

use async_stream::stream;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, Notification};
use uuid::Uuid;

use super::migrate::connect;
use super::target::Target;
use crate::domain::id::JobId;
use crate::engine::ports::{News, StoreError};

/// The channel of what was committed: numbers of last events, as [`events`] writes them.
pub const EVENTS: &str = "rivulet_events";
/// The channel of new work, without words.
pub const WORK: &str = "rivulet_work";
pub const NOTIFY: &str = "SELECT pg_notify($1, $2)";

/// Hints that may wait to be read; more are dropped, since a poll finds what they would say.
const QUEUE: usize = 1_024;
/// The pause before a lost connection is made again.
const RETRY: Duration = Duration::from_secs(1);

/// `ID:SEQUENCE`, one for each job, divided by spaces. A group fits into the 8,000 bytes that a
/// notification may have.
pub fn events(ends: impl Iterator<Item = (JobId, u64)>) -> String {
    ends.fold(String::new(), |mut text, (job, sequence)| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}:{sequence} ", job.0.simple());
        text
    })
}

fn read(channel: &str, text: &str) -> Vec<News> {
    match channel {
        WORK => vec![News::Work],
        EVENTS => {
            let event = |word: &str| {
                let (job, sequence) = word.split_once(':')?;
                Some(News::Event {
                    job: JobId(Uuid::try_parse(job).ok()?),
                    sequence: sequence.parse().ok()?,
                })
            };
            text.split_whitespace().filter_map(event).collect()
        }
        _ => Vec::new(),
    }
}

pub struct Hints {
    target: Target,
}

impl Hints {
    pub fn new(target: Target) -> Self {
        Self { target }
    }

    /// What is said on both channels, for as long as the stream is kept: over a connection of its
    /// own, made anew when it is lost.
    pub fn heard(&self) -> BoxStream<'static, News> {
        let target = self.target.clone();
        stream! {
            loop {
                match listen(&target).await {
                    Ok((_client, mut heard)) => {
                        // Whatever was said before we listened.
                        yield News::Work;
                        while let Some(said) = heard.recv().await {
                            for news in read(said.channel(), said.payload()) {
                                yield news;
                            }
                        }
                    }
                    Err(error) => tracing::debug!(%error, "hints of other nodes are not heard"),
                }
                tokio::time::sleep(RETRY).await;
            }
        }
        .boxed()
    }
}

/// The connection ends with the client.
async fn listen(target: &Target) -> Result<(Client, mpsc::Receiver<Notification>), StoreError> {
    let (client, mut connection) = connect(target).await?;
    let (tell, heard) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(said) = message {
                let _ = tell.try_send(said);
            }
        }
    });
    client
        .batch_execute(&format!("LISTEN {EVENTS}; LISTEN {WORK}"))
        .await?;
    Ok((client, heard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_back_and_nonsense_is_passed_over() {
        let ends = [
            (JobId(Uuid::from_u128(7)), 3),
            (JobId(Uuid::max()), u64::MAX),
        ];
        let said = events(ends.into_iter());
        let expected = ends.map(|(job, sequence)| News::Event { job, sequence });
        assert_eq!(read(EVENTS, &said), expected);
        assert_eq!(read(EVENTS, "x 1:2:3 :"), []);
        assert_eq!(
            (read(WORK, ""), read("other", &said)),
            (vec![News::Work], vec![])
        );
        let group = std::iter::repeat_n((JobId(Uuid::max()), u64::MAX), 64);
        assert!(events(group).len() < 8_000);
    }
}
