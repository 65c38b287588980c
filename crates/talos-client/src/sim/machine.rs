//! The changing part of a simulated machine.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};

use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::config::net::Seed;
use super::disk::Installed;
use super::snapshot::Upload;
use super::spec::NodeSpec;

/// How the machine API is served at the moment.
#[derive(Clone, Default)]
pub(crate) enum Api {
    /// Not at all.
    #[default]
    Closed,
    /// To anyone, little.
    Maintenance(Arc<rustls::ServerConfig>),
    /// To anyone, nothing: the configuration was just taken.
    Denied(Arc<rustls::ServerConfig>),
    /// To holders of certificates.
    Secure(Arc<rustls::ServerConfig>),
}

/// What etcd does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EtcdState {
    /// Not on this node.
    #[default]
    Absent,
    /// Waits for Bootstrap or a cluster to join.
    Preparing,
    /// A recovery without a snapshot.
    Failed,
    /// Comes up.
    Starting,
    /// Healthy.
    Running,
    /// Left its cluster.
    Finished,
}

/// What someone asked the machine to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Reboot, as stage and actor.
    Reboot(String),
    /// Power off.
    Shutdown(String),
    /// Install another version, then reboot.
    Upgrade { image: String, actor: String },
    /// Wipe these and then reboot or halt.
    Reset { state: bool, ephemeral: bool, system: bool, reboot: bool, actor: String },
}

impl Order {
    /// Name of the sequence that it takes.
    pub(crate) fn sequence(&self) -> &'static str {
        match self {
            Self::Reboot(_) => "reboot",
            Self::Shutdown(_) => "shutdown",
            Self::Upgrade { .. } => "upgrade",
            Self::Reset { .. } => "reset",
        }
    }
}

/// How far an early boot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Early {
    /// No clock, no network.
    #[default]
    Nothing,
    /// The clock is looked at, no network.
    Clock,
    /// Clock and network.
    Done,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    /// State.
    pub(crate) state: String,
    /// Whether it is healthy; unknown when unset.
    pub(crate) healthy: Option<bool>,
    /// What happened to it last.
    pub(crate) message: String,
}

/// Counters that outlive reboots but not the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) boots: u64,
    pub(crate) applied: u64,
    pub(crate) bootstraps: u64,
}

/// The changing part of a machine.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) spec: NodeSpec,
    pub(crate) powered: bool,
    pub(crate) stage: String,
    pub(crate) api: Api,
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    pub(crate) seed: Seed,
    pub(crate) system: Installed,
    pub(crate) system_disk: Option<String>,
    pub(crate) config: Config,
    /// The configuration that was kept by a call since the machine started.
    pub(crate) persistent: Option<String>,
    pub(crate) boot_id: String,
    pub(crate) booted_at: jiff::Timestamp,
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) etcd: EtcdState,
    pub(crate) bootstrap_asked: bool,
    /// A snapshot of etcd that was uploaded since the machine started.
    pub(crate) upload: Option<Arc<Upload>>,
    /// What a Bootstrap is to restore.
    pub(crate) restore: Option<Arc<Upload>>,
    pub(crate) kube: Option<Arc<rustls::ServerConfig>>,
    /// The kubelet has registered the node.
    pub(crate) registered: bool,
    pub(crate) node_ready: bool,
    /// Kubernetes gives it no new pods.
    pub(crate) unschedulable: bool,
    /// Until when the clock is known to be wrong.
    pub(crate) skewed: Option<jiff::Timestamp>,
    pub(crate) early: Early,
    /// An installer is at work that a call asked for.
    pub(crate) installer: bool,
    pub(crate) orders: Vec<Order>,
    pub(crate) trial: Option<(Config, CancellationToken)>,
    pub(crate) counters: Counters,
    pub(crate) connections: CancellationToken,
    pub(crate) life: CancellationToken,
}

/// The machine, locked. Whoever changes it makes what it tells of itself stale; whoever only looks does not, so that
/// a fleet at rest costs next to nothing.
pub(crate) struct Locked<'a> {
    machine: MutexGuard<'a, Machine>,
    stale: &'a AtomicBool,
}

impl<'a> Locked<'a> {
    pub(crate) fn new(machine: MutexGuard<'a, Machine>, stale: &'a AtomicBool) -> Self {
        Self { machine, stale }
    }
}

impl Deref for Locked<'_> {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Machine {
        self.stale.store(true, Ordering::Release);
        &mut self.machine
    }
}
