//! One printed value belongs to one party.

use std::collections::HashSet;

use super::page::Span;
use super::party::Party;
use super::text::fold;

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

/// A value given to a field of a party.
#[derive(Debug)]
pub(super) struct Claim {
    /// Pointer of the field.
    pub at: String,
    /// Number of the party.
    pub party: usize,
    pub right: Right,
    /// Tells apart who it is, so no two parties have it: a name, a registration.
    pub identity: Option<String>,
    pub spans: Vec<Span>,
}

impl Claim {
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
    let mut gone: HashSet<usize> = HashSet::new();
    for (index, one) in claims.iter().enumerate() {
        for other in &claims[index + 1..] {
            if one.party == other.party || !one.is_of_same(other) {
                continue;
            }
            for (loser, winner) in [(one, other), (other, one)] {
                if loser.right <= winner.right {
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
