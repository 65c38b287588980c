//! etcd must keep its quorum: what may happen to a member, and when.

use std::collections::BTreeSet;

use super::Refusal;
use crate::api::Alarm;
use crate::health::Observation;

/// What is known of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberState {
    /// It votes and follows a leader.
    Voting,
    /// It does not vote yet.
    Learner,
    /// It was added and has not started.
    NotStarted,
    /// Its node says that it is not well, and why.
    Sick(String),
    /// Its node cannot be asked: it may be well.
    Unseen(String),
}

/// A member of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Number that etcd gave it.
    pub id: u64,
    /// Host name of its node; empty for one that has not started.
    pub name: String,
    /// What is known of it.
    pub state: MemberState,
}

impl Member {
    /// A member.
    pub fn new(id: u64, name: impl Into<String>, state: MemberState) -> Self {
        Self { id, name: name.into(), state }
    }

    fn votes(&self) -> bool {
        !matches!(self.state, MemberState::Learner | MemberState::NotStarted)
    }

    fn problem(&self) -> Option<String> {
        let why = match &self.state {
            MemberState::Voting => return None,
            MemberState::Learner => "it does not vote yet",
            MemberState::NotStarted => "it has not started",
            MemberState::Sick(why) | MemberState::Unseen(why) => why,
        };
        let name = if self.name.is_empty() { format!("{:x}", self.id) } else { self.name.clone() };
        Some(format!("member {name} is not known to be well: {why}"))
    }
}

/// etcd of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Etcd {
    /// Its members.
    pub members: Vec<Member>,
    /// Number of the leader; none if there is none, or it is not known.
    pub leader: Option<u64>,
    /// Alarms that are on.
    pub alarms: Vec<Alarm>,
}

impl Etcd {
    /// etcd of these members.
    pub fn new(members: Vec<Member>, leader: Option<u64>) -> Self {
        Self { members, leader, alarms: Vec::new() }
    }

    /// The same with alarms.
    #[must_use]
    pub fn alarms(mut self, alarms: Vec<Alarm>) -> Self {
        self.alarms = alarms;
        self
    }

    /// etcd as the control planes of a cluster see it.
    ///
    /// # Errors
    /// None of them tells its members, or they disagree: the cluster is changing, or there are two.
    pub fn of(observation: &Observation) -> Result<Self, Refusal> {
        let nodes: Vec<_> = observation.nodes.iter().filter(|node| node.control_plane).collect();
        let lists: Vec<_> =
            nodes.iter().filter_map(|node| node.etcd_members.as_ref().ok()).collect();
        let Some(first) = lists.first() else {
            let why = nodes.iter().find_map(|node| node.etcd_members.as_ref().err());
            let why = why.map_or("the cluster has no control plane", |gap| gap.reason.as_str());
            return Err(Refusal::now(format!("the members of etcd are not known: {why}")));
        };
        let ids = |list: &[crate::api::EtcdMember]| -> BTreeSet<u64> {
            list.iter().map(|member| member.id).collect()
        };
        if lists.iter().any(|list| ids(list) != ids(first)) {
            return Err(Refusal::now("the control planes see different members of etcd"));
        }
        let mut leaders = BTreeSet::new();
        let members = first.iter().map(|member| {
            let node = nodes.iter().find(|node| same_host(&node.name, &member.hostname));
            let state = match (member, node.map(|node| &node.etcd_status)) {
                (member, _) if member.hostname.is_empty() => MemberState::NotStarted,
                (member, _) if member.is_learner => MemberState::Learner,
                (_, None) => MemberState::Unseen("no node of the cluster has its name".to_owned()),
                (_, Some(Err(gap))) => MemberState::Unseen(gap.reason.clone()),
                (_, Some(Ok(status))) if status.is_learner => MemberState::Learner,
                (_, Some(Ok(status))) => match (status.errors.first(), status.leader) {
                    (Some(error), _) => MemberState::Sick(error.clone()),
                    (None, 0) => MemberState::Sick("it follows no leader".to_owned()),
                    (None, leader) => {
                        leaders.insert(leader);
                        MemberState::Voting
                    }
                },
            };
            Member::new(member.id, member.hostname.clone(), state)
        });
        let members = members.collect();
        let leader = if leaders.len() == 1 { leaders.first().copied() } else { None };
        let alarms = nodes.iter().find_map(|node| node.etcd_alarms.as_ref().ok());
        Ok(Self { members, leader, alarms: alarms.cloned().unwrap_or_default() })
    }

    /// How many vote.
    pub fn voters(&self) -> usize {
        self.members.iter().filter(|member| member.votes()).count()
    }

    /// How many vote and are known to be well.
    pub fn well(&self) -> usize {
        self.members.iter().filter(|member| member.state == MemberState::Voting).count()
    }

    /// How many have to be well for etcd to work.
    pub fn quorum(&self) -> usize {
        self.voters() / 2 + 1
    }

    /// Host name of the leader.
    pub fn leader_name(&self) -> Option<&str> {
        let leader = self.members.iter().find(|member| Some(member.id) == self.leader)?;
        Some(&leader.name)
    }

    fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| same_host(&member.name, name))
    }

    /// How many of the others vote and are well.
    fn others(&self, name: &str) -> usize {
        let other = |member: &&Member| {
            !same_host(&member.name, name) && member.state == MemberState::Voting
        };
        self.members.iter().filter(other).count()
    }

    fn first_problem(&self, except: &str) -> Option<String> {
        let others = self.members.iter().filter(|member| !same_host(&member.name, except));
        others.into_iter().find_map(Member::problem)
    }

    /// Whether a node may stop for a while: a reboot, an upgrade. `downtime` accepts that a cluster of
    /// one or two members stands still meanwhile.
    ///
    /// A node whose member is known not to be well may: there is nothing to lose, and something to mend.
    ///
    /// # Errors
    /// etcd would lose its quorum, or is being changed, or has an alarm.
    pub fn may_stop(&self, name: &str, downtime: bool) -> Result<(), Refusal> {
        let Some(member) = self.member(name) else { return Ok(()) };
        if matches!(member.state, MemberState::Sick(_)) {
            return Ok(());
        }
        if let Some(alarm) = self.alarms.first() {
            return Err(Refusal::ever(format!("etcd has an alarm: {alarm:?}")));
        }
        if member.votes() && self.voters() < 3 {
            if !downtime {
                let count = self.voters();
                return Err(Refusal::ever(format!(
                    "etcd has {count} voting member(s): it stands still while {name} is gone"
                )));
            }
            return self.first_problem(name).map_or(Ok(()), |why| Err(Refusal::now(why)));
        }
        let changing =
            self.members.iter().find(|other| !other.votes() && !same_host(&other.name, name));
        if let Some(why) = changing.and_then(Member::problem) {
            return Err(Refusal::now(format!("etcd is being changed: {why}")));
        }
        if self.others(name) >= self.quorum() {
            return Ok(());
        }
        let why = self.first_problem(name).unwrap_or_else(|| "too few members are well".to_owned());
        Err(Refusal::now(format!("etcd would lose its quorum without {name}, since {why}")))
    }

    /// Whether a member may leave for good.
    ///
    /// # Errors
    /// It is the last one, or those that stay are too few that are well.
    pub fn may_leave(&self, name: &str) -> Result<(), Refusal> {
        let Some(member) = self.member(name) else {
            return Err(Refusal::ever(format!("{name} is no member of etcd")));
        };
        let stay = self.voters().saturating_sub(usize::from(member.votes()));
        if stay == 0 {
            let text = format!("{name} is the last voting member of etcd: its data would be lost");
            return Err(Refusal::ever(text));
        }
        // Leaving is a change that the quorum of before has to agree on, and that of after to live on.
        if self.well() >= self.quorum() && self.others(name) > stay / 2 {
            return Ok(());
        }
        let why = self.first_problem(name).unwrap_or_else(|| "too few members are well".to_owned());
        Err(Refusal::now(format!("etcd would lose its quorum without {name}, since {why}")))
    }

    /// Whether a member may be removed by others: one whose node will not come back.
    ///
    /// # Errors
    /// It is well and has to leave by itself; or there is no quorum that could remove it, so that only
    /// a snapshot helps.
    pub fn may_remove(&self, name: &str) -> Result<u64, Refusal> {
        let Some(member) = self.member(name) else {
            return Err(Refusal::ever(format!("{name} is no member of etcd")));
        };
        if member.state == MemberState::Voting {
            return Err(Refusal::ever(format!(
                "the member of {name} is well: it can leave by itself"
            )));
        }
        let (well, quorum) = (self.well(), self.quorum());
        if well < quorum {
            return Err(Refusal::now(format!(
                "only {well} of {} voting members are well and {quorum} are needed to remove one: etcd has to be restored from a snapshot",
                self.voters()
            )));
        }
        Ok(member.id)
    }

    /// Whether a node may join now: one at a time, and not while another member is not well. It would
    /// raise the number that has to be well before it helps.
    ///
    /// # Errors
    /// Why not now.
    pub fn may_join(&self) -> Result<(), Refusal> {
        match self.members.iter().find_map(Member::problem) {
            Some(why) => {
                Err(Refusal::now(format!("no member can be added to etcd now, since {why}")))
            }
            None => Ok(()),
        }
    }
}

/// The same host, with or without its domain.
fn same_host(one: &str, other: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    !one.is_empty() && (one == other || short(one) == short(other))
}
