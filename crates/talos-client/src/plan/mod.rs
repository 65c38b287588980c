//! What a change of a cluster takes, in which order, and what forbids it. Pure: facts in, steps out.
//!
//! - [`Etcd`] guards the quorum: may a member stop, leave, be removed, be added?
//! - [`upgrade_path`] finds the releases between two versions of Talos, with those of Kubernetes that
//!   they need on the way; [`upgrade_order`] orders the nodes; [`upgrade_steps`] says what one node takes.
//! - [`kubernetes_steps`] upgrades Kubernetes; [`removed`] finds what a version no longer has.
//! - [`restore_steps`] makes etcd again from a snapshot, [`finish_steps`] is its end; [`replace_steps`]
//!   replaces a lost control plane, [`retire_steps`] takes one out.
//! - [`application`] is the way to apply a configuration, from what it takes ([`Prediction`]), the node's
//!   version and its state.

mod apply;
mod gone;
mod kubernetes;
mod order;
mod path;
mod quorum;
mod replace;
mod restore;
#[cfg(test)]
mod tests;

use std::fmt;

pub use apply::{Application, When, application};

pub use crate::config::{Effect, Prediction};
pub use gone::{ApiInUse, CommandLine, Gone, GoneKind, removed};
pub use kubernetes::{Component, KubernetesNode, KubernetesStep, kubernetes_steps};
pub use order::{Candidate, NodeStep, UpgradeWay, Wave, upgrade_order, upgrade_steps};
pub use path::{Hop, Versions, upgrade_path};
pub use quorum::{Etcd, Member, MemberState};
pub use replace::{ReplaceStep, RetireStep, replace_steps, retire_steps};
pub use restore::{EtcdData, RestoreNode, RestoreStep, finish_steps, restore_steps};

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// In words.
    pub reason: String,
    /// It may be allowed later, without a change by anybody.
    pub waiting_helps: bool,
}

impl Refusal {
    pub(crate) fn now(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), waiting_helps: true }
    }

    pub(crate) fn ever(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), waiting_helps: false }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}

/// A version as people write it, with or without `v`.
pub(crate) fn version(what: &str, text: &str) -> Result<semver::Version, Refusal> {
    let bare = text.trim();
    let bare = bare.strip_prefix('v').unwrap_or(bare);
    semver::Version::parse(bare)
        .map_err(|error| Refusal::ever(format!("{text:?} is no version of {what}: {error}")))
}
