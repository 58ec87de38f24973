//! Accepting a JSON Schema: draft, limits, references, and the compiled validator.
//!
//! Nothing is ever fetched: a `$ref` that leaves the document is refused with its URL.

use std::collections::HashMap;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use super::error::{Code, Detail, Error};
use super::pointer::Pointer;

/// Bytes of the schema as compact JSON.
pub const MAX_BYTES: usize = 1 << 20;
/// Levels of JSON inside the schema as written.
pub const MAX_DEPTH: usize = 128;
/// Schema nodes when every `$ref` is followed, cycles cut. Compilers follow them all, so a
/// schema of 2 kB whose definitions name each other twice could otherwise stop a worker.
pub const MAX_EXPANDED_NODES: u64 = 100_000;
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
    survey.refuse_what_leaves();
    if !survey.errors.is_empty() {
        return Err(invalid(survey.errors));
    }
    let size = serde_json::to_vec(schema).map_or(usize::MAX, |bytes| bytes.len());
    over(
        size > MAX_BYTES,
        "",
        format!("The schema has {size} bytes; the limit is {MAX_BYTES}."),
    )?;
    check_against_meta_schema(schema, draft)?;
    let nodes = Expansion::count(schema)?;
    over(
        nodes > MAX_EXPANDED_NODES,
        "",
        format!(
            "With every `$ref` followed the schema has more than {MAX_EXPANDED_NODES} nodes, the limit. Split it into several schemas."
        ),
    )?;
    compile(schema)
}

/// The validator of a schema that was accepted, or of a part of one.
pub fn compile(schema: &Value) -> Result<Validator, Error> {
    jsonschema::options()
        .offline()
        .with_pattern_options(
            PatternOptions::fancy_regex()
                .size_limit(PATTERN_SIZE_LIMIT)
                .backtrack_limit(PATTERN_BACKTRACK_LIMIT),
        )
        .build(schema)
        .map_err(|error| {
            let pointer = error.instance_path().to_string();
            invalid(vec![Detail {
                pointer,
                message: shorten(&error.to_string(), 500),
            }])
        })
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

/// One walk over the schema as written: depth, patterns, counts, and where references lead.
#[derive(Default)]
struct Survey {
    patterns: usize,
    references: Vec<(Pointer, String)>,
    /// Names of this schema and of those embedded in it.
    ids: Vec<String>,
    errors: Vec<Detail>,
}

impl Survey {
    fn walk(&mut self, node: &Value, at: &Pointer, depth: usize) -> Result<(), Error> {
        over(
            depth > MAX_DEPTH,
            at.as_str(),
            format!("The schema is nested deeper than {MAX_DEPTH} levels, the limit."),
        )?;
        match node {
            Value::Object(members) => {
                for (key, value) in members {
                    let place = at.join(key);
                    self.keyword(key, value, &place)?;
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

    fn keyword(&mut self, key: &str, value: &Value, at: &Pointer) -> Result<(), Error> {
        match (key, value) {
            ("$ref", Value::String(reference)) => {
                self.references.push((at.clone(), reference.clone()));
            }
            ("$id" | "id", Value::String(id)) => self.ids.push(id.clone()),
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

    /// References whose document is neither this one, nor embedded in it, nor a meta-schema.
    fn refuse_what_leaves(&mut self) {
        for (at, reference) in std::mem::take(&mut self.references) {
            let base = reference.split('#').next().unwrap_or_default();
            let is_here = base.is_empty()
                || self
                    .ids
                    .iter()
                    .any(|id| id.trim_end_matches('#').ends_with(base))
                || DRAFTS.iter().any(|(known, _)| *known == base);
            if !is_here && self.errors.len() < MAX_ERRORS {
                self.errors.push(Detail {
                    pointer: at.to_string(),
                    message: format!("`{}` lies outside the schema and is not fetched. Put it under `$defs` and refer to it there.", shorten(&reference, 200)),
                });
            }
        }
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

/// What a node comes to with every `$ref` followed and cycles cut.
#[derive(Debug, Clone, Copy)]
struct Extent {
    nodes: u64,
    /// Levels from the node down.
    height: usize,
}

impl Extent {
    const LEAF: Self = Self {
        nodes: 1,
        height: 1,
    };

    fn with(self, part: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_add(part.nodes),
            height: self.height.max(part.height + 1),
        }
    }
}

/// Counts schema nodes with every `$ref` followed, each target once by memo, saturating.
struct Expansion<'a> {
    root: &'a Value,
    counted: HashMap<*const Value, Extent>,
    open: Vec<*const Value>,
}

impl<'a> Expansion<'a> {
    fn count(root: &'a Value) -> Result<u64, Error> {
        let mut expansion = Self {
            root,
            counted: HashMap::new(),
            open: Vec::new(),
        };
        Ok(expansion.node(root, &Pointer::root(), 0)?.nodes)
    }

    /// The extent of a node that stands `depth` levels down.
    fn node(&mut self, node: &'a Value, at: &Pointer, depth: usize) -> Result<Extent, Error> {
        refuse_too_deep(depth, at)?;
        let mut extent = Extent::LEAF;
        match node {
            Value::Object(members) => {
                for (key, value) in members {
                    match (key.as_str(), value) {
                        ("$ref", Value::String(reference)) => {
                            extent = extent.with(self.target(reference, at, depth + 1)?);
                        }
                        ("$defs" | "definitions", _) => {}
                        (key, Value::Object(nodes)) if is_schema_map(key) => {
                            for (name, node) in nodes {
                                extent = extent.with(self.node(node, &at.join(name), depth + 1)?);
                            }
                        }
                        (key, _) if is_data(key) => {}
                        _ => extent = extent.with(self.node(value, &at.join(key), depth + 1)?),
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    extent = extent.with(self.node(item, &at.index(index), depth + 1)?);
                }
            }
            _ => {}
        }
        Ok(extent)
    }

    fn target(&mut self, reference: &str, at: &Pointer, depth: usize) -> Result<Extent, Error> {
        let Some(target) = follow(self.root, reference) else {
            return Ok(Extent::LEAF);
        };
        self.refuse_empty_loop(target, at)?;
        let key = std::ptr::from_ref(target);
        if let Some(extent) = self.counted.get(&key) {
            refuse_too_deep(depth + extent.height, at)?;
            return Ok(*extent);
        }
        if self.open.contains(&key) {
            return Ok(Extent::LEAF);
        }
        self.open.push(key);
        let extent = self.node(target, at, depth)?;
        self.open.pop();
        self.counted.insert(key, extent);
        Ok(extent)
    }

    /// A chain of references that comes back to itself without a keyword in between says nothing.
    fn refuse_empty_loop(&self, target: &'a Value, at: &Pointer) -> Result<(), Error> {
        let mut seen = vec![std::ptr::from_ref(target)];
        let mut node = target;
        while let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            let Some(next) = follow(self.root, reference) else {
                return Ok(());
            };
            if seen.contains(&std::ptr::from_ref(next)) {
                let message = format!("`{reference}` leads back to itself.");
                return Err(invalid(vec![Detail {
                    pointer: at.join("$ref").to_string(),
                    message,
                }]));
            }
            seen.push(std::ptr::from_ref(next));
            refuse_too_deep(seen.len(), at)?;
            node = next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
