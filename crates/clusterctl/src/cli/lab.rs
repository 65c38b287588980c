//! `lab` on the command line.

use std::time::Duration;

use super::args::{Lab, LabManners, LabServe, OutputForm};
use super::env::Environment;
use super::exit::Exit;
use super::form::structured;
use super::render::table::table;
use super::{data, say};
use crate::lab::{Down, LabStatus, Manners};
use crate::ops::{self, Context, Error, ErrorKind};

pub(super) fn lab(
    context: &Context,
    verb: Lab,
    form: OutputForm,
    environment: &Environment,
) -> Result<Exit, Error> {
    match verb {
        Lab::Up(options) => {
            let up = ops::lab::up(context, manners(options.manners))?;
            if let Some(text) = structured(&up.status, form)? {
                data(&text);
                return Ok(Exit::Success);
            }
            let how = if up.is_new { "started" } else { "runs already" };
            say(&format!("the lab {how}: {}", summary(&up.status)));
            say("next: `clusterctl --lab plan`; `clusterctl lab down` ends it and keeps its state");
            Ok(Exit::Success)
        }
        Lab::Down => {
            match ops::lab::down(context)? {
                Down::NotRunning => say("no lab runs for this tree"),
                Down::Ended(pid) => {
                    say(&format!("the lab (pid {pid}) has ended; its state is kept"))
                }
                Down::Killed(pid) => {
                    say(&format!("the lab (pid {pid}) did not answer and was ended"));
                }
            }
            Ok(Exit::Success)
        }
        Lab::Status => status(context, form),
        Lab::Serve(options) => serve(options, environment),
    }
}

fn manners(options: LabManners) -> Manners {
    let time = |(kind, time)| (kind, Duration::from_millis(time));
    Manners {
        pace: options.pace,
        proxmox_latency: Duration::from_millis(options.latency_ms),
        node_latency: Duration::from_millis(options.node_latency_ms),
        task_times: options.task_ms.into_iter().map(time).collect(),
    }
}

fn summary(status: &LabStatus) -> String {
    let online = status.nodes.iter().filter(|(_, online)| *online).count();
    format!(
        "pid {}, Proxmox at {} ({online} node(s)), factory at {}, registry at {}, {} planned address(es)",
        status.pid,
        status.endpoints.proxmox,
        status.endpoints.factory,
        status.endpoints.registry,
        status.routes
    )
}

fn status(context: &Context, form: OutputForm) -> Result<Exit, Error> {
    let Some(status) = ops::lab::status(context)? else {
        if matches!(form, OutputForm::Json | OutputForm::Yaml) {
            data("null\n");
        }
        return Err(Error::new(ErrorKind::Failed, "no lab runs for this tree")
            .hint("`clusterctl lab up` starts one"));
    };
    if let Some(text) = structured(&status, form)? {
        data(&text);
        return Ok(Exit::Success);
    }
    say(&format!("{}, up {}", summary(&status), duration(status.uptime_seconds)));
    let wide = form == OutputForm::Wide;
    let rows = status.guests.into_iter().map(|guest| {
        let addresses = match (guest.addresses.as_slice(), wide) {
            ([first, rest @ ..], false) if !rest.is_empty() => {
                format!("{first} and {} more", rest.len())
            }
            (all, _) => all.join(" "),
        };
        [
            guest.vmid.to_string(),
            guest.name,
            guest.node,
            guest.stage,
            guest.talos.unwrap_or_default(),
            addresses,
            guest.problem.unwrap_or_default(),
        ]
    });
    data(&table(["VMID", "NAME", "NODE", "STAGE", "TALOS", "ADDRESSES", "PROBLEM"], rows));
    Ok(Exit::Success)
}

fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(feature = "lab")]
fn serve(options: LabServe, environment: &Environment) -> Result<Exit, Error> {
    // Its standard error is the log of the lab.
    let filter = environment.get("CLUSTERCTL_LAB_LOG").unwrap_or("info,hyper=warn,h2=warn");
    let log = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .try_init();
    if let Err(error) = log {
        say(&format!("no log: {error}"));
    }
    crate::lab::serve(crate::lab::ServeOptions {
        dir: options.dir,
        build: options.build,
        runtime_dir: environment.get("XDG_RUNTIME_DIR").map(Into::into),
        manners: manners(options.manners),
    })?;
    Ok(Exit::Success)
}

#[cfg(not(feature = "lab"))]
fn serve(_: LabServe, _: &Environment) -> Result<Exit, Error> {
    Err(Error::usage("this build has no lab").hint("build it with the feature `lab`"))
}
