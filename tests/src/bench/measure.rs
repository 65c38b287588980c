//! Clocks, medians, and what the kernel tells of a process.

use std::time::{Duration, Instant};

/// The middle of some values; 0 of none.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Milliseconds.
pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How long something took, in seconds.
pub(super) fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    let begun = Instant::now();
    let value = work()?;
    Ok((value, begun.elapsed().as_secs_f64()))
}

/// The median of the ratios of two sides that take turns, so that what else the machine does
/// meets both: `ours ÷ theirs` of their times. The first round warms up and does not count.
pub(super) fn ratio_of_times(
    rounds: usize,
    mut ours: impl FnMut() -> anyhow::Result<f64>,
    mut theirs: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<f64> {
    ours()?;
    theirs()?;
    let mut ratios = Vec::new();
    for round in 0..rounds {
        // Who is first changes from round to round.
        let (one, other) = if round % 2 == 0 {
            let one = ours()?;
            (one, theirs()?)
        } else {
            let other = theirs()?;
            (ours()?, other)
        };
        ratios.push(one / other.max(f64::MIN_POSITIVE));
    }
    Ok(median(&mut ratios))
}

/// Time on a processor that this thread had, in seconds.
pub(super) fn thread_cpu() -> anyhow::Result<f64> {
    // The kernel brings the number up to date when a thread gives its processor away.
    crate::site::nap(Duration::from_micros(50));
    on_cpu("/proc/thread-self/schedstat")
}

/// Time on a processor that all threads of a process had, in seconds.
pub(super) fn process_cpu(pid: u32) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for entry in fs_err::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path().join("schedstat");
        sum += on_cpu(&path.display().to_string())?;
    }
    Ok(sum)
}

fn on_cpu(path: &str) -> anyhow::Result<f64> {
    let text = fs_err::read_to_string(path)?;
    let first = text.split_whitespace().next().unwrap_or_default();
    let nanoseconds: u32 = 1_000_000_000;
    Ok(first.parse::<f64>()? / f64::from(nanoseconds))
}

/// A field of a process' status, such as `VmHWM`, in MB (10^6 bytes).
pub(super) fn memory(process: &str, field: &str) -> anyhow::Result<f64> {
    let text = fs_err::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: f64 = kib.ok_or_else(|| anyhow::anyhow!("no {field} of {process}"))?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}

/// Lets the highest memory of this process count from now on.
pub(super) fn forget_peak() -> anyhow::Result<()> {
    Ok(fs_err::write("/proc/self/clear_refs", "5")?)
}

/// A runtime as the program's own.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?)
}

/// A runtime as the program looks at a site with; both sides of a ratio have it.
pub(super) fn onlooker() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
