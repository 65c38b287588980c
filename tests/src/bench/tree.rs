//! A site of 900 clusters: a plan with nothing to do, as far as Proxmox goes.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context as _, ensure};
use clusterctl::compose::crew::Crew;
use clusterctl::compose::draft::{Wish, draft};
use clusterctl::compose::machine::{Ground, Storages, desired};
use clusterctl::compose::observe::{Machines, observe_proxmox};
use clusterctl::compose::target::{Extent, Target};
use clusterctl::compose::world::{ClusterSeen, SecretsSeen, World};
use clusterctl::engine::Base;
use clusterctl::ops::Context;
use clusterctl::spec::site::Site;
use proxmox_client::plan::vm::VmDesired;
use serde_json::{Value, json};

use super::client::config;
use super::measure::{memory, ms, onlooker, ratio_of_times, timed};
use super::peer::Bare;
use super::served::{Place, Served};
use super::{Better, Line, Scale};

const NODES: u32 = 24;

/// Writes a tree of clusters with 3 control planes and 10 or 11 workers each.
fn write(repository: &Path, clusters: u32) -> anyhow::Result<()> {
    let common = repository.join("live/common");
    fs_err::create_dir_all(&common)?;
    let names: Vec<String> = (0..NODES).map(|node| format!("\"pve{node}\"")).collect();
    let versions = "locals {\n  talos_version = \"v1.11.5\"\n  kubernetes_version = \"v1.31.4\"\n  \
                    cilium_version = \"1.18.4\"\n}\n";
    fs_err::write(common.join("versions.hcl"), versions)?;
    let nodes = format!("locals {{\n  proxmox_nodes = [{}]\n}}\n", names.join(", "));
    fs_err::write(common.join("proxmox-infrastructure.hcl"), nodes)?;
    let patterns = "locals {\n  addressing = {
    public_ipv4_pattern        = { base = \"10.0.0.0/10\", newbits = 14 }
    loopback_ipv4_pattern      = { base = \"10.64.0.0/10\", newbits = 14 }
    pods_ipv4_pattern          = { base = \"11.0.0.0/8\", newbits = 12 }
    services_ipv4_pattern      = { base = \"12.0.0.0/8\", newbits = 14 }
    loadbalancers_ipv4_pattern = { base = \"13.0.0.0/8\", newbits = 14 }
    loopback_ipv6_pattern      = \"fd01:255:%d::\"
  }\n}\n";
    fs_err::write(common.join("network-infrastructure.hcl"), patterns)?;
    for id in 1..=clusters {
        let folder = repository.join(format!("live/clusters/cluster-{id}"));
        fs_err::create_dir_all(&folder)?;
        let workers = if id % 3 == 0 { 11 } else { 10 };
        let text = format!(
            "locals {{\n  cluster_id = {id}\n  cluster_name = \"c{id}\"\n  controlplanes = 3\n  \
             workers = {workers}\n  network = {{ use_sdn = false, use_vip = true, \
             bridge_public = \"vmbr0\", vlan_public = {} }}\n}}\n",
            100 + id
        );
        fs_err::write(folder.join("cluster.hcl"), text)?;
    }
    Ok(())
}

fn load(live: &Path) -> anyhow::Result<Site> {
    let context = Context { cwd: live.to_path_buf(), live: None, variables: BTreeMap::new() };
    let (_, loaded) = context
        .load_valid_as(true)
        .map_err(|error| anyhow::anyhow!("{}", clusterctl::error::chain(&error)))?;
    loaded.site.context("the tree gave no site")
}

/// What Proxmox prints of a machine that was made as desired.
fn printed(machine: &VmDesired) -> Value {
    let id = machine.vmid;
    let keys = machine.create_params().into_iter().map(|(key, value)| {
        let size = machine.disks.iter().find(|disk| disk.key == key).map(|disk| disk.size_gib);
        let value = match (size, value.split_once(',')) {
            (Some(size), Some((volume, options))) => {
                let storage = volume.split(':').next().unwrap_or_default();
                format!("{storage}:vm-{id}-{key},{options},size={size}G")
            }
            _ => value,
        };
        (key, Value::from(value))
    });
    let keys = keys.filter(|(key, _)| key != "vmid");
    keys.map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

/// The answers of a Proxmox cluster on which the whole site is there and runs.
fn answers(site: &Site) -> anyhow::Result<HashMap<String, Value>> {
    let storages = Storages { iso: "local".into(), vm: "ceph".into() };
    let ground = Ground { site, storages: &storages, guest_agent: false };
    let mut lists: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut out = HashMap::new();
    for cluster in &site.clusters {
        for node in &cluster.nodes {
            let machine = desired(ground, cluster, node, "local:iso/talos.iso")
                .map_err(|error| anyhow::anyhow!("{error}"))?;
            let on = &node.proxmox_node;
            let tags: Vec<&str> = machine.tags.iter().map(String::as_str).collect();
            lists.entry(on.clone()).or_default().push(json!({
                "vmid": node.vmid, "name": node.name, "status": "running", "uptime": 3600,
                "cpus": node.cores, "maxmem": 8_589_934_592_u64, "mem": 4_294_967_296_u64,
                "maxdisk": 42_949_672_960_u64, "tags": tags.join(";"), "pid": 4000, "cpu": 0.01
            }));
            out.insert(format!("/nodes/{on}/qemu/{}/pending", node.vmid), printed(&machine));
        }
    }
    let version = json!({ "version": "9.2.1", "release": "9.2", "repoid": "0000000000000000" });
    out.insert("/version".into(), version);
    let rows = site.proxmox.nodes.iter();
    let rows: Value =
        rows.map(|node| json!({ "node": node, "status": "online", "type": "node" })).collect();
    out.insert("/nodes".into(), rows);
    for node in &site.proxmox.nodes {
        let list = lists.remove(node).unwrap_or_default();
        out.insert(format!("/nodes/{node}/qemu"), list.into());
        out.insert(format!("/nodes/{node}/lxc"), json!([]));
        out.insert(format!("/nodes/{node}/storage"), json!([
            { "storage": "local", "type": "dir", "content": "iso,vztmpl", "active": 1, "enabled": 1, "shared": 0 },
            { "storage": "ceph", "type": "rbd", "content": "images", "active": 1, "enabled": 1, "shared": 1 }
        ]));
        out.insert(format!("/nodes/{node}/storage/local/content"), json!([]));
    }
    Ok(out)
}

/// Observes the site and makes the plan of its machines; how many steps it has.
async fn plan(crew: &Crew) -> anyhow::Result<usize> {
    let failed =
        |error: clusterctl::error::Error| anyhow::anyhow!("{}", clusterctl::error::chain(&error));
    let mut world: World = observe_proxmox(crew, Machines::Ours).await.map_err(failed)?;
    // The layers above are taken for seen: every cluster has its secrets.
    for cluster in &crew.site.clusters {
        let seen = ClusterSeen {
            secrets: SecretsSeen::Open,
            kubeconfig: None,
            talosconfig: None,
            kubernetes: Ok(BTreeMap::new()),
        };
        world.clusters.insert(cluster.folder.clone(), seen);
    }
    let mut target = Target::everything(&crew.site);
    (target.sdn, target.images, target.registry) = (Extent::None, Extent::None, Extent::None);
    for extents in target.clusters.values_mut() {
        *extents = [Extent::Full, Extent::None, Extent::None];
    }
    let base = Base { tree: String::new(), observation: world.fingerprint() };
    let wish = Wish { target, allow_remove: false };
    let drafted = draft(crew, &world, &wish, base).map_err(failed)?;
    if let Some(problem) = drafted.problems.first() {
        anyhow::bail!("{} problems, the first: {}", drafted.problems.len(), problem.text);
    }
    Ok(drafted.plan.steps.len())
}

/// Reads a tree, plans against a server, and tells its peak of memory: a process of its own.
///
/// # Errors
/// There is something to do, or it cannot be told.
pub fn plan_alone(live: &Path, place: &str) -> anyhow::Result<f64> {
    let place: Place = serde_json::from_str(place)?;
    let crew = Crew::new(load(live)?, &config(&place, 16)?, &BTreeMap::new(), None)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    ensure!(onlooker()?.block_on(plan(&crew))? == 0, "there is something to do");
    memory("self", "VmHWM")
}

/// A plan with nothing to do against a bare client that makes the same requests.
pub(super) fn plan_noop(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let (clusters, rounds) = scale.pick((900, 5), (6, 1));
    let dir = tempfile::tempdir()?;
    write(dir.path(), clusters)?;
    let live = dir.path().join("live");
    let (site, reading) = timed(|| load(&live))?;
    let machines: usize = site.clusters.iter().map(|cluster| cluster.nodes.len()).sum();
    let served = Served::of(&answers(&site)?)?;
    let (bare, runtime) = (Bare::new(&served.place)?, onlooker()?);
    let crew = Crew::new(site, &config(&served.place, 16)?, &BTreeMap::new(), None)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let ours = || {
        let (steps, took) = timed(|| runtime.block_on(plan(&crew)))?;
        ensure!(steps == 0, "{steps} steps where there is nothing to do");
        Ok(took)
    };
    served.requests()?;
    ours()?;
    let requests = served.requests()?;
    let theirs = || runtime.block_on(bare.all(requests.clone(), 16));
    let ratio = ratio_of_times(rounds, ours, theirs)?;
    let output = std::process::Command::new(std::env::current_exe()?)
        .arg("--plan-alone")
        .arg(&live)
        .arg(serde_json::to_string(&served.place)?)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let peak: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    let what = format!("{clusters} clusters, {machines} machines, {} requests", requests.len());
    let reading = ms(std::time::Duration::from_secs_f64(reading));
    Ok(vec![
        Line::new("plan-noop-900", ratio, "ratio", Better::Less).target(1.2).note(format!(
            "{what}, 16 at once: look at Proxmox and plan its layer; bare hyper client = 1"
        )),
        Line::new("plan-noop-900-rss", peak, "MB", Better::Less)
            .target(256.0)
            .note(format!("{what}: peak of one process that reads the tree and plans")),
        Line::new("plan-noop-900-tree", reading, "ms", Better::Less)
            .note(format!("{clusters} clusters: reading and proving the tree, once")),
    ])
}
