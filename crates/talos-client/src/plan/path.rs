//! The releases between two versions.

use std::fmt;

use semver::Version;

use super::{Refusal, version};
use crate::config::{kubernetes_range, release, talos_range};

/// One upgrade of a whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Talos on all nodes.
    Talos(Version),
    /// Kubernetes.
    Kubernetes(Version),
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Talos(version) => write!(f, "Talos v{version}"),
            Self::Kubernetes(version) => write!(f, "Kubernetes v{version}"),
        }
    }
}

/// What runs and what shall run, with or without `v`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Versions<'a> {
    /// Talos of the oldest node.
    pub talos: &'a str,
    /// Talos that is wanted.
    pub talos_to: &'a str,
    /// Kubernetes of the oldest API server; empty for a cluster without it.
    pub kubernetes: &'a str,
    /// Kubernetes that is wanted; empty for as little change as possible.
    pub kubernetes_to: &'a str,
    /// Releases of Talos that may be stops on the way; the newest of a minor version is taken. Where
    /// there is none, the newest one that this library knows is.
    pub talos_stops: &'a [&'a str],
    /// The same of Kubernetes.
    pub kubernetes_stops: &'a [&'a str],
}

/// All upgrades on the way, in order: Talos minor by minor, and Kubernetes minor by minor where the next
/// Talos would not run it any more, or at the end.
///
/// # Errors
/// There is no such way: a release is not known, Kubernetes would have to go back, or the versions that
/// are wanted do not fit together.
pub fn upgrade_path(versions: &Versions<'_>) -> Result<Vec<Hop>, Refusal> {
    let (from, to) = (version("Talos", versions.talos)?, version("Talos", versions.talos_to)?);
    for talos in [&from, &to] {
        if talos.major != 1 {
            return Err(Refusal::ever(format!("Talos {talos} is not known; 1.11 to 1.14 are")));
        }
    }
    // An end that is not known is told before a stop that is missing.
    kubernetes_range(small(to.minor)?).map_err(Refusal::ever)?;
    let mut path = Path { hops: Vec::new(), kubernetes: None, versions };
    if !versions.kubernetes.is_empty() {
        path.kubernetes = Some(version("Kubernetes", versions.kubernetes)?);
    }
    let goal = match versions.kubernetes_to {
        "" => None,
        text => Some(version("Kubernetes", text)?),
    };
    if let (Some(now), Some(goal)) = (&path.kubernetes, &goal)
        && (goal.major, goal.minor) < (now.major, now.minor)
    {
        return Err(Refusal::ever(format!("Kubernetes does not go back from {now} to {goal}")));
    }
    if to.minor >= from.minor {
        for minor in from.minor + 1..=to.minor {
            path.fit(minor)?;
            let stop = if minor == to.minor { to.clone() } else { path.talos_stop(minor)? };
            allowed(minor - 1, minor)?;
            path.hops.push(Hop::Talos(stop));
        }
        if to.minor == from.minor && to != from {
            path.hops.push(Hop::Talos(to.clone()));
        }
    } else {
        path.back(&from, &to)?;
    }
    if let Some(goal) = goal {
        path.kubernetes_goal(small(to.minor)?, &goal)?;
    }
    Ok(path.hops)
}

/// An installer refuses what is too far away.
fn allowed(from: u64, to: u64) -> Result<(), Refusal> {
    let range = talos_range(small(to)?).map_err(Refusal::ever)?;
    if range.contains(&small(from)?) {
        return Ok(());
    }
    Err(Refusal::ever(format!("Talos 1.{to} cannot be installed over 1.{from}")))
}

fn small(minor: u64) -> Result<u32, Refusal> {
    u32::try_from(minor).map_err(|_| Refusal::ever(format!("Talos 1.{minor} is not known")))
}

/// The newest of some versions that has this minor version and is a release.
fn newest(what: &str, texts: &[&str], minor: u64) -> Result<Option<Version>, Refusal> {
    let all = texts.iter().map(|text| version(what, text)).collect::<Result<Vec<_>, _>>()?;
    let fits = |one: &Version| one.major == 1 && one.minor == minor && one.pre.is_empty();
    Ok(all.into_iter().filter(fits).max())
}

struct Path<'a> {
    hops: Vec<Hop>,
    kubernetes: Option<Version>,
    versions: &'a Versions<'a>,
}

impl Path<'_> {
    /// Brings Kubernetes to where the next Talos runs it.
    fn fit(&mut self, talos: u64) -> Result<(), Refusal> {
        let Some(now) = self.kubernetes.clone() else { return Ok(()) };
        let range = kubernetes_range(small(talos)?).map_err(Refusal::ever)?;
        if now.minor > *range.end() {
            return Err(Refusal::ever(format!("Talos 1.{talos} does not run Kubernetes {now}")));
        }
        for minor in now.minor + 1..=*range.start() {
            self.kubernetes_hop(minor)?;
        }
        Ok(())
    }

    fn kubernetes_hop(&mut self, minor: u64) -> Result<(), Refusal> {
        let goal = self.versions.kubernetes_to;
        let stop = match goal {
            "" => None,
            text => Some(version("Kubernetes", text)?).filter(|goal| goal.minor == minor),
        };
        let stop = match stop {
            Some(stop) => stop,
            None => self.kubernetes_stop(minor)?,
        };
        self.kubernetes = Some(stop.clone());
        self.hops.push(Hop::Kubernetes(stop));
        Ok(())
    }

    fn kubernetes_stop(&self, minor: u64) -> Result<Version, Refusal> {
        if let Some(found) = newest("Kubernetes", self.versions.kubernetes_stops, minor)? {
            return Ok(found);
        }
        let known = (11..=14).filter_map(|talos| release::release(talos).ok());
        let known: Vec<&str> = known.map(|release| release.kubernetes).collect();
        newest("Kubernetes", &known, minor)?.ok_or_else(|| {
            let text = format!(
                "no release of Kubernetes 1.{minor} is known, which is a stop on the way: name one"
            );
            Refusal::ever(text)
        })
    }

    fn talos_stop(&self, minor: u64) -> Result<Version, Refusal> {
        if let Some(found) = newest("Talos", self.versions.talos_stops, minor)? {
            return Ok(found);
        }
        let known = release::release(small(minor)?).map_err(Refusal::ever)?;
        newest("Talos", &[known.version], minor)?.ok_or_else(|| {
            let text = format!(
                "no release of Talos 1.{minor} is known, which is a stop on the way: name one"
            );
            Refusal::ever(text)
        })
    }

    /// To an older Talos: only as far as that one allows, and Kubernetes stays.
    fn back(&mut self, from: &Version, to: &Version) -> Result<(), Refusal> {
        for minor in (to.minor..from.minor).rev() {
            allowed(minor + 1, minor)?;
            let range = kubernetes_range(small(minor)?).map_err(Refusal::ever)?;
            if let Some(now) = &self.kubernetes
                && !range.contains(&now.minor)
            {
                return Err(Refusal::ever(format!(
                    "Talos 1.{minor} does not run Kubernetes {now}"
                )));
            }
            let stop = if minor == to.minor { to.clone() } else { self.talos_stop(minor)? };
            self.hops.push(Hop::Talos(stop));
        }
        Ok(())
    }

    fn kubernetes_goal(&mut self, talos: u32, goal: &Version) -> Result<(), Refusal> {
        let range = kubernetes_range(talos).map_err(Refusal::ever)?;
        if goal.major != 1 || !range.contains(&goal.minor) {
            let (first, last) = (range.start(), range.end());
            return Err(Refusal::ever(format!(
                "Kubernetes {goal} does not run on Talos 1.{talos}, which runs 1.{first} to 1.{last}"
            )));
        }
        let Some(now) = self.kubernetes.clone() else {
            return Err(Refusal::ever("the version of Kubernetes that runs is not named"));
        };
        if now.minor > goal.minor {
            return Err(Refusal::ever(format!(
                "Kubernetes has to be at {now} for Talos 1.{talos}, which is newer than {goal}"
            )));
        }
        for minor in now.minor + 1..=goal.minor {
            self.kubernetes_hop(minor)?;
        }
        if now.minor == goal.minor && now != *goal {
            self.hops.push(Hop::Kubernetes(goal.clone()));
        }
        Ok(())
    }
}
