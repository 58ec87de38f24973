//! Schema nodes to forms: references followed, `allOf` merged, alternatives joined.
//!
//! Keywords that a dialect does not know yet, such as `prefixItems` before 2020-12, are read all
//! the same: nothing checks them, but they are what is wanted.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use serde_json::{Map, Value};

use super::choice::Told;
use super::form::{Array, Field, Form, Node, Numeric, Object, Others, Term};
use super::words;
use crate::domain::schema::{DESCRIBING, follow};

const BOUNDS: [&str; 14] = [
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

const RULES: [&str; 8] = [
    "not",
    "contains",
    "propertyNames",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependencies",
];

/// Keywords with schemas of the same value.
const IN_PLACE: [&str; 11] = [
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
];

/// Nodes that one form may be made of; past it a form says less.
const MAX_OPEN: usize = 200;

/// The nodes of one schema document, read.
pub(super) struct Forms<'a> {
    root: &'a Value,
    /// Before 2019-09 whatever stands beside a `$ref` is not read.
    is_old: bool,
    open: RefCell<Vec<Node<'a>>>,
    read: RefCell<HashMap<Term<'a>, Rc<Form<'a>>>>,
}

/// A term without its names and its null alternative.
pub(super) struct Plain<'a> {
    pub term: Term<'a>,
    pub null: bool,
    pub title: Option<&'a str>,
    pub description: Option<&'a str>,
    /// Whether a `$ref` led to it.
    pub is_named: bool,
}

impl<'a> Forms<'a> {
    pub(super) fn of(root: &'a Value) -> Self {
        let dialect = root.get("$schema").and_then(Value::as_str).unwrap_or("");
        Self {
            root,
            is_old: dialect.contains("draft-0"),
            open: RefCell::default(),
            read: RefCell::default(),
        }
    }

    pub(super) fn form(&self, term: &Term<'a>) -> Rc<Form<'a>> {
        if let Some(form) = self.read.borrow().get(term) {
            return Rc::clone(form);
        }
        let form = match term {
            Term::Node(node) => self.guarded(node.0),
            Term::All(terms) => {
                let forms = terms.iter().map(|term| Form::clone(&self.form(term)));
                forms.reduce(Form::meet).unwrap_or_else(Form::anything)
            }
            Term::Any(terms) => {
                let forms = terms.iter().map(|term| Form::clone(&self.form(term)));
                let forms: Vec<_> = forms.collect();
                let told = Told::of(&forms);
                let mut form = joined(forms).unwrap_or_else(Form::nothing);
                if let Some(told) = told {
                    told.lead(&mut form);
                }
                form
            }
            Term::Hinted(term, hint) => {
                let mut form = Form::clone(&self.form(term));
                form.hint(Form::clone(&self.form(hint)));
                form
            }
        };
        let form = Rc::new(form);
        // What was read inside of an open node may have met that node and said too little.
        if self.open.borrow().is_empty() {
            self.read
                .borrow_mut()
                .insert(term.clone(), Rc::clone(&form));
        }
        form
    }

    /// A node that is met again while it is read adds nothing to itself.
    fn guarded(&self, value: &'a Value) -> Form<'a> {
        let node = Node(value);
        let is_again = {
            let open = self.open.borrow();
            open.contains(&node) || open.len() > MAX_OPEN
        };
        if is_again {
            return Form::anything();
        }
        self.open.borrow_mut().push(node);
        let form = self.node(value);
        self.open.borrow_mut().pop();
        form
    }

    fn node(&self, value: &'a Value) -> Form<'a> {
        let Value::Object(members) = value else {
            return if value == &Value::Bool(false) {
                Form::nothing()
            } else {
                Form::anything()
            };
        };
        let mut form = Self::own(members);
        if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
            let target = self.target(reference).map(|node| self.guarded(node));
            match target {
                Some(target) if self.is_old => {
                    // What stands beside is not validated, but it is wanted.
                    let (title, description) = (form.title, form.description);
                    let mut target = target;
                    target.hint(form);
                    target.title = title.or(target.title);
                    target.description = description.or(target.description);
                    return target;
                }
                Some(target) => form = form.meet(target),
                None => form.words.push(words::rule("$ref", &members["$ref"])),
            }
        }
        for reference in ["$dynamicRef", "$recursiveRef"] {
            let target = members.get(reference).and_then(Value::as_str);
            if let Some(target) = target.and_then(|to| self.target(to)) {
                form = form.meet(self.guarded(target));
            }
        }
        for part in list(members, "allOf") {
            form = form.meet(self.guarded(part));
        }
        for keyword in ["anyOf", "oneOf"] {
            let options = list(members, keyword)
                .iter()
                .map(|option| self.guarded(option));
            let options: Vec<_> = options.collect();
            let told = Told::of(&options);
            if let Some(joined) = joined(options) {
                form = form.meet(joined);
            }
            if let Some(told) = told {
                told.lead(&mut form);
            }
        }
        self.conditional(members, &mut form);
        form
    }

    /// Fields that are there under a condition are asked for, and the condition is said.
    fn conditional(&self, members: &'a Map<String, Value>, form: &mut Form<'a>) {
        for keyword in ["then", "else"] {
            if let Some(part) = members.get(keyword) {
                form.hint(self.guarded(part));
            }
        }
        for keyword in ["dependentSchemas", "dependencies"] {
            let parts = members.get(keyword).and_then(Value::as_object);
            for part in parts.into_iter().flat_map(Map::values) {
                if !part.is_array() {
                    form.hint(self.guarded(part));
                }
            }
        }
    }

    /// What the node's own keywords say.
    fn own(members: &'a Map<String, Value>) -> Form<'a> {
        let mut form = Form::anything();
        if let Some(names) = members.get("type") {
            let names: Vec<&str> = match names {
                Value::String(name) => vec![name],
                Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            let has = |name: &str| names.contains(&name);
            form.null = has("null");
            form.boolean = has("boolean");
            form.number = match (has("number"), has("integer")) {
                (true, _) => Some(Numeric::Number),
                (false, true) => Some(Numeric::Integer),
                (false, false) => None,
            };
            form.string = has("string");
            form.object = form.object.filter(|_| has("object"));
            form.array = form.array.filter(|_| has("array"));
        }
        if let Some(object) = &mut form.object {
            *object = own_object(members);
        }
        if let Some(array) = &mut form.array {
            *array = own_array(members);
        }
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        form.title = text("title");
        form.description = text("description");
        for (keyword, value) in members {
            if BOUNDS.contains(&keyword.as_str()) && !value.is_boolean() {
                form.bounds.insert(keyword.clone(), value.clone());
            } else if RULES.contains(&keyword.as_str()) {
                form.words.push(words::rule(keyword, value));
            } else if keyword == "examples" && value.as_array().is_some_and(|all| !all.is_empty()) {
                form.words.push(examples(value));
            } else if keyword == "uniqueItems" && value == &Value::Bool(true) {
                form.bounds.insert(keyword.clone(), value.clone());
            }
        }
        let values = members.get("const").map(|value| vec![value.clone()]);
        let values = values.or_else(|| members.get("enum").and_then(Value::as_array).cloned());
        if let Some(values) = values {
            let mut only = Form::anything();
            only.values = Some(values);
            form = form.meet(only);
        }
        form
    }

    /// The node that a reference leads to.
    fn target(&self, reference: &str) -> Option<&'a Value> {
        if reference.is_empty() {
            return Some(self.root);
        }
        follow(self.root, reference).or_else(|| {
            let name = reference.rsplit('#').next().filter(|name| !name.is_empty());
            anchored(self.root, name?, reference, 0)
        })
    }

    /// Follows names, and takes a null alternative apart.
    pub(super) fn plain(&self, term: &Term<'a>) -> Plain<'a> {
        let mut plain = Plain {
            term: term.clone(),
            null: false,
            title: None,
            description: None,
            is_named: false,
        };
        for _ in 0..64 {
            let Term::Node(Node(Value::Object(members))) = plain.term else {
                break;
            };
            let describes = |keyword: &String| DESCRIBING.contains(&keyword.as_str());
            let next = if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                let target = self.target(reference);
                let is_alias = members.keys().all(describes);
                plain.is_named |= is_alias && target.is_some();
                target.filter(|_| is_alias)
            } else {
                without_null(members, describes).inspect(|_| plain.null = true)
            };
            let Some(next) = next else { break };
            let text = |name: &str| members.get(name).and_then(Value::as_str);
            plain.title = plain.title.or_else(|| text("title"));
            plain.description = plain.description.or_else(|| text("description"));
            plain.term = Term::of(next);
        }
        plain
    }

    /// The terms of which a value's parts are.
    pub(super) fn children(form: &Form<'a>) -> Vec<Term<'a>> {
        let mut children = Vec::new();
        if let Some(object) = &form.object {
            children.extend(object.fields.iter().map(|field| field.term.clone()));
            if let Others::Asked(term) = &object.others {
                children.push(term.clone());
            }
        }
        if let Some(array) = &form.array {
            children.extend(array.first.iter().cloned().chain(array.items.clone()));
        }
        children
    }
}

fn joined(forms: Vec<Form<'_>>) -> Option<Form<'_>> {
    forms.into_iter().reduce(Form::join)
}

/// The other alternative of a node that is that or null.
fn without_null(
    members: &Map<String, Value>,
    describes: impl Fn(&String) -> bool,
) -> Option<&Value> {
    let keyword = ["anyOf", "oneOf"]
        .into_iter()
        .find(|keyword| members.contains_key(*keyword))?;
    if !members.keys().all(|key| key == keyword || describes(key)) {
        return None;
    }
    let is_null = |option: &&Value| option.get("type").and_then(Value::as_str) == Some("null");
    match list(members, keyword) {
        [first, second] if is_null(&first) && !is_null(&second) => Some(second),
        [first, second] if is_null(&second) && !is_null(&first) => Some(first),
        _ => None,
    }
}

fn list<'a>(members: &'a Map<String, Value>, keyword: &str) -> &'a [Value] {
    members
        .get(keyword)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn own_object(members: &Map<String, Value>) -> Object<'_> {
    let fields = members.get("properties").and_then(Value::as_object);
    let fields: Vec<_> = fields
        .into_iter()
        .flatten()
        .map(|(key, node)| Field {
            key,
            term: Term::of(node),
            is_hint: false,
        })
        .collect();
    let required: BTreeSet<&str> = list(members, "required")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let mut asked = Vec::new();
    let patterns = members.get("patternProperties").and_then(Value::as_object);
    let patterns = patterns.into_iter().flat_map(Map::values);
    let (said, free): (Vec<_>, Vec<_>) = patterns.partition(|node| says_something(node));
    asked.extend(said.into_iter().map(Term::of));
    let others = members
        .get("additionalProperties")
        .or_else(|| members.get("unevaluatedProperties"));
    asked.extend(others.filter(|node| says_something(node)).map(Term::of));
    // What is matched and may be anything is not bound by what is said of the rest, nor is what
    // another part of the schema looks at by what is said of all that no part does.
    let is_left_over = !members.contains_key("additionalProperties")
        && members.contains_key("unevaluatedProperties")
        && IN_PLACE
            .iter()
            .any(|keyword| members.contains_key(*keyword));
    let is_free = is_left_over || free.into_iter().any(|node| node != &Value::Bool(false));
    if !asked.is_empty() && is_free {
        asked.push(Term::of(&Value::Bool(true)));
    }
    let is_matched = members.contains_key("patternProperties");
    let others = match (asked.is_empty(), others) {
        (false, _) => Others::Asked(Term::any(asked)),
        (true, Some(Value::Bool(false))) if members.contains_key("additionalProperties") => {
            if is_matched {
                Others::Open
            } else {
                Others::Closed
            }
        }
        (true, _) => Others::Open,
    };
    Object {
        fields,
        required,
        others,
        is_matched,
    }
}

fn own_array(members: &Map<String, Value>) -> Array<'_> {
    let (first, after) = match (members.get("prefixItems"), members.get("items")) {
        (Some(Value::Array(first)), after) => (first.as_slice(), after),
        (_, Some(Value::Array(first))) => (first.as_slice(), members.get("additionalItems")),
        (_, after) => (&[][..], after),
    };
    Array {
        first: first.iter().map(Term::of).collect(),
        items: after.filter(|node| says_something(node)).map(Term::of),
        is_closed: after == Some(&Value::Bool(false)),
    }
}

/// Whether a schema says more than that there may be a value.
fn says_something(node: &Value) -> bool {
    node.as_object().is_some_and(|members| !members.is_empty())
}

fn examples(value: &Value) -> String {
    let some = value.as_array().into_iter().flatten().take(3);
    let some: Vec<String> = some.map(Value::to_string).collect();
    format!("For example {}.", some.join(", "))
}

/// The node that has a name of its own: an anchor, or an identifier.
fn anchored<'a>(node: &'a Value, name: &str, whole: &str, depth: usize) -> Option<&'a Value> {
    if depth > 128 {
        return None;
    }
    match node {
        Value::Object(members) => {
            let is_it = ["$anchor", "$dynamicAnchor"]
                .iter()
                .any(|keyword| members.get(*keyword).and_then(Value::as_str) == Some(name))
                || ["$id", "id"].iter().any(|keyword| {
                    let id = members.get(*keyword).and_then(Value::as_str);
                    id.is_some_and(|id| id == whole || id.strip_prefix('#') == Some(name))
                });
            if is_it {
                return Some(node);
            }
            let mut inner = members.values();
            inner.find_map(|value| anchored(value, name, whole, depth + 1))
        }
        Value::Array(items) => {
            let mut items = items.iter();
            items.find_map(|value| anchored(value, name, whole, depth + 1))
        }
        _ => None,
    }
}
