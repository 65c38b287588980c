//! JSON with numbers of any length.

use std::collections::BTreeMap;

use super::number::Number;
use super::value::Value;

/// Deepest nesting that is read.
const DEEPEST: usize = 200;

/// Reads JSON text.
pub(super) fn parse(text: &str) -> Option<Value> {
    // The library checks the grammar; numbers are read from the text itself.
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    (reader.at == text.len()).then_some(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn eat(&mut self, letter: char) -> bool {
        self.space();
        let found = self.rest().starts_with(letter);
        self.at += if found { letter.len_utf8() } else { 0 };
        found
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        self.rest().strip_prefix(word)?;
        self.at += word.len();
        Some(value)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        self.space();
        match self.rest().chars().next()? {
            'n' => self.word("null", Value::NULL),
            't' => self.word("true", Value::bool(true)),
            'f' => self.word("false", Value::bool(false)),
            '"' => self.text_value().map(Value::string),
            '[' => {
                self.at += 1;
                let mut items = Vec::new();
                if self.eat(']') {
                    return Some(Value::tuple(items));
                }
                loop {
                    items.push(self.value(depth + 1)?);
                    if self.eat(']') {
                        return Some(Value::tuple(items));
                    }
                    self.eat(',').then_some(())?;
                }
            }
            '{' => {
                self.at += 1;
                let mut entries = BTreeMap::new();
                if self.eat('}') {
                    return Some(Value::object(entries));
                }
                loop {
                    self.space();
                    let name = self.text_value()?;
                    self.eat(':').then_some(())?;
                    entries.insert(name, self.value(depth + 1)?);
                    if self.eat('}') {
                        return Some(Value::object(entries));
                    }
                    self.eat(',').then_some(())?;
                }
            }
            _ => {
                let rest = self.rest();
                let end = rest
                    .find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
                    .unwrap_or(rest.len());
                let number = Number::parse(rest.get(..end)?)?;
                self.at += end;
                Some(Value::number(number))
            }
        }
    }

    fn text_value(&mut self) -> Option<String> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut end = 1;
        while *bytes.get(end)? != b'"' {
            end += if *bytes.get(end)? == b'\\' { 2 } else { 1 };
        }
        let text = serde_json::from_str(rest.get(..=end)?).ok()?;
        self.at += end + 1;
        Some(text)
    }
}
