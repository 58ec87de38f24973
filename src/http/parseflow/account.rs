//! Who asks, and how much they did.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::domain::error::Error;
use crate::domain::filter::JobFilter;
use crate::domain::id::Scope;
use crate::domain::page::ListQuery;
use crate::domain::time::Time;
use crate::engine::Engine;
use crate::engine::keys::Principal;
use crate::engine::ports::{JobQuery, Order};
use crate::http::error::Problem;

/// What is counted lies in this time before now.
const PERIOD: Duration = Duration::from_hours(30 * 24);

/// What a user asked for in the period: its beginning, its end, and the jobs that were started in
/// it and are kept.
async fn used(engine: &Engine, scope: &Scope) -> Result<(Time, Time, u64), Error> {
    let now = engine.now();
    let from = Time(now.0.saturating_sub(PERIOD.as_millis() as i64));
    let query = JobQuery {
        page: ListQuery {
            limit: 1,
            cursor: None,
            search: None,
        },
        filter: JobFilter {
            from: Some(from),
            ..JobFilter::default()
        },
        order: Order::NewestFirst,
    };
    Ok((from, now, engine.jobs(scope, query).await?.total_count))
}

/// `usage` of a result. No number of requests a month is set here, so that none is left to tell.
pub async fn remaining(engine: &Engine, scope: &Scope) -> Result<Value, Error> {
    let (_, _, used) = used(engine, scope).await?;
    Ok(json!({ "requests_used": used, "requests_remaining": null, "monthly_cap": null }))
}

pub async fn me(caller: web::ReqData<Principal>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "user": caller.scope.as_str(),
        "key_id": caller.key,
        "plan": PLAN,
        "max_active_jobs": caller.max_active_jobs,
    }))
}

/// A server of one's own sells nothing.
const PLAN: &str = "self_hosted";

pub async fn usage(
    engine: web::Data<Engine>,
    caller: web::ReqData<Principal>,
) -> Result<HttpResponse, Problem> {
    let (from, to, used) = used(&engine, &caller.scope).await?;
    Ok(HttpResponse::Ok().json(json!({
        "plan": PLAN,
        "requests_used": used,
        "requests_limit": null,
        "requests_remaining": null,
        "period_start": from,
        "period_end": to,
        "upload_limit_mb": engine.max_document_bytes() as f64 / f64::from(1 << 20),
    })))
}

pub async fn health(engine: web::Data<Engine>) -> Result<HttpResponse, Problem> {
    engine.check_ready().await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })))
}
