//! The whole schema again from the subtrees of a plan, filled at once.
//!
//! Whose address, label or table something is shows only against all that is asked for: a
//! subtree filled for itself would take what belongs to its neighbour.

use serde_json::{Map, Value};

use crate::domain::document::Document;
use crate::domain::evidence::Attributions;
use crate::domain::merge::project;
use crate::domain::plan::{Plan, Subtree, Take};
use crate::domain::pointer::Pointer;

use super::fill::fill;
use super::find::{Analysis, Source};
use super::schema::{Field, Form, compile, compile_part};

/// What a document has for a plan.
#[derive(Debug)]
pub(super) struct Filled {
    value: Value,
    attributions: Attributions,
}

impl Filled {
    pub(super) fn of(document: &Document, analysis: &Analysis, plan: &Plan) -> Self {
        let (value, attributions) = fill(Source { document, analysis }, &shape(plan));
        Self {
            value,
            attributions,
        }
    }

    /// The value of one subtree; attribution keys are relative to it.
    pub(super) fn part(&self, subtree: &Subtree) -> (Value, Attributions) {
        let nothing = || match subtree.take {
            Take::Whole => compile(&subtree.schema).empty().unwrap_or(Value::Null),
            Take::Keys(_) | Take::Rest(_) => Value::Object(Map::new()),
        };
        let value = project(subtree, &self.value).unwrap_or_else(nothing);
        let attributions = self
            .attributions
            .iter()
            .filter_map(|(at, attribution)| {
                let inner = at.strip_prefix(subtree.path.as_str())?;
                (inner.is_empty() || inner.starts_with('/')).then_some(())?;
                let inner = Pointer::parse(inner)?;
                carries(subtree, &inner).then(|| (inner.as_str().to_owned(), attribution.clone()))
            })
            .collect();
        (value, attributions)
    }
}

fn carries(subtree: &Subtree, inner: &Pointer) -> bool {
    let head = inner.tokens().next();
    let among = |keys: &[String]| head.is_some_and(|head| keys.contains(&head));
    match &subtree.take {
        Take::Whole => true,
        Take::Keys(keys) => among(keys),
        Take::Rest(others) => !among(others),
    }
}

/// The fields of all subtrees in one tree.
fn shape(plan: &Plan) -> Field {
    let mut root = shell(String::new(), None);
    let mut taken = 0;
    for subtree in &plan.subtrees {
        let part = compile_part(&subtree.schema, &mut taken);
        place(&mut root, subtree, part);
    }
    root
}

/// An object of which only the parts are known.
fn shell(name: String, caption: Option<&String>) -> Field {
    let caption = caption.filter(|caption| !caption.is_empty());
    let (title, description) = match caption.map(|caption| caption.split_once(": ")) {
        Some(Some((title, description))) => (Some(title.to_owned()), Some(description.to_owned())),
        Some(None) => (None, caption.cloned()),
        None => (None, None),
    };
    Field {
        name,
        title,
        description,
        nullable: false,
        required: true,
        form: Form::Object(Vec::new()),
    }
}

fn place(root: &mut Field, subtree: &Subtree, part: Field) {
    let mut at = root;
    for (depth, token) in subtree.path.tokens().enumerate() {
        let Form::Object(fields) = &mut at.form else {
            return;
        };
        let known = fields.iter().position(|field| field.name == token);
        let index = known.unwrap_or_else(|| {
            fields.push(shell(token, subtree.context.get(depth + 1)));
            fields.len() - 1
        });
        at = &mut fields[index];
    }
    let is_new = matches!(&at.form, Form::Object(fields) if fields.is_empty());
    match (&mut at.form, part.form) {
        (Form::Object(known), Form::Object(fields)) if !is_new || subtree.take != Take::Whole => {
            for field in fields {
                if known.iter().all(|there| there.name != field.name) {
                    known.push(field);
                }
            }
            // Null in its place would drop what other subtrees hold of it.
            at.nullable = false;
        }
        (form, whole) if is_new => {
            *form = whole;
            at.nullable = part.nullable;
        }
        _ => return,
    }
    at.title = part.title.or_else(|| at.title.take());
    at.description = part.description.or_else(|| at.description.take());
}
