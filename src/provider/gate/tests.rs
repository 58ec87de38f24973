//! A simulated server with a bucket, and jobs that ask it through a gate. Time is simulated.
#![allow(clippy::print_stdout, reason = "a table of what was measured")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::*;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Style {
    Seconds,
    Millis,
    None,
}

struct Setting {
    size: f64,
    rate: f64,
    style: Style,
    /// Calls in flight at once.
    slots: usize,
    calls: usize,
    jobs: usize,
    seed: u64,
}

#[derive(Debug, Default)]
struct Seen {
    /// Ratio to the ideal and refusals of the first job.
    first: (f64, u64),
    worst: f64,
    mean: f64,
    refused_later: u64,
    early: u64,
    known: Option<(f64, f64)>,
    /// Of the jobs after the first.
    minutes: f64,
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

struct Server {
    size: f64,
    rate: f64,
    level: f64,
    at: f64,
    style: Style,
}

impl Server {
    fn level(&mut self, now: f64) -> f64 {
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
            Style::Seconds => Some((
                Wait::Whole(Duration::from_secs_f64(wait.ceil())),
                wait.ceil(),
            )),
            Style::Millis => {
                let wait = (wait * 1000.0).ceil() / 1000.0;
                Some((Wait::Exact(Duration::from_secs_f64(wait)), wait))
            }
        })
    }
}

#[derive(PartialEq)]
struct At(f64);
impl Eq for At {}
impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
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
struct World {
    server: Server,
    pacing: Pacing,
    now: f64,
    start: Instant,
    dice: Dice,
    slots: usize,
    order: u64,
    events: BinaryHeap<Reverse<(At, u64)>>,
    happens: HashMap<u64, What>,
    /// What was told to wait: from when known, until when.
    bans: Vec<(f64, f64)>,
    early: u64,
}

impl World {
    fn new(setting: &Setting) -> Self {
        Self {
            server: Server {
                size: setting.size,
                rate: setting.rate,
                level: setting.size,
                at: 0.0,
                style: setting.style,
            },
            pacing: Pacing::default(),
            now: 0.0,
            start: Instant::now(),
            dice: Dice(setting.seed * 7919 + 1),
            slots: setting.slots,
            order: 0,
            events: BinaryHeap::new(),
            happens: HashMap::new(),
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
    fn job(&mut self, calls: usize) -> f64 {
        let start = self.now;
        let ideal = (calls as f64 - self.server.level(start)).max(0.0) / self.server.rate;
        let (mut waiting, mut flying, mut done, mut last) = (calls, 0, 0, start);
        let mut wakes_at = start;
        self.plan(start, What::Wake);
        while done < calls {
            let Reverse((At(at), order)) = self.events.pop().expect("a call is on its way");
            self.now = self.now.max(at);
            match self.happens.remove(&order).unwrap() {
                What::Wake => wakes_at = f64::INFINITY,
                What::Arrive(ticket, sent) => {
                    if self
                        .bans
                        .iter()
                        .any(|(known, until)| *known <= sent && self.now < *until)
                    {
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
                    self.pacing
                        .refused(&ticket, hint, &Rates::default(), roll, now);
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
                    if at < wakes_at {
                        wakes_at = at;
                        self.plan(at, What::Wake);
                    }
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

fn run(setting: &Setting) -> Seen {
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
        world.now += if job % 2 == 0 {
            0.0
        } else {
            setting.size / setting.rate + 1.0
        };
    }
    seen.worst = ratios.iter().copied().fold(0.0, f64::max);
    seen.mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    seen.refused_later = world.pacing.refusals() - seen.first.1;
    seen.early = world.early;
    seen.minutes += world.now / 60.0;
    seen.known = world.pacing.known();
    seen
}

fn setting(size: f64, rate: f64, style: Style) -> Setting {
    Setting {
        size,
        rate,
        style,
        slots: 20,
        calls: 60,
        jobs: 6,
        seed: 7,
    }
}

const STYLES: [Style; 3] = [Style::Seconds, Style::Millis, Style::None];

#[test]
fn four_at_once_and_five_a_second_cost_no_more_than_the_bar_whatever_the_hints() {
    for style in STYLES {
        let (mut firsts, mut means, mut refused) = (0.0_f64, 0.0_f64, 0);
        for seed in 1..=5 {
            let seen = run(&Setting {
                seed,
                ..setting(4.0, 5.0, style)
            });
            firsts = firsts.max(seen.first.0);
            // Twenty calls do not each find it out.
            assert!(seen.first.1 <= 4, "{style:?}: {}", seen.first.1);
            means = means.max(seen.mean);
            refused = refused.max(seen.refused_later);
            assert_eq!(seen.early, 0, "{style:?} {seed}");
        }
        println!("{style:?}: first {firsts:.3}, later {means:.3}, refused later {refused}");
        assert!(
            firsts <= 1.15 && means <= 1.15,
            "{style:?}: {firsts} {means}"
        );
        assert!(refused <= 2, "{style:?}: {refused}");
    }
}

#[test]
fn a_job_of_twenty_calls_meets_an_unknown_limit_within_the_bar_whatever_the_hints() {
    const SEEDS: u64 = 20;
    for style in STYLES {
        let (mut sum, mut worst) = (0.0, 0.0_f64);
        for seed in 1..=SEEDS {
            let mut world = World::new(&Setting {
                seed,
                ..setting(4.0, 5.0, style)
            });
            let ratio = world.job(20);
            sum += ratio;
            worst = worst.max(ratio);
            assert!(world.pacing.refusals() <= 4, "{style:?} {seed}");
            assert_eq!(world.early, 0, "{style:?} {seed}");
        }
        let mean = sum / SEEDS as f64;
        println!("{style:?}: mean {mean:.3}, worst {worst:.3}");
        assert!(mean <= 1.12 && worst <= 1.17, "{style:?}: {mean} {worst}");
    }
}

#[test]
fn buckets_of_all_sizes_are_learned_and_tried_about_once_a_minute() {
    println!("size rate hint     | first job: ratio refused | later: worst mean refused minutes");
    for size in [1.0, 4.0, 20.0] {
        for rate in [0.5, 2.0, 5.0, 50.0] {
            for style in STYLES {
                // Long enough that a second's wait is not the whole of a job.
                let calls = 60.max(rate as usize * 12);
                let seen = run(&Setting {
                    calls,
                    slots: 60,
                    seed: 8,
                    ..setting(size, rate, style)
                });
                println!(
                    "{size:>4} {rate:>4} {style:<8?} | {:>5.2} {:>4} | {:>5.2} {:>5.2} {:>3} {:>6.2}",
                    seen.first.0,
                    seen.first.1,
                    seen.worst,
                    seen.mean,
                    seen.refused_later,
                    seen.minutes
                );
                assert_eq!(seen.early, 0);
                // A small bucket loses what the network's unevenness makes late, and hides its rate
                // behind whole seconds, in which it overflows many times.
                let unsteady = rate * 0.004 / size;
                let bar = if size < 4.0 && style != Style::Millis {
                    1.3
                } else {
                    1.15
                };
                assert!(
                    seen.mean <= bar + unsteady,
                    "{size} {rate} {style:?}: {}",
                    seen.mean
                );
                let most = 3.0 + 1.5 * seen.minutes;
                assert!(
                    seen.refused_later as f64 <= most,
                    "{size} {rate} {style:?}: {}",
                    seen.refused_later
                );
            }
        }
    }
}

#[test]
fn a_raised_quota_is_found_again_and_a_lowered_one_at_once() {
    for style in STYLES {
        let mut world = World::new(&setting(4.0, 5.0, style));
        world.job(100);
        world.server.rate = 10.0;
        let before = world.pacing.refusals();
        let start = world.now;
        world.job(1500);
        let minutes = (world.now - start) / 60.0;
        let refused = (world.pacing.refusals() - before) as f64;
        let (_, rate) = world.pacing.known().unwrap();
        assert!((9.0..=12.0).contains(&rate), "{style:?}: {rate}");
        assert!(
            refused <= 2.0 + 2.0 * minutes,
            "{style:?}: {refused} in {minutes} min"
        );
        world.server.rate = 2.0;
        world.job(100);
        let before = world.pacing.refusals();
        let ratio = world.job(60);
        assert!(ratio <= 1.25, "{style:?}: {ratio}");
        assert!(world.pacing.refusals() - before <= 3, "{style:?}");
    }
}

#[test]
fn hints_are_waited_for_in_full_and_absurd_ones_are_not_believed() {
    let start = Instant::now();
    let seconds = Duration::from_secs;
    for (hint, least, most) in [
        (
            Some(Wait::Exact(Duration::from_millis(150))),
            Duration::from_millis(150),
            Duration::from_millis(160),
        ),
        (
            Some(Wait::Whole(seconds(31))),
            seconds(31),
            Duration::from_millis(31_250),
        ),
        (
            Some(Wait::Whole(seconds(300))),
            seconds(300),
            Duration::from_millis(300_250),
        ),
        (
            Some(Wait::Whole(seconds(1_000_000_000))),
            seconds(60),
            seconds(61),
        ),
        (Some(Wait::Whole(Duration::MAX)), seconds(60), seconds(61)),
        (None, Duration::from_millis(500), Duration::from_millis(600)),
    ] {
        for random in [0.0, 0.5, 1.0] {
            let mut pacing = Pacing::default();
            let ticket = pacing.send(10, start);
            pacing.refused(&ticket, hint, &Rates::default(), random, start);
            let wait = pacing.wait(10, start).unwrap();
            assert!((least..=most).contains(&wait), "{hint:?}: {wait:?}");
        }
    }
}

#[test]
fn refusals_without_a_hint_are_waited_for_twice_as_long_each_time() {
    let mut now = Instant::now();
    let mut pacing = Pacing::default();
    let mut waits = Vec::new();
    for _ in 0..9 {
        let ticket = pacing.send(10, now);
        pacing.refused(&ticket, None, &Rates::default(), 0.0, now);
        let until = pacing.closed_until().unwrap();
        waits.push((until - now).as_millis());
        now = until + Duration::from_millis(1);
    }
    assert_eq!(
        waits,
        [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
    );
}

#[test]
fn limits_that_headers_tell_are_kept_without_one_refusal() {
    let start = Instant::now();
    let mut pacing = Pacing::default();
    let told = |remaining: f64, tokens_left: f64| {
        let meter = |limit: f64, remaining: f64, rate: f64| {
            let reset = Some(Wait::Exact(Duration::from_secs_f64(
                (limit - remaining) / rate,
            )));
            Some(Meter {
                limit,
                remaining,
                reset,
            })
        };
        Rates {
            requests: meter(10.0, remaining, 2.0),
            tokens: meter(1000.0, tokens_left, 50.0),
        }
    };
    let (mut calls, mut tokens) = (10.0_f64, 1000.0_f64);
    let mut last = 0.0;
    for step in 0..6000 {
        let at = f64::from(step) / 100.0;
        let now = start + Duration::from_secs_f64(at);
        if pacing.wait(20, now).is_none() {
            calls = (calls + (at - last) * 2.0).min(10.0) - 1.0;
            tokens = (tokens + (at - last) * 50.0).min(1000.0) - 20.0;
            last = at;
            assert!(calls > -0.1 && tokens > -1.0, "{at}: {calls} {tokens}");
            let ticket = pacing.send(20, now);
            pacing.answered(&ticket, &told(calls.max(0.0).floor(), tokens.max(0.0)));
        }
    }
    let sent = pacing.count();
    // Ten at once, and two a second for a minute.
    assert!((120..=131).contains(&sent), "{sent}");
    assert_eq!(pacing.known(), None);
}

#[tokio::test(start_paused = true)]
async fn twenty_callers_of_one_key_learn_its_limit_together() {
    let gates = Gates::default();
    let gate = gates.of("server", "key");
    let patience = Duration::from_mins(1);
    let start = tokio::time::Instant::now();
    let mut first = Vec::new();
    for _ in 0..8 {
        first.push(gate.acquire(10, patience).await.unwrap());
    }
    for pass in first.drain(4..) {
        pass.refused(
            Some(Wait::Exact(Duration::from_millis(175))),
            &Rates::default(),
        );
    }
    first.into_iter().for_each(Pass::succeeded);
    let callers = (0..20).map(|_| {
        let gate = gates.of("server", "key");
        async move {
            gate.acquire(10, patience).await.unwrap().succeeded();
            start.elapsed()
        }
    });
    let went = futures_util::future::join_all(callers).await;
    assert!(went[0] >= Duration::from_millis(175), "{went:?}");
    let close = |pair: &[Duration]| pair[1] >= pair[0] + Duration::from_millis(185);
    assert!(
        went.windows(2).all(close) && went[19] < Duration::from_millis(4400),
        "{went:?}"
    );
    assert_eq!(gate.view().refusals, 4);
    // Another key knows nothing of it.
    assert!(gates.of("server", "other").enter(10).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_patience_fails_at_once_and_a_shorter_one_is_waited_for() {
    let gate = Arc::new(Gate::new(|| 0.0));
    let pass = gate.acquire(10, Duration::ZERO).await.unwrap();
    pass.refused(
        Some(Wait::Whole(Duration::from_secs(90))),
        &Rates::default(),
    );
    let blocked = gate.acquire(10, Duration::from_mins(1)).await.err();
    assert_eq!(blocked, Some(Blocked::RateLimited(Duration::from_secs(90))));
    assert!(gate.acquire(10, Duration::from_secs(91)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_left_alone_and_its_return_lets_all_waiters_go() {
    let gate = Arc::new(Gate::new(|| 0.0));
    let patience = Duration::from_mins(1);
    for _ in 0..5 {
        gate.acquire(10, patience).await.unwrap().failed();
    }
    let blocked = gate.enter(10).err();
    assert_eq!(blocked, Some(Blocked::Unavailable(Duration::from_secs(10))));
    assert!(matches!(gate.view().breaker, State::Open { .. }));
    let start = tokio::time::Instant::now();
    let waiter =
        |gate: Arc<Gate>| async move { gate.acquire(10, patience).await.map(Pass::succeeded) };
    let probe = async {
        let mut probe = gate.acquire(10, patience).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10);
        assert!(gate.enter(10).is_err());
        tokio::time::sleep(Duration::from_secs(2)).await;
        probe.answered(&Rates::default());
        probe.succeeded();
    };
    let others = (0..10).map(|_| waiter(Arc::clone(&gate)));
    let ((), went) = tokio::join!(probe, futures_util::future::join_all(others));
    assert!(went.iter().all(Result::is_ok) && start.elapsed().as_secs() == 12);
    assert_eq!(gate.view().breaker, State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_leaves_its_place_to_the_next() {
    let gate = Arc::new(Gate::new(|| 0.0));
    for _ in 0..5 {
        gate.enter(10).unwrap().failed();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let probe = gate.enter(10).unwrap();
    assert!(gate.enter(10).is_err());
    drop(probe);
    assert!(gate.enter(10).is_ok());
}

#[test]
fn keys_that_were_used_longest_ago_are_forgotten() {
    let gates = Gates::default();
    let first = gates.of("server", "first");
    for number in 0..KEYS.get() {
        gates.of("server", &number.to_string());
    }
    assert!(!Arc::ptr_eq(&first, &gates.of("server", "first")));
    assert!(!Arc::ptr_eq(&gates.of("a", "bc"), &gates.of("ab", "c")));
    assert_eq!(gates.gates.lock().len(), KEYS.get());
}

#[tokio::test(start_paused = true)]
async fn a_server_of_which_nothing_is_known_is_met_with_few_calls_until_it_has_answered_many() {
    let gate = Arc::new(Gate::new(|| 0.0));
    let patience = Duration::from_mins(1);
    let start = tokio::time::Instant::now();
    let mut passes = Vec::new();
    let mut went = Vec::new();
    for _ in 0..12 {
        passes.push(gate.acquire(10, patience).await.unwrap());
        went.push(start.elapsed().as_millis());
    }
    // Four, four at a distance, and the rest when a refusal would have come back.
    assert_eq!(went, [0, 0, 0, 0, 25, 50, 75, 100, 100, 100, 100, 100]);
    passes.into_iter().for_each(Pass::succeeded);
    tokio::time::sleep(Duration::from_mins(1)).await;
    let start = tokio::time::Instant::now();
    let mut passes = Vec::new();
    for _ in 0..20 {
        passes.push(gate.acquire(10, patience).await.unwrap());
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_rate_headers_ends_a_row_of_refusals_without_a_wait() {
    let gate = Arc::new(Gate::new(|| 0.0));
    let patience = Duration::from_mins(1);
    for _ in 0..3 {
        let pass = gate.acquire(10, patience).await.unwrap();
        pass.refused(None, &Rates::default());
        assert_eq!(gate.view().closed_for, Duration::from_millis(500));
        gate.acquire(10, patience).await.unwrap().succeeded();
    }
}
