//! Stream tickets, for clients that cannot send a key in a header.

use actix_web::http::Method;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::domain::event::Links;
use crate::domain::id::JobId;
use crate::domain::time::Time;
use crate::engine::Engine;
use crate::engine::keys::Principal;
use crate::http::error::Problem;
use crate::http::{Options, on, resource};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(resource(
        "/jobs/{id}/stream-ticket",
        [on(Method::POST, create)],
    ));
}

#[derive(Serialize)]
struct TicketBody {
    ticket: String,
    expires_at: Time,
    events_url: String,
}

async fn create(
    engine: web::Data<Engine>,
    options: web::Data<Options>,
    caller: web::ReqData<Principal>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let job = JobId::parse(&id)?;
    let ticket = engine
        .stream_ticket(&caller, job, options.ticket_lifetime)
        .await?;
    let body = TicketBody {
        events_url: format!("{}?ticket={}", Links::of(job).events, ticket.text),
        ticket: ticket.text,
        expires_at: ticket.expires_at,
    };
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body))
}
