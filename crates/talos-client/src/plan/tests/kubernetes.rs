//! Upgrades of Kubernetes, and what is gone after them.

use super::super::*;

fn nodes() -> Vec<KubernetesNode> {
    vec![
        KubernetesNode::new("w1", false, "v1.13.9")
            .image(Component::Kubelet, "mirror.example:5000/kubelet:v1.35.4-slim@sha256:00"),
        KubernetesNode::new("cp2", true, "v1.13.9"),
        KubernetesNode::new("cp1", true, "v1.13.9")
            .image(Component::ApiServer, "registry.k8s.io/kube-apiserver:v1.36.3"),
    ]
}

#[test]
fn parts_go_one_after_the_other_and_kubelets_last() {
    let steps = kubernetes_steps("v1.35.4", "1.36.3", &nodes()).unwrap();
    let text: Vec<String> = steps.iter().map(ToString::to_string).collect();
    assert_eq!(text[0], "look for what is gone between 1.35 and 1.36");
    let pulls = text.iter().filter(|line| line.contains(": pull ")).count();
    assert_eq!(pulls, 8, "five of static pods that are left, three kubelets: {text:?}");
    let images: Vec<&str> =
        text.iter().filter(|line| line.contains(" of ")).map(String::as_str).collect();
    assert_eq!(
        images,
        [
            "cp2: kube-apiserver of registry.k8s.io/kube-apiserver:v1.36.3",
            "cp1: kube-controller-manager of registry.k8s.io/kube-controller-manager:v1.36.3",
            "cp2: kube-controller-manager of registry.k8s.io/kube-controller-manager:v1.36.3",
            "cp1: kube-scheduler of registry.k8s.io/kube-scheduler:v1.36.3",
            "cp2: kube-scheduler of registry.k8s.io/kube-scheduler:v1.36.3",
            "cp1: kube-proxy of registry.k8s.io/kube-proxy:v1.36.3",
            "cp2: kube-proxy of registry.k8s.io/kube-proxy:v1.36.3",
            "cp1: kubelet of ghcr.io/siderolabs/kubelet:v1.36.3",
            "cp2: kubelet of ghcr.io/siderolabs/kubelet:v1.36.3",
            "w1: kubelet of mirror.example:5000/kubelet:v1.36.3-slim",
        ]
    );
    assert_eq!(text.last().map(String::as_str), Some("apply the manifests"));
}

#[test]
fn a_step_has_a_patch_in_the_form_of_the_configuration() {
    let step = KubernetesStep::Image {
        node: "cp1".into(),
        component: Component::ControllerManager,
        image: "r/kcm:v1.36.3".into(),
    };
    let main = step.patch(&["HostnameConfig"]).unwrap();
    assert_eq!(main, "cluster:\n    controllerManager:\n        image: r/kcm:v1.36.3\n");
    let own = step.patch(&["KubeControllerManagerConfig"]).unwrap();
    assert!(own.contains("kind: KubeControllerManagerConfig\nimage: r/kcm:v1.36.3"));
    let config = crate::config::MachineConfig::parse(
        "machine: {type: controlplane}\ncluster: {controllerManager: {image: r/kcm:v1.35.0}}\n",
    );
    let patch = crate::config::MachineConfig::parse(&main);
    assert!(config.is_ok() && patch.is_ok());
    assert_eq!(KubernetesStep::Manifests.patch(&[]), None);
}

#[test]
fn what_talos_or_kubelets_forbid_is_refused() {
    let refused = |from: &str, to: &str, nodes: &[KubernetesNode]| {
        kubernetes_steps(from, to, nodes).unwrap_err().reason
    };
    assert!(refused("1.34.0", "1.36.0", &nodes()).contains("next minor version"));
    assert!(refused("1.36.0", "1.35.0", &nodes()).contains("next minor version"));
    let text = refused("1.36.3", "1.37.0", &nodes());
    assert!(text.starts_with("cp1: Kubernetes 1.37.0 is too new"), "{text}");
    assert!(refused("1.35.0", "1.36.0", &[]).contains("no control plane"));
    let old = [nodes()[1].clone().image(Component::Kubelet, "k/kubelet:v1.32.0")];
    assert!(refused("1.35.0", "1.36.0", &old).contains("upgrade it first"));
    let young = [nodes()[1].clone().image(Component::Kubelet, "k/kubelet:v1.36.0")];
    assert!(refused("1.35.0", "1.35.1", &young).contains("is newer than"));
    let patch = kubernetes_steps("1.36.0", "1.36.3", &nodes()).unwrap();
    assert!(!matches!(patch[0], KubernetesStep::CheckRemoved { .. }));
}

#[test]
fn what_is_in_use_and_gone_is_found_where_it_is() {
    let line = |component, arguments: &[&str]| CommandLine {
        node: "cp1".into(),
        component,
        arguments: arguments.iter().map(ToString::to_string).collect(),
    };
    let parts = [
        line(
            Component::ApiServer,
            &[
                "/usr/local/bin/kube-apiserver",
                "--cloud-config=/x",
                "--enable-admission-plugins=NodeRestriction,SecurityContextDeny",
                "--feature-gates=KMSv2=true,Other=false",
            ],
        ),
        line(Component::Kubelet, &["--feature-gates", "AppArmor=true", "--cloud-config=/x"]),
        line(Component::Scheduler, &["--cloud-config=/x", "--profiling=false"]),
    ];
    let said = |from, to| -> Vec<String> {
        removed(from, to, &parts, &[]).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        said(32, 33),
        [
            "cp1: kube-apiserver: Kubernetes 1.33 no longer has the argument cloud-config",
            "cp1: kubelet: Kubernetes 1.33 no longer has the feature gate AppArmor",
        ]
    );
    assert_eq!(said(29, 33).len(), 4);
    assert_eq!(said(33, 34).len(), 1, "the kubelet's own argument goes a version later");
    assert!(said(34, 34).is_empty() && said(35, 37).is_empty());
    let api = |group: &str, version: &str, resource: &str| ApiInUse {
        group: group.into(),
        version: version.into(),
        resource: resource.into(),
    };
    let flow = api("flowcontrol.apiserver.k8s.io", "v1beta3", "flowschemas");
    let whole = api("flowcontrol.apiserver.k8s.io", "v1beta3", "");
    let found = removed(31, 32, &[], &[flow.clone(), whole, api("apps", "v1", "deployments")]);
    assert_eq!(found.len(), 2);
    assert_eq!(
        found[0].to_string(),
        "Kubernetes 1.32 no longer has the API flowcontrol.apiserver.k8s.io/v1beta3 flowschemas"
    );
    assert!(removed(32, 33, &[], &[flow]).is_empty());
}
