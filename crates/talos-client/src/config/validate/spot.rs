//! Which field a finding is about: the part that was looked at, and in it what the finding names.

use std::collections::VecDeque;

use serde_json::Value;

/// Tells parts of a document apart without holding them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(usize);

impl Address {
    pub(super) fn of(part: Option<&Value>) -> Self {
        Self(part.map_or(0, |value| std::ptr::from_ref(value).addr()))
    }
}

/// A value with its path.
type Placed<'a> = (String, &'a Value);

/// The path of what a text says of a part of a document. Fields are named in backticks or known by
/// their capitals, values by their quotes.
pub(super) fn path(document: &Value, part: Address, text: &str) -> String {
    let root = (String::new(), document);
    let part = walk(root.clone()).find(|(_, value)| Address::of(Some(value)) == part);
    let base = part.unwrap_or_else(|| root.clone());
    let (path, value) = match names(text).find_map(|name| named(&root, &base, name)) {
        Some((path, Some(value))) => (path, value),
        Some((path, None)) => return path,
        None => base,
    };
    let quoted = text.split('"').skip(1).step_by(2);
    let found = quoted.filter_map(|text| holding((path.clone(), value), text)).last();
    found.unwrap_or(path)
}

/// Names of fields in a text: those in backticks first.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |name: &&str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_part)
    };
    let ticked = text.split('`').skip(1).step_by(2);
    let ticked = ticked.map(|name| name.split(':').next().unwrap_or(name)).filter(is_name);
    let is_camel = |word: &&str| word.chars().any(|c| c.is_ascii_uppercase());
    ticked.chain(text.split(' ').filter(is_name).filter(is_camel))
}

/// Everything in a value with its path, what is near first.
fn walk(start: Placed<'_>) -> impl Iterator<Item = Placed<'_>> {
    let mut queue = VecDeque::from([start]);
    std::iter::from_fn(move || {
        let (path, value) = queue.pop_front()?;
        match value {
            Value::Object(map) => {
                queue.extend(map.iter().map(|(key, value)| (joined(&path, key), value)));
            }
            Value::Array(items) => queue.extend(
                items.iter().enumerate().map(|(index, value)| (format!("{path}[{index}]"), value)),
            ),
            _ => {}
        }
        Some((path, value))
    })
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A field by its name, in a part or else anywhere in its document, with its value where it is there.
fn named<'a>(
    root: &Placed<'a>,
    base: &Placed<'a>,
    name: &str,
) -> Option<(String, Option<&'a Value>)> {
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    let is_it = |path: &str| path == first || path.ends_with(&format!(".{first}"));
    let below = |start: &Placed<'a>| walk(start.clone()).find(|(path, _)| is_it(path));
    let is_whole = base.0.is_empty() || !rest.is_empty();
    let found = below(base).or_else(|| if is_whole { below(root) } else { None });
    let (path, value) = found?;
    if rest.is_empty() {
        return Some((path, Some(value)));
    }
    let inner = rest.split('.').try_fold(value, |value, key| value.get(key));
    Some((joined(&path, rest), inner))
}

/// Where a text stands as a value or as a name.
fn holding(start: Placed<'_>, text: &str) -> Option<String> {
    let key = format!(".{text}");
    let start_path = start.0.clone();
    let is_it = |(path, value): &Placed<'_>| {
        let is_key = *path != start_path && (path.ends_with(&key) || path == text);
        value.as_str() == Some(text) || is_key
    };
    (!text.is_empty()).then(|| walk(start).find(is_it).map(|(path, _)| path)).flatten()
}

#[cfg(test)]
mod tests {
    use super::super::{Finding, Mode};
    use crate::config::{Lines, MachineConfig};

    const TEXT: &str = "\
machine:
    type: worker
    token: a
    ca:
        crt: Y2E=
        key: eA==
    nodeLabels:
        good: a
        bad/x/y: b
    kubelet:
        nodeIP:
            validSubnets:
                - 10.0.0.0/8
                - nonsense
    network:
        interfaces:
            - interface: eth0
              bond:
                  interfaces: [a]
                  mode: 802.3ad
            - interface: eth1
              addresses: [10.0.0.1/24, 300.0.0.1]
              bond:
                  interfaces: [b]
                  mode: odd
cluster:
    controlPlane:
        endpoint: https://10.0.0.1:6443
    etcd: {}
---
apiVersion: v1alpha1
kind: VLANConfig
name: a
vlanID: 5000
parent: b
";

    #[test]
    fn every_finding_has_its_line() {
        let config = MachineConfig::parse(TEXT).unwrap();
        let lines = Lines::of(TEXT);
        let found = config.validate(Mode::Metal, 13, false);
        let told = |one: &Finding| {
            (one.class, one.path.clone(), lines.line(&one.document, &one.path).unwrap())
        };
        let mut all: Vec<_> = found.errors.iter().map(told).collect();
        all.sort_by_key(|(.., line)| *line);
        let wanted = [
            ("install-required", "machine.install", 1),
            ("ca-key-on-worker", "machine.ca.key", 6),
            ("node-labels-invalid", "machine.nodeLabels.bad/x/y", 9),
            ("kubelet-subnet-invalid", "machine.kubelet.nodeIP.validSubnets[1]", 14),
            ("interface-address-invalid", "machine.network.interfaces[1].addresses[1]", 22),
            ("bond-option-invalid", "machine.network.interfaces[1].bond.mode", 25),
            ("etcd-on-worker", "cluster.etcd", 29),
            ("vlan-id-range", "vlanID", 34),
        ];
        assert_eq!(all, wanted.map(|(class, path, line)| (class, path.to_owned(), line)));
    }
}
