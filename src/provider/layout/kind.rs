//! What a leaf is about, told by its type, its format and its words.

use serde_json::Value;

use super::schema::{Field, Leaf, Parts};
use super::text::{fold, name_words, tokens};

/// What a leaf is about, from its type, format and words: decides how its value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Text,
    /// A person or an organization.
    Name,
    /// A number of a paper, a thing or a customer: letters and digits, never without a digit.
    Identifier,
    /// Some sentences.
    Narrative,
    /// As `YYYY-MM-DD` or, where the schema does not say so, as printed.
    Date {
        iso: bool,
    },
    Number,
    /// A number of some currency.
    Money,
    Percent,
    Year,
    Boolean,
    Choice,
    Email,
    Url,
    Phone,
    Iban,
    Bic,
    VatId,
    Street,
    Postcode,
    City,
    /// As a two-letter code or as printed.
    Country {
        code: bool,
    },
    State {
        code: bool,
    },
    Address,
    /// As an ISO 4217 code.
    Currency,
    /// Money as text: the number as printed, without its currency where the schema says so.
    Amount {
        plain: bool,
    },
}

pub(super) fn kind(field: &Field, parts: &Parts<'_>, leaf: &Leaf) -> Kind {
    let words = tokens(&name_words(&field.name));
    let about = fold(field.description.as_deref().unwrap_or_default());
    let has = |word: &str| words.iter().any(|token| token == word);
    let ends = |word: &str| words.last().is_some_and(|token| token == word);
    if !leaf.choices.is_empty() {
        return Kind::Choice;
    }
    if leaf.boolean && !leaf.text {
        return Kind::Boolean;
    }
    if leaf.number && !leaf.text {
        return number_kind(&words, &about, leaf);
    }
    match parts
        .keyword("format")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "date" | "date-time" => return Kind::Date { iso: true },
        "email" | "idn-email" => return Kind::Email,
        "uri" | "url" | "iri" | "uri-reference" => return Kind::Url,
        _ => {}
    }
    let iso = about.contains("yyyy-mm-dd") || about.contains("iso 8601");
    let date = ["date", "echeance", "birthday", "dob"]
        .iter()
        .any(|word| ends(word));
    if iso || date {
        return Kind::Date { iso };
    }
    let code = has("code")
        || ["code", "iso ", "abbreviation", "two-letter", "alpha-2"]
            .iter()
            .any(|w| about.contains(w));
    text_kind(&words, &about, code)
}

fn number_kind(words: &[String], about: &str, leaf: &Leaf) -> Kind {
    let has = |word: &str| words.iter().any(|token| token == word);
    if has("percent")
        || about.contains("percent")
        || (has("rate") && (has("vat") || has("tax") || has("interest")))
    {
        Kind::Percent
    } else if has("year") && (leaf.integer || about.contains("year")) {
        Kind::Year
    } else if MONEY.iter().any(|word| has(word))
        || about.contains("dollar")
        || about.contains("amount")
    {
        Kind::Money
    } else {
        Kind::Number
    }
}

/// Words of names of sums of money.
const MONEY: &[&str] = &[
    "amount",
    "total",
    "subtotal",
    "price",
    "premium",
    "cost",
    "fee",
    "tax",
    "vat",
    "balance",
    "payment",
    "wage",
    "salary",
    "limit",
    "deductible",
    "gross",
    "net",
    "betrag",
    "summe",
    "preis",
    "montant",
    "prix",
    "revenue",
    "income",
    "compensation",
];

/// Last words of names of fields that ask for a person or an organization.
const PEOPLE: &[&str] = &[
    "plaintiff",
    "defendant",
    "petitioner",
    "respondent",
    "borrower",
    "lender",
    "agent",
    "claimant",
    "insured",
    "insurer",
    "employer",
    "employee",
    "patient",
    "physician",
    "judge",
    "advertiser",
    "agency",
    "producer",
    "buyer",
    "seller",
    "vendor",
    "customer",
    "landlord",
    "tenant",
];

fn text_kind(words: &[String], about: &str, code: bool) -> Kind {
    let has = |word: &str| words.iter().any(|token| token == word);
    let ends = |word: &str| words.last().is_some_and(|token| token == word);
    let any = |list: &[&str]| list.iter().any(|word| has(word));
    if has("email") {
        Kind::Email
    } else if any(&["url", "website", "web", "homepage", "uri"]) {
        Kind::Url
    } else if any(&["phone", "fax", "telefax", "mobile"]) {
        Kind::Phone
    } else if has("iban") {
        Kind::Iban
    } else if any(&["bic", "swift"]) {
        Kind::Bic
    } else if has("vat") && any(&["id", "number", "idnumber"]) {
        Kind::VatId
    } else if any(&["postcode", "postal"]) {
        Kind::Postcode
    } else if ends("city") || ends("town") || ends("ville") || ends("ort") {
        Kind::City
    } else if has("country") || ends("pay") || ends("land") {
        Kind::Country { code }
    } else if ends("state") || ends("province") {
        Kind::State { code }
    } else if any(&["street", "strasse"]) {
        Kind::Street
    } else if ends("address") || ends("adresse") || ends("anschrift") {
        Kind::Address
    } else if has("currency") || ends("devise") || ends("wahrung") {
        Kind::Currency
    } else if any(&["narrative", "abstract", "summary"])
        || ["verbatim", "narrative", "one or more sentences"]
            .iter()
            .any(|word| about.contains(word))
    {
        Kind::Narrative
    } else if any(&[
        "amount", "total", "subtotal", "price", "betrag", "montant", "summe",
    ]) {
        Kind::Amount {
            plain: about.contains("no currency") || about.contains("without currency"),
        }
    } else if any(&[
        "number",
        "id",
        "identifier",
        "tin",
        "ein",
        "ssn",
        "sku",
        "idnumber",
        "account",
        "code",
        "reference",
    ]) {
        Kind::Identifier
    } else if PEOPLE.iter().any(|word| ends(word))
        || ends("name")
        || about.starts_with("name of")
        || about.contains("name as printed")
    {
        Kind::Name
    } else {
        Kind::Text
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{Form, compile};
    use super::*;
    use serde_json::json;

    fn kind_of(name: &str, schema: Value) -> Kind {
        let root = compile(&json!({"type": "object", "properties": {name: schema}}));
        match root.form {
            Form::Object(mut fields) => match fields.remove(0).form {
                Form::Leaf(leaf) => leaf.kind,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn kinds_come_from_type_format_and_words() {
        let text = || json!({"type": ["string", "null"]});
        assert_eq!(kind_of("due_date", text()), Kind::Date { iso: false });
        assert_eq!(
            kind_of("start", json!({"type": "string", "format": "date"})),
            Kind::Date { iso: true }
        );
        assert_eq!(kind_of("invoiceNumber", text()), Kind::Identifier);
        assert_eq!(kind_of("vat_id", text()), Kind::VatId);
        assert_eq!(kind_of("postal_code", text()), Kind::Postcode);
        assert_eq!(
            kind_of("tax_percent", json!({"type": "number"})),
            Kind::Percent
        );
        assert_eq!(
            kind_of("status", json!({"enum": ["open", null]})),
            Kind::Choice
        );
        assert_eq!(
            kind_of(
                "paid",
                json!({"anyOf": [{"type": "null"}, {"type": "boolean"}]})
            ),
            Kind::Boolean
        );
        assert_eq!(
            kind_of(
                "country",
                json!({"type": "string", "description": "Two-letter country code"})
            ),
            Kind::Country { code: true }
        );
    }
}
