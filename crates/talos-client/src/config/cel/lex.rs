//! Words of an expression.

use super::CelError;

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// A name, reserved ones included.
    Name(String),
    /// A whole number as it is written, `0x` included.
    Int(String),
    /// A whole number without sign, without its `u`.
    Uint(String),
    /// A number with a fraction or an exponent.
    Double,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
    /// An operator or bracket.
    Sign(&'static str),
    /// Nothing more.
    End,
}

/// Longer ones first.
const SIGNS: [&str; 25] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%", "in",
];

/// Words of a text with their columns, counted from one.
pub(super) fn words(text: &str) -> Result<Vec<(Word, usize)>, CelError> {
    let mut lexer = Lexer { rest: text, column: 1 };
    let mut out = Vec::new();
    loop {
        lexer.blank();
        let column = lexer.column;
        if lexer.rest.is_empty() {
            out.push((Word::End, column));
            return Ok(out);
        }
        out.push((lexer.word()?, column));
    }
}

struct Lexer<'a> {
    rest: &'a str,
    column: usize,
}

impl<'a> Lexer<'a> {
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.column += taken.chars().count();
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        self.take(self.rest.find(|c| !is(c)).unwrap_or(self.rest.len()))
    }

    fn blank(&mut self) {
        loop {
            self.take_while(|c| matches!(c, '\t' | ' ' | '\r' | '\n' | '\u{c}'));
            if !self.rest.starts_with("//") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn word(&mut self) -> Result<Word, CelError> {
        let first = self.rest.chars().next().unwrap_or_default();
        let second = self.rest.chars().nth(1).unwrap_or_default();
        if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) {
            return Ok(self.number());
        }
        if let Some(word) = self.quoted()? {
            return Ok(word);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            return Ok(match name {
                "in" => Word::Sign("in"),
                name => Word::Name(name.to_owned()),
            });
        }
        match SIGNS.iter().find(|sign| self.rest.starts_with(**sign)) {
            Some(sign) => {
                self.take(sign.len());
                Ok(Word::Sign(sign))
            }
            None => Err(CelError::at(self.column, "a character that has no meaning there")),
        }
    }

    fn number(&mut self) -> Word {
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let hex = self
            .rest
            .strip_prefix("0x")
            .map_or(0, |text| text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len()));
        if hex > 0 {
            let text = self.take(hex + 2).to_owned();
            return self.unsigned(text);
        }
        let whole = digits(self.rest);
        let tail = self.rest.get(whole..).unwrap_or_default();
        let fraction = tail.strip_prefix('.').map_or(0, digits);
        let mut length = whole + if fraction > 0 { fraction + 1 } else { 0 };
        let mut is_double = fraction > 0;
        let tail = self.rest.get(length..).unwrap_or_default();
        if let Some(exponent) = tail.strip_prefix(['e', 'E']) {
            let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let count = digits(unsigned);
            if count > 0 {
                length += 1 + exponent.len() - unsigned.len() + count;
                is_double = true;
            }
        }
        let text = self.take(length).to_owned();
        if is_double { Word::Double } else { self.unsigned(text) }
    }

    fn unsigned(&mut self, text: String) -> Word {
        if self.rest.starts_with(['u', 'U']) {
            self.take(1);
            return Word::Uint(text);
        }
        Word::Int(text)
    }

    /// A text or bytes: `b` for bytes, `r` for what has no escapes, then one or three quotes.
    fn quoted(&mut self) -> Result<Option<Word>, CelError> {
        let after_bytes = self.rest.strip_prefix(['b', 'B']);
        let is_bytes = after_bytes.is_some();
        let rest = after_bytes.unwrap_or(self.rest);
        let after_raw = rest.strip_prefix(['r', 'R']);
        let rest = after_raw.unwrap_or(rest);
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            return Ok(None);
        };
        let column = self.column;
        let triple = quote.to_string().repeat(3);
        let (end, is_long) = match rest.starts_with(&triple) {
            true => (triple.clone(), true),
            false => (quote.to_string(), false),
        };
        let body = rest.get(end.len()..).unwrap_or_default();
        let length = close(body, &end, after_raw.is_some(), is_long)
            .ok_or_else(|| CelError::at(column, "a text without an end"))?;
        let content = body.get(..length).unwrap_or_default();
        if after_raw.is_none() && !escapes(content, is_bytes) {
            return Err(CelError::at(column, "a text with an unknown escape"));
        }
        let prefix = self.rest.len() - rest.len();
        self.take(prefix + 2 * end.len() + length);
        Ok(Some(if is_bytes { Word::Bytes } else { Word::Text }))
    }
}

/// How long a text is that ends with these quotes.
fn close(body: &str, end: &str, is_raw: bool, is_long: bool) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        let ends = body.get(at..).is_some_and(|rest| rest.starts_with(end));
        match c {
            _ if escaped => escaped = false,
            '\\' if !is_raw => escaped = true,
            _ if ends => return Some(at),
            '\n' | '\r' if !is_long => return None,
            _ => {}
        }
    }
    None
}

/// Whether every escape is one that there is, and means a character.
fn escapes(content: &str, is_bytes: bool) -> bool {
    let mut rest = content;
    while let Some((_, after)) = rest.split_once('\\') {
        let Some(kind) = after.chars().next() else { return false };
        let after = after.get(kind.len_utf8()..).unwrap_or_default();
        let (length, radix) = match kind {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`' => (0, 16),
            'x' | 'X' => (2, 16),
            'u' if !is_bytes => (4, 16),
            'U' if !is_bytes => (8, 16),
            '0'..='3' => (2, 8),
            _ => return false,
        };
        let Some(digits) = after.get(..length) else { return false };
        if !digits.chars().all(|c| c.is_digit(radix)) {
            return false;
        }
        let value = u32::from_str_radix(digits, radix).unwrap_or(0);
        if length > 2 && char::from_u32(value).is_none() {
            return false;
        }
        rest = after.get(length..).unwrap_or_default();
    }
    true
}
