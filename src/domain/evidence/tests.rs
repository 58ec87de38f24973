//! Proofs on small documents.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::document::{Kind, Word};
use super::super::pointer::Pointer;
use super::*;

/// A document of pages of lines, as printed: every word is as wide as its letters.
fn document(pages: &[&str]) -> Document {
    let page = |(number, text): (usize, &&str)| {
        let lines = text.lines().enumerate().map(|(row, line)| {
            let mut column = 0;
            line.split(' ')
                .filter_map(|text| {
                    let left = column as f32 / 200.0;
                    column += text.chars().count() + 1;
                    let right = left + text.chars().count() as f32 / 200.0;
                    let top = row as f32 / 50.0;
                    (!text.is_empty()).then(|| Word {
                        text: text.into(),
                        bbox: [left, top, right, top + 0.018],
                        start: 0,
                        size: 9.0,
                        bold: false,
                    })
                })
                .collect()
        });
        Page::from_lines(number as u32 + 1, 100.0, 100.0, lines.collect(), vec![])
    };
    Document {
        kind: Kind::Pdf,
        sha256: String::new(),
        pages: pages.iter().enumerate().map(page).collect(),
        unread: vec![],
    }
}

fn quote(text: &str, page: Option<u32>) -> Quote {
    Quote {
        text: text.into(),
        page,
        bbox: None,
        start: None,
        end: None,
        verified: false,
        matched: Match::None,
    }
}

fn proved(pages: &[&str], schema: Value, value: Value, quotes: &[(&str, &str)]) -> Attributions {
    let document = document(pages);
    let mut attributions = Attributions::new();
    for (at, text) in quotes {
        let leaf: &mut Attribution = attributions.entry((*at).to_owned()).or_default();
        leaf.quotes.push(quote(text, None));
    }
    let claim = Claim {
        schema: &schema,
        value: &value,
        attributions,
        invalid: &[],
        signals: &BTreeMap::new(),
    };
    prove(&document, &Index::new(&document), claim)
}

/// The verdict on a value of any type, from one quote.
fn verdict(page: &str, value: Value, text: &str) -> Verdict {
    judged(page, json!({}), value, text)
}

fn judged(page: &str, schema: Value, value: Value, text: &str) -> Verdict {
    proved(&[page], schema, value, &[("", text)])[""]
        .verdict
        .unwrap()
}

#[test]
fn a_quote_is_found_in_every_spelling_of_its_words() {
    let page = "Oﬃce of the Kraftfahr-\nversicherung “North”\nMu\u{308}ller – Co\npayable within thirty days";
    for (text, matched) in [
        ("of the", Match::Exact),
        ("office OF\nthe", Match::Normalized),
        ("the Kraftfahrversicherung \"North\"", Match::Normalized),
        ("Müller - Co", Match::Normalized),
        ("payable witin thirtv days", Match::Fuzzy),
    ] {
        let all = proved(&[page], json!({}), json!("x"), &[("", text)]);
        let quote = &all[""].quotes[0];
        assert_eq!((quote.verified, quote.matched), (true, matched), "{text}");
        assert!(quote.bbox.is_some() && quote.page == Some(1), "{text}");
    }
    for text in [
        "Kraftfahr",
        "versicherung",
        "Office of the Krankenkasse",
        "”",
        "orth",
    ] {
        let all = proved(&[page], json!({}), json!("x"), &[("", text)]);
        assert_eq!(all[""].verdict, Some(Verdict::NotFound), "{text}");
        assert!(!all[""].quotes[0].verified, "{text}");
    }
}

#[test]
fn a_digit_is_never_forgiven() {
    let page = "The total amount of invoice number 4711 is payable at once";
    let value = || json!("The total amount");
    let found = "The totel amount of invoice number 4711 is payable";
    let other = "The total amount of invoice number 4712 is payable";
    assert_eq!(verdict(page, value(), found), Verdict::Verified);
    assert_eq!(verdict(page, value(), other), Verdict::NotFound);
    let gone = "The total amount of invoice number is payable at once";
    assert_eq!(verdict(page, value(), gone), Verdict::NotFound);
}

#[test]
fn a_quote_over_the_end_of_a_page_is_a_quote_on_each() {
    let pages = [
        "First line\nthe tenant shall pay\nPage 1 of 2",
        "Lease of 2024\nthe rent in advance\nmore",
    ];
    for text in ["tenant shall pay the rent in advance", "of 2 Lease of 2024"] {
        let all = proved(&pages, json!({}), json!(text), &[("", text)]);
        let leaf = &all[""];
        assert_eq!(leaf.verdict, Some(Verdict::Verified), "{text}");
        let places: Vec<_> = leaf.quotes.iter().map(|quote| quote.page).collect();
        assert_eq!(places, [Some(1), Some(2)], "{text}");
        assert!(
            leaf.quotes
                .iter()
                .all(|quote| quote.verified && quote.bbox.is_some())
        );
    }
}

#[test]
fn the_last_word_of_a_page_and_the_first_of_the_next_are_no_quote_over_a_footer() {
    let pages = ["and then he\nPage 1 of 2", "the tenant\nshall pay"];
    let all = proved(&pages, json!({}), json!("he the"), &[("", "he the")]);
    assert_eq!(all[""].verdict, Some(Verdict::NotFound));
}

#[test]
fn numbers_follow_in_every_habit_with_their_sign() {
    for (page, value) in [
        ("Total 1.234,50 EUR", json!(1234.5)),
        ("Total 1 234,50", json!(1234.5)),
        ("Total $1,234.50", json!(1234.5)),
        ("Total (12.50)", json!(-12.5)),
        ("Total 12,50-", json!(-12.5)),
        ("Total -12.50", json!(-12.5)),
        ("Rate 5 %", json!(0.05)),
        ("Rate 5%", json!(5)),
        ("Sales 1.2 million", json!(1_200_000)),
        ("Paid 7.00", json!("7.00")),
        (
            "Account 12345678901234567",
            json!(12_345_678_901_234_567_i64),
        ),
    ] {
        assert_eq!(
            verdict(page, value.clone(), page),
            Verdict::Verified,
            "{page} {value}"
        );
    }
    for (page, value, expected) in [
        ("Total 1 234,50", json!(234.5), Verdict::Ambiguous),
        ("Total (12.50)", json!(12.5), Verdict::Ambiguous),
        ("Total -12.50", json!(12.5), Verdict::Mismatch),
        ("Total -12.50", json!("12.50"), Verdict::Ambiguous),
        ("Total 12.50", json!("-12.50"), Verdict::Ambiguous),
        ("Total 1.234", json!(1234), Verdict::Ambiguous),
        ("Total 1.234", json!(1.234), Verdict::Ambiguous),
        ("Total <0.5", json!(0.5), Verdict::Ambiguous),
        ("Item 007", json!(7), Verdict::Ambiguous),
        ("for twelve months", json!(12), Verdict::Ambiguous),
        ("INV-2024-17", json!(17), Verdict::Mismatch),
        (
            "Account 12345678901234567",
            json!(12_345_678_901_234_568_i64),
            Verdict::Mismatch,
        ),
    ] {
        assert_eq!(
            verdict(page, value.clone(), page),
            expected,
            "{page} {value}"
        );
    }
    let integer = json!({"type": "integer"});
    assert_eq!(
        judged("Total 1.234", integer, json!(1234), "Total 1.234"),
        Verdict::Verified
    );
}

#[test]
fn what_the_document_shows_decides_between_readings() {
    let german = "Summe 1.234\nSteuer 19,50\nNetto 7,00";
    assert_eq!(
        verdict(german, json!(1234), "Summe 1.234"),
        Verdict::Verified
    );
    assert_eq!(
        verdict(german, json!(1.234), "Summe 1.234"),
        Verdict::Ambiguous
    );
    let open = "Due 05/12/2024";
    assert_eq!(verdict(open, json!("2024-05-12"), open), Verdict::Ambiguous);
    let shown = "Due 05/12/2024\nIssued 22/11/2024";
    assert_eq!(
        verdict(shown, json!("2024-12-05"), "Due 05/12/2024"),
        Verdict::Verified
    );
    assert_eq!(
        verdict(shown, json!("2024-05-12"), "Due 05/12/2024"),
        Verdict::Ambiguous
    );
}

#[test]
fn dates_follow_in_several_languages() {
    for page in [
        "am 12.05.2024",
        "May 12, 2024",
        "12 mai 2024",
        "12. Mai 2024",
        "12th of May 2024",
        "Date:12.05.24",
    ] {
        assert_eq!(
            verdict(page, json!("2024-05-12"), page),
            Verdict::Verified,
            "{page}"
        );
        assert_eq!(
            verdict(page, json!("2024-05-13"), page),
            Verdict::Mismatch,
            "{page}"
        );
    }
    let page = "born 12.05.45";
    assert_eq!(verdict(page, json!("1945-05-12"), page), Verdict::Ambiguous);
    let page = "at 2024-05-12 10:30";
    assert_eq!(
        verdict(page, json!("2024-05-12T10:30:00Z"), page),
        Verdict::Verified
    );
    assert_eq!(
        verdict(page, json!("2024-05-12T11:30:00Z"), page),
        Verdict::Ambiguous
    );
}

#[test]
fn a_member_of_an_enumeration_must_be_named_alone() {
    let schema = || json!({"enum": ["paid", "partially_paid", "open", "insured"]});
    for (page, value, expected) in [
        ("Status: Paid", "paid", Verdict::Verified),
        (
            "Status: partially paid",
            "partially_paid",
            Verdict::Verified,
        ),
        ("Status: partially paid", "paid", Verdict::Mismatch),
        ("Status: open", "paid", Verdict::Mismatch),
        ("Status: open / paid", "paid", Verdict::Ambiguous),
        ("is not insured", "insured", Verdict::Ambiguous),
        ("settled in full", "paid", Verdict::Ambiguous),
    ] {
        assert_eq!(
            judged(page, schema(), json!(value), page),
            expected,
            "{page} {value}"
        );
    }
    let currency = json!({"type": "string"});
    assert_eq!(
        judged("5,00 €", currency.clone(), json!("EUR"), "5,00 €"),
        Verdict::Verified
    );
    assert_eq!(
        judged("$5.00", currency.clone(), json!("USD"), "$5.00"),
        Verdict::Ambiguous
    );
    assert_eq!(
        judged("£5.00", currency, json!("EUR"), "£5.00"),
        Verdict::Mismatch
    );
}

#[test]
fn yes_and_no_count_only_as_answers() {
    for (page, value, expected) in [
        ("Smoker: Yes", true, Verdict::Verified),
        ("Smoker: Yes", false, Verdict::Mismatch),
        ("☒ Yes ☐ No", true, Verdict::Verified),
        ("☐ Yes ☒ No", true, Verdict::Mismatch),
        ("Raucher? Nein", false, Verdict::Verified),
        ("no later than May", false, Verdict::Ambiguous),
        ("Invoice No. 7", false, Verdict::Ambiguous),
        ("Invoice No", false, Verdict::Ambiguous),
        ("The tenant smokes", true, Verdict::Ambiguous),
    ] {
        assert_eq!(
            verdict(page, json!(value), page),
            expected,
            "{page} {value}"
        );
    }
}

#[test]
fn a_text_follows_word_for_word_or_not_at_all() {
    for (page, value, expected) in [
        ("Seller: ACME GmbH, Berlin", "Acme GmbH", Verdict::Verified),
        (
            "IBAN DE88 2008 0000 0970",
            "DE88200800000970",
            Verdict::Verified,
        ),
        (
            "IBAN DE88 2008 0000 0970",
            "DE88200800000971",
            Verdict::Mismatch,
        ),
        ("Seller: ACME GmbH, Berlin", "ACM", Verdict::Mismatch),
        (
            "Seller: ACME GmbH, Berlin",
            "Berlin ACME",
            Verdict::Ambiguous,
        ),
        ("Herr Müller-Schmidt", "Schmidt", Verdict::Mismatch),
    ] {
        assert_eq!(
            verdict(page, json!(value), page),
            expected,
            "{page} {value}"
        );
    }
    let parts = [("", "ACME"), ("", "Berlin")];
    let all = proved(
        &["ACME\nGermany\nBerlin"],
        json!({}),
        json!("ACME Berlin"),
        &parts,
    );
    assert_eq!(all[""].verdict, Some(Verdict::Verified));
}

/// Rows in which the same amounts are printed again and again.
const ROWS: &str =
    "Widget 2 5.00 10.00\nGadget 2 5.00 10.00\nSprocket 5 2.00 10.00\nTotal due 30.00";

#[test]
fn a_repeated_quote_belongs_beside_its_neighbours_or_nowhere() {
    let row = |name: &str| json!({"rows": [{"name": name, "sum": 10.0}]});
    for (name, line) in [("Widget", 0.0), ("Gadget", 0.02), ("Sprocket", 0.04)] {
        let quotes = [("/rows/0/name", name), ("/rows/0/sum", "10.00")];
        let all = proved(&[ROWS], json!({}), row(name), &quotes);
        let sum = &all["/rows/0/sum"];
        assert_eq!(sum.verdict, Some(Verdict::Verified), "{name}");
        assert_eq!(sum.quotes[0].bbox.map(|bbox| bbox[1]), Some(line), "{name}");
    }
    let alone = proved(
        &[ROWS],
        json!({}),
        json!({"sum": 10.0}),
        &[("/sum", "10.00")],
    );
    assert_eq!(alone["/sum"].verdict, Some(Verdict::Ambiguous));
    assert!(!alone["/sum"].quotes[0].verified && alone["/sum"].quotes[0].page.is_none());
}

#[test]
fn a_column_tells_two_equal_cells_of_a_row_apart() {
    let page = "1 Widget 3 a\n2 Gadget 2 b\n3 Sprocket 7 c";
    let rows = json!({"rows": [
        {"name": "Widget", "count": 3}, {"name": "Gadget", "count": 2}, {"name": "Sprocket", "count": 7}
    ]});
    let quotes = [
        ("/rows/0/name", "Widget"),
        ("/rows/0/count", "Widget 3"),
        ("/rows/1/name", "Gadget"),
        ("/rows/1/count", "2"),
        ("/rows/2/name", "Sprocket"),
        ("/rows/2/count", "Sprocket 7"),
    ];
    let all = proved(&[page], json!({}), rows, &quotes);
    let second = &all["/rows/1/count"];
    assert_eq!(second.verdict, Some(Verdict::Verified));
    assert!(
        second.quotes[0].bbox.is_some_and(|bbox| bbox[0] > 0.04),
        "{second:?}"
    );
}

#[test]
fn the_named_page_decides_only_where_the_quote_stands_there_once() {
    let document = document(&["Fee 5.00", "Fee 5.00", "Fee 5.00 Fee 5.00"]);
    let index = Index::new(&document);
    for (page, expected) in [
        (1, Verdict::Verified),
        (2, Verdict::Verified),
        (3, Verdict::Ambiguous),
        (9, Verdict::Ambiguous),
    ] {
        let mut attributions = Attributions::new();
        let leaf = attributions.entry(String::new()).or_default();
        leaf.quotes.push(quote("Fee 5.00", Some(page)));
        let claim = Claim {
            schema: &json!({}),
            value: &json!(5.0),
            attributions,
            invalid: &[],
            signals: &BTreeMap::new(),
        };
        let all = prove(&document, &index, claim);
        assert_eq!(all[""].verdict, Some(expected), "page {page}");
        let shown = (expected == Verdict::Verified).then_some(page);
        assert_eq!(all[""].quotes[0].page, shown);
    }
}

#[test]
fn the_quote_of_a_row_stands_for_its_cells() {
    let value = json!({"rows": [{"name": "Sprocket", "count": 5, "price": 2.0, "sum": 11.0}]});
    let all = proved(
        &[ROWS],
        json!({}),
        value,
        &[("/rows/0", "Sprocket 5 2.00 10.00")],
    );
    let verdicts: Vec<_> = all
        .iter()
        .map(|(at, leaf)| (at.as_str(), leaf.verdict.unwrap()))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("/rows/0/count", Verdict::Verified),
            ("/rows/0/name", Verdict::Verified),
            ("/rows/0/price", Verdict::Verified),
            ("/rows/0/sum", Verdict::None),
        ]
    );
    assert_eq!(all["/rows/0/count"].quotes[0].text, "5");
}

#[test]
fn without_a_quote_only_what_stands_once_and_not_by_chance_is_verified() {
    let page = "Invoice 471100 of ACME GmbH\nDue 12.05.2024\nTotal 383,75 7\nACME Str. 8";
    for (value, expected) in [
        (json!("471100"), Verdict::Verified),
        (json!("ACME GmbH"), Verdict::Verified),
        (json!("2024-05-12"), Verdict::Verified),
        (json!(383.75), Verdict::Verified),
        (json!(383.76), Verdict::None),
        (json!(7), Verdict::Ambiguous),
        (json!("ACME"), Verdict::Ambiguous),
        (json!(true), Verdict::None),
        (json!(null), Verdict::None),
    ] {
        let all = proved(&[page], json!({}), value.clone(), &[]);
        assert_eq!(all[""].verdict, Some(expected), "{value}");
        let placed = all[""].quotes.iter().any(|quote| quote.verified);
        assert!(placed || expected != Verdict::Verified, "{value}");
    }
    let near = "Net 471100\nGross 471190";
    let all = proved(&[near], json!({}), json!(471_100), &[]);
    assert_eq!(all[""].verdict, Some(Verdict::Ambiguous));
}

#[test]
fn every_leaf_gets_its_verdict_and_nothing_else_does() {
    let value = json!({"a": "Widget", "b": null, "c": [], "d": {"e": 10.0}});
    let all = proved(
        &[ROWS],
        json!({}),
        value,
        &[("/a", "Widget"), ("/nowhere", "Gadget"), ("/b", "Gadget")],
    );
    let keys: Vec<_> = all.keys().map(String::as_str).collect();
    assert_eq!(keys, ["/a", "/b", "/d/e"]);
    let absent = &all["/b"];
    assert_eq!(
        (absent.verdict, absent.confidence),
        (Some(Verdict::None), None)
    );
    let sure = |at: &str| all[at].confidence.unwrap();
    assert!(sure("/a") > 0.9 && sure("/d/e") <= 0.5);
}

#[test]
fn a_claim_of_a_place_is_read_again_there() {
    let document = document(&["Total 1,234.50"]);
    let index = Index::new(&document);
    let there = quote_words(&document, &document.pages[0], 1, 1).unwrap();
    for (text, start, expected) in [
        ("1,234.50", 6, Verdict::Verified),
        ("1,234.60", 6, Verdict::NotFound),
        ("234.50", 8, Verdict::NotFound),
    ] {
        let mut attributions = Attributions::new();
        let claimed = Quote {
            text: text.into(),
            start: Some(start),
            bbox: None,
            verified: false,
            ..there.clone()
        };
        let leaf = Attribution {
            quotes: vec![claimed],
            confidence: Some(0.9),
            ..Attribution::default()
        };
        attributions.insert(String::new(), leaf);
        let claim = Claim {
            schema: &json!({}),
            value: &json!(1234.5),
            attributions,
            invalid: &[Pointer::root()],
            signals: &BTreeMap::new(),
        };
        let leaf = &prove(&document, &index, claim)[""];
        assert_eq!(leaf.verdict, Some(expected), "{text}");
        let parts = leaf.confidence_parts.unwrap();
        assert_eq!((parts.source, parts.validation), (Some(0.9), 0.0));
        assert!(leaf.confidence.is_some_and(|sure| sure < 0.5));
        if expected == Verdict::Verified {
            assert_eq!(leaf.quotes[0], there);
        } else {
            assert_eq!(
                (leaf.quotes[0].page, leaf.quotes[0].matched),
                (None, Match::None)
            );
        }
    }
}
