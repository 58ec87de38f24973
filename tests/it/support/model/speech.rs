//! What a model says, in no wire's words.

/// Stands in a text for a byte that no UTF-8 has.
pub const BAD_BYTE: char = '\u{E0FF}';
/// Stands in a text for many megabytes.
pub const HUGE: &str = "@@HUGE@@";
/// Characters that a model writes as one token.
pub const TOKEN: usize = 4;

#[derive(Debug, Clone)]
pub enum Part {
    Thought(String),
    Text(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    Stop,
    /// The token limit.
    Length,
    /// With the model's own words where the wire has room for them.
    Refusal(String),
    /// The filter of the vendor stopped the answer.
    Filtered,
    /// The prompt was not read; wires that say so by status use a failure instead.
    Blocked,
    /// A word that no list knows.
    Unknown,
    /// An error after the parts.
    Broken,
}

/// Virtual tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All that was read, cached or not.
    pub prompt: u64,
    pub cached: u64,
    pub thought: u64,
    pub written: u64,
}

#[derive(Debug, Clone)]
pub struct Speech {
    pub parts: Vec<Part>,
    pub ending: Ending,
    pub tokens: Tokens,
    pub tells_usage: bool,
    /// Members that no client knows are strewn in.
    pub extras: bool,
}

impl Speech {
    pub fn text(text: impl Into<String>) -> Self {
        Self::parts(vec![Part::Text(text.into())])
    }

    pub fn parts(parts: Vec<Part>) -> Self {
        Self {
            parts,
            ending: Ending::Stop,
            tokens: Tokens::default(),
            tells_usage: true,
            extras: false,
        }
    }

    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    pub fn without_usage(mut self) -> Self {
        self.tells_usage = false;
        self
    }

    pub fn with_extras(mut self) -> Self {
        self.extras = true;
        self
    }

    /// All text of the answer.
    pub fn said(&self) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Thought(_) => "",
        });
        texts.collect()
    }

    /// All thoughts.
    pub fn thought(&self) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Thought(text) => text.as_str(),
            Part::Text(_) => "",
        });
        texts.collect()
    }

    /// Counts what was said; what was read is told.
    pub fn count(&mut self, prompt: u64, cached: u64) {
        self.tokens = Tokens {
            prompt,
            cached,
            thought: tokens(&self.thought()),
            written: tokens(&self.said()),
        };
    }
}

/// How surely a model writes a token: it doubts every digit.
pub fn probability(token: &str) -> f64 {
    if token.contains(|c: char| c.is_ascii_digit()) {
        0.5
    } else {
        0.99
    }
}

pub fn tokens(text: &str) -> u64 {
    text.chars().count().div_ceil(TOKEN) as u64
}

/// A text in steps of so many characters.
pub fn steps(text: &str, characters: usize) -> Vec<String> {
    let mut steps = Vec::new();
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        steps.push(rest.by_ref().take(characters.max(1)).collect());
    }
    steps
}

/// Bytes of a stream that belong together, and how much the model has written by their end.
#[derive(Debug, Clone)]
pub struct Frame {
    pub bytes: Vec<u8>,
    /// Tokens written since the start, thoughts included.
    pub due: f64,
    /// Characters of the answer's text said by its end.
    pub said: usize,
}

impl Frame {
    pub fn new(text: String, due: f64, said: usize) -> Self {
        Self {
            bytes: text.into_bytes(),
            due,
            said,
        }
    }
}
