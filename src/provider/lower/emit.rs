//! Forms to a provider's schema, with the code of every place.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::code::{ArrayCode, Code, FieldCode, ObjectCode, OthersCode, label};
use super::form::{Array, Field, Form, Numeric, Object, Others, Term};
use super::profile::{Profile, References};
use super::read::Forms;
use super::words;
use super::{Figures, Note};
use crate::domain::pointer::Pointer;

/// Places of one subtree's schema; past it values are asked for as JSON text.
const MAX_PLACES: usize = 6_000;
/// Levels of one subtree's schema, definitions inside each other included.
const MAX_LEVELS: usize = 64;

const STRING: [&str; 4] = ["format", "pattern", "minLength", "maxLength"];
const NUMBER: [&str; 5] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];
const ARRAY: [&str; 3] = ["minItems", "maxItems", "uniqueItems"];

/// What is written once for all schemas of a call.
pub(super) struct Sheet {
    pub profile: Profile,
    /// Whether a value that may be missing is a list of none or one.
    pub as_lists: bool,
    pub definitions: Vec<(String, Value)>,
    pub codes: Vec<Code>,
    pub notes: Vec<Note>,
    pub figures: Figures,
    /// Whether a subtree had more places than are written.
    pub is_full: bool,
}

impl Sheet {
    pub(super) fn new(profile: &Profile, as_lists: bool) -> Self {
        Self {
            profile: *profile,
            as_lists,
            definitions: Vec::new(),
            codes: Vec::new(),
            notes: Vec::new(),
            figures: Figures::default(),
            is_full: false,
        }
    }
}

/// Writes the schema of one subtree.
pub(super) struct Emitter<'e, 'a> {
    pub forms: &'e Forms<'a>,
    pub sheet: &'e mut Sheet,
    pub subtree: usize,
    named: HashMap<Term<'a>, usize>,
    heights: HashMap<usize, usize>,
    /// Terms around the present one.
    open: Vec<Term<'a>>,
    levels: usize,
    places: usize,
    circular: HashMap<Term<'a>, bool>,
}

/// How a place is asked for.
#[derive(Clone, Copy)]
struct Ask {
    /// Whether "not there" is an answer.
    may_miss: bool,
    depth: usize,
}

impl<'e, 'a> Emitter<'e, 'a> {
    pub(super) fn new(forms: &'e Forms<'a>, sheet: &'e mut Sheet, subtree: usize) -> Self {
        Self {
            forms,
            sheet,
            subtree,
            named: HashMap::new(),
            heights: HashMap::new(),
            open: Vec::new(),
            levels: 0,
            places: 0,
            circular: HashMap::new(),
        }
    }

    /// The schema of the subtree's value, `depth` levels down.
    pub(super) fn root(&mut self, schema: &'a Value, depth: usize) -> (Value, Code) {
        let term = Term::of(schema);
        let form = self.form_of(&term);
        let ask = Ask {
            may_miss: !form.has_container(),
            depth,
        };
        self.place(&term, ask, &Pointer::root())
    }

    fn form_of(&self, term: &Term<'a>) -> Form<'a> {
        let plain = self.forms.plain(term);
        let mut form = self.forms.form(&plain.term);
        form.null |= plain.null;
        form.title = plain.title.or(form.title);
        form.description = plain.description.or(form.description);
        form
    }

    fn place(&mut self, term: &Term<'a>, ask: Ask, at: &Pointer) -> (Value, Code) {
        let plain = self.forms.plain(term);
        let form = self.form_of(term);
        self.sheet.figures.places += 1;
        self.places += 1;
        let takes_null = form.null || ask.may_miss;
        // What leads back to itself can only be written by name.
        let has_name = plain.is_named
            || (self.sheet.profile.references == References::Recursive
                && self.is_circular(&plain.term));
        if has_name
            && form.has_container()
            && self.levels <= MAX_LEVELS
            && self.places <= MAX_PLACES
            && let Some((schema, code)) = self.named(&plain.term, ask, at)
        {
            let says = plain.description.or(plain.title);
            if takes_null {
                let mut schema = self.nullable(schema, at);
                if let (Some(says), Value::Object(members)) = (says, &mut schema.0) {
                    members.insert("description".into(), says.into());
                }
                return (schema.0, wrapped(code, schema.1));
            }
            if says.is_none() {
                return (schema, code);
            }
        }
        let again = self.open.iter().filter(|open| **open == plain.term).count();
        let profile = self.sheet.profile;
        let is_cut = form.has_container()
            && (again >= profile.unrolled
                || ask.depth > profile.limits.depth
                || self.levels > MAX_LEVELS
                || self.places > MAX_PLACES);
        self.sheet.is_full |= self.places > MAX_PLACES;
        self.open.push(plain.term.clone());
        self.levels += 1;
        let (schema, code) = if is_cut {
            self.cut(&form, at)
        } else {
            self.shape(&form, ask, at)
        };
        self.levels -= 1;
        self.open.pop();
        if takes_null && !accepts_null(&schema) {
            let (schema, is_list) = self.nullable(schema, at);
            return (schema, wrapped(code, is_list));
        }
        (schema, code)
    }

    /// A reference to the definition of a term; none where the term is better written out.
    fn named(&mut self, term: &Term<'a>, ask: Ask, at: &Pointer) -> Option<(Value, Code)> {
        let references = self.sheet.profile.references;
        let is_circular = self.is_circular(term);
        let may = match references {
            References::None => false,
            References::Plain => !is_circular,
            References::Recursive => true,
        };
        if !may {
            return None;
        }
        let index = match self.named.get(term) {
            Some(index) => *index,
            None => self.define(term, at),
        };
        let height = self.heights.get(&index).copied().unwrap_or(0);
        if ask.depth.saturating_add(height) > self.sheet.profile.limits.depth {
            return None;
        }
        let deepest = ask.depth + height;
        self.sheet.figures.depth = self.sheet.figures.depth.max(deepest);
        let name = &self.sheet.definitions[index].0;
        let schema = json!({ "$ref": format!("#/$defs/{name}") });
        Some((schema, Code::Named(index)))
    }

    fn define(&mut self, term: &Term<'a>, at: &Pointer) -> usize {
        let index = self.sheet.definitions.len();
        let name = format!("d{index}");
        self.sheet.figures.text += name.len();
        self.sheet.definitions.push((name, Value::Null));
        self.sheet.codes.push(Code::Same);
        self.named.insert(term.clone(), index);
        let deepest = std::mem::take(&mut self.sheet.figures.depth);
        // A definition stands for itself, whatever is around its first use.
        let open = std::mem::take(&mut self.open);
        let form = self.forms.form(term);
        let ask = Ask {
            may_miss: false,
            depth: 1,
        };
        let (schema, code) = self.shape(&form, ask, at);
        self.open = open;
        let height = std::mem::replace(&mut self.sheet.figures.depth, deepest);
        self.heights.insert(index, height.saturating_sub(1));
        self.sheet.definitions[index].1 = schema;
        self.sheet.codes[index] = code;
        index
    }

    /// Whether a term leads to one that leads back to itself.
    fn is_circular(&mut self, term: &Term<'a>) -> bool {
        self.circles(term, &mut Vec::new())
    }

    fn circles(&mut self, term: &Term<'a>, path: &mut Vec<Term<'a>>) -> bool {
        let term = self.forms.plain(term).term;
        if let Some(known) = self.circular.get(&term) {
            return *known;
        }
        if path.contains(&term) || path.len() > MAX_LEVELS {
            return true;
        }
        path.push(term.clone());
        let children = self.forms.children(&self.forms.form(&term));
        let is_circular = children.iter().any(|child| self.circles(child, path));
        path.pop();
        self.circular.insert(term, is_circular);
        is_circular
    }

    /// A schema that also takes "not there", and whether it became a list.
    fn nullable(&mut self, schema: Value, at: &Pointer) -> (Value, bool) {
        if self.sheet.as_lists {
            let mut list = json!({"type": "array", "items": schema});
            let says = list["items"]
                .as_object_mut()
                .and_then(|items| items.shift_remove("description"));
            let says = says.as_ref().and_then(Value::as_str).unwrap_or_default();
            let says = format!("{says} A list: empty when it is not in the document, else of one.");
            list["description"] = Value::String(says.trim_start().to_owned());
            self.note(at, "is asked for as a list of none or one, since only so many places may have two types");
            return (list, true);
        }
        self.sheet.figures.unions += 1;
        if let Value::Object(members) = &schema
            && let Some(Value::String(name)) = members.get("type")
            && !members.contains_key("enum")
            && !["object", "array"].contains(&name.as_str())
        {
            let mut members = members.clone();
            members["type"] = json!([name, "null"]);
            return (Value::Object(members), false);
        }
        let nothing = json!({"type": "null"});
        let mut schema = schema;
        if let Some(Value::Array(options)) = schema.get_mut("anyOf") {
            self.sheet.figures.unions -= 1;
            options.push(nothing);
            return (schema, false);
        }
        let says = schema
            .as_object_mut()
            .and_then(|members| members.shift_remove("description"));
        let mut both = json!({ "anyOf": [schema, nothing] });
        if let Some(says) = says {
            both["description"] = says;
        }
        (both, false)
    }

    fn note(&mut self, at: &Pointer, what: impl Into<String>) {
        // One note a place and change; a large schema says the same of many.
        if self.sheet.notes.len() < 2_000 {
            self.sheet.notes.push(Note {
                subtree: self.subtree,
                pointer: at.to_string(),
                what: what.into(),
            });
        }
    }

    /// Objects and arrays as JSON text.
    fn cut(&mut self, form: &Form<'a>, at: &Pointer) -> (Value, Code) {
        self.note(
            at,
            "objects and arrays are asked for as JSON text: the provider takes no deeper schema",
        );
        let says = describe(form, vec!["Written as JSON text.".to_owned()]);
        let mut schema = json!({"type": "string"});
        schema["description"] = Value::String(says);
        (schema, Code::Text)
    }

    fn shape(&mut self, form: &Form<'a>, ask: Ask, at: &Pointer) -> (Value, Code) {
        if let Some(values) = &form.values {
            return self.values(form, values, at);
        }
        if form.is_anything() {
            return self.anything(form, at);
        }
        let mut words = Vec::new();
        let mut options = self.scalars(form, &mut words, at);
        let mut code = (None, None);
        let object = form.object.as_ref();
        let array = form.array.as_ref();
        let is_numbered =
            array.is_some_and(|array| !array.first.is_empty()) && !self.sheet.profile.is_free;
        if object.is_some() && is_numbered {
            return self.cut(form, at);
        }
        let bound = |name: &&str| form.bounds.contains_key(*name);
        if let Some(object) = object {
            let (schema, own) = self.object(object, array.is_some(), ask.depth, at);
            options.push(schema);
            code.0 = Some(Box::new(own));
            for name in ["minProperties", "maxProperties"]
                .iter()
                .filter(|name| bound(name))
            {
                words.push(words::bound(name, &form.bounds[*name]));
            }
        }
        if let Some(array) = array {
            let (mut schema, own) = self.array(array, ask.depth, at);
            // An array that has to be there says by being empty that there is nothing.
            let may_be_short = ask.may_miss || form.null;
            self.bounds(
                form,
                &ARRAY,
                &mut schema,
                &mut words,
                at,
                may_be_short && !is_numbered,
            );
            options.push(schema);
            code.1 = Some(Box::new(own));
        }
        let code = match code {
            (None, None) => Code::Same,
            (object, array) => Code::Parts { object, array },
        };
        let mut schema = match (options.pop(), options.is_empty()) {
            (None, _) => {
                words.push("There is no value; null.".to_owned());
                json!({"type": "null"})
            }
            (Some(only), true) => only,
            (Some(last), false) => {
                options.push(last);
                self.sheet.figures.unions += 1;
                json!({ "anyOf": options })
            }
        };
        let says = describe(form, words);
        if !says.is_empty() {
            schema["description"] = Value::String(says);
        }
        (schema, code)
    }

    fn scalars(&mut self, form: &Form<'a>, words: &mut Vec<String>, at: &Pointer) -> Vec<Value> {
        let mut options = Vec::new();
        if form.string {
            let mut schema = json!({"type": "string"});
            self.bounds(form, &STRING, &mut schema, words, at, true);
            options.push(schema);
        }
        if let Some(number) = form.number {
            let name = match number {
                Numeric::Integer => "integer",
                Numeric::Number => "number",
            };
            let mut schema = json!({ "type": name });
            self.bounds(form, &NUMBER, &mut schema, words, at, true);
            options.push(schema);
        }
        if form.boolean {
            options.push(json!({"type": "boolean"}));
        }
        options
    }

    /// Keywords that the provider takes go into the schema, the others into words.
    fn bounds(
        &mut self,
        form: &Form<'a>,
        keywords: &[&str],
        schema: &mut Value,
        words: &mut Vec<String>,
        at: &Pointer,
        may_bind: bool,
    ) {
        for keyword in keywords {
            let Some(value) = form.bounds.get(*keyword) else {
                continue;
            };
            let binds = may_bind || *keyword != "minItems";
            if binds && self.sheet.profile.takes(keyword, value) {
                schema[*keyword] = value.clone();
            } else {
                words.push(words::bound(keyword, value));
                self.note(at, format!("`{keyword}` is said in words"));
            }
        }
    }

    fn anything(&mut self, form: &Form<'a>, at: &Pointer) -> (Value, Code) {
        let says = |more: &str| describe(form, vec![more.to_owned()]);
        if self.sheet.profile.is_free {
            let mut schema = json!({});
            let says = describe(form, Vec::new());
            if !says.is_empty() {
                schema["description"] = Value::String(says);
            }
            return (schema, Code::Same);
        }
        self.note(
            at,
            "may be of any type: objects and arrays are asked for as JSON text",
        );
        if self.sheet.as_lists {
            let mut schema = json!({"type": "string"});
            schema["description"] = Value::String(says("Of any type, written as JSON text."));
            return (schema, Code::Text);
        }
        self.sheet.figures.unions += 1;
        let options = ["string", "number", "boolean"].map(|name| json!({ "type": name }));
        let mut schema = json!({ "anyOf": options });
        schema["description"] = Value::String(says("An object or array is written as JSON text."));
        (schema, Code::Free)
    }

    fn values(&mut self, form: &Form<'a>, values: &[Value], at: &Pointer) -> (Value, Code) {
        let labels: Vec<Value> = values
            .iter()
            .filter(|value| !value.is_null())
            .map(label)
            .collect();
        let mut shown = labels.clone();
        let mut seen = std::collections::HashSet::new();
        shown.retain(|value| seen.insert(value.to_string()));
        let has_containers = values
            .iter()
            .any(|value| value.is_object() || value.is_array());
        let code = if has_containers {
            Code::Labels(values.to_vec())
        } else {
            Code::Same
        };
        let kinds = ["string", "number", "boolean"].map(|name| {
            let of_kind = shown.iter().filter(|value| kind(value) == name);
            (name, of_kind.cloned().collect::<Vec<_>>())
        });
        let chars = text_of(&shown);
        let limits = self.sheet.profile.limits;
        let fits = shown.len() <= limits.enum_values
            && self.sheet.figures.enum_values + shown.len() <= limits.all_enum_values
            && (shown.len() <= 250 || chars <= limits.long_enum_text)
            && self.sheet.figures.text + chars <= limits.text;
        let mut says = Vec::new();
        if fits {
            self.sheet.figures.enum_values += shown.len();
            self.sheet.figures.text += chars;
        } else {
            says.push(words::one_of(&labels));
            self.note(
                at,
                format!("`enum` of {} values is said in words", shown.len()),
            );
        }
        let mut options = Vec::new();
        for (name, all) in kinds.into_iter().filter(|(_, all)| !all.is_empty()) {
            let is_whole = all.iter().all(|value| value.is_i64() || value.is_u64());
            let name = if name == "number" && is_whole {
                "integer"
            } else {
                name
            };
            let mut schema = json!({ "type": name });
            // Not every vendor takes an enum of booleans.
            if name == "boolean" {
                if all.len() == 1 {
                    says.push(format!("Always {}.", all[0]));
                }
            } else if fits {
                schema["enum"] = Value::Array(all);
            }
            options.push(schema);
        }
        let mut schema = match (options.pop(), options.is_empty()) {
            (None, _) => json!({"type": "null"}),
            (Some(only), true) => only,
            (Some(last), false) => {
                options.push(last);
                self.sheet.figures.unions += 1;
                json!({ "anyOf": options })
            }
        };
        let says = describe(form, says);
        if !says.is_empty() {
            schema["description"] = Value::String(says);
        }
        (schema, code)
    }

    fn object(
        &mut self,
        object: &Object<'a>,
        beside_array: bool,
        depth: usize,
        at: &Pointer,
    ) -> (Value, ObjectCode) {
        self.sheet.figures.depth = self.sheet.figures.depth.max(depth);
        let profile = self.sheet.profile;
        let mut taken: Vec<String> = Vec::new();
        let others = match &object.others {
            Others::Asked(term) => Some(term.clone()),
            Others::Open if object.is_free() => Some(Term::of(&Value::Bool(true))),
            Others::Open | Others::Closed => None,
        };
        if object.fields.is_empty()
            && !beside_array
            && !profile.is_free
            && let Some(term) = &others
        {
            let (schema, inner) = self.pairs(term, depth, at);
            let code = ObjectCode {
                fields: Vec::new(),
                others: OthersCode::Alone(inner),
                omitted: None,
            };
            return (schema, code);
        }
        if object.others == Others::Open && !object.fields.is_empty() {
            self.note(
                at,
                "members that the schema does not name are not asked for",
            );
        }
        let mut properties = Map::new();
        let mut required = Vec::new();
        let mut fields = Vec::new();
        for Field { key, term, .. } in &object.fields {
            let is_required = object.required.contains(key);
            let (schema, field) = self.field(key, term, is_required, &taken, depth, at);
            taken.push(field.name.clone());
            if field.is_asked {
                required.push(Value::String(field.name.clone()));
            }
            properties.insert(field.name.clone(), schema);
            fields.push(field);
        }
        let mut own = ObjectCode {
            omitted: None,
            others: OthersCode::Dropped,
            fields,
        };
        let mut additional = Value::Bool(false);
        if let Some(term) = &others {
            let is_renamed = own.fields.iter().any(|field| field.name != field.key);
            if profile.is_free && !is_renamed {
                let (schema, inner) = self.place(term, inside(depth), &at.join("*"));
                additional = schema;
                own.others = OthersCode::Beside(inner);
            } else {
                let name = profile.name_of("additional", &taken);
                taken.push(name.clone());
                let (schema, inner) = self.pairs(term, depth + 1, at);
                properties.insert(name.clone(), schema);
                required.push(Value::String(name.clone()));
                own.others = OthersCode::Under(name, inner);
            }
        }
        let may_omit = |field: &FieldCode| field.is_asked && field.takes_null && !field.is_required;
        if own.fields.iter().any(may_omit) {
            let name = profile.name_of("omitted", &taken);
            let says = "Names of the members above that do not stand in the document at all, as against those that it says are empty. Mostly empty.";
            properties.insert(
                name.clone(),
                json!({"type": "array", "items": {"type": "string"}, "description": says}),
            );
            required.push(Value::String(name.clone()));
            own.omitted = Some(name);
        }
        (self.closed(properties, required, additional), own)
    }

    fn closed(
        &mut self,
        properties: Map<String, Value>,
        required: Vec<Value>,
        additional: Value,
    ) -> Value {
        let figures = &mut self.sheet.figures;
        figures.properties += properties.len();
        figures.optional += properties.len() - required.len();
        figures.text += properties.keys().map(String::len).sum::<usize>();
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        if self.sheet.profile.says_order {
            let order: Vec<&String> = properties.keys().collect();
            schema.insert("propertyOrdering".into(), json!(order));
        }
        schema.insert("properties".into(), Value::Object(properties));
        schema.insert("required".into(), Value::Array(required));
        schema.insert("additionalProperties".into(), additional);
        Value::Object(schema)
    }

    fn field(
        &mut self,
        key: &str,
        term: &Term<'a>,
        is_required: bool,
        taken: &[String],
        depth: usize,
        at: &Pointer,
    ) -> (Value, FieldCode) {
        let profile = self.sheet.profile;
        let place = at.join(key);
        let name = profile.name_of(key, taken);
        if name != key {
            self.note(&place, format!("is called `{name}`"));
        }
        let form = self.form_of(term);
        let is_leaf = !form.has_container() || form.has_scalar();
        let ask = Ask {
            may_miss: is_leaf || !is_required,
            depth: depth + 1,
        };
        let takes_null = match &form.values {
            Some(values) => form.null && values.contains(&Value::Null),
            None => form.null,
        };
        let (schema, code) = self.place(term, ask, &place);
        let field = FieldCode {
            key: key.to_owned(),
            name,
            code,
            is_required,
            takes_null,
            // Where a missing member can be said by leaving it out, it is.
            is_asked: is_required || !takes_null || profile.all_required,
        };
        (schema, field)
    }

    /// Members of any name as a list of pairs.
    fn pairs(&mut self, term: &Term<'a>, depth: usize, at: &Pointer) -> (Value, Code) {
        self.note(
            at,
            "members of any name are asked for as pairs of key and value",
        );
        self.sheet.figures.depth = self.sheet.figures.depth.max(depth + 1);
        let (value, code) = self.place(term, inside(depth + 1), &at.join("*"));
        let properties = Map::from_iter([
            ("key".to_owned(), json!({"type": "string"})),
            ("value".to_owned(), value),
        ]);
        let required = vec!["key".into(), "value".into()];
        let pair = self.closed(properties, required, Value::Bool(false));
        (json!({"type": "array", "items": pair}), code)
    }

    fn array(&mut self, array: &Array<'a>, depth: usize, at: &Pointer) -> (Value, ArrayCode) {
        self.sheet.figures.depth = self.sheet.figures.depth.max(depth);
        let anything = Term::of(&Value::Bool(true));
        if array.first.is_empty() {
            let term = array.items.clone().unwrap_or(anything);
            let (items, code) = self.place(&term, inside(depth), &at.join("*"));
            return (
                json!({"type": "array", "items": items}),
                ArrayCode::List(code),
            );
        }
        if self.sheet.profile.is_free {
            return self.by_position(array, depth, at);
        }
        self.note(
            at,
            "items by position are asked for as an object with numbered members",
        );
        let mut properties = Map::new();
        let mut first = Vec::new();
        for (index, term) in array.first.iter().enumerate() {
            let name = format!("item_{}", index + 1);
            let ask = Ask {
                may_miss: true,
                depth: depth + 1,
            };
            let (schema, code) = self.place(term, ask, &at.index(index));
            properties.insert(name.clone(), schema);
            first.push((name, code));
        }
        let mut more = None;
        if !array.is_closed {
            let term = array.items.clone().unwrap_or(anything);
            let (items, code) = self.place(&term, inside(depth + 1), &at.join("*"));
            properties.insert("more".into(), json!({"type": "array", "items": items}));
            more = Some(("more".to_owned(), code));
        }
        let says = "How many items there are in all.";
        properties.insert(
            "count".into(),
            json!({"type": "integer", "description": says}),
        );
        let required = properties.keys().map(|name| name.as_str().into()).collect();
        let schema = self.closed(properties, required, Value::Bool(false));
        let count = "count".to_owned();
        (schema, ArrayCode::Numbered { first, more, count })
    }

    /// The text alone may say what stands at which position.
    fn by_position(&mut self, array: &Array<'a>, depth: usize, at: &Pointer) -> (Value, ArrayCode) {
        let mut schemas = Vec::new();
        let mut first = Vec::new();
        for (index, term) in array.first.iter().enumerate() {
            let ask = Ask {
                may_miss: true,
                depth: depth + 1,
            };
            let (schema, code) = self.place(term, ask, &at.index(index));
            schemas.push(schema);
            first.push(code);
        }
        let mut schema = json!({"type": "array", "prefixItems": schemas});
        let mut more = None;
        if array.is_closed {
            schema["items"] = Value::Bool(false);
        } else if let Some(term) = &array.items {
            let (items, code) = self.place(term, inside(depth), &at.join("*"));
            schema["items"] = items;
            more = Some(code);
        }
        (schema, ArrayCode::ByPosition(first, more))
    }
}

/// An item or a value of a pair: it is there, or it is not listed.
fn inside(depth: usize) -> Ask {
    Ask {
        may_miss: false,
        depth: depth + 1,
    }
}

fn wrapped(code: Code, is_list: bool) -> Code {
    if is_list {
        Code::Perhaps(Box::new(code))
    } else {
        code
    }
}

fn accepts_null(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(name)) => name == "null",
        Some(Value::Array(names)) => names.iter().any(|name| name == "null"),
        _ => schema
            .as_object()
            .is_some_and(|members| !members.contains_key("anyOf") && !members.contains_key("$ref")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        _ => "",
    }
}

fn text_of(values: &[Value]) -> usize {
    let length = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string().len(), |text| text.chars().count())
    };
    values.iter().map(length).sum()
}

/// Title, description and everything that only words can say.
fn describe(form: &Form<'_>, more: Vec<String>) -> String {
    let mut says: Vec<&str> = Vec::new();
    says.extend(form.title.filter(|title| form.description != Some(title)));
    says.extend(form.description);
    says.extend(form.words.iter().map(String::as_str));
    says.extend(more.iter().map(String::as_str));
    let mut text = String::new();
    for part in says
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        if !text.is_empty() {
            let ends = text.ends_with(['.', '!', '?', ':', ';']);
            text.push_str(if ends { " " } else { ". " });
        }
        text.push_str(part);
    }
    text
}
