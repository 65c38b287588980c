//! Functions that depend on their arguments alone.

mod charset;
mod collection;
mod date;
mod encoding;
mod format;
mod hash;
mod network;
mod numeric;
mod pattern;
mod set;
#[cfg(test)]
mod tests;
mod text;
mod yaml;

use std::sync::Arc;

use super::convert::convert;
use super::error::{Class, Failure, did_you_mean};
use super::eval::Result;
use super::number::Number;
use super::value::{Kind, Type, Value};

pub(super) use format::shortest_decimal;
pub(super) use hash::{base64 as hash_base64, hex as hash_hex};
pub(super) use text::clean as clean_path;

/// What a function gets.
pub(super) struct Arguments<'a> {
    name: &'a str,
    values: Vec<Value>,
}

type Function = fn(&Arguments<'_>) -> Result<Value>;

/// A function: its name, how many arguments it takes, and what it does.
struct Entry {
    name: &'static str,
    least: usize,
    most: usize,
    /// Sensitive and unknown parts of arguments stay where they are, instead of making the whole
    /// result so.
    keeps_parts: bool,
    function: Function,
}

const MANY: usize = usize::MAX;

const fn whole(name: &'static str, least: usize, most: usize, function: Function) -> Entry {
    Entry { name, least, most, keeps_parts: false, function }
}

const fn parts(name: &'static str, least: usize, most: usize, function: Function) -> Entry {
    Entry { name, least, most, keeps_parts: true, function }
}

static FUNCTIONS: &[Entry] = &[
    whole("abs", 1, 1, numeric::abs),
    whole("alltrue", 1, 1, collection::alltrue),
    whole("anytrue", 1, 1, collection::anytrue),
    whole("base64decode", 1, 1, encoding::base64decode),
    whole("base64encode", 1, 1, encoding::base64encode),
    whole("base64gzip", 1, 1, encoding::base64gzip),
    whole("base64sha256", 1, 1, hash::base64sha256),
    whole("base64sha512", 1, 1, hash::base64sha512),
    whole("basename", 1, 1, text::basename),
    whole("ceil", 1, 1, numeric::ceil),
    whole("chomp", 1, 1, text::chomp),
    parts("chunklist", 2, 2, collection::chunklist),
    whole("cidrhost", 2, 2, network::cidrhost),
    whole("cidrnetmask", 1, 1, network::cidrnetmask),
    whole("cidrsubnet", 3, 3, network::cidrsubnet),
    whole("cidrsubnets", 1, MANY, network::cidrsubnets),
    parts("coalesce", 0, MANY, collection::coalesce),
    parts("coalescelist", 0, MANY, collection::coalescelist),
    whole("compact", 1, 1, collection::compact),
    parts("concat", 0, MANY, collection::concat),
    whole("contains", 2, 2, collection::contains),
    whole("csvdecode", 1, 1, encoding::csvdecode),
    whole("dirname", 1, 1, text::dirname),
    whole("distinct", 1, 1, collection::distinct),
    parts("element", 2, 2, collection::element),
    whole("endswith", 2, 2, text::endswith),
    parts("ephemeralasnull", 1, 1, ephemeralasnull),
    parts("flatten", 1, 1, collection::flatten),
    whole("floor", 1, 1, numeric::floor),
    whole("format", 1, MANY, format::format),
    whole("formatdate", 2, 2, date::formatdate),
    whole("formatlist", 1, MANY, format::formatlist),
    whole("indent", 2, 2, text::indent),
    whole("index", 2, 2, collection::index),
    parts("issensitive", 1, 1, issensitive),
    whole("join", 2, MANY, text::join),
    whole("jsondecode", 1, 1, encoding::jsondecode),
    whole("jsonencode", 1, 1, encoding::jsonencode),
    parts("keys", 1, 1, collection::keys),
    parts("length", 1, 1, collection::length),
    whole("log", 2, 2, numeric::log),
    parts("lookup", 2, 3, collection::lookup),
    whole("lower", 1, 1, text::lower),
    whole("matchkeys", 3, 3, collection::matchkeys),
    whole("max", 0, MANY, numeric::max),
    whole("md5", 1, 1, hash::md5),
    parts("merge", 0, MANY, collection::merge),
    whole("min", 0, MANY, numeric::min),
    parts("nonsensitive", 1, 1, nonsensitive),
    parts("one", 1, 1, collection::one),
    whole("parseint", 2, 2, numeric::parseint),
    whole("pow", 2, 2, numeric::pow),
    whole("range", 1, 3, collection::range),
    whole("regex", 2, 2, text::regex),
    whole("regexall", 2, 2, text::regexall),
    whole("replace", 3, 3, text::replace),
    parts("reverse", 1, 1, collection::reverse),
    parts("sensitive", 1, 1, sensitive),
    whole("setintersection", 1, MANY, set::intersection),
    whole("setproduct", 0, MANY, set::product),
    whole("setsubtract", 2, 2, set::subtract),
    whole("setunion", 1, MANY, set::union),
    whole("sha1", 1, 1, hash::sha1),
    whole("sha256", 1, 1, hash::sha256),
    whole("sha512", 1, 1, hash::sha512),
    whole("signum", 1, 1, numeric::signum),
    parts("slice", 3, 3, collection::slice),
    whole("sort", 1, 1, collection::sort),
    whole("split", 2, 2, text::split),
    whole("startswith", 2, 2, text::startswith),
    whole("strcontains", 2, 2, text::strcontains),
    whole("strrev", 1, 1, text::strrev),
    whole("substr", 3, 3, text::substr),
    whole("sum", 1, 1, numeric::sum),
    whole("textdecodebase64", 2, 2, charset::textdecodebase64),
    whole("textencodebase64", 2, 2, charset::textencodebase64),
    whole("timeadd", 2, 2, date::timeadd),
    whole("timecmp", 2, 2, date::timecmp),
    whole("title", 1, 1, text::title),
    parts("tobool", 1, 1, tobool),
    parts("tolist", 1, 1, tolist),
    parts("tomap", 1, 1, tomap),
    parts("tonumber", 1, 1, tonumber),
    parts("toset", 1, 1, toset),
    parts("tostring", 1, 1, tostring),
    parts("transpose", 1, 1, collection::transpose),
    whole("trim", 2, 2, text::trim),
    whole("trimprefix", 2, 2, text::trimprefix),
    whole("trimspace", 1, 1, text::trimspace),
    whole("trimsuffix", 2, 2, text::trimsuffix),
    whole("upper", 1, 1, text::upper),
    whole("urlencode", 1, 1, encoding::urlencode),
    whole("uuidv5", 2, 2, hash::uuidv5),
    parts("values", 1, 1, collection::values),
    whole("yamldecode", 1, 1, yaml::decode),
    whole("yamlencode", 1, 1, yaml::encode),
    parts("zipmap", 2, 2, collection::zipmap),
];

/// Functions of Terraform that are refused, with the reason.
const REFUSED: [(&str, &str); 8] = [
    ("run_cmd", "no helper process is started: put the value into the tree"),
    ("timestamp", "the time of evaluation would make every plan differ from the one before"),
    ("plantimestamp", "the time of evaluation would make every plan differ from the one before"),
    ("uuid", "a random value would make every plan differ from the one before; use uuidv5"),
    ("bcrypt", "a salted hash would make every plan differ from the one before"),
    ("rsadecrypt", "private keys do not belong into the tree; use a SOPS file"),
    ("get_aws_account_id", "no cloud is asked"),
    ("get_aws_caller_identity_arn", "no cloud is asked"),
];

/// Names of all functions, for "did you mean".
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|entry| entry.name)
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value> {
    let plain = name.strip_prefix("core::").unwrap_or(name);
    let Some(entry) = FUNCTIONS.iter().find(|entry| entry.name == plain) else {
        return Err(unknown(plain));
    };
    if arguments.len() < entry.least || arguments.len() > entry.most {
        let wants = match (entry.least, entry.most) {
            (least, MANY) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        return Err(Failure::value(format!(
            "{plain} takes {wants} argument(s), {} given",
            arguments.len()
        )));
    }
    if entry.keeps_parts {
        let given = Arguments { name: plain, values: arguments.to_vec() };
        return (entry.function)(&given);
    }
    let mut sensitive = false;
    let mut values = Vec::with_capacity(arguments.len());
    for argument in arguments {
        if let Some(reason) = argument.unknown_reason() {
            let marked = arguments.iter().any(Value::has_sensitive);
            return Ok(Value::unknown(reason).marked(marked));
        }
        let (value, marked) = argument.unmark_deep();
        sensitive |= marked;
        values.push(value);
    }
    let result = (entry.function)(&Arguments { name: plain, values });
    match result {
        Ok(value) => Ok(value.marked(sensitive)),
        // The text of a failure may quote an argument.
        Err(failure) if sensitive => Err(Failure::new(
            failure.class(),
            format!("{plain} failed; why is not shown, since an argument is sensitive"),
        )),
        Err(failure) => Err(failure),
    }
}

fn unknown(name: &str) -> Failure {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        let class = if name == "run_cmd" { Class::RunCmd } else { Class::UnknownFunction };
        return Failure::new(class, format!("{name} is not available: {why}"));
    }
    let failure = Failure::new(Class::UnknownFunction, format!("there is no function {name:?}"));
    match did_you_mean(name, names()) {
        Some(near) => failure.help(format!("did you mean {near}?")),
        None => failure,
    }
}

impl Arguments<'_> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn failure(&self, at: usize, what: impl std::fmt::Display) -> Failure {
        Failure::value(format!("{}: argument {}: {what}", self.name, at + 1))
    }

    fn fail<T>(&self, what: impl std::fmt::Display) -> Result<T> {
        Err(Failure::value(format!("{}: {what}", self.name)))
    }

    /// An argument as it is; `null` is refused.
    fn value(&self, at: usize) -> Result<&Value> {
        match self.values.get(at) {
            Some(value) if value.is_null() => Err(self.failure(at, "it must not be null")),
            Some(value) => Ok(value),
            None => Err(self.failure(at, "it is missing")),
        }
    }

    fn string(&self, at: usize) -> Result<Arc<str>> {
        match convert(self.value(at)?, &Type::String) {
            Ok(Value { kind: Kind::String(text), .. }) => Ok(text),
            Ok(_) => Err(self.failure(at, "text is needed")),
            Err(why) => Err(self.failure(at, why)),
        }
    }

    fn number(&self, at: usize) -> Result<Number> {
        match convert(self.value(at)?, &Type::Number) {
            Ok(Value { kind: Kind::Number(number), .. }) => Ok(number),
            Ok(_) => Err(self.failure(at, "a number is needed")),
            Err(why) => Err(self.failure(at, why)),
        }
    }

    fn integer(&self, at: usize) -> Result<i64> {
        self.number(at)?.to_i64().ok_or_else(|| self.failure(at, "a whole number is needed"))
    }

    /// A list, set or tuple as a list whose elements have one type.
    fn list(&self, at: usize) -> Result<(Type, Arc<Vec<Value>>)> {
        let list = convert(self.value(at)?, &Type::List(Box::new(Type::Dynamic)));
        match list.map_err(|why| self.failure(at, why))?.kind {
            Kind::List(item, items) => Ok((item, items)),
            _ => Err(self.failure(at, "a list is needed")),
        }
    }

    /// The elements of a list or tuple: a set has no order.
    fn ordered(&self, at: usize) -> Result<Arc<Vec<Value>>> {
        if matches!(self.value(at)?.kind, Kind::Set(..)) {
            return Err(self.failure(at, "a set has no order, a list is needed: tolist"));
        }
        self.items(at)
    }

    /// The elements of a list, set or tuple.
    fn items(&self, at: usize) -> Result<Arc<Vec<Value>>> {
        let value = self.value(at)?;
        value.items().map(Arc::clone).ok_or_else(|| {
            self.failure(at, format!("a list is needed, this is {}", value.type_name()))
        })
    }

    /// The elements converted to text; `null` stays none.
    fn strings(&self, at: usize) -> Result<Vec<Option<Arc<str>>>> {
        let list = convert(self.value(at)?, &Type::List(Box::new(Type::String)))
            .map_err(|why| self.failure(at, why))?;
        let items = list.items().map(Arc::clone).unwrap_or_default();
        Ok(items
            .iter()
            .map(|item| match &item.kind {
                Kind::String(text) => Some(Arc::clone(text)),
                _ => None,
            })
            .collect())
    }
}

fn sensitive(arguments: &Arguments<'_>) -> Result<Value> {
    Ok(arguments.values.first().cloned().unwrap_or(Value::NULL).marked(true))
}

fn nonsensitive(arguments: &Arguments<'_>) -> Result<Value> {
    let value = arguments.values.first().cloned().unwrap_or(Value::NULL);
    Ok(Value { sensitive: false, kind: value.kind })
}

/// Nothing of a tree is ephemeral.
fn ephemeralasnull(arguments: &Arguments<'_>) -> Result<Value> {
    Ok(arguments.values.first().cloned().unwrap_or(Value::NULL))
}

fn issensitive(arguments: &Arguments<'_>) -> Result<Value> {
    Ok(Value::bool(arguments.values.first().is_some_and(|value| value.sensitive)))
}

fn converted(arguments: &Arguments<'_>, to: &Type) -> Result<Value> {
    let Some(value) = arguments.values.first() else { return Ok(Value::NULL) };
    convert(value, to).map_err(|why| {
        if value.has_sensitive() {
            Failure::value(format!("{}: the sensitive value does not convert", arguments.name))
        } else {
            Failure::value(format!("{}: {why}", arguments.name))
        }
    })
}

fn tostring(arguments: &Arguments<'_>) -> Result<Value> {
    converted(arguments, &Type::String)
}

fn tonumber(arguments: &Arguments<'_>) -> Result<Value> {
    converted(arguments, &Type::Number)
}

fn tobool(arguments: &Arguments<'_>) -> Result<Value> {
    converted(arguments, &Type::Bool)
}

fn tolist(arguments: &Arguments<'_>) -> Result<Value> {
    converted(arguments, &Type::List(Box::new(Type::Dynamic)))
}

fn toset(arguments: &Arguments<'_>) -> Result<Value> {
    converted(arguments, &Type::Set(Box::new(Type::Dynamic)))
}

fn tomap(arguments: &Arguments<'_>) -> Result<Value> {
    converted(arguments, &Type::Map(Box::new(Type::Dynamic)))
}
