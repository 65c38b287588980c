//! Storage: LVM, RAID, what is trimmed and scrubbed.

use super::super::super::DocumentId;
use super::super::volume::bytes;
use super::super::{Findings, Part};
use super::is_negative;

/// Longest name of a group or volume.
const LONGEST: usize = 63;

/// Shortest time between two scrubs, in seconds.
const SHORTEST_SCRUB: i64 = 10;

pub(super) fn check(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    match id.kind.as_str() {
        "VolumeConfig" | "UserVolumeConfig" | "ExistingVolumeConfig" => {
            trim(findings, document.at("trim.interval"));
            scrub(findings, document.at("scrub.interval"));
            if id.kind == "VolumeConfig" && id.name == "STATE" && document.at("mount").is_there() {
                findings.error("volume-mount-not-allowed", "`mount` is not for STATE");
            }
        }
        "FilesystemTrimConfig" => trim(findings, document.at("interval")),
        "FilesystemScrubConfig" => scrub(findings, document.at("interval")),
        "LVMVolumeGroupConfig" | "RAIDArrayConfig" => {
            name(findings, id);
            if id.kind == "RAIDArrayConfig" && document.at("level").text().is_empty() {
                findings.error("raid-level-required", "there is no `level`");
            }
            if document.at("provisioning.volumeSelector.match").text().is_empty() {
                findings.error("volume-selector-required", "there is no selector of volumes");
            }
        }
        "LVMLogicalVolumeConfig" => {
            name(findings, id);
            logical(findings, document);
        }
        _ => {}
    }
}

fn name(findings: &mut Findings, id: &DocumentId) {
    if id.name.is_empty() {
        findings.error("name-required", format!("a {} needs a name", id.kind));
    }
    if !(1..=LONGEST).contains(&id.name.len()) {
        findings.error("name-length", "the name is not between 1 and 63 characters long");
    }
}

fn logical(findings: &mut Findings, document: Part<'_>) {
    let kind = document.at("type").text();
    let count = |name: &str| document.at(name).number().unwrap_or(0);
    if matches!(kind, "raid1" | "raid10") && count("mirrors") < 1 {
        findings.error("lvm-invalid", "`mirrors` is below 1");
    }
    if matches!(kind, "raid0" | "raid10") && count("stripes") < 2 {
        findings.error("lvm-invalid", "`stripes` is below 2");
    }
    let provisioning = document.at("provisioning");
    if provisioning.at("volumeGroup").text().is_empty() {
        findings.error("lvm-invalid", "there is no `provisioning.volumeGroup`");
    }
    let size = |name: &str| bytes(provisioning.at(name).text());
    if let (Some(low), Some(high)) = (size("minSize"), size("maxSize"))
        && low > high
    {
        findings.error("lvm-invalid", "`provisioning.minSize` is above maxSize");
    }
}

fn trim(findings: &mut Findings, interval: Part<'_>) {
    if is_negative(interval) {
        findings.of(interval).error("trim-interval-negative", "the time between trims is negative");
    }
}

fn scrub(findings: &mut Findings, interval: Part<'_>) {
    let seconds = crate::talosconfig::lifetime(interval.text()).ok();
    let seconds = seconds.filter(|_| !interval.text().is_empty());
    if seconds.is_some_and(|seconds| seconds != 0 && seconds < SHORTEST_SCRUB) {
        findings.of(interval).error("scrub-interval-small", "the time between scrubs is below 10s");
    }
}
