//! One printed value belongs to one party.

use std::collections::HashSet;

use super::page::Span;
use super::party::Party;
use super::text::fold;

/// By how much one of two equal rights must be surer to count.
const CLEAR: f32 = 0.03;

/// How well it is told whose a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    /// Only one party can have it, if the paper is like most.
    Guess,
    /// It stands in a block that is a party's by its place.
    Place,
    /// It stands under the heading of the party.
    Heading,
    /// Its label names the party.
    Label,
}

/// Whose field it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// Of an object that is a party, by number.
    Object(usize),
    /// Of the party that the field's own name speaks of, by its ring of the lexicon.
    Named(usize),
}

impl Whose {
    /// A loose field may well repeat what an object says; within a kind two are two.
    fn excludes(self, other: Self) -> bool {
        self != other && std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// A value given to a field of a party.
#[derive(Debug)]
pub(super) struct Claim {
    /// Pointer of the field.
    pub at: String,
    pub party: Whose,
    pub right: Right,
    /// 0 to 1.
    pub sure: f32,
    /// Tells apart who it is, so no two parties have it: a name, a registration.
    pub identity: Option<String>,
    pub spans: Vec<Span>,
}

impl Claim {
    fn beats(&self, other: &Self) -> bool {
        self.right > other.right || (self.right == other.right && self.sure > other.sure + CLEAR)
    }

    fn is_of_same(&self, other: &Self) -> bool {
        let meets = |a: &Span, b: &Span| a.page == b.page && a.first <= b.last && b.first <= a.last;
        let shared = self
            .spans
            .iter()
            .any(|span| other.spans.iter().any(|there| meets(span, there)));
        let alike = self.identity.is_some() && self.identity == other.identity;
        // Under headings of their own two parties may well be the same.
        shared || (alike && self.right.min(other.right) < Right::Heading)
    }
}

/// The fields that must give their value up: another party has more right to it, or nothing
/// tells whose it is. A party that loses its name by place loses all that came with it.
pub(super) fn lost(claims: &[Claim]) -> HashSet<&str> {
    let mut lost = HashSet::new();
    let mut gone: HashSet<Whose> = HashSet::new();
    for (index, one) in claims.iter().enumerate() {
        for other in &claims[index + 1..] {
            if !one.party.excludes(other.party) || !one.is_of_same(other) {
                continue;
            }
            for (loser, winner) in [(one, other), (other, one)] {
                if !loser.beats(winner) {
                    lost.insert(loser.at.as_str());
                    if loser.identity.is_some() && loser.right == Right::Place {
                        gone.insert(loser.party);
                    }
                }
            }
        }
    }
    let dragged = claims
        .iter()
        .filter(|claim| gone.contains(&claim.party) && claim.right <= Right::Place);
    lost.extend(dragged.map(|claim| claim.at.as_str()));
    lost
}

/// Who a name or a registration is of, spelling aside.
pub(super) fn identity(text: &str) -> String {
    fold(text).chars().filter(|c| c.is_alphanumeric()).collect()
}

impl Party {
    /// What its own lines prove of whose they are.
    pub(super) fn right(&self) -> Right {
        if self.headed {
            Right::Heading
        } else {
            Right::Place
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(at: &str, party: usize, right: Right, word: usize, name: &str) -> Claim {
        Claim {
            at: at.to_owned(),
            party: Whose::Object(party),
            right,
            sure: 0.8,
            identity: (!name.is_empty()).then(|| name.to_owned()),
            spans: vec![Span {
                page: 0,
                first: word,
                last: word,
            }],
        }
    }

    fn lost_of(claims: &[Claim]) -> Vec<&str> {
        let mut lost: Vec<&str> = lost(claims).into_iter().collect();
        lost.sort_unstable();
        lost
    }

    #[test]
    fn a_value_goes_to_the_party_its_label_names_and_else_to_none() {
        let label = claim("/buyer/vat_id", 2, Right::Label, 7, "x");
        let guess = claim("/seller/vat_id", 1, Right::Guess, 7, "x");
        let place = claim("/payer/vat_id", 3, Right::Guess, 7, "x");
        assert_eq!(lost_of(&[label, guess]), ["/seller/vat_id"]);
        let guess = claim("/seller/vat_id", 1, Right::Guess, 7, "x");
        assert_eq!(
            lost_of(&[guess, place]),
            ["/payer/vat_id", "/seller/vat_id"]
        );
    }

    #[test]
    fn who_is_not_who_its_place_says_loses_its_address_too() {
        let claims = [
            claim("/seller/name", 1, Right::Place, 1, "max"),
            claim("/seller/street", 1, Right::Place, 2, ""),
            claim("/buyer/name", 2, Right::Heading, 9, "max"),
            claim("/buyer/street", 2, Right::Heading, 10, ""),
        ];
        assert_eq!(lost_of(&claims), ["/seller/name", "/seller/street"]);
    }

    #[test]
    fn two_headings_may_give_the_same_name() {
        let claims = [
            claim("/ship_to/name", 1, Right::Heading, 1, "max"),
            claim("/buyer/name", 2, Right::Heading, 9, "max"),
        ];
        assert!(lost(&claims).is_empty());
    }
}
