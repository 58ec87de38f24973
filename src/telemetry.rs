//! Logs to stderr. What they may hold: ids, names, counts, times, causes. What they never hold:
//! text of documents, values, prompts, keys.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::settings::{Log, LogFormat};

/// Sends logs of this process to stderr. Only the first call has an effect.
pub fn start(log: &Log) {
    // The web server's own lines on its threads are for those who name it. The filter was read
    // once when the settings were checked.
    let filter = EnvFilter::builder().parse_lossy(format!("actix_server=warn,{}", log.filter));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let _ = match log.format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
