//! What expressions may name: variables, constants, functions, messages and their fields.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::types::Type;

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Environment {
    /// Chooses among disks.
    Disk,
    /// Chooses among volumes.
    Volume,
    /// Chooses among links.
    Link,
    /// Says when memory runs out.
    OomTrigger,
    /// Says what to end first.
    OomRanking,
}

/// One way to call a function: types of its arguments, that of a method's target first, and the result.
#[derive(Debug, Clone)]
pub(super) struct Overload {
    pub(super) is_method: bool,
    pub(super) arguments: Vec<Type>,
    pub(super) result: Type,
}

type Functions = BTreeMap<String, Vec<Overload>>;

/// Messages by name; a field has a type and the minor version that brought it.
type Messages = BTreeMap<String, BTreeMap<String, (Type, u32)>>;

/// All that an expression may name.
pub(super) struct Scope {
    pub(super) has_optionals: bool,
    minor: u32,
    variables: BTreeMap<String, Type>,
    functions: Vec<&'static Functions>,
    own: Functions,
}

impl Scope {
    /// The type of a variable, a constant, or the name of a type.
    pub(super) fn name(&self, name: &str) -> Option<Type> {
        let variable = self.variables.get(name).cloned();
        variable.or_else(|| self.type_named(name).map(|named| Type::Kind(Some(Box::new(named)))))
    }

    /// The type of a name.
    pub(super) fn type_named(&self, name: &str) -> Option<Type> {
        let open = || Box::new(Type::Dyn);
        Some(match name {
            "bool" => Type::Bool,
            "bytes" => Type::Bytes,
            "double" => Type::Double,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "string" => Type::String,
            "null_type" => Type::Null,
            "type" => Type::Kind(None),
            "list" => Type::List(open()),
            "map" => Type::Map(open(), open()),
            "optional_type" if self.has_optionals => Type::Optional(open()),
            "google.protobuf.Duration" => Type::Duration,
            "google.protobuf.Timestamp" => Type::Timestamp,
            name if messages().contains_key(name) => Type::Message(name.to_owned()),
            _ => return None,
        })
    }

    /// The type of a field of a message.
    pub(super) fn field(&self, message: &str, field: &str) -> Option<Type> {
        let (found, since) = messages().get(message)?.get(field)?;
        Some(found.clone()).filter(|_| *since <= self.minor)
    }

    /// Ways to call a function; nothing when there is none of that name.
    /// Numbers of two types are compared only where `mixed` says so.
    pub(super) fn function(&self, name: &str, mixed: bool) -> Option<Vec<&Overload>> {
        let mixed = mixed.then(mixed_comparisons);
        let all = self.functions.iter().copied().chain([&self.own]).chain(mixed);
        let found: Vec<&Overload> = all.filter_map(|table| table.get(name)).flatten().collect();
        (!found.is_empty()).then_some(found)
    }
}

const DISK: &str = "talos.resource.definitions.block.DiskSpec";
const VOLUME: &str = "talos.resource.definitions.block.DiscoveredVolumeSpec";
const LINK: &str = "talos.resource.definitions.network.LinkStatusSpec";

/// Constants of sizes.
const UNITS: [&str; 12] =
    ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Constants of classes of control groups.
const CLASSES: [&str; 5] = ["Besteffort", "Burstable", "Guaranteed", "Podruntime", "System"];

/// What can be named in an environment of a minor version of Talos 1.
pub(super) fn scope(environment: Environment, minor: u32) -> Scope {
    let has_optionals = matches!(environment, Environment::OomTrigger | Environment::OomRanking);
    let mut scope = Scope {
        has_optionals,
        minor,
        variables: BTreeMap::new(),
        functions: vec![standard()],
        own: Functions::new(),
    };
    let message = |name: &str| Type::Message(name.to_owned());
    let mut set = |name: &str, kind: Type| scope.variables.insert(name.to_owned(), kind);
    match environment {
        Environment::Disk => {
            set("disk", message(DISK));
            set("system_disk", Type::Bool);
        }
        Environment::Volume => {
            set("volume", message(VOLUME));
            set("disk", message(DISK));
        }
        Environment::Link => drop(set("link", message(LINK))),
        Environment::OomTrigger => {
            pressure(&mut set);
            set("time_since_trigger", Type::Duration);
        }
        Environment::OomRanking => {
            for name in ["memory_max", "memory_current", "memory_peak"] {
                set(name, Type::optional(Type::Uint));
            }
            set("path", Type::String);
            set("class", Type::Int);
        }
    }
    if environment != Environment::Link {
        UNITS.iter().for_each(|unit| drop(set(unit, Type::Uint)));
    }
    if has_optionals {
        CLASSES.iter().for_each(|class| drop(set(class, Type::Int)));
        scope.functions.push(optional());
    }
    let own = match environment {
        Environment::Disk => "glob string; string -> bool",
        Environment::Link => "glob string; string -> bool\nmac bytes -> string",
        Environment::OomTrigger => {
            "multiply_qos_vectors map(dyn, double); map(dyn, double) -> double"
        }
        Environment::Volume | Environment::OomRanking => "",
    };
    scope.own = functions(own);
    scope
}

/// Pressure of memory, of the machine and by class, and how it changed.
fn pressure(set: &mut impl FnMut(&str, Type) -> Option<Type>) {
    let by_class = || Type::map(Type::Int, Type::Double);
    for change in ["", "d_"] {
        for share in ["some", "full"] {
            for window in ["avg10", "avg60", "avg300", "total"] {
                set(&format!("{change}memory_{share}_{window}"), Type::Double);
                set(&format!("{change}qos_memory_{share}_{window}"), by_class());
            }
        }
        for what in ["current", "peak", "max"] {
            set(&format!("{change}qos_memory_{what}"), by_class());
        }
    }
}

fn standard() -> &'static Functions {
    static TABLE: OnceLock<Functions> = OnceLock::new();
    TABLE.get_or_init(|| functions(include_str!("functions.txt")))
}

fn optional() -> &'static Functions {
    static TABLE: OnceLock<Functions> = OnceLock::new();
    TABLE.get_or_init(|| functions(include_str!("optional.txt")))
}

/// Comparisons of numbers of two types.
fn mixed_comparisons() -> &'static Functions {
    static TABLE: OnceLock<Functions> = OnceLock::new();
    TABLE.get_or_init(|| {
        let numbers = ["int", "uint", "double"];
        let mut out = Functions::new();
        for sign in ["_<_", "_<=_", "_>_", "_>=_"] {
            let pairs =
                numbers.iter().flat_map(|left| numbers.iter().map(move |right| (left, right)));
            let lines = pairs.filter(|(left, right)| left != right);
            let overload = |(left, right): (&&str, &&str)| Overload {
                is_method: false,
                arguments: vec![read(left), read(right)],
                result: Type::Bool,
            };
            out.insert(sign.to_owned(), lines.map(overload).collect());
        }
        out
    })
}

fn messages() -> &'static Messages {
    static TABLE: OnceLock<Messages> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut out = Messages::new();
        let mut name = String::new();
        for line in include_str!("messages.txt").lines() {
            let mut words = line.split_whitespace();
            let (Some(first), rest) = (words.next(), words.next()) else { continue };
            let Some(kind) = rest else {
                first.clone_into(&mut name);
                out.insert(name.clone(), BTreeMap::new());
                continue;
            };
            let since = words.next().and_then(|word| word.parse().ok()).unwrap_or(11);
            if let Some(fields) = out.get_mut(&name) {
                fields.insert(first.to_owned(), (read(kind), since));
            }
        }
        out
    })
}

/// A table of functions: `name type; type -> type` a line, methods with a dot in front.
fn functions(text: &str) -> Functions {
    let mut out = Functions::new();
    for line in text.lines() {
        let Some((call, result)) = line.rsplit_once(" -> ") else { continue };
        let (name, arguments) = call.split_once(' ').unwrap_or((call, ""));
        let arguments = arguments.split("; ").filter(|text| !text.is_empty());
        let overload = Overload {
            is_method: name.starts_with('.'),
            arguments: arguments.map(read).collect(),
            result: read(result),
        };
        out.entry(name.trim_start_matches('.').to_owned()).or_default().push(overload);
    }
    out
}

/// A type as the tables write it; a single capital letter is one that each call chooses.
fn read(text: &str) -> Type {
    let text = text.trim();
    if let Some((name, inner)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        return match name {
            "list" => Type::list(read(inner)),
            "optional" => Type::optional(read(inner)),
            "type" => Type::Kind(Some(Box::new(read(inner)))),
            _ => match inner.split_once(", ") {
                Some((key, value)) => Type::map(read(key), read(value)),
                None => Type::Dyn,
            },
        };
    }
    match text {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "dyn" => Type::Dyn,
        name => match name.as_bytes() {
            [letter] if letter.is_ascii_uppercase() => Type::Variable(u32::from(*letter)),
            _ => Type::Message(name.to_owned()),
        },
    }
}
