//! The `config` of a job: checked at the door, echoed as used.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::document::DocumentInput;
use super::error::{Code, Detail, Error};
use super::pack::{Aim, Budget, Packing};
use super::plan::SplitterConfigs;
use super::pointer::Pointer;
use super::review::Predicate;

/// Settings of one job after checking; every field has the value that is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub model: String,
    /// Calls of this job at the same time, 1..=20.
    pub max_num_concurrent_requests: u32,
    pub validate_response_schema: bool,
    pub per_key_attribution: bool,
    /// 0.0..=2.0; null leaves it to the model.
    pub temperature: Option<f64>,
    pub seed: Option<i64>,
    pub enable_thinking: bool,
    /// Times a failed call is asked again, 0..=10.
    pub n_max_retries: u32,
    pub additional_instructions: Option<String>,
    pub enable_agentic_array_extraction: bool,
    /// Whether a job that is known to lack rows of an array has failed.
    #[serde(default)]
    pub require_complete_arrays: bool,
    /// What a person must look at before the result is given out. Such a job asks for
    /// attributions, since most of what is looked at stands in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Predicate>,
    pub splitter_configs: Splitter,
    pub use_explicit_context_cache: bool,
    /// `Auto` only until the job is stored, and in jobs of before there was a choice, whose
    /// documents went as text.
    #[serde(default)]
    pub document_input: DocumentInput,
    /// Whether answers of earlier jobs are used again.
    #[serde(default)]
    pub cache: Cache,
    #[serde(flatten)]
    pub budget: Budget,
    /// The fields the request named: what the chosen model cannot honour is reported for these.
    #[serde(skip)]
    pub given: Vec<String>,
}

/// Whether answers that were paid for before are used again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cache {
    #[default]
    On,
    Off,
}

/// How the schema is cut, and how its parts share calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splitter {
    #[serde(flatten)]
    pub cut: SplitterConfigs,
    #[serde(flatten)]
    pub packing: Packing,
}

/// Calls of a job at the same time where the request names no number: as many as one user's quota
/// with a provider mostly takes; more where the earliest end is wanted at any price.
fn calls_at_once(aim: Aim) -> u32 {
    match aim {
        Aim::Fast => 10,
        Aim::Balanced | Aim::Cheap => 5,
    }
}

/// The most characters of `additional_instructions`.
const MAX_INSTRUCTIONS: usize = 10_000;

/// Settings that do not exist, reported at once.
const MAX_UNKNOWN: usize = 20;

/// Reads fields out of a JSON object and gathers every fault with its pointer.
struct Fields<'a> {
    at: &'static str,
    object: &'a Map<String, Value>,
    known: Vec<&'static str>,
    errors: Vec<Detail>,
}

impl<'a> Fields<'a> {
    fn new(at: &'static str, object: &'a Map<String, Value>) -> Self {
        Self {
            at,
            object,
            known: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// The field's value; null counts as not given.
    fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn refuse(&mut self, name: &str, value: &Value, allowed: &str) {
        let shown: String = value.to_string().chars().take(80).collect();
        self.errors.push(Detail {
            pointer: format!("{}/{name}", self.at),
            message: format!("`{shown}` is not allowed; expected {allowed}."),
        });
    }

    fn boolean(&mut self, name: &'static str, default: bool) -> bool {
        let Some(value) = self.get(name) else {
            return default;
        };
        value.as_bool().unwrap_or_else(|| {
            self.refuse(name, value, "true or false");
            default
        })
    }

    fn count(&mut self, name: &'static str, default: u32, low: u32, high: u32) -> u32 {
        let Some(value) = self.get(name) else {
            return default;
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number
            .filter(|number| (low..=high).contains(number))
            .unwrap_or_else(|| {
                self.refuse(name, value, &format!("an integer from {low} to {high}"));
                default
            })
    }

    fn optional_count(&mut self, name: &'static str, low: u32, high: u32) -> Option<u32> {
        self.get(name)?;
        Some(self.count(name, low, low, high))
    }

    fn optional_boolean(&mut self, name: &'static str) -> Option<bool> {
        self.get(name)?;
        Some(self.boolean(name, false))
    }

    fn number(&mut self, name: &'static str, low: f64, high: f64) -> Option<f64> {
        let value = self.get(name)?;
        let number = value
            .as_f64()
            .filter(|number| (low..=high).contains(number));
        if number.is_none() {
            self.refuse(name, value, &format!("a number from {low} to {high}"));
        }
        number
    }

    fn unknown(&mut self) {
        for name in self
            .object
            .keys()
            .filter(|name| !self.known.contains(&name.as_str()))
            .take(MAX_UNKNOWN)
        {
            // The name is a stranger's: it may hold what pointers escape, and be of any length.
            let shown: String = name.chars().take(80).collect();
            self.errors.push(Detail {
                pointer: format!("{}{}", self.at, Pointer::root().join(&shown)),
                message: format!(
                    "There is no such setting. Settings are: {}.",
                    self.known.join(", ")
                ),
            });
        }
    }
}

impl Config {
    /// Checks the `config` member of a request. Every fault is reported at once, by pointer.
    pub fn parse(value: Option<&Value>, default_model: &str) -> Result<Self, Error> {
        let empty = Map::new();
        let object = match value {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(object)) => object,
            Some(other) => {
                let shown: String = other.to_string().chars().take(80).collect();
                return Err(
                    Error::new(Code::InvalidConfig, "`config` must be an object.")
                        .at("/config", format!("`{shown}` is not an object.")),
                );
            }
        };
        let mut fields = Fields::new("/config", object);
        let review = review(&mut fields);
        let mut config = Self {
            model: text(&mut fields, "model", 200).unwrap_or_else(|| default_model.to_owned()),
            // Nought until it is known what calls are packed for.
            max_num_concurrent_requests: fields.count("max_num_concurrent_requests", 0, 1, 20),
            validate_response_schema: fields.boolean("validate_response_schema", true),
            per_key_attribution: fields.boolean("per_key_attribution", false) || review.is_some(),
            temperature: temperature(&mut fields),
            seed: seed(&mut fields),
            enable_thinking: fields.boolean("enable_thinking", false),
            n_max_retries: fields.count("n_max_retries", 2, 0, 10),
            additional_instructions: text(&mut fields, "additional_instructions", MAX_INSTRUCTIONS),
            enable_agentic_array_extraction: fields
                .boolean("enable_agentic_array_extraction", true),
            require_complete_arrays: fields.boolean("require_complete_arrays", false),
            review,
            splitter_configs: splitter(&mut fields),
            use_explicit_context_cache: fields.boolean("use_explicit_context_cache", false),
            document_input: document_input(&mut fields),
            cache: cache(&mut fields),
            budget: budget(&mut fields),
            given: object
                .keys()
                .filter(|name| !object[*name].is_null())
                .cloned()
                .collect(),
        };
        if config.max_num_concurrent_requests == 0 {
            config.max_num_concurrent_requests = calls_at_once(config.splitter_configs.packing.aim);
        }
        fields.unknown();
        if fields.errors.is_empty() {
            Ok(config)
        } else {
            let first = &fields.errors[0];
            let detail = format!("`{}`: {}", first.pointer, first.message);
            Err(Error::new(Code::InvalidConfig, detail).with_errors(fields.errors))
        }
    }
}

fn text(fields: &mut Fields, name: &'static str, most: usize) -> Option<String> {
    let value = fields.get(name)?;
    match value.as_str() {
        Some(text) if text.chars().count() <= most && !text.trim().is_empty() => {
            Some(text.to_owned())
        }
        _ => {
            fields.refuse(name, value, &format!("text of 1 to {most} characters"));
            None
        }
    }
}

fn review(fields: &mut Fields) -> Option<Predicate> {
    let value = fields.get("review")?;
    let read = Predicate::parse(value, "/config/review");
    read.map_err(|fault| fields.errors.push(fault)).ok()
}

fn temperature(fields: &mut Fields) -> Option<f64> {
    let value = fields.get("temperature")?;
    let number = value.as_f64().filter(|number| (0.0..=2.0).contains(number));
    if number.is_none() {
        fields.refuse("temperature", value, "a number from 0.0 to 2.0");
    }
    number
}

fn seed(fields: &mut Fields) -> Option<i64> {
    let value = fields.get("seed")?;
    if value.as_i64().is_none() {
        fields.refuse("seed", value, "an integer");
    }
    value.as_i64()
}

fn cache(fields: &mut Fields) -> Cache {
    match fields.get("cache") {
        None => Cache::On,
        Some(value) => match value.as_str() {
            Some("on") => Cache::On,
            Some("off") => Cache::Off,
            _ => {
                fields.refuse("cache", value, "`on` or `off`");
                Cache::On
            }
        },
    }
}

fn document_input(fields: &mut Fields) -> DocumentInput {
    let Some(value) = fields.get("document_input") else {
        return DocumentInput::Auto;
    };
    let known = DocumentInput::ALL.into_iter();
    let named = known
        .clone()
        .find(|input| value.as_str() == Some(input.name()));
    named.unwrap_or_else(|| {
        let names: Vec<_> = known.map(|input| format!("`{}`", input.name())).collect();
        fields.refuse(
            "document_input",
            value,
            &format!("one of {}", names.join(", ")),
        );
        DocumentInput::Auto
    })
}

fn splitter(fields: &mut Fields) -> Splitter {
    let Some(value) = fields.get("splitter_configs") else {
        return Splitter::default();
    };
    let Some(object) = value.as_object() else {
        fields.refuse("splitter_configs", value, "an object");
        return Splitter::default();
    };
    let default = SplitterConfigs::default();
    let mut inner = Fields::new("/config/splitter_configs", object);
    let cut = SplitterConfigs {
        max_fields_to_join: inner.count("max_fields_to_join", default.max_fields_to_join, 0, 100),
        max_subtrees: inner.count("max_subtrees", default.max_subtrees, 1, 200),
    };
    let packing = Packing {
        aim: aim(&mut inner),
        max_calls: inner.optional_count("max_calls", 1, 200),
        max_tokens_per_call: inner.optional_count("max_tokens_per_call", 16, 1_000_000),
        leader_first: inner.optional_boolean("leader_first"),
    };
    inner.unknown();
    fields.errors.append(&mut inner.errors);
    Splitter { cut, packing }
}

fn aim(fields: &mut Fields) -> Aim {
    let Some(value) = fields.get("packing") else {
        return Aim::default();
    };
    let named = value
        .as_str()
        .and_then(|name| Aim::ALL.into_iter().find(|aim| aim.name() == name));
    named.unwrap_or_else(|| {
        fields.refuse("packing", value, "`fast`, `balanced` or `cheap`");
        Aim::default()
    })
}

/// The largest limits that may be set: no job of this server comes near them.
const MOST_COST: f64 = 1e6;
const MOST_TOKENS: u64 = 1_000_000_000_000;
const MOST_SECONDS: f64 = 86_400.0;

fn budget(fields: &mut Fields) -> Budget {
    let max_tokens = fields.get("max_tokens").and_then(|value| {
        let tokens = value
            .as_u64()
            .filter(|tokens| (1..=MOST_TOKENS).contains(tokens));
        if tokens.is_none() {
            let allowed = format!("an integer from 1 to {MOST_TOKENS}");
            fields.refuse("max_tokens", value, &allowed);
        }
        tokens
    });
    Budget {
        max_cost: fields.number("max_cost", 0.0, MOST_COST),
        max_tokens,
        max_seconds: fields.number("max_seconds", 1.0, MOST_SECONDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_absent_config_gives_every_default() {
        let config = Config::parse(None, "layout").unwrap();
        assert_eq!(config.model, "layout");
        assert_eq!(config.max_num_concurrent_requests, 5);
        assert!(config.validate_response_schema && !config.per_key_attribution);
        assert_eq!(config.splitter_configs, Splitter::default());
        assert!(!config.budget.is_set());
    }

    #[test]
    fn a_job_that_is_to_end_early_makes_ten_calls_at_once_unless_it_names_a_number() {
        let calls = |config: Value| {
            let config = Config::parse(Some(&config), "layout").unwrap();
            config.max_num_concurrent_requests
        };
        let packed = |aim: &str| json!({"splitter_configs": {"packing": aim}});
        assert_eq!(calls(packed("fast")), 10);
        assert_eq!(calls(packed("balanced")), 5);
        assert_eq!(calls(packed("cheap")), 5);
        let mut named = packed("fast");
        named["max_num_concurrent_requests"] = json!(null);
        assert_eq!(calls(named.clone()), 10);
        named["max_num_concurrent_requests"] = json!(3);
        assert_eq!(calls(named), 3);
    }

    #[test]
    fn every_fault_is_named_by_its_pointer() {
        let given = json!({
            "max_num_concurrent_requests": 21, "temperature": 2.5, "seed": "x", "model": "",
            "enable_thinking": 1, "n_max_retries": -1, "colour": true, "document_input": "fax",
            "splitter_configs": {"max_subtrees": 0, "depth": 1, "packing": "quick"},
            "max_tokens": 0, "max_cost": -1, "max_seconds": "long",
        });
        let error = Config::parse(Some(&given), "layout").unwrap_err();
        let pointers: Vec<_> = error.errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(error.code, Code::InvalidConfig);
        for pointer in [
            "/config/max_num_concurrent_requests",
            "/config/temperature",
            "/config/seed",
            "/config/model",
            "/config/enable_thinking",
            "/config/n_max_retries",
            "/config/document_input",
            "/config/colour",
            "/config/splitter_configs/max_subtrees",
            "/config/splitter_configs/depth",
            "/config/splitter_configs/packing",
            "/config/max_tokens",
            "/config/max_cost",
            "/config/max_seconds",
        ] {
            assert!(pointers.contains(&pointer), "{pointer} in {pointers:?}");
        }
        assert_eq!(pointers.len(), 14);
    }

    #[test]
    fn a_config_of_before_there_were_budgets_and_packings_is_read() {
        let config = Config::parse(None, "layout").unwrap();
        let mut old = serde_json::to_value(&config).unwrap();
        assert_eq!(old["splitter_configs"]["packing"], "balanced");
        for name in ["max_cost", "max_tokens", "max_seconds"] {
            old.as_object_mut().unwrap().remove(name).unwrap();
        }
        old["splitter_configs"] = json!({"max_fields_to_join": 3, "max_subtrees": 200});
        assert_eq!(serde_json::from_value::<Config>(old).unwrap(), config);
    }

    #[test]
    fn limits_themselves_are_allowed() {
        let given =
            json!({"max_num_concurrent_requests": 20, "temperature": 0, "n_max_retries": 0});
        let config = Config::parse(Some(&given), "layout").unwrap();
        assert_eq!(
            (config.max_num_concurrent_requests, config.temperature),
            (20, Some(0.0))
        );
        assert_eq!(config.given.len(), 3);
    }
}
