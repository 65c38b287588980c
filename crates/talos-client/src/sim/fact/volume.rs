//! System volumes and where they are mounted.

use serde_json::{Map, Value, json};

use super::super::disk::Content;
use super::super::node::Machine;
use super::Facts;
use super::block::pretty;
use super::partition::Partition;

/// A volume that is a directory, or a layer over one, of another volume.
struct Folder {
    id: &'static str,
    path: &'static str,
    parent: &'static str,
    mode: u32,
    label: &'static str,
    owner: u32,
    relabel: bool,
}

const EPHEMERAL: &str = "EPHEMERAL";

const fn folder(
    path: &'static str,
    parent: &'static str,
    mode: u32,
    label: &'static str,
) -> Folder {
    Folder { id: path, path, parent, mode, label, owner: 0, relabel: false }
}

/// Layers over paths of the read-only system.
const OVERLAYS: [Folder; 4] = [
    folder("/etc/cni", EPHEMERAL, 0o755, "cni_conf_t"),
    folder("/etc/kubernetes", EPHEMERAL, 0o755, "k8s_conf_t"),
    folder("/opt", EPHEMERAL, 0o755, "opt_t"),
    folder("/usr/libexec/kubernetes", EPHEMERAL, 0o755, "k8s_plugin_t"),
];

const DIRECTORIES: [Folder; 14] = [
    folder("/var/lib", EPHEMERAL, 0o700, "ephemeral_t"),
    Folder { relabel: true, ..folder("/var/lib/cni", "/var/lib", 0o700, "cni_state_t") },
    folder("/var/lib/containerd", "/var/lib", 0, "containerd_state_t"),
    folder("/var/lib/kubelet", "/var/lib", 0o700, "kubelet_state_t"),
    folder("/var/lib/kubelet/seccomp", "/var/lib/kubelet", 0o700, "seccomp_profile_t"),
    Folder {
        relabel: true,
        ..folder(
            "/var/lib/kubelet/seccomp/profiles",
            "/var/lib/kubelet/seccomp",
            0o700,
            "seccomp_profile_t",
        )
    },
    folder("/var/log", EPHEMERAL, 0o755, "var_log_t"),
    folder("/var/log/audit", "/var/log", 0o700, "audit_log_t"),
    Folder {
        owner: 65534,
        relabel: true,
        ..folder("/var/log/audit/kube", "/var/log/audit", 0o700, "kube_log_t")
    },
    folder("/var/log/containers", "/var/log", 0o755, "containers_log_t"),
    folder("/var/log/pods", "/var/log", 0o755, "pods_log_t"),
    folder("/var/mnt", EPHEMERAL, 0o755, "ephemeral_t"),
    folder("/var/run/lock", "/var/run", 0o755, "var_lock_t"),
    Folder {
        id: "ETCD",
        owner: 60,
        relabel: true,
        ..folder("/var/lib/etcd", "/var/lib", 0o700, "etcd_data_t")
    },
];

/// Which services ask for which volumes.
const REQUESTS: [(&str, &[&str]); 3] = [
    (
        "cri",
        &[
            "/etc/cni",
            "/etc/kubernetes",
            "/opt",
            "/usr/libexec/kubernetes",
            "/var/lib",
            "/var/lib/cni",
            "/var/lib/containerd",
            "/var/run",
        ],
    ),
    ("etcd", &["/var/lib", "ETCD"]),
    (
        "kubelet",
        &[
            "/var/lib",
            "/var/lib/kubelet",
            "/var/log",
            "/var/log/audit",
            "/var/log/containers",
            "/var/log/pods",
        ],
    ),
];

/// Who keeps logs on the disk.
const LOGS: &str = "runtime.LogPersistenceController";

/// Volumes of a node with these partitions on its system disk `dev`.
pub(super) fn facts(
    machine: &Machine,
    content: &Content,
    dev: Option<&str>,
    partitions: &[Partition],
    out: &mut Facts,
) {
    let configured = machine.config.v1alpha1().is_some();
    let quota = machine.config.at("machine.features.diskQuotaSupport") == Some(&json!(true));
    let mut list =
        vec![("META", None), ("STATE", Some((0o700, "system_state_t", "/system/state", false)))];
    if configured {
        list.push((EPHEMERAL, Some((0o755, "ephemeral_t", "/var", quota))));
    }
    for (id, mount) in list {
        let mut spec = Map::new();
        spec.insert("type".into(), json!("partition"));
        spec.insert("phase".into(), json!("missing"));
        if let Some((mode, label, path, quota)) = mount {
            let mount = json!({
                "fileMode": mode, "projectQuotaSupport": quota, "selinuxLabel": selinux(label), "targetPath": path,
            });
            spec.insert("mountSpec".into(), mount);
        }
        let partition = partitions.iter().find(|partition| partition.label == id);
        if let (Some(partition), Some(dev)) = (partition, dev) {
            located(&mut spec, partition, dev, content);
        }
        volume(out, id, spec);
    }
    if !configured || partitions.iter().all(|partition| partition.label != EPHEMERAL) {
        return;
    }
    for layer in &OVERLAYS {
        let mut spec = ready("overlay");
        spec.insert("parentID".into(), json!(layer.parent));
        spec.insert("mountSpec".into(), Value::Object(mount_of(layer, layer.path)));
        volume(out, layer.id, spec);
    }
    for directory in present(machine) {
        let own = partitions.iter().find(|partition| partition.label == directory.id);
        let mut spec = ready(if own.is_some() { "partition" } else { "directory" });
        if let (Some(partition), Some(dev)) = (own, dev) {
            located(&mut spec, partition, dev, content);
        }
        let name = directory.path.rsplit('/').next().unwrap_or_default();
        let mut mount = mount_of(directory, name);
        mount.insert("parentId".into(), json!(directory.parent));
        spec.insert("mountSpec".into(), Value::Object(mount));
        volume(out, directory.id, spec);
    }
    let mut link = ready("symlink");
    let mount = json!({"projectQuotaSupport": false, "selinuxLabel": "", "targetPath": "/var/run"});
    link.insert("mountSpec".into(), mount);
    link.insert("symlink".into(), json!({"force": true, "symlinkTargetPath": "/run"}));
    volume(out, "/var/run", link);
    mounts(machine, out);
}

/// The directories of this kind of machine: only control planes keep etcd's data.
fn present(machine: &Machine) -> impl Iterator<Item = &'static Folder> {
    let keeps_etcd = machine.config.is_control_plane();
    DIRECTORIES.iter().filter(move |directory| directory.id != "ETCD" || keeps_etcd)
}

fn selinux(label: &str) -> String {
    format!("system_u:object_r:{label}:s0")
}

fn ready(kind: &str) -> Map<String, Value> {
    let mut spec = Map::new();
    spec.insert("type".into(), json!(kind));
    spec.insert("phase".into(), json!("ready"));
    spec
}

fn mount_of(folder: &Folder, target: &str) -> Map<String, Value> {
    let mut mount = Map::new();
    let mut put = |key: &str, value: Value| mount.insert(key.to_owned(), value);
    put("projectQuotaSupport", json!(false));
    put("selinuxLabel", json!(selinux(folder.label)));
    put("targetPath", json!(target));
    if folder.mode != 0 {
        put("fileMode", json!(folder.mode));
    }
    if folder.owner != 0 {
        put("uid", json!(folder.owner));
        put("gid", json!(folder.owner));
    }
    if folder.relabel {
        put("recursiveRelabel", json!(true));
    }
    mount
}

fn located(spec: &mut Map<String, Value>, partition: &Partition, dev: &str, content: &Content) {
    let device = format!("/dev/{dev}{}", partition.index);
    let mut put = |key: &str, value: Value| spec.insert(key.to_owned(), value);
    put("phase", json!("ready"));
    put("location", json!(device));
    put("mountLocation", json!(device));
    put("parentLocation", json!(format!("/dev/{dev}")));
    put("partitionIndex", json!(partition.index));
    put("partitionUUID", json!(partition.uuid(content, "partition")));
    put("prettySize", json!(pretty(partition.size)));
    put("size", json!(partition.size));
    if let Some(filesystem) = partition.filesystem() {
        put("filesystem", json!(filesystem));
        put("uuid", json!(partition.uuid(content, "filesystem")));
    }
}

fn volume(out: &mut Facts, id: &str, spec: Map<String, Value>) {
    let place = ("runtime", "VolumeStatuses.block.talos.dev");
    out.add(place, "block.VolumeManagerController", id, Value::Object(spec));
    if let Some(fact) = out.0.last_mut() {
        fact.labels.push(("talos.dev/system-volume".into(), String::new()));
    }
}

/// A volume is mounted while someone asks for it.
fn mounts(machine: &Machine, out: &mut Facts) {
    let runs = |id: &str| {
        let service = machine.services.get(id);
        service.is_some_and(|service| !matches!(service.state.as_str(), "Finished" | "Waiting"))
    };
    let folders = OVERLAYS.iter().chain(present(machine)).map(|f| (f.id, f.path, f.parent));
    for (id, path, parent) in folders.chain([("/var/run", "/var/run", "")]) {
        let asks = |(_, volumes): &&(&str, &[&str])| volumes.contains(&id);
        let mut requesters: Vec<String> = REQUESTS
            .iter()
            .filter(asks)
            .filter(|(service, _)| runs(service))
            .map(|(service, _)| format!("service/{service}"))
            .collect();
        if id == "/var/log" && machine.minor() > 11 {
            requesters.insert(0, LOGS.to_owned());
        }
        if requesters.is_empty() {
            continue;
        }
        let ids: Vec<String> = requesters.iter().map(|by| format!("{by}-{id}")).collect();
        let is_layer = OVERLAYS.iter().any(|layer| layer.id == id);
        let spec = json!({
            "detached": false, "filesystem": "none", "projectQuotaSupport": false, "readOnly": false, "source": "",
            "spec": {
                "detached": false, "parentID": if is_layer { "" } else { parent }, "readOnly": false,
                "requesterIDs": ids, "requesters": requesters, "volumeID": id,
            },
            "target": path,
        });
        let place = ("runtime", "MountStatuses.block.talos.dev");
        out.add(place, "block.MountController", id, spec);
    }
}
