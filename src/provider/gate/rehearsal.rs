//! A simulated server with a bucket, and jobs that ask it through a pace. Time is simulated.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::gate::pacing::{Pacing, Rates, Ticket, Wait};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Style {
    Seconds,
    Millis,
    None,
}

pub struct Setting {
    pub size: f64,
    pub rate: f64,
    pub style: Style,
    /// Calls in flight at once.
    pub slots: usize,
    pub calls: usize,
    pub jobs: usize,
    pub seed: u64,
}

#[derive(Debug, Default)]
pub struct Seen {
    /// Ratio to the ideal and refusals of the first job.
    pub first: (f64, u64),
    pub worst: f64,
    pub mean: f64,
    pub refused_later: u64,
    pub early: u64,
    pub known: Option<(f64, f64)>,
    /// Of the jobs after the first.
    pub minutes: f64,
}

const LATENCY: f64 = 0.2;

struct Dice(u64);

impl Dice {
    /// From 0 to 1.
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn way(&mut self) -> f64 {
        0.001 + 0.004 * self.roll()
    }
}

pub struct Server {
    pub size: f64,
    pub rate: f64,
    pub level: f64,
    pub at: f64,
    pub style: Style,
}

impl Server {
    pub fn level(&mut self, now: f64) -> f64 {
        if now > self.at {
            self.level = (self.level + (now - self.at) * self.rate).min(self.size);
            self.at = now;
        }
        self.level
    }

    fn take(&mut self, now: f64) -> Result<(), Option<(Wait, f64)>> {
        if self.level(now) >= 1.0 - 1e-9 {
            self.level -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.level) / self.rate;
        Err(match self.style {
            Style::None => None,
            Style::Seconds => Some((Wait::Whole(Duration::from_secs_f64(wait.ceil())), wait.ceil())),
            Style::Millis => {
                let wait = (wait * 1000.0).ceil() / 1000.0;
                Some((Wait::Exact(Duration::from_secs_f64(wait)), wait))
            }
        })
    }
}

#[derive(PartialEq, PartialOrd)]
struct At(f64);
impl Eq for At {}
impl Ord for At {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

enum What {
    Wake,
    Arrive(Ticket, f64),
    Refused(Ticket, Option<Wait>, f64),
    Answered(Ticket),
}

/// One key, one server, one clock.
pub struct World {
    pub server: Server,
    pub pacing: Pacing,
    pub now: f64,
    start: Instant,
    dice: Dice,
    slots: usize,
    order: u64,
    events: BinaryHeap<Reverse<(At, u64)>>,
    happens: std::collections::HashMap<u64, What>,
    /// What was told to wait: from when known, until when.
    bans: Vec<(f64, f64)>,
    pub early: u64,
}

impl World {
    pub fn new(setting: &Setting) -> Self {
        Self {
            server: Server { size: setting.size, rate: setting.rate, level: setting.size, at: 0.0, style: setting.style },
            pacing: Pacing::default(),
            now: 0.0,
            start: Instant::now(),
            dice: Dice(setting.seed * 7919 + 1),
            slots: setting.slots,
            order: 0,
            events: BinaryHeap::new(),
            happens: Default::default(),
            bans: Vec::new(),
            early: 0,
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.now)
    }

    fn plan(&mut self, at: f64, what: What) {
        self.order += 1;
        self.events.push(Reverse((At(at), self.order)));
        self.happens.insert(self.order, what);
    }

    /// Plays a job of so many calls; gives the time of its last accepted call over the ideal.
    pub fn job(&mut self, calls: usize) -> f64 {
        let start = self.now;
        let ideal = (calls as f64 - self.server.level(start)).max(0.0) / self.server.rate;
        let (mut waiting, mut flying, mut done, mut last) = (calls, 0, 0, start);
        self.plan(start, What::Wake);
        while done < calls {
            let Some(Reverse((At(at), order))) = self.events.pop() else { panic!("stuck") };
            self.now = self.now.max(at);
            match self.happens.remove(&order).unwrap() {
                What::Wake => {}
                What::Arrive(ticket, sent) => {
                    if self.bans.iter().any(|(known, until)| *known <= sent && self.now < *until) {
                        self.early += 1;
                    }
                    match self.server.take(self.now) {
                        Ok(()) => {
                            last = self.now;
                            self.plan(self.now + LATENCY, What::Answered(ticket));
                        }
                        Err(hint) => {
                            let back = self.now + self.dice.way();
                            let until = self.now + hint.map_or(0.0, |hint| hint.1);
                            self.plan(back, What::Refused(ticket, hint.map(|hint| hint.0), until));
                        }
                    }
                }
                What::Refused(ticket, hint, until) => {
                    let roll = self.dice.roll();
                    let now = self.instant();
                    self.bans.push((self.now, until));
                    self.pacing.refused(&ticket, hint, &Rates::default(), roll, now);
                    flying -= 1;
                    waiting += 1;
                }
                What::Answered(ticket) => {
                    self.pacing.answered(&ticket, &Rates::default());
                    flying -= 1;
                    done += 1;
                }
            }
            while waiting > 0 && flying < self.slots {
                let now = self.instant();
                if let Some(wait) = self.pacing.wait(100, now) {
                    let at = self.now + (wait.as_secs_f64() * 1000.0).ceil().max(1.0) / 1000.0;
                    self.plan(at, What::Wake);
                    break;
                }
                let ticket = self.pacing.send(100, now);
                let at = self.now + self.dice.way();
                self.plan(at, What::Arrive(ticket, self.now));
                waiting -= 1;
                flying += 1;
            }
        }
        self.bans.retain(|(_, until)| *until > self.now);
        (last - start) / ideal.max(0.001)
    }
}

pub fn run(setting: &Setting) -> Seen {
    let mut world = World::new(setting);
    let mut seen = Seen::default();
    let mut ratios = Vec::new();
    for job in 0..setting.jobs {
        let ratio = world.job(setting.calls);
        if job == 0 {
            seen.first = (ratio, world.pacing.refusals());
            seen.minutes = -world.now / 60.0;
        } else {
            ratios.push(ratio);
        }
        // Now at once, now after the bucket has filled.
        world.now += if job % 2 == 0 { 0.0 } else { setting.size / setting.rate + 1.0 };
    }
    seen.worst = ratios.iter().copied().fold(0.0, f64::max);
    seen.mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    seen.refused_later = world.pacing.refusals() - seen.first.1;
    seen.early = world.early;
    seen.minutes += world.now / 60.0;
    seen.known = world.pacing.known();
    seen
}
