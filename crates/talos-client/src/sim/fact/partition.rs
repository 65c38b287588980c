//! Partitions of the disk that a node is installed to, and what a probe of them finds.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::super::config::Config;
use super::super::disk::Content;
use super::super::life::bytes;
use super::super::spec::DiskSpec;
use super::Facts;
use super::block::pretty;

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;

/// Sectors that a partition table takes at the end of a disk.
const TABLE_AT_END: u64 = 33;

const EFI: &str = "c12a7328-f81f-11d2-ba4b-00c93ec93b00";
const BIOS: &str = "21686148-6449-6e6f-744e-656564454649";
const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// Its name in the table, which is that of its volume too.
    pub(super) label: &'static str,
    /// Its number, from one.
    pub(super) index: u64,
    /// Where it begins, in bytes.
    pub(super) offset: u64,
    /// Its size in bytes.
    pub(super) size: u64,
    kind: &'static str,
    format: &'static str,
}

impl Partition {
    /// The file system of a volume that is mounted.
    pub(super) fn filesystem(&self) -> Option<&'static str> {
        Some(self.format).filter(|format| *format == "xfs")
    }

    /// An id that stays as long as the content of the disk.
    pub(super) fn uuid(&self, content: &Content, of: &str) -> String {
        let mut digest = Sha256::new();
        for part in [content.id.as_str(), &content.installs.to_string(), self.label, of] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(digest.split_at(16).0);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// What a probe sees of its content: less than its size.
    fn probed(&self) -> Option<u64> {
        match self.format {
            // What lies before the clusters of a FAT of this size.
            "vfat" => self.size.checked_sub(50 * SECTOR),
            "talosmeta" => Some(MIB / 2),
            "xfs" => self.size.checked_sub(log_size(self.size)),
            _ => None,
        }
    }
}

/// Size of the log of an XFS, which its size does not count.
fn log_size(size: u64) -> u64 {
    const BLOCK: u64 = 4096;
    if size < 300 * MIB { 3075 * BLOCK } else { (size / 2048).clamp(64 * MIB, 2038 * MIB) }
}

/// The partitions of an installed disk. STATE and EPHEMERAL come with the first configuration.
pub(super) fn layout(disk: &DiskSpec, content: &Content, config: &Config) -> Vec<Partition> {
    if content.installed.is_none() {
        return Vec::new();
    }
    let mut fixed = vec![
        ("EFI", 100 * MIB, EFI, "vfat"),
        ("BIOS", MIB, BIOS, ""),
        ("BOOT", 2000 * MIB, LINUX, "xfs"),
        ("META", MIB, LINUX, "talosmeta"),
    ];
    if content.config.is_some() {
        let state = 100 * MIB;
        let taken: u64 = fixed.iter().map(|(_, size, ..)| size).sum::<u64>() + state;
        // One unit before the first partition, and one for the table at the end.
        let rest = disk.size.saturating_sub(taken + 2 * MIB) / MIB * MIB;
        fixed.push(("STATE", state, LINUX, "xfs"));
        let etcd = etcd_volume(config).filter(|_| config.is_control_plane());
        let etcd = etcd.map_or(0, |size| size / MIB * MIB);
        let rest = rest.saturating_sub(etcd);
        if etcd > 0 {
            fixed.push(("ETCD", etcd, LINUX, "xfs"));
        }
        fixed.push(("EPHEMERAL", ephemeral(config, rest), LINUX, "xfs"));
    }
    let mut offset = MIB;
    let mut out = Vec::new();
    for (index, (label, size, kind, format)) in (1..).zip(fixed) {
        out.push(Partition { label, index, offset, size, kind, format });
        offset += size;
    }
    out
}

/// Size of the volume that etcd has of its own, from 1.14 on; none if its data is a folder on EPHEMERAL.
pub(crate) fn etcd_volume(config: &Config) -> Option<u64> {
    let provisioning = provisioning(config, "ETCD")?;
    let limit = |key: &str| provisioning.get(key).and_then(bytes);
    Some(limit("maxSize").or(limit("minSize")).unwrap_or(1024 * MIB))
}

fn provisioning<'a>(config: &'a Config, volume: &str) -> Option<&'a Value> {
    let volume = config.documents("VolumeConfig").find(|d| d.get("name") == Some(&json!(volume)));
    volume?.get("provisioning")
}

/// Size of EPHEMERAL: all that is left, if the configuration sets no limit.
fn ephemeral(config: &Config, rest: u64) -> u64 {
    let provisioning = provisioning(config, "EPHEMERAL");
    let limit = |key: &str| provisioning.and_then(|p| p.get(key)).and_then(bytes);
    let fixed = provisioning.and_then(|p| p.get("grow")) == Some(&json!(false));
    let wanted = if fixed { limit("minSize").or(limit("maxSize")) } else { limit("maxSize") };
    wanted.map_or(rest, |limit| limit.min(rest) / MIB * MIB)
}

/// What a probe finds on a disk that sits at `device`, and on its partitions.
pub(super) fn facts(
    disk: &DiskSpec,
    device: &str,
    content: &Content,
    partitions: &[Partition],
    out: &mut Facts,
) {
    let place = ("runtime", "DiscoveredVolumes.block.talos.dev");
    let owner = "block.DiscoveryController";
    let dev = &disk.dev;
    let mut whole = json!({
        "dev_path": format!("/dev/{dev}"), "device_path": device, "io_size": SECTOR, "name": "", "offset": 0,
        "pretty_size": pretty(disk.size), "sector_size": SECTOR, "size": disk.size, "type": "disk",
    });
    let table = partitions.first();
    if let (Some(map), Some(table)) = (whole.as_object_mut(), table) {
        map.insert("name".into(), json!("gpt"));
        map.insert("block_size".into(), json!(SECTOR));
        let usable = disk.size.saturating_sub(MIB + TABLE_AT_END * SECTOR);
        map.insert("probed_size".into(), json!(usable));
        map.insert("uuid".into(), json!(table.uuid(content, "table")));
    }
    out.add(place, owner, dev.clone(), whole);
    for partition in partitions {
        let id = format!("{dev}{}", partition.index);
        let mut spec = Map::new();
        let mut put = |key: &str, value: Value| spec.insert(key.to_owned(), value);
        put("dev_path", json!(format!("/dev/{id}")));
        put("device_path", json!(format!("{device}/{id}")));
        put("io_size", json!(SECTOR));
        put("name", json!(partition.format));
        put("offset", json!(partition.offset));
        put("parent", json!(dev));
        put("parent_dev_path", json!(format!("/dev/{dev}")));
        put("partition_index", json!(partition.index));
        put("partition_label", json!(partition.label));
        put("partition_type", json!(partition.kind));
        put("partition_uuid", json!(partition.uuid(content, "partition")));
        put("pretty_size", json!(pretty(partition.size)));
        put("sector_size", json!(SECTOR));
        put("size", json!(partition.size));
        put("type", json!("partition"));
        if let Some(probed) = partition.probed() {
            put("probed_size", json!(probed));
        }
        if matches!(partition.format, "vfat" | "xfs") {
            put("label", json!(partition.label));
            put("block_size", json!(SECTOR));
            let block = if partition.format == "xfs" { 4096 } else { SECTOR };
            put("filesystem_block_size", json!(block));
        }
        if partition.filesystem().is_some() {
            put("uuid", json!(partition.uuid(content, "filesystem")));
        }
        out.add(place, owner, id, Value::Object(spec));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::config::load;
    use super::*;

    fn installed(config: Option<&str>) -> Content {
        Content {
            installed: Some(super::super::super::disk::Installed::default()),
            config: config.map(str::to_owned),
            ..Content::default()
        }
    }

    #[test]
    fn the_last_partition_takes_what_is_left() {
        let disk = DiskSpec { size: 40 << 30, ..DiskSpec::default() };
        let none = Config::default();
        assert_eq!(layout(&disk, &Content::default(), &none), []);
        assert_eq!(layout(&disk, &installed(None), &none).len(), 4);
        let all = layout(&disk, &installed(Some("")), &none);
        let last = all.last().unwrap();
        assert_eq!((last.label, last.index), ("EPHEMERAL", 6));
        assert_eq!(last.offset + last.size + MIB, disk.size);
    }

    #[test]
    fn a_volume_document_limits_the_last_partition() {
        let disk = DiskSpec { size: 40 << 30, ..DiskSpec::default() };
        let text = "apiVersion: v1alpha1\nkind: VolumeConfig\nname: EPHEMERAL\nprovisioning:\n    maxSize: 10GiB\n";
        let config = load(text, 13).unwrap();
        let all = layout(&disk, &installed(Some("")), &config);
        assert_eq!(all.last().map(|p| p.size), Some(10 << 30));
    }
}
