//! A fleet of simulated nodes, brought up and watched by one process; the nodes are in another.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::future::{join_all, try_join_all};
use talos_client::api::{ApplyMode, Bootstrap, MachineStatus, Stage, WatchOptions, kinds};
use talos_client::config::{GenerateInput, MachineConfig, MachineType, Patch};
use talos_client::secrets::Bundle;
use talos_client::sim::{NetConfig, NicSpec, NodeSpec, Pace, Segment, SimNet};
use talos_client::{Client, ClientConfig, Dialer, Identity, wait_for_install};

use super::measure::{forget_peak, memory, process_cpu};
use super::own::{Own, tell};
use super::{Better, Line, Scale};

/// Control planes; all others are workers.
const CONTROL: u8 = 3;
/// How long a fleet may take; longer means that it never comes up.
const LIMIT: Duration = Duration::from_mins(20);
/// How long it is watched once it runs.
const WATCHED: Duration = Duration::from_secs(10);

fn address(node: u8) -> IpAddr {
    IpAddr::from([10, 5, 0, node])
}

fn uuid(node: u8) -> uuid::Uuid {
    uuid::Uuid::from_u128(u128::from(node))
}

fn mac(node: u8) -> String {
    format!("bc:24:11:00:00:{node:02x}")
}

fn machine(node: u8) -> anyhow::Result<NodeSpec> {
    let nic = NicSpec {
        name: "eth0".into(),
        mac: mac(node),
        bridge: "vnet1".into(),
        ..NicSpec::default()
    };
    let address = format!("{}/24", address(node)).parse()?;
    Ok(NodeSpec::nocloud("v1.13.9", &format!("n{node}"), &uuid(node).to_string(), nic, address))
}

/// The process of the nodes: tells their places in one line, and ends with its standard input.
///
/// # Errors
/// There is no socket.
pub fn serve_fleet(count: u8) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let segment = Segment {
            name: "fleet".into(),
            bridge: "vnet1".into(),
            tag: None,
            prefixes: "10.5.0.0/24".parse().into_iter().collect(),
        };
        // Slow enough that nodes which wait cost less than the client does.
        let pace = Pace::scaled(0.05);
        let net = SimNet::new(NetConfig { pace, segments: vec![segment], ..NetConfig::default() })?;
        let mut places = BTreeMap::new();
        for node in 1..=count {
            places.insert(address(node), net.expose(address(node), 50000).await?);
            drop(net.power_on(machine(node)?));
        }
        tell(&places).await?;
        net.shutdown();
        Ok(())
    })
}

/// The nodes, each with the place it is found at; they end with this.
type Fleet = Own<BTreeMap<IpAddr, SocketAddr>>;

/// What all nodes have in common.
struct Cluster {
    bundle: Bundle,
    identity: Identity,
    dialer: Dialer,
}

impl Cluster {
    fn new(fleet: &Fleet) -> anyhow::Result<Self> {
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
        let contract = "1.13".parse().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let bundle = Bundle::generate(contract, now)?;
        let places = fleet.place.iter().map(|(address, place)| ((*address, 50000), *place));
        let dialer = Dialer::mapped(places.collect());
        Ok(Self { identity: Identity::admin(&bundle)?, bundle, dialer })
    }

    fn config(&self, node: u8) -> anyhow::Result<String> {
        let kind = if node <= CONTROL { MachineType::ControlPlane } else { MachineType::Worker };
        let contract = "1.13".parse().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let endpoint = format!("https://{}:6443", address(1));
        let input = GenerateInput::new(contract, kind, "fleet", &endpoint, "1.36.3");
        let main = format!(
            "machine: {{install: {{disk: /dev/vda}}, time: {{disabled: true}}, network: {{interfaces: \
             [{{interface: eth0, addresses: [{}/24]}}]}}}}",
            address(node)
        );
        let name =
            format!("apiVersion: v1alpha1\nkind: HostnameConfig\nauto: off\nhostname: n{node}\n");
        let patches = [Patch::parse("main", &main)?, Patch::parse("name", &name)?];
        Ok(MachineConfig::generate(&self.bundle, &input)?.patched(&patches)?.to_yaml().to_string())
    }

    /// From maintenance mode to a node that is installed.
    async fn install(&self, node: u8) -> anyhow::Result<Client> {
        let open = ClientConfig::maintenance(address(node)).dialer(self.dialer.clone());
        let before = eventually(|| Client::connect(open.clone())).await?;
        eventually(|| before.expect_uuid(uuid(node))).await?;
        let disks = eventually(|| before.disks()).await?;
        ensure!(disks.iter().any(talos_client::api::Disk::is_usable), "n{node} has no disk");
        before.apply(self.config(node)?.as_bytes(), ApplyMode::Auto, false).await?;
        drop(before);
        Ok(wait_for_install(&open, &self.identity, LIMIT, |_| {}).await?)
    }
}

/// Repeats what may succeed later.
async fn eventually<T, F, Fut>(call: F) -> anyhow::Result<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, talos_client::Error>>,
{
    let end = Instant::now() + LIMIT;
    loop {
        match call().await {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > end || !error.is_retryable() => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

/// Follows a node until it runs, and then for as long as all are watched.
async fn watch(client: &Client, runs: &tokio::sync::Semaphore) -> Infallible {
    let (namespace, kind) = kinds::MACHINE_STATUS;
    let mut counted = false;
    loop {
        // A node that restarts its services ends its streams.
        let options = WatchOptions::one("machine");
        let Ok(mut watch) = client.watch(namespace, kind, options).await else {
            tokio::time::sleep(Duration::from_millis(250)).await;
            continue;
        };
        while let Some(Ok(event)) = watch.next().await {
            let status = MachineStatus::from_resource(&event.resource);
            if !counted && status.is_ok_and(|status| status.stage == Stage::Running) {
                counted = true;
                runs.add_permits(1);
            }
        }
    }
}

async fn bring_up(cluster: &Cluster, count: u8) -> anyhow::Result<()> {
    let clients = async {
        let control = try_join_all((1..=CONTROL.min(count)).map(|node| cluster.install(node)));
        let workers = try_join_all((CONTROL + 1..=count).map(|node| cluster.install(node)));
        let control = async {
            let control = control.await?;
            // Workers get their certificates from control planes.
            eventually(|| Bootstrap::of_cluster(&control)).await?;
            anyhow::Ok(control)
        };
        let (mut all, workers) = futures_util::try_join!(control, workers)?;
        all.extend(workers);
        anyhow::Ok(all)
    };
    let clients = clients.await?;
    let runs = tokio::sync::Semaphore::new(0);
    let all = async {
        drop(
            tokio::time::timeout(LIMIT, runs.acquire_many(u32::from(count)))
                .await
                .context("not all nodes run")??,
        );
        tokio::time::sleep(WATCHED).await;
        anyhow::Ok(())
    };
    let watches = join_all(clients.iter().map(|client| watch(client, &runs)));
    tokio::select! {
        done = all => done,
        _ = watches => anyhow::bail!("a watch ended"),
    }
}

/// Memory and time of a process that brings a fleet up and watches it.
pub(super) fn fleet(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let count = scale.pick(200, 6);
    let nodes = Fleet::start("--serve-fleet", &count.to_string())?;
    forget_peak()?;
    let before = process_cpu(std::process::id())?;
    let begun = Instant::now();
    let runtime = super::measure::runtime()?;
    let cluster = Cluster::new(&nodes)?;
    runtime.block_on(bring_up(&cluster, count))?;
    let took = begun.elapsed().as_secs_f64() - WATCHED.as_secs_f64();
    // Threads of the runtime are there still, so their time is.
    let cpu = process_cpu(std::process::id())? - before;
    let (peak, now) = (memory("self", "VmHWM")?, memory("self", "VmRSS")?);
    let build = if cfg!(debug_assertions) { "not a release build; " } else { "" };
    let what = format!(
        "{build}{count} simulated nodes of another process, {CONTROL} of them control planes: from \
         maintenance mode to running in {took:.0} s, then watched {} s",
        WATCHED.as_secs()
    );
    Ok(vec![
        Line::new("fleet-200", peak, "MB", Better::Less)
            .target(256.0)
            .note(format!("highest RSS; {what}")),
        Line::new("fleet-200-watch", now, "MB", Better::Less)
            .note(format!("RSS while {count} nodes are watched")),
        Line::new("fleet-200-cpu", cpu, "s", Better::Less)
            .note("time on processors, from first dial to last watch"),
    ])
}
