//! Domain errors to bodies, in the words of the dialect that the path is of, so that errors raised
//! before a handler runs speak it too.

use std::fmt;
use std::panic::AssertUnwindSafe;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{ALLOW, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError};
use futures_util::FutureExt;
use serde_json::{Value, json};
use tracing::{error, info};
use uuid::Uuid;

use crate::domain::error::{Code, Error};

/// A domain error on its way out. What a handler returns; a dialect words it.
#[derive(Debug)]
pub struct Problem(pub Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

/// How a dialect says a domain error: media type and body.
pub type Wording = fn(&Error, request_id: &str) -> (&'static str, Value);

/// Carries the name of a request, which stands in the log and in error bodies too.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names the request, catches panics, logs the outcome, and words errors.
///
/// Takes nothing of the request but what it reads before the inner service runs: an
/// `HttpRequest` cloned here would still be alive when the router changes it, and it panics.
pub async fn speak<B: MessageBody + 'static>(
    wording: fn(path: &str) -> Wording,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<actix_web::body::BoxBody>, actix_web::Error> {
    let id = Uuid::new_v4().simple().to_string();
    let (method, path) = (request.method().clone(), request.path().to_owned());
    let wording = wording(&path);
    let answered = AssertUnwindSafe(next.call(request)).catch_unwind().await;
    let mut response = match answered {
        Ok(Ok(response)) => response.map_into_boxed_body(),
        // The request is gone with the service that failed; actix answers for it.
        Ok(Err(error)) => return Err(refused(&error, &method, wording, &id)),
        Err(_) => {
            error!(request_id = id, %method, path, "http.panicked: a handler broke");
            let error = Problem(Error::internal()).into();
            return Err(refused(&error, &method, wording, &id));
        }
    };
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let problem = response
            .response()
            .error()
            .and_then(|error| error.as_error::<Problem>());
        let allow = response.headers().get(ALLOW).cloned();
        let error = problem.map_or_else(
            || by_status(status, &method, allow.as_ref()),
            |problem| problem.0.clone(),
        );
        if status.is_server_error() {
            error!(request_id = id, %method, path, code = error.code.name(), "http.failed");
        }
        let body = body(&error, wording, &id);
        response = response.into_response(body);
        if let Some(allow) = allow {
            response.headers_mut().insert(ALLOW, allow);
        }
    } else {
        info!(request_id = id, %method, path, status = status.as_u16(), "http.answered");
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(response)
}

/// An error that keeps its worded response.
fn refused(
    error: &actix_web::Error,
    method: &Method,
    wording: Wording,
    id: &str,
) -> actix_web::Error {
    let domain = error.as_error::<Problem>().map_or_else(
        || by_status(error.as_response_error().status_code(), method, None),
        |p| p.0.clone(),
    );
    let response = body(&domain, wording, id);
    actix_web::error::InternalError::from_response(Problem(domain), response).into()
}

fn body(error: &Error, wording: Wording, id: &str) -> HttpResponse {
    let (media_type, body) = wording(error, id);
    let status = Problem(error.clone()).status_code();
    let mut response = HttpResponse::build(status);
    response.content_type(media_type);
    response.insert_header((REQUEST_ID, id));
    if error.code == Code::Unauthorized {
        response.insert_header((WWW_AUTHENTICATE, "Bearer"));
    }
    if let Some(seconds) = error.retry_after_seconds {
        response.insert_header(("Retry-After", seconds.to_string()));
    }
    response.body(body.to_string())
}

/// What the web framework refused by itself.
fn by_status(status: StatusCode, method: &Method, allow: Option<&HeaderValue>) -> Error {
    match status {
        StatusCode::NOT_FOUND => Error::new(
            Code::NotFound,
            "There is nothing at this address. GET /openapi.json lists what there is.",
        ),
        StatusCode::METHOD_NOT_ALLOWED => Error::new(Code::MethodNotAllowed, {
            let methods = allow.and_then(|methods| methods.to_str().ok());
            let shown: String = method.as_str().chars().take(40).collect();
            let methods = methods.unwrap_or("what GET /openapi.json lists");
            format!("`{shown}` is not taken here. This address takes {methods}.")
        }),
        StatusCode::PAYLOAD_TOO_LARGE => {
            Error::new(Code::TooLarge, "The body is larger than the limit.")
        }
        status if status.is_client_error() => {
            Error::new(Code::InvalidRequest, "The request could not be read.")
        }
        _ => Error::internal(),
    }
}

/// `application/problem+json` (RFC 9457), the wording of the native dialect.
pub fn problem(error: &Error, request_id: &str) -> (&'static str, Value) {
    let mut body = json!({
        "type": format!("https://rivulet.example/problems/{}", error.code.name()),
        "title": error.code.title(),
        "status": error.code.status(),
        "code": error.code.name(),
        "detail": error.detail,
        "request_id": request_id,
    });
    if !error.errors.is_empty() {
        body["errors"] = json!(error.errors);
    }
    ("application/problem+json", body)
}
