//! What Talos takes and users regret.

mod cluster;
mod install;
mod network;

use serde_json::Value;

use super::super::MachineConfig;
use super::super::machine::id_of;
use super::{Finding, Findings, Mode, Part};

impl MachineConfig {
    /// What Talos takes without a word and users regret, by the habits of a minor version of Talos 1.
    /// It is no reason to refuse a configuration.
    ///
    /// | class | what |
    /// |---|---|
    /// | `lint-install-disk-name` | the system disk is the one that the kernel finds first |
    /// | `lint-install-disk-unclear` | what selects the system disk may fit several |
    /// | `lint-install-disk-twice` | a name of the disk beside a selector, which wins |
    /// | `lint-kernel-args` | arguments that UEFI machines do not boot with |
    /// | `lint-kernel-args-platform` | the platform among the arguments |
    /// | `lint-sans-of-api-server` | a name for the API server in the certificate of the Talos API |
    /// | `lint-vip-in-pool` | a shared address that a load balancer may give away |
    /// | `lint-vip-in-subnet` | a shared address among those of pods or services |
    /// | `lint-vip-is-address` | a shared address that a link has for itself |
    /// | `lint-initial-cluster` | etcd is told who its members are |
    /// | `lint-valid-subnets` | several addresses, and none is chosen for the kubelet |
    /// | `lint-etcd-subnets` | several addresses, and none is chosen for etcd |
    /// | `lint-authority-missing` | a key without which a component never starts |
    /// | `lint-subnets-overlap` | pods and services share addresses |
    /// | `lint-node-mask` | the share of a node does not fit into the range of pods |
    /// | `lint-kubernetes-version` | an image that the node will refuse |
    pub fn lint(&self, minor: u32) -> Vec<Finding> {
        let mut findings = Findings::new(Mode::Metal, minor);
        let tree = Tree { documents: self.documents() };
        "v1alpha1".clone_into(&mut findings.document);
        if let Some(main) = tree.main().0 {
            let main = Part(Some(main));
            install::check(&mut findings, main);
            cluster::check(&mut findings, &tree, main);
        }
        network::check(&mut findings, &tree);
        findings.placed(self.documents()).warnings
    }
}

/// All documents.
struct Tree<'a> {
    documents: &'a [Value],
}

impl<'a> Tree<'a> {
    fn main(&self) -> Part<'a> {
        Part(self.documents.iter().find(|document| document.get("kind").is_none()))
    }

    /// Documents of a kind, each with how it is called in findings.
    fn of(&self, kind: &str) -> impl Iterator<Item = (String, Part<'a>)> {
        let documents = self.documents.iter().filter(move |document| id_of(document).kind == kind);
        documents.map(|document| (id_of(document).to_string(), Part(Some(document))))
    }

    fn is_control_plane(&self) -> bool {
        matches!(self.main().at("machine.type").text(), "controlplane" | "init")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Lines;

    /// Class and line of everything that is found in a text.
    fn lint(text: &str, minor: u32) -> Vec<(&'static str, usize)> {
        let lines = Lines::of(text);
        let found = MachineConfig::parse(text).unwrap().lint(minor);
        let mut found: Vec<_> = found
            .iter()
            .map(|one| {
                assert!(one.hint().is_some(), "{} has no hint", one.class);
                (one.class, lines.line(&one.document, &one.path).unwrap())
            })
            .collect();
        found.sort_by_key(|(_, line)| *line);
        found
    }

    const REGRET: &str = "\
machine:
    type: controlplane
    certSANs:
        - cp01.example.org
        - k8s.example.org
    kubelet:
        image: ghcr.io/siderolabs/kubelet:v1.20.0
    install:
        disk: /dev/sda
        extraKernelArgs:
            - console=ttyS0
            - talos.platform=nocloud
    network:
        interfaces:
            - interface: eth0
              addresses:
                  - 10.0.0.5/24
                  - 10.9.0.5/24
              vip:
                  ip: 10.0.0.100
cluster:
    controlPlane:
        endpoint: https://10.0.0.100:6443
    network:
        podSubnets: [10.244.0.0/16]
        serviceSubnets: [10.244.128.0/20]
    etcd:
        ca: {crt: YQ==, key: YQ==}
        extraArgs:
            initial-cluster-state: new
    controllerManager:
        extraArgs:
            node-cidr-mask-size: '12'
    ca: {crt: YQ==, key: YQ==}
    inlineManifests:
        - name: pool
          contents: |
            apiVersion: cilium.io/v2alpha1
            kind: CiliumLoadBalancerIPPool
            metadata: {name: a}
            spec: {blocks: [{cidr: 10.0.0.96/28}]}
";

    #[test]
    fn what_is_regretted_is_found_where_it_stands() {
        let wanted = [
            ("lint-sans-of-api-server", 5),
            ("lint-kubernetes-version", 7),
            ("lint-valid-subnets", 6),
            ("lint-install-disk-name", 9),
            ("lint-kernel-args", 10),
            ("lint-kernel-args-platform", 12),
            ("lint-vip-in-pool", 20),
            ("lint-authority-missing", 21),
            ("lint-authority-missing", 21),
            ("lint-subnets-overlap", 26),
            ("lint-etcd-subnets", 27),
            ("lint-initial-cluster", 30),
            ("lint-node-mask", 33),
        ];
        let mut wanted = wanted.to_vec();
        wanted.sort_by_key(|(class, line)| (*line, *class));
        let mut found = lint(REGRET, 13);
        found.sort_by_key(|(class, line)| (*line, *class));
        assert_eq!(found, wanted);
    }

    #[test]
    fn documents_of_their_own_are_looked_at_too() {
        let text = "\
machine: {type: worker}
---
apiVersion: v1alpha1
kind: LinkConfig
name: eth0
addresses:
    - address: 2001:db8::5/64
    - address: 2001:db8:1::5/64
    - address: fe80::5/64
    - address: 10.0.0.5/24
---
apiVersion: v1alpha1
kind: Layer2VIPConfig
name: 10.0.0.5
link: eth0
";
        assert_eq!(lint(text, 13), [("lint-valid-subnets", 1), ("lint-vip-is-address", 14)]);
        let chosen = format!(
            "{text}---\napiVersion: v1alpha1\nkind: KubeNodeConfig\nnodeIP: {{validSubnets: ['10.0.0.0/8']}}\n"
        );
        assert_eq!(lint(&chosen, 14), [("lint-vip-is-address", 14)]);
    }

    #[test]
    fn what_a_generator_makes_gives_no_reason() {
        use crate::config::{GenerateInput, MachineType};
        use crate::secrets::Bundle;
        let bundle = Bundle::generate("1.6".parse().unwrap(), 1_780_000_000).unwrap();
        for minor in [11, 12, 13] {
            let contract = format!("1.{minor}").parse().unwrap();
            for role in [MachineType::ControlPlane, MachineType::Worker] {
                let url = "https://10.0.0.1:6443";
                let input = GenerateInput::new(contract, role, "a", url, "1.34.1");
                let config = MachineConfig::generate(&bundle, &input).unwrap();
                assert_eq!(config.lint(minor), [], "1.{minor}");
            }
        }
    }
}
