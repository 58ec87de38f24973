//! What each vendor's structured output takes, as data.
//!
//! A keyword stands here only when it is worth its price: the limits that vendors keep on the
//! size of what they compile are not published, and bounds, long enums and formats spend them.
//! What is left out of a schema is said in words, and validation checks it afterwards.

/// How a schema reaches the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// As a parameter of the request that binds the answer.
    Schema,
    /// The request can only ask for JSON; the schema goes into the text.
    JsonMode,
    /// In the text alone.
    Text,
}

/// Which `$ref`s may stand in a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum References {
    None,
    /// To definitions that do not lead back to themselves.
    Plain,
    Recursive,
}

/// Property names that are sent as they are; the others are renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// Characters.
    pub most: usize,
    /// Only `A-Z a-z 0-9 _ . -`.
    pub plain: bool,
}

/// What a provider takes.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    pub name: &'static str,
    pub transport: Transport,
    /// Whether the vendor shows the schema to the model; where it does not, the prompt has to.
    pub is_shown: bool,
    /// Keywords that bound values, beside the structural ones.
    pub keywords: &'static [&'static str],
    /// Values of `format`.
    pub formats: &'static [&'static str],
    /// The largest `minItems`.
    pub min_items: u64,
    pub references: References,
    /// Levels of a recursive part that are written out where references may not lead back.
    pub unrolled: usize,
    /// Whether members of any name, items by position and values of any type can be said. Where
    /// they cannot, they become arrays of pairs, objects with numbered members, and JSON text.
    pub is_free: bool,
    /// Whether every property has to be required.
    pub all_required: bool,
    /// Whether the order of properties has to be said.
    pub says_order: bool,
    pub names: Names,
    pub limits: Limits,
}

/// The most that a schema may have, of each kind; `usize::MAX` where nothing is known.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Objects and arrays inside each other.
    pub depth: usize,
    pub properties: usize,
    /// Values of one `enum`; a larger one becomes a string.
    pub enum_values: usize,
    /// Values of all `enum`s.
    pub all_enum_values: usize,
    /// Characters of an `enum` of more than 250 values.
    pub long_enum_text: usize,
    /// Characters of all property names, definition names and `enum` values.
    pub text: usize,
    /// Places with more than one type.
    pub unions: usize,
    /// Properties that are not required.
    pub optional: usize,
    /// Bytes of the whole schema as compact JSON.
    pub bytes: usize,
    /// The largest `maxItems` that a list of quotes is given; 0 where it is given none.
    pub quotes: u32,
}

const BOUNDLESS: Limits = Limits {
    depth: usize::MAX,
    properties: usize::MAX,
    enum_values: usize::MAX,
    all_enum_values: usize::MAX,
    long_enum_text: usize::MAX,
    text: usize::MAX,
    unions: usize::MAX,
    optional: usize::MAX,
    bytes: usize::MAX,
    quotes: 0,
};

const ANY_NAME: Names = Names {
    most: usize::MAX,
    plain: false,
};

/// Every keyword that bounds a value and that people and models read without trouble.
const READABLE: &[&str] = &[
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
];

/// Gemini, `responseJsonSchema`. It knows bounds and formats, but counts them against a budget
/// that it does not tell, and answers a schema over it with the same bare 400 as a bad file; so
/// does a sum of `maxItems` over about 960, and an enum of some hundred values. References may
/// lead back only from properties that are not required.
pub const GEMINI: Profile = Profile {
    name: "gemini",
    transport: Transport::Schema,
    is_shown: true,
    keywords: &[],
    formats: &[],
    min_items: 0,
    references: References::Plain,
    unrolled: 3,
    is_free: false,
    all_required: false,
    says_order: true,
    names: Names {
        most: 64,
        plain: false,
    },
    limits: Limits {
        depth: 24,
        enum_values: 96,
        all_enum_values: 480,
        text: 60_000,
        bytes: 200_000,
        ..BOUNDLESS
    },
};

/// OpenAI, `response_format` `json_schema` with `strict`.
pub const OPENAI: Profile = Profile {
    name: "openai",
    transport: Transport::Schema,
    is_shown: true,
    keywords: &[
        "format",
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
    ],
    formats: &[
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uuid",
    ],
    min_items: u64::MAX,
    references: References::Recursive,
    unrolled: 3,
    is_free: false,
    all_required: true,
    says_order: false,
    names: ANY_NAME,
    limits: Limits {
        depth: 10,
        properties: 5_000,
        enum_values: 1_000,
        all_enum_values: 1_000,
        long_enum_text: 15_000,
        text: 120_000,
        ..BOUNDLESS
    },
};

/// Anthropic, `output_config.format` `json_schema`. At most 16 places may have more than one type
/// and at most 24 properties may be optional, so past 16 a value that may be missing is asked for
/// as a list of none or one. The size of the compiled grammar is limited too, by a figure that is
/// not published; reports put it at some tens of kilobytes of schema.
pub const ANTHROPIC: Profile = Profile {
    name: "anthropic",
    transport: Transport::Schema,
    is_shown: true,
    keywords: &["format", "minItems"],
    formats: &[
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
    ],
    min_items: 1,
    references: References::Plain,
    unrolled: 2,
    is_free: false,
    all_required: true,
    says_order: false,
    names: Names {
        most: 64,
        plain: true,
    },
    limits: Limits {
        enum_values: 100,
        all_enum_values: 500,
        unions: 16,
        optional: 24,
        bytes: 64_000,
        ..BOUNDLESS
    },
};

/// llama.cpp and vLLM: a grammar is made of the schema, and the model never sees it. The keywords
/// are those that both turn into rules of bounded size.
pub const GRAMMAR: Profile = Profile {
    name: "grammar",
    transport: Transport::Schema,
    is_shown: false,
    keywords: &["format"],
    formats: &["date", "time", "date-time", "uuid"],
    min_items: 0,
    references: References::Recursive,
    unrolled: 3,
    is_free: false,
    all_required: false,
    says_order: false,
    names: ANY_NAME,
    limits: Limits {
        enum_values: 500,
        all_enum_values: 5_000,
        bytes: 1 << 20,
        // Each item more is a rule more.
        quotes: 64,
        ..BOUNDLESS
    },
};

/// Servers that can be made to answer in JSON, but not by a schema.
pub const JSON_MODE: Profile = Profile {
    name: "json",
    transport: Transport::JsonMode,
    is_shown: false,
    keywords: READABLE,
    formats: &[],
    min_items: u64::MAX,
    references: References::Recursive,
    unrolled: 3,
    is_free: true,
    all_required: false,
    says_order: false,
    names: ANY_NAME,
    limits: Limits {
        enum_values: 2_000,
        ..BOUNDLESS
    },
};

/// Servers that take text and nothing else.
pub const TEXT: Profile = Profile {
    name: "text",
    transport: Transport::Text,
    ..JSON_MODE
};

/// All of them.
pub const PROFILES: [&Profile; 6] = [&GEMINI, &OPENAI, &ANTHROPIC, &GRAMMAR, &JSON_MODE, &TEXT];

impl Profile {
    /// The profile of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PROFILES.into_iter().find(|profile| profile.name == name)
    }

    /// Whether a keyword with this value may stand in a schema.
    pub(super) fn takes(&self, keyword: &str, value: &serde_json::Value) -> bool {
        self.keywords.contains(&keyword)
            && match keyword {
                // In the text every format is understood.
                "format" => {
                    self.transport != Transport::Schema
                        || value
                            .as_str()
                            .is_some_and(|format| self.formats.contains(&format))
                }
                "minItems" => value.as_u64().is_some_and(|least| least <= self.min_items),
                "pattern" => {
                    self.transport != Transport::Schema || value.as_str().is_some_and(is_regular)
                }
                _ => true,
            }
    }

    /// The name a property is sent under, unlike those taken.
    pub(super) fn name_of(&self, key: &str, taken: &[String]) -> String {
        let allowed = |c: char| !self.names.plain || c.is_ascii_alphanumeric() || "_.-".contains(c);
        // A name that starts with `$` is taken for a keyword by compilers that look for
        // references in every object.
        let mut name: String = key
            .trim_start_matches('$')
            .chars()
            .map(|c| if allowed(c) { c } else { '_' })
            .take(self.names.most)
            .collect();
        if name.is_empty() {
            name.push_str("unnamed");
        }
        let base: String = name
            .chars()
            .take(self.names.most.saturating_sub(6))
            .collect();
        let mut count = 1;
        while taken.contains(&name) {
            count += 1;
            name = format!("{base}_{count}");
        }
        name
    }
}

/// Whether an expression has no look-around, back reference or word boundary, which grammars
/// cannot say.
fn is_regular(pattern: &str) -> bool {
    !["(?", "\\b", "\\B", "\\k", "\\p", "\\P"]
        .iter()
        .any(|piece| pattern.contains(piece))
        && !pattern
            .as_bytes()
            .windows(2)
            .any(|pair| pair[0] == b'\\' && pair[1].is_ascii_digit())
}
