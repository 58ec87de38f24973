//! What is wrong with a request's body, by JSON Pointer.

use serde_json::{Map, Value};

use crate::domain::error::{Code, Error};
use crate::domain::pointer::Pointer;

/// Characters of a stranger's member name that an error repeats.
const SHOWN: usize = 80;

pub fn wrong(pointer: &str, message: &str) -> Error {
    Error::new(Code::InvalidRequest, format!("At `{pointer}`: {message}")).at(pointer, message)
}

/// Refuses a body with a member that is not among `known`.
pub fn refuse_others(members: &Map<String, Value>, known: &[&str]) -> Result<(), Error> {
    let other = members.keys().find(|name| !known.contains(&name.as_str()));
    let Some(name) = other else {
        return Ok(());
    };
    let shown: String = name.chars().take(SHOWN).collect();
    Err(wrong(
        Pointer::root().join(&shown).as_str(),
        &format!(
            "There is no such member. Members are: {}.",
            known.join(", ")
        ),
    ))
}
