//! Reviews: what is to be looked at, corrections and decisions.

use actix_web::http::Method;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::jobs::text;
use crate::domain::error::Error;
use crate::domain::id::JobId;
use crate::domain::pointer::Pointer;
use crate::domain::review::{Correction, Decision};
use crate::engine::{Engine, ReviewRequest, ReviewState};
use crate::http::auth::Caller;
use crate::http::error::Problem;
use crate::http::members::{refuse_others, wrong};
use crate::http::{body, on, resource};

/// Bytes of a body: the corrections and little beside them.
const MAX_BODY: usize = 2 << 20;
/// Flagged fields that are listed.
const MAX_LISTED: usize = 1_000;
/// Characters of a comment.
const MAX_COMMENT: usize = 2_000;

const MEMBERS: [&str; 4] = ["version", "decision", "corrections", "comment"];

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(resource(
        "/jobs/{id}/review",
        [on(Method::GET, show), on(Method::POST, decide)],
    ));
}

fn state_body(state: &ReviewState) -> Value {
    let (review, result) = (&state.review, &state.result);
    let flagged = state.flagged.iter().take(MAX_LISTED).map(|flag| {
        let told = result.attributions.as_ref();
        json!({
            "path": flag.path,
            "reasons": flag.reasons,
            "value": flag.path.get(&result.results),
            "attribution": told.and_then(|all| all.get(flag.path.as_str())),
        })
    });
    json!({
        "job_id": result.view.id,
        "status": result.view.status,
        "version": review.version,
        "gate": result.view.spec.config.review,
        "required_at": review.required_at,
        "decided_at": review.decided_at,
        "decision": review.decision,
        "comment": review.comment,
        "flagged_fields": review.flagged,
        "open_fields": state.flagged.len(),
        "flagged": flagged.collect::<Vec<_>>(),
        "corrections": review.corrections,
        "results": result.results,
        "failed_subtrees": result.failed,
        "arrays": result.arrays,
        "validation": result.validation,
    })
}

fn request(body: Value) -> Result<ReviewRequest, Error> {
    let Value::Object(mut members) = body else {
        return Err(wrong("", "The body must be an object."));
    };
    members.retain(|_, value| !value.is_null());
    refuse_others(&members, &MEMBERS)?;
    let version = members.shift_remove("version");
    let version = version.as_ref().and_then(Value::as_u64);
    let version = version.and_then(|version| u32::try_from(version).ok());
    let version = version.ok_or_else(|| {
        wrong(
            "/version",
            "Expected the version that GET on this address shows.",
        )
    })?;
    let decision = match members.shift_remove("decision") {
        None => None,
        Some(Value::String(word)) if word == "approve" => Some(Decision::Approve),
        Some(Value::String(word)) if word == "reject" => Some(Decision::Reject),
        Some(_) => return Err(wrong("/decision", "Expected `approve` or `reject`.")),
    };
    let comment = members.shift_remove("comment");
    let comment = comment.map(|value| text("/comment", &value).map(str::to_owned));
    let comment = comment.transpose()?;
    if comment
        .as_ref()
        .is_some_and(|text| text.chars().count() > MAX_COMMENT)
    {
        let message = format!("Expected at most {MAX_COMMENT} characters.");
        return Err(wrong("/comment", &message));
    }
    let corrections = match members.shift_remove("corrections") {
        None => Vec::new(),
        Some(Value::Array(items)) => corrections(items)?,
        Some(_) => return Err(wrong("/corrections", "Expected a list.")),
    };
    if decision.is_none() && corrections.is_empty() {
        return Err(wrong(
            "",
            "Send `decision`, `corrections`, or both: there is nothing to do otherwise.",
        ));
    }
    Ok(ReviewRequest {
        version,
        corrections,
        comment,
        decision,
    })
}

fn corrections(items: Vec<Value>) -> Result<Vec<Correction>, Error> {
    let read = |(index, item): (usize, Value)| {
        let at = format!("/corrections/{index}");
        let Value::Object(mut members) = item else {
            return Err(wrong(&at, "Expected an object with `path` and `value`."));
        };
        let path = members.shift_remove("path").unwrap_or_default();
        let path = path.as_str().and_then(Pointer::parse);
        let path = path.ok_or_else(|| {
            wrong(
                &format!("{at}/path"),
                "Expected the JSON Pointer of a value, such as `/total`.",
            )
        })?;
        let value = members.shift_remove("value");
        let value = value.ok_or_else(|| wrong(&at, "The member `value` is missing."))?;
        match members.keys().next() {
            None => Ok(Correction { path, value }),
            Some(_) => Err(wrong(&at, "Members are: path, value.")),
        }
    };
    items.into_iter().enumerate().map(read).collect()
}

async fn show(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let state = engine.review(&caller.0, JobId::parse(&id)?).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(state_body(&state)))
}

async fn decide(
    engine: web::Data<Engine>,
    caller: Caller,
    id: web::Path<String>,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let id = JobId::parse(&id)?;
    // Before the body: nobody learns of a job that is not theirs by what is wrong with it.
    engine.job(&caller.0, id).await?;
    let request = request(body::json(&http, payload, MAX_BODY).await?)?;
    let view = engine.decide(&caller.0, id, request).await?;
    Ok(HttpResponse::Ok().json(super::jobs::JobBody::of(&engine, &view)))
}
