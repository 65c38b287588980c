//! The `sops` block: who can open the file, by which rule, and the MAC.

use super::error::{Result, SopsClass, fail};
use super::rule::Selection;
use super::tree::{Key, Value};

/// One recipient with the data key (or a share of it) sealed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgeEntry {
    pub(super) recipient: String,
    pub(super) enc: String,
}

/// One group of keys; any of them opens it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) age: Vec<AgeEntry>,
    /// Names of other key services that could open it.
    pub(super) services: Vec<String>,
}

/// The metadata of a file.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    pub(super) groups: Vec<Group>,
    pub(super) threshold: Option<usize>,
    pub(super) lastmodified: String,
    pub(super) mac: Option<String>,
    pub(super) mac_only_encrypted: bool,
    pub(super) rule: Selection,
}

const SERVICES: [(&str, &str); 6] = [
    ("pgp", "PGP"),
    ("kms", "AWS KMS"),
    ("gcp_kms", "GCP KMS"),
    ("hckms", "Huawei KMS"),
    ("azure_kv", "Azure Key Vault"),
    ("hc_vault", "HashiCorp Vault"),
];

fn malformed<T>(text: impl Into<String>) -> Result<T> {
    fail(SopsClass::MalformedMetadata, text)
}

/// Reads the `sops` block.
pub(super) fn read(block: &Value) -> Result<Metadata> {
    let Value::Map(entries) = block else {
        return malformed("the `sops` block is not a map");
    };
    if entries.iter().any(|(key, _)| matches!(key, Key::Other(_))) {
        return malformed("the `sops` block has a key that is not text");
    }
    let mut groups = Vec::new();
    match block.get("key_groups") {
        None | Some(Value::Null) => {}
        Some(list) => {
            for group in maps(list, "key_groups")? {
                groups.push(read_group(group)?);
            }
        }
    }
    if groups.is_empty() {
        let group = read_group(block)?;
        if !group.age.is_empty() || !group.services.is_empty() {
            groups.push(group);
        }
    }
    let lastmodified = text(block, "lastmodified")?.unwrap_or_default();
    let Some(lastmodified) = rfc3339_seconds(&lastmodified) else {
        return malformed("`lastmodified` is not a time (RFC 3339)");
    };
    let metadata = Metadata {
        threshold: number(block, "shamir_threshold")?,
        lastmodified,
        mac: text(block, "mac")?.filter(|mac| !mac.is_empty()),
        mac_only_encrypted: flag(block, "mac_only_encrypted")?,
        rule: read_rule(block)?,
        groups,
    };
    check_version(&text(block, "version")?.unwrap_or_default())?;
    if metadata.groups.iter().all(|group| group.age.is_empty() && group.services.is_empty()) {
        return fail(SopsClass::NoRecipients, "nobody can open the file: it names no recipient");
    }
    Ok(metadata)
}

fn read_rule(block: &Value) -> Result<Selection> {
    let names = [
        "unencrypted_suffix",
        "encrypted_suffix",
        "unencrypted_regex",
        "encrypted_regex",
        "encrypted_comment_regex",
        "unencrypted_comment_regex",
    ];
    let mut found = Vec::new();
    for name in names {
        if let Some(text) = text(block, name)?.filter(|text| !text.is_empty()) {
            found.push((name, text));
        }
    }
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        return fail(
            SopsClass::ConflictingRules,
            format!("only one of these may be given: {}", names.join(", ")),
        );
    }
    Ok(match found.pop() {
        None => Selection::default(),
        Some(("unencrypted_suffix", text)) => Selection::UnencryptedSuffix(text),
        Some(("encrypted_suffix", text)) => Selection::EncryptedSuffix(text),
        Some(("unencrypted_regex", text)) => Selection::UnencryptedRegex(text),
        Some(("encrypted_regex", text)) => Selection::EncryptedRegex(text),
        Some((name, regex)) => Selection::ByComment { name, regex },
    })
}

fn read_group(block: &Value) -> Result<Group> {
    let mut group = Group::default();
    if let Some(list) = block.get("age") {
        for entry in maps(list, "age")? {
            group.age.push(AgeEntry {
                recipient: text(entry, "recipient")?.unwrap_or_default(),
                enc: text(entry, "enc")?.unwrap_or_default(),
            });
        }
    }
    for (key, name) in SERVICES {
        let Some(list) = block.get(key) else { continue };
        for entry in maps(list, key)? {
            if let Some(created) = text(entry, "created_at")?
                && rfc3339_seconds(&created).is_none()
            {
                return malformed(format!("`created_at` of a key of {name} is not a time"));
            }
            group.services.push(name.to_owned());
        }
    }
    Ok(group)
}

/// A list of maps; one map alone stands for a list of it.
fn maps<'a>(value: &'a Value, name: &str) -> Result<Vec<&'a Value>> {
    let items: Vec<&Value> = match value {
        Value::Null => Vec::new(),
        Value::List(items) => items.iter().collect(),
        Value::Map(_) => vec![value],
        _ => return malformed(format!("`{name}` is not a list of maps")),
    };
    if items.iter().any(|item| !matches!(item, Value::Map(_))) {
        return malformed(format!("`{name}` has an item that is not a map"));
    }
    Ok(items)
}

/// Text, or what converts to it without doubt.
fn text(block: &Value, name: &str) -> Result<Option<String>> {
    Ok(match block.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::Str(text)) => Some(text.clone()),
        Some(Value::Int(number)) => Some(number.to_string()),
        Some(Value::Float(number)) => Some(super::tree::float_text(*number)),
        Some(Value::Bool(flag)) => Some(if *flag { "1" } else { "0" }.to_owned()),
        Some(_) => return malformed(format!("`{name}` is not text")),
    })
}

fn number(block: &Value, name: &str) -> Result<Option<usize>> {
    let number = match block.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Int(number)) => usize::try_from(*number).ok(),
        Some(Value::Str(text)) => text.parse().ok(),
        Some(Value::Bool(flag)) => Some(usize::from(*flag)),
        Some(_) => None,
    };
    match number {
        Some(0) => Ok(None),
        Some(number) => Ok(Some(number)),
        None => malformed(format!("`{name}` is not a number")),
    }
}

fn flag(block: &Value, name: &str) -> Result<bool> {
    match block.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::Int(number)) => Ok(*number != 0),
        Some(Value::Str(text)) => match text.as_str() {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            _ => malformed(format!("`{name}` is neither true nor false")),
        },
        Some(_) => malformed(format!("`{name}` is neither true nor false")),
    }
}

fn check_version(version: &str) -> Result<()> {
    if version.is_empty() {
        return fail(SopsClass::BadVersion, "the `sops` block has no version");
    }
    let plain = version.strip_prefix('v').unwrap_or(version);
    if version.starts_with("1.") || semver::Version::parse(plain).is_ok() {
        return Ok(());
    }
    fail(SopsClass::BadVersion, format!("{version:?} is not a version of sops"))
}

/// Parts of a time in RFC 3339.
struct Time<'a> {
    moment: &'a str,
    fraction: &'a str,
    zone: &'a str,
}

fn parts(text: &str) -> Option<Time<'_>> {
    // Go's parser and jiff agree on what a day of a month is; the shape is checked here.
    let moment = text.get(..19)?;
    let shape_fits = moment.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    if !shape_fits {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix(['.', ',']) {
        Some(rest) => {
            let end = rest.bytes().position(|byte| !byte.is_ascii_digit())?;
            let (digits, zone) = rest.split_at_checked(end)?;
            if digits.is_empty() {
                return None;
            }
            (digits.trim_end_matches('0'), zone)
        }
        None => ("", rest),
    };
    let zone_fits = zone == "Z"
        || (zone.len() == 6
            && zone.bytes().enumerate().all(|(at, byte)| match at {
                0 => byte == b'+' || byte == b'-',
                3 => byte == b':',
                _ => byte.is_ascii_digit(),
            })
            && zone.get(1..3)? < "24"
            && zone.get(4..6)? < "60");
    if !zone_fits || moment.get(17..19)? > "59" {
        return None;
    }
    moment.parse::<jiff::civil::DateTime>().ok()?;
    let zone = if matches!(zone, "+00:00" | "-00:00") { "Z" } else { zone };
    Some(Time { moment, fraction, zone })
}

/// A time parsed and printed again with seconds.
pub(super) fn rfc3339_seconds(text: &str) -> Option<String> {
    let time = parts(text)?;
    Some(format!("{}{}", time.moment, time.zone))
}

/// A time parsed and printed again with as many digits of a second as it has, nine at most.
pub(super) fn rfc3339_nano(text: &str) -> Option<String> {
    let time = parts(text)?;
    let fraction = time.fraction.get(..9).unwrap_or(time.fraction).trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{}{dot}{fraction}{}", time.moment, time.zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_again_as_the_go_program_does() {
        let seconds = |text| rfc3339_seconds(text);
        assert_eq!(seconds("2026-11-23T00:20:37+00:00").as_deref(), Some("2026-11-23T00:20:37Z"));
        assert_eq!(
            seconds("2026-11-23T00:20:37.5+02:00").as_deref(),
            Some("2026-11-23T00:20:37+02:00")
        );
        assert_eq!(
            rfc3339_nano("2024-05-06T07:08:09.500Z").as_deref(),
            Some("2024-05-06T07:08:09.5Z")
        );
        for bad in [
            "",
            "yesterday",
            "2024-13-06T07:08:09Z",
            "2024-02-30T07:08:09Z",
            "2024-05-06",
            "2024-05-06T07:08:09",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
