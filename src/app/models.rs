//! Who answers, and who answers for jobs that name nobody.

use std::sync::Arc;

use super::Error;
use crate::engine::ports::{Model, Provider};
use crate::provider::layout;

/// The model of jobs that name none, once there is a key for it.
const PREFERRED: &str = "gemini-2.5-flash";

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
