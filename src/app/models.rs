//! Who answers, and who answers for jobs that name nobody.

use std::sync::Arc;

use std::fs;

use super::Error;
use crate::engine::ports::{Model, Provider};
use crate::provider::client::Bounds;
use crate::provider::layout::{self, Layout};
use crate::provider::models::Models;
use crate::provider::server::{Options, Server, Unkeyed};
use crate::provider::wire::{Key, Vendor};
use crate::settings::{self, Dialect, ModelServer};
use crate::tls;

/// The model of jobs that name none, once there is a key for it.
const PREFERRED: &str = "gemini-2.5-flash";

/// The embedded extractor, every server that is set, and the vendors that are not for those who bring a
/// key. Servers of one's own are asked in the
/// background which models they have.
pub(super) fn providers(models: &settings::Models) -> Result<Vec<Arc<dyn Provider>>, Error> {
    let mut providers: Vec<Arc<dyn Provider>> = vec![Arc::new(Layout::default())];
    tls::install();
    let profiles = Arc::new(profiles(models)?);
    for server in &models.servers {
        let server = open(server, models.hedging, &profiles)?;
        let found = server.clone();
        tokio::spawn(async move { found.discover().await });
        providers.push(Arc::new(server));
    }
    let own = VENDORS.into_iter();
    let own = own.filter(|(name, _)| models.servers.iter().all(|server| server.name != *name));
    for (name, vendor) in own {
        let options = Options {
            name: name.to_owned(),
            vendor,
            base_url: None,
            key: None,
            models: Vec::new(),
            stream: true,
            logprobs: None,
            hedging: models.hedging,
            bounds: Bounds::default(),
        };
        providers.push(Arc::new(Unkeyed::new(options, Arc::clone(&profiles))));
    }
    Ok(providers)
}

/// Who can be asked by callers who bring a key of their own, at their own addresses.
const VENDORS: [(&str, Vendor); 3] = [
    ("gemini", Vendor::Gemini),
    ("anthropic", Vendor::Anthropic),
    ("openai", Vendor::OpenAi),
];

fn open(server: &ModelServer, hedging: bool, profiles: &Arc<Models>) -> Result<Server, Error> {
    let refused = |cause: String| Error::ModelServer {
        name: server.name.clone(),
        cause,
    };
    let key = server.key.as_ref().map(|key| Key::new(&key.0)).transpose();
    let options = Options {
        name: server.name.clone(),
        vendor: match server.dialect {
            Dialect::Gemini => Vendor::Gemini,
            Dialect::Anthropic => Vendor::Anthropic,
            Dialect::OpenAi => Vendor::OpenAi,
        },
        base_url: server.base_url.clone(),
        key: key.map_err(|cause| refused(cause.to_string()))?,
        models: server.models.clone(),
        stream: server.stream,
        logprobs: server.logprobs,
        hedging,
        bounds: Bounds::default(),
    };
    Server::new(options, Arc::clone(profiles)).map_err(|cause| refused(cause.to_string()))
}

/// What is known of models, with the operator's changes.
fn profiles(models: &settings::Models) -> Result<Models, Error> {
    let refused = |cause: String| Error::Profiles {
        file: models
            .profiles
            .clone()
            .unwrap_or_default()
            .display()
            .to_string(),
        cause,
    };
    let known = Models::known().map_err(|cause| refused(cause.to_string()))?;
    let Some(file) = &models.profiles else {
        return Ok(known);
    };
    let changes = fs::read_to_string(file).map_err(|cause| refused(cause.to_string()))?;
    known
        .with(&changes)
        .map_err(|cause| refused(cause.to_string()))
}

/// The model of jobs that name none.
pub(super) fn default(
    named: Option<String>,
    providers: &[Arc<dyn Provider>],
) -> Result<String, Error> {
    let models: Vec<Model> = providers.iter().flat_map(|one| one.models()).collect();
    let is_listed = |name: &str| models.iter().any(|model| model.id == name);
    let Some(name) = named else {
        let name = [PREFERRED, layout::NAME]
            .into_iter()
            .find(|name| is_listed(name));
        // Another set of providers is put in by tests and by whoever embeds the engine.
        let first = || models.first().map(|model| model.id.clone());
        return Ok(name.map(str::to_owned).or_else(first).unwrap_or_default());
    };
    if providers
        .iter()
        .any(|provider| provider.model(&name).is_some())
    {
        return Ok(name);
    }
    let known: Vec<_> = models.into_iter().map(|model| model.id).collect();
    Err(Error::Model {
        name,
        known: known.join(", "),
    })
}
