//! Answers to `talos-gen`.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use talos_client::config::{
    Cni, ConfigError, Finding, GenerateInput, LinkSelector, LinkSetting, MachineConfig,
    MachineType, Mode, NetworkOption, Patch, UserDisk, kubernetes_fits, patch_text,
};
use talos_client::secrets::Bundle;

fn refused(stage: &str, text: &dyn std::fmt::Display) -> Value {
    json!({ "error": { "stage": stage, "text": text.to_string() } })
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Our answer to a case.
pub(super) fn generate(dir: &Path, case: &Value) -> anyhow::Result<Value> {
    let name = case["bundle"].as_str().context("no `bundle`")?;
    let bundle = Bundle::parse(&fs_err::read_to_string(dir.join("bundles").join(name))?)?;
    let input = match input(case) {
        Ok(input) => input,
        Err(refusal) => return Ok(refusal),
    };
    let mut config = match MachineConfig::generate(&bundle, &input) {
        Ok(config) => config,
        Err(error) => return Ok(refused("generate", &error)),
    };
    let patches: Result<Vec<Patch>, _> = strings(&case["options"]["patches"])
        .iter()
        .map(|source| Patch::parse("patch", source))
        .collect();
    match patches.and_then(|patches| config.patched(&patches)) {
        Ok(patched) => config = patched,
        Err(error) => return Ok(refused("patch", &error)),
    }
    let kinds: Vec<String> = config.ids().map(|id| id.kind).collect();
    let mut answer = json!({ "kinds": kinds, "documents": config.documents() });
    let checks: serde_json::Map<String, Value> = strings(&case["check"])
        .into_iter()
        .map(|name| {
            let verdict = check(&config, &name, case);
            (name, verdict)
        })
        .collect();
    if !checks.is_empty() {
        answer["checks"] = Value::Object(checks);
    }
    if case["yaml"] == json!(true) {
        answer["yaml"] = json!(config.to_yaml().as_str());
    }
    Ok(answer)
}

/// Minor version of the newest library that gives a case's answer.
fn newest(case: &Value) -> u32 {
    let minors = strings(&case["machinery"]).into_iter();
    let minors = minors.filter_map(|text| text.strip_prefix("1.")?.parse().ok());
    // A pre-release of 1.14 is no judge where a release speaks too.
    let all: Vec<u32> = minors.collect();
    all.iter().copied().filter(|minor| *minor < 14).max().or(all.first().copied()).unwrap_or(13)
}

fn mode(name: &str) -> Option<Mode> {
    Some(match name {
        "metal" => Mode::Metal,
        "cloud" => Mode::Cloud,
        "container" => Mode::Container,
        "metal-agent" => Mode::MetalAgent,
        _ => return None,
    })
}

/// A question about a generated configuration.
fn check(config: &MachineConfig, name: &str, case: &Value) -> Value {
    let errors: Vec<String> = match mode(name) {
        Some(mode) => {
            let found = config.validate(mode, newest(case), false);
            found.errors.iter().map(ToString::to_string).collect()
        }
        None => {
            let contract =
                case["contract"].as_str().filter(|text| !text.is_empty()).unwrap_or("1.13");
            let version = case["kubernetes_version"].as_str().unwrap_or_default();
            kubernetes_fits(contract, version).err().into_iter().collect()
        }
    };
    match errors.is_empty() {
        true => json!({ "ok": true }),
        false => json!({ "ok": false, "errors": errors }),
    }
}

/// Our answer to a case of `talos-validate`.
pub(super) fn validate(case: &Value) -> anyhow::Result<Value> {
    let text = case["config"].as_str().context("no `config`")?;
    let mode = mode(case["mode"].as_str().unwrap_or_default()).context("no such mode")?;
    let finding = |finding: &Finding| {
        let mut value = json!({ "class": finding.class, "text": finding.text });
        if !finding.document.is_empty() && newest(case) > 11 {
            value["doc"] = json!(finding.document);
        }
        value
    };
    let config = match MachineConfig::load_for(text, newest(case)) {
        Ok(config) => config,
        Err(error) => {
            let error =
                json!({ "phase": "load", "class": error.class(), "text": error.to_string() });
            return Ok(json!({ "ok": false, "errors": [error], "warnings": [] }));
        }
    };
    let found = config.validate(mode, newest(case), case["strict"] == json!(true));
    let errors: Vec<Value> = found.errors.iter().map(finding).collect();
    let warnings: Vec<Value> = found.warnings.iter().map(finding).collect();
    Ok(json!({ "ok": errors.is_empty(), "errors": errors, "warnings": warnings }))
}

/// Our answer to a case of `talos-patch`: patches are read first, then they are applied.
pub(super) fn patch(case: &Value) -> anyhow::Result<Value> {
    let text = case["config"].as_str().context("no `config`")?;
    let refused = |step: &str, error: &ConfigError| {
        let text = error.to_string();
        json!({ "error": { "step": step, "class": error.class(), "text": text } })
    };
    let patches: Result<Vec<Patch>, _> =
        strings(&case["patches"]).iter().map(|source| Patch::parse("patch", source)).collect();
    let patches = match patches {
        Ok(patches) => patches,
        Err(error) => return Ok(refused("patch", &error)),
    };
    let patched = match patch_text(text, &patches) {
        Ok(patched) => patched,
        Err(error) => {
            let reads = MachineConfig::load(text);
            let is_config = reads.is_err_and(|read| read.class() == error.class());
            return Ok(refused(if is_config { "config" } else { "apply" }, &error));
        }
    };
    // With operations alone, or none, the text need not be a configuration.
    let documents = match MachineConfig::parse(&patched) {
        Ok(config) => config.documents().to_vec(),
        Err(_) => Vec::new(),
    };
    let mut answer = json!({ "documents": documents });
    if let Err(error) = MachineConfig::load(&patched) {
        let text = error.to_string();
        answer["reload"] = json!({ "step": "reload", "class": error.class(), "text": text });
    }
    Ok(answer)
}

fn input(case: &Value) -> Result<GenerateInput, Value> {
    let machine_type = match case["type"].as_str().unwrap_or_default() {
        "init" => MachineType::Init,
        "controlplane" => MachineType::ControlPlane,
        "" | "join" | "worker" => MachineType::Worker,
        other => return Err(refused("generate", &format!("unknown machine type {other:?}"))),
    };
    // Without one it is the newest that the library has released.
    let contract = case["contract"].as_str().filter(|text| !text.is_empty()).unwrap_or("1.13");
    let contract = contract.parse().map_err(|error| refused("contract", &error))?;
    let field = |name: &str| case[name].as_str().unwrap_or_default();
    let options = &case["options"];
    let mut input = GenerateInput::new(
        contract,
        machine_type,
        field("cluster_name"),
        field("endpoint"),
        field("kubernetes_version"),
    );
    input.install_disk = text(&options["install_disk"]);
    input.install_image = text(&options["install_image"]);
    input.install_kernel_args = strings(&options["install_extra_kernel_args"]);
    input.additional_sans = strings(&options["additional_sans"]);
    input.pod_subnets = options.get("pod_subnets").map(strings);
    input.service_subnets = options.get("service_subnets").map(strings);
    input.dns_domain = text(&options["dns_domain"]);
    input.discovery = options["cluster_discovery"].as_bool().unwrap_or(true);
    if let Some(sysctls) = options["sysctls"].as_object() {
        let value = |value: &Value| text(value).unwrap_or_default();
        input.sysctls = sysctls.iter().map(|(key, text)| (key.clone(), value(text))).collect();
    }
    if let Some(cni) = options.get("cni") {
        let name = text(&cni["name"]).unwrap_or_default();
        let flannel_extra_args = strings(&cni["flannel_extra_args"]);
        input.cni = Some(Cni { name, urls: strings(&cni["urls"]), flannel_extra_args });
    }
    input.kubeprism_port = options["kubeprism_port"].as_i64();
    input.local_api_server_port = options["local_api_server_port"].as_i64();
    input.allow_scheduling_on_controlplanes =
        options["allow_scheduling_on_control_planes"].as_bool().unwrap_or(false);
    input.debug = options["debug"].as_bool().unwrap_or(false);
    input.persist = options["persist"].as_bool().unwrap_or(true);
    input.host_dns_forward =
        options["host_dns_forward_kube_dns_to_host"].as_bool().unwrap_or(false);
    input.kubespan = options["kubespan"].as_bool();
    input.network = network(&options["network"]);
    let lists = options["registry_mirrors"].as_object().into_iter().flatten();
    input.registry_mirrors = lists.map(|(host, urls)| (host.clone(), strings(urls))).collect();
    for call in options["registry_mirror_calls"].as_array().into_iter().flatten() {
        let mut words = strings(call).into_iter();
        if let Some(host) = words.next() {
            input.registry_mirrors.push((host, words.collect()));
        }
    }
    let authorities = options["registry_ca"].as_object().into_iter().flatten();
    input.registry_cas =
        authorities.filter_map(|(host, pem)| Some((host.clone(), text(pem)?))).collect();
    input.registry_insecure = strings(&options["registry_insecure"]);
    input.user_disks =
        options["user_disks"].as_array().into_iter().flatten().map(user_disk).collect();
    Ok(input)
}

fn user_disk(disk: &Value) -> UserDisk {
    let partitions = disk["partitions"].as_array().into_iter().flatten();
    UserDisk {
        device: text(&disk["device"]).unwrap_or_default(),
        partitions: partitions
            .map(|part| {
                let mountpoint = text(&part["mountpoint"]).unwrap_or_default();
                (part["size"].as_u64().unwrap_or(0), mountpoint)
            })
            .collect(),
    }
}

/// Network options in the order in which the fields of each are applied.
fn network(options: &Value) -> Vec<NetworkOption> {
    let mut all = Vec::new();
    for option in options.as_array().into_iter().flatten() {
        let selector = match text(&option["mac"]).filter(|mac| !mac.is_empty()) {
            Some(mac) => LinkSelector::Mac(mac),
            None => LinkSelector::Name(text(&option["interface"]).unwrap_or_default()),
        };
        if option.get("nameservers").is_some() {
            all.push(NetworkOption::Nameservers(strings(&option["nameservers"])));
        }
        let settings = [
            // Whatever is given, it is on.
            option["dhcp"].as_bool().map(|_| LinkSetting::Dhcp),
            option["dhcp_v4"].as_bool().map(LinkSetting::DhcpV4),
            option["dhcp_v6"].as_bool().map(LinkSetting::DhcpV6),
            text(&option["cidr"]).map(LinkSetting::Address),
            option["mtu"].as_i64().map(LinkSetting::Mtu),
            text(&option["vip"]).map(LinkSetting::Vip),
            option["ignore"].as_bool().filter(|on| *on).map(|_| LinkSetting::Ignore),
        ];
        let settings = settings.into_iter().flatten();
        all.extend(settings.map(|setting| NetworkOption::Link(selector.clone(), setting)));
        if option["kubespan"] == json!(true) {
            all.push(NetworkOption::KubeSpan);
        }
    }
    all
}
