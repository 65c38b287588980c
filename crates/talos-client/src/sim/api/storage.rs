//! The storage service: disks, wiping.

use serde_json::{Value, json};

use super::super::fact;
use super::super::grpc::{Call, Reply, Status, code};
use super::super::life::wwid;
use super::super::node::NodeInner;

/// A call to the storage service.
pub(super) fn call(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    if call.method() == "Disks" { Ok(disks(node)) } else { wipe(node, call) }
}

fn disks(node: &NodeInner) -> Reply {
    let installed = node.content().installed.is_some();
    let machine = node.machine();
    let mut out = vec![
        json!({"busPath": "/virtual", "deviceName": "/dev/loop0", "readonly": true, "size": "180940800", "subsystem": "/sys/class/block"}),
        json!({
            "busPath": "/pci0000:00/0000:00:01.1/ata2/host1/target1:0:0/1:0:0:0", "deviceName": "/dev/sr0",
            "modalias": "scsi:t-0x05", "model": "QEMU DVD-ROM", "readonly": true, "serial": "QEMU_DVD-ROM_QM00003",
            "subsystem": "/sys/class/block", "type": "CD",
        }),
    ];
    for disk in &machine.spec.disks {
        let (path, _, modalias) = fact::bus(disk);
        let model = if disk.dev.starts_with("vd") { "" } else { "QEMU HARDDISK" };
        out.push(json!({
            "busPath": path, "deviceName": format!("/dev/{}", disk.dev), "modalias": modalias, "model": model,
            "serial": disk.serial.clone().unwrap_or_default(), "size": disk.size.to_string(),
            "subsystem": "/sys/class/block", "type": "HDD",
            "wwid": disk.wwn.as_deref().map(wwid).unwrap_or_default(),
            "systemDisk": installed && machine.system_disk.as_ref() == Some(&disk.key),
        }));
    }
    Reply::One(json!({"messages": [{"disks": out}]}))
}

fn wipe(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    let installed = node.content().installed.is_some();
    let machine = node.machine();
    let wanted =
        call.request().get("devices").and_then(Value::as_array).cloned().unwrap_or_default();
    for entry in &wanted {
        let name = entry.get("device").and_then(Value::as_str).unwrap_or_default();
        if matches!(name, "loop0" | "sr0") {
            let message = format!("blockdevice {name:?} is read-only");
            return Err(Status::new(code::FAILED_PRECONDITION, message));
        }
        let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let disk = machine.spec.disks.iter().find(|d| d.dev == base);
        let system =
            disk.is_some_and(|d| installed && machine.system_disk.as_ref() == Some(&d.key));
        if disk.is_none() || (base != name && !system) {
            return Err(Status::new(code::NOT_FOUND, format!("blockdevice {name:?} not found")));
        }
        if system && !entry.get("skipVolumeCheck").and_then(Value::as_bool).unwrap_or(false) {
            let volume = match name.strip_prefix(base).unwrap_or_default() {
                "4" => "META",
                "5" => "STATE",
                _ => "EPHEMERAL",
            };
            let message = format!("blockdevice {name:?} is in use by volume {volume:?}");
            return Err(Status::new(code::FAILED_PRECONDITION, message));
        }
    }
    Ok(Reply::One(json!({"messages": [{}]})))
}
