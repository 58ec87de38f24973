//! Keywords that bind the properties of an object together, and which properties they bind.

use std::collections::{BTreeSet, HashSet};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::Shapes;
use crate::domain::schema::{compile, follow, is_branch};

/// Keywords of an object that say something of more than one of its properties.
pub const BINDING: [&str; 18] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "const",
    "enum",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "patternProperties",
    "unevaluatedProperties",
    "$ref",
];

/// Keywords that mean something only together.
const CONDITION: [&str; 3] = ["if", "then", "else"];

/// Levels of schemas about the same object.
const MAX_LEVELS: usize = 64;

/// How an object comes apart.
pub struct Bonds<'a> {
    /// Properties that can be asked for apart from the object.
    pub own: Vec<&'a str>,
    /// Keywords that bind such properties to others, and so say something only of the whole.
    pub dropped: Vec<&'a str>,
    /// A choice between objects that only name such properties: it stays, without them, and says
    /// something of the whole too.
    pub loosened: Option<&'a str>,
    /// Whether what stays binds members that `properties` may not name.
    pub binds_more: bool,
}

/// Keywords that mean something together, what they say, and whether they are a choice that can be
/// loosened.
type Unit<'a> = (Vec<&'a str>, Touch<'a>, bool);

/// What a schema says of the members of the object that it is applied to.
#[derive(Default)]
struct Touch<'a> {
    /// Members that it describes.
    shaped: BTreeSet<&'a str>,
    /// Members of which it only says whether they are there.
    counted: BTreeSet<&'a str>,
    /// Something of all members.
    is_of_all: bool,
    /// Properties of the object itself.
    declared: Option<&'a Map<String, Value>>,
    /// Schemas looked at. They may lead to each other in more ways than could be walked.
    seen: HashSet<*const Value>,
}

impl<'a> Touch<'a> {
    fn of(object: &'a Value) -> Self {
        Self {
            declared: object.get("properties").and_then(Value::as_object),
            ..Self::default()
        }
    }

    fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.shaped.union(&self.counted).copied()
    }

    fn list(names: &'a Value) -> impl Iterator<Item = &'a str> {
        let names = names.as_array().into_iter().flatten();
        names.filter_map(Value::as_str)
    }

    fn keyword(&mut self, root: &'a Value, key: &str, value: &'a Value, level: usize) {
        match (key, value) {
            ("properties", Value::Object(properties)) => {
                for (name, schema) in properties {
                    let says_nothing = *schema == json!(true) || *schema == json!({});
                    let is_known = self.declared.is_some_and(|own| own.contains_key(name));
                    // What only stands here is asked for by it.
                    let names = if says_nothing && is_known {
                        &mut self.counted
                    } else {
                        &mut self.shaped
                    };
                    names.insert(name);
                }
            }
            ("required", names) => self.counted.extend(Self::list(names)),
            ("dependentRequired" | "dependentSchemas" | "dependencies", Value::Object(members)) => {
                for (name, then) in members {
                    self.counted.insert(name);
                    self.counted.extend(Self::list(then));
                    self.schema(root, then, level);
                }
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(parts)) => {
                for part in parts {
                    self.schema(root, part, level);
                }
            }
            ("not" | "if" | "then" | "else", part) => self.schema(root, part, level),
            ("$ref", Value::String(reference)) => match follow(root, reference) {
                Some(target) => self.schema(root, target, level),
                None => self.is_of_all = true,
            },
            ("additionalProperties", Value::Bool(true)) => {}
            (
                "const"
                | "enum"
                | "$dynamicRef"
                | "$recursiveRef"
                | "minProperties"
                | "maxProperties"
                | "propertyNames"
                | "patternProperties"
                | "additionalProperties"
                | "unevaluatedProperties",
                _,
            ) => self.is_of_all = true,
            _ => {}
        }
    }

    fn condition(&mut self, root: &'a Value, object: &'a Value) {
        for key in CONDITION {
            if let Some(part) = object.get(key) {
                self.keyword(root, key, part, 0);
            }
        }
    }

    fn schema(&mut self, root: &'a Value, node: &'a Value, level: usize) {
        if level > MAX_LEVELS {
            self.is_of_all = true;
            return;
        }
        if !self.seen.insert(std::ptr::from_ref(node)) {
            return;
        }
        for (key, value) in node.as_object().into_iter().flatten() {
            self.keyword(root, key, value, level + 1);
        }
    }
}

/// The members of `object` that one of its keywords binds; `None` where it binds them all.
///
/// With `of_one`, of all that depends on some member, only what depends on this one.
pub fn names(
    root: &Value,
    object: &Value,
    keyword: &str,
    of_one: Option<&str>,
) -> Option<BTreeSet<String>> {
    let value = object.get(keyword)?;
    let one = of_one.and_then(|name| Some(json!({name: value.get(name)?})));
    let mut touch = Touch::default();
    if let Some(one) = &one {
        touch.keyword(root, keyword, one, 0);
    } else if CONDITION.contains(&keyword) {
        touch.condition(root, object);
    } else {
        touch.keyword(root, keyword, value, 0);
    }
    (!touch.is_of_all).then(|| touch.names().map(str::to_owned).collect())
}

impl<'a> Shapes<'a> {
    /// Which of the properties in `own` can be asked for apart; `None` where the object means
    /// something only as a whole.
    ///
    /// A keyword stays with the object where it says nothing of those properties. Where it
    /// describes one, that one stays too. Where it only says which may stand beside each other, it
    /// is left to be checked when all are there.
    pub fn bonds(&self, object: &'a Value, own: Vec<&'a str>) -> Option<Bonds<'a>> {
        let mut bonds = Bonds {
            own,
            dropped: Vec::new(),
            loosened: None,
            binds_more: false,
        };
        let members = object.as_object()?;
        if !members.keys().any(|key| BINDING.contains(&key.as_str())) {
            return Some(bonds);
        }
        let mut units: Vec<Unit<'a>> = Vec::new();
        for (key, value) in members {
            match key.as_str() {
                "minProperties" | "maxProperties" => bonds.dropped.push(key),
                "patternProperties" => {
                    bonds.binds_more = true;
                    self.keep_matching(value, &mut bonds.own)?;
                }
                // Of what stays, what they say is the same of fewer members.
                "propertyNames" | "unevaluatedProperties" | "then" | "else" => {}
                "if" => units.push(self.condition(object)),
                "anyOf" | "oneOf" if choice(object) == Some(key) => {
                    let mut touch = Touch::of(object);
                    touch.keyword(self.root, key, value, 0);
                    let asks = !touch.shaped.is_empty();
                    // What a branch says of all members it says of fewer too.
                    touch.is_of_all &= !asks;
                    units.push((vec![key], touch, asks));
                }
                key if BINDING.contains(&key) => {
                    let mut touch = Touch::of(object);
                    touch.keyword(self.root, key, value, 0);
                    units.push((vec![key], touch, false));
                }
                _ => {}
            }
        }
        if units.iter().any(|(_, touch, _)| touch.is_of_all) {
            return None;
        }
        settle(&units, &mut bonds);
        if !bonds.dropped.is_empty() && members.contains_key("unevaluatedProperties") {
            bonds.dropped.push("unevaluatedProperties");
        }
        Some(bonds)
    }

    /// Whether a property is only there in some branches of a choice.
    pub fn is_chosen(&self, object: &Value, name: &str) -> bool {
        let options = choice(object).and_then(|keyword| object.get(keyword)?.as_array());
        let mut options = options.into_iter().flatten();
        options.any(|option| {
            option
                .pointer("/properties")
                .is_some_and(|all| all.get(name).is_some())
        })
    }

    /// Members that the branches of a choice name, without these.
    pub fn named_in(&self, object: &Value, keyword: &str, without: &[&str]) -> u32 {
        let options = object.get(keyword).and_then(Value::as_array);
        let properties = options.into_iter().flatten().filter_map(|option| {
            let properties = option.get("properties")?;
            properties.as_object()
        });
        let names: BTreeSet<&String> = properties.flat_map(Map::keys).collect();
        let named = names
            .iter()
            .filter(|name| !without.contains(&name.as_str()));
        u32::try_from(named.count()).unwrap_or(u32::MAX)
    }

    fn condition(&self, object: &'a Value) -> Unit<'a> {
        let mut touch = Touch::of(object);
        touch.condition(self.root, object);
        (CONDITION.to_vec(), touch, false)
    }

    /// What each of these keywords of an object binds together, as [`names`] has it.
    pub fn ties(&self, object: &Value, keywords: &[&str]) -> Vec<Option<BTreeSet<String>>> {
        let mut ties = Vec::new();
        for keyword in keywords {
            let names = |of_one| names(self.root, object, keyword, of_one);
            match object.get(keyword) {
                // They are told with `if`.
                _ if matches!(*keyword, "then" | "else") => {}
                Some(Value::Object(members)) if keyword.starts_with("depend") => {
                    ties.extend(members.keys().map(|name| names(Some(name))));
                }
                Some(_) => ties.push(names(None)),
                None => {}
            }
        }
        ties
    }

    /// Takes out of `own` what an expression matches.
    fn keep_matching(&self, patterns: &'a Value, own: &mut Vec<&'a str>) -> Option<()> {
        // An object is looked at several times, and expressions take long to compile.
        let mut compiled = self.patterns.borrow_mut();
        let validator = compiled
            .entry(std::ptr::from_ref(patterns))
            .or_insert_with(|| self.refusing(patterns))
            .as_ref()?;
        own.retain(|name| validator.is_valid(&json!({*name: null})));
        Some(())
    }

    /// Refuses an object with a member that one of the expressions matches.
    fn refusing(&self, patterns: &Value) -> Option<Validator> {
        let patterns = patterns.as_object()?.keys();
        // Draft 4 has no `false`.
        let refuse: Value = patterns.map(|p| (p.clone(), json!({"not": {}}))).collect();
        let mut schema = json!({"patternProperties": refuse});
        if let Some(dialect) = self.root.get("$schema") {
            schema["$schema"] = dialect.clone();
        }
        compile(&schema).ok()
    }
}

/// The keyword of the one choice between objects that is part of this object, where each branch
/// says of fewer members what it says of all.
fn choice(object: &Value) -> Option<&'static str> {
    let (keyword, options) = match (object.get("anyOf"), object.get("oneOf")) {
        (Some(options), None) => ("anyOf", options),
        (None, Some(options)) => ("oneOf", options),
        _ => return None,
    };
    let options = options.as_array()?;
    (options.len() > 1 && options.iter().all(is_branch)).then_some(keyword)
}

/// Takes properties out of `own` until no keyword that stays binds one.
fn settle<'a>(units: &[Unit<'a>], bonds: &mut Bonds<'a>) {
    loop {
        let before = bonds.own.len();
        for (_, touch, is_choice) in units {
            let binds = touch.names().any(|name| bonds.own.contains(&name));
            if *is_choice {
                bonds.own.retain(|name| !touch.shaped.contains(name));
            } else if binds && !touch.shaped.is_empty() {
                bonds.own.retain(|name| !touch.names().any(|n| n == *name));
            }
        }
        if bonds.own.len() == before {
            break;
        }
    }
    for (keys, touch, is_choice) in units {
        let binds = touch.names().any(|name| bonds.own.contains(&name));
        if *is_choice {
            bonds.loosened = bonds.loosened.or(keys.first().copied().filter(|_| binds));
            bonds.binds_more = true;
        } else if binds {
            bonds.dropped.extend(keys);
        } else {
            bonds.binds_more |= !touch.shaped.is_empty();
        }
    }
}
