//! What can go wrong when a running machine is changed at once.

use crate::sim::drive;
use crate::sim::fail::Fail;
use crate::sim::server::Inner;
use crate::sim::state::{State, Vm};

/// Problems by the key that they are about.
pub(super) type Problems = std::collections::BTreeMap<String, String>;

/// The answer for what could not be changed at once; it stays pending.
pub(super) fn outcome(problems: Problems) -> Result<(), Fail> {
    if problems.is_empty() { Ok(()) } else { Err(Fail::params(problems)) }
}

fn text(problem: &str) -> String {
    format!("hotplug problem - {problem}\n")
}

/// The device that the guest would have to give up, when it does not.
pub(super) fn busy(inner: &Inner, vm: &Vm, key: &str) -> Option<String> {
    if vm.running.is_none() || !inner.config.unplug_needs_guest {
        return None;
    }
    let number = key.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let single = vm.conf.get("scsihw").is_some_and(|kind| kind == "virtio-scsi-single");
    let device = match key.strip_suffix(number).unwrap_or(key) {
        "net" | "virtio" => key.to_owned(),
        // each disk has a controller of its own
        "scsi" if single => format!("virtioscsi{number}"),
        _ => return None,
    };
    Some(text(&format!("error on hot-unplugging device '{device}' - still busy in guest?")))
}

/// The same for a new value of a key: a device of another identity replaces the old one.
pub(super) fn busy_for(inner: &Inner, vm: &Vm, key: &str, new: &str) -> Option<String> {
    let old = vm.conf.get(key)?;
    let identity = |text: &str| {
        if drive::is_net(key) {
            text.split(',').next().map(str::to_ascii_lowercase)
        } else {
            Some(drive::file_of(text).to_owned())
        }
    };
    if identity(old) == identity(new) || drive::is_cdrom(old) {
        return None;
    }
    busy(inner, vm, key)
}

/// Whether the options of a drive differ in nothing that the server lets wait while it is plugged
/// in. Others are written down at once, `serial` and `wwn` too, which its device has until it is
/// made anew.
pub(super) fn same_drive(old: &str, new: &str) -> bool {
    let fixed = ["aio", "discard", "iothread", "queues", "product", "cache", "ssd", "vendor", "ro"];
    let get = |text: &str, key: &str| {
        let mut parts = text.split(',').filter_map(|part| part.split_once('='));
        parts.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
    };
    fixed.iter().all(|key| get(old, key) == get(new, key))
}

/// A disk does not become a CD drive while the machine runs, nor the other way round.
pub(super) fn other_media(vm: &Vm, key: &str, new: &str) -> Option<String> {
    let old = vm.conf.get(key).filter(|_| vm.running.is_some() && drive::is_drive(key))?;
    let differs = drive::is_cdrom(old) != drive::is_cdrom(new);
    differs.then(|| text("unable to change media type"))
}

/// Whether the features of `hotplug` change from or to some that QEMU is started with.
pub(super) fn needs_a_start(vm: &Vm, new: Option<&str>) -> bool {
    let old = vm.conf.get("hotplug").map(String::as_str);
    [old, new].into_iter().flatten().any(|text| text.contains("memory") || text.contains("cpu"))
}

/// Whether the kind of guest is one that USB devices are plugged into while it runs.
pub(super) fn takes_usb(vm: &Vm) -> bool {
    let kind = vm.conf.get("ostype").map_or("other", String::as_str);
    ["l26", "win8", "win10", "win11"].contains(&kind)
}

/// More processors are not plugged in than cores and sockets have place for.
pub(super) fn too_many(vm: &Vm, key: &str, new: &str) -> Option<String> {
    if vm.running.is_none() || key != "vcpus" {
        return None;
    }
    let number = |key: &str| vm.conf.get(key).and_then(|text| text.parse::<u64>().ok());
    let most = number("cores").unwrap_or(1) * number("sockets").unwrap_or(1);
    let wanted = new.parse::<u64>().unwrap_or(0);
    (wanted > most).then(|| text("you can't add more vcpus than maxcpus"))
}

/// A cloud-init drive is written when it is attached, so its own texts must be there.
pub(super) fn missing_texts(state: &State, vm: &Vm, value: &str) -> Option<String> {
    if vm.running.is_none() || !drive::is_cloud_init(drive::file_of(value)) {
        return None;
    }
    let custom = vm.conf.get("cicustom")?;
    custom
        .split(',')
        .filter_map(|part| part.split_once('='))
        .find(|(_, volid)| state.volume(volid, &vm.node).is_none())
        .map(|(_, volid)| text(&format!("volume '{volid}' does not exist")))
}
