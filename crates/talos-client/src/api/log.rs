//! Logs of a node.

use crate::client::{Chunks, Client, call};
use crate::error::Error;
use crate::proto::{common::ContainerDriver, machine};

/// Which log, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogOptions {
    /// Of a container of Kubernetes, named as `namespace/pod:container`, instead of a service.
    pub kubernetes: bool,
    /// Go on with what is written from now on.
    pub follow: bool,
    /// Only the last lines.
    pub tail: Option<u32>,
}

impl LogOptions {
    /// Go on with what is written from now on.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }

    /// Only the last lines.
    #[must_use]
    pub fn tail(mut self, lines: u32) -> Self {
        self.tail = Some(lines);
        self
    }

    /// Of a container of Kubernetes instead of a service.
    #[must_use]
    pub fn kubernetes(mut self) -> Self {
        self.kubernetes = true;
        self
    }
}

impl Client {
    /// The log of a service, such as `etcd`.
    ///
    /// # Errors
    /// See [`Error`]. That there is no such log may also be the first item of the stream.
    pub async fn logs(&self, id: &str, options: &LogOptions) -> Result<Chunks, Error> {
        let (namespace, driver) = match options.kubernetes {
            true => ("k8s.io", ContainerDriver::Cri),
            false => ("system", ContainerDriver::Containerd),
        };
        let lines = options.tail.map_or(-1, |lines| i32::try_from(lines).unwrap_or(i32::MAX));
        let request = machine::LogsRequest {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            driver: driver.into(),
            follow: options.follow,
            tail_lines: lines,
        };
        self.chunks(&call::LOGS, request).await
    }

    /// The kernel's log.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn dmesg(&self, follow: bool) -> Result<Chunks, Error> {
        // Not only what is new: all that the kernel still has comes first.
        let request = machine::DmesgRequest { follow, tail: false };
        self.chunks(&call::DMESG, request).await
    }
}
