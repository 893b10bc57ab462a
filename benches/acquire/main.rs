//! What it costs to take a backend from a pool and to give it back, beside pingora's own `select()`.
//!
//! ```text
//! cargo bench --bench acquire                  # every algorithm, from 3 to 10,000 backends, one thread and two
//! cargo bench --bench acquire -- p2c maglev    # only those whose name contains one of these words
//! cargo bench --bench acquire -- --check       # fail if a bound is missed; for a quiet machine
//! ```
//!
//! With `--picks=N` it measures nothing and picks `N` times from 3 backends, or from `--size=100`, `10000` or `dead`: something
//! for callgrind to count, which no load of the machine disturbs. The first argument chooses the contestant.
//!
//! Every figure is the median of rounds in which all contestants take turns; ratios are formed within a round. "ours" is the
//! whole less pingora's machinery, which is measured with a selection that gives any backend.
//!
//! With the allocator of the program, because pingora's `select()` allocates.

mod contestants;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use contestants::{Contestant, Size, contestants};

const ROUNDS: usize = 15;
const SLICE: Duration = Duration::from_millis(20);

/// Short beside the time that a busy machine leaves a thread alone: most slices are not interrupted, and so not their median.
const SHORT: Duration = Duration::from_micros(500);
const SHORT_ONES: usize = 20;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Nanoseconds for one pick, by contestant and size.
type Medians = BTreeMap<(&'static str, Size), f64>;

fn main() -> ExitCode {
    let (flags, words): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    if let Some(picks) = option(&flags, "--picks=").and_then(|picks| picks.parse().ok()) {
        let size = option(&flags, "--size=").and_then(Size::named).unwrap_or(Size::Three);
        return pick_only(size, words.first().map_or("pingora", String::as_str), picks);
    }
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let mut medians = Medians::new();
    for size in Size::ALL {
        let contestants: Vec<_> =
            contestants(size).into_iter().filter(|c| c.is_reference() || wanted(c.name)).collect();
        for (name, nanos) in interleaved(&contestants) {
            medians.insert((name, size), nanos);
        }
    }
    let names: Vec<_> =
        contestants(Size::Three).iter().filter(|c| !c.is_reference() && wanted(c.name)).map(|c| c.name).collect();
    print_table(&medians, &names);
    let missed = missed(&medians, &names);
    let missed: Vec<_> = missed.into_iter().chain(two_threads(&wanted)).collect();
    missed.iter().for_each(|miss| println!("missed: {miss}"));
    let checked = flags.iter().any(|flag| flag == "--check");
    if checked && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn option<'a>(flags: &'a [String], name: &str) -> Option<&'a str> {
    flags.iter().find_map(|flag| flag.strip_prefix(name))
}

fn pick_only(size: Size, name: &str, picks: u64) -> ExitCode {
    let Some(contestant) = contestants(size).into_iter().find(|contestant| contestant.name == name) else {
        return ExitCode::FAILURE;
    };
    (0..picks).for_each(|_| {
        black_box(contestant.run());
    });
    ExitCode::SUCCESS
}

/// The median of each contestant over rounds in which they take turns.
fn interleaved(contestants: &[Contestant]) -> Vec<(&'static str, f64)> {
    let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); contestants.len()];
    for _ in 0..ROUNDS {
        for (contestant, times) in contestants.iter().zip(&mut rounds) {
            // The first slice fetches back into the caches what the others drove out.
            nanos_for_each(contestant, SLICE);
            times.extend((0..SHORT_ONES).map(|_| nanos_for_each(contestant, SHORT)));
        }
    }
    contestants.iter().zip(rounds).map(|(contestant, times)| (contestant.name, median(times))).collect()
}

fn nanos_for_each(contestant: &Contestant, slice: Duration) -> f64 {
    const BATCH: u64 = 256;
    let (start, mut times) = (Instant::now(), 0);
    while start.elapsed() < slice {
        for _ in 0..BATCH {
            black_box(contestant.run());
        }
        times += BATCH;
    }
    start.elapsed().as_nanos() as f64 / times as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn print_table(medians: &Medians, names: &[&'static str]) {
    let of = |name, size| medians.get(&(name, size)).copied().unwrap_or_default();
    print!("{:<16}", "nanoseconds");
    for size in Size::ALL {
        print!("{:>27}", size.as_str());
    }
    println!();
    print!("{:<16}", "");
    for _ in Size::ALL {
        print!("{:>9}{:>9}{:>9}", "whole", "ours", "ratio");
    }
    println!();
    for name in ["pingora", "machinery"].iter().chain(names) {
        print!("{name:<16}");
        for size in Size::ALL {
            let (whole, machinery) = (of(name, size), of("machinery", size));
            print!("{whole:>9.0}{:>9.0}{:>9.2}", whole - machinery, whole / of("pingora", size));
        }
        println!();
    }
    println!("ratio: to pingora's select() with its own RoundRobin on the same backends, all of them alive\n");
}

/// Bounds that do not hold.
fn missed(medians: &Medians, names: &[&'static str]) -> Vec<String> {
    let of = |name, size| medians.get(&(name, size)).copied().unwrap_or_default();
    let mut missed = Vec::new();
    for name in names {
        let small = of(name, Size::Three);
        let bound = if contestants::hashes(name) { 300.0 } else { 150.0 };
        for size in Size::ALL {
            let ours = of(name, size) - of("machinery", size);
            let ratio = of(name, size) / of("pingora", size);
            let grown = of(name, size) / small;
            if ours > bound && !contestants::may_be_slow(name, size) {
                missed.push(format!("{name}, {}: {ours:.0} ns is more than {bound} ns", size.as_str()));
            }
            if ratio > 1.3 && !contestants::may_be_slow(name, size) {
                missed.push(format!("{name}, {}: {ratio:.2} times pingora is more than 1.3", size.as_str()));
            }
            if grown > size.may_grow() {
                missed.push(format!("{name}, {}: {grown:.2} times that of 3 backends", size.as_str()));
            }
        }
    }
    missed
}

/// What is left of each thread's rate when two run at once; bounds that do not hold.
fn two_threads(wanted: &impl Fn(&str) -> bool) -> Vec<String> {
    println!("{:<16}{:>27}{:>27}", "rate left to each", "of two threads, 3", "100");
    let mut missed = Vec::new();
    let sizes = [Size::Three, Size::Hundred];
    let all = sizes.map(contestants);
    for (number, contestant) in all[0].iter().enumerate().filter(|(_, c)| c.name == "pingora" || wanted(c.name)) {
        let left = [0, 1].map(|size| rate_left(&all[size][number]));
        println!("{:<16}{:>27.2}{:>27.2}", contestant.name, left[0], left[1]);
        for (left, size) in left.into_iter().zip(sizes) {
            if left < 0.5 && !contestant.is_reference() {
                missed.push(format!(
                    "{}, {}: {left:.2} of the rate is left to each of two threads",
                    contestant.name,
                    size.as_str()
                ));
            }
        }
    }
    missed
}

fn rate_left(contestant: &Contestant) -> f64 {
    let ratio = |_| {
        let alone = nanos_for_each(contestant, SLICE);
        let start = Barrier::new(2);
        let both = thread::scope(|scope| {
            let threads = [(); 2].map(|()| {
                scope.spawn(|| {
                    start.wait();
                    nanos_for_each(contestant, SLICE)
                })
            });
            threads.map(|thread| thread.join().unwrap_or(f64::INFINITY)).iter().sum::<f64>() / 2.0
        });
        alone / both
    };
    median((0..ROUNDS).map(ratio).collect())
}
