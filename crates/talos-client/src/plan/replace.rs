//! Control planes that go: one that is lost and replaced, one that is taken out.

use super::quorum::same_host;
use super::{Etcd, MemberState, Refusal};

/// A step of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplaceStep {
    /// The member is removed, through a node that is well.
    RemoveMember {
        /// Number that etcd gave it.
        id: u64,
        /// Host name of the node that is asked for it.
        through: String,
    },
    /// Kubernetes forgets the node.
    DeleteNode(String),
    /// The new node gets its configuration; it joins etcd by itself and is never bootstrapped.
    Join(String),
    /// The new node is a voting member, no learner any more.
    WaitVoting(String),
}

/// What it takes to replace a control plane that will not come back. A new node may have the name of the
/// old one. The dead member goes first: while it counts, one more raises the number that must be well.
///
/// # Errors
/// The lost node is well, or there is no quorum without it: then only a snapshot helps.
pub fn replace_steps(etcd: &Etcd, lost: &str, new: &str) -> Result<Vec<ReplaceStep>, Refusal> {
    // A node that was made again under the name has a member of its own, which stays.
    let named = etcd.members.iter().filter(|member| same_host(&member.name, lost));
    let dead = named.max_by_key(|member| match member.state {
        MemberState::Voting => 0,
        MemberState::Unseen(_) | MemberState::Sick(_) => 2,
        _ => 1,
    });
    let id = dead.ok_or_else(|| no_member(lost))?.id;
    etcd.may_remove(id)?;
    let without: Vec<_> = etcd.members.iter().filter(|member| member.id != id).cloned().collect();
    let without = Etcd::new(without, etcd.leader);
    without.may_join()?;
    let through = without.leader_name().map(str::to_owned).or_else(|| {
        let first = without.members.iter().map(|member| member.name.clone()).min();
        first.filter(|name| !name.is_empty())
    });
    let through = through.ok_or_else(|| Refusal::now("no member of etcd is well"))?;
    Ok(vec![
        ReplaceStep::RemoveMember { id, through },
        ReplaceStep::DeleteNode(lost.to_owned()),
        ReplaceStep::Join(new.to_owned()),
        ReplaceStep::WaitVoting(new.to_owned()),
    ])
}

/// A step of taking a control plane out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetireStep {
    /// It gives up the leadership of etcd.
    Forfeit,
    /// It leaves etcd and deletes its data.
    Leave,
    /// It is wiped. It has left etcd: the reset does not do that once more.
    Reset,
    /// Kubernetes forgets it.
    DeleteNode,
}

/// What it takes to take a control plane out that is well.
///
/// # Errors
/// etcd would lose its quorum, or its last member.
pub fn retire_steps(etcd: &Etcd, name: &str) -> Result<Vec<RetireStep>, Refusal> {
    let id = etcd.member_of(name).ok_or_else(|| no_member(name))?.id;
    etcd.may_leave(id)?;
    let mut steps = Vec::new();
    if etcd.leader == Some(id) {
        steps.push(RetireStep::Forfeit);
    }
    steps.extend([RetireStep::Leave, RetireStep::Reset, RetireStep::DeleteNode]);
    Ok(steps)
}

fn no_member(name: &str) -> Refusal {
    Refusal::ever(format!("{name} is no member of etcd"))
}
