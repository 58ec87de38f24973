//! Who asks: a key in a header, or a ticket in the address of one job's events.
//!
//! All forms of the header lead to one table of keys. A server without any key has one user.

use std::future::{Ready, ready};

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use super::attempts::Attempts;
use super::error::Problem;
use super::query::Parameters;
use crate::domain::error::{Code, Error};
use crate::domain::event::BASE;
use crate::domain::id::{JobId, Scope};
use crate::engine::keys::{Keyring, Principal, id_in};
use crate::engine::{Admission, Engine};

/// Headers whose whole value is a key.
const KEY_HEADERS: [&str; 2] = ["Api-Key", "X-API-Key"];
/// First words of `Authorization` before a key. Others, such as `Basic`, are for somebody else: a
/// proxy in front may pass its own on.
const SCHEMES: [&str; 2] = ["bearer", "api-key"];
const HOW: &str = "Send one as `Authorization: Bearer KEY`; `rivulet keys create` makes one.";

/// The caller of a request: every request acts within one [`Scope`].
pub struct Caller(pub Scope);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        let caller = extensions.get::<Principal>();
        let caller = caller.map(|principal| Self(principal.scope.clone()));
        // Not there only where a route was left without a guard: then nobody comes in.
        ready(caller.ok_or_else(|| refused(HOW).into()))
    }
}

/// Lets a request in when it is known who asks, and says so to its handler.
pub async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let principal = identify(&request).await.map_err(Problem)?;
    request.extensions_mut().insert(principal);
    next.call(request).await
}

async fn identify(request: &ServiceRequest) -> Result<Principal, Error> {
    let (Some(engine), Some(attempts)) = (
        request.app_data::<web::Data<Engine>>(),
        request.app_data::<web::Data<Attempts>>(),
    ) else {
        return Err(Error::internal());
    };
    let keyring = engine.keyring();
    let given = keys_in(request.headers());
    let ticket = match given.first() {
        None => ticket_in(request)?,
        Some(_) => None,
    };
    if let Some((ticket, job)) = ticket {
        return by_ticket(keyring, &ticket, job)
            .await?
            .ok_or_else(|| wrong(request, attempts, bad_ticket()));
    }
    if !keyring.has_keys().await? {
        return Ok(Principal::local());
    }
    let Some(key) = given.first() else {
        return Err(refused(&format!("This server asks for a key. {HOW}")));
    };
    if given.iter().any(|other| other != key) {
        // Nobody could say which of them was meant.
        return Err(refused(
            "The request carries several keys that differ. Send one, in one header.",
        ));
    }
    let principal = keyring.authenticate(key).await?;
    principal.ok_or_else(|| wrong(request, attempts, bad_key(key)))
}

/// Every key in the headers, in all forms.
fn keys_in(headers: &HeaderMap) -> Vec<String> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
    let in_authorization = headers.get_all(AUTHORIZATION).filter_map(|value| {
        let value = text(value.as_bytes());
        let (scheme, key) = value.split_once(' ')?;
        let is_ours = SCHEMES.contains(&scheme.to_ascii_lowercase().as_str());
        is_ours.then(|| key.trim().to_owned())
    });
    let alone = KEY_HEADERS
        .iter()
        .flat_map(|name| headers.get_all(*name))
        .map(|value| text(value.as_bytes()));
    let every = in_authorization.chain(alone);
    every.filter(|key| !key.is_empty()).collect()
}

/// The ticket of a request that reads events, and the job that it reads. Elsewhere `ticket` is a
/// parameter like any unknown one.
fn ticket_in(request: &ServiceRequest) -> Result<Option<(String, JobId)>, Error> {
    let job = request
        .path()
        .strip_prefix(BASE)
        .and_then(|path| path.strip_prefix("/jobs/")?.strip_suffix("/events"))
        .filter(|_| request.method() == Method::GET)
        .and_then(|id| JobId::parse(id).ok());
    let Some(job) = job else {
        return Ok(None);
    };
    let parameters = Parameters::of(request.request())?;
    let ticket = parameters.get("ticket");
    Ok(ticket.map(|ticket| (ticket.to_owned(), job)))
}

async fn by_ticket(
    keyring: &Keyring,
    ticket: &str,
    job: JobId,
) -> Result<Option<Principal>, Error> {
    match keyring.admit(ticket, job).await? {
        Admission::Granted(principal) => Ok(Some(principal)),
        // Nothing was guessed: it was good once.
        Admission::Stale => Err(bad_ticket()),
        Admission::Forged => Ok(None),
    }
}

/// Counts a wrong key against the address it came from; too many are refused without a look at
/// what is wrong with them. A good key never comes here.
fn wrong(request: &ServiceRequest, attempts: &Attempts, refusal: Error) -> Error {
    let address = request.peer_addr().map(|address| address.ip());
    let Some(seconds) = address.and_then(|ip| attempts.count(ip)) else {
        return refusal;
    };
    let mut error = Error::new(
        Code::RateLimited,
        format!(
            "Too many wrong keys came from this address. Try again in {seconds} seconds, with a key that `rivulet keys list` shows."
        ),
    );
    error.retry_after_seconds = Some(seconds);
    error
}

fn bad_key(key: &str) -> Error {
    let named = id_in(key).map_or_else(
        || "The key has not the form of one of this server's".to_owned(),
        |id| format!("The key `{id}` is not one of this server's, or was revoked"),
    );
    refused(&format!("{named}. {HOW}"))
}

fn bad_ticket() -> Error {
    refused(&format!(
        "The ticket is not good for this job, or not any more. Get a new one with POST {BASE}/jobs/JOB_ID/stream-ticket."
    ))
}

fn refused(detail: &str) -> Error {
    Error::new(Code::Unauthorized, detail)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn keys(headers: &[(&str, &str)]) -> Vec<String> {
        let request = headers
            .iter()
            .fold(TestRequest::default(), |request, pair| {
                request.append_header(*pair)
            });
        keys_in(request.to_http_request().headers())
    }

    #[test]
    fn every_form_of_the_header_carries_the_key() {
        for pair in [
            ("Authorization", "Bearer k"),
            ("Authorization", "bearer  k "),
            ("authorization", "api-key k"),
            ("Api-Key", "k"),
            ("X-API-Key", " k "),
        ] {
            assert_eq!(keys(&[pair]), ["k"], "{pair:?}");
        }
        for pair in [
            ("Authorization", "Basic dTpw"),
            ("Authorization", "Bearer"),
            ("Authorization", "Bearer "),
            ("Api-Key", ""),
        ] {
            assert!(keys(&[pair]).is_empty(), "{pair:?}");
        }
    }

    #[test]
    fn every_key_of_a_request_is_seen() {
        let several = [
            ("Authorization", "Bearer a"),
            ("Authorization", "Basic x"),
            ("Authorization", "api-key b"),
            ("X-API-Key", "c"),
            ("X-API-Key", "d"),
        ];
        assert_eq!(keys(&several), ["a", "b", "c", "d"]);
    }
}
