//! A token bucket that the server does not tell of, learned from its refusals.
//!
//! What is known after a refusal: the server's bucket was empty then. So the calls that passed
//! since the last such moment are played again through buckets of other rates; the one that runs
//! empty just at the refusal has the server's rate. That counts rightly what a full bucket loses
//! while nobody calls or everybody waits. Calls that passed at once out of a full bucket are its
//! size.
//!
//! Before the first refusal there is nothing to go by. A few calls go at once, the next ones keep
//! a distance for as long as a refusal takes to come back: a small limit is not found out by every
//! call of a job. A server that has answered many at once is no longer treated so.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Wait;

/// After a refusal nothing grows beyond what is proven for so long: a limit is tried about once a
/// minute.
const HOLD: f64 = 60.0;
/// What the rate grows by in a second of demand, and with a call of a slow server, whose bucket
/// hides for long that it is asked too much.
const GROWTH: f64 = 0.01;
const GROWTH_A_CALL: f64 = 0.005;
/// No rate is thought slower: a server that is asked again after a minute can be asked.
const SLOWEST: f64 = 1.0 / 60.0;
/// Share of the way to the proven ceiling that the rate climbs with each call.
const CLIMB: f64 = 0.05;
/// A bucket counts as full when it is by this much of its size more: the rate may be less.
const CERTAIN: f64 = 0.2;
/// What the rate grows by with each of the first calls while no upper bound is known: a refusal in
/// whole seconds costs a short job more than a slow start.
const SEARCH: f64 = 0.035;
/// How many bucketfuls they are, and what the step itself grows by with each further call.
const SEARCH_SLOWLY: f64 = 4.0;
const SEARCH_FASTER: f64 = 1.25;
/// What the rate may grow by while as many calls go as a bucket hides.
const SEARCH_MOST: f64 = 0.8;
/// Unanswered calls beyond which the next ones keep a distance, while nothing is known.
const FREE: u64 = 4;
/// For how long they do.
const CAUTION: Duration = Duration::from_millis(100);
/// Calls whose answers began while so many were open: no small limit.
const MANY: u64 = 2 * FREE;
/// Between calls whose number is a guess, so that the first refusal stops the rest.
const GAP: Duration = Duration::from_millis(25);
/// Calls that came closer together than this before the first refusal are one burst.
const BURST: Duration = Duration::from_millis(250);
/// Below what was found, so that the unevenness of the network does not add up.
const MARGIN: f64 = 0.99;
/// What the network may take longer for one call than for another, seconds.
const UNEVEN: f64 = 0.01;
/// Of what a refusal leaves open: a rate that climbed slowly is not far above the server's.
const LIKELY: f64 = 0.5;
/// Of a rate, what it may be more than it is at least before it counts as not known.
const DOUBT: f64 = 0.3;
/// How often a server that tells no waits is asked for the most that it may have.
const TRIES: u32 = 2;
/// How much higher the rate may be when the size was wrong.
const RESIZED: f64 = 0.1;
/// Calls that are remembered.
const MEMORY: usize = 256;
const STEPS: usize = 40;
/// Sums of small steps may miss a whole call by less than this.
const ROUNDING: f64 = 1e-6;

fn seconds(later: Instant, earlier: Instant) -> f64 {
    later.saturating_duration_since(earlier).as_secs_f64()
}

/// A moment at which the server's level was known.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    level: f64,
}

impl Mark {
    /// The level at a later moment, by a bucket of this size and rate.
    fn later(self, size: f64, rate: f64, at: Instant) -> Self {
        let level = self.level + seconds(at, self.at) * rate;
        Self {
            at: at.max(self.at),
            level: level.min(size),
        }
    }

    /// The level at `end`, after these calls.
    fn replayed(self, size: f64, rate: f64, calls: &[Instant], end: Instant) -> f64 {
        let last = calls.iter().fold(self, |mark, call| {
            let mut mark = mark.later(size, rate, *call);
            mark.level -= 1.0;
            mark
        });
        last.later(size, rate, end).level
    }
}

/// Refusals that belong together: those of calls sent before the first of them was known.
#[derive(Debug, Clone, Copy)]
struct Lesson {
    at: Instant,
    /// The first call that was refused, and when it was sent.
    number: u64,
    sent: Instant,
    wait: Wait,
    /// Whether the server told the wait; else it is a guess, and one call need not be there.
    is_told: bool,
    reopens: Instant,
}

/// The server's bucket as far as it is known.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Calls.
    size: f64,
    /// Calls a second.
    rate: f64,
    /// What the rate is between for certain, if the limit has not changed.
    floor: f64,
    ceiling: f64,
    now: Mark,
    /// Where the calls that are remembered start.
    anchor: Mark,
    /// Whether the rate is a guess from below.
    searching: bool,
    /// Calls at a distance that were let go meanwhile.
    searched: u32,
    /// How long the first burst took, seconds: what was earned meanwhile is no part of the size.
    spread: f64,
    /// Calls of it that went in its first moment: the size is no less.
    at_once: f64,
    /// Whether calls waited for it since it was last full.
    pressed: bool,
    /// Since when it has been full, until a call waits.
    full: Option<Instant>,
    /// First and last call that went out of a full bucket without waiting.
    burst: (u64, u64),
    refused_at: Instant,
    /// When the size last grew.
    grown_at: Instant,
    /// No call goes before.
    next_at: Instant,
    /// Calls that are there by a guess: they keep [`GAP`].
    guessed: f64,
    /// How often the most that may be there was tried.
    tries: u32,
    /// Whether the size was found to be too large.
    is_resized: bool,
}

#[derive(Debug, Default)]
pub struct Learned {
    bucket: Option<Bucket>,
    sent: u64,
    /// Number and moment of the last calls that were not refused.
    passed: VecDeque<(u64, Instant)>,
    lesson: Option<Lesson>,
    /// The last call that the last lesson covers.
    taught_through: u64,
    /// Calls whose answer has not begun.
    open: u64,
    /// The most of them that there were when one was answered.
    proven: u64,
    /// First and last of the calls that came close together.
    run: Option<(Instant, Instant)>,
}

impl Learned {
    /// Calls at once and calls a second; `None` while no limit is known.
    pub fn known(&self) -> Option<(f64, f64)> {
        self.bucket.map(|bucket| (bucket.size, bucket.rate))
    }

    /// Calls sent since the start.
    pub fn count(&self) -> u64 {
        self.sent
    }

    /// How long until a call may go; `None` for now.
    pub fn wait(&mut self, now: Instant) -> Option<Duration> {
        if let Some(lesson) = self.lesson {
            if now < lesson.reopens {
                return Some(lesson.reopens - now);
            }
            self.lesson = None;
            self.learn(lesson);
        }
        match &mut self.bucket {
            Some(bucket) => bucket.wait(now),
            None => self.distance(now),
        }
    }

    fn distance(&self, now: Instant) -> Option<Duration> {
        let (start, last) = self.run?;
        let is_careful = self.open >= FREE && self.proven < MANY && now < start + CAUTION;
        let wait = (last + GAP).saturating_duration_since(now);
        (is_careful && !wait.is_zero()).then_some(wait)
    }

    /// The answer to a call has begun.
    pub fn answered(&mut self) {
        self.proven = self.proven.max(self.open);
        self.left();
    }

    /// A call was refused, failed or was given up before its answer began.
    pub fn left(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// A call goes; its number is given back.
    pub fn sent(&mut self, now: Instant) -> u64 {
        self.sent += 1;
        self.open += 1;
        let run = self
            .run
            .filter(|(_, last)| now.saturating_duration_since(*last) < BURST);
        self.run = Some((run.map_or(now, |(start, _)| start), now));
        self.passed.push_back((self.sent, now));
        let forgotten = (self.passed.len() > MEMORY)
            .then(|| self.passed.pop_front())
            .flatten();
        if let Some(bucket) = &mut self.bucket {
            if bucket.searching && bucket.searched > 0 && bucket.now.level >= bucket.size {
                let calls: Vec<Instant> = self.passed.iter().map(|(_, at)| *at).collect();
                bucket.rate = bucket.rate.min(bucket.proven(&calls));
            }
            bucket.take(self.sent, now);
            if let Some((_, at)) = forgotten {
                bucket.anchor = bucket.anchor.later(bucket.size, bucket.rate, at);
                bucket.anchor.level -= 1.0;
            }
        }
        self.sent
    }

    /// Call `number` was refused for a reason that is known better elsewhere.
    pub fn forgive(&mut self, number: u64) {
        self.passed.retain(|(passed, _)| *passed != number);
    }

    /// The server refused call `number`; without a hint `wait` is a guess. Closed until `reopens`.
    pub fn refused(
        &mut self,
        number: u64,
        (wait, is_told): (Wait, bool),
        reopens: Instant,
        now: Instant,
    ) {
        let mut passed = self.passed.iter();
        let sent = passed.find(|(passed, _)| *passed == number);
        let sent = sent.map_or(now, |(_, at)| *at);
        self.forgive(number);
        if let Some(lesson) = &mut self.lesson {
            lesson.reopens = lesson.reopens.max(reopens);
            lesson.wait = lesson.wait.max(wait);
        } else if number > self.taught_through {
            self.taught_through = self.sent;
            self.lesson = Some(Lesson {
                at: now,
                sent,
                number,
                wait,
                is_told,
                reopens,
            });
        } else if let Some(bucket) = &mut self.bucket {
            // It was sent before the last lesson and tells nothing that the lesson did not.
            bucket.now.level = bucket.now.level.min(0.0);
        }
    }

    fn learn(&mut self, lesson: Lesson) {
        let calls: Vec<Instant> = self.passed.iter().map(|(_, at)| *at).collect();
        let bucket = match self.bucket {
            None => Bucket::first(&lesson, burst(&calls, lesson.at)),
            Some(bucket) => bucket.corrected(&lesson, &calls),
        };
        self.bucket = Some(bucket);
        self.passed.clear();
    }
}

impl Lesson {
    /// The server's level when it refused, for a bucket of this rate: what a hint says of it.
    /// `share` is how much of what the hint leaves open is taken, from 0 to 1.
    fn level(&self, rate: f64, share: f64) -> f64 {
        let wait = self.wait.duration().as_secs_f64();
        match self.wait {
            Wait::Exact(_) => 1.0 - wait * rate,
            Wait::Whole(_) => share,
        }
    }

    /// The next moment at which the level is known.
    fn mark(&self) -> Mark {
        match self.wait {
            Wait::Exact(wait) => Mark {
                at: self.at + wait,
                level: 1.0,
            },
            Wait::Whole(_) => Mark {
                at: self.at,
                level: 0.5,
            },
        }
    }
}

/// The last calls before `end` that came close together.
fn burst(calls: &[Instant], end: Instant) -> &[Instant] {
    let is_recent = |call: &Instant| end.saturating_duration_since(*call) < BURST;
    let start = calls.iter().position(is_recent).unwrap_or(calls.len());
    &calls[start..]
}

/// The number at which `excess`, which grows with it, is zero.
fn root(least: f64, most: f64, excess: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (least, most);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if excess(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

impl Bucket {
    /// By the first refusal of all: the burst is the size. An exact hint is at most what one call
    /// takes, and what passed beyond those that went at once was earned since; with whole seconds
    /// the size is tried again and the rate is searched from below.
    fn first(lesson: &Lesson, burst: &[Instant]) -> Self {
        let size = (burst.len() as f64).max(1.0);
        let closed = seconds(lesson.reopens, lesson.at).max(0.001);
        let start = burst.first().copied();
        let is_at_once = |at: &&Instant| start.is_some_and(|start| **at < start + GAP);
        let at_once = (burst.iter().filter(is_at_once).count() as f64).max(1.0);
        let spread = start.map_or(0.0, |start| seconds(lesson.sent, start));
        let anchor = lesson.mark();
        let (now, rate, searching) = match lesson.wait {
            Wait::Exact(wait) => {
                let wait = wait.as_secs_f64().max(0.001);
                let earned = (size + 1.0 - at_once) / (wait + spread);
                (anchor, MARGIN * earned.min(1.0 / wait), false)
            }
            Wait::Whole(_) => {
                let again = Mark {
                    at: lesson.reopens,
                    level: size,
                };
                (again, size / closed, true)
            }
        };
        let mut bucket = Self {
            size,
            rate,
            floor: 0.0,
            ceiling: if searching { f64::MAX } else { rate },
            now,
            anchor,
            searching,
            searched: 0,
            spread,
            at_once,
            pressed: true,
            full: None,
            burst: (0, 0),
            refused_at: lesson.at,
            grown_at: lesson.at,
            next_at: lesson.reopens,
            guessed: if searching { size } else { 0.0 },
            tries: 0,
            is_resized: false,
        };
        if !searching {
            bucket.settle();
        }
        bucket
    }

    /// The size of a bucket of this rate.
    fn sized(&self, rate: f64) -> f64 {
        (self.size - rate * self.spread).max(self.at_once)
    }

    /// The rate is no guess any more.
    fn settle(&mut self) {
        self.size = self.sized(self.rate).round();
        (self.spread, self.at_once) = (0.0, 1.0);
        self.searching = false;
        self.guessed = 0.0;
    }

    /// The rate of the bucket that was empty at the refusal. `share` of what the hints leave open
    /// is taken, from 0 to 1.
    fn found(&self, lesson: &Lesson, calls: &[Instant], share: f64) -> f64 {
        let mut anchor = self.anchor;
        if matches!(lesson.wait, Wait::Whole(_)) {
            anchor.level = 1.0 - share;
        }
        root(0.0, self.rate * 2.0, |rate| {
            let level = anchor.replayed(self.sized(rate), rate, calls, lesson.at);
            level - lesson.level(rate, share)
        })
    }

    /// The least rate at which every one of these calls would have passed.
    fn proven(&self, calls: &[Instant]) -> f64 {
        root(0.0, self.rate * 2.0, |rate| {
            let size = self.sized(rate);
            let (mut mark, mut least) = (
                Mark {
                    level: 1.0,
                    ..self.anchor
                },
                f64::MAX,
            );
            for call in calls {
                mark = mark.later(size, rate, *call);
                mark.level -= 1.0;
                least = least.min(mark.level);
            }
            least + UNEVEN * rate
        })
    }

    /// By a refusal that this bucket did not foresee: its size or its rate is too large.
    fn corrected(mut self, lesson: &Lesson, calls: &[Instant]) -> Self {
        if self.grown_at > self.refused_at {
            // The size was tried, and this is the answer.
            self.size = (self.size - 1.0).max(1.0);
        }
        let is_in_burst = (self.burst.0..=self.burst.1).contains(&lesson.number);
        if is_in_burst && self.size > 1.0 {
            let size = root(1.0, self.size, |size| {
                let level = self.anchor.replayed(size, self.rate, calls, lesson.at);
                level - lesson.level(self.rate, 0.5)
            });
            self.size = size.min(self.size - 0.5).floor().max(1.0);
            self.is_resized = true;
            // What was proven of the rate was proven with the wrong size.
            self.ceiling = self.ceiling.max(self.rate * (1.0 + RESIZED));
        } else {
            self.bound(lesson, calls);
        }
        self.settle();
        self.pressed = true;
        self.full = None;
        self.refused_at = lesson.at;
        self.next_at = lesson.reopens;
        self.anchor = lesson.mark();
        let empty = match lesson.wait {
            Wait::Exact(_) => self.anchor,
            Wait::Whole(_) => Mark {
                at: lesson.at,
                level: 0.0,
            },
        };
        self.now = empty.later(self.size, self.rate, lesson.reopens);
        if self.now.level >= self.size {
            let fill = (self.size - empty.level).max(0.0) / self.rate;
            self.full = Some(empty.at + Duration::from_secs_f64(fill));
        }
        if lesson.is_told {
            // One call is there by the hint, whatever the count says.
            self.now.level = self.now.level.max(1.0);
        } else if self.tries < TRIES && self.is_doubtful() && self.loses_nothing(lesson) {
            // All that may be there is tried.
            self.tries += 1;
            self.rate = self.ceiling * MARGIN;
            self.now = empty.later(self.size, self.rate, lesson.reopens);
            self.guessed = self.now.level;
        }
        self
    }

    fn is_doubtful(&self) -> bool {
        self.ceiling > self.floor * (1.0 + DOUBT)
    }

    /// Whether the bucket does not overflow while one more such refusal is waited for.
    fn loses_nothing(&self, lesson: &Lesson) -> bool {
        1.0 + seconds(lesson.reopens, lesson.at) * self.ceiling <= self.size
    }

    /// The rate by a refusal that it explains.
    fn bound(&mut self, lesson: &Lesson, calls: &[Instant]) {
        let found = self.found(lesson, calls, LIKELY);
        let span = seconds(lesson.mark().at, self.anchor.at).max(UNEVEN);
        let (floor, ceiling) = match lesson.wait {
            Wait::Exact(_) => (0.0, found * MARGIN * (1.0 + UNEVEN / span)),
            Wait::Whole(_) => {
                let (least, most) = (
                    self.found(lesson, calls, 0.0),
                    self.found(lesson, calls, 1.0),
                );
                let proven = self.proven(calls);
                // A size that was wrong once, or by which more is proven than the refusal allows,
                // proves nothing of the rate.
                let is_sure = !self.is_resized && proven < most;
                (if is_sure { least.max(proven) } else { least }, most)
            }
        };
        if self.rate < self.floor / MARGIN {
            self.floor = 0.0;
        }
        self.floor = self.floor.max(floor);
        self.ceiling = self.ceiling.min(ceiling);
        if self.floor > self.ceiling {
            // What was proven before does not hold any more.
            (self.floor, self.ceiling) = (floor, ceiling);
        }
        let least = if calls.is_empty() { 0.5 } else { 0.1 };
        let most = self.rate * MARGIN;
        self.rate = (found * MARGIN)
            .max(self.floor)
            .clamp(self.rate * least, most)
            .max(SLOWEST);
    }

    fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.refill(now);
        if self.guessed > 0.0 && now < self.next_at {
            return Some(self.next_at - now);
        }
        if self.now.level >= 1.0 - ROUNDING {
            return None;
        }
        self.pressed = true;
        self.spend(now);
        Some(Duration::from_secs_f64((1.0 - self.now.level) / self.rate))
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = seconds(now, self.now.at).min(1.0);
        let is_held = seconds(now, self.refused_at) < HOLD;
        if self.pressed && !self.searching && !is_held {
            self.rate *= 1.0 + elapsed * GROWTH.min(GROWTH_A_CALL * self.rate);
            self.ceiling = self.ceiling.max(self.rate);
        }
        self.now = self.now.later(self.size, self.rate, now);
        if self.now.level >= self.size && !self.searching {
            self.pressed = false;
            self.full.get_or_insert(now);
        }
    }

    /// A full bucket was used up and nobody was refused: one more is tried now and then.
    fn spend(&mut self, now: Instant) {
        if self.full.take().is_none() {
            return;
        }
        let used = self.burst.1 - self.burst.0;
        let is_held = seconds(now, self.refused_at).min(seconds(now, self.grown_at)) < HOLD;
        if used as f64 + 1.0 >= self.size && !is_held {
            self.size += 1.0;
            self.grown_at = now;
        }
    }

    fn take(&mut self, number: u64, now: Instant) {
        let is_full = self.now.level >= self.size;
        let rested = |full: Instant| seconds(now, full) * self.rate > CERTAIN * self.size;
        if is_full && self.full.is_some_and(rested) {
            self.burst = (number, number);
        } else if self.full.is_some() && self.burst.1 + 1 == number {
            self.burst.1 = number;
        }
        self.now.level -= 1.0;
        self.next_at = now + GAP;
        self.guessed = (self.guessed - 1.0).max(0.0);
        if self.searching {
            if self.now.level < 1.0 {
                self.guessed = 0.0;
                let faster = f64::from(self.searched) - SEARCH_SLOWLY * self.size;
                let step = SEARCH * SEARCH_FASTER.powf(faster.clamp(0.0, 64.0));
                self.rate *= 1.0 + step.min(SEARCH_MOST / self.size);
                self.searched += 1;
            }
        } else if self.pressed {
            // Up to what was proven there is nothing to fear but the doubt of the proof.
            let doubt = (self.ceiling - self.rate).max(0.0);
            self.rate += doubt * CLIMB.min(doubt / self.rate);
        }
    }
}
