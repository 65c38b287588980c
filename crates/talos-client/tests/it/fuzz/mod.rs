//! Foreign bytes for everything that reads them: texts are mutated, and no reader may panic, take long, or read
//! its own output as something else.
//!
//! With the other tests each target runs for a moment; `TALOS_FUZZ_SECONDS` and `TALOS_FUZZ_SEED` make a real run
//! of it. The same seed gives the same inputs in the same order.

mod mutate;
mod texts;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mutate::Random;

/// Longest time that one input may take.
const SLOW: Duration = Duration::from_secs(5);

/// How many inputs are read where no time is given.
const FEW: u64 = 60;

fn setting(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

/// Feeds mutated texts to a reader, which tells what is wrong with what came of one.
#[track_caller]
fn feed(name: &str, seeds: &[String], read: fn(&str) -> Result<(), String>) {
    let seed = setting("TALOS_FUZZ_SEED").unwrap_or(1);
    let duration = setting("TALOS_FUZZ_SECONDS").map(Duration::from_secs);
    let mut random = Random::new(seed);
    let (start, mut count) = (Instant::now(), 0);
    // In a real run every text is read as it is first.
    let mut plain = seeds.iter().filter(|_| duration.is_some());
    while duration.map_or(count < FEW, |duration| start.elapsed() < duration) {
        let input = plain.next().cloned().unwrap_or_else(|| mutate::mutated(&mut random, seeds));
        count += 1;
        let once = || {
            let begin = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| read(&input)));
            (outcome, begin.elapsed() > SLOW)
        };
        let why = match once() {
            (Err(_), _) => "it panics".to_owned(),
            (Ok(Err(why)), _) => why,
            // Once may be what else the machine does.
            (Ok(Ok(())), true) if once().1 => "it takes too long".to_owned(),
            (Ok(Ok(())), _) => continue,
        };
        panic!("{name}, seed {seed}, input {count}: {why}\n{input:?}");
    }
}
