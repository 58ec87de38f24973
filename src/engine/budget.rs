//! What a job may spend: no call begins that its budget does not take.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ports::CallError;
use crate::domain::error::Fault;
use crate::domain::pack::Budget;
use crate::domain::usage::Usage;

/// What a call is thought to take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Need {
    /// At least.
    pub(super) tokens: f64,
    /// Probably.
    pub(super) likely_tokens: f64,
    /// US dollars, at least.
    pub(super) cost: f64,
    /// Probably.
    pub(super) likely_cost: f64,
}

/// The budget of one job, and what is left of it.
pub(super) struct Purse {
    budget: Budget,
    deadline: Option<Instant>,
    spent: Mutex<Spent>,
    changed: Notify,
}

#[derive(Default)]
struct Spent {
    tokens: f64,
    cost: f64,
    /// Of calls under way.
    reserved_tokens: f64,
    reserved_cost: f64,
    calls: usize,
}

enum Word {
    Go,
    /// Calls under way may leave too little.
    Wait,
    Never(CallError),
}

impl Purse {
    /// `so_far` is what the job has spent, `age` how long ago it was accepted.
    pub(super) fn new(budget: Budget, so_far: &Usage, age: Duration) -> Arc<Self> {
        let deadline = budget.max_seconds.map(|seconds| {
            let left = Duration::from_secs_f64(seconds).saturating_sub(age);
            Instant::now() + left
        });
        Arc::new(Self {
            budget,
            deadline,
            spent: Mutex::new(Spent {
                tokens: so_far.total_token_count as f64,
                cost: so_far.cost_usd.unwrap_or(0.0),
                ..Spent::default()
            }),
            changed: Notify::new(),
        })
    }

    /// When the job has to be done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Counts what was spent before this run and stands in no outcome yet.
    pub(super) fn charge(&self, usage: &Usage) {
        let mut spent = self.spent.lock();
        spent.tokens += usage.total_token_count as f64;
        spent.cost += usage.cost_usd.unwrap_or(0.0);
    }

    /// Takes what a call needs; waits while calls under way may leave too little for it.
    pub(super) async fn take(self: &Arc<Self>, need: Need) -> Result<Ticket, CallError> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.word(&need) {
                Word::Go => {
                    return Ok(Ticket {
                        purse: Arc::clone(self),
                        need,
                        is_paid: false,
                        is_reserved: true,
                    });
                }
                Word::Never(error) => return Err(error),
                Word::Wait => match self.deadline {
                    Some(deadline) => {
                        let _ = tokio::time::timeout_at(deadline, changed).await;
                    }
                    None => changed.await,
                },
            }
        }
    }

    fn word(&self, need: &Need) -> Word {
        let mut spent = self.spent.lock();
        if self
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Word::Never(self.overtime());
        }
        if let Some(most) = self.budget.max_tokens.map(|most| most as f64) {
            if spent.tokens + need.tokens > most {
                return Word::Never(exceeded(format!(
                    "The budget of the job is {most} tokens (`max_tokens`); {:.0} are used, and this part needs at least {:.0} more.",
                    spent.tokens, need.tokens
                )));
            }
            if spent.calls > 0 && spent.tokens + spent.reserved_tokens + need.likely_tokens > most {
                return Word::Wait;
            }
        }
        if let Some(most) = self.budget.max_cost {
            if spent.cost + need.cost > most {
                return Word::Never(exceeded(format!(
                    "The budget of the job is {most} US dollars (`max_cost`); {:.6} are used, and this part needs at least {:.6} more.",
                    spent.cost, need.cost
                )));
            }
            if spent.calls > 0 && spent.cost + spent.reserved_cost + need.likely_cost > most {
                return Word::Wait;
            }
        }
        spent.calls += 1;
        spent.reserved_tokens += need.likely_tokens;
        spent.reserved_cost += need.likely_cost;
        Word::Go
    }

    /// That the time of the job is over.
    pub(super) fn overtime(&self) -> CallError {
        let seconds = self.budget.max_seconds.unwrap_or_default();
        exceeded(format!(
            "The job was given {seconds} seconds (`max_seconds`), and they are over."
        ))
    }
}

fn exceeded(message: String) -> CallError {
    CallError {
        fault: Fault::BudgetExceeded,
        message,
        retry_after_ms: None,
    }
}

/// What a call has taken out of the purse. A call that ends without a bill is counted as it was
/// thought of: it may well have been paid for.
pub(super) struct Ticket {
    purse: Arc<Purse>,
    need: Need,
    is_paid: bool,
    /// Whether the purse still keeps what it needs.
    is_reserved: bool,
}

impl Ticket {
    /// Pays for a request and takes what the next one of the same call needs, as if it were a call
    /// of its own: one that the budget does not take is not sent.
    pub(super) async fn renew(&mut self, usage: &Usage, need: Need) -> Result<(), CallError> {
        self.pay(usage);
        // Its own reservation must not be what it waits for.
        self.release();
        *self = Arc::clone(&self.purse).take(need).await?;
        Ok(())
    }

    fn release(&mut self) {
        if !std::mem::take(&mut self.is_reserved) {
            return;
        }
        let mut spent = self.purse.spent.lock();
        spent.calls = spent.calls.saturating_sub(1);
        spent.reserved_tokens -= self.need.likely_tokens;
        spent.reserved_cost -= self.need.likely_cost;
        if !self.is_paid {
            spent.tokens += self.need.likely_tokens;
            spent.cost += self.need.likely_cost;
        }
        drop(spent);
        self.purse.changed.notify_waiters();
    }

    /// What the call did cost; where no price is known, what it was thought to.
    pub(super) fn pay(&mut self, usage: &Usage) {
        let mut spent = self.purse.spent.lock();
        spent.tokens += usage.total_token_count as f64;
        spent.cost += usage.cost_usd.unwrap_or(self.need.likely_cost);
        self.is_paid = true;
    }

    /// That nothing was sent, so that nothing is paid.
    pub(super) fn give_back(&mut self) {
        self.is_paid = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purse(max_tokens: u64) -> Arc<Purse> {
        let budget = Budget {
            max_tokens: Some(max_tokens),
            ..Budget::default()
        };
        Purse::new(budget, &Usage::default(), Duration::ZERO)
    }

    fn need(tokens: f64) -> Need {
        Need {
            tokens,
            likely_tokens: tokens * 1.5,
            ..Need::default()
        }
    }

    fn bill(tokens: u64) -> Usage {
        Usage {
            total_token_count: tokens,
            ..Usage::default()
        }
    }

    #[tokio::test]
    async fn what_is_left_decides_whether_a_call_begins() {
        let purse = purse(1_000);
        let mut ticket = purse.take(need(400.0)).await.unwrap();
        ticket.pay(&bill(700));
        drop(ticket);
        let refused = purse.take(need(400.0)).await.err().unwrap();
        assert_eq!(refused.fault, Fault::BudgetExceeded);
        for figure in ["1000 tokens", "700 are used", "at least 400"] {
            assert!(refused.message.contains(figure), "{}", refused.message);
        }
        assert!(purse.take(need(300.0)).await.is_ok());
    }

    #[tokio::test]
    async fn a_call_waits_for_those_under_way_and_goes_when_they_cost_less() {
        let purse = purse(1_000);
        let mut first = purse.take(need(500.0)).await.unwrap();
        let second = tokio::spawn({
            let purse = Arc::clone(&purse);
            async move { purse.take(need(400.0)).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        first.pay(&bill(100));
        drop(first);
        assert!(second.await.unwrap());
    }

    #[tokio::test]
    async fn a_call_without_a_bill_counts_as_it_was_thought_of() {
        let purse = purse(1_000);
        drop(purse.take(need(500.0)).await.unwrap());
        assert!(purse.take(need(300.0)).await.is_err());
        let mut ticket = purse.take(need(200.0)).await.unwrap();
        ticket.give_back();
        drop(ticket);
        assert!(purse.take(need(200.0)).await.is_ok(), "nothing was sent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_further_request_of_a_call_needs_its_own_place_in_the_budget() {
        let purse = purse(1_000);
        let mut ticket = purse.take(need(400.0)).await.unwrap();
        // What it had reserved for itself does not keep it waiting.
        let paid = bill(400);
        let renewed = ticket.renew(&paid, need(400.0));
        let renewed = tokio::time::timeout(Duration::from_secs(1), renewed).await;
        assert!(renewed.unwrap().is_ok());
        let refused = ticket.renew(&paid, need(400.0)).await.err().unwrap();
        assert_eq!(refused.fault, Fault::BudgetExceeded);
        drop(ticket);
        let spent = purse.spent.lock();
        assert_eq!(
            (spent.tokens, spent.reserved_tokens, spent.calls),
            (800.0, 0.0, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_call_begins_after_its_time() {
        let budget = Budget {
            max_seconds: Some(30.0),
            ..Budget::default()
        };
        let purse = Purse::new(budget, &Usage::default(), Duration::from_secs(10));
        assert!(purse.take(need(1.0)).await.is_ok());
        tokio::time::advance(Duration::from_secs(20)).await;
        let refused = purse.take(need(1.0)).await.err().unwrap();
        assert!(
            refused.message.contains("30 seconds"),
            "{}",
            refused.message
        );
    }
}
