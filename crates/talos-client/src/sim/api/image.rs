//! Images.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::grpc::{Call, Reply, Status, code};
use super::super::node::{Api, NodeInner};

/// A call about images.
pub(super) async fn call(node: &Arc<NodeInner>, call: &Call) -> Result<Reply, Status> {
    let containerd = call.request().get("containerd").cloned().unwrap_or_default();
    let text =
        |key: &str| containerd.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let method = call.method();
    if method != "Verify"
        && method != "Import"
        && matches!(text("namespace").as_str(), "" | "NS_UNKNOWN")
    {
        return Err(Status::new(code::INVALID_ARGUMENT, "invalid containerd namespace NS_UNKNOWN"));
    }
    let image = call.text("imageRef");
    let is_cri = text("namespace") == "NS_CRI";
    match method {
        "List" => {
            let maintenance = matches!(node.machine().api, Api::Maintenance(_));
            if maintenance && text("driver") == "CRI" {
                return Err(no_runtime(node).await);
            }
            Ok(Reply::list(list(node, is_cri, true)))
        }
        "Pull" => {
            let name = pull(node, image, is_cri)?;
            let steps = progress(image).into_iter().map(|step| json!({ "pullProgress": step }));
            Ok(Reply::list(steps.chain([json!({ "name": name })]).collect()))
        }
        "Remove" => remove(node, image, is_cri),
        "Verify" => Ok(Reply::One(json!({"message": "no matched rule"}))),
        _ => import(node, call),
    }
}

/// The older calls about images: they name the namespace themselves.
pub(super) async fn older(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    if matches!(node.machine().api, Api::Maintenance(_)) {
        return Err(no_runtime(node).await);
    }
    let is_cri = call.text("namespace") == "NS_CRI";
    if call.method() == "ImageList" {
        return Ok(Reply::list(list(node, is_cri, false)));
    }
    pull(node, call.text("reference"), is_cri)?;
    Ok(Reply::One(json!({ "messages": [{}] })))
}

/// Repositories that the simulated registries hold: what Talos and Kubernetes are made of.
const HELD: [&str; 14] = [
    "gcr.io/etcd-development/etcd",
    "ghcr.io/siderolabs/flannel",
    "ghcr.io/siderolabs/imager",
    "ghcr.io/siderolabs/installer",
    "ghcr.io/siderolabs/installer-base",
    "ghcr.io/siderolabs/kubelet",
    "ghcr.io/siderolabs/talosctl",
    "registry.k8s.io/coredns/coredns",
    "registry.k8s.io/etcd",
    "registry.k8s.io/kube-apiserver",
    "registry.k8s.io/kube-controller-manager",
    "registry.k8s.io/kube-proxy",
    "registry.k8s.io/kube-scheduler",
    "registry.k8s.io/pause",
];

/// Whether an image factory makes it: installers of any schematic.
fn is_made(repository: &str) -> bool {
    let mut parts = repository.rsplit('/');
    let schematic = parts.next().unwrap_or_default();
    schematic.len() == 64 && parts.next().is_some_and(|name| name.ends_with("installer"))
}

/// An image by its parts: repository, and the digest of what is there under that name.
fn parts(image: &str) -> (&str, String) {
    let bare = image.split('@').next().unwrap_or_default();
    // A colon before the last slash is that of a port.
    let slash = bare.rfind('/').map_or(0, |at| at + 1);
    let tag = bare.get(slash..).and_then(|name| name.find(':')).map(|at| slash + at);
    let repository = tag.and_then(|at| bare.get(..at)).unwrap_or(bare);
    let digest = match image.split_once('@') {
        Some((_, digest)) => digest.to_owned(),
        None => Sha256::digest(image)
            .iter()
            .fold("sha256:".to_owned(), |digest, byte| format!("{digest}{byte:02x}")),
    };
    (repository, digest)
}

/// Fetches an image; its name by digest.
pub(super) fn pull(node: &NodeInner, image: &str, is_cri: bool) -> Result<String, Status> {
    if image.is_empty() || image.contains(char::is_whitespace) {
        let message =
            format!("failed to parse image reference {image:?}: invalid reference format");
        return Err(Status::new(code::UNKNOWN, message));
    }
    let (repository, digest) = parts(image);
    let named =
        named(node, &["machine.kubelet.image", "cluster.etcd.image", "machine.install.image"]);
    let is_named = named.iter().any(|other| parts(other).0 == repository);
    if !is_named && !HELD.contains(&repository) && !is_made(repository) {
        let message = format!(
            "error pulling image: 1 error(s) occurred:\n\tfailed to pull image {image:?}: \
             failed to resolve reference {image:?}: {image}: not found"
        );
        return Err(Status::new(code::NOT_FOUND, message));
    }
    if node.net().is_some_and(|net| net.faults.take(&node.names(), "@pull").is_some()) {
        let text = format!(
            "failed to pull image {image:?}: write /var/lib/containerd: no space left on device"
        );
        return Err(Status::new(code::UNKNOWN, text));
    }
    node.write(|content| {
        let store = if is_cri { &mut content.images } else { &mut content.system_images };
        store.insert(image.to_owned());
    });
    Ok(format!("{repository}@{digest}"))
}

/// How its one layer comes.
fn progress(image: &str) -> Vec<Value> {
    const TOTAL: u64 = 10 << 20;
    let digest = Sha256::digest(image);
    let layer = digest.iter().take(6).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let part = |offset: u64| json!({"offset": offset.to_string(), "total": TOTAL.to_string()});
    let state = |state: &str| json!({ "status": state });
    let steps = [
        part(TOTAL / 2),
        part(TOTAL),
        state("DOWNLOAD_COMPLETE"),
        state("EXTRACTING"),
        state("EXTRACT_COMPLETE"),
    ];
    steps.map(|step| json!({"layerId": layer, "progress": step})).into()
}

/// Takes an archive in pieces; the first message says which store it is for.
fn import(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    let pieces = call.requests.iter().filter_map(|request| {
        let piece = request.pointer("/imageChunk/bytes").and_then(Value::as_str)?;
        STANDARD.decode(piece).ok()
    });
    let archive: Vec<u8> = pieces.flatten().collect();
    let Some(image) = named_in(&archive) else {
        return Err(Status::new(code::INTERNAL, "failed to import image: unexpected EOF"));
    };
    let namespace = call.request().pointer("/containerd/namespace").and_then(Value::as_str);
    node.write(|content| {
        let is_cri = namespace == Some("NS_CRI");
        let store = if is_cri { &mut content.images } else { &mut content.system_images };
        store.insert(image.clone());
    });
    Ok(Reply::One(json!({ "name": image })))
}

/// The first name that an archive gives its image: in the form of Docker, or of OCI.
fn named_in(archive: &[u8]) -> Option<String> {
    let member = |name| member_of(archive, name);
    let text = |value: &Value, at: &str| value.pointer(at)?.as_str().map(str::to_owned);
    if let Some(manifest) = member("manifest.json") {
        return text(&serde_json::from_slice(manifest).ok()?, "/0/RepoTags/0");
    }
    let index: Value = serde_json::from_slice(member("index.json")?).ok()?;
    ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
        .iter()
        .find_map(|key| text(&index, &format!("/manifests/0/annotations/{key}")))
}

/// A file of a tape archive.
fn member_of<'a>(mut archive: &'a [u8], name: &str) -> Option<&'a [u8]> {
    const BLOCK: usize = 512;
    loop {
        let (head, rest) = archive.split_at_checked(BLOCK)?;
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).trim().to_owned()
        };
        let size = usize::from_str_radix(&text(head.get(124..136)?), 8).ok()?;
        let found = text(head.get(..100)?);
        if found.trim_start_matches("./") == name {
            return rest.get(..size);
        }
        archive = rest.get(size.next_multiple_of(BLOCK)..)?;
    }
}

fn remove(node: &NodeInner, image: &str, is_cri: bool) -> Result<Reply, Status> {
    let mut was_there = !is_cri && named(node, &SYSTEM).iter().any(|name| name == image);
    node.write(|content| {
        let store = if is_cri { &mut content.images } else { &mut content.system_images };
        was_there |= store.remove(image);
    });
    match was_there {
        true => Ok(Reply::One(json!({}))),
        false => Err(Status::new(code::NOT_FOUND, format!("image {image} not found"))),
    }
}

/// What the system pulls by itself; the installer is gone when it has done its work.
const SYSTEM: [&str; 2] = ["machine.kubelet.image", "cluster.etcd.image"];

/// Images that the configuration names at these paths.
fn named(node: &NodeInner, paths: &[&str]) -> Vec<String> {
    let machine = node.machine();
    let images = paths.iter().map(|path| machine.config.text(path).to_owned());
    images.filter(|image| !image.is_empty()).collect()
}

/// Rows of a list, by name: each image by its tag, by its digest, and by the bare digest.
fn list(node: &NodeInner, is_cri: bool, labels: bool) -> Vec<Value> {
    let images: Vec<String> = match is_cri {
        true => node.content().images.into_iter().collect(),
        false => named(node, &SYSTEM),
    };
    let since = node.machine().booted_at.to_string();
    let rows = images.iter().flat_map(|image| {
        let (repository, digest) = parts(image);
        [image.clone(), format!("{repository}@{digest}"), digest.clone()].map(|name| {
            let mut row =
                json!({ "name": name, "digest": digest, "createdAt": since, "size": "10485760" });
            if let Some(row) = row.as_object_mut().filter(|_| is_cri && labels) {
                row.insert("labels".into(), json!({ "io.cri-containerd.image": "managed" }));
            }
            row
        })
    });
    let mut rows: Vec<Value> = rows.collect();
    rows.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    rows
}

/// The runtime of Kubernetes does not answer before there is a configuration.
pub(super) async fn no_runtime(node: &NodeInner) -> Status {
    super::super::life::pause(node, 10.0).await;
    Status::new(
        code::UNKNOWN,
        "connection error: desc = \"transport: Error while dialing: dial unix:///run/containerd/containerd.sock: timeout\"",
    )
}
