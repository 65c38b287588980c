//! Drives and network cards of a configuration: parse, print, sizes.

use std::collections::BTreeMap;

use super::schema::{Format, Schema, parse_prop};

/// A drive as its options; `file` is the volume.
pub(crate) type Drive = BTreeMap<String, String>;

/// Whether a key names a drive.
pub(crate) fn is_drive(key: &str) -> bool {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    stem.len() < key.len()
        && matches!(stem, "ide" | "sata" | "scsi" | "virtio" | "efidisk" | "tpmstate")
}

/// Whether a key is a card, `net0`.
pub(crate) fn is_net(key: &str) -> bool {
    key.strip_prefix("net")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Bytes of a size text (`60G`).
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => (text.get(..at)?, unit),
        _ => (text, 'B'),
    };
    let factor: u64 = match unit {
        'B' => 1,
        'K' => 1 << 10,
        'M' => 1 << 20,
        'G' => 1 << 30,
        'T' => 1 << 40,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let part: String = part.chars().take(9).collect();
    let scale = 10u128.pow(u32::try_from(part.len()).ok()?);
    let extra = u128::from(part.parse::<u64>().ok()?) * u128::from(factor) / scale;
    whole.checked_add(u64::try_from(extra).ok()?)
}

/// A size in the largest unit without a fraction.
pub(crate) fn print_size(bytes: u64) -> String {
    for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Reads a drive or card by the schema of its key.
pub(crate) fn parse(schema: &Schema, key: &str, text: &str) -> Option<Drive> {
    match &schema.vm_key(key)?.format {
        Some(Format::Keys(keys)) => parse_prop(keys, text).ok(),
        _ => None,
    }
}

/// Prints a drive: volume first, options by name, size in its largest unit.
pub(crate) fn print_drive(drive: &Drive) -> String {
    let mut out = drive.get("file").cloned().unwrap_or_default();
    for (key, value) in drive.iter().filter(|(key, _)| *key != "file" && *key != "import-from") {
        let value = match (key.as_str(), parse_size(value)) {
            ("size", Some(bytes)) => print_size(bytes),
            _ => value.clone(),
        };
        out.extend([",", key.as_str(), "=", value.as_str()]);
    }
    out
}

/// Prints a card: model and MAC, then options by name.
pub(crate) fn print_net(net: &Drive) -> String {
    let mut out = net.get("model").cloned().unwrap_or_default();
    if let Some(mac) = net.get("macaddr") {
        out.extend(["=", mac.as_str()]);
    }
    for (key, value) in net.iter().filter(|(key, _)| !matches!(key.as_str(), "model" | "macaddr")) {
        out.extend([",", key.as_str(), "=", value.as_str()]);
    }
    out
}

/// Size in bytes that a stored drive says.
pub(crate) fn size_of(text: &str) -> u64 {
    let size = text.split(',').find_map(|part| part.strip_prefix("size="));
    size.and_then(parse_size).unwrap_or(0)
}

/// Volume of a stored drive.
pub(crate) fn file_of(text: &str) -> &str {
    let first = text.split(',').next().unwrap_or_default();
    first.strip_prefix("file=").or_else(|| first.strip_prefix("volume=")).unwrap_or(first)
}

/// Whether a stored drive is an optical one.
pub(crate) fn is_cdrom(text: &str) -> bool {
    text.split(',').any(|part| part == "media=cdrom")
}

/// Whether a volume is a cloud-init drive.
pub(crate) fn is_cloud_init(volid: &str) -> bool {
    let name = volid.rsplit(['/', ':']).next().unwrap_or_default();
    name.starts_with("vm-") && name.contains("-cloudinit")
}

/// The first machine's disk that it would boot from, for `maxdisk`.
pub(crate) fn boot_disk(conf: &BTreeMap<String, String>) -> Option<&str> {
    let order = conf.get("boot").and_then(|boot| boot.strip_prefix("order="));
    let ordered =
        order.into_iter().flat_map(|order| order.split(';')).filter_map(|key| conf.get(key));
    ordered.filter(|text| !is_cdrom(text)).map(String::as_str).find(|text| size_of(text) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_trip() {
        assert_eq!(parse_size("61440M").map(print_size).as_deref(), Some("60G"));
        assert_eq!(parse_size("60"), Some(60));
        assert_eq!(parse_size("10GB"), None);
        assert_eq!(parse_size("1e3"), None);
        assert_eq!(print_size(540_672), "528K");
        assert_eq!(print_size(70_144), "70144");
    }
}
