//! Rules that came with 1.14: of its documents, of what they say beside the main one, and of all of them
//! together.

mod beside;
mod kubernetes;
mod machine;
mod network;
mod storage;

pub(super) use beside::{conflict, together};

use super::super::DocumentId;
use super::{Findings, Part};

pub(super) fn check(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    kubernetes::check(findings, id, document);
    machine::check(findings, id, document);
    network::check(findings, id, document);
    storage::check(findings, id, document);
}

fn is_negative(part: Part<'_>) -> bool {
    part.text().starts_with('-') || part.number().is_some_and(|number| number < 0)
}

#[cfg(test)]
mod tests {
    use crate::config::{GenerateInput, MachineConfig, MachineType, Mode};
    use crate::secrets::Bundle;

    fn classes(text: &str) -> Vec<&'static str> {
        let found = MachineConfig::load_for(text, 14).unwrap().validate(Mode::Metal, 14, false);
        found.errors.iter().chain(&found.warnings).map(|one| one.class).collect()
    }

    fn document(kind: &str, fields: &str) -> String {
        format!("apiVersion: v1alpha1\nkind: {kind}\n{fields}\n")
    }

    #[test]
    fn documents_of_1_14_are_checked() {
        for (kind, fields, wanted) in [
            (
                "KubeNetworkConfig",
                "podSubnets: [10.0.0.0/16]\nserviceSubnets: [10.96.0.0/12]",
                &[][..],
            ),
            ("KubeNetworkConfig", "", &["kube-subnets-invalid"; 2]),
            (
                "KubeAPIServerConfig",
                "image: a\nextraArgs: {oidc-issuer-url: b}",
                &["kube-argument-denied"],
            ),
            ("KubeProxyConfig", "enabled: false\nmode: odd", &[]),
            ("KubeProxyConfig", "image: a\nmode: ipvs", &["kube-proxy-mode-old"]),
            ("HTTPProbeConfig", "name: a\nurl: tcp://a", &["probe-url-invalid"]),
            ("VethConfig", "name: a\npeer: {name: a}", &["veth-same-name"]),
            ("EtcFileConfig", "name: ssl/a\ncontents: b", &["etc-path-managed"]),
            ("EtcFileConfig", "name: ../a\ncontents: b", &["etc-path-invalid"]),
            ("KernelModuleConfig", "name: a\nparameters: [b]", &[]),
            ("FilesystemScrubConfig", "interval: 1s", &["scrub-interval-small"]),
            ("LVMVolumeGroupConfig", "name: a", &["volume-selector-required"]),
            (
                "UnattendedInstallConfig",
                "provisioning: {diskSelector: {match: 'disk.size > 1u'}}",
                &["installer-image-absent"],
            ),
            (
                "BGPInstanceConfig",
                "name: a\nlocalASN: 65000\nneighbors: [{address: 10.0.0.1, peerASN: 1}, {peerASN: 2}]",
                &["bgp-neighbor-identity"],
            ),
            (
                "ResolverConfig",
                "nameservers: [{address: 1.1.1.1, protocol: DoT, tlsServerName: a}]",
                &["encrypted-dns-needs-hostdns", "nameservers-all-encrypted"],
            ),
        ] {
            let text = document(kind, fields);
            assert_eq!(classes(&text), wanted, "{text}");
            if !["ResolverConfig"].contains(&kind) {
                assert!(MachineConfig::load_for(&text, 13).is_err(), "{text}");
            }
        }
        assert!(MachineConfig::load_for(&document("KubeletConfig", "imag: a"), 14).is_err());
    }

    #[test]
    fn what_the_generator_makes_for_1_14_is_taken() {
        let bundle = Bundle::generate("1.6".parse().unwrap(), 1_780_000_000).unwrap();
        for role in [MachineType::ControlPlane, MachineType::Worker] {
            let contract = "1.14".parse().unwrap();
            let mut input =
                GenerateInput::new(contract, role, "a", "https://10.0.0.1:6443", "1.37.0");
            input.install_disk = Some("/dev/vda".to_owned());
            input.install_image = Some("installer:v1.14.0".to_owned());
            let text = MachineConfig::generate(&bundle, &input).unwrap().to_yaml();
            assert_eq!(classes(&text), Vec::<&str>::new(), "{}", *text);
            let read = MachineConfig::load_for(&text, 14).unwrap();
            assert!(MachineConfig::parse(&text).unwrap().diff(&read).is_empty());
            let taken = Bundle::from_machine_config(&text).unwrap();
            if role == MachineType::ControlPlane {
                assert_eq!(taken, bundle);
            }
            let mut documents = read.documents().to_vec();
            documents[0]["cluster"]["network"] = serde_json::json!({});
            let found = MachineConfig::of_documents(documents).validate(Mode::Metal, 14, false);
            let wanted = if role == MachineType::ControlPlane { 2 } else { 1 };
            let told: Vec<_> = found.errors.iter().map(|one| one.class).collect();
            assert_eq!(told, vec!["conflict-kubernetes"; wanted]);
        }
    }
}
