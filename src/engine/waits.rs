//! Says that a job makes no progress, when all its calls wait for their provider.

use tokio::sync::Mutex;

use super::journal::{Halt, Journal};
use crate::domain::error::Fault;
use crate::domain::event::Reason;
use crate::domain::job::Draft;
use crate::domain::status::Status;

/// The calls of one run. Counted under a lock that is held while an event is queued: the order of
/// the events is the order of what happened.
#[derive(Default)]
pub(super) struct Waits {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Calls under way, waiting ones included.
    calls: usize,
    waiting: usize,
    /// Why the last one began to wait.
    reason: Option<Reason>,
    /// The log says that the job waits.
    is_told: bool,
}

impl Waits {
    /// A call is about to be made.
    pub(super) async fn begin(&self, journal: &Journal) -> Result<(), Halt> {
        let mut state = self.state.lock().await;
        state.calls += 1;
        state.tell(journal).await
    }

    /// A call has settled what it was for, or was given up.
    pub(super) async fn end(&self, journal: &Journal) -> Result<(), Halt> {
        let mut state = self.state.lock().await;
        state.calls = state.calls.saturating_sub(1);
        state.tell(journal).await
    }

    /// A call waits, because of `fault`.
    pub(super) async fn wait(&self, journal: &Journal, fault: Fault) -> Result<(), Halt> {
        let mut state = self.state.lock().await;
        state.waiting += 1;
        state.reason = reason(fault);
        state.tell(journal).await
    }

    /// A call that waited goes on.
    pub(super) async fn go_on(&self, journal: &Journal) -> Result<(), Halt> {
        let mut state = self.state.lock().await;
        state.waiting = state.waiting.saturating_sub(1);
        state.tell(journal).await
    }
}

impl State {
    /// Queues a word when what the log says is no longer so.
    async fn tell(&mut self, journal: &Journal) -> Result<(), Halt> {
        let stalled = self
            .reason
            .filter(|_| self.calls > 0 && self.waiting == self.calls);
        let (status, reason) = match (stalled, self.is_told) {
            (Some(reason), false) => (Status::Retrying, reason),
            (None, true) => (Status::Processing, Reason::Resumed),
            _ => return Ok(()),
        };
        self.is_told = stalled.is_some();
        let draft = Draft::Status {
            status,
            reason,
            message: None,
        };
        journal.push(draft).await
    }
}

/// Why the job waits; none where the provider is at work and only its answer was of no use.
fn reason(fault: Fault) -> Option<Reason> {
    match fault {
        Fault::ProviderRateLimit => Some(Reason::RateLimited),
        Fault::ProviderOverloaded | Fault::ProviderError | Fault::Timeout => {
            Some(Reason::ProviderUnavailable)
        }
        _ => None,
    }
}
