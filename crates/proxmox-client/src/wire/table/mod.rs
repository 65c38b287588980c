//! Keys of property strings: names, types, ranges, enumerations.
//!
//! Generated from the published API schema of Proxmox VE 9.2 (names and numbers, no words).

mod drive;

pub(super) use drive::{EFIDISK, IDE, SATA, SCSI, TPMSTATE, VIRTIO};

use super::format::{Key, Type};

pub(super) static NET: &[Key] = &[
    Key::new("bridge", Type::Text),
    Key::alias("e1000", "macaddr", Some("model")),
    Key::alias("e1000-82540em", "macaddr", Some("model")),
    Key::alias("e1000-82544gc", "macaddr", Some("model")),
    Key::alias("e1000-82545em", "macaddr", Some("model")),
    Key::alias("e1000e", "macaddr", Some("model")),
    Key::new("firewall", Type::Bool),
    Key::alias("i82551", "macaddr", Some("model")),
    Key::alias("i82557b", "macaddr", Some("model")),
    Key::alias("i82559er", "macaddr", Some("model")),
    Key::new("link_down", Type::Bool),
    Key::new("macaddr", Type::Mac),
    Key::new(
        "model",
        Type::Word(&[
            "e1000",
            "e1000-82540em",
            "e1000-82544gc",
            "e1000-82545em",
            "e1000e",
            "i82551",
            "i82557b",
            "i82559er",
            "ne2k_isa",
            "ne2k_pci",
            "pcnet",
            "rtl8139",
            "virtio",
            "vmxnet3",
        ]),
    )
    .is_default()
    .required(),
    Key::new("mtu", Type::Integer(Some(1), Some(65520))),
    Key::alias("ne2k_isa", "macaddr", Some("model")),
    Key::alias("ne2k_pci", "macaddr", Some("model")),
    Key::alias("pcnet", "macaddr", Some("model")),
    Key::new("queues", Type::Integer(Some(0), Some(64))),
    Key::new("rate", Type::Number(Some(0), None)),
    Key::alias("rtl8139", "macaddr", Some("model")),
    Key::new("tag", Type::Integer(Some(1), Some(4094))),
    Key::new("trunks", Type::Pattern(r"(?:\d+(?:-\d+)?(?:;\d+(?:-\d+)?)*)")),
    Key::alias("virtio", "macaddr", Some("model")),
    Key::alias("vmxnet3", "macaddr", Some("model")),
];

pub(super) static BOOT: &[Key] = &[
    Key::new("legacy", Type::Pattern(r"[acdn]{1,4}")).is_default(),
    Key::new("order", Type::Text),
];

pub(super) static CPU: &[Key] = &[
    Key::new("cputype", Type::Text).is_default(),
    Key::new(
        "flags",
        Type::Pattern(r"(?:(?:([+-])([a-zA-Z0-9\-_\.]+))(;(?:([+-])([a-zA-Z0-9\-_\.]+)))*)"),
    ),
    Key::new("guest-phys-bits", Type::Integer(Some(32), Some(64))),
    Key::new("hidden", Type::Bool),
    Key::new("hv-vendor-id", Type::Pattern(r"(?:[a-zA-Z0-9]{1,12})")),
    Key::new("level", Type::Integer(Some(0), Some(4_294_967_295))),
    Key::new("phys-bits", Type::Text),
    Key::new(
        "reported-model",
        Type::Word(&[
            "486",
            "a64fx",
            "athlon",
            "Broadwell",
            "Broadwell-IBRS",
            "Broadwell-noTSX",
            "Broadwell-noTSX-IBRS",
            "Cascadelake-Server",
            "Cascadelake-Server-noTSX",
            "Cascadelake-Server-v2",
            "Cascadelake-Server-v4",
            "Cascadelake-Server-v5",
            "ClearwaterForest",
            "Conroe",
            "Cooperlake",
            "Cooperlake-v2",
            "core2duo",
            "coreduo",
            "cortex-a35",
            "cortex-a53",
            "cortex-a55",
            "cortex-a57",
            "cortex-a710",
            "cortex-a72",
            "cortex-a76",
            "EPYC",
            "EPYC-Genoa",
            "EPYC-Genoa-v2",
            "EPYC-IBPB",
            "EPYC-Milan",
            "EPYC-Milan-v2",
            "EPYC-Milan-v3",
            "EPYC-Rome",
            "EPYC-Rome-v2",
            "EPYC-Rome-v3",
            "EPYC-Rome-v4",
            "EPYC-Rome-v5",
            "EPYC-Turin",
            "EPYC-v3",
            "EPYC-v4",
            "EPYC-v5",
            "GraniteRapids",
            "GraniteRapids-v2",
            "GraniteRapids-v3",
            "Haswell",
            "Haswell-IBRS",
            "Haswell-noTSX",
            "Haswell-noTSX-IBRS",
            "host",
            "Icelake-Client",
            "Icelake-Client-noTSX",
            "Icelake-Server",
            "Icelake-Server-noTSX",
            "Icelake-Server-v3",
            "Icelake-Server-v4",
            "Icelake-Server-v5",
            "Icelake-Server-v6",
            "Icelake-Server-v7",
            "IvyBridge",
            "IvyBridge-IBRS",
            "KnightsMill",
            "kvm32",
            "kvm64",
            "max",
            "Nehalem",
            "Nehalem-IBRS",
            "neoverse-n1",
            "neoverse-n2",
            "neoverse-v1",
            "Opteron_G1",
            "Opteron_G2",
            "Opteron_G3",
            "Opteron_G4",
            "Opteron_G5",
            "Penryn",
            "pentium",
            "pentium2",
            "pentium3",
            "phenom",
            "qemu32",
            "qemu64",
            "SandyBridge",
            "SandyBridge-IBRS",
            "SapphireRapids",
            "SapphireRapids-v2",
            "SapphireRapids-v3",
            "SapphireRapids-v4",
            "SierraForest",
            "SierraForest-v2",
            "SierraForest-v3",
            "Skylake-Client",
            "Skylake-Client-IBRS",
            "Skylake-Client-noTSX-IBRS",
            "Skylake-Client-v4",
            "Skylake-Server",
            "Skylake-Server-IBRS",
            "Skylake-Server-noTSX-IBRS",
            "Skylake-Server-v4",
            "Skylake-Server-v5",
            "Westmere",
            "Westmere-IBRS",
        ]),
    ),
];

pub(super) static HOSTPCI: &[Key] = &[
    Key::new("device-id", Type::Pattern(r"(?:^0x[0-9a-fA-F]{4}$)")),
    Key::new("driver", Type::Word(&["vfio", "keep"])),
    Key::new("host", Type::Pattern(r"(?:(?:(?:[a-f0-9]{4,}:)?[a-f0-9]{2}:[a-f0-9]{2}(?:\.[a-f0-9])?)(;(?:(?:[a-f0-9]{4,}:)?[a-f0-9]{2}:[a-f0-9]{2}(?:\.[a-f0-9])?))*)")).is_default(),
    Key::new("legacy-igd", Type::Bool),
    Key::new("mapping", Type::Text),
    Key::new("mdev", Type::Pattern(r"[^/\.:]+")),
    Key::new("pcie", Type::Bool),
    Key::new("rombar", Type::Bool),
    Key::new("romfile", Type::Pattern(r"[^,;]+")),
    Key::new("sub-device-id", Type::Pattern(r"(?:^0x[0-9a-fA-F]{4}$)")),
    Key::new("sub-vendor-id", Type::Pattern(r"(?:^0x[0-9a-fA-F]{4}$)")),
    Key::new("vendor-id", Type::Pattern(r"(?:^0x[0-9a-fA-F]{4}$)")),
    Key::new("x-vga", Type::Bool),
];

pub(super) static USB: &[Key] = &[
    Key::new("host", Type::Pattern(r"(?:(?:(?:(?:(0x)?([0-9A-Fa-f]{4}):(0x)?([0-9A-Fa-f]{4})))|(?:(?:(\d+)\-(\d+(\.\d+)*)))|[Ss][Pp][Ii][Cc][Ee]))")).is_default(),
    Key::new("mapping", Type::Text),
    Key::new("usb3", Type::Bool),
];

pub(super) static SMBIOS1: &[Key] = &[
    Key::new("base64", Type::Bool),
    Key::new("family", Type::Pattern(r"[A-Za-z0-9+\/]+={0,2}")),
    Key::new("manufacturer", Type::Pattern(r"[A-Za-z0-9+\/]+={0,2}")),
    Key::new("product", Type::Pattern(r"[A-Za-z0-9+\/]+={0,2}")),
    Key::new("serial", Type::Pattern(r"[A-Za-z0-9+\/]+={0,2}")),
    Key::new("sku", Type::Pattern(r"[A-Za-z0-9+\/]+={0,2}")),
    Key::new("uuid", Type::Pattern(r"[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}")),
    Key::new("version", Type::Pattern(r"[A-Za-z0-9+\/]+={0,2}")),
];

pub(super) static RNG: &[Key] = &[
    Key::new("max_bytes", Type::Integer(None, None)),
    Key::new("period", Type::Integer(None, None)),
    Key::new("source", Type::Word(&["/dev/urandom", "/dev/random", "/dev/hwrng"]))
        .is_default()
        .required(),
];

pub(super) static WATCHDOG: &[Key] = &[
    Key::new("action", Type::Word(&["reset", "shutdown", "poweroff", "pause", "debug", "none"])),
    Key::new("model", Type::Word(&["i6300esb", "ib700"])).is_default(),
];

pub(super) static MACHINE: &[Key] = &[
    Key::new("aw-bits", Type::Number(Some(32), Some(64))),
    Key::new("enable-s3", Type::Bool),
    Key::new("enable-s4", Type::Bool),
    Key::new("type", Type::Pattern(r"(pc|pc(-i440fx)?-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?|q35|pc-q35-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?|virt(?:-\d+(\.\d+)+)?(\+pve\d+)?)")).is_default(),
    Key::new("viommu", Type::Word(&["intel", "virtio"])),
];

pub(super) static CICUSTOM: &[Key] = &[
    Key::new("meta", Type::Text),
    Key::new("network", Type::Text),
    Key::new("user", Type::Text),
    Key::new("vendor", Type::Text),
];

pub(super) static AGENT: &[Key] = &[
    Key::new("enabled", Type::Bool).is_default().required(),
    Key::new("freeze-fs", Type::Bool),
    Key::alias("freeze-fs-on-backup", "freeze-fs", None),
    Key::new("fstrim_cloned_disks", Type::Bool),
    Key::alias("guest-fsfreeze", "freeze-fs", None),
    Key::new("type", Type::Word(&["virtio", "isa"])),
];

pub(super) static VGA: &[Key] = &[
    Key::new("clipboard", Type::Word(&["vnc"])),
    Key::new("memory", Type::Integer(Some(4), Some(512))),
    Key::new(
        "type",
        Type::Word(&[
            "cirrus",
            "qxl",
            "qxl2",
            "qxl3",
            "qxl4",
            "none",
            "serial0",
            "serial1",
            "serial2",
            "serial3",
            "std",
            "virtio",
            "virtio-gl",
            "vmware",
        ]),
    )
    .is_default(),
];

pub(super) static IPCONFIG: &[Key] = &[
    Key::new("gw", Type::Text),
    Key::new("gw6", Type::Text),
    Key::new("ip", Type::Text),
    Key::new("ip6", Type::Text),
];
