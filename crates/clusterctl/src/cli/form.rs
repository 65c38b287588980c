//! Forms of data on standard output: which verb prints which, and JSON and YAML for all of them.

use serde::Serialize;

use super::args::{Config, Image, Lab, OutputForm, Verb};
use crate::ops::{Error, ErrorKind};

use OutputForm as F;

/// Every form.
const ALL: &[F] = &[F::Table, F::Wide, F::Json, F::Yaml, F::Name, F::Markdown];
/// A table, and its data for programs.
const DATA: &[F] = &[F::Table, F::Wide, F::Json, F::Yaml];
/// A file that is YAML already.
const FILE: &[F] = &[F::Table, F::Yaml];
/// Nothing that has more than one form.
const NONE: &[F] = &[F::Table];

/// The verb's name and the forms that it prints.
fn forms(verb: &Verb) -> (&'static str, &'static [F]) {
    match verb {
        Verb::Inventory(_) => ("inventory", ALL),
        Verb::Plan(_) => ("plan", ALL),
        Verb::Apply(options) if options.dry_run => ("apply --dry-run", ALL),
        Verb::Destroy(options) if options.dry_run => ("destroy --dry-run", ALL),
        Verb::Validate(_) => ("validate", DATA),
        Verb::Why(_) => ("why", DATA),
        Verb::Eval(_) => ("eval", DATA),
        Verb::Status(_) => ("status", DATA),
        Verb::Health(_) => ("health", DATA),
        Verb::Output(_) => ("output", DATA),
        Verb::Doctor(_) => ("doctor", DATA),
        Verb::Versions => ("versions", DATA),
        Verb::Lab(Lab::Up(_)) => ("lab up", DATA),
        Verb::Lab(Lab::Status) => ("lab status", DATA),
        Verb::Config(Config::Patch(_)) => ("config patch", FILE),
        Verb::Config(_) => ("config", DATA),
        Verb::Image(Image::Gc(_) | Image::Mirror(_)) => ("image", NONE),
        Verb::Image(_) => ("image", DATA),
        Verb::Kubeconfig(_) => ("kubeconfig", FILE),
        Verb::Talosconfig(_) => ("talosconfig", FILE),
        Verb::Graph(_) => ("graph", NONE),
        Verb::Apply(_) => ("apply", NONE),
        Verb::Destroy(_) => ("destroy", NONE),
        Verb::Init(_) => ("init", NONE),
        Verb::New(_) => ("new", NONE),
        Verb::Secrets(_) => ("secrets", NONE),
        Verb::Unlock(_) => ("unlock", NONE),
        Verb::Lab(_) => ("lab", NONE),
        Verb::Completion(_) => ("completion", NONE),
        Verb::Man(_) => ("man", NONE),
        Verb::RunAll(_) => ("run-all", ALL),
    }
}

/// Refuses a form that the verb does not print, before anything is done.
///
/// # Errors
/// The verb does not print it.
pub(super) fn check(verb: &Verb, form: F) -> Result<(), Error> {
    let (name, known) = forms(verb);
    if known.contains(&form) {
        return Ok(());
    }
    let error = Error::usage(format!("`{name}` prints nothing as {}", form.name()));
    let others: Vec<&str> = known.iter().map(|form| form.name()).collect();
    Err(match verb {
        Verb::Graph(_) => error.hint("its forms are --form dot and --form mermaid"),
        Verb::Apply(_) | Verb::Destroy(_) => {
            error.hint("--dry-run prints the plan in every form; --log-format json tells events")
        }
        _ if others.len() == 1 => error.hint("leave out --output"),
        _ => error.hint(format!("its forms are {}", others.join(", "))),
    })
}

/// A value as JSON or YAML; `None` for forms that are made for people.
///
/// # Errors
/// It cannot be printed: a bug.
pub(super) fn structured<T: Serialize>(value: &T, form: F) -> Result<Option<String>, Error> {
    let bug = |what: &str| Error::new(ErrorKind::Bug, format!("print {what}"));
    match form {
        F::Json => serde_json::to_string_pretty(value)
            .map(|text| Some(text + "\n"))
            .map_err(|error| bug("JSON").because(error)),
        F::Yaml => {
            serde_saphyr::to_string(value).map(Some).map_err(|error| bug("YAML").because(error))
        }
        F::Table | F::Wide | F::Name | F::Markdown => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::Parser as _;

    fn checked(words: &[&str]) -> Result<(), String> {
        let cli = Cli::try_parse_from([&["clusterctl"], words].concat()).unwrap();
        check(&cli.verb, cli.global.output).map_err(|error| {
            let hints = error.hints().join("; ");
            format!("{error}; {hints}")
        })
    }

    #[test]
    fn a_form_that_a_verb_does_not_print_is_refused() {
        checked(&["versions", "-o", "yaml"]).unwrap();
        checked(&["apply", "--dry-run", "-o", "json"]).unwrap();
        assert_eq!(
            checked(&["versions", "-o", "name"]).unwrap_err(),
            "`versions` prints nothing as name; its forms are table, wide, json, yaml"
        );
        assert!(checked(&["apply", "-o", "json"]).unwrap_err().contains("--dry-run"));
        assert!(checked(&["init", "-o", "json"]).unwrap_err().contains("leave out"));
    }
}
