//! The rows that were whole when an answer was cut off.

/// JSON of a value that was cut off, without what is not whole of its rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) text: String,
    /// Bytes of it that were written so.
    pub(super) kept: usize,
}

enum Level {
    Object,
    /// Bytes up to the end of its last whole item.
    Array(usize),
}

/// Closes the outermost array that is open after its last whole item; none where no array is open.
pub(super) fn whole_items(text: &str) -> Option<Whole> {
    let mut levels = Vec::new();
    let (mut in_string, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' => levels.push(Level::Object),
            b'[' => levels.push(Level::Array(at + 1)),
            b'}' | b']' => {
                levels.pop();
                if let Some(Level::Array(kept)) = levels.last_mut() {
                    *kept = at + 1;
                }
            }
            b',' => {
                if let Some(Level::Array(kept)) = levels.last_mut() {
                    *kept = at;
                }
            }
            _ => {}
        }
    }
    let outermost = levels
        .iter()
        .enumerate()
        .find_map(|(depth, level)| match level {
            Level::Array(kept) => Some((depth, *kept)),
            Level::Object => None,
        });
    let (depth, kept) = outermost?;
    let closing = "}".repeat(depth);
    Some(Whole {
        text: format!("{}]{closing}", &text[..kept]),
        kept,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn wherever_an_array_is_cut_its_whole_items_are_left() {
        let all =
            json!([{"a": "x,]}\\\"", "b": [1, 2]}, {"a": null, "b": []}, {"a": "ü", "b": [3]}]);
        let items = all.as_array().unwrap();
        let text = all.to_string();
        let mut counts = Vec::new();
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let Some(whole) = whole_items(&text[..at]) else {
                assert_eq!(at, 0);
                continue;
            };
            let value: Value = serde_json::from_str(&whole.text).unwrap();
            let left = value.as_array().unwrap();
            assert_eq!(left[..], items[..left.len()], "{at}");
            counts.push(left.len());
        }
        assert!(counts.is_sorted());
        assert_eq!((counts[0], counts[counts.len() - 1]), (0, 3));
    }

    #[test]
    fn an_array_inside_an_object_is_closed_with_it() {
        let text = r#"{"quotes": [{"at": "/0"}], "value": [{"n": 1}, {"n": 2"#;
        let whole = whole_items(text).unwrap();
        assert_eq!(
            whole.text,
            r#"{"quotes": [{"at": "/0"}], "value": [{"n": 1}]}"#
        );
        assert_eq!(&text[..whole.kept], &whole.text[..whole.kept]);
        assert_eq!(whole_items(r#"{"a": "[", "b": 1"#), None);
    }
}
