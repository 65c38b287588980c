//! Installation to a disk.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::config::Config;
use super::super::node::{Machine, NodeInner, content_id};
use super::super::spec::{DiskSpec, NodeEventKind};
use super::{End, keep, notify, open_secure, pause, sequence};

/// Install the running system to the disk that the configuration names, then reboot.
pub(super) async fn install(node: &Arc<NodeInner>) -> End {
    sequence::install(node);
    open_secure(node);
    pause(node, 60.0).await;
    let target = {
        let machine = node.machine();
        disk_of(&machine, &machine.config).cloned()
    };
    let fails = node.net().is_some_and(|n| n.faults.take(&node.names(), "@install").is_some());
    let (Some(disk), false) = (target, fails) else {
        let error = "sequence failed: error running phase 2 in install sequence: task 1/1: failed, task \"upgrade\" failed: exit code 1";
        sequence::install_failed(node, error);
        node.stage("rebooting");
        pause(node, 80.0).await;
        return End::Reboot;
    };
    let system = node.machine().system.clone();
    node.machine().system_disk = Some(disk.key.clone());
    let image = node.machine().config.text("machine.install.image").to_owned();
    node.write(|c| {
        let mut installed = system;
        if let Some((name, tag)) = image.split('@').next().unwrap_or_default().rsplit_once(':') {
            tag.clone_into(&mut installed.version);
            if let Some(schematic) = name.rsplit('/').next().filter(|s| s.len() == 64) {
                schematic.clone_into(&mut installed.schematic);
            }
        }
        c.installed = Some(installed);
        c.installs += 1;
        c.etcd = None;
        c.images.clear();
    });
    keep(node);
    node.sync();
    let id = content_id(&node.uuid, &disk);
    notify(node, NodeEventKind::Installed { disk: disk.dev, content_id: id });
    sequence::installed(node);
    pause(node, 5.0).await;
    End::Reboot
}

/// The disk that a configuration wants to install to; the first when it names none.
pub(crate) fn disk_of<'a>(machine: &'a Machine, config: &Config) -> Option<&'a DiskSpec> {
    let disks = &machine.spec.disks;
    let name = config.text("machine.install.disk");
    if let Some(selector) = config.at("machine.install.diskSelector").filter(|s| !s.is_null()) {
        return disks.iter().find(|d| selected(d, selector));
    }
    if name.is_empty() {
        return disks.first();
    }
    disks.iter().find(|d| paths(d).iter().any(|p| p == name))
}

fn paths(disk: &DiskSpec) -> Vec<String> {
    let mut out = vec![format!("/dev/{}", disk.dev)];
    if let Some(wwn) = &disk.wwn {
        let hex = wwn.trim_start_matches("0x").trim_start_matches("naa.");
        out.push(format!("/dev/disk/by-id/wwn-0x{hex}"));
    }
    if let Some(serial) = &disk.serial {
        out.push(format!("/dev/disk/by-id/virtio-{serial}"));
        out.push(format!("/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{serial}"));
    }
    out
}

fn selected(disk: &DiskSpec, selector: &Value) -> bool {
    let glob = |key: &str, value: &str| {
        let Some(wanted) = selector.get(key).and_then(Value::as_str) else { return true };
        match wanted.strip_suffix('*') {
            Some(prefix) => value.starts_with(prefix),
            None => wanted == value,
        }
    };
    let wwid = disk.wwn.as_deref().map(wwid).unwrap_or_default();
    glob("name", &format!("/dev/{}", disk.dev))
        && glob("serial", disk.serial.as_deref().unwrap_or_default())
        && glob("wwid", &wwid)
        && selector.get("size").is_none_or(|s| size(disk.size, s))
}

/// The WWID that the node shows for a world-wide name.
pub(crate) fn wwid(wwn: &str) -> String {
    format!("naa.{}", wwn.trim_start_matches("0x").trim_start_matches("naa."))
}

/// A number of bytes, written with or without a unit.
pub(crate) fn bytes(value: &Value) -> Option<u64> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let number = text.trim();
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    let unit = number.trim_start_matches(|c: char| c.is_ascii_digit()).trim().to_ascii_uppercase();
    let factor: u64 = match unit.as_str() {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KIB" => 1 << 10,
        "MIB" => 1 << 20,
        "GIB" => 1 << 30,
        "TIB" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok().map(|number| number.saturating_mul(factor))
}

fn size(actual: u64, wanted: &Value) -> bool {
    let text = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
    let text = text.trim();
    let operators = [">=", "<=", ">", "<", "=="];
    let operator = operators.into_iter().find(|o| text.starts_with(o)).unwrap_or("==");
    let Some(wanted) = bytes(&json!(text.trim_start_matches(operator))) else { return false };
    match operator {
        ">=" => actual >= wanted,
        "<=" => actual <= wanted,
        ">" => actual > wanted,
        "<" => actual < wanted,
        _ => actual == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_compared_with_units() {
        assert!(size(13_000_000_000, &json!(">= 10GB")));
        assert!(!size(13_000_000_000, &json!("< 10GiB")));
        assert!(size(5, &json!("5")));
    }

    #[test]
    fn a_selector_takes_the_disk_with_its_wwid() {
        let disk = DiskSpec { wwn: Some("0x5000c500a0b1c2d3".into()), ..DiskSpec::default() };
        assert!(selected(&disk, &json!({"wwid": "naa.5000c500a0b1c2d3"})));
        assert!(!selected(&disk, &json!({"wwid": "naa.1*"})));
    }
}
