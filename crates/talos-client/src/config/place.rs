//! The lines of a configuration's text: where a field of a document stands.

use granit_parser::{Event, ScalarStyle};

use super::machine::DocumentId;
use crate::yaml::{self, YamlParser};

/// Deepest nesting that is looked into.
const DEEPEST: usize = 200;

/// How nothing is written.
const NOTHING: [&str; 5] = ["", "~", "null", "Null", "NULL"];

/// Where the fields of a text stand.
///
/// ```
/// let text = "machine:\n  install:\n    disk: /dev/sda\n---\nkind: HostnameConfig\nauto: off\n";
/// let lines = talos_client::config::Lines::of(text);
/// assert_eq!(lines.line("v1alpha1", "machine.install.disk"), Some(3));
/// // What is missing is looked for where it would stand.
/// assert_eq!(lines.line("v1alpha1", "machine.install.image"), Some(2));
/// assert_eq!(lines.line("HostnameConfig", "auto"), Some(6));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Lines {
    documents: Vec<(DocumentId, Spot)>,
}

/// A field or an item: its line, and what is in it.
#[derive(Debug, Clone)]
struct Spot {
    line: usize,
    /// Fields by name; items by their index.
    inner: Vec<(String, Self)>,
    is_list: bool,
}

impl Lines {
    /// Reads the lines of a text; of one that is no YAML those before the fault. Values are not kept.
    pub fn of(text: &str) -> Self {
        let mut parser = YamlParser::new_from_str(text);
        let mut documents = Vec::new();
        while let Ok(Some((event, _))) = yaml::next(&mut parser) {
            if !matches!(event, Event::DocumentStart(..)) {
                continue;
            }
            let Ok(Some((event, line))) = yaml::next(&mut parser) else { break };
            let mut id = DocumentId { kind: "v1alpha1".to_owned(), name: String::new() };
            let spot = spot(&mut parser, &event, line, 0, Some(&mut id));
            if !spot.as_ref().is_some_and(Spot::is_empty) {
                documents.extend(spot.map(|spot| (id, spot)));
            }
        }
        Self { documents }
    }

    /// The line of a field of a document, from 1; of what is not there the line of what it would be
    /// in. The document is written as [`DocumentId`] is; the path as `machine.install.disk` and
    /// `machine.network.interfaces[0].mtu`, or empty for the document itself.
    pub fn line(&self, document: &str, path: &str) -> Option<usize> {
        let document = if document == "v1alpha1.Config" { "v1alpha1" } else { document };
        let (_, spot) = self.documents.iter().find(|(id, _)| id.to_string() == document)?;
        Some(spot.at(path))
    }

    /// As [`Self::line`], for a document by its number, counted from 0.
    pub(super) fn line_in(&self, document: usize, path: &str) -> Option<usize> {
        self.documents.get(document).map(|(_, spot)| spot.at(path))
    }
}

impl Spot {
    fn is_empty(&self) -> bool {
        self.line == 0
    }

    fn at(&self, path: &str) -> usize {
        // Names may have dots in them: the longest one that fits counts.
        let best = self
            .inner
            .iter()
            .filter_map(|(name, spot)| {
                let rest = if self.is_list {
                    path.strip_prefix('[')?.strip_prefix(name.as_str())?.strip_prefix(']')?
                } else {
                    path.strip_prefix(name.as_str())?
                };
                let is_end = rest.is_empty() || rest.starts_with(['.', '[']);
                is_end.then(|| (name.len(), spot, rest.strip_prefix('.').unwrap_or(rest)))
            })
            .max_by_key(|(length, ..)| *length);
        best.map_or(self.line, |(_, spot, rest)| spot.at(rest))
    }
}

/// What begins with an event; the line is that of the event. Kind and name of a document are noted.
fn spot(
    parser: &mut YamlParser<'_>,
    event: &Event<'_>,
    line: usize,
    depth: usize,
    mut id: Option<&mut DocumentId>,
) -> Option<Spot> {
    let mut here = Spot { line, inner: Vec::new(), is_list: false };
    if depth > DEEPEST {
        return None;
    }
    match event {
        // A document without anything.
        Event::Scalar(text, ..) if depth == 0 && NOTHING.contains(&text.as_ref()) => here.line = 0,
        Event::SequenceStart(..) => {
            here.is_list = true;
            loop {
                let (event, line) = yaml::next(parser).ok()??;
                if event == Event::SequenceEnd {
                    break;
                }
                let item = spot(parser, &event, line, depth + 1, None)?;
                here.inner.push((here.inner.len().to_string(), item));
            }
        }
        Event::MappingStart(..) => loop {
            let (event, line) = yaml::next(parser).ok()??;
            if event == Event::MappingEnd {
                break;
            }
            let key = match &event {
                Event::Scalar(text, ..) => text.clone().into_owned(),
                _ => String::new(),
            };
            spot(parser, &event, line, depth + 1, None)?;
            let (event, _) = yaml::next(parser).ok()??;
            if let (Some(id), Event::Scalar(text, style, ..)) = (id.as_deref_mut(), &event) {
                let is_nothing = *style == ScalarStyle::Plain && NOTHING.contains(&text.as_ref());
                match key.as_str() {
                    _ if is_nothing => {}
                    "kind" => id.kind = text.clone().into_owned(),
                    "name" => id.name = text.clone().into_owned(),
                    _ => {}
                }
            }
            // The line of a field is that of its name.
            let value = spot(parser, &event, line, depth + 1, None)?;
            here.inner.push((key, Spot { line, ..value }));
        },
        _ => {}
    }
    Some(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# words\nversion: v1alpha1\nmachine:\n  sysctls:\n    net.ipv4.x: '1'\n    net.ipv4: '2'\n  network:\n    interfaces:\n      - interface: eth0\n      - mtu: 3\n        addresses: [\n          a,\n          b]\n---\n---\nkind: LinkConfig\nname: a\n---\nkind: LinkConfig\nname: b\nmtu: 1\n";

    #[test]
    fn fields_items_and_documents_are_found() {
        let lines = Lines::of(TEXT);
        for (document, path, line) in [
            ("v1alpha1", "", 2),
            ("v1alpha1.Config", "machine.sysctls.net.ipv4.x", 5),
            ("v1alpha1", "machine.sysctls.net.ipv4", 6),
            ("v1alpha1", "machine.sysctls.net.ipv6", 4),
            ("v1alpha1", "machine.network.interfaces[0]", 9),
            ("v1alpha1", "machine.network.interfaces[1].addresses[1]", 13),
            ("v1alpha1", "machine.network.interfaces[7].mtu", 8),
            ("LinkConfig/a", "mtu", 16),
            ("LinkConfig/b", "mtu", 21),
        ] {
            assert_eq!(lines.line(document, path), Some(line), "{document} {path}");
        }
        assert_eq!(lines.line("LinkConfig/c", ""), None);
        assert_eq!(lines.line_in(2, "mtu"), Some(21));
    }

    #[test]
    fn of_a_text_with_a_fault_what_is_before_it_is_known() {
        let lines = Lines::of("kind: A\nname: x\n---\nb: [\n");
        assert_eq!(lines.line("A/x", "name"), Some(2));
        assert_eq!(Lines::of("kind: A\nname:\n").line("A", ""), Some(1));
        assert_eq!(Lines::of("\u{0}").line("v1alpha1", ""), None);
    }
}
