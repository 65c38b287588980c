//! Paths, orders and steps of upgrades of Talos.

use proptest::prelude::*;

use super::super::*;
use super::{etcd, well};
use crate::config::{kubernetes_range, talos_range};

fn path(talos: &str, talos_to: &str, kubernetes: &str, kubernetes_to: &str) -> Vec<String> {
    let versions = Versions { talos, talos_to, kubernetes, kubernetes_to, ..Versions::default() };
    match upgrade_path(&versions) {
        Ok(hops) => hops.iter().map(ToString::to_string).collect(),
        Err(why) => vec![why.reason],
    }
}

#[test]
fn talos_goes_minor_by_minor_and_takes_kubernetes_along() {
    assert_eq!(
        path("v1.11.2", "v1.13.9", "1.34.1", ""),
        ["Talos v1.12.7", "Talos v1.13.9"],
        "Kubernetes 1.34 runs on all of them"
    );
    assert_eq!(
        path("v1.11.2", "v1.13.9", "1.34.1", "1.36.3"),
        ["Talos v1.12.7", "Talos v1.13.9", "Kubernetes v1.35.4", "Kubernetes v1.36.3"]
    );
    assert_eq!(path("1.13.8", "1.13.9", "1.36.0", ""), ["Talos v1.13.9"]);
    assert_eq!(path("1.13.9", "1.13.9", "1.36.0", "1.36.3"), ["Kubernetes v1.36.3"]);
    assert!(path("1.13.9", "v1.13.9", "", "").is_empty());
    assert_eq!(path("1.13.9", "1.12.7", "1.34.0", ""), ["Talos v1.12.7"]);
    let stops = Versions {
        talos: "1.11.0",
        talos_to: "1.14.1",
        kubernetes: "1.29.4",
        talos_stops: &["v1.12.9", "v1.12.11", "v1.12.12-beta.0", "v1.13.9"],
        kubernetes_stops: &["v1.30.1", "v1.31.2", "v1.31.3", "v1.32.1"],
        ..Versions::default()
    };
    let hops: Vec<String> = upgrade_path(&stops).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        hops,
        [
            "Kubernetes v1.30.1",
            "Talos v1.12.11",
            "Kubernetes v1.31.3",
            "Talos v1.13.9",
            "Kubernetes v1.32.1",
            "Talos v1.14.1",
        ]
    );
}

#[test]
fn a_way_that_does_not_exist_is_told() {
    for (case, says) in [
        (path("1.11.0", "1.12.0", "1.29.0", ""), "no release of Kubernetes 1.30 is known"),
        (path("1.13.0", "1.13.9", "1.36.0", "1.35.0"), "does not go back"),
        (path("1.13.0", "1.13.9", "1.36.0", "1.37.0"), "which runs 1.31 to 1.36"),
        (path("1.13.0", "1.15.0", "1.36.0", ""), "1.15 is not known"),
        (path("1.13.9", "1.12.0", "1.36.0", ""), "Talos 1.12 does not run Kubernetes 1.36.0"),
        (path("0.14.0", "1.11.0", "", ""), "is not known"),
        (path("1.8.0", "1.11.0", "", ""), "is not known"),
        (path("x", "1.11.0", "", ""), "is no version of Talos"),
        (path("1.13.0", "1.13.0", "", "1.36.0"), "is not named"),
    ] {
        assert!(case.len() == 1 && case[0].contains(says), "{case:?}: {says}");
    }
}

fn minor(hop: &Hop) -> u64 {
    match hop {
        Hop::Talos(version) | Hop::Kubernetes(version) => version.minor,
    }
}

proptest! {
    /// Every hop goes one minor version at most, and Talos always runs the Kubernetes there is.
    #[test]
    fn every_hop_is_one_that_is_allowed(
        talos in 11_u32..15, to in 11_u32..15, kubernetes in 29_u64..38, goal in prop::option::of(29_u64..38)
    ) {
        prop_assume!(kubernetes_range(talos).unwrap().contains(&kubernetes));
        let stops: Vec<String> = (29..38).map(|minor| format!("1.{minor}.5")).collect();
        let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
        let versions = Versions {
            talos: &format!("1.{talos}.0"),
            talos_to: &format!("1.{to}.3"),
            kubernetes: &format!("1.{kubernetes}.2"),
            kubernetes_to: &goal.map(|minor| format!("1.{minor}.7")).unwrap_or_default(),
            talos_stops: &["1.11.6", "1.12.11", "1.13.9", "1.14.0"],
            kubernetes_stops: &stops,
        };
        let Ok(hops) = upgrade_path(&versions) else {
            // Refusals are those of what is wanted, never of going up alone.
            prop_assert!(goal.is_some() || to < talos);
            return Ok(());
        };
        let (mut talos, mut kubernetes) = (talos, kubernetes);
        for hop in &hops {
            match hop {
                Hop::Talos(version) => {
                    let next = u32::try_from(version.minor).unwrap();
                    prop_assert!(next.abs_diff(talos) <= 1);
                    prop_assert!(talos_range(next).unwrap().contains(&talos));
                    talos = next;
                }
                Hop::Kubernetes(version) => {
                    prop_assert!((kubernetes..=kubernetes + 1).contains(&version.minor));
                    kubernetes = version.minor;
                }
            }
            prop_assert!(kubernetes_range(talos).unwrap().contains(&kubernetes), "{hops:?}");
        }
        prop_assert_eq!(talos, to);
        if let Some(goal) = goal {
            prop_assert_eq!(kubernetes, goal);
            let last = hops.iter().rev().find(|hop| matches!(hop, Hop::Kubernetes(_)));
            prop_assert!(last.is_none_or(|hop| minor(hop) == goal));
        }
    }

    /// Each node that is not there yet is upgraded once, control planes alone and first.
    #[test]
    fn every_node_has_its_turn(
        nodes in prop::collection::vec((any::<bool>(), 0_u8..3), 0..12), at_once in 0_usize..4, leader in 0_u64..4
    ) {
        let runs = ["v1.13.8", "v1.13.9", "v1.12.1"];
        let nodes: Vec<Candidate> = nodes
            .iter()
            .enumerate()
            .map(|(at, (control, runs_))| {
                Candidate::new(format!("n{at}"), *control, runs[usize::from(*runs_)])
            })
            .collect();
        let voting = MemberState::Voting;
        let states = [("n0", voting.clone()), ("n1", voting.clone()), ("n2", voting)];
        let etcd = etcd(&states, leader);
        let waves = upgrade_order(&nodes, &etcd, "1.13.9", at_once, false).unwrap();
        let mut seen: Vec<&String> = waves.iter().flat_map(|wave| &wave.nodes).collect();
        seen.sort();
        let mut open: Vec<&String> =
            nodes.iter().filter(|n| n.runs != "v1.13.9").map(|n| &n.name).collect();
        open.sort();
        prop_assert_eq!(seen, open);
        prop_assert!(waves.is_sorted_by_key(|wave| !wave.control_plane));
        for wave in &waves {
            let most = if wave.control_plane { 1 } else { at_once.max(1) };
            prop_assert!((1..=most).contains(&wave.nodes.len()));
            prop_assert!(!wave.forfeit || etcd.leader_name() == Some(wave.nodes[0].as_str()));
        }
        let control: Vec<_> = waves.iter().filter(|wave| wave.control_plane).collect();
        let leads = control.iter().position(|wave| wave.forfeit);
        prop_assert!(leads.is_none_or(|at| at + 1 == control.len()));
    }
}

#[test]
fn a_run_goes_on_where_it_was_and_the_leader_is_last() {
    let nodes = [
        Candidate::new("w2", false, "v1.12.7"),
        Candidate::new("a", true, "v1.12.7"),
        Candidate::new("b", true, "v1.13.9"),
        Candidate::new("c", true, "v1.12.7"),
        Candidate::new("w1", false, "v1.12.7"),
        Candidate::new("w3", false, "v1.12.7"),
    ];
    let waves = upgrade_order(&nodes, &well(3), "v1.13.9", 2, false).unwrap();
    let names: Vec<String> = waves.iter().map(|wave| wave.nodes.join("+")).collect();
    assert_eq!(names, ["c", "a", "w1+w2", "w3"]);
    assert!(waves[1].forfeit && !waves[0].forfeit);
    let why = upgrade_order(&nodes, &well(3), "v1.12.7", 1, false).unwrap_err();
    assert_eq!(why.reason, "b runs v1.13.9, which is newer than v1.12.7");
    assert_eq!(upgrade_order(&nodes, &well(3), "v1.12.7", 1, true).unwrap().len(), 1);
    let unknown = [Candidate::new("a", true, "")];
    assert!(upgrade_order(&unknown, &well(1), "v1.13.9", 1, false).unwrap_err().waiting_helps);
}

#[test]
fn the_newer_calls_leave_drain_and_reboot_to_the_client() {
    for (runs, way) in [
        ("v1.11.6", UpgradeWay::Node),
        ("v1.13.0-alpha.2", UpgradeWay::Node),
        ("v1.13.0-beta.0", UpgradeWay::Client),
        ("v1.13.9", UpgradeWay::Client),
        ("v1.14.0-rc.1", UpgradeWay::Client),
    ] {
        assert_eq!(UpgradeWay::of(runs), Ok(way), "{runs}");
    }
    use NodeStep::*;
    assert_eq!(
        upgrade_steps(UpgradeWay::Client, true, true, true),
        [
            AskQuorum,
            Pull,
            Cordon,
            Drain,
            AskQuorum,
            Install,
            AskQuorum,
            Forfeit,
            Reboot,
            WaitBoot,
            CheckVersion,
            WaitMember,
            WaitReady,
            Uncordon
        ]
    );
    assert_eq!(
        upgrade_steps(UpgradeWay::Node, false, false, false),
        [Upgrade, WaitBoot, CheckVersion]
    );
    assert_eq!(
        upgrade_steps(UpgradeWay::Node, true, true, true),
        [AskQuorum, Forfeit, Upgrade, WaitBoot, CheckVersion, WaitMember, WaitReady, Uncordon]
    );
}
