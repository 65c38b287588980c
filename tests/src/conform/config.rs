//! Answers to `talos-gen`.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use talos_client::config::{
    Cni, GenerateInput, LinkSelector, LinkSetting, MachineConfig, MachineType, NetworkOption,
    Patch, UserDisk,
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
    if case["yaml"] == json!(true) {
        answer["yaml"] = json!(config.to_yaml().as_str());
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
