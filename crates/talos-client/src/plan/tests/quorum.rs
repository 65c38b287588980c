//! The quorum as statuses, lists and alarms of real members tell it.

use super::{sick, well};
use crate::api::{Alarm, EtcdMember, EtcdStatus};
use crate::health::{Gap, NodeFacts, Observation};
use crate::plan::*;

fn row(id: u64, name: &str) -> EtcdMember {
    EtcdMember { id, hostname: name.into(), ..Default::default() }
}

fn says(member_id: u64, leader: u64, errors: &[&str]) -> EtcdStatus {
    let errors = errors.iter().map(|error| (*error).to_owned()).collect();
    EtcdStatus { member_id, leader, errors, ..Default::default() }
}

/// Control planes by their names and statuses; without one, the node does not answer.
fn seen(
    members: &[EtcdMember],
    nodes: &[(&str, Option<EtcdStatus>)],
    alarms: Option<&[Alarm]>,
) -> Etcd {
    let gap = Gap::new("no answer");
    let nodes = nodes.iter().map(|(name, status)| {
        let mut node = NodeFacts::unknown(*name, true, &gap);
        if let Some(status) = status {
            node.etcd_members = Ok(members.to_vec());
            node.etcd_status = Ok(status.clone());
            if let Some(alarms) = alarms {
                node.etcd_alarms = Ok(alarms.to_vec());
            }
        }
        node
    });
    Etcd::of(&Observation { nodes: nodes.collect() }).unwrap()
}

fn three() -> [EtcdMember; 3] {
    [row(1, "cp1"), row(2, "cp2"), row(3, "cp3")]
}

#[test]
fn an_alarm_of_all_members_stops_every_node() {
    let error = ["memberID:2 alarm:NOSPACE "];
    let nodes =
        [1, 2, 3].map(|id| (["cp1", "cp2", "cp3"][id - 1], Some(says(id as u64, 1, &error))));
    let alarm = [Alarm::NoSpace { member: 2 }];
    let etcd = seen(&three(), &nodes, Some(&alarm));
    assert_eq!((etcd.well(), etcd.leader_name()), (3, Some("cp1")));
    for name in ["cp1", "cp2", "cp3"] {
        let why = etcd.may_stop(name, true).unwrap_err();
        assert!(!why.waiting_helps && why.reason.contains("etcd has an alarm"), "{why}");
    }
    assert!(etcd.may_join().is_err());
    // A list that lacks what the statuses tell, or no list, is no knowledge.
    for list in [None, Some(&[][..])] {
        let etcd = seen(&three(), &nodes, list);
        let why = etcd.may_stop("cp1", true).unwrap_err();
        assert!(why.waiting_helps && why.reason.contains("not known"), "{why}");
    }
    let corrupt = seen(&three(), &nodes, Some(&[Alarm::Corrupt { member: 2 }]));
    assert_eq!(corrupt.well(), 2);
    assert!(corrupt.may_leave(1).is_err() && corrupt.may_leave(2).is_ok());
}

#[test]
fn during_an_election_no_node_stops() {
    for errors in [&[][..], &["etcdserver: no leader"]] {
        let nodes =
            [("cp1", Some(says(1, 0, errors))), ("cp2", Some(says(2, 0, errors))), ("cp3", None)];
        let etcd = seen(&three(), &nodes, Some(&[]));
        for name in ["cp1", "cp2", "cp3"] {
            let why = etcd.may_stop(name, false).unwrap_err();
            assert!(why.waiting_helps, "{name}: {why}");
        }
        assert!(etcd.may_stop("cp2", false).unwrap_err().reason.contains("no leader"));
    }
}

#[test]
fn a_member_that_is_not_well_waits_for_the_others() {
    let etcd = super::etcd(&[("a", sick()), ("b", sick()), ("c", MemberState::Voting)], 3);
    assert!(etcd.may_stop("a", false).unwrap_err().waiting_helps);
    // Where standing still is accepted, it may be mended.
    let two = super::etcd(&[("a", MemberState::Voting), ("b", sick())], 1);
    assert_eq!(two.may_stop("b", true), Ok(()));
    assert!(two.may_stop("b", false).is_err() && two.may_stop("a", true).is_err());
}

#[test]
fn a_node_made_again_does_not_stand_for_the_member_it_lost() {
    let members = [row(1, "cp1"), row(2, "cp2"), row(3, "cp3"), row(4, "cp1")];
    let nodes = [
        ("cp1", Some(says(4, 2, &[]))),
        ("cp2", Some(says(2, 2, &[]))),
        ("cp3", Some(says(3, 2, &[]))),
    ];
    let etcd = seen(&members, &nodes, Some(&[]));
    assert_eq!((etcd.voters(), etcd.well(), etcd.quorum()), (4, 3, 3));
    assert_eq!(etcd.member_of("cp1").map(|member| member.id), Some(4));
    for name in ["cp1", "cp2", "cp3"] {
        let why = etcd.may_stop(name, false).unwrap_err();
        assert!(why.waiting_helps && why.reason.contains("another member"), "{why}");
    }
    assert_eq!(etcd.may_remove(1), Ok(()));
    assert!(etcd.may_remove(4).unwrap_err().reason.contains("is well"));
    let steps = replace_steps(&etcd, "cp1", "cp1").unwrap();
    assert_eq!(steps[0], ReplaceStep::RemoveMember { id: 1, through: "cp2".into() });
}

#[test]
fn a_leader_is_found_by_its_name_with_a_domain() {
    let members = [row(1, "cp1.example"), row(2, "cp2.example"), row(3, "cp3.example")];
    let nodes = [1, 2, 3].map(|id| (["cp1", "cp2", "cp3"][id - 1], Some(says(id as u64, 1, &[]))));
    let etcd = seen(&members, &nodes, Some(&[]));
    let open = ["cp1", "cp2", "cp3"].map(|name| Candidate::new(name, true, "v1.13.8"));
    let waves = upgrade_order(&open, &etcd, "v1.13.9", 1, false).unwrap();
    assert_eq!(waves[2].nodes, ["cp1"]);
    assert!(waves[2].forfeit && !waves[0].forfeit);
    assert_eq!(retire_steps(&etcd, "cp1").unwrap()[0], RetireStep::Forfeit);
    assert_eq!(well(3).may_stop("b.example", false), Ok(()));
}
