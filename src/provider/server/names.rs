//! Which names of models are whose.

use std::collections::BTreeSet;

use crate::provider::models::vendor_of;
use crate::provider::wire::Vendor;

/// The names of one server's models.
pub(super) struct Names {
    server: String,
    /// Whose own server this is; its models need no prefix where their name tells the vendor.
    vendor: Option<Vendor>,
    given: Vec<String>,
}

impl Names {
    pub(super) fn new(server: String, vendor: Vendor, given: Vec<String>) -> Self {
        let own = match vendor {
            Vendor::Gemini => "gemini",
            Vendor::OpenAi => "openai",
            Vendor::Anthropic => "anthropic",
        };
        Self {
            vendor: (server == own).then_some(vendor),
            server,
            given,
        }
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn is_vendors_own(&self) -> bool {
        self.vendor.is_some()
    }

    /// The server's own name of the model that clients call `name`; none when it is another's.
    pub(super) fn own<'a>(&self, name: &'a str) -> Option<&'a str> {
        let behind = |name: &'a str| name.strip_prefix(&self.server)?.strip_prefix('/');
        let model = if let Some(model) = behind(name) {
            model
        } else {
            let vendor = vendor_of(name)?;
            (self.vendor == Some(vendor)).then_some(name)?
        };
        let is_plain = |c: char| c.is_ascii_graphic() && !"?#%\\\"'<>".contains(c);
        (!model.is_empty() && model.chars().all(is_plain) && !model.contains("..")).then_some(model)
    }

    /// What is listed, by the names that clients use: the vendor's known models on its own server,
    /// those that were set, and those that a server of one's own tells of.
    pub(super) fn listed<'a>(
        &self,
        known: impl Iterator<Item = &'a str>,
        found: &[String],
    ) -> Vec<String> {
        let is_own = self.is_vendors_own();
        let known = known.filter(|_| is_own).map(str::to_owned);
        // A vendor also lists what answers with pictures, sound or vectors.
        let found = found.iter().filter(|_| !is_own).cloned();
        let all: BTreeSet<String> = known
            .chain(self.given.iter().cloned())
            .chain(found)
            .map(|model| self.shown(model))
            .collect();
        all.into_iter()
            .filter(|id| self.own(id).is_some())
            .collect()
    }

    fn shown(&self, model: String) -> String {
        if self.own(&model).is_some() {
            model
        } else {
            format!("{}/{model}", self.server)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_tells_its_vendor_needs_no_prefix_on_the_vendors_own_server() {
        let gemini = Names::new("gemini".into(), Vendor::Gemini, vec![]);
        assert_eq!(gemini.own("gemini-2.5-flash"), Some("gemini-2.5-flash"));
        assert_eq!(
            gemini.own("gemini/gemini-2.5-flash"),
            Some("gemini-2.5-flash")
        );
        assert_eq!(gemini.own("gpt-5"), None);
        let house = Names::new("house".into(), Vendor::OpenAi, vec![]);
        assert_eq!(house.own("gpt-5"), None);
        assert_eq!(house.own("house/Qwen/Qwen3-8B"), Some("Qwen/Qwen3-8B"));
        assert_eq!(house.own("houses/x"), None);
    }

    #[test]
    fn no_name_leads_to_another_address() {
        let house = Names::new("house".into(), Vendor::Gemini, vec![]);
        for name in [
            "house/",
            "house/../x",
            "house/a?b",
            "house/a b",
            "house/a#b",
            "house/%2e",
        ] {
            assert_eq!(house.own(name), None, "{name}");
        }
    }

    #[test]
    fn a_server_of_ones_own_lists_what_it_has_and_what_was_set() {
        let house = Names::new("house".into(), Vendor::OpenAi, vec!["a".into()]);
        let listed = house.listed(["gpt-5"].into_iter(), &["b".into(), "a".into()]);
        assert_eq!(listed, ["house/a", "house/b"]);
        let openai = Names::new("openai".into(), Vendor::OpenAi, vec!["mine".into()]);
        let listed = openai.listed(["gpt-5"].into_iter(), &["dall-e-3".into()]);
        assert_eq!(listed, ["gpt-5", "openai/mine"]);
    }
}
