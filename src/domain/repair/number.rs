//! Numbers as printed in English, German, French and Swiss documents, where there is one reading.

use serde_json::Number;

/// Money signs and codes that may stand beside a number and change nothing of it.
const MONEY: [&str; 12] = [
    "€", "$", "£", "¥", "EUR", "USD", "GBP", "CHF", "JPY", "SFr.", "Fr.", "US$",
];

/// Digits that a floating-point number holds without loss.
const MAX_DIGITS: usize = 15;

/// The number that a text is, if there is one reading of it.
///
/// `1.234` and `1,234` have two, as has `7 %`; a number with leading zeros is a mark.
pub fn plain_number(text: &str) -> Option<Number> {
    let text = without_money(text.trim());
    let (sign, body) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(body) => ("-", body.trim_start()),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, decimals) = parts(body)?;
    let is_mark = whole.len() > 1 && whole.starts_with('0');
    let is_empty = whole.is_empty() || decimals.as_deref() == Some("");
    let digits = whole.len() + decimals.as_ref().map_or(0, String::len);
    let is_lossy = digits > MAX_DIGITS && (decimals.is_some() || digits > 18);
    if is_mark || is_empty || is_lossy {
        return None;
    }
    let decimals = decimals
        .as_deref()
        .map(|decimals| decimals.trim_end_matches('0'));
    let plain = match decimals.filter(|decimals| !decimals.is_empty()) {
        Some(decimals) => format!("{sign}{whole}.{decimals}"),
        None => format!("{sign}{whole}"),
    };
    plain.parse().ok()
}

fn without_money(text: &str) -> &str {
    for sign in MONEY {
        let rest = text.strip_prefix(sign).or_else(|| text.strip_suffix(sign));
        if let Some(rest) = rest {
            return rest.trim();
        }
    }
    text
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Digits before and after the decimal sign.
fn parts(body: &str) -> Option<(String, Option<String>)> {
    if is_digits(body) {
        return Some((body.to_owned(), None));
    }
    let groupings: [&[char]; 4] = [
        &['.'],
        &[','],
        &['\'', '\u{2019}'],
        &[' ', '\u{a0}', '\u{202f}'],
    ];
    let mut found = None;
    for grouping in groupings {
        for decimal in ['.', ','] {
            if grouping.contains(&decimal) {
                continue;
            }
            let Some((whole, decimals)) = body.split_once(decimal) else {
                continue;
            };
            if is_digits(decimals) && whole.contains(grouping) {
                let whole = ungrouped(whole, grouping)?;
                found = Some((whole, Some(decimals.to_owned())));
            }
        }
    }
    found.or_else(|| one_sign(body))
}

/// Digits in groups of three, all by the same sign.
fn ungrouped(whole: &str, grouping: &[char]) -> Option<String> {
    let sign = whole.chars().find(|c| grouping.contains(c))?;
    let groups: Vec<&str> = whole.split(sign).collect();
    let is_grouped = groups.iter().all(|group| is_digits(group))
        && groups[0].len() <= 3
        && groups[1..].iter().all(|group| group.len() == 3);
    is_grouped.then(|| groups.concat())
}

/// A number with one kind of sign, which either groups it or parts its decimals.
fn one_sign(body: &str) -> Option<(String, Option<String>)> {
    let sign = body.chars().find(|c| !c.is_ascii_digit())?;
    match sign {
        '.' | ',' if body.matches(sign).count() > 1 => Some((ungrouped(body, &[sign])?, None)),
        '.' | ',' => {
            let (whole, decimals) = body.split_once(sign)?;
            let is_number = is_digits(whole) && is_digits(decimals);
            // Three digits after it may be a group, unless there is nothing to group.
            let may_group = decimals.len() == 3 && whole.len() <= 3 && whole != "0";
            (is_number && !may_group).then(|| (whole.to_owned(), Some(decimals.to_owned())))
        }
        // A plain space may also part two numbers.
        '\'' | '\u{2019}' | '\u{a0}' | '\u{202f}' => Some((ungrouped(body, &[sign])?, None)),
        _ => None,
    }
}
