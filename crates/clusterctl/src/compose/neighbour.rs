//! Guests of others on the same Proxmox cluster: their numbers are taken, and the networks that
//! they are on must not go.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _};
use proxmox_client::{ErrorKind, NodeName, PendingRow, VmId};

use super::crew::Crew;
use super::observe::{AT_ONCE, failed, node_name};
use crate::error::Error;

/// Which guests are on which bridges and VNets.
#[derive(Debug, Clone)]
pub struct NetworkUsers {
    seen: BTreeMap<String, BTreeMap<u32, String>>,
    /// There may be guests that the token does not see.
    some_hidden: bool,
}

impl Default for NetworkUsers {
    /// As long as nobody has looked, anybody may be on every network.
    fn default() -> Self {
        Self { seen: BTreeMap::new(), some_hidden: true }
    }
}

/// Who may be on a network where not all guests are seen.
const HIDDEN: &str = "perhaps a guest that the token does not see (VM.Audit on /vms shows all)";

impl NetworkUsers {
    /// A guest on a network, for people, that is none of `besides`.
    pub fn of(&self, network: &str, besides: &BTreeSet<u32>) -> Option<&str> {
        let mut users = self.seen.get(network).into_iter().flatten();
        let found = users.find(|(vmid, _)| !besides.contains(vmid));
        found.map(|(_, title)| title.as_str()).or(self.some_hidden.then_some(HIDDEN))
    }

    /// Whether a guest is on a network.
    pub fn is_on(&self, network: &str, vmid: u32) -> bool {
        self.seen.get(network).is_some_and(|users| users.contains_key(&vmid))
    }

    /// These guests and no others: network, number, what people call it.
    #[cfg(test)]
    pub(crate) fn of_all(seen: &[(&str, u32, &str)]) -> Self {
        let mut users = Self { some_hidden: false, ..Self::default() };
        for (network, vmid, title) in seen {
            let networks = BTreeSet::from([(*network).to_owned()]);
            users.add(Guest { vmid: *vmid, title: (*title).to_owned(), networks });
        }
        users
    }

    fn add(&mut self, guest: Guest) {
        for network in guest.networks {
            self.seen.entry(network).or_default().insert(guest.vmid, guest.title.clone());
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

/// How often guests are listed: one that moves to another node while they are read is found there.
const LOOKS: u32 = 3;

/// How many times in turn no node lists a guest until it is gone: Proxmox shows one that was removed
/// for some seconds more.
const ABSENT: u32 = 2;

/// Every guest that the token sees, with the networks that it is on or will be, and whether those
/// are all. One that is gone when it is read, or listed by no node, is on none; one that moves from
/// node to node meanwhile is looked for again.
///
/// # Errors
/// One cannot be asked: nothing is known to be free then.
pub async fn network_users(crew: &Crew) -> Result<NetworkUsers, Error> {
    let has = crew.proxmox.permissions().await.map_err(failed("ask Proxmox what we may do"))?;
    let sees_all = has.has(&format!("/vms/{}", u32::MAX), "VM.Audit");
    let mut users = NetworkUsers { some_hidden: !sees_all, ..NetworkUsers::default() };
    let mut search = Search::default();
    for _ in 0..LOOKS {
        let mut listed = list(crew).await?;
        listed.retain(|one| !search.found.contains(&one.vmid.get()));
        let read = futures_util::stream::iter(listed)
            .map(|one| async move { Ok::<_, Error>((one.vmid.get(), read(crew, &one).await?)) })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        let mut listed = BTreeMap::new();
        for (vmid, guest) in read {
            listed.insert(vmid, guest.is_some());
            guest.into_iter().for_each(|guest| users.add(guest));
        }
        // The nodes are listed one by one: who is on his way is in none of their lists. The cluster
        // as a whole knows every number that is taken.
        let all = crew.proxmox.resources(Some("vm")).await;
        let all = all.map_err(failed("list the guests of the cluster"))?;
        let all = all.iter().filter_map(|row| u32::try_from(row.vmid?).ok()).collect();
        search.look(&listed, &all);
        if search.is_over() {
            return Ok(users);
        }
    }
    let missed: Vec<String> = search.missed.keys().map(ToString::to_string).collect();
    Err(Error::failed(format!("read the guests {}", missed.join(", ")))
        .detail("they are listed, and their nodes do not have them")
        .hint("they may be moving: run it again once they have"))
}

/// Which guests were read, and which are still to be found.
#[derive(Debug, Default)]
struct Search {
    found: BTreeSet<u32>,
    /// With the number of looks in turn at which no node listed them.
    missed: BTreeMap<u32, u32>,
}

impl Search {
    /// One look: guests that a node listed, with whether it had them when it was asked for them, and
    /// all guests that the cluster knows after that.
    fn look(&mut self, listed: &BTreeMap<u32, bool>, all: &BTreeSet<u32>) {
        for (vmid, is_there) in listed {
            match is_there {
                true => drop(self.found.insert(*vmid)),
                false => drop(self.missed.insert(*vmid, 0)),
            }
        }
        for vmid in all.iter().filter(|vmid| !listed.contains_key(vmid)) {
            *self.missed.entry(*vmid).or_default() += 1;
        }
        self.missed.retain(|vmid, _| all.contains(vmid) && !self.found.contains(vmid));
    }

    /// Whether no guest is missed any more but those that are gone.
    fn is_over(&self) -> bool {
        self.missed.values().all(|looks| *looks >= ABSENT)
    }
}

/// A guest as the list of its node has it.
struct Listed {
    node: NodeName,
    is_machine: bool,
    vmid: VmId,
    name: String,
}

/// The guests of all nodes.
async fn list(crew: &Crew) -> Result<Vec<Listed>, Error> {
    let rows = crew.proxmox.nodes().await.map_err(failed("list the Proxmox nodes"))?;
    let lists = futures_util::stream::iter(rows)
        .map(|row| async move {
            let node = node_name(&row.node)?;
            let (qemu, lxc) = (crew.proxmox.qemu(&node), crew.proxmox.lxc(&node));
            let (machines, containers) = tokio::join!(qemu.list(), lxc.list());
            let machines = machines.map_err(failed(&format!("list the machines of {node}")))?;
            let containers =
                containers.map_err(failed(&format!("list the containers of {node}")))?;
            let machines = machines.into_iter().map(|row| (true, row.vmid, row.name));
            let containers = containers.into_iter().map(|row| (false, row.vmid, row.name));
            let found = machines.chain(containers);
            let listed = found.filter_map(|(is_machine, vmid, name)| {
                let vmid = VmId::try_from(u32::try_from(vmid?).ok()?).ok()?;
                let name = name.unwrap_or_default();
                Some(Listed { node: node.clone(), is_machine, vmid, name })
            });
            Ok::<_, Error>(listed.collect::<Vec<_>>())
        })
        .buffered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(lists.into_iter().flatten().collect())
}

/// The networks of a guest; none when its node does not have it any more.
async fn read(crew: &Crew, one: &Listed) -> Result<Option<Guest>, Error> {
    let (kind, rows) = match one.is_machine {
        true => ("VM", crew.proxmox.qemu(&one.node).pending(one.vmid).await),
        false => ("container", crew.proxmox.lxc(&one.node).pending(one.vmid).await),
    };
    let title = format!("{kind} {} {}", one.vmid, one.name);
    match rows {
        Ok(rows) => Ok(Some(Guest { vmid: one.vmid.get(), title, networks: networks(&rows) })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&format!("read {title}"))(error)),
    }
}

/// The networks that a guest is on, and those that it will be on.
fn networks(rows: &[PendingRow]) -> BTreeSet<String> {
    let values = rows.iter().flat_map(|row| {
        let both = [row.value.as_deref(), row.pending.as_deref()];
        both.into_iter().flatten().map(|value| (row.key.as_str(), value))
    });
    values.filter_map(|(key, value)| network_of(key, value)).collect()
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
        let mut users = NetworkUsers::of_all(&[("vnet101", 7, "VM 7 web")]);
        assert_eq!(users.of("vnet101", &BTreeSet::new()), Some("VM 7 web"));
        assert_eq!(users.of("vnet101", &BTreeSet::from([7])), None);
        assert_eq!(users.of("vnet102", &BTreeSet::new()), None);
        users.some_hidden = true;
        assert_eq!(users.of("vnet102", &BTreeSet::new()), Some(HIDDEN));
        assert_eq!(users.of("vnet101", &BTreeSet::new()), Some("VM 7 web"));
    }

    #[test]
    fn a_guest_is_looked_for_until_it_is_found_or_nobody_has_it() {
        let course = |looks: &[(&[(u32, bool)], &[u32])]| {
            let mut search = Search::default();
            for (at, (listed, all)) in looks.iter().enumerate() {
                assert!(at == 0 || !search.is_over(), "over before look {at}");
                let all = all.iter().copied().collect();
                search.look(&listed.iter().copied().collect(), &all);
            }
            search.is_over()
        };
        assert!(course(&[(&[(7, true)], &[7])]));
        // It left one node before that was listed for another one that had been listed already.
        assert!(!course(&[(&[], &[7])]));
        assert!(course(&[(&[], &[7]), (&[(7, true)], &[7])]));
        // It left its node before that was asked for it, and hides from the next list.
        assert!(!course(&[(&[(7, false)], &[7]), (&[], &[7])]));
        assert!(course(&[(&[(7, false)], &[7]), (&[], &[7]), (&[(7, true)], &[7])]));
        // It is gone, and the cluster shows it for a while, or does not.
        assert!(course(&[(&[(7, false)], &[])]));
        assert!(course(&[(&[], &[7]), (&[], &[7])]));
        // A node lists it all the time and does not have it.
        assert!(!course(&[(&[(7, false)], &[7]), (&[(7, false)], &[7]), (&[(7, false)], &[7])]));
    }
}
