//! The text of a document: by page, as Markdown, in chunks. No model is asked, and nothing is
//! added to what was read.

use serde_json::{Value, json};

use crate::domain::chunk::{Chunk, chunks, legible};
use crate::domain::cost::size::LETTERS_A_TOKEN;
use crate::domain::document::Document;
use crate::domain::markdown::markdown;
use crate::domain::operation::Parse;
use crate::domain::outline::Table;

pub(super) fn parsed(document: &Document, asked: Parse, tables: &[Table]) -> Value {
    let pages = document.pages.iter();
    let texts = pages.clone().map(|page| (page.number, page.text.as_str()));
    let chunks = chunks(texts, asked);
    let chunks: Vec<Value> = chunks.iter().enumerate().map(told).collect();
    json!({
        "page_count": document.pages.len(),
        "pages": pages
            .map(|page| json!({"page": page.number, "text": page.text}))
            .collect::<Vec<_>>(),
        "unread_pages": document.unread,
        "markdown": markdown(document, tables),
        "chunks": chunks,
    })
}

fn told((index, chunk): (usize, &Chunk)) -> Value {
    let letters = chunk.text.chars().count() as f64;
    json!({
        "index": index,
        "text": chunk.text,
        "tokens": (letters / LETTERS_A_TOKEN).ceil() as u64,
        "page": chunk.pages.0,
        "last_page": chunk.pages.1,
        "confidence": legible(&chunk.text),
    })
}
