//! Images and the newer way to upgrade.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::grpc::{Call, Reply, Status, code};
use super::super::node::{Api, NodeInner};

/// A call about images, or to install or upgrade.
pub(super) async fn call(node: &Arc<NodeInner>, call: &Call) -> Result<Reply, Status> {
    let containerd = call.request().get("containerd").cloned().unwrap_or_default();
    let text =
        |key: &str| containerd.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let method = call.method();
    if call.service() == "machine.LifecycleService" {
        return lifecycle(node, call);
    }
    if method != "Verify"
        && method != "Import"
        && matches!(text("namespace").as_str(), "" | "NS_UNKNOWN")
    {
        return Err(Status::new(code::INVALID_ARGUMENT, "invalid containerd namespace NS_UNKNOWN"));
    }
    let image = call.text("imageRef");
    match method {
        "List" => {
            let maintenance = matches!(node.machine().api, Api::Maintenance(_));
            if maintenance && text("driver") == "CRI" {
                return Err(no_runtime(node).await);
            }
            Ok(Reply::list(Vec::new()))
        }
        "Pull" => {
            if image.is_empty() || image.contains(' ') {
                let message =
                    format!("failed to parse image reference {image:?}: invalid reference format");
                return Err(Status::new(code::UNKNOWN, message));
            }
            let name = image.rsplit_once(':').map_or(image, |(name, _)| name);
            let name = name.split('@').next().unwrap_or_default();
            let digest = "0".repeat(64);
            Ok(Reply::list(vec![json!({"name": format!("{name}@sha256:{digest}")})]))
        }
        "Remove" => Err(Status::new(code::NOT_FOUND, format!("image {image} not found"))),
        "Verify" => Ok(Reply::One(json!({"message": "no matched rule"}))),
        _ => Err(Status::new(code::INTERNAL, "failed to import image: unexpected EOF")),
    }
}

/// The runtime of Kubernetes does not answer before there is a configuration.
pub(super) async fn no_runtime(node: &NodeInner) -> Status {
    super::super::life::pause(node, 10.0).await;
    Status::new(
        code::UNKNOWN,
        "connection error: desc = \"transport: Error while dialing: dial unix:///run/containerd/containerd.sock: timeout\"",
    )
}

fn lifecycle(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    let installed = node.content().installed.is_some();
    if call.method() == "Install" && installed {
        return Err(Status::new(code::ALREADY_EXISTS, "machine is already installed"));
    }
    let image =
        call.request().pointer("/source/imageName").and_then(Value::as_str).unwrap_or_default();
    if image.is_empty() {
        return Err(Status::new(code::INVALID_ARGUMENT, "installer image name is required"));
    }
    let version = upgrade(node, image);
    let line = |text: &str| json!({"progress": {"message": format!("{} {text}\n", jiff::Timestamp::now())}});
    Ok(Reply::list(vec![
        line(&format!("running Talos installer {version}")),
        line(&format!("installation of {version} complete")),
        json!({"progress": {"exitCode": 0}}),
    ]))
}

/// Write the other boot slot.
pub(super) fn upgrade(node: &NodeInner, image: &str) -> String {
    let reference = image.split('@').next().unwrap_or_default();
    let version = reference.rsplit_once(':').map(|(_, tag)| tag.to_owned()).unwrap_or_default();
    node.write(|c| {
        let mut next = c.installed.clone().unwrap_or_default();
        version.clone_into(&mut next.version);
        let name = reference.rsplit_once(':').map_or(reference, |(name, _)| name);
        if let Some(schematic) = name.rsplit('/').next().filter(|s| s.len() == 64) {
            schematic.clone_into(&mut next.schematic);
        }
        c.previous = c.installed.replace(next);
    });
    version
}
