//! One file in its place: locals and inputs, evaluated when they are asked for.

mod blocks;
mod origin;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::ast::{Attribute, Block, Body, Expr, Span};
use super::error::{Class, Failure, Place, did_you_mean};
use super::eval::{Result, Scope, attribute, evaluate};
use super::file_call;
use super::loader::Loader;
use super::place::{Site, folder, join};
use super::schema;
use super::value::Value;

/// Deepest chain of locals that ask for one another.
const DEEPEST_CHAIN: usize = 200;

/// What `local` and its like mean while a part of a file is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Paths of includes: functions only.
    Include,
    /// Locals.
    Locals,
    /// Inputs, sources and the like: what does not exist is not known.
    Lax,
    /// Hooks.
    Strict,
}

/// A file that is included.
struct Included {
    name: String,
    expose: bool,
    merge: Merge,
    file: Rc<FileEval>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Merge {
    None,
    Shallow,
    Deep,
}

/// A file in its place.
pub struct FileEval {
    pub(super) loader: Rc<Loader>,
    path: PathBuf,
    body: Rc<Body>,
    pub(super) site: Site,
    includes: Vec<Included>,
    locals: RefCell<BTreeMap<String, Result<Value>>>,
    under_way: RefCell<Vec<String>>,
}

impl std::fmt::Debug for FileEval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileEval").field("path", &self.path).finish_non_exhaustive()
    }
}

impl FileEval {
    pub(super) fn new(
        loader: Rc<Loader>,
        path: &Path,
        body: Rc<Body>,
        site: Site,
    ) -> Result<Rc<Self>> {
        if !loader.is_terraform() {
            schema::check(&body)?;
        }
        let bare = Self {
            loader: Rc::clone(&loader),
            path: path.to_path_buf(),
            body: Rc::clone(&body),
            site: site.clone(),
            includes: Vec::new(),
            locals: RefCell::default(),
            under_way: RefCell::default(),
        };
        let blocks: Vec<&Block> =
            body.blocks.iter().filter(|block| &*block.kind == "include").collect();
        if blocks.is_empty() {
            return Ok(Rc::new(bare));
        }
        if path != site.unit {
            return Err(Failure::new(Class::Include, "an included file must not include another")
                .at(&blocks.first().map_or(0..0, |block| block.span.clone())));
        }
        let includes = bare.read_includes(&blocks)?;
        let site = Site {
            includes: includes
                .iter()
                .map(|include| (include.name.clone(), include.file.path.clone()))
                .collect(),
            ..site
        };
        Ok(Rc::new(Self { includes, site, ..bare }))
    }

    fn read_includes(&self, blocks: &[&Block]) -> Result<Vec<Included>> {
        let mut includes: Vec<Included> = Vec::new();
        let bare = blocks.iter().filter(|block| block.labels.is_empty()).count();
        if bare > 1 {
            return Err(Failure::new(Class::Include, "two includes have no name")
                .at(&blocks.last().map_or(0..0, |block| block.span.clone())));
        }
        for block in blocks {
            let include = self.read_include(block)?;
            includes.retain(|other| other.name != include.name);
            includes.push(include);
        }
        Ok(includes)
    }

    fn read_include(&self, block: &Block) -> Result<Included> {
        let scope = FileScope { file: self, phase: Phase::Include };
        let get = |name: &str| -> Result<Option<Value>> {
            block.body.attribute(name).map(|found| evaluate(&found.expr, &scope)).transpose()
        };
        let fail = |text: &str| Failure::new(Class::Include, text.to_owned()).at(&block.span);
        let path = get("path")?.unwrap_or(Value::NULL);
        let Some(path) = path.as_str().filter(|path| !path.is_empty()) else {
            return Err(fail("the include has no path"));
        };
        let path = join(self.site.unit_dir(), path);
        let merge = match get("merge_strategy")?.as_ref().map(|value| value.as_str()) {
            None | Some(Some("shallow")) => Merge::Shallow,
            Some(Some("deep" | "deep_map_only")) => Merge::Deep,
            Some(Some("no_merge")) => Merge::None,
            _ => return Err(fail("the merge strategy is none of no_merge, shallow and deep")),
        };
        let expose = get("expose")?.and_then(|value| value.as_bool()).unwrap_or(false);
        let name = block.labels.first().map(ToString::to_string).unwrap_or_default();
        let site = Site {
            text_dir: folder(&path).to_path_buf(),
            includes: vec![(name.clone(), path.clone())],
            ..self.site.clone()
        };
        let file = self
            .loader
            .while_reading(&self.path, || self.loader.file(&path, site))
            .map_err(|failure| failure.at(&block.span).in_file(&self.path))?;
        Ok(Included { name, expose, merge, file })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn locals_block(&self) -> Option<&Block> {
        self.body.blocks.iter().find(|block| &*block.kind == "locals")
    }

    fn local_attributes(&self) -> &[Attribute] {
        if self.loader.is_terraform() && self.locals_block().is_none() {
            return &self.body.attributes;
        }
        self.locals_block().map_or(&[], |block| &block.body.attributes)
    }

    fn local_attribute(&self, name: &str) -> Option<&Attribute> {
        self.local_attributes().iter().find(|attribute| &*attribute.name == name)
    }

    /// The names of its locals, in file order.
    pub fn local_names(&self) -> impl Iterator<Item = &str> {
        self.local_attributes().iter().map(|attribute| &*attribute.name)
    }

    /// The names of locals that nothing in the file reads.
    pub fn unread_locals(&self) -> BTreeSet<&str> {
        let mut unread: BTreeSet<&str> = self.local_names().collect();
        let inputs = self.body.attribute("inputs").map(|attribute| &attribute.expr);
        for expr in self.local_attributes().iter().map(|local| &local.expr).chain(inputs) {
            expr.names(&mut |root, part, _| {
                match part {
                    Some(name) if root == "local" => drop(unread.remove(name)),
                    // All of them at once.
                    None if root == "local" => unread.clear(),
                    _ => {}
                }
            });
        }
        unread
    }

    /// Checks what can be seen without evaluating: names that locals may and do refer to.
    ///
    /// # Errors
    /// A local refers to a name that is not there, or, read closely, locals wait for one another.
    pub fn check(&self) -> Result<()> {
        let mut failures = self.reference_failures();
        match failures.is_empty() {
            true => Ok(()),
            false => Err(failures.remove(0)),
        }
    }

    /// Every reference of a local to a name that is not there.
    pub fn reference_failures(&self) -> Vec<Failure> {
        let names: BTreeSet<&str> = self.local_names().collect();
        let mut failures = Vec::new();
        let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for local in self.local_attributes() {
            let mut needs = BTreeSet::new();
            local.expr.names(&mut |root, part, span| {
                if let Some(failure) = self.reference_failure(&names, root, part, span) {
                    failures.push(
                        failure.in_file(&self.path).asked_by(format!("local.{}", local.name)),
                    );
                } else if root == "local" {
                    needs.extend(part);
                }
            });
            waits.insert(&local.name, needs);
        }
        if failures.is_empty()
            && let Some(path) = cycle(&waits)
        {
            failures.push(self.cycle_failure(&path));
        }
        failures
    }

    fn cycle_failure(&self, path: &[&str]) -> Failure {
        let shown: Vec<String> = path.iter().map(|name| format!("local.{name}")).collect();
        let failure = Failure::new(
            Class::Cycle,
            format!("values wait for one another: {}", shown.join(" -> ")),
        );
        let span = path
            .first()
            .and_then(|name| self.local_attribute(name))
            .map_or(0..0, |attribute| attribute.name_span.clone());
        failure.at(&span).in_file(&self.path)
    }

    fn reference_failure(
        &self,
        names: &BTreeSet<&str>,
        root: &str,
        part: Option<&str>,
        span: &Span,
    ) -> Option<Failure> {
        let fail = |text: String| Some(Failure::new(Class::UnknownReference, text).at(span));
        match (root, part) {
            ("local", None) => {
                fail("`local` needs the name of a value behind it: local.NAME".to_owned())
            }
            ("local", Some(name)) if names.contains(name) => None,
            ("local", Some(name)) => {
                let failure = Failure::new(
                    Class::UnknownReference,
                    format!("there is no local {name:?} in this file"),
                )
                .at(span);
                Some(match did_you_mean(name, names.iter().copied()) {
                    Some(near) => failure.help(format!("did you mean local.{near}?")),
                    None => failure,
                })
            }
            ("include" | "feature" | "values", _) if !self.loader.is_terraform() => None,
            ("dependency" | "inputs" | "var" | "path" | "each" | "module" | "data", _) => {
                fail(format!("{root:?} cannot be used in locals"))
            }
            (other, _) => {
                let failure = Failure::new(
                    Class::UnknownReference,
                    format!("there is no value called {other:?}"),
                )
                .at(span);
                Some(match did_you_mean(other, ["local", "include"]) {
                    Some(near) => failure.help(format!("did you mean {near:?}?")),
                    None if names.contains(other) => {
                        failure.help(format!("did you mean local.{other}?"))
                    }
                    None => failure.help(format!("text needs quotes: \"{other}\"")),
                })
            }
        }
    }

    /// One local.
    ///
    /// # Errors
    /// Why it cannot be evaluated.
    pub fn local(&self, name: &str) -> Option<Result<Value>> {
        let attribute = self.local_attribute(name)?;
        if let Some(done) = self.locals.borrow().get(name) {
            return Some(done.clone());
        }
        let under_way = self.under_way.borrow().iter().position(|other| other == name);
        if let Some(start) = under_way {
            let chain = self.under_way.borrow();
            let mut path: Vec<&str> = chain.iter().skip(start).map(String::as_str).collect();
            path.push(name);
            return Some(Err(self.cycle_failure(&path)));
        }
        if self.under_way.borrow().len() > DEEPEST_CHAIN {
            return Some(Err(Failure::value(format!(
                "more than {DEEPEST_CHAIN} locals ask for one another in a row"
            ))
            .at(&attribute.name_span)
            .in_file(&self.path)));
        }
        self.under_way.borrow_mut().push(name.to_owned());
        let scope = FileScope { file: self, phase: Phase::Locals };
        let result = evaluate(&attribute.expr, &scope)
            .map_err(|failure| failure.in_file(&self.path).asked_by(format!("local.{name}")));
        self.under_way.borrow_mut().pop();
        self.locals.borrow_mut().insert(name.to_owned(), result.clone());
        Some(result)
    }

    /// All locals as one object; none when there is no local.
    ///
    /// # Errors
    /// The first local that fails.
    pub fn locals(&self) -> Result<Option<Value>> {
        self.check()?;
        let mut values = BTreeMap::new();
        for attribute in self.local_attributes() {
            if let Some(value) = self.local(&attribute.name) {
                values.insert(attribute.name.to_string(), value?);
            }
        }
        Ok((!values.is_empty()).then(|| Value::object(values)))
    }

    fn attribute_in(&self, phase: Phase, expr: &Expr) -> Result<Value> {
        evaluate(expr, &FileScope { file: self, phase })
            .map_err(|failure| failure.in_file(&self.path))
    }

    /// The inputs, merged with those of includes; none when there are none.
    ///
    /// # Errors
    /// The inputs, or those of an included file, cannot be evaluated.
    pub fn inputs(&self) -> Result<Option<Value>> {
        let own = match self.body.attribute("inputs") {
            None => None,
            Some(found) => {
                let value = self.attribute_in(Phase::Lax, &found.expr)?;
                if value.is_null() {
                    Some(Value::object(BTreeMap::new()))
                } else if value.attributes().is_some() || value.is_unknown() {
                    Some(value)
                } else {
                    return Err(Failure::value(format!(
                        "inputs must be an object, this is {}",
                        value.type_name()
                    ))
                    .at(&found.expr.span)
                    .in_file(&self.path));
                }
            }
        };
        let mut merged: Option<Value> = None;
        for include in self.includes.iter().filter(|include| include.merge != Merge::None) {
            let parent = include.file.inputs()?;
            merged = merge(merged, parent, include.merge);
        }
        let how = if self.includes.iter().any(|include| include.merge == Merge::Deep) {
            Merge::Deep
        } else {
            Merge::Shallow
        };
        Ok(merge(merged, own, how))
    }

    /// Evaluates everything as Terragrunt does when the file is a unit: a part that fails makes
    /// the file fail.
    ///
    /// # Errors
    /// The first part that fails.
    pub fn evaluate_all(&self) -> Result<(Option<Value>, Option<Value>)> {
        for include in &self.includes {
            include.file.features()?;
            include.file.locals()?;
        }
        self.features()?;
        let locals = self.locals()?;
        self.other_blocks()?;
        for include in &self.includes {
            include.file.other_blocks()?;
        }
        Ok((locals, self.inputs()?))
    }

    /// Bytes of this file as a place.
    pub fn place(&self, span: &Span) -> Place {
        Place { file: self.path.clone(), start: span.start, end: span.end }
    }

    /// Evaluates an expression in the context of this file.
    ///
    /// # Errors
    /// The expression does not parse, or fails.
    pub fn evaluate(&self, text: &str) -> Result<Value> {
        let expr = super::parse::expression(text)?;
        evaluate(&expr, &FileScope { file: self, phase: Phase::Strict })
    }
}

/// A cycle among names that wait for names.
fn cycle<'a>(waits: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    loop {
        let before = done.len();
        for (name, needs) in waits {
            if !done.contains(name) && needs.iter().all(|need| done.contains(need)) {
                done.insert(name);
            }
        }
        if done.len() == before {
            break;
        }
    }
    let mut current = *waits.keys().find(|name| !done.contains(**name))?;
    let mut path = Vec::new();
    loop {
        if let Some(start) = path.iter().position(|name| *name == current) {
            let mut cycle: Vec<&str> = path.split_off(start);
            cycle.push(current);
            return Some(cycle);
        }
        path.push(current);
        current = waits.get(current)?.iter().find(|need| !done.contains(**need))?;
    }
}

fn merge(below: Option<Value>, above: Option<Value>, how: Merge) -> Option<Value> {
    match (below, above) {
        (None, other) | (other, None) => other,
        (Some(below), Some(above)) if how == Merge::Deep => Some(deep_merge(&below, &above)),
        (Some(below), Some(above)) => {
            let (Some(low), Some(high)) = (below.attributes(), above.attributes()) else {
                return Some(above);
            };
            let mut merged = (**low).clone();
            merged.extend(high.iter().map(|(name, value)| (name.clone(), value.clone())));
            Some(Value::object(merged).marked(below.sensitive || above.sensitive))
        }
    }
}

/// Objects merge, lists are appended (the parent's first), everything else is the child's; an
/// empty list or object of the child empties nothing.
pub(super) fn deep_merge(below: &Value, above: &Value) -> Value {
    let sensitive = below.sensitive || above.sensitive;
    if let (Some(low), Some(high)) = (below.attributes(), above.attributes()) {
        let mut merged = (**low).clone();
        for (name, value) in high.iter() {
            let value = match merged.get(name) {
                Some(old) => deep_merge(old, value),
                None => value.clone(),
            };
            merged.insert(name.clone(), value);
        }
        return Value::object(merged).marked(sensitive);
    }
    if let (Some(low), Some(high)) = (below.items(), above.items()) {
        let all = low.iter().chain(high.iter()).cloned().collect();
        return Value::tuple(all).marked(sensitive);
    }
    above.clone()
}

/// What an expression of a file sees.
pub(super) struct FileScope<'a> {
    pub(super) file: &'a FileEval,
    pub(super) phase: Phase,
}

impl Scope for FileScope<'_> {
    fn root(&self, name: &str) -> Option<Result<Value>> {
        if self.phase == Phase::Include {
            return None;
        }
        match name {
            "local" => Some(
                self.file
                    .locals()
                    .map(|locals| locals.unwrap_or_else(|| Value::object(BTreeMap::new()))),
            ),
            "include" => self.file.include_value().transpose(),
            "feature" => Some(self.file.feature_value()),
            "dependency" if self.phase != Phase::Locals => Some(self.file.dependency_value()),
            _ => None,
        }
    }

    fn attribute(&self, root: &str, name: &str) -> Option<Result<Value>> {
        if root == "local" && self.phase != Phase::Include {
            if let Some(value) = self.file.local(name) {
                return Some(value);
            }
            let failure = Failure::new(
                Class::UnknownAttribute,
                format!("there is no local {name:?} in this file"),
            );
            let known = self.file.local_names();
            return Some(Err(match did_you_mean(name, known) {
                Some(near) => failure.help(format!("did you mean local.{near}?")),
                None => failure,
            }));
        }
        match self.root(root)? {
            Ok(value) => Some(attribute(&value, name)),
            Err(failure) => Some(Err(failure)),
        }
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value>> {
        file_call::call(self.file, name, arguments)
    }

    fn roots(&self) -> Vec<String> {
        match self.phase {
            Phase::Include => Vec::new(),
            _ => vec!["local".to_owned(), "include".to_owned()],
        }
    }

    fn is_lax(&self) -> bool {
        self.phase == Phase::Lax
    }
}
