//! What a schema says, said to the model in words.

use serde_json::Value;

/// Characters of a list of values.
const MAX_LIST: usize = 4_000;

/// A keyword that bounds a value.
pub(super) fn bound(keyword: &str, value: &Value) -> String {
    let plain = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    match keyword {
        "format" => match plain.as_str() {
            "date" => "A date as YYYY-MM-DD.".to_owned(),
            "date-time" => "A moment as YYYY-MM-DDThh:mm:ss with its offset, such as Z.".to_owned(),
            "time" => "A time as hh:mm:ss.".to_owned(),
            other => format!("In the format `{other}`."),
        },
        "pattern" => format!("Must match the regular expression `{plain}`."),
        "minLength" => format!("At least {plain} characters."),
        "maxLength" => format!("At most {plain} characters."),
        "minimum" => format!("At least {plain}."),
        "maximum" => format!("At most {plain}."),
        "exclusiveMinimum" => format!("Greater than {plain}."),
        "exclusiveMaximum" => format!("Less than {plain}."),
        "multipleOf" => format!("A multiple of {plain}."),
        "minItems" => format!("At least {plain} items."),
        "maxItems" => format!("At most {plain} items."),
        "uniqueItems" => "No item twice.".to_owned(),
        "minProperties" => format!("At least {plain} members."),
        "maxProperties" => format!("At most {plain} members."),
        other => format!("`{other}`: {}", clip(&plain, 300)),
    }
}

/// The values there are, as many as may be said.
pub(super) fn one_of(values: &[Value]) -> String {
    let mut text = "One of ".to_owned();
    for (index, value) in values.iter().enumerate() {
        let shown = value.to_string();
        if text.len() + shown.len() > MAX_LIST {
            text.push_str(&format!("and {} more", values.len() - index));
            break;
        }
        text.push_str(&shown);
        if index + 1 < values.len() {
            text.push_str(", ");
        }
    }
    text.push('.');
    text
}

/// A condition that no schema of a provider can say.
pub(super) fn rule(keyword: &str, value: &Value) -> String {
    let says = match keyword {
        "not" => "Must not be valid under",
        "contains" => "At least one item is valid under",
        "propertyNames" => "Every member's name is valid under",
        "if" => "Where this holds",
        "then" => "then this does too",
        "else" => "and else this",
        "dependentRequired" | "dependencies" => "Where a member stands, so do these",
        other => return format!("`{other}`: {}", clip(&value.to_string(), 300)),
    };
    format!("{says}: {}", clip(&value.to_string(), 600))
}

fn clip(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
