//! The review gate: which fields a person must look at before a result is given out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::Validation;
use super::evidence::{Attribution, Attributions, Verdict};
use super::plan::{Plan, Take};
use super::pointer::Pointer;
use super::schema::follow;
use super::time::Time;
use super::{error::Detail, merge};

/// Predicates within predicates.
const MAX_DEPTH: usize = 5;
/// Predicates of one gate.
const MAX_PREDICATES: usize = 50;
/// Values that one review may correct, all of its corrections together.
pub const MAX_CORRECTIONS: usize = 1_000;
/// Bytes of all corrections of one review as JSON.
pub const MAX_CORRECTED_BYTES: usize = 1 << 20;

/// What holds a result back, said of each field of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predicate {
    AnyOf(Vec<Predicate>),
    AllOf(Vec<Predicate>),
    /// A value whose confidence is below this, or not known.
    ConfidenceBelow(f64),
    /// A value whose quote was not found on the page, or does not say it.
    EvidenceNotVerified(bool),
    /// Nothing where the schema requires something.
    RequiredNull(bool),
    /// An array of which rows are known to be missing.
    ArrayIncomplete(bool),
    /// A part that could not be extracted.
    SubtreeFailed(bool),
    /// Every result is held.
    Always(bool),
}

/// Names of predicates, as in a request.
const NAMES: [&str; 8] = [
    "any_of",
    "all_of",
    "confidence_below",
    "evidence_not_verified",
    "required_null",
    "array_incomplete",
    "subtree_failed",
    "always",
];

/// Why a field is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    LowConfidence,
    EvidenceNotVerified,
    RequiredNull,
    ArrayIncomplete,
    SubtreeFailed,
    Always,
}

/// A field that holds its result back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flag {
    pub path: Pointer,
    pub reasons: Vec<Cause>,
}

/// What a reviewer decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Approve,
    Reject,
}

/// A value put in the place of an extracted one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    pub path: Pointer,
    pub value: Value,
}

/// A result that is held back, or was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// From 1, and one more with each change: a decision names the one that it was made on.
    pub version: u32,
    /// Fields that were flagged when the result was held.
    pub flagged: u64,
    pub required_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// At most one a place, and none inside another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<Correction>,
    /// The schema's word on the values with the corrections in them; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
}

impl Review {
    /// A review that nothing was decided in yet.
    pub fn open(flagged: u64, at: Time) -> Self {
        Self {
            version: 1,
            flagged,
            required_at: at,
            decided_at: None,
            decision: None,
            comment: None,
            corrections: Vec::new(),
            validation: None,
        }
    }

    /// Takes corrections in; a later one replaces those at and below its place.
    pub fn correct(&mut self, corrections: Vec<Correction>) {
        for correction in corrections {
            self.corrections
                .retain(|old| !is_within(&old.path, &correction.path));
            self.corrections.push(correction);
        }
    }

    /// Puts the corrected values into a result. One whose place is not there any more is left out.
    pub fn apply(&self, results: &mut Value, attributions: Option<&mut Attributions>) {
        for correction in &self.corrections {
            set(results, &correction.path, correction.value.clone());
        }
        let Some(attributions) = attributions else {
            return;
        };
        for correction in &self.corrections {
            attributions.retain(|at, _| {
                at != correction.path.as_str() && !at.starts_with(&format!("{}/", correction.path))
            });
            let entered = Attribution {
                reasoning: Some("Entered by a reviewer.".to_owned()),
                ..Attribution::default()
            };
            attributions.insert(correction.path.as_str().to_owned(), entered);
        }
    }
}

/// Whether `place` is `at` or lies inside it.
fn is_within(place: &Pointer, at: &Pointer) -> bool {
    let rest = place.as_str().strip_prefix(at.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a value may be put there: its parent is an object, or an array that long or one shorter.
pub fn has_place(document: &Value, path: &Pointer) -> bool {
    let Some((parent, name)) = path.as_str().rsplit_once('/') else {
        return true;
    };
    match document.pointer(parent) {
        Some(Value::Object(_)) => true,
        Some(Value::Array(items)) => {
            let index = name.parse::<usize>();
            index.is_ok_and(|index| index <= items.len() && index.to_string() == name)
        }
        _ => false,
    }
}

fn set(document: &mut Value, path: &Pointer, value: Value) {
    if let Some(there) = document.pointer_mut(path.as_str()) {
        *there = value;
        return;
    }
    let Some((parent, _)) = path.as_str().rsplit_once('/') else {
        return;
    };
    let Some(name) = path.tokens().last() else {
        return;
    };
    match document.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.insert(name, value);
        }
        Some(Value::Array(items)) if name == items.len().to_string() => items.push(value),
        _ => {}
    }
}

impl Predicate {
    /// Reads what stands at `at` of a request.
    pub fn parse(value: &Value, at: &str) -> Result<Self, Detail> {
        let mut left = MAX_PREDICATES;
        Self::read(value, at, MAX_DEPTH, &mut left)
    }

    fn read(value: &Value, at: &str, depth: usize, left: &mut usize) -> Result<Self, Detail> {
        let refuse = |pointer: &str, allowed: String| {
            let shown: String = value.to_string().chars().take(80).collect();
            Detail {
                pointer: pointer.to_owned(),
                message: format!("`{shown}` is not allowed; expected {allowed}."),
            }
        };
        *left = left
            .checked_sub(1)
            .ok_or_else(|| refuse(at, format!("at most {MAX_PREDICATES} predicates")))?;
        let one = value.as_object().filter(|members| members.len() == 1);
        let Some((name, inner)) = one.and_then(|members| members.iter().next()) else {
            let names = NAMES.join(", ");
            return Err(refuse(at, format!("an object with one member of {names}")));
        };
        let here = format!("{at}{}", Pointer::root().join(name));
        let flag = |make: fn(bool) -> Self| match inner {
            Value::Bool(true) => Ok(make(true)),
            _ => Err(refuse(&here, format!("`{name}` to be true"))),
        };
        match name.as_str() {
            "any_of" | "all_of" => {
                let items = inner.as_array().filter(|items| !items.is_empty());
                let items = items.filter(|_| depth > 0).ok_or_else(|| {
                    let allowed =
                        format!("a list of predicates, at most {MAX_DEPTH} inside each other");
                    refuse(&here, allowed)
                })?;
                let inside = items.iter().enumerate().map(|(index, item)| {
                    Self::read(item, &format!("{here}/{index}"), depth - 1, left)
                });
                let inside = inside.collect::<Result<_, _>>()?;
                Ok(match name.as_str() {
                    "any_of" => Self::AnyOf(inside),
                    _ => Self::AllOf(inside),
                })
            }
            "confidence_below" => {
                let number = inner.as_f64().filter(|number| (0.0..=1.0).contains(number));
                let number =
                    number.ok_or_else(|| refuse(&here, "a number from 0 to 1".to_owned()))?;
                Ok(Self::ConfidenceBelow(number))
            }
            "evidence_not_verified" => flag(Self::EvidenceNotVerified),
            "required_null" => flag(Self::RequiredNull),
            "array_incomplete" => flag(Self::ArrayIncomplete),
            "subtree_failed" => flag(Self::SubtreeFailed),
            "always" => flag(Self::Always),
            _ => Err(refuse(at, format!("one member of {}", NAMES.join(", ")))),
        }
    }

    /// Why it holds of a field; nothing when it does not.
    fn causes(&self, field: &Field) -> Vec<Cause> {
        let when = |holds: bool, cause| if holds { vec![cause] } else { Vec::new() };
        match self {
            Self::AnyOf(inner) => inner.iter().flat_map(|one| one.causes(field)).collect(),
            Self::AllOf(inner) => {
                let all: Vec<_> = inner.iter().map(|one| one.causes(field)).collect();
                if all.iter().any(Vec::is_empty) {
                    return Vec::new();
                }
                all.into_iter().flatten().collect()
            }
            Self::ConfidenceBelow(least) => {
                let is_low = field
                    .confidence
                    .is_none_or(|confidence| confidence < *least);
                when(field.has_value && is_low, Cause::LowConfidence)
            }
            Self::EvidenceNotVerified(_) => when(
                field.has_value && !field.is_verified,
                Cause::EvidenceNotVerified,
            ),
            Self::RequiredNull(_) => when(field.is_missing, Cause::RequiredNull),
            Self::ArrayIncomplete(_) => when(field.lacks_rows, Cause::ArrayIncomplete),
            Self::SubtreeFailed(_) => when(field.has_failed, Cause::SubtreeFailed),
            Self::Always(_) => when(field.is_root, Cause::Always),
        }
    }
}

/// What a gate looks at, of one place of a result.
#[derive(Debug, Default)]
struct Field {
    /// A primitive that is not null.
    has_value: bool,
    confidence: Option<f64>,
    is_verified: bool,
    is_missing: bool,
    lacks_rows: bool,
    has_failed: bool,
    is_root: bool,
}

/// A result as a gate looks at it.
pub struct Seen<'a> {
    pub plan: &'a Plan,
    pub results: &'a Value,
    pub attributions: Option<&'a Attributions>,
    /// Arrays of which rows are known to be missing.
    pub incomplete: Vec<&'a Pointer>,
    /// Subtrees without a value.
    pub failed: Vec<&'a Pointer>,
}

/// The fields that the gate holds the result back for, in the order of their pointers.
pub fn flags(gate: &Predicate, seen: &Seen) -> Vec<Flag> {
    let mut fields: BTreeMap<String, Field> = BTreeMap::new();
    fields.entry(String::new()).or_default().is_root = true;
    leaves(seen.results, &Pointer::root(), &mut |at| {
        let field = fields.entry(at.as_str().to_owned()).or_default();
        let told = seen.attributions.and_then(|all| all.get(at.as_str()));
        field.has_value = true;
        field.confidence = told.and_then(|told| told.confidence);
        field.is_verified = told.is_some_and(|told| told.verdict == Some(Verdict::Verified));
    });
    for at in missing(seen.plan, seen.results) {
        fields.entry(at.as_str().to_owned()).or_default().is_missing = true;
    }
    for at in &seen.incomplete {
        fields.entry(at.as_str().to_owned()).or_default().lacks_rows = true;
    }
    for at in &seen.failed {
        fields.entry(at.as_str().to_owned()).or_default().has_failed = true;
    }
    let flags = fields.into_iter().filter_map(|(at, field)| {
        let mut reasons = gate.causes(&field);
        reasons.sort_unstable();
        reasons.dedup();
        let path = Pointer::parse(&at)?;
        (!reasons.is_empty()).then_some(Flag { path, reasons })
    });
    flags.collect()
}

/// Every primitive that is not null.
fn leaves(value: &Value, at: &Pointer, found: &mut impl FnMut(&Pointer)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                leaves(member, &at.join(name), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, &at.index(index), found);
            }
        }
        Value::Null => {}
        _ => found(at),
    }
}

/// Where nothing stands though the schema requires something.
fn missing(plan: &Plan, results: &Value) -> Vec<Pointer> {
    let mut found = Vec::new();
    for (subtree, part) in plan.subtrees.iter().zip(merge::split(plan, results)) {
        let root = &subtree.schema;
        match part {
            Some(part) => lacks(root, root, &part, &subtree.path, &mut found),
            // Loose members of an object that is not there.
            None if matches!(subtree.take, Take::Keys(_)) => {
                let empty = Value::Object(serde_json::Map::new());
                lacks(root, root, &empty, &subtree.path, &mut found);
            }
            None => {}
        }
    }
    found
}

/// What always holds of a value under `node`: the choices are left out.
fn lacks(root: &Value, node: &Value, value: &Value, at: &Pointer, found: &mut Vec<Pointer>) {
    let mut open = vec![node];
    let mut seen: Vec<*const Value> = Vec::new();
    while let Some(node) = open.pop() {
        if seen.contains(&std::ptr::from_ref(node)) || seen.len() > 64 {
            continue;
        }
        seen.push(std::ptr::from_ref(node));
        let reference = node.get("$ref").and_then(Value::as_str);
        open.extend(reference.and_then(|reference| follow(root, reference)));
        open.extend(
            node.get("allOf")
                .and_then(Value::as_array)
                .into_iter()
                .flatten(),
        );
        match value {
            Value::Object(members) => {
                let required = node.get("required").and_then(Value::as_array);
                let names = required.into_iter().flatten().filter_map(Value::as_str);
                let lost = names.filter(|name| members.get(*name).is_none_or(Value::is_null));
                found.extend(lost.map(|name| at.join(name)));
                let inner = node.get("properties").and_then(Value::as_object);
                for (name, node) in inner.into_iter().flatten() {
                    if let Some(member) = members.get(name) {
                        lacks(root, node, member, &at.join(name), found);
                    }
                }
            }
            Value::Array(items) => {
                let inner = node.get("items").filter(|inner| inner.is_object());
                for (index, item) in items.iter().enumerate() {
                    if let Some(inner) = inner {
                        lacks(root, inner, item, &at.index(index), found);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
