//! Small PDF files, written by hand.

/// A PDF of these objects, numbered from 1; the first is the catalogue. `trailer` holds further
/// entries of the trailer.
pub fn pdf(objects: &[&str], trailer: &str) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        places.push(file.len());
        file.extend(format!("{} 0 obj\n{object}\nendobj\n", index + 1).into_bytes());
    }
    let table = file.len();
    file.extend(format!("xref\n0 {}\n0000000000 65535 f \n", places.len() + 1).into_bytes());
    for place in &places {
        file.extend(format!("{place:010} 00000 n \n").into_bytes());
    }
    let size = places.len() + 1;
    let end =
        format!("trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{table}\n%%EOF\n");
    file.extend(end.into_bytes());
    file
}

const CATALOGUE: &str = "<< /Type /Catalog /Pages 2 0 R >>";
const PAGES: &str = "<< /Type /Pages /Kids [3 0 R] /Count 1 >>";

fn stream(dictionary: &str, data: &str) -> String {
    let length = data.len();
    format!("<< {dictionary} /Length {length} >>\nstream\n{data}\nendstream")
}

/// One page with one line of text.
pub fn with_text(line: &str) -> Vec<u8> {
    let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>";
    let content = stream("", &format!("BT /F 12 Tf 72 700 Td ({line}) Tj ET"));
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>";
    pdf(&[CATALOGUE, PAGES, page, &content, font], "")
}

/// One page with a picture and nothing else.
pub fn picture_only() -> Vec<u8> {
    let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /XObject << /P 5 0 R >> >> >>";
    let content = stream("", "q 400 0 0 400 90 200 cm /P Do Q");
    let entries = "/Type /XObject /Subtype /Image /Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8";
    let picture = stream(entries, "\u{0}~~\u{0}");
    pdf(&[CATALOGUE, PAGES, page, &content, &picture], "")
}

/// Four pages: a line of text, a picture, nothing at all, and a picture no larger than a logo.
pub fn with_text_and_pictures(line: &str) -> Vec<u8> {
    let page = |content: u32| {
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {content} 0 R /Resources << /Font << /F 11 0 R >> /XObject << /P 12 0 R >> >> >>"
        )
    };
    let entries = "/Type /XObject /Subtype /Image /Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8";
    let objects = [
        CATALOGUE.to_owned(),
        "<< /Type /Pages /Kids [3 0 R 4 0 R 5 0 R 6 0 R] /Count 4 >>".to_owned(),
        page(7),
        page(8),
        page(9),
        page(10),
        stream("", &format!("BT /F 12 Tf 72 700 Td ({line}) Tj ET")),
        stream("", "q 595 0 0 842 0 0 cm /P Do Q"),
        stream("", " "),
        stream("", "q 90 0 0 40 60 780 cm /P Do Q"),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        stream(entries, "\u{0}~~\u{0}"),
    ];
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    pdf(&objects, "")
}

/// Encrypted with a password that nobody knows: the check value fits none.
pub fn encrypted() -> Vec<u8> {
    let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>";
    let content = stream("", "BT (unreadable) Tj ET");
    let key = "ab".repeat(32);
    let lock = format!("<< /Filter /Standard /V 1 /R 2 /O <{key}> /U <{key}> /P -4 >>");
    let id = "00".repeat(16);
    let trailer = format!("/Encrypt 5 0 R /ID [<{id}> <{id}>]");
    pdf(&[CATALOGUE, PAGES, page, &content, &lock], &trailer)
}
