//! Switching machines on and off.

use std::time::Duration;

use serde_json::Value;

use super::Row;
use super::qemu::{absent, existing, free_of_lock};
use crate::sim::event::GuestEvent;
use crate::sim::fail::Fail;
use crate::sim::guest;
use crate::sim::reply::Call;
use crate::sim::state::{State, Vm};
use crate::sim::task::{Step, Work, once};

pub(super) const ROUTES: &[Row] = &[
    ("POST", "/nodes/{node}/qemu/{vmid}/status/start", start),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/stop", stop),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/shutdown", shutdown),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/reboot", reboot),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/reset", reset),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/suspend", suspend),
    ("POST", "/nodes/{node}/qemu/{vmid}/status/resume", resume),
];

fn unfound(vmid: u32, node: &str) -> String {
    format!("unable to find configuration file for VM {vmid} on node '{node}'")
}

fn on_node<'a>(state: &'a State, vmid: u32, node: &str) -> Result<&'a Vm, String> {
    state.vms.get(&vmid).filter(|vm| vm.node == node).ok_or_else(|| unfound(vmid, node))
}

fn skips(call: &Call<'_>) -> Result<bool, Fail> {
    if call.get("skiplock").is_none() {
        return Ok(false);
    }
    if call.user.user == "root@pam" && call.user.token.is_none() {
        return Ok(call.flag("skiplock"));
    }
    Err(Fail::param("skiplock", "Only root may use this option."))
}

/// A managed machine is only asked for a state: the task ends before anything happens.
fn by_manager(call: &mut Call<'_>, kind: &str, wanted: &'static str) -> Option<Value> {
    let vmid = call.vmid();
    call.state.ha.managed(vmid)?;
    let work = once(move |state, inner, _| {
        state.ha.request(vmid, wanted, inner.clock.now_ms());
        Ok(())
    });
    Some(call.start(kind, &vmid.to_string(), None, work))
}

fn start(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (vmid, node, skip) = (call.vmid(), call.node.clone(), skips(call)?);
    if let Some(upid) = by_manager(call, "hastart", "started") {
        return Ok(upid);
    }
    let lock = call.state.vms.contains_key(&vmid).then_some(vmid);
    Ok(call.start(
        "qmstart",
        &vmid.to_string(),
        lock,
        once(move |state, inner, _| {
            let vm = on_node(state, vmid, &node).map_err(|_| absent(vmid, &node))?;
            if !skip {
                free_of_lock(vm)?;
            }
            guest::start(state, inner, vmid)
        }),
    ))
}

fn stop(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (vmid, node) = (call.vmid(), call.node.clone());
    if call.flag("overrule-shutdown") {
        let id = vmid.to_string();
        let running =
            call.state.tasks.iter().filter(|(_, task)| {
                task.kind == "qmshutdown" && task.id == id && task.end.is_none()
            });
        let numbers: Vec<u64> = running.map(|(number, _)| *number).collect();
        let now = call.now();
        for number in numbers {
            call.state.task_end(number, "received interrupt", now);
        }
    }
    if let Some(upid) = by_manager(call, "hastop", "stopped") {
        return Ok(upid);
    }
    let lock = call.state.vms.contains_key(&vmid).then_some(vmid);
    Ok(call.start(
        "qmstop",
        &vmid.to_string(),
        lock,
        once(move |state, inner, _| {
            free_of_lock(on_node(state, vmid, &node)?)?;
            guest::stop(state, inner, vmid);
            Ok(())
        }),
    ))
}

/// The wait for a guest that was asked to power off; `then` runs when it did.
fn powerdown(vmid: u32, node: String, timeout: Duration, force: bool, restart: bool) -> Work {
    let mut deadline: Option<tokio::time::Instant> = None;
    Box::new(move |state, inner, _| {
        let vm = match on_node(state, vmid, &node) {
            Ok(vm) => vm,
            Err(text) => return Step::Done(Err(text)),
        };
        let running = vm.running.is_some();
        let Some(until) = deadline else {
            if let Err(text) = free_of_lock(vm) {
                return Step::Done(Err(text));
            }
            if !running {
                return Step::Done(Ok(()));
            }
            if vm.running.as_ref().is_some_and(|running| running.paused) {
                return Step::Done(Err("VM is paused - cannot shutdown".to_owned()));
            }
            guest::acpi(inner, &node, vmid);
            deadline = Some(tokio::time::Instant::now() + inner.clock.limit(timeout));
            return Step::Again(Duration::from_millis(5));
        };
        if !running {
            return Step::Done(if restart { guest::start(state, inner, vmid) } else { Ok(()) });
        }
        if tokio::time::Instant::now() < until {
            return Step::Again(Duration::from_millis(10));
        }
        if force {
            guest::stop(state, inner, vmid);
            return Step::Done(Ok(()));
        }
        Step::Done(Err("VM quit/powerdown failed - got timeout".to_owned()))
    })
}

fn limit(call: &Call<'_>) -> Duration {
    let down =
        call.state.vms.get(&call.vmid()).and_then(|vm| vm.conf.get("startup")).and_then(|text| {
            text.split(',').find_map(|part| part.strip_prefix("down=")?.parse::<u64>().ok())
        });
    Duration::from_secs(call.number("timeout").or(down).unwrap_or(60))
}

fn shutdown(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (vmid, node) = (call.vmid(), call.node.clone());
    let lock = call.state.vms.contains_key(&vmid).then_some(vmid);
    if let Some(upid) = by_manager(call, "hastop", "stopped") {
        return Ok(upid);
    }
    let work = powerdown(vmid, node, limit(call), call.flag("forceStop"), false);
    Ok(call.start("qmshutdown", &vmid.to_string(), lock, work))
}

/// The machine of a call that must run.
fn running(call: &Call<'_>) -> Result<u32, Fail> {
    let vmid = call.vmid();
    let vm = on_node(call.state, vmid, &call.node).map_err(Fail::die)?;
    if vm.running.is_none() {
        return Err(Fail::die(format!("VM {vmid} not running")));
    }
    Ok(vmid)
}

fn reboot(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = running(call)?;
    let node = call.node.clone();
    drop(call.inner.events.send(GuestEvent::Reboot { node: node.clone(), vmid }));
    let work = powerdown(vmid, node, limit(call), false, true);
    Ok(call.start("qmreboot", &vmid.to_string(), Some(vmid), work))
}

fn reset(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = running(call)?;
    let node = call.node.clone();
    Ok(call.start(
        "qmreset",
        &vmid.to_string(),
        Some(vmid),
        once(move |state, inner, _| {
            free_of_lock(on_node(state, vmid, &node)?)?;
            drop(inner.events.send(GuestEvent::Reset { node, vmid }));
            Ok(())
        }),
    ))
}

fn pause(call: &mut Call<'_>, kind: &str, paused: bool) -> Result<Value, Fail> {
    let vmid = running(call)?;
    existing(call)?;
    Ok(call.start(
        kind,
        &vmid.to_string(),
        Some(vmid),
        once(move |state, _, _| {
            if let Some(running) = state.vms.get_mut(&vmid).and_then(|vm| vm.running.as_mut()) {
                running.paused = paused;
            }
            Ok(())
        }),
    ))
}

fn suspend(call: &mut Call<'_>) -> Result<Value, Fail> {
    pause(call, "qmpause", true)
}

fn resume(call: &mut Call<'_>) -> Result<Value, Fail> {
    pause(call, "qmresume", false)
}
