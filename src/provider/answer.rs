//! Reads the text of an answer while it comes, and gives each member of its object the moment
//! the member's value closes.
//!
//! Every byte is looked at once. A member's text is parsed once, when it is whole; nothing is
//! parsed again from the start. What is certain to be a slip of the pen is set right and counted:
//! a comma before a closing bracket, a bare line feed inside a string.

mod cut;
mod leaves;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;

pub use tally::{Scored, Tally};

/// The most that an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text, whatever stands around the object included.
    pub bytes: u64,
    /// Objects and arrays inside each other, the answer's own included.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            depth: 128,
        }
    }
}

/// A member whose value is whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    pub name: String,
    pub value: Value,
    /// Whether a member of that name stood before; the first one holds.
    pub duplicate: bool,
    /// Where the value stands, bytes of all that was read.
    pub span: Range<u64>,
}

/// Why the text cannot be read on. What had closed before holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("The answer has more than {limit} bytes.")]
    TooLong { limit: u64 },
    #[error("The answer is nested deeper than {limit} levels.")]
    TooDeep { limit: usize },
    #[error("The answer has `{found}` at byte {at}, where {expected} should be.")]
    Unexpected {
        found: char,
        expected: &'static str,
        at: u64,
    },
    #[error("The value of `{member}` is not JSON: {reason}.")]
    NotJson { member: String, reason: String },
}

/// How the text ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rest {
    /// Whether an object was found at all.
    pub is_opened: bool,
    /// Whether the object was closed: the answer is whole.
    pub is_closed: bool,
    /// The member that was under way.
    pub open: Option<String>,
    /// Slips that were set right.
    pub repairs: u32,
    /// Bytes looked at.
    pub scanned: u64,
    /// Why reading ended before the text did.
    pub broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the object, in whatever stands around it.
    Outside,
    /// After a `{` that may be a part of that.
    Brace,
    /// Before a member's name; `first` right after the brace, `comma` after a comma.
    Name {
        first: bool,
        comma: bool,
    },
    InName,
    Colon,
    /// Before a member's value.
    Value,
    InValue,
    /// After a member's value.
    Next,
    Closed,
}

/// Reads one answer.
#[derive(Debug)]
pub struct Members {
    limits: Limits,
    at: At,
    /// Inside a value: the open objects and arrays of it.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// The name or value under way, as written.
    text: String,
    /// Where in `text` the last comma stands, when only white space follows it.
    comma: Option<usize>,
    name: String,
    /// Where the value under way began.
    start: u64,
    names: HashSet<String>,
    rest: Rest,
}

impl Default for Members {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Members {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            at: At::Outside,
            depth: 0,
            in_string: false,
            is_escaped: false,
            text: String::new(),
            comma: None,
            name: String::new(),
            start: 0,
            names: HashSet::new(),
            rest: Rest::default(),
        }
    }

    /// Reads on, and gives the members that closed. When the text breaks, what closed before is
    /// given first and the fault with the next call, and with [`Members::finish`].
    pub fn feed(&mut self, chunk: &str) -> Result<Vec<Closed>, Broken> {
        if let Some(broken) = &self.rest.broken {
            return Err(broken.clone());
        }
        let mut closed = Vec::new();
        if let Err(broken) = self.read(chunk, &mut closed) {
            self.text = String::new();
            self.rest.broken = Some(broken.clone());
            if closed.is_empty() {
                return Err(broken);
            }
        }
        Ok(closed)
    }

    /// Whether the object was closed: nothing more will come.
    pub fn is_closed(&self) -> bool {
        self.rest.is_closed
    }

    /// The member under way, as far as its rows are whole: the outermost array that is open, without
    /// the item that is not closed. None where no array is open.
    pub fn cut(&self) -> Option<Closed> {
        if self.at != At::InValue || self.names.contains(&self.name) {
            return None;
        }
        let whole = cut::whole_items(&self.text)?;
        // Where something was set right the text is not as it came.
        let kept = if self.rest.repairs == 0 {
            whole.kept as u64
        } else {
            0
        };
        Some(Closed {
            name: self.name.clone(),
            value: serde_json::from_str(&whole.text).ok()?,
            duplicate: false,
            span: self.start..self.start + kept,
        })
    }

    /// What was left when the text ended.
    pub fn finish(mut self) -> Rest {
        let is_open = matches!(self.at, At::Colon | At::Value | At::InValue);
        self.rest.open = is_open.then_some(self.name);
        self.rest
    }

    fn read(&mut self, chunk: &str, closed: &mut Vec<Closed>) -> Result<(), Broken> {
        let bytes = chunk.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            // Plain text goes over in one piece.
            if self.in_string && !self.is_escaped {
                let rest = &bytes[index..];
                let plain = rest
                    .iter()
                    .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
                    .unwrap_or(rest.len());
                self.count(plain as u64)?;
                self.text.push_str(&chunk[index..index + plain]);
                index += plain;
                if index == bytes.len() {
                    break;
                }
            }
            // Bytes of longer characters only occur in strings and in prose; as text they are
            // taken whole, so that a cut never falls inside one.
            let width = chunk[index..].chars().next().map_or(1, char::len_utf8);
            self.count(width as u64)?;
            self.step(&chunk[index..index + width], closed)?;
            index += width;
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), Broken> {
        self.rest.scanned += bytes;
        if self.rest.scanned > self.limits.bytes {
            return Err(Broken::TooLong {
                limit: self.limits.bytes,
            });
        }
        Ok(())
    }

    /// One character.
    fn step(&mut self, character: &str, closed: &mut Vec<Closed>) -> Result<(), Broken> {
        let byte = character.as_bytes()[0];
        let is_space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        match self.at {
            At::Outside => {
                if byte == b'{' {
                    self.at = At::Brace;
                }
            }
            At::Brace | At::Colon | At::Value if is_space => {}
            At::Brace => match byte {
                b'"' | b'}' => {
                    self.rest.is_opened = true;
                    self.at = At::Name {
                        first: true,
                        comma: false,
                    };
                    return self.step(character, closed);
                }
                b'{' => {}
                _ => self.at = At::Outside,
            },
            At::Name { first, comma } => self.before_name(character, first, comma)?,
            At::InName => {
                if self.string(character) {
                    self.name = self.parse(|| "a member's name".to_owned())?;
                    self.at = At::Colon;
                }
            }
            At::Colon if byte == b':' => self.at = At::Value,
            At::Colon => return Err(self.unexpected(character, "a colon")),
            At::Value if matches!(byte, b',' | b'}' | b']' | b':') => {
                return Err(self.unexpected(character, "a value"));
            }
            At::Value => {
                self.at = At::InValue;
                self.start = self.rest.scanned - character.len() as u64;
                return self.in_value(character, closed);
            }
            At::InValue => return self.in_value(character, closed),
            At::Next => self.after_value(character)?,
            At::Closed => {}
        }
        Ok(())
    }

    fn before_name(&mut self, character: &str, first: bool, comma: bool) -> Result<(), Broken> {
        match character.as_bytes()[0] {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' if first || comma => {
                self.text.clear();
                self.text.push('"');
                self.in_string = true;
                self.at = At::InName;
            }
            b'}' => {
                self.rest.repairs += u32::from(comma);
                self.close();
            }
            _ => return Err(self.unexpected(character, "a member's name")),
        }
        Ok(())
    }

    fn after_value(&mut self, character: &str) -> Result<(), Broken> {
        match character.as_bytes()[0] {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b',' => {
                self.at = At::Name {
                    first: false,
                    comma: true,
                };
            }
            b'}' => self.close(),
            _ => return Err(self.unexpected(character, "a comma or the end")),
        }
        Ok(())
    }

    /// An empty object may be a part of the prose before the answer.
    fn close(&mut self) {
        self.rest.is_closed = !self.names.is_empty() || self.rest.is_closed;
        self.at = if self.names.is_empty() {
            self.rest.is_closed = true;
            At::Outside
        } else {
            At::Closed
        };
    }

    fn in_value(&mut self, character: &str, closed: &mut Vec<Closed>) -> Result<(), Broken> {
        if self.in_string {
            if self.string(character) && self.depth == 0 {
                return self.end(closed, self.rest.scanned);
            }
            return Ok(());
        }
        let byte = character.as_bytes()[0];
        if self.comma.is_some() && !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            self.settle_comma(byte);
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                // The answer's own object is a level too.
                if self.depth >= self.limits.depth {
                    return Err(Broken::TooDeep {
                        limit: self.limits.depth,
                    });
                }
            }
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                self.text.push_str(character);
                return if self.depth == 0 {
                    self.end(closed, self.rest.scanned)
                } else {
                    Ok(())
                };
            }
            b',' | b'}' | b' ' | b'\t' | b'\n' | b'\r' if self.depth == 0 => {
                self.end(closed, self.rest.scanned - 1)?;
                return self.after_value(character);
            }
            b',' => self.comma = Some(self.text.len()),
            _ => {}
        }
        self.text.push_str(character);
        Ok(())
    }

    /// A comma after a value and right before a closing bracket is left out.
    fn settle_comma(&mut self, byte: u8) {
        let Some(at) = self.comma.take() else { return };
        let before = self.text[..at].trim_end().as_bytes().last();
        let follows_value = !matches!(before, None | Some(b',' | b'[' | b'{' | b':'));
        if matches!(byte, b'}' | b']') && follows_value {
            self.text.truncate(at);
            self.rest.repairs += 1;
        }
    }

    /// One character of a string; true when it ends the string.
    fn string(&mut self, character: &str) -> bool {
        let byte = character.as_bytes()[0];
        if byte < 0x20 {
            // JSON wants these escaped; what is meant is not in doubt. After a backslash it is.
            if !self.is_escaped {
                self.rest.repairs += 1;
                self.text.push_str(&format!("\\u{byte:04x}"));
                return false;
            }
        }
        self.text.push_str(character);
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => {
                self.in_string = false;
                return true;
            }
            _ => {}
        }
        false
    }

    /// The value is whole; it ended with byte `end`.
    fn end(&mut self, closed: &mut Vec<Closed>, end: u64) -> Result<(), Broken> {
        let name = std::mem::take(&mut self.name);
        let value = self.parse(|| name.clone())?;
        let duplicate = !self.names.insert(name.clone());
        closed.push(Closed {
            name,
            value,
            duplicate,
            span: self.start..end,
        });
        self.at = At::Next;
        Ok(())
    }

    fn parse<T: serde::de::DeserializeOwned>(
        &mut self,
        member: impl Fn() -> String,
    ) -> Result<T, Broken> {
        let read = serde_json::from_str(&self.text);
        self.text.clear();
        read.map_err(|error| Broken::NotJson {
            member: member(),
            reason: error.to_string(),
        })
    }

    fn unexpected(&self, character: &str, expected: &'static str) -> Broken {
        Broken::Unexpected {
            found: character.chars().next().unwrap_or_default(),
            expected,
            at: self.rest.scanned - character.len() as u64,
        }
    }
}
