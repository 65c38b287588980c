//! Property strings: `key=value,…` with a default key and aliases.

use std::collections::BTreeMap;

use super::check::check_object;
use super::{Kind, Prop};

/// Keys and values in the order of the text, aliases resolved.
pub(crate) type Parsed = BTreeMap<String, String>;

/// Reads a property string without checking the values.
///
/// # Errors
/// The text of the server for a string that cannot be split.
pub(crate) fn parse(keys: &BTreeMap<String, Prop>, text: &str) -> Result<Parsed, String> {
    let default = keys.iter().find(|(_, prop)| prop.default_key).map(|(key, _)| key.as_str());
    let mut found = Parsed::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        if let Some((key, value)) =
            part.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty())
        {
            let mut key = key.to_owned();
            if let Some(alias) = keys.get(&key).and_then(|prop| prop.alias.clone()) {
                if let Some(key_alias) = keys.get(&key).and_then(|prop| prop.key_alias.clone())
                    && found.insert(key_alias.clone(), key.clone()).is_some()
                {
                    return Err(format!("key alias '{key_alias}' is already defined\n"));
                }
                key = alias;
            }
            let value = match keys.get(&key).map(|prop| prop.kind) {
                Some(Kind::Boolean) => boolean(value).unwrap_or(value),
                _ => value,
            };
            if found.insert(key.clone(), value.to_owned()).is_some() {
                return Err(format!("duplicate key in comma-separated list property: {key}\n"));
            }
        } else if part.contains('=') {
            return Err("missing key in comma-separated list property\n".to_owned());
        } else {
            let Some(default) = default else {
                return Err(
                    "value without key, but schema does not define a default key\n".to_owned()
                );
            };
            let value = match keys.get(default).map(|prop| prop.kind) {
                Some(Kind::Boolean) => boolean(part).unwrap_or(part),
                _ => part,
            };
            if found.insert(default.to_owned(), value.to_owned()).is_some() {
                return Err(format!("duplicate key in comma-separated list property: {default}\n"));
            }
        }
    }
    Ok(found)
}

fn boolean(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => Some("1"),
        "0" | "off" | "no" | "false" => Some("0"),
        _ => None,
    }
}

/// Checks a property string.
///
/// # Errors
/// The text that follows `invalid format - `.
pub(super) fn check(path: &str, keys: &BTreeMap<String, Prop>, text: &str) -> Result<(), String> {
    let found = parse(keys, text)?;
    let lines = check_object(path, keys, &found);
    if !lines.is_empty() {
        return Err(format!("format error\n{}", lines.concat()));
    }
    if keys.contains_key("cputype") {
        check_cpu(keys, &found)?;
    }
    Ok(())
}

const CPU_FLAGS: [&str; 13] = [
    "aes",
    "amd-no-ssb",
    "amd-ssbd",
    "hv-evmcs",
    "hv-tlbflush",
    "ibpb",
    "md-clear",
    "nested-virt",
    "pcid",
    "pdpe1gb",
    "spec-ctrl",
    "ssbd",
    "virt-ssbd",
];

fn check_cpu(keys: &BTreeMap<String, Prop>, found: &Parsed) -> Result<(), String> {
    if let Some(kind) = found.get("cputype").filter(|kind| !kind.starts_with("custom-")) {
        let listed = keys.get("reported-model").is_some_and(|prop| prop.choices.contains(kind));
        let level = matches!(
            kind.as_str(),
            "x86-64-v1" | "x86-64-v2" | "x86-64-v2-AES" | "x86-64-v3" | "x86-64-v4"
        );
        if !listed && !level {
            return Err(format!(
                "Built-in cputype '{kind}' is not defined (missing 'custom-' prefix?)\n"
            ));
        }
    }
    let flags = found.get("flags").map(String::as_str).unwrap_or_default();
    let known = |flag: &str| CPU_FLAGS.contains(&flag.trim_start_matches(['+', '-']));
    if !flags.split(';').filter(|flag| !flag.is_empty()).all(known) {
        return Err(format!(
            "VM-specific CPU flags must be a subset of: {}\n",
            CPU_FLAGS.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
/// Prints a property string: the default key bare, required keys, then the rest by name.
pub(crate) fn print(keys: &BTreeMap<String, Prop>, values: &Parsed) -> String {
    let mut parts = Vec::new();
    let (mut required, mut rest) = (Vec::new(), Vec::new());
    for (key, value) in values {
        let Some(prop) = keys.get(key) else { continue };
        if prop.default_key {
            parts.push(value.clone());
        } else if prop.optional {
            rest.push(format!("{key}={value}"));
        } else {
            required.push(format!("{key}={value}"));
        }
    }
    parts.extend(required);
    parts.extend(rest);
    parts.join(",")
}
