//! Words made comparable: plural endings and the usual abbreviations folded away.

pub(super) use crate::domain::value::{Pattern, fold, pattern};

/// Words that carry no meaning in a label.
const STOP: &[&str] = &[
    "the", "of", "a", "an", "and", "or", "for", "is", "your", "our", "de", "la", "le", "du", "des",
    "d", "l", "les", "votre", "notre", "der", "die", "das", "und", "et", "ihre", "ihr", "unsere",
    "s", "von", "au", "en", "your", "please", "any", "as", "by", "on", "with", "this",
];

/// What is written short, and what it stands for.
const SHORT: &[(&str, &str)] = &[
    ("no", "number"),
    ("nos", "number"),
    ("nr", "number"),
    ("num", "number"),
    ("nbr", "number"),
    ("numero", "number"),
    ("nummer", "number"),
    ("numbers", "number"),
    ("№", "number"),
    ("#", "number"),
    ("%", "percent"),
    ("pct", "percent"),
    ("percentage", "percent"),
    ("qty", "quantity"),
    ("qte", "quantity"),
    ("amt", "amount"),
    ("inv", "invoice"),
    ("desc", "description"),
    ("addr", "address"),
    ("tel", "phone"),
    ("telephone", "phone"),
    ("telefon", "phone"),
    ("fon", "phone"),
    ("acct", "account"),
    ("dept", "department"),
    ("ref", "reference"),
    ("mwst", "vat"),
    ("ust", "vat"),
    ("tva", "vat"),
    ("umsatzsteuer", "vat"),
    ("mehrwertsteuer", "vat"),
    ("idnr", "idnumber"),
    ("ident", "id"),
    ("e-mail", "email"),
    ("mail", "email"),
    ("datum", "date"),
    ("dated", "date"),
    ("yr", "year"),
    ("org", "organization"),
    ("organisation", "organization"),
    ("postleitzahl", "postcode"),
    ("plz", "postcode"),
    ("zip", "postcode"),
    ("zipcode", "postcode"),
];

/// The normalised form of one folded word: abbreviations written out, plural endings cut.
fn normal(word: &str) -> String {
    if let Some((_, long)) = SHORT.iter().find(|(short, _)| *short == word) {
        return (*long).to_owned();
    }
    let count = word.chars().count();
    let plural = count > 3
        && word.ends_with('s')
        && !["ss", "us", "is"].iter().any(|end| word.ends_with(end));
    if plural {
        word[..word.len() - 1].to_owned()
    } else {
        word.to_owned()
    }
}

/// Heads of German compounds, split off so that `Rechnungsnummer` and `Rechnungs-Nr.` agree.
const TAILS: &[(&str, &str)] = &[
    ("nummer", "number"),
    ("nr", "number"),
    ("datum", "date"),
    ("betrag", "betrag"),
    ("preis", "preis"),
    ("summe", "summe"),
    ("rechnung", "rechnung"),
    ("zeitraum", "zeitraum"),
];

/// The meaningful tokens of a text.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let folded = fold(text)
        .replace("n°", "number ")
        .replace("e-mail", "email");
    let mut out = Vec::new();
    for word in split(&folded).filter(|word| !STOP.contains(word)) {
        let compound = TAILS.iter().find_map(|(tail, token)| {
            let head = word.strip_suffix(tail)?;
            (head.len() > 3).then_some((head.strip_suffix('s').unwrap_or(head), token))
        });
        match compound {
            Some((head, token)) => {
                // Every `...rechnung` is an invoice, whatever it is for.
                if *token != "rechnung" {
                    out.push(normal(head));
                }
                out.push((*token).to_owned());
            }
            None => out.push(normal(word)),
        }
    }
    out
}

fn split(folded: &str) -> impl Iterator<Item = &str> {
    let mut rest = folded;
    std::iter::from_fn(move || {
        let start = rest.find(|c: char| c.is_alphanumeric() || is_sign(c))?;
        let tail = &rest[start..];
        let first = tail.chars().next()?;
        let end = if is_sign(first) {
            first.len_utf8()
        } else {
            tail.find(|c: char| !c.is_alphanumeric() || is_sign(c))
                .unwrap_or(tail.len())
        };
        rest = &tail[end..];
        Some(&tail[..end])
    })
}

fn is_sign(c: char) -> bool {
    matches!(c, '#' | '%' | '№')
}

/// A property name as words: `invoiceNumber`, `invoice_number` and `invoice-number` alike.
pub(super) fn name_words(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    let mut letters = name.chars().peekable();
    while let Some(c) = letters.next() {
        let next_lower = letters.peek().is_some_and(|next| next.is_lowercase());
        let hump =
            c.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && next_lower));
        if hump || (c.is_numeric() && before.is_alphabetic()) {
            out.push(' ');
        }
        out.push(if c == '_' || c == '-' || c == '.' {
            ' '
        } else {
            c
        });
        before = c;
    }
    out
}

/// One key for a set of tokens, whatever their order.
pub(super) fn key(tokens: &[String]) -> String {
    let mut sorted: Vec<&str> = tokens.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_mean_the_same_become_the_same_tokens() {
        for (a, b) in [
            ("Invoice No.:", "INVOICE NUMBER"),
            ("N° TVA client", "Numéro TVA client"),
            ("Qty", "Quantity"),
            ("Line items", "line item"),
            ("MwSt-%", "USt %"),
        ] {
            assert_eq!(key(&tokens(a)), key(&tokens(b)), "{a} / {b}");
        }
    }

    #[test]
    fn property_names_are_cut_into_words() {
        for (name, words) in [
            ("invoiceNumber", "invoice Number"),
            ("vat_id", "vat id"),
            ("HTMLTitle", "HTML Title"),
            ("line2", "line 2"),
        ] {
            assert_eq!(name_words(name), words);
        }
    }
}
