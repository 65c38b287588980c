//! A look at the site: what is there, what is not, and what cannot be told.
//!
//! Proxmox is read in bulk: one list of machines for each node, then the configuration of those
//! that matter, with bounded concurrency. Nodes are asked themselves, never the guest agent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures_util::{StreamExt as _, TryStreamExt as _};
use proxmox_client::plan::sdn::SdnObserved;
use proxmox_client::plan::vm::VmObserved;
use proxmox_client::{NodeName, StorageStatus, VmId, VmRow, Volume};
use secrecy::ExposeSecret as _;
use talos_client::ErrorKind;
use talos_client::config::{FieldChange, MachineConfig};

use super::access;
use super::cilium;
use super::crew::Crew;
use super::host::{known, peers};
use super::kubernetes::{Kubernetes, NodeState};
use super::machine::{Storages, TAG};
use super::manifest::{self, ObjectChange};
use super::neighbour::{self, NetworkUsers};
use super::network;
use super::reach::Opened;
use super::render::Chosen;
use super::world::{ClusterSeen, Etcd, NodeSeen, Running, SecretsSeen, World};
use crate::error::{Error, chain};
use crate::spec::site::{Cluster, Node, Role};

/// How many calls to Proxmox are under way at once.
pub(super) const AT_ONCE: usize = 16;

pub(super) fn failed(what: &str) -> impl FnOnce(proxmox_client::Error) -> Error {
    let what = what.to_owned();
    move |error| {
        let failure = Error::failed(what);
        let failure = match error.help() {
            Some(help) => failure.hint(help),
            None => failure,
        };
        failure.because(error)
    }
}

/// A node's name, checked.
///
/// # Errors
/// It is no name of a Proxmox node.
pub fn node_name(name: &str) -> Result<NodeName, Error> {
    name.parse().map_err(|error: proxmox_client::IdError| {
        Error::failed("read a name of a Proxmox node").because(error)
    })
}

/// Looks at everything that the site's plan can need.
///
/// # Errors
/// Proxmox cannot be asked, or one of its nodes is offline: what runs there cannot be told.
pub async fn observe(crew: &Crew) -> Result<World, Error> {
    let mut world = observe_proxmox(crew, Machines::Ours).await?;
    world.nodes = nodes(crew, &world.machines).await?;
    world.clusters = clusters(crew, &world.nodes).await?;
    Ok(world)
}

/// Whose machines are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machines {
    /// Those under planned numbers and those that carry our tag.
    Ours,
    /// Every machine: what a removal must not pull the ground from.
    All,
}

/// Looks at Proxmox alone: nodes and clusters stay unseen.
///
/// # Errors
/// As [`observe`].
pub async fn observe_proxmox(crew: &Crew, whose: Machines) -> Result<World, Error> {
    let version = crew.proxmox.version().await.map_err(failed("ask Proxmox for its version"))?;
    let rows = crew.proxmox.nodes().await.map_err(failed("list the Proxmox nodes"))?;
    let there: Vec<&str> = rows.iter().map(|row| row.node.as_str()).collect();
    known(&crew.site, &there)?;
    if let Some(row) = rows.iter().find(|row| row.status.as_deref() == Some("offline")) {
        return Err(Error::failed(format!("Proxmox node {} is offline", row.node))
            .hint("what runs there cannot be seen; bring it back, or remove it from the cluster"));
    }
    let names: Vec<String> = rows.into_iter().map(|row| row.node).collect();
    let (storages, [iso_is_shared, vm_is_shared]) = storages(crew).await?;
    // Networks that the tree has no more are looked at too.
    let has_networks = network::has_any(&crew.site, &crew.lock_file().ledger);
    let (sdn, machines, containers, files, pending_networks, peers) = tokio::try_join!(
        async {
            match has_networks {
                true => crew.proxmox.sdn().observe().await.map_err(failed("read the networks")),
                false => Ok(SdnObserved::default()),
            }
        },
        machines(crew, &names, whose),
        neighbour::containers(crew, &names),
        files(crew, &storages),
        async {
            match has_networks {
                true => pending_networks(crew, &names).await,
                false => Ok(Vec::new()),
            }
        },
        peers(crew),
    )?;
    Ok(World {
        version: version.version,
        storages,
        sdn,
        pending_networks,
        peers,
        machines,
        containers,
        network_users: NetworkUsers::default(),
        files,
        iso_is_shared,
        vm_is_shared,
        nodes: BTreeMap::new(),
        clusters: BTreeMap::new(),
    })
}

/// The storages of the tree; where it names none, the one that fits. Which of them, ISO files and
/// disks, is one and the same on all nodes.
async fn storages(crew: &Crew) -> Result<(Storages, [bool; 2]), Error> {
    let first = crew.site.proxmox.nodes.first().map(String::as_str).unwrap_or_default();
    let node = node_name(first)?;
    let list = crew.proxmox.storage(&node).list().await.map_err(failed("list the storages"))?;
    let site = &crew.site;
    let wanted = site.registry.datastore_id.as_ref().or(site.proxmox.iso_storage.as_ref());
    let iso = choose(&list, wanted, "iso", "storage.datastore_id")?;
    let vm = choose(&list, site.proxmox.vm_storage.as_ref(), "images", "storage.vm_datastore")?;
    let storages = Storages { iso: iso.storage.clone(), vm: vm.storage.clone() };
    Ok((storages, [iso.shared, vm.shared]))
}

fn choose<'a>(
    list: &'a [StorageStatus],
    named: Option<&String>,
    content: &str,
    key: &str,
) -> Result<&'a StorageStatus, Error> {
    let fits = |one: &&StorageStatus| one.enabled && one.holds(content);
    let candidates: Vec<&StorageStatus> = list.iter().filter(fits).collect();
    let listed = || {
        let names: Vec<&str> = candidates.iter().map(|one| one.storage.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    if let Some(name) = named {
        return candidates.iter().find(|one| one.storage == *name).copied().ok_or_else(|| {
            Error::failed(format!("storage {name} holds no {content} content or is not there"))
                .hint(format!("storages that do: {}; see {key}", listed()))
        });
    }
    let shared: Vec<&&StorageStatus> = candidates.iter().filter(|one| one.shared).collect();
    match (shared.as_slice(), candidates.as_slice()) {
        ([one], _) => Ok(one),
        (_, [one]) => Ok(one),
        _ => Err(Error::failed(format!("no storage for {content} content can be chosen"))
            .hint(format!("name one of {} as {key}", listed()))),
    }
}

async fn machines(
    crew: &Crew,
    names: &[String],
    whose: Machines,
) -> Result<BTreeMap<VmId, VmObserved>, Error> {
    let planned: BTreeSet<u64> = crew
        .site
        .clusters
        .iter()
        .flat_map(|cluster| cluster.nodes.iter().map(|node| u64::from(node.vmid)))
        .collect();
    let lists: Vec<Vec<(NodeName, VmId, VmRow)>> = futures_util::stream::iter(names.to_vec())
        .map(|name| {
            let planned = &planned;
            async move {
                let node = node_name(&name)?;
                let rows = crew.proxmox.qemu(&node).list().await;
                let rows = rows.map_err(failed(&format!("list the machines of {name}")))?;
                let wanted = rows.into_iter().filter(|row| {
                    whose == Machines::All
                        || row.has_tag(TAG)
                        || row.vmid.is_some_and(|vmid| planned.contains(&vmid))
                });
                let found = wanted.filter_map(|row| {
                    let vmid = VmId::try_from(u32::try_from(row.vmid?).ok()?).ok()?;
                    Some((node.clone(), vmid, row))
                });
                Ok::<_, Error>(found.collect())
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let read = futures_util::stream::iter(lists.into_iter().flatten())
        .map(|(node, vmid, row)| async move {
            let machine = crew.proxmox.qemu(&node).observe_row(vmid, &row).await;
            machine.map_err(|error| failed(&format!("read the machine {vmid}"))(error))
        })
        .buffer_unordered(AT_ONCE);
    // One that went away since it was listed is not there.
    read.try_filter_map(|machine| async move { Ok(machine.map(|one| (one.vmid, one))) })
        .try_collect()
        .await
}

/// The ISO files of the nodes that machines may boot on.
async fn files(crew: &Crew, storages: &Storages) -> Result<BTreeMap<String, Vec<Volume>>, Error> {
    let names = crew.site.registry.node_names.clone();
    futures_util::stream::iter(names)
        .map(|name| async move {
            let node = node_name(&name)?;
            let content = crew.proxmox.storage(&node).content(&storages.iso, Some("iso")).await;
            let what = format!("list the ISO files of {} on {name}", storages.iso);
            Ok::<_, Error>((name, content.map_err(failed(&what))?))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// Applying networks applies what waits on any node, also on one that no zone is on.
async fn pending_networks(crew: &Crew, names: &[String]) -> Result<Vec<String>, Error> {
    let answers: Vec<(String, bool)> = futures_util::stream::iter(names.to_vec())
        .map(|name| async move {
            let node = node_name(&name)?;
            let pending = crew.proxmox.sdn().has_pending_network(&node).await;
            Ok::<_, Error>((name, pending.map_err(failed("read the network of a node"))?))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(answers.into_iter().filter(|(_, pending)| *pending).map(|(name, _)| name).collect())
}

async fn nodes(
    crew: &Crew,
    machines: &BTreeMap<VmId, VmObserved>,
) -> Result<BTreeMap<String, NodeSeen>, Error> {
    let all = crew
        .site
        .clusters
        .iter()
        .flat_map(|cluster| cluster.nodes.iter().map(move |node| (cluster, node)));
    futures_util::stream::iter(all)
        .map(|(cluster, node)| async move {
            let machine = VmId::try_from(node.vmid).ok().and_then(|vmid| machines.get(&vmid));
            let is_ours =
                machine.is_some_and(|machine| machine.uuid() == Some(node.uuid.to_string()));
            let seen = match machine {
                Some(machine) if machine.running && is_ours => {
                    // Secrets that do not open are told of the cluster; its nodes are not known.
                    match crew.secrets(cluster) {
                        Ok(opened) => look_at(crew, cluster, node, opened.as_deref()).await,
                        Err(error) => NodeSeen::Unknown(error.to_string()),
                    }
                }
                _ => NodeSeen::Off,
            };
            Ok::<_, Error>((node.name.clone(), seen))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// Asks one node what it is: as its administrator first, then as anybody in maintenance mode.
pub async fn look_at(
    crew: &Crew,
    cluster: &Cluster,
    node: &Node,
    opened: Option<&Opened>,
) -> NodeSeen {
    let address = match crew.address(node) {
        Ok(address) => address,
        Err(error) => return NodeSeen::Unknown(error.to_string()),
    };
    let refused = match opened {
        None => None,
        Some(opened) => match running(crew, cluster, node, opened, address).await {
            Ok(running) => return NodeSeen::Configured(Box::new(running)),
            // A node in maintenance mode has a certificate of its own.
            Err(error) if error.kind() == ErrorKind::Tls => Some(chain(&error)),
            Err(error) => return NodeSeen::Unknown(chain(&error)),
        },
    };
    let found = async {
        let client = crew.maintenance(address).await?;
        client.expect_uuid(node.uuid).await
    };
    match found.await {
        Ok(()) => NodeSeen::Maintenance,
        Err(error) => {
            let maintenance = chain(&error);
            NodeSeen::Unknown(match refused {
                Some(refused) => format!("{refused}; in maintenance mode: {maintenance}"),
                None => maintenance,
            })
        }
    }
}

async fn running(
    crew: &Crew,
    cluster: &Cluster,
    node: &Node,
    opened: &Opened,
    address: IpAddr,
) -> Result<Running, talos_client::Error> {
    let client = crew.talos(address, opened).await?;
    client.expect_uuid(node.uuid).await?;
    let (version, status, text) =
        tokio::try_join!(client.version(), client.machine_status(), client.machine_config())?;
    let etcd = match node.role {
        Role::ControlPlane => Etcd::of(&client.etcd_phase().await?),
        Role::Worker => Etcd::None,
    };
    let compared = match &text {
        None => Err("the node shows no configuration".to_owned()),
        Some(text) => compare(crew, cluster, node, opened, text.expose_secret()),
    };
    let (Compared { changes, manifests, cilium_image }, uncompared) = match compared {
        Ok(compared) => (compared, None),
        Err(why) => (Compared::default(), Some(why)),
    };
    let mut staged = false;
    if !changes.is_empty() && cluster.apply_mode == "staged" {
        // A node that does not show it is as if nothing were staged: staging again does no harm.
        let stored = client.stored_machine_config().await.ok().flatten();
        staged = stored.is_some_and(|text| {
            compare(crew, cluster, node, opened, text.expose_secret())
                .is_ok_and(|left| left.changes.is_empty())
        });
    }
    Ok(Running {
        version: version.tag,
        stage: status.stage.to_string(),
        changes,
        manifests,
        staged,
        uncompared,
        etcd,
        cilium_image,
    })
}

/// What a node's configuration would have to change.
#[derive(Debug, Default)]
pub struct Compared {
    /// The fields.
    pub changes: Vec<FieldChange>,
    /// The objects of Kubernetes whose manifests are in them.
    pub manifests: Vec<ObjectChange>,
    /// The image that it has for the installation of Cilium, where it is the tree's.
    pub cilium_image: Option<String>,
}

/// What a node's configuration would have to change. The way in which its disk is told apart was
/// chosen when it was installed, and stays.
pub fn compare(
    crew: &Crew,
    cluster: &Cluster,
    node: &Node,
    opened: &Opened,
    text: &str,
) -> Result<Compared, String> {
    let current = MachineConfig::parse(text).map_err(|error| error.to_string())?;
    let chosen = Chosen::of(&current, cluster, node, &crew.lock_file());
    let desired =
        crew.machine_config(cluster, node, opened, &chosen).map_err(|error| chain(&error))?;
    let changes = current.diff_hiding(&desired, &Crew::hidden(cluster, node));
    let manifests = match changes.iter().any(manifest::is_manifest) {
        true => manifest::changes(&current, &desired),
        false => Vec::new(),
    };
    let cilium_image = cilium::kept_image(cluster, &current);
    Ok(Compared { changes, manifests, cilium_image })
}

async fn clusters(
    crew: &Crew,
    nodes: &BTreeMap<String, NodeSeen>,
) -> Result<BTreeMap<String, ClusterSeen>, Error> {
    futures_util::stream::iter(&crew.site.clusters)
        .map(|cluster| async move {
            Ok::<_, Error>((cluster.folder.clone(), look_at_cluster(crew, cluster, nodes).await?))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn look_at_cluster(
    crew: &Crew,
    cluster: &Cluster,
    nodes: &BTreeMap<String, NodeSeen>,
) -> Result<ClusterSeen, Error> {
    let (secrets, opened) = match crew.secrets(cluster) {
        Ok(None) => (SecretsSeen::Absent, None),
        Ok(Some(opened)) => (SecretsSeen::Open, Some(opened)),
        Err(error) if crew.bundles.is_there(cluster)? => (SecretsSeen::Sealed(chain(&error)), None),
        Err(error) => return Err(error),
    };
    let bundle = opened.as_ref().map(|opened| &opened.bundle);
    let look = |kind: access::Kind| {
        let found = kind.look(&crew.layout, cluster, bundle);
        found.map_err(|error| Error::failed("read a file").because(error))
    };
    let kubeconfig = look(access::Kind::Kubeconfig)?;
    let talosconfig = look(access::Kind::Talosconfig)?.flaw;
    let bootstrapped = cluster.nodes.iter().any(|node| {
        matches!(nodes.get(&node.name), Some(NodeSeen::Configured(running)) if running.has_etcd())
    });
    let kubernetes = match (&opened, bootstrapped) {
        (Some(opened), true) => {
            ask_kubernetes(crew, cluster, opened, nodes, kubeconfig.text.as_deref())
                .await
                .map_err(|error| chain(&error))
        }
        _ => Err("etcd runs on no node that was seen".to_owned()),
    };
    Ok(ClusterSeen { secrets, kubeconfig: kubeconfig.flaw, talosconfig, kubernetes })
}

/// Asks the first control plane that answers.
async fn ask_kubernetes(
    crew: &Crew,
    cluster: &Cluster,
    opened: &Opened,
    nodes: &BTreeMap<String, NodeSeen>,
    kubeconfig: Option<&str>,
) -> Result<BTreeMap<String, NodeState>, Error> {
    let mut last = Error::failed("no control plane can be asked");
    for node in cluster.nodes.iter().filter(|node| node.role == Role::ControlPlane) {
        if !matches!(nodes.get(&node.name), Some(NodeSeen::Configured(_))) {
            continue;
        }
        match kubernetes_at(crew, node, opened, kubeconfig).await {
            Ok(kubernetes) => match kubernetes.nodes().await {
                Ok(found) => return Ok(found),
                Err(error) => last = error,
            },
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The Kubernetes API at a control plane, with the files at hand or with new ones of the node.
///
/// # Errors
/// The node gives none.
pub async fn kubernetes_at(
    crew: &Crew,
    node: &Node,
    opened: &Opened,
    kubeconfig: Option<&str>,
) -> Result<Kubernetes, Error> {
    let address = crew.address(node)?;
    let at_hand = kubeconfig.and_then(|text| access::Admin::of_kubeconfig(text).ok());
    let authority = opened.bundle.certs.as_ref().and_then(|certs| certs.k8s.as_ref());
    let authority = authority.and_then(|pair| pair.crt.text()).and_then(access::fingerprint);
    let admin = match at_hand {
        Some(admin) if access::fingerprint(&admin.ca_pem) == authority => admin,
        _ => {
            let failed = || Error::failed(format!("get a kubeconfig of {}", node.name));
            let client =
                crew.talos(address, opened).await.map_err(|error| failed().because(error))?;
            let made = client.kubeconfig().await.map_err(|error| failed().because(error))?;
            access::Admin::of_kubeconfig(made.expose())?
        }
    };
    Kubernetes::new(address, &admin, std::sync::Arc::clone(&crew.dial))
}
