//! The text that is read of a record's data, one for the same data.

use serde_json::{Map, Value};

/// Lines of `name: value` in the order of the data. What belongs to a name stands below it and two
/// blanks deeper; a list of plain objects is a table; text of several lines stands as it is.
/// Data that is text is that text, unchanged.
pub fn text(data: &Value) -> String {
    let mut text = String::new();
    match data {
        Value::String(said) => text.push_str(said),
        Value::Object(members) => write_members(&mut text, members, 0),
        Value::Array(items) => write_items(&mut text, items, 0),
        other => {
            write_scalar(&mut text, other);
            text.push('\n');
        }
    }
    text
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn write_scalar(text: &mut String, value: &Value) {
    match value {
        // What is not known is not said.
        Value::Null => {}
        Value::String(said) => text.push_str(said),
        other => text.push_str(&other.to_string()),
    }
}

fn write_members(text: &mut String, members: &Map<String, Value>, depth: usize) {
    for (name, value) in members {
        indent(text, depth);
        text.push_str(name);
        text.push(':');
        write_value(text, value, depth);
    }
}

/// What stands after a name and its colon, or after the dash of an item.
fn write_value(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(members) => {
            text.push('\n');
            write_members(text, members, depth + 1);
        }
        Value::Array(items) => {
            text.push('\n');
            write_items(text, items, depth + 1);
        }
        Value::String(said) if said.contains('\n') => {
            text.push('\n');
            text.push_str(said);
            if !said.ends_with('\n') {
                text.push('\n');
            }
        }
        other => {
            if !other.is_null() {
                text.push(' ');
            }
            write_scalar(text, other);
            text.push('\n');
        }
    }
}

fn write_items(text: &mut String, items: &[Value], depth: usize) {
    if let Some(columns) = columns(items) {
        write_table(text, &columns, items);
        return;
    }
    for item in items {
        indent(text, depth);
        text.push('-');
        write_value(text, item, depth);
    }
}

/// The names of a list whose items can be the rows of a table.
fn columns(items: &[Value]) -> Option<Vec<&str>> {
    let mut columns: Vec<&str> = Vec::new();
    for item in items {
        let members = item.as_object()?;
        if !members.iter().all(|(name, value)| is_cell(name, value)) {
            return None;
        }
        for name in members.keys() {
            if !columns.contains(&name.as_str()) {
                columns.push(name);
            }
        }
    }
    (!columns.is_empty() && columns.len() <= 40).then_some(columns)
}

fn is_cell(name: &str, value: &Value) -> bool {
    let is_plain = |said: &str| !said.contains(['|', '\n', '\r']);
    is_plain(name)
        && match value {
            Value::String(said) => is_plain(said),
            Value::Array(_) | Value::Object(_) => false,
            _ => true,
        }
}

fn write_table(text: &mut String, columns: &[&str], items: &[Value]) {
    text.push_str("| ");
    text.push_str(&columns.join(" | "));
    text.push_str(" |\n|");
    text.extend(columns.iter().map(|_| "---|"));
    text.push('\n');
    for item in items {
        text.push('|');
        for name in columns {
            text.push(' ');
            if let Some(value) = item.get(name) {
                write_scalar(text, value);
            }
            text.push_str(" |");
        }
        text.push('\n');
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_is_lines_of_names_and_values_in_its_own_order() {
        let data = json!({
            "number": "R-7", "total": 12.50, "paid": null,
            "buyer": {"name": "Ada", "address": {"city": "Graz"}},
            "tags": ["a", "b"],
        });
        assert_eq!(
            text(&data),
            "number: R-7\ntotal: 12.5\npaid:\nbuyer:\n  name: Ada\n  address:\n    city: Graz\n\
             tags:\n  - a\n  - b\n"
        );
    }

    #[test]
    fn a_list_of_plain_objects_is_a_table_and_others_are_lists() {
        let data = json!({"lines": [{"item": "Nut", "qty": 2}, {"item": "Bolt", "price": "3"}]});
        assert_eq!(
            text(&data),
            "lines:\n| item | qty | price |\n|---|---|---|\n| Nut | 2 |  |\n| Bolt |  | 3 |\n\n"
        );
        let data = json!([{"item": "a|b"}, {"item": {"x": 1}}]);
        assert_eq!(text(&data), "-\n  item: a|b\n-\n  item:\n    x: 1\n");
    }

    #[test]
    fn text_stands_as_it_is() {
        let page = "Invoice 7\n  Total   12.50\n";
        assert_eq!(text(&json!(page)), page);
        assert_eq!(
            text(&json!({"body": page, "n": 1})),
            format!("body:\n{page}n: 1\n")
        );
        assert_eq!(text(&json!(7)), "7\n");
    }
}
