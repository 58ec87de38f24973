//! What a document shows of its own form, whatever it is about: tables, and values beside their
//! labels.

/// Words of one page, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Index into the document's pages.
    pub page: usize,
    /// Indices into the page's words.
    pub first: usize,
    pub last: usize,
}

/// A table: its cells as text, and the words that they are made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Row by row, the header first where there is one.
    pub rows: Vec<Vec<String>>,
    pub runs: Vec<Run>,
}

/// A label that ends in a colon or is set off, and the text behind it or beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Without the colon.
    pub label: String,
    /// Never empty.
    pub value: String,
}

/// The form of a document, in reading order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    pub tables: Vec<Table>,
    pub fields: Vec<Labelled>,
}
