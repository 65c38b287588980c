//! What a node knows of itself and of its own pods from Kubernetes.

use serde_json::Value;

use super::resource::{Resource, kinds};
use crate::client::Client;
use crate::error::Error;

/// A node as Kubernetes has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// Its name there.
    pub name: String,
    /// It is ready.
    pub ready: bool,
    /// It takes no new pods.
    pub unschedulable: bool,
}

/// A pod that a control plane runs by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StaticPod {
    /// Its name, such as `kube-apiserver`.
    pub name: String,
    /// Why it is not ready; none if it is.
    pub problem: Option<String>,
}

impl Client {
    /// The node as Kubernetes has it; nothing until its kubelet has registered it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn kubernetes_node(&self) -> Result<Option<NodeStatus>, Error> {
        let (namespace, kind) = kinds::NODE_STATUS;
        let all = self.list(namespace, kind).await?;
        Ok(all.first().map(node_status))
    }

    /// Pods of the control plane on this node, as its configuration asks for them, each with what its kubelet
    /// says of it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn static_pods(&self) -> Result<Vec<StaticPod>, Error> {
        let (wanted, status) = (kinds::STATIC_POD, kinds::STATIC_POD_STATUS);
        let (wanted, found) =
            futures_util::try_join!(self.list(wanted.0, wanted.1), self.list(status.0, status.1),)?;
        let own = wanted.iter().filter(|pod| pod.id.starts_with("kube-"));
        Ok(own.map(|pod| static_pod(&pod.id, &found)).collect())
    }
}

fn node_status(resource: &Resource) -> NodeStatus {
    let is = |key: &str| resource.spec.get(key).and_then(Value::as_bool).unwrap_or(false);
    let (ready, unschedulable) = (is("nodeReady"), is("unschedulable"));
    NodeStatus { name: resource.id.clone(), ready, unschedulable }
}

fn static_pod(name: &str, found: &[Resource]) -> StaticPod {
    // Kubernetes adds the name of the node.
    let prefix = format!("kube-system/{name}-");
    let status = found.iter().find(|status| status.id.starts_with(&prefix));
    let problem = match status {
        None => Some("its kubelet does not run it yet".to_owned()),
        Some(status) => problem(status.spec.get("podStatus").unwrap_or(&status.spec)),
    };
    StaticPod { name: name.to_owned(), problem }
}

/// Why a pod is not ready: what a container waits for says more than the pod's condition.
fn problem(status: &Value) -> Option<String> {
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let list = |key: &str| status.get(key).and_then(Value::as_array).into_iter().flatten();
    let ready = list("conditions").find(|one| one.get("type") == Some(&Value::from("Ready")));
    if ready.and_then(|one| text(one, "status")).as_deref() == Some("True") {
        return None;
    }
    let waits = list("containerStatuses").find_map(|container| {
        let waits = container.pointer("/state/waiting")?;
        match (text(waits, "reason"), text(waits, "message")) {
            (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
            (reason, message) => reason.or(message),
        }
    });
    let said = || ready.and_then(|one| text(one, "message").or_else(|| text(one, "reason")));
    let phase = || text(status, "phase").map(|phase| format!("it is {}", phase.to_lowercase()));
    Some(waits.or_else(said).or_else(phase).unwrap_or_else(|| "it is not ready".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_tells_what_its_container_waits_for() {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(problem(&ready), None);
        let pulls = json!({
            "phase": "Pending",
            "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
            "containerStatuses": [
                {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}},
            ],
        });
        assert_eq!(problem(&pulls).as_deref(), Some("ImagePullBackOff: no such host"));
        let unready = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "X"}]});
        assert_eq!(problem(&unready).as_deref(), Some("X"));
        assert_eq!(problem(&json!({"phase": "Pending"})).as_deref(), Some("it is pending"));
        assert_eq!(problem(&json!({})).as_deref(), Some("it is not ready"));
    }
}
