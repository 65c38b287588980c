//! A control plane is not disturbed while etcd needs it.

use futures_util::future::join_all;
use talos_client::ErrorKind;
use talos_client::api::EtcdStatus;

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
        if !self.crew.lock_file().cluster(cluster.id).is_some_and(|pin| pin.etcd_started) {
            // There is no quorum to lose yet.
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

    /// Whether the member of a node votes and follows a leader.
    async fn etcd_of(&self, node: &Node, opened: &Opened) -> Member {
        let client = async {
            let address = self.crew.address(node).map_err(|error| chain(&error))?;
            self.crew.talos(address, opened).await.map_err(|error| chain(&error))
        };
        let status = match client.await {
            Ok(client) => client.etcd_status().await,
            Err(why) => return Member::Unseen(why),
        };
        match status {
            Err(error) if error.kind() == ErrorKind::Unreachable => Member::Unseen(chain(&error)),
            Err(error) => Member::Sick(chain(&error)),
            Ok(status) => Member::of(status),
        }
    }
}

/// What is known of a member of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    /// It votes and follows a leader.
    Well,
    /// Its node says that it does not.
    Sick(String),
    /// It may be well: its node cannot be asked, there is an election, or an alarm, which every
    /// member tells.
    Unseen(String),
}

impl Member {
    fn of(status: EtcdStatus) -> Self {
        let is_of_all = |error: &&String| error.contains("alarm:") || error.contains("no leader");
        if let Some(own) = status.errors.iter().find(|error| !is_of_all(error)) {
            Self::Sick(own.clone())
        } else if status.is_learner {
            Self::Sick("its etcd does not vote yet".to_owned())
        } else if let Some(error) = status.errors.into_iter().next() {
            Self::Unseen(error)
        } else if status.leader == 0 {
            Self::Unseen("its etcd has no leader".to_owned())
        } else {
            Self::Well
        }
    }

    /// Why it is not known to be well.
    fn problem(&self) -> Option<&str> {
        match self {
            Self::Well => None,
            Self::Sick(why) | Self::Unseen(why) => Some(why),
        }
    }
}

/// Why etcd cannot do without a member now; none when it can, and when waiting would not help: its
/// node says that the member is not well, or all the others are and still too few.
fn needed(name: &str, seen: &[(&str, Member)]) -> Option<String> {
    let (this, others): (Vec<_>, Vec<_>) = seen.iter().partition(|(other, _)| *other == name);
    let well = others.iter().filter(|(_, member)| *member == Member::Well).count();
    let is_sick = this.iter().any(|(_, member)| matches!(member, Member::Sick(_)));
    if is_sick || well > seen.len() / 2 {
        return None;
    }
    others.iter().find_map(|(other, member)| {
        let why = member.problem()?;
        Some(format!("etcd would lose its quorum, since {other} is not known to be well: {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_member_tells_makes_none_of_them_sick() {
        let of = |leader: u64, errors: &[&str]| {
            let mut status = EtcdStatus::default();
            status.leader = leader;
            status.errors = errors.iter().map(|&error| error.to_owned()).collect();
            Member::of(status)
        };
        assert_eq!(of(7, &[]), Member::Well);
        // An election, and an alarm: nobody may be stopped for them.
        let (voting, full) = (of(0, &["etcdserver: no leader"]), of(7, &["alarm:NOSPACE "]));
        for all in [voting, of(0, &[]), full] {
            assert!(matches!(all, Member::Unseen(_)), "{all:?}");
            let seen = ["a", "b", "c"].map(|name| (name, all.clone()));
            assert!(needed("a", &seen).is_some());
        }
        assert!(matches!(of(7, &["alarm:NOSPACE ", "mvcc: broken"]), Member::Sick(_)));
    }

    #[test]
    fn a_member_is_spared_while_another_one_is_down() {
        let member = |up: &bool| if *up { Member::Well } else { Member::Sick("down".to_owned()) };
        let seen = |states: &[bool]| -> Vec<(&'static str, Member)> {
            ["a", "b", "c", "d", "e"].into_iter().zip(states.iter().map(member)).collect()
        };
        let why = needed("a", &seen(&[true, false, true])).unwrap();
        assert_eq!(why, "etcd would lose its quorum, since b is not known to be well: down");
        assert_eq!(needed("a", &seen(&[true, true, true])), None);
        assert_eq!(needed("a", &seen(&[true, false, true, true, true])), None);
        assert!(needed("a", &seen(&[true, false, false, true, true])).is_some());
        // The sick one itself may be mended, and one or two members can never be spared.
        assert_eq!(needed("b", &seen(&[true, false, true])), None);
        assert_eq!(needed("a", &seen(&[true])), None);
        assert_eq!(needed("a", &seen(&[true, true])), None);
        // One that cannot be asked may be the one that counts.
        let unseen = || Member::Unseen("no answer".to_owned());
        assert!(needed("a", &[("a", unseen()), ("b", Member::Well), ("c", unseen())]).is_some());
        assert!(needed("a", &[("a", unseen()), ("b", unseen()), ("c", unseen())]).is_some());
        assert_eq!(needed("a", &[("a", unseen()), ("b", Member::Well), ("c", Member::Well)]), None);
        assert_eq!(needed("a", &[("a", unseen())]), None);
    }
}
