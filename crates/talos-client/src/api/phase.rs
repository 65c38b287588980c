//! How far etcd of a node is, from its services and its files: etcd itself does not answer before its bootstrap.

use tokio::time::timeout;

use super::service::Service;
use crate::client::{Client, call};
use crate::error::{Error, ErrorKind};

/// Where etcd's data lies.
const DATA: &str = "/var/lib/etcd";

/// What is in it once there is a member.
const MEMBER: &str = "member";

/// How far etcd of a node that answers is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EtcdPhase {
    /// The node has none: it is a worker, has no configuration, or has not come to it in its boot. What lies on
    /// its disk is not known.
    Absent,
    /// It waits for what comes first, its disk among that; why. What lies on the disk is not known.
    Coming(String),
    /// It has nothing, and waits for its bootstrap or for members to join.
    Empty,
    /// It has the data of a member, and is about to start: its image is pulled.
    Returning(Service),
    /// It was started: it runs, or is started again and again.
    Started(Service),
    /// It has ended, or could not be started, and is not tried again by itself.
    Ended {
        /// The service: `Failed` if something was wrong, `Finished` if it was stopped.
        etcd: Service,
        /// The data of a member is there.
        has_data: bool,
    },
}

impl EtcdPhase {
    /// The service of a node that belongs to a cluster: etcd was started on it, or a member's data is there. A
    /// bootstrap of another node would make a second cluster.
    pub fn member(&self) -> Option<&Service> {
        match self {
            Self::Started(etcd) | Self::Returning(etcd) | Self::Ended { etcd, has_data: true } => {
                Some(etcd)
            }
            _ => None,
        }
    }

    /// Why it could not be started, or go on.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Ended { etcd, .. } if etcd.state == "Failed" => Some(etcd.reason()),
            _ => None,
        }
    }

    fn of(etcd: Option<Service>, has_data: bool) -> Self {
        let Some(etcd) = etcd else { return Self::Absent };
        match etcd.state.as_str() {
            // It prepares, in the same words, while the image of a member is pulled.
            "Preparing" if has_data => Self::Returning(etcd),
            "Preparing" => Self::Empty,
            "Failed" | "Finished" | "Skipped" => Self::Ended { etcd, has_data },
            "Initialized" | "Pre" | "Waiting" if !etcd.restarts() => {
                Self::Coming(format!("etcd: {}", etcd.reason()))
            }
            _ => Self::Started(etcd),
        }
    }
}

impl Client {
    /// How far etcd of this node is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn etcd_phase(&self) -> Result<EtcdPhase, Error> {
        let services = self.services().await?;
        let etcd = services.into_iter().find(|service| service.id == "etcd");
        let depends_on_data = |etcd: &Service| {
            matches!(etcd.state.as_str(), "Preparing" | "Failed" | "Finished" | "Skipped")
        };
        let has_data = etcd.as_ref().is_some_and(depends_on_data) && self.has_member().await?;
        Ok(EtcdPhase::of(etcd, has_data))
    }

    /// Whether a member's data lies on the node.
    async fn has_member(&self) -> Result<bool, Error> {
        let failed =
            |kind, text: String| Error::new(kind, call::FILES.name, text).at(self.address());
        let look = async {
            let mut entries = self.files(DATA, 1).await?;
            while let Some(entry) = entries.next().await {
                let entry = entry?;
                match entry.error {
                    Some(why) => return Err(failed(ErrorKind::Server, format!("{DATA}: {why}"))),
                    None if entry.relative == MEMBER => return Ok(true),
                    None => {}
                }
            }
            Ok(false)
        };
        let limit = self.timeouts().long;
        let slow = |_| failed(ErrorKind::Timeout, format!("{DATA} is not listed within {limit:?}"));
        match timeout(limit, look).await.map_err(slow)? {
            // It is made when etcd is prepared for the first time.
            Err(error) if error.message().contains("no such file or directory") => Ok(false),
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ServiceEvent;

    fn of(state: &str, message: &str, has_data: bool) -> EtcdPhase {
        let event = ServiceEvent { message: message.into(), ..ServiceEvent::default() };
        let etcd = Service { state: state.into(), events: vec![event], ..Service::default() };
        EtcdPhase::of(Some(etcd), has_data)
    }

    #[test]
    fn only_an_etcd_without_data_waits_for_its_bootstrap() {
        assert_eq!(of("Preparing", "Running pre state", false), EtcdPhase::Empty);
        let pulls = of("Preparing", "Running pre state", true);
        assert!(matches!(pulls, EtcdPhase::Returning(_)) && pulls.member().is_some());
    }

    #[test]
    fn an_etcd_that_waits_to_be_started_again_was_started() {
        let again = "Error running Containerd(etcd), going to restart forever";
        assert!(matches!(of("Waiting", again, false), EtcdPhase::Started(_)));
        let first = of("Waiting", "Waiting for volumes /var/lib, ETCD to be mounted", false);
        assert!(matches!(first, EtcdPhase::Coming(_)) && first.member().is_none());
        assert_eq!(EtcdPhase::of(None, false), EtcdPhase::Absent);
        for state in ["Starting", "Running", "Stopping"] {
            assert!(matches!(of(state, "", false), EtcdPhase::Started(_)), "{state}");
        }
    }

    #[test]
    fn an_etcd_that_ended_tells_why_and_whether_it_was_a_member() {
        let bad = of("Failed", "Failed to run pre stage: error verifying snapshot", false);
        assert_eq!(bad.member(), None);
        assert!(bad.failure().is_some_and(|why| why.contains("verifying snapshot")), "{bad:?}");
        assert!(of("Failed", "the member has been permanently removed", true).member().is_some());
        let left = of("Finished", "Service finished successfully", false);
        assert_eq!((left.member(), left.failure()), (None, None));
    }
}
