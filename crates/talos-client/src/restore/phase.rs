//! How far etcd of a control plane is.

use tokio::time::timeout;

use super::OPERATION;
use crate::api::Service;
use crate::client::Client;
use crate::error::{Error, ErrorKind};

/// Where etcd's data lies.
const DATA: &str = "/var/lib/etcd";

/// What is in it once there is a member.
const MEMBER: &str = "member";

/// How far etcd of a node that answers is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not even looked for: its node boots, or it waits for what comes first; why.
    Coming(String),
    /// It has nothing, and waits for its bootstrap.
    Empty,
    /// It could not be started, and is not tried again.
    Failed,
    /// It was started, and may have ended since.
    Started(Service),
}

/// How far etcd of a node is.
pub(super) async fn phase(client: &Client) -> Result<Phase, Error> {
    let services = client.services().await?;
    let etcd = services.into_iter().find(|service| service.id == "etcd");
    let is_preparing = etcd.as_ref().is_some_and(|etcd| etcd.state == "Preparing");
    let has_data = is_preparing && has_data(client).await?;
    Ok(of(etcd, has_data))
}

fn of(etcd: Option<Service>, has_data: bool) -> Phase {
    let Some(etcd) = etcd else { return Phase::Coming("etcd is not there yet".to_owned()) };
    let why = etcd.reason();
    match etcd.state.as_str() {
        // It prepares, in the same words, while the image of a member is pulled.
        "Preparing" if has_data => Phase::Coming(format!("etcd has data. {why}")),
        "Preparing" => Phase::Empty,
        "Failed" => Phase::Failed,
        "Waiting" if restarts(&etcd) => Phase::Started(etcd),
        "Initialized" | "Pre" | "Waiting" => Phase::Coming(format!("etcd: {why}")),
        _ => Phase::Started(etcd),
    }
}

/// Whether it waits because it has just ended, and not for what comes first.
pub(super) fn restarts(etcd: &Service) -> bool {
    etcd.state == "Waiting" && etcd.reason().contains("going to restart")
}

/// Whether a member's data lies on the node.
async fn has_data(client: &Client) -> Result<bool, Error> {
    let failed = |kind, text: String| Error::new(kind, OPERATION, text).at(client.address());
    let look = async {
        let mut entries = client.files(DATA, 1).await?;
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
    let limit = client.timeouts().long;
    let slow = |_| failed(ErrorKind::Timeout, format!("{DATA} is not listed within {limit:?}"));
    match timeout(limit, look).await.map_err(slow)? {
        // It is made when etcd is prepared for the first time.
        Err(error) if error.message().contains("no such file or directory") => Ok(false),
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ServiceEvent;

    fn etcd(state: &str, message: &str) -> Service {
        let event = ServiceEvent { message: message.into(), ..ServiceEvent::default() };
        Service { state: state.into(), events: vec![event], ..Service::default() }
    }

    #[test]
    fn only_an_etcd_without_data_waits_for_its_bootstrap() {
        let waits = etcd("Preparing", "Running pre state");
        assert_eq!(of(Some(waits.clone()), false), Phase::Empty);
        assert!(matches!(of(Some(waits), true), Phase::Coming(_)));
    }

    #[test]
    fn an_etcd_that_waits_to_be_started_again_was_started() {
        let again = etcd("Waiting", "Error running Containerd(etcd), going to restart forever");
        assert!(matches!(of(Some(again), false), Phase::Started(_)));
        let first = etcd("Waiting", "Waiting for volumes /var/lib, ETCD to be mounted");
        assert!(matches!(of(Some(first), false), Phase::Coming(_)));
        assert!(matches!(of(None, false), Phase::Coming(_)));
        for state in ["Starting", "Running", "Stopping", "Finished"] {
            assert!(matches!(of(Some(etcd(state, "")), false), Phase::Started(_)), "{state}");
        }
    }
}
