//! One data file: evaluated, its keys checked against the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Serialize;

use super::diagnostic::{Diagnostic, Level, Location};
use super::key::{self, Section, Shape, Status};
use super::tree::Gathered;
use crate::spec::hcl::{
    Class, Failure, FileEval, Kind, Loader, Place, Sealed, Value, did_you_mean, slip_of,
};

/// Where a value of the tree comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The path that `why` knows it by, such as `clusters.cluster-101.network.use_sdn`.
    pub path: String,
    /// Where it is written.
    pub location: Option<Location>,
    /// The expression as it is written, or the formula that gave it.
    pub formula: String,
    /// The value as JSON; none when it is sensitive or not known.
    pub value: Option<String>,
    /// What replaces it, where something does.
    pub overridden_by: Option<Location>,
}

/// A data file with the values of its keys.
#[derive(Debug)]
pub(super) struct File {
    pub(super) section: Section,
    pub(super) path: PathBuf,
    /// The folder below `clusters/`, for a cluster.
    pub(super) folder: Option<String>,
    eval: Option<Rc<FileEval>>,
    values: BTreeMap<String, Value>,
    /// Inputs that a local of the same name stands in front of.
    behind: Vec<String>,
    seal: Seal,
}

/// Whether a file is encrypted as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seal {
    None,
    Opened,
    /// It could not be opened, for this reason.
    Shut(String),
}

impl File {
    /// A file that is not there: every key has its default.
    pub(super) fn absent(section: Section, path: &Path) -> Self {
        let (path, values) = (path.to_path_buf(), BTreeMap::new());
        let (folder, eval, behind, seal) = (None, None, Vec::new(), Seal::None);
        Self { section, path, folder, eval, values, behind, seal }
    }

    /// Why something that it would say is not known here: it is encrypted.
    pub(super) fn sealed(&self) -> Option<&str> {
        match &self.seal {
            Seal::Shut(reason) => Some(reason),
            Seal::None | Seal::Opened => self.values.values().find_map(Value::unknown_reason),
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        self.eval.is_none()
    }

    /// Reads a file; what is wrong with it goes to `gathered`.
    pub(super) fn read(
        loader: &Rc<Loader>,
        section: Section,
        path: &Path,
        folder: Option<String>,
        gathered: &mut Gathered,
    ) -> Self {
        let mut file = Self::absent(section, path);
        file.folder = folder;
        let opened = match section {
            Section::Credentials => loader.open_sealed(path),
            _ => loader.open(path, None).map(Sealed::Clear),
        };
        let eval = match opened {
            Ok(Sealed::Clear(eval)) => eval,
            Ok(Sealed::Opened(eval)) => {
                file.seal = Seal::Opened;
                eval
            }
            Ok(Sealed::Shut(reason)) => {
                file.seal = Seal::Shut(reason);
                return file;
            }
            Err(failure) => {
                gathered.failure(&failure);
                return file;
            }
        };
        let is_secret = file.seal == Seal::Opened;
        let mut tell = |what: &str, failure: &Failure| match is_secret {
            // What a decrypted text holds is not told, and a failure may show it.
            true => gathered.failure(
                &Failure::new(Class::Sops, format!("{what} of the decrypted file cannot be read"))
                    .in_file(path),
            ),
            false => gathered.failure(failure),
        };
        // Every local is evaluated, also those that only the user reads.
        for failure in eval.reference_failures() {
            tell("a reference", &failure);
        }
        let names: Vec<String> = eval.local_names().map(str::to_owned).collect();
        for name in &names {
            if let Some(Err(failure)) = eval.local(name) {
                tell(&format!("`{name}`"), &failure);
            }
        }
        let inputs = match eval.inputs() {
            Ok(inputs) => inputs,
            Err(failure) => {
                tell("`inputs`", &failure);
                None
            }
        };
        for name in key::below(section, &[]) {
            let local = eval.local(name).and_then(Result::ok).filter(|value| !value.is_null());
            let input = inputs.as_ref().and_then(|inputs| inputs.get(name)).cloned();
            let input = input.filter(|value| !value.is_null());
            if local.is_some() && input.is_some() {
                file.behind.push(name.to_owned());
            }
            if let Some(value) = local.or(input) {
                file.values.insert(name.to_owned(), value.marked(is_secret));
            }
        }
        if !is_secret {
            let input_names = inputs.as_ref().and_then(Value::attributes);
            let input_names = input_names.into_iter().flat_map(|inputs| inputs.keys());
            let own = eval.unread_locals().into_iter().map(str::to_owned);
            file.slips(&eval, own.chain(input_names.cloned()).collect(), gathered);
        }
        file.eval = Some(eval);
        file.check(gathered);
        file
    }

    /// Names of the user's own are fine; one that nothing reads, and that but for a slip is a key
    /// which is not set, is hardly meant as such.
    fn slips(&self, eval: &FileEval, names: BTreeSet<String>, gathered: &mut Gathered) {
        let known = key::below(self.section, &[]);
        let unset = || known.iter().copied().filter(|key| !self.values.contains_key(*key));
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            let Some(near) = slip_of(name, unset()) else { continue };
            let message = format!("`{name}` is no key, and nothing reads it");
            let place = eval.origin(&[name]).map(|(place, _)| place);
            let diagnostic = Diagnostic::new(Level::Warning, "tree-0001", message)
                .help(format!("did you mean `{near}`?"))
                .at(place.as_ref(), &gathered.sources());
            gathered.diagnostics.push(diagnostic);
        }
    }

    /// Where a key is written.
    pub(super) fn place(&self, path: &[&str]) -> Option<Place> {
        let eval = self.eval.as_ref()?;
        let found = path.iter().rev().enumerate().find_map(|(cut, _)| {
            let part = path.get(..path.len() - cut)?;
            eval.origin(part)
        });
        Some(found.map_or_else(
            || Place { file: self.path.clone(), start: 0, end: 0 },
            |(place, _)| place,
        ))
    }

    /// The value at a path; null counts as absent.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let mut value = self.values.get(*first)?;
        for name in rest {
            value = value.get(name)?;
        }
        (!value.is_null()).then_some(value)
    }

    pub(super) fn text(&self, path: &[&str]) -> Option<String> {
        let value = self.get(path)?;
        text(value)
    }

    pub(super) fn flag(&self, path: &[&str]) -> Option<bool> {
        let value = self.get(path)?;
        value.as_bool().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
    }

    pub(super) fn count(&self, path: &[&str]) -> Option<i64> {
        count(self.get(path)?)
    }

    pub(super) fn texts(&self, path: &[&str]) -> Option<Vec<String>> {
        texts(self.get(path)?)
    }

    /// The names of a map's entries, in order.
    pub(super) fn names(&self, path: &[&str]) -> Vec<String> {
        let entries = self.get(path).and_then(Value::attributes);
        entries.map(|entries| entries.keys().cloned().collect()).unwrap_or_default()
    }

    /// The front of the paths that `why` knows.
    pub(super) fn front(&self) -> String {
        match &self.folder {
            Some(folder) => format!("clusters.{folder}"),
            None => {
                let file = self.section.file();
                let file = file.strip_suffix(".hcl").unwrap_or(file);
                let name = file.rsplit('/').next().unwrap_or(file);
                name.to_owned()
            }
        }
    }

    fn check(&self, gathered: &mut Gathered) {
        for (name, value) in &self.values {
            self.check_value(&[name], value, gathered);
        }
        for name in &self.behind {
            let Some((place, formula)) =
                self.eval.as_ref().and_then(|eval| eval.input_origin(&[name]))
            else {
                continue;
            };
            let sources = gathered.sources();
            let origin = Origin {
                path: format!("{}.inputs.{name}", self.front()),
                location: Some(sources.locate(&place)),
                formula: if self.section == Section::Credentials { String::new() } else { formula },
                value: None,
                overridden_by: self.place(&[name]).map(|place| sources.locate(&place)),
            };
            gathered.origins.push(origin);
        }
    }

    fn check_value(&self, path: &[&str], value: &Value, gathered: &mut Gathered) {
        let Some(key) = key::find(self.section, path) else { return };
        let place = self.place(path);
        self.note_origin(path, value, gathered);
        let known = key::below(self.section, path);
        // Credentials and patches are opened when they are needed.
        let is_opened_later = self.section == Section::Credentials || key::is_patch(path);
        if !is_opened_later
            && (known.is_empty() || value.is_unknown())
            && let Some(reason) = value.unknown_reason()
        {
            let message =
                format!("`{}` is not known from the tree alone: {reason}", path.join("."));
            let diagnostic = Diagnostic::new(Level::Error, "tree-0055", message)
                .help(
                    "write the value out: of what is encrypted only credentials and `config_patches` \
                     are used",
                )
                .at(place.as_ref(), &gathered.sources());
            gathered.unsupported.push(diagnostic);
            return;
        }
        if value.is_null() || value.is_unknown() {
            return;
        }
        if key.status == Status::NotYet {
            if !is_off(value) {
                let message = format!("`{}` is known, but not acted on yet", path.join("."));
                let diagnostic = Diagnostic::new(Level::Error, "tree-0002", message)
                    .help("leave the key out until a later version acts on it")
                    .at(place.as_ref(), &gathered.sources());
                gathered.unsupported.push(diagnostic);
            }
            return;
        }
        if !fits(key.shape, value) {
            let message = format!(
                "`{}` must be {}, not {}",
                path.join("."),
                key.shape.words(),
                value.type_name()
            );
            gathered.error("tree-0003", message, place.as_ref());
            return;
        }
        if known.is_empty() {
            return;
        }
        let Some(entries) = value.attributes() else {
            if known.contains(&"*") {
                for (number, item) in
                    value.items().into_iter().flat_map(|items| items.iter()).enumerate()
                {
                    let at = number.to_string();
                    let inner: Vec<&str> = path.iter().copied().chain([at.as_str()]).collect();
                    self.check_value(&inner, item, gathered);
                }
            }
            return;
        };
        for (name, value) in entries.iter() {
            let inner: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
            if known.contains(&"*") || known.contains(&name.as_str()) {
                self.check_value(&inner, value, gathered);
                continue;
            }
            let message = format!("`{}` has no key `{name}`", path.join("."));
            let help = match did_you_mean(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its keys are {}", known.join(", ")),
            };
            let diagnostic = Diagnostic::new(Level::Warning, "tree-0001", message)
                .help(help)
                .at(self.place(&inner).as_ref(), &gathered.sources());
            gathered.diagnostics.push(diagnostic);
        }
    }

    fn note_origin(&self, path: &[&str], value: &Value, gathered: &mut Gathered) {
        let formula = self
            .eval
            .as_ref()
            .and_then(|eval| eval.origin(path))
            .map(|(_, text)| text)
            .unwrap_or_default();
        let sensitive = value.has_sensitive() || self.section == Section::Credentials;
        let location = self.place(path).map(|place| gathered.sources().locate(&place));
        gathered.origins.push(Origin {
            path: format!("{}.{}", self.front(), path.join(".")),
            location,
            formula: if self.section == Section::Credentials { String::new() } else { formula },
            value: if sensitive { None } else { value.to_json() },
            overridden_by: None,
        });
    }
}

/// Whether a value says that a thing is not wanted.
fn is_off(value: &Value) -> bool {
    match &value.kind {
        Kind::Null(_) => true,
        Kind::Bool(flag) => !flag,
        Kind::List(_, items) | Kind::Set(_, items) | Kind::Tuple(items) => items.is_empty(),
        Kind::Map(_, items) | Kind::Object(items) => {
            items.is_empty()
                || items.get("enabled").is_some_and(|flag| flag.as_bool() == Some(false))
        }
        _ => false,
    }
}

fn fits(shape: Shape, value: &Value) -> bool {
    match shape {
        Shape::Text => text(value).is_some(),
        Shape::Flag => {
            value.as_bool().is_some() || matches!(value.as_str(), Some("true" | "false"))
        }
        Shape::Count => count(value).is_some(),
        Shape::Texts => texts(value).is_some(),
        Shape::Object | Shape::Map => value.attributes().is_some(),
        Shape::Any => true,
    }
}

pub(super) fn text(value: &Value) -> Option<String> {
    match &value.kind {
        Kind::String(text) => Some(text.to_string()),
        Kind::Number(number) => Some(number.to_string()),
        Kind::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

pub(super) fn count(value: &Value) -> Option<i64> {
    match &value.kind {
        Kind::Number(number) if number.is_integer() => number.to_i64(),
        Kind::String(text) => text.parse().ok(),
        _ => None,
    }
}

pub(super) fn texts(value: &Value) -> Option<Vec<String>> {
    let items = value.items()?;
    items.iter().filter(|item| !item.is_unknown()).map(text).collect()
}
