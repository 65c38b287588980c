//! Guests of others on the same Proxmox cluster: their numbers are taken, and the networks that
//! they are on must not go.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _};
use proxmox_client::{NodeName, VmId};

use super::crew::Crew;
use super::observe::{AT_ONCE, failed, node_name};
use crate::error::Error;

/// Which guests are on which bridges and VNets.
#[derive(Debug, Clone, Default)]
pub struct NetworkUsers(BTreeMap<String, BTreeMap<u32, String>>);

impl NetworkUsers {
    /// A guest on a network, for people, that is none of `besides`.
    pub fn of(&self, network: &str, besides: &BTreeSet<u32>) -> Option<&str> {
        let users = self.0.get(network)?;
        users.iter().find(|(vmid, _)| !besides.contains(vmid)).map(|(_, title)| title.as_str())
    }

    fn add(&mut self, guest: Guest) {
        for network in guest.networks {
            self.0.entry(network).or_default().insert(guest.vmid, guest.title.clone());
        }
    }
}

struct Guest {
    vmid: u32,
    title: String,
    networks: BTreeSet<String>,
}

/// The containers of these Proxmox nodes by their numbers, each for people.
///
/// # Errors
/// A node cannot be asked.
pub async fn containers(crew: &Crew, nodes: &[String]) -> Result<BTreeMap<u32, String>, Error> {
    let lists = futures_util::stream::iter(nodes)
        .map(|name| async move {
            let node = node_name(name)?;
            let rows = crew.proxmox.lxc(&node).list().await;
            let rows = rows.map_err(failed(&format!("list the containers of {name}")))?;
            let titles = rows.into_iter().filter_map(|row| {
                let vmid = u32::try_from(row.vmid?).ok()?;
                let title = row.name.unwrap_or_default();
                Some((vmid, format!("container {vmid} {title} on {name}")))
            });
            Ok::<_, Error>(titles.collect::<Vec<_>>())
        })
        .buffered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(lists.into_iter().flatten().collect())
}

/// Every guest that the token sees, with the networks that it is on or will be.
///
/// # Errors
/// One cannot be asked: nothing is known to be free then.
pub async fn network_users(crew: &Crew) -> Result<NetworkUsers, Error> {
    let rows = crew.proxmox.nodes().await.map_err(failed("list the Proxmox nodes"))?;
    let mut machines = Vec::new();
    let mut containers = Vec::new();
    for row in rows {
        let node = node_name(&row.node)?;
        let list = crew.proxmox.qemu(&node).list().await;
        let list = list.map_err(failed(&format!("list the machines of {node}")))?;
        let named = list.into_iter().map(|row| (row.vmid, row.name));
        machines.extend(named.map(|(vmid, name)| (node.clone(), vmid, name)));
        let list = crew.proxmox.lxc(&node).list().await;
        let list = list.map_err(failed(&format!("list the containers of {node}")))?;
        let named = list.into_iter().map(|row| (row.vmid, row.name));
        containers.extend(named.map(|(vmid, name)| (node.clone(), vmid, name)));
    }
    let machines = machines.into_iter().filter_map(numbered).map(|(node, vmid, name)| {
        Box::pin(async move { machine(crew, &node, vmid, &name).await }) as Look<'_>
    });
    let containers = containers.into_iter().filter_map(numbered).map(|(node, vmid, name)| {
        Box::pin(async move { container(crew, &node, vmid, &name).await }) as Look<'_>
    });
    let guests = futures_util::stream::iter(machines.chain(containers)).buffer_unordered(AT_ONCE);
    let add = |mut users: NetworkUsers, guest| async move {
        users.add(guest);
        Ok(users)
    };
    guests.try_fold(NetworkUsers::default(), add).await
}

type Look<'a> = futures_util::future::BoxFuture<'a, Result<Guest, Error>>;

fn numbered(
    (node, vmid, name): (NodeName, Option<u64>, Option<String>),
) -> Option<(NodeName, VmId, String)> {
    let vmid = VmId::try_from(u32::try_from(vmid?).ok()?).ok()?;
    Some((node, vmid, name.unwrap_or_default()))
}

async fn machine(crew: &Crew, node: &NodeName, vmid: VmId, name: &str) -> Result<Guest, Error> {
    let rows = crew.proxmox.qemu(node).pending(vmid).await;
    let rows = rows.map_err(failed(&format!("read the machine {vmid}")))?;
    let values = rows.iter().flat_map(|row| {
        let both = [row.value.as_deref(), row.pending.as_deref()];
        both.into_iter().flatten().map(|value| (row.key.as_str(), value))
    });
    let networks = values.filter_map(|(key, value)| network_of(key, value)).collect();
    Ok(Guest { vmid: vmid.get(), title: format!("VM {vmid} {name}"), networks })
}

async fn container(crew: &Crew, node: &NodeName, vmid: VmId, name: &str) -> Result<Guest, Error> {
    let config = crew.proxmox.lxc(node).config(vmid).await;
    let config = config.map_err(failed(&format!("read the container {vmid}")))?;
    let values = config.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
    let networks = values.filter_map(|(key, value)| network_of(key, value)).collect();
    Ok(Guest { vmid: vmid.get(), title: format!("container {vmid} {name}"), networks })
}

/// The bridge or VNet that a network device is on.
fn network_of(key: &str, value: &str) -> Option<String> {
    key.strip_prefix("net")?.parse::<u8>().ok()?;
    value.split(',').find_map(|part| part.strip_prefix("bridge=")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_devices_are_told() {
        let of = |key, value| network_of(key, value);
        assert_eq!(of("net0", "virtio=02:00:00:00:00:01,bridge=vnet101").unwrap(), "vnet101");
        assert_eq!(of("net12", "name=eth0,bridge=vmbr0,ip=dhcp").unwrap(), "vmbr0");
        assert_eq!(of("net0", "user"), None);
        assert_eq!(of("name", "x,bridge=vmbr0"), None);
        let mut users = NetworkUsers::default();
        let networks = BTreeSet::from(["vnet101".to_owned()]);
        users.add(Guest { vmid: 7, title: "VM 7 web".into(), networks });
        assert_eq!(users.of("vnet101", &BTreeSet::new()), Some("VM 7 web"));
        assert_eq!(users.of("vnet101", &BTreeSet::from([7])), None);
        assert_eq!(users.of("vnet102", &BTreeSet::new()), None);
    }
}
