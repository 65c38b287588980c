//! The Proxmox client against a bare one: the same requests at the same concurrency.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use proxmox_client::{Auth, Client, ClientConfig, NodeName, Trust, VmId};
use serde_json::{Value, json};

use super::measure::{onlooker, ratio_of_times, runtime, timed};
use super::peer::{Bare, TOKEN};
use super::served::{Place, Served};
use super::{Better, Line, Scale};

/// Machines that throughput is measured with.
const MACHINES: u32 = 256;

/// A client of a server of answers.
pub(super) fn config(place: &Place, at_once: usize) -> anyhow::Result<ClientConfig> {
    let auth = Auth::token(TOKEN).ok_or_else(|| anyhow::anyhow!("the token is none"))?;
    let endpoint = format!("https://127.0.0.1:{}", place.port);
    Ok(ClientConfig::new(endpoint, auth).trust(Trust::Ca(place.ca.clone())).concurrency(at_once))
}

/// A configuration as Proxmox prints it.
fn vm(id: u32) -> Value {
    json!({
        "name": format!("vm{id}"), "cores": 4, "memory": "8192", "sockets": 1, "cpu": "host",
        "machine": "q35", "bios": "ovmf", "ostype": "l26", "scsihw": "virtio-scsi-single",
        "agent": "enabled=1", "onboot": 1, "balloon": 0, "serial0": "socket",
        "boot": "order=scsi0;ide0", "tags": "clusterctl;cluster-1",
        "net0": format!("virtio=BC:24:11:00:{:02X}:{:02X},bridge=vmbr0,mtu=1", id / 256 % 256, id % 256),
        "scsi0": format!("ceph:vm-{id}-disk-0,discard=on,iothread=1,size=40G,ssd=1"),
        "efidisk0": format!("ceph:vm-{id}-disk-1,efitype=4m,pre-enrolled-keys=0,size=528K"),
        "ide2": format!("ceph:vm-{id}-cloudinit,media=cdrom,size=4M"),
        "ipconfig0": "ip6=fd00:1::11/64,gw6=fd00:1::fffe", "nameserver": "fd00:100::53",
        "smbios1": format!("uuid=00000000-0000-4000-8000-{id:012}"),
        "digest": "3a5b7c9d1e2f3a5b7c9d1e2f3a5b7c9d1e2f3a5b",
        "meta": "creation-qemu=10.0.2,ctime=1780000000"
    })
}

fn site(machines: u32, nodes: u32) -> HashMap<String, Value> {
    let mut answers = HashMap::new();
    let version = json!({ "version": "9.2.1", "release": "9.2", "repoid": "0000000000000000" });
    answers.insert("/version".to_owned(), version);
    let mut rows: Vec<Vec<Value>> = (0..nodes).map(|_| Vec::new()).collect();
    for id in 100..100 + machines {
        let node = id % nodes;
        let row = json!({
            "vmid": id, "name": format!("vm{id}"), "status": "running", "cpus": 4, "uptime": 3600,
            "maxmem": 8_589_934_592_u64, "mem": 4_294_967_296_u64, "maxdisk": 42_949_672_960_u64,
            "tags": "clusterctl;cluster-1", "pid": 4000 + id, "netin": 1, "netout": 1, "cpu": 0.01
        });
        if let Some(list) = rows.get_mut(usize::try_from(node).unwrap_or_default()) {
            list.push(row);
        }
        let config = vm(id);
        let pending = config.as_object().into_iter().flatten();
        let pending: Vec<Value> =
            pending.map(|(key, value)| json!({ "key": key, "value": value })).collect();
        answers.insert(format!("/nodes/pve{node}/qemu/{id}/config"), config);
        answers.insert(format!("/nodes/pve{node}/qemu/{id}/pending"), pending.into());
    }
    let names: Vec<Value> = (0..nodes)
        .map(|node| json!({ "node": format!("pve{node}"), "status": "online", "type": "node" }))
        .collect();
    answers.insert("/nodes".to_owned(), names.into());
    for (node, list) in rows.into_iter().enumerate() {
        answers.insert(format!("/nodes/pve{node}/qemu"), list.into());
    }
    answers
}

/// Reads configurations, so many at a time, each worker a task of its own; the seconds that it
/// took.
async fn all(client: &Client, node: &NodeName, calls: u32, at_once: u32) -> anyhow::Result<f64> {
    let next = Arc::new(AtomicU32::new(0));
    let begun = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (client, node, next) = (client.clone(), node.clone(), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let call = next.fetch_add(1, Ordering::Relaxed);
                if call >= calls {
                    return anyhow::Ok(());
                }
                let id = VmId::try_from(100 + call % MACHINES)?;
                let config = client.qemu(&node).config(id, false).await?;
                anyhow::ensure!(config.contains_key("net0"), "the answer lost net0");
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.context("a worker ended")??;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Calls a second, at several degrees of concurrency.
pub(super) fn throughput(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let (calls, rounds) = scale.pick((4000_u32, 7), (64, 1));
    let served = Served::of(&site(MACHINES, 1))?;
    let (bare, runtime) = (Bare::new(&served.place)?, runtime()?);
    let node: NodeName = "pve0".parse()?;
    let paths = || {
        let path = |call| format!("/api2/json/nodes/pve0/qemu/{}/config", 100 + call % MACHINES);
        (0..calls).map(path).collect::<Vec<_>>()
    };
    let (mut worst, mut lines) = (f64::MAX, Vec::new());
    for at_once in [1_u32, 16, 64] {
        let client = Client::new(&config(&served.place, usize::try_from(at_once)?)?)?;
        let ours = || runtime.block_on(all(&client, &node, calls, at_once));
        let theirs = || runtime.block_on(bare.all(paths(), usize::try_from(at_once)?));
        let ratio = 1.0 / ratio_of_times(rounds, ours, theirs)?;
        worst = worst.min(ratio);
        lines.push(
            Line::new(&format!("pve-throughput-{at_once}"), ratio, "ratio", Better::More)
                .note(format!("{calls} typed reads, {at_once} at once; bare hyper = 1")),
        );
    }
    let note = "worst of concurrency 1, 16, 64; calls a second, bare hyper client over TLS = 1";
    lines.insert(
        0,
        Line::new("pve-throughput", worst, "ratio", Better::More).target(0.9).note(note),
    );
    Ok(lines)
}

/// All machines of a site, typed.
pub(super) fn read_vms(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let (machines, rounds) = scale.pick((12_000, 5), (60, 1));
    let served = Served::of(&site(machines, 24))?;
    let (bare, runtime) = (Bare::new(&served.place)?, onlooker()?);
    let client = Client::new(&config(&served.place, 16)?)?;
    let read = || {
        let work = async {
            let nodes = client.vms().nodes().await?;
            let found = client.vms().observe_all(&nodes, |_, _| true).await?;
            let expected = usize::try_from(machines)?;
            anyhow::ensure!(found.len() == expected, "{} of {machines} machines", found.len());
            Ok(())
        };
        Ok(timed(|| runtime.block_on(work))?.1)
    };
    served.requests()?;
    read()?;
    let requests = served.requests()?;
    let theirs = || runtime.block_on(bare.all(requests.clone(), 16));
    let ratio = ratio_of_times(rounds, read, theirs)?;
    let note = format!(
        "{machines} machines of 24 nodes, {} requests, 16 at once; time of a bare hyper client = 1",
        requests.len()
    );
    Ok(vec![Line::new("read-12000-vms", ratio, "ratio", Better::Less).target(1.2).note(note)])
}
