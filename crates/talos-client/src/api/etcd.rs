//! etcd of a control plane.

use crate::client::{Client, Envelope as _, call};
use crate::error::Error;
use crate::proto::machine::{self, etcd_member_alarm::AlarmType};

/// A member of etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EtcdMember {
    /// Number that etcd gave it.
    pub id: u64,
    /// Host name of the node.
    pub hostname: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started.
    pub client_urls: Vec<String>,
    /// It does not vote yet.
    pub is_learner: bool,
}

/// Status of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EtcdStatus {
    /// Number of the member.
    pub member_id: u64,
    /// Version of etcd.
    pub protocol_version: String,
    /// Version of the stored data.
    pub storage_version: String,
    /// Bytes of the database's file.
    pub db_size: i64,
    /// Bytes in use of it.
    pub db_size_in_use: i64,
    /// Number of the leader; 0 if there is none.
    pub leader: u64,
    /// Position of the log.
    pub raft_index: u64,
    /// Term of the log.
    pub raft_term: u64,
    /// Position up to which the log has taken effect.
    pub raft_applied_index: u64,
    /// What is wrong with it.
    pub errors: Vec<String>,
    /// It does not vote yet.
    pub is_learner: bool,
}

/// An alarm of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alarm {
    /// The database has reached its quota: etcd takes no more writes.
    NoSpace {
        /// Number of the member.
        member: u64,
    },
    /// The data of a member is corrupt.
    Corrupt {
        /// Number of the member.
        member: u64,
    },
    /// One that is not known here.
    Other {
        /// Number of the member.
        member: u64,
        /// Number of the kind.
        kind: i32,
    },
}

impl Client {
    /// The members of etcd, as the cluster sees them.
    ///
    /// A control plane that waits for its bootstrap does not answer: the time limit of calls to
    /// etcd passes, and the error is a [`Timeout`](crate::ErrorKind::Timeout).
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn etcd_members(&self) -> Result<Vec<EtcdMember>, Error> {
        let request = machine::EtcdMemberListRequest { query_local: false };
        let answer = self.ask::<_, machine::EtcdMemberListResponse>(&call::ETCD_MEMBERS, request);
        Ok(answer.await?.members.into_iter().map(member).collect())
    }

    /// Status of this node's member.
    ///
    /// # Errors
    /// As for [`Client::etcd_members`].
    pub async fn etcd_status(&self) -> Result<EtcdStatus, Error> {
        let answer = self.ask::<_, machine::EtcdStatusResponse>(&call::ETCD_STATUS, ()).await?;
        let wire = answer
            .member_status
            .ok_or_else(|| self.odd(&call::ETCD_STATUS, "the answer has no status"))?;
        Ok(EtcdStatus {
            member_id: wire.member_id,
            protocol_version: wire.protocol_version,
            storage_version: wire.storage_version,
            db_size: wire.db_size,
            db_size_in_use: wire.db_size_in_use,
            leader: wire.leader,
            raft_index: wire.raft_index,
            raft_term: wire.raft_term,
            raft_applied_index: wire.raft_applied_index,
            errors: wire.errors,
            is_learner: wire.is_learner,
        })
    }

    /// Alarms of all members.
    ///
    /// # Errors
    /// As for [`Client::etcd_members`].
    pub async fn etcd_alarms(&self) -> Result<Vec<Alarm>, Error> {
        // One element a member: the envelope is that of etcd here.
        let answer =
            self.unary::<_, machine::EtcdAlarmListResponse>(&call::ETCD_ALARMS, ()).await?;
        let alarms = answer.items().into_iter().flat_map(|item| item.member_alarms);
        Ok(alarms.filter_map(alarm).collect())
    }

    /// Disarms all alarms; gives those that were on.
    ///
    /// # Errors
    /// As for [`Client::etcd_members`].
    pub async fn etcd_disarm(&self) -> Result<Vec<Alarm>, Error> {
        let answer =
            self.unary::<_, machine::EtcdAlarmDisarmResponse>(&call::ETCD_DISARM, ()).await?;
        let alarms = answer.items().into_iter().flat_map(|item| item.member_alarms);
        Ok(alarms.filter_map(alarm).collect())
    }

    /// Defragments the database of this node's member, which does not answer meanwhile.
    ///
    /// # Errors
    /// As for [`Client::etcd_members`].
    pub async fn etcd_defragment(&self) -> Result<(), Error> {
        self.ask::<_, machine::EtcdDefragmentResponse>(&call::ETCD_DEFRAGMENT, ()).await?;
        Ok(())
    }

    /// Gives up the leadership; gives the name of the new leader, or nothing if this node's member
    /// does not lead.
    ///
    /// # Errors
    /// As for [`Client::etcd_members`]; a cluster of one member refuses.
    pub async fn etcd_forfeit_leadership(&self) -> Result<Option<String>, Error> {
        let request = machine::EtcdForfeitLeadershipRequest {};
        let answer =
            self.ask::<_, machine::EtcdForfeitLeadershipResponse>(&call::ETCD_FORFEIT, request);
        let member = answer.await?.member;
        Ok((!member.is_empty()).then_some(member))
    }

    /// Takes this node's member out of the cluster and deletes its data. The last member is
    /// refused here: the node would not.
    ///
    /// # Errors
    /// As for [`Client::etcd_members`].
    pub async fn etcd_leave(&self) -> Result<(), Error> {
        let members = self.etcd_members().await?;
        if members.iter().filter(|member| !member.is_learner).count() < 2 {
            let text = "this is the last voting member of etcd: leaving would lose its data";
            return Err(self.refused(&call::ETCD_LEAVE, text));
        }
        let request = machine::EtcdLeaveClusterRequest {};
        self.ask::<_, machine::EtcdLeaveClusterResponse>(&call::ETCD_LEAVE, request).await?;
        Ok(())
    }

    /// Removes a dead member; ask a healthy one for it.
    ///
    /// # Errors
    /// As for [`Client::etcd_members`]; [`NotFound`](crate::ErrorKind::NotFound) if there is no
    /// such member.
    pub async fn etcd_remove_member(&self, id: u64) -> Result<(), Error> {
        let request = machine::EtcdRemoveMemberByIdRequest { member_id: id };
        self.ask::<_, machine::EtcdRemoveMemberByIdResponse>(&call::ETCD_REMOVE, request).await?;
        Ok(())
    }
}

fn member(wire: machine::EtcdMember) -> EtcdMember {
    EtcdMember {
        id: wire.id,
        hostname: wire.hostname,
        peer_urls: wire.peer_urls,
        client_urls: wire.client_urls,
        is_learner: wire.is_learner,
    }
}

fn alarm(wire: machine::EtcdMemberAlarm) -> Option<Alarm> {
    let member = wire.member_id;
    match AlarmType::try_from(wire.alarm) {
        Ok(AlarmType::None) => None,
        Ok(AlarmType::Nospace) => Some(Alarm::NoSpace { member }),
        Ok(AlarmType::Corrupt) => Some(Alarm::Corrupt { member }),
        Err(_) => Some(Alarm::Other { member, kind: wire.alarm }),
    }
}
