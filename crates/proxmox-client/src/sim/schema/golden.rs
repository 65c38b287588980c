//! The schema code against verdicts and prints of the real one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::builder::Dialect;
use super::super::drive;
use super::check::check_text;
use super::{Format, Schema, Verdict, parse_prop, print_prop, split_list};

fn cases(text: &str) -> Vec<Value> {
    let doc: Value = serde_json::from_str(text).expect("golden JSON");
    doc["cases"].as_array().expect("cases").clone()
}

fn lines(text: &str) -> Vec<&str> {
    let mut rows: Vec<&str> = text.split('\n').collect();
    rows.sort_unstable();
    rows
}

#[test]
fn requests_get_the_verdict_of_the_real_schema_code() {
    let cases = cases(include_str!("../../../tests/fixtures/pve/pve-validate.json"));
    let mut wrong = Vec::new();
    for case in &cases {
        let (id, input, out) = (&case["id"], &case["in"], &case["out"]);
        let text = |field: &str| input[field].as_str().unwrap_or_default();
        let json = text("encoding") == "json";
        let verdict = Verdict::of(Dialect::V9_2, text("method"), text("path"), json, text("body"));
        let got = match verdict.expect("a schema") {
            Verdict::Valid => BTreeMap::new(),
            Verdict::Invalid(errors) => errors,
            Verdict::Unreadable => panic!("{id}: the body cannot be decoded"),
            Verdict::NoMethod => {
                if out["status"] != 501 {
                    wrong.push(format!("{id}: no endpoint"));
                }
                continue;
            }
        };
        let want: BTreeMap<String, String> =
            serde_json::from_value(out["errors"].clone()).unwrap_or_default();
        let same = got.len() == want.len()
            && want
                .iter()
                .all(|(key, text)| got.get(key).is_some_and(|own| lines(own) == lines(text)));
        if !same {
            wrong.push(format!("{id}: want {want:?}, got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The key whose schema has a format.
fn key_of(kind: &str) -> &'static str {
    match kind {
        "net" => "net0",
        "pve-qm-boot" => "boot",
        "pve-vm-cpu-conf" => "cpu",
        "pve-qm-hostpci" => "hostpci0",
        "pve-qm-usb" => "usb0",
        "pve-qm-smbios1" => "smbios1",
        "pve-qm-rng" => "rng0",
        "pve-qm-watchdog" => "watchdog",
        "pve-qemu-machine-fmt" => "machine",
        _ => "cicustom",
    }
}

#[test]
fn strings_print_as_the_real_code_prints_them() {
    let schema = Schema::load(Dialect::V9_2).expect("a schema");
    let mut wrong = Vec::new();
    for case in cases(include_str!("../../../tests/fixtures/pve/pve-canonical.json")) {
        let (kind, text) = (
            case["in"]["kind"].as_str().unwrap_or_default(),
            case["in"]["input"].as_str().unwrap_or_default(),
        );
        let want = case["out"]["output"].as_str();
        let got = match kind {
            "size" => drive::parse_size(text).map(drive::print_size),
            "list" => {
                let want: Vec<&str> = case["out"]["parsed"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .filter_map(Value::as_str)
                    .collect();
                assert_eq!(split_list(text), want);
                continue;
            }
            "upid" => continue,
            "drive-stored" | "drive-request" => {
                let key = case["in"]["key"].as_str().unwrap_or_default();
                let prop = schema.vm_key(key).expect("a key");
                let valid = check_text(key, prop, text).is_ok();
                let source = text.split(',').find(|part| part.starts_with("import-from="));
                let printed =
                    drive::parse(&schema, key, text).map(|drive| drive::print_drive(&drive));
                printed
                    .filter(|_| valid)
                    .map(|out| source.map_or(out.clone(), |source| format!("{out},{source}")))
            }
            "net" => drive::parse(&schema, "net0", text).map(|net| drive::print_net(&net)),
            _ => match &schema.vm_key(key_of(kind)).expect("a key").format {
                Some(Format::Keys(keys)) => {
                    parse_prop(keys, text).ok().map(|found| print_prop(keys, &found))
                }
                _ => None,
            },
        };
        if got.as_deref() != want {
            wrong.push(format!("{}: want {want:?}, got {got:?}", case["id"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
