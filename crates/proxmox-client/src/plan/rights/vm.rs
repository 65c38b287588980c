//! What machines take: the privilege of each key, and what only `root@pam` may set.

use super::Rights;
use crate::id::VmId;
use crate::plan::vm::{VmChange, VmDesired};
use crate::wire::{Format, PropertyString};

impl Rights {
    /// Reading a machine: without it, it is as if it was not there.
    pub fn see_vm(&mut self, id: VmId) {
        self.vm(id, "VM.Audit");
    }

    /// Making a machine.
    pub fn create_vm(&mut self, desired: &VmDesired) {
        let id = desired.vmid;
        self.see_vm(id);
        self.vm(id, "VM.Allocate");
        for (key, value) in desired.create_params() {
            self.key(id, &key, &value);
        }
    }

    /// Changing a machine.
    pub fn change_vm(&mut self, id: VmId, changes: &[VmChange]) {
        self.see_vm(id);
        for change in changes {
            match change {
                VmChange::Set { key, after, .. } => self.key(id, key, after),
                VmChange::Delete { key, before } => match of_root(key, before) {
                    Some(what) => drop(self.root.insert(format!("{what} of machine {id}"))),
                    None => self.vm(id, privilege_of(key)),
                },
                VmChange::Grow { key, .. } => self.vm(id, privilege_of(key)),
            }
        }
    }

    /// Starting, stopping or restarting a machine.
    pub fn power_vm(&mut self, id: VmId) {
        self.see_vm(id);
        self.vm(id, "VM.PowerMgmt");
    }

    /// Stopping and destroying a machine.
    pub fn destroy_vm(&mut self, id: VmId) {
        self.power_vm(id);
        self.vm(id, "VM.Allocate");
    }

    pub(super) fn vm(&mut self, id: VmId, privilege: &'static str) {
        self.add(format!("/vms/{id}"), privilege);
    }

    fn key(&mut self, id: VmId, key: &str, value: &str) {
        let name = stem(key);
        if let Some(what) = of_root(key, value) {
            self.root.insert(format!("{what} of machine {id}"));
            return;
        }
        let is_medium = value.contains("media=cdrom") || value.ends_with(":cloudinit");
        let privilege = if is_medium { "VM.Config.CDROM" } else { privilege_of(key) };
        self.vm(id, privilege);
        if key == "startup" {
            self.add("/", "Sys.Modify");
        }
        if is_drive(name) {
            self.drive(value);
        }
        if name == "net" {
            self.bridge(value);
        }
        if name == "hostpci"
            && let Some(mapping) = part(Format::HostPci, value, "mapping")
        {
            self.add(format!("/mapping/pci/{mapping}"), "Mapping.Use");
        }
        if name == "usb"
            && let Some(mapping) = part(Format::Usb, value, "mapping")
        {
            self.add(format!("/mapping/usb/{mapping}"), "Mapping.Use");
        }
    }

    fn drive(&mut self, value: &str) {
        let volume = value.split(',').next().unwrap_or_default();
        let Some((storage, rest)) = volume.split_once(':') else { return };
        let is_new = rest.parse::<f64>().is_ok() || rest == "cloudinit";
        let privilege = if is_new { "Datastore.AllocateSpace" } else { "Datastore.Audit" };
        self.add(format!("/storage/{storage}"), privilege);
        // What is imported is read where it lies.
        let source = value.split(',').find_map(|part| part.strip_prefix("import-from="));
        if let Some((storage, _)) = source.and_then(|source| source.split_once(':')) {
            self.add(format!("/storage/{storage}"), "Datastore.Audit");
        }
    }

    fn bridge(&mut self, value: &str) {
        let Some(bridge) = part(Format::Net, value, "bridge") else { return };
        let zone = self.zones.get(&bridge).map_or("localnetwork", String::as_str);
        let mut path = format!("/sdn/zones/{zone}/{bridge}");
        if let Some(tag) = part(Format::Net, value, "tag") {
            path = format!("{path}/{tag}");
        }
        self.add(path, "SDN.Use");
    }
}

fn part(format: Format, text: &str, key: &str) -> Option<String> {
    PropertyString::parse(format, text).ok()?.get(key).map(ToString::to_string)
}

fn stem(key: &str) -> &str {
    key.trim_end_matches(|c: char| c.is_ascii_digit())
}

fn is_drive(name: &str) -> bool {
    matches!(name, "scsi" | "virtio" | "sata" | "ide" | "efidisk" | "tpmstate")
}

/// Names what only `root@pam` may set, if a key with this value is such a thing.
fn of_root(key: &str, value: &str) -> Option<String> {
    let name = stem(key);
    let why = match name {
        "affinity" | "amd-sev" | "arch" | "args" | "hookscript" | "hugepages" | "intel-tdx"
        | "ivshmem" | "keephugepages" | "lock" | "parallel" | "spice_enhancements" | "vmgenid" => {
            return Some(key.to_owned());
        }
        "hostpci" if part(Format::HostPci, value, "mapping").is_none() => {
            "a device without a mapping"
        }
        "hostpci" if part(Format::HostPci, value, "romfile").is_some() => "a file of the node",
        "usb" => {
            let host = part(Format::Usb, value, "host")?;
            (!host.eq_ignore_ascii_case("spice")).then_some("a device without a mapping")?
        }
        "serial" if value.starts_with("/dev/") => "a device of the node",
        _ if is_drive(name) => {
            let mut parts = value.split(',');
            let by_path = value.starts_with('/')
                || parts
                    .any(|part| part.starts_with("import-from=/") || part.starts_with("file=/"));
            by_path.then_some("a path of the node")?
        }
        _ => return None,
    };
    Some(format!("{key} ({why})"))
}

/// The privilege that changing a key takes.
fn privilege_of(key: &str) -> &'static str {
    match stem(key) {
        "cpu" | "cores" | "sockets" | "vcpus" | "cpulimit" | "cpuunits" | "numa" => "VM.Config.CPU",
        "memory" | "balloon" | "shares" => "VM.Config.Memory",
        "net" => "VM.Config.Network",
        "ciuser" | "cipassword" | "citype" | "ciupgrade" | "sshkeys" | "nameserver"
        | "searchdomain" | "ipconfig" | "cicustom" => "VM.Config.Cloudinit",
        "acpi" | "hotplug" | "kvm" | "machine" | "scsihw" | "smbios" | "tablet" | "vga"
        | "watchdog" | "audio" | "rng" | "hostpci" | "usb" | "serial" => "VM.Config.HWType",
        "boot" | "bootdisk" | "unused" | "vmstatestorage" => "VM.Config.Disk",
        name if is_drive(name) => "VM.Config.Disk",
        _ => "VM.Config.Options",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn each_change_names_its_privilege() {
        let id = VmId::try_from(100).unwrap();
        let set = |key: &str, after: &str| VmChange::Set {
            key: key.to_owned(),
            before: None,
            after: after.to_owned(),
        };
        let changes = [
            set("cores", "4"),
            set("net0", "virtio,bridge=vnet101"),
            set("net1", "virtio,bridge=vmbr0,tag=7"),
            set("scsi1", "rbd:8,discard=on"),
            set("ide0", "iso:iso/t.iso,media=cdrom"),
            set("hostpci0", "mapping=igpu,pcie=1"),
            VmChange::Delete { key: "serial0".into(), before: "socket".into() },
        ];
        let zones = BTreeMap::from([("vnet101".to_owned(), "evpnz1".to_owned())]);
        let mut rights = Rights::new(zones);
        rights.change_vm(id, &changes);
        let texts: Vec<String> = rights.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "Mapping.Use on /mapping/pci/igpu",
                "SDN.Use on /sdn/zones/evpnz1/vnet101",
                "SDN.Use on /sdn/zones/localnetwork/vmbr0/7",
                "Datastore.Audit on /storage/iso",
                "Datastore.AllocateSpace on /storage/rbd",
                "VM.Audit on /vms/100",
                "VM.Config.CDROM on /vms/100",
                "VM.Config.CPU on /vms/100",
                "VM.Config.Disk on /vms/100",
                "VM.Config.HWType on /vms/100",
                "VM.Config.Network on /vms/100",
            ]
        );
    }

    #[test]
    fn what_only_root_may_do_is_told_apart() {
        let id = VmId::try_from(100).unwrap();
        let set = |key: &str, after: &str| VmChange::Set {
            key: key.to_owned(),
            before: None,
            after: after.to_owned(),
        };
        let mut rights = Rights::default();
        rights.change_vm(
            id,
            &[
                set("args", "-device x"),
                set("hostpci0", "0000:00:02.0,pcie=1"),
                set("hostpci1", "mapping=gpu,romfile=x.rom"),
                set("usb0", "host=8087:0aaa"),
                set("usb1", "host=spice"),
                set("usb2", "mapping=zigbee"),
                set("serial0", "/dev/ttyS0"),
                set("serial1", "socket"),
                set("scsi0", "rbd:0,import-from=/srv/talos.raw"),
                set("scsi1", "rbd:0,import-from=local:import/talos.raw"),
                VmChange::Delete { key: "hookscript".into(), before: "local:snippets/x".into() },
            ],
        );
        let told: Vec<&str> = rights.root_only().collect();
        assert_eq!(
            told,
            [
                "args of machine 100",
                "hookscript of machine 100",
                "hostpci0 (a device without a mapping) of machine 100",
                "hostpci1 (a file of the node) of machine 100",
                "scsi0 (a path of the node) of machine 100",
                "serial0 (a device of the node) of machine 100",
                "usb0 (a device without a mapping) of machine 100",
            ]
        );
        let texts: Vec<String> = rights.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "Mapping.Use on /mapping/usb/zigbee",
                "Datastore.Audit on /storage/local",
                "Datastore.AllocateSpace on /storage/rbd",
                "VM.Audit on /vms/100",
                "VM.Config.Disk on /vms/100",
                "VM.Config.HWType on /vms/100",
            ]
        );
    }
}
