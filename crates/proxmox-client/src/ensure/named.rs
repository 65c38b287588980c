//! Who names an alias, a set or a security group: the server removes them all the same.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;

use crate::api::{Firewall, FirewallLevel};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{NodeName, VmId};
use crate::plan::firewall::{Named, Scope};

const OPERATION: &str = "look who names something of the firewall";

/// So many are told by their names.
const TOLD: usize = 5;

/// How often guests are listed: one that moves to another node meanwhile is found there.
const LOOKS: u32 = 2;

impl Firewall<'_> {
    /// Rules and sets that name an alias, a set or a security group of this level, in words. What
    /// the cluster has can be named on every level: the rules of all nodes, guests, VNets and
    /// groups are read, and the sets of all guests for an alias.
    ///
    /// Some names need no rule, and count as named while the firewall of their level is on: the sets
    /// `management` and `blacklist` and the alias `local_network` of the cluster, and the sets
    /// `ipfilter-net0` and so on of a guest.
    ///
    /// # Errors
    /// As [`Client::call`]: what cannot be read may name it. [`ErrorKind::Forbidden`] too where the
    /// caller does not see all guests and VNets; what is withheld of a single one cannot be told.
    /// [`ErrorKind::Conflict`] where a guest is moving: it works once it has.
    pub async fn named_by(&self, what: Named<'_>) -> Result<Vec<String>> {
        let (levels, scope) = match &self.level {
            FirewallLevel::Cluster => (levels(self.client).await?, Scope::Cluster),
            other => (vec![other.clone()], Scope::Guest),
        };
        let reads = levels.into_iter().map(|level| async move {
            let firewall = self.client.firewall(level);
            let found = firewall.naming(what, scope).await;
            found.map_err(|error| match error.kind() {
                // A guest that moves or goes meanwhile: looking again finds it where it is.
                ErrorKind::NotFound => {
                    let text = format!("{} went away meanwhile", firewall.level);
                    Error::new(ErrorKind::Conflict, OPERATION, text).because(error)
                }
                _ => error,
            })
        });
        // Of futures, not of what they are made from: so a task of any thread can hold this one.
        let reads: Vec<_> = reads.collect();
        let reads = futures_util::stream::iter(reads).buffered(self.client.concurrency());
        let mut found = reads.try_concat().await?;
        if what.is_used_by_name(scope) && self.is_on().await? {
            found.insert(0, format!("what the firewall of {} does by this name", self.level));
        }
        Ok(found)
    }

    /// Whether the firewall of the cluster or of a guest is on: neither is where nobody says so.
    async fn is_on(&self) -> Result<bool> {
        Ok(self.options().await?.get("enable").is_some_and(|flag| flag != "0"))
    }

    /// What of this one level names it.
    async fn naming(&self, what: Named<'_>, scope: Scope) -> Result<Vec<String>> {
        let rules = self.rules().await?.rules;
        let named = rules.iter().enumerate().filter(|(_, rule)| what.is_in_rule(rule, scope));
        let mut found: Vec<String> =
            named.map(|(pos, _)| format!("rule {pos} of {}", self.level)).collect();
        let has_sets = matches!(
            self.level,
            FirewallLevel::Cluster | FirewallLevel::Vm(..) | FirewallLevel::Container(..)
        );
        if matches!(what, Named::Alias(_)) && has_sets {
            for set in self.sets().await? {
                let entries = self.entries(&set.name).await?;
                if entries.keys().any(|cidr| what.is_in_entry(cidr, scope)) {
                    found.push(format!("set {} of {}", set.name, self.level));
                }
            }
        }
        Ok(found)
    }

    /// Refuses to go on where something is named.
    pub(super) async fn unnamed(&self, what: Named<'_>) -> Result<()> {
        let by = self.named_by(what).await?;
        if by.is_empty() {
            return Ok(());
        }
        let more = by.len().saturating_sub(TOLD);
        let told = by.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let text = format!("{what} stays: {told}{more} would not be in force without it");
        Err(Error::new(ErrorKind::InUse, format!("remove {what}"), text))
    }
}

/// Every level on which something of the cluster can be named.
async fn levels(client: &Client) -> Result<Vec<FirewallLevel>> {
    sees_all(client).await?;
    let mut all = vec![FirewallLevel::Cluster];
    let groups = client.firewall(FirewallLevel::Cluster).groups().await?;
    all.extend(groups.into_iter().map(|group| FirewallLevel::Group(group.name)));
    let nodes = nodes(client).await?;
    all.extend(nodes.iter().cloned().map(FirewallLevel::Node));
    all.extend(guests(client, &nodes).await?);
    all.extend(vnets(client).await?.into_iter().map(FirewallLevel::Vnet));
    Ok(all)
}

/// The guests of all nodes. Those are asked one by one: a guest that moves meanwhile can be in none
/// of their lists. The cluster as a whole knows every number that is taken.
async fn guests(client: &Client, nodes: &[NodeName]) -> Result<Vec<FirewallLevel>> {
    let mut missed = BTreeSet::new();
    for _ in 0..LOOKS {
        let found = listed(client, nodes).await?;
        let all = client.resources(Some("vm")).await?;
        missed = all.into_iter().filter_map(|row| number(row.vmid)).collect();
        missed.retain(|id| !found.contains_key(id));
        if missed.is_empty() {
            return Ok(found.into_values().collect());
        }
    }
    let missed: Vec<String> = missed.iter().map(ToString::to_string).collect();
    let text = format!(
        "no node lists the guests {}, which the cluster knows: they may be moving",
        missed.join(", ")
    );
    Err(Error::new(ErrorKind::Conflict, OPERATION, text))
}

/// Guests by their number, where the last list that has them says that they are.
async fn listed(client: &Client, nodes: &[NodeName]) -> Result<BTreeMap<VmId, FirewallLevel>> {
    let mut found = BTreeMap::new();
    for (node, row) in client.vms().list(nodes).await? {
        found.extend(number(row.vmid).map(|id| (id, FirewallLevel::Vm(node, id))));
    }
    for node in nodes {
        let rows = client.lxc(node).list().await?;
        let ids = rows.into_iter().filter_map(|row| number(row.vmid));
        found.extend(ids.map(|id| (id, FirewallLevel::Container(node.clone(), id))));
    }
    Ok(found)
}

/// That lists of guests and VNets leave nothing out.
async fn sees_all(client: &Client) -> Result<()> {
    // A path below tells whether the privilege comes down.
    let needed = [("/vms", "/vms/1", "VM.Audit"), ("/sdn/zones", "/sdn/zones/a/b", "SDN.Audit")];
    for (path, below, privilege) in needed {
        if client.access().first_hidden([below.to_owned()], &[privilege]).await?.is_some() {
            let text = format!("whatever names it is only seen with {privilege} on {path}");
            return Err(Error::new(ErrorKind::Forbidden, OPERATION, text));
        }
    }
    Ok(())
}

/// All nodes: what one that is down has is not known, and asking for it is an error.
async fn nodes(client: &Client) -> Result<Vec<NodeName>> {
    let rows = client.nodes().await?;
    let named = rows.into_iter().map(|row| {
        row.node.parse().map_err(|source| {
            let text = format!("{:?} is no name of a node", row.node);
            Error::new(ErrorKind::Protocol, "GET /nodes", text).because(source)
        })
    });
    named.collect()
}

/// VNets that are applied: only those have a firewall.
async fn vnets(client: &Client) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Row {
        vnet: String,
    }
    let rows: Vec<Row> = client.get("/cluster/sdn/vnets", &[("running", "1")]).await?;
    Ok(rows.into_iter().map(|row| row.vnet).collect())
}

fn number(vmid: Option<u64>) -> Option<VmId> {
    VmId::try_from(u32::try_from(vmid?).ok()?).ok()
}
