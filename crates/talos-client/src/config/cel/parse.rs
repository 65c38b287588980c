//! The grammar.

use super::CelError;
use super::expr::{Expr, Node};
use super::lex::{self, Word};
use super::spell::{Macro, function, optional_fold};
use super::types::Type;

/// How deep brackets, choices and signs may be nested.
const NESTING: usize = 100;

/// Names that no variable or function has.
const RESERVED: [&str; 18] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
    "in",
];

/// Operators between two values, with their functions and how strongly they bind.
const OPERATORS: [(&str, &str, usize); 14] = [
    ("||", "_||_", 0),
    ("&&", "_&&_", 1),
    ("<", "_<_", 2),
    ("<=", "_<=_", 2),
    (">=", "_>=_", 2),
    (">", "_>_", 2),
    ("==", "_==_", 2),
    ("!=", "_!=_", 2),
    ("in", "@in", 2),
    ("+", "_+_", 3),
    ("-", "_-_", 3),
    ("*", "_*_", 4),
    ("/", "_/_", 4),
    ("%", "_%_", 4),
];

/// Reads an expression; with `has_optionals` the marks of what may not be there are read too.
pub(super) fn parse(text: &str, has_optionals: bool) -> Result<Node, CelError> {
    let mut parser = Parser { words: lex::words(text)?, at: 0, nesting: 0, has_optionals };
    let node = parser.expression()?;
    parser.expect_end()?;
    Ok(node)
}

struct Parser {
    words: Vec<(Word, usize)>,
    at: usize,
    nesting: usize,
    has_optionals: bool,
}

/// A part, or why there is none.
pub(super) type Parsed = Result<Node, CelError>;

impl Parser {
    fn peek(&self) -> &Word {
        self.words.get(self.at).map_or(&Word::End, |(word, _)| word)
    }

    fn column(&self) -> usize {
        self.words.get(self.at).or(self.words.last()).map_or(1, |(_, column)| *column)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Word::Sign(found) if *found == sign)
    }

    fn is_next(&self, ahead: usize, sign: &str) -> bool {
        let word = self.words.get(self.at + ahead).map(|(word, _)| word);
        matches!(word, Some(Word::Sign(found)) if *found == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), CelError> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn expect_end(&self) -> Result<(), CelError> {
        match self.peek() {
            Word::End => Ok(()),
            _ => Err(self.unexpected("the end")),
        }
    }

    fn unexpected(&self, wanted: &str) -> CelError {
        let found = match self.peek() {
            Word::End => "the end",
            Word::Name(_) => "a name",
            Word::Int(_) | Word::Uint(_) | Word::Double => "a number",
            Word::Text | Word::Bytes => "a text",
            Word::Sign(sign) => sign,
        };
        CelError::at(self.column(), format!("{found} where {wanted} should be"))
    }

    /// A name that stands after a dot or in a message: reserved words are none there.
    fn field(&mut self) -> Result<String, CelError> {
        match self.peek().clone() {
            Word::Name(name) if !matches!(name.as_str(), "true" | "false" | "null") => {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    /// A mark that something may not be there.
    fn optional(&mut self) -> Result<bool, CelError> {
        let column = self.column();
        let found = self.take("?");
        if found && !self.has_optionals {
            return Err(CelError::at(column, "optional values cannot be used here"));
        }
        Ok(found)
    }

    fn expression(&mut self) -> Parsed {
        if self.nesting >= NESTING {
            return Err(CelError::at(self.column(), "the expression is nested too deep"));
        }
        self.nesting += 1;
        let node = self.choice();
        self.nesting -= 1;
        node
    }

    fn choice(&mut self) -> Parsed {
        let column = self.column();
        let condition = self.binary(0)?;
        if !self.take("?") {
            return Ok(condition);
        }
        let yes = self.binary(0)?;
        self.expect(":")?;
        let no = self.expression()?;
        call("_?_:_", vec![condition, yes, no], column)
    }

    /// The operator here, the function it means, and how strongly it binds.
    fn operator(&self) -> Option<(&'static str, &'static str, usize)> {
        let Word::Sign(sign) = self.peek() else { return None };
        OPERATORS.iter().find(|(found, ..)| found == sign).copied()
    }

    /// Operators that bind at least so strongly, from left to right.
    fn binary(&mut self, weakest: usize) -> Parsed {
        let mut left = self.unary()?;
        while let Some((sign, function, strength)) = self.operator() {
            if strength < weakest {
                break;
            }
            let column = self.column();
            let mut parts = vec![left];
            // Chains of these are one, as they may be long.
            let is_chain = matches!(sign, "&&" | "||");
            while self.take(sign) {
                parts.push(self.binary(strength + 1)?);
                if !is_chain {
                    break;
                }
            }
            left = call(function, parts, column)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        let column = self.column();
        let is_number =
            |word: Option<&(Word, usize)>| matches!(word, Some((Word::Int(_) | Word::Double, _)));
        // A sign directly before a number belongs to it.
        if self.is("-") && is_number(self.words.get(self.at + 1)) {
            return self.member();
        }
        for (sign, function) in [("!", "!_"), ("-", "-_")] {
            let mut count = 0usize;
            while self.take(sign) {
                count += 1;
            }
            if count > 0 {
                let of = self.member()?;
                // Twice is nothing.
                return if count.is_multiple_of(2) {
                    Ok(of)
                } else {
                    call(function, vec![of], column)
                };
            }
        }
        self.member()
    }

    fn member(&mut self) -> Parsed {
        let mut node = self.primary()?;
        loop {
            let column = self.column();
            if self.take(".") {
                let optional = self.optional()?;
                let name = self.field()?;
                node = if optional {
                    Node::new(Expr::MaybeField { of: node, name }, column)?
                } else if self.take("(") {
                    let arguments = self.arguments()?;
                    self.method(node, name, arguments, column)?
                } else {
                    Node::new(Expr::Field { of: node, name, test: false }, column)?
                };
            } else if self.take("[") {
                let function = if self.optional()? { "_[?_]" } else { "_[_]" };
                let index = self.expression()?;
                self.expect("]")?;
                node = call(function, vec![node, index], column)?;
            } else {
                return Ok(node);
            }
        }
    }

    /// Arguments after an opening bracket, up to the closing one.
    fn arguments(&mut self) -> Result<Vec<Node>, CelError> {
        let mut out = Vec::new();
        if self.take(")") {
            return Ok(out);
        }
        loop {
            out.push(self.expression()?);
            if !self.take(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(out)
    }

    fn primary(&mut self) -> Parsed {
        let column = self.column();
        let literal = |kind: Type| Node::new(Expr::Literal(kind), column);
        if self.take("(") {
            let node = self.expression()?;
            self.expect(")")?;
            return Ok(node);
        }
        if self.take("[") {
            return self.list(column);
        }
        if self.take("{") {
            return self.map(column);
        }
        let negative = self.take("-");
        match self.peek().clone() {
            Word::Int(text) => {
                self.at += 1;
                let sign = if negative { "-" } else { "" };
                match whole(&text, |digits, radix| {
                    i64::from_str_radix(&format!("{sign}{digits}"), radix).is_ok()
                }) {
                    true => literal(Type::Int),
                    false => Err(CelError::at(column, "a whole number that is too large")),
                }
            }
            Word::Double => {
                self.at += 1;
                literal(Type::Double)
            }
            _ if negative => Err(self.unexpected("a number")),
            Word::Uint(text) => {
                self.at += 1;
                match whole(&text, |digits, radix| u64::from_str_radix(digits, radix).is_ok()) {
                    true => literal(Type::Uint),
                    false => Err(CelError::at(column, "a whole number that is too large")),
                }
            }
            Word::Text => {
                self.at += 1;
                literal(Type::String)
            }
            Word::Bytes => {
                self.at += 1;
                literal(Type::Bytes)
            }
            Word::Sign(".") => {
                self.at += 1;
                self.named(".", column)
            }
            Word::Name(name) => match name.as_str() {
                "true" | "false" => {
                    self.at += 1;
                    literal(Type::Bool)
                }
                "null" => {
                    self.at += 1;
                    literal(Type::Null)
                }
                _ => self.named("", column),
            },
            _ => Err(self.unexpected("a value")),
        }
    }

    /// What begins with a name: a name, a call, or a message.
    fn named(&mut self, dot: &str, column: usize) -> Parsed {
        if let Some(length) = self.message_ahead() {
            let mut name = dot.to_owned();
            for part in 0..length {
                if part > 0 {
                    self.expect(".")?;
                    name.push('.');
                }
                name.push_str(&self.field()?);
            }
            self.expect("{")?;
            return self.message(name, column);
        }
        let name = self.field()?;
        if RESERVED.contains(&name.as_str()) {
            return Err(CelError::at(column, format!("`{name}` is reserved")));
        }
        let name = format!("{dot}{name}");
        if self.take("(") {
            let arguments = self.arguments()?;
            return function(name, arguments, column);
        }
        Node::new(Expr::Name(name), column)
    }

    /// How many names a message's name has that begins here.
    fn message_ahead(&self) -> Option<usize> {
        let is_name = |ahead: usize| {
            let word = self.words.get(self.at + ahead).map(|(word, _)| word);
            matches!(word, Some(Word::Name(name)) if !matches!(name.as_str(), "true" | "false" | "null"))
        };
        let mut count = 0;
        while is_name(2 * count) {
            count += 1;
            if self.is_next(2 * count - 1, "{") {
                return Some(count);
            }
            if !self.is_next(2 * count - 1, ".") {
                return None;
            }
        }
        None
    }

    /// Whether another part of a list follows; a comma at its end says nothing.
    fn has_more(&mut self, end: &str, is_first: bool) -> bool {
        let comma = self.take(",");
        (is_first != comma) && !self.is(end)
    }

    fn list(&mut self, column: usize) -> Parsed {
        let mut items = Vec::new();
        while self.has_more("]", items.is_empty()) {
            let optional = self.optional()?;
            items.push((self.expression()?, optional));
        }
        self.expect("]")?;
        Node::new(Expr::List(items), column)
    }

    fn map(&mut self, column: usize) -> Parsed {
        let mut entries = Vec::new();
        while self.has_more("}", entries.is_empty()) {
            let optional = self.optional()?;
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?, optional));
        }
        self.expect("}")?;
        Node::new(Expr::Map(entries), column)
    }

    fn message(&mut self, name: String, column: usize) -> Parsed {
        let mut fields = Vec::new();
        while self.has_more("}", fields.is_empty()) {
            let optional = self.optional()?;
            let field = self.field()?;
            self.expect(":")?;
            fields.push((field, self.expression()?, optional));
        }
        self.expect("}")?;
        Node::new(Expr::Message { name, fields }, column)
    }

    /// A method, or the macro of that name.
    fn method(&self, of: Node, name: String, arguments: Vec<Node>, column: usize) -> Parsed {
        match (name.as_str(), arguments.as_slice()) {
            ("all" | "exists" | "exists_one" | "filter" | "map", [variable, body]) => {
                Macro { name: &name, variable, filter: None, body }.spell_out(of, column)
            }
            ("map", [variable, filter, body]) => {
                Macro { name: &name, variable, filter: Some(filter), body }.spell_out(of, column)
            }
            ("optMap" | "optFlatMap", [variable, body]) if self.has_optionals => {
                let is_flat = name == "optFlatMap";
                optional_fold(of, variable, body, is_flat, column)
            }
            _ => Node::new(Expr::Call { name, target: Some(of), arguments }, column),
        }
    }
}

/// Whether a whole number, which may be hexadecimal, fits.
fn whole(text: &str, fits: impl Fn(&str, u32) -> bool) -> bool {
    match text.strip_prefix("0x") {
        Some(digits) => fits(digits, 16),
        None => fits(text, 10),
    }
}

/// A call of a function.
pub(super) fn call(name: &str, arguments: Vec<Node>, column: usize) -> Parsed {
    Node::new(Expr::Call { name: name.to_owned(), target: None, arguments }, column)
}
