//! How far a cluster has to be.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a cluster has to be for somebody. Each level takes in those before it. It is written as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Every machine has booted, etcd is well, and the API servers of Kubernetes run.
    Api,
    /// Every node is registered in Kubernetes, as far as a cluster comes that has no network for pods yet.
    NodesRegistered,
    /// Every node is ready and takes pods.
    NodesReady,
}

impl Level {
    /// The checks of [`CHECKS`](super::CHECKS) that need not hold yet, as [`wait`](super::wait) takes them.
    pub fn except(self) -> &'static [&'static str] {
        match self {
            Self::Api => &["registered", "schedulable", "ready"],
            Self::NodesRegistered => &["schedulable", "ready"],
            Self::NodesReady => &[],
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Api => "api",
            Self::NodesRegistered => "nodes-registered",
            Self::NodesReady => "nodes-ready",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::CHECKS;
    use super::*;

    #[test]
    fn each_level_asks_for_more_and_leaves_out_known_checks() {
        let levels = [Level::Api, Level::NodesRegistered, Level::NodesReady];
        for pair in levels.windows(2) {
            let [less, more] = pair else { continue };
            assert!(less < more);
            let (less, more) = (less.except(), more.except());
            assert!(less.len() > more.len() && more.iter().all(|name| less.contains(name)));
            assert!(less.iter().all(|name| CHECKS.iter().any(|(known, _)| known == name)));
        }
        assert_eq!(
            levels.map(|level| level.to_string()),
            ["api", "nodes-registered", "nodes-ready"]
        );
        for level in levels {
            assert_eq!(serde_json::to_value(level).unwrap(), level.to_string());
        }
    }
}
