//! Which versions of Kubernetes a version of Talos runs.

/// First and last minor version of Kubernetes 1 by minor version of Talos 1.
const SUPPORTED: [(u32, u64, u64); 13] = [
    (2, 23, 25),
    (3, 24, 26),
    (4, 25, 27),
    (5, 26, 28),
    (6, 24, 29),
    (7, 25, 30),
    (8, 26, 31),
    (9, 27, 32),
    (10, 28, 33),
    (11, 29, 34),
    (12, 30, 35),
    (13, 31, 36),
    (14, 32, 37),
];

/// The last patch release that is counted as one.
const LAST_PATCH: u64 = 99;

/// Checks that a version of Kubernetes (`1.34.1`, with or without `v`) runs on a version of Talos
/// (`1.11` or `v1.11.5`). Suffixes of pre-releases do not count.
///
/// # Errors
/// Why it does not, with the range that does.
pub fn kubernetes_fits(talos: &str, kubernetes: &str) -> Result<(), String> {
    let minor =
        talos.trim_start_matches('v').split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    let row = SUPPORTED.iter().find(|(talos, ..)| Some(*talos) == minor);
    let Some((_, first, last)) = row else {
        return Err(format!("Talos {talos} is not known; 1.2 to 1.14 are"));
    };
    let text = kubernetes.trim().trim_start_matches('v');
    let version = semver::Version::parse(text)
        .map_err(|error| format!("{kubernetes:?} is no version of Kubernetes: {error}"))?;
    let (minor, patch) = (version.minor, version.patch);
    let is_old = version.major < 1 || (version.major == 1 && minor < *first);
    let is_new = version.major > 1 || minor > *last || (minor == *last && patch >= LAST_PATCH);
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
