//! Tables in the documents of random schemas, and a model that reads the rows it is shown.

use serde_json::{Map, Value, json};

use super::Dice;

/// What the first member of each row's name begins with; its values name the list and the row.
const NAME: &str = "line_";
const MOST_ROWS: u64 = 150;

/// Gives the rows of a list a first member by which they are known.
pub fn name_rows(object: &mut Value, list: u64) {
    let others = object["properties"].take();
    let mut members = Map::new();
    members.insert(format!("{NAME}{list}"), json!({"type": "string"}));
    members.extend(others.as_object().unwrap().clone());
    object["properties"] = Value::Object(members);
}

/// One table for each list of a schema.
pub fn all(schema: &Value, dice: &mut Dice) -> Vec<String> {
    let parts = schema["properties"].as_object().unwrap().iter();
    let lists = parts.filter(|(_, part)| part["type"] == "array");
    lists
        .map(|(name, part)| table(name, &part["items"], dice))
        .collect()
}

fn table(name: &str, item: &Value, dice: &mut Dice) -> String {
    let members = item["properties"].as_object().unwrap();
    let heads = members.keys().map(|member| {
        let head = member.trim_end_matches(|c: char| c == '_' || c.is_ascii_digit());
        format!("{head:<16}")
    });
    let heads: Vec<_> = heads.collect();
    let mut text = format!("\n{name}\n\n{}\n", heads.join("  "));
    let list = members.keys().next().unwrap();
    for row in 0..1 + dice.below(MOST_ROWS) {
        let cells = members.iter().map(|(member, schema)| {
            let cell = match schema["type"].as_str().unwrap() {
                _ if member == list => format!("{list}-{row:04}"),
                "number" => format!("{}.5", dice.below(10_000)),
                "integer" => dice.below(10_000).to_string(),
                "boolean" => (dice.below(2) == 0).to_string(),
                _ => format!("{} {}", dice.word(), dice.word()),
            };
            format!("{cell:<16}")
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text.push('\n');
    text
}

/// Puts the rows that are shown in the place of those that were made up.
pub fn fill(answer: &mut Value, document: &str) {
    match answer {
        Value::Array(rows) => {
            let row = rows.first().and_then(Value::as_object);
            let names: Vec<String> = row.map_or_else(Vec::new, |row| row.keys().cloned().collect());
            let list = names.iter().find(|name| name.starts_with(NAME));
            let known = list.map(|list| shown(list, &names, document));
            // Of a document without tables what was made up is as good as anything.
            if let Some(known) = known.filter(|known| !known.is_empty()) {
                *rows = known;
            }
        }
        Value::Object(members) => {
            members
                .values_mut()
                .for_each(|member| fill(member, document));
        }
        _ => {}
    }
}

fn shown(list: &str, names: &[String], document: &str) -> Vec<Value> {
    let begin = format!("{list}-");
    let lines = document.lines().filter(|line| line.starts_with(&begin));
    let rows = lines.map(|line| {
        let cells = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty());
        let cells = cells.map(|cell| serde_json::from_str(cell).unwrap_or_else(|_| json!(cell)));
        let members = names.iter().cloned().zip(cells);
        Value::Object(members.collect())
    });
    rows.collect()
}
