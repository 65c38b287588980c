//! `ApplyConfiguration`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::config::{self, Change, Config, Mode, change, unified};
use super::super::grpc::{Call, Reply, Status, code};
use super::super::node::{NodeInner, Order};
use super::super::spec::NodeEventKind;

const LIVE: &str = "Applied configuration without a reboot";
const REBOOT: &str = "Applied configuration with a reboot";
const STAGED: &str = "Staged configuration to be applied after the next reboot";

fn invalid(message: impl Into<String>) -> Status {
    Status::new(code::INVALID_ARGUMENT, message)
}

/// Check, and take or show what would change.
pub(super) fn call(node: &Arc<NodeInner>, call: &Call) -> Result<Reply, Status> {
    let data = STANDARD.decode(call.text("data")).unwrap_or_default();
    let text = String::from_utf8(data).map_err(|_| invalid("decode error: yaml: invalid UTF-8"))?;
    let minor = node.minor();
    let mode = match call.text("mode") {
        "" => "REBOOT",
        mode => mode,
    };
    let (old, configured, metal) = {
        let machine = node.machine();
        (machine.config.clone(), machine.config.v1alpha1().is_some(), machine.is_metal())
    };
    if !configured && minor <= 12 && matches!(mode, "NO_REBOOT" | "STAGED") {
        let message = format!(
            "apply configuration --mode={} is not supported in maintenance mode",
            mode.to_lowercase().replace('_', "-")
        );
        return Err(Status::new(code::UNIMPLEMENTED, message));
    }
    let new = config::load(&text, minor).map_err(|why| {
        if !configured && minor <= 12 {
            return Status::new(code::UNKNOWN, format!("failed to parse config: {why}"));
        }
        invalid(why)
    })?;
    let complete = new.v1alpha1().is_some();
    if !complete && configured {
        return Err(invalid(
            "the applied machine configuration doesn't contain v1alpha1 config, did you mean to patch the machine config instead?",
        ));
    }
    if !complete && minor <= 12 {
        return Err(invalid("the applied machine configuration doesn't contain v1alpha1 config"));
    }
    let installed = node.content().installed.is_some();
    let rules = Mode { requires_install: metal && !installed && !configured, minor };
    config::validate(&new, rules).map_err(invalid)?;
    let changes = if configured {
        change(&old, &new)
    } else {
        let before = if old.others().next().is_some() { old.encode() } else { String::new() };
        Change { diff: unified(&before, &new.encode()), needs_reboot: String::new() }
    };
    if configured && minor >= 14 && mode == "REBOOT" {
        let message = "apply configuration --mode=reboot is not supported, the node is to be rebooted after a change";
        return Err(Status::new(code::UNIMPLEMENTED, message));
    }
    // From 1.14 on all is applied at once; what needs a reboot takes effect at the next one.
    let changes = match minor {
        14.. => Change { needs_reboot: String::new(), ..changes },
        _ => changes,
    };
    let (shown, text) = resolve(mode, &changes, configured)?;
    let mut details = text.to_owned();
    if call.flag("dryRun") {
        let diff = if changes.diff.is_empty() { "No changes." } else { &changes.diff };
        details = format!("Dry run summary:\n{text} (skipped in dry-run).\nConfig diff:\n\n{diff}");
    } else {
        let limit = limit(call.request());
        if shown == "TRY" {
            let back = go_duration(limit);
            details = format!(
                "{text}\nThe config is applied in 'try' mode and will be automatically reverted back in {back}"
            );
        }
        take(node, &new, shown, limit);
    }
    Ok(Reply::One(json!({"messages": [{"mode": shown, "modeDetails": details}]})))
}

/// The mode that is used, and its words.
fn resolve(
    mode: &str,
    changes: &Change,
    configured: bool,
) -> Result<(&'static str, &'static str), Status> {
    let reboot = !changes.needs_reboot.is_empty();
    let refuse = || {
        let text = format!(
            "this config change can't be applied in immediate mode\ndiff:\n{}",
            changes.needs_reboot
        );
        Err(invalid(text))
    };
    match mode {
        "STAGED" => Ok(("STAGED", STAGED)),
        "TRY" if reboot => refuse(),
        "TRY" => Ok(("TRY", LIVE)),
        _ if !configured => Ok(("NO_REBOOT", LIVE)),
        "REBOOT" => Ok(("REBOOT", REBOOT)),
        "NO_REBOOT" if reboot => refuse(),
        _ if reboot => Ok(("REBOOT", REBOOT)),
        _ => Ok(("NO_REBOOT", LIVE)),
    }
}

fn limit(request: &Value) -> Duration {
    let text = request.get("tryModeTimeout").and_then(Value::as_str).unwrap_or_default();
    match text.trim_end_matches('s').parse::<f64>() {
        Ok(seconds) if seconds > 0.0 => Duration::from_secs_f64(seconds),
        _ => Duration::from_mins(1),
    }
}

/// A duration as Go prints it, to the second.
fn go_duration(time: Duration) -> String {
    let all = time.as_secs();
    match (all / 3600, all / 60 % 60, all % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

fn take(node: &Arc<NodeInner>, new: &Config, mode: &str, limit: Duration) {
    if mode == "STAGED" {
        let text = new.encode();
        node.machine().persistent = Some(text.clone());
        node.write(|c| c.staged = Some(text));
        node.sync();
        return;
    }
    let was_configured = node.machine().config.v1alpha1().is_some();
    let old = {
        let mut machine = node.machine();
        let old = std::mem::replace(&mut machine.config, new.clone());
        machine.counters.applied += 1;
        if mode != "TRY" {
            machine.persistent = Some(new.encode());
        }
        let pending = machine.trial.take();
        if let Some((_, cancel)) = &pending {
            cancel.cancel();
        }
        match (mode, pending) {
            ("TRY", Some((first, _))) => first,
            _ => old,
        }
    };
    if mode == "TRY" {
        try_for(node, old, limit);
    } else if was_configured {
        let text = new.encode();
        // What was staged before is no more the last word.
        node.write(|c| (c.config, c.staged) = (Some(text), None));
    }
    if let Some(net) = node.net() {
        net.event(&node.uuid, NodeEventKind::ConfigApplied);
    }
    if mode == "REBOOT" {
        node.order(Order::Reboot(uuid::Uuid::new_v4().to_string()));
    }
    node.sync();
    node.wake.notify_one();
}

fn try_for(node: &Arc<NodeInner>, old: Config, limit: Duration) {
    let cancel = CancellationToken::new();
    node.machine().trial = Some((old.clone(), cancel.clone()));
    let node = Arc::clone(node);
    tokio::spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(limit) => {
                {
                    let mut machine = node.machine();
                    machine.config = old;
                    machine.trial = None;
                }
                node.sync();
            }
        }
    });
}
