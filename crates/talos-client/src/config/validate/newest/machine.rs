//! The machine: kernel, files, containers, installation, discovery.

use super::super::super::DocumentId;
use super::super::document::named;
use super::super::{Environment, Findings, Part, Wanted, runtime};

/// Files below /etc that Talos writes itself, and folders of such files.
const MANAGED: [&str; 7] = [
    "resolv.conf",
    "hosts",
    "machine-id",
    "extensions.yaml",
    "localtime",
    "os-release",
    "xattr.conf",
];
const MANAGED_FOLDERS: [&str; 11] = [
    "apparmor",
    "ca-certificates",
    "cni",
    "cri",
    "iscsi",
    "kubernetes",
    "lvm",
    "nvme",
    "pki",
    "selinux",
    "ssl",
];

pub(super) fn check(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    match id.kind.as_str() {
        "SysctlConfig" | "SysfsConfig" => {
            if document.at("params").entries().iter().any(|(name, _)| name.is_empty()) {
                findings.error("params-key-empty", "a name among `params` is empty");
            }
        }
        "KernelModuleConfig" | "CRICustomizationConfig" => named(findings, id),
        "EtcFileConfig" => file(findings, id),
        "ContainerConfig" => container(findings, id, document),
        "CRIBaseRuntimeSpecConfig" => runtime::check(findings, document.at("overrides")),
        "UnattendedInstallConfig" => {
            let selector = document.at("provisioning.diskSelector.match");
            let class = "disk-selector-invalid";
            if !findings.expression(selector, Environment::Disk, Wanted::Bool, class) {
                findings.error("disk-selector-required", "the installation has no disk selector");
            }
            if document.at("installer.image").text().is_empty() {
                findings.warning("installer-image-absent", "there is no `installer.image`");
            }
        }
        "DiscoveryServiceConfig" => {
            named(findings, id);
            let url = document.at("endpoint").text();
            let known = ["http://", "https://", "grpc://"];
            if !url.is_empty() && !known.iter().any(|scheme| url.starts_with(scheme)) {
                findings.error("url-scheme", format!("{url:?} is none of http, https and grpc"));
            }
        }
        "DiscoveryIdentityConfig" => {
            for (name, class) in
                [("clusterID", "discovery-needs-id"), ("clusterSecret", "discovery-needs-secret")]
            {
                if document.at(name).text().is_empty() {
                    findings.error(class, format!("there is no `{name}`"));
                }
            }
        }
        _ => {}
    }
}

fn file(findings: &mut Findings, id: &DocumentId) {
    let name = id.name.as_str();
    named(findings, id);
    let is_outside = name.starts_with(['/', '.']) || name.split('/').any(|part| part == "..");
    if is_outside {
        findings.error("etc-path-invalid", format!("{name:?} is no path below /etc"));
    }
    let folder = name.split('/').next().unwrap_or(name);
    if MANAGED.contains(&name) || MANAGED_FOLDERS.contains(&folder) {
        findings.error("etc-path-managed", format!("Talos writes {name:?} itself"));
    }
}

fn container(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !id.name.chars().all(is_name) {
        findings.error("name-characters", format!("{:?} is not made of a-z, 0-9 and -", id.name));
    }
    if document.at("image").text().is_empty() {
        findings.error("container-image-required", "the container has no `image`");
    }
    for entry in document.at("environment").items() {
        if !entry.text().contains('=') {
            findings.of(entry).error("container-environment", "an entry is not NAME=VALUE");
        }
    }
    for (path, words) in
        [("security.profile", ["restricted", "privileged"]), ("network.mode", ["none", "host"])]
    {
        let word = document.at(path).text();
        if !word.is_empty() && !words.contains(&word) {
            findings.error("container-word-unknown", format!("`{path}` is {word:?}"));
        }
    }
}
