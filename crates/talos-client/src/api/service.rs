//! Services of a node.

use jiff::Timestamp;

use crate::client::{Client, call};
use crate::error::Error;
use crate::proto::machine;

/// A service of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// Name, such as `etcd`.
    pub id: String,
    /// State: `Initialized`, `Preparing`, `Waiting`, `Pre`, `Starting`, `Running`, `Stopping`,
    /// `Finished`, `Failed` or `Skipped`.
    pub state: String,
    /// The result of its health check; none if it has none, or has not been checked yet.
    pub healthy: Option<bool>,
    /// What the health check said last.
    pub health_message: String,
    /// Since when the health is what it is.
    pub health_since: Option<Timestamp>,
    /// What happened to it, the oldest first.
    pub events: Vec<ServiceEvent>,
}

/// What happened to a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceEvent {
    /// In the words of the node, such as `Running pre state`.
    pub message: String,
    /// State of the service since then.
    pub state: String,
    /// When.
    pub at: Option<Timestamp>,
}

impl Service {
    /// It runs, and its health check, if it has one, does not fail.
    pub fn is_up(&self) -> bool {
        self.state == "Running" && self.healthy != Some(false)
    }

    /// It has just ended, and is about to be started again; a service that waits for what comes first is not.
    pub fn restarts(&self) -> bool {
        self.state == "Waiting" && self.reason().contains("going to restart")
    }

    /// Why it is not up: its state, and what it waits for.
    pub fn reason(&self) -> String {
        let last = self.events.last().map(|event| event.message.as_str()).unwrap_or_default();
        let why = match (self.state.as_str(), self.healthy) {
            ("Running", Some(false)) if !self.health_message.is_empty() => &self.health_message,
            _ => last,
        };
        match (self.state.as_str(), why) {
            ("Running", "") => "it runs, but is not healthy".to_owned(),
            (state, "") => state.to_owned(),
            (state, why) => format!("{state}: {why}"),
        }
    }
}

/// A time of the wire.
pub(super) fn timestamp(wire: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    let wire = wire?;
    Timestamp::new(wire.seconds, wire.nanos).ok()
}

impl Client {
    /// The services of the node.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn services(&self) -> Result<Vec<Service>, Error> {
        let answer = self.ask::<_, machine::ServiceListResponse>(&call::SERVICES, ()).await?;
        Ok(answer.services.into_iter().map(service).collect())
    }

    /// Starts a service; gives the node's words.
    ///
    /// # Errors
    /// See [`Error`]; a service that the node does not have is an
    /// [`ErrorKind::Server`](crate::ErrorKind::Server) with its words.
    pub async fn service_start(&self, id: &str) -> Result<String, Error> {
        let request = machine::ServiceStartRequest { id: id.to_owned() };
        let answer = self.ask::<_, machine::ServiceStartResponse>(&call::SERVICE_START, request);
        Ok(answer.await?.resp)
    }

    /// Stops a service; gives the node's words. Most services cannot be stopped.
    ///
    /// # Errors
    /// As for [`Client::service_start`].
    pub async fn service_stop(&self, id: &str) -> Result<String, Error> {
        let request = machine::ServiceStopRequest { id: id.to_owned() };
        let answer = self.ask::<_, machine::ServiceStopResponse>(&call::SERVICE_STOP, request);
        Ok(answer.await?.resp)
    }

    /// Restarts a service; gives the node's words.
    ///
    /// # Errors
    /// As for [`Client::service_start`].
    pub async fn service_restart(&self, id: &str) -> Result<String, Error> {
        let request = machine::ServiceRestartRequest { id: id.to_owned() };
        let answer =
            self.ask::<_, machine::ServiceRestartResponse>(&call::SERVICE_RESTART, request);
        Ok(answer.await?.resp)
    }
}

fn service(wire: machine::ServiceInfo) -> Service {
    let events = wire.events.map(|events| events.events).unwrap_or_default();
    let health = wire.health.unwrap_or_default();
    Service {
        id: wire.id,
        state: wire.state,
        healthy: (!health.unknown).then_some(health.healthy),
        health_message: health.last_message,
        health_since: timestamp(health.last_change),
        events: events
            .into_iter()
            .map(|event| ServiceEvent {
                message: event.msg,
                state: event.state,
                at: timestamp(event.ts),
            })
            .collect(),
    }
}
