//! Manifests that a control plane brings to a new cluster.

use serde_json::{Value, json};

use super::super::config::yaml;
use super::super::node::Machine;
use super::{Facts, kubernetes};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Every manifest, each a list of objects.
pub(super) fn facts(machine: &Machine, out: &mut Facts) {
    let is_off =
        |key: &str| machine.config.at(&format!("cluster.{key}.disabled")) == Some(&json!(true));
    let mut add = |id: &str, owner: &'static str, objects: Vec<Value>| {
        let place = ("controlplane", "Manifests.kubernetes.talos.dev");
        out.add(place, owner, id, Value::Array(objects));
    };
    let node = "k8s.ManifestController";
    add("00-kubelet-bootstrapping-token", node, vec![token(machine.config.text("cluster.token"))]);
    let bootstrappers = "system:bootstrappers:nodes";
    let nodes = "system:nodes";
    let client = "system:certificates.k8s.io:certificatesigningrequests";
    add(
        "01-csr-approver-role-binding",
        node,
        vec![binding(
            "system-bootstrap-approve-node-client-csr",
            &format!("{client}:nodeclient"),
            bootstrappers,
        )],
    );
    add(
        "01-csr-node-bootstrap",
        node,
        vec![binding(
            "system-bootstrap-node-bootstrapper",
            "system:node-bootstrapper",
            bootstrappers,
        )],
    );
    add(
        "01-csr-renewal-role-binding",
        node,
        vec![binding("system-bootstrap-node-renewal", &format!("{client}:selfnodeclient"), nodes)],
    );
    if matches!(machine.config.text("cluster.network.cni.name"), "" | "flannel") {
        add("05-flannel", node, flannel(machine));
    }
    if !is_off("proxy") {
        add("10-kube-proxy", node, proxy(machine));
    }
    if !is_off("coreDNS") {
        add("11-core-dns", node, resolver(machine));
        add("11-core-dns-svc", node, vec![resolver_service(machine)]);
    }
    add("11-kube-config-in-cluster", node, vec![in_cluster(machine)]);
    let rule =
        json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]});
    let role = json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole",
        "metadata": {"name": "system:talos-nodes"}, "rules": [rule],
    });
    let bound = binding("system:talos-nodes", "system:talos-nodes", "system:nodes");
    add("11-talos-node-rbac-template", node, vec![role, bound]);
    let list = machine.config.at("cluster.inlineManifests").and_then(Value::as_array);
    for manifest in list.into_iter().flatten() {
        let text = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default();
        let objects = yaml::parse(text("contents")).unwrap_or_default();
        let objects = objects.iter().map(yaml::Node::value).collect();
        add(&format!("99-{}", text("name")), "k8s.ExtraManifestController", objects);
    }
}

fn named(version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "kube-system"}})
}

fn with(mut object: Value, parts: Value) -> Value {
    if let (Some(map), Value::Object(parts)) = (object.as_object_mut(), parts) {
        map.extend(parts);
    }
    object
}

fn binding(name: &str, role: &str, group: &str) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": group}],
    })
}

fn token(token: &str) -> Value {
    let (id, secret) = token.split_once('.').unwrap_or((token, ""));
    let data = json!({
        "auth-extra-groups": "system:bootstrappers:nodes", "token-id": id, "token-secret": secret,
        "usage-bootstrap-authentication": "true",
    });
    with(
        named("v1", "Secret", &format!("bootstrap-token-{id}")),
        json!({"type": "bootstrap.kubernetes.io/token", "stringData": data}),
    )
}

fn daemon(name: &str, image: &str, command: &[String]) -> Value {
    let label = json!({"k8s-app": name});
    let container = json!({"name": name, "image": image, "command": command});
    let pod = json!({
        "metadata": {"labels": label},
        "spec": {"hostNetwork": true, "serviceAccountName": name, "containers": [container], "tolerations": [{"operator": "Exists"}]},
    });
    with(
        named("apps/v1", "DaemonSet", name),
        json!({"spec": {"selector": {"matchLabels": label}, "template": pod}}),
    )
}

fn flannel(machine: &Machine) -> Vec<Value> {
    let pods = kubernetes::pods(machine);
    let network = |six: bool| pods.iter().find(|net| net.contains(':') == six).cloned();
    let mut settings = json!({"Backend": {"Type": "vxlan", "Port": 4789}});
    if let Some(map) = settings.as_object_mut() {
        for (key, net) in [("Network", network(false)), ("IPv6Network", network(true))] {
            map.extend(net.map(|net| (key.to_owned(), json!(net))));
        }
    }
    let data = json!({"data": {"net-conf.json": settings.to_string()}});
    vec![
        named("v1", "ServiceAccount", "flannel"),
        with(named("v1", "ConfigMap", "kube-flannel-cfg"), data),
        daemon("kube-flannel", "ghcr.io/siderolabs/flannel", &["/opt/bin/flanneld".to_owned()]),
    ]
}

fn proxy(machine: &Machine) -> Vec<Value> {
    let mode = match machine.config.text("cluster.proxy.mode") {
        "" => "nftables",
        mode => mode,
    };
    let mut command = vec![
        "/usr/local/bin/kube-proxy".to_owned(),
        format!("--cluster-cidr={}", kubernetes::pods(machine).join(",")),
        "--hostname-override=$(NODE_NAME)".to_owned(),
        "--kubeconfig=/etc/kubernetes/kubeconfig".to_owned(),
        format!("--proxy-mode={mode}"),
    ];
    let own = machine.config.at("cluster.proxy.extraArgs").and_then(Value::as_object);
    for (key, value) in own.into_iter().flatten() {
        command.extend(kubernetes::values(value).iter().map(|value| format!("--{key}={value}")));
    }
    vec![
        named("v1", "ServiceAccount", "kube-proxy"),
        daemon("kube-proxy", machine.config.text("cluster.proxy.image"), &command),
    ]
}

fn resolver(machine: &Machine) -> Vec<Value> {
    let image = match machine.config.text("cluster.coreDNS.image") {
        "" => match machine.minor() {
            11 => "registry.k8s.io/coredns/coredns:v1.12.4",
            12 => "registry.k8s.io/coredns/coredns:v1.14.2",
            _ => "registry.k8s.io/coredns/coredns:v1.14.6",
        },
        image => image,
    };
    let domain = kubernetes::domain(machine);
    let file = format!(
        ".:53 {{\n    kubernetes {domain} in-addr.arpa ip6.arpa\n    forward . /etc/resolv.conf\n}}\n"
    );
    let label = json!({"k8s-app": "kube-dns"});
    let container =
        json!({"name": "coredns", "image": image, "args": ["-conf", "/etc/coredns/Corefile"]});
    let pod = json!({"metadata": {"labels": label}, "spec": {"serviceAccountName": "coredns", "containers": [container]}});
    vec![
        named("v1", "ServiceAccount", "coredns"),
        with(named("v1", "ConfigMap", "coredns"), json!({"data": {"Corefile": file}})),
        with(
            named("apps/v1", "Deployment", "coredns"),
            json!({"spec": {"replicas": 2, "selector": {"matchLabels": label}, "template": pod}}),
        ),
    ]
}

fn resolver_service(machine: &Machine) -> Value {
    let ports: Vec<Value> = [("dns", "UDP"), ("dns-tcp", "TCP")]
        .iter()
        .map(|(name, protocol)| json!({"name": name, "port": 53, "protocol": protocol, "targetPort": 53}))
        .collect();
    let addresses = kubernetes::resolvers(machine);
    with(
        named("v1", "Service", "kube-dns"),
        json!({"spec": {"clusterIP": addresses.first(), "clusterIPs": addresses, "selector": {"k8s-app": "kube-dns"}, "ports": ports}}),
    )
}

fn in_cluster(machine: &Machine) -> Value {
    let file = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "service-account",
        "clusters": [{"name": "local", "cluster": {
            "server": machine.config.text("cluster.controlPlane.endpoint"),
            "certificate-authority": "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
        }}],
        "contexts": [{"name": "service-account", "context": {"cluster": "local", "user": "service-account"}}],
        "users": [{"name": "service-account", "user": {"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}}],
    });
    with(
        named("v1", "ConfigMap", "kubeconfig-in-cluster"),
        json!({"data": {"kubeconfig": yaml::write(&file)}}),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::config::load;
    use super::*;

    #[test]
    fn what_is_switched_off_is_not_brought() {
        let text = concat!(
            "machine:\n    type: controlplane\ncluster:\n    token: abcdef.0123\n    network:\n        cni:\n            name: none\n",
            "    proxy:\n        disabled: true\n    coreDNS:\n        disabled: true\n    inlineManifests:\n        - name: mine\n",
            "          contents: |\n            kind: A\n            ---\n            kind: B\n",
        );
        let machine = Machine { config: load(text, 13).unwrap(), ..Machine::default() };
        let mut out = Facts::default();
        facts(&machine, &mut out);
        let ids: Vec<&str> = out.0.iter().map(|fact| fact.id.as_str()).collect();
        for id in ["05-flannel", "10-kube-proxy", "11-core-dns", "11-core-dns-svc"] {
            assert!(!ids.contains(&id), "{id}");
        }
        let token = &out.0[0].spec[0];
        assert_eq!(token["stringData"]["token-secret"], "0123");
        let last = out.0.last().unwrap();
        assert_eq!((last.id.as_str(), last.spec.as_array().map(Vec::len)), ("99-mine", Some(2)));
    }
}
