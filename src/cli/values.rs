//! The values of a result and their places on the page, in words.

use serde_json::Value;

use super::show::{Show, tame};
use crate::domain::document::Bbox;
use crate::domain::evidence::{Attributions, Quote};
use crate::domain::pointer::Pointer;

/// Values of one subtree that are shown.
const MAX_LEAVES: usize = 60;
/// Columns before a value.
pub const INDENT: usize = 8;
/// Characters of a name, a value and a quote.
const MAX_NAME: usize = 32;
const MAX_VALUE: usize = 36;
const MAX_QUOTE: usize = 60;

/// A primitive inside a result.
pub struct Leaf {
    name: String,
    /// `None` where the document has nothing.
    pub value: Option<String>,
    place: String,
}

/// The primitives of a value that stands at `base` in the result.
pub fn leaves(value: &Value, base: &Pointer, attributions: &Attributions) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    gather(value, &Pointer::root(), base, attributions, &mut leaves);
    leaves
}

fn gather(
    value: &Value,
    inside: &Pointer,
    base: &Pointer,
    attributions: &Attributions,
    leaves: &mut Vec<Leaf>,
) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                gather(member, &inside.join(name), base, attributions, leaves);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                gather(item, &inside.index(index), base, attributions, leaves);
            }
        }
        _ => {
            let attribution = attributions.get(base.concat(inside).as_str());
            let quotes = attribution.map_or(&[][..], |attribution| &attribution.quotes);
            leaves.push(Leaf {
                name: tame(inside.as_str().trim_start_matches('/'), MAX_NAME),
                value: (!value.is_null()).then(|| tame(&value.to_string(), MAX_VALUE)),
                place: if value.is_null() {
                    "not found".to_owned()
                } else {
                    place(quotes)
                },
            });
        }
    }
}

/// Where a value stands: `page 1, top left, 'Invoice 7'`.
fn place(quotes: &[Quote]) -> String {
    let Some(quote) = quotes.first() else {
        return "no place known".to_owned();
    };
    let page = quote
        .page
        .map(|page| format!("page {page}, "))
        .unwrap_or_default();
    let corner = quote
        .bbox
        .map(|bbox| format!("{}, ", corner(bbox)))
        .unwrap_or_default();
    let doubt = if quote.verified { "" } else { ", not verified" };
    let more = match quotes.len() {
        1 => String::new(),
        number => format!(" and {} more", number - 1),
    };
    format!(
        "{page}{corner}'{}'{more}{doubt}",
        tame(&quote.text, MAX_QUOTE)
    )
}

/// The ninth of the page that the middle of a box lies in.
fn corner(bbox: Bbox) -> &'static str {
    const NAMES: [[&str; 3]; 3] = [
        ["top left", "top", "top right"],
        ["left", "middle", "right"],
        ["bottom left", "bottom", "bottom right"],
    ];
    let third = |low: f32, high: f32| (((low + high) * 1.5) as usize).min(2);
    NAMES[third(bbox[1], bbox[3])][third(bbox[0], bbox[2])]
}

/// Lines of names, values and places, each with a line feed before it.
pub fn aligned(show: &Show, leaves: &[Leaf]) -> String {
    let shown = &leaves[..leaves.len().min(MAX_LEAVES)];
    let widest = |width: fn(&Leaf) -> usize| shown.iter().map(width).max().unwrap_or(0);
    let names = widest(|leaf| leaf.name.chars().count());
    let values = widest(|leaf| leaf.value.as_ref().map_or(1, |value| value.chars().count()));
    let mut lines: Vec<_> = shown
        .iter()
        .map(|leaf| {
            let value = leaf.value.as_deref().unwrap_or("-");
            let place = show.faint(&leaf.place);
            format!(
                "\n{:INDENT$}{:names$}  {value:values$}  {place}",
                "", leaf.name
            )
        })
        .collect();
    let hidden = leaves.len() - shown.len();
    if hidden > 0 {
        lines.push(format!("\n{:INDENT$}and {hidden} more", ""));
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::Match;

    fn quote(bbox: Option<Bbox>, verified: bool) -> Quote {
        Quote {
            text: "Total  due".into(),
            page: Some(2),
            bbox,
            start: None,
            end: None,
            verified,
            matched: Match::Exact,
        }
    }

    #[test]
    fn a_place_names_page_corner_and_quote() {
        let bbox = Some([0.7, 0.9, 0.9, 0.95]);
        assert_eq!(
            place(&[quote(bbox, true)]),
            "page 2, bottom right, 'Total due'"
        );
        assert_eq!(
            place(&[quote(None, false), quote(None, true)]),
            "page 2, 'Total due' and 1 more, not verified"
        );
        assert_eq!(place(&[]), "no place known");
    }

    #[test]
    fn the_edges_of_a_page_belong_to_it() {
        assert_eq!(corner([0.0, 0.0, 0.0, 0.0]), "top left");
        assert_eq!(corner([1.0, 1.0, 1.0, 1.0]), "bottom right");
        assert_eq!(corner([0.4, 0.4, 0.6, 0.6]), "middle");
    }
}
