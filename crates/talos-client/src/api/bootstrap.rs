//! The bootstrap of etcd: once in the life of a cluster.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::fact::Stage;
use super::phase::EtcdPhase;
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
    /// [`ErrorKind::NotReady`] while the node is still booting: try again. [`ErrorKind::FailedPrecondition`] if its etcd
    /// has data and has failed.
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
            EtcdPhase::Started(_) | EtcdPhase::Returning(_) => return Ok(Bootstrap::AlreadyDone),
            EtcdPhase::Coming(_) | EtcdPhase::Empty
                if self.is_ordered().await? && self.etcd_starts().await =>
            {
                return Ok(Bootstrap::AlreadyDone);
            }
            // It answers that one is there already, and does not say that it does not work.
            phase if phase.failure().is_some() => self.allows(&phase, true).await?,
            // The node's own answer says what is in the way.
            _ => {}
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

    /// Whether an etcd that has not started was told to: a control plane that waits for its bootstrap is still
    /// booting, and runs from that call on.
    async fn is_ordered(&self) -> Result<bool, Error> {
        Ok(self.machine_status().await?.stage == Stage::Running)
    }

    /// Whether this node keeps a cluster from being bootstrapped on it, or on another one.
    async fn allows(&self, phase: &EtcdPhase, is_first: bool) -> Result<(), Error> {
        let is_ordered = !is_first && *phase == EtcdPhase::Empty && self.is_ordered().await?;
        obstacle(phase, is_first, is_ordered).map_or(Ok(()), |(kind, text)| {
            Err(Error::new(kind, call::BOOTSTRAP.name, text).at(self.address()))
        })
    }

    /// Waits until etcd has been started; false if it has not in that time, or cannot be asked.
    async fn etcd_starts(&self) -> bool {
        let end = Instant::now() + self.timeouts().bootstrap;
        loop {
            if let Ok(EtcdPhase::Started(_) | EtcdPhase::Returning(_)) = self.etcd_phase().await {
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
    /// Starts etcd on the first of a cluster's control planes, unless any of them has it started, or has data of
    /// a member from before: it had been started then, and comes back.
    ///
    /// All of them are asked first: a bootstrap of a second one would make a second cluster.
    ///
    /// # Errors
    /// As for [`Client::bootstrap`]; also if one of them cannot be asked, since it might be the one that has etcd.
    /// [`ErrorKind::NotReady`] while one of them has not come to its disk in its boot, or was told to start etcd and
    /// has not yet: try again. [`ErrorKind::FailedPrecondition`] if etcd of one that has data has failed, and works
    /// nowhere else: that cluster is mended or restored, and not made once more.
    pub async fn of_cluster(control_planes: &[Client]) -> Result<Self, Error> {
        let Some(first) = control_planes.first() else {
            return Err(Error::config(call::BOOTSTRAP.name, "no control plane is given"));
        };
        let looks = join_all(control_planes.iter().map(Client::etcd_phase)).await;
        let comes_back = |phase: &EtcdPhase| phase.member().is_some() && phase.failure().is_none();
        if looks.iter().flatten().any(comes_back) {
            return Ok(Self::AlreadyDone);
        }
        let phases = looks.into_iter().collect::<Result<Vec<_>, Error>>()?;
        let all = control_planes.iter().zip(&phases).enumerate();
        join_all(all.map(|(index, (client, phase))| client.allows(phase, index == 0)))
            .await
            .into_iter()
            .collect::<Result<(), Error>>()?;
        first.bootstrap().await
    }
}

/// Why a control plane of which no etcd runs or comes back keeps a cluster from being bootstrapped. What the first
/// one lacks, on which that is done, its own answer says.
fn obstacle(phase: &EtcdPhase, is_first: bool, is_ordered: bool) -> Option<(ErrorKind, String)> {
    match phase {
        EtcdPhase::Ended { etcd, has_data: true } => {
            let text = format!(
                "etcd has data of a cluster that was started before ({}): a bootstrap would make a second one; \
                 mend it, or restore the cluster from a snapshot",
                etcd.reason()
            );
            Some((ErrorKind::FailedPrecondition, text))
        }
        EtcdPhase::Absent if !is_first => {
            let text = "etcd is not there yet, and may have data of a cluster".to_owned();
            Some((ErrorKind::NotReady, text))
        }
        EtcdPhase::Coming(why) if !is_first => {
            Some((ErrorKind::NotReady, format!("it may have data of a cluster; {why}")))
        }
        EtcdPhase::Empty if is_ordered => {
            Some((ErrorKind::NotReady, "etcd was told to start, and has not yet".to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Service;

    #[test]
    fn nothing_is_bootstrapped_beside_an_etcd_that_may_come_back() {
        let kind = |phase: &EtcdPhase, is_first, is_ordered| {
            obstacle(phase, is_first, is_ordered).map(|(kind, _)| kind)
        };
        let ended = |has_data| EtcdPhase::Ended { etcd: Service::default(), has_data };
        for open in [EtcdPhase::Absent, EtcdPhase::Coming("Waiting".to_owned())] {
            assert_eq!(kind(&open, false, false), Some(ErrorKind::NotReady), "{open:?}");
            assert_eq!(kind(&open, true, false), None, "{open:?}");
        }
        assert_eq!(kind(&ended(true), true, false), Some(ErrorKind::FailedPrecondition));
        assert_eq!(kind(&ended(false), false, false), None);
        assert_eq!(kind(&EtcdPhase::Empty, false, true), Some(ErrorKind::NotReady));
        assert_eq!(kind(&EtcdPhase::Empty, false, false), None);
    }
}
