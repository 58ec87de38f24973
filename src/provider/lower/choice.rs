//! Alternatives that one member tells apart: it is asked for first, so that a model has settled it
//! before it writes anything that depends on it.

use serde_json::Value;

use super::form::{Form, Node, Term};

/// Characters of what is said of the branches.
const MAX_WORDS: usize = 2_000;

/// The member that tells alternatives apart.
pub(super) struct Told<'a> {
    key: &'a str,
    words: String,
}

impl<'a> Told<'a> {
    /// None where not every object among the forms has another one value of one member.
    pub(super) fn of(forms: &[Form<'a>]) -> Option<Self> {
        let objects: Vec<_> = forms
            .iter()
            .filter_map(|form| form.object.as_ref())
            .collect();
        let [first, _, ..] = objects.as_slice() else {
            return None;
        };
        let value_of = |at: usize, key: &str| {
            let mut fields = objects[at].fields.iter();
            only_value(&fields.find(|field| field.key == key)?.term)
        };
        let values = |key: &str| -> Option<Vec<&'a Value>> {
            let values = (0..objects.len()).map(|at| value_of(at, key));
            let values = values.collect::<Option<Vec<_>>>()?;
            let mut numbered = values.iter().enumerate();
            let differ = numbered.all(|(at, value)| !values[..at].contains(value));
            differ.then_some(values)
        };
        let mut keys = first.fields.iter().map(|field| field.key);
        let (key, values) = keys.find_map(|key| Some((key, values(key)?)))?;
        let mut words = format!("First `{key}`, which says what else there is:");
        for (object, value) in objects.iter().zip(values) {
            let others = object.fields.iter().filter(|field| field.key != key);
            let others: Vec<String> = others.map(|field| format!("`{}`", field.key)).collect();
            let others = if others.is_empty() {
                "nothing".to_owned()
            } else {
                others.join(", ")
            };
            let says = format!(" with {value} {others};");
            if words.len() + says.len() > MAX_WORDS {
                words.push_str(" and so on;");
                break;
            }
            words.push_str(&says);
        }
        words.pop();
        words.push('.');
        Some(Self { key, words })
    }

    /// Puts the member first, and says so.
    pub(super) fn lead(self, form: &mut Form<'a>) {
        let Some(object) = &mut form.object else {
            return;
        };
        if let Some(at) = object.fields.iter().position(|field| field.key == self.key) {
            object.fields[..=at].rotate_right(1);
            form.words.push(self.words);
        }
    }
}

fn only_value<'a>(term: &Term<'a>) -> Option<&'a Value> {
    let Term::Node(Node(schema)) = term else {
        return None;
    };
    let listed = || match schema.get("enum")?.as_array()?.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    schema.get("const").or_else(listed)
}
