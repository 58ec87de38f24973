//! A subtree that is too much for one request: its properties are asked for in halves.

use std::sync::Arc;

use super::Inner;
use super::exchange::{Answered, Exchange, Failed, Form, Piece};
use crate::domain::plan::{Plan, Subtree};
use crate::domain::usage::Usage;
use crate::engine::ports::{Call, CallError};
use crate::provider::lower::{halves, join};
use crate::provider::wire::FailureKind;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};

/// Halves of halves: up to 64 pieces.
const DEEPEST: u32 = 6;

type Settled = Result<Answered, CallError>;

/// Asks for the subtree in pieces, after the whole of it `failed`. What was spent counts also when
/// it does not help.
pub(super) async fn ask(
    inner: &Arc<Inner>,
    call: &Call,
    index: usize,
    failed: Failed,
) -> (Usage, Settled) {
    let mut bill = inner.blank(&call.model);
    let Some(subtree) = call.plan.subtrees.get(index) else {
        return (bill, Err(failed.error()));
    };
    let corrections = call.corrections.iter().filter(|known| known.index == index);
    let mut lone = call.clone();
    lone.subtrees = vec![0];
    lone.corrections = corrections
        .cloned()
        .map(|mut known| {
            known.index = 0;
            known
        })
        .collect();
    let settled = divided(inner, &lone, subtree, failed, 0, &mut bill).await;
    (bill, settled)
}

/// The two halves of `part`, one after the other; the second begins when the first is there.
fn divided<'a>(
    inner: &'a Arc<Inner>,
    call: &'a Call,
    part: &'a Subtree,
    failed: Failed,
    depth: u32,
    bill: &'a mut Usage,
) -> BoxFuture<'a, Settled> {
    async move {
        let Some((first, second)) = halves(&part.schema).filter(|_| depth < DEEPEST) else {
            if failed.kind != FailureKind::Schema {
                return Err(failed.error());
            }
            // Nothing to leave out: the provider is told the form in words.
            return match request(inner, call, part, Form::Told, bill).await? {
                Ok(answer) => Ok(answer),
                Err(failed) => Err(failed.error()),
            };
        };
        let mut whole: Option<Answered> = None;
        for half in [first, second] {
            let half = Subtree {
                schema: half.schema,
                ..part.clone()
            };
            let answer = match request(inner, call, &half, Form::Bound, bill).await? {
                Ok(answer) => answer,
                Err(failed) => divided(inner, call, &half, failed, depth + 1, bill).await?,
            };
            whole = Some(match whole {
                None => answer,
                Some(mut all) => {
                    all.attributions.extend(answer.attributions);
                    all.logprobs.extend(answer.logprobs);
                    all.value = join(all.value, answer.value);
                    all
                }
            });
        }
        whole.ok_or_else(|| failed.error())
    }
    .boxed()
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
