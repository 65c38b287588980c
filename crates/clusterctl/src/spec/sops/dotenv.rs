//! Dotenv files: `KEY=value` lines, the metadata flattened into `sops_…` keys.

use super::error::{Result, SopsClass, fail};
use super::tree::{Key, Value};

/// Reads the values, and the metadata as the block it was flattened from.
pub(super) fn read(bytes: &[u8]) -> Result<(Value, Option<Value>)> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return fail(SopsClass::BadFormat, "the file is not UTF-8");
    };
    let mut values = Vec::new();
    let mut flat = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return fail(SopsClass::BadFormat, format!("line {} has no `=`", number + 1));
        };
        let value = value.replace("\\n", "\n");
        match key.strip_prefix("sops_") {
            Some(path) => flat.push((path.to_owned(), value)),
            None => values.push((Key::Str(key.to_owned()), Value::Str(value))),
        }
    }
    let block = if flat.is_empty() { None } else { Some(unflatten(&flat)?) };
    Ok((Value::Map(values), block))
}

#[derive(Debug)]
enum Step {
    Map(String),
    List(usize),
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    let mut next = |text: &str| -> Option<()> {
        steps.push(Step::Map(text.to_owned()));
        Some(())
    };
    let at = |text: &str| text.find("__map_").into_iter().chain(text.find("__list_")).min();
    let first = at(rest).unwrap_or(rest.len());
    next(rest.get(..first)?)?;
    rest = rest.get(first..)?;
    while !rest.is_empty() {
        let (is_map, body) = match rest.strip_prefix("__map_") {
            Some(body) => (true, body),
            None => (false, rest.strip_prefix("__list_")?),
        };
        let end = at(body).unwrap_or(body.len());
        let word = body.get(..end)?;
        steps.push(if is_map {
            Step::Map(word.to_owned())
        } else {
            Step::List(word.parse().ok()?)
        });
        rest = body.get(end..)?;
    }
    Some(steps)
}

#[derive(Debug, Default)]
struct Node {
    text: Option<String>,
    map: Vec<(String, Self)>,
    list: Vec<(usize, Self)>,
}

fn child<K: PartialEq>(nodes: &mut Vec<(K, Node)>, key: K) -> Option<&mut Node> {
    let at = nodes.iter().position(|(other, _)| *other == key).unwrap_or_else(|| {
        nodes.push((key, Node::default()));
        nodes.len() - 1
    });
    nodes.get_mut(at).map(|(_, node)| node)
}

impl Node {
    fn put(&mut self, steps: &[Step], value: &str) {
        let Some((step, rest)) = steps.split_first() else {
            self.text = Some(value.to_owned());
            return;
        };
        let child = match step {
            Step::Map(key) => child(&mut self.map, key.clone()),
            Step::List(index) => child(&mut self.list, *index),
        };
        if let Some(child) = child {
            child.put(rest, value);
        }
    }

    fn value(mut self) -> Result<Value> {
        if let Some(text) = self.text {
            return Ok(Value::Str(text));
        }
        if !self.list.is_empty() {
            self.list.sort_by_key(|(index, _)| *index);
            if self.list.iter().enumerate().any(|(at, (index, _))| at != *index) {
                return fail(SopsClass::MalformedMetadata, "a list of the metadata has a gap");
            }
            return Ok(Value::List(
                self.list.into_iter().map(|(_, node)| node.value()).collect::<Result<_>>()?,
            ));
        }
        Ok(Value::Map(
            self.map
                .into_iter()
                .map(|(key, node)| Ok((Key::Str(key), node.value()?)))
                .collect::<Result<_>>()?,
        ))
    }
}

fn unflatten(flat: &[(String, String)]) -> Result<Value> {
    let mut root = Node::default();
    for (path, value) in flat {
        match steps(path) {
            Some(steps) => root.put(&steps, value),
            None => {
                return fail(
                    SopsClass::MalformedMetadata,
                    format!("`sops_{path}` is no path of the metadata"),
                );
            }
        }
    }
    root.value()
}
