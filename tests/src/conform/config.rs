//! Answers to `talos-gen`.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use talos_client::config::{Cni, GenerateInput, MachineConfig, MachineType, Patch};
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
    let contract = case["contract"].as_str().unwrap_or_default();
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
    input.pod_subnets = strings(&options["pod_subnets"]);
    input.service_subnets = strings(&options["service_subnets"]);
    input.dns_domain = text(&options["dns_domain"]);
    input.discovery = options["cluster_discovery"].as_bool().unwrap_or(true);
    if let Some(sysctls) = options["sysctls"].as_object() {
        let value = |value: &Value| text(value).unwrap_or_default();
        input.sysctls = sysctls.iter().map(|(key, text)| (key.clone(), value(text))).collect();
    }
    if let Some(cni) = options.get("cni") {
        let name = text(&cni["name"]).unwrap_or_default();
        input.cni = Some(Cni { name, urls: strings(&cni["urls"]) });
    }
    input.kubeprism_port = options["kubeprism_port"].as_i64();
    input.local_api_server_port = options["local_api_server_port"].as_i64();
    input.allow_scheduling_on_controlplanes =
        options["allow_scheduling_on_control_planes"].as_bool().unwrap_or(false);
    input.debug = options["debug"].as_bool().unwrap_or(false);
    Ok(input)
}
