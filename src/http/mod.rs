//! The web server: maps wire to domain and back, never thinks.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};

use crate::engine::Engine;

/// What the web server needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that serve connections.
    pub workers: usize,
    /// Silence on a stream before a heartbeat.
    pub heartbeat: Duration,
}

/// Binds nothing itself: takes a bound listener, so that its owner words the error of a taken port.
///
/// The server runs while the returned future is awaited; its handle stops it.
pub fn server(
    engine: Engine,
    listener: TcpListener,
    options: Options,
) -> io::Result<(SocketAddr, Server)> {
    let address = listener.local_addr()?;
    let server = HttpServer::new(move || App::new().app_data(web::Data::new(engine.clone())))
        .workers(options.workers)
        .tcp_nodelay(true)
        .disable_signals()
        .listen(listener)?
        .run();
    Ok((address, server))
}
