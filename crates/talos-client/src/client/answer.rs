//! Envelopes: an answer is a list with one element a node; this client asks one node.

use crate::proto::{common, machine, storage};

/// A chunk of a stream of bytes.
pub(crate) type Frame = common::Data;

/// An answer in an envelope.
pub(crate) trait Envelope {
    /// What one node answers.
    type Item;

    /// The answers.
    fn items(self) -> Vec<Self::Item>;

    /// Which node answered, and whether it failed.
    fn metadata(item: &Self::Item) -> Option<&common::Metadata>;
}

macro_rules! envelopes {
    ($($outer:ty => $inner:ty;)+) => {
        $(impl Envelope for $outer {
            type Item = $inner;

            fn items(self) -> Vec<$inner> {
                self.messages
            }

            fn metadata(item: &$inner) -> Option<&common::Metadata> {
                item.metadata.as_ref()
            }
        })+
    };
}

envelopes! {
    machine::VersionResponse => machine::Version;
    machine::HostnameResponse => machine::Hostname;
    machine::ApplyConfigurationResponse => machine::ApplyConfiguration;
    machine::BootstrapResponse => machine::Bootstrap;
    machine::ServiceListResponse => machine::ServiceList;
    machine::ServiceStartResponse => machine::ServiceStart;
    machine::ServiceStopResponse => machine::ServiceStop;
    machine::ServiceRestartResponse => machine::ServiceRestart;
    machine::EtcdMemberListResponse => machine::EtcdMembers;
    machine::EtcdStatusResponse => machine::EtcdStatus;
    machine::EtcdAlarmListResponse => machine::EtcdAlarm;
    machine::EtcdAlarmDisarmResponse => machine::EtcdAlarmDisarm;
    machine::EtcdDefragmentResponse => machine::EtcdDefragment;
    machine::EtcdForfeitLeadershipResponse => machine::EtcdForfeitLeadership;
    machine::EtcdLeaveClusterResponse => machine::EtcdLeaveCluster;
    machine::EtcdRemoveMemberByIdResponse => machine::EtcdRemoveMemberById;
    machine::EtcdRecoverResponse => machine::EtcdRecover;
    machine::EtcdDowngradeValidateResponse => machine::EtcdDowngradeValidate;
    machine::EtcdDowngradeEnableResponse => machine::EtcdDowngradeEnable;
    machine::EtcdDowngradeCancelResponse => machine::EtcdDowngradeCancel;
    machine::RebootResponse => machine::Reboot;
    machine::ShutdownResponse => machine::Shutdown;
    machine::ResetResponse => machine::Reset;
    machine::RollbackResponse => machine::Rollback;
    machine::UpgradeResponse => machine::Upgrade;
    machine::MetaWriteResponse => machine::MetaWrite;
    machine::MetaDeleteResponse => machine::MetaDelete;
    machine::ImagePullResponse => machine::ImagePull;
    machine::MemoryResponse => machine::Memory;
    storage::DisksResponse => storage::Disks;
    storage::BlockDeviceWipeResponse => storage::BlockDeviceWipe;
}
