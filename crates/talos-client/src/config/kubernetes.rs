//! Which versions of Kubernetes a version of Talos runs, and which of Talos it may follow.

use std::ops::RangeInclusive;

/// By minor version of Talos 1: first and last minor version of Kubernetes 1 that it runs, first
/// and last one of Talos 1 that may be changed to it.
const SUPPORTED: [(u32, [u64; 2], [u32; 2]); 13] = [
    (2, [23, 25], [0, 2]),
    (3, [24, 26], [0, 4]),
    (4, [25, 27], [0, 5]),
    (5, [26, 28], [2, 6]),
    (6, [24, 29], [3, 7]),
    (7, [25, 30], [4, 8]),
    (8, [26, 31], [5, 9]),
    (9, [27, 32], [8, 10]),
    (10, [28, 33], [8, 11]),
    (11, [29, 34], [9, 12]),
    (12, [30, 35], [10, 13]),
    (13, [31, 36], [11, 14]),
    (14, [32, 37], [12, 15]),
];

fn unknown(talos: &str) -> String {
    format!("Talos {talos} is not known; 1.2 to 1.14 are")
}

fn row(minor: Option<u32>) -> Option<([u64; 2], [u32; 2])> {
    let found = SUPPORTED.iter().find(|(talos, ..)| Some(*talos) == minor)?;
    Some((found.1, found.2))
}

fn minor_of(talos: &str) -> Option<u32> {
    talos.trim_start_matches('v').split('.').nth(1).and_then(|minor| minor.parse().ok())
}

/// Minor versions of Kubernetes 1 that a minor version of Talos 1 runs.
///
/// # Errors
/// That version of Talos is not known; the text names those that are.
pub fn kubernetes_range(talos: u32) -> Result<RangeInclusive<u64>, String> {
    let (kubernetes, _) = row(Some(talos)).ok_or_else(|| unknown(&format!("1.{talos}")))?;
    Ok(kubernetes[0]..=kubernetes[1])
}

/// Minor versions of Talos 1 that may be changed to a minor version of it, up or down.
///
/// # Errors
/// That version of Talos is not known; the text names those that are.
pub fn talos_range(to: u32) -> Result<RangeInclusive<u32>, String> {
    let (_, talos) = row(Some(to)).ok_or_else(|| unknown(&format!("1.{to}")))?;
    Ok(talos[0]..=talos[1])
}

/// The last patch release that is counted as one.
const LAST_PATCH: u64 = 99;

/// Checks that a version of Kubernetes (`1.34.1`, with or without `v`) runs on a version of Talos
/// (`1.11` or `v1.11.5`). Suffixes of pre-releases do not count.
///
/// # Errors
/// Why it does not, with the range that does.
pub fn kubernetes_fits(talos: &str, kubernetes: &str) -> Result<(), String> {
    let ([first, last], _) = row(minor_of(talos)).ok_or_else(|| unknown(talos))?;
    let text = kubernetes.trim().trim_start_matches('v');
    let version = semver::Version::parse(text)
        .map_err(|error| format!("{kubernetes:?} is no version of Kubernetes: {error}"))?;
    let (minor, patch) = (version.minor, version.patch);
    let is_old = version.major < 1 || (version.major == 1 && minor < first);
    let is_new = version.major > 1 || minor > last || (minor == last && patch >= LAST_PATCH);
    let range = format!("Talos {talos} runs Kubernetes 1.{first} to 1.{last}");
    match (is_old, is_new) {
        (true, _) => Err(format!("Kubernetes {kubernetes} is too old: {range}")),
        (_, true) => Err(format!("Kubernetes {kubernetes} is too new: {range}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_where_the_next_minor_begins() {
        assert!(kubernetes_fits("1.11", "1.34.98").is_ok());
        assert!(kubernetes_fits("v1.11.5", "v1.29.0").is_ok());
        assert!(kubernetes_fits("1.11", "1.34.99").unwrap_err().contains("too new"));
        assert!(kubernetes_fits("1.11", "1.28.20").unwrap_err().contains("too old"));
        assert!(kubernetes_fits("1.13", "1.37.0-rc.0").is_err());
        assert!(kubernetes_fits("1.13", "1.31.0-alpha.1").is_ok());
        assert!(kubernetes_fits("1.1", "1.23.0").is_err());
        assert!(kubernetes_fits("1.12", "1.35.1@sha256:00").is_err());
    }
}
