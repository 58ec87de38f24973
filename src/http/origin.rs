//! Where a request comes from, as browsers say it: pages of other origins, and other names of
//! this server.
//!
//! A page that is allowed in `cors_origins` may read every answer, errors and streams included.
//! All other pages are kept out by the key; where there is none, by their name, since a browser
//! on this machine would carry their requests in.

use std::net::IpAddr;

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST,
    HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use actix_web::http::uri::Authority;
use actix_web::middleware::Next;
use actix_web::web;

use super::Options;
use super::error::Problem;
use crate::domain::error::{Code, Error};
use crate::engine::Engine;

const METHODS: &str = "GET, POST, PUT, DELETE";
const TAKEN: &str = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Cache-Control, Api-Key, X-API-Key, X-BYOK-Key";
const EXPOSED: &str =
    "Location, Retry-After, X-Idempotent-Replay, X-Job-Id, X-Request-Id, X-Stream-Protocol";
/// How long a browser may remember what a preflight said, seconds.
const PREFLIGHT_AGE: &str = "600";
/// What probes ask, under whatever name they know; it tells nothing.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Answers preflights, and lets pages of allowed origins read what the others are answered.
///
/// Stands outside of everything that can refuse a request, so that refusals can be read too.
pub async fn share(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(options) = options(&request) else {
        return next.call(request).await;
    };
    if options.cors_origins.is_empty() {
        return next.call(request).await;
    }
    let allowed = only(request.headers(), &ORIGIN)
        .filter(|origin| is_listed(origin.as_bytes(), &options.cors_origins))
        .cloned();
    let is_preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if let (Some(origin), true) = (&allowed, is_preflight) {
        let mut answer = HttpResponse::NoContent().finish();
        mark(answer.headers_mut(), Some(origin));
        allow(answer.headers_mut());
        return Ok(request.into_response(answer));
    }
    match next.call(request).await {
        Ok(mut response) => {
            mark(response.headers_mut(), allowed.as_ref());
            Ok(response)
        }
        Err(error) => {
            let mut response = error.as_response_error().error_response();
            mark(response.headers_mut(), allowed.as_ref());
            Err(InternalError::from_response(error, response).into())
        }
    }
}

fn options(request: &ServiceRequest) -> Option<web::Data<Options>> {
    request.app_data::<web::Data<Options>>().cloned()
}

/// The value of a header that must not be there twice.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

fn is_listed(origin: &[u8], list: &[String]) -> bool {
    list.iter()
        .any(|listed| origin.eq_ignore_ascii_case(listed.as_bytes()))
}

/// Who may read the answer; that it depends on who asks is said to everybody, caches above all.
fn mark(headers: &mut HeaderMap, allowed: Option<&HeaderValue>) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        );
    }
}

fn allow(headers: &mut HeaderMap) {
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, TAKEN),
        (ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Refuses what a page of a stranger made a browser send to a server without keys: under a name
/// that is not the server's (DNS rebinding), or from another origin.
pub async fn gate<B>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    if let Err(refusal) = inspect(&request)
        && !has_keys(&request).await?
    {
        return Err(Problem(refusal).into());
    }
    next.call(request).await
}

/// Asked only of requests that look foreign: with keys, the key decides.
async fn has_keys(request: &ServiceRequest) -> Result<bool, Problem> {
    match request.app_data::<web::Data<Engine>>() {
        Some(engine) => Ok(engine.keyring().has_keys().await?),
        None => Err(Problem(Error::internal())),
    }
}

fn inspect(request: &ServiceRequest) -> Result<(), Error> {
    let Some(options) = options(request) else {
        return Err(Error::internal());
    };
    if PROBES.contains(&request.path()) {
        return Ok(());
    }
    let headers = request.headers();
    // A target with a name in it goes before the header (RFC 9112, 3.2.2); both have to be ours.
    let target = request.uri().authority().map(Authority::as_str);
    let given = headers.get_all(HOST).map(lossy);
    let hosts: Vec<_> = target.map(str::to_owned).into_iter().chain(given).collect();
    if hosts.is_empty() {
        return Err(foreign_host(""));
    }
    if let Some(host) = hosts
        .iter()
        .find(|host| !is_own(host, &options.public_hosts))
    {
        return Err(foreign_host(host));
    }
    for origin in headers.get_all(ORIGIN) {
        let is_same = lossy(origin)
            .split_once("://")
            .is_some_and(|(_, name)| hosts.iter().all(|host| host.eq_ignore_ascii_case(name)));
        if !is_same && !is_listed(origin.as_bytes(), &options.cors_origins) {
            return Err(foreign_origin(&lossy(origin)));
        }
    }
    Ok(())
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Whether this server may be asked under that name: a loopback one, or one of `public`.
fn is_own(host: &str, public: &[String]) -> bool {
    let name = without_port(host).to_ascii_lowercase();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    name == "localhost" || bare.parse().is_ok_and(is_loopback) || public.contains(&name)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn foreign_host(host: &str) -> Error {
    let asked = if host.is_empty() {
        "The request has no header `Host`".to_owned()
    } else {
        format!("`Host: {}` is not a name of this server", shown(host))
    };
    Error::new(
        Code::ForbiddenOrigin,
        format!(
            "{asked}, which has no keys and answers to `localhost` and loopback addresses only. Add the name to the setting `public_hosts`, or make a key with `rivulet keys create`."
        ),
    )
}

fn foreign_origin(origin: &str) -> Error {
    Error::new(
        Code::ForbiddenOrigin,
        format!(
            "`Origin: {}` is that of another site, and this server has no keys. Add the origin to the setting `cors_origins`, or make a key with `rivulet keys create`.",
            shown(origin)
        ),
    )
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_and_listed_ones_are_own_with_any_port() {
        let public = ["extract.example".to_owned(), "192.0.2.7".to_owned()];
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.8.9.10:1",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:80",
            "extract.example",
            "Extract.Example:443",
            "192.0.2.7:8080",
        ] {
            assert!(is_own(host, &public), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:127.0.0.1",
            "localhost@evil.example",
            "0.0.0.0",
            "10.0.0.1",
            "[::2]:80",
            "x.extract.example",
            "extract.example.",
        ] {
            assert!(!is_own(host, &public), "{host}");
        }
    }
}
