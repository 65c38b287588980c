//! The life of a machine: boot, maintenance, installation, running, and back.

mod etcd;
mod install;
mod sequence;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::config::{Config, load, net};
use super::disk::{Content, Installed};
use super::fact;
use super::fault::FaultAction;
use super::node::{Api, Early, EtcdState, Machine, NodeInner, Order, content_id};
use super::pki::{self, Authority, Clients, Request};
use super::spec::{BootDevice, NodeEventKind};

pub(crate) use etcd::{advertised, has_quorum, leave};
pub(crate) use install::{bytes, wwid};
pub(crate) use upgrade::{Refused, write as install_beside};

/// How a boot ended.
pub(crate) enum End {
    /// Boot again.
    Reboot,
    /// Stay off.
    Off,
}

const DAY: Duration = Duration::from_hours(24);

/// Live until the plug is pulled.
pub(crate) async fn run(node: Arc<NodeInner>, token: CancellationToken) {
    tokio::select! {
        () = token.cancelled() => {}
        () = lives(&node) => {}
    }
}

async fn lives(node: &Arc<NodeInner>) {
    while matches!(boot(node).await, End::Reboot) {
        close(node);
        notify(node, NodeEventKind::GuestReboot);
    }
    close(node);
    let mut machine = node.machine();
    machine.powered = false;
    "off".clone_into(&mut machine.stage);
    drop(machine);
    if let Some(net) = node.net() {
        net.refresh();
    }
}

fn notify(node: &NodeInner, kind: NodeEventKind) {
    if let Some(net) = node.net() {
        net.event(&node.uuid, kind);
    }
}

fn close(node: &NodeInner) {
    node.serve(Api::Closed);
    {
        let mut machine = node.machine();
        machine.kube = None;
        (machine.registered, machine.node_ready) = (false, false);
    }
    node.halt_etcd();
}

/// Wait for a time of a real machine.
pub(crate) async fn pause(node: &NodeInner, seconds: f64) {
    let pace = node.net().map(|n| n.config.pace).unwrap_or_default();
    tokio::time::sleep(pace.of(seconds)).await;
}

async fn boot(node: &Arc<NodeInner>) -> End {
    node.forget();
    upgrade::fall_back(node);
    if let Err(why) = start(node) {
        notify(node, NodeEventKind::BootFailed(why));
        return End::Off;
    }
    sequence::power_on(node);
    if let Some(end) = upgrade::staged(node).await {
        return end;
    }
    pause(node, 15.0).await;
    node.machine().early = Early::Clock;
    node.stage("booting");
    pause(node, 10.0).await;
    node.machine().early = Early::Done;
    let skew = node.net().and_then(|net| net.faults.take(&node.names(), "@clock"));
    if let Some(FaultAction::ClockSkew(time)) = skew {
        node.machine().skewed = jiff::Timestamp::now().checked_add(time).ok();
    }
    if let Err(why) = read_seed(node) {
        notify(node, NodeEventKind::BootFailed(why.clone()));
        node.log.add("ConfigLoadErrorEvent", json!({"error": why}));
        pause(node, 300.0).await;
        return End::Reboot;
    }
    let content = node.content();
    let minor = node.minor();
    let stored = content.staged.clone().or(content.config.clone());
    if let Some(Ok(config)) = stored.map(|text| load(&text, minor)) {
        node.write(|c| {
            if let Some(staged) = c.staged.take() {
                c.config = Some(staged);
            }
        });
        node.machine().config = config;
        sequence::config_found(node, false);
        return configured(node).await;
    }
    let user_data = node.machine().seed.user_data.clone();
    match user_data.map(|text| load(&text, minor)) {
        Some(Ok(config)) => {
            node.machine().config = config;
            sequence::config_found(node, false);
        }
        Some(Err(why)) => {
            node.log.add("ConfigLoadErrorEvent", json!({"error": why}));
            notify(node, NodeEventKind::BootFailed(why));
            pause(node, 60.0).await;
            return End::Reboot;
        }
        None => {
            if let Some(end) = maintenance(node).await {
                return end;
            }
            sequence::config_found(node, true);
        }
    }
    if content.installed.is_none() {
        return install::install(node).await;
    }
    keep(node);
    configured(node).await
}

/// Write the active configuration to STATE.
fn keep(node: &NodeInner) {
    let text = node.machine().config.encode();
    node.write(|c| {
        c.config = Some(text);
        if c.node_id.is_empty() {
            c.node_id = uuid::Uuid::new_v4().simple().to_string();
        }
    });
}

/// Power-on: find something to boot.
fn start(node: &NodeInner) -> Result<(), String> {
    let net = node.net().ok_or("the fabric is gone")?;
    let swap = net.faults.take(&node.names(), "@boot").is_some();
    let mut machine = node.machine();
    let Machine { spec, counters, connections, life, powered, .. } = std::mem::take(&mut *machine);
    *machine = Machine { powered, counters, connections, ..Machine::default() };
    machine.restore_life(life);
    machine.spec = spec;
    if swap {
        swap_names(&mut machine);
    }
    let found = machine.spec.boot.iter().find_map(|device| match device {
        BootDevice::Disk(key) => {
            let disk = machine.spec.disks.iter().find(|d| d.key == *key)?;
            let system = net.disks.get(&content_id(&node.uuid, disk)).installed?;
            Some((system, Some(key.clone())))
        }
        BootDevice::Cdrom => {
            let mark = machine.spec.media.as_ref()?;
            let system = Installed {
                version: mark.talos.clone(),
                schematic: mark.schematic.clone(),
                platform: mark.platform.clone(),
                architecture: mark.architecture.clone(),
            };
            Some((system, None))
        }
    });
    let (system, disk) = found.ok_or("no bootable device")?;
    let installed =
        |d: &&super::spec::DiskSpec| net.disks.get(&content_id(&node.uuid, d)).installed.is_some();
    machine.system_disk =
        disk.or_else(|| machine.spec.disks.iter().find(installed).map(|d| d.key.clone()));
    machine.system = system;
    machine.counters.boots += 1;
    machine.boot_id = uuid::Uuid::new_v4().to_string();
    machine.booted_at = jiff::Timestamp::now();
    "booting".clone_into(&mut machine.stage);
    for id in ["auditd", "containerd", "machined", "syslogd", "udevd"] {
        let service = super::node::Service {
            state: "Running".into(),
            healthy: Some(true),
            message: "Health check successful".into(),
        };
        machine.services.insert(id.into(), service);
    }
    Ok(())
}

fn swap_names(machine: &mut Machine) {
    if let [first, second, ..] = machine.spec.disks.as_mut_slice() {
        std::mem::swap(&mut first.dev, &mut second.dev);
    }
}

fn read_seed(node: &NodeInner) -> Result<(), String> {
    let mut machine = node.machine();
    if machine.is_metal() {
        machine.seed.instance_id = Some(machine.spec.uuid.clone());
        return Ok(());
    }
    let Some(drive) = machine.spec.cloud_init.clone() else { return Ok(()) };
    machine.seed = net::seed(&drive.user, &drive.meta, &drive.network)?;
    Ok(())
}

/// Wait for a complete configuration; `None` when it came.
async fn maintenance(node: &Arc<NodeInner>) -> Option<End> {
    sequence::wait_for_config(node);
    let sans: Vec<String> =
        node.machine().addresses().iter().map(|a| a.addr().to_string()).collect();
    let tls = pki::maintenance(&sans).and_then(|leaf| pki::server(&leaf, &Clients::Any, &["h2"]));
    node.service("apid", "Running", Some(true), "Health check successful");
    node.stage("maintenance");
    let Ok(tls) = tls else { return Some(End::Off) };
    node.serve(Api::Maintenance(Arc::clone(&tls)));
    loop {
        let woken = node.wake.notified();
        if let Some(order) = next_order(node) {
            return Some(obey(node, order).await);
        }
        if node.machine().config.v1alpha1().is_some() {
            break;
        }
        woken.await;
    }
    node.machine().api = Api::Denied(tls);
    pause(node, 0.5).await;
    // However fast it lives, the answer to the call that brought the configuration goes out first.
    tokio::time::sleep(Duration::from_millis(50)).await;
    node.serve(Api::Closed);
    pause(node, 1.0).await;
    None
}

fn next_order(node: &NodeInner) -> Option<Order> {
    let mut machine = node.machine();
    (!machine.orders.is_empty()).then(|| machine.orders.remove(0))
}

/// Boot with a configuration, and run.
async fn configured(node: &Arc<NodeInner>) -> End {
    sequence::boot(node);
    open_secure(node);
    pause(node, 3.0).await;
    for id in ["cri", "trustd"] {
        if id == "cri" || node.machine().config.is_control_plane() {
            node.service(id, "Running", Some(true), "Health check successful");
        }
    }
    if node.machine().config.is_control_plane() {
        etcd::prepare(node);
    }
    pause(node, 2.0).await;
    node.service("kubelet", "Running", Some(true), "Health check successful");
    node.sync();
    serve(node).await
}

/// Run until something is asked for that ends it.
async fn serve(node: &Arc<NodeInner>) -> End {
    let mut idle = Idle::default();
    loop {
        let woken = node.wake.notified();
        if let Some(order) = next_order(node) {
            return obey(node, order).await;
        }
        open_secure(node);
        etcd::step(node).await;
        settle(node);
        tokio::select! {
            () = woken => idle = Idle::default(),
            () = tokio::time::sleep(idle.after(node)) => {}
        }
    }
}

/// Longest time until a node that has nothing to do looks around again by itself.
const LONGEST_IDLE: Duration = Duration::from_secs(2);

/// How long a node waits until it looks around: soon while it comes up or something changes, ever
/// later when nothing does, so that a fleet at rest costs next to nothing.
#[derive(Debug, Default)]
struct Idle {
    changes: u64,
    turns: u32,
}

impl Idle {
    fn after(&mut self, node: &NodeInner) -> Duration {
        let pace = node.net().map(|n| n.config.pace).unwrap_or_default();
        let shortest = pace.of(5.0).max(Duration::from_millis(20));
        let running = node.machine().stage == "running";
        self.pause(shortest, node.store.changes(), running)
    }

    fn pause(&mut self, shortest: Duration, changes: u64, running: bool) -> Duration {
        let at_rest = running && changes == self.changes;
        (self.changes, self.turns) = (changes, if at_rest { self.turns + 1 } else { 0 });
        shortest.saturating_mul(1 << self.turns.min(10)).min(LONGEST_IDLE.max(shortest))
    }
}

/// Go from booting to running.
fn booted(node: &Arc<NodeInner>) {
    sequence::booted(node);
    node.stage("running");
    super::kube::uncordon(node);
}

/// End a boot that waits for nothing, and see to Kubernetes.
fn settle(node: &Arc<NodeInner>) {
    let booting = node.machine().stage == "booting";
    let waits = node.machine().etcd == EtcdState::Preparing;
    if booting && !waits {
        booted(node);
    }
    // What was installed beside a system that runs has not been tried yet.
    let (is_running, system) = {
        let machine = node.machine();
        (machine.stage == "running", machine.system.clone())
    };
    let content = node.content();
    if is_running && content.trial && content.installed == Some(system) {
        node.write(|c| c.trial = false);
    }
    super::kube::tend(node);
    node.sync();
}

/// Serve the machine API with certificates of the configuration, as soon as there can be one.
fn open_secure(node: &Arc<NodeInner>) {
    if matches!(node.machine().api, Api::Secure(_)) {
        return;
    }
    let Some(net) = node.net() else { return };
    let config = node.machine().config.clone();
    let issuer = if config.text("machine.ca.key").is_empty() {
        net.all().iter().find_map(|other| trustd(other, &config))
    } else {
        Some(config.text("machine.ca.key").to_owned())
    };
    let Some(key) = issuer else { return };
    match secure(node, &config, &key) {
        Ok((tls, authorities)) => {
            node.machine().authorities = authorities;
            node.service("apid", "Running", Some(true), "Health check successful");
            node.serve(Api::Secure(tls));
        }
        Err(error) => {
            tracing::warn!(%error, node = node.uuid, "make the machine API's certificate");
        }
    }
}

/// The key of a control plane that signs for workers of the same cluster.
fn trustd(other: &NodeInner, config: &Config) -> Option<String> {
    let machine = other.machine();
    let same = |path: &str| machine.config.text(path) == config.text(path);
    let serves = machine.powered && machine.services.contains_key("trustd");
    let key = machine.config.text("machine.ca.key");
    (serves && same("machine.ca.crt") && same("machine.token") && !key.is_empty())
        .then(|| key.to_owned())
}

type Secured = (Arc<rustls::ServerConfig>, Vec<CertificateDer<'static>>);

fn secure(node: &NodeInner, config: &Config, key: &str) -> Result<Secured, pki::PkiError> {
    let ca = config.text("machine.ca.crt");
    let mut authorities = vec![pki::certificate(ca)?];
    for accepted in
        config.at("machine.acceptedCAs").and_then(|v| v.as_array()).into_iter().flatten()
    {
        let text = accepted.get("crt").and_then(|c| c.as_str()).unwrap_or_default();
        authorities.push(pki::certificate(text)?);
    }
    let machine = node.machine();
    let name = machine.hostname();
    let mut sans = vec![name.clone()];
    sans.extend(machine.addresses().iter().map(|a| a.addr().to_string()));
    sans.push("127.0.0.1".into());
    drop(machine);
    sans.extend(config.texts("machine.certSANs"));
    sans.dedup();
    let request = Request { name, sans, lifetime: DAY, ..Request::default() };
    let leaf = Authority::new(ca, key)?.sign(&request)?;
    let tls = pki::server(&leaf, &Clients::Required(&authorities), &["h2"])?;
    Ok((tls, authorities))
}

/// Do what was asked, and leave.
async fn obey(node: &Arc<NodeInner>, order: Order) -> End {
    if let Order::Upgrade { image, actor } = &order {
        return upgrade::run(node, image, actor).await;
    }
    let sequence = order.sequence();
    let (stage, actor, off) = match &order {
        Order::Upgrade { .. } => return End::Reboot,
        Order::Reboot(actor) => ("rebooting", actor.clone(), false),
        Order::Shutdown(actor) => ("shutting down", actor.clone(), true),
        Order::Reset { reboot, actor, .. } => ("resetting", actor.clone(), !reboot),
    };
    sequence::begin_end(node, sequence, stage, &actor);
    pause(node, 8.0).await;
    if let Order::Reset { state, ephemeral, system, .. } = order {
        let has_own_volume = fact::etcd_volume(&node.machine().config).is_some();
        node.write(|c: &mut Content| {
            if system {
                *c = Content { id: c.id.clone(), installs: c.installs, ..Content::default() };
            }
            if state {
                (c.config, c.staged, c.node_id) = (None, None, String::new());
            }
            if ephemeral {
                c.etcd = c.etcd.take().filter(|_| has_own_volume);
                c.images.clear();
                c.system_images.clear();
            }
        });
    }
    sequence::end(node, sequence);
    // However fast it lives, who follows its events hears the last of them.
    tokio::time::sleep(Duration::from_millis(50)).await;
    close(node);
    pause(node, 5.0).await;
    if off {
        notify(node, NodeEventKind::GuestPowerOff);
        return End::Off;
    }
    End::Reboot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_at_rest_looks_around_ever_later_and_soon_again_after_a_change() {
        let shortest = Duration::from_millis(20);
        let mut idle = Idle::default();
        assert_eq!(idle.pause(shortest, 5, true), shortest, "something changed");
        assert_eq!(idle.pause(shortest, 5, true), shortest * 2);
        assert_eq!(idle.pause(shortest, 5, true), shortest * 4);
        let rest = (0..100).map(|_| idle.pause(shortest, 5, true)).last();
        assert_eq!(rest, Some(LONGEST_IDLE));
        assert_eq!(idle.pause(shortest, 6, true), shortest, "something changed");
        assert_eq!(idle.pause(shortest, 6, false), shortest, "it comes up");
        let slow = Duration::from_secs(5);
        assert_eq!((0..9).map(|_| idle.pause(slow, 6, true)).last(), Some(slow), "a real pace");
    }
}
