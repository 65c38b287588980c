//! Compares an answer with what was recorded.

use regex::Regex;
use serde_json::{Map, Value};

const UPID: &str =
    r"UPID:[A-Za-z0-9-]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:([^:\s/]+):([^:\s/]*):([^:\s/]+):";
const MAC: &str = r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}";
const UUID: &str = r"(?i:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})";
const DIGEST: &str = r"(?:[0-9a-f]{64}|[0-9a-f]{40})";
const TICKET: &str = r"PVE(?:VNC)?:[^:\s]+:[0-9A-F]{8}::\S+";

/// How a step wants to be compared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    pub(crate) loose: bool,
    pub(crate) ordered: bool,
}

fn full(pattern: &str, text: &str) -> bool {
    Regex::new(&format!("(?s)^(?:{pattern})$")).expect("a pattern").is_match(text)
}

fn like(template: &str) -> String {
    let token = Regex::new(r"\{\{(\w+)\}\}").expect("a pattern");
    let (mut out, mut at) = (String::new(), 0);
    for found in token.captures_iter(template) {
        let (all, name) = (found.get(0).expect("a match"), found.get(1).expect("a name").as_str());
        out.push_str(&regex::escape(template.get(at..all.start()).unwrap_or_default()));
        out.push_str(match name {
            "mac" => MAC,
            "uuid" => UUID,
            "digest" => DIGEST,
            "int" => r"-?\d+",
            "upid" => UPID,
            _ => ".*?",
        });
        at = all.end();
    }
    out.push_str(&regex::escape(template.get(at..).unwrap_or_default()));
    out
}

fn selected(row: &Value, rule: &Map<String, Value>) -> bool {
    rule.iter().all(|(key, pattern)| {
        let text = match row.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        Regex::new(pattern.as_str().unwrap_or_default()).expect("a pattern").is_match(&text)
    })
}

fn sorted<'a>(parts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut rows: Vec<&str> = parts.collect();
    rows.sort_unstable();
    rows
}

impl Rules {
    /// Differences, empty when the answer fits.
    pub(crate) fn diff(self, want: &Value, got: &Value, path: &str) -> Vec<String> {
        match (want, got) {
            (Value::Object(map), _)
                if map.keys().next().is_some_and(|key| key.starts_with('$')) =>
            {
                self.matcher(map, got, path)
            }
            (Value::Object(want), Value::Object(got)) => {
                let mut out = Vec::new();
                for (key, value) in want {
                    match got.get(key) {
                        Some(got) => out.extend(self.diff(value, got, &format!("{path}.{key}"))),
                        None => out.push(format!("{path}.{key}: missing")),
                    }
                }
                let extra = got.keys().filter(|key| !want.contains_key(*key));
                out.extend(extra.map(|key| format!("{path}.{key}: extra")));
                out
            }
            (Value::Array(want), Value::Array(got)) if self.ordered => {
                let mut out: Vec<String> = want
                    .iter()
                    .zip(got)
                    .flat_map(|(want, got)| self.diff(want, got, path))
                    .collect();
                if want.len() != got.len() {
                    out.push(format!("{path}: {} rows, not {}", got.len(), want.len()));
                }
                out
            }
            (Value::Array(want), Value::Array(got)) => {
                self.rows(want, got.iter().collect(), path, true)
            }
            _ if want == got => Vec::new(),
            _ if self.loose
                && want.to_string().trim_matches('"') == got.to_string().trim_matches('"') =>
            {
                Vec::new()
            }
            _ => vec![format!("{path}: want {want}, got {got}")],
        }
    }

    fn rows(self, want: &[Value], mut left: Vec<&Value>, path: &str, exact: bool) -> Vec<String> {
        let mut out = Vec::new();
        for row in want {
            match left.iter().position(|got| self.diff(row, got, path).is_empty()) {
                Some(index) => drop(left.remove(index)),
                None => out.push(format!("{path}: no row like {row}")),
            }
        }
        if exact {
            out.extend(left.into_iter().map(|row| format!("{path}: extra row {row}")));
        }
        out
    }

    fn matcher(self, want: &Map<String, Value>, got: &Value, path: &str) -> Vec<String> {
        let Some((kind, arg)) = want.iter().next() else { return Vec::new() };
        let text = got.as_str();
        let part = |pattern: &str| text.is_some_and(|text| full(pattern, text));
        let strings =
            || arg.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        let good = match kind.as_str() {
            "$any" => true,
            "$int" => {
                got.as_f64().is_some_and(|number| number.fract() == 0.0)
                    || self.loose && part(r"-?\d+")
            }
            "$intstr" => part(r"-?\d+(\.\d+)?") || self.loose && got.is_number(),
            "$num" => got.is_number() || self.loose && part(r"-?\d+(\.\d+)?"),
            "$digest" => part(DIGEST),
            "$mac" => part(MAC),
            "$uuid" => part(UUID),
            "$ticket" => part(TICKET),
            "$prefix" => {
                text.is_some_and(|text| text.starts_with(arg.as_str().unwrap_or_default()))
            }
            "$like" => part(&like(arg.as_str().unwrap_or_default())),
            "$lines" => text.is_some_and(|text| sorted(text.split('\n')) == strings()),
            "$csv" => text.is_some_and(|text| sorted(text.split(',')) == strings()),
            "$has" => return self.has(arg, got, path),
            "$contains" => return self.contains(want, arg, got, path),
            "$upid" => return self.upid(arg, text.unwrap_or_default(), path),
            _ => false,
        };
        if good { Vec::new() } else { vec![format!("{path}: want {kind} {arg}, got {got}")] }
    }

    fn has(self, arg: &Value, got: &Value, path: &str) -> Vec<String> {
        let (Some(arg), Some(got)) = (arg.as_object(), got.as_object()) else {
            return vec![format!("{path}: no object")];
        };
        let part: Map<String, Value> = got
            .iter()
            .filter(|(key, _)| arg.contains_key(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        self.diff(&Value::Object(arg.clone()), &Value::Object(part), path)
    }

    fn contains(
        self,
        want: &Map<String, Value>,
        arg: &Value,
        got: &Value,
        path: &str,
    ) -> Vec<String> {
        let (Some(arg), Some(got)) = (arg.as_array(), got.as_array()) else {
            return vec![format!("{path}: no list")];
        };
        let rule = want.get("$where").and_then(Value::as_object);
        let rows = got.iter().filter(|row| rule.is_none_or(|rule| selected(row, rule))).collect();
        self.rows(arg, rows, path, rule.is_some())
    }

    fn upid(self, arg: &Value, text: &str, path: &str) -> Vec<String> {
        let pattern = Regex::new(&format!("^{UPID}$")).expect("a pattern");
        let Some(found) = pattern.captures(text) else {
            return vec![format!("{path}: no UPID: {text}")];
        };
        let got = |index: usize| Value::from(found.get(index).map_or("", |part| part.as_str()));
        let parts: Map<String, Value> = [("type", 1), ("id", 2), ("user", 3)]
            .map(|(key, index)| (key.to_owned(), got(index)))
            .into_iter()
            .collect();
        self.diff(arg, &Value::Object(parts), path)
    }
}

/// Whether a text is a whole UPID.
pub(crate) fn is_upid(text: &str) -> bool {
    full(UPID, text)
}
