//! The machine API: who may call what, forwarding, and the calls.

mod apply;
mod archive;
mod cluster;
mod etcd;
mod figure;
mod file;
mod image;
mod lifecycle;
mod log;
mod machine;
mod role;
mod route;
mod state;
mod storage;

pub(crate) use route::entry;

use std::sync::Arc;

use serde_json::json;

use super::grpc::{Call, Reply, Status, code};
use super::node::{Api, NodeInner};

/// Answer a call that is for this node.
pub(crate) async fn local(node: &Arc<NodeInner>, call: &Call) -> Result<Reply, Status> {
    let api = node.machine().api.clone();
    match api {
        Api::Denied(_) | Api::Closed => return Err(Status::denied()),
        Api::Maintenance(_) => role::maintenance(call, node.minor())?,
        Api::Secure(_) => role::check(call)?,
    }
    let method = call.method();
    if let Some(name) = role::control_plane_name(method) {
        let is_control_plane = {
            let machine = node.machine();
            machine.config.v1alpha1().is_some() && machine.config.is_control_plane()
        };
        if !is_control_plane {
            if method == "Bootstrap" && node.minor() <= 12 {
                return Err(Status::new(
                    code::FAILED_PRECONDITION,
                    "bootstrap can only be performed on a control plane node",
                ));
            }
            return Err(Status::new(
                code::UNIMPLEMENTED,
                format!("{name} is only available on control plane nodes"),
            ));
        }
    }
    match call.service() {
        "cosi.resource.State" => state::call(node, call),
        "storage.StorageService" => storage::call(node, call),
        "cluster.ClusterService" => Ok(cluster::health(node, call)),
        "machine.ImageService" => image::call(node, call).await,
        "machine.LifecycleService" => lifecycle::call(node, call),
        "machine.MachineService" => match method {
            "ApplyConfiguration" => apply::call(node, call),
            name if name.starts_with("Etcd") || name == "Bootstrap" => etcd::call(node, call).await,
            _ => machine::call(node, call).await,
        },
        "time.TimeService" => time(node, call),
        "inspect.InspectService" => Ok(inspect()),
        // No simulated disk has volume groups.
        "machine.LVMService" => Err(Status::new(code::NOT_FOUND, lacking(call))),
        _ => Err(Status::new(code::UNIMPLEMENTED, format!("{method} is not simulated"))),
    }
}

fn lacking(call: &Call) -> String {
    match call.method() {
        "PhysicalVolumeRemove" => format!("physical volume {:?} not found", call.text("device")),
        "VolumeGroupRemove" => format!("volume group {:?} not found", call.text("volumeGroup")),
        _ => {
            let (group, name) = (call.text("volumeGroup"), call.text("logicalVolume"));
            format!("logical volume {group}/{name} not found")
        }
    }
}

/// What a time server says, beside the node's own clock.
fn time(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    let server = match call.text("server") {
        "" => "time.cloudflare.com",
        named => named,
    };
    if node.net().is_none_or(|net| net.config.stub_kubelet) {
        // Where there is only a stub of the kubelet there is no way out either.
        let message = format!(
            "error querying NTP server {server:?}: lookup {server} on 8.8.8.8:53: dial udp 8.8.8.8:53: connect: network is unreachable"
        );
        return Err(Status::new(code::UNKNOWN, message));
    }
    let now = jiff::Timestamp::now().to_string();
    let row = json!({"server": server, "localtime": now, "remotetime": now});
    Ok(Reply::One(json!({"messages": [row]})))
}

/// Which part of the node makes and reads what: a few of them.
fn inspect() -> Reply {
    let edge = |name: &str, what: &str, namespace: &str, kind: &str| {
        json!({
            "controllerName": name, "edgeType": what, "resourceNamespace": namespace, "resourceType": kind,
        })
    };
    let edges = [
        edge(
            "config.MachineTypeController",
            "OUTPUT_EXCLUSIVE",
            "config",
            "MachineTypes.config.talos.dev",
        ),
        edge(
            "config.MachineTypeController",
            "INPUT_WEAK",
            "config",
            "MachineConfigs.config.talos.dev",
        ),
        edge(
            "runtime.MachineStatusController",
            "OUTPUT_EXCLUSIVE",
            "runtime",
            "MachineStatuses.runtime.talos.dev",
        ),
        edge(
            "runtime.MachineStatusController",
            "INPUT_WEAK",
            "runtime",
            "Services.v1alpha1.talos.dev",
        ),
        edge(
            "cluster.MemberController",
            "OUTPUT_EXCLUSIVE",
            "cluster",
            "Members.cluster.talos.dev",
        ),
        edge("cluster.MemberController", "INPUT_WEAK", "cluster", "Affiliates.cluster.talos.dev"),
    ];
    Reply::One(json!({"messages": [{"edges": edges}]}))
}
