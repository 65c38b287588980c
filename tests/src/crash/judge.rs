//! What a run ended in, from the state of the simulators and the files, never through our client.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::Reference;
use crate::site::Site;

/// What came of a disturbed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It ended as the undisturbed one.
    Same,
    /// It ended otherwise.
    Other(String),
}

/// Keys of a machine that Proxmox chooses anew each time.
const CHOSEN: [&str; 3] = ["meta", "vmgenid", "digest"];

/// The bundle as it lies there, if it does.
pub(super) fn bundle(site: &Site) -> Option<Vec<u8>> {
    fs_err::read(site.own().join("tree/clusters/cluster-103/secrets.sops.yaml")).ok()
}

/// What can be compared between two runs.
///
/// # Errors
/// The lab cannot be asked, or tells something else than expected.
pub fn truth_of(site: &Site) -> anyhow::Result<Value> {
    let truth = site.truth()?;
    let map = |pointer: &str| -> anyhow::Result<Map<String, Value>> {
        let value = truth.pointer(pointer).and_then(Value::as_object);
        value.cloned().with_context(|| format!("the truth has no {pointer}"))
    };
    let machines: Map<String, Value> = map("/pve/vms")?
        .into_iter()
        .map(|(vmid, vm)| {
            let mut conf = vm.get("conf").and_then(Value::as_object).cloned().unwrap_or_default();
            conf.retain(|key, _| !CHOSEN.contains(&key.as_str()));
            let runs = vm.get("running").is_some_and(|running| !running.is_null());
            (vmid, json!({ "node": vm.get("node"), "conf": conf, "runs": runs }))
        })
        .collect();
    let volumes: BTreeMap<String, Vec<String>> = map("/pve/volumes")?
        .into_iter()
        .map(|(storage, volumes)| {
            let names = volumes.as_object().into_iter().flatten().map(|(name, _)| name.clone());
            let mut names: Vec<String> = names.collect();
            names.sort();
            (storage, names)
        })
        .collect();
    let mut bootstraps = 0;
    let nodes: BTreeMap<String, Value> = map("/talos/nodes")?
        .into_iter()
        .map(|(_, node)| {
            bootstraps += node.get("bootstraps").and_then(Value::as_u64).unwrap_or(0);
            let name = node.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let field = |key: &str| node.get(key).cloned().unwrap_or_default();
            let facts = json!({
                "stage": field("stage"),
                "hostname": field("hostname"),
                "addresses": field("addresses"),
                "installs": field("installs"),
                "type": field("machine_type"),
            });
            (name, facts)
        })
        .collect();
    let clusters: Vec<Value> = map("/talos/clusters")?
        .into_iter()
        .map(|(_, cluster)| {
            let members = cluster.get("members").and_then(Value::as_array).cloned();
            let members: Vec<Value> = members
                .unwrap_or_default()
                .iter()
                .map(|member| json!({ "name": member.get("name"), "learner": member.get("learner") }))
                .collect();
            let objects = cluster.get("objects").and_then(Value::as_object).cloned();
            let ready: Vec<String> = objects
                .unwrap_or_default()
                .iter()
                .filter(|(path, _)| path.starts_with("/api/v1/nodes/"))
                .map(|(path, object)| {
                    let status = object.pointer("/status/conditions/0/status");
                    format!("{path} {}", status.cloned().unwrap_or_default())
                })
                .collect();
            json!({ "name": cluster.get("name"), "members": members, "nodes": ready })
        })
        .collect();
    Ok(json!({
        "machines": machines,
        "volumes": volumes,
        "pools": map("/pve/pools")?,
        "networks": networks(&truth, "running"),
        "saved networks": networks(&truth, "saved"),
        "lock of the networks": truth.pointer("/pve/sdn/lock"),
        "nodes": nodes,
        "clusters": clusters,
        "bootstraps": bootstraps,
    }))
}

/// Networks without the MAC address that Proxmox gives a zone.
fn networks(truth: &Value, which: &str) -> Value {
    let mut networks = truth.pointer(&format!("/pve/sdn/{which}")).cloned().unwrap_or_default();
    let zones = networks.get_mut("zones").and_then(Value::as_object_mut);
    for zone in zones.into_iter().flat_map(|zones| zones.values_mut()) {
        if let Some(zone) = zone.as_object_mut() {
            zone.remove("mac");
        }
    }
    networks
}

/// Compares with the undisturbed run. `bundle` is what lay there when the blow fell.
pub(super) fn judge(
    site: &Site,
    reference: &Reference,
    bundle: Option<Vec<u8>>,
) -> anyhow::Result<Verdict> {
    let truth = truth_of(site)?;
    let mut other = differences("", &reference.truth, &truth);
    let now = self::bundle(site);
    if now.is_none() || (bundle.is_some() && bundle != now) {
        other.push("the bundle is another one".to_owned());
    }
    let tree = site.own().join("tree");
    for name in ["kubeconfig", "talosconfig"] {
        if !tree.join("clusters/cluster-103").join(name).exists() {
            other.push(format!("there is no {name}"));
        }
    }
    Ok(if other.is_empty() { Verdict::Same } else { Verdict::Other(other.join("\n")) })
}

/// Where two values differ.
fn differences(path: &str, wanted: &Value, found: &Value) -> Vec<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            let keys: std::collections::BTreeSet<&String> =
                wanted.keys().chain(found.keys()).collect();
            keys.into_iter()
                .flat_map(|key| {
                    let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                    differences(&format!("{path}/{key}"), &of(wanted), &of(found))
                })
                .collect()
        }
        _ if wanted == found => Vec::new(),
        _ => vec![format!("{path}: {wanted} undisturbed, {found} now")],
    }
}
