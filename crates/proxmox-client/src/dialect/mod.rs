//! Releases of Proxmox VE, and what their APIs do not have in common.

mod table;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::client::Parameters;
use crate::error::{Error, ErrorKind, Result};

/// A release of Proxmox VE, such as 9.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Release {
    major: u16,
    minor: u16,
}

impl Release {
    /// A release.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// The number before the dot.
    pub const fn major(self) -> u16 {
        self.major
    }

    /// The number after the dot.
    pub const fn minor(self) -> u16 {
        self.minor
    }

    /// Whether the networks of the cluster have a lock and can be rolled back.
    pub fn has_sdn_lock(self) -> bool {
        self.refusal("POST", "/cluster/sdn/lock", &[]).is_none()
    }

    /// Whether a token can get another secret.
    pub fn renews_tokens(self) -> bool {
        let keys = [("regenerate", "1")];
        self.refusal("PUT", "/access/users/{userid}/token/{tokenid}", &keys).is_none()
    }

    /// What of a call this release does not have, and which one has it.
    ///
    /// `path` is that of the call, not a pattern: `/nodes/pve01/qemu`.
    pub fn refusal(self, method: &str, path: &str, keys: &Parameters<'_>) -> Option<String> {
        differences(method, path, keys).find_map(|row| row.refusal(self, keys))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Release {
    type Err = Error;

    /// Reads `9.2` and `9.2.11`; `9` and `9-beta` are 9.0.
    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(['.', '-', '~']);
        let major = parts.next().and_then(|part| part.parse().ok());
        let minor = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        major.map(|major| Self { major, minor }).ok_or_else(|| {
            let text = format!("{text:?} is not the version of a Proxmox VE");
            Error::new(ErrorKind::Protocol, "GET /version", text)
        })
    }
}

/// One row: a call, or some parameters of it, that not every release has.
#[derive(Debug)]
struct Difference {
    method: &'static str,
    path: &'static str,
    since: Option<Release>,
    until: Option<Release>,
    /// Parameters, separated by blanks; empty: the whole call.
    words: &'static str,
}

impl Difference {
    const fn since(
        method: &'static str,
        path: &'static str,
        since: Release,
        words: &'static str,
    ) -> Self {
        Self { method, path, since: Some(since), until: None, words }
    }

    const fn until(
        method: &'static str,
        path: &'static str,
        until: Release,
        words: &'static str,
    ) -> Self {
        Self { method, path, since: None, until: Some(until), words }
    }

    fn is_in(&self, release: Release) -> bool {
        self.since.is_none_or(|since| release >= since)
            && self.until.is_none_or(|until| release < until)
    }

    fn concerns(&self, keys: &Parameters<'_>) -> bool {
        self.words.is_empty() || self.word(keys).is_some()
    }

    fn word<'a>(&self, keys: &'a Parameters<'_>) -> Option<&'a str> {
        let mut words = keys.iter().map(|(key, _)| *key);
        words.find(|key| self.words.split(' ').any(|word| word == *key))
    }

    fn refusal(&self, release: Release, keys: &Parameters<'_>) -> Option<String> {
        if self.is_in(release) {
            return None;
        }
        let what = self.word(keys).map_or("this call", |word| word);
        Some(match (self.since, self.until) {
            (Some(since), _) => {
                format!("Proxmox VE {release} does not have {what}; {since} and later do")
            }
            (None, Some(until)) => {
                format!("Proxmox VE {release} does not have {what} any more; it ended with {until}")
            }
            (None, None) => return None,
        })
    }
}

/// Whether a path is one that a pattern such as `/nodes/{node}/qemu` stands for.
fn fits(pattern: &str, path: &str) -> bool {
    // Every call asks every row, and most differ in their first letter.
    if pattern.as_bytes().get(..2) != path.as_bytes().get(..2) {
        return false;
    }
    let mut parts = path.split('/');
    pattern.split('/').all(|wanted| match parts.next() {
        Some(part) if wanted.starts_with('{') => !part.is_empty(),
        Some(part) => part == wanted,
        None => false,
    }) && parts.next().is_none()
}

/// What releases differ in of a call with these parameters.
fn differences(
    method: &str,
    path: &str,
    keys: &Parameters<'_>,
) -> impl Iterator<Item = &'static Difference> {
    let rows = table::TABLE.iter();
    rows.filter(move |row| row.method == method && row.concerns(keys) && fits(row.path, path))
}

/// Whether the answer to this call depends on the release at all.
pub(crate) fn depends(method: &str, path: &str, keys: &Parameters<'_>) -> bool {
    differences(method, path, keys).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Release = Release::new(8, 4);
    const NEW: Release = Release::new(9, 2);

    #[test]
    fn versions_are_read() {
        for (text, release) in [("9.2.11", NEW), ("8.4", OLD), ("9-beta1", Release::new(9, 0))] {
            assert_eq!(text.parse::<Release>().unwrap(), release, "{text}");
        }
        assert!("pve".parse::<Release>().is_err());
    }

    #[test]
    fn what_a_release_does_not_have_is_refused_with_the_one_that_has_it() {
        let token = [("lock-token", "x")];
        let text = OLD.refusal("PUT", "/cluster/sdn", &token).unwrap();
        assert_eq!(text, "Proxmox VE 8.4 does not have lock-token; 9.0 and later do");
        assert_eq!(NEW.refusal("PUT", "/cluster/sdn", &token), None);
        assert_eq!(OLD.refusal("PUT", "/cluster/sdn", &[]), None);
        assert!(OLD.refusal("POST", "/cluster/sdn/lock", &[]).is_some());
        let text = NEW.refusal("POST", "/storage", &[("maxfiles", "3")]).unwrap();
        assert!(text.contains("any more"), "{text}");
        assert!(OLD.refusal("POST", "/nodes/a/qemu", &[("ha-managed", "1")]).is_some());
        assert!(!depends("POST", "/nodes/a/qemu", &[("name", "x")]));
        assert!(OLD.has_sdn_lock() != NEW.has_sdn_lock());
    }

    /// The table must say of every parameter of every call what the published schemas say.
    #[cfg(feature = "sim")]
    #[test]
    fn the_table_agrees_with_the_published_schemas() {
        use crate::sim::Dialect;
        use crate::sim::schema::Schema;
        use std::collections::{BTreeMap, BTreeSet};

        type Calls = BTreeMap<(String, String), BTreeSet<String>>;
        let read = |dialect| -> Calls {
            let schema = Schema::load(dialect).unwrap();
            let calls = schema.endpoints().iter().map(|call| {
                let indexed = call.indexed.keys().map(|stem| format!("{stem}0"));
                let words = call.params.keys().cloned().chain(indexed).collect();
                ((call.method.clone(), call.path.clone()), words)
            });
            calls.collect()
        };
        let releases = [
            (OLD, read(Dialect::V8_4)),
            (Release::new(9, 1), read(Dialect::V9_1)),
            (NEW, read(Dialect::V9_2)),
        ];
        let mut all = Calls::new();
        for (call, words) in releases.iter().flat_map(|(_, calls)| calls) {
            all.entry(call.clone()).or_default().extend(words.clone());
        }
        let mut checked = 0;
        for (release, calls) in &releases {
            for ((method, pattern), words) in &all {
                let parts = pattern.split('/');
                let path: Vec<&str> =
                    parts.map(|part| if part.starts_with('{') { "x" } else { part }).collect();
                let path = path.join("/");
                let has = calls.get(&(method.clone(), pattern.clone()));
                assert_eq!(
                    release.refusal(method, &path, &[]).is_none(),
                    has.is_some(),
                    "{release} {method} {pattern}"
                );
                for word in words {
                    let knows = has.is_some_and(|has| has.contains(word));
                    let refusal = release.refusal(method, &path, &[(word, "x")]);
                    assert_eq!(refusal.is_none(), knows, "{release} {method} {pattern} {word}");
                    checked += 1;
                }
            }
        }
        assert!(checked > 5000, "{checked}");
    }
}
