//! Expressions, with the place of each in its file.

use std::ops::Range;
use std::sync::Arc;

use super::number::Number;

/// Bytes of a file.
pub type Span = Range<usize>;

/// An expression.
#[derive(Debug, Clone)]
pub struct Expr {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub node: Node,
}

/// What an expression is.
#[derive(Debug, Clone)]
pub enum Node {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text without any expression in it.
    Text(Arc<str>),
    /// Text with expressions in it.
    Template(Vec<Part>),
    /// `[a, b]`
    Tuple(Vec<Expr>),
    /// `{ a = b }`
    Object(Vec<(ObjectKey, Expr)>),
    /// A name.
    Name(Arc<str>),
    /// `a.b`
    Attribute(Box<Expr>, Arc<str>),
    /// `a[b]`
    Index(Box<Expr>, Box<Expr>),
    /// `a.*.b`, `a[*].b`: the steps are taken from each element.
    Splat(Box<Expr>, Vec<SplatStep>),
    /// `a ? b : c`
    Conditional(Box<(Expr, Expr, Expr)>),
    /// `f(a, b...)`
    Call(Call),
    /// `!a`, `-a`
    Unary(Unary, Box<Expr>),
    /// `a + b`
    Binary(Binary, Box<(Expr, Expr)>),
    /// `[for …]`, `{for …}`
    For(Box<ForNode>),
    /// `(a)`: kept, since a key in parentheses is an expression.
    Group(Box<Expr>),
}

/// A key of an object.
#[derive(Debug, Clone)]
pub enum ObjectKey {
    /// A bare word.
    Word(Arc<str>, Span),
    /// An expression.
    Expr(Expr),
}

/// A step behind a splat.
#[derive(Debug, Clone)]
pub enum SplatStep {
    /// `.b`
    Attribute(Arc<str>, Span),
    /// `[b]`
    Index(Expr),
    /// `.*`, `[*]` within a splat, with the steps that are taken there.
    Splat(Vec<Self>),
}

impl SplatStep {
    fn walk<'a>(
        &'a self,
        bound: &mut Vec<&'a str>,
        see: &mut dyn FnMut(&'a str, Option<&'a str>, &Span),
    ) {
        match self {
            Self::Attribute(..) => {}
            Self::Index(index) => index.walk(bound, see),
            Self::Splat(steps) => steps.iter().for_each(|step| step.walk(bound, see)),
        }
    }
}

/// A function call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The function's name, with its namespace.
    pub name: Arc<str>,
    /// Its arguments.
    pub arguments: Vec<Expr>,
    /// The last argument is a list of further ones.
    pub expand: bool,
}

/// Operators with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// `!`
    Not,
    /// `-`
    Negate,
}

/// Operators with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Binary {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    And,
    Or,
}

/// A `for` expression.
#[derive(Debug, Clone)]
pub struct ForNode {
    /// Name of the key or index.
    pub key_name: Option<Arc<str>>,
    /// Name of the value.
    pub value_name: Arc<str>,
    /// What is gone through.
    pub collection: Expr,
    /// Key of each attribute; an object is made.
    pub key: Option<Expr>,
    /// Value of each element or attribute.
    pub value: Expr,
    /// Values with one key make a tuple.
    pub group: bool,
    /// Which elements count.
    pub condition: Option<Expr>,
}

/// A part of a template.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text.
    Text(String),
    /// `${…}`
    Value(Expr),
    /// `%{ if … }`
    If(Box<(Expr, Vec<Self>, Vec<Self>)>),
    /// `%{ for … }`
    For(Box<TemplateFor>),
}

/// A `for` directive.
#[derive(Debug, Clone)]
pub struct TemplateFor {
    /// Name of the key or index.
    pub key_name: Option<Arc<str>>,
    /// Name of the value.
    pub value_name: Arc<str>,
    /// What is gone through.
    pub collection: Expr,
    /// What is written for each element.
    pub body: Vec<Part>,
}

/// An attribute of a body.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Its name.
    pub name: Arc<str>,
    /// Where its name stands.
    pub name_span: Span,
    /// Its expression.
    pub expr: Expr,
}

/// A block of a body.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its type.
    pub kind: Arc<str>,
    /// Where its type stands.
    pub span: Span,
    /// Its labels.
    pub labels: Vec<Arc<str>>,
    /// What is in it.
    pub body: Body,
}

/// Attributes and blocks.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// In file order; each name once.
    pub attributes: Vec<Attribute>,
    /// In file order.
    pub blocks: Vec<Block>,
}

impl Body {
    /// An attribute by its name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| &*attribute.name == name)
    }
}

impl Expr {
    /// Calls `see` with every name that the expression reads and what is taken from it at once:
    /// for `local.a.b` the name `local` and `Some("a")`. Names bound by `for` are left out.
    pub fn names<'a>(&'a self, see: &mut dyn FnMut(&'a str, Option<&'a str>, &Span)) {
        let mut bound = Vec::new();
        self.walk(&mut bound, see);
    }

    fn walk<'a>(
        &'a self,
        bound: &mut Vec<&'a str>,
        see: &mut dyn FnMut(&'a str, Option<&'a str>, &Span),
    ) {
        match &self.node {
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) => {}
            Node::Template(parts) => walk_parts(parts, bound, see),
            Node::Tuple(items) => items.iter().for_each(|item| item.walk(bound, see)),
            Node::Object(items) => {
                for (key, value) in items {
                    if let ObjectKey::Expr(key) = key {
                        key.walk(bound, see);
                    }
                    value.walk(bound, see);
                }
            }
            Node::Name(name) => {
                if !bound.contains(&&**name) {
                    see(name, None, &self.span);
                }
            }
            Node::Attribute(inner, attribute) => match &inner.node {
                Node::Name(name) => {
                    if !bound.contains(&&**name) {
                        see(name, Some(attribute), &self.span);
                    }
                }
                _ => inner.walk(bound, see),
            },
            Node::Index(inner, index) => {
                inner.walk(bound, see);
                index.walk(bound, see);
            }
            Node::Splat(inner, steps) => {
                inner.walk(bound, see);
                steps.iter().for_each(|step| step.walk(bound, see));
            }
            Node::Conditional(parts) => {
                let (condition, yes, no) = &**parts;
                [condition, yes, no].into_iter().for_each(|part| part.walk(bound, see));
            }
            Node::Call(call) => call.arguments.iter().for_each(|item| item.walk(bound, see)),
            Node::Unary(_, inner) | Node::Group(inner) => inner.walk(bound, see),
            Node::Binary(_, sides) => {
                sides.0.walk(bound, see);
                sides.1.walk(bound, see);
            }
            Node::For(node) => {
                node.collection.walk(bound, see);
                let depth = bound.len();
                bound.extend(node.key_name.as_deref());
                bound.push(&node.value_name);
                let parts = [node.key.as_ref(), Some(&node.value), node.condition.as_ref()];
                for part in parts.into_iter().flatten() {
                    part.walk(bound, see);
                }
                bound.truncate(depth);
            }
        }
    }
}

fn walk_parts<'a>(
    parts: &'a [Part],
    bound: &mut Vec<&'a str>,
    see: &mut dyn FnMut(&'a str, Option<&'a str>, &Span),
) {
    for part in parts {
        match part {
            Part::Text(_) => {}
            Part::Value(expr) => expr.walk(bound, see),
            Part::If(parts) => {
                let (condition, yes, no) = &**parts;
                condition.walk(bound, see);
                walk_parts(yes, bound, see);
                walk_parts(no, bound, see);
            }
            Part::For(node) => {
                node.collection.walk(bound, see);
                let depth = bound.len();
                bound.extend(node.key_name.as_deref());
                bound.push(&node.value_name);
                walk_parts(&node.body, bound, see);
                bound.truncate(depth);
            }
        }
    }
}
