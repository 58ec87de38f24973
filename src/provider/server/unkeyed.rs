//! A vendor that the server has no key for: there for callers who bring their own.

use std::sync::{Arc, OnceLock};

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tracing::error;

use super::{Options, Server};
use crate::domain::error::Fault;
use crate::domain::own_key::OwnKey;
use crate::engine::ports::{Answer, Call, CallError, Model, Provider};
use crate::provider::models::Models;

/// Serves no model to anybody without a key. Nothing of it is opened before the first one comes.
pub struct Unkeyed {
    options: Options,
    profiles: Arc<Models>,
    opened: OnceLock<Option<Server>>,
}

impl Unkeyed {
    pub fn new(options: Options, profiles: Arc<Models>) -> Self {
        Self {
            options,
            profiles,
            opened: OnceLock::new(),
        }
    }

    fn open(&self) -> Option<Server> {
        let opened = Server::new(self.options.clone(), Arc::clone(&self.profiles));
        let opened = opened.inspect_err(|cause| {
            let server = &self.options.name;
            error!(server, %cause, "provider.unopened: callers' own keys cannot be used");
        });
        opened.ok()
    }
}

impl Provider for Unkeyed {
    fn models(&self) -> Vec<Model> {
        Vec::new()
    }

    fn with_key(&self, key: &OwnKey) -> Option<Arc<dyn Provider>> {
        let server = self.opened.get_or_init(|| self.open()).as_ref()?;
        server.with_key(key)
    }

    fn ask(&self, call: Call) -> BoxStream<'static, Result<Answer, CallError>> {
        let refused = CallError {
            fault: Fault::ProviderAuthentication,
            message: format!(
                "The model `{}` is served here under a caller's own key only.",
                call.model
            ),
            retry_after_ms: None,
        };
        stream::iter([Err(refused)]).boxed()
    }
}
