//! Evaluation of expressions.

mod branch;
mod call;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{Expr, ForNode, Node, ObjectKey, Part, Span, SplatStep};
use super::convert::{convert, one_type};
use super::error::{Class, Failure, did_you_mean};
use super::operator::{binary, unary};
use super::value::{Kind, Type, Value};

pub(super) type Result<T> = std::result::Result<T, Failure>;

/// Most elements that an expression may make: a mistake in a range would exhaust memory.
pub(super) const MOST_ELEMENTS: usize = 1 << 20;

/// What an expression can name, beside the names that it binds itself.
pub trait Scope {
    /// A root name as a whole; none if there is no such name.
    fn root(&self, name: &str) -> Option<Result<Value>>;

    /// An attribute of a root name, where it can be had without the others; none if there is no
    /// such root.
    fn attribute(&self, root: &str, name: &str) -> Option<Result<Value>> {
        let value = match self.root(root)? {
            Ok(value) => value,
            Err(failure) => return Some(Err(failure)),
        };
        Some(attribute(&value, name))
    }

    /// A function that depends on where the expression stands; none if it is none of those.
    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value>>;

    /// Names of root values, for "did you mean".
    fn roots(&self) -> Vec<String>;

    /// An attribute that does not exist is not known, instead of being a failure.
    fn is_lax(&self) -> bool {
        false
    }
}

/// Evaluates an expression.
///
/// # Errors
/// A [`Failure`] with the place of its cause.
pub fn evaluate(expr: &Expr, scope: &dyn Scope) -> Result<Value> {
    Evaluator { scope, bound: Vec::new() }.expr(expr)
}

/// Evaluates a template with these names.
pub(super) fn template(
    parts: &[Part],
    names: &BTreeMap<String, Value>,
    scope: &dyn Scope,
) -> Result<Value> {
    let bound = names.iter().map(|(name, value)| (name.as_str().into(), value.clone())).collect();
    Evaluator { scope, bound }.parts(parts, &(0..0))
}

/// An attribute of a value.
pub(super) fn attribute(value: &Value, name: &str) -> Result<Value> {
    let missing = |text: String| Err(Failure::new(Class::UnknownAttribute, text));
    match &value.kind {
        Kind::Unknown(_) => Ok(value.clone()),
        Kind::Null(_) => missing(format!("the value is null, so it has no attribute {name:?}")),
        Kind::Object(items) | Kind::Map(_, items) => match items.get(name) {
            Some(item) => Ok(item.clone().marked(value.sensitive)),
            None => {
                let failure = Failure::new(
                    Class::UnknownAttribute,
                    format!("this {} has no attribute {name:?}", value.type_name()),
                );
                let known = items.keys().map(String::as_str);
                Err(match did_you_mean(name, known) {
                    Some(near) if !value.sensitive => {
                        failure.help(format!("did you mean {near:?}?"))
                    }
                    _ => failure,
                })
            }
        },
        _ => missing(format!("a {} has no attribute {name:?}", value.type_name())),
    }
}

/// An element of a value.
fn element(value: &Value, index: &Value) -> Result<Value> {
    let sensitive = value.sensitive || index.sensitive;
    if value.is_unknown() {
        return Ok(value.clone().marked(sensitive));
    }
    if index.is_unknown() {
        return Ok(index.clone().marked(sensitive));
    }
    let missing = |text: String| Err(Failure::new(Class::UnknownAttribute, text));
    match &value.kind {
        Kind::Null(_) => missing("the value is null, so it has no elements".to_owned()),
        Kind::List(_, items) | Kind::Tuple(items) => {
            let number = match convert(index, &Type::Number) {
                Ok(Value { kind: Kind::Number(number), .. }) => number,
                Ok(_) | Err(_) => {
                    return missing(format!("a {} is indexed by number", value.type_name()));
                }
            };
            match number.to_usize().and_then(|at| items.get(at)) {
                Some(item) => Ok(item.clone().marked(sensitive)),
                None => missing(format!("there is no element {number}: it has {}", items.len())),
            }
        }
        Kind::Map(_, items) | Kind::Object(items) => {
            let Ok(Value { kind: Kind::String(key), .. }) = convert(index, &Type::String) else {
                return missing(format!("a {} is indexed by name", value.type_name()));
            };
            match items.get(&*key) {
                Some(item) => Ok(item.clone().marked(sensitive)),
                None if sensitive => missing("there is no such key".to_owned()),
                None => missing(format!("there is no key {key:?}")),
            }
        }
        _ => missing(format!("a {} has no elements to index", value.type_name())),
    }
}

struct Evaluator<'a> {
    scope: &'a dyn Scope,
    bound: Vec<(Arc<str>, Value)>,
}

impl Evaluator<'_> {
    fn expr(&mut self, expr: &Expr) -> Result<Value> {
        self.node(expr).map_err(|failure| failure.at(&expr.span))
    }

    fn node(&mut self, expr: &Expr) -> Result<Value> {
        Ok(match &expr.node {
            Node::Null => Value::NULL,
            Node::Bool(flag) => Value::bool(*flag),
            Node::Number(number) => Value::number(number.clone()),
            Node::Text(text) => Value::string(text),
            Node::Template(parts) => self.parts(parts, &expr.span)?,
            Node::Tuple(items) => {
                Value::tuple(items.iter().map(|item| self.expr(item)).collect::<Result<_>>()?)
            }
            Node::Object(items) => self.object(items)?,
            Node::Name(name) => self.name(name)?,
            Node::Attribute(inner, name) => self.attribute(inner, name)?,
            Node::Index(inner, index) => {
                let value = self.expr(inner)?;
                let index = self.expr(index)?;
                self.lenient(element(&value, &index))?
            }
            Node::Splat(inner, steps) => self.splat(inner, steps)?,
            Node::Conditional(parts) => {
                let (condition, yes, no) = &**parts;
                self.conditional(condition, yes, no)?
            }
            Node::Call(call) => self.call(call)?,
            Node::Unary(operator, inner) => {
                let value = self.expr(inner)?;
                unary(*operator, &value)?
            }
            Node::Binary(operator, sides) => {
                let left = self.expr(&sides.0)?;
                let right = self.expr(&sides.1)?;
                binary(*operator, &left, &right)?
            }
            Node::For(node) => self.for_expr(node)?,
            Node::Group(inner) => self.expr(inner)?,
        })
    }

    fn bound(&self, name: &str) -> Option<Value> {
        self.bound.iter().rev().find(|(bound, _)| &**bound == name).map(|(_, value)| value.clone())
    }

    fn name(&self, name: &str) -> Result<Value> {
        if let Some(value) = self.bound(name) {
            return Ok(value);
        }
        self.scope.root(name).unwrap_or_else(|| Err(self.unknown_root(name)))
    }

    fn unknown_root(&self, name: &str) -> Failure {
        let failure =
            Failure::new(Class::UnknownReference, format!("there is no value called {name:?}"));
        let roots = self.scope.roots();
        let known =
            self.bound.iter().map(|(name, _)| &**name).chain(roots.iter().map(String::as_str));
        match did_you_mean(name, known) {
            Some(near) => failure.help(format!("did you mean {near:?}?")),
            None => failure,
        }
    }

    /// Where the scope is lax, what does not exist is not known.
    fn lenient(&self, result: Result<Value>) -> Result<Value> {
        match result {
            Err(failure) if self.scope.is_lax() && failure.class() == Class::UnknownAttribute => {
                Ok(Value::unknown(failure.message()))
            }
            other => other,
        }
    }

    fn attribute(&mut self, inner: &Expr, name: &str) -> Result<Value> {
        if let Node::Name(root) = &inner.node
            && self.bound(root).is_none()
        {
            let found = self.scope.attribute(root, name);
            let found = found.unwrap_or_else(|| Err(self.unknown_root(root)));
            return self.lenient(found);
        }
        let value = self.expr(inner)?;
        self.lenient(attribute(&value, name))
    }

    fn object(&mut self, items: &[(ObjectKey, Expr)]) -> Result<Value> {
        let mut attributes = BTreeMap::new();
        let mut sensitive = false;
        for (key, value) in items {
            let name = match key {
                ObjectKey::Word(word, _) => word.to_string(),
                ObjectKey::Expr(expr) => {
                    let key = self.expr(expr)?;
                    sensitive |= key.sensitive;
                    match object_key(&key).map_err(|failure| failure.at(&expr.span))? {
                        Some(name) => name,
                        None => return Ok(key),
                    }
                }
            };
            attributes.insert(name, self.expr(value)?);
        }
        Ok(Value::object(attributes).marked(sensitive))
    }

    fn splat(&mut self, inner: &Expr, steps: &[SplatStep]) -> Result<Value> {
        let value = self.expr(inner)?;
        self.splat_of(value, steps)
    }

    fn splat_of(&mut self, value: Value, steps: &[SplatStep]) -> Result<Value> {
        let items: Vec<Value> = match &value.kind {
            Kind::Unknown(_) => return Ok(value),
            Kind::Null(_) => Vec::new(),
            Kind::List(_, items) | Kind::Set(_, items) | Kind::Tuple(items) => items.to_vec(),
            _ => vec![Value { kind: value.kind.clone(), sensitive: false }],
        };
        let mut out = Vec::with_capacity(items.len());
        for mut item in items {
            for step in steps {
                item = match step {
                    SplatStep::Attribute(name, span) => {
                        let found = attribute(&item, name).map_err(|failure| failure.at(span));
                        self.lenient(found)?
                    }
                    SplatStep::Index(index) => {
                        let index = self.expr(index)?;
                        self.lenient(element(&item, &index))?
                    }
                    SplatStep::Splat(steps) => self.splat_of(item, steps)?,
                };
            }
            out.push(item);
        }
        let made = match &value.kind {
            Kind::List(..) | Kind::Set(..) => match one_type(&out) {
                Some(item) => Kind::List(item, Arc::new(out)).into(),
                None => Value::tuple(out),
            },
            _ => Value::tuple(out),
        };
        Ok(made.marked(value.sensitive))
    }

    /// Key and value of each element.
    fn entries(value: &Value, span: &Span) -> Result<Vec<(Value, Value)>> {
        Ok(match &value.kind {
            Kind::List(_, items) | Kind::Tuple(items) => items
                .iter()
                .enumerate()
                .map(|(at, item)| (Value::number(at), item.clone()))
                .collect(),
            Kind::Set(_, items) => items.iter().map(|item| (item.clone(), item.clone())).collect(),
            Kind::Map(_, items) | Kind::Object(items) => {
                items.iter().map(|(name, item)| (Value::string(name), item.clone())).collect()
            }
            _ => {
                return Err(Failure::value(format!(
                    "a {} has no elements to go through",
                    value.type_name()
                ))
                .at(span));
            }
        })
    }

    fn with_element<T>(
        &mut self,
        key_name: Option<&Arc<str>>,
        value_name: &Arc<str>,
        entry: (Value, Value),
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let depth = self.bound.len();
        if let Some(name) = key_name {
            self.bound.push((Arc::clone(name), entry.0));
        }
        self.bound.push((Arc::clone(value_name), entry.1));
        let result = work(self);
        self.bound.truncate(depth);
        result
    }

    fn for_expr(&mut self, node: &ForNode) -> Result<Value> {
        let collection = self.expr(&node.collection)?;
        if collection.is_unknown() {
            return Ok(collection);
        }
        let mut sensitive = collection.sensitive;
        let mut items = Vec::new();
        let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for entry in Self::entries(&collection, &node.collection.span)? {
            let made =
                self.with_element(node.key_name.as_ref(), &node.value_name, entry, |this| {
                    this.for_element(node)
                })?;
            match made {
                Element::Left => {}
                Element::NotKnown(value) => return Ok(value),
                Element::Item(value) => items.push(value),
                Element::Entry { key, value, sensitive: marked } => {
                    sensitive |= marked;
                    let group = groups.entry(key.clone()).or_default();
                    if !group.is_empty() && !node.group {
                        let shown = if sensitive { String::new() } else { format!(" {key:?}") };
                        return Err(Failure::value(format!("two elements have the key{shown}"))
                            .help("with `...` behind the value, values of one key are collected"));
                    }
                    group.push(value);
                }
            }
        }
        let made = if node.key.is_none() {
            Value::tuple(items)
        } else {
            let attributes = groups.into_iter().filter_map(|(key, mut values)| {
                let value = if node.group { Value::tuple(values) } else { values.pop()? };
                Some((key, value))
            });
            Value::object(attributes.collect())
        };
        Ok(made.marked(sensitive))
    }

    fn for_element(&mut self, node: &ForNode) -> Result<Element> {
        if let Some(condition) = &node.condition {
            let test = self.expr(condition)?;
            if test.is_unknown() {
                return Ok(Element::NotKnown(test));
            }
            match convert(&test, &Type::Bool) {
                Ok(Value { kind: Kind::Bool(true), .. }) => {}
                Ok(Value { kind: Kind::Bool(false), .. }) => return Ok(Element::Left),
                _ => {
                    return Err(Failure::value("the condition of `for` must be true or false")
                        .at(&condition.span));
                }
            }
        }
        let Some(key) = &node.key else { return Ok(Element::Item(self.expr(&node.value)?)) };
        let name = self.expr(key)?;
        let Some(text) = object_key(&name).map_err(|failure| failure.at(&key.span))? else {
            return Ok(Element::NotKnown(name));
        };
        let value = self.expr(&node.value)?;
        Ok(Element::Entry { key: text, value, sensitive: name.sensitive })
    }

    fn parts(&mut self, parts: &[Part], span: &Span) -> Result<Value> {
        if let [Part::Value(expr)] = parts {
            return self.expr(expr);
        }
        let mut text = String::new();
        let mut sensitive = false;
        match self.write_parts(parts, &mut text, &mut sensitive) {
            Ok(None) => Ok(Value::string(text).marked(sensitive)),
            Ok(Some(unknown)) => Ok(unknown.marked(sensitive)),
            Err(failure) => Err(failure.at(span)),
        }
    }

    /// Writes the parts; gives the first value that is not known.
    fn write_parts(
        &mut self,
        parts: &[Part],
        text: &mut String,
        sensitive: &mut bool,
    ) -> Result<Option<Value>> {
        for part in parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Value(expr) => {
                    let value = self.expr(expr)?;
                    *sensitive |= value.sensitive;
                    if value.is_unknown() {
                        return Ok(Some(value));
                    }
                    text.push_str(
                        &template_text(&value).map_err(|failure| failure.at(&expr.span))?,
                    );
                }
                Part::If(parts) => {
                    let (condition, yes, no) = &**parts;
                    let test = self.expr(condition)?;
                    *sensitive |= test.sensitive;
                    let branch = match convert(&test, &Type::Bool) {
                        Ok(Value { kind: Kind::Bool(flag), .. }) => {
                            if flag {
                                yes
                            } else {
                                no
                            }
                        }
                        Ok(unknown) if unknown.is_unknown() => return Ok(Some(unknown)),
                        _ => {
                            return Err(Failure::value(
                                "the condition of `if` must be true or false",
                            )
                            .at(&condition.span));
                        }
                    };
                    if let Some(unknown) = self.write_parts(branch, text, sensitive)? {
                        return Ok(Some(unknown));
                    }
                }
                Part::For(node) => {
                    let collection = self.expr(&node.collection)?;
                    *sensitive |= collection.sensitive;
                    if collection.is_unknown() {
                        return Ok(Some(collection));
                    }
                    for entry in Self::entries(&collection, &node.collection.span)? {
                        let unknown = self.with_element(
                            node.key_name.as_ref(),
                            &node.value_name,
                            entry,
                            |this| this.write_parts(&node.body, text, sensitive),
                        )?;
                        if unknown.is_some() {
                            return Ok(unknown);
                        }
                    }
                }
            }
        }
        Ok(None)
    }
}

enum Element {
    Left,
    NotKnown(Value),
    Item(Value),
    Entry { key: String, value: Value, sensitive: bool },
}

/// A value as the name of an attribute; none when it is not known.
fn object_key(key: &Value) -> Result<Option<String>> {
    if key.is_unknown() {
        return Ok(None);
    }
    if key.is_null() {
        return Err(Failure::value("a key must not be null"));
    }
    match convert(key, &Type::String) {
        Ok(Value { kind: Kind::String(text), .. }) => Ok(Some(text.to_string())),
        _ => Err(Failure::value(format!("a {} cannot be a key", key.type_name()))),
    }
}

fn template_text(value: &Value) -> Result<Arc<str>> {
    if value.is_null() {
        return Err(Failure::value("a null value cannot be put into text"));
    }
    match convert(value, &Type::String) {
        Ok(Value { kind: Kind::String(text), .. }) => Ok(text),
        _ => Err(Failure::value(format!("a {} cannot be put into text", value.type_name()))),
    }
}

pub(super) fn not_known(value: &Value) -> Value {
    Value::unknown(value.unknown_reason().unwrap_or("a value is not known"))
}
