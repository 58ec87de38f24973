//! A schema put together from properties, and properties from what documents show: labels with
//! values become fields, tables become lists of rows. No value of a document is in the schema: a
//! model that sees a value there may give it back as if it had read it.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::domain::outline::{Outline, Table};
use crate::domain::value::date::{self, Order};
use crate::domain::value::{fold, number};

/// What a property holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    Text,
    Date,
    Integer,
    Number,
    Boolean,
    Texts,
    Object(Vec<Property>),
    Rows(Vec<Property>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Unique among its siblings, lower case with underscores.
    pub name: String,
    pub description: Option<String>,
    pub form: Form,
    /// Whether every document has it; else it may be null.
    pub required: bool,
}

/// Characters of a name, words of a label, and properties of one object.
const MAX_NAME: usize = 60;
const MAX_LABEL_WORDS: usize = 8;
const MAX_PROPERTIES: usize = 300;

/// The schema, draft 2020-12, of an object with these properties.
pub fn schema(title: Option<&str>, properties: &[Property]) -> Value {
    let mut schema = Map::new();
    schema.insert(
        "$schema".into(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    if let Some(title) = title {
        schema.insert("title".into(), title.into());
    }
    schema.extend(object(properties, true));
    Value::Object(schema)
}

fn object(properties: &[Property], required: bool) -> Map<String, Value> {
    let members = properties.iter();
    let members: Map<String, Value> = members
        .map(|one| (one.name.clone(), one.schema()))
        .collect();
    let must = properties.iter().filter(|one| one.required);
    let must: Vec<_> = must.map(|one| json!(one.name)).collect();
    let mut object = Map::from_iter([
        ("type".to_owned(), kind("object", required)),
        ("properties".to_owned(), members.into()),
    ]);
    if !must.is_empty() {
        object.insert("required".into(), must.into());
    }
    object
}

fn kind(name: &str, required: bool) -> Value {
    if required {
        json!(name)
    } else {
        json!([name, "null"])
    }
}

impl Property {
    fn schema(&self) -> Value {
        let kind = |name: &str| kind(name, self.required);
        let mut schema = match &self.form {
            Form::Text => json!({"type": kind("string")}),
            Form::Date => json!({"type": kind("string"), "format": "date"}),
            Form::Integer => json!({"type": kind("integer")}),
            Form::Number => json!({"type": kind("number")}),
            Form::Boolean => json!({"type": kind("boolean")}),
            Form::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Form::Object(inner) => Value::Object(object(inner, self.required)),
            Form::Rows(columns) => {
                json!({"type": "array", "items": object(columns, true)})
            }
        };
        if let Some(description) = &self.description {
            schema["description"] = json!(description);
        }
        schema
    }

    /// What both may be: a property of all documents.
    fn join(&mut self, other: Self) {
        let mine = std::mem::replace(&mut self.form, Form::Text);
        self.form = mine.join(other.form);
        self.required &= other.required;
    }
}

impl Form {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Rows(a), Self::Rows(b)) => Self::Rows(union(vec![a, b])),
            (Self::Object(a), Self::Object(b)) => Self::Object(union(vec![a, b])),
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            (a, b) if a == b => a,
            (rows @ Self::Rows(_), _) | (_, rows @ Self::Rows(_)) => rows,
            _ => Self::Text,
        }
    }

    fn of(label: &str, text: &str) -> Self {
        const CODES: [&str; 20] = [
            "no",
            "nr",
            "number",
            "nummer",
            "id",
            "code",
            "phone",
            "tel",
            "telefon",
            "fax",
            "zip",
            "postcode",
            "plz",
            "iban",
            "bic",
            "account",
            "konto",
            "ref",
            "reference",
            "sku",
        ];
        let folded = fold(label);
        let mut said = folded.split(|char: char| !char.is_alphanumeric());
        let is_code = said.any(|word| {
            CODES.contains(&word) || ["nummer", "nr"].iter().any(|end| word.ends_with(end))
        });
        let words: Vec<&str> = text.split_whitespace().collect();
        let dates = date::find(&words, Order::DayFirst);
        if let Some((_, 0, last)) = dates.first().copied()
            && last + 1 == words.len()
        {
            return Self::Date;
        }
        if is_code {
            return Self::Text;
        }
        let is_padded = text.starts_with('0') && text.len() > 1 && !text.contains(['.', ',']);
        match number::parse(text, number::habit(words.iter().copied())) {
            Some(_) if is_padded => Self::Text,
            Some(found) if found.percent || found.decimals > 0 || found.currency.is_some() => {
                Self::Number
            }
            Some(_) => Self::Integer,
            None => match fold(text).as_str() {
                "yes" | "no" | "true" | "false" | "ja" | "nein" | "oui" | "non" => Self::Boolean,
                _ => Self::Text,
            },
        }
    }
}

/// The properties of documents that show this, in their order; required is what all of them have.
pub fn properties(outlines: &[Outline]) -> Vec<Property> {
    union(outlines.iter().map(of_outline).collect())
}

/// All properties of objects that are alike.
fn union(objects: Vec<Vec<Property>>) -> Vec<Property> {
    let count = objects.len();
    let mut all: Vec<(Property, usize)> = Vec::new();
    for property in objects.into_iter().flatten() {
        let has_room = all.len() < MAX_PROPERTIES;
        match all
            .iter_mut()
            .find(|(known, _)| known.name == property.name)
        {
            Some((known, times)) => {
                known.join(property);
                *times += 1;
            }
            None if has_room => all.push((property, 1)),
            None => {}
        }
    }
    let joined = all.into_iter().map(|(mut property, times)| {
        property.required &= times == count;
        property
    });
    joined.collect()
}

fn of_outline(outline: &Outline) -> Vec<Property> {
    let mut all: Vec<Property> = Vec::new();
    let mut add = |property: Property| {
        let has_room = all.len() < MAX_PROPERTIES;
        match all.iter_mut().find(|one| one.name == property.name) {
            // Two lists are two lists, whatever they are called.
            Some(known)
                if matches!(
                    (&known.form, &property.form),
                    (Form::Rows(_), Form::Rows(_))
                ) => {}
            Some(known) => known.join(property),
            None if has_room => all.push(property),
            None => {}
        }
    };
    for field in &outline.fields {
        add_field(&mut add, &field.label, &field.value);
    }
    let mut lists = 0;
    for table in &outline.tables {
        if let Some(columns) = columns(table) {
            lists += 1;
            let heads: Vec<&str> = table.rows[0].iter().map(String::as_str).collect();
            let heads: Vec<&str> = heads.into_iter().filter(|head| !head.is_empty()).collect();
            let name = if lists == 1 {
                "items".to_owned()
            } else {
                format!("items_{lists}")
            };
            add(Property {
                name,
                description: Some(format!(
                    "Every row of the table with the columns: {}",
                    heads.join(", ")
                )),
                form: Form::Rows(columns),
                required: true,
            });
        } else if is_pairs(table) {
            for row in &table.rows {
                if let [label, value] = row.as_slice() {
                    add_field(&mut add, label, value);
                }
            }
        }
    }
    all
}

fn add_field(add: &mut impl FnMut(Property), label: &str, value: &str) {
    let label = label.trim().trim_end_matches(':').trim();
    let name = name_of(label);
    if name.is_empty() || label.split_whitespace().count() > MAX_LABEL_WORDS {
        return;
    }
    add(Property {
        name,
        description: Some(format!("What the document says at `{label}`")),
        form: Form::of(label, value),
        required: true,
    });
}

fn has_digit(text: &str) -> bool {
    text.contains(|char: char| char.is_ascii_digit())
}

/// The columns of a table with a header; none where its first row is none.
fn columns(table: &Table) -> Option<Vec<Property>> {
    let (head, rows) = table.rows.split_first()?;
    let is_head = head.iter().filter(|cell| !cell.is_empty()).count() >= 2
        && head
            .iter()
            .all(|cell| !has_digit(cell) && !cell.ends_with(':'))
        && rows.iter().flatten().any(|cell| has_digit(cell));
    if !is_head || rows.is_empty() {
        return None;
    }
    let mut taken = HashSet::new();
    let column = |(at, label): (usize, &String)| {
        let name = name_of(label);
        if name.is_empty() || !taken.insert(name.clone()) {
            return None;
        }
        let cells = rows.iter().filter_map(|row| row.get(at));
        let said = cells.clone().filter(|cell| !cell.is_empty());
        let form = said.map(|cell| Form::of(label, cell)).reduce(Form::join);
        Some(Property {
            name,
            description: Some(format!("The column `{label}`")),
            form: form.unwrap_or(Form::Text),
            required: rows
                .iter()
                .all(|row| row.get(at).is_some_and(|cell| !cell.is_empty())),
        })
    };
    let columns: Vec<_> = head.iter().enumerate().filter_map(column).collect();
    (columns.len() >= 2).then_some(columns)
}

/// Whether each row of a table is a label and its value.
fn is_pairs(table: &Table) -> bool {
    table.rows.iter().all(|row| match row.as_slice() {
        [label, value] => !label.is_empty() && !value.is_empty() && !has_digit(label),
        _ => false,
    })
}

/// A name for a property that is called so: lower case with underscores; empty for signs alone.
pub fn name_of(label: &str) -> String {
    let folded = fold(label);
    let words = folded.split(|char: char| !char.is_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    if !words.iter().any(|word| word.contains(char::is_alphabetic)) {
        return String::new();
    }
    let name = words.join("_");
    let name = if name.starts_with(char::is_numeric) {
        format!("field_{name}")
    } else {
        name
    };
    let name: String = name.chars().take(MAX_NAME).collect();
    name.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outline::Labelled;

    fn outline(fields: &[(&str, &str)], rows: &[&[&str]]) -> Outline {
        let field = |(label, value): &(&str, &str)| Labelled {
            label: (*label).into(),
            value: (*value).into(),
        };
        let row = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
        Outline {
            fields: fields.iter().map(field).collect(),
            tables: vec![Table {
                rows: rows.iter().map(row).collect(),
                runs: Vec::new(),
            }],
        }
    }

    #[test]
    fn labels_and_tables_become_typed_properties_without_their_values() {
        let one = outline(
            &[
                ("Invoice Number", "4711"),
                ("Issued", "3 March 2026"),
                ("Total", "1,204.50 EUR"),
                ("Paid", "yes"),
            ],
            &[
                &["Qty", "Text", "Price"],
                &["2", "Bolt", "1.50"],
                &["1", "Nut", ""],
            ],
        );
        let schema = schema(Some("Invoice"), &properties(&[one]));
        let types = |name: &str| schema["properties"][name]["type"].clone();
        assert_eq!(types("invoice_number"), "string");
        assert_eq!(schema["properties"]["issued"]["format"], "date");
        assert_eq!(
            (types("total"), types("paid")),
            (json!("number"), json!("boolean"))
        );
        let item = &schema["properties"]["items"]["items"];
        assert_eq!(item["properties"]["qty"]["type"], "integer");
        assert_eq!(
            item["properties"]["price"]["type"],
            json!(["number", "null"])
        );
        assert_eq!(item["required"], json!(["qty", "text"]));
        let text = schema.to_string();
        assert!(!text.contains("4711") && !text.contains("204") && !text.contains("Bolt"));
    }

    #[test]
    fn only_what_all_documents_have_is_required_and_types_are_joined() {
        let rows: &[&[&str]] = &[];
        let one = outline(&[("Total", "5"), ("Due", "1.2.2026")], rows);
        let two = outline(&[("Total", "5.50"), ("Note", "x")], rows);
        let schema = schema(None, &properties(&[one, two]));
        assert_eq!(schema["required"], json!(["total"]));
        assert_eq!(schema["properties"]["total"]["type"], "number");
        assert_eq!(
            schema["properties"]["due"]["type"],
            json!(["string", "null"])
        );
    }

    #[test]
    fn names_are_lower_case_words_with_underscores() {
        assert_eq!(name_of("Größe / Höhe (cm)"), name_of("größe höhe cm"));
        assert_eq!(name_of("2nd line"), "field_2nd_line");
        assert_eq!(name_of("—:"), "");
    }
}
