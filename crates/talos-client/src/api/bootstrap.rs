//! The bootstrap of etcd: once in the life of a cluster.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::fact::Stage;
use crate::client::{Client, call};
use crate::error::{Error, ErrorKind};
use crate::proto::machine;

/// What came of a bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// etcd was started by this call.
    Started,
    /// etcd had been started before: by an earlier run, or by the node joining a cluster.
    AlreadyDone,
}

/// What etcd does on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The node has no etcd: a worker, or a node without a configuration.
    Absent,
    /// It waits for a bootstrap, or for members to join.
    Waiting,
    /// It was told to start, and has not yet.
    Ordered,
    /// It has started.
    Started,
}

/// How often a node is asked whether etcd has started.
const POLL: Duration = Duration::from_millis(250);

impl Client {
    /// Starts etcd as the first member of a new cluster, unless it has been started.
    ///
    /// The node is asked first, and again when the answer to the call is lost, so that the call is
    /// made once. Only what this node knows is looked at: with several control planes see
    /// [`Bootstrap::of_cluster`].
    ///
    /// # Errors
    /// [`ErrorKind::NotReady`] while the node is still booting: try again.
    /// [`ErrorKind::Unimplemented`] on a worker. An error that
    /// [may have been applied](Error::may_have_been_applied) can be repeated with this method.
    pub async fn bootstrap(&self) -> Result<Bootstrap, Error> {
        let request =
            machine::BootstrapRequest { recover_etcd: false, recover_skip_hash_check: false };
        self.bootstrap_with(request).await
    }

    pub(super) async fn bootstrap_with(
        &self,
        request: machine::BootstrapRequest,
    ) -> Result<Bootstrap, Error> {
        match self.etcd_phase().await? {
            Phase::Started => return Ok(Bootstrap::AlreadyDone),
            Phase::Ordered if self.etcd_starts().await => {
                return Ok(Bootstrap::AlreadyDone);
            }
            Phase::Ordered | Phase::Waiting => {}
            // The node's own answer says why.
            Phase::Absent => {}
        }
        match self.ask::<_, machine::BootstrapResponse>(&call::BOOTSTRAP, request).await {
            Ok(_) => Ok(Bootstrap::Started),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Bootstrap::AlreadyDone),
            Err(error) if error.may_have_been_applied() => {
                if self.etcd_starts().await {
                    Ok(Bootstrap::Started)
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }

    /// What etcd does on this node, from its services and its stage: etcd itself does not answer
    /// before its bootstrap.
    async fn etcd_phase(&self) -> Result<Phase, Error> {
        let services = self.services().await?;
        let Some(etcd) = services.iter().find(|service| service.id == "etcd") else {
            return Ok(Phase::Absent);
        };
        if matches!(etcd.state.as_str(), "Starting" | "Running" | "Stopping") {
            return Ok(Phase::Started);
        }
        // A control plane that waits for its bootstrap is still booting.
        match self.machine_status().await?.stage {
            Stage::Running if etcd.state != "Failed" => Ok(Phase::Ordered),
            _ => Ok(Phase::Waiting),
        }
    }

    /// Waits until etcd has been started; false if it has not in that time, or cannot be asked.
    async fn etcd_starts(&self) -> bool {
        let end = Instant::now() + self.timeouts().bootstrap;
        loop {
            if let Ok(Phase::Started) = self.etcd_phase().await {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            sleep(POLL).await;
        }
    }
}

impl Bootstrap {
    /// Starts etcd on the first of a cluster's control planes, unless any of them has it started.
    ///
    /// All of them are asked first: a bootstrap of a second one would make a second cluster.
    ///
    /// # Errors
    /// As for [`Client::bootstrap`]; also if one of them cannot be asked, since it might be the
    /// one that has etcd.
    pub async fn of_cluster(control_planes: &[Client]) -> Result<Self, Error> {
        let Some(first) = control_planes.first() else {
            return Err(Error::config(call::BOOTSTRAP.name, "no control plane is given"));
        };
        let phases = join_all(control_planes.iter().map(Client::etcd_phase)).await;
        if phases.iter().any(|phase| matches!(phase, Ok(Phase::Started))) {
            return Ok(Self::AlreadyDone);
        }
        for phase in phases {
            phase?;
        }
        first.bootstrap().await
    }
}
