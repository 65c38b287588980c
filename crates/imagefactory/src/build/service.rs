//! Specifications of extension services (`/usr/local/etc/containers/*.yaml`).

use serde_json::{Map, Value};

use super::tree::wrong;
use crate::error::Result;

const KEYS: [&str; 5] = ["name", "container", "depends", "restart", "logToConsole"];
const CONTAINER: [&str; 6] =
    ["entrypoint", "args", "environment", "environmentFile", "mounts", "security"];
const SECURITY: [&str; 5] =
    ["writeableSysfs", "writeableRootfs", "maskedPaths", "readonlyPaths", "rootfsPropagation"];

/// Checks a specification; returns the service's name. Keys that Talos passes over become remarks.
///
/// # Errors
/// Talos would refuse it, and the service would never start.
pub(super) fn check(path: &str, text: &str, remarks: &mut Vec<String>) -> Result<String> {
    let value: Value = serde_saphyr::from_str(text)
        .map_err(|source| wrong(path, "is no YAML").with_source(source))?;
    let fail = |why: &str| Err(wrong(path, why));
    let Some(spec) = value.as_object() else { return fail("is no map") };
    unknown(path, "", spec, &KEYS, remarks);
    let name = spec.get("name").and_then(Value::as_str).unwrap_or_default();
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(good) {
        return fail("name must be of a-z, 0-9, - and _");
    }
    let Some(container) = spec.get("container").and_then(Value::as_object) else {
        return fail("container is missing");
    };
    unknown(path, "container.", container, &CONTAINER, remarks);
    if container.get("entrypoint").and_then(Value::as_str).is_none_or(str::is_empty) {
        return fail("container.entrypoint is missing");
    }
    for item in list(container, "environment").unwrap_or_default() {
        if !item.as_str().is_some_and(|text| text.contains('=')) {
            return fail("container.environment has an entry that is not KEY=VALUE");
        }
    }
    for mount in list(container, "mounts").unwrap_or_default() {
        let absolute = mount.get("destination").and_then(Value::as_str);
        if !absolute.is_some_and(|path| path.starts_with('/')) {
            return fail("container.mounts has an entry whose destination is no absolute path");
        }
    }
    if let Some(security) = container.get("security").and_then(Value::as_object) {
        unknown(path, "container.security.", security, &SECURITY, remarks);
    }
    if !matches!(
        spec.get("restart").and_then(Value::as_str),
        Some("always" | "never" | "untilSuccess")
    ) {
        return fail("restart must be always, never or untilSuccess");
    }
    for need in list(spec, "depends").unwrap_or_default() {
        check_need(path, need)?;
    }
    Ok(name.to_owned())
}

fn check_need(path: &str, need: &Value) -> Result<()> {
    let fail = |why: &str| Err(wrong(path, why));
    let Some(need) = need.as_object().filter(|need| need.len() == 1) else {
        return fail("each of depends has exactly one key");
    };
    for (key, value) in need {
        let networks = ["addresses", "connectivity", "hostname", "etcfiles"];
        let good = match key.as_str() {
            "service" => value.as_str().is_some_and(|name| !name.is_empty()),
            "path" => value.as_str().is_some_and(|path| path.starts_with('/')),
            "time" | "configuration" => value.as_bool() == Some(true),
            "network" => value.as_array().is_some_and(|all| {
                !all.is_empty()
                    && all.iter().all(|one| one.as_str().is_some_and(|one| networks.contains(&one)))
            }),
            _ => false,
        };
        if !good {
            return fail(&format!("depends: {key} is unknown or has a wrong value"));
        }
    }
    Ok(())
}

fn list<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a [Value]> {
    map.get(key).and_then(Value::as_array).map(Vec::as_slice)
}

fn unknown(
    path: &str,
    prefix: &str,
    map: &Map<String, Value>,
    known: &[&str],
    remarks: &mut Vec<String>,
) {
    for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
        remarks.push(format!("{path}: Talos does not know {prefix}{key}, it has no effect"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name: frr\ncontainer:\n  entrypoint: /usr/lib/frr/start\n  mounts:\n    \
        - {destination: /etc/frr, type: tmpfs}\n  environment: [A=b]\nrestart: always\ndepends:\n  \
        - service: cri\n  - network: [addresses, etcfiles]\n  - configuration: true\n";

    #[test]
    fn what_talos_would_refuse_is_refused() {
        let mut remarks = Vec::new();
        assert_eq!(check("frr.yaml", GOOD, &mut remarks).unwrap(), "frr");
        assert!(remarks.is_empty());
        for (what, with) in [
            ("name: frr", "name: FRR"),
            ("/usr/lib/frr/start", "''"),
            ("always", "sometimes"),
            ("A=b", "A"),
            ("destination: /etc", "destination: etc"),
            ("service: cri", "{service: cri, path: /x}"),
            ("etcfiles", "dns"),
            ("configuration: true", "configuration: false"),
            ("container:", "box:"),
        ] {
            let text = GOOD.replacen(what, with, 1);
            assert!(check("frr.yaml", &text, &mut remarks).is_err(), "{what}");
        }
        remarks.clear();
        check("frr.yaml", &format!("{GOOD}hostPID: true\n"), &mut remarks).unwrap();
        assert!(remarks.first().is_some_and(|text| text.contains("hostPID")), "{remarks:?}");
    }
}
