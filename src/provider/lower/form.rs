//! What a schema node says, type by type.
//!
//! A form is never narrower than its node: every valid value of the node is a value of the form.
//! The one exception are members that are declared under a condition or by some of several
//! alternatives: they are asked for as they are declared there. Where they are not declared they
//! may be anything, and then they are as little asked for as any member that has no declaration;
//! taking them for anything everywhere would leave most alternatives without a single type.
//! What a form cannot hold is kept in words, for the model to read; validation judges afterwards.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// A child of a node: another node, or several that all hold, or of which one holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Term<'a> {
    Node(Node<'a>),
    All(Vec<Self>),
    Any(Vec<Self>),
    /// The first, and the members that the second has beside.
    Hinted(Box<Self>, Box<Self>),
}

/// A place in a schema document; equal only to itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a>(pub &'a Value);

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Node<'_> {}

impl std::hash::Hash for Node<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.0).hash(state);
    }
}

impl<'a> Term<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        Self::Node(Node(value))
    }

    fn join(mut terms: Vec<Self>, wrap: fn(Vec<Self>) -> Self) -> Self {
        let mut known: Vec<Self> = Vec::with_capacity(terms.len());
        terms.retain(|term| {
            let is_new = !known.contains(term);
            if is_new {
                known.push(term.clone());
            }
            is_new
        });
        if terms.len() == 1
            && let Some(only) = terms.pop()
        {
            return only;
        }
        wrap(terms)
    }

    pub(super) fn all(terms: Vec<Self>) -> Self {
        let flat = terms.into_iter().flat_map(|term| match term {
            Self::All(inner) => inner,
            other => vec![other],
        });
        Self::join(flat.collect(), Self::All)
    }

    pub(super) fn any(terms: Vec<Self>) -> Self {
        let flat = terms.into_iter().flat_map(|term| match term {
            Self::Any(inner) => inner,
            other => vec![other],
        });
        Self::join(flat.collect(), Self::Any)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numeric {
    Integer,
    Number,
}

/// Members beside the declared ones.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Others<'a> {
    /// There are none.
    Closed,
    /// There may be; nothing is said of them.
    Open,
    Asked(Term<'a>),
}

/// A declared member.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub key: &'a str,
    pub term: Term<'a>,
    /// Whether it is declared only under a condition, so that elsewhere it may be anything.
    pub is_hint: bool,
}

/// What an object without a declaration of a member lets it be.
enum Undeclared<'a> {
    Nothing,
    Anything,
    /// This; or anything, where only names of a pattern are bound.
    Other(Term<'a>),
}

impl<'a> Field<'a> {
    /// An alternative that has no declaration of it.
    fn beside(&mut self, other: &Undeclared<'a>) {
        self.is_hint |= !matches!(other, Undeclared::Nothing);
        if let Undeclared::Other(term) = other {
            self.term = Term::any(vec![self.term.clone(), term.clone()]);
        }
    }

    /// Both declarations hold.
    fn meet(&mut self, other: Self) {
        let here = self.term.clone();
        self.term = match (self.is_hint, other.is_hint) {
            (false, false) => Term::all(vec![here, other.term]),
            (true, true) => Term::any(vec![here, other.term]),
            (false, true) => hinted(here, other.term),
            (true, false) => hinted(other.term, here),
        };
        self.is_hint &= other.is_hint;
    }
}

fn hinted<'a>(term: Term<'a>, hint: Term<'a>) -> Term<'a> {
    if term == hint {
        return term;
    }
    Term::Hinted(Box::new(term), Box::new(hint))
}

#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    pub fields: Vec<Field<'a>>,
    pub required: BTreeSet<&'a str>,
    pub others: Others<'a>,
    /// Whether what is said of the others is said of those that an expression matches.
    pub is_matched: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Array<'a> {
    /// Items by position.
    pub first: Vec<Term<'a>>,
    /// The items after them; `None` when nothing is said of them.
    pub items: Option<Term<'a>>,
    /// Whether there may be items after the first.
    pub is_closed: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Form<'a> {
    pub null: bool,
    pub boolean: bool,
    pub number: Option<Numeric>,
    pub string: bool,
    pub object: Option<Object<'a>>,
    pub array: Option<Array<'a>>,
    /// The only values there are.
    pub values: Option<Vec<Value>>,
    /// Keywords that bound a value of their type.
    pub bounds: Map<String, Value>,
    pub title: Option<&'a str>,
    pub description: Option<&'a str>,
    /// What holds beside all this, for the model to read.
    pub words: Vec<String>,
}

impl Form<'_> {
    /// Any value.
    pub(super) fn anything() -> Self {
        Self {
            null: true,
            boolean: true,
            number: Some(Numeric::Number),
            string: true,
            object: Some(Object {
                fields: Vec::new(),
                required: BTreeSet::new(),
                others: Others::Open,
                is_matched: false,
            }),
            array: Some(Array {
                first: Vec::new(),
                items: None,
                is_closed: false,
            }),
            values: None,
            bounds: Map::new(),
            title: None,
            description: None,
            words: Vec::new(),
        }
    }

    /// No value.
    pub(super) fn nothing() -> Self {
        Self {
            null: false,
            boolean: false,
            number: None,
            string: false,
            object: None,
            array: None,
            ..Self::anything()
        }
    }

    pub(super) fn has_container(&self) -> bool {
        self.object.is_some() || self.array.is_some()
    }

    pub(super) fn has_scalar(&self) -> bool {
        self.boolean || self.number.is_some() || self.string
    }

    /// Whether values of every type are allowed and nothing is said of objects and arrays.
    pub(super) fn is_anything(&self) -> bool {
        self.boolean
            && self.number.is_some()
            && self.string
            && self.values.is_none()
            && self
                .object
                .as_ref()
                .is_some_and(|object| object.is_free() && object.required.is_empty())
            && self.array.as_ref().is_some_and(Array::is_free)
    }

    fn allows(&self, value: &Value) -> bool {
        match value {
            Value::Null => self.null,
            Value::Bool(_) => self.boolean,
            Value::Number(_) => self.number.is_some(),
            Value::String(_) => self.string,
            Value::Array(_) => self.array.is_some(),
            Value::Object(_) => self.object.is_some(),
        }
    }

    /// Values that are values of both.
    pub(super) fn meet(self, other: Self) -> Self {
        let values = match (&self.values, &other.values) {
            (Some(here), Some(there)) => Some(
                here.iter()
                    .filter(|value| there.contains(value))
                    .cloned()
                    .collect(),
            ),
            (Some(here), None) => Some(other.only(here)),
            (None, Some(there)) => Some(self.only(there)),
            (None, None) => None,
        };
        let number = match (self.number, other.number) {
            (Some(a), Some(b)) if a == Numeric::Integer || b == Numeric::Integer => {
                Some(Numeric::Integer)
            }
            (Some(_), Some(_)) => Some(Numeric::Number),
            _ => None,
        };
        let mut bounds = self.bounds;
        let mut words = self.words;
        words.extend(other.words);
        for (keyword, value) in other.bounds {
            match bounds.get(&keyword) {
                Some(there) if *there != value => words.push(super::words::bound(&keyword, &value)),
                _ => {
                    bounds.insert(keyword, value);
                }
            }
        }
        dedup(&mut words);
        let met = Self {
            null: self.null && other.null,
            boolean: self.boolean && other.boolean,
            number,
            string: self.string && other.string,
            object: self.object.zip(other.object).map(|(a, b)| a.meet(b)),
            array: self.array.zip(other.array).map(|(a, b)| a.meet(b)),
            values,
            bounds,
            title: self.title.or(other.title),
            description: self.description.or(other.description),
            words,
        };
        met.narrowed()
    }

    /// Where the values are listed, only their types are left.
    fn narrowed(mut self) -> Self {
        if let Some(values) = &self.values {
            let has = |is: fn(&Value) -> bool| values.iter().any(is);
            self.null = has(Value::is_null);
            self.boolean = has(Value::is_boolean);
            self.number = self.number.filter(|_| has(Value::is_number));
            self.string = has(Value::is_string);
            self.object = self.object.filter(|_| has(Value::is_object));
            self.array = self.array.filter(|_| has(Value::is_array));
        }
        self
    }

    fn only(&self, values: &[Value]) -> Vec<Value> {
        let kept = values.iter().filter(|value| self.allows(value));
        kept.cloned().collect()
    }

    /// Values that are values of one of them, or of both.
    pub(super) fn join(self, other: Self) -> Self {
        let values = match (self.values.clone(), other.values.clone()) {
            (Some(mut here), Some(there)) => {
                here.extend(there);
                dedup(&mut here);
                Some(here)
            }
            (Some(mut here), None) if other.is_only_null() => {
                if other.null {
                    here.push(Value::Null);
                }
                Some(here)
            }
            (None, Some(mut there)) if self.is_only_null() => {
                if self.null {
                    there.push(Value::Null);
                }
                Some(there)
            }
            _ => None,
        };
        let mut words = Vec::new();
        if values.is_none() {
            let lost = self.values.iter().chain(&other.values);
            words.extend(lost.map(|values| super::words::one_of(values)));
        }
        words.extend(self.words);
        words.extend(other.words);
        dedup(&mut words);
        let number = match (self.number, other.number) {
            (Some(a), Some(b)) if a == b => Some(a),
            (Some(_), Some(_)) => Some(Numeric::Number),
            (a, b) => a.or(b),
        };
        let mut bounds = self.bounds;
        bounds.retain(|keyword, value| other.bounds.get(keyword) == Some(value));
        Self {
            null: self.null || other.null,
            boolean: self.boolean || other.boolean,
            number,
            string: self.string || other.string,
            object: either(self.object, other.object, Object::join),
            array: either(self.array, other.array, Array::join),
            values,
            bounds,
            title: self.title.or(other.title),
            description: self.description.or(other.description),
            words,
        }
    }

    fn is_only_null(&self) -> bool {
        !self.has_scalar() && !self.has_container()
    }

    /// Asks for the fields of another form too, which hold only sometimes.
    pub(super) fn hint(&mut self, other: Self) {
        if let (Some(here), Some(there)) = (&mut self.object, other.object) {
            for mut field in there.fields {
                field.is_hint = true;
                match here.fields.iter_mut().find(|known| known.key == field.key) {
                    Some(known) => known.meet(field),
                    None if here.others != Others::Closed => here.fields.push(field),
                    None => {}
                }
            }
        }
    }
}

fn either<T>(a: Option<T>, b: Option<T>, both: fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(both(a, b)),
        (a, b) => a.or(b),
    }
}

fn dedup<T: PartialEq>(items: &mut Vec<T>) {
    let mut kept: Vec<T> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    *items = kept;
}

impl<'a> Object<'a> {
    /// Nothing is said of the members.
    pub(super) fn is_free(&self) -> bool {
        self.fields.is_empty() && self.others == Others::Open
    }

    /// The declared members, and after them those that have to be there all the same.
    pub(super) fn wanted(&self) -> Vec<Field<'a>> {
        let mut wanted = self.fields.clone();
        let anything = Term::of(&Value::Bool(true));
        let term = match self.undeclared() {
            Undeclared::Nothing => return wanted,
            Undeclared::Other(term) if !self.is_matched => term,
            Undeclared::Anything | Undeclared::Other(_) => anything,
        };
        let is_declared = |key: &str| self.fields.iter().any(|field| field.key == key);
        let others = self.required.iter().filter(|key| !is_declared(key));
        wanted.extend(others.map(|key| Field {
            key,
            term: term.clone(),
            is_hint: false,
        }));
        wanted
    }

    fn undeclared(&self) -> Undeclared<'a> {
        match &self.others {
            Others::Closed => Undeclared::Nothing,
            Others::Open | Others::Asked(Term::Node(Node(Value::Bool(true)))) => {
                Undeclared::Anything
            }
            Others::Asked(term) => Undeclared::Other(term.clone()),
        }
    }

    fn meet(mut self, other: Self) -> Self {
        for field in other.fields {
            match self.fields.iter_mut().find(|known| known.key == field.key) {
                Some(known) => known.meet(field),
                None => self.fields.push(field),
            }
        }
        self.required.extend(other.required);
        self.is_matched |= other.is_matched;
        self.others = match (self.others, other.others) {
            (Others::Closed, _) | (_, Others::Closed) => Others::Closed,
            (Others::Asked(a), Others::Asked(b)) => Others::Asked(Term::all(vec![a, b])),
            (Others::Asked(term), Others::Open) | (Others::Open, Others::Asked(term)) => {
                Others::Asked(term)
            }
            (Others::Open, Others::Open) => Others::Open,
        };
        self
    }

    fn join(mut self, other: Self) -> Self {
        // An object of which nothing is said beside one of which something is: whatever the
        // first may have is asked for.
        let is_free = (self.is_free() && self.required.is_empty() && !other.is_free())
            || (other.is_free() && other.required.is_empty() && !self.is_free());
        let (here, there) = (self.undeclared(), other.undeclared());
        for known in &mut self.fields {
            if !other.fields.iter().any(|field| field.key == known.key) {
                known.beside(&there);
            }
        }
        for mut field in other.fields {
            let known = self.fields.iter_mut().find(|known| known.key == field.key);
            if let Some(known) = known {
                known.term = Term::any(vec![known.term.clone(), field.term]);
                known.is_hint |= field.is_hint;
            } else {
                field.beside(&here);
                self.fields.push(field);
            }
        }
        self.required.retain(|key| other.required.contains(key));
        self.is_matched |= other.is_matched;
        self.others = match (self.others, other.others) {
            _ if is_free => Others::Asked(Term::of(&Value::Bool(true))),
            (Others::Asked(a), Others::Asked(b)) => Others::Asked(Term::any(vec![a, b])),
            (Others::Asked(term), _) | (_, Others::Asked(term)) => Others::Asked(term),
            (Others::Closed, Others::Closed) => Others::Closed,
            _ => Others::Open,
        };
        self
    }
}

impl Array<'_> {
    pub(super) fn is_free(&self) -> bool {
        self.first.is_empty() && self.items.is_none() && !self.is_closed
    }

    fn meet(mut self, other: Self) -> Self {
        let items = either(self.items.clone(), other.items.clone(), |a, b| {
            Term::all(vec![a, b])
        });
        let count = self.first.len().max(other.first.len());
        let at = |array: &Self, index: usize| {
            array
                .first
                .get(index)
                .or(array.items.as_ref())
                .cloned()
                .into_iter()
        };
        self.first = (0..count)
            .map(|index| Term::all(at(&self, index).chain(at(&other, index)).collect()))
            .collect();
        self.items = items;
        self.is_closed |= other.is_closed;
        self
    }

    fn join(self, other: Self) -> Self {
        if self.first.len() == other.first.len() && self.is_closed == other.is_closed {
            let first = self.first.into_iter().zip(other.first);
            return Self {
                first: first.map(|(a, b)| Term::any(vec![a, b])).collect(),
                items: self
                    .items
                    .zip(other.items)
                    .map(|(a, b)| Term::any(vec![a, b])),
                is_closed: self.is_closed,
            };
        }
        // Positions differ: a list of whatever may stand anywhere.
        let is_known = |array: &Self| array.items.is_some() || array.is_closed;
        let items = (is_known(&self) && is_known(&other)).then(|| {
            let all = [self.first, other.first].concat().into_iter();
            Term::any(all.chain(self.items).chain(other.items).collect())
        });
        Self {
            first: Vec::new(),
            items,
            is_closed: false,
        }
    }
}
