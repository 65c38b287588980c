//! Files that a node shows: read, listed, measured, packed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::grpc::{Call, Reply, Status, code};
use super::super::node::{Machine, NodeInner};
use super::archive::{Member, pack};

/// Bit of a folder in the modes that Go has.
const FOLDER: u32 = 0x8000_0000;

/// A content, or `None` for a folder.
type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// A call about files.
pub(super) fn call(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    let tree = tree(node);
    match call.method() {
        "Read" => read(&tree, call.text("path")),
        "List" => list(&tree, call),
        "Copy" => copy(&tree, call.text("rootPath")),
        _ => Ok(usage(&tree, call)),
    }
}

fn tree(node: &NodeInner) -> Tree {
    let content = node.content();
    let machine = node.machine();
    let version = &machine.system.version;
    let release = format!(
        "NAME=\"Talos\"\nID=talos\nVERSION_ID={version}\nPRETTY_NAME=\"Talos ({version})\"\nHOME_URL=\"https://www.talos.dev/\"\n"
    );
    let name = machine.hostname();
    let boot = format!("{}\n", machine.boot_id);
    let up = jiff::Timestamp::now().as_second() - machine.booted_at.as_second();
    let mut out = Tree::new();
    let files = [
        ("/etc/hostname", format!("{name}\n")),
        ("/etc/hosts", format!("127.0.0.1 localhost\n127.0.1.1 {name}\n")),
        ("/etc/machine-id", format!("{}\n", machine.spec.uuid.replace('-', ""))),
        ("/etc/os-release", release),
        ("/etc/resolv.conf", "nameserver 127.0.0.53\n".to_owned()),
        ("/proc/cmdline", command_line(&machine)),
        ("/proc/sys/kernel/hostname", format!("{name}\n")),
        ("/proc/sys/kernel/random/boot_id", boot),
        ("/proc/uptime", format!("{up}.00 {up}.00\n")),
        ("/proc/version", "Linux version 6.18.0-talos\n".to_owned()),
    ];
    for (path, text) in files {
        out.insert(path.to_owned(), Some(text.into_bytes()));
    }
    let folders = [
        "/etc/cni",
        "/etc/kubernetes/manifests",
        "/system",
        "/var/log",
        "/dev",
        "/run",
        "/sys",
        "/usr",
    ];
    out.extend(folders.map(|path| (path.to_owned(), None)));
    if machine.config.v1alpha1().is_some() {
        out.extend(["/var/lib/kubelet", "/var/lib/containerd"].map(|p| (p.to_owned(), None)));
    }
    if content.etcd.is_some() {
        out.insert("/var/lib/etcd/member/wal".to_owned(), None);
        out.insert("/var/lib/etcd/member/snap/db".to_owned(), Some(vec![0; 20480]));
    }
    let mut above = Tree::new();
    for path in out.keys() {
        let mut rest = path.as_str();
        while let Some((parent, _)) = rest.rsplit_once('/').filter(|(p, _)| !p.is_empty()) {
            above.insert(parent.to_owned(), None);
            rest = parent;
        }
    }
    above.insert("/".to_owned(), None);
    for (path, _) in above {
        out.entry(path).or_insert(None);
    }
    out
}

fn command_line(machine: &Machine) -> String {
    format!(
        "talos.platform={} console=tty0 init_on_alloc=1 slab_nomerge pti=on\n",
        machine.system.platform
    )
}

fn clean(path: &str) -> &str {
    if path.len() > 1 { path.trim_end_matches('/') } else { path }
}

fn read(tree: &Tree, path: &str) -> Result<Reply, Status> {
    match tree.get(clean(path)) {
        Some(Some(bytes)) => Ok(Reply::list(vec![json!({"bytes": STANDARD.encode(bytes)})])),
        Some(None) => Err(Status::new(code::INVALID_ARGUMENT, "path must be a regular file")),
        None => {
            let message = format!("stat {path}: no such file or directory");
            Err(Status::new(code::NOT_FOUND, message))
        }
    }
}

/// What lies under a folder with its depth, the folder itself first.
fn under<'a>(
    tree: &'a Tree,
    root: &'a str,
    depth: usize,
) -> impl Iterator<Item = (&'a str, &'a str, &'a Option<Vec<u8>>)> {
    let prefix = if root == "/" { "/".to_owned() } else { format!("{root}/") };
    tree.iter().filter_map(move |(path, data)| {
        if path == root {
            return Some((path.as_str(), ".", data));
        }
        let relative = path.strip_prefix(&prefix)?;
        (relative.split('/').count() <= depth).then_some((path.as_str(), relative, data))
    })
}

fn depth(call: &Call, unlimited: bool) -> usize {
    let limit = call.request().get("recursionDepth").and_then(Value::as_u64).unwrap_or(0);
    match usize::try_from(limit) {
        Ok(0) | Err(_) if unlimited => usize::MAX,
        Ok(0) | Err(_) => 1,
        Ok(limit) => limit,
    }
}

fn list(tree: &Tree, call: &Call) -> Result<Reply, Status> {
    let root = match call.text("root") {
        "" => "/",
        given => clean(given),
    };
    if !tree.contains_key(root) {
        let message = format!("lstat {root}: no such file or directory");
        return Err(Status::new(code::UNKNOWN, message));
    }
    let types = call.request().get("types").and_then(Value::as_array).cloned().unwrap_or_default();
    let wanted = |folder: bool| {
        let name = if folder { "DIRECTORY" } else { "REGULAR" };
        types.is_empty() || types.iter().any(|t| t.as_str() == Some(name))
    };
    let found = under(tree, root, depth(call, call.flag("recurse")));
    let rows = found.filter(|(.., data)| wanted(data.is_none())).map(|(path, relative, data)| {
        let size = data.as_ref().map_or(32, Vec::len);
        let mode = if data.is_none() { FOLDER | 0o755 } else { 0o644 };
        json!({
            "name": path, "relativeName": relative, "isDir": data.is_none(), "mode": mode,
            "size": size.to_string(), "modified": "1795392813",
        })
    });
    Ok(Reply::list(rows.collect()))
}

/// Sizes, each folder after what lies in it.
fn usage(tree: &Tree, call: &Call) -> Reply {
    let paths = call.request().get("paths").and_then(Value::as_array).cloned().unwrap_or_default();
    let threshold = call.text("threshold").parse::<i64>().unwrap_or(0);
    let mut rows = Vec::new();
    for root in paths.iter().filter_map(Value::as_str).map(clean) {
        if !tree.contains_key(root) {
            let error = format!("lstat {root}: no such file or directory");
            rows.push(json!({"name": root, "relativeName": root, "error": error}));
            continue;
        }
        let size = |of: &str| -> i64 {
            let all = under(tree, of, usize::MAX);
            let sum: usize = all.map(|(.., data)| data.as_ref().map_or(32, Vec::len)).sum();
            i64::try_from(sum).unwrap_or(i64::MAX)
        };
        let mut own: Vec<_> = under(tree, root, depth(call, true))
            .filter(|(path, _, data)| call.flag("all") || data.is_none() || *path == root)
            .map(|(path, relative, _)| (path, relative, size(path)))
            .filter(|(.., size)| match threshold {
                0.. => *size >= threshold,
                _ => *size <= -threshold,
            })
            .collect();
        own.reverse();
        rows.extend(own.into_iter().map(|(path, relative, size)| {
            json!({"name": path, "relativeName": relative, "size": size.to_string()})
        }));
    }
    Reply::list(rows)
}

fn copy(tree: &Tree, root: &str) -> Result<Reply, Status> {
    let root = clean(root);
    if !tree.contains_key(root) {
        let message = format!("lstat {root}: no such file or directory");
        return Err(Status::new(code::UNKNOWN, message));
    }
    let base = root.rsplit('/').next().unwrap_or_default();
    let members: Vec<Member<'_>> = under(tree, root, usize::MAX)
        .map(|(_, relative, data)| Member {
            // A file alone has its own name.
            name: if relative == "." && data.is_some() { base } else { relative },
            data: data.as_deref(),
            mode: if data.is_some() { 0o644 } else { 0o755 },
        })
        .collect();
    let bytes = pack(&members, true);
    Ok(Reply::list(vec![json!({"bytes": STANDARD.encode(bytes)})]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_walked_as_deep_as_asked() {
        let tree = Tree::from(
            ["/", "/etc", "/etc/a", "/etc/a/b"]
                .map(|p| (p.to_owned(), p.ends_with('b').then(Vec::new))),
        );
        let names = |depth| under(&tree, "/etc", depth).map(|(_, r, _)| r).collect::<Vec<_>>();
        assert_eq!(names(1), [".", "a"]);
        assert_eq!(names(2), [".", "a", "a/b"]);
        assert_eq!(under(&tree, "/", 1).count(), 2);
    }
}
