//! What to do about a finding.

/// What to do about a class of findings, where that can be told.
pub(super) fn of(class: &str) -> Option<&'static str> {
    let class = class.strip_prefix("strict-").unwrap_or(class);
    HINTS.iter().find(|(of, _)| *of == class).map(|(_, hint)| *hint)
}

/// Class and hint, in the order of the classes.
const HINTS: [(&str, &str); 84] = [
    ("bond-delay-not-multiple", "Linux rounds delays to `miimon`: write one of its multiples"),
    ("bond-delay-without-miimon", "set `miimon`, such as 100"),
    ("bond-option-missing", "write `miimon: 100`, `updelay: 200` and `downdelay: 200`"),
    ("bond-option-wrong-mode", "take the option out, or change the mode"),
    ("ca-key-on-worker", "a worker must not be able to sign: remove the key"),
    ("ca-key-required", "take the key from the secrets bundle (certs.os.key)"),
    ("ca-or-accepted-required", "take `ca` from the secrets bundle (certs.os)"),
    ("ca-required", "take `ca` from the secrets bundle (certs.os)"),
    ("cloud-provider-off-with-manifests", "set `enabled: true`, or remove the manifests"),
    ("cni-unknown", "for Cilium or Calico write `none`, and install it by manifest or Helm"),
    ("cni-urls-empty", "list the manifests in `urls`, or write `none`"),
    ("cni-urls-not-empty", "write `name: custom`, or remove the `urls`"),
    (
        "conflict-encryption",
        "keep the VolumeConfig document, remove `machine.systemDiskEncryption`",
    ),
    (
        "conflict-hostname",
        "keep one of them; from 1.12 on HostnameConfig with `auto: off` is the way",
    ),
    ("conflict-kubespan", "keep KubeSpanConfig, remove `machine.network.kubespan`"),
    ("conflict-resolver", "keep ResolverConfig, remove the old field"),
    ("conflict-stable-hostname", "remove `features.stableHostname`: `auto: stable` says the same"),
    ("conflict-time", "keep TimeSyncConfig, remove the old field"),
    ("container-needs-hostdns", "set `machine.features.hostDNS.enabled: true`"),
    (
        "container-needs-hostdns-forward",
        "set `machine.features.hostDNS.forwardKubeDNSToHost: true`",
    ),
    ("dhcp-duid-required", "write the DUID in hex, or take another `clientIdentifier`"),
    ("discovery-endpoint-path", "end the URL behind the host"),
    ("discovery-needs-id", "take it from the secrets bundle (cluster.id)"),
    ("discovery-needs-secret", "take it from the secrets bundle (cluster.secret)"),
    ("endpoint-invalid", "write it as https://HOST:6443"),
    ("endpoint-required", "write the address of the Kubernetes API, such as https://HOST:6443"),
    ("enslaved-link-addressed", "put the addresses on the bond or bridge"),
    ("etcd-ca-required", "take it from the secrets bundle (certs.etcd)"),
    ("etcd-on-worker", "remove the section: only control planes run etcd"),
    ("etcd-subnet-conflict", "remove `subnet`: it is the old name"),
    ("extension-duplicate", "remove one; extensions belong to the image anyway"),
    ("extensions-deprecated", "put them into the schematic of the installer's image"),
    ("hostdns-forward-needs-enabled", "set `hostDNS.enabled: true`"),
    ("hostname-both", "write `auto: off` beside `hostname`"),
    ("hostname-neither", "write `auto: stable`, or `auto: off` and `hostname`"),
    ("install-args-with-uki", "put them into the schematic, or set `grubUseUKICmdline: false`"),
    ("install-disk-required", "set `disk: /dev/…`, or a `diskSelector` by `wwid` or `busPath`"),
    (
        "install-required",
        "add `machine.install` with a disk; cloud images need none: `--mode cloud`",
    ),
    ("install-selector-invalid", "`type` is ssd, hdd, nvme or sd; `name` selects nothing any more"),
    ("interface-and-selector", "keep one of them"),
    ("interface-cidr-and-addresses", "keep `addresses`"),
    ("interface-unnamed", "name it with `interface`, or choose it with `deviceSelector`"),
    ("kubelet-field-protected", "Talos sets it itself: remove it"),
    ("kubelet-subnet-invalid", "write a prefix such as 10.0.0.0/8, with ! in front to exclude one"),
    ("kubernetes-ca-key-on-worker", "a worker must not be able to sign: remove the key"),
    ("kubespan-mtu-small", "write 1280 or more; 1420 is usual"),
    ("kubespan-needs-discovery", "set `cluster.discovery.enabled: true`"),
    ("link-route-destination-invalid", "leave out `destination`: that is the default route"),
    ("lint-authority-missing", "take it from the secrets bundle"),
    ("lint-etcd-subnets", "set `cluster.etcd.advertisedSubnets` to the network of the cluster"),
    ("lint-initial-cluster", "remove it: Talos knows whether the cluster is new"),
    (
        "lint-install-disk-name",
        "name it by `diskSelector` (`wwid`, `serial`, `busPath`) or /dev/disk/by-id",
    ),
    ("lint-install-disk-twice", "keep one of them"),
    ("lint-install-disk-unclear", "add `wwid`, `serial` or `busPath`"),
    (
        "lint-kernel-args",
        "put them into the schematic of the image, which both ways of booting use",
    ),
    ("lint-kernel-args-platform", "remove it, and take the image of the platform that is meant"),
    ("lint-kubernetes-version", "take a version of Kubernetes that this version of Talos runs"),
    ("lint-node-mask", "take a mask that is 1 to 16 bits longer than the prefix of the pods"),
    ("lint-sans-of-api-server", "list it in `cluster.apiServer.certSANs`"),
    ("lint-subnets-overlap", "take ranges that are apart"),
    (
        "lint-valid-subnets",
        "set `machine.kubelet.nodeIP.validSubnets` to the network of the cluster",
    ),
    ("lint-vip-in-pool", "take the address out of the pool"),
    ("lint-vip-in-subnet", "take an address of the nodes' network"),
    ("lint-vip-is-address", "take an address that no machine has"),
    ("logging-format-unknown", "write `format: json_lines`"),
    ("logging-scheme-invalid", "write udp://HOST:PORT or tcp://HOST:PORT"),
    ("machine-required", "add `machine` with a type, a token and a CA"),
    ("machine-type-alias", "write `type: worker`"),
    ("machine-type-unknown", "write `controlplane` or `worker`"),
    ("manifest-name-duplicate", "rename one; patches append to this list and replace nothing"),
    (
        "node-labels-invalid",
        "labels are [prefix/]name, values up to 63 of a-z, A-Z, 0-9, -, _ and .",
    ),
    ("node-taints-invalid", "write `key: value:NoSchedule`, or PreferNoSchedule or NoExecute"),
    ("persist-off", "remove it: Talos always keeps its configuration"),
    ("rule-ports-overlap", "merge the ranges"),
    ("service-nothing", "give it `configFiles` or `environment`"),
    ("talos-api-on-worker", "remove it here; pods on workers get access through control planes"),
    ("talos-api-role-unknown", "such as os:reader, os:etcd:backup, os:operator or os:admin"),
    ("tls-ca-invalid", "write the PEM text itself, not base64 of it"),
    ("vip-link-required", "name the link, such as eth0 or an alias"),
    ("vip-on-worker", "shared addresses are held by control planes: remove it here"),
    ("vlan-cidr-and-addresses", "keep `addresses`"),
    ("volume-provisioning-not-allowed", "remove `provisioning`"),
    ("watchdog-device-required", "such as /dev/watchdog0"),
    ("watchdog-timeout-small", "write 10s or more"),
];

#[cfg(test)]
mod tests {
    use super::HINTS;

    #[test]
    fn hints_are_for_classes_that_there_are() {
        let sources = [
            include_str!("cluster.rs"),
            include_str!("document.rs"),
            include_str!("lint/cluster.rs"),
            include_str!("lint/install.rs"),
            include_str!("lint/network.rs"),
            include_str!("machine.rs"),
            include_str!("mod.rs"),
            include_str!("network.rs"),
            include_str!("other.rs"),
            include_str!("volume.rs"),
        ];
        for (class, _) in HINTS {
            let name = format!("\"{class}\"");
            assert!(sources.iter().any(|source| source.contains(&name)), "{class}");
        }
        assert!(HINTS.is_sorted_by_key(|(class, _)| *class));
    }
}
