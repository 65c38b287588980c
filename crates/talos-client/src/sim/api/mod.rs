//! The machine API: who may call what, forwarding, and the calls.

mod apply;
mod cluster;
mod etcd;
mod image;
mod machine;
mod role;
mod route;
mod state;
mod storage;

pub(crate) use route::entry;

use std::sync::Arc;

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
        "machine.ImageService" | "machine.LifecycleService" => image::call(node, call).await,
        "machine.MachineService" => match method {
            "ApplyConfiguration" => apply::call(node, call),
            name if name.starts_with("Etcd") || name == "Bootstrap" => etcd::call(node, call).await,
            _ => machine::call(node, call).await,
        },
        "time.TimeService" => Err(Status::new(
            code::UNKNOWN,
            "error querying NTP server \"time.cloudflare.com\": lookup time.cloudflare.com on 8.8.8.8:53: dial udp 8.8.8.8:53: connect: network is unreachable",
        )),
        _ => Err(Status::new(code::UNIMPLEMENTED, format!("{method} is not simulated"))),
    }
}
