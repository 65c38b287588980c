//! Checks the parameters of a request against an endpoint, with the texts of the real server.

use std::collections::BTreeMap;

use super::format::check_named;
use super::prop;
use super::{Endpoint, Format, Kind, Prop};

/// A parameter as it was sent, numbers and booleans already as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// JSON `null`.
    Null,
    /// A scalar.
    Text(String),
    /// A repeated key or an array.
    List(Vec<String>),
    /// A nested object.
    Hash,
}

impl Input {
    /// The text, when it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Errors by parameter.
pub(crate) type Errors = BTreeMap<String, String>;

const UNKNOWN: &str =
    "property is not defined in schema and the schema does not allow additional properties";
const MISSING: &str = "property is missing and it is not optional";

/// Checks `params` in place: list formats are joined, single values of arrays wrapped.
///
/// # Errors
/// The texts by parameter.
pub(crate) fn check(
    endpoint: &Endpoint,
    params: &mut BTreeMap<String, Input>,
) -> Result<(), Errors> {
    let mut errors = Errors::new();
    let kinds: BTreeMap<String, String> = params
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_text()?.to_owned())))
        .collect();
    for (name, input) in params.iter_mut() {
        let Some(prop) = endpoint.param(name) else {
            if !endpoint.open {
                errors.insert(name.clone(), UNKNOWN.to_owned());
            }
            continue;
        };
        match instance(prop, &kinds) {
            Instance::Plain(prop) => check_input(name, prop, input, &mut errors),
            Instance::Foreign if !endpoint.open => {
                errors.insert(name.clone(), UNKNOWN.to_owned());
            }
            Instance::Foreign => {}
        }
    }
    for (name, prop) in &endpoint.params {
        if params.contains_key(name) {
            continue;
        }
        missing(name, prop, &kinds, &mut errors);
    }
    let mut required: Vec<(String, String)> = Vec::new();
    for name in params.keys() {
        if let Some(other) = endpoint.param(name).and_then(|prop| prop.requires.clone())
            && !params.contains_key(&other)
        {
            required.push((other, name.clone()));
        }
    }
    for (other, name) in required {
        errors.entry(other).or_insert_with(|| format!("missing property required by '{name}'"));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

enum Instance<'a> {
    Plain(&'a Prop),
    Foreign,
}

/// The alternative of a property that depends on a type.
fn instance<'a>(prop: &'a Prop, kinds: &BTreeMap<String, String>) -> Instance<'a> {
    let chosen = |one: &Prop| {
        let key = one.type_property.as_deref().or(prop.type_property.as_deref());
        let kind = key.and_then(|key| kinds.get(key));
        kind.is_some_and(|kind| one.instances.contains(kind))
    };
    if !prop.one_of.is_empty() {
        return prop
            .one_of
            .iter()
            .find(|one| chosen(one))
            .map_or(Instance::Foreign, Instance::Plain);
    }
    if prop.instances.is_empty() || chosen(prop) {
        Instance::Plain(prop)
    } else {
        Instance::Foreign
    }
}

fn missing(name: &str, prop: &Prop, kinds: &BTreeMap<String, String>, errors: &mut Errors) {
    if !prop.one_of.is_empty() {
        let kind = prop.type_property.as_ref().and_then(|key| kinds.get(key));
        let one =
            prop.one_of.iter().find(|one| kind.is_some_and(|kind| one.instances.contains(kind)));
        if let (Some(one), Some(kind)) = (one, kind)
            && !one.optional
        {
            errors.insert(format!("oneOf[{kind}].{name}"), MISSING.to_owned());
        }
    } else if name == "nodes" && !prop.instances.is_empty() && prop.type_property.is_some() {
        // declared optional for the other types only
        let kind = prop.type_property.as_ref().and_then(|key| kinds.get(key));
        if let Some(kind) = kind.filter(|kind| prop.instances.contains(kind)) {
            errors.insert(format!("oneOf[{kind}].{name}"), MISSING.to_owned());
        }
    } else if !prop.optional {
        errors.insert(name.to_owned(), MISSING.to_owned());
    }
}

fn check_input(name: &str, prop: &Prop, input: &mut Input, errors: &mut Errors) {
    if prop.kind == Kind::Array {
        if let Input::Text(text) = input {
            *input = Input::List(vec![std::mem::take(text)]);
        }
        let (Input::List(rows), Some(items)) = (input, &prop.items) else { return };
        for (index, row) in rows.iter().enumerate() {
            let path = format!("{name}[{index}]");
            if let Err(text) = check_text(&path, items, row) {
                errors.insert(path, text);
            }
        }
        return;
    }
    if let Input::List(rows) = input
        && matches!(&prop.format, Some(Format::Named(format)) if format.ends_with("-list"))
    {
        *input = Input::Text(rows.join(","));
    }
    let failed = match input {
        Input::Null => return,
        Input::Hash => Some(type_error(prop, "HASH")),
        Input::List(_) => Some(type_error(prop, "ARRAY")),
        Input::Text(text) => check_text(name, prop, text).err(),
    };
    if let Some(text) = failed {
        errors.insert(name.to_owned(), text);
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Boolean => "boolean",
        Kind::Array => "array",
    }
}

fn type_error(prop: &Prop, got: &str) -> String {
    format!("type check ('{}') failed - got {got}", kind_name(prop.kind))
}

/// Whether the text is a decimal integer with an optional sign.
pub(super) fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    match text.split_once('.') {
        Some((whole, part)) => {
            is_integer(whole) && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
        }
        None => is_integer(text),
    }
}

/// Checks one scalar.
///
/// # Errors
/// The text of the first violation.
pub(super) fn check_text(path: &str, prop: &Prop, value: &str) -> Result<(), String> {
    let typed = match prop.kind {
        Kind::Integer => is_integer(value),
        Kind::Number => is_number(value),
        Kind::Boolean => matches!(value, "0" | "1"),
        Kind::String | Kind::Array => true,
    };
    if !typed {
        return Err(type_error(prop, &format!("'{value}'")));
    }
    match &prop.format {
        Some(Format::Named(name)) => {
            check_named(name, value).map_err(|text| format!("invalid format - {text}\n"))?;
        }
        Some(Format::Keys(keys)) => {
            prop::check(path, keys, value).map_err(|text| format!("invalid format - {text}"))?;
        }
        None => {}
    }
    if prop.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(value)) {
        return Err("value does not match the regex pattern".to_owned());
    }
    limits(prop, value)
}

fn limits(prop: &Prop, value: &str) -> Result<(), String> {
    let length = value.chars().count();
    if let Some(max) = prop.max_len.filter(|max| length > *max) {
        return Err(format!("value may only be {max} characters long"));
    }
    if let Some(min) = prop.min_len.filter(|min| length < *min) {
        return Err(format!("value must be at least {min} characters long"));
    }
    if let Some(number) = is_number(value).then(|| value.parse::<f64>().ok()).flatten() {
        if let Some(max) = prop.max.filter(|max| number > *max) {
            return Err(format!("value must have a maximum value of {max}"));
        }
        if let Some(min) = prop.min.filter(|min| number < *min) {
            return Err(format!("value must have a minimum value of {min}"));
        }
    }
    if !prop.choices.is_empty() && !prop.choices.iter().any(|choice| choice == value) {
        let choices = prop.choices.join(", ");
        return Err(format!(
            "value '{value}' does not have a value in the enumeration '{choices}'"
        ));
    }
    Ok(())
}

/// Checks the keys of a property string (or any object) and reports every violation.
pub(super) fn check_object(
    path: &str,
    keys: &BTreeMap<String, Prop>,
    values: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, value) in values {
        match keys.get(key) {
            None => lines.push(format!("{path}.{key}: {UNKNOWN}\n")),
            Some(prop) => {
                if let Err(text) = check_text(&format!("{path}.{key}"), prop, value) {
                    lines.push(format!("{path}.{key}: {text}\n"));
                }
                if let Some(other) =
                    prop.requires.as_ref().filter(|other| !values.contains_key(*other))
                {
                    lines.push(format!(
                        "{path}.{other}: missing property required by '{path}.{key}'\n"
                    ));
                }
            }
        }
    }
    for (key, prop) in keys {
        if prop.alias.is_none() && !prop.optional && !values.contains_key(key) {
            lines.push(format!("{path}.{key}: {MISSING}\n"));
        }
    }
    lines
}
