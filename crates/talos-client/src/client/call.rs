//! The calls of the machine API that the client makes.

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// As a call that reads.
    Call,
    /// As one that changes something.
    Long,
    /// As one to etcd.
    Etcd,
}

/// One method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// `/package.Service/Method`.
    pub(crate) path: &'static str,
    /// What it does, for people.
    pub(crate) name: &'static str,
    /// It changes something on the node.
    pub(crate) changes: bool,
    /// Time limit.
    pub(crate) limit: Limit,
    /// First version that has it, unless all have it.
    pub(crate) since: Option<&'static str>,
}

macro_rules! calls {
    ($($constant:ident $path:literal $name:literal $class:ident $limit:ident $($since:literal)?;)+) => {
        $(pub(crate) const $constant: Call = Call {
            path: $path,
            name: $name,
            changes: calls!(@ $class),
            limit: Limit::$limit,
            since: calls!(@since $($since)?),
        };)+

        #[cfg(test)]
        const ALL: &[Call] = &[$($constant),+];
    };
    (@ reads) => { false };
    (@ changes) => { true };
    (@since) => { None };
    (@since $since:literal) => { Some($since) };
}

calls! {
    CLUSTER_HEALTH "/cluster.ClusterService/HealthCheck" "check the cluster" reads Call;
    VERSION "/machine.MachineService/Version" "read the version" reads Call;
    HOSTNAME "/machine.MachineService/Hostname" "read the host name" reads Call;
    APPLY "/machine.MachineService/ApplyConfiguration" "apply the configuration" changes Long;
    APPLY_DRY "/machine.MachineService/ApplyConfiguration" "try the configuration in a dry run" reads Long;
    BOOTSTRAP "/machine.MachineService/Bootstrap" "bootstrap etcd" changes Call;
    KUBECONFIG "/machine.MachineService/Kubeconfig" "read the kubeconfig" reads Long;
    SERVICES "/machine.MachineService/ServiceList" "list the services" reads Call;
    SERVICE_START "/machine.MachineService/ServiceStart" "start a service" changes Long;
    SERVICE_STOP "/machine.MachineService/ServiceStop" "stop a service" changes Long;
    SERVICE_RESTART "/machine.MachineService/ServiceRestart" "restart a service" changes Long;
    ETCD_MEMBERS "/machine.MachineService/EtcdMemberList" "list the etcd members" reads Etcd;
    ETCD_STATUS "/machine.MachineService/EtcdStatus" "read the status of etcd" reads Etcd;
    ETCD_ALARMS "/machine.MachineService/EtcdAlarmList" "list the alarms of etcd" reads Etcd;
    ETCD_DISARM "/machine.MachineService/EtcdAlarmDisarm" "disarm the alarms of etcd" changes Etcd;
    ETCD_DEFRAGMENT "/machine.MachineService/EtcdDefragment" "defragment etcd" changes Long;
    ETCD_FORFEIT "/machine.MachineService/EtcdForfeitLeadership" "give up the leadership of etcd" changes Etcd;
    ETCD_LEAVE "/machine.MachineService/EtcdLeaveCluster" "leave the etcd cluster" changes Long;
    ETCD_REMOVE "/machine.MachineService/EtcdRemoveMemberByID" "remove an etcd member" changes Etcd;
    ETCD_SNAPSHOT "/machine.MachineService/EtcdSnapshot" "take a snapshot of etcd" reads Long;
    ETCD_RECOVER "/machine.MachineService/EtcdRecover" "upload a snapshot of etcd" changes Long;
    ETCD_DOWNGRADE_CHECK "/machine.MachineService/EtcdDowngradeValidate" "check whether etcd may go back" reads Etcd;
    ETCD_DOWNGRADE "/machine.MachineService/EtcdDowngradeEnable" "let etcd go back" changes Etcd;
    ETCD_DOWNGRADE_CANCEL "/machine.MachineService/EtcdDowngradeCancel" "keep etcd from going back" changes Etcd;
    REBOOT "/machine.MachineService/Reboot" "reboot" changes Call;
    SHUTDOWN "/machine.MachineService/Shutdown" "shut down" changes Call;
    RESET "/machine.MachineService/Reset" "reset" changes Call;
    ROLLBACK "/machine.MachineService/Rollback" "roll back" changes Long;
    UPGRADE "/machine.MachineService/Upgrade" "upgrade" changes Long;
    EVENTS "/machine.MachineService/Events" "follow the events" reads Call;
    LOGS "/machine.MachineService/Logs" "read a log" reads Call;
    DMESG "/machine.MachineService/Dmesg" "read the kernel's log" reads Call;
    IMAGE_PULL "/machine.ImageService/Pull" "pull an image" changes Long "1.13";
    IMAGE_LIST "/machine.ImageService/List" "list the images" reads Long "1.13";
    IMAGE_REMOVE "/machine.ImageService/Remove" "remove an image" changes Long "1.13";
    IMAGE_IMPORT "/machine.ImageService/Import" "import an image" changes Long "1.13";
    OLD_IMAGE_PULL "/machine.MachineService/ImagePull" "pull an image" changes Long;
    OLD_IMAGE_LIST "/machine.MachineService/ImageList" "list the images" reads Long;
    LIFECYCLE_UPGRADE "/machine.LifecycleService/Upgrade" "install another version" changes Long "1.13";
    LIFECYCLE_ASK "/machine.LifecycleService/Upgrade" "ask for the installer" reads Call "1.13";
    CAPTURE "/machine.MachineService/PacketCapture" "capture packets" reads Call;
    READ "/machine.MachineService/Read" "read a file" reads Long;
    FILES "/machine.MachineService/List" "list files" reads Long;
    USAGE "/machine.MachineService/DiskUsage" "measure folders" reads Long;
    COPY "/machine.MachineService/Copy" "read a folder" reads Long;
    META_WRITE "/machine.MachineService/MetaWrite" "write META" changes Call;
    META_DELETE "/machine.MachineService/MetaDelete" "delete from META" changes Call;
    MEMORY "/machine.MachineService/Memory" "read the memory" reads Call;
    WIPE "/storage.StorageService/BlockDeviceWipe" "wipe block devices" changes Long;
    GET "/cosi.resource.State/Get" "read a resource" reads Call;
    LIST "/cosi.resource.State/List" "list resources" reads Call;
    WATCH "/cosi.resource.State/Watch" "watch resources" reads Call;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_in_the_description() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let mut found = std::collections::BTreeSet::new();
        for file in [
            "cluster/cluster.proto",
            "machine/machine.proto",
            "machine/image.proto",
            "machine/lifecycle.proto",
            "storage/storage.proto",
            "v1alpha1/state.proto",
        ] {
            let file = std::fs::File::open(root.join(file)).unwrap();
            let text = std::io::read_to_string(file).unwrap();
            let (mut package, mut service) = ("", "");
            for line in text.lines() {
                if let Some(name) = line.strip_prefix("package ") {
                    package = name.trim_end_matches(';');
                } else if let Some(name) = line.strip_prefix("service ") {
                    service = name.trim_end_matches(" {");
                } else if let Some(rest) = line.strip_prefix("  rpc ") {
                    let method = rest.split('(').next().unwrap();
                    found.insert(format!("/{package}.{service}/{method}"));
                }
            }
        }
        assert!(found.len() > 60);
        for call in ALL {
            assert!(found.contains(call.path), "{}", call.path);
        }
    }
}
