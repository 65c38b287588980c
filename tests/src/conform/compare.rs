//! How an answer is judged against a golden one: the rules of the golden data's own comparer.

use serde_json::{Map, Value};

/// Relative difference below which two numbers are the same: the two may have been printed
/// by different formatters.
const RELATIVE_TOLERANCE: f64 = 1e-15;

/// Compares one answer with its case; `None` when they agree, else what differs.
pub fn difference_of(kind: &str, case: &Value, answer: &Value) -> Option<String> {
    match kind {
        "hcl-tree" | "hcl-deployed" => tree(case, answer),
        "talos-validate" => classes(case, answer),
        "talos-gen" | "talos-secrets" | "talos-talosconfig" | "talos-patch" => talos(case, answer),
        "pve-validate" => verdict(case, answer),
        "sops-decrypt" => sops_decrypt(case, answer),
        "sops-encrypt" => sops_encrypt(case, answer),
        "schematic-id" | "schematic-id-versions" => schematic(case, answer),
        _ => plain(&case["out"], answer),
    }
}

/// Cases kept for reference: they are listed, not judged.
pub fn out_of_scope(kind: &str, case: &Value) -> bool {
    let (input, out) = (&case["in"], &case["out"]);
    if case.get("reference").is_some() {
        return true;
    }
    if let Some(versions) = input.get("machinery").and_then(Value::as_array) {
        if versions.len() == 1 && versions.first() == Some(&Value::from("1.14")) {
            return true;
        }
        let asked_of_library =
            matches!(kind, "talos-gen" | "talos-patch" | "talos-secrets" | "talos-talosconfig");
        if asked_of_library
            && !versions.is_empty()
            && !versions.iter().any(|version| version == "1.13")
        {
            return true;
        }
    }
    let class = out["error"]["class"].as_str();
    if kind.starts_with("sops")
        && (input["format"] == "ini" || matches!(class, Some("cannot-emit" | "bad-extract-path")))
    {
        return true;
    }
    match kind {
        "sops-decrypt" => input.get("extract").is_some(),
        "sops-encrypt" => {
            input["format"] == "dotenv"
                || truthy(&out["encrypted_comments"])
                || truthy(&out["plain_comments"])
        }
        _ => false,
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// Equality of JSON values; 1 and 1.0 are equal, true and 1 are not.
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            a == b
                || match (a.as_f64(), b.as_f64()) {
                    (Some(a), Some(b)) => {
                        (a - b).abs() <= RELATIVE_TOLERANCE * a.abs().max(b.abs())
                    }
                    _ => false,
                }
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same(x, y))
        }
        _ => left == right,
    }
}

fn cut(value: &Value) -> String {
    value.to_string().chars().take(160).collect()
}

/// The first place where two JSON values differ, as text.
pub fn first_difference(want: &Value, given: &Value, path: &str) -> String {
    match (want, given) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                match b.get(key) {
                    None => return format!("{path}.{key}: missing"),
                    Some(other) if !same(value, other) => {
                        return first_difference(value, other, &format!("{path}.{key}"));
                    }
                    Some(_) => {}
                }
            }
            match b.iter().find(|(key, _)| !a.contains_key(*key)) {
                Some((key, value)) => format!("{path}.{key}: not expected ({})", cut(value)),
                None => format!("{path}: equal"),
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for (index, (x, y)) in a.iter().zip(b).enumerate() {
                if !same(x, y) {
                    return first_difference(x, y, &format!("{path}[{index}]"));
                }
            }
            format!("{path}: {} items expected, {} given", a.len(), b.len())
        }
        _ => format!("{path}: expected {}, given {}", cut(want), cut(given)),
    }
}

fn unequal(want: &Value, given: &Value, path: &str) -> Option<String> {
    (!same(want, given)).then(|| first_difference(want, given, path))
}

/// Equal values; a refusal needs a refusal, of the same class where the golden one names it.
fn plain(want: &Value, answer: &Value) -> Option<String> {
    let refused = answer.get("error").filter(|_| answer.is_object());
    let Some(error) = want.get("error").filter(|_| want.is_object()) else {
        return match refused {
            Some(error) => Some(format!("refused: {}", cut(error))),
            None => unequal(want, answer, "$"),
        };
    };
    let class = error.get("class").and_then(Value::as_str);
    let Some(given) = refused else {
        return Some(format!("must be refused: {}", cut(&error["text"])));
    };
    if class == Some("panic") {
        return None;
    }
    let given = given.get("class").and_then(Value::as_str);
    (class.is_some() && class != given).then(|| format!("refused as {given:?}, expected {class:?}"))
}

/// A copy without the upstream wording of findings: their number and classes remain.
fn worded(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(worded).collect(),
        Value::Object(fields) => {
            let marked = ["class", "stage", "step"].iter().any(|key| fields.contains_key(*key));
            let mut out = Map::new();
            for (key, value) in fields {
                match value {
                    _ if key == "text" && marked => {}
                    Value::Array(items)
                        if key == "errors" && items.iter().all(Value::is_string) =>
                    {
                        out.insert("error_count".to_owned(), items.len().into());
                    }
                    _ => {
                        out.insert(key.clone(), worded(value));
                    }
                }
            }
            Value::Object(out)
        }
        _ => value.clone(),
    }
}

/// As [`plain`]; wording is upstream's, any recorded outcome of a merge is right, a crash of
/// the library asks for any refusal.
fn talos(case: &Value, answer: &Value) -> Option<String> {
    let want = &case["out"];
    if let Some(outcomes) = want.get("outcomes").and_then(Value::as_array) {
        let given = answer.get("outcomes").and_then(Value::as_array);
        let Some(given) = given.filter(|list| !list.is_empty()) else {
            return Some("no outcomes".to_owned());
        };
        let bad = given
            .iter()
            .find(|outcome| !outcomes.iter().any(|want| same(&worded(want), &worded(outcome))))?;
        return Some(first_difference(outcomes.first()?, bad, "$.outcomes[0]"));
    }
    if case.get("lenient").is_some_and(truthy) && answer.get("error").is_some() {
        return None;
    }
    let crashed = want.get("errors").and_then(Value::as_array).is_some_and(|errors| {
        errors.iter().filter_map(Value::as_str).any(|text| text.contains("panic:"))
    });
    if crashed {
        let refused = answer.get("error").is_some() || answer["valid"] == Value::Bool(false);
        return (!refused).then(|| "must be invalid".to_owned());
    }
    plain(&worded(want), &worded(answer))
}

fn refusal(error: &Value) -> Value {
    let kept = ["class", "text"]
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), error.get(*key)?.clone())))
        .collect::<Map<_, _>>();
    serde_json::json!({ "error": kept })
}

/// Equal data (or bytes), or a refusal of the same class.
fn sops_decrypt(case: &Value, answer: &Value) -> Option<String> {
    let want = &case["out"];
    if let Some(error) = want.get("error") {
        return plain(&refusal(error), answer);
    }
    for key in ["data", "data_base64", "data_sha256", "data_base64_sha256"] {
        if let Some(value) = want.get(key) {
            return unequal(value, answer.get(key).unwrap_or(&Value::Null), &format!("$.{key}"));
        }
    }
    answer.get("error").map(|_| "must decrypt".to_owned())
}

/// Equal recipients, options and classification of every leaf; the file reads back.
fn sops_encrypt(case: &Value, answer: &Value) -> Option<String> {
    let want = &case["out"];
    if let Some(error) = want.get("error") {
        return plain(&refusal(error), answer);
    }
    if !answer.is_object() || answer.get("error").is_some() {
        return Some(format!("must encrypt: {}", cut(answer)));
    }
    let keys =
        ["key_groups", "recipients", "options", "encrypted_paths", "plain_paths", "empty_paths"];
    for key in keys {
        let given = answer.get(key).unwrap_or(&Value::Null);
        if let Some(why) =
            want.get(key).and_then(|value| unequal(value, given, &format!("$.{key}")))
        {
            return Some(why);
        }
    }
    (answer.get("reads_back") != Some(&Value::Bool(true)))
        .then(|| "the file written does not read back".to_owned())
}

/// Equal id, and equal canonical bytes where they are given; any refusal for a refusal.
fn schematic(case: &Value, answer: &Value) -> Option<String> {
    let keep = |value: &Value, keys: &[&str]| -> Value {
        keys.iter()
            .filter_map(|key| Some(((*key).to_owned(), value.get(*key)?.clone())))
            .collect::<Map<_, _>>()
            .into()
    };
    let mut keys = vec!["schematic_id", "error"];
    if answer.get("canonical").is_some() && case["out"].get("canonical").is_some() {
        keys.push("canonical");
    }
    plain(&keep(&case["out"], &keys), &keep(answer, &keys))
}

/// Validation of machine configuration: same verdict, same sets of classes.
fn classes(case: &Value, answer: &Value) -> Option<String> {
    let want = &case["out"];
    let ok = truthy(answer.get("ok").unwrap_or(&Value::Null));
    if !answer.is_object() || Value::Bool(ok) != want["ok"] {
        return Some(format!("verdict: expected ok={}, given {}", want["ok"], cut(answer)));
    }
    let set = |value: &Value| -> std::collections::BTreeSet<String> {
        let items = value.as_array().into_iter().flatten();
        items.map(|item| item["class"].as_str().unwrap_or_default().to_owned()).collect()
    };
    if set(&want["errors"]).contains("panic") {
        return None;
    }
    ["errors", "warnings"].iter().find_map(|key| {
        let (a, b) = (set(&want[*key]), set(&answer[*key]));
        (a != b).then(|| format!("{key}: expected {a:?}, given {b:?}"))
    })
}

/// Parameter validation: same status and refused parameters.
fn verdict(case: &Value, answer: &Value) -> Option<String> {
    let want = &case["out"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if !answer.is_object() || text(&answer["status"]) != text(&want["status"]) {
        return Some(format!("status: expected {}, given {}", want["status"], cut(answer)));
    }
    let errors = want.get("errors")?;
    unequal(errors, answer.get("errors").unwrap_or(&Value::Null), "$.errors")
}

/// Of a file that was read as a whole only its locals and inputs count.
fn seen(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let whole = ["locals", "inputs", "terragrunt_version_constraint"]
                .iter()
                .all(|key| fields.contains_key(*key));
            fields
                .iter()
                .filter(|(key, _)| !whole || *key == "locals" || *key == "inputs")
                .map(|(key, value)| (key.clone(), seen(value)))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.iter().map(seen).collect(),
        _ => value.clone(),
    }
}

/// Equal locals and inputs; inputs that hold mock outputs may be unset.
fn tree(case: &Value, answer: &Value) -> Option<String> {
    let want = &case["out"];
    let refused = |value: &Value| value.get("error").is_some();
    if refused(want) || !answer.is_object() || refused(answer) {
        return plain(want, answer);
    }
    let unset: Vec<&str> = want["inputs_from_outputs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let part = |out: &Value| -> Value {
        let inputs: Map<String, Value> = out["inputs"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| !unset.contains(&key.as_str()) && !unset.contains(&"*"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        seen(&serde_json::json!({ "locals": out["locals"], "inputs": inputs }))
    };
    unequal(&part(want), &part(answer), "$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_compare_by_value_and_booleans_are_not_numbers() {
        assert!(same(&json!(1), &json!(1.0)));
        assert!(!same(&json!(1), &json!(true)));
        assert!(!same(&json!([1]), &json!([1, 2])));
    }

    #[test]
    fn a_refusal_must_be_of_the_class_that_is_named() {
        let case = json!({"in": {}, "out": {"error": {"class": "cycle"}}});
        assert_eq!(difference_of("hcl-eval", &case, &json!({"error": {"class": "cycle"}})), None);
        assert!(difference_of("hcl-eval", &case, &json!({"error": {"class": "value"}})).is_some());
        assert!(difference_of("hcl-eval", &case, &json!({"value": 1})).is_some());
    }

    #[test]
    fn mock_outputs_may_be_unset() {
        let case = json!({"in": {}, "out": {"locals": null, "inputs": {"a": 1, "b": 2},
            "inputs_from_outputs": ["b"]}});
        assert_eq!(
            difference_of("hcl-tree", &case, &json!({"locals": null, "inputs": {"a": 1}})),
            None
        );
        assert!(difference_of("hcl-tree", &case, &json!({"locals": null, "inputs": {}})).is_some());
    }

    #[test]
    fn wording_of_findings_does_not_count() {
        let case = json!({"in": {}, "out": {"errors": ["a", "b"], "valid": false}});
        let answer = json!({"errors": ["x", "y"], "valid": false});
        assert_eq!(difference_of("talos-secrets", &case, &answer), None);
        let short = json!({"errors": ["x"], "valid": false});
        assert!(difference_of("talos-secrets", &case, &short).is_some());
    }
}
