//! A control plane is not disturbed while etcd needs it.

use futures_util::future::join_all;

use super::Hands;
use super::verdict::own;
use crate::compose::action::Action;
use crate::compose::reach::Opened;
use crate::engine::{Check, Impact, Step, StepError};
use crate::error::chain;
use crate::spec::site::{Node, Role};

impl Hands {
    /// What was found of a step, unless it is ready to disturb a control plane that etcd needs now.
    pub(super) async fn unless_needed(
        &self,
        step: &Step<Action>,
        (cluster, node): (&str, &str),
        found: Check,
    ) -> Result<Check, StepError> {
        if found != Check::Ready || step.impact < Impact::RestartService {
            return Ok(found);
        }
        let (cluster, node) = self.crew.node(cluster, node).map_err(own)?;
        if node.role != Role::ControlPlane || self.crew.secrets(cluster).map_err(own)?.is_none() {
            return Ok(found);
        }
        let opened = self.opened(cluster)?;
        let members = cluster.nodes.iter().filter(|node| node.role == Role::ControlPlane);
        let seen =
            join_all(members.map(|member| async {
                (member.name.as_str(), self.etcd_of(member, &opened).await)
            }))
            .await;
        Ok(needed(&node.name, &seen).map_or(found, Check::NotYet))
    }

    /// Whether the member of a node votes and follows a leader; why not.
    async fn etcd_of(&self, node: &Node, opened: &Opened) -> Result<(), String> {
        let address = self.crew.address(node).map_err(|error| chain(&error))?;
        let client = self.crew.talos(address, opened).await.map_err(|error| chain(&error))?;
        let status = client.etcd_status().await.map_err(|error| chain(&error))?;
        match status {
            _ if status.leader == 0 => Err("its etcd has no leader".to_owned()),
            _ if status.is_learner => Err("its etcd does not vote yet".to_owned()),
            _ => status.errors.into_iter().next().map_or(Ok(()), Err),
        }
    }
}

/// Why etcd cannot do without a member now; none when it can, and when waiting would not help: the
/// member is not well itself, or all the others are and still too few.
fn needed(name: &str, seen: &[(&str, Result<(), String>)]) -> Option<String> {
    let is_well = |member: &&(&str, Result<(), String>)| member.1.is_ok();
    let (this, others): (Vec<_>, Vec<_>) = seen.iter().partition(|(other, _)| *other == name);
    let well = others.iter().copied().filter(is_well).count();
    if !this.iter().copied().all(|member| member.1.is_ok()) || well > seen.len() / 2 {
        return None;
    }
    others.iter().find_map(|(other, state)| {
        let why = state.as_ref().err()?;
        Some(format!("etcd would lose its quorum, since {other} is not well: {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_spared_while_another_one_is_down() {
        let seen = |states: &[bool]| -> Vec<(&'static str, Result<(), String>)> {
            ["a", "b", "c", "d", "e"]
                .into_iter()
                .zip(states)
                .map(|(name, up)| (name, if *up { Ok(()) } else { Err("down".to_owned()) }))
                .collect()
        };
        let why = needed("a", &seen(&[true, false, true])).unwrap();
        assert_eq!(why, "etcd would lose its quorum, since b is not well: down");
        assert_eq!(needed("a", &seen(&[true, true, true])), None);
        assert_eq!(needed("a", &seen(&[true, false, true, true, true])), None);
        assert!(needed("a", &seen(&[true, false, false, true, true])).is_some());
        // The sick one itself may be mended, and one or two members can never be spared.
        assert_eq!(needed("b", &seen(&[true, false, true])), None);
        assert_eq!(needed("a", &seen(&[true])), None);
        assert_eq!(needed("a", &seen(&[true, true])), None);
    }
}
