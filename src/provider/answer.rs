//! The text of an answer, read while it is written: each member of its object is given the moment
//! its value closes.
//!
//! Every byte is looked at once, and the text of a member is parsed once, when it is whole.

use serde_json::Value;

/// How much of an answer is read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of all text, bytes.
    pub bytes: usize,
    /// Of brackets in brackets.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 16 * 1024 * 1024,
            // What serde_json takes; deeper values could not be stored.
            depth: 120,
        }
    }
}

/// A member whose value is whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    pub name: String,
    pub value: Value,
    /// The name came before: the first value counts.
    pub duplicate: bool,
}

/// Why the text cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("it has more than {0} bytes")]
    TooLong(usize),
    #[error("it is nested more than {0} deep")]
    TooDeep(usize),
    #[error("byte {at} is no JSON")]
    NotJson { at: usize },
}

/// What was left at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Whether the object was closed.
    pub is_whole: bool,
    /// The member whose value was not.
    pub open: Option<String>,
    /// Commas before a closing bracket, which JSON does not have and whose meaning is certain.
    pub repaired: usize,
}

/// Where the reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the object: models like to say something first.
    Before,
    /// In the object, where a name or its end is to come.
    Name,
    InName,
    Colon,
    Value,
    Comma,
    After,
}

/// Reads the object of an answer.
#[derive(Debug)]
pub struct Members {
    limits: Limits,
    place: Place,
    /// Bytes seen.
    at: usize,
    /// The name or value that is being read.
    piece: String,
    name: String,
    seen: Vec<String>,
    /// Inside the value.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Byte length of `piece` where its last comma stands, while only blanks have followed.
    comma: Option<usize>,
    repaired: usize,
}

impl Members {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            place: Place::Before,
            at: 0,
            piece: String::new(),
            name: String::new(),
            seen: Vec::new(),
            depth: 0,
            in_string: false,
            is_escaped: false,
            comma: None,
            repaired: 0,
        }
    }

    /// Reads on, and adds what closes; what closed before the text turned out to be broken counts.
    pub fn feed(&mut self, text: &str, closed: &mut Vec<Closed>) -> Result<(), Broken> {
        for c in text.chars() {
            self.at += c.len_utf8();
            if self.at > self.limits.bytes {
                return Err(Broken::TooLong(self.limits.bytes));
            }
            self.step(c, closed)?;
        }
        Ok(())
    }

    /// What is left open.
    pub fn finish(self) -> Rest {
        let is_open = matches!(self.place, Place::Colon | Place::Value);
        Rest {
            is_whole: self.place == Place::After,
            open: is_open.then_some(self.name),
            repaired: self.repaired,
        }
    }

    fn step(&mut self, c: char, closed: &mut Vec<Closed>) -> Result<(), Broken> {
        let is_blank = matches!(c, ' ' | '\n' | '\r' | '\t');
        match self.place {
            Place::Before => {
                if c == '{' {
                    self.place = Place::Name;
                }
                Ok(())
            }
            Place::Name => match c {
                _ if is_blank => Ok(()),
                '"' => {
                    self.piece.push(c);
                    self.place = Place::InName;
                    Ok(())
                }
                '}' => {
                    self.place = Place::After;
                    Ok(())
                }
                // A brace in what is said before the object, such as a placeholder.
                _ if self.seen.is_empty() => {
                    self.place = Place::Before;
                    self.step(c, closed)
                }
                _ => Err(self.broken()),
            },
            Place::InName => self.in_name(c),
            Place::Colon => match c {
                _ if is_blank => Ok(()),
                ':' => {
                    self.place = Place::Value;
                    Ok(())
                }
                _ => Err(self.broken()),
            },
            Place::Value => self.in_value(c, is_blank, closed),
            Place::Comma => match c {
                _ if is_blank => Ok(()),
                ',' => {
                    self.place = Place::Name;
                    Ok(())
                }
                '}' => {
                    self.place = Place::After;
                    Ok(())
                }
                _ => Err(self.broken()),
            },
            Place::After => Ok(()),
        }
    }

    fn in_name(&mut self, c: char) -> Result<(), Broken> {
        self.piece.push(c);
        if self.is_escaped {
            self.is_escaped = false;
        } else if c == '\\' {
            self.is_escaped = true;
        } else if c == '"' {
            self.name = serde_json::from_str(&self.piece).map_err(|_| self.broken())?;
            self.piece.clear();
            self.place = Place::Colon;
        }
        Ok(())
    }

    fn in_value(
        &mut self,
        c: char,
        is_blank: bool,
        closed: &mut Vec<Closed>,
    ) -> Result<(), Broken> {
        if self.in_string {
            self.piece.push(c);
            if self.is_escaped {
                self.is_escaped = false;
            } else if c == '\\' {
                self.is_escaped = true;
            } else if c == '"' {
                self.in_string = false;
                if self.depth == 0 {
                    return self.close(closed);
                }
            }
            return Ok(());
        }
        let is_end_of_scalar = self.depth == 0 && !self.piece.is_empty();
        match c {
            _ if is_blank && self.depth == 0 => {
                if is_end_of_scalar {
                    return self.close(closed);
                }
            }
            ',' | '}' if is_end_of_scalar => {
                self.close(closed)?;
                return self.step(c, closed);
            }
            '"' => {
                self.open(c);
                self.in_string = true;
            }
            '{' | '[' => {
                self.open(c);
                self.depth += 1;
                if self.depth > self.limits.depth {
                    return Err(Broken::TooDeep(self.limits.depth));
                }
            }
            '}' | ']' => {
                self.drop_comma();
                self.piece.push(c);
                self.depth = self.depth.checked_sub(1).ok_or_else(|| self.broken())?;
                if self.depth == 0 {
                    return self.close(closed);
                }
            }
            ',' => {
                self.comma = Some(self.piece.len());
                self.piece.push(c);
            }
            _ if is_blank => self.piece.push(c),
            _ => self.open(c),
        }
        Ok(())
    }

    fn open(&mut self, c: char) {
        self.comma = None;
        self.piece.push(c);
    }

    fn drop_comma(&mut self) {
        if let Some(at) = self.comma.take() {
            self.piece.truncate(at);
            self.repaired += 1;
        }
    }

    fn close(&mut self, closed: &mut Vec<Closed>) -> Result<(), Broken> {
        let value = serde_json::from_str(&self.piece).map_err(|_| self.broken())?;
        self.piece.clear();
        self.comma = None;
        self.place = Place::Comma;
        let name = std::mem::take(&mut self.name);
        let duplicate = self.seen.contains(&name);
        if !duplicate {
            self.seen.push(name.clone());
        }
        closed.push(Closed {
            name,
            value,
            duplicate,
        });
        Ok(())
    }

    fn broken(&self) -> Broken {
        Broken::NotJson { at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    fn members() -> Members {
        Members::new(Limits::default())
    }

    fn feed(members: &mut Members, text: &str) -> Result<Vec<Closed>, Broken> {
        let mut closed = Vec::new();
        members.feed(text, &mut closed).map(|()| closed)
    }

    fn read(text: &str) -> (Vec<(String, Value)>, Rest) {
        let mut members = members();
        let closed = feed(&mut members, text).unwrap();
        let pairs = closed.into_iter().filter(|one| !one.duplicate);
        (
            pairs.map(|one| (one.name, one.value)).collect(),
            members.finish(),
        )
    }

    #[test]
    fn a_member_is_given_the_moment_its_value_closes() {
        let mut members = members();
        assert!(
            feed(&mut members, "{\"s0\": {\"a\": [1, 2")
                .unwrap()
                .is_empty()
        );
        let closed = feed(&mut members, "]}").unwrap();
        assert_eq!(
            (closed[0].name.as_str(), &closed[0].value),
            ("s0", &json!({"a": [1, 2]}))
        );
        assert!(
            feed(&mut members, ", \"s1\": 1").unwrap().is_empty(),
            "a number may go on"
        );
        assert_eq!(feed(&mut members, "2}").unwrap()[0].value, json!(12));
        assert!(members.finish().is_whole);
    }

    #[test]
    fn what_stands_around_the_object_is_passed_over() {
        for text in [
            "Here it is:\n```json\n{\"s0\": 1}\n```\nAnything else?",
            "\u{feff}{\"s0\": 1}",
            "As {you} asked: {\"s0\": 1}",
        ] {
            let (pairs, rest) = read(text);
            assert_eq!(pairs, [("s0".to_owned(), json!(1))], "{text}");
            assert!(rest.is_whole, "{text}");
        }
    }

    #[test]
    fn a_cut_answer_keeps_what_had_closed_and_names_what_was_open() {
        let (pairs, rest) = read("{\"s0\": {\"a\": 1}, \"s1\": {\"b\": \"x");
        assert_eq!(pairs, [("s0".to_owned(), json!({"a": 1}))]);
        assert_eq!((rest.is_whole, rest.open.as_deref()), (false, Some("s1")));
    }

    #[test]
    fn the_first_of_two_values_counts_and_commas_before_a_bracket_are_dropped() {
        let (pairs, rest) = read("{\"s0\": [1, {\"a\": 2,},\n], \"s0\": 3,}");
        assert_eq!(pairs, [("s0".to_owned(), json!([1, {"a": 2}]))]);
        assert_eq!((rest.is_whole, rest.repaired), (true, 2));
    }

    #[test]
    fn what_is_no_json_ends_the_reading() {
        for text in [
            "{\"s0\": NaN}",
            "{\"s0\": Infinity,",
            "{\"s0\" 1}",
            "{\"s0\": ]",
            "{\"s0\": 1 2}",
            "{\"s0\": '1'}",
        ] {
            assert!(
                matches!(feed(&mut members(), text), Err(Broken::NotJson { .. })),
                "{text}"
            );
        }
        let deep = format!("{{\"s0\": {}", "[".repeat(100_000));
        assert_eq!(feed(&mut members(), &deep), Err(Broken::TooDeep(120)));
        let mut small = Members::new(Limits {
            bytes: 10,
            depth: 5,
        });
        assert_eq!(
            feed(&mut small, "{\"s0\": \"aaaaaaaa"),
            Err(Broken::TooLong(10))
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(|n: f64| json!(n)),
            ".{0,12}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec((".{0,6}", inner), 0..5)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_members_are_those_of_the_whole(
            pairs in prop::collection::vec((".{0,6}", value()), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            pretty in any::<bool>(),
        ) {
            let object: Map<String, Value> = pairs.into_iter().collect();
            let text = if pretty {
                serde_json::to_string_pretty(&object).unwrap()
            } else {
                serde_json::to_string(&object).unwrap()
            };
            let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            places.retain(|at| text.is_char_boundary(*at));
            places.sort_unstable();
            let (mut members, mut read, mut from) = (members(), Map::new(), 0);
            for at in places.into_iter().chain([text.len()]) {
                for one in feed(&mut members, &text[from..at]).unwrap() {
                    prop_assert!(!one.duplicate);
                    read.insert(one.name, one.value);
                }
                from = at;
            }
            prop_assert_eq!(read, object);
            prop_assert!(members.finish().is_whole);
        }

        #[test]
        fn no_text_is_too_much_for_the_reading(text in ".{0,200}", cut in any::<prop::sample::Index>()) {
            let mut members = members();
            let mut at = cut.index(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let _ = feed(&mut members, &text[..at]).and_then(|_| feed(&mut members, &text[at..]));
            let _ = members.finish();
        }
    }
}
