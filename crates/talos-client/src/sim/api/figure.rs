//! Figures of the machine: processors, memory, processes, containers, disks, links.

use serde_json::{Map, Value, json};

use super::super::grpc::{Call, Reply, Status, code};
use super::super::node::{Api, Machine, NodeInner};

#[expect(clippy::needless_pass_by_value, reason = "callers build the value for this")]
fn one(value: Value) -> Reply {
    Reply::One(json!({"messages": [value]}))
}

/// A call about figures.
pub(super) fn call(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    let machine = node.machine();
    match call.method() {
        "Memory" => Ok(one(json!({"meminfo": memory(&machine)}))),
        "LoadAvg" => Ok(one(json!({"load1": 0.1, "load5": 0.1, "load15": 0.1}))),
        "CPUInfo" => Ok(one(json!({"cpuInfo": processors(&machine)}))),
        "CPUFreqStats" => {
            let row = json!({
                "currentFrequency": "2000000", "minimumFrequency": "800000", "maximumFrequency": "3000000",
                "governor": "performance",
            });
            let rows = vec![row; usize::try_from(machine.spec.cpus).unwrap_or(1)];
            Ok(one(json!({"cpuFreqStats": rows})))
        }
        "Containers" | "Stats" => containers(&machine, call),
        "Restart" => restart(&machine, call),
        "Mounts" => Ok(one(json!({"stats": mounts(&machine)}))),
        "Netstat" => Ok(one(json!({"connectrecord": sockets(&machine, call)}))),
        "Processes" => Ok(one(json!({"processes": processes(&machine)}))),
        "SystemStat" => Ok(one(system(&machine))),
        "NetworkDeviceStats" => Ok(one(links(&machine))),
        "DiskStats" => Ok(one(disks(&machine))),
        "PacketCapture" => capture(&machine, call),
        other => Err(Status::new(code::UNIMPLEMENTED, format!("{other} is not simulated"))),
    }
}

fn memory(machine: &Machine) -> Map<String, Value> {
    let kib = machine.spec.memory_mib * 1024;
    let names = "active activeanon anonhugepages anonpages buffers cached commitlimit committedas directmap1g directmap2m directmap4k hugepagesize inactive inactivefile kernelstack mapped pagetables shmem slab sreclaimable sunreclaim vmalloctotal vmallocused";
    let mut info: Map<String, Value> =
        names.split(' ').map(|n| (n.to_owned(), json!((kib / 64).max(1)))).collect();
    info.insert("memtotal".into(), json!(kib));
    info.insert("memfree".into(), json!(kib * 3 / 4));
    info.insert("memavailable".into(), json!(kib * 4 / 5));
    info
}

fn processors(machine: &Machine) -> Vec<Value> {
    let row = |number: u32| {
        json!({
            "processor": number, "vendorId": "GenuineIntel", "modelName": "QEMU Virtual CPU", "cpuMhz": 2000.0,
            "cpuCores": machine.spec.cpus, "siblings": machine.spec.cpus, "coreId": number.to_string(),
        })
    };
    (0..machine.spec.cpus).map(row).collect()
}

/// Services that run, with the process that each has.
fn running(machine: &Machine) -> Vec<(&String, u32)> {
    let names = machine.services.iter().filter(|(_, s)| s.state == "Running").map(|(id, _)| id);
    names.zip((260..).step_by(12)).collect()
}

/// Whether a service is a container of the system's runtime.
fn is_container(id: &str) -> bool {
    matches!(id, "apid" | "trustd" | "etcd" | "kubelet") || id.starts_with("ext-")
}

const STATIC_PODS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

fn containers(machine: &Machine, call: &Call) -> Result<Reply, Status> {
    if call.text("driver") == "CRI" {
        if machine.config.v1alpha1().is_none() || matches!(machine.api, Api::Maintenance(_)) {
            return Err(Status::new(
                code::UNAVAILABLE,
                "connection error: desc = \"transport: Error while dialing: dial unix:///run/containerd/containerd.sock: connect: no such file or directory\"",
            ));
        }
        return Ok(rows(call, pods(machine)));
    }
    let namespace = call.text("namespace");
    let kubernetes = namespace == "k8s.io";
    let own = running(machine).into_iter().filter(|(id, _)| is_container(id));
    let list = own
        // etcd and the kubelet run where the images of Kubernetes are.
        .filter(|(id, _)| kubernetes == matches!(id.as_str(), "etcd" | "kubelet") || namespace == "system")
        .filter(|_| kubernetes || namespace == "system")
        .map(|(id, pid)| {
            json!({
                "id": id, "internalId": id, "name": id, "namespace": namespace, "pid": pid, "podId": id,
                "status": "RUNNING",
            })
        });
    Ok(rows(call, list.collect()))
}

fn pods(machine: &Machine) -> Vec<Value> {
    if machine.kube.is_none() {
        return Vec::new();
    }
    let row = |name: &str, pid: u32| {
        let pod = format!("kube-system/{name}-{}", machine.hostname());
        json!({
            "id": format!("{pod}:{name}:0"), "internalId": format!("{pid:012x}"), "name": name, "namespace": "k8s.io",
            "pid": pid, "podId": pod, "status": "CONTAINER_RUNNING",
        })
    };
    STATIC_PODS.into_iter().zip((1200..).step_by(40)).map(|(name, pid)| row(name, pid)).collect()
}

/// The same containers as a list, or with what they use.
fn rows(call: &Call, list: Vec<Value>) -> Reply {
    if call.method() == "Containers" {
        return one(json!({"containers": list}));
    }
    let used = |row: Value| {
        json!({
            "id": row.get("id"), "name": row.get("name"), "namespace": row.get("namespace"), "podId": row.get("podId"),
            "cpuUsage": "1000000", "memoryUsage": "30000000",
        })
    };
    one(json!({"stats": list.into_iter().map(used).collect::<Vec<_>>()}))
}

fn restart(machine: &Machine, call: &Call) -> Result<Reply, Status> {
    let id = call.text("id");
    let known = pods(machine).iter().any(|row| row.get("id") == Some(&json!(id)))
        || running(machine).iter().any(|(name, _)| is_container(name) && *name == id);
    if !known {
        return Err(Status::new(code::UNKNOWN, format!("container {id:?} not found")));
    }
    Ok(one(json!({})))
}

fn mounts(machine: &Machine) -> Vec<Value> {
    let row = |filesystem: &str, at: &str, size: u64| {
        json!({
            "filesystem": filesystem, "mountedOn": at, "size": size.to_string(),
            "available": (size / 2).to_string(),
        })
    };
    let mut out = vec![
        row("/dev/loop0", "/", 180_940_800),
        row("devtmpfs", "/dev", 1 << 30),
        row("tmpfs", "/run", 1 << 30),
        row("tmpfs", "/system", 1 << 30),
        row("tmpfs", "/tmp", 64 << 20),
    ];
    let system = machine.spec.disks.iter().find(|d| machine.system_disk.as_ref() == Some(&d.key));
    if let (Some(disk), true) = (system, machine.config.v1alpha1().is_some()) {
        let (state, rest) = (100 << 20, disk.size.saturating_sub(3 << 30));
        let name = |part: u8| format!("/dev/{}{part}", disk.dev);
        out.push(row(&name(5), "/system/state", state));
        out.push(row(&name(6), "/var", rest));
    }
    out
}

fn sockets(machine: &Machine, call: &Call) -> Vec<Value> {
    let ports =
        [("apid", 50000), ("trustd", 50001), ("etcd", 2379), ("etcd", 2380), ("kubelet", 10250)];
    let wants = call.request().get("l4proto").cloned().unwrap_or_default();
    let any = wants.as_object().is_none_or(Map::is_empty);
    // Everything listens on all addresses, which is a socket of the newer protocol.
    let listed = any || wants.get("tcp6") == Some(&json!(true));
    let established = call.text("filter") == "CONNECTED";
    if !listed || established {
        return Vec::new();
    }
    let with_process =
        call.request().pointer("/feature/pid").and_then(Value::as_bool) == Some(true);
    let own = running(machine);
    let socket = |(name, port): (&str, u16)| {
        let (_, pid) = own.iter().find(|(id, _)| *id == name)?;
        let mut row = json!({
            "l4proto": "tcp6", "localip": "::", "localport": port, "remoteip": "::", "state": "LISTEN",
            "inode": (10_000 + u64::from(port)).to_string(),
        });
        if let (Some(map), true) = (row.as_object_mut(), with_process) {
            map.insert("process".into(), json!({"pid": pid, "name": name}));
        }
        Some(row)
    };
    ports.into_iter().filter_map(socket).collect()
}

fn processes(machine: &Machine) -> Vec<Value> {
    let row = |pid: u32, parent: u32, name: &str| {
        json!({
            "pid": pid, "ppid": parent, "state": "S", "threads": 9, "cpuTime": 0.5, "virtualMemory": "1200000000",
            "residentMemory": "40000000", "command": name, "executable": format!("/sbin/{name}"),
            "args": format!("/sbin/{name}"),
        })
    };
    let mut out = vec![row(1, 0, "init"), row(2, 0, "kthreadd")];
    // machined is the first process itself, and so are its helpers.
    let own = running(machine)
        .into_iter()
        .filter(|(id, _)| !matches!(id.as_str(), "machined" | "auditd" | "syslogd"));
    out.extend(own.map(|(id, pid)| row(pid, 1, id)));
    if machine.kube.is_some() {
        out.extend(
            STATIC_PODS
                .into_iter()
                .zip((1200..).step_by(40))
                .map(|(name, pid)| row(pid, 1000, name)),
        );
    }
    out
}

fn system(machine: &Machine) -> Value {
    let up = up(machine);
    let row = |count: f64| json!({"user": up * 0.1 * count, "system": up * 0.05 * count, "idle": up * 0.85 * count});
    let cpus = machine.spec.cpus;
    json!({
        "bootTime": machine.booted_at.as_second().to_string(), "cpuTotal": row(f64::from(cpus)),
        "cpu": (0..cpus).map(|_| row(1.0)).collect::<Vec<_>>(), "irqTotal": "1000", "contextSwitches": "100000",
        "processCreated": "2000", "processRunning": "1", "softIrqTotal": "1000", "softIrq": {"timer": "1000"},
    })
}

fn up(machine: &Machine) -> f64 {
    jiff::Timestamp::now().duration_since(machine.booted_at).as_secs_f64().max(0.0)
}

fn links(machine: &Machine) -> Value {
    let row = |name: &str, count: u64| {
        json!({
            "name": name, "rxBytes": (count * 1500).to_string(), "rxPackets": count.to_string(),
            "txBytes": (count * 900).to_string(), "txPackets": count.to_string(),
        })
    };
    let names: Vec<String> = machine.links().into_iter().map(|l| l.name).collect();
    let devices: Vec<Value> =
        std::iter::once(row("lo", 1000)).chain(names.iter().map(|n| row(n, 5000))).collect();
    json!({"total": row("", 1000 + 5000 * names.len() as u64), "devices": devices})
}

fn disks(machine: &Machine) -> Value {
    let row = |name: &str, count: u64| {
        json!({
            "name": name, "readCompleted": count.to_string(), "readSectors": (count * 8).to_string(),
            "writeCompleted": count.to_string(), "writeSectors": (count * 8).to_string(),
            "ioTimeMs": count.to_string(),
        })
    };
    let devices: Vec<Value> = machine.spec.disks.iter().map(|d| row(&d.dev, 2000)).collect();
    json!({"total": row("", 2000 * devices.len() as u64), "devices": devices})
}

/// The head of a capture: nothing passes by.
fn capture(machine: &Machine, call: &Call) -> Result<Reply, Status> {
    let name = call.text("interface");
    if name != "lo" && !machine.links().iter().any(|l| l.name == name) {
        let message =
            format!("interface {name:?} not found: route ip+net: no such network interface");
        return Err(Status::new(code::UNKNOWN, message));
    }
    let kept = call.request().get("snapLen").and_then(Value::as_u64).unwrap_or(0);
    let kept = u32::try_from(kept).unwrap_or(u32::MAX).to_le_bytes();
    let mark: [u8; 16] = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let head = [&mark[..], &kept, &[1, 0, 0, 0]].concat();
    let bytes = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, head);
    Ok(Reply::list(vec![json!({"bytes": bytes})]))
}
