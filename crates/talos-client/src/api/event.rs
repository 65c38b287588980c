//! Events of a node.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, StreamExt};
use prost::Message as _;
use tonic::Streaming;

use super::fact::{MachineStatus, Stage, Unmet};
use super::redact;
use crate::client::{Client, call};
use crate::error::Error;
use crate::proto::machine;

/// Something that happened on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeEvent {
    /// Its identity: events can be continued behind it.
    pub id: String,
    /// The call that it belongs to; see [`Client::reboot`] and its like.
    pub actor: Option<String>,
    /// What happened.
    pub what: Happening,
}

/// What happened on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// A sequence, such as `install`, began, ended or failed.
    Sequence {
        /// Its name.
        name: String,
        /// It ended, else it began. A failure has an error.
        ended: bool,
        /// Why it failed.
        error: Option<String>,
    },
    /// A part of a sequence began or ended.
    Phase {
        /// Its name.
        name: String,
        /// It ended, else it began.
        ended: bool,
    },
    /// A part of a phase began or ended.
    Task {
        /// Its name.
        name: String,
        /// It ended, else it began.
        ended: bool,
    },
    /// A service changed its state.
    Service {
        /// Its name.
        name: String,
        /// The state, such as `RUNNING`.
        state: String,
        /// In the words of the node.
        message: String,
        /// The result of its health check, if there is one.
        healthy: Option<bool>,
    },
    /// The machine changed its stage or readiness.
    Machine(MachineStatus),
    /// A configuration could not be read. Of the text only what names no value is left.
    ConfigUnreadable(String),
    /// A configuration is not valid. Of the text only what names no value is left.
    ConfigInvalid(String),
    /// The host name or the addresses changed.
    Address {
        /// Host name.
        hostname: String,
        /// Addresses.
        addresses: Vec<String>,
    },
    /// The machine restarts.
    Restart,
    /// A kind that is not known here: the full name of its message.
    Other(String),
}

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventOptions {
    /// So many of those that happened before; all for `-1`.
    pub tail: i32,
    /// Those behind the event of that identity.
    pub after: Option<String>,
    /// Those of one call.
    pub actor: Option<String>,
}

impl EventOptions {
    /// All that the node still has, and what follows.
    pub fn all() -> Self {
        Self { tail: -1, ..Self::default() }
    }

    /// Those behind the event of that identity.
    pub fn after(id: impl Into<String>) -> Self {
        Self { after: Some(id.into()), ..Self::default() }
    }

    /// Only those of one call.
    #[must_use]
    pub fn of(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }
}

/// Events of a node, until the connection breaks.
#[derive(Debug)]
pub struct Events {
    client: Client,
    stream: Streaming<machine::Event>,
}

impl Client {
    /// Follows the events of the node.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn events(&self, options: EventOptions) -> Result<Events, Error> {
        let request = machine::EventsRequest {
            tail_events: options.tail,
            tail_id: options.after.unwrap_or_default(),
            tail_seconds: 0,
            with_actor_id: options.actor.unwrap_or_default(),
        };
        let stream = self.open(&call::EVENTS, request).await?;
        Ok(Events { client: self.clone(), stream })
    }
}

impl Events {
    /// The next event; none when the node ends the stream.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Option<Result<NodeEvent, Error>> {
        StreamExt::next(self).await
    }
}

impl Stream for Events {
    type Item = Result<NodeEvent, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let event = match ready!(Pin::new(&mut this.stream).poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Err(status)) => {
                    return Poll::Ready(Some(Err(this.client.failed(&call::EVENTS, &status))));
                }
                Some(Ok(event)) => event,
            };
            // The first one is empty: the node says that it listens.
            let Some(data) = event.data.filter(|data| !data.type_url.is_empty()) else { continue };
            let name = data.type_url.rsplit('/').next().unwrap_or_default();
            let what = happening(name, data.value.as_slice())
                .unwrap_or_else(|_| Happening::Other(name.to_owned()));
            let actor = (!event.actor_id.is_empty()).then_some(event.actor_id);
            return Poll::Ready(Some(Ok(NodeEvent { id: event.id, actor, what })));
        }
    }
}

fn happening(name: &str, bytes: &[u8]) -> Result<Happening, prost::DecodeError> {
    Ok(match name {
        "machine.SequenceEvent" => {
            let event = machine::SequenceEvent::decode(bytes)?;
            Happening::Sequence {
                ended: event.action() == machine::sequence_event::Action::Stop,
                name: event.sequence,
                error: event.error.map(|error| error.message),
            }
        }
        "machine.PhaseEvent" => {
            let event = machine::PhaseEvent::decode(bytes)?;
            let ended = event.action() == machine::phase_event::Action::Stop;
            Happening::Phase { name: event.phase, ended }
        }
        "machine.TaskEvent" => {
            let event = machine::TaskEvent::decode(bytes)?;
            let ended = event.action() == machine::task_event::Action::Stop;
            Happening::Task { name: event.task, ended }
        }
        "machine.ServiceStateEvent" => {
            let event = machine::ServiceStateEvent::decode(bytes)?;
            let state = event.action().as_str_name().to_owned();
            let health = event.health.filter(|health| !health.unknown);
            Happening::Service {
                name: event.service,
                state,
                message: event.message,
                healthy: health.map(|health| health.healthy),
            }
        }
        "machine.MachineStatusEvent" => Happening::Machine(status(bytes)?),
        "machine.ConfigLoadErrorEvent" => {
            let event = machine::ConfigLoadErrorEvent::decode(bytes)?;
            Happening::ConfigUnreadable(redact::message(&event.error, b""))
        }
        "machine.ConfigValidationErrorEvent" => {
            let event = machine::ConfigValidationErrorEvent::decode(bytes)?;
            Happening::ConfigInvalid(redact::message(&event.error, b""))
        }
        "machine.AddressEvent" => {
            let event = machine::AddressEvent::decode(bytes)?;
            Happening::Address { hostname: event.hostname, addresses: event.addresses }
        }
        "machine.RestartEvent" => Happening::Restart,
        other => Happening::Other(other.to_owned()),
    })
}

fn status(bytes: &[u8]) -> Result<MachineStatus, prost::DecodeError> {
    use machine::machine_status_event::MachineStage;

    let event = machine::MachineStatusEvent::decode(bytes)?;
    let stage = match event.stage() {
        MachineStage::Unknown => Stage::Unknown,
        MachineStage::Booting => Stage::Booting,
        MachineStage::Installing => Stage::Installing,
        MachineStage::Maintenance => Stage::Maintenance,
        MachineStage::Running => Stage::Running,
        MachineStage::Rebooting => Stage::Rebooting,
        MachineStage::ShuttingDown => Stage::ShuttingDown,
        MachineStage::Resetting => Stage::Resetting,
        MachineStage::Upgrading => Stage::Upgrading,
    };
    let status = event.status.unwrap_or_default();
    let unmet = status.unmet_conditions.into_iter();
    let unmet = unmet.map(|unmet| Unmet { name: unmet.name, reason: unmet.reason }).collect();
    Ok(MachineStatus { stage, ready: status.ready, unmet })
}
