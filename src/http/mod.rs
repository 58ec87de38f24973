//! The web server: maps wire to domain and back, never thinks. The whole route table:
//!
//! | base | module | who asks |
//! |---|---|---|
//! | `/v1/extract` | [`native`] | clients of the native dialect |
//! | `/v1/jobs` `/v1/documents` `/v1/schemas` `/v1/projects` `/v1/extractions` `/v1/parses` `/v1/splits` `/v1/classifications` | [`retab`] | clients of Retab |
//! | `/structflow` `/files` `/uploads` | [`structflow`] | clients of StructFlow |
//! | `/v2` | [`parseflow`] | clients of Parseflow |
//! | `/api/v1` | [`extraction_jobs`] | clients of Extraction jobs |
//! | `/healthz` `/readyz` `/metrics` `/openapi.json` | `ops` | operators and tools |
//! | `/` `/docs` `/console/` | `console` | people |
//!
//! A request passes, from outside in: `origin::share` (CORS), `error::speak` (words for errors),
//! `origin::gate` (foreign hosts and origins), and where a key is needed `auth::guard`.

mod accept;
mod attempts;
mod auth;
mod body;
mod console;
mod download;
pub mod error;
pub mod extraction_jobs;
mod files;
mod form;
mod members;
pub mod native;
mod ops;
mod origin;
mod own_key;
mod pace;
pub mod parseflow;
mod query;
mod repeat;
pub mod retab;
mod sse;
pub mod structflow;
mod wrapped;

use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::Method;
use actix_web::http::header::ALLOW;
use actix_web::middleware::from_fn;
use actix_web::{
    App, FromRequest, Handler, HttpResponse, HttpServer, Resource, Responder, Route, web,
};

use tracing::warn;

use crate::domain::error::{Code, Error};
use crate::engine::Engine;
use attempts::Attempts;
use auth::guard;
use error::{Problem, Wording, problem, speak};
use origin::{gate, share};

/// Whose words an error is told in, by the base of the path: also one that is raised before a
/// handler runs. Every other path is answered in the words of the native dialect.
const WORDINGS: [(&str, Wording); 14] = [
    ("/v1/jobs", retab::wording),
    ("/v1/documents", retab::wording),
    ("/v1/schemas", retab::wording),
    ("/v1/projects", retab::wording),
    ("/v1/extractions", retab::wording),
    ("/v1/parses", retab::wording),
    ("/v1/splits", retab::wording),
    ("/v1/classifications", retab::wording),
    ("/v1/edit", retab::wording),
    ("/v2", parseflow::wording),
    ("/api/v1", extraction_jobs::wording),
    ("/structflow", structflow::wording),
    ("/files", structflow::wording),
    ("/uploads", structflow::wording),
];

fn wording(path: &str) -> Wording {
    let is_under = |base: &str| {
        let rest = path.strip_prefix(base);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let found = WORDINGS.iter().find(|(base, _)| is_under(base));
    found.map_or(problem, |(_, wording)| *wording)
}

/// What the web server needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that serve connections.
    pub workers: usize,
    /// Silence on a stream before a heartbeat.
    pub heartbeat: Duration,
    /// How long a stream ticket is good for.
    pub ticket_lifetime: Duration,
    /// Names beside loopback ones under which a server without keys may be asked, in lower case.
    pub public_hosts: Vec<String>,
    /// Origins whose pages may use the server from elsewhere, in lower case.
    pub cors_origins: Vec<String>,
    /// How long a stream stays open at most.
    pub max_stream_age: Duration,
    /// How long a client may take nothing of what is sent.
    pub stalled_after: Duration,
}

/// Bytes of a response that may wait for a socket before the response is asked for more. What it
/// gives then, one chunk, comes on top.
const WRITE_AHEAD: usize = 1 << 10;
/// Bytes in the kernel that are not yet on their way to the client.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 128 << 10;
/// How long a client may take over the head of a request, and the server over a closed one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connections get to finish when the server stops, seconds.
const SHUTDOWN_SECONDS: u64 = 3;

/// Serves on a bound listener; its owner words the error of a taken port.
///
/// The server runs while the returned future is awaited; its handle stops it.
pub fn server(
    engine: Engine,
    listener: TcpListener,
    options: Options,
) -> io::Result<(SocketAddr, Server)> {
    let address = listener.local_addr()?;
    let workers = options.workers;
    bound(&listener, options.stalled_after);
    parseflow::word_callbacks(&engine);
    let (engine, options) = (web::Data::new(engine), web::Data::new(options));
    let attempts = web::Data::new(Attempts::new());
    let polls = web::Data::new(extraction_jobs::Polls::new());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(engine.clone())
            .app_data(options.clone())
            .app_data(attempts.clone())
            .app_data(polls.clone())
            // The last one is the outermost.
            .wrap(from_fn(gate))
            .wrap(from_fn(|request, next| speak(wording, request, next)))
            // Boxed: a connection has room for this future for as long as it lives, and a stream
            // lives long.
            .wrap(from_fn(|request, next| Box::pin(share(request, next))))
            .service(
                web::scope(native::base())
                    .wrap(from_fn(guard))
                    .configure(native::routes),
            )
            .configure(structflow::routes)
            .configure(retab::routes)
            .configure(parseflow::routes)
            .configure(extraction_jobs::routes)
            .configure(ops::routes)
            .configure(console::routes)
            .default_service(web::route().to(nothing_here))
    })
    .workers(workers)
    // With Nagle's algorithm a small event waits for the reader's delayed acknowledgement: a job
    // that takes 3 ms takes 45.
    .tcp_nodelay(true)
    .h1_write_buffer_size(WRITE_AHEAD)
    .client_request_timeout(HEAD_TIMEOUT)
    .client_disconnect_timeout(DISCONNECT_TIMEOUT)
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok((address, server))
}

/// Bounds what a slow client can hold, and for how long. Connections inherit it from the socket
/// that they were accepted on.
///
/// The kernel keeps little beyond what is on its way to the client, and closes a connection whose
/// client has taken nothing for `stalled_after` of what is there for it: what was sent is not
/// acknowledged, or the client's window stays shut. That costs no memory and no timer a
/// connection, and an idle one is never meant.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bound(listener: &TcpListener, stalled_after: Duration) {
    let socket = socket2::SockRef::from(listener);
    let bounded = socket
        .set_tcp_user_timeout(Some(stalled_after))
        .and_then(|()| socket.set_tcp_notsent_lowat(UNSENT));
    if let Err(error) = bounded {
        warn!(%error, "http.bound: a slow client holds more than it should");
    }
}

/// Elsewhere the system's own patience counts: a client that is gone is noticed, one that keeps
/// its window shut is not, and holds a full send buffer.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bound(_: &TcpListener, _: Duration) {}

/// A method of a path, and what answers it.
fn on<F, Args>(method: Method, handler: F) -> (Method, Route)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let route = web::method(method.clone()).to(handler);
    (method, route)
}

/// A path with its methods; any other is refused in the words of the dialect, and the header
/// `Allow` names the ones there are (RFC 9110, 15.5.6).
fn resource<const N: usize>(path: &str, routes: [(Method, Route); N]) -> Resource {
    let methods = routes.each_ref().map(|(method, _)| method.as_str());
    let allow = methods.join(", ");
    let refuse = move || {
        let mut refusal = HttpResponse::MethodNotAllowed();
        ready(refusal.insert_header((ALLOW, allow.clone())).finish())
    };
    let resource = web::resource(path).default_service(web::route().to(refuse));
    routes
        .into_iter()
        .fold(resource, |resource, (_, route)| resource.route(route))
}

async fn nothing_here() -> Result<&'static str, Problem> {
    Err(Error::new(
        Code::NotFound,
        "There is nothing at this address. GET /openapi.json lists what there is.",
    )
    .into())
}
