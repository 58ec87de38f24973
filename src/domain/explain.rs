//! What a job would do, before it does it.

use serde::{Deserialize, Serialize};

use super::cost::{Estimate, Span, Start};
use super::pack::{Aim, Budget, Item, Packed};
use super::plan::{Kind, Plan, Subtree, Take};
use super::pointer::Pointer;

/// The plan of a job as it is kept with it: how many calls, and what they may come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    pub packing: Aim,
    /// Pages of the document.
    pub pages: u64,
    /// Tokens of the document.
    pub document_tokens: f64,
    /// Whether calls get the pages that fit their question best and the headings of the others,
    /// since the model does not take the whole document. Lists still get the whole, and fail.
    #[serde(default)]
    pub is_excerpted: bool,
    /// Calls that the estimate of the model's pace rests on; 0: it is assumed.
    pub calls_learned_from: u64,
    /// Whether answers of the same schema were measured before.
    pub sizes_learned: bool,
    /// The first of what the provider is asked for otherwise than the schema says: at most
    /// [`Forecast::CHANGES`] of them, in at most [`Forecast::CHANGES_BYTES`] of text.
    #[serde(default)]
    pub lowered: Vec<Change>,
    pub estimate: Estimate,
}

impl Forecast {
    /// A forecast is kept with every job; the plan of a request tells more.
    pub const CHANGES: usize = 50;
    pub const CHANGES_BYTES: usize = 8 * 1024;

    /// Tells as many of these as a job keeps.
    #[must_use]
    pub fn lowering(mut self, changes: &[Change]) -> Self {
        let mut bytes = 0;
        let fits = |change: &&Change| {
            bytes += change.subtree_id.len() + change.pointer.len() + change.what.len();
            bytes <= Self::CHANGES_BYTES
        };
        let told = changes.iter().take(Self::CHANGES).take_while(fits);
        self.lowered = told.cloned().collect();
        self
    }
}

/// Something that the model is asked for otherwise than the schema says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub subtree_id: String,
    /// Relative to the subtree's value; `*` for any item or member.
    pub pointer: String,
    pub what: String,
}

/// One subtree of an explained plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedSubtree {
    pub subtree_id: String,
    pub path: Pointer,
    pub kind: Kind,
    pub total_fields: u32,
    /// Why the schema is cut here, as a sentence.
    pub reason: String,
    /// Which of the calls asks for it, from 1.
    pub call: usize,
    pub answer_tokens: Span,
}

/// One call of an explained plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedCall {
    pub subtree_ids: Vec<String>,
    pub prompt_tokens: f64,
    pub answer_tokens: Span,
    /// Whether the others wait until this one has read the document.
    pub is_leader: bool,
}

/// All that can be said of a job beforehand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    pub model: String,
    pub subtrees: Vec<ExplainedSubtree>,
    pub total_subtrees: usize,
    pub total_fields: u32,
    pub calls: Vec<ExplainedCall>,
    /// What was said otherwise for the provider, and why.
    pub lowered: Vec<Change>,
    pub budget: Budget,
    pub forecast: Forecast,
}

impl Explained {
    /// `items` are those that were packed.
    pub fn of(
        model: &str,
        plan: &Plan,
        items: &[Item],
        packed: &Packed,
        forecast: Forecast,
        budget: Budget,
    ) -> Self {
        let id = |index: usize| plan.subtrees.get(index).map(|subtree| subtree.id.clone());
        let calls = packed.loads.iter().zip(&packed.weights).enumerate();
        let calls = calls.map(|(at, (load, weight))| ExplainedCall {
            subtree_ids: load.iter().filter_map(|index| id(*index)).collect(),
            prompt_tokens: weight.prompt().round(),
            answer_tokens: rounded(&weight.answer),
            is_leader: at == 0 && packed.start == Start::LeaderFirst,
        });
        let subtrees = plan.subtrees.iter().enumerate().map(|(index, subtree)| {
            let call = packed.loads.iter().position(|load| load.contains(&index));
            let item = items.iter().find(|item| item.index == index);
            ExplainedSubtree {
                subtree_id: subtree.id.clone(),
                path: subtree.path.clone(),
                kind: subtree.kind,
                total_fields: subtree.total_fields,
                reason: reason(subtree),
                call: call.map_or(0, |call| call + 1),
                answer_tokens: item.map_or_else(Span::default, |item| rounded(&item.answer)),
            }
        });
        Self {
            model: model.to_owned(),
            total_subtrees: plan.subtrees.len(),
            total_fields: plan.total_fields(),
            subtrees: subtrees.collect(),
            calls: calls.collect(),
            lowered: Vec::new(),
            budget,
            forecast,
        }
    }
}

fn rounded(span: &Span) -> Span {
    Span::of(|bound| span.at(bound).round())
}

/// Why the schema is cut here.
pub fn reason(subtree: &Subtree) -> String {
    let fields = match subtree.total_fields {
        1 => "1 field".to_owned(),
        more => format!("{more} fields"),
    };
    match (subtree.kind, &subtree.take) {
        (Kind::AgenticArray, Take::Keys(_)) => format!(
            "A list of unknown length, {fields} a row; it is asked for inside its object, because \
             only leaving it out says that it is not there."
        ),
        (Kind::AgenticArray, _) => format!("A list of unknown length, {fields} a row."),
        (Kind::Fields, Take::Keys(keys)) => format!(
            "{} parts of one object, {fields} together: there are more parts than subtrees.",
            keys.len()
        ),
        (Kind::Fields, _) => format!("{fields} that belong to no larger part of this object."),
        (Kind::Object, Take::Keys(_)) => format!(
            "An object of {fields}, too large to join those around it; it is asked for inside its \
             owner, because only leaving it out says that it is not there."
        ),
        (Kind::Object, _) if subtree.path.is_root() => {
            format!("The whole schema: {fields}, and nothing in it is worth a part of its own.")
        }
        (Kind::Object, _) => {
            format!("An object of {fields}, too large to join those around it.")
        }
        (Kind::Value, _) => "Kept in one piece: it cannot be divided soundly.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(changes: usize, letters: usize) -> Forecast {
        let change = Change {
            subtree_id: "a".into(),
            pointer: String::new(),
            what: "x".repeat(letters),
        };
        let forecast = Forecast {
            packing: Aim::default(),
            pages: 0,
            document_tokens: 0.0,
            is_excerpted: false,
            calls_learned_from: 0,
            sizes_learned: false,
            lowered: Vec::new(),
            estimate: Estimate::default(),
        };
        forecast.lowering(&vec![change; changes])
    }

    #[test]
    fn what_a_job_keeps_of_its_lowering_is_bounded_in_number_and_in_bytes() {
        assert_eq!(forecast(3, 100).lowered.len(), 3);
        assert_eq!(forecast(500, 10).lowered.len(), Forecast::CHANGES);
        assert_eq!(forecast(500, 1_000).lowered.len(), 8);
        assert!(forecast(1, Forecast::CHANGES_BYTES).lowered.is_empty());
    }
}
