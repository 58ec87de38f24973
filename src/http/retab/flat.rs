//! Values by flat paths, `items.0.total`, and how sure each is.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::domain::evidence::Attributions;
use crate::domain::pointer::Pointer;

/// Leaves by flat path; an object or list without members is a leaf too.
pub type Flat = BTreeMap<String, Value>;

/// A value by flat paths. Nulls are there: whoever puts the value together again needs them.
pub fn flatten(value: &Value) -> Flat {
    let mut flat = Flat::new();
    leaves(value, String::new(), &mut |path, leaf| {
        flat.insert(path, leaf.clone());
    });
    // The whole, where it has no members, has no path.
    flat.remove("");
    flat
}

fn leaves(value: &Value, path: String, see: &mut impl FnMut(String, &Value)) {
    let below = |name: &str| match path.as_str() {
        "" => name.to_owned(),
        above => format!("{above}.{name}"),
    };
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                leaves(value, below(name), see);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, below(&index.to_string()), see);
            }
        }
        leaf => see(path, leaf),
    }
}

/// What is new or other in `now`, and what is not there any more.
pub fn difference(before: &Flat, now: &Flat) -> (Flat, Vec<String>) {
    let new = now
        .iter()
        .filter(|(path, value)| before.get(*path) != Some(value));
    let new = new
        .map(|(path, value)| (path.clone(), value.clone()))
        .collect();
    let gone = before.keys().filter(|path| !now.contains_key(*path));
    (new, gone.cloned().collect())
}

/// The tree of a value with the confidence of each leaf in its place; null where it is not known.
pub fn likelihoods(value: &Value, attributions: &Attributions) -> Value {
    at(value, &Pointer::root(), attributions)
}

fn at(value: &Value, place: &Pointer, attributions: &Attributions) -> Value {
    match value {
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (name.clone(), at(value, &place.join(name), attributions)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| at(item, &place.index(index), attributions))
            .collect(),
        _ => json!(
            attributions
                .get(place.as_str())
                .and_then(|known| known.confidence)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_lie_under_their_paths_with_nulls_and_what_is_empty() {
        let value = json!({"a": {"b": 1, "c": null}, "d": [{"e": "x"}, []], "f": {}});
        let flat = json!(flatten(&value));
        let expected = json!({"a.b": 1, "a.c": null, "d.0.e": "x", "d.1": [], "f": {}});
        assert_eq!(flat, expected);
        assert!(flatten(&json!({})).is_empty());
    }

    #[test]
    fn a_difference_names_what_is_new_what_changed_and_what_is_gone() {
        let before = flatten(&json!({"a": 1, "b": 2, "c": []}));
        let now = flatten(&json!({"a": 1, "b": 3, "c": ["x"]}));
        let (new, gone) = difference(&before, &now);
        assert_eq!(json!(new), json!({"b": 3, "c.0": "x"}));
        assert_eq!(gone, ["c"]);
    }
}
