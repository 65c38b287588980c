//! From text to expressions. The grammar is the HCL library's; heredocs are read here, since
//! their indentation is taken away in another way.

use std::sync::Arc;

use hcl_edit::Span as _;
use hcl_edit::expr::{
    self as library, BinaryOperator, Expression, TraversalOperator, UnaryOperator,
};
use hcl_edit::structure::{Body as LibraryBody, Structure};
use hcl_edit::template::{Directive, Element, Strip, Template};

use super::ast::{
    Attribute, Binary, Block, Body, Call, Expr, ForNode, Node, ObjectKey, Part, Span, SplatStep,
    TemplateFor, Unary,
};
use super::error::{Class, Failure};
use super::number::Number;
use super::template;

/// Largest file that is read, in bytes: data files are small, and a large one is a mistake.
pub const LARGEST_FILE: usize = 4 << 20;

/// Most operators after one value, `a.b[0].*.c` has four: each is a level of what is evaluated.
const MOST_OPERATORS: usize = 256;

type Result<T> = std::result::Result<T, Failure>;

/// Reads the body of a file.
///
/// # Errors
/// It is not HCL, too large, or nests too deeply.
pub fn body(text: &str) -> Result<Body> {
    if text.len() > LARGEST_FILE {
        return Err(Failure::new(
            Class::Parse,
            format!("the file has {} bytes; at most {LARGEST_FILE} are read", text.len()),
        )
        .at(&(0..0)));
    }
    let readable = template::without_heredocs(text, 0)?;
    let parsed = without_doubled_keys(&readable, hcl_edit::parser::parse_body)
        .map_err(|error| syntax(&error, text, 0))?;
    Reader { text, base: 0 }.body(&parsed)
}

/// Reads one expression.
///
/// # Errors
/// It is not an expression.
pub fn expression(text: &str) -> Result<Expr> {
    part(text, 0..text.len(), 0)
}

/// Reads an expression that is part of a text which begins at `base` of its file.
pub(super) fn part(text: &str, range: Span, base: usize) -> Result<Expr> {
    let inner = text.get(range.clone()).unwrap_or_default();
    let lead = inner.len() - inner.trim_start().len();
    let base = base + range.start + lead;
    let inner = inner.trim();
    if inner.is_empty() {
        return Err(Failure::new(Class::Parse, "an expression is missing").at(&(base..base)));
    }
    // A line break ends an expression of a file, but not one in a template.
    let readable = template::without_heredocs(inner, base)?;
    let parsed = without_doubled_keys(&readable, hcl_edit::parser::parse_expr)
        .map_err(|error| syntax(&error, inner, base))?;
    Reader { text: inner, base }.expr(&parsed)
}

/// Most keys of objects in one text that stand there twice.
const MOST_DOUBLED: usize = 200;

/// Parses a text whose objects may name a key twice, where the last one counts. The library
/// refuses that, so it is given a text in which such a key has another name of the same length;
/// names are taken from the real text afterwards.
fn without_doubled_keys<T>(
    text: &str,
    parse: impl Fn(&str) -> std::result::Result<T, hcl_edit::parser::Error>,
) -> std::result::Result<T, hcl_edit::parser::Error> {
    let mut changed: Option<String> = None;
    for round in 0..MOST_DOUBLED {
        let error = match parse(changed.as_deref().unwrap_or(text)) {
            Ok(parsed) => return Ok(parsed),
            Err(error) => error,
        };
        if !error.message().contains("redefined object key") {
            return Err(error);
        }
        let mut bytes = changed.unwrap_or_else(|| text.to_owned()).into_bytes();
        let Some(key) = key_at(&bytes, error.location().offset()) else { return Err(error) };
        let mut number = round;
        for byte in bytes.get_mut(key).into_iter().flatten().rev() {
            let letter = u8::try_from(number % 26).unwrap_or(0);
            *byte = b'A' + letter;
            number /= 26;
        }
        match String::from_utf8(bytes) {
            Ok(text) => changed = Some(text),
            Err(_) => return Err(error),
        }
    }
    parse(text)
}

/// Where the letters of the key lie that begins here: a word, quoted text without escapes, or
/// the first word of an expression in parentheses.
fn key_at(text: &[u8], start: usize) -> Option<Span> {
    let rest = text.get(start..)?;
    let length = |text: &[u8], fits: fn(u8) -> bool| {
        text.iter().position(|byte| !fits(*byte)).unwrap_or(text.len())
    };
    let key = match rest.split_first()? {
        (b'"', rest) => {
            let length = length(rest, |byte| !matches!(byte, b'"' | b'\\' | b'$' | b'%' | b'\n'));
            (rest.get(length) == Some(&b'"')).then(|| start + 1..start + 1 + length)?
        }
        (b'(', rest) => {
            // Letters or digits of the expression, not those of an escape.
            let at = rest.iter().position(u8::is_ascii_alphanumeric)?;
            let is_escape = at.checked_sub(1).is_some_and(|at| rest.get(at) == Some(&b'\\'));
            let start = start + 1 + at;
            let word = length(rest.get(at..)?, |byte| byte.is_ascii_alphanumeric());
            (!is_escape).then_some(start..start + word)?
        }
        _ => {
            let is_name =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | 0x80..);
            start..start + length(rest, is_name)
        }
    };
    (!key.is_empty()).then_some(key)
}

fn syntax(error: &hcl_edit::parser::Error, text: &str, base: usize) -> Failure {
    let at = error.location().offset().min(text.len());
    let end = text.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8());
    let message = error.message().replace('\n', "; ");
    Failure::new(Class::Parse, message).at(&(base + at..base + end))
}

type Operators<'a> =
    std::iter::Peekable<std::slice::Iter<'a, hcl_edit::Decorated<TraversalOperator>>>;

struct Reader<'a> {
    text: &'a str,
    base: usize,
}

impl Reader<'_> {
    fn span(&self, span: Option<std::ops::Range<usize>>) -> Span {
        let span = span.unwrap_or(0..0);
        self.base + span.start..self.base + span.end
    }

    /// Quoted text may not go over several lines; the library lets it.
    fn on_one_line(&self, span: Option<std::ops::Range<usize>>) -> Result<()> {
        let raw = span.clone().and_then(|span| self.text.get(span)).unwrap_or_default();
        if raw.contains('\n') {
            let text = "a quoted text may not go over several lines: use \\n, or a heredoc";
            return Err(Failure::new(Class::Parse, text).at(&self.span(span)));
        }
        Ok(())
    }

    fn body(&self, body: &LibraryBody) -> Result<Body> {
        let mut out = Body::default();
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => {
                    let name_span = self.span(attribute.key.span());
                    let name: Arc<str> = attribute.key.as_str().into();
                    if out.attribute(&name).is_some() {
                        return Err(Failure::new(
                            Class::Parse,
                            format!("{name:?} is set twice in one block"),
                        )
                        .at(&name_span));
                    }
                    let expr = self.expr(&attribute.value)?;
                    out.attributes.push(Attribute { name, name_span, expr });
                }
                Structure::Block(block) => out.blocks.push(Block {
                    kind: block.ident.as_str().into(),
                    span: self.span(block.ident.span()),
                    labels: block.labels.iter().map(|label| label.as_str().into()).collect(),
                    body: self.body(&block.body)?,
                }),
            }
        }
        Ok(out)
    }

    fn boxed(&self, expr: &Expression) -> Result<Box<Expr>> {
        Ok(Box::new(self.expr(expr)?))
    }

    fn expr(&self, expr: &Expression) -> Result<Expr> {
        let span = self.span(expr.span());
        let node = match expr {
            Expression::Null(_) => Node::Null,
            Expression::Bool(flag) => Node::Bool(**flag),
            Expression::Number(number) => {
                // The text, not the library's number, has all digits.
                let text = number
                    .span()
                    .and_then(|span| self.text.get(span))
                    .map_or_else(|| number.to_string(), str::to_owned);
                // A sign may stand apart from its digits.
                let text: String = text.split_whitespace().collect();
                match Number::parse(&text) {
                    Some(number) => Node::Number(number),
                    None => {
                        return Err(Failure::new(Class::Parse, "the number is too large").at(&span));
                    }
                }
            }
            Expression::String(text) => {
                self.on_one_line(text.span())?;
                Node::Text(text.as_str().into())
            }
            Expression::Array(items) => {
                Node::Tuple(items.iter().map(|item| self.expr(item)).collect::<Result<_>>()?)
            }
            Expression::Object(items) => self.object(items)?,
            Expression::StringTemplate(template) => {
                Node::Template(trimmed(self.quoted_elements(template)?))
            }
            Expression::HeredocTemplate(heredoc) => {
                let range = heredoc.span().unwrap_or(0..0);
                let raw = self.text.get(range.clone()).unwrap_or_default();
                Node::Template(template::heredoc(raw, self.base + range.start)?)
            }
            Expression::Parenthesis(inner) => Node::Group(self.boxed(inner.inner())?),
            Expression::Variable(name) => Node::Name(name.as_str().into()),
            Expression::Conditional(parts) => Node::Conditional(Box::new((
                self.expr(&parts.cond_expr)?,
                self.expr(&parts.true_expr)?,
                self.expr(&parts.false_expr)?,
            ))),
            Expression::FuncCall(call) => self.call(call)?,
            Expression::Traversal(traversal) => return self.traversal(traversal),
            Expression::UnaryOp(unary) => {
                let operator = match unary.operator.value() {
                    UnaryOperator::Neg => Unary::Negate,
                    UnaryOperator::Not => Unary::Not,
                };
                Node::Unary(operator, self.boxed(&unary.expr)?)
            }
            Expression::BinaryOp(binary) => Node::Binary(
                binary_operator(*binary.operator.value()),
                Box::new((self.expr(&binary.lhs_expr)?, self.expr(&binary.rhs_expr)?)),
            ),
            Expression::ForExpr(node) => self.for_expr(node)?,
        };
        Ok(Expr { span, node })
    }

    fn object(&self, items: &library::Object) -> Result<Node> {
        let mut out = Vec::with_capacity(items.len());
        for (key, value) in items {
            let key = match key {
                library::ObjectKey::Ident(word) => {
                    ObjectKey::Word(self.name(word.span(), word), self.span(word.span()))
                }
                // A bare word may be read as an expression: it stays a word.
                library::ObjectKey::Expression(Expression::Variable(word)) => {
                    ObjectKey::Word(self.name(word.span(), word), self.span(word.span()))
                }
                library::ObjectKey::Expression(
                    word @ (Expression::Null(_) | Expression::Bool(_)),
                ) => ObjectKey::Word(self.name(word.span(), "null"), self.span(word.span())),
                library::ObjectKey::Expression(Expression::String(text)) => {
                    let span = text.span();
                    let inner = span.clone().map(|span| span.start + 1..span.end.saturating_sub(1));
                    let plain = inner
                        .and_then(|inner| self.text.get(inner))
                        .filter(|inner| !inner.contains(['\\', '$', '%', '"']));
                    let node = Node::Text(plain.unwrap_or(text.as_str()).into());
                    ObjectKey::Expr(Expr { span: self.span(span), node })
                }
                // Read again from the real text: a word of it may have another name here.
                library::ObjectKey::Expression(Expression::Parenthesis(inner)) => {
                    match inner.inner().span() {
                        Some(span) => ObjectKey::Expr(part(self.text, span, self.base)?),
                        None => ObjectKey::Expr(self.expr(inner.inner())?),
                    }
                }
                library::ObjectKey::Expression(expr) => ObjectKey::Expr(self.expr(expr)?),
            };
            out.push((key, self.expr(value.expr())?));
        }
        Ok(Node::Object(out))
    }

    /// A word as it stands in the text.
    fn name(&self, span: Option<std::ops::Range<usize>>, word: &str) -> Arc<str> {
        span.and_then(|span| self.text.get(span)).unwrap_or(word).into()
    }

    fn call(&self, call: &library::FuncCall) -> Result<Node> {
        let mut name = String::new();
        for scope in &call.name.namespace {
            name.push_str(scope.as_str());
            name.push_str("::");
        }
        name.push_str(call.name.name.as_str());
        Ok(Node::Call(Call {
            name: name.into(),
            arguments: call.args.iter().map(|item| self.expr(item)).collect::<Result<_>>()?,
            expand: call.args.expand_final(),
        }))
    }

    fn for_expr(&self, node: &library::ForExpr) -> Result<Node> {
        Ok(Node::For(Box::new(ForNode {
            key_name: node.intro.key_var.as_ref().map(|name| name.as_str().into()),
            value_name: node.intro.value_var.as_str().into(),
            collection: self.expr(&node.intro.collection_expr)?,
            key: node.key_expr.as_ref().map(|key| self.expr(key)).transpose()?,
            value: self.expr(&node.value_expr)?,
            group: node.grouping,
            condition: node.cond.as_ref().map(|cond| self.expr(&cond.expr)).transpose()?,
        })))
    }

    fn traversal(&self, traversal: &library::Traversal) -> Result<Expr> {
        let whole = self.span(traversal.span());
        if traversal.operators.len() > MOST_OPERATORS {
            let text = format!("a value has at most {MOST_OPERATORS} names and indexes after it");
            return Err(Failure::new(Class::Parse, text).at(&whole));
        }
        let mut current = self.expr(&traversal.expr)?;
        let start = whole.start;
        let mut operators = traversal.operators.iter().peekable();
        while let Some(operator) = operators.next() {
            let span = start..self.span(operator.span()).end.max(start);
            let node = match operator.value() {
                TraversalOperator::GetAttr(name) => {
                    Node::Attribute(Box::new(current), name.as_str().into())
                }
                TraversalOperator::Index(index) => {
                    Node::Index(Box::new(current), self.boxed(index)?)
                }
                TraversalOperator::LegacyIndex(index) => {
                    let node = Node::Number(Number::from(*index.value()));
                    let index = Expr { span: self.span(operator.span()), node };
                    Node::Index(Box::new(current), Box::new(index))
                }
                splat @ (TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_)) => {
                    let full = matches!(splat, TraversalOperator::FullSplat(_));
                    Node::Splat(Box::new(current), self.splat_steps(full, &mut operators)?)
                }
            };
            current = Expr { span, node };
        }
        current.span = whole;
        Ok(current)
    }

    /// What is taken from each element: after `.*` the names and numbers that follow, after
    /// `[*]` all that follows.
    fn splat_steps(&self, full: bool, operators: &mut Operators<'_>) -> Result<Vec<SplatStep>> {
        let mut steps = Vec::new();
        while let Some(operator) = operators.peek() {
            let span = self.span(operator.span());
            let step = match operator.value() {
                TraversalOperator::GetAttr(name) => {
                    SplatStep::Attribute(name.as_str().into(), self.span(name.span()))
                }
                TraversalOperator::LegacyIndex(index) => SplatStep::Index(Expr {
                    span,
                    node: Node::Number(Number::from(*index.value())),
                }),
                TraversalOperator::Index(_) | TraversalOperator::FullSplat(_) if !full => break,
                TraversalOperator::Index(index) => SplatStep::Index(self.expr(index)?),
                TraversalOperator::AttrSplat(_) if !full => {
                    let text = "a `.*` may not follow another one: use `[*]`";
                    return Err(Failure::new(Class::Parse, text).at(&span));
                }
                inner @ (TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_)) => {
                    let full = matches!(inner, TraversalOperator::FullSplat(_));
                    operators.next();
                    steps.push(SplatStep::Splat(self.splat_steps(full, operators)?));
                    continue;
                }
            };
            operators.next();
            steps.push(step);
        }
        Ok(steps)
    }

    /// The elements of a quoted text. A backslash escape was undone by the library.
    fn quoted_elements<'a, T>(&self, template: &'a T) -> Result<Vec<Piece>>
    where
        &'a T: IntoIterator<Item = &'a Element>,
    {
        let mut pieces = Vec::new();
        for element in template {
            match element {
                Element::Literal(text) => {
                    self.on_one_line(text.span())?;
                    pieces.push(Piece::Text(text.as_str().to_owned()));
                }
                Element::Interpolation(inner) => {
                    pieces.push(Piece::Part(Part::Value(self.expr(&inner.expr)?), inner.strip));
                }
                Element::Directive(directive) => self.directive(directive, &mut pieces)?,
            }
        }
        Ok(pieces)
    }

    fn template(&self, template: &Template, before: Strip, after: Strip) -> Result<Vec<Part>> {
        let mut pieces = vec![Piece::Mark(before)];
        pieces.extend(self.quoted_elements(template)?);
        pieces.push(Piece::Mark(after));
        Ok(trimmed(pieces))
    }

    fn directive(&self, directive: &Directive, pieces: &mut Vec<Piece>) -> Result<()> {
        match directive {
            Directive::If(node) => {
                let end = node.endif_expr.strip;
                let first = node.if_expr.strip;
                let middle = node.else_expr.as_ref().map(|part| part.strip);
                let yes = self.template(&node.if_expr.template, first, middle.unwrap_or(end))?;
                let no = match &node.else_expr {
                    Some(part) => self.template(&part.template, part.strip, end)?,
                    None => Vec::new(),
                };
                let condition = self.expr(&node.if_expr.cond_expr)?;
                let part = Part::If(Box::new((condition, yes, no)));
                pieces.push(Piece::Part(part, outer(first, end)));
            }
            Directive::For(node) => {
                let (first, end) = (node.for_expr.strip, node.endfor_expr.strip);
                let part = Part::For(Box::new(TemplateFor {
                    key_name: node.for_expr.key_var.as_ref().map(|name| name.as_str().into()),
                    value_name: node.for_expr.value_var.as_str().into(),
                    collection: self.expr(&node.for_expr.collection_expr)?,
                    body: self.template(&node.for_expr.template, first, end)?,
                }));
                pieces.push(Piece::Part(part, outer(first, end)));
            }
        }
        Ok(())
    }
}

fn binary_operator(operator: BinaryOperator) -> Binary {
    match operator {
        BinaryOperator::Eq => Binary::Equal,
        BinaryOperator::NotEq => Binary::NotEqual,
        BinaryOperator::LessEq => Binary::LessEqual,
        BinaryOperator::GreaterEq => Binary::GreaterEqual,
        BinaryOperator::Less => Binary::Less,
        BinaryOperator::Greater => Binary::Greater,
        BinaryOperator::Plus => Binary::Add,
        BinaryOperator::Minus => Binary::Subtract,
        BinaryOperator::Mul => Binary::Multiply,
        BinaryOperator::Div => Binary::Divide,
        BinaryOperator::Mod => Binary::Remainder,
        BinaryOperator::And => Binary::And,
        BinaryOperator::Or => Binary::Or,
    }
}

enum Piece {
    Text(String),
    Part(Part, Strip),
    /// The edge of a directive's body: `~` there trims the body's text.
    Mark(Strip),
}

/// What a whole directive trims outside of itself: before its start, after its end.
fn outer(first: Strip, end: Strip) -> Strip {
    match (first.strip_start(), end.strip_end()) {
        (true, true) => Strip::Both,
        (true, false) => Strip::Start,
        (false, true) => Strip::End,
        (false, false) => Strip::None,
    }
}

/// Takes white space away from the texts beside `~`.
fn trimmed(pieces: Vec<Piece>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut trim_next = false;
    let last = pieces.len().saturating_sub(1);
    for (number, piece) in pieces.into_iter().enumerate() {
        let trim = std::mem::take(&mut trim_next);
        match piece {
            Piece::Text(text) => {
                let text = if trim { text.trim_start().to_owned() } else { text };
                parts.push(Part::Text(text));
            }
            Piece::Part(part, strip) => {
                if strip.strip_start() {
                    trim_end(&mut parts);
                }
                trim_next = strip.strip_end();
                parts.push(part);
            }
            Piece::Mark(strip) if number == 0 && last > 0 => trim_next = strip.strip_end(),
            Piece::Mark(strip) => {
                if strip.strip_start() {
                    trim_end(&mut parts);
                }
            }
        }
    }
    parts
}

fn trim_end(parts: &mut [Part]) {
    if let Some(Part::Text(text)) = parts.last_mut() {
        text.truncate(text.trim_end().len());
    }
}
