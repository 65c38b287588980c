//! What a node says about itself, derived from its state.

mod block;
mod kubelet;
pub(crate) mod kubernetes;
mod manifest;
mod network;
mod partition;
mod pod;
mod volume;

use serde_json::{Map, Value, json};

use super::discovery::{Peer, View};
use super::disk::Content;
use super::life::advertised;
use super::node::{Early, EtcdState, Machine, NodeInner};

pub(crate) use block::bus;
pub(crate) use partition::etcd_volume;

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fact {
    /// Namespace.
    pub(crate) namespace: &'static str,
    /// Type.
    pub(crate) kind: &'static str,
    /// Id.
    pub(crate) id: String,
    /// Which part of the node owns it.
    pub(crate) owner: &'static str,
    /// Content.
    pub(crate) spec: Value,
    /// Labels.
    pub(crate) labels: Vec<(String, String)>,
    /// Annotations.
    pub(crate) annotations: Vec<(String, String)>,
    /// Finalizers.
    pub(crate) finalizers: Vec<&'static str>,
}

impl Fact {
    /// One without labels or anything else.
    pub(crate) fn plain(
        namespace: &'static str,
        kind: &'static str,
        id: impl Into<String>,
        spec: Value,
    ) -> Self {
        Self {
            namespace,
            kind,
            id: id.into(),
            owner: "",
            spec,
            labels: Vec::new(),
            annotations: Vec::new(),
            finalizers: Vec::new(),
        }
    }

    /// Where it is found.
    pub(crate) fn place(&self) -> (&'static str, &'static str, &str) {
        (self.namespace, self.kind, &self.id)
    }
}

#[derive(Default)]
struct Facts(Vec<Fact>);

impl Facts {
    fn add(
        &mut self,
        place: (&'static str, &'static str),
        owner: &'static str,
        id: impl Into<String>,
        spec: Value,
    ) {
        let (namespace, kind) = place;
        let spec = sorted(spec);
        self.0.push(Fact { owner, ..Fact::plain(namespace, kind, id, spec) });
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(mut map) => {
            map.sort_keys();
            Value::Object(map.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Conditions that keep a node from being ready.
pub(crate) fn conditions(machine: &Machine) -> (bool, Value) {
    if !matches!(machine.stage.as_str(), "booting" | "running") {
        return (true, json!([]));
    }
    let healthy = |id: &str| machine.services.get(id).is_some_and(|s| s.healthy == Some(true));
    let state = |id: &str| machine.services.get(id).map(|s| s.state.as_str());
    let mut waiting = Vec::new();
    let mut names = vec!["apid", "kubelet"];
    let configured = machine.config.v1alpha1().is_some();
    if machine.config.is_control_plane() {
        names.push("etcd");
    }
    for id in names {
        match state(id) {
            Some("Running") if healthy(id) || id == "etcd" => {}
            Some("Running") => waiting.push(format!("{id} not healthy")),
            _ => waiting.push(format!("{id} not running")),
        }
    }
    let mut out = Vec::new();
    let clock = "resource TimeStatuses.v1alpha1.talos.dev(runtime/node@undefined) doesn't exist";
    let reason = match machine.early {
        Early::Nothing => Some(clock),
        Early::Clock => Some("time is not synced"),
        Early::Done => None,
    };
    if reason.is_none() && is_skewed(machine) {
        out.push(json!({"name": "time", "reason": "time is not synced"}));
    }
    if let Some(reason) = reason {
        out.push(json!({"name": "time", "reason": reason}));
        out.push(
            json!({"name": "network", "reason": "waiting on: address, connectivity, hostname"}),
        );
    }
    if !waiting.is_empty() {
        out.push(json!({"name": "services", "reason": waiting.join(", ")}));
    }
    if configured && !machine.node_ready {
        let name = machine.hostname();
        let reason = match machine.registered {
            true => format!("node {name:?} is not ready"),
            false => format!("node {name:?} status is not available yet"),
        };
        out.push(json!({"name": "nodeReady", "reason": reason}));
    }
    (out.is_empty(), Value::Array(out))
}

fn is_skewed(machine: &Machine) -> bool {
    machine.skewed.is_some_and(|until| jiff::Timestamp::now() < until)
}

/// All resources of a node but those about others.
pub(crate) fn all(node: &NodeInner, content: &Content, view: &View) -> Vec<Fact> {
    let address = advertised(node);
    let planes = planes(node, view);
    let machine = node.machine();
    let mut out = Facts::default();
    if !machine.powered || machine.system.version.is_empty() {
        return out.0;
    }
    runtime(&machine, content, &mut out);
    network::facts(&machine, &mut out);
    block::facts(&machine, content, &mut out);
    if machine.config.v1alpha1().is_some() {
        cluster(&machine, content, &planes, &mut out);
        configuration(&machine, &mut out);
        if machine.config.is_control_plane() {
            etcd(&machine, content, &address, &mut out);
        }
    }
    out.0
}

fn runtime(machine: &Machine, content: &Content, out: &mut Facts) {
    let (ready, unmet) = conditions(machine);
    let status =
        json!({"stage": machine.stage, "status": {"ready": ready, "unmetConditions": unmet}});
    out.add(
        ("runtime", "MachineStatuses.runtime.talos.dev"),
        "runtime.MachineStatusController",
        "machine",
        status,
    );
    let kind = match machine.config.text("machine.type") {
        _ if machine.config.v1alpha1().is_none() => "unknown",
        "" => "worker",
        other => other,
    };
    out.add(
        ("config", "MachineTypes.config.talos.dev"),
        "config.MachineTypeController",
        "machine-type",
        json!(kind),
    );
    let mut platform = Map::new();
    platform.insert("platform".into(), json!(machine.system.platform));
    if let (Some(name), false) = (&machine.seed.hostname, machine.is_metal()) {
        platform.insert("hostname".into(), json!(name));
    }
    if let Some(id) = &machine.seed.instance_id {
        platform.insert("instanceId".into(), json!(id));
    }
    out.add(
        ("runtime", "PlatformMetadatas.talos.dev"),
        "network.PlatformConfigApplyController",
        "platformmetadata",
        Value::Object(platform),
    );
    let secure = json!({"secureBoot": false});
    out.add(
        ("runtime", "SecurityStates.talos.dev"),
        "runtime.SecurityStateController",
        "securitystate",
        secure,
    );
    system(machine, content, out);
}

fn system(machine: &Machine, content: &Content, out: &mut Facts) {
    let version = json!({"name": "Talos", "version": machine.system.version});
    out.add(
        ("runtime", "Versions.runtime.talos.dev"),
        "runtime.VersionController",
        "version",
        version,
    );
    if machine.minor() >= 14 {
        let place = ("runtime", "BootIDs.runtime.talos.dev");
        let spec = json!({"bootID": machine.boot_id});
        out.add(place, "runtime.BootIDController", "boot-id", spec);
    }
    let time = json!({"epoch": 0, "synced": machine.early == Early::Done && !is_skewed(machine), "syncDisabled": machine.config.at("machine.time.disabled") == Some(&json!(true))});
    if machine.early != Early::Nothing {
        out.add(
            ("runtime", "TimeStatuses.v1alpha1.talos.dev"),
            "time.SyncController",
            "node",
            time,
        );
    }
    let system = json!({
        "manufacturer": "QEMU", "productName": "Standard PC (Q35 + ICH9, 2009)", "version": "pc-q35",
        "uuid": machine.spec.uuid, "wakeUpType": "Power Switch",
    });
    let place = ("hardware", "SystemInformations.hardware.talos.dev");
    out.add(place, "hardware.SystemInfoController", "systeminformation", system);
    for (key, value) in &content.meta {
        out.add(
            ("runtime", "MetaKeys.runtime.talos.dev"),
            "",
            format!("0x{key:02x}"),
            json!({"value": value}),
        );
    }
    for (id, service) in &machine.services {
        if service.state == "Running" {
            let spec = json!({"running": true, "healthy": service.healthy == Some(true), "unknown": service.healthy.is_none()});
            out.add(
                ("runtime", "Services.v1alpha1.talos.dev"),
                "v1alpha1.ServiceController",
                id.clone(),
                spec,
            );
        }
    }
    if machine.system.schematic.len() == 64 {
        let place = ("runtime", "ExtensionStatuses.runtime.talos.dev");
        let metadata = json!({"name": "schematic", "version": machine.system.schematic, "author": "Image Factory", "description": "Virtual extension which specifies the schematic of the image built with Image Factory."});
        let spec = json!({"image": "", "metadata": metadata});
        out.add(place, "runtime.ExtensionStatusController", "0", spec);
    }
}

/// What a configured node tells others of itself.
pub(crate) fn peer(node: &NodeInner, content: &Content) -> Option<Peer> {
    let machine = node.machine();
    if !machine.powered || machine.config.v1alpha1().is_none() {
        return None;
    }
    let set = |path: &str| machine.config.at(path) == Some(&json!(true));
    let tells =
        set("cluster.discovery.enabled") && !set("cluster.discovery.registries.service.disabled");
    Some(Peer {
        cluster: if tells { machine.config.text("cluster.id").to_owned() } else { String::new() },
        name: machine.hostname(),
        id: content.node_id.clone(),
        kind: machine.config.text("machine.type").to_owned(),
        addresses: machine.addresses().iter().map(|a| a.addr().to_string()).collect(),
        version: machine.system.version.clone(),
    })
}

/// Addresses of the control planes, the node's own first.
fn planes(node: &NodeInner, view: &View) -> Vec<String> {
    let (own, others): (Vec<_>, Vec<_>) =
        view.planes.iter().partition(|(uuid, _)| *uuid == node.uuid);
    own.into_iter().chain(others).map(|(_, address)| address.clone()).collect()
}

/// First addresses of the nodes that discovery shows, each with whether it is a control plane.
pub(crate) fn discovered(node: &NodeInner) -> Vec<(String, bool)> {
    let own = advertised(node);
    let view = node.net().map(|net| net.discovery.seen_by(&node.uuid)).unwrap_or_default();
    let rest = view.nodes.iter().filter(|(uuid, ..)| *uuid != node.uuid);
    let plane = node.machine().config.is_control_plane();
    let rest = rest.map(|(_, address, plane)| (address.clone(), *plane));
    std::iter::once((own, plane)).chain(rest).collect()
}

fn cluster(machine: &Machine, content: &Content, planes: &[String], out: &mut Facts) {
    let identity = json!({"nodeId": content.node_id});
    out.add(
        ("cluster", "Identities.cluster.talos.dev"),
        "cluster.NodeIdentityController",
        "local",
        identity,
    );
    let info = json!({"clusterId": machine.config.text("cluster.id"), "clusterName": machine.config.text("cluster.clusterName")});
    out.add(("cluster", "Infos.cluster.talos.dev"), "cluster.InfoController", "current", info);
    let name = machine.hostname();
    let spec = json!({"nodename": name, "hostnameVersion": "1", "skipNodeRegistration": false});
    out.add(("k8s", "Nodenames.kubernetes.talos.dev"), "k8s.NodenameController", "nodename", spec);
    kubernetes::add(machine, planes, out);
    if machine.registered {
        let spec = json!({
            "annotations": {}, "labels": kubernetes::labels(machine), "nodename": name,
            "nodeReady": machine.node_ready, "unschedulable": machine.unschedulable,
        });
        out.add(
            ("k8s", "NodeStatuses.kubernetes.talos.dev"),
            "k8s.NodeStatusController",
            name,
            spec,
        );
    }
}

fn configuration(machine: &Machine, out: &mut Facts) {
    let active = Some(machine.config.encode());
    for (id, text) in [("v1alpha1", active), ("persistent", machine.persistent.clone())] {
        let Some(text) = text else { continue };
        out.add(("config", "MachineConfigs.config.talos.dev"), "", id, json!(text));
        if let Some(fact) = out.0.last_mut() {
            fact.annotations.push(("talos.dev/yaml-spec".into(), "1".into()));
        }
    }
}

fn etcd(machine: &Machine, content: &Content, address: &str, out: &mut Facts) {
    let image = match machine.config.text("cluster.etcd.image") {
        "" => match machine.minor() {
            11 => "gcr.io/etcd-development/etcd:v3.6.5",
            12 => "registry.k8s.io/etcd:v3.6.11",
            13 => "registry.k8s.io/etcd:v3.6.12",
            _ => "registry.k8s.io/etcd:3.7.1",
        },
        image => image,
    };
    let spec = json!({"advertiseExcludeSubnets": [], "extraArgs": {}, "image": image, "listenExcludeSubnets": []});
    out.add(("etcd", "EtcdConfigs.etcd.talos.dev"), "etcd.ConfigController", "etcd", spec);
    let spec = json!({
        "advertisedAddresses": [address], "extraArgs": {}, "image": image, "listenClientAddresses": ["0.0.0.0"],
        "listenPeerAddresses": ["0.0.0.0"], "name": machine.hostname(),
    });
    out.add(("etcd", "EtcdSpecs.etcd.talos.dev"), "etcd.SpecController", "etcd", spec);
    let spec = json!({"ready": true, "version": "1"});
    out.add(("etcd", "PKIStatuses.etcd.talos.dev"), "etcd.PKIController", "etcd", spec);
    if let (Some(data), EtcdState::Running) = (&content.etcd, machine.etcd) {
        let spec = json!({"memberID": format!("{:016x}", data.member)});
        out.add(("etcd", "EtcdMembers.etcd.talos.dev"), "etcd.MemberController", "local", spec);
    }
}
