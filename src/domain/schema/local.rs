//! A schema written anew so that every reference in it is a place in its own `$defs`.
//!
//! Names (`$id`, `$anchor`, `$dynamicAnchor`) mean something only where they stand; a part that is
//! taken out of its document would lose them. What references lead to is told by the same code
//! that the validator asks.

use std::collections::HashMap;

use referencing::{Draft, Registry, Resolver, ResourceRef};
use serde_json::{Map, Value};

use super::{DESCRIBING, DRAFTS, draft_of, is_data, is_schema_map};

/// Nodes copied at most: what several references lead into from above is copied for each.
const MAX_NODES: usize = 500_000;

/// The address of a schema that has none.
const NOWHERE: &str = "json-schema:///";

/// The same schema without names, all references of the form `#` or `#/$defs/NAME`.
///
/// `None` where a reference leads to another place each time it is followed, or the schema changes
/// its dialect on the way: it means something only in one piece.
pub fn localize(schema: &Value) -> Option<Value> {
    let draft = draft_of(schema).ok()?;
    let registry = Registry::new()
        .draft(draft)
        .add(NOWHERE, schema)
        .ok()?
        .prepare()
        .ok()?;
    let base = referencing::uri::from_str(NOWHERE).ok()?;
    let mut names = Names::default();
    names.find(schema);
    // The document is a schema of its own, whether it has a name or not.
    names.schemas += usize::from(!schema.get("$id").is_some_and(Value::is_string));
    let mut localizer = Localizer {
        root: schema,
        draft,
        names,
        places: HashMap::from([(std::ptr::from_ref(schema), "#".to_owned())]),
        queue: Vec::new(),
        free: FreeNames::default(),
        left: MAX_NODES,
    };
    let mut document = localizer.copy(schema, &registry.resolver(base))?;
    let mut definitions = Map::new();
    while let Some((name, target, resolver)) = localizer.queue.pop() {
        definitions.insert(name, localizer.copy(target, &resolver)?);
    }
    if let (Value::Object(members), false) = (&mut document, definitions.is_empty()) {
        members.insert("$defs".into(), Value::Object(definitions));
    }
    Some(document)
}

/// Names whose meaning depends on the way that led to them.
#[derive(Default)]
struct Names<'a> {
    /// Nodes by their `$dynamicAnchor`.
    dynamic: HashMap<&'a str, usize>,
    /// Schemas with an `$id`, and the document.
    schemas: usize,
    is_recursive: bool,
}

impl<'a> Names<'a> {
    fn find(&mut self, node: &'a Value) {
        match node {
            Value::Object(members) => {
                for (key, value) in members {
                    match (key.as_str(), value) {
                        ("$dynamicAnchor", Value::String(name)) => {
                            *self.dynamic.entry(name).or_default() += 1;
                        }
                        ("$id", Value::String(id)) if !id.starts_with('#') => self.schemas += 1,
                        ("$recursiveAnchor", Value::Bool(true)) => self.is_recursive = true,
                        (key, _) if is_data(key) => {}
                        _ => self.find(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.find(item)),
            _ => {}
        }
    }
}

struct Localizer<'a> {
    root: &'a Value,
    draft: Draft,
    names: Names<'a>,
    /// Where each target stands in the new document.
    places: HashMap<*const Value, String>,
    queue: Vec<(String, &'a Value, Resolver<'a>)>,
    free: FreeNames,
    left: usize,
}

impl<'a> Localizer<'a> {
    fn copy(&mut self, node: &'a Value, resolver: &Resolver<'a>) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        match node {
            Value::Object(members) => {
                if members.contains_key("$schema") && Draft::default().detect(node) != self.draft {
                    return None;
                }
                let resource = ResourceRef::new(node, self.draft);
                let resolver = resolver.in_subresource(resource).ok()?;
                self.members(members, std::ptr::eq(node, self.root), &resolver)
            }
            Value::Array(items) => {
                let copied = items.iter().map(|item| self.copy(item, resolver));
                copied.collect::<Option<Vec<_>>>().map(Value::Array)
            }
            other => Some(other.clone()),
        }
    }

    fn members(
        &mut self,
        members: &'a Map<String, Value>,
        is_root: bool,
        resolver: &Resolver<'a>,
    ) -> Option<Value> {
        // Up to draft 7 a reference stands alone: what is beside it says nothing.
        let stands_alone = is_old(self.draft) && members.get("$ref").is_some_and(Value::is_string);
        let mut copy = Map::new();
        for (key, value) in members {
            let key = key.as_str();
            match value {
                _ if key == "$schema" && is_root => {
                    copy.insert(key.into(), value.clone());
                }
                _ if is_name(key, value) => {}
                _ if stands_alone && !DESCRIBING.contains(&key) => {}
                Value::String(reference) => {
                    let (key, value) = self.string(key, reference, resolver)?;
                    copy.insert(key.into(), value);
                }
                Value::Object(nodes) if is_schema_map(key) => {
                    let mut copied = Map::new();
                    for (name, node) in nodes {
                        copied.insert(name.clone(), self.copy(node, resolver)?);
                    }
                    copy.insert(key.into(), Value::Object(copied));
                }
                // What is no keyword is not looked into: a name in there is none.
                _ if is_data(key) || !self.draft.is_known_keyword(key) => {
                    copy.insert(key.into(), value.clone());
                }
                _ => {
                    copy.insert(key.into(), self.copy(value, resolver)?);
                }
            }
        }
        Some(Value::Object(copy))
    }

    fn string<'k>(
        &mut self,
        key: &'k str,
        text: &str,
        resolver: &Resolver<'a>,
    ) -> Option<(&'k str, Value)> {
        let place = match key {
            "$ref" => self.reference(text, resolver)?,
            "$dynamicRef" if self.draft == Draft::Draft202012 => self.reference(text, resolver)?,
            "$recursiveRef" if self.draft == Draft::Draft201909 => {
                if self.names.is_recursive && self.names.schemas > 1 {
                    return None;
                }
                self.reference("#", resolver)?
            }
            _ => return Some((key, text.into())),
        };
        Some(("$ref", place.into()))
    }

    /// Where a reference leads in the new document; queues the target when it is new.
    fn reference(&mut self, reference: &str, resolver: &Resolver<'a>) -> Option<String> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if DRAFTS.iter().any(|(known, _)| *known == base) {
            return Some(reference.to_owned());
        }
        // One of several of that name, depending on the way here.
        let of_that_name = self.names.dynamic.get(fragment);
        if of_that_name.is_some_and(|count| *count > 1) {
            return None;
        }
        let (target, inner, _) = resolver.lookup(reference).ok()?.into_inner();
        let key = std::ptr::from_ref(target);
        if let Some(place) = self.places.get(&key) {
            return Some(place.clone());
        }
        let name = self.free.after(reference);
        let place = format!("#/$defs/{name}");
        self.places.insert(key, place.clone());
        self.queue.push((name, target, inner));
        Some(place)
    }
}

/// Names of definitions, each given once.
#[derive(Default)]
pub struct FreeNames {
    /// How often each was asked for.
    given: HashMap<String, usize>,
}

impl FreeNames {
    /// A name after the last part of a reference.
    pub fn after(&mut self, reference: &str) -> String {
        let last = reference.rsplit(['/', '#']).next().unwrap_or_default();
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let mut base: String = last.chars().filter(is_plain).take(60).collect();
        if base.is_empty() {
            base.push_str("node");
        }
        loop {
            let count = self.given.entry(base.clone()).or_default();
            *count += 1;
            if *count == 1 {
                return base;
            }
            let name = format!("{base}{count}");
            if !self.given.contains_key(&name) {
                self.given.insert(name.clone(), 1);
                return name;
            }
        }
    }
}

/// Whether a reference hides what stands beside it.
pub(super) fn is_old(draft: Draft) -> bool {
    matches!(draft, Draft::Draft4 | Draft::Draft6 | Draft::Draft7)
}

/// Members that only give names, or hold what only references lead to.
fn is_name(key: &str, value: &Value) -> bool {
    match key {
        "$id" | "id" | "$anchor" | "$dynamicAnchor" | "$schema" => value.is_string(),
        "$recursiveAnchor" => value.is_boolean(),
        "$defs" | "definitions" => value.is_object(),
        _ => false,
    }
}
