//! Choices between objects that one of their members tells apart, written so that what is large in
//! them can be asked for by itself.
//!
//! A list or an object that some of the branches have, and the others cannot have, is said beside
//! the choice; in the branches it is only named. That takes exactly the same values as before. A
//! branch that may have members which it does not name may have anything under that name, so
//! nothing of such a choice is drawn out.

use serde_json::{Map, Value, json};

use super::{DESCRIBING, follow, is_data, is_schema_map};

/// What a branch may say: each of it holds of fewer members too.
const BRANCH: [&str; 5] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "discriminator",
];
/// What beside a choice speaks of the members that nothing names.
const OTHERS: [&str; 4] = [
    "$ref",
    "additionalProperties",
    "unevaluatedProperties",
    "patternProperties",
];
/// Nodes written at most; past it, choices stay as they are.
const MAX_NODES: usize = 300_000;
/// References that lead to a branch one after the other.
const MAX_STEPS: usize = 64;

type Members = Map<String, Value>;

/// Whether a keyword's options may be such a choice.
pub fn may_choose(keyword: &str, options: &[Value]) -> bool {
    let is_branch = |option: &&Value| {
        option.get("properties").is_some_and(Value::is_object) || option.get("$ref").is_some()
    };
    matches!(keyword, "anyOf" | "oneOf") && options.iter().filter(is_branch).count() > 1
}

/// Whether a schema is a branch that still says what it said of the members that are left when
/// some are taken away, as long as those are only named in it.
pub fn is_branch(schema: &Value) -> bool {
    let says = |key: &String| {
        BRANCH.contains(&key.as_str()) || (key != "$ref" && DESCRIBING.contains(&key.as_str()))
    };
    schema.as_object().is_some_and(|members| {
        members.get("type").is_some_and(|name| name == "object") && members.keys().all(says)
    })
}

/// The same schema, with what is large drawn out of its choices. References must be places in it.
pub fn draw_out(schema: &Value) -> Value {
    let mut drawer = Drawer {
        root: schema,
        open: Vec::new(),
        left: MAX_NODES,
    };
    drawer.node(schema)
}

struct Drawer<'a> {
    root: &'a Value,
    /// Branches around the present node: one inside itself stays as it is.
    open: Vec<*const Value>,
    left: usize,
}

/// A choice that something is drawn out of.
struct Choice<'a> {
    keyword: &'static str,
    branches: Vec<&'a Value>,
    is_nullable: bool,
    /// What is drawn out, and of which values of the discriminator.
    drawn: Vec<(&'a str, &'a Value, String)>,
}

impl<'a> Drawer<'a> {
    fn node(&mut self, node: &'a Value) -> Value {
        self.left = self.left.saturating_sub(1);
        match node {
            Value::Object(members) => match self.choice(members) {
                Some(choice) => self.drawn(members, &choice),
                None => self.members(members.iter()),
            },
            Value::Array(items) => items.iter().map(|item| self.node(item)).collect(),
            other => other.clone(),
        }
    }

    fn members(&mut self, members: impl Iterator<Item = (&'a String, &'a Value)>) -> Value {
        let mut copy = Map::new();
        for (key, value) in members {
            let value = match value {
                Value::Object(nodes) if is_schema_map(key) => {
                    let nodes = nodes.iter();
                    let copied = nodes.map(|(name, node)| (name.clone(), self.node(node)));
                    Value::Object(copied.collect())
                }
                _ if is_data(key) => value.clone(),
                _ => self.node(value),
            };
            copy.insert(key.clone(), value);
        }
        Value::Object(copy)
    }

    fn choice(&self, members: &'a Members) -> Option<Choice<'a>> {
        let (keyword, options) = match (members.get("anyOf"), members.get("oneOf")) {
            (Some(Value::Array(options)), None) => ("anyOf", options),
            (None, Some(Value::Array(options))) => ("oneOf", options),
            _ => return None,
        };
        let says_more = |key: &String| OTHERS.contains(&key.as_str());
        if self.left == 0 || options.len() < 2 || members.keys().any(says_more) {
            return None;
        }
        let resolved: Vec<&Value> = options.iter().map(|option| self.resolved(option)).collect();
        let is_null = |option: &&Value| option.get("type").is_some_and(|name| name == "null");
        let (nulls, branches): (Vec<&Value>, Vec<&Value>) = resolved.into_iter().partition(is_null);
        let only_describes = |key: &String| {
            key == keyword || key == "discriminator" || DESCRIBING.contains(&key.as_str())
        };
        let is_drawable = |branch: &&Value| {
            is_branch(branch) && !self.open.contains(&std::ptr::from_ref(*branch))
        };
        if branches.len() < 2
            || !branches.iter().all(is_drawable)
            || !(nulls.is_empty() || members.keys().all(only_describes))
            || !members.get("type").is_none_or(|name| name == "object")
        {
            return None;
        }
        let told = discriminator(&branches)?;
        let beside = members.get("properties");
        let mut drawn: Vec<(&str, &Value, String)> = Vec::new();
        for (name, schema) in branches.iter().copied().flat_map(properties) {
            let is_known = drawn.iter().any(|(known, ..)| *known == name);
            if is_known || beside.is_some_and(|beside| beside.get(name).is_some()) {
                continue;
            }
            if self.is_large(schema) && is_same_wherever(&branches, name, schema) {
                drawn.push((name, schema, only_where(&branches, told, name)));
            }
        }
        (!drawn.is_empty()).then_some(Choice {
            keyword,
            branches,
            is_nullable: !nulls.is_empty(),
            drawn,
        })
    }

    /// What a reference that says nothing more leads to.
    fn resolved(&self, option: &'a Value) -> &'a Value {
        let mut at = option;
        for _ in 0..MAX_STEPS {
            let Some(members) = at.as_object() else { break };
            let Some(Value::String(reference)) = members.get("$ref") else {
                break;
            };
            if !members.keys().all(|key| DESCRIBING.contains(&key.as_str())) {
                break;
            }
            let Some(target) = follow(self.root, reference) else {
                break;
            };
            at = target;
        }
        at
    }

    /// A list of objects, or an object with members.
    fn is_large(&self, schema: &'a Value) -> bool {
        let is_of = |schema: &Value, name: &str| {
            schema.get("type").is_some_and(|named| {
                named == name
                    || named
                        .as_array()
                        .is_some_and(|all| all.iter().any(|n| n == name))
            })
        };
        let is_object = |schema: &Value| {
            is_of(schema, "object") && schema.get("properties").is_some_and(Value::is_object)
        };
        let schema = self.resolved(schema);
        let items = schema.get("items").filter(|_| is_of(schema, "array"));
        is_object(schema) || items.is_some_and(|items| is_object(self.resolved(items)))
    }

    fn drawn(&mut self, members: &'a Members, choice: &Choice<'a>) -> Value {
        let mut properties = Map::new();
        for (name, schema, only_where) in &choice.drawn {
            let mut schema = self.node(schema);
            describe(&mut schema, only_where);
            properties.insert((*name).to_owned(), schema);
        }
        let mut options = Vec::new();
        for branch in &choice.branches {
            self.open.push(std::ptr::from_ref(*branch));
            let mut option = self.members(branch.as_object().into_iter().flatten());
            self.open.pop();
            if let Some(Value::Object(own)) = option.get_mut("properties") {
                for (name, schema) in own {
                    if properties.contains_key(name) {
                        *schema = json!({});
                    }
                }
            }
            options.push(option);
        }
        // Beside a null it would say that there is more than the object.
        let is_other = |(key, _): &(&String, &Value)| {
            *key != choice.keyword && !(choice.is_nullable && *key == "discriminator")
        };
        let mut written = self.members(members.iter().filter(is_other));
        let of_object = if choice.is_nullable {
            &mut json!({})
        } else {
            &mut written
        };
        of_object["type"] = "object".into();
        match of_object.get_mut("properties") {
            Some(Value::Object(beside)) => beside.append(&mut properties),
            _ => of_object["properties"] = Value::Object(properties),
        }
        of_object[choice.keyword] = Value::Array(options);
        if choice.is_nullable {
            let object = of_object.take();
            written[choice.keyword] = json!([object, {"type": "null"}]);
        }
        written
    }
}

fn properties(branch: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let properties = branch.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flatten();
    properties.map(|(name, schema)| (name.as_str(), schema))
}

fn property<'a>(branch: &'a Value, name: &str) -> Option<&'a Value> {
    branch.get("properties")?.get(name)
}

/// The one value that a schema takes.
fn only_value(schema: &Value) -> Option<&Value> {
    let listed = || match schema.get("enum")?.as_array()?.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    schema.get("const").or_else(listed)
}

/// The member whose value tells the branches apart.
fn discriminator<'a>(branches: &[&'a Value]) -> Option<&'a str> {
    let tells = |name: &str| {
        let values = branches
            .iter()
            .map(|branch| only_value(property(branch, name)?));
        let values: Option<Vec<&Value>> = values.collect();
        values.is_some_and(|values| {
            let mut numbered = values.iter().enumerate();
            numbered.all(|(at, value)| !values[..at].contains(value))
        })
    };
    properties(branches.first()?)
        .map(|(name, _)| name)
        .find(|name| tells(name))
}

/// Whether a member has this schema in every branch, or cannot be there.
fn is_same_wherever(branches: &[&Value], name: &str, schema: &Value) -> bool {
    branches.iter().all(|branch| match property(branch, name) {
        Some(known) => known == schema,
        None => branch.get("additionalProperties") == Some(&Value::Bool(false)),
    })
}

/// In words, of which branches a member is; empty where it is of all.
fn only_where(branches: &[&Value], told: &str, name: &str) -> String {
    let (with, without): (Vec<&Value>, Vec<&Value>) = branches
        .iter()
        .partition(|branch| property(branch, name).is_some());
    if without.is_empty() {
        return String::new();
    }
    let values = with
        .iter()
        .filter_map(|branch| only_value(property(branch, told)?));
    let values: Vec<String> = values.map(Value::to_string).collect();
    format!("Only where `{told}` is {}.", values.join(" or "))
}

fn describe(schema: &mut Value, words: &str) {
    let Value::Object(members) = schema else {
        return;
    };
    if words.is_empty() {
        return;
    }
    let known = members.get("description").and_then(Value::as_str);
    let both = known.map_or_else(|| words.to_owned(), |known| format!("{known} {words}"));
    members.insert("description".into(), both.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(kind: &str, own: &str, is_closed: bool) -> Value {
        json!({
            "type": "object",
            "properties": {
                "kind": {"const": kind},
                own: {"type": "array", "items": {"type": "object", "properties": {"x": {}}}},
            },
            "required": ["kind", own],
            "additionalProperties": !is_closed,
        })
    }

    #[test]
    fn lists_of_closed_branches_are_said_beside_the_choice() {
        let schema = json!({"oneOf": [branch("a", "rows", true), branch("b", "lines", true)]});
        let drawn = draw_out(&schema);
        assert_eq!(drawn["oneOf"][0]["properties"]["rows"], json!({}));
        let said = &drawn["properties"]["lines"];
        assert_eq!(
            (&said["type"], &said["description"]),
            (&json!("array"), &json!("Only where `kind` is \"b\"."))
        );
        assert_eq!(draw_out(&drawn), drawn, "once is enough");
    }

    #[test]
    fn what_an_open_branch_might_have_stays_where_it_is() {
        for closed in [[true, false], [false, true], [false, false]] {
            let options = json!([
                branch("a", "rows", closed[0]),
                branch("b", "lines", closed[1])
            ]);
            let schema = json!({"oneOf": options});
            let drawn: Vec<String> = draw_out(&schema)["properties"]
                .as_object()
                .map_or_else(Vec::new, |drawn| drawn.keys().cloned().collect());
            let expected: Vec<&str> = match closed {
                [true, false] => vec!["lines"],
                [false, true] => vec!["rows"],
                _ => vec![],
            };
            assert_eq!(drawn, expected);
        }
        let same = json!({"oneOf": [branch("a", "rows", false), branch("b", "rows", false)]});
        assert!(
            draw_out(&same)["properties"]["rows"]
                .get("description")
                .is_none()
        );
    }

    #[test]
    fn branches_that_nothing_tells_apart_stay_as_they_are() {
        let schema = json!({"anyOf": [branch("a", "rows", true), branch("a", "lines", true)]});
        assert_eq!(draw_out(&schema), schema);
    }

    #[test]
    fn a_choice_inside_itself_comes_to_an_end() {
        let mut node = branch("a", "rows", true);
        node["properties"]["inner"] = json!({"$ref": "#/$defs/any"});
        let any = json!({"oneOf": [{"$ref": "#/$defs/node"}, branch("b", "lines", true), {"type": "null"}]});
        let schema = json!({"$ref": "#/$defs/any", "$defs": {"any": any, "node": node}});
        let drawn = draw_out(&schema);
        let object = &drawn["$defs"]["any"]["oneOf"][0];
        assert!(object["properties"]["rows"]["items"].is_object(), "{drawn}");
        assert_eq!(drawn["$defs"]["any"]["oneOf"][1], json!({"type": "null"}));
    }
}
