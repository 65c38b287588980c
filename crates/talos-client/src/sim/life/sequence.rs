//! What a node tells of its work while it boots, installs, stops: sequences of phases of tasks, in their order.

use serde_json::json;

use super::super::node::NodeInner;

/// Phases with their tasks, each of which starts and stops.
type Phases = &'static [(&'static str, &'static [&'static str])];

/// Before services run that a configuration names.
const BEFORE_CONFIG: Phases = &[("usb", &["waitForUSB"]), ("meta", &["reloadMeta"])];

/// A boot with a configuration.
const BOOT: Phases = &[
    ("diskSizeCheck", &["diskSizeCheck"]),
    ("env", &["waitForCARoots", "setUserEnvVars"]),
    ("dbus", &["startDBus"]),
    ("ephemeral", &["mountEphemeralPartition"]),
    ("udevSetup", &["writeUdevRules"]),
    ("userDisks", &["mountUserDisks"]),
    ("userSetup", &["writeUserFiles"]),
];

/// After an installer has done its work.
const INSTALLED: Phases = &[
    ("meta", &["reloadMeta"]),
    ("saveMeta", &["flushMeta"]),
    ("volumeFinalize", &["teardownLifecycle"]),
];

/// What follows when the services of a boot are stopped.
const STOP: Phases = &[
    ("umount", &["unmountPodMounts"]),
    ("unmountBind", &["unmountSystemDiskBindMounts"]),
    ("unmountSystem", &["unmountEphemeralPartition"]),
    ("volumeFinalize", &["teardownLifecycle"]),
];

/// Services that run before there is a configuration, as their states follow each other.
const EARLY: &[(&str, &str, &str, Health)] = &[
    ("containerd", "STARTING", STARTING, Health::Unknown),
    ("containerd", "PREPARING", PRE, Health::Unknown),
    ("containerd", "PREPARING", RUNNER, Health::Unknown),
    ("machined", "STARTING", STARTING, Health::Unknown),
    ("machined", "PREPARING", PRE, Health::Unknown),
    ("machined", "PREPARING", RUNNER, Health::Unknown),
    ("apid", "STARTING", STARTING, Health::Unknown),
    (
        "apid",
        "WAITING",
        "Waiting for service \"containerd\" to be \"up\", api certificates, config to be ready",
        Health::Unknown,
    ),
    ("udevd", "STARTING", STARTING, Health::Unknown),
    ("udevd", "PREPARING", PRE, Health::Unknown),
    ("auditd", "STARTING", STARTING, Health::Unknown),
    ("auditd", "PREPARING", PRE, Health::Unknown),
    ("auditd", "PREPARING", RUNNER, Health::Unknown),
    ("machined", "RUNNING", GOROUTINE, Health::Unknown),
    ("auditd", "RUNNING", GOROUTINE, Health::Unknown),
    ("syslogd", "STARTING", STARTING, Health::Unknown),
    ("syslogd", "WAITING", "Waiting for service \"machined\" to be \"up\"", Health::Unknown),
    (
        "containerd",
        "RUNNING",
        "Process Process([\"/bin/containerd\"]) started with PID 240",
        Health::Unknown,
    ),
    ("udevd", "PREPARING", RUNNER, Health::Unknown),
    (
        "udevd",
        "RUNNING",
        "Process Process([\"/sbin/systemd-udevd\"]) started with PID 250",
        Health::Unknown,
    ),
    ("machined", "RUNNING", HEALTHY, Health::Good),
    ("auditd", "RUNNING", HEALTHY, Health::Good),
    ("syslogd", "PREPARING", PRE, Health::Unknown),
    ("syslogd", "PREPARING", RUNNER, Health::Unknown),
    ("syslogd", "RUNNING", GOROUTINE, Health::Unknown),
    ("syslogd", "RUNNING", HEALTHY, Health::Good),
    ("containerd", "RUNNING", HEALTHY, Health::Good),
    ("apid", "WAITING", "Waiting for api certificates, config to be ready", Health::Unknown),
    ("udevd", "RUNNING", HEALTHY, Health::Good),
];

const STARTING: &str = "Starting service";
const PRE: &str = "Running pre state";
const RUNNER: &str = "Creating service runner";
const GOROUTINE: &str = "Service started as goroutine";
const HEALTHY: &str = "Health check successful";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Unknown,
    Good,
}

fn phases(node: &NodeInner, list: Phases) {
    list.iter().for_each(|(name, tasks)| node.log.phase(name, tasks));
}

/// A phase or a task starts.
fn start(node: &NodeInner, kind: &str, key: &str, name: &str) {
    node.log.add(kind, json!({key: name, "action": "START"}));
}

fn stop(node: &NodeInner, kind: &str, key: &str, name: &str) {
    node.log.add(kind, json!({key: name, "action": "STOP"}));
}

fn open(node: &NodeInner, phase: &str, task: &str) {
    start(node, "PhaseEvent", "phase", phase);
    start(node, "TaskEvent", "task", task);
}

fn shut(node: &NodeInner, phase: &str, task: &str) {
    stop(node, "TaskEvent", "task", task);
    stop(node, "PhaseEvent", "phase", phase);
}

/// From power-on to the point where a configuration is looked for.
pub(super) fn power_on(node: &NodeInner) {
    node.log.sequence("initialize", "START");
    open(node, "systemRequirements", "enforceKSPPRequirements");
    node.log.add("MachineStatusEvent", json!({"status": {"ready": true}}));
    node.stage("booting");
    shut(node, "systemRequirements", "enforceKSPPRequirements");
    start(node, "PhaseEvent", "phase", "earlyServices");
    let tasks = [
        "startContainerd",
        "startUdevd",
        "startMachined",
        "startApid",
        "startAuditd",
        "startSyslogd",
    ];
    tasks.iter().for_each(|task| start(node, "TaskEvent", "task", task));
    for (service, action, message, health) in EARLY {
        let health = match health {
            Health::Unknown => json!({"unknown": true}),
            Health::Good => json!({"healthy": true}),
        };
        node.log.service(service, action, message, health);
    }
    let ends = [
        "startApid",
        "startAuditd",
        "startSyslogd",
        "startMachined",
        "startContainerd",
        "startUdevd",
    ];
    ends.iter().for_each(|task| stop(node, "TaskEvent", "task", task));
    stop(node, "PhaseEvent", "phase", "earlyServices");
    phases(node, BEFORE_CONFIG);
    open(node, "config", "loadConfig");
}

/// Without a configuration the task that looks for one waits.
pub(super) fn wait_for_config(node: &NodeInner) {
    start(node, "TaskEvent", "task", "runningMaintenance");
}

/// The configuration is there.
pub(super) fn config_found(node: &NodeInner, waited: bool) {
    if waited {
        stop(node, "TaskEvent", "task", "runningMaintenance");
    }
    shut(node, "config", "loadConfig");
    node.log.sequence("initialize", "STOP");
}

/// The installer begins.
pub(super) fn install(node: &NodeInner) {
    node.log.sequence("install", "START");
    node.log.phase("env", &["setUserEnvVars"]);
    open(node, "install", "install");
    node.stage("installing");
}

/// It is done, and all is stopped.
pub(super) fn installed(node: &NodeInner) {
    shut(node, "install", "install");
    phases(node, INSTALLED);
    open(node, "stopEverything", "stopAllServices");
}

/// It failed.
pub(super) fn install_failed(node: &NodeInner, why: &str) {
    shut(node, "install", "install");
    node.log.sequence("install", "STOP");
    let error = json!({"message": why});
    node.log.add("SequenceEvent", json!({"sequence": "install", "error": error}));
}

/// A boot with a configuration, until its services are started.
pub(super) fn boot(node: &NodeInner) {
    // On an installed machine there is nothing to install.
    node.log.sequence("install", "START");
    node.log.sequence("install", "STOP");
    node.log.sequence("boot", "START");
    open(node, "memorySizeCheck", "memorySizeCheck");
    node.stage("booting");
    shut(node, "memorySizeCheck", "memorySizeCheck");
    phases(node, BOOT);
    open(node, "startEverything", "startAllServices");
}

/// All services run.
pub(super) fn booted(node: &NodeInner) {
    shut(node, "startEverything", "startAllServices");
    node.log.sequence("boot", "STOP");
}

/// What ends a boot begins: the node cleans up.
pub(super) fn begin_end(node: &NodeInner, name: &str, stage: &str, actor: &str) {
    node.log.act_for(actor);
    node.log.sequence(name, "START");
    if name == "shutdown" {
        node.log.phase("storeShutdown", &["storeShutdownEmergency"]);
    }
    if name == "reset" {
        node.stage(stage);
    }
    start(node, "PhaseEvent", "phase", "cleanup");
    start(node, "TaskEvent", "task", "stopAllPods");
    if name != "reset" {
        node.stage(stage);
    }
    stopping(node, "kubelet");
}

/// It goes on to the point where nothing answers any more.
pub(super) fn end(node: &NodeInner, name: &str) {
    finished(node, "kubelet");
    shut(node, "cleanup", "stopAllPods");
    node.log.phase("dbus", &["stopDBus"]);
    if name == "reset" {
        node.log.phase("preReset", &["sendResetSignal"]);
    }
    open(node, "stopServices", "stopServicesForUpgrade");
    stopping(node, "etcd");
    stopping(node, "trustd");
    finished(node, "trustd");
    finished(node, "etcd");
    stopping(node, "cri");
    finished(node, "cri");
    shut(node, "stopServices", "stopServicesForUpgrade");
    phases(node, STOP);
    if name != "shutdown" {
        node.log.phase("kexec", &["kexecPrepare"]);
    }
    open(node, "stopEverything", "stopAllServices");
    ["syslogd", "udevd", "apid", "auditd"].iter().for_each(|id| stopping(node, id));
}

/// A service is told to stop, if it runs.
fn stopping(node: &NodeInner, id: &str) {
    let state = node.machine().services.get(id).map(|service| service.state.clone());
    if matches!(state.as_deref(), Some("Running" | "Preparing")) {
        let message = match id {
            "syslogd" | "auditd" => "Service stopping".to_owned(),
            "cri" => "Sending SIGTERM to Process([\"/bin/containerd\"])".to_owned(),
            "udevd" => "Sending SIGTERM to Process([\"/sbin/systemd-udevd\"])".to_owned(),
            _ => format!("Sending SIGTERM to task {id} (PID 300, container {id})"),
        };
        node.service(id, "Stopping", None, &message);
    }
}

/// A service that was told to stop has.
fn finished(node: &NodeInner, id: &str) {
    let state = node.machine().services.get(id).map(|service| service.state.clone());
    if state.as_deref() == Some("Stopping") {
        node.service(id, "Finished", None, "Service finished successfully");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_services_end_healthy_but_the_one_that_waits() {
        let last = |name: &str| {
            EARLY.iter().rev().find(|row| row.0 == name).map(|row| (row.1, row.3 == Health::Good))
        };
        for name in ["containerd", "machined", "auditd", "syslogd", "udevd"] {
            assert_eq!(last(name), Some(("RUNNING", true)), "{name}");
        }
        assert_eq!(last("apid"), Some(("WAITING", false)));
    }
}
