//! Forms to a provider's schema, with the code of every place.

mod containers;
mod scalars;

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Value, json};

use super::code::Code;
use super::form::{Form, Term};
use super::profile::{Profile, References};
use super::read::Forms;
use super::words;
use super::{Figures, Note};
use crate::domain::pointer::Pointer;

/// Places of one subtree's schema; past it values are asked for as JSON text.
const MAX_PLACES: usize = 6_000;
/// Levels of one subtree's schema, definitions inside each other included.
const MAX_LEVELS: usize = 64;

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

    /// The form of a term under the names that lead to it.
    fn form_of(&self, term: &Term<'a>) -> Rc<Form<'a>> {
        let plain = self.forms.plain(term);
        let form = self.forms.form(&plain.term);
        if !plain.null && plain.title.is_none() && plain.description.is_none() {
            return form;
        }
        let mut form = Form::clone(&form);
        form.null |= plain.null;
        if let Some(values) = &mut form.values
            && plain.null
            && !values.contains(&Value::Null)
        {
            values.push(Value::Null);
        }
        form.title = plain.title.or(form.title);
        form.description = plain.description.or(form.description);
        Rc::new(form)
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
        // Definitions inside each other take as much of the stack as places do.
        self.levels += 1;
        let (schema, code) = self.shape(&form, ask, at);
        self.levels -= 1;
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
        let children = Forms::children(&self.forms.form(&term));
        let is_circular = children.iter().any(|child| self.circles(child, path));
        path.pop();
        self.circular.insert(term, is_circular);
        is_circular
    }

    /// A schema that also takes "not there", and whether it became a list.
    fn nullable(&mut self, schema: Value, at: &Pointer) -> (Value, bool) {
        if self.sheet.as_lists {
            let mut list = schema_of([("type", "array".into()), ("items", schema)]);
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
        let mut both = schema_of([("anyOf", Value::Array(vec![schema, nothing]))]);
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
                schema_of([("anyOf", Value::Array(options))])
            }
        };
        let says = describe(form, words);
        if !says.is_empty() {
            schema["description"] = Value::String(says);
        }
        (schema, code)
    }
}

/// A schema of these keywords. (`json!` would copy what it is given, at every level.)
fn schema_of<const N: usize>(keywords: [(&str, Value); N]) -> Value {
    let keywords = keywords.into_iter();
    Value::Object(
        keywords
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
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
