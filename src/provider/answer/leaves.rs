//! Where the scalars of a value stand in its text.

use std::ops::Range;

/// Names and indices of all places together; a value with more of them has none.
const MOST_STEPS: usize = 1 << 18;

/// A scalar: the names and indices that lead to it, and the bytes that say what it is. Quotation
/// marks are none of them, unless there is nothing between.
pub(super) type Leaf = (Vec<String>, Range<usize>);

enum Level {
    Object(Option<String>),
    Array(usize),
}

/// The scalars of a value that was read from this text, slips of the pen included; none where
/// they are too many.
pub(super) fn leaves(text: &str) -> Option<Vec<Leaf>> {
    let bytes = text.as_bytes();
    let mut levels = Vec::new();
    let mut found = Vec::new();
    let (mut at, mut steps) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        let mut end = at + 1;
        let mut leaf = None;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b':' => {}
            b'{' => levels.push(Level::Object(None)),
            b'[' => levels.push(Level::Array(0)),
            b'}' | b']' => drop(levels.pop()),
            b',' => match levels.last_mut()? {
                Level::Object(name) => *name = None,
                Level::Array(index) => *index += 1,
            },
            b'"' => {
                end += string(&bytes[end..])?;
                match levels.last_mut() {
                    Some(Level::Object(name)) if name.is_none() => {
                        *name = Some(unquoted(&text[at..end])?);
                    }
                    _ if end - at == 2 => leaf = Some(at..end),
                    _ => leaf = Some(at + 1..end - 1),
                }
            }
            _ => {
                let is_over = |byte: &u8| b",}] \t\n\r".contains(byte);
                let rest = &bytes[end..];
                end += rest.iter().position(is_over).unwrap_or(rest.len());
                leaf = Some(at..end);
            }
        }
        if let Some(range) = leaf {
            steps += levels.len();
            if steps > MOST_STEPS {
                return None;
            }
            found.push((path(&levels), range));
        }
        at = end;
    }
    Some(found)
}

/// Bytes up to the end of a string, its closing mark included.
fn string(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += 1 + rest[at..].iter().position(|byte| b"\"\\".contains(byte))?;
        match rest[at - 1] {
            b'"' => return Some(at),
            // What follows a backslash is no end.
            _ if at < rest.len() => at += 1,
            _ => return None,
        }
    }
}

fn unquoted(name: &str) -> Option<String> {
    if name.contains('\\') {
        return serde_json::from_str(name).ok();
    }
    Some(name[1..name.len() - 1].to_owned())
}

fn path(levels: &[Level]) -> Vec<String> {
    let step = |level: &Level| match level {
        Level::Object(name) => name.clone().unwrap_or_default(),
        Level::Array(index) => index.to_string(),
    };
    levels.iter().map(step).collect()
}
