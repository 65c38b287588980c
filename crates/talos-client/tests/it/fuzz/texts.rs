//! Readers of machine configurations, patches, client configurations and bundles of secrets.

use std::path::Path;

use serde_json::Value;
use talos_client::TalosConfig;
use talos_client::config::{
    GenerateInput, Lines, MachineConfig, MachineType, Mode, Patch, patch_text,
};
use talos_client::rotation::expiries;
use talos_client::secrets::Bundle;

use super::feed;

/// What patches are merged into.
const BASE: &str = "version: v1alpha1\nmachine: {type: worker, token: a, certSANs: [a], network: {interfaces: [{interface: eth0}]}}\ncluster: {controlPlane: {endpoint: 'https://a:6443'}}\n---\napiVersion: v1alpha1\nkind: LinkConfig\nname: a\n";

/// Patches to begin with.
const PATCHES: [&str; 4] = [
    "machine: {network: {interfaces: [{interface: eth0, mtu: 1400}]}, certSANs: [b]}\n",
    "machine: {network: {$patch: delete}}\n---\napiVersion: v1alpha1\nkind: LinkConfig\nname: a\n$patch: delete\n",
    "[{\"op\": \"add\", \"path\": \"/machine/certSANs/-\", \"value\": \"c\"}]",
    "- op: replace\n  path: /machine/token\n  value: b\n",
];

fn made() -> Bundle {
    Bundle::generate("1.6".parse().unwrap(), 1_780_000_000).unwrap()
}

/// Texts under some names in the cases of a golden file, where there is one.
fn golden(file: &str, names: &[&str]) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden/talos");
    let text = std::fs::File::open(folder.join(file)).and_then(std::io::read_to_string);
    let golden: Value = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
    let mut found = Vec::new();
    for case in golden.get("cases").and_then(Value::as_array).into_iter().flatten() {
        for value in names.iter().filter_map(|name| case.get("in")?.get(*name)) {
            found.extend(value.as_str().map(str::to_owned));
            let list = value.as_array().into_iter().flatten();
            found.extend(list.filter_map(Value::as_str).map(str::to_owned));
        }
    }
    found
}

fn generated() -> Vec<String> {
    let bundle = made();
    let both = [MachineType::ControlPlane, MachineType::Worker];
    let all = (11..=14).flat_map(|minor| both.map(|role| (minor, role)));
    let text = |(minor, role)| {
        let contract = format!("1.{minor}").parse().unwrap();
        let input = GenerateInput::new(contract, role, "a", "https://a:6443", "1.34.1");
        MachineConfig::generate(&bundle, &input).unwrap().to_yaml().to_string()
    };
    all.map(text).collect()
}

#[test]
fn configurations() {
    let mut seeds = generated();
    seeds.push(BASE.to_owned());
    seeds.extend(golden("talos-validate.json", &["config"]));
    seeds.extend(golden("talos-patch.json", &["config"]));
    feed("configurations", &seeds, config);
}

#[test]
fn patches() {
    let mut seeds = PATCHES.map(str::to_owned).to_vec();
    seeds.extend(golden("talos-patch.json", &["patches"]));
    feed("patches", &seeds, patch);
}

#[test]
fn client_configurations() {
    use talos_client::talosconfig::ClientOptions;
    let os = made().certs.unwrap().os.unwrap();
    let options = ClientOptions {
        endpoints: vec!["10.0.0.1".to_owned()],
        nodes: vec!["a".to_owned()],
        roles: vec!["os:admin".to_owned()],
        now: 1_780_000_000,
        lifetime: 3600,
    };
    let (ca, key) = (os.crt.text().unwrap(), os.key.text().unwrap());
    let mut seeds = vec![TalosConfig::generate("a", ca, key, &options).unwrap().to_yaml()];
    seeds.extend(golden("talos-talosconfig.json", &["config", "add"]));
    feed("client configurations", &seeds, client);
}

#[test]
fn bundles() {
    let mut seeds = generated();
    seeds.extend(std::iter::repeat_n(made().to_yaml().to_string(), 8));
    feed("bundles", &seeds, bundle);
}

fn config(text: &str) -> Result<(), String> {
    let lines = Lines::of(text);
    for minor in 11..=14 {
        let Ok(config) = MachineConfig::load_for(text, minor) else { continue };
        for mode in [Mode::Metal, Mode::Cloud, Mode::Container] {
            let found = config.validate(mode, minor, true);
            for one in found.errors.iter().chain(&found.warnings) {
                let is_of_text = one.document.is_empty() || one.document == "v1alpha1.Config";
                let is_known = lines.line(&one.document, &one.path).is_some() || is_of_text;
                if !is_known {
                    return Err(format!("{} {} has no line", one.document, one.path));
                }
            }
        }
        drop(config.lint(minor));
    }
    let Ok(config) = MachineConfig::parse(text) else { return Ok(()) };
    let written = config.to_yaml();
    let again = MachineConfig::parse(&written).map_err(|error| format!("written anew: {error}"))?;
    if again != config {
        return Err("it is another one once it is written anew".to_owned());
    }
    if !config.diff(&again).is_empty() {
        return Err("it differs from itself".to_owned());
    }
    drop((config.redacted(), config.joined()));
    drop(config.split(12).config.joined());
    drop(expiries(text));
    Ok(())
}

fn patch(text: &str) -> Result<(), String> {
    let Ok(patch) = Patch::parse("a", text) else { return Ok(()) };
    // What does not fit is refused; what fits can be read again.
    let Ok(patched) = patch_text(BASE, std::slice::from_ref(&patch)) else { return Ok(()) };
    MachineConfig::parse(&patched).map(drop).map_err(|error| format!("the outcome: {error}"))
}

fn client(text: &str) -> Result<(), String> {
    let Ok(config) = TalosConfig::parse(text) else { return Ok(()) };
    let again = TalosConfig::parse(&config.to_yaml());
    let again = again.map_err(|error| format!("written anew: {error}"))?;
    match again == config {
        true => Ok(()),
        false => Err("it is another one once it is written anew".to_owned()),
    }
}

fn bundle(text: &str) -> Result<(), String> {
    drop((Bundle::from_machine_config(text), expiries(text)));
    let Ok(bundle) = Bundle::parse(text) else { return Ok(()) };
    drop(bundle.problems());
    let again = Bundle::parse(&bundle.to_yaml());
    let again = again.map_err(|error| format!("written anew: {error}"))?;
    match again.to_yaml() == bundle.to_yaml() {
        true => Ok(()),
        false => Err("it is another one once it is written anew".to_owned()),
    }
}
