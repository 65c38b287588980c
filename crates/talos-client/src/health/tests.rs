//! Checks over facts, without a node.

use super::*;
use crate::api::{NodeStatus, ServiceEvent, Stage, StaticPod, Unmet};

fn service(id: &str) -> Service {
    Service { id: id.into(), state: "Running".into(), healthy: Some(true), ..Service::default() }
}

fn member(name: &str, id: u64) -> EtcdMember {
    EtcdMember { id, hostname: name.into(), ..EtcdMember::default() }
}

fn node(name: &str, control_plane: bool) -> NodeFacts {
    let mut services = vec![service("apid"), service("kubelet")];
    let mut node = NodeFacts::unknown(name, control_plane, &Gap::new("not asked"));
    if control_plane {
        services.push(service("etcd"));
        node.etcd_members = Ok(vec![member("cp1", 1), member("cp2", 2), member("cp3", 3)]);
        node.etcd_status = Ok(EtcdStatus { leader: 1, ..EtcdStatus::default() });
        node.etcd_alarms = Ok(Vec::new());
    }
    node.version = Ok(Version { tag: "v1.13.9".into(), ..Version::default() });
    node.status =
        Ok(MachineStatus { stage: Stage::Running, ready: true, ..MachineStatus::default() });
    node.services = Ok(services);
    node.memory = Ok(4 << 30);
    node.disks = Ok(vec![Disk { size: 10 << 30, system: true, ..Disk::default() }]);
    node.diagnostics = Ok(Vec::new());
    node.time_synced = Ok(true);
    node.kubernetes =
        Ok(Some(NodeStatus { name: name.into(), ready: true, ..NodeStatus::default() }));
    node.static_pods = Ok(vec![StaticPod { name: "kube-apiserver".into(), problem: None }]);
    node
}

fn cluster() -> Observation {
    let nodes = vec![node("cp1", true), node("cp2", true), node("cp3", true), node("w1", false)];
    Observation { nodes }
}

fn state(observation: &Observation, name: &str) -> State {
    check(observation).into_iter().find(|result| result.name == name).unwrap().state
}

fn waiting(reason: &str) -> State {
    State::Waiting(reason.to_owned())
}

fn failed(reason: &str) -> State {
    State::Failed(reason.to_owned())
}

#[test]
fn a_cluster_that_is_well_passes_every_check() {
    let results = check(&cluster());
    assert_eq!(results.len(), CHECKS.len());
    assert!(first_problem(&results, &[]).is_none(), "{results:?}");
}

#[test]
fn nobody_is_not_well() {
    assert!(matches!(state(&Observation::default(), "apid"), State::Failed(_)));
    let workers = Observation { nodes: vec![node("w1", false)] };
    let planes = ["etcd-service", "etcd-consistent", "etcd-members", "etcd-leader", "etcd-alarms"];
    for name in planes.into_iter().chain(["static-pods"]) {
        assert_eq!(state(&workers, name), failed("the cluster has no control plane"), "{name}");
    }
}

#[test]
fn each_reason_names_the_node() {
    let cases: [(&str, fn(&mut NodeFacts), State); 18] = [
        (
            "registered",
            |n| n.kubernetes = Ok(None),
            waiting("cp1: its kubelet has not registered it yet"),
        ),
        (
            "static-pods",
            |n| {
                let problem = Some("ImagePullBackOff".into());
                n.static_pods = Ok(vec![StaticPod { name: "kube-scheduler".into(), problem }]);
            },
            waiting("cp1: kube-scheduler: ImagePullBackOff"),
        ),
        (
            "static-pods",
            |n| n.static_pods = Ok(Vec::new()),
            waiting("cp1: it has no pods of a control plane yet"),
        ),
        (
            "schedulable",
            |n| {
                let status = NodeStatus { unschedulable: true, ..NodeStatus::default() };
                n.kubernetes = Ok(Some(status));
            },
            waiting("cp1: it is cordoned"),
        ),
        (
            "apid",
            |n| n.version = Err(Gap::new("read the version: cannot connect")),
            waiting("cp1: read the version: cannot connect"),
        ),
        (
            "apid",
            |n| n.version = Err(Gap::ended("read the version: not authorized")),
            failed("cp1: read the version: not authorized"),
        ),
        ("time", |n| n.time_synced = Ok(false), waiting("cp1: the time is not in sync")),
        (
            "memory",
            |n| n.memory = Ok(1 << 30),
            failed("cp1: it has 1024 MiB of memory, 1698 MiB are needed"),
        ),
        (
            "disk",
            |n| {
                n.disks = Ok(vec![Disk {
                    size: 5 << 30,
                    system: true,
                    dev_path: "/dev/sda".into(),
                    ..Disk::default()
                }])
            },
            failed("cp1: the system disk /dev/sda has 5120 MiB, 6144 MiB are needed"),
        ),
        (
            "disk",
            |n| n.disks = Ok(Vec::new()),
            waiting("cp1: Talos is not installed on a disk yet"),
        ),
        (
            "etcd-service",
            |n| {
                let events = vec![ServiceEvent {
                    message: "Running pre state".into(),
                    ..Default::default()
                }];
                let etcd =
                    Service { state: "Preparing".into(), healthy: None, events, ..service("etcd") };
                n.services = Ok(vec![etcd, service("kubelet")]);
            },
            waiting("cp1: etcd: Preparing: Running pre state"),
        ),
        (
            "etcd-service",
            |n| n.services = Ok(vec![service("kubelet")]),
            waiting("cp1: etcd is not there yet"),
        ),
        (
            "kubelet",
            |n| {
                let kubelet = Service {
                    healthy: Some(false),
                    health_message: "connection refused".into(),
                    ..service("kubelet")
                };
                n.services = Ok(vec![service("etcd"), kubelet]);
            },
            waiting("cp1: kubelet: Running: connection refused"),
        ),
        (
            "services",
            |n| {
                n.services =
                    Ok(vec![Service { state: "Waiting".into(), healthy: None, ..service("cri") }])
            },
            waiting("cp1: cri: Waiting"),
        ),
        (
            "boot",
            |n| {
                let unmet =
                    vec![Unmet { name: "services".into(), reason: "etcd not running".into() }];
                n.status = Ok(MachineStatus { stage: Stage::Booting, ready: false, unmet });
            },
            waiting("cp1: the machine is booting (services: etcd not running)"),
        ),
        (
            "ready",
            |n| {
                let unmet = vec![Unmet {
                    name: "nodeReady".into(),
                    reason: "node \"cp1\" is not ready".into(),
                }];
                n.status = Ok(MachineStatus { stage: Stage::Running, ready: false, unmet });
            },
            waiting("cp1: nodeReady: node \"cp1\" is not ready"),
        ),
        (
            "diagnostics",
            |n| n.diagnostics = Ok(vec!["kubelet-csr: waiting".into()]),
            waiting("cp1: kubelet-csr: waiting"),
        ),
        (
            "etcd-alarms",
            |n| n.etcd_alarms = Ok(vec![Alarm::NoSpace { member: 0x1f }]),
            failed("member 1f of etcd has reached its quota: nothing can be written"),
        ),
    ];
    for (name, change, expected) in cases {
        let mut observation = cluster();
        change(&mut observation.nodes[0]);
        assert_eq!(state(&observation, name), expected, "{name}");
        let results = check(&observation);
        assert!(results.iter().any(CheckResult::is_ok), "{name}");
    }
}

#[test]
fn etcd_has_the_members_it_should_have() {
    let mut observation = cluster();
    for node in &mut observation.nodes[..3] {
        let mut learner = member("cp3", 3);
        learner.is_learner = true;
        node.etcd_members = Ok(vec![member("cp1", 1), member("cp2", 2), learner]);
    }
    let expected = waiting("cp3: it is a learner of etcd: it does not vote yet");
    assert_eq!(state(&observation, "etcd-members"), expected);

    observation.nodes[0].etcd_members = Ok(vec![member("cp1", 1), member("", 2)]);
    let State::Waiting(text) = state(&observation, "etcd-members") else { panic!() };
    assert!(text.starts_with("member 2 of etcd has not started"), "{text}");
    assert!(text.contains("cp2: it is no member of etcd yet"), "{text}");

    observation.nodes[0].etcd_members = Ok(vec![member("cp1", 1), member("old", 9)]);
    let expected = failed("old: old is a member of etcd, but no control plane");
    assert_eq!(state(&observation, "etcd-members"), expected);
}

#[test]
fn two_clusters_are_not_one() {
    let mut observation = cluster();
    observation.nodes[1].etcd_members = Ok(vec![member("cp2", 77)]);
    let expected = failed("cp2: it is in another etcd cluster than cp1");
    assert_eq!(state(&observation, "etcd-consistent"), expected);
    observation.nodes[1].etcd_members = Ok(vec![member("cp1", 1), member("cp2", 2)]);
    let expected = waiting("cp2: it sees 2 members of etcd, cp1 sees 3");
    assert_eq!(state(&observation, "etcd-consistent"), expected);
}

#[test]
fn one_leader_is_followed() {
    let mut observation = cluster();
    observation.nodes[2].etcd_status = Ok(EtcdStatus { leader: 0, ..EtcdStatus::default() });
    assert_eq!(state(&observation, "etcd-leader"), waiting("cp3: etcd has no leader"));
    observation.nodes[2].etcd_status = Ok(EtcdStatus { leader: 2, ..EtcdStatus::default() });
    let expected = waiting("members of etcd follow 2 different leaders");
    assert_eq!(state(&observation, "etcd-leader"), expected);
    let errors = vec!["alarm".to_owned()];
    observation.nodes[2].etcd_status =
        Ok(EtcdStatus { leader: 1, errors, ..EtcdStatus::default() });
    assert_eq!(state(&observation, "etcd-leader"), waiting("cp3: etcd says: alarm"));
}

#[test]
fn a_large_cluster_tells_only_a_few_reasons() {
    let nodes = (1..=9).map(|number| node(&format!("w{number}"), false));
    let mut observation = Observation { nodes: nodes.collect() };
    for node in &mut observation.nodes {
        node.version = Err(Gap::new("no answer"));
    }
    let expected = waiting("w1: no answer; w2: no answer; w3: no answer; and 6 more");
    assert_eq!(state(&observation, "apid"), expected);
}

#[test]
fn what_waiting_does_not_help_is_told_first() {
    let mut observation = cluster();
    observation.nodes[0].time_synced = Ok(false);
    observation.nodes[1].memory = Ok(0);
    let results = check(&observation);
    assert_eq!(first_problem(&results, &[]).unwrap().name, "memory");
    assert_eq!(first_problem(&results, &["memory"]).unwrap().name, "time");
    assert!(first_problem(&results, &["memory", "time"]).is_none());
}
