//! Any schema to what a provider takes, and the answer back to the schema.
//!
//! One call asks for one object with a member for each of its subtrees. What a provider does not
//! understand is left out of the schema and said in words; what it cannot say in any schema is
//! written otherwise and read back: members of any name as pairs, items by position as numbered
//! members, values of any type as JSON text. For every value that the user's schema takes,
//! laying it out and raising it again gives that value; only members that the schema neither names
//! nor requires are left out, since they are not asked for, and members that only other
//! alternatives name are read as those say: null may be nothing there. The schema that is sent
//! takes every value laid out for it whose members are named by the alternatives that it keeps to.
//!
//! "Not there" is always an answer. Where the schema has no word for it, it stays a null, and
//! validation reports the miss.

mod choice;
mod code;
mod emit;
mod form;
mod halves;
mod profile;
mod read;
#[cfg(test)]
mod tests;
mod words;

use serde_json::{Map, Value, json};

use crate::domain::evidence::{Attributions, Logprobs, Match, Quote};
use crate::domain::plan::{Kind, Plan, Subtree};
use crate::domain::pointer::Pointer;
use crate::domain::prompt::member;

use super::answer::Scored;
use code::{Book, Code, Place};
use emit::{Emitter, Sheet};
use read::Forms;

pub use code::Dropped;
pub use halves::{Part, halves, join};
pub use profile::{
    ANTHROPIC, GEMINI, GRAMMAR, JSON_MODE, Limits, Names, OPENAI, PROFILES, Profile, References,
    TEXT, Transport,
};

/// The member of a quoted answer that holds the quotes.
const QUOTES: &str = "quotes";
/// The member of a quoted answer that holds the value.
const VALUE: &str = "value";
/// Scalars of one value whose tokens are looked at; of a larger one none are.
const MOST_SCORED: usize = 1 << 13;

/// Something that the lowered schema says otherwise than the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Index into the plan's subtrees.
    pub subtree: usize,
    /// JSON Pointer of the value, relative to the subtree's; `*` for any item or member.
    pub pointer: String,
    /// What was changed and why, as a sentence without a subject.
    pub what: String,
}

/// A limit of the provider that the schema is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// What is counted.
    pub of: &'static str,
    pub figure: usize,
    pub limit: usize,
}

/// What a schema comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Objects and arrays inside each other.
    pub depth: usize,
    pub properties: usize,
    pub enum_values: usize,
    /// Characters of names and `enum` values.
    pub text: usize,
    /// Places with more than one type.
    pub unions: usize,
    pub optional: usize,
    /// Bytes as compact JSON.
    pub bytes: usize,
    /// Places of the schema.
    pub places: usize,
}

/// The value of one subtree as the user's schema has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    pub value: Value,
    /// The model's own words: text and page alone, nothing checked.
    pub attributions: Attributions,
    /// What was answered without having been asked for.
    pub dropped: Vec<Dropped>,
}

/// Why an answer is not the value of its subtree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RaiseError {
    #[error("Subtree {0} was not asked for in this call.")]
    NotAsked(usize),
    #[error("The member `{member}` has no `value` beside its quotes.")]
    NoValue { member: String },
}

/// A call's schema, and how its answer is read.
#[derive(Debug, Clone)]
pub struct Lowered {
    profile: &'static str,
    is_sent: bool,
    is_shown: bool,
    quotes: bool,
    schema: Value,
    members: Vec<(usize, Code)>,
    definitions: Vec<Code>,
    notes: Vec<Note>,
    figures: Figures,
    excess: Vec<Excess>,
}

/// One schema for all those subtrees (indices into `plan.subtrees`), in that order; with the
/// quotes of each before its value when they are asked for.
pub fn lower(plan: &Plan, subtrees: &[usize], profile: &Profile, quotes: bool) -> Lowered {
    let mut sheet = Sheet::new(profile, false);
    let mut lowered = write(plan, subtrees, &mut sheet, quotes);
    if lowered.figures.unions > profile.limits.unions {
        sheet = Sheet::new(profile, true);
        lowered = write(plan, subtrees, &mut sheet, quotes);
    }
    // A schema that is written out into more than anyone takes is better cut at one level
    // everywhere than written out in one corner.
    for depth in [8, 6, 4] {
        if !sheet.is_full {
            break;
        }
        let mut shallow = *profile;
        shallow.unrolled = 1;
        // What is named is as deep as it likes.
        if shallow.references == References::Recursive {
            shallow.references = References::Plain;
        }
        shallow.limits.depth = profile.limits.depth.min(depth);
        sheet = Sheet::new(&shallow, sheet.as_lists);
        lowered = write(plan, subtrees, &mut sheet, quotes);
        lowered.excess = excess(&lowered.figures, &profile.limits);
    }
    lowered
}

fn write(plan: &Plan, subtrees: &[usize], sheet: &mut Sheet, quotes: bool) -> Lowered {
    let mut properties = Map::new();
    let mut members = Vec::new();
    for &index in subtrees {
        let Some(subtree) = plan.subtrees.get(index) else {
            continue;
        };
        let forms = Forms::of(&subtree.schema);
        let depth = if quotes { 3 } else { 2 };
        let (schema, code) = Emitter::new(&forms, sheet, index).root(&subtree.schema, depth);
        let schema = if quotes {
            with_quotes(schema, most_quotes(subtree), sheet)
        } else {
            schema
        };
        properties.insert(member(index), schema);
        members.push((index, code));
    }
    sheet.figures.properties += properties.len();
    let schema = root(properties, sheet);
    sheet.figures.bytes = serde_json::to_vec(&schema).map_or(0, |bytes| bytes.len());
    Lowered {
        profile: sheet.profile.name,
        is_sent: sheet.profile.transport == Transport::Schema,
        is_shown: sheet.profile.is_shown,
        quotes,
        schema,
        members,
        definitions: std::mem::take(&mut sheet.codes),
        notes: std::mem::take(&mut sheet.notes),
        figures: sheet.figures,
        excess: excess(&sheet.figures, &sheet.profile.limits),
    }
}

fn root(properties: Map<String, Value>, sheet: &mut Sheet) -> Value {
    let names: Vec<&String> = properties.keys().collect();
    let mut root = json!({"type": "object"});
    if sheet.profile.says_order {
        root["propertyOrdering"] = json!(names);
    }
    root["required"] = json!(names);
    root["properties"] = Value::Object(properties);
    root["additionalProperties"] = Value::Bool(false);
    if !sheet.definitions.is_empty() {
        root["$defs"] = Value::Object(sheet.definitions.drain(..).collect());
    }
    root
}

/// As many quotes as there are leaves, and a few for those that need two; a list has no bound. A
/// small model would go on quoting until its tokens are used up.
fn most_quotes(subtree: &Subtree) -> Option<u32> {
    (subtree.kind != Kind::AgenticArray).then(|| subtree.total_fields.saturating_mul(2).max(4))
}

fn with_quotes(value: Value, most: Option<u32>, sheet: &mut Sheet) -> Value {
    let page = if sheet.as_lists {
        json!({"type": "array", "items": {"type": "integer"}, "description": "The number of its page, in a list of one; empty when it is not known."})
    } else {
        sheet.figures.unions += 1;
        json!({"type": ["integer", "null"], "description": "The number of its page."})
    };
    sheet.figures.properties += 5;
    let mut quote = json!({
        "type": "object",
        "properties": {
            "at": {"type": "string", "description": "JSON Pointer, relative to `value`, of the value that the quote proves, such as /total or /lines/0/amount."},
            "text": {"type": "string", "description": "The words of the document, verbatim, in which that value stands."},
            "page": page,
        },
        "required": ["at", "text", "page"],
        "additionalProperties": false,
    });
    let mut both = json!({
        "type": "object",
        "properties": {QUOTES: Value::Null, VALUE: Value::Null},
        "required": [QUOTES, VALUE],
        "additionalProperties": false,
    });
    if sheet.profile.says_order {
        quote["propertyOrdering"] = json!(["at", "text", "page"]);
        both["propertyOrdering"] = json!([QUOTES, VALUE]);
    }
    let mut quotes = json!({"type": "array", "items": quote});
    let limit = sheet.profile.limits.quotes;
    if let Some(most) = most.filter(|most| *most <= limit) {
        quotes["maxItems"] = most.into();
    }
    both["properties"][QUOTES] = quotes;
    both["properties"][VALUE] = value;
    both
}

fn excess(figures: &Figures, limits: &Limits) -> Vec<Excess> {
    let all = [
        ("levels of nesting", figures.depth, limits.depth),
        ("properties", figures.properties, limits.properties),
        ("enum values", figures.enum_values, limits.all_enum_values),
        (
            "characters of names and enum values",
            figures.text,
            limits.text,
        ),
        (
            "places with more than one type",
            figures.unions,
            limits.unions,
        ),
        ("optional properties", figures.optional, limits.optional),
        ("bytes", figures.bytes, limits.bytes),
    ];
    let over = all.into_iter().filter(|(_, figure, limit)| figure > limit);
    over.map(|(of, figure, limit)| Excess { of, figure, limit })
        .collect()
}

impl Lowered {
    /// The name of the profile it was made for.
    pub fn profile(&self) -> &'static str {
        self.profile
    }

    /// What goes into the request; none where the provider takes no schema.
    pub fn schema(&self) -> Option<&Value> {
        self.is_sent.then_some(&self.schema)
    }

    /// What the prompt has to show, since the provider does not.
    pub fn schema_in_text(&self) -> Option<&Value> {
        (!self.is_shown).then_some(&self.schema)
    }

    /// The schema that an answer is made by, wherever it goes.
    pub fn answers(&self) -> &Value {
        &self.schema
    }

    /// Whether the schema is within all that is known of the provider's limits.
    pub fn fits(&self) -> bool {
        self.excess.is_empty()
    }

    /// The limits it is over.
    pub fn excess(&self) -> &[Excess] {
        &self.excess
    }

    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The subtree of a member of the answer; none when it was not asked for.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        let found = self
            .members
            .iter()
            .find(|(index, _)| member(*index) == name);
        found.map(|(index, _)| *index)
    }

    /// The member of the answer that holds a subtree.
    pub fn member_of(&self, index: usize) -> String {
        member(index)
    }

    fn code(&self, index: usize) -> Option<(&Code, Book<'_>)> {
        let (_, code) = self.members.iter().find(|(known, _)| *known == index)?;
        let book = Book {
            definitions: &self.definitions,
        };
        Some((code, book))
    }

    /// The user's value of a subtree, of what a model wrote as its member.
    pub fn raise(&self, index: usize, answer: Value) -> Result<Raised, RaiseError> {
        let (code, book) = self.code(index).ok_or(RaiseError::NotAsked(index))?;
        let (quotes, laid) = if self.quotes {
            unwrapped(answer).ok_or_else(|| RaiseError::NoValue {
                member: member(index),
            })?
        } else {
            (Value::Null, answer)
        };
        let mut attributions = Attributions::new();
        let mut dropped = Vec::new();
        let claims = claims(quotes, &mut dropped);
        let places: Vec<_> = claims
            .iter()
            .map(|claim| resolve(&book, code, &laid, &claim.at))
            .collect();
        let value = book.raise(code, laid, &Place::default(), &mut dropped);
        for (claim, place) in claims.into_iter().zip(places) {
            match place.filter(|place| place.get(&value).is_some()) {
                Some(place) => {
                    let known = attributions.entry(place.to_string()).or_default();
                    known.quotes.push(quote(claim.text, claim.page));
                }
                None => dropped.push(Dropped {
                    pointer: claim.at,
                    why: "is quoted and does not stand in the value",
                }),
            }
        }
        Ok(Raised {
            value,
            attributions,
            dropped,
        })
    }

    /// What is known of the tokens of a member's scalars, by their places in the user's value; to
    /// be asked before the member is raised. A value of several, such as a pair, has the least.
    pub fn logprobs(&self, index: usize, answer: &Value, scored: &[Scored]) -> Logprobs {
        let laid = if self.quotes {
            answer.get(VALUE)
        } else {
            Some(answer)
        };
        let (Some((code, book)), Some(laid)) = (self.code(index), laid) else {
            return Logprobs::new();
        };
        let inside = scored.iter().filter_map(|leaf| match &leaf.at[..] {
            [first, at @ ..] if self.quotes => (first == VALUE).then_some((at, leaf.logprob)),
            at => (!self.quotes).then_some((at, leaf.logprob)),
        });
        let inside: Vec<_> = inside.take(MOST_SCORED + 1).collect();
        let mut placed = Logprobs::new();
        if inside.len() > MOST_SCORED {
            return placed;
        }
        for (at, logprob) in inside {
            if let Some(place) = book.place(code, laid, at) {
                let known = placed.entry(pointer(&place).to_string()).or_insert(0.0);
                *known = known.min(logprob);
            }
        }
        placed
    }

    /// A subtree's value as a model that keeps to the schema would write it, without quotes; none
    /// when it was not asked for.
    pub fn lay(&self, index: usize, value: &Value) -> Option<Value> {
        self.lay_quoted(index, value, &[])
    }

    /// The same, with quotes: the place in the user's value, the text and the page of each.
    pub fn lay_quoted(
        &self,
        index: usize,
        value: &Value,
        quotes: &[(Pointer, String, Option<u32>)],
    ) -> Option<Value> {
        let (code, book) = self.code(index)?;
        let laid = book.lay(code, value);
        if !self.quotes {
            return Some(laid);
        }
        let page_as_list = self.schema["properties"][member(index)]["properties"][QUOTES]["items"]
            ["properties"]["page"]["type"]
            == "array";
        let quotes = quotes.iter().map(|(at, text, page)| {
            let page = if page_as_list {
                page.iter().map(|page| Value::from(*page)).collect()
            } else {
                json!(page)
            };
            json!({"at": at, "text": text, "page": page})
        });
        let quotes: Vec<Value> = quotes.collect();
        Some(json!({QUOTES: quotes, VALUE: laid}))
    }
}

/// What a model says of where a value stands.
struct Claim {
    at: String,
    text: String,
    page: Option<u32>,
}

fn unwrapped(answer: Value) -> Option<(Value, Value)> {
    let Value::Object(mut members) = answer else {
        return None;
    };
    let value = members.shift_remove(VALUE)?;
    let quotes = members.shift_remove(QUOTES).unwrap_or(Value::Null);
    Some((quotes, value))
}

fn claims(quotes: Value, dropped: &mut Vec<Dropped>) -> Vec<Claim> {
    let Value::Array(quotes) = quotes else {
        return Vec::new();
    };
    let mut claims = Vec::new();
    for (index, quote) in quotes.iter().enumerate() {
        let text = |name: &str| quote.get(name).and_then(Value::as_str);
        let page = match quote.get("page") {
            Some(Value::Array(pages)) => pages.first(),
            page => page,
        };
        let page = page.and_then(Value::as_u64).map(u32::try_from);
        match (text("at"), text("text")) {
            (Some(at), Some(words)) if !words.trim().is_empty() => claims.push(Claim {
                at: at.to_owned(),
                text: words.to_owned(),
                page: page.and_then(Result::ok),
            }),
            _ => dropped.push(Dropped {
                pointer: format!("/{QUOTES}/{index}"),
                why: "is not a quote with its place",
            }),
        }
    }
    claims
}

/// The place in the user's value that a model means. Models write pointers in several ways.
fn resolve(book: &Book<'_>, code: &Code, laid: &Value, at: &str) -> Option<Pointer> {
    let at = at.trim().trim_start_matches('#');
    let at = if at.is_empty() || at.starts_with('/') {
        at.to_owned()
    } else {
        format!("/{at}")
    };
    let inside = at
        .strip_prefix("/value")
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let tries = [Some(at.as_str()), inside];
    tries.into_iter().flatten().find_map(|at| {
        let tokens: Vec<String> = Pointer::parse(at)?.tokens().collect();
        book.place(code, laid, &tokens).map(|place| pointer(&place))
    })
}

fn pointer(place: &[String]) -> Pointer {
    let join = |pointer: Pointer, token: &String| pointer.join(token);
    place.iter().fold(Pointer::root(), join)
}

fn quote(text: String, page: Option<u32>) -> Quote {
    Quote {
        text,
        page,
        bbox: None,
        start: None,
        end: None,
        verified: false,
        matched: Match::None,
    }
}
