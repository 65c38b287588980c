//! Whether overrides of the runtime specification have the types of the OCI's.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::{Findings, Part};

type Types = BTreeMap<String, BTreeMap<String, String>>;

/// Types of the OCI runtime specification 1.3 and their fields, as the Go packages have them.
fn types() -> Option<&'static Types> {
    static TYPES: OnceLock<Option<Types>> = OnceLock::new();
    TYPES.get_or_init(|| serde_json::from_str(include_str!("../runtime-spec.json")).ok()).as_ref()
}

/// Checks `machine.baseRuntimeSpecOverrides`; unknown fields are passed over, as upstream does.
pub(super) fn check(findings: &mut Findings, overrides: Part<'_>) {
    let (Some(types), Some(value)) = (types(), overrides.0) else { return };
    if let Err(place) = fits(types, "Spec", value, "") {
        findings.error(
            "runtime-spec-invalid",
            format!("`baseRuntimeSpecOverrides{place}` has not the type of the OCI's runtime specification"),
        );
    }
}

/// The first place whose value is of another type.
fn fits(types: &Types, kind: &str, value: &Value, place: &str) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let wrong = || Err(place.to_owned());
    if let Some(item) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let Some(items) = value.as_array() else { return wrong() };
        let mut items = items.iter().enumerate();
        return items
            .try_for_each(|(index, value)| fits(types, item, value, &format!("{place}[{index}]")));
    }
    if let Some(item) = kind.strip_prefix("map<").and_then(|rest| rest.strip_suffix('>')) {
        let Some(map) = value.as_object() else { return wrong() };
        let mut entries = map.iter();
        return entries
            .try_for_each(|(name, value)| fits(types, item, value, &format!("{place}.{name}")));
    }
    if let Some(fields) = types.get(kind) {
        let Some(map) = value.as_object() else { return wrong() };
        return map.iter().try_for_each(|(name, value)| {
            // Go takes a name in any case when there is none in this one.
            let exact = fields.get(name);
            let field = exact.or_else(|| {
                let same = |(field, _): &(&String, &String)| field.eq_ignore_ascii_case(name);
                fields.iter().find(same).map(|(_, kind)| kind)
            });
            field.map_or(Ok(()), |kind| fits(types, kind, value, &format!("{place}.{name}")))
        });
    }
    let is_right = match kind {
        "string" => value.is_string(),
        "bool" => value.is_boolean(),
        "float64" => value.is_number(),
        "interface" => true,
        number => is_whole(number, value),
    };
    if is_right { Ok(()) } else { wrong() }
}

/// Whether a number is whole and fits its type, whether or not it is written with a point.
fn is_whole(kind: &str, value: &Value) -> bool {
    let bits: u32 = match kind.trim_start_matches("uint").trim_start_matches("int") {
        "8" => 8,
        "16" => 16,
        "32" => 32,
        _ => 64,
    };
    let whole = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    let whole = whole.or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
        #[expect(clippy::cast_possible_truncation, reason = "what is too large fits no type")]
        Some(number as i128)
    });
    let Some(number) = whole else { return false };
    let (low, high) = match kind.starts_with("uint") {
        true => (0, (1 << bits) - 1),
        false => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
    };
    (low..=high).contains(&number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_of_the_types_of_the_specification() {
        let types = types().unwrap();
        let fits = |value: Value| fits(types, "Spec", &value, "");
        for good in [
            json!({}),
            json!({"nonsense": 1, "process": {"nonsense": 1}}),
            json!({"process": null}),
            json!({"process": {"rlimits": [{"hard": 1.0}, null, {"hard": u64::MAX}], "oomScoreAdj": -5}}),
            json!({"linux": {"resources": {"memory": {"limit": 1e3}}, "timeOffsets": {"a": {"secs": 1}}}}),
        ] {
            assert_eq!(fits(good.clone()), Ok(()), "{good}");
        }
        for (bad, place) in [
            (json!({"Process": "x"}), ".Process"),
            (json!({"process": {"rlimits": [{"hard": -1}]}}), ".process.rlimits[0].hard"),
            (json!({"process": {"rlimits": [{"hard": 1.5}]}}), ".process.rlimits[0].hard"),
            (json!({"process": {"terminal": "true"}}), ".process.terminal"),
            (json!({"hooks": [1]}), ".hooks"),
            (json!({"linux": {"sysctl": {"a": 1}}}), ".linux.sysctl.a"),
            (
                json!({"linux": {"uidMappings": [{"hostID": 4_294_967_296_u64}]}}),
                ".linux.uidMappings[0].hostID",
            ),
            (
                json!({"linux": {"resources": {"blockIO": {"weight": 70000}}}}),
                ".linux.resources.blockIO.weight",
            ),
        ] {
            assert_eq!(fits(bad.clone()), Err(place.to_owned()), "{bad}");
        }
    }
}
