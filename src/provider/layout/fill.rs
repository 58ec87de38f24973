//! From a compiled schema to a value: each field asked for where it can be, nothing made up.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::domain::evidence::{Attribution, Attributions, quote_words};
use crate::domain::pointer::Pointer;

use super::find::{Found, Source};
use super::label::Phrase;
use super::query::{self, Phrases};
use super::schema::{Field, Form, Leaf};
use super::table::{self, Wanted};
use super::value::Side;

/// Fills one subtree.
pub(super) struct Filler<'d> {
    source: Source<'d>,
    attributions: Attributions,
}

/// What the enclosing objects are called, the nearest last.
#[derive(Default, Clone)]
struct Owners(Vec<Phrases>);

/// The value of the subtree and where each of its leaves was read.
pub(super) fn fill(source: Source<'_>, root: &Field, context: &[String]) -> (Value, Attributions) {
    let mut filler = Filler {
        source,
        attributions: Attributions::new(),
    };
    let mut owners = Owners::default();
    for text in context {
        let mut phrases = Phrases::default();
        phrases.add_ring(&super::text::tokens(text), 0.9);
        owners.0.push(phrases);
    }
    let value = filler
        .field(root, &Pointer::root(), &owners)
        .or_else(|| root.empty())
        .unwrap_or(Value::Null);
    (value, filler.attributions)
}

impl Filler<'_> {
    /// The value of a field; `None` when nothing of it was found.
    fn field(&mut self, field: &Field, at: &Pointer, owners: &Owners) -> Option<Value> {
        match &field.form {
            Form::Object(fields) => self.object(field, fields, at, owners),
            Form::Array { item, most } => self.array(field, item, *most, at, owners),
            Form::Leaf(leaf) => {
                let found = self.leaf(field, leaf, owners)?;
                Some(self.keep(found, at))
            }
            Form::Closed => None,
        }
    }

    fn object(
        &mut self,
        field: &Field,
        fields: &[Field],
        at: &Pointer,
        owners: &Owners,
    ) -> Option<Value> {
        let mut inner = owners.clone();
        if !field.name.is_empty() {
            inner.0.push(query::owner(field));
        }
        let mut map = Map::new();
        let mut any = false;
        for child in fields {
            let value = self.field(child, &at.join(&child.name), &inner);
            any |= value.is_some();
            if let Some(value) = value.or_else(|| child.empty()) {
                map.insert(child.name.clone(), value);
            }
        }
        (any || !field.nullable || field.name.is_empty())
            .then_some(Value::Object(map))
            .filter(|_| any || at.is_root() || !field.nullable)
    }

    fn leaf(&self, field: &Field, leaf: &Leaf, owners: &Owners) -> Option<Found> {
        let mut best = self.labelled(leaf, &self.phrases(field, owners), Side::Any);
        if matches!(leaf.kind, super::schema::Kind::Date { .. }) {
            if let Some((side, phrases)) = query::range(field) {
                let ranged = self.labelled(leaf, &phrases.list(), side);
                best = match (best, ranged) {
                    (Some(a), Some(b)) => Some(if b.confidence > a.confidence { b } else { a }),
                    (a, b) => a.or(b),
                };
            }
        }
        best
    }

    fn labelled(&self, leaf: &Leaf, phrases: &[Phrase], side: Side) -> Option<Found> {
        self.source.labelled(leaf, phrases, side, None)
    }

    /// The labels of a field: its own, and its own with those of its owner.
    fn phrases(&self, field: &Field, owners: &Owners) -> Vec<Phrase> {
        let own = query::own(field);
        let mut all = own.clone();
        if let Some(owner) = owners.0.last() {
            for outer in owner.list().iter().take(12) {
                for inner in own.list().iter().take(12) {
                    let mut tokens = outer.tokens.clone();
                    tokens.extend(inner.tokens.iter().cloned());
                    all.add(tokens, outer.weight * inner.weight.max(0.9));
                }
            }
        }
        all.list()
    }

    fn array(
        &mut self,
        _field: &Field,
        item: &Field,
        most: usize,
        at: &Pointer,
        _owners: &Owners,
    ) -> Option<Value> {
        let Form::Object(_) = &item.form else {
            return None;
        };
        let wanted = Wanted::of(item);
        let records = table::records(&self.source, &wanted);
        let mut rows = Vec::new();
        for (index, record) in records.into_iter().take(most).enumerate() {
            let mut found: HashMap<*const Field, Found> = HashMap::new();
            for ((field, _), value) in wanted.leaves.iter().zip(record) {
                if let Some(value) = value {
                    found.insert(std::ptr::from_ref(*field), value);
                }
            }
            rows.push(
                self.record(item, &mut found, &at.index(index))
                    .unwrap_or(Value::Null),
            );
        }
        (!rows.is_empty()).then_some(Value::Array(rows))
    }

    /// Puts what a row holds into the item's shape.
    fn record(
        &mut self,
        field: &Field,
        found: &mut HashMap<*const Field, Found>,
        at: &Pointer,
    ) -> Option<Value> {
        match &field.form {
            Form::Object(fields) => {
                let mut map = Map::new();
                for child in fields {
                    let value = self.record(child, found, &at.join(&child.name));
                    if let Some(value) = value.or_else(|| child.empty()) {
                        map.insert(child.name.clone(), value);
                    }
                }
                Some(Value::Object(map))
            }
            Form::Leaf(_) => {
                let found = found.remove(&std::ptr::from_ref(field))?;
                Some(self.keep(found, at))
            }
            _ => None,
        }
    }

    /// Notes where a value was read and hands it on.
    fn keep(&mut self, found: Found, at: &Pointer) -> Value {
        let document = self.source.document;
        let quotes = found
            .spans
            .iter()
            .filter_map(|span| {
                quote_words(
                    document,
                    document.pages.get(span.page)?,
                    span.first,
                    span.last,
                )
            })
            .collect();
        let confidence = (f64::from(found.confidence.clamp(0.0, 1.0)) * 100.0).round() / 100.0;
        self.attributions.insert(
            at.as_str().to_owned(),
            Attribution {
                reasoning: Some(found.how.to_owned()),
                confidence: Some(confidence),
                quotes,
            },
        );
        found.value
    }
}
