//! What a job does with its document: it extracts what a schema asks for, or does one of the
//! operations that need no schema.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{Code, Error};
use super::id::DocumentId;
use super::pointer::Pointer;

/// An operation with its checked parameters, as it is kept with the job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Operation {
    /// Values, as a schema asks for them.
    #[default]
    Extract,
    Parse(Parse),
    Classify(Classify),
    Split(Split),
    GenerateSchema(GenerateSchema),
}

/// The text of a document: by page, as Markdown, and in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parse {
    /// The most characters of a chunk, 200..=10000.
    pub chunk_size: u32,
    /// The most characters that a chunk has in common with the one before, at most half of
    /// `chunk_size`.
    pub overlap: u32,
}

impl Default for Parse {
    fn default() -> Self {
        Self {
            chunk_size: 2_000,
            overlap: 200,
        }
    }
}

/// A kind of document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Which of these kinds a document is, if any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classify {
    /// At least one; no two have the same name.
    pub categories: Vec<Category>,
}

/// Where in a file one document ends and the next begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// What the documents may be; without any they are told apart and not named.
    pub kinds: Vec<Category>,
}

/// A JSON Schema of what documents like these say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerateSchema {
    /// More documents of the same kind, beside the job's own.
    pub documents: Vec<Further>,
}

/// A document beside the job's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Further {
    pub document_id: DocumentId,
    /// The key of its blobs; empty until the job is accepted.
    pub sha256: String,
}

/// The most kinds that are told apart, and the most characters of their names and descriptions.
pub const MAX_CATEGORIES: usize = 100;
const MAX_NAME: usize = 200;
const MAX_DESCRIPTION: usize = 2_000;
/// The most documents that a schema is generated from, beside the job's own.
pub const MAX_FURTHER: usize = 19;
const CHUNK_SIZE: (u32, u32) = (200, 10_000);
/// Characters of a stranger's value that an error repeats.
const SHOWN: usize = 80;

impl Operation {
    /// The operations by name.
    pub const NAMES: [&str; 5] = ["extract", "parse", "classify", "split", "generate_schema"];

    pub fn name(&self) -> &'static str {
        match self {
            Self::Extract => Self::NAMES[0],
            Self::Parse(_) => Self::NAMES[1],
            Self::Classify(_) => Self::NAMES[2],
            Self::Split(_) => Self::NAMES[3],
            Self::GenerateSchema(_) => Self::NAMES[4],
        }
    }

    pub fn is_extract(&self) -> bool {
        *self == Self::Extract
    }

    /// The operation of that name with the parameters of a request, an object or nothing.
    ///
    /// Refused with `invalid_request` and with `invalid_document_id`; pointers begin with the
    /// operation's name.
    pub fn read(name: &str, parameters: Option<&Value>) -> Result<Self, Error> {
        let Some(name) = Self::NAMES.into_iter().find(|known| *known == name) else {
            let shown: String = name.chars().take(SHOWN).collect();
            let names = Self::NAMES.join(", ");
            let message = format!("There is no operation `{shown}`. Operations are: {names}.");
            return Err(refused(&Pointer::root().join("operation"), &message));
        };
        let at = Pointer::root().join(name);
        let empty = Map::new();
        let object = match parameters {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(object)) => object,
            Some(_) => return Err(refused(&at, "Expected an object.")),
        };
        let members = Members { at, object };
        match name {
            "parse" => Parse::read(&members).map(Self::Parse),
            "classify" => Classify::read(&members).map(Self::Classify),
            "split" => Split::read(&members).map(Self::Split),
            "generate_schema" => GenerateSchema::read(&members).map(Self::GenerateSchema),
            _ => members.only(&[]).map(|()| Self::Extract),
        }
    }
}

/// The parameters of a request. Null counts as not given.
struct Members<'a> {
    at: Pointer,
    object: &'a Map<String, Value>,
}

impl<'a> Members<'a> {
    fn only(&self, known: &[&str]) -> Result<(), Error> {
        let other = self
            .object
            .keys()
            .find(|key| !known.contains(&key.as_str()));
        let Some(name) = other else { return Ok(()) };
        let shown: String = name.chars().take(SHOWN).collect();
        let there_are = if known.is_empty() {
            "There are none.".to_owned()
        } else {
            format!("Members are: {}.", known.join(", "))
        };
        let message = format!("There is no such member. {there_are}");
        Err(refused(&self.at.join(&shown), &message))
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn count(&self, name: &str, default: u32, low: u32, high: u32) -> Result<u32, Error> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (low..=high).contains(number));
        number.ok_or_else(|| {
            let shown: String = value.to_string().chars().take(SHOWN).collect();
            let message =
                format!("`{shown}` is not allowed; expected an integer from {low} to {high}.");
            refused(&self.at.join(name), &message)
        })
    }

    fn list(&self, name: &str, most: usize) -> Result<&'a [Value], Error> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) if items.len() <= most => Ok(items),
            Some(Value::Array(items)) => Err(refused(
                &self.at.join(name),
                &format!("There are {} items; the most is {most}.", items.len()),
            )),
            Some(_) => Err(refused(&self.at.join(name), "Expected a list.")),
        }
    }

    fn text(&self, name: &str, most: usize) -> Result<Option<String>, Error> {
        let allowed = || {
            let message = format!("Expected text of 1 to {most} characters.");
            refused(&self.at.join(name), &message)
        };
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => {
                let text = text.trim();
                let fits = !text.is_empty() && text.chars().count() <= most;
                fits.then(|| Some(text.to_owned())).ok_or_else(allowed)
            }
            Some(_) => Err(allowed()),
        }
    }

    /// Kinds of documents, no two of one name.
    fn categories(&self, name: &str) -> Result<Vec<Category>, Error> {
        let mut all: Vec<Category> = Vec::new();
        let at = self.at.join(name);
        for (index, item) in self.list(name, MAX_CATEGORIES)?.iter().enumerate() {
            let at = at.index(index);
            let category = Category::read(item, &at)?;
            if all.iter().any(|known| known.name == category.name) {
                let message = format!("`{}` is there twice.", category.name);
                return Err(refused(&at.join("name"), &message));
            }
            all.push(category);
        }
        Ok(all)
    }
}

impl Category {
    /// `{name, description}`, or the name alone.
    fn read(item: &Value, at: &Pointer) -> Result<Self, Error> {
        let name_only;
        let object = match item {
            Value::Object(object) => object,
            Value::String(_) => {
                name_only = Map::from_iter([("name".to_owned(), item.clone())]);
                &name_only
            }
            _ => return Err(refused(at, "Expected `{name, description}`.")),
        };
        let members = Members {
            at: at.clone(),
            object,
        };
        members.only(&["name", "description"])?;
        let name = members.text("name", MAX_NAME)?;
        let name = name.ok_or_else(|| refused(&at.join("name"), "Expected a name."))?;
        Ok(Self {
            name,
            description: members.text("description", MAX_DESCRIPTION)?,
        })
    }
}

impl Parse {
    fn read(members: &Members<'_>) -> Result<Self, Error> {
        members.only(&["chunk_size", "overlap"])?;
        let default = Self::default();
        let (low, high) = CHUNK_SIZE;
        let chunk_size = members.count("chunk_size", default.chunk_size, low, high)?;
        let overlap = default.overlap.min(chunk_size / 10);
        Ok(Self {
            chunk_size,
            overlap: members.count("overlap", overlap, 0, chunk_size / 2)?,
        })
    }
}

impl Classify {
    fn read(members: &Members<'_>) -> Result<Self, Error> {
        members.only(&["categories"])?;
        let categories = members.categories("categories")?;
        if categories.is_empty() {
            let message = "Expected at least one category, as `{name, description}`.";
            return Err(refused(&members.at.join("categories"), message));
        }
        Ok(Self { categories })
    }
}

impl Split {
    fn read(members: &Members<'_>) -> Result<Self, Error> {
        members.only(&["kinds"])?;
        Ok(Self {
            kinds: members.categories("kinds")?,
        })
    }
}

impl GenerateSchema {
    fn read(members: &Members<'_>) -> Result<Self, Error> {
        members.only(&["document_ids"])?;
        let at = members.at.join("document_ids");
        let ids = members
            .list("document_ids", MAX_FURTHER)?
            .iter()
            .enumerate();
        let further = |(index, id): (usize, &Value)| {
            let text = id.as_str();
            let text = text.ok_or_else(|| refused(&at.index(index), "Expected text."))?;
            Ok(Further {
                document_id: DocumentId::parse(text)?,
                sha256: String::new(),
            })
        };
        Ok(Self {
            documents: ids.map(further).collect::<Result<_, Error>>()?,
        })
    }
}

fn refused(at: &Pointer, message: &str) -> Error {
    Error::new(Code::InvalidRequest, format!("At `{at}`: {message}")).at(at.as_str(), message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointer(name: &str, parameters: &Value) -> String {
        let error = Operation::read(name, Some(parameters)).unwrap_err();
        assert_eq!(error.code, Code::InvalidRequest);
        error.errors[0].pointer.clone()
    }

    #[test]
    fn absent_parameters_have_their_defaults() {
        assert_eq!(
            Operation::read("parse", None).unwrap(),
            Operation::Parse(Parse::default())
        );
        let small = Operation::read("parse", Some(&json!({"chunk_size": 300}))).unwrap();
        let expected = Parse {
            chunk_size: 300,
            overlap: 30,
        };
        assert_eq!(small, Operation::Parse(expected));
        assert_eq!(
            Operation::read("split", Some(&Value::Null)).unwrap(),
            Operation::Split(Split::default())
        );
    }

    #[test]
    fn every_fault_is_named_by_its_pointer() {
        let long = vec!["x"; MAX_CATEGORIES + 1];
        for (name, parameters, expected) in [
            ("translate", json!({}), "/operation"),
            ("extract", json!({"a": 1}), "/extract/a"),
            ("parse", json!([]), "/parse"),
            ("parse", json!({"chunk_size": 199}), "/parse/chunk_size"),
            ("parse", json!({"overlap": 1001}), "/parse/overlap"),
            ("parse", json!({"chunks": 1}), "/parse/chunks"),
            ("classify", json!({}), "/classify/categories"),
            ("classify", json!({"categories": 1}), "/classify/categories"),
            (
                "classify",
                json!({"categories": long}),
                "/classify/categories",
            ),
            (
                "classify",
                json!({"categories": [{}]}),
                "/classify/categories/0/name",
            ),
            (
                "classify",
                json!({"categories": ["a", {"name": "a"}]}),
                "/classify/categories/1/name",
            ),
            (
                "split",
                json!({"kinds": [{"name": "a", "description": 5}]}),
                "/split/kinds/0/description",
            ),
            (
                "generate_schema",
                json!({"document_ids": [7]}),
                "/generate_schema/document_ids/0",
            ),
        ] {
            assert_eq!(pointer(name, &parameters), expected);
        }
        let id = Operation::read("generate_schema", Some(&json!({"document_ids": ["x"]})));
        assert_eq!(id.unwrap_err().code, Code::InvalidDocumentId);
    }

    #[test]
    fn an_operation_is_stored_under_its_name_and_read_back() {
        for (name, parameters) in [
            ("extract", json!({})),
            ("parse", json!({"overlap": 0})),
            (
                "classify",
                json!({"categories": ["a", {"name": "b", "description": "c"}]}),
            ),
            ("split", json!({"kinds": ["a"]})),
            ("generate_schema", json!({})),
        ] {
            let operation = Operation::read(name, Some(&parameters)).unwrap();
            let stored = serde_json::to_value(&operation).unwrap();
            assert_eq!(
                (stored["name"].as_str(), operation.name()),
                (Some(name), name)
            );
            assert_eq!(
                serde_json::from_value::<Operation>(stored).unwrap(),
                operation
            );
        }
    }
}
