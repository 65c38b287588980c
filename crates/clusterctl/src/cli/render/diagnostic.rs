//! A diagnostic with its source line and a caret, as the compiler prints them.

use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level as Title, Renderer, Snippet};

use crate::spec::model::{Diagnostic, Level, Sources};

/// The diagnostic as text; paths are told from `root`.
pub fn text(diagnostic: &Diagnostic, sources: &Sources, root: &Path, colour: bool) -> String {
    let level = match diagnostic.level {
        Level::Error => Title::ERROR,
        Level::Warning => Title::WARNING,
        Level::Info => Title::INFO,
    };
    let short = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let prefix = format!("{}/", root.display());
    let message = diagnostic.message.replace(&prefix, "");
    let title = level.primary_title(message.as_str()).id(diagnostic.code.as_str());
    let mut notes: Vec<String> = diagnostic
        .related
        .iter()
        .map(|(place, words)| {
            format!("see {}:{}: {words}", short(&place.file), place.line).replace(&prefix, "")
        })
        .collect();
    if diagnostic.chain.len() > 1 {
        notes.push(format!("asked for by {}", diagnostic.chain.join(" <- ")));
    }
    let help = diagnostic.help.as_ref().map(|help| help.replace(&prefix, ""));
    let source = diagnostic
        .location
        .as_ref()
        .and_then(|location| Some((short(&location.file), sources.0.get(&location.file)?)));
    let mut group = match (&source, diagnostic.span) {
        (Some((path, source)), Some((start, end))) => {
            let end = end.min(source.len()).max(start.min(source.len()));
            let start = start.min(end);
            title.element(
                Snippet::source(&***source)
                    .path(path.as_str())
                    .annotation(AnnotationKind::Primary.span(start..end)),
            )
        }
        _ => Group::with_title(title),
    };
    let place = match (&source, diagnostic.span, &diagnostic.location) {
        (Some(_), Some(_), _) | (_, _, None) => None,
        (_, _, Some(location)) => Some(format!("in {}", short(&location.file))),
    };
    for note in place.iter().chain(&notes) {
        group = group.element(Title::NOTE.message(note.as_str()));
    }
    if let Some(help) = &help {
        group = group.element(Title::HELP.message(help.as_str()));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}
