//! Templates as they stand in heredocs and template files: no backslash escapes, and the
//! indentation of a `<<-` heredoc taken away as HashiCorp's parser does it, piece by piece.

use std::borrow::Cow;
use std::ops::Range;

use super::ast::{Expr, Part, TemplateFor};
use super::error::{Class, Failure};
use super::parse;

type Result<T> = std::result::Result<T, Failure>;

/// Deepest nesting of directives.
const DEEPEST: usize = 64;

/// A token of a template.
enum Token {
    Text(String),
    /// `${…}` with the range of its expression.
    Value {
        start: usize,
        end: usize,
    },
    /// `%{…}` with the range of its inside.
    Directive {
        start: usize,
        end: usize,
    },
}

struct Tokens {
    list: Vec<(Token, bool, bool)>,
}

/// Reads a heredoc from its `<<` to its end marker; `base` is where it stands in the file.
pub(super) fn heredoc(raw: &str, base: usize) -> Result<Vec<Part>> {
    let bad = || Failure::new(Class::Parse, NO_END).at(&(base..base + raw.len()));
    let heredoc = Heredoc::at(raw, 0).ok_or_else(bad)?;
    let text = heredoc.body.and_then(|body| raw.get(body)).ok_or_else(bad)?;
    let base = base + heredoc.head.end;
    let mut tokens = tokenize(text, true).map_err(|failure| failure.moved(base))?;
    if raw.starts_with("<<-") {
        dedent(&mut tokens);
    }
    Builder { text, base, tokens: tokens.list.into_iter(), depth: 0 }.parts()
}

const NO_END: &str = "the heredoc has no end: a line with its marker and nothing else";

/// Where the parts of a heredoc lie.
struct Heredoc {
    /// Its first line: `<<`, the marker, the line break.
    head: Range<usize>,
    /// What is between the first line and that of the marker; none when it has no end.
    body: Option<Range<usize>>,
}

impl Heredoc {
    /// The heredoc that begins here.
    fn at(text: &str, start: usize) -> Option<Self> {
        let rest = text.get(start..)?.strip_prefix("<<")?;
        let line = rest.split_inclusive('\n').next().filter(|line| line.ends_with('\n'))?;
        let marker = line.strip_prefix('-').unwrap_or(line).trim_end_matches(['\r', '\n']);
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        if marker.is_empty() || !marker.chars().all(is_name) {
            return None;
        }
        let head = start..start + 2 + line.len();
        let lines = line_starts(text.get(head.end..)?);
        let end = lines.into_iter().find(|(_, line)| line.trim() == marker);
        Some(Self { body: end.map(|(at, _)| head.end..head.end + at), head })
    }
}

/// The text with the bodies of its heredocs made unreadable, every byte in its place: the library
/// would end them at any line that begins with the marker, `EOT)` too.
pub(super) fn without_heredocs(text: &str, base: usize) -> Result<Cow<'_, str>> {
    if !text.contains("<<") {
        return Ok(text.into());
    }
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        match (byte, bytes.get(at + 1)) {
            (b'"', _) => match quoted(text, at + 1) {
                Some(end) => at = end,
                // The library tells what is wrong.
                None => break,
            },
            (b'#', _) | (b'/', Some(b'/')) => at = line_end(text, at),
            (b'/', Some(b'*')) => match text.get(at..).and_then(|rest| rest.find("*/")) {
                Some(length) => at += length + 1,
                None => break,
            },
            (b'<', Some(b'<')) => {
                if let Some(Heredoc { head, body }) = Heredoc::at(text, at) {
                    let Some(body) = body else {
                        let head = base + head.start..base + head.end - 1;
                        return Err(Failure::new(Class::Parse, NO_END).at(&head));
                    };
                    at = body.end;
                    if body.is_empty() {
                        // The library goes on to another marker, if there is one: this is `""`.
                        at += text.get(at..).map_or(0, line_length);
                        let text = b"\"\"".iter().chain(std::iter::repeat(&b' '));
                        for (byte, new) in
                            bytes.get_mut(head.start..at).into_iter().flatten().zip(text)
                        {
                            *byte = *new;
                        }
                        continue;
                    }
                    // No line of the filling begins with the marker.
                    let marker = text.get(head).unwrap_or_default().trim_start_matches(['<', '-']);
                    let filling = if marker.starts_with('x') { b'y' } else { b'x' };
                    for byte in bytes.get_mut(body).into_iter().flatten() {
                        *byte = if *byte == b'\n' { b'\n' } else { filling };
                    }
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    // Nothing but whole lines was replaced, by letters.
    Ok(String::from_utf8(bytes).map_or_else(|_| text.into(), Cow::from))
}

/// Reads a template file.
pub(super) fn file(text: &str) -> Result<Vec<Part>> {
    let tokens = tokenize(text, false)?;
    Builder { text, base: 0, tokens: tokens.list.into_iter(), depth: 0 }.parts()
}

fn line_starts(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        (start, line.trim_end_matches(['\n', '\r']))
    })
}

/// The bytes up to the line's end.
fn line_length(text: &str) -> usize {
    text.find(['\r', '\n']).unwrap_or(text.len())
}

/// Cuts a template into tokens; in a heredoc each line is a text of its own.
fn tokenize(text: &str, by_line: bool) -> Result<Tokens> {
    let mut list: Vec<(Token, bool, bool)> = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let escaped = rest.starts_with("$${") || rest.starts_with("%%{");
        if escaped {
            literal.push_str(rest.get(1..3).unwrap_or_default());
            at += 3;
            continue;
        }
        if rest.starts_with("${") || rest.starts_with("%{") {
            if !literal.is_empty() {
                list.push((Token::Text(std::mem::take(&mut literal)), false, false));
            }
            let is_value = rest.starts_with('$');
            let close = closing(text, at + 2).ok_or_else(|| {
                Failure::new(Class::Parse, "a `{` of the template is not closed").at(&(at..at + 2))
            })?;
            let (mut start, mut end) = (at + 2, close);
            let trim_before = text.get(start..=start) == Some("~");
            let trim_after = end > start && text.get(end - 1..end) == Some("~");
            start += usize::from(trim_before);
            end -= usize::from(trim_after && end > start);
            let token = if is_value {
                Token::Value { start, end }
            } else {
                Token::Directive { start, end }
            };
            list.push((token, trim_before, trim_after));
            at = close + 1;
            continue;
        }
        let Some(letter) = rest.chars().next() else { break };
        literal.push(letter);
        at += letter.len_utf8();
        if letter == '\n' && by_line {
            list.push((Token::Text(std::mem::take(&mut literal)), false, false));
        }
    }
    if !literal.is_empty() {
        list.push((Token::Text(literal), false, false));
    }
    trim(&mut list);
    Ok(Tokens { list })
}

/// `~` takes white space from the one text before or after it.
fn trim(list: &mut [(Token, bool, bool)]) {
    for at in 0..list.len() {
        let Some((token, before, after)) = list.get(at) else { continue };
        if matches!(token, Token::Text(_)) {
            continue;
        }
        let (before, after) = (*before, *after);
        if before
            && let Some((Token::Text(text), ..)) = at.checked_sub(1).and_then(|at| list.get_mut(at))
        {
            text.truncate(text.trim_end().len());
        }
        if after && let Some((Token::Text(text), ..)) = list.get_mut(at + 1) {
            *text = text.trim_start().to_owned();
        }
    }
}

/// Takes the smallest indentation from every text that begins a line.
fn dedent(tokens: &mut Tokens) {
    let mut smallest = usize::MAX;
    let mut begins: Vec<usize> = Vec::new();
    let mut at_line_start = true;
    for (number, (token, ..)) in tokens.list.iter().enumerate() {
        if std::mem::take(&mut at_line_start) {
            match token {
                Token::Text(text) => {
                    let body = text.trim_start();
                    let is_blank = body.is_empty() && text.ends_with('\n');
                    if !is_blank {
                        let lead = text.get(..text.len() - body.len()).unwrap_or_default();
                        smallest = smallest.min(lead.chars().count());
                        begins.push(number);
                    }
                }
                _ => smallest = 0,
            }
        }
        if let Token::Text(text) = token {
            at_line_start = text.ends_with('\n');
        }
    }
    for number in begins {
        if let Some((Token::Text(text), ..)) = tokens.list.get_mut(number) {
            *text = text.chars().skip(smallest).collect();
        }
    }
}

/// The `}` that closes what was opened before `from`: strings, comments and nested braces are
/// passed over.
fn closing(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            b'"' => at = quoted(text, at + 1)?,
            b'#' => at = line_end(text, at),
            b'/' if bytes.get(at + 1) == Some(&b'/') => at = line_end(text, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at += text.get(at..)?.find("*/")? + 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn line_end(text: &str, from: usize) -> usize {
    text.get(from..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| from + at)
}

/// The quote that closes a quoted text whose inside begins at `from`.
fn quoted(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' => return Some(at),
            b'$' | b'%' if bytes.get(at + 1) == Some(&b'{') => {
                if bytes.get(at.wrapping_sub(1)) != Some(byte) {
                    at = closing(text, at + 2)?;
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

struct Builder<'a> {
    text: &'a str,
    base: usize,
    tokens: std::vec::IntoIter<(Token, bool, bool)>,
    depth: usize,
}

/// What ended a list of parts.
#[derive(PartialEq, Eq)]
enum End {
    Text,
    Else,
    If,
    For,
}

impl Builder<'_> {
    fn parts(mut self) -> Result<Vec<Part>> {
        let (parts, end, at) = self.until()?;
        if end == End::Text {
            return Ok(parts);
        }
        Err(self.failure("a directive ends that was not begun", &at))
    }

    fn failure(&self, message: &str, at: &Range<usize>) -> Failure {
        Failure::new(Class::Parse, message).at(&(self.base + at.start..self.base + at.end))
    }

    fn until(&mut self) -> Result<(Vec<Part>, End, Range<usize>)> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Failure::new(Class::Parse, "the template nests too deeply"));
        }
        let mut parts = Vec::new();
        let mut ended = (End::Text, self.text.len()..self.text.len());
        while let Some((token, ..)) = self.tokens.next() {
            match token {
                Token::Text(text) => parts.push(Part::Text(text)),
                Token::Value { start, end } => {
                    parts.push(Part::Value(parse::part(self.text, start..end, self.base)?));
                }
                Token::Directive { start, end } => match self.directive(start, end)? {
                    Ok(part) => parts.push(part),
                    Err(end_of) => {
                        ended = (end_of, start..end);
                        break;
                    }
                },
            }
        }
        self.depth -= 1;
        Ok((parts, ended.0, ended.1))
    }

    fn directive(&mut self, start: usize, end: usize) -> Result<std::result::Result<Part, End>> {
        let inside = self.text.get(start..end).unwrap_or_default();
        let lead = inside.len() - inside.trim_start().len();
        let word_end = inside
            .trim_start()
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .map_or(inside.len(), |at| lead + at);
        let rest = start + word_end;
        match inside.get(lead..word_end).unwrap_or_default() {
            "else" => Ok(Err(End::Else)),
            "endif" => Ok(Err(End::If)),
            "endfor" => Ok(Err(End::For)),
            "if" => {
                let condition = parse::part(self.text, rest..end, self.base)?;
                let (yes, ended, at) = self.until()?;
                let (no, ended, at) = match ended {
                    End::Else => self.until()?,
                    other => (Vec::new(), other, at),
                };
                if ended != End::If {
                    return Err(self.failure("an `if` has no `endif`", &at));
                }
                Ok(Ok(Part::If(Box::new((condition, yes, no)))))
            }
            "for" => self.for_directive(rest, end).map(Ok),
            other => Err(self.failure(&format!("{other:?} is no directive"), &(start..end))),
        }
    }

    fn for_directive(&mut self, start: usize, end: usize) -> Result<Part> {
        let inside = self.text.get(start..end).unwrap_or_default();
        let bad = || {
            let message = "expected `for NAME in …` or `for KEY, NAME in …`";
            Failure::new(Class::Parse, message).at(&(self.base + start..self.base + end))
        };
        let at = inside.find(" in ").or_else(|| inside.find("\tin ")).ok_or_else(bad)?;
        let names: Vec<&str> =
            inside.get(..at).unwrap_or_default().split(',').map(str::trim).collect();
        let (key_name, value_name) = match names.as_slice() {
            [value] => (None, *value),
            [key, value] => (Some((*key).into()), *value),
            _ => return Err(bad()),
        };
        let collection: Expr = parse::part(self.text, start + at + 4..end, self.base)?;
        let (body, ended, at) = self.until()?;
        if ended != End::For {
            return Err(self.failure("a `for` has no `endfor`", &at));
        }
        Ok(Part::For(Box::new(TemplateFor {
            key_name,
            value_name: value_name.into(),
            collection,
            body,
        })))
    }
}
