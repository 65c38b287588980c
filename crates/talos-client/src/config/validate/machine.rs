//! Rules of the machine's section, but its network.

use std::collections::BTreeSet;

use super::cluster::not_an_endpoint;
use super::text::{is_prefix, is_subnet_filter, label_name, label_value};
use super::{Findings, Mode, Part, Type, runtime};
use crate::config::release;

/// Fields of the kubelet's configuration that Talos sets itself.
const KUBELET_FIELDS: [&str; 13] = [
    "apiVersion",
    "kind",
    "authentication",
    "authorization",
    "cgroupRoot",
    "kubeletCgroups",
    "systemCgroups",
    "port",
    "protectKernelDefaults",
    "resolvConf",
    "rotateCertificates",
    "staticPodPath",
    "seccompDefault",
];

pub(super) fn install(findings: &mut Findings, install: Part<'_>) {
    if findings.mode != Mode::Metal {
        return;
    }
    if !install.is_there() {
        findings.error("install-required", "a machine on metal needs `machine.install`");
        return;
    }
    let selector = install.at("diskSelector");
    // An empty selector takes the first disk.
    let has_selector = selector.is_there();
    let kind = selector.at("type").text();
    let is_odd =
        !selector.at("name").text().is_empty() || !["", "ssd", "hdd", "nvme", "sd"].contains(&kind);
    if has_selector && is_odd {
        findings
            .of(install)
            .error("install-selector-invalid", "`install.diskSelector` selects nothing");
    }
    if install.at("disk").text().is_empty() && !has_selector {
        findings.of(install).error(
            "install-disk-required",
            "neither `install.disk` nor `install.diskSelector` names a disk",
        );
    }
    let arguments = install.at("extraKernelArgs").items().next().is_some();
    if arguments && install.at("grubUseUKICmdline").is_on() {
        findings.of(install).error(
            "install-args-with-uki",
            "`extraKernelArgs` have no effect together with `grubUseUKICmdline`: they belong to the image's schematic",
        );
    }
}

pub(super) fn host_dns(findings: &mut Findings, dns: Part<'_>) {
    let (enabled, forward) = (dns.at("enabled").is_on(), dns.at("forwardKubeDNSToHost").is_on());
    if findings.minor >= 13 && forward && !enabled {
        findings.error(
            "hostdns-forward-needs-enabled",
            "`forwardKubeDNSToHost` needs `hostDNS.enabled`",
        );
    }
    if findings.mode == Mode::Container && findings.minor < 14 {
        if !enabled {
            findings.error("container-needs-hostdns", "a container needs `hostDNS.enabled`");
        }
        if !forward {
            findings.error(
                "container-needs-hostdns-forward",
                "a container needs `hostDNS.forwardKubeDNSToHost`",
            );
        }
    }
}

/// Authorities and what belongs to one type of machine alone.
pub(super) fn authorities(
    findings: &mut Findings,
    machine: Part<'_>,
    cluster: Part<'_>,
    kind: Type,
) {
    let ca = machine.at("ca");
    let accepted = machine.at("acceptedCAs").items().next().is_some();
    if !ca.is_there() && !accepted {
        findings.error(
            "ca-or-accepted-required",
            "there is neither `machine.ca` nor `machine.acceptedCAs`",
        );
    }
    match kind {
        Type::ControlPlane => {
            cni(findings, cluster.at("network.cni"));
            if !ca.is_there() {
                findings.error("ca-required", "a control plane needs `machine.ca`");
            } else if ca.at("key").text().is_empty() {
                findings.error("ca-key-required", "a control plane needs `machine.ca.key`");
            }
        }
        Type::Worker => {
            for interface in machine.at("network.interfaces").items() {
                let links = std::iter::once(interface).chain(interface.at("vlans").items());
                for link in links.filter(|link| link.at("vip").is_there()) {
                    let name = link.at("interface").text();
                    findings.of(link.at("vip")).error(
                        "vip-on-worker",
                        format!("a worker cannot hold a shared address ({name})"),
                    );
                }
            }
            if !ca.at("key").text().is_empty() {
                findings.error("ca-key-on-worker", "`machine.ca.key` has no place on a worker");
            }
            if ca.is_there() && ca.at("crt").text().is_empty() && !accepted {
                findings.error(
                    "ca-certificate-required",
                    "a worker needs `machine.ca.crt` or `machine.acceptedCAs`",
                );
            }
            if !cluster.at("ca.key").text().is_empty() {
                findings.error(
                    "kubernetes-ca-key-on-worker",
                    "`cluster.ca.key` has no place on a worker",
                );
            }
        }
        Type::Unknown => {}
    }
}

fn cni(findings: &mut Findings, cni: Part<'_>) {
    if !cni.is_there() {
        return;
    }
    let name = cni.at("name").text();
    let urls: Vec<&str> = cni.at("urls").texts().collect();
    let flannel = cni.at("flannel").is_there();
    match name {
        "flannel" | "none" => {
            if !urls.is_empty() {
                findings
                    .of(cni)
                    .error("cni-urls-not-empty", format!("the CNI {name:?} takes no `urls`"));
            }
        }
        "custom" => {
            if urls.is_empty() {
                findings.of(cni).warning("cni-urls-empty", "the custom CNI has no `urls`");
            }
            for url in urls {
                if let Some(why) = not_an_endpoint(url) {
                    findings.of(cni).error("cni-url-invalid", format!("{url:?}: {why}"));
                }
            }
        }
        other => {
            findings
                .of(cni)
                .error("cni-unknown", format!("the CNI is {other:?}, not flannel, custom or none"));
        }
    }
    if matches!(name, "custom" | "none") && flannel {
        findings
            .of(cni)
            .error("cni-flannel-options", format!("the CNI {name:?} takes no options of flannel"));
    }
}

/// What comes after the interfaces.
pub(super) fn rest(
    findings: &mut Findings,
    machine: Part<'_>,
    cluster: Part<'_>,
    root: Part<'_>,
    kind: Type,
) {
    let kubespan = machine.at("network.kubespan");
    let small = kubespan.at("mtu").number().is_some_and(|mtu| mtu > 0 && mtu < 1280);
    if small && kubespan.at("enabled").is_on() {
        findings
            .of(kubespan.at("mtu"))
            .error("kubespan-mtu-small", "the MTU of KubeSpan is below 1280");
    }
    disks(findings, machine.at("disks"));
    kubelet(findings, machine.at("kubelet"));
    for (label, name) in [("EPHEMERAL", "ephemeral"), ("STATE", "state")] {
        encryption(findings, label, machine.at("systemDiskEncryption").at(name));
    }
    self::kubespan(findings, kubespan, cluster);
    for destination in machine.at("logging.destinations").items() {
        logging(findings, destination);
    }
    extensions(findings, machine.at("install.extensions"));
    names(findings, machine);
    talos_api(findings, machine.at("features"), kind);
    let algorithm = machine.at("features.nodeAddressSortAlgorithm").text();
    if !["", "v1", "v2"].contains(&algorithm) {
        findings.error("sort-algorithm-unknown", format!("the sort algorithm is {algorithm:?}"));
    }
    if root.at("persist").flag() == Some(false) {
        findings.error("persist-off", "`persist` is off");
    }
    runtime::check(findings, machine.at("baseRuntimeSpecOverrides"));
    for (section, class, what) in [
        ("config", "registry-config-null", "registries.config"),
        ("mirrors", "registry-mirror-null", "registries.mirrors"),
    ] {
        for (host, value) in machine.at("registries").at(section).entries() {
            if value.0.is_some_and(serde_json::Value::is_null) {
                findings.error(class, format!("{what}[{host:?}] is null"));
            }
        }
    }
}

fn disks(findings: &mut Findings, disks: Part<'_>) {
    for (index, disk) in disks.items().enumerate() {
        if disk.0.is_some_and(serde_json::Value::is_null) {
            findings.of(disk).error("disk-null", format!("machine.disks[{index}] is null"));
            continue;
        }
        let partitions: Vec<Part<'_>> = disk.at("partitions").items().collect();
        let last = partitions.len().saturating_sub(1);
        for (number, partition) in partitions.iter().enumerate() {
            let size = partition.at("size");
            let is_rest = !size.is_there() || size.number() == Some(0);
            if is_rest && number != last {
                findings.of(*partition).error(
                    "disk-partition-not-last",
                    "a partition without a size is not the last one",
                );
            }
        }
    }
}

fn kubelet(findings: &mut Findings, kubelet: Part<'_>) {
    for text in kubelet.at("nodeIP.validSubnets").texts().filter(|text| !is_subnet_filter(text)) {
        findings.of(kubelet).error("kubelet-subnet-invalid", format!("{text:?} is no subnet"));
    }
    for field in KUBELET_FIELDS {
        if kubelet.at("extraConfig").0.and_then(|config| config.get(field)).is_some() {
            findings.of(kubelet).error(
                "kubelet-field-protected",
                format!("`{field}` of the kubelet cannot be set"),
            );
        }
    }
}

fn encryption(findings: &mut Findings, partition: &str, encryption: Part<'_>) {
    if !encryption.is_there() {
        return;
    }
    let keys: Vec<Part<'_>> = encryption.at("keys").items().collect();
    if keys.is_empty() {
        findings.of(encryption).error(
            "encryption-keys-required-legacy",
            format!("the encryption of {partition} has no keys"),
        );
    }
    let mut slots = BTreeSet::new();
    for key in keys {
        let slot = key.at("slot").number().unwrap_or(0);
        if !slots.insert(slot) {
            findings.of(key).error(
                "encryption-slot-duplicate-legacy",
                format!("slot {slot} of {partition} is used twice"),
            );
        }
        let methods = ["nodeID", "static", "kms", "tpm"];
        if !methods.iter().any(|method| key.at(method).is_there()) {
            findings.of(key).error(
                "encryption-key-empty-legacy",
                format!("the key in slot {slot} of {partition} says nothing"),
            );
        }
    }
}

fn kubespan(findings: &mut Findings, kubespan: Part<'_>, cluster: Part<'_>) {
    if kubespan.at("enabled").is_on() {
        if !cluster.at("discovery.enabled").is_on() {
            findings.error("kubespan-needs-discovery", "KubeSpan needs `cluster.discovery`");
        }
        if cluster.at("id").text().is_empty() {
            findings.error("kubespan-needs-id", "KubeSpan needs `cluster.id`");
        }
        if cluster.at("secret").text().is_empty() {
            findings.error("kubespan-needs-secret", "KubeSpan needs `cluster.secret`");
        }
        for text in kubespan.at("filters.endpoints").texts().filter(|text| !is_subnet_filter(text))
        {
            findings
                .of(kubespan)
                .error("kubespan-filter-invalid", format!("{text:?} is no filter of endpoints"));
        }
        for text in
            kubespan.at("filters.excludeAdvertisedNetworks").texts().filter(|text| !is_prefix(text))
        {
            findings
                .of(kubespan)
                .error("kubespan-exclude-invalid", format!("{text:?} is no prefix"));
        }
    }
}

fn logging(findings: &mut Findings, destination: Part<'_>) {
    let endpoint = destination.at("endpoint");
    if !endpoint.is_there() {
        findings
            .of(destination)
            .error("logging-endpoint-empty", "a logging destination has no endpoint");
    } else if let Ok(url) = super::super::url::GoUrl::parse(endpoint.text()) {
        if url.host().is_empty() {
            findings
                .of(destination)
                .error("logging-host-empty", "the endpoint of a logging destination has no host");
        }
        if !["tcp", "udp"].contains(&url.scheme()) {
            findings
                .of(destination)
                .error("logging-scheme-invalid", "a logging destination is neither tcp nor udp");
        }
    }
    if destination.at("format").text() != "json_lines" {
        findings.of(destination).error(
            "logging-format-unknown",
            "the format of a logging destination is not json_lines",
        );
    }
}

fn extensions(findings: &mut Findings, extensions: Part<'_>) {
    let mut seen = BTreeSet::new();
    let mut any = false;
    for extension in extensions.items() {
        any = true;
        let image = extension.at("image").text();
        if !seen.insert(image) {
            findings
                .of(extension)
                .error("extension-duplicate", format!("the extension {image:?} is listed twice"));
        }
    }
    if any {
        findings.of(extensions).warning(
            "extensions-deprecated",
            "`install.extensions` does nothing any more: extensions belong to the image",
        );
    }
}

/// Labels, annotations and taints of the node.
fn names(findings: &mut Findings, machine: Part<'_>) {
    for (key, value) in machine.at("nodeLabels").entries() {
        if !label_name(key) {
            findings
                .of(machine)
                .error("node-labels-invalid", format!("{key:?} is no name of a label"));
        }
        if !label_value(value.text()) {
            findings
                .of(machine)
                .error("node-labels-invalid", format!("{:?} is no value of a label", value.text()));
        }
    }
    const RESERVED: [&str; 3] =
        ["talos.dev/owned-labels", "talos.dev/owned-annotations", "talos.dev/owned-taints"];
    for (key, _) in machine.at("nodeAnnotations").entries() {
        // Upper case is taken for lower case in names of annotations.
        if RESERVED.contains(&key) || !label_name(&key.to_ascii_lowercase()) {
            findings
                .of(machine)
                .error("node-annotations-invalid", format!("{key:?} cannot be an annotation"));
        }
    }
    for (key, value) in machine.at("nodeTaints").entries() {
        if !label_name(key) {
            findings
                .of(machine)
                .error("node-taints-invalid", format!("{key:?} is no name of a taint"));
        }
        let (value, effect) = value.text().rsplit_once(':').unwrap_or(("", value.text()));
        if !label_value(value) {
            findings
                .of(machine)
                .error("node-taints-invalid", format!("{value:?} is no value of a taint"));
        }
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            findings
                .of(machine)
                .error("node-taints-invalid", format!("{effect:?} is no effect of a taint"));
        }
    }
}

fn talos_api(findings: &mut Findings, features: Part<'_>, kind: Type) {
    let access = features.at("kubernetesTalosAPIAccess");
    if !access.at("enabled").is_on() {
        return;
    }
    if kind != Type::ControlPlane {
        findings
            .of(access)
            .error("talos-api-on-worker", "access to the Talos API belongs to control planes");
    }
    if findings.minor <= 11 && !features.at("rbac").is_on() {
        findings
            .of(access)
            .error("talos-api-needs-rbac", "access to the Talos API needs `features.rbac`");
    }
    for role in access.at("allowedRoles").texts() {
        if !release::has_role(findings.minor, role) {
            findings.of(access).error("talos-api-role-unknown", format!("{role:?} is no role"));
        }
    }
}
