//! Settings of Kubernetes: sections of the main document, documents of their own from 1.14 on.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::super::convert::{document, put};
use super::Settings;

/// What is said of Kubernetes.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Kubernetes {
    kubelet_arguments: Map<String, Value>,
    kubelet_config: Map<String, Value>,
    cluster_dns: Vec<String>,
    valid_subnets: Vec<String>,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    taints: Map<String, Value>,
    api_server_arguments: Map<String, Value>,
    api_server_names: Vec<String>,
    manifests: Vec<(String, String)>,
    kubeprism: Option<u16>,
    host_dns: Option<(bool, bool)>,
}

impl Settings {
    fn kubernetes(mut self, change: impl FnOnce(&mut Kubernetes)) -> Self {
        change(&mut self.kubernetes);
        self
    }

    /// An argument of the kubelet.
    #[must_use]
    pub fn kubelet_argument(self, name: &str, value: &str) -> Self {
        self.kubernetes(|all| drop(all.kubelet_arguments.insert(name.to_owned(), json!(value))))
    }

    /// A field of the kubelet's configuration.
    #[must_use]
    pub fn kubelet_field(self, name: &str, value: Value) -> Self {
        self.kubernetes(|all| drop(all.kubelet_config.insert(name.to_owned(), value)))
    }

    /// Adds an address at which pods find names.
    #[must_use]
    pub fn cluster_dns(self, address: IpAddr) -> Self {
        self.kubernetes(|all| all.cluster_dns.push(address.to_string()))
    }

    /// Adds a network of which the kubelet takes its address.
    #[must_use]
    pub fn valid_subnet(self, net: IpNet) -> Self {
        self.kubernetes(|all| all.valid_subnets.push(net.to_string()))
    }

    /// A label of the node.
    #[must_use]
    pub fn label(self, name: &str, value: &str) -> Self {
        self.kubernetes(|all| drop(all.labels.insert(name.to_owned(), json!(value))))
    }

    /// An annotation of the node.
    #[must_use]
    pub fn annotation(self, name: &str, value: &str) -> Self {
        self.kubernetes(|all| drop(all.annotations.insert(name.to_owned(), json!(value))))
    }

    /// A taint of the node: its value is `EFFECT` or `VALUE:EFFECT`.
    #[must_use]
    pub fn taint(self, name: &str, value: &str) -> Self {
        self.kubernetes(|all| drop(all.taints.insert(name.to_owned(), json!(value))))
    }

    /// An argument of the API server.
    #[must_use]
    pub fn api_server_argument(self, name: &str, value: &str) -> Self {
        self.kubernetes(|all| drop(all.api_server_arguments.insert(name.to_owned(), json!(value))))
    }

    /// Adds a name or address to the certificate of the API server.
    #[must_use]
    pub fn api_server_name(self, name: &str) -> Self {
        self.kubernetes(|all| all.api_server_names.push(name.to_owned()))
    }

    /// An argument of etcd.
    #[must_use]
    pub fn etcd_argument(self, name: &str, value: &str) -> Self {
        self.put(&["cluster", "etcd", "extraArgs", name], json!(value))
    }

    /// Adds a network of which etcd takes its address.
    #[must_use]
    pub fn etcd_subnet(self, net: IpNet) -> Self {
        self.push(&["cluster", "etcd", "advertisedSubnets"], json!(net.to_string()))
    }

    /// Adds a manifest that the cluster starts with.
    #[must_use]
    pub fn manifest(self, name: &str, text: &str) -> Self {
        self.kubernetes(|all| all.manifests.push((name.to_owned(), text.to_owned())))
    }

    /// The port of KubePrism, by which the API server is found on each node; 0 switches it off.
    #[must_use]
    pub fn kubeprism(self, port: u16) -> Self {
        self.kubernetes(|all| all.kubeprism = Some(port))
    }

    /// Whether the machine answers names itself, and for pods too.
    #[must_use]
    pub fn host_dns(self, on: bool, for_pods: bool) -> Self {
        self.kubernetes(|all| all.host_dns = Some((on, for_pods)))
    }
}

impl Kubernetes {
    pub(super) fn put(&self, minor: u32, main: &mut Map<String, Value>, out: &mut Vec<Value>) {
        match minor >= 14 {
            true => self.documents(main, out),
            false => self.sections(main),
        }
    }

    fn sections(&self, main: &mut Map<String, Value>) {
        let mut say = |path: &[&str], value: Value| {
            let is_nothing = match &value {
                Value::Object(map) => map.is_empty(),
                Value::Array(items) => items.is_empty(),
                other => other.is_null(),
            };
            if !is_nothing {
                put(main, path, value);
            }
        };
        say(&["machine", "kubelet", "extraArgs"], json!(self.kubelet_arguments));
        say(&["machine", "kubelet", "extraConfig"], json!(self.kubelet_config));
        say(&["machine", "kubelet", "clusterDNS"], json!(self.cluster_dns));
        say(&["machine", "kubelet", "nodeIP", "validSubnets"], json!(self.valid_subnets));
        say(&["machine", "nodeLabels"], json!(self.labels));
        say(&["machine", "nodeAnnotations"], json!(self.annotations));
        say(&["machine", "nodeTaints"], json!(self.taints));
        say(&["cluster", "apiServer", "extraArgs"], json!(self.api_server_arguments));
        say(&["cluster", "apiServer", "certSANs"], json!(self.api_server_names));
        let manifest = |(name, text): &(String, String)| json!({ "name": name, "contents": text });
        let manifests: Vec<Value> = self.manifests.iter().map(manifest).collect();
        say(&["cluster", "inlineManifests"], manifests.into());
        let prism = self.kubeprism.map(|port| match port {
            0 => json!({ "enabled": false }),
            port => json!({ "enabled": true, "port": port }),
        });
        say(&["machine", "features", "kubePrism"], prism.unwrap_or_default());
        let dns =
            self.host_dns.map(|(on, pods)| json!({ "enabled": on, "forwardKubeDNSToHost": pods }));
        say(&["machine", "features", "hostDNS"], dns.unwrap_or_default());
    }

    fn documents(&self, main: &mut Map<String, Value>, out: &mut Vec<Value>) {
        let mut say = |kind: &str, fields: Vec<(&'static str, Value)>| {
            let made = document(kind, fields);
            // A document without a field says nothing.
            if made.as_object().is_some_and(|map| map.len() > 2) {
                out.push(made);
            }
        };
        say(
            "KubeletConfig",
            vec![
                ("config", json!(self.kubelet_config)),
                ("extraArgs", json!(self.kubelet_arguments)),
                ("clusterDNS", json!(self.cluster_dns)),
            ],
        );
        let node_ip = match self.valid_subnets.as_slice() {
            [] => Value::Null,
            subnets => json!({ "validSubnets": subnets }),
        };
        say(
            "KubeNodeConfig",
            vec![
                ("nodeIP", node_ip),
                ("labels", json!(self.labels)),
                ("annotations", json!(self.annotations)),
                ("taints", json!(self.taints)),
            ],
        );
        say(
            "KubeAPIServerConfig",
            vec![
                ("extraArgs", json!(self.api_server_arguments)),
                ("certExtraSANs", json!(self.api_server_names)),
            ],
        );
        for (name, text) in &self.manifests {
            say("KubeInlineManifestConfig", vec![("name", json!(name)), ("manifest", json!(text))]);
        }
        if let Some(port) = self.kubeprism.filter(|port| *port > 0) {
            say("KubePrismConfig", vec![("port", json!(port))]);
        }
        if self.kubeprism == Some(0) {
            // It is there where its document is.
            let gone = ("$patch", json!("delete"));
            say("KubePrismConfig", vec![gone]);
        }
        if let Some((on, pods)) = self.host_dns {
            let dns = json!({ "enabled": on, "forwardKubeDNSToHost": pods });
            let resolvers = ["nameservers", "searchDomains"].map(|name| {
                let network = main.get_mut("machine").and_then(|one| one.get_mut("network"));
                network.and_then(Value::as_object_mut).and_then(|one| one.shift_remove(name))
            });
            let [servers, domains] = resolvers.map(Option::unwrap_or_default);
            let servers = servers.as_array().into_iter().flatten();
            let servers: Vec<Value> = servers.map(|one| json!({ "address": one })).collect();
            let domains = if domains.is_null() { domains } else { json!({ "domains": domains }) };
            say(
                "ResolverConfig",
                vec![("nameservers", servers.into()), ("searchDomains", domains), ("hostDNS", dns)],
            );
        }
    }
}

/// Parameters and modules of the kernel, which have documents of their own from 1.14 on.
pub(super) fn kernel(main: &mut Map<String, Value>, out: &mut Vec<Value>) {
    let Some(machine) = main.get_mut("machine").and_then(Value::as_object_mut) else { return };
    if let Some(params) = machine.shift_remove("sysctls") {
        out.push(document("SysctlConfig", [("params", params)]));
    }
    let kernel = machine.shift_remove("kernel").unwrap_or_default();
    let modules = kernel.get("modules").and_then(Value::as_array);
    for module in modules.into_iter().flatten() {
        let field = |name: &str| module.get(name).cloned().unwrap_or_default();
        let fields = [("name", field("name")), ("parameters", field("parameters"))];
        out.push(document("KernelModuleConfig", fields));
    }
}
