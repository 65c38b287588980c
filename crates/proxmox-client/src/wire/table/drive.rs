//! Keys of drives.

use crate::wire::format::{Key, Type};

/// Keys of a disk: those that every bus has, and its own.
macro_rules! disk {
    ($($own:expr),* $(,)?) => {
        &[
            Key::new("aio", Type::Word(&["native", "threads", "io_uring"])),
            Key::new("backup", Type::Bool),
            Key::new("bps", Type::Integer(None, None)),
            Key::new("bps_max_length", Type::Integer(Some(1), None)),
            Key::new("bps_rd", Type::Integer(None, None)),
            Key::alias("bps_rd_length", "bps_rd_max_length", None),
            Key::new("bps_rd_max_length", Type::Integer(Some(1), None)),
            Key::new("bps_wr", Type::Integer(None, None)),
            Key::alias("bps_wr_length", "bps_wr_max_length", None),
            Key::new("bps_wr_max_length", Type::Integer(Some(1), None)),
            Key::new("cache", Type::Word(&["none", "writethrough", "writeback", "unsafe", "directsync"])),
            Key::new("detect_zeroes", Type::Bool),
            Key::new("discard", Type::Word(&["ignore", "on"])),
            Key::new("file", Type::Text).is_default().required(),
            Key::new("format", Type::Word(&["raw", "qcow", "qed", "qcow2", "vmdk", "cloop"])),
            Key::new("import-from", Type::Text),
            Key::new("iops", Type::Integer(None, None)),
            Key::new("iops_max", Type::Integer(None, None)),
            Key::new("iops_max_length", Type::Integer(Some(1), None)),
            Key::new("iops_rd", Type::Integer(None, None)),
            Key::alias("iops_rd_length", "iops_rd_max_length", None),
            Key::new("iops_rd_max", Type::Integer(None, None)),
            Key::new("iops_rd_max_length", Type::Integer(Some(1), None)),
            Key::new("iops_wr", Type::Integer(None, None)),
            Key::alias("iops_wr_length", "iops_wr_max_length", None),
            Key::new("iops_wr_max", Type::Integer(None, None)),
            Key::new("iops_wr_max_length", Type::Integer(Some(1), None)),
            Key::new("mbps", Type::Number(None, None)),
            Key::new("mbps_max", Type::Number(None, None)),
            Key::new("mbps_rd", Type::Number(None, None)),
            Key::new("mbps_rd_max", Type::Number(None, None)),
            Key::new("mbps_wr", Type::Number(None, None)),
            Key::new("mbps_wr_max", Type::Number(None, None)),
            Key::new("media", Type::Word(&["cdrom", "disk"])),
            Key::new("replicate", Type::Bool),
            Key::new("rerror", Type::Word(&["ignore", "report", "stop"])),
            Key::new("serial", Type::Text),
            Key::new("shared", Type::Bool),
            Key::new("size", Type::Size),
            Key::new("snapshot", Type::Bool),
            Key::alias("volume", "file", None),
            Key::new("werror", Type::Word(&["enospc", "ignore", "report", "stop"])),
            $($own),*
        ]
    };
}

pub(in crate::wire) static IDE: &[Key] = disk![
    Key::new("model", Type::Text),
    Key::new("ssd", Type::Bool),
    Key::new("wwn", Type::Pattern(r"(?:^(0x)[0-9a-fA-F]{16})")),
];

pub(in crate::wire) static SATA: &[Key] = disk![
    Key::new("ssd", Type::Bool),
    Key::new("wwn", Type::Pattern(r"(?:^(0x)[0-9a-fA-F]{16})")),
];

pub(in crate::wire) static SCSI: &[Key] = disk![
    Key::new("iothread", Type::Bool),
    Key::new("product", Type::Pattern(r"[A-Za-z0-9\-_\s]{0,16}")),
    Key::new("queues", Type::Integer(Some(2), None)),
    Key::new("ro", Type::Bool),
    Key::new("scsiblock", Type::Bool),
    Key::new("ssd", Type::Bool),
    Key::new("vendor", Type::Pattern(r"[A-Za-z0-9\-_\s]{0,8}")),
    Key::new("wwn", Type::Pattern(r"(?:^(0x)[0-9a-fA-F]{16})")),
];

pub(in crate::wire) static VIRTIO: &[Key] =
    disk![Key::new("iothread", Type::Bool), Key::new("ro", Type::Bool),];

pub(in crate::wire) static EFIDISK: &[Key] = &[
    Key::new("efitype", Type::Word(&["2m", "4m"])),
    Key::new("file", Type::Text).is_default().required(),
    Key::new("format", Type::Word(&["raw", "qcow", "qed", "qcow2", "vmdk", "cloop"])),
    Key::new("import-from", Type::Text),
    Key::new("ms-cert", Type::Word(&["2011", "2023", "2023w", "2023k"])),
    Key::new("pre-enrolled-keys", Type::Bool),
    Key::new("size", Type::Size),
    Key::alias("volume", "file", None),
];

pub(in crate::wire) static TPMSTATE: &[Key] = &[
    Key::new("file", Type::Text).is_default().required(),
    Key::new("format", Type::Word(&["raw", "qcow2", "vmdk"])),
    Key::new("import-from", Type::Text),
    Key::new("size", Type::Size),
    Key::new("version", Type::Word(&["v1.2", "v2.0"])),
    Key::alias("volume", "file", None),
];
