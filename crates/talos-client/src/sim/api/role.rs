//! Which roles may make which call.

use super::super::grpc::{Call, Status, code};

const ADMIN: &[&str] = &[
    "ApplyConfiguration",
    "Bootstrap",
    "Kubeconfig",
    "Read",
    "Copy",
    "Reset",
    "Rollback",
    "Upgrade",
    "EtcdLeaveCluster",
    "EtcdForfeitLeadership",
    "EtcdRecover",
    "EtcdRemoveMemberByID",
    "EtcdDowngradeValidate",
    "EtcdDowngradeEnable",
    "EtcdDowngradeCancel",
    "GenerateClientConfiguration",
    "BlockDeviceWipe",
];
const OPERATOR: &[&str] = &[
    "Reboot",
    "Shutdown",
    "Restart",
    "ServiceStart",
    "ServiceStop",
    "ServiceRestart",
    "ImagePull",
    "EtcdDefragment",
    "EtcdAlarmDisarm",
    "PacketCapture",
];
const BACKUP: &[&str] = &["EtcdStatus", "EtcdMemberList", "EtcdAlarmList"];

/// What a call asks of its caller.
fn needed(call: &Call) -> &'static [&'static str] {
    const READER: &[&str] = &["os:admin", "os:operator", "os:reader"];
    const WRITER: &[&str] = &["os:admin", "os:operator"];
    const ONLY: &[&str] = &["os:admin"];
    let method = call.method();
    match (call.service(), method) {
        ("cosi.resource.State", "Get" | "List" | "Watch") => {
            if super::super::wire::resource::is_sensitive(call.text("type")) {
                ONLY
            } else {
                READER
            }
        }
        (
            "cosi.resource.State"
            | "machine.LifecycleService"
            | "machine.DebugService"
            | "machine.LVMService",
            _,
        )
        | ("machine.ImageService", "Import" | "Remove") => ONLY,
        ("machine.ImageService", "Pull") => WRITER,
        (_, "MetaWrite" | "MetaDelete") => &["os:admin", "os:meta:writer"],
        (_, "EtcdSnapshot") => &["os:admin", "os:operator", "os:etcd:backup"],
        _ if ADMIN.contains(&method) => ONLY,
        _ if OPERATOR.contains(&method) => WRITER,
        _ if BACKUP.contains(&method) => {
            &["os:admin", "os:operator", "os:reader", "os:etcd:backup"]
        }
        _ => READER,
    }
}

/// Whether the caller may.
pub(super) fn check(call: &Call) -> Result<(), Status> {
    let needed = needed(call);
    if call.peer.roles.iter().any(|role| needed.contains(&role.as_str())) {
        return Ok(());
    }
    Err(Status::denied())
}

/// Whether anyone may, on a node without configuration.
pub(super) fn maintenance(call: &Call, minor: u64) -> Result<(), Status> {
    let method = call.method();
    if method == "ApplyConfiguration" {
        return Ok(());
    }
    if minor <= 12 {
        let open = match call.service() {
            "cosi.resource.State" => matches!(method, "Get" | "List" | "Watch"),
            "storage.StorageService" => method == "Disks",
            _ => false,
        };
        if !open {
            return Err(Status::new(
                code::UNIMPLEMENTED,
                "API is not implemented in maintenance mode",
            ));
        }
    }
    if method == "BlockDeviceWipe" || needed(call).contains(&"os:reader") {
        return Ok(());
    }
    Err(Status::denied())
}

/// How a call that only control-plane nodes have is named in its refusal.
pub(super) fn control_plane_name(method: &str) -> Option<&'static str> {
    Some(match method {
        "Kubeconfig" => "kubeconfig",
        "EtcdMemberList" => "member list",
        "EtcdStatus" => "etcd status",
        "EtcdSnapshot" => "etcd snapshot",
        "EtcdAlarmList" => "etcd alarm list",
        "EtcdAlarmDisarm" => "etcd alarm disarm",
        "EtcdDefragment" => "etcd defragment",
        "EtcdLeaveCluster" => "etcd leave",
        "EtcdForfeitLeadership" => "etcd forfeit leadership",
        "EtcdRemoveMemberByID" => "etcd remove member",
        "EtcdDowngradeValidate" => "etcd downgrade validate",
        "EtcdDowngradeEnable" => "etcd downgrade enable",
        "EtcdDowngradeCancel" => "etcd downgrade cancel",
        "EtcdRecover" => "etcd recover",
        "GenerateClientConfiguration" => "generate client configuration",
        "Bootstrap" => "bootstrap",
        "HealthCheck" => "cluster health check",
        _ => return None,
    })
}
