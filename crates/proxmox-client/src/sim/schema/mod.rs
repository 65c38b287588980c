//! The published API schema as a table: endpoints, parameters, formats.

mod check;
mod extra;
mod format;
#[cfg(test)]
mod golden;
mod prop;
mod verdict;

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::sync::{Arc, OnceLock};

use regex::Regex;
use serde_json::Value;

pub(crate) use check::{Input, check};
pub(crate) use format::{is_cidr, split_list};
pub(crate) use prop::parse as parse_prop;
#[cfg(test)]
pub(crate) use prop::print as print_prop;
pub use verdict::Verdict;

use super::builder::{Dialect, SimError};

/// Type of a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Integer,
    Number,
    Boolean,
    Array,
}

/// How the text of a scalar is checked.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    /// A named rule.
    Named(String),
    /// A property string.
    Keys(Arc<BTreeMap<String, Prop>>),
}

/// Schema of one parameter or key.
#[derive(Debug, Clone)]
pub(crate) struct Prop {
    pub(crate) kind: Kind,
    pub(crate) format: Option<Format>,
    pub(crate) choices: Vec<String>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) min_len: Option<usize>,
    pub(crate) max_len: Option<usize>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) optional: bool,
    pub(crate) requires: Option<String>,
    pub(crate) alias: Option<String>,
    pub(crate) key_alias: Option<String>,
    pub(crate) default_key: bool,
    pub(crate) items: Option<Arc<Self>>,
    pub(crate) one_of: Vec<Self>,
    pub(crate) instances: Vec<String>,
    pub(crate) type_property: Option<String>,
}

/// A pattern that is compiled when it is first needed.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    text: String,
    regex: Arc<OnceLock<Option<Regex>>>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), regex: Arc::default() }
    }

    pub(crate) fn is_match(&self, value: &str) -> bool {
        let compile = || Regex::new(&format!("^(?:{})$", self.text)).ok();
        self.regex.get_or_init(compile).as_ref().is_none_or(|regex| regex.is_match(value))
    }
}

/// One method of one path.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) params: BTreeMap<String, Prop>,
    pub(crate) indexed: BTreeMap<String, (u32, Prop)>,
    pub(crate) permission: Value,
    pub(crate) proxy: Option<String>,
    pub(crate) token_allowed: bool,
    pub(crate) open: bool,
}

impl Endpoint {
    /// The schema of a parameter, `net3` by `net[n]`.
    pub(crate) fn param(&self, name: &str) -> Option<&Prop> {
        if let Some(prop) = self.params.get(name) {
            return Some(prop);
        }
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (stem, number) = name.split_at_checked(name.len() - digits)?;
        let (max, prop) = self.indexed.get(stem)?;
        let canonical = number == "0" || !number.starts_with('0');
        (canonical && number.parse::<u32>().is_ok_and(|number| number <= *max)).then_some(prop)
    }
}

/// The endpoints of a version.
#[derive(Debug)]
pub(crate) struct Schema {
    endpoints: Vec<Endpoint>,
    exact: HashMap<String, Vec<usize>>,
    vm_keys: usize,
}

struct Loader<'a> {
    dialect: Dialect,
    formats: &'a Value,
    named: BTreeMap<String, Arc<BTreeMap<String, Prop>>>,
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(|flag| flag == 1 || flag == true)
}

fn list(value: &Value, key: &str) -> Vec<String> {
    let rows = value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    rows.iter().map(|row| row.as_str().map_or_else(|| row.to_string(), str::to_owned)).collect()
}

fn count(value: &Value, key: &str) -> Option<usize> {
    value.get(key).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok())
}

impl Loader<'_> {
    fn prop(&mut self, value: &Value) -> Prop {
        let name = value.get("type").and_then(Value::as_str).unwrap_or("string");
        let (kind, implied) = match name {
            "integer" => (Kind::Integer, None),
            "number" => (Kind::Number, None),
            "boolean" => (Kind::Boolean, None),
            "array" => (Kind::Array, None),
            "ip" => (Kind::String, Some(Format::Named("ip".to_owned()))),
            _ => (Kind::String, None),
        };
        let format = match value.get("format") {
            Some(Value::String(name)) => Some(self.named(name)),
            Some(Value::Object(keys)) => Some(Format::Keys(self.keys(keys))),
            _ => implied,
        };
        let one_of = value.get("oneOf").and_then(Value::as_array).cloned().unwrap_or_default();
        Prop {
            kind,
            format,
            choices: list(value, "enum"),
            min: value.get("minimum").and_then(Value::as_f64),
            max: value.get("maximum").and_then(Value::as_f64),
            min_len: count(value, "minLength"),
            max_len: count(value, "maxLength"),
            pattern: value.get("pattern").and_then(Value::as_str).map(Pattern::new),
            optional: flag(value, "optional"),
            requires: text(value, "requires"),
            alias: text(value, "alias"),
            key_alias: text(value, "keyAlias"),
            default_key: flag(value, "default_key"),
            items: value.get("items").map(|items| Arc::new(self.prop(items))),
            one_of: one_of.iter().map(|one| self.prop(one)).collect(),
            instances: list(value, "instance-types"),
            type_property: text(value, "type-property"),
        }
    }

    fn keys(&mut self, keys: &serde_json::Map<String, Value>) -> Arc<BTreeMap<String, Prop>> {
        Arc::new(keys.iter().map(|(key, value)| (key.clone(), self.prop(value))).collect())
    }

    fn named(&mut self, name: &str) -> Format {
        let Some(Value::Object(keys)) =
            self.formats.get(name).and_then(|format| format.get("keys"))
        else {
            // What is a privilege depends on the release.
            let old = self.dialect == Dialect::V8_4;
            let name = if old { name.replace("pve-priv", "pve-priv-8") } else { name.to_owned() };
            return Format::Named(name);
        };
        if let Some(done) = self.named.get(name) {
            return Format::Keys(Arc::clone(done));
        }
        let done = self.keys(keys);
        self.named.insert(name.to_owned(), Arc::clone(&done));
        Format::Keys(done)
    }
}

impl Schema {
    /// Loads the table of a version.
    ///
    /// # Errors
    /// When the packed table is damaged.
    pub(crate) fn load(dialect: Dialect) -> Result<Self, SimError> {
        let packed: &[u8] = match dialect {
            Dialect::V8_4 => include_bytes!("pve-8.4.json.gz"),
            Dialect::V9_1 => include_bytes!("pve-9.1.json.gz"),
            Dialect::V9_2 => include_bytes!("pve-9.2.json.gz"),
        };
        let fail = |reason: String| SimError::Data { what: "API schema".to_owned(), reason };
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(packed)
            .read_to_end(&mut plain)
            .map_err(|error| fail(error.to_string()))?;
        let doc: Value = serde_json::from_slice(&plain).map_err(|error| fail(error.to_string()))?;
        let formats = doc.get("formats").cloned().unwrap_or_default();
        let mut loader = Loader { dialect, formats: &formats, named: BTreeMap::new() };
        let rows = doc.get("props").and_then(Value::as_array).cloned().unwrap_or_default();
        let props: Vec<Prop> = rows.iter().map(|row| loader.prop(row)).collect();
        let mut rows = doc.get("endpoints").and_then(Value::as_array).cloned().unwrap_or_default();
        let of_containers: Vec<Value> = rows.iter().filter_map(extra::of_container).collect();
        rows.extend(of_containers);
        let mut endpoints: Vec<_> = rows.iter().map(|row| endpoint(row, &props, &doc)).collect();
        for row in extra::extras() {
            let known = |one: &Endpoint| {
                row.get("p") == Some(&Value::from(one.path.as_str()))
                    && row.get("m") == Some(&Value::from(one.method.as_str()))
            };
            if !endpoints.iter().any(known) {
                let mut inline = Vec::new();
                let mut made = row.clone();
                if let Some(params) = made.get_mut("a").and_then(Value::as_object_mut) {
                    for value in params.values_mut() {
                        inline.push(loader.prop(value));
                        *value = Value::from(inline.len() - 1);
                    }
                }
                endpoints.push(endpoint(&made, &inline, &doc));
            }
        }
        let mut exact: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, one) in endpoints.iter().enumerate() {
            exact.entry(shape(&one.method, &one.path)).or_default().push(index);
        }
        let is_create = |one: &Endpoint| one.method == "POST" && one.path == "/nodes/{node}/qemu";
        let vm_keys = endpoints
            .iter()
            .position(is_create)
            .ok_or_else(|| fail("no endpoint creates machines".to_owned()))?;
        Ok(Self { endpoints, exact, vm_keys })
    }

    /// The table of a version in which fabrics are declared as another version does.
    ///
    /// # Errors
    /// When a packed table is damaged.
    pub(crate) fn load_mixed(dialect: Dialect, fabrics: Dialect) -> Result<Self, SimError> {
        let mut table = Self::load(dialect)?;
        if fabrics != dialect {
            let other = Self::load(fabrics)?;
            for one in other.endpoints {
                let same = |own: &&mut Endpoint| own.method == one.method && own.path == one.path;
                if one.path.starts_with("/cluster/sdn/fabrics")
                    && let Some(own) = table.endpoints.iter_mut().find(same)
                {
                    *own = one;
                }
            }
        }
        Ok(table)
    }

    /// All endpoints.
    #[cfg(test)]
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoint of a call and the values of its placeholders.
    pub(crate) fn find(
        &self,
        method: &str,
        path: &[String],
    ) -> Option<(&Endpoint, Vec<(String, String)>)> {
        self.find_exact(method, path).or_else(|| {
            // the network of a set may stand in the path with a bare slash
            let (last, rest) = path.split_last()?;
            let (addr, before) = rest.split_last()?;
            let joined = [before, &[format!("{addr}/{last}")]].concat();
            self.find_exact(method, &joined).filter(|(one, _)| one.path.ends_with("/{cidr}"))
        })
    }

    fn find_exact(
        &self,
        method: &str,
        path: &[String],
    ) -> Option<(&Endpoint, Vec<(String, String)>)> {
        let candidates = self.exact.get(&format!("{method} {}", path.len()))?;
        let mut best: Option<(&Endpoint, Vec<(String, String)>)> = None;
        for one in candidates.iter().filter_map(|index| self.endpoints.get(*index)) {
            if let Some(values) = matches(&one.path, path)
                && best.as_ref().is_none_or(|(_, old)| values.len() < old.len())
            {
                best = Some((one, values));
            }
        }
        best
    }

    /// Schema of the keys of a machine's configuration.
    pub(crate) fn vm_key(&self, key: &str) -> Option<&Prop> {
        self.endpoints.get(self.vm_keys)?.param(key)
    }
}

fn shape(method: &str, path: &str) -> String {
    format!("{method} {}", path.split('/').filter(|part| !part.is_empty()).count())
}

fn matches(template: &str, path: &[String]) -> Option<Vec<(String, String)>> {
    let mut values = Vec::new();
    for (want, got) in template.split('/').filter(|part| !part.is_empty()).zip(path) {
        if let Some(name) = want.strip_prefix('{').and_then(|want| want.strip_suffix('}')) {
            values.push((name.to_owned(), got.clone()));
        } else if want != got {
            return None;
        }
    }
    Some(values)
}

fn endpoint(row: &Value, props: &[Prop], doc: &Value) -> Endpoint {
    let mut params = BTreeMap::new();
    let mut indexed = BTreeMap::new();
    let empty = serde_json::Map::new();
    for (name, index) in row.get("a").and_then(Value::as_object).unwrap_or(&empty) {
        let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
        let Some(prop) = index.and_then(|index| props.get(index)) else { continue };
        if let Some(stem) = name.strip_suffix("[n]") {
            let max =
                doc.get("max").and_then(|max| max.get(name)).and_then(Value::as_u64).unwrap_or(0);
            indexed.insert(stem.to_owned(), (u32::try_from(max).unwrap_or(0), prop.clone()));
        } else {
            params.insert(name.clone(), prop.clone());
        }
    }
    Endpoint {
        method: text(row, "m").unwrap_or_default(),
        path: text(row, "p").unwrap_or_default(),
        params,
        indexed,
        permission: row.get("c").cloned().unwrap_or_default(),
        proxy: text(row, "n"),
        token_allowed: row.get("t").is_none(),
        open: flag(row, "o"),
    }
}
