//! The embedded extractor on whole documents, through the reader and the splitter.

mod arrays;

use std::collections::BTreeMap;

use rivulet::document::Readers;
use rivulet::domain::document::Document;
use rivulet::domain::evidence::Attribution;
use rivulet::domain::merge::merge;
use rivulet::domain::plan::Plan;
use rivulet::domain::plan::SplitterConfigs;
use rivulet::domain::pointer::Pointer;
use rivulet::engine::ports::Reader as _;
use rivulet::provider::layout::extract;
use serde_json::{Value, json};

use crate::long::{Document as Long, Spec};
use crate::support::app::file;

fn document(path: &str) -> Document {
    Readers.read(&file(path)).unwrap()
}

fn schema() -> Value {
    serde_json::from_slice(&file("schemas/examples/invoice.schema.json")).unwrap()
}

fn cut(schema: &Value, most: u32) -> Plan {
    let splitter = SplitterConfigs {
        max_fields_to_join: 3,
        max_subtrees: most,
    };
    Plan::of(schema, splitter)
}

/// The document all subtrees add up to, with where each value stands.
fn extracted(document: &Document, plan: &Plan) -> (Value, BTreeMap<String, Attribution>) {
    let mut all = BTreeMap::new();
    let mut values = Vec::new();
    for (index, subtree) in plan.subtrees.iter().enumerate() {
        let (value, attributions) = extract(document, plan, index).unwrap();
        for (at, attribution) in attributions {
            let at = subtree.path.concat(&Pointer::parse(&at).unwrap());
            let before = all.insert(at.as_str().to_owned(), attribution);
            assert!(before.is_none(), "{} is in two subtrees", at.as_str());
        }
        values.push((&subtree.path, value));
    }
    (merge(values), all)
}

/// A schema whose parts have nothing but parts, and parts that may be left out.
fn nested() -> Value {
    let text = || json!({"type": ["string", "null"]});
    let party = || {
        let address = json!({
            "type": "object",
            "properties": {"street": text(), "postal_code": text(), "city": text(), "country": text()},
        });
        let names = json!({
            "type": "object",
            "properties": {"name": text(), "vat_id": text(), "phone": text(), "email": text()},
        });
        json!({
            "type": "object",
            "required": ["address", "identity"],
            "properties": {"identity": names, "address": address},
        })
    };
    let line = json!({
        "type": "object",
        "properties": {"description": text(), "quantity": {"type": ["number", "null"]}, "amount": {"type": ["number", "null"]}},
    });
    json!({
        "type": "object",
        "title": "Invoice",
        "required": ["seller", "customer"],
        "properties": {
            "invoice_number": text(),
            "seller": party(),
            "customer": party(),
            "items": {"type": "array", "items": line},
            "totals": {
                "type": "object",
                "properties": {
                    "net_total": {"type": "number"}, "tax_total": {"type": "number"},
                    "grand_total": {"type": "number"}, "iban": text(),
                },
            },
        },
    })
}

#[test]
fn subtrees_add_up_to_what_the_schema_in_one_piece_gives() {
    for path in [
        "schemas/examples/invoice.pdf",
        "tests/fixtures/documents/zugferd-kraftfahrversicherung.pdf",
        "tests/fixtures/documents/fieldbench-invoice.md",
        "tests/fixtures/documents/fieldbench-receipt.md",
        "tests/fixtures/documents/tabula-voting-record.pdf",
    ] {
        let document = document(path);
        for schema in [schema(), nested()] {
            let (parts, whole) = (cut(&schema, 200), cut(&schema, 1));
            assert!(parts.subtrees.len() > 4 && whole.subtrees.len() == 1);
            assert_eq!(
                extracted(&document, &parts),
                extracted(&document, &whole),
                "{path}"
            );
        }
    }
}

#[test]
fn the_example_invoice_is_read_in_full() {
    let document = document("schemas/examples/invoice.pdf");
    let (value, _) = extracted(&document, &cut(&schema(), 200));
    let expected = json!({
        "number": "FA-2017-0009",
        "issue_date": "2017-11-05",
        "due_date": "2017-12-05",
        "reference": "BC543",
        "currency": "EUR",
        "seller": {
            "name": "Au bon moulin SARL",
            "vat_id": "FR11999999998",
            "phone": "+33 4 50 44 68 99",
            "website": "http://www.aubonmoulin.fr",
            "address": {
                "street": "1242 chemin de l'olive",
                "postal_code": "84340",
                "city": "Malaucène",
                "country": "France",
            },
        },
        "buyer": {
            "name": "Hôtel Saint Denis",
            "contact": "Stéphanie Hoarau",
            "vat_id": "FR90343434346",
            "address": {
                "street": "42 rue du stade",
                "postal_code": "97400",
                "city": "Saint Denis",
                "country": "Ile de la Réunion",
            },
        },
        "line_items": [
            {"description": "Nougat de l'Abbaye 250g", "quantity": 50, "unit_price": 4.55, "discount_percent": 10, "amount": 204.75},
            {"description": "Biscuits aux raisins 300g", "quantity": 40, "unit_price": 3.2, "discount_percent": null, "amount": 128.0},
            {"description": "Huile d'olive à l'ancienne", "quantity": 10, "unit_price": 19.8, "discount_percent": null, "amount": 198.0},
        ],
        "totals": {"net": 530.75, "tax": 0.0, "gross": 530.75, "due": 383.75},
        "payment": {
            "terms": "30% d'acompte, solde à 30 j",
            "iban": "FR2012421242124212421242124",
            "bic": "FIDCFR21XXX",
            "bank": "Banque Fiducial",
        },
    });
    assert_eq!(value, expected);
}

#[test]
fn every_row_of_a_long_document_is_read_into_the_list_it_belongs_to() {
    for (rows, seed) in [
        (27, 1),
        (27, 2),
        (27, 3),
        (100, 1),
        (100, 2),
        (100, 3),
        (400, 5),
    ] {
        for spec in [Spec::plain(seed, rows), Spec::hard(seed, rows)] {
            let long = Long::make(spec);
            let document = Readers.read(&long.pdf()).unwrap();
            let (value, _) = extracted(&document, &cut(&long.schema(), 200));
            let truth = long.truth();
            for name in ["items", "returned_items"] {
                assert_eq!(value[name], truth[name], "{name} of {spec:?}");
            }
        }
    }
}
