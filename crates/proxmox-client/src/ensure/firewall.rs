//! Firewalls that end as they should, and the switch that can lock everybody out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::{ATTEMPTS, may_work, pause};
use crate::api::Firewall;
use crate::client::Client;
use crate::config::ClientConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::firewall::{Entry, EntryChange, diff_options, diff_set};

/// How long nodes take to put a change of the firewall into force, and some more.
const IN_FORCE: Duration = Duration::from_secs(15);
/// The longest that nodes are waited for: the server switches an enable off that nobody has
/// confirmed for 60 s, and one that it has switched off is never confirmed unseen.
const CONFIRM_WITHIN: Duration = Duration::from_secs(45);
/// Pause between two looks whether the cluster still answers.
const LOOK: Duration = Duration::from_secs(1);

impl Firewall<'_> {
    /// Gets a set to have these networks and no others, and gives what was done. The set is made
    /// where it is missing and never replaced: what is in both stays in it all the time.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn ensure_set(
        &self,
        name: &str,
        desired: &BTreeMap<String, Entry>,
    ) -> Result<Vec<EntryChange>> {
        let (mut done, mut attempt) = (Vec::new(), 0);
        loop {
            match self.try_set(name, desired, &mut done).await {
                Ok(()) => return Ok(done),
                Err(error) if may_work(&error) && attempt < ATTEMPTS => {
                    attempt += 1;
                    pause(attempt, &error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_set(
        &self,
        name: &str,
        desired: &BTreeMap<String, Entry>,
        done: &mut Vec<EntryChange>,
    ) -> Result<()> {
        // a set that is missing answers as an empty one does on some versions: ask for its name
        let observed = match self.entries(name).await {
            Ok(entries) => entries,
            Err(error) => {
                let sets = self.sets().await?;
                if sets.iter().any(|set| set.name.eq_ignore_ascii_case(name)) {
                    return Err(error);
                }
                self.create_set(name, None).await?;
                BTreeMap::new()
            }
        };
        let changes = diff_set(desired, &observed);
        let (removals, others): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| matches!(change, EntryChange::Remove { .. }));
        for wave in [others, removals] {
            let mut results = futures_util::stream::iter(wave)
                .map(|change| async move {
                    self.change_entry(name, &change).await?;
                    Ok::<_, Error>(change)
                })
                .buffer_unordered(self.client.concurrency().min(4));
            while let Some(change) = results.try_next().await? {
                done.push(change);
            }
        }
        Ok(())
    }

    async fn change_entry(&self, name: &str, change: &EntryChange) -> Result<()> {
        match change {
            EntryChange::Add { cidr, entry } => self.add_entry(name, cidr, entry).await,
            EntryChange::Update { cidr, entry } => self.set_entry(name, cidr, entry).await,
            EntryChange::Remove { cidr } => self.delete_entry(name, cidr).await,
        }
    }

    /// Gets options to be these; others stay. Gives whether anything changed. The firewall of the
    /// cluster is never switched on here: see [`Self::enable_cluster`].
    ///
    /// # Errors
    /// As [`Client::call`]; [`ErrorKind::Invalid`] for switching on that of the cluster;
    /// [`ErrorKind::Conflict`] where the server does not keep them as they were set.
    pub async fn ensure_options(&self, desired: &BTreeMap<String, String>) -> Result<bool> {
        let on = desired.get("enable").is_some_and(|flag| flag != "0" && !flag.is_empty());
        let mut attempt = 0;
        let mut changed = false;
        loop {
            let (set, removed) = diff_options(desired, &self.options().await?);
            if set.is_empty() && removed.is_empty() {
                return Ok(changed);
            }
            if on && set.contains_key("enable") && self.level == crate::FirewallLevel::Cluster {
                let text = "the firewall of the cluster can lock out everybody: use enable_cluster, which looks whether the cluster still answers";
                return Err(Error::new(ErrorKind::Invalid, "change the firewall", text));
            }
            if changed {
                // It was set and does not read so: setting it once more would do no more.
                let names: Vec<&str> = set.keys().chain(&removed).map(String::as_str).collect();
                let text = format!(
                    "the server does not keep {} as it was set: it writes it in another way, or somebody else changes it",
                    names.join(", ")
                );
                return Err(
                    Error::new(ErrorKind::Conflict, "change the firewall", text).applied(true)
                );
            }
            let keys: Vec<_> = set.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            match self.set_options(&keys, &removed).await {
                Ok(()) => changed = true,
                Err(error) if may_work(&error) && attempt < ATTEMPTS => {
                    attempt += 1;
                    pause(attempt, &error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Switches the firewall of the cluster on without locking anybody out: for a minute first,
    /// and for good only when the cluster answers to new connections after the nodes have put it
    /// into force. Otherwise nothing is confirmed, and the server switches it off by itself.
    ///
    /// `config` is how the cluster is reached; `wait` is how long the nodes get: 15 s when none, 45 s
    /// at most. Gives whether it was off.
    ///
    /// # Errors
    /// As [`Client::call`]; [`ErrorKind::Unreachable`] where the cluster does not answer any more.
    pub async fn enable_cluster(
        &self,
        config: &ClientConfig,
        wait: Option<Duration>,
    ) -> Result<bool> {
        let enabled = |options: &BTreeMap<String, String>| {
            options.get("enable").is_some_and(|flag| flag == "1")
        };
        if enabled(&self.options().await?) {
            return Ok(false);
        }
        self.set_options(&[("enable", "2")], &[]).await?;
        let end = Instant::now() + wait.unwrap_or(IN_FORCE).min(CONFIRM_WITHIN);
        loop {
            let last = Instant::now() >= end;
            // a client of its own: a connection that is open already may outlive the change
            let looked = async { Client::new(config)?.version().await }.await;
            if let Err(error) = looked {
                let text = format!(
                    "the cluster does not answer with its firewall on: {error}. It was not confirmed and goes off by itself within a minute; rules that let the management in must come first"
                );
                let failed = Error::new(ErrorKind::Unreachable, "enable the firewall", text);
                return Err(failed.applied(true));
            }
            if last {
                break;
            }
            tokio::time::sleep(LOOK.min(end.saturating_duration_since(Instant::now()))).await;
        }
        // What answered was a cluster with its firewall on only if that is on still.
        if self.options().await?.get("enable").is_none_or(|flag| flag == "0") {
            let text = "it went off before it was confirmed: looking took too long, or somebody else switched it off";
            return Err(Error::new(ErrorKind::Conflict, "enable the firewall", text));
        }
        self.set_options(&[("enable", "1")], &[]).await?;
        if enabled(&self.options().await?) {
            return Ok(true);
        }
        let text = "it is not enabled after it was confirmed: somebody else changes its options";
        Err(Error::new(ErrorKind::Conflict, "enable the firewall", text))
    }
}
