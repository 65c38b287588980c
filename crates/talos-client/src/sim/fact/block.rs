//! Disks and volumes.

use serde_json::{Map, Value, json};

use super::super::disk::Content;
use super::super::life::wwid;
use super::super::node::Machine;
use super::super::spec::DiskSpec;
use super::{Facts, partition, volume};

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

/// Everything about disks.
pub(super) fn facts(machine: &Machine, content: &Content, out: &mut Facts) {
    for (index, disk) in machine.spec.disks.iter().enumerate() {
        disk_facts(disk, index, out);
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
    let system = system.filter(|_| installed);
    let partitions = system.map(|disk| partition::layout(disk, content, &machine.config));
    let partitions = partitions.unwrap_or_default();
    for disk in &machine.spec.disks {
        let own = if system == Some(disk) { partitions.as_slice() } else { &[] };
        partition::facts(disk, &device(disk), content, own, out);
    }
    let dev = system.map(|disk| disk.dev.as_str());
    volume::facts(machine, content, dev, &partitions, out);
}

/// Where the kernel shows a disk.
fn device(disk: &DiskSpec) -> String {
    format!("/sys/devices{}/block/{}", bus(disk).0, disk.dev)
}

fn disk_facts(disk: &DiskSpec, index: usize, out: &mut Facts) {
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
    let (major, minor) = if dev.starts_with("vd") { (254, index * 16) } else { (8, index * 16) };
    let spec = json!({"devicePath": device(disk), "generation": 1, "major": major, "minor": minor, "type": "disk"});
    out.add(
        ("runtime", "BlockDevices.block.talos.dev"),
        "block.DevicesController",
        dev.clone(),
        spec,
    );
}
