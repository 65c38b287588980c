//! Authorities and certificates that are replaced while a cluster runs, and when they end.
//!
//! An authority is replaced in three phases, so that no node ever meets a certificate that it does not
//! trust: first all nodes accept the new one, then they issue with it and still accept the old one,
//! then they forget the old one. [`Rotation`] gives the configuration of every node in each phase.
//!
//! ```
//! use talos_client::rotation::{Rotation, Stage, Which};
//! use talos_client::secrets::Bundle;
//! # use talos_client::config::{GenerateInput, MachineConfig, MachineType};
//! # fn apply(_: MachineConfig) {}
//!
//! let now = 1_780_000_000;
//! let bundle = Bundle::generate("1.6".parse()?, now)?;
//! # let url = "https://10.0.0.1:6443";
//! # let input = GenerateInput::new("1.13".parse()?, MachineType::Worker, "a", url, "1.36.3");
//! # let config = MachineConfig::generate(&bundle, &input)?;
//! let rotation = Rotation::new(Which::Talos, &bundle, now)?;
//! for stage in Stage::PHASES {
//!     println!("{}", stage.what());
//!     apply(rotation.config(&config, stage)?); // to every node, control planes first
//! }
//! let bundle = rotation.bundle(&bundle, Stage::Done);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod config;
mod expiry;

pub use expiry::{Expiry, expiries};

use crate::pki::{KeyKind, make_authority};
use crate::secrets::{AUTHORITY_LIFETIME, Bundle, BundleError, Pair, Text};

/// Which authority is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// That of the Talos API.
    Talos,
    /// That of Kubernetes.
    Kubernetes,
}

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing has been done, or all was taken back.
    Before,
    /// It accepts certificates of the new authority, and has one of the old one.
    Accepted,
    /// It issues with the new authority, and still accepts the old one.
    Issuing,
    /// It knows the new authority alone.
    Done,
}

impl Stage {
    /// The three phases in their order. Each is finished on all nodes before the next one begins.
    pub const PHASES: [Self; 3] = [Self::Accepted, Self::Issuing, Self::Done];

    /// What is done in the phase, and what to look at before the next one.
    pub fn what(self) -> &'static str {
        match self {
            Self::Before => {
                "only the old authority is known; certificates of a new one are refused"
            }
            Self::Accepted => {
                "all nodes accept the new authority too; then clients get certificates of the new one"
            }
            Self::Issuing => {
                "all nodes issue with the new authority; clients trust both until every node answers with a \
                 certificate of the new one"
            }
            Self::Done => {
                "all nodes forget the old authority; clients with its certificates are refused"
            }
        }
    }

    /// Whether nodes take clients whose certificates are of the old and of the new authority.
    pub fn takes(self) -> (bool, bool) {
        (self < Self::Done, self > Self::Before)
    }
}

/// An authority with its successor. Both keys are secret.
#[derive(Debug, Clone)]
pub struct Rotation {
    which: Which,
    old: Pair,
    new: Pair,
}

impl Rotation {
    /// Makes a successor for an authority of a bundle; it begins now, in seconds since 1970.
    ///
    /// # Errors
    /// The bundle lacks the authority, or the system gives no randomness.
    pub fn new(which: Which, bundle: &Bundle, now: i64) -> Result<Self, BundleError> {
        let (kind, organization) = match which {
            Which::Talos => (KeyKind::Ed25519, "talos"),
            Which::Kubernetes => (KeyKind::EcdsaP256, "kubernetes"),
        };
        let made = make_authority(kind, Some(organization), now, AUTHORITY_LIFETIME)?;
        let new = Pair {
            crt: Text::from(made.certificate.text().as_str()),
            key: Text::from(made.key.text().as_str()),
        };
        Self::to(which, bundle, new)
    }

    /// Takes a successor that was made before, as one must to go on with a rotation.
    ///
    /// # Errors
    /// The bundle lacks the authority.
    pub fn to(which: Which, bundle: &Bundle, new: Pair) -> Result<Self, BundleError> {
        let certs = bundle.certs.as_ref();
        let (old, name) = match which {
            Which::Talos => (certs.and_then(|certs| certs.os.clone()), "certs.os"),
            Which::Kubernetes => (certs.and_then(|certs| certs.k8s.clone()), "certs.k8s"),
        };
        let lacking = || BundleError::Read { line: 0, message: format!("{name} is required") };
        Ok(Self { which, old: old.ok_or_else(lacking)?, new })
    }

    /// The successor. Keep it until the rotation is done: nothing can make it again.
    pub fn successor(&self) -> &Pair {
        &self.new
    }

    /// The bundle at a stage: the one that new nodes and clients are made with.
    #[must_use]
    pub fn bundle(&self, bundle: &Bundle, stage: Stage) -> Bundle {
        let mut bundle = bundle.clone();
        let pair = if stage >= Stage::Issuing { &self.new } else { &self.old };
        let certs = bundle.certs.get_or_insert_default();
        match self.which {
            Which::Talos => certs.os = Some(pair.clone()),
            Which::Kubernetes => certs.k8s = Some(pair.clone()),
        }
        bundle
    }

    /// The certificates that clients trust while nodes go to a stage, as PEM: both, but for the ends.
    pub fn trust(&self, stage: Stage) -> String {
        let text = |pair: &Pair| pair.crt.text().unwrap_or_default().to_owned();
        match stage {
            Stage::Before => text(&self.old),
            Stage::Done => text(&self.new),
            Stage::Accepted | Stage::Issuing => text(&self.old) + &text(&self.new),
        }
    }
}

#[cfg(test)]
mod tests;
