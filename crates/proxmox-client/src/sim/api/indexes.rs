//! Directory listings and the version.

use serde_json::{Value, json};

use super::Row;
use crate::sim::builder::Dialect;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/", root),
    ("GET", "/version", version),
    ("GET", "/nodes/{node}/version", version),
    ("GET", "/access", access),
    ("GET", "/cluster", cluster),
    ("GET", "/cluster/config", config),
    ("GET", "/nodes/{node}", node),
    ("GET", "/nodes/{node}/sdn", node_sdn),
    ("GET", "/cluster/sdn", sdn),
    ("GET", "/nodes/{node}/qemu/{vmid}", vm),
    ("GET", "/nodes/{node}/storage/{storage}", storage),
    ("GET", "/nodes/{node}/tasks/{upid}", task),
];

fn rows(key: &str, names: &[&str]) -> Result<Value, Fail> {
    Ok(names.iter().map(|name| json!({key: name})).collect())
}

fn root(_: &mut Call<'_>) -> Result<Value, Fail> {
    rows("subdir", &["version", "cluster", "nodes", "storage", "access", "pools"])
}

/// Version, release and id of the simulated packages.
pub(super) fn packages(dialect: Dialect) -> (&'static str, &'static str, &'static str) {
    match dialect {
        Dialect::V8_4 => ("8.4.5", "8.4", "57892e8e686cb35b"),
        Dialect::V9_1 => ("9.1.3", "9.1", "19e7a1f0c3c2b9c8"),
        Dialect::V9_2 => ("9.2.11", "9.2", "14a22df35955d97d"),
    }
}

fn version(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (version, release, id) = packages(call.inner.config.dialect);
    Ok(json!({"version": version, "release": release, "repoid": id}))
}

fn access(_: &mut Call<'_>) -> Result<Value, Fail> {
    rows(
        "subdir",
        &["users", "groups", "roles", "acl", "domains", "openid", "tfa", "ticket", "password"],
    )
}

fn cluster(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut names = vec![
        "acme",
        "backup",
        "backup-info",
        "ceph",
        "config",
        "firewall",
        "ha",
        "jobs",
        "log",
        "mapping",
        "metrics",
        "notifications",
        "nextid",
        "options",
        "replication",
        "resources",
        "status",
        "tasks",
        "sdn",
    ];
    if call.inner.config.dialect >= Dialect::V9_1 {
        names.extend(["bulk-action", "qemu"]);
    }
    rows("name", &names)
}

fn config(_: &mut Call<'_>) -> Result<Value, Fail> {
    rows("name", &["nodes", "totem", "join", "qdevice", "apiversion"])
}

fn node(_: &mut Call<'_>) -> Result<Value, Fail> {
    rows(
        "name",
        &[
            "qemu",
            "lxc",
            "storage",
            "tasks",
            "network",
            "dns",
            "hosts",
            "time",
            "status",
            "version",
            "config",
            "sdn",
            "hardware",
            "certificates",
            "syslog",
        ],
    )
}

fn node_sdn(_: &mut Call<'_>) -> Result<Value, Fail> {
    rows("name", &["zones"])
}

fn sdn(_: &mut Call<'_>) -> Result<Value, Fail> {
    rows("id", &["vnets", "zones", "controllers", "ipams", "dns", "fabrics"])
}

fn vm(_: &mut Call<'_>) -> Result<Value, Fail> {
    rows(
        "subdir",
        &[
            "config",
            "pending",
            "status",
            "unlink",
            "vncproxy",
            "migrate",
            "resize",
            "snapshot",
            "agent",
            "cloudinit",
        ],
    )
}

fn storage(_: &mut Call<'_>) -> Result<Value, Fail> {
    rows("subdir", &["content", "download-url", "status", "upload"])
}

fn task(_: &mut Call<'_>) -> Result<Value, Fail> {
    rows("name", &["log", "status"])
}
