//! The machine service but for configuration and etcd.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::super::config::yaml;
use super::super::event;
use super::super::grpc::{Call, Frames, Reply, Status, code};
use super::super::node::{Api, NodeInner, Order};
use super::super::pki::{Authority, PkiError, Request};
use super::archive::{Member, pack};

#[expect(clippy::needless_pass_by_value, reason = "callers build the value for this")]
fn one(value: Value) -> Reply {
    Reply::One(json!({"messages": [value]}))
}

fn broken(error: &PkiError) -> Status {
    Status::new(code::INTERNAL, error.to_string())
}

/// A call to the machine service.
pub(super) async fn call(node: &Arc<NodeInner>, call: &Call) -> Result<Reply, Status> {
    match call.method() {
        "Version" => Ok(version(node)),
        "Hostname" => {
            let name = node.hostname();
            Ok(one(json!({"hostname": if name.is_empty() { "(none)".to_owned() } else { name }})))
        }
        "ServiceList" => Ok(services(node)),
        "ServiceStart" | "ServiceStop" | "ServiceRestart" => service(node, call),
        "Kubeconfig" => kubeconfig(node).map_err(|e| broken(&e)),
        "GenerateClientConfiguration" => client(node, call).map_err(|e| broken(&e)),
        "Reboot" | "Shutdown" => {
            let actor = uuid::Uuid::new_v4().to_string();
            let reboot = call.method() == "Reboot";
            if !reboot && !call.flag("force") {
                super::super::kube::drain(node).ok();
            }
            node.order(if reboot {
                Order::Reboot(actor.clone())
            } else {
                Order::Shutdown(actor.clone())
            });
            Ok(one(json!({"actorId": actor})))
        }
        "Reset" => reset(node, call),
        "Upgrade" => upgrade(node, call).await,
        "Rollback" => rollback(node),
        "MetaWrite" | "MetaDelete" => meta(node, call),
        "Events" => Ok(events(node, call)),
        "Read" | "List" | "Copy" | "DiskUsage" => super::file::call(node, call),
        "Logs" => super::log::logs(node, call),
        "LogsContainers" => Ok(super::log::containers(node)),
        "Dmesg" => Ok(super::log::kernel(node, call)),
        "ImageList" | "ImagePull" => super::image::older(node, call).await,
        _ => super::figure::call(node, call),
    }
}

fn version(node: &NodeInner) -> Reply {
    let machine = node.machine();
    let mode = if machine.is_metal() { "metal" } else { "cloud" };
    let mut out = json!({
        "version": {
            "tag": machine.system.version, "sha": "5f1b7a2c", "goVersion": "go1.26.5", "os": "linux",
            "arch": machine.system.architecture,
        },
        "platform": {"name": machine.system.platform, "mode": mode},
    });
    if let (Api::Secure(_), Some(map)) = (&machine.api, out.as_object_mut()) {
        map.insert("features".into(), json!({"rbac": true}));
    }
    one(out)
}

fn services(node: &NodeInner) -> Reply {
    let machine = node.machine();
    let at = machine.booted_at.to_string();
    let list: Vec<Value> = machine
        .services
        .iter()
        .map(|(id, s)| {
            let event = json!({"msg": s.message, "state": s.state, "ts": at});
            let message = if s.state == "Finished" || s.state == "Failed" { "Service finished" } else { "" };
            json!({
                "id": id, "state": s.state, "events": {"events": [event]},
                "health": {
                    "healthy": s.healthy == Some(true), "unknown": s.healthy.is_none(), "lastMessage": message,
                    "lastChange": at,
                },
            })
        })
        .collect();
    one(json!({"services": list}))
}

fn service(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    let id = call.text("id");
    if !node.machine().services.contains_key(id) {
        return Err(Status::new(code::UNKNOWN, format!("service {id:?} not defined")));
    }
    let (operation, past) = match call.method() {
        "ServiceStart" => ("start", "started"),
        "ServiceStop" => ("stop", "stopped"),
        _ => ("restart", "restarted"),
    };
    let stoppable = id == "kubelet" || id.starts_with("ext-");
    if operation != "start" && !stoppable {
        let message = format!("service {id:?} doesn't support {operation} operation via API");
        return Err(Status::new(code::UNKNOWN, message));
    }
    let running = operation != "stop";
    node.service(
        id,
        if running { "Running" } else { "Finished" },
        Some(running),
        "Health check successful",
    );
    node.sync();
    Ok(one(json!({"resp": format!("Service {id:?} {past}")})))
}

fn kubeconfig(node: &NodeInner) -> Result<Reply, PkiError> {
    let (config, endpoint) = {
        let machine = node.machine();
        (machine.config.clone(), machine.config.text("cluster.controlPlane.endpoint").to_owned())
    };
    let authority = Authority::new(config.text("cluster.ca.crt"), config.text("cluster.ca.key"))?;
    let leaf = authority.sign(&Request {
        name: "admin".into(),
        organizations: vec!["system:masters".into()],
        client: true,
        lifetime: Duration::from_hours(365 * 24),
        ..Request::default()
    })?;
    let name = config.text("cluster.clusterName");
    let user = format!("admin@{name}");
    let text = yaml::write(&json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": endpoint, "certificate-authority-data": STANDARD.encode(authority.pem())}}],
        "users": [{"name": user, "user": {"client-certificate-data": STANDARD.encode(leaf.pem()), "client-key-data": STANDARD.encode(leaf.key_pem())}}],
        "contexts": [{"name": user, "context": {"cluster": name, "namespace": "default", "user": user}}],
        "current-context": user,
    }));
    // The node leaves out the padding and the end of the archive.
    let file = Member { name: "kubeconfig", data: Some(text.as_bytes()), mode: 0o600 };
    let archive = pack(&[file], false);
    Ok(Reply::list(vec![json!({"bytes": STANDARD.encode(archive)})]))
}

fn client(node: &NodeInner, call: &Call) -> Result<Reply, PkiError> {
    let config = node.machine().config.clone();
    let authority = Authority::new(config.text("machine.ca.crt"), config.text("machine.ca.key"))?;
    let roles = call.request().get("roles").and_then(Value::as_array).cloned().unwrap_or_default();
    let seconds = call.text("crtTtl").trim_end_matches('s').parse::<f64>().unwrap_or(0.0);
    let leaf = authority.sign(&Request {
        organizations: roles.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        client: true,
        lifetime: Duration::from_secs_f64(seconds.max(0.0)),
        ..Request::default()
    })?;
    let [ca, crt, key] = [authority.pem(), leaf.pem(), leaf.key_pem()].map(|t| STANDARD.encode(t));
    let context = format!("admin@{}", config.text("cluster.clusterName"));
    let text = yaml::write(&json!({
        "context": context, "contexts": {context.clone(): {"endpoints": [], "ca": ca, "crt": crt, "key": key}},
    }));
    Ok(one(json!({"ca": ca, "crt": crt, "key": key, "talosconfig": STANDARD.encode(text)})))
}

fn reset(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    let wipe = call
        .request()
        .get("systemPartitionsToWipe")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let labels: Vec<&str> =
        wipe.iter().filter_map(|w| w.get("label").and_then(Value::as_str)).collect();
    if let Some(bad) = labels.iter().find(|l| !matches!(**l, "STATE" | "EPHEMERAL" | "META")) {
        let message = format!(
            "failed to get volume status with label {bad:?}: resource VolumeStatuses.block.talos.dev(runtime/{bad}@undefined) doesn't exist"
        );
        return Err(Status::new(code::UNKNOWN, message));
    }
    let disks = call.request().get("userDisksToWipe").and_then(Value::as_array).cloned();
    for disk in disks.iter().flatten().filter_map(Value::as_str) {
        let is = |known: &super::super::spec::DiskSpec| format!("/dev/{}", known.dev) == disk;
        if !node.machine().spec.disks.iter().any(is) {
            let text = format!("reset user disk failed: device {disk} wasn't found");
            return Err(Status::new(code::UNKNOWN, text));
        }
    }
    let mode = call.text("mode");
    let system = labels.is_empty() && mode != "USER_DISKS";
    if call.flag("graceful") {
        // A drain that fails is only logged.
        if let Err(why) = super::super::kube::drain(node) {
            tracing::debug!(why, node = node.uuid, "drain before a reset");
        }
    }
    if call.flag("graceful") && mode != "USER_DISKS" && node.content().etcd.is_some() {
        super::super::life::leave(node);
    }
    let actor = uuid::Uuid::new_v4().to_string();
    node.order(Order::Reset {
        state: labels.contains(&"STATE"),
        ephemeral: labels.contains(&"EPHEMERAL"),
        system,
        reboot: call.flag("reboot"),
        actor: actor.clone(),
    });
    Ok(one(json!({"actorId": actor})))
}

/// The older call answers when the image is there, which takes its time, and checked.
async fn upgrade(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    let content = node.content();
    if content.installed.is_none() {
        return Err(Status::new(code::FAILED_PRECONDITION, "Talos is not installed"));
    }
    let image = call.text("image");
    if !content.system_images.contains(image) {
        super::super::life::pause(node, 30.0).await;
    }
    super::image::pull(node, image, false).map_err(|why| {
        let text = format!("error validating installer image {image:?}: {}", why.message);
        Status::new(code::UNKNOWN, text)
    })?;
    // Up to 1.12 the check was left out as well when data was to be preserved.
    let unchecked = call.flag("force") || node.minor() <= 12 && call.flag("preserve");
    let cluster = content.etcd.and_then(|d| node.net()?.clusters.get(&d.cluster));
    if let (Some(cluster), false) = (cluster, unchecked)
        && cluster.members.len() == 2
    {
        let message = "error validating etcd for upgrade: etcd member count(2) is insufficient to maintain quorum if upgrade commences";
        return Err(Status::new(code::UNKNOWN, message));
    }
    let actor = uuid::Uuid::new_v4().to_string();
    if call.flag("stage") {
        node.write(|c| c.upgrade = Some(image.to_owned()));
        node.order(Order::Reboot(actor.clone()));
    } else {
        node.order(Order::Upgrade { image: image.to_owned(), actor: actor.clone() });
    }
    Ok(one(json!({"ack": "Upgrade request received", "actorId": actor})))
}

fn rollback(node: &NodeInner) -> Result<Reply, Status> {
    if node.content().previous.is_none() {
        return Err(Status::new(code::UNKNOWN, "cannot rollback to \"\", label does not exist"));
    }
    node.write(|c| {
        std::mem::swap(&mut c.installed, &mut c.previous);
        c.trial = false;
    });
    node.order(Order::Reboot(uuid::Uuid::new_v4().to_string()));
    Ok(one(json!({})))
}

fn meta(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    let key = call.request().get("key").and_then(Value::as_u64).unwrap_or(0);
    let key = u8::try_from(key)
        .map_err(|_| Status::new(code::INVALID_ARGUMENT, "key must be a uint8"))?;
    if call.method() == "MetaWrite" {
        let value = STANDARD.decode(call.text("value")).unwrap_or_default();
        let value = String::from_utf8_lossy(&value).into_owned();
        node.write(|c| drop(c.meta.insert(key, value)));
    } else {
        if !node.content().meta.contains_key(&key) {
            return Err(Status::new(code::NOT_FOUND, "meta key not found"));
        }
        node.write(|c| drop(c.meta.remove(&key)));
    }
    node.sync();
    Ok(one(json!({})))
}

fn events(node: &NodeInner, call: &Call) -> Reply {
    let (past, receiver) = node.log.watch();
    let number = |key: &str| call.request().get(key).and_then(Value::as_i64).unwrap_or(0);
    let (tail, seconds) = (number("tailEvents"), number("tailSeconds"));
    let actor = call.text("withActorId").to_owned();
    let fits = move |e: &Value| {
        actor.is_empty() || e.get("actorId").and_then(Value::as_str) == Some(&actor)
    };
    // One of these is set, else only what comes is told.
    let after = match (call.text("tailId"), seconds) {
        ("", 1..) => Some(event::first_of(jiff::Timestamp::now().as_second() - seconds)),
        ("", _) => None,
        (id, _) => Some(id.to_owned()),
    };
    let count = match (tail, &after) {
        (0, None) => 0,
        (0, Some(_)) => usize::MAX,
        (tail, _) => usize::try_from(tail).unwrap_or(usize::MAX),
    };
    let is_later = |e: &Value| match (&after, e.get("id").and_then(Value::as_str)) {
        (Some(after), Some(id)) => id > after.as_str(),
        _ => true,
    };
    let chosen: Vec<Value> = past.into_iter().filter(|e| fits(e) && is_later(e)).collect();
    let skip = chosen.len().saturating_sub(count);
    let hello = json!({"data": {}, "id": "0"});
    let queue: std::collections::VecDeque<Value> =
        std::iter::once(hello).chain(chosen.into_iter().skip(skip)).collect();
    let stream = futures_util::stream::unfold(
        (queue, receiver, fits),
        |(mut queue, mut receiver, fits)| async move {
            loop {
                if let Some(next) = queue.pop_front() {
                    return Some((Ok(next), (queue, receiver, fits)));
                }
                match receiver.recv().await {
                    Ok(event) if fits(&event) => queue.push_back(event),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        },
    );
    let frames: Frames = Box::pin(stream);
    Reply::Many(frames)
}
