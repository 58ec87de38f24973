//! Schemas by name, for documents that everybody has.

use std::sync::LazyLock;

use serde_json::Value;

/// The presets, by name.
pub const NAMES: [&str; 3] = ["invoice", "receipt", "contract"];

static SCHEMAS: LazyLock<[Value; 3]> = LazyLock::new(|| {
    [
        include_str!("../../../schemas/presets/invoice.json"),
        include_str!("../../../schemas/presets/receipt.json"),
        include_str!("../../../schemas/presets/contract.json"),
    ]
    .map(|text| serde_json::from_str(text).unwrap_or_default())
});

/// The schema of a preset.
pub fn schema(name: &str) -> Option<Value> {
    let at = NAMES.iter().position(|known| *known == name)?;
    SCHEMAS.get(at).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_schema_whose_fields_are_described() {
        for name in NAMES {
            let schema = schema(name).unwrap();
            assert_eq!(schema["type"], "object", "{name}");
            for (field, of) in schema["properties"].as_object().unwrap() {
                assert!(of["description"].is_string(), "{name}: {field}");
            }
        }
        assert_eq!(schema("poem"), None);
    }
}
