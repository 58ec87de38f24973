//! A subtree that is too much for one request: its properties are asked for in halves.

use std::sync::Arc;

use super::Inner;
use super::exchange::{Answered, Exchange, Failed, Form, Piece};
use crate::domain::plan::{Plan, Subtree};
use crate::domain::usage::Usage;
use crate::engine::ports::{Call, CallError};
use crate::provider::lower::{halves, join};
use crate::provider::wire::FailureKind;
use futures_util::StreamExt as _;

/// Halves of halves: up to 64 pieces.
const DEEPEST: u32 = 6;

type Settled = Result<Answered, CallError>;

/// A subtree that is asked for in pieces, one request a step, after the whole of it failed. Each
/// piece begins when the one before it is there.
pub(super) struct Division {
    call: Call,
    /// What is still to be asked for, the next one last.
    open: Vec<Share>,
    whole: Option<Answered>,
    /// Why it ends before it has begun.
    failure: Option<CallError>,
}

/// What one request asks for.
struct Share {
    part: Subtree,
    form: Form,
    /// How often the subtree was halved for it.
    depth: u32,
}

impl Division {
    pub(super) fn of(call: &Call, index: usize, failed: Failed) -> Self {
        let corrections = call.corrections.iter().filter(|known| known.index == index);
        let corrections = corrections.cloned().map(|mut known| {
            known.index = 0;
            known
        });
        let mut division = Self {
            call: Call {
                subtrees: vec![0],
                corrections: corrections.collect(),
                ..call.clone()
            },
            open: Vec::new(),
            whole: None,
            failure: None,
        };
        division.failure = match call.plan.subtrees.get(index) {
            Some(subtree) => division.divide(subtree, 0, failed).err(),
            None => Some(failed.error()),
        };
        division
    }

    /// Sends the next request; what came of the subtree when it was the last one. What was spent
    /// counts also when it does not help.
    pub(super) async fn step(&mut self, inner: &Arc<Inner>, bill: &mut Usage) -> Option<Settled> {
        if let Some(error) = self.failure.take() {
            return Some(Err(error));
        }
        let share = self.open.pop()?;
        let answer = match request(inner, &self.call, &share.part, share.form, bill).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(failed)) if share.form == Form::Bound => {
                return self.divide(&share.part, share.depth, failed).err().map(Err);
            }
            Ok(Err(failed)) => return Some(Err(failed.error())),
            Err(error) => return Some(Err(error)),
        };
        self.whole = Some(match self.whole.take() {
            None => answer,
            Some(mut all) => {
                all.attributions.extend(answer.attributions);
                all.logprobs.extend(answer.logprobs);
                all.value = join(all.value, answer.value);
                all
            }
        });
        if self.open.is_empty() {
            self.whole.take().map(Ok)
        } else {
            None
        }
    }

    /// Puts the halves of a part that was too much in its place. Where nothing can be left out,
    /// the provider is told the form in words.
    fn divide(&mut self, part: &Subtree, depth: u32, failed: Failed) -> Result<(), CallError> {
        let cut = halves(&part.schema).filter(|_| depth < DEEPEST);
        let Some((first, second)) = cut else {
            if failed.kind != FailureKind::Schema {
                return Err(failed.error());
            }
            self.open.push(Share {
                part: part.clone(),
                form: Form::Told,
                depth,
            });
            return Ok(());
        };
        for half in [second, first] {
            self.open.push(Share {
                part: Subtree {
                    schema: half.schema,
                    ..part.clone()
                },
                form: Form::Bound,
                depth: depth + 1,
            });
        }
        Ok(())
    }
}

/// One request for one part. The inner error says that it was too much.
async fn request(
    inner: &Arc<Inner>,
    call: &Call,
    part: &Subtree,
    form: Form,
    bill: &mut Usage,
) -> Result<Result<Answered, Failed>, CallError> {
    let plan = Plan {
        subtrees: vec![Arc::new(part.clone())],
        shells: Vec::new(),
        bound: None,
    };
    let call = Call {
        plan: Arc::new(plan),
        keeps_rows: false,
        ..call.clone()
    };
    let exchange = Exchange::of(inner, &call, &[0], form)?;
    let mut pieces = std::pin::pin!(exchange.pieces());
    let (mut answer, mut failure) = (None, None);
    while let Some(piece) = pieces.next().await {
        match piece {
            Piece::Closed { answer: closed, .. } => answer = answer.or(Some(closed)),
            Piece::Spent(usage) => bill.add(&usage),
            Piece::Failed(failed) => failure = Some(failed),
            Piece::Held { .. } | Piece::Begun { .. } | Piece::Cut { .. } => {}
        }
    }
    if let Some(answer) = answer {
        return Ok(Ok(answer));
    }
    let unanswered = || CallError {
        fault: crate::domain::error::Fault::InvalidJson,
        message: "The answer ended without this part.".into(),
        retry_after_ms: None,
    };
    match failure {
        Some(failed) if failed.is_too_much() => Ok(Err(failed)),
        Some(failed) => Err(failed.error()),
        None => Err(unanswered()),
    }
}
