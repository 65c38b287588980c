//! Verbs that look at a site, on the command line.

use serde_json::{Value, json};

use super::args::{self, Global};
use super::change::Terminal;
use super::env::Environment;
use super::exit::Exit;
use super::form::structured;
use super::render::table::table;
use super::{data, dispatch, say};
use crate::ops::access::{Kind, Options as AccessOptions, access, default_file, merge};
use crate::ops::doctor::{Finding, Grade};
use crate::ops::health::{Options as HealthOptions, Verdict};
use crate::ops::{self, Context, Error, ErrorKind};

/// `status`.
pub(super) fn status(
    context: &Context,
    options: &args::Status,
    global: &Global,
) -> Result<Exit, Error> {
    let report = ops::status::status(context, &options.clusters, global.lab)?;
    if let Some(text) = structured(&report, global.output)? {
        data(&text);
        return Ok(Exit::Success);
    }
    for cluster in &report.clusters {
        data(&format!(
            "{} ({}): {} of {} nodes ready\n",
            cluster.name,
            cluster.folder,
            cluster.ready,
            cluster.nodes.len()
        ));
        let rows = cluster.nodes.iter().map(|node| {
            let etcd = match node.etcd {
                None => "-",
                Some(true) => "yes",
                Some(false) => "no",
            };
            let talos = match &node.version {
                Some(version) => format!("{} {version}", node.talos),
                None => node.talos.clone(),
            };
            [
                node.name.clone(),
                node.role.to_owned(),
                format!("{} on {}", node.vmid, node.proxmox_node),
                node.machine.clone(),
                talos,
                etcd.to_owned(),
                node.kubernetes.clone().unwrap_or_else(|| "-".to_owned()),
                if node.config_changes == 0 {
                    String::new()
                } else {
                    node.config_changes.to_string()
                },
            ]
        });
        data(&table(
            ["NODE", "ROLE", "VM", "MACHINE", "TALOS", "ETCD", "KUBERNETES", "DRIFT"],
            rows,
        ));
        for node in cluster.nodes.iter().filter(|node| node.reason.is_some()) {
            data(&format!("{}: {}\n", node.name, node.reason.as_deref().unwrap_or_default()));
        }
        if let Some(why) = &cluster.kubernetes_problem {
            data(&format!("Kubernetes cannot be asked: {why}\n"));
        }
        data("\n");
    }
    let steps: usize = report.steps.values().sum();
    match steps {
        0 if report.problems.is_empty() => data("The site is as the tree says.\n"),
        0 => {}
        _ => data(&format!("`clusterctl plan` would take {steps} step(s).\n")),
    }
    for problem in &report.problems {
        data(&format!("in the way: {problem}\n"));
    }
    for note in &report.notes {
        data(&format!("note: {note}\n"));
    }
    dispatch::tell_unmanaged(&report.unmanaged);
    Ok(Exit::Success)
}

/// `health`.
pub(super) fn health(
    context: &Context,
    options: args::Health,
    global: &Global,
) -> Result<Exit, Error> {
    let wanted = HealthOptions {
        clusters: options.clusters,
        wait: options.wait.then_some(options.timeout),
        lab: global.lab,
    };
    let mut tell = |row: &ops::health::Row| {
        if wanted.wait.is_some() && row.state != Verdict::Ok {
            let reason = row.reason.as_deref().unwrap_or_default();
            say(&format!("wait     {} {}: {reason}", row.cluster, row.check));
        }
    };
    let rows = ops::health::health(context, &wanted, &mut tell)?;
    if let Some(text) = structured(&rows, global.output)? {
        data(&text);
    } else {
        let cells = rows.iter().map(|row| {
            let state = match row.state {
                Verdict::Ok => "ok",
                Verdict::Waiting => "waiting",
                Verdict::Failed => "FAILED",
            };
            let reason = row.reason.clone().unwrap_or_default();
            [row.cluster.clone(), row.check.clone(), state.to_owned(), reason]
        });
        data(&table(["CLUSTER", "CHECK", "STATE", "REASON"], cells));
    }
    let open: Vec<_> = rows.iter().filter(|row| row.state != Verdict::Ok).collect();
    let Some(first) = open.first() else { return Ok(Exit::Success) };
    let text = format!(
        "{} check(s) do not hold, first {} of cluster {}",
        open.len(),
        first.check,
        first.cluster
    );
    let error = Error::new(ErrorKind::Health, text);
    Err(match first.reason.as_deref() {
        Some(reason) => error.detail(reason.to_owned()),
        None => error,
    })
}

/// `output`.
pub(super) fn output(
    context: &Context,
    options: &args::Output,
    global: &Global,
) -> Result<Exit, Error> {
    let values = ops::output::output(context, &options.stage, global.lab)?;
    match &options.name {
        None => match structured(&values, global.output)? {
            Some(text) => data(&text),
            None => {
                for (name, value) in &values {
                    data(&format!("{name} = {}\n", hcl(value, 0)));
                }
            }
        },
        Some(name) => {
            let value = values.get(name).ok_or_else(|| {
                let known: Vec<&str> = values.keys().map(String::as_str).collect();
                Error::usage(format!("{} has no output {name:?}", options.stage))
                    .hint(format!("it has {}", known.join(", ")))
            })?;
            let text = structured(value, global.output)?;
            data(&match (text, value) {
                (Some(text), _) => text,
                (None, Value::String(text)) => format!("{text}\n"),
                (None, other) => format!("{}\n", hcl(other, 0)),
            });
        }
    }
    Ok(Exit::Success)
}

/// A value as HCL, in the way of `terraform output`.
fn hcl(value: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth + 1);
    let end = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let lines: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{pad}{} = {}", json!(key), hcl(value, depth + 1)))
                .collect();
            format!("{{\n{}\n{end}}}", lines.join("\n"))
        }
        Value::Array(items) if !items.is_empty() => {
            let lines: Vec<String> =
                items.iter().map(|item| format!("{pad}{},", hcl(item, depth + 1))).collect();
            format!("[\n{}\n{end}]", lines.join("\n"))
        }
        // In a quoted template these begin an expression.
        Value::String(text) => json!(text).to_string().replace("${", "$${").replace("%{", "%%{"),
        other => other.to_string(),
    }
}

/// `kubeconfig` and `talosconfig`.
pub(super) fn open(
    context: &Context,
    kind: Kind,
    options: args::Access,
    global: &Global,
) -> Result<Exit, Error> {
    let wanted =
        AccessOptions { kind, cluster: options.cluster, renew: options.renew, lab: global.lab };
    let (name, text) = access(context, &wanted)?;
    let Some(file) = options.merge else {
        data(&text);
        return Ok(Exit::Success);
    };
    let file = match file {
        Some(file) => context.cwd.join(file),
        None => default_file(context, kind)?,
    };
    merge(kind, &file, &name, &text, options.use_context)?;
    say(&format!("merged context {name} into {}", file.display()));
    Ok(Exit::Success)
}

/// `unlock`.
pub(super) fn unlock(
    context: &Context,
    global: &Global,
    environment: &Environment,
) -> Result<Exit, Error> {
    let Some(holder) = ops::unlock::holder(context, global.lab)? else {
        say("nobody holds the lock");
        return Ok(Exit::Success);
    };
    say(&format!("the lock is held by {holder}"));
    let terminal = Terminal::new(global, environment);
    if !terminal.ask("Two runs at once can break a cluster.", "unlock")? {
        return Err(Error::new(ErrorKind::Interrupted, "the lock stays"));
    }
    if ops::unlock::unlock(context, global.lab, &holder)? {
        say("the lock is gone");
    } else {
        say("nobody holds the lock any more");
    }
    Ok(Exit::Success)
}

/// `doctor`.
pub(super) fn doctor(
    context: &Context,
    options: &args::Doctor,
    global: &Global,
) -> Result<Exit, Error> {
    let findings = ops::doctor::doctor(context, &options.targets, global.lab)?;
    if let Some(text) = structured(&findings, global.output)? {
        data(&text);
    } else {
        for finding in &findings {
            data(&line(finding));
        }
    }
    let fails = findings.iter().filter(|finding| finding.grade == Grade::Fail).count();
    if fails == 0 {
        return Ok(Exit::Success);
    }
    Err(Error::failed(format!("{fails} finding(s) would stop a plan")))
}

fn line(finding: &Finding) -> String {
    let grade = match finding.grade {
        Grade::Ok => "ok  ",
        Grade::Warn => "warn",
        Grade::Fail => "FAIL",
    };
    let help = match &finding.help {
        Some(help) => format!("      help: {help}\n"),
        None => String::new(),
    };
    format!("{grade}  {}: {}\n{help}", finding.check, finding.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_written_as_terraform_does() {
        let value = json!({"a": [1, "x"], "b": {}, "c": null, "d": "${e}"});
        let expected = "{\n  \"a\" = [\n    1,\n    \"x\",\n  ]\n  \"b\" = {}\n  \"c\" = null\n  \"d\" = \"$${e}\"\n}";
        assert_eq!(hcl(&value, 0), expected);
    }
}
