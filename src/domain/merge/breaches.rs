//! What the whole schema says of a merged document that no subtree's schema can say.

use std::collections::BTreeSet;

use jsonschema::Validator;
use jsonschema::error::{ValidationError, ValidationErrorKind as Kind};
use serde_json::Value;

use super::Plan;
use crate::domain::pointer::Pointer;
use crate::domain::schema::is_schema_map;
use crate::domain::shape;

/// Breaches told at once.
const MAX_BREACHES: usize = 20;
/// Errors looked at; most are of one subtree alone.
const MAX_ERRORS: usize = 1_000;

/// Something that several subtrees break together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The object in the document.
    pub at: Pointer,
    pub message: String,
    /// Indices into the plan's subtrees, at least two: any of them may be wrong.
    pub subtrees: Vec<usize>,
}

/// Where a merged document breaks what `schema`, which was accepted and cut into `plan`, says of
/// several subtrees together: what may stand beside what, counts, choices between them.
///
/// What one subtree breaks alone is not told here, since its own schema tells it; nor is what is
/// only not there.
pub fn breaches(plan: &Plan, schema: &Value, whole: &Validator, document: &Value) -> Vec<Breach> {
    let errors = whole.iter_errors(document).take(MAX_ERRORS);
    let mut found: Vec<Breach> = Vec::new();
    for error in errors {
        for (error, inside) in inner(&error) {
            let Some(breach) = spanning(plan, schema, error, &inside) else {
                continue;
            };
            if found.len() == MAX_BREACHES {
                return found;
            }
            if !found.contains(&breach) {
                found.push(breach);
            }
        }
    }
    found
}

/// What an error says in the end, each with the choice that it stands in: where all options of a
/// choice but one are of another type, as null is, that one's errors.
fn inner<'e>(error: &'e ValidationError<'e>) -> Vec<(&'e ValidationError<'e>, String)> {
    let mut found = Vec::new();
    let mut left = vec![(error, String::new())];
    while let Some((error, inside)) = left.pop() {
        let (Kind::AnyOf { context } | Kind::OneOfNotValid { context }) = error.kind() else {
            found.push((error, inside));
            continue;
        };
        let is_of_type = |option: &&Vec<ValidationError>| {
            !option.iter().any(|fault| {
                matches!(fault.kind(), Kind::Type { .. })
                    && fault.instance_path() == error.instance_path()
            })
        };
        let mut options = context.iter().filter(is_of_type);
        match (options.next(), options.next()) {
            (Some(only), None) if context.len() > 1 => {
                let inside = error.schema_path().as_str();
                left.extend(only.iter().map(|fault| (fault, inside.to_owned())));
            }
            _ => found.push((error, inside)),
        }
    }
    found
}

/// `inside` is the path in the schema of the choice that the error stands in; empty for none.
fn spanning(plan: &Plan, schema: &Value, error: &ValidationError, inside: &str) -> Option<Breach> {
    let at = Pointer::parse(error.instance_path().as_str())?;
    let binding = Binding::of(schema, error, inside)?;
    if is_miss(error, binding.keyword) {
        return None;
    }
    let bound = binding.names();
    let concerned = plan
        .subtrees
        .iter()
        .enumerate()
        .filter(|(_, subtree)| subtree.carries(&at, &bound));
    let subtrees: Vec<usize> = concerned.map(|(index, _)| index).collect();
    (subtrees.len() > 1).then(|| Breach {
        message: error.to_string().chars().take(500).collect(),
        at,
        subtrees,
    })
}

/// The outermost keyword of the object at fault that an error comes from.
struct Binding<'s> {
    schema: &'s Value,
    /// The path in the schema down to the keyword, and what of the error's path follows.
    above: Vec<&'s str>,
    keyword: &'s str,
    below: Vec<&'s str>,
}

impl<'s> Binding<'s> {
    fn of(schema: &'s Value, error: &'s ValidationError, inside: &str) -> Option<Self> {
        let path = error.schema_path().as_str();
        let tokens: Vec<&str> = path.split('/').skip(1).collect();
        // The choice and the number of its option.
        let outside = match path.strip_prefix(inside) {
            Some(_) if !inside.is_empty() => inside.split('/').count(),
            _ => 0,
        };
        // In-place keywords may stand inside each other; the outermost tells all that is bound.
        let mut start = tokens.len().checked_sub(1)?;
        while let Some(above) = enclosing(&tokens[..start]).filter(|above| *above >= outside) {
            start = above;
        }
        Some(Self {
            schema,
            above: tokens[..start].to_vec(),
            keyword: tokens[start],
            below: tokens[start + 1..].to_vec(),
        })
    }

    /// The members that are bound; `None` where they all are.
    fn names(&self) -> Option<BTreeSet<String>> {
        let mut place = self.above.join("/");
        if !place.is_empty() {
            place.insert(0, '/');
        }
        let owner = self.schema.pointer(&place)?;
        let of_one = self
            .below
            .first()
            .filter(|_| self.keyword.starts_with("depend"));
        let of_one = of_one.map(|name| name.replace("~1", "/").replace("~0", "~"));
        shape::names(self.schema, owner, self.keyword, of_one.as_deref())
    }
}

/// Where in the path a keyword begins that applies what is below it to the same value.
fn enclosing(above: &[&str]) -> Option<usize> {
    let last = above.len().checked_sub(1)?;
    let before = last.checked_sub(1).map_or("", |before| above[before]);
    let is_index = above[last].bytes().all(|byte| byte.is_ascii_digit());
    match above[last] {
        _ if before.starts_with("depend") => Some(last - 1),
        _ if is_schema_map(before) => None,
        "not" | "if" | "then" | "else" | "dependentRequired" => Some(last),
        _ if is_index && matches!(before, "allOf" | "anyOf" | "oneOf") => Some(last - 1),
        _ => None,
    }
}

/// Whether the error is only of something that the document does not tell. That a property is
/// required where another stands is more than that.
fn is_miss(error: &ValidationError, keyword: &str) -> bool {
    match error.kind() {
        Kind::Required { .. } => keyword == "required",
        _ => error.instance().is_null(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::plan::SplitterConfigs;
    use crate::domain::schema::accept;

    /// An order of four subtrees: `root`, `buyer`, `seller`, `lines`.
    fn order(binding: Value) -> Value {
        let party = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let mut schema = json!({
            "type": "object",
            "properties": {
                "number": {"type": "string"},
                "buyer": party, "seller": party,
                "lines": {"type": "array", "items": party},
            },
        });
        for (key, value) in binding.as_object().unwrap() {
            schema[key] = value.clone();
        }
        schema
    }

    fn told(binding: Value, document: Value) -> Vec<Vec<String>> {
        let schema = order(binding);
        let whole = accept(&schema).unwrap();
        let splitter = SplitterConfigs {
            max_fields_to_join: 0,
            ..SplitterConfigs::default()
        };
        let plan = Plan::of(&schema, splitter);
        assert_eq!(plan.subtrees.len(), 4, "{schema}");
        let id = |index: &usize| plan.subtrees[*index].id.clone();
        let bound = plan.bound.as_ref().map_or(&[][..], |bound| &bound.groups);
        let told = breaches(&plan, &schema, &whole, &document);
        for breach in &told {
            let is_of = |group: &Vec<usize>| breach.subtrees.iter().all(|at| group.contains(at));
            assert!(bound.iter().any(is_of), "{schema}: {breach:?}, {bound:?}");
        }
        told.iter()
            .map(|breach| breach.subtrees.iter().map(id).collect())
            .collect()
    }

    #[test]
    fn a_breach_names_the_subtrees_that_the_keyword_binds() {
        let buyer = json!({"buyer": {"name": "A"}, "number": "1"});
        let cases = [
            (
                json!({"dependentRequired": {"buyer": ["seller"]}}),
                vec!["buyer", "seller"],
            ),
            (
                json!({"dependentSchemas": {"buyer": {"required": ["lines"]}}}),
                vec!["buyer", "lines"],
            ),
            (
                json!({"if": {"required": ["buyer"]}, "then": {"required": ["lines"]}}),
                vec!["buyer", "lines"],
            ),
            (
                json!({"not": {"required": ["buyer", "number"]}}),
                vec!["root", "buyer"],
            ),
            (
                json!({"anyOf": [{"required": ["seller"]}, {"required": ["lines"]}]}),
                vec!["seller", "lines"],
            ),
            (
                json!({"minProperties": 3}),
                vec!["root", "buyer", "seller", "lines"],
            ),
        ];
        for (binding, expected) in cases {
            let told = told(binding.clone(), buyer.clone());
            let expected: Vec<String> = expected.into_iter().map(Into::into).collect();
            assert_eq!(told, [expected], "{binding}");
        }
    }

    #[test]
    fn what_a_nullable_object_binds_is_no_choice() {
        let party = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let schema = json!({"type": "object", "properties": {"order": {"anyOf": [
            {"type": "object", "properties": {"buyer": party, "seller": party, "lines": party},
                "required": ["lines"], "dependentRequired": {"buyer": ["seller"]}},
            {"type": "null"}]}}});
        let splitter = SplitterConfigs {
            max_fields_to_join: 0,
            ..SplitterConfigs::default()
        };
        let (whole, plan) = (accept(&schema).unwrap(), Plan::of(&schema, splitter));
        assert_eq!(plan.subtrees.len(), 3);
        let found = breaches(&plan, &schema, &whole, &json!({"order": {"buyer": {}}}));
        let [breach] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(breach.at.as_str(), "/order");
        let of = |name: &str| {
            plan.subtrees
                .iter()
                .position(|s| s.id.contains(name))
                .unwrap()
        };
        assert_eq!(breach.subtrees, [of("buyer"), of("seller")]);
        let groups = plan.bound.unwrap().groups;
        assert_eq!(groups, std::slice::from_ref(&breach.subtrees));
    }

    #[test]
    fn what_one_subtree_breaks_and_what_is_not_there_is_no_breach() {
        let required = json!({"required": ["seller", "lines"]});
        let document = json!({"buyer": {"name": 4}, "seller": null});
        assert_eq!(told(required, document), Vec::<Vec<String>>::new());
    }

    #[test]
    fn a_document_that_keeps_the_schema_has_no_breach() {
        let binding = json!({"dependentRequired": {"buyer": ["seller"]}, "minProperties": 2});
        let document = json!({"buyer": {}, "seller": {}});
        assert_eq!(told(binding, document), Vec::<Vec<String>>::new());
    }
}
