//! The wish of an operator that the process ends.

#[cfg(unix)]
use std::io;

#[cfg(unix)]
use super::exit::Exit;
use super::exit::Failure;

/// Interrupt and, where there is one, the signal to terminate.
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// From here on signals no longer end the process by themselves.
    pub fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let deaf = |cause: io::Error| {
            Failure::of(
                Exit::Failed,
                format!("Signals cannot be listened for: {cause}"),
            )
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(deaf)?,
            terminate: signal(SignalKind::terminate()).map_err(deaf)?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub fn listen() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// The next interrupt; never comes where it cannot be listened for.
    pub async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
