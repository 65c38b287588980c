//! etcd must keep its quorum: what may happen to a member, and when.

use std::collections::BTreeSet;

use super::Refusal;
use crate::api::{Alarm, EtcdStatus};
use crate::health::{NodeFacts, Observation};

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
    /// It votes, and follows no leader now: an election, or it is cut off.
    Leaderless,
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
            MemberState::Leaderless => "it follows no leader",
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
    /// Alarms that are on; none if they are not known.
    pub alarms: Option<Vec<Alarm>>,
}

impl Etcd {
    /// etcd of these members, with no alarm.
    pub fn new(members: Vec<Member>, leader: Option<u64>) -> Self {
        Self { members, leader, alarms: Some(Vec::new()) }
    }

    /// The same with alarms.
    #[must_use]
    pub fn alarms(mut self, alarms: Vec<Alarm>) -> Self {
        self.alarms = Some(alarms);
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
        let alarms = known_alarms(&nodes);
        let mut leaders = BTreeSet::new();
        let members = first.iter().map(|member| {
            let node = nodes.iter().find(|node| same_host(&node.name, &member.hostname));
            let state = match node.map(|node| &node.etcd_status) {
                _ if member.hostname.is_empty() => MemberState::NotStarted,
                _ if member.is_learner => MemberState::Learner,
                None => MemberState::Unseen("no node of the cluster has its name".to_owned()),
                Some(Err(gap)) => MemberState::Unseen(gap.reason.clone()),
                // A node that was made again has the name of the member that it lost.
                Some(Ok(status)) if status.member_id != member.id => {
                    MemberState::Unseen("its node has another member".to_owned())
                }
                Some(Ok(status)) => state_of(status, alarms.as_deref().unwrap_or_default()),
            };
            if let (MemberState::Voting, Some(Ok(status))) =
                (&state, node.map(|node| &node.etcd_status))
            {
                leaders.insert(status.leader);
            }
            Member::new(member.id, member.hostname.clone(), state)
        });
        let members = members.collect();
        let leader = if leaders.len() == 1 { leaders.first().copied() } else { None };
        Ok(Self { members, leader, alarms })
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

    /// The member that a node of this name has now. One that it had before may still be in the list.
    pub fn member_of(&self, name: &str) -> Option<&Member> {
        let named = self.members.iter().filter(|member| same_host(&member.name, name));
        named.min_by_key(|member| match member.state {
            MemberState::Voting => 0,
            MemberState::Unseen(_) => 2,
            _ => 1,
        })
    }

    fn member(&self, id: u64) -> Result<&Member, Refusal> {
        let found = self.members.iter().find(|member| member.id == id);
        found.ok_or_else(|| Refusal::ever(format!("{id:x} is no member of etcd")))
    }

    /// How many of the others vote and are well.
    fn others(&self, id: u64) -> usize {
        let other = |member: &&Member| member.id != id && member.state == MemberState::Voting;
        self.members.iter().filter(other).count()
    }

    fn first_problem(&self, except: u64) -> Option<String> {
        self.members.iter().filter(|member| member.id != except).find_map(Member::problem)
    }

    fn no_alarm(&self) -> Result<(), Refusal> {
        match self.alarms.as_ref().map(|alarms| alarms.first()) {
            Some(None) => Ok(()),
            Some(Some(alarm)) => Err(Refusal::ever(format!("etcd has an alarm: {alarm:?}"))),
            None => Err(Refusal::now("the alarms of etcd are not known")),
        }
    }

    fn lost_without(&self, member: &Member) -> Refusal {
        let why = self.first_problem(member.id);
        let why = why.unwrap_or_else(|| "too few members are well".to_owned());
        let name = &member.name;
        Refusal::now(format!("etcd would lose its quorum without {name}, since {why}"))
    }

    /// Whether a node may stop for a while: a reboot, an upgrade. `downtime` accepts that a cluster of
    /// one or two members stands still meanwhile.
    ///
    /// A node whose member is known not to be well may while the others are enough: there is nothing to
    /// lose, and something to mend.
    ///
    /// # Errors
    /// etcd would lose its quorum, or is being changed, or has an alarm, or it is not known whether it
    /// has one.
    pub fn may_stop(&self, name: &str, downtime: bool) -> Result<(), Refusal> {
        let Some(member) = self.member_of(name) else { return Ok(()) };
        // An alarm is on for all members, whatever their own states are.
        self.no_alarm()?;
        let are_enough = self.others(member.id) >= self.quorum();
        if matches!(member.state, MemberState::Sick(_)) && are_enough {
            return Ok(());
        }
        // An election ends within seconds, and tells who is well.
        if member.state == MemberState::Leaderless && !are_enough {
            return Err(Refusal::now(format!("etcd of {name} has no leader")));
        }
        if member.votes() && self.voters() < 3 {
            if !downtime {
                let count = self.voters();
                return Err(Refusal::ever(format!(
                    "etcd has {count} voting member(s): it stands still while {name} is gone"
                )));
            }
            return self.first_problem(member.id).map_or(Ok(()), |why| Err(Refusal::now(why)));
        }
        let changing = self.members.iter().find(|other| !other.votes() && other.id != member.id);
        if let Some(why) = changing.and_then(Member::problem) {
            return Err(Refusal::now(format!("etcd is being changed: {why}")));
        }
        if are_enough { Ok(()) } else { Err(self.lost_without(member)) }
    }

    /// Whether a member may leave for good.
    ///
    /// # Errors
    /// There is none of this number, or it is the last one, or those that stay are too few that are well.
    pub fn may_leave(&self, id: u64) -> Result<(), Refusal> {
        let member = self.member(id)?;
        let stay = self.voters().saturating_sub(usize::from(member.votes()));
        if stay == 0 {
            let name = &member.name;
            let text = format!("{name} is the last voting member of etcd: its data would be lost");
            return Err(Refusal::ever(text));
        }
        // Leaving is a change that the quorum of before has to agree on, and that of after to live on.
        if self.well() >= self.quorum() && self.others(id) > stay / 2 {
            return Ok(());
        }
        Err(self.lost_without(member))
    }

    /// Whether a member may be removed by others: one whose node will not come back.
    ///
    /// # Errors
    /// There is none of this number; it is well and has to leave by itself; or there is no quorum that
    /// could remove it, so that only a snapshot helps.
    pub fn may_remove(&self, id: u64) -> Result<(), Refusal> {
        let member = self.member(id)?;
        if member.state == MemberState::Voting {
            return Err(Refusal::ever(format!(
                "the member of {} is well: it can leave by itself",
                member.name
            )));
        }
        let (well, quorum) = (self.well(), self.quorum());
        if well < quorum {
            return Err(Refusal::now(format!(
                "only {well} of {} voting members are well and {quorum} are needed to remove one: etcd has to be restored from a snapshot",
                self.voters()
            )));
        }
        Ok(())
    }

    /// Whether a node may join now: one at a time, and not while another member is not well. It would
    /// raise the number that has to be well before it helps.
    ///
    /// # Errors
    /// Why not now.
    pub fn may_join(&self) -> Result<(), Refusal> {
        self.no_alarm()?;
        match self.members.iter().find_map(Member::problem) {
            Some(why) => {
                Err(Refusal::now(format!("no member can be added to etcd now, since {why}")))
            }
            None => Ok(()),
        }
    }
}

/// What a member says of itself, once its number is known to be right. That there is an alarm, or no
/// leader, is an error of every member, and does not say that this one is not well.
fn state_of(status: &EtcdStatus, alarms: &[Alarm]) -> MemberState {
    let is_corrupt =
        |alarm: &Alarm| matches!(alarm, Alarm::Corrupt { member } if *member == status.member_id);
    let own = status.errors.iter().find(|error| !is_alarm(error) && !error.contains(NO_LEADER));
    if let Some(error) = own {
        MemberState::Sick(error.clone())
    } else if alarms.iter().any(is_corrupt) {
        MemberState::Sick("its data is corrupt".to_owned())
    } else if status.is_learner {
        MemberState::Learner
    } else if status.leader == 0 || !status.errors.iter().all(|error| is_alarm(error)) {
        MemberState::Leaderless
    } else {
        MemberState::Voting
    }
}

/// What etcd says while it elects.
const NO_LEADER: &str = "no leader";

/// An alarm among the errors of a status has the text form of its message.
fn is_alarm(error: &str) -> bool {
    error.contains("alarm:")
}

/// The alarms that any of the nodes tells; none if no node tells any list, or one has an alarm among
/// its errors that no list has.
fn known_alarms(nodes: &[&NodeFacts]) -> Option<Vec<Alarm>> {
    let mut known: Option<Vec<Alarm>> = None;
    for list in nodes.iter().filter_map(|node| node.etcd_alarms.as_ref().ok()) {
        let known = known.get_or_insert_default();
        known.extend(
            list.iter().filter(|alarm| !known.contains(alarm)).copied().collect::<Vec<_>>(),
        );
    }
    let statuses = nodes.iter().filter_map(|node| node.etcd_status.as_ref().ok());
    let is_told = statuses.into_iter().flat_map(|status| &status.errors).any(|e| is_alarm(e));
    known.filter(|known| !known.is_empty() || !is_told)
}

/// The same host, with or without its domain.
pub(super) fn same_host(one: &str, other: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    !one.is_empty() && (one == other || short(one) == short(other))
}
