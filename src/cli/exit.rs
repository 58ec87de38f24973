//! How a command ends.

use std::io;
use std::process::ExitCode;

use crate::app;
use crate::domain::error::Error;
use crate::settings;

/// The exit codes. Scripts may rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Complete,
    Failed,
    /// Arguments, settings, schema or document cannot be used.
    Unusable,
    /// Some subtrees have no value, or a value the schema does not allow.
    Partial,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Complete => 0,
            Exit::Failed => 1,
            // What the parser of arguments uses too.
            Exit::Unusable => 2,
            Exit::Partial => 3,
            // 128 + SIGINT, as shells say it.
            Exit::Interrupted => 130,
        })
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn of(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

impl From<settings::Error> for Failure {
    fn from(error: settings::Error) -> Self {
        Self::of(Exit::Unusable, error.to_string())
    }
}

impl From<app::Error> for Failure {
    fn from(error: app::Error) -> Self {
        let exit = match error {
            app::Error::Model { .. }
            | app::Error::ModelServer { .. }
            | app::Error::Profiles { .. }
            | app::Error::Exposed { .. } => Exit::Unusable,
            _ => Exit::Failed,
        };
        Self::of(exit, error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = if error.code.status() < 500 {
            Exit::Unusable
        } else {
            Exit::Failed
        };
        let mut message = error.detail.clone();
        for detail in error.errors {
            // The first one is often the detail itself.
            if !error.detail.contains(&detail.message) {
                let place = if detail.pointer.is_empty() {
                    "the root"
                } else {
                    &detail.pointer
                };
                message = format!("{message}\n  at {place}: {}", detail.message);
            }
        }
        Self::of(exit, message)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::of(Exit::Failed, format!("Output cannot be written: {error}"))
    }
}
