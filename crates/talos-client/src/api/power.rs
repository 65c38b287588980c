//! Reboot, shutdown, reset.

use crate::client::{Client, call};
use crate::error::Error;
use crate::proto::machine::{self, reboot_request, reset_request};

/// How a node reboots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RebootMode {
    /// As fast as it can, without the firmware where that is possible.
    #[default]
    Default,
    /// With the firmware.
    PowerCycle,
    /// Without stopping services. Nodes up to 1.11 take it for the default.
    Force,
}

/// What a reset wipes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WipeMode {
    /// The system disk and the named user disks.
    #[default]
    All,
    /// The system disk, or the named partitions of it.
    SystemDisk,
    /// The named user disks.
    UserDisks,
}

/// What a reset does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResetOptions {
    /// Drain the node and leave etcd first. A node that cannot leave etcd is not reset then: not
    /// for the last control plane, nor without a quorum.
    pub graceful: bool,
    /// Reboot afterwards; else the machine is powered off.
    pub reboot: bool,
    /// What to wipe.
    pub mode: WipeMode,
    /// Only these partitions of the system disk, such as `STATE` and `EPHEMERAL`, which leaves the
    /// installed system: the node comes back in maintenance mode.
    pub partitions: Vec<String>,
    /// User disks to wipe, such as `/dev/sdb`.
    pub user_disks: Vec<String>,
}

impl Default for ResetOptions {
    /// Graceful, with a reboot, the whole system disk.
    fn default() -> Self {
        Self {
            graceful: true,
            reboot: true,
            mode: WipeMode::All,
            partitions: Vec::new(),
            user_disks: Vec::new(),
        }
    }
}

impl ResetOptions {
    /// Back to maintenance mode: configuration and data are wiped, the system stays.
    pub fn to_maintenance() -> Self {
        Self {
            mode: WipeMode::SystemDisk,
            partitions: vec!["STATE".to_owned(), "EPHEMERAL".to_owned()],
            ..Self::default()
        }
    }

    /// Whether to drain the node and leave etcd first.
    #[must_use]
    pub fn graceful(mut self, graceful: bool) -> Self {
        self.graceful = graceful;
        self
    }

    /// Whether to reboot afterwards.
    #[must_use]
    pub fn reboot(mut self, reboot: bool) -> Self {
        self.reboot = reboot;
        self
    }

    /// What to wipe.
    #[must_use]
    pub fn mode(mut self, mode: WipeMode) -> Self {
        self.mode = mode;
        self
    }

    /// Wipe these user disks too.
    #[must_use]
    pub fn user_disks(mut self, disks: Vec<String>) -> Self {
        self.user_disks = disks;
        self
    }
}

impl Client {
    /// Reboots the node; gives the identity under which its events name this. The node is not
    /// drained. See [`Client::boot_id`] for knowing when it is done.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn reboot(&self, mode: RebootMode) -> Result<String, Error> {
        let mode = match mode {
            RebootMode::Default => reboot_request::Mode::Default,
            RebootMode::PowerCycle => reboot_request::Mode::Powercycle,
            RebootMode::Force => reboot_request::Mode::Force,
        };
        let request = machine::RebootRequest { mode: mode.into() };
        let answer = self.ask::<_, machine::RebootResponse>(&call::REBOOT, request).await?;
        Ok(answer.actor_id)
    }

    /// Powers the node off; gives the identity under which its events name this. The node is
    /// drained first, unless `force` is set.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn shutdown(&self, force: bool) -> Result<String, Error> {
        let request = machine::ShutdownRequest { force };
        let answer = self.ask::<_, machine::ShutdownResponse>(&call::SHUTDOWN, request).await?;
        Ok(answer.actor_id)
    }

    /// Wipes the node; gives the identity under which its events name this.
    ///
    /// # Errors
    /// See [`Error`]. Options that wipe nothing are refused here: a node would take them and power
    /// itself off.
    pub async fn reset(&self, options: &ResetOptions) -> Result<String, Error> {
        let call = &call::RESET;
        let mode = match options.mode {
            WipeMode::All => reset_request::WipeMode::All,
            WipeMode::SystemDisk => reset_request::WipeMode::SystemDisk,
            WipeMode::UserDisks => reset_request::WipeMode::UserDisks,
        };
        if options.mode == WipeMode::UserDisks && options.user_disks.is_empty() {
            return Err(self.refused(call, "no user disk is named: nothing would be wiped"));
        }
        if options.mode == WipeMode::UserDisks && !options.partitions.is_empty() {
            return Err(self.refused(
                call,
                "partitions of the system disk are named, but only user disks shall be wiped",
            ));
        }
        let partitions = options.partitions.iter();
        let request = machine::ResetRequest {
            graceful: options.graceful,
            reboot: options.reboot,
            system_partitions_to_wipe: partitions
                .map(|label| machine::ResetPartitionSpec { label: label.clone(), wipe: true })
                .collect(),
            user_disks_to_wipe: options.user_disks.clone(),
            mode: mode.into(),
        };
        Ok(self.ask::<_, machine::ResetResponse>(call, request).await?.actor_id)
    }
}
