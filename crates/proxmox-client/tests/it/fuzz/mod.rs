//! Foreign bytes, changed at random from what is right: nothing panics, what is read prints and
//! reads the same, and an error is an error.
//!
//! Each target runs for a moment with the other tests. `PROXMOX_FUZZ_SECONDS` gives it longer,
//! `PROXMOX_FUZZ_SEED` another course; a failure tells the seed and the input. Byte by byte and on
//! stable Rust: no coverage is measured, so targets start from rich examples.

#![expect(clippy::expect_used, clippy::panic, reason = "a test ends where something is not right")]

mod random;
#[cfg(feature = "sim")]
mod reply;
mod text;

use std::time::{Duration, Instant};

use random::Random;

fn setting(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

/// How long a target runs without being told.
const MOMENT: Duration = Duration::from_millis(300);

/// The course of a target: its seed, and until when.
fn course() -> (u64, Instant) {
    let seed = setting("PROXMOX_FUZZ_SEED").unwrap_or(1);
    let time = setting("PROXMOX_FUZZ_SECONDS").map_or(MOMENT, Duration::from_secs);
    (seed, Instant::now() + time)
}

/// Runs a check on texts that are changed from examples, until the time is over.
fn texts(name: &str, examples: &[&str], check: impl Fn(&str)) {
    let (seed, end) = course();
    let mut random = Random::new(seed);
    let mut kept: Vec<Vec<u8>> = examples.iter().map(|text| text.as_bytes().to_vec()).collect();
    let mut count = 0_u64;
    while Instant::now() < end || count < 100 {
        let bytes = random.changed(&kept);
        let text = String::from_utf8_lossy(&bytes);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&text)));
        assert!(outcome.is_ok(), "{name}, seed {seed}, input {count}: {text:?}");
        // inputs grow from one another, and are forgotten again
        if random.below(8) == 0 && bytes.len() < 400 {
            if kept.len() > 200 {
                let index = examples.len() + random.below(kept.len() - examples.len());
                kept.swap_remove(index);
            }
            kept.push(bytes);
        }
        count += 1;
    }
}
