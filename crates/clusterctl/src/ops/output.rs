//! `output`: values that a stage gives to others, known before anything exists.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Context, Error};
use crate::compose::access;
use crate::compose::image;
use crate::compose::target::{Extent, IMAGES, REGISTRY, SDN, Stage, Target};
use crate::spec::site::{Cluster, Role, Site};
use crate::state::{Layout, LockFile, ThingKind};

/// The values of a stage, by name; one stage at a time.
///
/// # Errors
/// The tree has errors, or the path is no stage.
pub fn output(context: &Context, stage: &str, lab: bool) -> Result<BTreeMap<String, Value>, Error> {
    let (_, loaded) = context.load_valid_as(lab)?;
    let site = loaded.site.ok_or_else(|| Error::failed("the tree gave no site"))?;
    let layout = Layout::new(&site.live, lab);
    let lock_file = LockFile::read(&layout.lock_file())
        .map_err(|error| Error::failed("read the lock file").because(error))?;
    let target = Target::of(&site, &lock_file.ledger, &context.cwd, &[stage.to_owned()])?;
    match target.names.first().map(String::as_str) {
        Some(name) if name.starts_with(IMAGES) => images(&site, &lock_file),
        Some(name) if name.starts_with(REGISTRY) => registry(&site, &lock_file),
        Some(name) if name.starts_with(SDN) => Ok(networks(&site)),
        _ => of_cluster(&site, &layout, &target, stage),
    }
}

fn of_cluster(
    site: &Site,
    layout: &Layout,
    target: &Target,
    stage: &str,
) -> Result<BTreeMap<String, Value>, Error> {
    let mut found = None;
    for cluster in &site.clusters {
        let meant: Vec<Stage> = Stage::ALL
            .into_iter()
            .filter(|stage| target.stage(&cluster.folder, *stage) == Extent::Full)
            .collect();
        match (meant.as_slice(), &found) {
            ([], _) => {}
            ([stage], None) => found = Some((cluster, vec![*stage])),
            (all, None) => found = Some((cluster, all.to_vec())),
            _ => {
                return Err(Error::usage(format!("{stage:?} is more than one stage"))
                    .hint("name one, such as clusters/cluster-101/compute"));
            }
        }
    }
    let (cluster, stages) =
        found.ok_or_else(|| Error::usage(format!("{stage:?} has no outputs")))?;
    let mut values = BTreeMap::new();
    for stage in stages {
        values.extend(match stage {
            Stage::Compute => compute(cluster),
            Stage::Config => config(site, cluster)?,
            Stage::Bootstrap => bootstrap(layout, cluster),
        });
    }
    Ok(values)
}

fn map(entries: Vec<(&str, Value)>) -> BTreeMap<String, Value> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn images(site: &Site, lock_file: &LockFile) -> Result<BTreeMap<String, Value>, Error> {
    let wanted = image::desired(site)?;
    let version = &site.versions.talos;
    let own = wanted.versions.get(version);
    let installer = own.map(|images| images.installer.clone());
    let digest = installer.as_ref().and_then(|text| lock_file.references.get(text).cloned());
    let iso = own.map(|images| images.factory.iso_name.clone());
    let sha256 =
        iso.as_ref().and_then(|name| lock_file.images.get(name)).map(|pin| pin.sha256.clone());
    Ok(map(vec![
        ("talos_version", json!(format!("v{version}"))),
        ("kubernetes_version", json!(format!("v{}", site.versions.kubernetes))),
        ("talos_schematic_id", json!(wanted.schematic_id.as_str())),
        ("talos_installer_image", json!(installer)),
        ("talos_installer_digest", json!(digest)),
        ("talos_iso_name", json!(iso)),
        ("talos_iso_sha256", json!(sha256)),
    ]))
}

fn registry(site: &Site, lock_file: &LockFile) -> Result<BTreeMap<String, Value>, Error> {
    let wanted = image::desired(site)?;
    let storage = site.registry.datastore_id.as_ref().or(site.proxmox.iso_storage.as_ref());
    let file = wanted.versions.get(&site.versions.talos).map(|one| one.factory.iso_name.clone());
    let id = match (storage, file) {
        (Some(storage), Some(file)) => Some(format!("{storage}:iso/{file}")),
        // Without a name in the tree the storage is chosen among those that are there; what was
        // chosen stands in the ledger.
        (None, Some(file)) => put_at(lock_file, &file),
        (_, None) => None,
    };
    let ids: serde_json::Map<String, Value> =
        site.registry.node_names.iter().map(|node| (node.clone(), json!(id))).collect();
    Ok(map(vec![
        ("talos_image_file_id", json!(id)),
        ("talos_image_file_ids", Value::Object(ids)),
        ("talos_version", json!(format!("v{}", site.versions.talos))),
    ]))
}

/// Where the ledger says that a file was put; none when it was put nowhere, or into storages of
/// several names.
fn put_at(lock_file: &LockFile, file: &str) -> Option<String> {
    let end = format!(":iso/{file}");
    let mut found = lock_file
        .ledger
        .iter()
        .filter(|entry| entry.kind == ThingKind::StorageFile && entry.id.ends_with(&end))
        .filter_map(|entry| entry.id.split_once('/'))
        .map(|(_, volume)| volume);
    let first = found.next()?;
    found.all(|other| other == first).then(|| first.to_owned())
}

fn networks(site: &Site) -> BTreeMap<String, Value> {
    let Some(sdn) = &site.sdn else { return BTreeMap::new() };
    let vnets: serde_json::Map<String, Value> = sdn
        .vnets
        .values()
        .map(|vnet| {
            let subnets: Vec<String> =
                vnet.subnets.iter().map(|subnet| subnet.cidr.to_string()).collect();
            (vnet.id.clone(), json!({ "tag": vnet.tag, "subnets": subnets }))
        })
        .collect();
    map(vec![
        ("zone_id", json!(sdn.zone_id)),
        ("mtu", json!(sdn.mtu)),
        ("vnets", Value::Object(vnets)),
    ])
}

fn compute(cluster: &Cluster) -> BTreeMap<String, Value> {
    let by = |value: fn(&crate::spec::site::Node) -> Value| {
        let entries = cluster.nodes.iter().map(|node| (node.name.clone(), value(node)));
        Value::Object(entries.collect())
    };
    map(vec![
        ("vm_ids", by(|node| json!(node.vmid))),
        ("proxmox_nodes", by(|node| json!(node.proxmox_node))),
        ("mac_addresses", by(|node| json!(node.mac))),
        ("smbios_uuids", by(|node| json!(node.uuid))),
        ("ipv4_addresses", by(|node| json!(node.ipv4.map(|net| net.addr())))),
        ("ipv6_addresses", by(|node| json!(node.ipv6.map(|net| net.addr())))),
    ])
}

fn config(site: &Site, cluster: &Cluster) -> Result<BTreeMap<String, Value>, Error> {
    let of = |role: Role| -> Vec<&str> {
        let nodes = cluster.nodes.iter().filter(|node| node.role == role);
        nodes.map(|node| node.name.as_str()).collect()
    };
    Ok(map(vec![
        ("cluster_name", json!(cluster.name)),
        ("cluster_endpoint", json!(cluster.endpoint)),
        ("talos_version", json!(format!("v{}", cluster.versions.talos))),
        ("kubernetes_version", json!(format!("v{}", cluster.versions.kubernetes))),
        ("installer_image", json!(image::desired(site)?.installer_of(cluster))),
        ("control_plane_nodes", json!(of(Role::ControlPlane))),
        ("worker_nodes", json!(of(Role::Worker))),
    ]))
}

fn bootstrap(layout: &Layout, cluster: &Cluster) -> BTreeMap<String, Value> {
    map(vec![
        ("cluster_endpoint", json!(cluster.endpoint)),
        ("talos_endpoints", json!(access::endpoints(cluster))),
        ("talos_nodes", json!(access::nodes(cluster))),
        ("kubeconfig_path", json!(layout.kubeconfig(&cluster.folder))),
        ("talosconfig_path", json!(layout.talosconfig(&cluster.folder))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::LedgerEntry;

    #[test]
    fn the_ledger_tells_where_a_file_is() {
        let mut lock_file = LockFile::default();
        let mut put = |id: &str| {
            lock_file.ledger.insert(LedgerEntry { kind: ThingKind::StorageFile, id: id.into() })
        };
        put("pve01/local:iso/talos.iso");
        put("pve02/local:iso/talos.iso");
        put("pve01/nfs:iso/other.iso");
        assert_eq!(put_at(&lock_file, "talos.iso").as_deref(), Some("local:iso/talos.iso"));
        assert_eq!(put_at(&lock_file, "absent.iso"), None);
        let mut put = |id: &str| {
            lock_file.ledger.insert(LedgerEntry { kind: ThingKind::StorageFile, id: id.into() })
        };
        put("pve03/nfs:iso/talos.iso");
        assert_eq!(put_at(&lock_file, "talos.iso"), None);
    }
}
