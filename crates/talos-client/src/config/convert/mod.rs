//! One configuration in two layouts: everything in the main document, as up to 1.11, or in documents of
//! their own, as from 1.12 on.

mod join;
mod link;
mod split;

use std::fmt;

use serde_json::{Map, Value};

use super::machine::MachineConfig;

/// A configuration in another layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The configuration. What could not be moved stands where it stood.
    pub config: MachineConfig,
    /// What could not be moved.
    pub left: Vec<Left>,
}

/// Something that could not be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The field of the main document, or the document by kind and name.
    pub place: String,
    /// Why.
    pub why: String,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

impl MachineConfig {
    /// Moves what the main document says of host name, links, resolvers, time, registries and disk
    /// encryption, and from 1.13 on of KubeSpan and environment, into documents of their own, as a minor
    /// version of Talos 1 has them. A node does the same with either. What cannot be moved stays where
    /// it stood, and is told; where nothing is left, [`Self::joined`] gives the same configuration again,
    /// but for what has no effect, such as a stable host name beside a host name, or fields that are off by
    /// nature; host entries of one address are one, and the encryption of a disk stays in its document.
    ///
    /// ```
    /// use talos_client::config::MachineConfig;
    ///
    /// let old = MachineConfig::parse("machine: {network: {hostname: a}, time: {servers: [b]}}")?;
    /// let new = old.split(12);
    /// assert!(new.left.is_empty());
    /// assert_eq!(new.config.document("HostnameConfig", "").unwrap()["hostname"], "a");
    /// assert!(new.config.joined().config.diff(&old).is_empty());
    /// # Ok::<(), talos_client::config::ConfigError>(())
    /// ```
    #[must_use]
    pub fn split(&self, minor: u32) -> Converted {
        split::split(self, minor)
    }

    /// Moves documents of their own back into the main one, as Talos 1.11 reads it. Kinds that it has
    /// stay; those that say what it cannot are left.
    #[must_use]
    pub fn joined(&self) -> Converted {
        join::joined(self)
    }
}

/// The main document while it is taken apart or put together.
struct Main {
    document: Value,
}

impl Main {
    /// Takes a field out; sections that are empty then go with it.
    fn take(&mut self, path: &[&str]) -> Option<Value> {
        take(&mut self.document, path)
    }

    fn get(&self, path: &[&str]) -> Option<&Value> {
        let found = path.iter().try_fold(&self.document, |value, name| value.get(name))?;
        Some(found).filter(|value| !value.is_null())
    }

    /// Puts a field in.
    fn put(&mut self, path: &[&str], value: Value) {
        if let Some(map) = self.document.as_object_mut() {
            put(map, path, value);
        }
    }
}

/// Puts a field into a section, with the sections above it.
pub(super) fn put(section: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [name] => drop(section.insert((*name).to_owned(), value)),
        [name, rest @ ..] => {
            let inner = section.entry(*name).or_insert(Value::Null);
            if inner.is_null() {
                *inner = Value::Object(Map::new());
            }
            if let Some(map) = inner.as_object_mut() {
                put(map, rest, value);
            }
        }
    }
}

fn take(value: &mut Value, path: &[&str]) -> Option<Value> {
    let map = value.as_object_mut()?;
    let (name, rest) = path.split_first()?;
    if rest.is_empty() {
        return map.shift_remove(*name).filter(|value| !value.is_null());
    }
    let inner = map.get_mut(*name)?;
    let taken = take(inner, rest);
    if taken.is_some() && inner.as_object().is_some_and(Map::is_empty) {
        map.shift_remove(*name);
    }
    taken
}

/// A document of a kind, its fields in their order; those that are nothing are left out.
pub(super) fn document(
    kind: &str,
    fields: impl IntoIterator<Item = (&'static str, Value)>,
) -> Value {
    let mut document = Map::new();
    document.insert("apiVersion".into(), "v1alpha1".into());
    document.insert("kind".into(), kind.into());
    let fields = fields.into_iter().filter(|(_, value)| !is_nothing(value));
    document.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(document)
}

/// Nothing, or a list or section of nothing.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn left(place: impl Into<String>, why: impl Into<String>) -> Left {
    Left { place: place.into(), why: why.into() }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// A field of a section as it is; nothing where it is not there.
fn field(value: &Value, name: &str) -> Value {
    value.get(name).cloned().unwrap_or_default()
}

/// A map without some of its fields, if anything is left in it: what nobody knows how to move.
fn unknown<'a>(value: &'a Value, known: &[&str]) -> Option<&'a str> {
    let map = value.as_object()?;
    let mut rest =
        map.iter().filter(|(name, value)| !known.contains(&name.as_str()) && !is_nothing(value));
    rest.next().map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests;
