//! Running means, and a model's pace from what its calls took.

use super::{Pace, Span};

/// A mean that forgets: what is newer than this many samples weighs as much as all before it.
const WINDOW: f64 = 20.0;
/// Of the first samples, which may be a stroke of luck, the range is at least this wide.
const NARROWEST: f64 = 0.15;

/// A running mean with its spread.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    samples: f64,
    middle: f64,
    variance: f64,
}

impl Mean {
    pub fn add(&mut self, sample: f64) {
        if !sample.is_finite() {
            return;
        }
        self.samples = (self.samples + 1.0).min(WINDOW);
        let away = sample - self.middle;
        let share = 1.0 / self.samples;
        self.middle += away * share;
        self.variance = (1.0 - share) * (self.variance + share * away * away);
    }

    /// None before the first sample.
    pub fn get(&self) -> Option<f64> {
        (self.samples > 0.0).then_some(self.middle)
    }

    /// The mean, two deviations to each side and never all of it.
    pub fn span(&self) -> Option<Span> {
        let mean = self.get()?;
        let wide = (2.0 * self.variance.sqrt()).max(mean * NARROWEST / self.samples.sqrt());
        Some(Span {
            low: (mean - wide).max(mean * 0.1),
            likely: mean,
            high: mean + wide,
        })
    }
}

/// What one call took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Tokens that nobody had read before.
    pub fresh: f64,
    /// Tokens that came from a cache.
    pub cached: f64,
    /// Thoughts included.
    pub answer: f64,
    /// Seconds until the answer began.
    pub first: f64,
    /// Seconds until it ended.
    pub total: f64,
}

/// Weight that a new sample leaves to those before it.
const KEEPS: f64 = 1.0 - 1.0 / WINDOW;
/// How many samples what is assumed of a model weighs.
const ASSUMED: f64 = 0.02;
/// Tokens that reading is counted in, so that the three figures are of one size.
const THOUSAND: f64 = 1_000.0;

/// Least squares over samples that are forgotten with time.
#[derive(Debug, Clone)]
struct Squares<const N: usize> {
    /// Sums of products of the figures with each other.
    products: [[f64; N]; N],
    /// Sums of products of the figures with the outcome.
    outcomes: [f64; N],
}

impl<const N: usize> Squares<N> {
    const EMPTY: Self = Self {
        products: [[0.0; N]; N],
        outcomes: [0.0; N],
    };

    fn add(&mut self, figures: [f64; N], outcome: f64) {
        for (i, a) in figures.iter().enumerate() {
            for (j, b) in figures.iter().enumerate() {
                self.products[i][j] = self.products[i][j] * KEEPS + a * b;
            }
            self.outcomes[i] = self.outcomes[i] * KEEPS + a * outcome;
        }
    }

    /// The factors of the figures, held near `assumed` where the samples do not tell.
    fn factors(&self, assumed: [f64; N]) -> [f64; N] {
        let (mut matrix, mut target) = (self.products, self.outcomes);
        for i in 0..N {
            matrix[i][i] += ASSUMED;
            target[i] += ASSUMED * assumed[i];
        }
        solve(matrix, target).unwrap_or(assumed)
    }
}

/// Gauss with pivots; none for a matrix without an inverse.
fn solve<const N: usize>(mut matrix: [[f64; N]; N], mut target: [f64; N]) -> Option<[f64; N]> {
    for column in 0..N {
        let size = |row: &usize| matrix[*row][column].abs();
        let pivot = (column..N).max_by(|a, b| size(a).total_cmp(&size(b)))?;
        if matrix[pivot][column].abs() < 1e-12 {
            return None;
        }
        matrix.swap(column, pivot);
        target.swap(column, pivot);
        let lead = matrix[column];
        for row in column + 1..N {
            let factor = matrix[row][column] / lead[column];
            for (cell, above) in matrix[row].iter_mut().zip(lead) {
                *cell -= factor * above;
            }
            target[row] -= factor * target[column];
        }
    }
    let mut found = [0.0; N];
    for row in (0..N).rev() {
        let right = matrix[row].iter().zip(found).skip(row + 1);
        let known: f64 = right.map(|(factor, value)| factor * value).sum();
        found[row] = (target[row] - known) / matrix[row][row];
    }
    Some(found)
}

/// The pace of one model. Delay and reading are told apart by calls of different lengths, and held
/// near what is assumed where all calls are alike.
#[derive(Debug, Clone)]
pub struct Fit {
    reading: Squares<3>,
    written: f64,
    writing: f64,
    samples: u64,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            reading: Squares::EMPTY,
            written: 0.0,
            writing: 0.0,
            samples: 0,
        }
    }
}

impl Fit {
    pub fn add(&mut self, sample: &Sample) {
        let figures = [sample.fresh, sample.cached, sample.answer, sample.first];
        let is_sound = figures
            .iter()
            .all(|figure| figure.is_finite() && *figure >= 0.0);
        if !is_sound || !sample.total.is_finite() || sample.total < sample.first {
            return;
        }
        let row = [1.0, sample.fresh / THOUSAND, sample.cached / THOUSAND];
        self.reading.add(row, sample.first);
        self.written = self.written * KEEPS + sample.answer;
        self.writing = self.writing * KEEPS + (sample.total - sample.first);
        self.samples += 1;
    }

    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// What is known now; what is assumed where nothing is.
    pub fn pace(&self) -> Pace {
        let assumed = Pace::UNKNOWN;
        if self.samples == 0 {
            return assumed;
        }
        let prior = [
            assumed.delay,
            THOUSAND / assumed.read,
            THOUSAND / assumed.cached,
        ];
        let [delay, fresh, cached] = self.reading.factors(prior);
        // Noise may turn a figure to less than nothing; nothing is read a thousand times as fast.
        let rate = |seconds: f64, prior: f64| THOUSAND / seconds.clamp(prior / 1e3, prior * 1e3);
        let write = if self.writing > 0.0 && self.written > 0.0 {
            (self.written / self.writing).clamp(0.1, 1e6)
        } else {
            assumed.write
        };
        Pace {
            delay: delay.clamp(0.0, 600.0),
            read: rate(fresh, prior[1]),
            cached: rate(cached, prior[2]),
            write,
        }
    }
}

/// How far a count may be off before anything was learned, as a share of it.
const UNLEARNED: f64 = 0.3;
/// How far one is off at least: prompts that nobody has seen are like none of those before.
const SUREST: f64 = 0.03;

/// How a model counts what it is sent: tokens for each token that was estimated.
#[derive(Debug, Clone)]
pub struct Count {
    sums: Squares<2>,
    /// Squares of the shares by which counts were off.
    off: Mean,
    samples: u64,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            sums: Squares::EMPTY,
            off: Mean::default(),
            samples: 0,
        }
    }
}

impl Count {
    /// A prompt that was estimated as `shared` and `own` tokens, and was so many.
    pub fn add(&mut self, shared: f64, own: f64, tokens: f64) {
        if shared >= 0.0 && own >= 0.0 && tokens.is_finite() && tokens > 0.0 {
            // How far the first was off says what was assumed and not what was learned.
            if self.samples > 0 {
                let (of_shared, of_own) = self.factors();
                let told = shared * of_shared + own * of_own;
                self.off.add((told / tokens - 1.0).powi(2));
            }
            self.samples += 1;
            self.sums
                .add([shared / THOUSAND, own / THOUSAND], tokens / THOUSAND);
        }
    }

    /// How far a count may be off to either side, as a share of it: two deviations of those
    /// before, and more while there were few.
    pub fn width(&self) -> f64 {
        let few = UNLEARNED / ((self.samples + 1) as f64).sqrt();
        let seen = 2.0 * self.off.get().unwrap_or(0.0).sqrt();
        seen.max(few).clamp(SUREST, UNLEARNED)
    }

    /// For what is shared, and for what is a call's own.
    pub fn factors(&self) -> (f64, f64) {
        let [shared, own] = self.sums.factors([1.0, 1.0]);
        (shared.clamp(0.2, 5.0), own.clamp(0.2, 10.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_follows_what_changes_and_says_how_sure_it_is() {
        let mut mean = Mean::default();
        assert_eq!(mean.span(), None);
        mean.add(100.0);
        let once = mean.span().unwrap();
        assert!(once.low < 100.0 && once.high > 100.0);
        for _ in 0..200 {
            mean.add(300.0);
        }
        let span = mean.span().unwrap();
        assert!((span.likely - 300.0).abs() < 1.0, "{span:?}");
        assert!(span.high - span.low < once.high - once.low + 20.0);
    }

    #[test]
    fn delay_reading_and_writing_are_told_apart_by_calls_of_different_lengths() {
        let truth = Pace {
            delay: 0.8,
            read: 5_000.0,
            cached: 90_000.0,
            write: 70.0,
        };
        let mut fit = Fit::default();
        assert_eq!(fit.pace(), Pace::UNKNOWN);
        for (fresh, cached, answer) in [
            (2_000.0, 0.0, 300.0),
            (9_000.0, 0.0, 20.0),
            (400.0, 30_000.0, 900.0),
            (300.0, 4_000.0, 50.0),
            (20_000.0, 0.0, 100.0),
        ] {
            let first = truth.delay + fresh / truth.read + cached / truth.cached;
            fit.add(&Sample {
                fresh,
                cached,
                answer,
                first,
                total: first + answer / truth.write,
            });
        }
        let pace = fit.pace();
        for (found, true_one) in [
            (pace.delay, truth.delay),
            (pace.read, truth.read),
            (pace.cached, truth.cached),
            (pace.write, truth.write),
        ] {
            assert!((found / true_one - 1.0).abs() < 0.1, "{pace:?}");
        }
    }

    #[test]
    fn a_sample_that_cannot_be_is_left_out() {
        let mut fit = Fit::default();
        fit.add(&Sample {
            fresh: f64::NAN,
            cached: 0.0,
            answer: 1.0,
            first: 1.0,
            total: 2.0,
        });
        fit.add(&Sample {
            fresh: 1.0,
            cached: 0.0,
            answer: 1.0,
            first: 3.0,
            total: 2.0,
        });
        assert_eq!((fit.samples(), fit.pace()), (0, Pace::UNKNOWN));
    }

    #[test]
    fn documents_and_questions_are_counted_apart() {
        let mut count = Count::default();
        assert_eq!(count.factors(), (1.0, 1.0));
        for (shared, own) in [(2_000.0, 300.0), (9_000.0, 250.0), (700.0, 1_500.0)] {
            count.add(shared, own, shared * 0.9 + own * 1.6);
        }
        let (shared, own) = count.factors();
        assert!(
            (shared - 0.9).abs() < 0.02 && (own - 1.6).abs() < 0.1,
            "{shared} {own}"
        );
    }

    #[test]
    fn a_count_is_as_wide_as_those_before_it_were_off() {
        let widths = |off: f64| {
            let mut count = Count::default();
            let mut widths = vec![count.width()];
            for at in 0..120_u32 {
                let (shared, own) = (
                    f64::from(2_000 + at % 7 * 900),
                    f64::from(150 + at % 5 * 40),
                );
                let noise = if at % 2 == 0 { 1.0 + off } else { 1.0 - off };
                count.add(shared, own, (shared * 0.9 + own * 1.6) * noise);
                widths.push(count.width());
            }
            widths
        };
        let (sure, unsure) = (widths(0.0), widths(0.06));
        assert!((sure[0] - UNLEARNED).abs() < 1e-9 && (sure[120] - SUREST).abs() < 1e-9);
        assert!(sure[1] < sure[0] && sure[1] > SUREST, "{sure:?}");
        assert!((0.08..0.2).contains(&unsure[120]), "{unsure:?}");
    }
}
