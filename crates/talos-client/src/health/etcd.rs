//! The checks of etcd, which look at all control planes together.

use std::collections::BTreeSet;

use super::check::Problem;
use super::{Gap, NodeFacts};
use crate::api::{Alarm, EtcdMember};

fn control_planes(nodes: &[NodeFacts]) -> impl Iterator<Item = &NodeFacts> {
    nodes.iter().filter(|node| node.control_plane)
}

fn nobody() -> Vec<Problem> {
    vec![Problem::new("", Gap::ended("the cluster has no control plane"))]
}

/// What control planes say, and the problems of those that say nothing.
fn asked<'a, T>(
    nodes: &'a [NodeFacts],
    fact: impl Fn(&'a NodeFacts) -> &'a Result<T, Gap>,
) -> (Vec<(&'a str, &'a T)>, Vec<Problem>) {
    let (mut known, mut problems) = (Vec::new(), Vec::new());
    for node in control_planes(nodes) {
        match fact(node) {
            Ok(value) => known.push((node.name.as_str(), value)),
            Err(gap) => problems.push(Problem::new(&node.name, gap.clone())),
        }
    }
    (known, problems)
}

fn ids(members: &[EtcdMember]) -> BTreeSet<u64> {
    members.iter().map(|member| member.id).collect()
}

/// All control planes see the same members.
pub(super) fn consistent(nodes: &[NodeFacts]) -> Vec<Problem> {
    let (known, mut problems) = asked(nodes, |node| &node.etcd_members);
    if known.is_empty() && problems.is_empty() {
        return nobody();
    }
    let Some(((first, all), rest)) = known.split_first() else { return problems };
    for (name, members) in rest {
        let (here, there) = (ids(members), ids(all));
        if here == there {
            continue;
        }
        let gap = if here.is_disjoint(&there) {
            Gap::ended(format!("it is in another etcd cluster than {first}"))
        } else {
            Gap::new(format!(
                "it sees {} members of etcd, {first} sees {}",
                here.len(),
                there.len()
            ))
        };
        problems.push(Problem::new(name, gap));
    }
    problems
}

/// The members are the control planes, and all of them vote.
pub(super) fn members(nodes: &[NodeFacts]) -> Vec<Problem> {
    let (known, problems) = asked(nodes, |node| &node.etcd_members);
    let Some((_, members)) = known.first() else {
        return if problems.is_empty() { nobody() } else { problems };
    };
    let expected: BTreeSet<&str> = control_planes(nodes).map(|node| node.name.as_str()).collect();
    let mut problems = Vec::new();
    for member in *members {
        let name = member.hostname.as_str();
        let gap = match (name, member.is_learner) {
            // It was added and has not started.
            ("", _) => Gap::new(format!("member {:x} of etcd has not started", member.id)),
            (name, _) if !expected.contains(short(name)) && !expected.contains(name) => {
                Gap::ended(format!("{name} is a member of etcd, but no control plane"))
            }
            (_, true) => Gap::new("it is a learner of etcd: it does not vote yet"),
            _ => continue,
        };
        problems.push(Problem::new(name, gap));
    }
    for name in expected {
        let is_member =
            |member: &EtcdMember| member.hostname == name || short(&member.hostname) == name;
        if !members.iter().any(is_member) {
            problems.push(Problem::new(name, Gap::new("it is no member of etcd yet")));
        }
    }
    problems
}

/// A host name without its domain.
fn short(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// All members follow one leader.
pub(super) fn leader(nodes: &[NodeFacts]) -> Vec<Problem> {
    let (known, mut problems) = asked(nodes, |node| &node.etcd_status);
    if known.is_empty() && problems.is_empty() {
        return nobody();
    }
    let leaders: BTreeSet<u64> = known.iter().map(|(_, status)| status.leader).collect();
    for (name, status) in &known {
        if let Some(error) = status.errors.first() {
            problems.push(Problem::new(name, Gap::new(format!("etcd says: {error}"))));
        } else if status.leader == 0 {
            problems.push(Problem::new(name, Gap::new("etcd has no leader")));
        }
    }
    if problems.is_empty() && leaders.len() > 1 {
        let text = format!("members of etcd follow {} different leaders", leaders.len());
        problems.push(Problem::new("", Gap::new(text)));
    }
    problems
}

/// No alarm is on.
pub(super) fn alarms(nodes: &[NodeFacts]) -> Vec<Problem> {
    let (known, problems) = asked(nodes, |node| &node.etcd_alarms);
    let Some((_, alarms)) = known.first() else {
        return if problems.is_empty() { nobody() } else { problems };
    };
    let text = |alarm: &Alarm| match alarm {
        Alarm::NoSpace { member } => {
            format!("member {member:x} of etcd has reached its quota: nothing can be written")
        }
        Alarm::Corrupt { member } => format!("the data of member {member:x} of etcd is corrupt"),
        Alarm::Other { member, kind } => format!("member {member:x} of etcd has alarm {kind}"),
    };
    alarms.iter().map(|alarm| Problem::new("", Gap::ended(text(alarm)))).collect()
}
