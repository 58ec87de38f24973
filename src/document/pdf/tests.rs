use proptest::prelude::*;

use super::*;
use crate::domain::document::Word;

/// A PDF whose objects are numbered from 1; the first is the catalog. Streams are given whole.
fn file(objects: &[String]) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut offsets = Vec::new();
    for (object, number) in objects.iter().zip(1..) {
        offsets.push(bytes.len());
        bytes.extend(format!("{number} 0 obj\n{object}\nendobj\n").bytes());
    }
    let start = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for offset in offsets {
        bytes.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    let trailer = format!(
        "trailer <</Size {}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF",
        objects.len() + 1
    );
    bytes.extend(trailer.bytes());
    bytes
}

fn stream(dict: &str, content: &str) -> String {
    format!(
        "<<{dict}/Length {}>>\nstream\n{content}\nendstream",
        content.len()
    )
}

const FONTS: &str = "/Font <</F <</Type/Font/Subtype/Type1/BaseFont/Helvetica\
    /Encoding/WinAnsiEncoding>>/B <</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold\
    /Encoding/WinAnsiEncoding>>/S <</Type/Font/Subtype/Type1/BaseFont/Times-Roman>>>>\
    /XObject <</I 5 0 R>>";
const IMAGE: &str = "/Type/XObject/Subtype/Image/Width 1/Height 1/BitsPerComponent 8\
    /ColorSpace/DeviceGray";

/// One page of 200 by 100 points; `page` holds more keys of it, `extra` objects from number 6 on.
fn document_with(content: &str, page: &str, extra: &[String]) -> Vec<u8> {
    let mut objects = vec![
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        format!(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R\
             /Resources <<{FONTS}>>{page}>>"
        ),
        stream("", content),
        stream(IMAGE, "x"),
    ];
    objects.extend_from_slice(extra);
    file(&objects)
}

fn document(content: &str) -> Vec<u8> {
    document_with(content, "", &[])
}

fn page(bytes: &[u8]) -> Page {
    let mut pages = read(bytes).unwrap().0;
    assert_eq!(pages.len(), 1);
    check(&pages[0]);
    pages.remove(0)
}

/// What must hold for every page, whatever the file.
fn check(page: &Page) {
    for word in &page.words {
        assert_eq!(page.slice(word.start, word.end()), Some(word.text.as_str()));
        assert!(!word.text.is_empty() && !word.text.contains(char::is_whitespace));
        let [x0, y0, x1, y1] = word.bbox;
        assert!(0.0 <= x0 && x0 <= x1 && x1 <= 1.0, "{word:?}");
        assert!(0.0 <= y0 && y0 <= y1 && y1 <= 1.0, "{word:?}");
    }
    assert!(page.lines.iter().all(|line| line.start < line.end));
    let covered: u32 = page.lines.iter().map(|line| line.end - line.start).sum();
    assert_eq!(covered as usize, page.words.len());
}

fn text(content: &str) -> String {
    page(&document(content)).text
}

fn word<'p>(page: &'p Page, text: &str) -> &'p Word {
    let found = page.words.iter().find(|word| word.text == text);
    found.unwrap_or_else(|| panic!("{text:?} is not in {:?}", page.text))
}

/// Left, top, right, bottom in points.
fn place(page: &Page, text: &str) -> [i32; 4] {
    let bbox = word(page, text).bbox;
    let size = [page.width, page.height, page.width, page.height];
    std::array::from_fn(|at| (bbox[at] * size[at]).round() as i32)
}

#[test]
fn words_are_parted_by_gaps_and_lines_by_baselines() {
    let page = page(&document(
        "BT /F 10 Tf 20 80 Td [(Invo) 20 (ice) -400 (No.)] TJ 90 0 Td (A-17) Tj \
         -90 -20 Td (Total) Tj ET",
    ));
    assert_eq!(page.text, "Invoice No. A-17\nTotal");
    assert_eq!((page.width, page.height, page.number), (200.0, 100.0, 1));
    assert_eq!(place(&page, "Total"), [20, 32, 42, 42]);
    assert!((word(&page, "Total").size - 10.0).abs() < 1e-3);
}

#[test]
fn a_word_drawn_letter_by_letter_and_out_of_order_is_one_word() {
    // T is 6.11 wide and i 2.22.
    let content = "BT /F 10 Tf 28.33 80 Td (n) Tj ET BT /F 10 Tf 20 80 Td (T) Tj ET \
                   BT /F 10 Tf 26.1 80 Td (i) Tj ET";
    assert_eq!(text(content), "Tin");
}

#[test]
fn letter_spaced_words_are_made_whole() {
    assert_eq!(text("BT /F 10 Tf 4 Tc 10 80 Td (INVOICE) Tj ET"), "INVOICE");
}

#[test]
fn text_drawn_twice_for_a_bold_look_is_read_once() {
    let content = "BT /F 10 Tf 20 80 Td (Total) Tj 60 0 Td (12,00) Tj ET \
                   BT /F 10 Tf 20.3 80 Td (Total) Tj ET BT /F 10 Tf 80.2 80.1 Td (12,00) Tj ET";
    assert_eq!(text(content), "Total 12,00");
    assert_eq!(
        text("BT /F 10 Tf 20 80 Td (llll 11111) Tj ET"),
        "llll 11111"
    );
}

#[test]
fn a_replaced_font_keeps_the_widths_of_the_file() {
    // Lucida Console is not embedded: its stand-in has other widths and is stretched to these.
    let widths = vec!["602"; 95].join(" ");
    let font = format!(
        "<</Type/Font/Subtype/TrueType/BaseFont/LucidaConsole/Encoding/WinAnsiEncoding\
         /FirstChar 32/LastChar 126/Widths[{widths}]>>"
    );
    let content = "BT /F 10 Tf 20 80 Td (MTWTF--) Tj ET BT /F 10 Tf 80 80 Td (M) Tj ET \
                   BT /F 10 Tf 86.02 80 Td (W) Tj ET BT /F 10 Tf 20 50 Td (mmmmm) Tj ET";
    let bytes = String::from_utf8(document_with(content, "", &[font])).unwrap();
    let helvetica = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>";
    let page = page(bytes.replace(helvetica, "6 0 R").as_bytes());
    assert_eq!(page.text, "MTWTF-- MW\nmmmmm");
    assert_eq!(place(&page, "MTWTF--"), [20, 12, 62, 22]);
    assert_eq!(place(&page, "mmmmm"), [20, 42, 50, 52]);
}

#[test]
fn cells_that_touch_or_overlap_stay_words_of_their_own() {
    let content = "BT /F 10 Tf 20 80 Td (Description) Tj ET BT /F 8 Tf 60 80 Td (2024) Tj ET";
    assert_eq!(text(content), "Description 2024");
}

#[test]
fn no_word_crosses_a_ruling_between_cells() {
    let cells = "BT /F 10 Tf 20 80 Td (Elizab) Tj ET BT /F 10 Tf 47.6 80 Td (2165) Tj ET";
    assert_eq!(text(cells), "Elizab2165");
    let ruling = "47.2 70 0.4 30 re f";
    assert_eq!(text(&format!("{ruling} {cells}")), "Elizab 2165");
}

#[test]
fn a_raised_mark_stands_in_its_line_but_not_in_its_word() {
    let content = "BT /F 10 Tf 20 80 Td (Total) Tj /F 6 Tf 22.5 4 Td (1) Tj \
                   /F 10 Tf 40 -4 Td (5.00) Tj ET";
    assert_eq!(text(content), "Total 1 5.00");
}

#[test]
fn ligatures_spaces_and_hyphens_read_as_plain_letters() {
    // Codes 256 and 257 of the standard encoding, in octal, are the ligatures fi and fl.
    let content = "BT /S 10 Tf 20 80 Td (of\\256ce \\257at) Tj ET \
                   BT /F 10 Tf 20 60 Td (A\\240B x\\255y) Tj ET";
    assert_eq!(text(content), "office flat\nA B x-y");
}

#[test]
fn bold_fonts_are_told_by_their_names() {
    let page = page(&document(
        "BT /B 10 Tf 20 80 Td (Total) Tj /F 10 Tf 60 0 Td (5.00) Tj ET",
    ));
    assert!(word(&page, "Total").bold);
    assert!(!word(&page, "5.00").bold);
}

#[test]
fn hidden_text_counts_only_where_a_page_shows_none() {
    let hidden = "BT 3 Tr /F 10 Tf 20 80 Td (secret) Tj ET";
    let shown = "BT 0 Tr /F 10 Tf 20 50 Td (shown) Tj ET";
    assert_eq!(text(&format!("{hidden} {shown}")), "shown");
    assert_eq!(text(hidden), "secret");
    let scan = "q 200 0 0 100 0 0 cm /I Do Q";
    assert_eq!(text(&format!("{scan} {hidden}")), "secret");
    // A stamp on a scan hides nothing of its text layer.
    let stamp = "BT 0 Tr /F 10 Tf 20 50 Td (p.1) Tj ET";
    assert_eq!(text(&format!("{scan} {hidden} {stamp}")), "secret\np.1");
}

#[test]
fn what_a_clip_or_the_page_edge_cuts_off_is_not_read() {
    let content = "q 15 70 40 20 re W n BT /F 10 Tf 20 80 Td (Seen) Tj 60 0 Td (cut) Tj ET Q \
                   BT /F 10 Tf 20 50 Td (in) Tj 300 0 Td (out) Tj ET";
    assert_eq!(text(content), "Seen\nin");
}

#[test]
fn boxes_are_places_on_the_page_as_it_is_seen() {
    let content = "BT /F 10 Tf 60 80 Td (Total) Tj ET";
    let cropped = page(&document_with(content, "/CropBox[50 50 150 100]", &[]));
    assert_eq!((cropped.width, cropped.height), (100.0, 50.0));
    assert_eq!(place(&cropped, "Total"), [10, 12, 32, 22]);
    // Turned clockwise, what was the bottom of the page is its left side.
    let turned = page(&document_with(content, "/Rotate 90", &[]));
    assert_eq!((turned.width, turned.height), (100.0, 200.0));
    assert_eq!(place(&turned, "Total"), [78, 60, 88, 82]);
    let upside_down = page(&document_with(content, "/Rotate 180", &[]));
    assert_eq!(place(&upside_down, "Total"), [118, 78, 140, 88]);
    // Sideways text on a sideways page is upright again.
    let upright = "BT /F 10 Tf 0 1 -1 0 60 20 Tm (Total due) Tj ET";
    let upright = page(&document_with(upright, "/Rotate 90", &[]));
    assert_eq!(upright.text, "Total due");
    assert_eq!(place(&upright, "Total"), [20, 52, 42, 62]);
}

#[test]
fn sideways_text_is_read_after_the_main_text_with_boxes_that_stand_upright() {
    let content = "BT /F 10 Tf 0 1 -1 0 20 20 Tm (Side note) Tj ET \
                   BT /F 10 Tf 60 80 Td (Total of the invoice) Tj ET";
    let page = page(&document(content));
    assert_eq!(page.text, "Total of the invoice\nSide note");
    assert_eq!(place(&page, "Side"), [12, 60, 22, 80]);
}

#[test]
fn strokes_thin_boxes_and_borders_are_rules() {
    let content = "0.5 w 10 90 m 190 90 l S  10 70 180 0.8 re f  20 20 100 40 re S \
                   10 10 m 60 40 l S  q 0 0 0 RG 150 5 1 60 re f Q  30 30 20 20 re f";
    let page = page(&document(&format!(
        "{content} BT /F 10 Tf 60 80 Td (Total) Tj ET"
    )));
    let places: Vec<[i32; 4]> = page
        .rules
        .iter()
        .map(|rule| {
            let size = [200.0, 100.0, 200.0, 100.0];
            std::array::from_fn(|at| (rule.bbox[at] * size[at]).round() as i32)
        })
        .collect();
    let across = [
        [10, 10, 190, 10],
        [10, 29, 190, 30],
        [20, 40, 120, 40],
        [20, 80, 120, 80],
    ];
    let down = [[150, 35, 151, 95], [20, 40, 20, 80], [120, 40, 120, 80]];
    assert_eq!(places.len(), 7, "{places:?}");
    for wanted in across.iter().chain(&down) {
        assert!(places.contains(wanted), "{wanted:?} is not in {places:?}");
    }
    let level = page.rules.iter().filter(|rule| rule.is_horizontal(&page));
    assert_eq!(level.count(), 4);
}

#[test]
fn a_dashed_line_of_boxes_is_one_rule() {
    let dashes = (0..40).map(|at| format!("{} 50 4.5 0.5 re f ", 10 + at * 5));
    let dashes = dashes.collect::<Vec<_>>().concat();
    let page = page(&document(&format!(
        "{dashes} BT /F 10 Tf 60 80 Td (Total) Tj ET"
    )));
    assert_eq!(page.rules.len(), 1, "{:?}", page.rules);
}

#[test]
fn columns_of_running_text_are_read_one_after_the_other() {
    let heading = "BT /F 6 Tf 10 95 Td (A heading over both columns of text) Tj ET".to_owned();
    let rows = (0..10).map(|line| {
        let y = 88 - 8 * line;
        format!(
            "BT /F 6 Tf 10 {y} Td (the left side goes on line {line}) Tj \
             95 0 Td (the right side goes on line {line}) Tj ET"
        )
    });
    let content = [heading]
        .into_iter()
        .chain(rows)
        .collect::<Vec<_>>()
        .join(" ");
    let page = page(&document(&content));
    let lines: Vec<_> = page.text.lines().collect();
    assert_eq!(lines[0], "A heading over both columns of text");
    assert_eq!(lines[1], "the left side goes on line 0");
    assert_eq!(lines[10], "the left side goes on line 9");
    assert_eq!(lines[11], "the right side goes on line 0");
}

#[test]
fn rows_of_a_table_or_form_stay_lines() {
    let rows = (0..10).map(|line| {
        let y = 88 - 8 * line;
        format!(
            "BT /F 6 Tf 10 {y} Td (Consulting hours for project {line}) Tj \
             110 0 Td (8 h) Tj 40 0 Td (1,200.00) Tj ET"
        )
    });
    let content = rows.collect::<Vec<_>>().join(" ");
    let page = page(&document(&content));
    assert_eq!(page.lines.len(), 10);
    assert_eq!(
        page.text.lines().next(),
        Some("Consulting hours for project 0 8 h 1,200.00")
    );
}

#[test]
fn columns_of_short_cells_stay_rows_even_when_all_are_of_one_width() {
    let rows = (0..10).map(|line| {
        let y = 88 - 8 * line;
        format!("BT /F 6 Tf 10 {y} Td (Muster AG {line}) Tj 100 0 Td (Berlin {line} Mitte) Tj ET")
    });
    let page = page(&document(&rows.collect::<Vec<_>>().join(" ")));
    assert_eq!(page.text.lines().nth(1), Some("Muster AG 1 Berlin 1 Mitte"));
}

#[test]
fn filled_form_fields_are_read() {
    let field = "<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(Acme)/Rect[50 40 150 60]\
                 /AP<</N 7 0 R>>>>";
    let appearance = stream(
        "/Type/XObject/Subtype/Form/BBox[0 0 100 20]\
         /Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>",
        "BT /F 10 Tf 2 5 Td (Acme) Tj ET",
    );
    let bytes = document_with(
        "BT /F 10 Tf 10 45 Td (Name:) Tj ET",
        "/Annots[6 0 R]",
        &[field.into(), appearance],
    );
    assert_eq!(page(&bytes).text, "Name: Acme");
}

fn refusal(bytes: &[u8]) -> Error {
    read(bytes).unwrap_err()
}

#[test]
fn a_file_that_needs_a_password_says_so_and_one_with_an_empty_password_opens() {
    let locked = include_bytes!("../../../tests/fixtures/documents/encrypted-with-password.pdf");
    assert_eq!(refusal(locked).code, Code::PasswordRequired);
    let open = include_bytes!("../../../tests/fixtures/documents/encrypted-empty-password.pdf");
    assert_eq!(page(open).text, "Total 12.00");
}

#[test]
fn broken_files_are_corrupt() {
    for bytes in [&b"%PDF-1.7"[..], b"%PDF-1.7\nnothing that a PDF has\n%%EOF"] {
        let error = refusal(bytes);
        assert_eq!(error.code, Code::DocumentCorrupt, "{error}");
    }
}

#[test]
fn a_page_whose_content_is_lost_is_corrupt_and_not_blank() {
    let text = "BT /F 10 Tf 20 80 Td (Total) Tj ET";
    for contents in ["99 0 R", "[4 0 R 99 0 R]", "6 0 R", "[4 0 R 6 0 R]"] {
        let broken = stream("/Filter/DCTDecode", "no picture");
        let bytes = document_with(text, "", &[broken]);
        let bytes = String::from_utf8(bytes).unwrap();
        let bytes = bytes.replacen("/Contents 4 0 R", &format!("/Contents {contents}"), 1);
        let error = refusal(bytes.as_bytes());
        assert_eq!(error.code, Code::DocumentCorrupt, "{contents}: {error}");
        assert!(error.detail.contains("the content of page 1"), "{error}");
    }
    let claimed = file(&[
        "<</Type/Catalog/Pages 2 0 R>>".into(),
        "<</Type/Pages/Kids[9 0 R]/Count 1>>".into(),
    ]);
    assert_eq!(refusal(&claimed).code, Code::DocumentCorrupt);
}

#[test]
fn files_without_pages_or_content_are_empty() {
    let none = file(&[
        "<</Type/Catalog/Pages 2 0 R>>".into(),
        "<</Type/Pages/Kids[]/Count 0>>".into(),
    ]);
    assert_eq!(refusal(&none).code, Code::DocumentEmpty);
    let blank = refusal(&document(" "));
    assert_eq!(blank.code, Code::DocumentEmpty, "{blank}");
}

#[test]
fn a_scan_has_its_pages_and_no_words() {
    let pages = read(&document("q 200 0 0 100 0 0 cm /I Do Q")).unwrap().0;
    assert_eq!((pages.len(), pages[0].words.len()), (1, 0));
    assert!(pages[0].width > 0.0 && pages[0].text.is_empty());
}

#[test]
fn what_is_over_a_limit_is_too_complex_and_names_the_limit() {
    let bytes = document("BT /F 10 Tf 20 80 Td (Total) Tj ET");
    let over = |limits: Limits| {
        let error = read_within(&bytes, limits).unwrap_err();
        assert_eq!(error.code, Code::DocumentTooComplex);
        error.detail
    };
    assert!(
        read_within(
            &bytes,
            Limits {
                pages: 1,
                page_glyphs: 5,
                glyphs: 5,
                ..LIMITS
            }
        )
        .is_ok()
    );
    assert!(over(Limits { pages: 0, ..LIMITS }).contains("has 1 pages, the limit is 0"));
    assert!(
        over(Limits {
            glyphs: 4,
            ..LIMITS
        })
        .contains("more than 4 characters")
    );
    assert!(
        over(Limits {
            page_glyphs: 4,
            ..LIMITS
        })
        .contains("page 1 draws more than 4")
    );
    assert!(
        over(Limits {
            time: Duration::ZERO,
            ..LIMITS
        })
        .contains("longer than 0 seconds")
    );
}

#[test]
fn a_glyph_that_stands_for_many_letters_counts_as_many() {
    let letters = "0061".repeat(30);
    let map = format!(
        "1 begincodespacerange <00> <ff> endcodespacerange 1 beginbfchar <41> <{letters}> endbfchar"
    );
    let font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 7 0 R>>".to_owned();
    let bytes = document_with(
        "BT /F 10 Tf 20 80 Td (A) Tj ET",
        "",
        &[font, stream("", &map)],
    );
    let helvetica = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>";
    let bytes = String::from_utf8(bytes)
        .unwrap()
        .replace(helvetica, "6 0 R");
    assert_eq!(page(bytes.as_bytes()).text, "a".repeat(30));
    let limits = Limits {
        glyphs: 29,
        ..LIMITS
    };
    let error = read_within(bytes.as_bytes(), limits).unwrap_err();
    assert_eq!(error.code, Code::DocumentTooComplex);
}

#[test]
fn many_pages_come_in_order() {
    let mut objects = vec!["<</Type/Catalog/Pages 2 0 R>>".to_owned(), String::new()];
    let mut kids = Vec::new();
    for number in 1..=40 {
        kids.push(format!("{} 0 R", objects.len() + 1));
        objects.push(format!(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents {} 0 R\
             /Resources <</Font <</F <</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
            objects.len() + 2
        ));
        let content = format!("BT /F 10 Tf 20 80 Td (Page {number}) Tj ET");
        objects.push(stream("", &content));
    }
    objects[1] = format!("<</Type/Pages/Kids[{}]/Count 40>>", kids.join(" "));
    let pages = read(&file(&objects)).unwrap().0;
    let texts: Vec<_> = pages.iter().map(|page| page.text.clone()).collect();
    let wanted: Vec<_> = (1..=40).map(|number| format!("Page {number}")).collect();
    assert_eq!(texts, wanted);
    assert!(
        pages
            .iter()
            .zip(1..)
            .all(|(page, number)| page.number == number)
    );
}

#[test]
fn forms_that_draw_themselves_many_times_run_into_a_limit() {
    // Each form draws the next one ten times: 10^8 letters in a file of a few hundred bytes.
    let fonts = "/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>";
    let form = |content: &str, next: usize| {
        let dict = format!(
            "/Type/XObject/Subtype/Form/BBox[0 0 200 100]\
             /Resources<<{fonts}/XObject<</N {next} 0 R>>>>"
        );
        stream(&dict, content)
    };
    let forms: Vec<String> = (0..8)
        .map(|level| form(&"/N Do ".repeat(10), 7 + level))
        .chain([form("BT /F 10 Tf 20 80 Td (x) Tj ET", 6)])
        .collect();
    let bytes = document_with("/N Do", "", &forms);
    let bytes = String::from_utf8(bytes)
        .unwrap()
        .replace("/I 5 0 R", "/N 6 0 R");
    let limits = Limits {
        page_glyphs: 1_000,
        ..LIMITS
    };
    let error = read_within(bytes.as_bytes(), limits).unwrap_err();
    assert_eq!(error.code, Code::DocumentTooComplex, "{error}");
}

fn small_files() -> Vec<Vec<u8>> {
    let form = "BT /F 10 Tf 20 80 Td [(Invo) 20 (ice) -400 (No.)] TJ 3 Tr (x) Tj ET \
                10 10 180 0.5 re f q 1 0 0 1 3 3 cm /I Do Q";
    vec![
        document(form),
        include_bytes!("../../../tests/fixtures/documents/encrypted-empty-password.pdf").to_vec(),
    ]
}

proptest! {
    #[test]
    fn damaged_files_are_read_or_refused_but_never_break_the_reader(
        file in 0..2_usize,
        cut in 0.0..1.0_f64,
        changes in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 0..12),
    ) {
        let mut bytes = small_files().swap_remove(file);
        for (at, byte) in changes {
            let at = (at * bytes.len() as f64) as usize;
            bytes[at] = byte;
        }
        if cut < 0.5 {
            bytes.truncate((cut * 2.0 * bytes.len() as f64) as usize);
        }
        if let Ok((pages, _)) = read(&bytes) {
            pages.iter().for_each(check);
        }
    }
}
