//! What each model can do and costs, as data.
//!
//! The table in `models.json` names the models that are known; what it says of a model is laid
//! over what holds for its vendor, and what an operator says over both. A model that is in
//! neither has the ways of its vendor and no price.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::wire::{Tokens, Vendor};
use crate::domain::attachment::Limits;
use crate::domain::document::DocumentInput;

const TABLE: &str = include_str!("models.json");

/// How a model can be held to a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// The answer is decoded along the schema.
    Schema,
    /// The answer is the input of a tool that has the schema, which guides and does not bind.
    Tool,
    /// The answer is JSON of any form.
    Json,
    /// Nothing but the prompt says what form is wanted.
    Text,
}

/// When a model takes a temperature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Temperature {
    Always,
    WithoutThinking,
    Never,
}

/// How the thinking of a model is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Thinks {
    /// Nothing is said about thinking.
    Unasked,
    /// By a number of tokens.
    Budget {
        /// What stands for no thinking, or for as little as the model can.
        off: u32,
        least: u32,
        most: u32,
    },
    /// By a word: a level, an effort or a mode.
    Effort {
        /// The word for no thinking, or for as little as the model can.
        off: String,
        /// The word where no budget is given; the model's own default without it.
        #[serde(default)]
        on: Option<String>,
    },
}

impl Thinks {
    /// The word for a budget, tokens.
    pub fn effort(budget: u32) -> &'static str {
        match budget {
            ..=2_048 => "low",
            2_049..=12_288 => "medium",
            _ => "high",
        }
    }
}

/// US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub prompt: f64,
    /// Of prompt tokens read from a cache; like others where it is not given.
    #[serde(default)]
    pub cached: Option<f64>,
    /// Of prompt tokens written to a cache; like others where it is not given.
    #[serde(default)]
    pub cache_written: Option<f64>,
    /// Of the answer, thoughts included.
    pub answer: f64,
    /// For all tokens of a call with a long prompt.
    #[serde(default)]
    pub long: Option<LongPrice>,
}

/// The price of calls with a prompt of more than `over` tokens, as a multiple.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongPrice {
    pub over: u64,
    /// Of the prompt's prices.
    pub prompt: f64,
    /// Of the answer's price.
    pub answer: f64,
}

/// What a model takes and costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub vendor: Vendor,
    /// Tokens that prompt and answer may have together.
    pub context_tokens: u32,
    /// Tokens that the answer may have, thoughts included.
    pub output_tokens: u32,
    pub images: bool,
    pub pdf: bool,
    /// Of a request with files or pictures in it.
    pub request_bytes: u64,
    /// In one request.
    pub pictures: u32,
    /// Of one picture.
    pub picture_bytes: u64,
    pub pdf_pages: u32,
    pub output: Output,
    pub temperature: Temperature,
    pub seed: bool,
    pub thinking: Thinks,
    /// The field that limits the answer: `max_completion_tokens`, or else `max_tokens`.
    #[serde(default)]
    pub completion_limit: bool,
    /// Whether it tells how likely its tokens were when it is asked to.
    #[serde(default)]
    pub logprobs: bool,
    #[serde(default)]
    pub price: Option<Price>,
}

impl Profile {
    /// US dollars; `None` without a price or without the counts that it needs.
    pub fn cost(&self, tokens: &Tokens) -> Option<f64> {
        let price = self.price?;
        let (prompt, answer) = (tokens.prompt?, tokens.answer?);
        let cached = tokens.cached.unwrap_or(0).min(prompt);
        let written = tokens.cache_written.unwrap_or(0).min(prompt - cached);
        let input = (prompt - cached - written) as f64 * price.prompt
            + cached as f64 * price.cached.unwrap_or(price.prompt)
            + written as f64 * price.cache_written.unwrap_or(price.prompt);
        let output = (answer + tokens.thoughts.unwrap_or(0)) as f64 * price.answer;
        let long = price.long.filter(|long| prompt > long.over);
        let (more, most) = long.map_or((1.0, 1.0), |long| (long.prompt, long.answer));
        Some((input * more + output * most) / 1e6)
    }

    /// The forms in which it takes a document.
    pub fn document_inputs(&self) -> Vec<DocumentInput> {
        let forms = [
            (DocumentInput::Text, true),
            (DocumentInput::Pages, self.images),
            (DocumentInput::Native, self.pdf),
        ];
        let taken = forms.into_iter().filter(|(_, is_taken)| *is_taken);
        taken.map(|(form, _)| form).collect()
    }

    /// How much of files and pictures it takes; none where it takes neither.
    pub fn attachment_limits(&self) -> Option<Limits> {
        (self.images || self.pdf).then_some(Limits {
            request_bytes: self.request_bytes,
            pictures: self.pictures,
            picture_bytes: self.picture_bytes,
            pdf_pages: self.pdf_pages,
        })
    }

    /// Names of the fields of a job's config that change nothing with this model.
    pub fn ignores(&self) -> Vec<&'static str> {
        let fields = [
            ("temperature", self.temperature == Temperature::Never),
            ("seed", !self.seed),
            ("enable_thinking", self.thinking == Thinks::Unasked),
        ];
        let ignored = fields.into_iter().filter(|(_, is_ignored)| *is_ignored);
        ignored.map(|(field, _)| field).collect()
    }
}

/// A table of models that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error(
        "the table of models is not a JSON object of model names and what is to be changed of each: {0}"
    )]
    NotAnObject(String),
    #[error(
        "model `{model}` in the table of models: {reason}; what can be set is vendor, context_tokens, output_tokens, images, pdf, request_bytes, pictures, picture_bytes, pdf_pages, output, temperature, seed, thinking, completion_limit, logprobs and price (US dollars per million tokens: prompt, cached, cache_written, answer, long)"
    )]
    Model { model: String, reason: String },
}

/// The models that are known, and what holds for others.
#[derive(Debug, Clone)]
pub struct Models {
    vendors: BTreeMap<String, Map<String, Value>>,
    /// What is said of each, before it is laid over its vendor.
    said: BTreeMap<String, Map<String, Value>>,
    profiles: BTreeMap<String, Arc<Profile>>,
}

/// The key of what holds for models of servers that are compatible with OpenAI.
const SERVER: &str = "server";

#[derive(Deserialize)]
struct Table {
    vendors: BTreeMap<String, Map<String, Value>>,
    models: BTreeMap<String, Map<String, Value>>,
}

impl Models {
    /// The models of the embedded table.
    pub fn known() -> Result<Self, TableError> {
        let table: Table =
            serde_json::from_str(TABLE).map_err(|e| TableError::NotAnObject(e.to_string()))?;
        let mut models = Self {
            vendors: table.vendors,
            said: BTreeMap::new(),
            profiles: BTreeMap::new(),
        };
        for name in models.vendors.keys().cloned().collect::<Vec<_>>() {
            let profile = Arc::new(models.read(&name, &name, &Map::new())?);
            models.profiles.insert(default_key(&name), profile);
        }
        models.say(table.models)?;
        Ok(models)
    }

    /// These models with an operator's changes: JSON such as
    /// `{"gemini-2.5-flash": {"price": {"prompt": 0.3, "answer": 2.5}}, "local/qwen3": {"context_tokens": 32768}}`.
    /// A member that is not named stays as it is; a price is replaced as a whole.
    pub fn with(&self, changes: &str) -> Result<Self, TableError> {
        let changes =
            serde_json::from_str(changes).map_err(|e| TableError::NotAnObject(e.to_string()))?;
        let mut models = self.clone();
        models.say(changes)?;
        Ok(models)
    }

    fn say(&mut self, changes: BTreeMap<String, Map<String, Value>>) -> Result<(), TableError> {
        for (name, change) in changes {
            let mut said = self.said.get(&name).cloned().unwrap_or_default();
            said.extend(change);
            let profile = Arc::new(self.read(&name, &self.base(&name, &said), &said)?);
            self.profiles.insert(name.clone(), profile);
            self.said.insert(name, said);
        }
        Ok(())
    }

    /// Whose ways a model has that is not said otherwise.
    fn base(&self, name: &str, said: &Map<String, Value>) -> String {
        let vendor = said.get("vendor").and_then(Value::as_str);
        let of_name = || vendor_of(name).map(vendor_key);
        match vendor {
            Some(vendor) if self.vendors.contains_key(vendor) && !name.contains('/') => {
                vendor.to_owned()
            }
            _ => of_name().unwrap_or(SERVER).to_owned(),
        }
    }

    fn read(
        &self,
        name: &str,
        base: &str,
        said: &Map<String, Value>,
    ) -> Result<Profile, TableError> {
        let wrong = |reason: String| TableError::Model {
            model: name.to_owned(),
            reason,
        };
        let mut whole = self.vendors.get(base).cloned().unwrap_or_default();
        whole.extend(said.clone());
        let profile: Profile =
            serde_json::from_value(Value::Object(whole)).map_err(|e| wrong(e.to_string()))?;
        check(&profile).map_err(wrong)?;
        Ok(profile)
    }

    /// The profile of a vendor's model by its own name. Of an unknown one, the dated name of a
    /// known one has its profile, and others have what holds for the vendor.
    pub fn of_vendor(&self, vendor: Vendor, model: &str) -> Option<Arc<Profile>> {
        let known = |name: &str| self.profiles.get(name).filter(|p| p.vendor == vendor);
        let found = known(model).or_else(|| known(undated(model)?));
        let default = || self.profiles.get(&default_key(vendor_key(vendor)));
        found.or_else(default).cloned()
    }

    /// The profile of a model on a server that is compatible with OpenAI: what the operator says
    /// of `SERVER/NAME`, or what holds for such servers.
    pub fn of_server(&self, server: &str, model: &str) -> Option<Arc<Profile>> {
        let found = self.profiles.get(&format!("{server}/{model}"));
        found
            .or_else(|| self.profiles.get(&default_key(SERVER)))
            .cloned()
    }

    /// The models that are named in the table, of this vendor, by name.
    pub fn names(&self, vendor: Vendor) -> impl Iterator<Item = &str> {
        let named = self.said.keys().filter(|name| !name.contains('/'));
        named
            .filter(move |name| self.profiles.get(*name).is_some_and(|p| p.vendor == vendor))
            .map(String::as_str)
    }

    /// US dollars of a call to a vendor's model; `None` where no price is known.
    pub fn cost(&self, vendor: Vendor, model: &str, tokens: &Tokens) -> Option<f64> {
        self.of_vendor(vendor, model)?.cost(tokens)
    }
}

/// Keeps what holds for a vendor apart from models: no model has such a name.
fn default_key(vendor: &str) -> String {
    format!("* {vendor}")
}

fn vendor_key(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Gemini => "gemini",
        Vendor::OpenAi => "openai",
        Vendor::Anthropic => "anthropic",
    }
}

/// The vendor that a model's own name tells.
pub fn vendor_of(model: &str) -> Option<Vendor> {
    let is_o = || {
        let mut letters = model.chars();
        letters.next() == Some('o') && letters.next().is_some_and(|c| c.is_ascii_digit())
    };
    let has = |prefix: &str| model.starts_with(prefix);
    match () {
        () if model.contains('/') => None,
        () if has("gemini-") => Some(Vendor::Gemini),
        () if has("claude-") => Some(Vendor::Anthropic),
        () if has("gpt-") || has("chatgpt-") || is_o() => Some(Vendor::OpenAi),
        () => None,
    }
}

/// The name without the date or number of a version: `-2025-08-07`, `-20250929`, `-001`, `-latest`.
fn undated(model: &str) -> Option<&str> {
    let (name, last) = model.rsplit_once('-')?;
    if last == "latest" {
        return Some(name);
    }
    if last.is_empty() || !last.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let dashed = || {
        let (rest, month) = name.rsplit_once('-')?;
        let (rest, year) = rest.rsplit_once('-')?;
        (month.len() == 2 && year.len() == 4).then_some(rest)
    };
    match last.len() {
        2 => dashed(),
        3 | 8 => Some(name),
        _ => None,
    }
}

fn check(profile: &Profile) -> Result<(), String> {
    if profile.context_tokens == 0 || profile.output_tokens == 0 {
        return Err("context_tokens and output_tokens are at least 1".into());
    }
    let Some(price) = profile.price else {
        return Ok(());
    };
    let long = price.long.map(|long| [long.prompt, long.answer]);
    let numbers = [Some(price.prompt), price.cached, price.cache_written];
    let mut all = numbers
        .into_iter()
        .flatten()
        .chain([price.answer])
        .chain(long.into_iter().flatten());
    match all.find(|number| !(0.0..=1e6).contains(number)) {
        Some(number) => Err(format!("{number} is no price; prices are 0 to 1000000")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
