//! The best way down: one line for each row, each further down than the one before.

/// A line that a row may begin on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Index into the lines that are looked at.
    pub line: usize,
    /// 0..=1: how much of the row stands there.
    pub score: f32,
    /// All of it.
    pub is_whole: bool,
}

/// A step of a way, and the one before it.
struct Step {
    row: usize,
    line: usize,
    total: f64,
    before: Option<usize>,
}

/// For each row one of its candidates or none, so that lines grow from row to row and the sum of
/// scores is the greatest there is. Takes time for each candidate and the logarithm of `lines`.
pub(super) fn chain(rows: &[Vec<Candidate>], lines: usize) -> Vec<Option<usize>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut best = Best {
        tree: vec![None; lines + 1],
    };
    for (row, candidates) in rows.iter().enumerate() {
        let first = steps.len();
        for candidate in candidates {
            let before = best.below(candidate.line, &steps);
            // Whole rows are worth more than the sum of halves that they would displace.
            let score = f64::from(candidate.score) * if candidate.is_whole { 1.5 } else { 1.0 };
            steps.push(Step {
                row,
                line: candidate.line,
                total: score + before.map_or(0.0, |step| steps[step].total),
                before,
            });
        }
        for step in first..steps.len() {
            best.put(step, &steps);
        }
    }
    let mut chosen = vec![None; rows.len()];
    let mut at = best.below(lines, &steps);
    while let Some(step) = at {
        chosen[steps[step].row] = Some(steps[step].line);
        at = steps[step].before;
    }
    chosen
}

/// The best step that ends before a line.
struct Best {
    tree: Vec<Option<usize>>,
}

impl Best {
    fn below(&self, line: usize, steps: &[Step]) -> Option<usize> {
        let mut at = line;
        let mut best: Option<usize> = None;
        while at > 0 {
            if let Some(step) = self.tree[at] {
                // Of lines that are as good the first: a list that was cut off has not come further.
                let better = best.is_none_or(|best| steps[step].total >= steps[best].total);
                best = if better { Some(step) } else { best };
            }
            at &= at - 1;
        }
        best
    }

    fn put(&mut self, step: usize, steps: &[Step]) {
        let mut at = steps[step].line + 1;
        while at < self.tree.len() {
            let slot = &mut self.tree[at];
            if slot.is_none_or(|known| steps[step].total > steps[known].total) {
                *slot = Some(step);
            }
            at += at & at.wrapping_neg();
        }
    }
}
