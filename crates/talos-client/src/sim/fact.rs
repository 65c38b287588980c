//! What a node says about itself, derived from its state.

use serde_json::{Map, Value, json};

use super::disk::Content;
use super::life::{advertised, wwid};
use super::node::{Early, EtcdState, LiveLink, Machine, NodeInner};
use super::spec::DiskSpec;

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
        self.0.push(Fact {
            namespace,
            kind,
            id: id.into(),
            owner,
            spec,
            labels: Vec::new(),
            annotations: Vec::new(),
            finalizers: Vec::new(),
        });
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
        let reason = format!("node {:?} status is not available yet", machine.hostname());
        out.push(json!({"name": "nodeReady", "reason": reason}));
    }
    (out.is_empty(), Value::Array(out))
}

/// All resources of a node.
pub(crate) fn all(node: &NodeInner, content: &Content) -> Vec<Fact> {
    let address = advertised(node);
    let peers = members(node, content);
    let machine = node.machine();
    let mut out = Facts::default();
    if !machine.powered || machine.system.version.is_empty() {
        return out.0;
    }
    runtime(&machine, content, &mut out);
    network(&machine, &mut out);
    block(&machine, content, &mut out);
    if machine.config.v1alpha1().is_some() {
        cluster(&machine, content, &peers, &mut out);
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
    let version = json!({"name": "Talos", "version": machine.system.version});
    out.add(
        ("runtime", "Versions.runtime.talos.dev"),
        "runtime.VersionController",
        "version",
        version,
    );
    let time = json!({"epoch": 0, "synced": machine.early == Early::Done, "syncDisabled": machine.config.at("machine.time.disabled") == Some(&json!(true))});
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

fn network(machine: &Machine, out: &mut Facts) {
    let name = machine.hostname();
    if !name.is_empty() {
        let spec = json!({"hostname": name, "domainname": ""});
        out.add(
            ("network", "HostnameStatuses.net.talos.dev"),
            "network.HostnameSpecController",
            "hostname",
            spec,
        );
        let platform = machine.seed.hostname.as_deref() == Some(name.as_str());
        let layer = if platform && machine.config.v1alpha1().is_none() {
            "platform"
        } else {
            "configuration"
        };
        let spec = json!({"hostname": name, "domainname": "", "layer": layer});
        out.add(
            ("network", "HostnameSpecs.net.talos.dev"),
            "HostnameMergeControllers.net.talos.dev",
            "hostname",
            spec,
        );
        if let Some(fact) = out.0.last_mut() {
            fact.finalizers.push("network.HostnameSpecController");
        }
    }
    let all: Vec<String> = machine.addresses().iter().map(ToString::to_string).collect();
    let place = ("network", "NodeAddresses.net.talos.dev");
    let kubernetes = machine.config.v1alpha1().is_some();
    for id in ["accumulative", "current", "routed"] {
        let spec = |list: &[String]| json!({"addresses": list, "sortAlgorithm": "v1"});
        out.add(place, "network.NodeAddressController", id, spec(&all));
        if kubernetes {
            out.add(place, "network.NodeAddressController", format!("{id}-no-k8s"), spec(&all));
            out.add(place, "network.NodeAddressController", format!("{id}-only-k8s"), spec(&[]));
        }
    }
    let first: Vec<&String> = all.first().into_iter().collect();
    out.add(
        place,
        "network.NodeAddressController",
        "default",
        json!({"addresses": first, "sortAlgorithm": "v1"}),
    );
    for (index, link) in machine.links().iter().enumerate() {
        link_facts(link, index + 2, out);
    }
    let servers: Vec<String> =
        machine.seed.network.nameservers.iter().map(ToString::to_string).collect();
    let mut servers = servers;
    let configured = machine.config.texts("machine.network.nameservers");
    if !configured.is_empty() {
        servers = configured;
    }
    if servers.is_empty() {
        servers = vec!["1.1.1.1".into(), "8.8.8.8".into()];
    }
    let spec = json!({"dnsServers": servers, "searchDomains": []});
    out.add(
        ("network", "ResolverStatuses.net.talos.dev"),
        "network.ResolverSpecController",
        "resolvers",
        spec,
    );
    let ready = !all.is_empty();
    let spec = json!({"addressReady": ready, "connectivityReady": ready, "hostnameReady": !name.is_empty(), "etcFilesReady": true});
    out.add(
        ("network", "NetworkStatuses.net.talos.dev"),
        "network.StatusController",
        "status",
        spec,
    );
}

/// The link-local address that the kernel makes from a MAC address.
fn link_local(mac: &str) -> Option<std::net::Ipv6Addr> {
    let bytes: Vec<u16> = mac.split(':').filter_map(|b| u16::from_str_radix(b, 16).ok()).collect();
    let [m0, m1, m2, m3, m4, m5] = <[u16; 6]>::try_from(bytes).ok()?;
    let (first, last) = ((m0 ^ 2) << 8 | m1, m4 << 8 | m5);
    Some(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, first, m2 << 8 | 0xff, 0xfe00 | m3, last))
}

fn link_facts(link: &LiveLink, index: usize, out: &mut Facts) {
    let name = &link.name;
    let status = json!({
        "altNames": alternative_names(link), "broadcastAddr": "ff:ff:ff:ff:ff:ff", "busPath": "0000:00:04.0",
        "driver": "virtio_net", "driverVersion": "1.0.0", "duplex": "Unknown",
        "flags": "UP,BROADCAST,RUNNING,MULTICAST,LOWER_UP", "hardwareAddr": link.mac, "index": index, "kind": "",
        "linkIndex": 0, "linkState": true, "mtu": link.mtu, "operationalState": "up", "permanentAddr": link.mac,
        "port": "Other", "product": "Virtio network device", "productID": "0x1000", "queueDisc": "fq_codel",
        "slaveKind": "", "speedMbit": 4_294_967_295_u64, "type": "ether", "vendor": "Red Hat, Inc.",
        "vendorID": "0x1af4",
    });
    out.add(
        ("network", "LinkStatuses.net.talos.dev"),
        "network.LinkStatusController",
        name.clone(),
        status,
    );
    let local = link_local(&link.mac).map(|l| (format!("{l}/64"), "inet6", "link"));
    let own = link
        .addresses
        .iter()
        .map(|a| (a.to_string(), if a.addr().is_ipv4() { "inet4" } else { "inet6" }, "global"));
    let place = ("network", "AddressStatuses.net.talos.dev");
    for (address, family, scope) in own.chain(local) {
        let spec = json!({
            "address": address, "family": family, "flags": "permanent", "linkIndex": index, "linkName": name,
            "priority": 0, "scope": scope,
        });
        out.add(place, "network.AddressStatusController", format!("{name}/{address}"), spec);
    }
    routes(link, index, out);
}

fn alternative_names(link: &LiveLink) -> Vec<String> {
    vec!["enp0s4".into(), "ens4".into(), format!("enx{}", link.mac.replace(':', ""))]
}

struct Route<'a> {
    id: String,
    dst: String,
    gateway: String,
    src: String,
    family: &'a str,
    priority: u32,
    marks: (&'a str, &'a str, &'a str, &'a str),
}

fn routes(link: &LiveLink, index: usize, out: &mut Facts) {
    let name = &link.name;
    let mut list = Vec::new();
    for address in &link.addresses {
        let (ip, net) = (address.addr(), address.trunc());
        let family = if ip.is_ipv4() { "inet4" } else { "inet6" };
        let full = if ip.is_ipv4() { 32 } else { 128 };
        let make = |id: String, dst: String, marks| Route {
            id,
            dst,
            gateway: String::new(),
            src: ip.to_string(),
            family,
            priority: 0,
            marks,
        };
        list.push(make(
            format!("{family}//{net}/0"),
            net.to_string(),
            ("kernel", "link", "main", "unicast"),
        ));
        let own = format!("{ip}/{full}");
        list.push(make(
            format!("local/{family}//{own}/0"),
            own,
            ("kernel", "host", "local", "local"),
        ));
        if ip.is_ipv4() {
            let all = format!("{}/32", net.broadcast());
            list.push(make(
                format!("local/inet4//{all}/0"),
                all,
                ("kernel", "link", "local", "broadcast"),
            ));
        }
    }
    for gateway in &link.gateways {
        let family = if gateway.is_ipv4() { "inet4" } else { "inet6" };
        list.push(Route {
            id: format!("{family}/{gateway}//1024"),
            dst: String::new(),
            gateway: gateway.to_string(),
            src: String::new(),
            family,
            priority: 1024,
            marks: ("static", "global", "main", "unicast"),
        });
    }
    if let Some(local) = link_local(&link.mac) {
        let own = format!("{local}/128");
        let entries = [
            (
                format!("{name}/inet6//fe80::/64/256"),
                "fe80::/64".to_owned(),
                256,
                ("kernel", "global", "main", "unicast"),
            ),
            (
                format!("local/{name}/inet6//{own}/0"),
                own,
                0,
                ("kernel", "global", "local", "local"),
            ),
            (
                format!("local/{name}/inet6//ff00::/8/256"),
                "ff00::/8".to_owned(),
                256,
                ("kernel", "global", "local", "multicast"),
            ),
        ];
        list.extend(entries.map(|(id, dst, priority, marks)| Route {
            id,
            dst,
            gateway: String::new(),
            src: String::new(),
            family: "inet6",
            priority,
            marks,
        }));
    }
    for route in list {
        let (protocol, scope, table, kind) = route.marks;
        let spec = json!({
            "dst": route.dst, "family": route.family, "flags": "", "gateway": route.gateway, "outLinkIndex": index,
            "outLinkName": name, "priority": route.priority, "protocol": protocol, "scope": scope, "src": route.src,
            "table": table, "type": kind,
        });
        out.add(
            ("network", "RouteStatuses.net.talos.dev"),
            "network.RouteStatusController",
            route.id,
            spec,
        );
    }
}

/// Where a disk sits.
pub(crate) fn bus(disk: &DiskSpec) -> (String, &'static str, String) {
    let slot = disk.dev.bytes().last().map_or(0, |b| b.wrapping_sub(b'a'));
    if disk.dev.starts_with("vd") {
        let (pci, virtio) = if slot == 0 { (3, 0) } else { (5 + slot, 2 + slot) };
        let path = format!("/pci0000:00/0000:00:{pci:02x}.0/virtio{virtio}");
        return (path, "virtio", "virtio:d00000002v00001AF4".into());
    }
    let path =
        format!("/pci0000:00/0000:00:05.0/0000:01:01.0/virtio3/host2/target2:0:0/2:0:0:{slot}");
    (path, "virtio", "scsi:t-0x00".into())
}

/// A size as people read it.
pub(crate) fn pretty(size: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut unit, mut scale) = (0usize, 1u64);
    while size / scale >= 1000 && unit < 5 {
        scale *= 1000;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    let tenths = (u128::from(size) * 10 + u128::from(scale) / 2) / u128::from(scale);
    if unit == 0 {
        format!("{size} B")
    } else if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", (tenths + 5) / 10)
    }
}

fn block(machine: &Machine, content: &Content, out: &mut Facts) {
    for (index, disk) in machine.spec.disks.iter().enumerate() {
        disk_facts(
            disk,
            index,
            content.installed.is_some() && machine.system_disk.as_ref() == Some(&disk.key),
            out,
        );
    }
    let dvd = json!({
        "bus_path": "/pci0000:00/0000:00:01.1/ata2/host1/target1:0:0/1:0:0:0", "cdrom": true, "dev_path": "/dev/sr0",
        "io_size": 512, "modalias": "scsi:t-0x05", "model": "QEMU DVD-ROM", "pretty_size": "0 B", "readonly": true,
        "sector_size": 512, "serial": "QEMU_DVD-ROM_QM00003", "size": 0, "sub_system": "/sys/class/block",
        "symlinks": ["/dev/disk/by-diskseq/12", "/dev/disk/by-id/ata-QEMU_DVD-ROM_QM00003", "/dev/disk/by-path/pci-0000:00:01.1-ata-2", "/dev/disk/by-path/pci-0000:00:01.1-ata-2.0"],
        "transport": "ata",
    });
    out.add(("runtime", "Disks.block.talos.dev"), "block.DisksController", "sr0", dvd);
    if machine.spec.cloud_init.is_some() {
        let drive = json!({
            "block_size": 512, "dev_path": "/dev/vdb", "device_path": "/sys/devices/pci0000:00/0000:00:06.0/virtio3/block/vdb",
            "filesystem_block_size": 2048, "io_size": 512, "label": "cidata", "name": "vfat", "offset": 0,
            "pretty_size": "2.1 MB", "probed_size": 2_097_152, "sector_size": 512, "size": 2_097_152, "type": "disk",
        });
        out.add(
            ("runtime", "DiscoveredVolumes.block.talos.dev"),
            "block.DiscoveryController",
            "vdb",
            drive,
        );
    }
    let system = machine.spec.disks.iter().find(|d| Some(&d.key) == machine.system_disk.as_ref());
    let installed = content.installed.is_some();
    if let (Some(disk), true) = (system, installed) {
        let spec = json!({"devPath": format!("/dev/{}", disk.dev), "diskID": disk.dev});
        out.add(
            ("runtime", "SystemDisks.block.talos.dev"),
            "block.SystemDiskController",
            "system-disk",
            spec,
        );
    }
    volumes(system.filter(|_| installed), machine.config.v1alpha1().is_some(), out);
}

fn volumes(system: Option<&DiskSpec>, configured: bool, out: &mut Facts) {
    let state = json!({"fileMode": 448, "projectQuotaSupport": false, "selinuxLabel": "system_u:object_r:system_state_t:s0", "targetPath": "/system/state"});
    let ephemeral = json!({"fileMode": 493, "projectQuotaSupport": true, "selinuxLabel": "system_u:object_r:ephemeral_t:s0", "targetPath": "/var"});
    let mut list = vec![("META", 4, None), ("STATE", 5, Some(state))];
    if configured {
        list.push(("EPHEMERAL", 6, Some(ephemeral)));
    }
    for (id, number, mount) in list {
        let mut spec = Map::new();
        spec.insert("type".into(), json!("partition"));
        spec.insert("phase".into(), json!(if system.is_some() { "ready" } else { "missing" }));
        if let Some(mount) = mount {
            spec.insert("mountSpec".into(), mount);
        }
        if let Some(disk) = system {
            let device = format!("/dev/{}{number}", disk.dev);
            spec.insert("location".into(), json!(device));
            spec.insert("mountLocation".into(), json!(device));
            spec.insert("parentLocation".into(), json!(format!("/dev/{}", disk.dev)));
        }
        let place = ("runtime", "VolumeStatuses.block.talos.dev");
        out.add(place, "block.VolumeManagerController", id, Value::Object(spec));
        if let Some(fact) = out.0.last_mut() {
            fact.labels.push(("talos.dev/system-volume".into(), String::new()));
        }
    }
}

fn disk_facts(disk: &DiskSpec, index: usize, system: bool, out: &mut Facts) {
    let (path, transport, modalias) = bus(disk);
    let dev = &disk.dev;
    let mut spec = Map::new();
    let pretty_size = pretty(disk.size);
    let mut put = |key: &str, value: Value| spec.insert(key.to_owned(), value);
    put("bus_path", json!(path));
    put("cdrom", json!(false));
    put("dev_path", json!(format!("/dev/{dev}")));
    put("io_size", json!(512));
    put("modalias", json!(modalias));
    put("pretty_size", json!(pretty_size));
    put("readonly", json!(false));
    put("rotational", json!(true));
    put("sector_size", json!(512));
    put("size", json!(disk.size));
    put("sub_system", json!("/sys/class/block"));
    put("transport", json!(transport));
    let mut links = vec![format!("/dev/disk/by-diskseq/{}", 9 + index)];
    if let Some(serial) = &disk.serial {
        put("serial", json!(serial));
        links.push(format!("/dev/disk/by-id/virtio-{serial}"));
    }
    if let Some(wwn) = &disk.wwn {
        put("wwid", json!(wwid(wwn)));
        links.push(format!("/dev/disk/by-id/wwn-0x{}", wwid(wwn).trim_start_matches("naa.")));
    }
    if !dev.starts_with("vd") {
        put("model", json!("QEMU HARDDISK"));
    }
    let slot = path.split('/').find(|p| p.starts_with("0000:00:")).unwrap_or_default();
    links.push(format!("/dev/disk/by-path/pci-{slot}"));
    links.push(format!("/dev/disk/by-path/virtio-pci-{slot}"));
    put("symlinks", json!(links));
    out.add(
        ("runtime", "Disks.block.talos.dev"),
        "block.DisksController",
        dev.clone(),
        Value::Object(spec),
    );
    let device = format!("/sys/devices{path}/block/{dev}");
    let volume = json!({
        "dev_path": format!("/dev/{dev}"), "device_path": device, "io_size": 512, "name": if system { "gpt" } else { "" },
        "offset": 0, "pretty_size": pretty_size, "sector_size": 512, "size": disk.size, "type": "disk",
    });
    out.add(
        ("runtime", "DiscoveredVolumes.block.talos.dev"),
        "block.DiscoveryController",
        dev.clone(),
        volume,
    );
    let (major, minor) = if dev.starts_with("vd") { (254, index * 16) } else { (8, index * 16) };
    let spec = json!({"devicePath": device, "generation": 1, "major": major, "minor": minor, "type": "disk"});
    out.add(
        ("runtime", "BlockDevices.block.talos.dev"),
        "block.DevicesController",
        dev.clone(),
        spec,
    );
}

/// Other nodes that discovery shows: (host name, node id, type, addresses, version).
type Peer = (String, String, String, Vec<String>, String);

fn members(node: &NodeInner, own: &Content) -> Vec<Peer> {
    let (cluster, discovery) = {
        let machine = node.machine();
        let on = machine.config.at("cluster.discovery.enabled") == Some(&json!(true));
        let off = machine.config.at("cluster.discovery.registries.service.disabled")
            == Some(&json!(true));
        (machine.config.text("cluster.id").to_owned(), on && !off)
    };
    let mut out = vec![peer(node, own)];
    if discovery && !cluster.is_empty() {
        for other in node.net().map(|n| n.all()).unwrap_or_default() {
            let fits = other.uuid != node.uuid && {
                let machine = other.machine();
                machine.powered && machine.config.text("cluster.id") == cluster
            };
            if fits {
                out.push(peer(&other, &other.content()));
            }
        }
    }
    out
}

fn peer(node: &NodeInner, content: &Content) -> Peer {
    let machine = node.machine();
    let addresses = machine.addresses().iter().map(|a| a.addr().to_string()).collect();
    let kind = machine.config.text("machine.type").to_owned();
    (machine.hostname(), content.node_id.clone(), kind, addresses, machine.system.version.clone())
}

fn cluster(machine: &Machine, content: &Content, peers: &[Peer], out: &mut Facts) {
    let identity = json!({"nodeId": content.node_id});
    out.add(
        ("cluster", "Identities.cluster.talos.dev"),
        "cluster.NodeIdentityController",
        "local",
        identity,
    );
    let info = json!({"clusterId": machine.config.text("cluster.id"), "clusterName": machine.config.text("cluster.clusterName")});
    out.add(("cluster", "Infos.cluster.talos.dev"), "cluster.InfoController", "current", info);
    for (name, id, kind, addresses, version) in peers {
        let mut spec = json!({
            "nodeId": id, "addresses": addresses, "hostname": name, "machineType": kind,
            "operatingSystem": format!("Talos ({version})"),
        });
        if let (Some(map), true) = (spec.as_object_mut(), kind != "worker") {
            map.insert("controlPlane".into(), json!({"port": 6443}));
        }
        out.add(
            ("cluster", "Members.cluster.talos.dev"),
            "cluster.MemberController",
            name.clone(),
            spec.clone(),
        );
        if let Some(map) = spec.as_object_mut() {
            map.insert("nodename".into(), json!(name));
        }
        let place = ("cluster", "Affiliates.cluster.talos.dev");
        out.add(place, "cluster.LocalAffiliateController", id.clone(), spec);
    }
    let name = machine.hostname();
    let spec = json!({"nodename": name, "hostnameVersion": 1, "skipNodeRegistration": false});
    out.add(("k8s", "Nodenames.kubernetes.talos.dev"), "k8s.NodenameController", "nodename", spec);
    if machine.node_ready {
        let spec = json!({"nodename": name, "nodeReady": true, "unschedulable": false});
        out.add(
            ("k8s", "NodeStatuses.kubernetes.talos.dev"),
            "k8s.NodeStatusController",
            name,
            spec,
        );
    }
}

fn configuration(machine: &Machine, out: &mut Facts) {
    let text = json!(machine.config.encode());
    let mut ids = vec!["v1alpha1"];
    if machine.persistent {
        ids.push("persistent");
    }
    for id in ids {
        out.add(("config", "MachineConfigs.config.talos.dev"), "", id, text.clone());
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
