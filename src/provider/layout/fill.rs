//! From a compiled schema to a value: each field asked for where it can be, nothing made up.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::domain::evidence::{Attribution, Attributions, quote_words};
use crate::domain::pointer::Pointer;

use super::claim::{self, Claim, Right, Whose};
use super::find::{Found, Source};
use super::header::Header;
use super::kind::Kind;
use super::label::Phrase;
use super::lexicon::lexicon;
use super::party::{self, Party, Role};
use super::query::{self, Phrases};
use super::rows::count_alike;
use super::schema::{Field, Form, Leaf};
use super::text::{fold, name_words, tokens};
use super::value::Side;

/// Fills one subtree.
pub(super) struct Filler<'d> {
    pub source: Source<'d>,
    attributions: Attributions,
    /// What the fields of parties were given.
    claims: Vec<Claim>,
    parties: usize,
    /// How many arrays of the subtree ask for items of the same leaves.
    pub alike: HashMap<String, Vec<*const Field>>,
    /// The headers that answer them.
    pub headers: HashMap<String, Vec<Header>>,
}

/// An enclosing object: what it is called, and its block of the page if it is a party.
#[derive(Default, Clone)]
pub(super) struct Owner {
    number: usize,
    phrases: Phrases,
    /// A party is one of several on the page: what is asked of it must be its own.
    is_party: bool,
    role: Option<Role>,
    party: Option<Rc<Party>>,
}

/// The enclosing objects, the nearest last.
pub(super) type Owners = Vec<Rc<Owner>>;

/// The value of the schema and where each of its leaves was read.
pub(super) fn fill(source: Source<'_>, root: &Field) -> (Value, Attributions) {
    let mut filler = Filler {
        source,
        attributions: Attributions::new(),
        claims: Vec::new(),
        parties: 0,
        alike: HashMap::new(),
        headers: HashMap::new(),
    };
    count_alike(root, &mut filler.alike);
    let mut value = filler
        .field(root, &Pointer::root(), &Owners::new())
        .or_else(|| root.empty())
        .unwrap_or(Value::Null);
    for at in claim::lost(&filler.claims) {
        filler.attributions.remove(at);
        take_back(&mut value, root, at);
    }
    (value, filler.attributions)
}

/// Empties a field that was filled.
fn take_back(value: &mut Value, root: &Field, at: &str) {
    let Some(pointer) = Pointer::parse(at) else {
        return;
    };
    let mut field = root;
    for token in pointer.tokens() {
        let Form::Object(fields) = &field.form else {
            return;
        };
        let Some(inner) = fields.iter().find(|field| field.name == token) else {
            return;
        };
        field = inner;
    }
    let owner = pointer.parent().unwrap_or_else(Pointer::root);
    let Some(Value::Object(members)) = value.pointer_mut(owner.as_str()) else {
        return;
    };
    match field.empty() {
        Some(empty) => {
            members.insert(field.name.clone(), empty);
        }
        None => {
            members.shift_remove(&field.name);
        }
    }
}

impl Filler<'_> {
    /// The value of a field; `None` when nothing of it was found.
    fn field(&mut self, field: &Field, at: &Pointer, owners: &Owners) -> Option<Value> {
        match &field.form {
            Form::Object(fields) => self.object(field, fields, at, owners),
            Form::Array { item, most } => self.array(field, item, *most, at, owners),
            Form::Leaf(leaf) => {
                let (found, claim) = self.leaf(field, leaf, owners)?;
                if let Some((party, right)) = claim {
                    let named = matches!(
                        leaf.kind,
                        Kind::Name | Kind::VatId | Kind::Iban | Kind::Email
                    );
                    let text = found.value.as_str().filter(|_| named);
                    self.claims.push(Claim {
                        at: at.as_str().to_owned(),
                        party,
                        right,
                        sure: found.confidence,
                        identity: text.map(claim::identity),
                        spans: found.spans.clone(),
                    });
                }
                Some(self.keep(found, at))
            }
            Form::Closed => None,
        }
    }

    fn object(
        &mut self,
        field: &Field,
        fields: &[Field],
        at: &Pointer,
        owners: &Owners,
    ) -> Option<Value> {
        let mut inner = owners.clone();
        if !field.name.is_empty() {
            let around = owners.last().map(Rc::as_ref);
            let owner = self.owner(field, fields, around);
            inner.push(Rc::new(owner));
        }
        let mut map = Map::new();
        let mut any = false;
        for child in fields {
            let value = self.field(child, &at.join(&child.name), &inner);
            any |= value.is_some();
            if let Some(value) = value.or_else(|| child.empty()) {
                map.insert(child.name.clone(), value);
            }
        }
        (any || at.is_root() || !field.nullable).then_some(Value::Object(map))
    }

    fn owner(&mut self, field: &Field, fields: &[Field], around: Option<&Owner>) -> Owner {
        let name = tokens(&name_words(&field.name));
        if let Some(party) = around.filter(|owner| owner.is_party && is_plain_address(&name)) {
            return party.clone();
        }
        let kinds = |wanted: fn(Kind) -> bool| {
            fields
                .iter()
                .any(|child| matches!(&child.form, Form::Leaf(leaf) if wanted(leaf.kind)))
        };
        let named = kinds(|kind| kind == Kind::Name);
        let placed = kinds(|kind| {
            matches!(
                kind,
                Kind::Street
                    | Kind::Postcode
                    | Kind::City
                    | Kind::Address
                    | Kind::VatId
                    | Kind::Phone
                    | Kind::Email
            )
        });
        let is_party = lexicon().is_party(&name) || (named && placed);
        let phrases = query::owner(field);
        let role = party::role(&name);
        let party = if is_party {
            self.source.party(&phrases, role).map(Rc::new)
        } else {
            None
        };
        self.parties += 1;
        Owner {
            number: self.parties,
            phrases,
            is_party,
            role,
            party,
        }
    }

    /// The value of a leaf, and which party has what right to it.
    fn leaf(
        &self,
        field: &Field,
        leaf: &Leaf,
        owners: &Owners,
    ) -> Option<(Found, Option<(Whose, Right)>)> {
        if let Some(owner) = owners.last().filter(|owner| owner.is_party) {
            let (found, right) = self.of_party(field, leaf, owner)?;
            return Some((found, Some((Whose::Object(owner.number), right))));
        }
        let found = self.of_no_party(field, leaf, owners)?;
        let name = tokens(&name_words(&field.name));
        let whose = match leaf.kind {
            Kind::Name => query::ring_of(&name).map(Whose::Named),
            Kind::Money => Some(Whose::Sum {
                tax: claim::is_tax(&name),
            }),
            _ => None,
        };
        Some((found, whose.map(|whose| (whose, Right::Label))))
    }

    fn of_no_party(&self, field: &Field, leaf: &Leaf, owners: &Owners) -> Option<Found> {
        if let Some(law) = self.source.law_of(leaf, &query::own(field)) {
            return Some(law);
        }
        let mut best = self.labelled(leaf, &Self::phrases(field, owners).list(), Side::Any);
        if let (Kind::Date { .. }, Some((side, phrases))) = (leaf.kind, query::range(field)) {
            best = better(best, self.labelled(leaf, &phrases.list(), side));
        }
        if best.as_ref().is_none_or(|found| found.confidence < 0.8) {
            best = better(best, self.of_named_party(field, leaf));
        }
        best.or_else(|| self.without_label(field, leaf))
    }

    /// What some fields are known by where no label names them.
    fn without_label(&self, field: &Field, leaf: &Leaf) -> Option<Found> {
        let about = field.description.as_deref().map(fold).unwrap_or_default();
        let said = self.source.said(leaf, &query::own(field));
        if said.is_some() {
            return said;
        }
        match leaf.kind {
            Kind::Date { .. } => self.dated_number(field, leaf).or_else(|| {
                query::own(field).weight(&tokens("invoice date"))?;
                self.source.only_date(leaf)
            }),
            Kind::Currency => self.source.only_currency(leaf),
            Kind::Iban => self.source.only_iban(leaf),
            Kind::Name | Kind::Text if about.contains("top of") => self.source.letterhead(leaf),
            _ => None,
        }
    }

    /// A field of a party: a label in its block, its block's own lines, or a label that names
    /// both. A label elsewhere may be of another party.
    fn of_party(&self, field: &Field, leaf: &Leaf, owner: &Owner) -> Option<(Found, Right)> {
        let own = query::column(field);
        if let Some(party) = owner.party.as_deref() {
            let inside = party.region.and_then(|region| {
                self.source
                    .labelled(leaf, &own.list(), Side::Any, Some(&region))
            });
            let found = inside
                .or_else(|| party.contact(&self.source, field, leaf))
                .or_else(|| party.unlabelled(&self.source, leaf, leaf.kind));
            if let Some(found) = found {
                return Some((found, party.right()));
            }
        }
        if let Some(found) = self.labelled(leaf, &crossed(&owner.phrases, &own).list(), Side::Any) {
            return Some((found, Right::Label));
        }
        // Who sends a paper prints the number of its own registration on it once.
        if owner.role != Some(Role::Sender) || leaf.kind != Kind::VatId {
            return None;
        }
        let found = self.labelled(leaf, &own.list(), Side::Any)?;
        let found = Found {
            confidence: found.confidence * 0.75,
            ..found
        };
        Some((found, Right::Guess))
    }

    /// `Invoice No. 17 of 3 May 2024`: the date of a paper behind its number.
    fn dated_number(&self, field: &Field, leaf: &Leaf) -> Option<Found> {
        let own = query::own(field);
        own.weight(&tokens("invoice date"))?;
        let mut numbers = Phrases::default();
        numbers.add_ring(&tokens("invoice number"), 0.85);
        self.labelled(leaf, &numbers.list(), Side::Any)
    }

    /// `producer_phone`: the phone in the block of the producer.
    fn of_named_party(&self, field: &Field, leaf: &Leaf) -> Option<Found> {
        let name = tokens(&name_words(&field.name));
        let (_, head) = name.split_last()?;
        let known = lexicon().is_party(head) || party::role(head).is_some();
        if !known && party::role(&name).is_none() {
            return None;
        }
        let head = if known { head } else { &name[..] };
        let mut headings = Phrases::default();
        headings.add_ring(head, 1.0);
        let party = self.source.party(&headings, party::role(head))?;
        let place = match leaf.kind {
            Kind::Text => Kind::Name,
            other => other,
        };
        let tail: Vec<String> = name[head.len().min(name.len())..].to_vec();
        let mut labels = Phrases::default();
        labels.add_ring(&tail, 1.0);
        let inside = party
            .region
            .filter(|_| !tail.is_empty())
            .and_then(|region| {
                self.source
                    .labelled(leaf, &labels.list(), Side::Any, Some(&region))
            });
        let found = inside.or_else(|| party.unlabelled(&self.source, leaf, place))?;
        Some(Found {
            confidence: found.confidence * 0.95,
            ..found
        })
    }

    fn labelled(&self, leaf: &Leaf, phrases: &[Phrase], side: Side) -> Option<Found> {
        self.source.labelled(leaf, phrases, side, None)
    }

    /// The labels of a field: its own, and its own with those of its owner.
    pub(super) fn phrases(field: &Field, owners: &Owners) -> Phrases {
        let own = query::own(field);
        let mut all = own.clone();
        if let Some(owner) = owners.last() {
            all.merge(&crossed(&owner.phrases, &own));
        }
        all
    }

    /// Notes where a value was read and hands it on.
    pub(super) fn keep(&mut self, found: Found, at: &Pointer) -> Value {
        let document = self.source.document;
        let quotes = found
            .spans
            .iter()
            .filter_map(|span| {
                quote_words(
                    document,
                    document.pages.get(span.page)?,
                    span.first,
                    span.last,
                )
            })
            .collect();
        let confidence = (f64::from(found.confidence.clamp(0.0, 1.0)) * 100.0).round() / 100.0;
        self.attributions.insert(
            at.as_str().to_owned(),
            Attribution {
                reasoning: Some(found.how.to_owned()),
                confidence: Some(confidence),
                quotes,
                ..Attribution::default()
            },
        );
        found.value
    }
}

fn better(a: Option<Found>, b: Option<Found>) -> Option<Found> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.confidence > a.confidence { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// Labels that name an owner and its field together: `buyer VAT id`.
fn crossed(owner: &Phrases, own: &Phrases) -> Phrases {
    let mut all = Phrases::default();
    for outer in owner.list().iter().take(12) {
        for inner in own.list().iter().take(12) {
            let mut tokens = outer.tokens.clone();
            tokens.extend(inner.tokens.iter().cloned());
            all.add(tokens, outer.weight * inner.weight.max(0.9));
        }
    }
    all
}

/// Whether an object in a party is called no more than its address.
fn is_plain_address(name: &[String]) -> bool {
    let last = |token: &String| matches!(token.as_str(), "address" | "adresse" | "anschrift");
    let plain = |token: &String| {
        last(token)
            || matches!(
                token.as_str(),
                "postal" | "mailing" | "full" | "main" | "post"
            )
    };
    name.iter().any(last) && name.iter().all(plain)
}
