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
    /// The log says that the job waits.
    is_told: bool,
}

impl Waits {
    pub(super) async fn begin(&self) {
        self.state.lock().await.calls += 1;
    }

    pub(super) async fn end(&self) {
        let mut state = self.state.lock().await;
        state.calls = state.calls.saturating_sub(1);
    }

    /// A call waits, because of `fault`.
    pub(super) async fn wait(&self, journal: &Journal, fault: Fault) -> Result<(), Halt> {
        let mut state = self.state.lock().await;
        state.waiting += 1;
        let Some(reason) = reason(fault) else {
            return Ok(());
        };
        if state.waiting < state.calls || state.is_told {
            return Ok(());
        }
        state.is_told = true;
        tell(journal, Status::Retrying, reason).await
    }

    /// A call that waited goes on.
    pub(super) async fn go_on(&self, journal: &Journal) -> Result<(), Halt> {
        let mut state = self.state.lock().await;
        state.waiting = state.waiting.saturating_sub(1);
        if !state.is_told {
            return Ok(());
        }
        state.is_told = false;
        tell(journal, Status::Processing, Reason::Resumed).await
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

async fn tell(journal: &Journal, status: Status, reason: Reason) -> Result<(), Halt> {
    let draft = Draft::Status {
        status,
        reason,
        message: None,
    };
    journal.push(draft).await
}
