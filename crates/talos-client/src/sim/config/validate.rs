//! Checks of a configuration, in the words of the node.

use serde_json::Value;

use super::load::Config;

/// What the platform asks of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    /// Whether an installation is required (bare metal, nothing installed yet).
    pub(crate) requires_install: bool,
    /// Minor version of Talos 1.x.
    pub(crate) minor: u64,
}

/// Range of Kubernetes minor versions by Talos minor version.
const KUBERNETES: [(u64, u64, u64); 4] = [(11, 29, 34), (12, 30, 35), (13, 31, 36), (14, 32, 37)];

/// Check a configuration.
///
/// # Errors
/// The text with which the node refuses it.
pub(crate) fn validate(config: &Config, mode: Mode) -> Result<(), String> {
    let mut groups = Vec::new();
    if config.v1alpha1().is_some() {
        let problems = v1alpha1(config, mode);
        if !problems.is_empty() {
            groups.push(format!("v1alpha1.Config: {}", list(&problems)));
        }
    }
    for (kind, value) in config.others() {
        let problems = document(config, kind, value);
        match problems.as_slice() {
            [] => {}
            [one] => groups.push(format!("{kind}: {one}")),
            many => groups.push(format!("{kind}: {}", list(many))),
        }
    }
    if groups.is_empty() { versions(config, mode) } else { Err(list(&groups)) }
}

/// Several errors as one text.
pub(crate) fn list(problems: &[String]) -> String {
    let count = problems.len();
    let noun = if count == 1 { "error" } else { "errors" };
    let lines: Vec<_> = problems.iter().map(|p| format!("\t* {p}")).collect();
    format!("{count} {noun} occurred:\n{}\n\n", lines.join("\n"))
}

fn v1alpha1(config: &Config, mode: Mode) -> Vec<String> {
    let mut out = Vec::new();
    let given = |path: &str| config.at(path).is_some_and(|v| !v.is_null());
    endpoint(config, &mut out);
    if mode.requires_install {
        if !given("machine.install") {
            out.push("install instructions are required in \"metal\" mode".to_owned());
        } else if config.text("machine.install.disk").is_empty()
            && !given("machine.install.diskSelector")
        {
            out.push("either install disk or diskSelector should be defined".to_owned());
        }
    }
    if !given("machine.ca") && !given("machine.acceptedCAs") {
        out.push(
            "issuing CA or some accepted CAs are required (.machine.ca, machine.acceptedCAs)"
                .to_owned(),
        );
    }
    let kind = config.text("machine.type");
    match kind {
        "controlplane" | "init" => {
            if config.text("machine.ca.crt").is_empty() {
                out.push("issuing CA is required (.machine.ca)".to_owned());
            } else if config.text("machine.ca.key").is_empty() {
                out.push(
                    "issuing CA key is required for controlplane nodes (.machine.ca)".to_owned(),
                );
            }
        }
        "worker" | "join" | "" => worker(config, &mut out),
        other => out.push(format!("unknown machine type {other:?}")),
    }
    network(config, &mut out);
    if config.at("persist") == Some(&Value::Bool(false)) {
        out.push("persist should be enabled".to_owned());
    }
    out
}

fn endpoint(config: &Config, out: &mut Vec<String>) {
    let Some(endpoint) = config.at("cluster.controlPlane.endpoint").and_then(Value::as_str) else {
        out.push("cluster controlplane endpoint is required".to_owned());
        return;
    };
    let problem = match url::Url::parse(endpoint) {
        _ if endpoint.is_empty() => Some("hostname must not be blank".to_owned()),
        Ok(url) if url.host_str().is_none_or(str::is_empty) => {
            Some("hostname must not be blank".to_owned())
        }
        Ok(_) => None,
        Err(url::ParseError::EmptyHost | url::ParseError::RelativeUrlWithoutBase) => {
            Some("hostname must not be blank".to_owned())
        }
        Err(error) => Some(format!("parse {endpoint:?}: {error}")),
    };
    if let Some(problem) = problem {
        out.push(format!("invalid controlplane endpoint: {problem}"));
    }
}

fn worker(config: &Config, out: &mut Vec<String>) {
    let rules = [
        (
            "machine.ca.key",
            "issuing Talos API CA key is not allowed on non-controlplane nodes (.machine.ca)",
        ),
        (
            "cluster.ca.key",
            "issuing Kubernetes API CA key is not allowed on non-controlplane nodes (.cluster.ca)",
        ),
    ];
    for (path, problem) in rules {
        if !config.text(path).is_empty() {
            out.push(problem.to_owned());
        }
    }
    if config.at("cluster.etcd").is_some_and(|v| !v.is_null()) {
        out.push(
            "etcd configuration is not allowed on non-controlplane nodes (.cluster.etcd)"
                .to_owned(),
        );
    }
}

fn network(config: &Config, out: &mut Vec<String>) {
    let devices = config.at("machine.network.interfaces").and_then(Value::as_array);
    for (index, device) in devices.into_iter().flatten().enumerate() {
        let named = device.get("interface").is_some();
        let selected = device.get("deviceSelector").is_some();
        let path = format!("networking.os.device.interface {index}");
        match (named, selected) {
            (false, false) => {
                out.push(format!("[{path}]: required either config section to be set"));
            }
            (true, true) => out.push(format!("[{path}]: config sections are mutually exclusive")),
            _ => {}
        }
        for address in device.get("addresses").and_then(Value::as_array).into_iter().flatten() {
            let text = address.as_str().unwrap_or_default();
            let ip = text.split('/').next().unwrap_or_default();
            if text.parse::<ipnet::IpNet>().is_err()
                && (text != ip || ip.parse::<std::net::IpAddr>().is_err())
            {
                out.push(format!(
                    "[networking.os.device.addresses] {text:?}: invalid CIDR address: {text}"
                ));
            }
        }
    }
    let cni = config.text("cluster.network.cni.name");
    if !cni.is_empty() && !matches!(cni, "flannel" | "custom" | "none") {
        out.push("cni name should be one of [flannel, custom, none]".to_owned());
    }
}

fn document(config: &Config, kind: &str, value: &Value) -> Vec<String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut out = Vec::new();
    match kind {
        "HostnameConfig" => {
            if text("auto").is_empty() && text("hostname").is_empty() {
                out.push("either 'auto' or 'hostname' must be set".to_owned());
            } else if !matches!(text("auto"), "" | "off") && !text("hostname").is_empty() {
                out.push("'auto' and 'hostname' cannot be set at the same time".to_owned());
            }
            if !config.text("machine.network.hostname").is_empty() {
                out.push("static hostname is already set in v1alpha1 config".to_owned());
            }
        }
        "Layer2VIPConfig" => {
            if text("name").parse::<std::net::IpAddr>().is_err() {
                out.push(format!("name must be a valid IP address: {:?}", text("name")));
            }
            if text("link").is_empty() {
                out.push("link must be specified".to_owned());
            }
        }
        _ => {
            let named =
                super::schema::document_keys(kind, u64::MAX).is_some_and(|k| k.contains(&"name"));
            if named && text("name").is_empty() {
                out.push("name must be specified".to_owned());
            }
        }
    }
    out
}

fn versions(config: &Config, mode: Mode) -> Result<(), String> {
    let Some((_, low, high)) = KUBERNETES.iter().find(|(minor, ..)| *minor == mode.minor) else {
        return Ok(());
    };
    let images = [
        ("machine.kubelet.image", "kubelet"),
        ("cluster.apiServer.image", "kube-apiserver"),
        ("cluster.controllerManager.image", "kube-controller-manager"),
        ("cluster.scheduler.image", "kube-scheduler"),
    ];
    for (path, what) in images {
        let tag = config.text(path).split('@').next().unwrap_or_default();
        let Some((_, version)) = tag.rsplit_once(":v") else { continue };
        let minor = version.split('.').nth(1).and_then(|m| m.parse::<u64>().ok());
        let problem = match minor {
            Some(minor) if minor < *low => "too old",
            Some(minor) if minor > *high => "too new",
            _ => continue,
        };
        return Err(format!(
            "{what} image is not valid: version of Kubernetes {version} is {problem} to be used with Talos 1.{}",
            mode.minor
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::load::load;
    use super::*;

    const METAL: Mode = Mode { requires_install: true, minor: 13 };

    fn refusal(text: &str) -> String {
        load(text, 13).and_then(|c| validate(&c, METAL)).unwrap_err()
    }

    #[test]
    fn all_problems_are_listed() {
        let want = "1 error occurred:\n\t* v1alpha1.Config: 3 errors occurred:\n\t* cluster controlplane endpoint is required\n\t* install instructions are required in \"metal\" mode\n\t* issuing CA or some accepted CAs are required (.machine.ca, machine.acceptedCAs)\n\n\n\n";
        assert_eq!(refusal("version: v1alpha1\nmachine: {}\ncluster: {}\n"), want);
    }

    #[test]
    fn unknown_keys_are_shown_as_a_tree() {
        let text = "version: v1alpha1\nmachine:\n  type: worker\n  nosuch1: 1\n  network:\n    nosuch2: 2\ncluster: {}\n";
        let want = "error decoding document /v1alpha1/ (line 1): unknown keys found during decoding:\nmachine:\n    network:\n        nosuch2: 2\n    nosuch1: 1\n";
        assert_eq!(refusal(text), want);
    }

    #[test]
    fn documents_that_no_one_knows_are_refused() {
        assert_eq!(refusal("\n\n"), "config not found");
        assert_eq!(refusal("- a\n"), "expected a YAML document at line 1");
        assert_eq!(
            refusal("#cloud-config\nhostname: x\n"),
            "error decoding document /v1alpha1/ (line 2): missing kind"
        );
        assert_eq!(
            refusal("apiVersion: v9\nkind: HostnameConfig\nhostname: x\n"),
            "error decoding document v9/HostnameConfig/ (line 1): \"HostnameConfig\" \"v9\": not registered"
        );
    }
}
