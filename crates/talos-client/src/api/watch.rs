//! Following resources.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, StreamExt};
use tonic::Streaming;

use super::resource::{Query, Resource};
use crate::client::{Client, call};
use crate::error::Error;
use crate::proto::cosi::resource as cosi;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// It was made, or it was there already.
    Created,
    /// It changed.
    Updated,
    /// It is gone, or was not there when the watch of one resource began.
    Destroyed,
    /// All that was there before has been told.
    Bootstrapped,
    /// The node cannot go on with the watch.
    Errored,
    /// Nothing; a place to begin again from.
    Noop,
}

/// An event of a watch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To what; without content for the kinds that are about no resource.
    pub resource: Resource,
    /// What it was before, for a change.
    pub old: Option<Resource>,
    /// Why the node cannot go on.
    pub error: Option<String>,
    /// A place to begin again from.
    pub bookmark: Option<Vec<u8>>,
}

/// How to watch.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WatchOptions {
    /// Only this resource; its state is the first event.
    pub id: Option<String>,
    /// Only resources that fit.
    pub query: Query,
    /// Begin after that place instead of now.
    pub bookmark: Option<Vec<u8>>,
    /// Without what there is already.
    pub only_changes: bool,
}

impl WatchOptions {
    /// One resource.
    pub fn one(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..Self::default() }
    }

    /// Begin after a place that an earlier watch told.
    #[must_use]
    pub fn after(mut self, bookmark: Vec<u8>) -> Self {
        self.bookmark = Some(bookmark);
        self
    }
}

/// A watch that goes on until the connection breaks. A node that reboots breaks it; begin again
/// then.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    stream: Streaming<cosi::WatchResponse>,
    queue: VecDeque<cosi::Event>,
}

impl Client {
    /// Follows one resource or all of a kind, beginning with what there is.
    ///
    /// # Errors
    /// As for [`Client::get`]. That the watch cannot be had may also be its first item.
    pub async fn watch(
        &self,
        namespace: &str,
        kind: &str,
        options: WatchOptions,
    ) -> Result<Watch, Error> {
        let again = options.bookmark.is_some();
        let one = options.id.is_some();
        let request = cosi::WatchRequest {
            namespace: namespace.to_owned(),
            r#type: kind.to_owned(),
            id: options.id,
            options: Some(cosi::WatchOptions {
                bootstrap_contents: !one && !again && !options.only_changes,
                bootstrap_bookmark: !one && !again && options.only_changes,
                label_query: options.query.label_query(),
                id_query: options.query.id_query(),
                start_from_bookmark: options.bookmark,
                ..Default::default()
            }),
            api_version: 1,
        };
        let stream = self.open(&call::WATCH, request).await?;
        Ok(Watch { client: self.clone(), stream, queue: VecDeque::new() })
    }
}

impl Watch {
    /// The next event; none when the node ends the watch.
    ///
    /// # Errors
    /// The connection broke, or the node refused the watch.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        StreamExt::next(self).await
    }

    /// Waits for an event whose resource fits, and gives that resource.
    ///
    /// # Errors
    /// The connection broke, the node refused or ended the watch.
    pub async fn until(
        &mut self,
        mut fits: impl FnMut(&Resource) -> bool,
    ) -> Result<Resource, Error> {
        while let Some(event) = self.next().await {
            let event = event?;
            let is_state = matches!(event.kind, EventKind::Created | EventKind::Updated);
            if is_state && fits(&event.resource) {
                return Ok(event.resource);
            }
        }
        Err(self.client.odd(&call::WATCH, "the node ended the watch"))
    }
}

impl Stream for Watch {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.queue.pop_front() {
                if let Some(event) = known(event) {
                    return Poll::Ready(Some(Ok(event)));
                }
                continue;
            }
            match ready!(Pin::new(&mut this.stream).poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Ok(frame)) => this.queue.extend(frame.event),
                Some(Err(status)) => {
                    return Poll::Ready(Some(Err(this.client.failed(&call::WATCH, &status))));
                }
            }
        }
    }
}

/// An event; none of a kind that is not known here.
fn known(wire: cosi::Event) -> Option<Event> {
    let kind = match cosi::EventType::try_from(wire.event_type).ok()? {
        cosi::EventType::Created => EventKind::Created,
        cosi::EventType::Updated => EventKind::Updated,
        cosi::EventType::Destroyed => EventKind::Destroyed,
        cosi::EventType::Bootstrapped => EventKind::Bootstrapped,
        cosi::EventType::Errored => EventKind::Errored,
        cosi::EventType::Noop => EventKind::Noop,
    };
    Some(Event {
        kind,
        resource: Resource::from_wire(wire.resource.unwrap_or_default()),
        old: wire.old.map(Resource::from_wire),
        error: wire.error,
        bookmark: wire.bookmark,
    })
}
