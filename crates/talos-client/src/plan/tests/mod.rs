//! Plans, by example and by property.

mod apply;
mod kubernetes;
mod quorum;
mod upgrade;

use proptest::prelude::*;

use super::*;
use crate::api::{Alarm, Snapshot};
use crate::health::{Gap, NodeFacts, Observation};

pub(super) fn etcd(states: &[(&str, MemberState)], leader: u64) -> Etcd {
    let members = states.iter().zip(1..).map(|((name, state), id)| {
        Member::new(id, if *state == MemberState::NotStarted { "" } else { *name }, state.clone())
    });
    Etcd::new(members.collect(), (leader > 0).then_some(leader))
}

pub(super) fn well(count: usize) -> Etcd {
    let names = ["a", "b", "c", "d", "e"];
    let states: Vec<_> = names.into_iter().take(count).map(|n| (n, MemberState::Voting)).collect();
    etcd(&states, 1)
}

fn sick() -> MemberState {
    MemberState::Sick("down".into())
}

#[test]
fn a_member_stops_only_while_the_others_are_enough() {
    use MemberState::{Learner, Voting};
    assert_eq!(well(3).may_stop("b", false), Ok(()));
    let two = well(2).may_stop("a", false).unwrap_err();
    assert_eq!(two.reason, "etcd has 2 voting member(s): it stands still while a is gone");
    assert!(!two.waiting_helps);
    assert_eq!(well(1).may_stop("a", true), Ok(()));
    assert_eq!(well(2).may_stop("a", true), Ok(()));
    let one_down = etcd(&[("a", Voting), ("b", sick()), ("c", Voting)], 1);
    let why = one_down.may_stop("a", false).unwrap_err();
    assert_eq!(
        why.reason,
        "etcd would lose its quorum without a, since member b is not known to be well: down"
    );
    assert!(why.waiting_helps);
    assert_eq!(one_down.may_stop("b", false), Ok(()), "what is broken may be mended");
    assert_eq!(one_down.may_stop("worker", false), Ok(()), "no member");
    let unseen = MemberState::Unseen("no answer".into());
    let unseen = etcd(&[("a", Voting), ("b", unseen), ("c", Voting)], 1);
    assert!(unseen.may_stop("b", false).is_ok() && unseen.may_stop("a", false).is_err());
    let joining = etcd(&[("a", Voting), ("b", Voting), ("c", Voting), ("d", Learner)], 1);
    let why = joining.may_stop("a", false).unwrap_err();
    assert!(why.waiting_helps && why.reason.contains("d is not known to be well"), "{why}");
    assert!(joining.may_stop("d", false).is_ok());
    let alarm = well(3).alarms(vec![Alarm::NoSpace { member: 2 }]);
    assert!(alarm.may_stop("a", false).unwrap_err().reason.contains("alarm"));
}

#[test]
fn members_leave_are_removed_and_join_one_at_a_time() {
    use MemberState::{Learner, NotStarted, Voting};
    assert!(well(1).may_leave(1).unwrap_err().reason.contains("last voting member"));
    assert_eq!(well(2).may_leave(1), Ok(()));
    assert_eq!(well(3).may_leave(1), Ok(()));
    let down = etcd(&[("a", Voting), ("b", sick()), ("c", Voting)], 1);
    assert!(down.may_leave(1).is_err(), "one of two would be left well");
    assert_eq!(down.may_leave(2), Ok(()));
    assert!(down.may_leave(9).unwrap_err().reason.contains("no member"));
    assert_eq!(down.may_remove(2), Ok(()));
    assert!(down.may_remove(1).unwrap_err().reason.contains("leave by itself"));
    assert!(down.may_join().unwrap_err().waiting_helps);
    let lost = etcd(&[("a", Voting), ("b", sick()), ("c", sick())], 0);
    assert!(lost.may_remove(2).unwrap_err().reason.contains("restored from a snapshot"));
    assert_eq!(well(3).may_join(), Ok(()));
    assert!(etcd(&[("a", Voting), ("b", Learner)], 1).may_join().is_err());
    assert!(etcd(&[("a", Voting), ("b", NotStarted)], 1).may_join().is_err());
}

#[test]
fn what_was_observed_becomes_members() {
    let gap = Gap::new("no answer");
    let mut nodes: Vec<NodeFacts> =
        ["cp1", "cp2", "cp3"].iter().map(|name| NodeFacts::unknown(*name, true, &gap)).collect();
    nodes.push(NodeFacts::unknown("w1", false, &gap));
    let why = Etcd::of(&Observation { nodes: nodes.clone() }).unwrap_err();
    assert_eq!(why.reason, "the members of etcd are not known: no answer");
    let member = |id: u64| crate::api::EtcdMember {
        id,
        hostname: format!("cp{id}.example"),
        ..Default::default()
    };
    let members: Vec<_> = (1..=3).map(member).collect();
    for (node, member_id) in nodes.iter_mut().take(2).zip(1..) {
        node.etcd_members = Ok(members.clone());
        node.etcd_status =
            Ok(crate::api::EtcdStatus { member_id, leader: 2, ..Default::default() });
        node.etcd_alarms = Ok(Vec::new());
    }
    let seen = Etcd::of(&Observation { nodes: nodes.clone() }).unwrap();
    assert_eq!((seen.voters(), seen.well(), seen.quorum()), (3, 2, 2));
    assert_eq!(seen.leader_name(), Some("cp2.example"));
    assert!(seen.may_stop("cp1", false).is_err() && seen.may_stop("cp3", false).is_ok());
    nodes[1].etcd_status = Ok(crate::api::EtcdStatus::default());
    let seen = Etcd::of(&Observation { nodes: nodes.clone() }).unwrap();
    assert_eq!(seen.well(), 1);
    nodes[1].etcd_members = Ok(members[..2].to_vec());
    assert!(Etcd::of(&Observation { nodes }).unwrap_err().reason.contains("different members"));
}

#[test]
fn a_restoration_never_makes_a_second_cluster() {
    let snapshot = Snapshot { length: 2080, verified: true };
    let nodes = |states: &[EtcdData]| -> Vec<RestoreNode> {
        ["b", "a", "c"].iter().zip(states).map(|(n, s)| RestoreNode::new(*n, *s)).collect()
    };
    let empty = nodes(&[EtcdData::None, EtcdData::Stalled, EtcdData::None]);
    let steps = restore_steps(&empty, snapshot, None, false).unwrap();
    let text = |name: &str| name.to_owned();
    assert_eq!(
        steps,
        [
            RestoreStep::Wipe(text("a")),
            RestoreStep::WaitEmpty(text("a")),
            RestoreStep::WaitEmpty(text("b")),
            RestoreStep::WaitEmpty(text("c")),
            RestoreStep::Upload(text("a")),
            RestoreStep::Bootstrap { node: text("a"), skip_check: false },
            RestoreStep::WaitMember(text("a")),
            RestoreStep::WaitMember(text("b")),
            RestoreStep::WaitMember(text("c")),
            RestoreStep::WaitHealthy,
        ]
    );
    let bare = Snapshot { verified: false, ..snapshot };
    let steps = restore_steps(&empty, bare, Some("c"), false).unwrap();
    assert!(steps.contains(&RestoreStep::Bootstrap { node: text("c"), skip_check: true }));
    assert!(restore_steps(&empty, bare, Some("x"), false).is_err());
    assert!(restore_steps(&[], bare, None, false).is_err());
    assert!(restore_steps(&empty, Snapshot { length: 0, ..bare }, None, false).is_err());
    let works = nodes(&[EtcdData::Works, EtcdData::None, EtcdData::None]);
    assert!(restore_steps(&works, snapshot, None, false).is_err());
    let steps = restore_steps(&works, snapshot, None, true).unwrap();
    assert_eq!(steps[0], RestoreStep::Wipe(text("b")));
    let unsettled = nodes(&[EtcdData::Unsettled, EtcdData::None, EtcdData::None]);
    assert!(restore_steps(&unsettled, snapshot, None, false).unwrap_err().waiting_helps);
    assert_eq!(restore_steps(&unsettled, snapshot, None, true).unwrap(), steps);
    let unknown = nodes(&[EtcdData::Unknown, EtcdData::None, EtcdData::None]);
    assert!(restore_steps(&unknown, snapshot, None, true).unwrap_err().waiting_helps);
}

#[test]
fn a_lost_control_plane_is_removed_before_another_joins() {
    use MemberState::Voting;
    let down = etcd(&[("a", sick()), ("b", Voting), ("c", Voting)], 3);
    assert_eq!(
        replace_steps(&down, "a", "d").unwrap(),
        [
            ReplaceStep::RemoveMember { id: 1, through: "c".into() },
            ReplaceStep::DeleteNode("a".into()),
            ReplaceStep::Join("d".into()),
            ReplaceStep::WaitVoting("d".into()),
        ]
    );
    assert!(replace_steps(&down, "b", "d").is_err());
    let lost = etcd(&[("a", sick()), ("b", sick()), ("c", Voting)], 3);
    assert!(replace_steps(&lost, "a", "d").is_err());
    assert_eq!(
        retire_steps(&well(3), "a").unwrap(),
        [RetireStep::Forfeit, RetireStep::Leave, RetireStep::Reset, RetireStep::DeleteNode]
    );
    assert_eq!(retire_steps(&well(3), "b").unwrap().len(), 3);
    assert!(retire_steps(&well(1), "a").is_err());
}

fn any_state() -> impl Strategy<Value = MemberState> {
    prop_oneof![
        4 => Just(MemberState::Voting),
        1 => Just(MemberState::Learner),
        1 => Just(MemberState::NotStarted),
        1 => Just(MemberState::Sick("down".into())),
        1 => Just(MemberState::Unseen("no answer".into())),
    ]
}

proptest! {
    /// Whatever is allowed leaves a quorum of members that are well, if there was one.
    #[test]
    fn nothing_that_is_allowed_loses_the_quorum(states in prop::collection::vec(any_state(), 1..8)) {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let all: Vec<_> = names.into_iter().zip(states.iter().cloned()).collect();
        let etcd = etcd(&all, 0);
        let had = etcd.well() >= etcd.quorum();
        for ((name, state), id) in all.iter().zip(1..) {
            let is_well = usize::from(*state == MemberState::Voting);
            let votes = usize::from(!matches!(state, MemberState::Learner | MemberState::NotStarted));
            if had && etcd.may_stop(name, false).is_ok() {
                prop_assert!(etcd.well() - is_well >= etcd.quorum());
            }
            if etcd.may_leave(id).is_ok() {
                let stay = etcd.voters() - votes;
                prop_assert!(stay > 0 && etcd.well() - is_well > stay / 2);
            }
            if etcd.may_remove(id).is_ok() {
                prop_assert!(had && is_well == 0);
            }
        }
        if etcd.may_join().is_ok() {
            prop_assert_eq!(etcd.well(), etcd.members.len());
        }
    }
}
