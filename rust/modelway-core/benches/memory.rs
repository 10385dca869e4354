//! What it costs to decide what is loaded next, with 50 models of which half are in memory and 1,000 requests waiting
//! for the others; over devices of many shapes, the median of each.
//!
//! `cargo bench --package modelway-core --bench memory` prints the usual and the worst shape; the worst must stay within
//! 20 us: a bar of the design, as every request that ends may ask for a plan.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::time::Instant;

use modelway_core::Millis;
use modelway_core::swap::Policy;
use modelway_core::vram::{Device, ModelNumber, Queue, Residency};

const MODELS: usize = 50;
const WAITING: u32 = 1_000;
const SHAPES: u64 = 200;
const PLANS: u32 = 200;
const BAR_NS: f64 = 20_000.0;

/// The xorshift* of Vigna (2016): a number from a state, the same on every machine.
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
}

/// What is in memory is small beside what waits, so that several must go for one. With half of the devices loads were
/// measured; with the others a load is thought to take as long as its bytes, so that all cost about the same a byte, and
/// the search for the cheapest set is at its hardest. Some models are in use and the others were a moment ago: a plan
/// looks through all of them, and waits.
fn device(state: &mut u64) -> (Residency, Vec<u64>) {
    let mut size = |model| {
        let small = 1_000_000_000 + next(state) % 4_000_000_000;
        if model < MODELS / 2 { small } else { 10 * small }
    };
    let sizes: Vec<u64> = (0..MODELS).map(&mut size).collect();
    let capacity = sizes[..MODELS / 2].iter().sum();
    let policy = Policy { linger_percent: 100, ..Policy::default() };
    let mut residency =
        Residency::new(Device { capacity: Some(capacity), is_managed: true, policy, ..Device::default() });
    let is_measured = next(state).is_multiple_of(2);
    let busy_percent = next(state) % 101;
    for (model, bytes) in sizes.iter().enumerate().take(MODELS / 2) {
        let load_ms = is_measured.then(|| (100 + next(state) % 20_000) as f64);
        residency.loaded(model, *bytes, None, load_ms, 0);
        for at in 0..if is_measured { next(state) % 30 } else { 1 } {
            let pinned = residency.pin(model, *bytes, at);
            assert!(pinned.is_ok(), "it is there");
            residency.unpin(model, 1 + next(state) % 3_000, 100);
        }
        let is_in_use = next(state) % 100 < busy_percent;
        assert!(!is_in_use || residency.pin(model, *bytes, 100).is_ok(), "it is there");
    }
    for (model, bytes) in sizes.iter().enumerate().skip(MODELS / 2) {
        residency.claim(model, *bytes, next(state) % 100);
    }
    (residency, sizes)
}

fn nanoseconds_a_plan(residency: &mut Residency, sizes: &[u64], now: Millis) -> f64 {
    let absent = sizes.len() - MODELS / 2;
    let queue = |model: ModelNumber| Queue {
        bytes: sizes[model],
        waiting: if model < MODELS / 2 { 0 } else { WAITING / absent as u32 },
        mean_since: 100 + model as Millis,
    };
    let start = Instant::now();
    for _ in 0..PLANS {
        residency.look();
        let moves = residency.plan(queue, now);
        assert!(moves.load.is_none() && moves.evicted.is_empty(), "the plan is to wait");
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(PLANS)
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() {
    let mut state = 7;
    let mut shapes: Vec<f64> = (0..SHAPES)
        .map(|_| {
            let (mut residency, sizes) = device(&mut state);
            let mut samples: Vec<f64> =
                (0..5).map(|_| nanoseconds_a_plan(&mut residency, &sizes, 200)).collect();
            median(&mut samples)
        })
        .collect();
    let usual = median(&mut shapes);
    let worst = shapes.last().copied().unwrap_or(0.0);
    println!("plan, 50 models, 1,000 waiting, usual {usual:8.0} ns");
    println!("plan, 50 models, 1,000 waiting, worst {worst:8.0} ns (bar: {BAR_NS:.0})");
    assert!(worst <= BAR_NS, "a plan costs too much");
}
