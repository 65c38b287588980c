//! YAML as nodes whose scalars keep their text: secrets and names are taken as they are written,
//! also where they look like numbers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, Parser, ScalarStyle, Tag};

/// Deepest nesting that is read.
const DEEPEST: usize = 200;

/// Most nodes once aliases are written out.
const MOST_NODES: usize = 1_000_000;

/// Where YAML's own tags live.
const NAMESPACE: &str = "tag:yaml.org,2002:";

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// A scalar with its text; `plain` when it stands without quotes and tag.
    Scalar { text: String, plain: bool },
    /// Items in their order.
    List(Vec<Self>),
    /// Entries in their order; each key once.
    Map(Vec<(String, Self)>),
}

/// Why a text cannot be read, with its line; it holds nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub(crate) line: usize,
    pub(crate) message: &'static str,
}

type Result<T> = std::result::Result<T, YamlError>;
/// The parser of a text.
pub(crate) type YamlParser<'a> = Parser<'a, granit_parser::StrInput<'a>>;

fn fail<T>(line: usize, message: &'static str) -> Result<T> {
    Err(YamlError { line, message })
}

/// How keys are taken: as they are written and once each, or otherwise.
pub(crate) type KeyRule = fn(text: String, plain: bool) -> Option<String>;

/// Reads all documents.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>> {
    read(text, None)
}

/// Reads all documents; keys are what a rule makes of them, of two equal ones the last counts.
pub(crate) fn lax_documents(text: &str, rule: KeyRule) -> Result<Vec<Node>> {
    read(text, Some(rule))
}

fn read(text: &str, rule: Option<KeyRule>) -> Result<Vec<Node>> {
    let mut parser = Parser::new_from_str(text);
    let mut documents = Vec::new();
    let mut nodes = 0;
    while let Some((event, _)) = next(&mut parser)? {
        if matches!(event, Event::DocumentStart(..)) {
            let Some((event, line)) = next(&mut parser)? else { break };
            // Anchors hold for one document, the bound on the size for all.
            let mut reader = Reader { anchors: BTreeMap::new(), nodes, rule };
            documents.push(reader.node(&mut parser, event, line, 0)?);
            nodes = reader.nodes;
        }
    }
    Ok(documents)
}

/// Reads the first document; none when there is none.
pub(crate) fn first_document(text: &str) -> Result<Option<Node>> {
    let mut parser = Parser::new_from_str(text);
    let mut reader = Reader { anchors: BTreeMap::new(), nodes: 0, rule: None };
    while let Some((event, _)) = next(&mut parser)? {
        if matches!(event, Event::DocumentStart(..)) {
            let Some((event, line)) = next(&mut parser)? else { return Ok(None) };
            return reader.node(&mut parser, event, line, 0).map(Some);
        }
    }
    Ok(None)
}

/// The next event that gives structure, with its line; no event at the end.
pub(crate) fn next<'a>(parser: &mut YamlParser<'a>) -> Result<Option<(Event<'a>, usize)>> {
    loop {
        match parser.next_event() {
            None => return Ok(None),
            Some(Err(error)) => return fail(error.marker().line(), "the text is no YAML"),
            Some(Ok((event, span))) => {
                let structure = matches!(
                    event,
                    Event::StreamStart
                        | Event::StreamEnd
                        | Event::DocumentStart(..)
                        | Event::DocumentEnd
                        | Event::Alias(_)
                        | Event::Scalar(..)
                        | Event::SequenceStart(..)
                        | Event::SequenceEnd
                        | Event::MappingStart(..)
                        | Event::MappingEnd
                );
                if structure {
                    return Ok(Some((event, span.start.line())));
                }
            }
        }
    }
}

struct Reader {
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    /// What keys are; none: as they are written, and once each.
    rule: Option<KeyRule>,
}

impl Reader {
    fn node(
        &mut self,
        parser: &mut YamlParser<'_>,
        event: Event<'_>,
        line: usize,
        depth: usize,
    ) -> Result<Node> {
        self.nodes += 1;
        if depth > DEEPEST || self.nodes > MOST_NODES {
            return fail(line, "the text nests too deeply or is too large");
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref().and_then(|tag| Tag::suffix_in_namespace(tag, NAMESPACE));
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let text = match tag.as_deref() {
                    Some("binary") => binary(line, &text)?,
                    _ => text.into_owned(),
                };
                (anchor, Node::Scalar { text, plain })
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                while let Some((event, line)) = next(parser)? {
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(parser, event, line, depth + 1)?);
                }
                (anchor, Node::List(items))
            }
            Event::MappingStart(_, anchor, _) => (anchor, self.map(parser, depth)?),
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id) else {
                    return fail(line, "an alias has no anchor before it");
                };
                // Counted before it is copied: a bomb of aliases must not fill the memory.
                self.nodes += size(node);
                if self.nodes > MOST_NODES {
                    return fail(line, "the text is too large once its aliases are written out");
                }
                return Ok(node.clone());
            }
            _ => return fail(line, "the text ends in the middle of a value"),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn map(&mut self, parser: &mut YamlParser<'_>, depth: usize) -> Result<Node> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut merged: Vec<(String, Node)> = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some((event, line)) = next(parser)? {
            if event == Event::MappingEnd {
                break;
            }
            let Node::Scalar { text: key, plain } = self.node(parser, event, line, depth + 1)?
            else {
                return fail(line, "a key is a list or a map");
            };
            if plain && key == "<<" {
                let Some((event, line)) = next(parser)? else { break };
                match self.node(parser, event, line, depth + 1)? {
                    Node::Map(more) => merged.extend(more),
                    Node::List(maps) => {
                        for map in maps {
                            let Node::Map(more) = map else {
                                return fail(line, "a merge key needs maps");
                            };
                            merged.extend(more);
                        }
                    }
                    Node::Scalar { .. } => return fail(line, "a merge key needs a map"),
                }
                continue;
            }
            let key = match self.rule {
                None => key,
                Some(rule) => match rule(key, plain) {
                    Some(key) => key,
                    None => return fail(line, NO_KEY),
                },
            };
            let is_new = seen.insert(key.clone());
            if !is_new && self.rule.is_none() {
                return fail(line, "a key stands twice in one map");
            }
            let Some((event, line)) = next(parser)? else { break };
            let value = self.node(parser, event, line, depth + 1)?;
            entries.retain(|(other, _)| is_new || *other != key);
            entries.push((key, value));
        }
        // What a map says itself wins over what it merges in, and of that the first.
        for (key, value) in merged {
            if seen.insert(key.clone()) {
                entries.push((key, value));
            }
        }
        Ok(Node::Map(entries))
    }
}

/// What a key that is nothing is told by.
pub(crate) const NO_KEY: &str = "a key is nothing";

fn binary(line: usize, text: &str) -> Result<String> {
    use base64::Engine as _;
    let packed: String = text.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(packed).ok();
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Ok(text),
        None => fail(line, "what is marked as binary is no base64 of a text"),
    }
}

fn size(node: &Node) -> usize {
    1 + match node {
        Node::Scalar { .. } => 0,
        Node::List(items) => items.iter().map(size).sum(),
        Node::Map(entries) => entries.iter().map(|(_, value)| size(value)).sum(),
    }
}

impl Node {
    /// Nothing stands there.
    pub(crate) fn is_null(&self) -> bool {
        match self {
            Self::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The value of a field; none when this is no map or has no such field.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => {
                entries.iter().find(|(key, _)| key == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The text of a scalar; empty when nothing stands there.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            _ if self.is_null() => Some(""),
            Self::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// A text as a YAML scalar, in the style that Talos' writer chooses: plain where it can be, between
/// double quotes where a reader would take it for something else, else between single quotes.
pub(crate) fn scalar(text: &str) -> Cow<'_, str> {
    let quoted = || Cow::Owned(serde_json::Value::from(text).to_string());
    // No word has more letters.
    let is_itself = text.len() > LONGEST_WORD && begins_with_letter(text);
    if !is_itself && has_other_meaning(text) {
        return quoted();
    }
    if is_itself && is_calm(text) {
        return Cow::Borrowed(text);
    }
    let printable = |c: char| !c.is_control() && !matches!(c, '\u{85}' | '\u{a0}' | '\u{feff}');
    if !text.chars().all(printable) {
        return quoted();
    }
    if can_be_plain(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', "''")))
}

/// Whether a reader would take a text without quotes for nothing, a truth value or a number.
fn has_other_meaning(text: &str) -> bool {
    let is_number = || is_number(text) || is_sexagesimal(text) || text == "<<";
    // Most texts begin with a letter, and none of those is a number.
    text.is_empty() || is_word(text) || (!begins_with_letter(text) && is_number())
}

/// Whether no character of a text can mean anything inside of a plain scalar. Certificates and
/// keys are such texts: they are counted, since that looks at many bytes at a time.
fn is_calm(text: &str) -> bool {
    let means = |byte: &u8| !byte.is_ascii_graphic() || *byte == b':' || *byte == b'#';
    text.as_bytes().iter().filter(|byte| means(byte)).count() == 0
}

/// Whether a key stands behind a question mark, its value in a line of its own: a reader looks for
/// the colon in the next 1,024 characters alone. Talos' writer does so from this length on.
pub(crate) fn is_long_key(text: &str) -> bool {
    text.len() > 128 || text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
}

/// Whether a text of one line reads as itself without quotes, outside of flow collections.
fn can_be_plain(text: &str) -> bool {
    if text.starts_with(' ') || text.ends_with(' ') {
        return false;
    }
    if text.starts_with("---") || text.starts_with("...") {
        return false;
    }
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    let mut is_first = true;
    while let Some(c) = chars.next() {
        let ends_word = chars.peek().is_none_or(|next| *next == ' ');
        let is_indicator = if is_first {
            match c {
                '?' | ':' | '-' => ends_word,
                _ => "#,[]{}&*!|>'\"%@`".contains(c),
            }
        } else {
            (c == ':' && ends_word) || (c == '#' && before == ' ')
        };
        if is_indicator {
            return false;
        }
        (before, is_first) = (c, false);
    }
    true
}

/// Whether a reader of YAML 1.1 takes a text for a number of base 60, such as `10:20`.
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let leads = parts
        .next()
        .is_some_and(|first| first.starts_with(|c: char| c.is_ascii_digit()) && digits(first));
    let rest: Vec<&str> = parts.collect();
    let sixty = |part: &&str| {
        part.len() <= 2 && !part.contains('_') && part.parse::<u8>().is_ok_and(|n| n < 60)
    };
    leads && !rest.is_empty() && rest.iter().all(sixty) && digits(fraction)
}

/// Letters of the longest word below.
const LONGEST_WORD: usize = 5;

/// Words that are booleans or nothing to some reader.
fn is_word(text: &str) -> bool {
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ".inf", ".nan"];
    let bare = text.trim_start_matches(['+', '-']);
    bare.len() <= LONGEST_WORD && words.iter().any(|word| word.eq_ignore_ascii_case(bare))
}

fn begins_with_letter(text: &str) -> bool {
    text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
}

/// Whether some reader takes a text for a number or a day.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.replace('_', "");
    let bare = text.strip_prefix(['+', '-']).unwrap_or(&text);
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = bare.strip_prefix(prefix) {
            return !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix));
        }
    }
    if let [year, month, day] = text.split('-').collect::<Vec<_>>().as_slice()
        && year.len() == 4
        && [year, month, day].iter().all(|part| digits(part))
    {
        return true;
    }
    let (number, exponent) = match bare.split_once(['e', 'E']) {
        Some((number, exponent)) => {
            (number, digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
        }
        None => (bare, true),
    };
    let number = match number.split_once('.') {
        None | Some((_, "")) => digits(number.trim_end_matches('.')),
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
    };
    number && exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        for plain in [
            "os",
            "7lg00s.5p4nfpdtdxlbzx6m",
            "a+b/c==",
            "1.2.3",
            "12a",
            "+x",
            "fd00-1",
            "a b",
            "fd00::1",
            "::1",
            "https://a:6443",
            "a#b",
            "x [1]",
            "-a",
            "1:99",
            "b\u{fc}cher",
            "it's",
        ] {
            assert_eq!(scalar(plain), plain);
        }
        let looks = [
            "",
            "true",
            "No",
            "12",
            "0x1f",
            "1.5e3",
            "123456.7890",
            "2026-01-02",
            ".5",
            "1_0",
            "10:20",
        ];
        for text in looks {
            assert_eq!(scalar(text), format!("\"{text}\""));
        }
        for (text, written) in
            [("@@@", "'@@@'"), ("'s", "'''s'"), ("a: b", "'a: b'"), ("-", "'-'"), ("a #", "'a #'")]
        {
            assert_eq!(scalar(text), written);
        }
        assert_eq!(scalar("a\nb"), "\"a\\nb\"");
    }

    #[test]
    fn long_texts_are_looked_at_to_their_end() {
        let long = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk".repeat(3);
        assert_eq!(scalar(&long), long);
        for end in [":", " ", ": x", " #"] {
            assert_eq!(scalar(&format!("{long}{end}")), format!("'{long}{end}'"));
        }
        assert_eq!(scalar(&format!("{long}\u{85}")), format!("\"{long}\u{85}\""));
        assert_eq!(scalar(&format!("{long}\u{fc}:x")), format!("{long}\u{fc}:x"));
    }

    #[test]
    fn a_bomb_of_aliases_and_deep_nesting_are_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb = format!("{bomb}a{level}: &a{level} [{items}]\n");
        }
        assert!(first_document(&bomb).is_err());
        assert!(first_document(&"[".repeat(10_000)).is_err());
        assert!(documents("a: *nowhere\n").is_err());
    }

    #[test]
    fn what_is_written_reads_as_the_same_text() {
        for text in [
            "", "12", "a b", "it's", "#", "a: b", "- x", "a\nb", "\u{e9}", "true", "'", "%", "a:",
            "?", "? x", "::1", "a # b", " a", "a ", "---", "<<", "10:20",
        ] {
            let written = format!("k: {}\n", scalar(text));
            let read = first_document(&written).unwrap().unwrap();
            let Node::Map(entries) = read else { panic!("{written}") };
            assert_eq!(entries.first().unwrap().1.text(), Some(text), "{written}");
        }
    }
}
