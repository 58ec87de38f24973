//! What users save under a name: templates of jobs, and filters that choose among them by what a
//! document is.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::document::Page;
use super::likeness::{choose, likeness};
use super::operation::Category;

/// What jobs of one kind have in common. A job takes a copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Template {
    #[serde(default)]
    pub description: Option<String>,
    pub schema: Value,
    /// What a model is told beside the schema; what a job says itself comes after it.
    #[serde(default)]
    pub instructions: Option<String>,
    /// Members of a job's config. A job that has one of them itself goes by its own, but for the
    /// review: a job may be looked at more closely, and not less.
    #[serde(default)]
    pub config: Map<String, Value>,
}

/// The member of a config that holds results back.
const REVIEW: &str = "review";
/// The member of a config that instructions become.
pub const INSTRUCTIONS: &str = "additional_instructions";

impl Template {
    /// The config of a job: the template's, and over it what the job says itself.
    pub fn applied(&self, own: Option<Value>) -> Option<Value> {
        let mut own = match own {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(own)) => own,
            // Refused where configs are read.
            other => return other,
        };
        own.retain(|_, value| !value.is_null());
        let mut config = self.config.clone();
        let told = match (&self.instructions, own.get(INSTRUCTIONS)) {
            (Some(ours), Some(Value::String(theirs))) => Some(format!("{ours}\n\n{theirs}")),
            (Some(ours), None) => Some(ours.clone()),
            _ => None,
        };
        let gates = [own.get(REVIEW), config.get(REVIEW)];
        let gate = match gates.map(|gate| gate.filter(|gate| !gate.is_null())) {
            [Some(theirs), Some(ours)] if theirs != ours => {
                Some(json!({ "any_of": [theirs, ours] }))
            }
            _ => None,
        };
        config.extend(own);
        config.extend(gate.map(|gate| (REVIEW.to_owned(), gate)));
        config.extend(told.map(|told| (INSTRUCTIONS.to_owned(), Value::String(told))));
        Some(Value::Object(config))
    }
}

/// What is done with documents, by their kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    #[serde(default)]
    pub description: Option<String>,
    /// At least one; no two of one kind.
    pub rules: Vec<Rule>,
    /// What is done with a document that is none of the kinds.
    #[serde(default)]
    pub otherwise: Route,
}

/// What is done with documents of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    #[serde(flatten)]
    pub kind: Category,
    pub route: Route,
}

/// What is done with a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Extracted by the template of this name.
    Template(String),
    /// Extracted by the template that the job names itself; without one, only classified.
    Classify,
    /// Not extracted.
    #[default]
    Skip,
}

impl Filter {
    pub fn kinds(&self) -> Vec<Category> {
        self.rules.iter().map(|rule| rule.kind.clone()).collect()
    }

    /// The kind of a document by its words, if one stands out, and what is done with it.
    pub fn route(&self, pages: &[Page]) -> (Option<&str>, &Route) {
        let chosen = choose(&likeness(pages, &self.kinds()));
        let rule = chosen.and_then(|(at, _)| self.rules.get(at));
        rule.map_or((None, &self.otherwise), |rule| {
            (Some(&rule.kind.name), &rule.route)
        })
    }

    /// The templates that it names.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        let routes = self.rules.iter().map(|rule| &rule.route);
        routes
            .chain([&self.otherwise])
            .filter_map(|route| match route {
                Route::Template(name) => Some(name.as_str()),
                Route::Classify | Route::Skip => None,
            })
    }
}

/// What of it a job was made with. Names as they were then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateUse {
    /// None where the document was skipped or only classified.
    pub template: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What the filter took the document for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::document::Word;

    fn template() -> Template {
        Template {
            description: None,
            schema: json!({"type": "object"}),
            instructions: Some("Dates are European.".into()),
            config: Map::from_iter([
                ("model".to_owned(), json!("layout")),
                ("seed".to_owned(), json!(1)),
            ]),
        }
    }

    #[test]
    fn a_job_goes_by_its_own_settings_and_by_the_templates_where_it_has_none() {
        let bare = json!({"model": "layout", "seed": 1, INSTRUCTIONS: "Dates are European."});
        assert_eq!(template().applied(None), Some(bare.clone()));
        assert_eq!(template().applied(Some(Value::Null)), Some(bare));
        let own = json!({"seed": 2, "model": null, INSTRUCTIONS: "In euros."});
        let both = json!({
            "model": "layout", "seed": 2,
            INSTRUCTIONS: "Dates are European.\n\nIn euros.",
        });
        assert_eq!(template().applied(Some(own)), Some(both));
    }

    #[test]
    fn a_job_may_be_looked_at_more_closely_than_its_template_asks_and_not_less() {
        let mut strict = template();
        let ours = json!({"confidence_below": 0.95});
        strict.config.insert(REVIEW.to_owned(), ours.clone());
        let applied = |own: Value| strict.applied(Some(own)).unwrap()[REVIEW].clone();
        assert_eq!(applied(json!({})), ours);
        assert_eq!(applied(json!({REVIEW: null})), ours);
        let theirs = json!({"confidence_below": 0.01});
        let both = json!({"any_of": [theirs, ours]});
        assert_eq!(applied(json!({REVIEW: theirs})), both);
        let alone = template().applied(Some(json!({REVIEW: theirs}))).unwrap();
        assert_eq!(alone[REVIEW], theirs);
    }

    #[test]
    fn what_is_no_config_is_left_to_be_refused() {
        let wrong = json!({INSTRUCTIONS: 7});
        assert_eq!(template().applied(Some(wrong)).unwrap()[INSTRUCTIONS], 7);
        assert_eq!(template().applied(Some(json!([]))), Some(json!([])));
    }

    fn page(text: &str) -> Page {
        let words = text.split(' ').map(|text| Word {
            text: text.into(),
            bbox: [0.0; 4],
            start: 0,
            size: 10.0,
            bold: false,
        });
        Page::from_lines(1, 100.0, 100.0, vec![words.collect()], vec![])
    }

    #[test]
    fn a_document_that_is_none_of_the_kinds_goes_where_all_others_go() {
        let rule = |name: &str, route| Rule {
            kind: Category {
                name: name.into(),
                description: None,
            },
            route,
        };
        let filter = Filter {
            description: None,
            rules: vec![
                rule("invoice", Route::Template("Invoices".into())),
                rule("resume", Route::Skip),
            ],
            otherwise: Route::Classify,
        };
        let other = [page("zebra quagga okapi")];
        assert_eq!(filter.route(&other), (None, &Route::Classify));
        assert_eq!(filter.templates().collect::<Vec<_>>(), ["Invoices"]);
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let filter = Filter {
            description: None,
            rules: vec![Rule {
                kind: Category {
                    name: "a".into(),
                    description: Some("b".into()),
                },
                route: Route::Template("t".into()),
            }],
            otherwise: Route::Skip,
        };
        let stored = serde_json::to_value(&filter).unwrap();
        assert_eq!(serde_json::from_value::<Filter>(stored).unwrap(), filter);
        let stored = serde_json::to_value(template()).unwrap();
        assert_eq!(
            serde_json::from_value::<Template>(stored).unwrap(),
            template()
        );
    }
}
