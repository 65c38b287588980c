//! Versions and official extensions that the simulated factory knows.

use semver::Version;

use crate::digest::Digest;

/// An official extension of the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabExtension {
    /// Its name, such as `siderolabs/gvisor`.
    pub name: String,
    /// The minor versions of Talos 1 that have it.
    pub minors: std::ops::RangeInclusive<u64>,
    /// Its tag; `{talos}` stands for the version of Talos.
    pub tag: String,
}

/// Releases of each minor version: (minor, newest patch).
const RELEASES: [(u64, u64); 3] = [(11, 6), (12, 11), (13, 9)];

/// Name, first and last minor version, tag.
const EXTENSIONS: [(&str, u64, u64, &str); 26] = [
    ("amd-ucode", 11, 13, "20250812"),
    ("amdgpu", 11, 13, "20250812-{talos}"),
    ("btrfs", 11, 13, "{talos}"),
    ("drbd", 11, 13, "9.2.14-{talos}"),
    ("fuse3", 11, 13, "3.17.4"),
    ("gasket-driver", 11, 13, "5815ee3-{talos}"),
    ("glusterfs", 11, 13, "11.2"),
    ("gvisor", 11, 13, "20250707.0"),
    ("hello-world-service", 11, 13, "{talos}"),
    ("i915", 11, 13, "20250812-{talos}"),
    ("intel-ucode", 11, 13, "20250812"),
    ("iscsi-tools", 11, 13, "v0.2.0"),
    ("kata-containers", 11, 13, "3.20.0"),
    ("mei", 11, 13, "{talos}"),
    ("nut-client", 11, 13, "2.8.3"),
    ("nvidia-container-toolkit-lts", 11, 13, "535.247.01-v1.17.8"),
    ("nvidia-open-gpu-kernel-modules-lts", 11, 13, "535.247.01-{talos}"),
    ("qemu-guest-agent", 11, 13, "10.0.2"),
    ("realtek-firmware", 11, 13, "20250812"),
    ("tailscale", 11, 13, "1.86.2"),
    ("thunderbolt", 11, 13, "{talos}"),
    ("usb-modem-drivers", 11, 13, "{talos}"),
    ("util-linux-tools", 11, 13, "2.41.1"),
    ("v4l-uvc-drivers", 11, 13, "{talos}"),
    ("vmtoolsd-guest-agent", 11, 13, "v1.3.0"),
    ("xen-guest-agent", 12, 13, "0.4.0-g5c274e6"),
];

/// All versions, oldest first.
pub(super) fn versions() -> Vec<Version> {
    let of = |(minor, newest)| (0..=newest).map(move |patch| Version::new(1, minor, patch));
    RELEASES.into_iter().flat_map(of).collect()
}

/// A version that the factory knows, given with or without `v`.
pub(super) fn known(text: &str) -> Option<Result<Version, ()>> {
    let Ok(version) = Version::parse(text.strip_prefix('v').unwrap_or(text)) else {
        return Some(Err(()));
    };
    versions().contains(&version).then_some(Ok(version))
}

/// The extensions of a version, by name.
pub(super) fn extensions(version: &Version, own: &[LabExtension]) -> Vec<serde_json::Value> {
    let mut list: Vec<LabExtension> = EXTENSIONS
        .iter()
        .map(|(name, from, to, tag)| LabExtension {
            name: format!("siderolabs/{name}"),
            minors: *from..=*to,
            tag: (*tag).to_owned(),
        })
        .collect();
    for extension in own {
        list.retain(|have| have.name != extension.name);
        list.push(extension.clone());
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    let list = list.into_iter().filter(|extension| extension.minors.contains(&version.minor));
    list.map(|extension| {
        let tag = extension.tag.replace("{talos}", &format!("v{version}"));
        let reference = format!("ghcr.io/{}:{tag}", extension.name);
        serde_json::json!({
            "name": extension.name,
            "digest": Digest::of(format!("lab extension {reference}").as_bytes()),
            "ref": reference,
            "author": "lab",
            "description": "[lab] a synthetic extension",
        })
    })
    .collect()
}
