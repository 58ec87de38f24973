//! What every reader yields: pages of words with their places.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A fraction box on a page: x0, y0, x1, y1 in 0..=1 of page width and height, origin top left.
pub type Bbox = [f32; 4];

/// The kind of file a document was read from, told by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Pdf,
    /// A PDF with text on some of its pages, and pictures in its place on others.
    Mixed,
    /// A PDF whose pages have pictures or drawings, and no text that can be read.
    Scan,
    /// A picture: a document of one page.
    Png,
    Jpeg,
    Markdown,
    Text,
}

impl Kind {
    /// The media type the bytes are served with.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Pdf | Self::Mixed | Self::Scan => "application/pdf",
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// Whether boxes are places on a printed page. For text files the boxes only say where a
    /// word stands on the grid of lines and columns, so they are not shown to clients.
    pub fn is_printed(self) -> bool {
        !matches!(self, Self::Markdown | Self::Text)
    }

    /// Whether there are words. Without, only a model that sees can read it, and nothing that it
    /// says can be found on the page.
    pub fn has_text(self) -> bool {
        matches!(self, Self::Pdf | Self::Mixed | Self::Markdown | Self::Text)
    }

    pub fn is_picture(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg)
    }
}

/// How a model is given a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentInput {
    /// What the document and the model have in common; text first, where that is all of it.
    #[default]
    Auto,
    /// The words that were read from it.
    Text,
    /// A picture of each page.
    Pages,
    /// The PDF as it was uploaded.
    Native,
}

impl DocumentInput {
    pub const ALL: [Self; 4] = [Self::Auto, Self::Text, Self::Pages, Self::Native];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Pages => "pages",
            Self::Native => "native",
        }
    }
}

/// One word: a run of characters without a space, on one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    #[serde(rename = "t")]
    pub text: String,
    #[serde(rename = "b")]
    pub bbox: Bbox,
    /// Code-point offset of the first character in [`Page::text`].
    #[serde(rename = "s")]
    pub start: u32,
    /// Font size in points; 0 where the format has none.
    #[serde(rename = "z", default)]
    pub size: f32,
    #[serde(rename = "k", default)]
    pub bold: bool,
}

impl Word {
    /// Exclusive end offset, in code points of [`Page::text`].
    pub fn end(&self) -> u32 {
        self.start + self.text.chars().count() as u32
    }
}

/// A straight ruling drawn on the page (table borders), as a thin fraction box.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    #[serde(rename = "b")]
    pub bbox: Bbox,
}

impl Rule {
    pub fn is_horizontal(&self, page: &Page) -> bool {
        (self.bbox[2] - self.bbox[0]) * page.width >= (self.bbox[3] - self.bbox[1]) * page.height
    }
}

/// One page. Words stand in reading order; a line is a range of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// From 1.
    pub number: u32,
    /// Points (1/72 inch); for text files the widest line in columns.
    pub width: f32,
    /// Points; for text files the number of lines.
    pub height: f32,
    /// The text that offsets count in: words joined by one space, lines by one line feed; for
    /// text files the page's own text, unchanged.
    pub text: String,
    pub words: Vec<Word>,
    /// Ranges of `words`, top to bottom, none empty.
    pub lines: Vec<Range<u32>>,
    #[serde(default)]
    pub rules: Vec<Rule>,
}

impl Page {
    /// A page from lines of words; sets every word's offset and the page's text.
    pub fn from_lines(
        number: u32,
        width: f32,
        height: f32,
        lines: Vec<Vec<Word>>,
        rules: Vec<Rule>,
    ) -> Self {
        let mut page = Self {
            number,
            width,
            height,
            text: String::new(),
            words: Vec::new(),
            lines: Vec::new(),
            rules,
        };
        let mut offset = 0;
        for line in lines.into_iter().filter(|line| !line.is_empty()) {
            if !page.text.is_empty() {
                page.text.push('\n');
                offset += 1;
            }
            let first = page.words.len() as u32;
            for (at, mut word) in line.into_iter().enumerate() {
                if at > 0 {
                    page.text.push(' ');
                    offset += 1;
                }
                word.start = offset;
                offset += word.text.chars().count() as u32;
                page.text.push_str(&word.text);
                page.words.push(word);
            }
            page.lines.push(first..page.words.len() as u32);
        }
        page
    }

    /// The words of line `index`.
    pub fn line(&self, index: usize) -> &[Word] {
        self.lines.get(index).map_or(&[], |range| {
            &self.words[range.start as usize..range.end as usize]
        })
    }

    /// The text between two code-point offsets, or `None` when they do not lie in the page.
    pub fn slice(&self, start: u32, end: u32) -> Option<&str> {
        if start > end {
            return None;
        }
        let mut bounds = self
            .text
            .char_indices()
            .map(|(byte, _)| byte)
            .chain([self.text.len()]);
        let from = bounds.nth(start as usize)?;
        let to = if start == end {
            from
        } else {
            bounds.nth((end - start - 1) as usize)?
        };
        self.text.get(from..to)
    }
}

/// A document as read: what extraction, evidence and prompts work on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub kind: Kind,
    /// Lower-case hexadecimal SHA-256 of the file's bytes.
    pub sha256: String,
    pub pages: Vec<Page>,
    /// Numbers of the pages without words whose content only a model that sees can read.
    #[serde(default)]
    pub unread: Vec<u32>,
}

impl Document {
    pub fn word_count(&self) -> usize {
        self.pages.iter().map(|page| page.words.len()).sum()
    }
}

/// The smallest box around both.
pub fn union(a: Bbox, b: Bbox) -> Bbox {
    [
        a[0].min(b[0]),
        a[1].min(b[1]),
        a[2].max(b[2]),
        a[3].max(b[3]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word {
        Word {
            text: text.into(),
            bbox: [0.0; 4],
            start: 0,
            size: 10.0,
            bold: false,
        }
    }

    #[test]
    fn offsets_count_code_points_in_the_page_text() {
        let lines = vec![vec![word("Größe"), word("1 m")], vec![], vec![word("€5")]];
        let page = Page::from_lines(1, 100.0, 100.0, lines, vec![]);
        assert_eq!(page.text, "Größe 1 m\n€5");
        for word in &page.words {
            assert_eq!(page.slice(word.start, word.end()), Some(word.text.as_str()));
        }
        assert_eq!(page.lines.len(), 2);
        assert_eq!(page.slice(0, 99), None);
        assert_eq!(page.slice(12, 12), Some(""));
        assert_eq!(page.slice(13, 13), None);
    }
}
