//! Lines of cells, as text and as PDF.

use std::fmt::Write as _;

use super::Line;

/// Pages parted by form feeds.
pub fn text(pages: &[Vec<Line>]) -> String {
    let pages = pages.iter().map(|page| {
        let lines = page.iter().map(plain);
        lines.collect::<Vec<_>>().join("\n") + "\n"
    });
    pages.collect::<Vec<_>>().join("\u{c}")
}

fn plain(line: &Line) -> String {
    let mut text = String::new();
    for (column, cell) in line {
        let start = start(*column, cell);
        let missing = start.saturating_sub(text.chars().count());
        text.extend(std::iter::repeat_n(' ', missing));
        text.push_str(cell);
    }
    text
}

/// Characters from the margin at which a cell begins.
fn start(column: super::Column, cell: &str) -> usize {
    match column.edge() {
        (left, false) => left,
        (right, true) => right.saturating_sub(cell.chars().count()),
    }
}

const FONT_SIZE: f64 = 9.0;
/// A character of the font, which is as wide as any other.
const ADVANCE: f64 = 0.6 * FONT_SIZE;
const MARGIN: f64 = 56.0;
const TOP: f64 = 786.0;
const LEADING: f64 = 13.0;

pub fn pdf(pages: &[Vec<Line>]) -> Vec<u8> {
    const CATALOGUE: &str = "<< /Type /Catalog /Pages 2 0 R >>";
    const FONT: &str =
        "<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>";
    let kids: Vec<_> = (0..pages.len())
        .map(|index| format!("{} 0 R", 4 + 2 * index))
        .collect();
    let tree = format!(
        "<< /Type /Pages /Kids [{}] /Count {} >>",
        kids.join(" "),
        pages.len()
    );
    let mut objects: Vec<Vec<u8>> = vec![CATALOGUE.into(), tree.into(), FONT.into()];
    for (index, page) in pages.iter().enumerate() {
        let dictionary = format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {} 0 R \
             /Resources << /Font << /F 3 0 R >> >> >>",
            5 + 2 * index
        );
        objects.push(dictionary.into());
        let content = content(page);
        let mut stream = format!("<< /Length {} >>\nstream\n", content.len()).into_bytes();
        stream.extend(content);
        stream.extend(b"\nendstream");
        objects.push(stream);
    }
    file(&objects)
}

fn content(page: &[Line]) -> Vec<u8> {
    let mut content = Vec::new();
    for (index, line) in page.iter().enumerate() {
        let y = TOP - LEADING * index as f64;
        for (column, cell) in line.iter().filter(|(_, cell)| !cell.is_empty()) {
            let x = MARGIN + ADVANCE * start(*column, cell) as f64;
            content.extend(format!("BT /F {FONT_SIZE} Tf {x:.2} {y:.2} Td (").bytes());
            content.extend(encoded(cell));
            content.extend(b") Tj ET\n");
        }
    }
    content
}

/// Text as a string of a font that has Windows' code page 1252, which is Latin 1 for our letters.
fn encoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for letter in text.chars() {
        let byte = u8::try_from(u32::from(letter)).expect("a letter of Latin 1");
        if matches!(byte, b'(' | b')' | b'\\') {
            bytes.push(b'\\');
        }
        bytes.push(byte);
    }
    bytes
}

/// A file of these objects, numbered from 1; the first is the catalogue.
fn file(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"%PDF-1.4\n".to_vec();
    let mut table = String::from("0000000000 65535 f \n");
    for (index, object) in objects.iter().enumerate() {
        let _ = writeln!(table, "{:010} 00000 n ", file.len());
        file.extend(format!("{} 0 obj\n", index + 1).bytes());
        file.extend(object);
        file.extend(b"\nendobj\n");
    }
    let (start, size) = (file.len(), objects.len() + 1);
    let end = format!(
        "xref\n0 {size}\n{table}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    );
    file.extend(end.into_bytes());
    file
}
