//! From arguments to a verb, from its report to words.

use std::io::Read as _;
use std::path::PathBuf;

use clap::CommandFactory as _;

use super::args::{self, Cli, GraphForm, New, OutputForm, Secrets, Verb};
use super::env::Environment;
use super::exit::Exit;
use super::form::structured;
use super::render::{diagnostic, inventory, table::table};
use super::{data, form, say};
use crate::ops::access::Kind;
use crate::ops::{self, Context, Error, ErrorKind};
use crate::spec::model::{Level, Location};
use crate::spec::site::Unmanaged;

/// Longest expression that is read from standard input, in bytes.
const LONGEST_EXPRESSION: u64 = 1 << 20;

pub(super) fn dispatch(cli: Cli, environment: &Environment) -> Result<Exit, Error> {
    let form = cli.global.output;
    form::check(&cli.verb, form)?;
    let context = context(&cli, environment)?;
    match cli.verb {
        Verb::Init(options) => init(&context, &options),
        Verb::New(New::Cluster(options)) => new_cluster(&context, &options),
        Verb::Validate(options) => {
            let colour = environment.wants_colour() && !cli.global.no_color;
            validate(&context, &options, form, colour)
        }
        Verb::Inventory(options) => {
            let site = ops::inventory::inventory(&context, &options.clusters)?;
            data(&inventory::text(&site, form)?);
            if options.clusters.is_empty() {
                tell_unmanaged(&site.unmanaged);
            }
            Ok(Exit::Success)
        }
        Verb::Why(options) => why(&context, &options, form),
        Verb::Eval(options) => eval(&context, options, form),
        Verb::Plan(options) => super::change::plan(&context, options, &cli.global),
        Verb::Apply(options) => super::change::apply(&context, options, &cli.global, environment),
        Verb::Destroy(options) => {
            super::change::destroy(&context, options, &cli.global, environment)
        }
        Verb::Status(options) => super::site::status(&context, &options, &cli.global),
        Verb::Health(options) => super::site::health(&context, options, &cli.global),
        Verb::Output(options) => super::site::output(&context, &options, &cli.global),
        Verb::Kubeconfig(options) => {
            super::site::open(&context, Kind::Kubeconfig, options, &cli.global)
        }
        Verb::Talosconfig(options) => {
            super::site::open(&context, Kind::Talosconfig, options, &cli.global)
        }
        Verb::Secrets(options) => secrets(&context, options, cli.global.lab),
        Verb::Unlock(_) => super::site::unlock(&context, &cli.global, environment),
        Verb::Doctor(options) => super::site::doctor(&context, &options, &cli.global),
        Verb::Lab(verb) => super::lab::lab(&context, verb, form, environment),
        Verb::Config(verb) => super::config::config(&context, verb, form, cli.global.lab),
        Verb::Image(verb) => super::image::image(&context, verb, form, cli.global.lab),
        Verb::Versions => versions(&context, form),
        Verb::Graph(options) => {
            let stages = ops::graph::graph(&context)?;
            data(&match options.form {
                GraphForm::Dot => stages.dot(),
                GraphForm::Mermaid => stages.mermaid(),
            });
            Ok(Exit::Success)
        }
        Verb::Completion(options) => {
            let mut out = Vec::new();
            clap_complete::generate(options.shell, &mut Cli::command(), "clusterctl", &mut out);
            data(&String::from_utf8_lossy(&out));
            Ok(Exit::Success)
        }
        Verb::Man(options) => man(&options),
        Verb::RunAll(options) => {
            let verb = options.rest.iter().find(|word| !word.starts_with('-'));
            let verb = verb.map_or("plan", String::as_str);
            Err(Error::usage("there is no `run-all`: a path is a target").hint(format!(
                "type `clusterctl {verb}` in the folder you mean, at the root for everything"
            )))
        }
    }
}

fn context(cli: &Cli, environment: &Environment) -> Result<Context, Error> {
    let cwd = std::env::current_dir()
        .map_err(|error| Error::failed("find the working folder").because(error))?;
    let cwd = cli.global.chdir.as_ref().map_or_else(|| cwd.clone(), |dir| cwd.join(dir));
    if !cwd.is_dir() {
        return Err(Error::usage(format!("there is no folder {}", cwd.display())));
    }
    Ok(Context { cwd, live: cli.global.live.clone(), variables: environment.variables().clone() })
}

fn init(context: &Context, options: &args::Init) -> Result<Exit, Error> {
    let report = ops::init::init(context, &options.dir)?;
    for path in &report.written {
        say(&format!("wrote {}", path.display()));
    }
    for path in &report.kept {
        say(&format!("kept  {}", path.display()));
    }
    say(&format!(
        "next: edit {}, then `clusterctl -C {} new cluster NAME`",
        report.live.join("common/proxmox-infrastructure.hcl").display(),
        report.live.display()
    ));
    Ok(Exit::Success)
}

fn new_cluster(context: &Context, options: &args::NewCluster) -> Result<Exit, Error> {
    let options = ops::new_cluster::Options {
        name: options.name.clone(),
        id: options.id,
        controlplanes: options.controlplanes,
        workers: options.workers,
    };
    let path = ops::new_cluster::new_cluster(context, &options)?;
    say(&format!("wrote {}", path.display()));
    say(&format!("next: `clusterctl inventory {}`", options.name));
    Ok(Exit::Success)
}

fn validate(
    context: &Context,
    options: &args::Validate,
    form: OutputForm,
    colour: bool,
) -> Result<Exit, Error> {
    let report = ops::validate::validate(context)?;
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    if let Some(text) = structured(&report.diagnostics, form)? {
        data(&text);
    } else {
        for found in &report.diagnostics {
            say(&diagnostic::text(found, &report.sources, &report.root.repository, colour));
        }
        match report.size {
            Some((clusters, nodes)) if errors == 0 => {
                say(&format!(
                    "valid: {clusters} cluster(s), {nodes} node(s), {warnings} warning(s)"
                ));
            }
            _ => say(&format!("{errors} error(s), {warnings} warning(s)")),
        }
        tell_unmanaged(&report.unmanaged);
    }
    let failed = errors > 0 || (options.strict && warnings > 0);
    Ok(if failed { Exit::Failure(ErrorKind::Failed) } else { Exit::Success })
}

/// Cluster folders that nothing is done with: one whose keys have a slip is among them.
pub(super) fn tell_unmanaged(folders: &[Unmanaged]) {
    for one in folders {
        say(&format!("not managed here: clusters/{}, since {}", one.folder, one.reason));
    }
}

fn why(context: &Context, options: &args::Why, form: OutputForm) -> Result<Exit, Error> {
    let report = ops::why::why(context, &options.path)?;
    if let Some(text) = structured(&report.origins, form)? {
        data(&text);
        return Ok(Exit::Success);
    }
    let shown = |location: &Location| {
        let file = location.file.strip_prefix(&report.root.repository).unwrap_or(&location.file);
        format!("{}:{}:{}", file.display(), location.line, location.column)
    };
    for origin in &report.origins {
        let value = origin.value.as_deref().unwrap_or("(sensitive or not known)");
        data(&format!("{} = {value}\n", origin.path));
        if let Some(location) = &origin.location {
            data(&format!("  at {}\n", shown(location)));
        }
        if !origin.formula.is_empty() {
            data(&format!("  from {}\n", origin.formula.replace('\n', "\n       ")));
        }
        if let Some(other) = &origin.overridden_by {
            data(&format!("  overridden by {}\n", shown(other)));
        }
    }
    Ok(Exit::Success)
}

fn eval(context: &Context, options: args::Eval, form: OutputForm) -> Result<Exit, Error> {
    let expression = match options.expression {
        Some(expression) => expression,
        None => {
            let mut text = String::new();
            std::io::stdin()
                .take(LONGEST_EXPRESSION)
                .read_to_string(&mut text)
                .map_err(|error| Error::failed("read the expression").because(error))?;
            text
        }
    };
    let value = ops::eval::eval(context, options.file.as_deref(), &expression)?;
    if value.has_sensitive() && !options.show_sensitive {
        data("(sensitive value)\n");
        say("--show-sensitive prints it");
        return Ok(Exit::Success);
    }
    if let Some(reason) = value.unknown_reason() {
        return Err(Error::failed(format!("the value is not known: {reason}")));
    }
    let text = value.to_json().unwrap_or_default();
    let parsed: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let shown = match (form, value.as_str(), &parsed) {
        (OutputForm::Yaml, _, Some(parsed)) => structured(parsed, form)?,
        (OutputForm::Table | OutputForm::Wide, Some(text), _) => Some(format!("{text}\n")),
        (OutputForm::Table | OutputForm::Wide, None, Some(parsed)) => {
            structured(parsed, OutputForm::Json)?
        }
        // Numbers of any length are printed as they are.
        _ => None,
    };
    data(&shown.unwrap_or(text + "\n"));
    Ok(Exit::Success)
}

fn secrets(context: &Context, options: Secrets, lab: bool) -> Result<Exit, Error> {
    let report = match options {
        Secrets::Generate(options) => ops::secrets::generate(context, &options.clusters, lab)?,
        Secrets::Import(options) => {
            ops::secrets::import(context, &options.cluster, &options.file, lab)?
        }
        Secrets::Export(options) => {
            let path = ops::secrets::export(context, &options.cluster, &options.file, lab)?;
            say(&format!("wrote {} in the clear: delete it after use", path.display()));
            return Ok(Exit::Success);
        }
    };
    for path in &report.kept {
        say(&format!("kept  {}", path.display()));
    }
    for path in &report.written {
        say(&format!("wrote {}", path.display()));
    }
    for path in &report.sealed {
        say(&format!("warning: no identity of yours opens {}", path.display()));
    }
    if !report.written.is_empty() && !lab {
        say("next: commit them; without them a cluster cannot be repaired");
    }
    Ok(Exit::Success)
}

fn versions(context: &Context, form: OutputForm) -> Result<Exit, Error> {
    let rows = ops::versions::versions(context)?;
    if let Some(text) = structured(&rows, form)? {
        data(&text);
        return Ok(Exit::Success);
    }
    let rows = rows.into_iter().map(|row| {
        let note = if row.overridden { "override" } else { "" };
        [row.cluster, row.talos, row.kubernetes, row.cilium.unwrap_or_default(), note.to_owned()]
    });
    data(&table(["CLUSTER", "TALOS", "KUBERNETES", "CILIUM", "NOTE"], rows));
    Ok(Exit::Success)
}

fn man(options: &args::Man) -> Result<Exit, Error> {
    let failed = |error: std::io::Error| Error::failed("write the manual").because(error);
    let command = Cli::command();
    let Some(dir) = &options.dir else {
        let mut out = Vec::new();
        clap_mangen::Man::new(command).render(&mut out).map_err(failed)?;
        data(&String::from_utf8_lossy(&out));
        return Ok(Exit::Success);
    };
    fs_err::create_dir_all(dir).map_err(failed)?;
    for (name, page) in pages(&command, "clusterctl") {
        let mut out = Vec::new();
        clap_mangen::Man::new(page).render(&mut out).map_err(failed)?;
        let path: PathBuf = dir.join(format!("{name}.1"));
        crate::state::write(&path, &out, crate::state::Mode::Shared)
            .map_err(|error| Error::failed("write the manual").because(error))?;
    }
    Ok(Exit::Success)
}

/// A page for the program and one for each verb.
fn pages(command: &clap::Command, name: &str) -> Vec<(String, clap::Command)> {
    let mut pages = vec![(name.to_owned(), command.clone())];
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        pages.extend(pages_of(verb, name));
    }
    pages
}

fn pages_of(verb: &clap::Command, above: &str) -> Vec<(String, clap::Command)> {
    pages(verb, &format!("{above}-{}", verb.get_name()))
}
