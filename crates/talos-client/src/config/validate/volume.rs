//! Rules of documents about volumes.

use std::collections::BTreeSet;

use super::super::DocumentId;
use super::{Environment, Findings, Part, Wanted};

/// Bytes of a size such as `10GiB`, `5GB` or `1000`; negative ones are allowed.
pub(super) fn bytes(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (number, unit) = digits.split_at_checked(end)?;
    let scale: f64 = match unit.trim() {
        "" | "B" => 1.0,
        "k" | "K" | "kB" | "KB" => 1e3,
        "M" | "MB" => 1e6,
        "G" | "GB" => 1e9,
        "T" | "TB" => 1e12,
        "P" | "PB" => 1e15,
        "Ki" | "KiB" => 1024.0,
        "Mi" | "MiB" => 1024.0 * 1024.0,
        "Gi" | "GiB" => 1024.0 * 1024.0 * 1024.0,
        "Ti" | "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "Pi" | "PiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "bytes, far below the range of the type")]
    let all = (number * scale) as i128;
    Some(if text.starts_with('-') { -all } else { all })
}

/// Whether a text is a size; a percentage of 0 to 100 where it may be one.
pub(in crate::config) fn is_size(text: &str, may_be_percent: bool) -> bool {
    match text.strip_suffix('%').filter(|_| may_be_percent) {
        Some(number) => {
            // Its sign does not count.
            let number = number.strip_prefix('-').unwrap_or(number);
            number.parse::<f64>().is_ok_and(|number| (0.0..=100.0).contains(&number))
        }
        None => bytes(text).is_some(),
    }
}

pub(super) fn check(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    match id.kind.as_str() {
        "VolumeConfig" => system(findings, id, document),
        "UserVolumeConfig" | "RawVolumeConfig" | "SwapVolumeConfig" => user(findings, id, document),
        "ExistingVolumeConfig" => {
            name(findings, id, false);
            let selector = document.at("discovery.volumeSelector.match");
            let class = "volume-selector-invalid";
            if !findings.expression(selector, Environment::Volume, Wanted::Bool, class) {
                findings.error("volume-selector-required", "the volume has no selector");
            }
        }
        _ => external(findings, id, document),
    }
}

fn name(findings: &mut Findings, id: &DocumentId, has_length: bool) {
    if id.name.is_empty() {
        findings.error("name-required", format!("a {} needs a name", id.kind));
    }
    if has_length && !(1..=34).contains(&id.name.chars().count()) {
        findings.error("name-length", "the name is not between 1 and 34 characters long");
    }
    if !id.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        findings.error(
            "name-characters",
            "the name has other characters than letters, digits and hyphens",
        );
    }
}

fn system(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    let is_known = match id.name.as_str() {
        "STATE" | "EPHEMERAL" | "IMAGECACHE" => true,
        "ETCD" | "CRI" | "KUBELET" | "LOG" => findings.minor >= 14,
        _ => false,
    };
    if !is_known {
        return findings
            .error("volume-name-unknown", format!("there is no system volume {:?}", id.name));
    }
    let provisioning = document.at("provisioning");
    if id.name == "STATE" {
        if provisioning.is_there() {
            findings
                .error("volume-provisioning-not-allowed", "STATE is provisioned by Talos alone");
        }
        for key in document.at("encryption.keys").items() {
            if key.at("lockToState").is_on() {
                findings
                    .of(key)
                    .error("volume-key-state-locked", "a key of STATE cannot be locked to STATE");
            }
        }
    }
    disk_selector(findings, provisioning);
    sizes(findings, provisioning);
    encryption(findings, document.at("encryption"));
}

/// Whether there is a selector of disks; one that cannot be used is told.
fn disk_selector(findings: &mut Findings, provisioning: Part<'_>) -> bool {
    let selector = provisioning.at("diskSelector.match");
    findings.expression(selector, Environment::Disk, Wanted::Bool, "disk-selector-invalid")
}

fn sizes(findings: &mut Findings, provisioning: Part<'_>) {
    let (low, high) = (provisioning.at("minSize").text(), provisioning.at("maxSize").text());
    let (low, high) = (bytes(low), bytes(high));
    if let (Some(low), Some(high)) = (low, high)
        && high >= 0
        && low > high
    {
        findings.error("volume-sizes-reversed", "minSize is above maxSize");
    }
    if findings.minor >= 13 && low.is_some_and(|low| low < 0) {
        findings.error("volume-min-negative", "minSize is negative");
    }
}

fn user(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    name(findings, id, true);
    let provisioning = document.at("provisioning");
    match document.at("volumeType").text() {
        "" | "partition" => {
            selector(findings, provisioning);
            if !provisioning.at("minSize").is_there() && !provisioning.at("maxSize").is_there() {
                findings
                    .error("volume-size-required", "the volume has neither minSize nor maxSize");
            }
            sizes(findings, provisioning);
        }
        "disk" => {
            selector(findings, provisioning);
            if ["minSize", "maxSize", "grow"].iter().any(|key| provisioning.at(key).is_there()) {
                findings.error(
                    "volume-size-unsupported",
                    "a whole disk has no sizes and does not grow",
                );
            }
        }
        "directory" => {
            let mut sections = vec!["provisioning", "encryption", "filesystem"];
            if findings.minor >= 13 {
                sections.push("mount");
            }
            for section in sections {
                if document.at(section).is_there() {
                    findings.error(
                        "volume-section-unsupported",
                        format!("a directory has no `{section}`"),
                    );
                }
            }
            return;
        }
        other => {
            findings.error("volume-type-unsupported", format!("a volume cannot be {other:?}"));
            return;
        }
    }
    if id.kind == "UserVolumeConfig" && document.at("filesystem").is_there() {
        let kind = document.at("filesystem.type").text();
        let is_newest = kind == "btrfs" && findings.minor >= 14;
        if !["", "xfs", "ext4"].contains(&kind) && !is_newest {
            findings.error("filesystem-unsupported", format!("the file system cannot be {kind:?}"));
        }
        if document.at("filesystem.projectQuotaSupport").is_on() && !["", "xfs"].contains(&kind) {
            findings.error("filesystem-quota", "project quotas need xfs");
        }
    }
    encryption(findings, document.at("encryption"));
}

fn selector(findings: &mut Findings, provisioning: Part<'_>) {
    if !disk_selector(findings, provisioning) {
        findings.error("disk-selector-required", "the volume has no disk selector");
    }
}

fn external(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    name(findings, id, true);
    if document.at("filesystemType").text() != "virtiofs" {
        return findings.error("filesystem-unsupported", "the file system can only be virtiofs");
    }
    let virtiofs = document.at("mount.virtiofs");
    if !virtiofs.is_there() {
        findings.error("virtiofs-mount-required", "there is no `mount.virtiofs`");
    } else if virtiofs.at("tag").text().is_empty() {
        findings.error("virtiofs-tag-required", "virtiofs has no tag");
    }
}

fn encryption(findings: &mut Findings, encryption: Part<'_>) {
    let provider = encryption.at("provider").text();
    let keys: Vec<Part<'_>> = encryption.at("keys").items().collect();
    if ["", "none"].contains(&provider) && keys.is_empty() {
        return;
    }
    if provider != "luks2" {
        findings.error(
            "encryption-provider-unsupported",
            format!("the encryption cannot be {provider:?}"),
        );
    }
    if keys.is_empty() {
        findings.error("encryption-keys-required", "the encryption has no keys");
    }
    let mut slots = BTreeSet::new();
    for key in keys {
        let slot = key.at("slot").number().unwrap_or(0);
        if !slots.insert(slot) {
            findings
                .of(key)
                .error("encryption-slot-duplicate", format!("slot {slot} is used twice"));
        }
        if !["static", "nodeID", "kms", "tpm"].iter().any(|method| key.at(method).is_there()) {
            findings
                .of(key)
                .error("encryption-key-empty", format!("the key in slot {slot} says nothing"));
        }
        for register in key.at("tpm.options.pcrs").items().filter_map(Part::number) {
            if !(0..=23).contains(&register) {
                findings
                    .of(key)
                    .error("encryption-pcr-range", format!("there is no register {register}"));
            }
        }
    }
}
