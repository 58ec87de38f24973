//! Accepting a JSON Schema: draft, limits, references, and the compiled validator.
//!
//! Nothing is ever fetched: a `$ref` that leaves the document is refused with its URL, unless what
//! it leads to was taken in before.

pub mod advice;
mod choice;
pub mod example;
mod expansion;
mod flatten;
pub mod infer;
mod local;
pub mod propose;
mod remote;

use std::collections::{HashMap, HashSet};

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Value, json};

use super::error::{Code, Detail, Error};
use super::pointer::Pointer;
use expansion::Expansion;
use local::is_old;

pub use choice::{draw_out, is_branch, may_choose};
pub use flatten::{flatten, is_composed};
pub use local::{FreeNames, localize};
pub use remote::{MAX_TAKEN_IN, address, take_in, wanted};

/// Bytes of the schema as compact JSON.
pub const MAX_BYTES: usize = 1 << 20;
/// Levels of JSON inside the schema as written.
pub const MAX_DEPTH: usize = 128;
/// Schema nodes when every `$ref` is followed, cycles cut. Compilers follow them all, so a
/// schema of 2 kB whose definitions name each other twice could otherwise stop a worker.
pub const MAX_EXPANDED_NODES: u64 = 100_000;
/// Schemas with an `$id`, this one and those embedded in it.
pub const MAX_IDS: usize = 200;
/// Levels when every `$ref` is followed, cycles cut. What walks a schema goes down level by level
/// on the stack of its thread: a chain of some hundred definitions, each made from the next, would
/// else end the process.
pub const MAX_EXPANDED_DEPTH: usize = 200;
/// `pattern` and `patternProperties` expressions.
pub const MAX_PATTERNS: usize = 500;
/// Characters of one expression.
pub const MAX_PATTERN_CHARS: usize = 1_000;
/// `minItems` of an array.
pub const MAX_MIN_ITEMS: u64 = 10_000;
/// Bytes a compiled expression may take, and its backtracking steps.
const PATTERN_SIZE_LIMIT: usize = 256 << 10;
const PATTERN_BACKTRACK_LIMIT: usize = 20_000;
/// Faults reported at once.
const MAX_ERRORS: usize = 20;

/// Keywords that only describe: a node of these and a `$ref` is what the `$ref` leads to.
pub const DESCRIBING: [&str; 9] = [
    "$comment",
    "title",
    "description",
    "default",
    "deprecated",
    "examples",
    "readOnly",
    "writeOnly",
    "$ref",
];

/// Drafts by the `$schema` that names them, without a closing `#`.
const DRAFTS: [(&str, Draft); 5] = [
    ("http://json-schema.org/draft-04/schema", Draft::Draft4),
    ("http://json-schema.org/draft-06/schema", Draft::Draft6),
    ("http://json-schema.org/draft-07/schema", Draft::Draft7),
    (
        "https://json-schema.org/draft/2019-09/schema",
        Draft::Draft201909,
    ),
    (
        "https://json-schema.org/draft/2020-12/schema",
        Draft::Draft202012,
    ),
];

/// Checks that a schema can be used, and compiles it.
///
/// Errors carry `invalid_schema` or `schema_too_complex`, every fault with its JSON Pointer.
pub fn accept(schema: &Value) -> Result<Validator, Error> {
    if !(schema.is_object() || schema.is_boolean()) {
        let message = format!(
            "`{}` is not a schema; a schema is an object or a boolean.",
            excerpt(schema)
        );
        return Err(invalid(vec![Detail {
            pointer: String::new(),
            message,
        }]));
    }
    let draft = draft_of(schema)?;
    let mut survey = Survey::default();
    survey.walk(schema, &Pointer::root(), 0)?;
    refuse_taken_names(&survey)?;
    let ids = survey.names.schemas.len();
    over(
        ids > MAX_IDS,
        "",
        format!("The schema has {ids} schemas with an `$id`; the limit is {MAX_IDS}."),
    )?;
    let size = serde_json::to_vec(schema).map_or(usize::MAX, |bytes| bytes.len());
    over(
        size > MAX_BYTES,
        "",
        format!("The schema has {size} bytes; the limit is {MAX_BYTES}."),
    )?;
    remote::refuse(schema, draft, &survey)?;
    check_against_meta_schema(schema, draft)?;
    refuse_no_schemas(schema, draft, &survey)?;
    let nodes = Expansion::count(schema, &survey.names)?;
    over(
        nodes > MAX_EXPANDED_NODES,
        "",
        format!(
            "With every `$ref` followed the schema has more than {MAX_EXPANDED_NODES} nodes, the limit. Split it into several schemas."
        ),
    )?;
    if survey.names.schemas.len() > 1 {
        refuse_no_definitions(schema, draft)?;
    }
    if survey.references.iter().any(|(_, text)| text.is_empty()) {
        // The compiler takes anything where the reference is empty (RFC 3986, 4.4).
        let mut named = schema.clone();
        name_own_document(&mut named);
        return compile(&named);
    }
    compile(schema)
}

/// Refuses a schema with the name of a dialect: a reference to it could mean either.
fn refuse_taken_names(survey: &Survey) -> Result<(), Error> {
    let is_dialect = |id: &str| {
        let mut known = DRAFTS.iter();
        known.any(|(name, _)| id.trim_end_matches('#') == *name)
    };
    let mut ids = survey.names.schemas.iter().map(|(id, _)| *id);
    match ids.find(|id| is_dialect(id)) {
        None => Ok(()),
        Some(id) => Err(invalid(vec![Detail {
            pointer: String::new(),
            message: format!(
                "The `$id` `{id}` is the name of a dialect. Give the schema a name of its own, or none."
            ),
        }])),
    }
}

/// Writes `#` for references that are empty: it names the same place.
fn name_own_document(node: &mut Value) {
    match node {
        Value::Object(members) => {
            for (key, value) in members {
                if is_reference(key) && value == "" {
                    *value = "#".into();
                } else if !is_data(key) {
                    name_own_document(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(name_own_document),
        _ => {}
    }
}

/// The validator of a schema that was accepted, or of a part of one.
pub fn compile(schema: &Value) -> Result<Validator, Error> {
    build(schema, PATTERN_SIZE_LIMIT).map_err(|error| {
        let pointer = error.instance_path().to_string();
        // An embedded schema's faults are counted from itself.
        let leads = schema.pointer(&pointer).is_some();
        let pointer = if leads { pointer } else { String::new() };
        let pattern = error.instance();
        let is_pattern = error.kind().keyword() == "format" && pattern.is_string();
        if is_pattern && build(&json!({"pattern": pattern}), 16 * PATTERN_SIZE_LIMIT).is_ok() {
            let message = format!(
                "The pattern takes more than {PATTERN_SIZE_LIMIT} bytes when it is compiled, the limit. Repeat less in it."
            );
            return Error::new(Code::SchemaTooComplex, message.clone()).at(&pointer, message);
        }
        invalid(vec![Detail {
            pointer,
            message: shorten(&error.to_string(), 500),
        }])
    })
}

fn build(schema: &Value, pattern_size: usize) -> Result<Validator, ValidationError<'static>> {
    jsonschema::options()
        .offline()
        .with_pattern_options(
            PatternOptions::fancy_regex()
                .size_limit(pattern_size)
                .backtrack_limit(PATTERN_BACKTRACK_LIMIT),
        )
        .build(schema)
}

/// The schema node that a `$ref` of this document leads to; `None` when it leaves the document.
pub fn follow<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let fragment = reference.strip_prefix('#')?;
    let decoded = percent_decode(fragment)?;
    root.pointer(&decoded)
}

/// Decodes `%XX` in a URI fragment.
fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn draft_of(schema: &Value) -> Result<Draft, Error> {
    let Some(named) = schema.get("$schema") else {
        return Ok(Draft::Draft202012);
    };
    let uri = named.as_str().map(|uri| uri.trim_end_matches('#'));
    let found = DRAFTS.iter().find(|(known, _)| uri == Some(known));
    found.map(|(_, draft)| *draft).ok_or_else(|| {
        let allowed: Vec<_> = DRAFTS.iter().map(|(known, _)| *known).collect();
        let message = format!(
            "`{}` is not a dialect that is known here; use one of {}, or leave `$schema` out.",
            excerpt(named),
            allowed.join(", ")
        );
        invalid(vec![Detail {
            pointer: "/$schema".into(),
            message,
        }])
    })
}

fn check_against_meta_schema(schema: &Value, draft: Draft) -> Result<(), Error> {
    let validator = match draft {
        Draft::Draft4 => jsonschema::draft4::meta::validator(),
        Draft::Draft6 => jsonschema::draft6::meta::validator(),
        Draft::Draft7 => jsonschema::draft7::meta::validator(),
        Draft::Draft201909 => jsonschema::draft201909::meta::validator(),
        _ => jsonschema::draft202012::meta::validator(),
    };
    let errors: Vec<_> = validator
        .iter_errors(schema)
        // Expressions are judged by the compiler below, with the limits that hold here.
        .filter(|error| error.kind().keyword() != "format")
        .take(MAX_ERRORS)
        .map(|error| Detail {
            pointer: error.instance_path().to_string(),
            message: shorten(&error.to_string(), 500),
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(invalid(errors))
    }
}

/// Refuses references to places that no schema stands at, as a map of properties. A place under a
/// keyword was looked at with the rest; a word that the draft does not have yet is none.
fn refuse_no_schemas(schema: &Value, draft: Draft, survey: &Survey) -> Result<(), Error> {
    // Where a schema has another address inside it, a place is not counted from the top.
    if survey.names.schemas.len() > 1 {
        return Ok(());
    }
    let is_unknown = |word: &str| matches!(word, "$defs" | "dependentSchemas") && is_old(draft);
    let mut seen = HashSet::new();
    for (at, reference) in &survey.references {
        let above = reference.rsplit('/').nth(1);
        let is_checked = above.is_some_and(is_schema_map) && !reference.split('/').any(is_unknown);
        let is_listed = is_checked || !seen.insert(*reference);
        let Some(target) = follow(schema, reference).filter(|_| !is_listed) else {
            continue;
        };
        let is_schema = target.is_object() || target.is_boolean();
        if !is_schema || check_against_meta_schema(target, draft).is_err() {
            return Err(invalid(vec![Detail {
                pointer: at.to_string(),
                message: format!("`{}` leads to what is no schema.", shorten(reference, 200)),
            }]));
        }
    }
    Ok(())
}

/// The same of a schema with other addresses inside it, where what references lead to is told by
/// writing it anew.
fn refuse_no_definitions(schema: &Value, draft: Draft) -> Result<(), Error> {
    let Some(local) = localize(schema) else {
        return Ok(());
    };
    let definitions = local.get("$defs").and_then(Value::as_object);
    let mut definitions = definitions.into_iter().flatten();
    let is_schema = |node: &Value| {
        (node.is_object() || node.is_boolean()) && check_against_meta_schema(node, draft).is_ok()
    };
    match definitions.find(|(_, node)| !is_schema(node)) {
        None => Ok(()),
        Some((name, _)) => Err(invalid(vec![Detail {
            pointer: String::new(),
            message: format!("A reference to `{name}` leads to what is no schema."),
        }])),
    }
}

fn invalid(errors: Vec<Detail>) -> Error {
    let detail = errors.first().map_or_else(String::new, |first| {
        format!("At `{}`: {}", first.pointer, first.message)
    });
    Error::new(Code::InvalidSchema, detail).with_errors(errors)
}

fn over(is_over: bool, pointer: &str, message: String) -> Result<(), Error> {
    if is_over {
        Err(Error::new(Code::SchemaTooComplex, message.clone()).at(pointer, message))
    } else {
        Ok(())
    }
}

fn refuse_too_deep(depth: usize, at: &Pointer) -> Result<(), Error> {
    over(
        depth > MAX_EXPANDED_DEPTH,
        at.as_str(),
        format!(
            "With every `$ref` followed the schema is nested deeper than {MAX_EXPANDED_DEPTH} levels, the limit."
        ),
    )
}

fn excerpt(value: &Value) -> String {
    shorten(&value.to_string(), 80)
}

fn shorten(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Whether a keyword's value is data and not a schema.
pub fn is_data(keyword: &str) -> bool {
    matches!(
        keyword,
        "enum" | "const" | "default" | "examples" | "example"
    )
}

/// Whether a keyword's value leads to another schema.
fn is_reference(keyword: &str) -> bool {
    matches!(keyword, "$ref" | "$dynamicRef" | "$recursiveRef")
}

/// Whether a keyword's value holds schemas under names of the user's, which are no keywords.
pub fn is_schema_map(keyword: &str) -> bool {
    matches!(
        keyword,
        "properties"
            | "patternProperties"
            | "$defs"
            | "definitions"
            | "dependentSchemas"
            | "dependencies"
    )
}

/// What a reference may name beside a JSON Pointer.
#[derive(Default)]
struct Names<'a> {
    /// This schema and those embedded in it, by their `$id`.
    schemas: Vec<(&'a str, &'a Value)>,
    /// Nodes by their plain name, dynamic or not; one of several schemas may have the same.
    anchors: HashMap<&'a str, Vec<&'a Value>>,
}

/// One walk over the schema as written: depth, patterns, counts, and where references lead.
#[derive(Default)]
struct Survey<'a> {
    patterns: usize,
    references: Vec<(Pointer, &'a str)>,
    names: Names<'a>,
}

impl<'a> Survey<'a> {
    fn walk(&mut self, node: &'a Value, at: &Pointer, depth: usize) -> Result<(), Error> {
        over(
            depth > MAX_DEPTH,
            at.as_str(),
            format!("The schema is nested deeper than {MAX_DEPTH} levels, the limit."),
        )?;
        match node {
            Value::Object(members) => {
                for (key, value) in members {
                    let place = at.join(key);
                    self.keyword(node, key, value, &place)?;
                    match value {
                        Value::Object(nodes) if is_schema_map(key) => {
                            for (name, node) in nodes {
                                self.walk(node, &place.join(name), depth + 2)?;
                            }
                        }
                        _ if is_data(key) => {}
                        _ => self.walk(value, &place, depth + 1)?,
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, &at.index(index), depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn keyword(
        &mut self,
        node: &'a Value,
        key: &str,
        value: &'a Value,
        at: &Pointer,
    ) -> Result<(), Error> {
        match (key, value) {
            (key, Value::String(reference)) if is_reference(key) => {
                self.references.push((at.clone(), reference));
            }
            ("$anchor" | "$dynamicAnchor", Value::String(name)) => self.anchor(name, node),
            ("$id" | "id", Value::String(id)) => match id.strip_prefix('#') {
                Some(name) => self.anchor(name, node),
                None => self.names.schemas.push((id.trim_end_matches('#'), node)),
            },
            ("pattern", Value::String(pattern)) => self.pattern(pattern, at)?,
            ("patternProperties", Value::Object(members)) => {
                for pattern in members.keys() {
                    self.pattern(pattern, at)?;
                }
            }
            ("minItems", Value::Number(number)) => over(
                number.as_u64().is_some_and(|count| count > MAX_MIN_ITEMS),
                at.as_str(),
                format!("`minItems` is {number}; the limit is {MAX_MIN_ITEMS}."),
            )?,
            _ => {}
        }
        Ok(())
    }

    fn anchor(&mut self, name: &'a str, node: &'a Value) {
        self.names.anchors.entry(name).or_default().push(node);
    }

    fn pattern(&mut self, pattern: &str, at: &Pointer) -> Result<(), Error> {
        self.patterns += 1;
        over(
            self.patterns > MAX_PATTERNS,
            at.as_str(),
            format!("The schema has more than {MAX_PATTERNS} patterns, the limit."),
        )?;
        let chars = pattern.chars().count();
        over(
            chars > MAX_PATTERN_CHARS,
            at.as_str(),
            format!("The pattern has {chars} characters; the limit is {MAX_PATTERN_CHARS}."),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(schema: &Value) -> (Code, String) {
        let error = accept(schema).err().unwrap();
        (error.code, error.errors[0].pointer.clone())
    }

    #[test]
    fn faults_are_named_by_code_and_pointer() {
        let cases = [
            (json!(3), Code::InvalidSchema, ""),
            (json!({"type": "strin"}), Code::InvalidSchema, "/type"),
            (
                json!({"$schema": "https://example.com/x"}),
                Code::InvalidSchema,
                "/$schema",
            ),
            (
                json!({"properties": {"a": {"$ref": "https://example.com/x.json"}}}),
                Code::InvalidSchema,
                "/properties/a/$ref",
            ),
            (
                json!({"$id": "https://json-schema.org/draft/2020-12/schema"}),
                Code::InvalidSchema,
                "",
            ),
            (
                // Draft 4 has no `$defs`, nor booleans for schemas.
                json!({
                    "$schema": "http://json-schema.org/draft-04/schema#",
                    "properties": {"a": {"$ref": "#/$defs/a"}},
                    "$defs": {"a": {"properties": {"b": true}}},
                }),
                Code::InvalidSchema,
                "/properties/a/$ref",
            ),
            (
                json!({"minItems": 10_001}),
                Code::SchemaTooComplex,
                "/minItems",
            ),
            (
                json!({"pattern": "a".repeat(1_001)}),
                Code::SchemaTooComplex,
                "/pattern",
            ),
        ];
        for (schema, code, pointer) in cases {
            assert_eq!(refused(&schema), (code, pointer.to_owned()), "{schema}");
        }
    }

    #[test]
    fn references_that_only_lead_to_each_other_are_refused() {
        let schema = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
        assert_eq!(refused(&schema).0, Code::InvalidSchema);
        let inside = json!({"properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": schema["$defs"]});
        let place = "/properties/x/$ref".to_owned();
        assert_eq!(refused(&inside), (Code::InvalidSchema, place));
    }

    #[test]
    fn an_empty_reference_leads_to_the_whole_schema() {
        let schema = json!({"type": "array", "prefixItems": [{"$ref": ""}], "items": false});
        let validator = accept(&schema).unwrap();
        assert!(validator.is_valid(&json!([[[]]])));
        assert!(!validator.is_valid(&json!([{}])));
    }

    #[test]
    fn recursion_with_content_is_accepted() {
        let schema = json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}});
        assert!(
            accept(&schema)
                .unwrap()
                .is_valid(&json!({"children": [{"children": []}]}))
        );
    }

    #[test]
    fn a_chain_of_references_may_be_long_but_not_endless() {
        let chain = |length: usize, link: fn(Value) -> Value| {
            let mut defs = serde_json::Map::new();
            for index in 1..length {
                let next = json!({"$ref": format!("#/$defs/d{}", index + 1)});
                defs.insert(format!("d{index}"), link(next));
            }
            defs.insert(format!("d{length}"), json!({"type": "string"}));
            json!({"$ref": "#/$defs/d1", "$defs": defs})
        };
        let links: [fn(Value) -> Value; 3] = [
            |next| next,
            |next| json!({"not": next}),
            |next| json!({"items": next}),
        ];
        for link in links {
            accept(&chain(50, link)).unwrap();
            assert_eq!(refused(&chain(10_000, link)).0, Code::SchemaTooComplex);
        }
        // What was counted from near is too far down by a longer way.
        let mut schema = chain(150, |next| json!({"not": next}));
        accept(&chain(80, |next| json!({"not": next}))).unwrap();
        schema["not"] = json!({"$ref": "#/$defs/d90"});
        let Some(Value::String(reference)) =
            schema.as_object_mut().and_then(|s| s.shift_remove("$ref"))
        else {
            panic!("a reference");
        };
        schema["items"] = json!({"$ref": reference});
        assert_eq!(refused(&schema).0, Code::SchemaTooComplex);
    }

    #[test]
    fn a_bomb_of_references_by_name_is_counted_too() {
        let bomb = |length: usize, key: &str, name: &str, base: &str| {
            let mut defs = serde_json::Map::new();
            for index in 1..=length {
                let next = json!({key: format!("{base}d{}", index + 1)});
                let parts = if index == length {
                    json!([{}])
                } else {
                    json!([next, next])
                };
                let own = base.trim_start_matches('#');
                let node = json!({name: format!("{own}d{index}"), "allOf": parts});
                defs.insert(format!("n{index}"), node);
            }
            json!({"$id": "https://example.com/root", "$ref": "#/$defs/n1", "$defs": defs})
        };
        for (key, name, base) in [
            ("$ref", "$anchor", "#"),
            ("$dynamicRef", "$dynamicAnchor", "#"),
            ("$ref", "$id", "https://example.com/"),
            ("$ref", "$id", ""),
        ] {
            accept(&bomb(6, key, name, base)).unwrap();
            let refusal = refused(&bomb(50, key, name, base));
            assert_eq!(refusal.0, Code::SchemaTooComplex, "{key} to {name} {base}");
        }
    }

    #[test]
    fn a_schema_embedded_by_its_name_is_accepted() {
        let schema = json!({
            "$defs": {
                "lines": {"$id": "lines.json", "type": "array", "items": {"$ref": "#/$defs/line"},
                    "$defs": {"line": {"type": "object", "properties": {"sub": {"$ref": "#"}}}}},
                "money": {"$anchor": "money", "type": "number"},
            },
            "properties": {"lines": {"$ref": "lines.json"}, "total": {"$ref": "#money"}},
            "$id": "https://example.com/invoice.json",
        });
        let validator = accept(&schema).unwrap();
        assert!(validator.is_valid(&json!({"lines": [{"sub": []}], "total": 5})));
        assert!(!validator.is_valid(&json!({"lines": [{"sub": 5}]})));
    }

    #[test]
    fn a_reference_to_what_an_old_draft_does_not_look_at_has_to_lead_to_a_schema_of_it() {
        // `items` is no boolean in draft 4, and `$defs` no word of it.
        let rows = json!({"type": "array", "items": {"items": true}});
        let named = json!({"$id": "other.json", "type": "string"});
        let mut schema = json!({"$schema": "http://json-schema.org/draft-04/schema#",
            "$ref": "#/$defs/rows", "$defs": {"rows": rows}});
        assert_eq!(refused(&schema).0, Code::InvalidSchema);
        for id in ["one", "two"] {
            schema["$defs"][id] = named.clone();
            schema["$defs"][id]["id"] = json!(format!("https://example.com/{id}"));
            schema["$defs"][id]["$id"] = schema["$defs"][id]["id"].clone();
        }
        assert_eq!(refused(&schema).0, Code::InvalidSchema);
    }

    #[test]
    fn a_reference_bomb_is_counted_and_not_expanded() {
        let mut defs = serde_json::Map::new();
        defs.insert("d0".into(), json!({"type": "string"}));
        for level in 1..60 {
            let below = format!("#/$defs/d{}", level - 1);
            defs.insert(
                format!("d{level}"),
                json!({"properties": {"a": {"$ref": below}, "b": {"$ref": below}}}),
            );
        }
        let schema = json!({"$ref": "#/$defs/d59", "$defs": defs});
        assert_eq!(refused(&schema).0, Code::SchemaTooComplex);
    }
}
