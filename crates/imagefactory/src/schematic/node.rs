//! YAML as nodes whose scalars keep their text: a schematic takes scalars by the text they have.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::read::SchematicError;

type Result<T> = std::result::Result<T, SchematicError>;

/// Where YAML's own tags live.
const NAMESPACE: &str = "tag:yaml.org,2002:";

/// Deepest nesting that is read.
const DEEPEST: usize = 100;

/// Most nodes once aliases are written out.
const MOST_NODES: usize = 100_000;

/// A node with the line it stands on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Scalar { text: String, plain: bool, tag: Option<String> },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// JSON writes letters beyond 16 bits as two escapes; YAML has no such pairs.
fn refuse_surrogates(text: &str) -> Result<()> {
    let mut parser = Parser::new_from_str(text);
    while let Some(Ok((event, span))) = parser.next_event() {
        let quoted = matches!(event, Event::Scalar(_, ScalarStyle::DoubleQuoted, _, _));
        let Some(raw) = span.slice(text).filter(|_| quoted) else { continue };
        let pair = raw.split("\\u").skip(1).any(|rest| {
            rest.starts_with(['d', 'D'])
                && rest.get(1..2).is_some_and(|digit| "89abcdefABCDEF".contains(digit))
        });
        if pair {
            return Err(SchematicError::new(span.start.line(), "a surrogate is no letter"));
        }
    }
    Ok(())
}

type YamlParser<'a> = Parser<'a, granit_parser::StrInput<'a>>;

/// Reads the first document; none when there is none.
pub(super) fn first_document(text: &str) -> Result<Option<Node>> {
    refuse_surrogates(text)?;
    let mut parser = Parser::new_from_str(text);
    let mut reader = Reader { anchors: BTreeMap::new(), nodes: 0 };
    while let Some((event, _)) = next(&mut parser)? {
        match event {
            Event::DocumentStart(_, version) => {
                if version.is_some_and(|version| {
                    (version.major, version.minor) != (1, 1)
                        && (version.major, version.minor) != (1, 2)
                }) {
                    return Err(SchematicError::new(1, "the YAML version is not 1.1 or 1.2"));
                }
                let Some((event, line)) = next(&mut parser)? else { return Ok(None) };
                return reader.node(&mut parser, event, line, 0).map(Some);
            }
            Event::StreamEnd => break,
            _ => {}
        }
    }
    Ok(None)
}

fn next<'a>(parser: &mut YamlParser<'a>) -> Result<Option<(Event<'a>, usize)>> {
    loop {
        match parser.next_event() {
            None => return Ok(None),
            Some(Err(error)) => {
                return Err(SchematicError::new(error.marker().line(), "the text is no YAML"));
            }
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
            return Err(SchematicError::new(line, "the text nests too deeply or is too large"));
        }
        let (anchor, kind) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag
                    .as_deref()
                    .and_then(|tag| Tag::suffix_in_namespace(tag, NAMESPACE))
                    .map(std::borrow::Cow::into_owned);
                let plain = style == ScalarStyle::Plain;
                (anchor, Kind::Scalar { text: super::read::restore(&text), plain, tag })
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                while let Some((event, line)) = next(parser)? {
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(parser, event, line, depth + 1)?);
                }
                (anchor, Kind::List(items))
            }
            Event::MappingStart(_, anchor, _) => {
                let mut entries = Vec::new();
                while let Some((event, line)) = next(parser)? {
                    if event == Event::MappingEnd {
                        break;
                    }
                    let key = self.node(parser, event, line, depth + 1)?;
                    let Some((event, line)) = next(parser)? else { break };
                    entries.push((key, self.node(parser, event, line, depth + 1)?));
                }
                (anchor, Kind::Map(merged(entries)?))
            }
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(SchematicError::new(line, "an alias has no anchor before it"));
                };
                self.nodes += size(&node);
                return Ok(node);
            }
            _ => return Err(SchematicError::new(line, "the text ends in the middle of a value")),
        };
        let node = Node { line, kind };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Scalar { .. } => 0,
        Kind::List(items) => items.iter().map(size).sum(),
        Kind::Map(entries) => entries.iter().map(|(key, value)| size(key) + size(value)).sum(),
    }
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, plain: true, tag: None } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Kind::Scalar { tag, .. } => tag.as_deref() == Some("null"),
            _ => false,
        }
    }

    fn is_merge(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, plain, tag } => {
                text == "<<" && *plain && matches!(tag.as_deref(), None | Some("merge"))
            }
            _ => false,
        }
    }
}

/// Writes merge keys out: entries of the map itself win, then earlier maps over later ones.
fn merged(entries: Vec<(Node, Node)>) -> Result<Vec<(Node, Node)>> {
    let mut own: Vec<(Node, Node)> = Vec::new();
    let mut below: Vec<(Node, Node)> = Vec::new();
    for (key, value) in entries {
        if !key.is_merge() {
            let twice = own.iter().any(|(other, _)| same_key(other, &key));
            if twice {
                return Err(SchematicError::new(key.line, "a key stands twice"));
            }
            own.push((key, value));
            continue;
        }
        let wrong = || SchematicError::new(value.line, "`<<` needs a map, or a list of maps");
        let maps: Vec<&Node> = match &value.kind {
            Kind::Map(_) => vec![&value],
            Kind::List(items) => items.iter().collect(),
            Kind::Scalar { .. } => return Err(wrong()),
        };
        for map in maps {
            let Kind::Map(entries) = &map.kind else { return Err(wrong()) };
            for (key, value) in entries {
                if !below.iter().any(|(other, _)| same_key(other, key)) {
                    below.push((key.clone(), value.clone()));
                }
            }
        }
    }
    below.retain(|(key, _)| !own.iter().any(|(other, _)| same_key(other, key)));
    own.extend(below);
    Ok(own)
}

fn same_key(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::Scalar { text: a, .. }, Kind::Scalar { text: b, .. }) => a == b,
        (a, b) => a == b,
    }
}
