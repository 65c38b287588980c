//! `config` on the command line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use talos_client::config::Mode;

use super::args::{
    Config, ConfigDiff, ConfigMode, ConfigPatch, ConfigRender, ConfigValidate, OutputForm,
};
use super::exit::Exit;
use super::form::structured;
use super::{data, say};
use crate::ops::config::diff::{self, After, diff};
use crate::ops::config::patch::{self, patch};
use crate::ops::config::render::{self, render};
use crate::ops::config::validate::{self, Report, Severity, validate};
use crate::ops::{Context, Error, ErrorKind};

pub(super) fn config(
    context: &Context,
    verb: Config,
    form: OutputForm,
    lab: bool,
) -> Result<Exit, Error> {
    match verb {
        Config::Render(options) => rendered(context, options, form, lab),
        Config::Diff(options) => compared(context, options, form, lab),
        Config::Validate(options) => checked(context, options, form),
        Config::Patch(options) => patched(context, options),
    }
}

fn rendered(
    context: &Context,
    options: ConfigRender,
    form: OutputForm,
    lab: bool,
) -> Result<Exit, Error> {
    let options = render::Options {
        cluster: options.cluster,
        nodes: options.nodes,
        show_secrets: options.show_secrets,
        to: options.to,
        lab,
    };
    let report = render(context, &options)?;
    if report.is_trial {
        say("the cluster has no secrets yet: what stands for them is thrown away");
    }
    for path in &report.written {
        say(&format!("wrote {}", path.display()));
    }
    if options.to.is_some() {
        return Ok(Exit::Success);
    }
    let documents: BTreeMap<&str, &[Value]> =
        report.configs.iter().map(|(name, one)| (name.as_str(), one.documents())).collect();
    if let Some(text) = structured(&documents, form)? {
        data(&text);
        return Ok(Exit::Success);
    }
    for (index, (name, config)) in report.configs.iter().enumerate() {
        let break_before = if index == 0 { "" } else { "---\n" };
        data(&format!("{break_before}# {name}\n"));
        data(&config.to_yaml());
    }
    Ok(Exit::Success)
}

fn compared(
    context: &Context,
    options: ConfigDiff,
    form: OutputForm,
    lab: bool,
) -> Result<Exit, Error> {
    let after = match (options.after, options.node) {
        (Some(file), _) => After::File(file),
        (None, Some(node)) => After::Node(node),
        (None, None) => return Err(Error::usage("there is nothing to compare with")),
    };
    let wanted = diff::Options { before: options.before, after, talos: options.talos, lab };
    let report = diff(context, &wanted)?;
    if let Some(text) = structured(&report, form)? {
        data(&text);
    } else {
        for change in &report.changes {
            data(&format!("{}\n", change.line));
        }
        match report.changes.len() {
            0 => say("no changes"),
            count => {
                say(&format!("{count} change(s) on Talos {}: {}", report.talos, report.verdict))
            }
        }
    }
    let changes = options.detailed_exitcode && !report.changes.is_empty();
    Ok(if changes { Exit::Changes } else { Exit::Success })
}

fn checked(context: &Context, options: ConfigValidate, form: OutputForm) -> Result<Exit, Error> {
    let name = options.mode.name();
    let options = validate::Options {
        files: options.files,
        mode: match options.mode {
            ConfigMode::Metal => Mode::Metal,
            ConfigMode::Cloud => Mode::Cloud,
            ConfigMode::Container => Mode::Container,
            ConfigMode::MetalAgent => Mode::MetalAgent,
        },
        strict: options.strict,
        talos: options.talos,
    };
    let reports = validate(context, &options)?;
    if let Some(text) = structured(&reports, form)? {
        data(&text);
    } else {
        for report in &reports {
            say_verdicts(report);
            if report.valid {
                data(&format!("{} is valid for {name} mode\n", report.file.display()));
            } else {
                say(&format!("{} is not valid for {name} mode", report.file.display()));
            }
        }
    }
    let all_valid = reports.iter().all(|report| report.valid);
    Ok(if all_valid { Exit::Success } else { Exit::Failure(ErrorKind::Failed) })
}

fn say_verdicts(report: &Report) {
    for one in &report.verdicts {
        let mut text = report.file.display().to_string();
        // Writing to a String cannot fail.
        let _: Result<(), _> = one.line.map_or(Ok(()), |line| write!(text, ":{line}"));
        let severity = match one.severity {
            Severity::Error => "error",
            Severity::Warning | Severity::Lint => "warning",
        };
        let place = match one.document.as_str() {
            "" | "v1alpha1" => String::new(),
            document => format!("{document}: "),
        };
        let _: Result<(), _> = write!(text, ": {severity}: {place}{} [{}]", one.text, one.class);
        if let Some(hint) = &one.hint {
            let _: Result<(), _> = write!(text, "\n  hint: {hint}");
        }
        say(&text);
    }
}

fn patched(context: &Context, options: ConfigPatch) -> Result<Exit, Error> {
    let options = patch::Options { file: options.file, patches: options.patches, out: options.out };
    let text = patch(context, &options)?;
    match &options.out {
        Some(out) => say(&format!("wrote {}", out.display())),
        None => data(&text),
    }
    Ok(Exit::Success)
}
