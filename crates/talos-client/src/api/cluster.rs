//! The checks of a whole cluster that a control plane makes by itself.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use crate::client::{Client, call};
use crate::error::{Error, ErrorKind};
use crate::proto::cluster;

impl Client {
    /// Has this control plane check the whole cluster, as `talosctl health` does. Beside what
    /// [`crate::health`] asks the nodes it asks the Kubernetes API: that just these nodes are there and
    /// ready, and that kube-proxy and CoreDNS are, where the cluster has them. Without addresses of control
    /// planes the node checks those that discovery shows. `progress` gets each line: a check that waits,
    /// with its reason, or that holds.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] with the check that did not hold in that time, and why. Else see [`Error`].
    pub async fn cluster_health(
        &self,
        control_planes: &[IpAddr],
        workers: &[IpAddr],
        limit: Duration,
        mut progress: impl FnMut(&str),
    ) -> Result<(), Error> {
        let call = &call::CLUSTER_HEALTH;
        let texts = |list: &[IpAddr]| list.iter().map(ToString::to_string).collect();
        let request = cluster::HealthCheckRequest {
            wait_timeout: prost_types::Duration::try_from(limit).ok(),
            cluster_info: Some(cluster::ClusterInfo {
                control_plane_nodes: texts(control_planes),
                worker_nodes: texts(workers),
                force_endpoint: String::new(),
            }),
        };
        let mut stream = self.open::<_, cluster::HealthCheckProgress>(call, request).await?;
        // The node ends it by itself.
        let end = Instant::now() + limit + self.timeouts().call;
        let mut waits = String::new();
        let ended = loop {
            let next = timeout_at(end, stream.next()).await;
            let line = match next.map_err(|_| self.late(call, limit)) {
                Err(error) => break error,
                Ok(None) => return Ok(()),
                Ok(Some(Err(status))) => break self.failed(call, &status),
                Ok(Some(Ok(line))) => line,
            };
            if let Some(error) = line.metadata.as_ref().and_then(|told| self.told(call, told)) {
                break error;
            }
            let text = line.message.trim();
            progress(text);
            if !text.ends_with(": OK") {
                text.clone_into(&mut waits);
            }
        };
        if ended.kind() != ErrorKind::Timeout || waits.is_empty() {
            return Err(ended);
        }
        let text = format!("not within {limit:?}: {waits}");
        Err(self.named(Error::new(ErrorKind::Timeout, call.name, text)))
    }
}
