//! What a simulated cluster is made of.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::handle::SimHandle;
use super::storages::SimStorage;

/// Starting point of a simulated cluster.
#[derive(Debug)]
#[non_exhaustive]
pub struct SimCluster;

impl SimCluster {
    /// A builder with one node `pve1`, a `local` storage, the bridge `vmbr0` and Proxmox VE 9.2.
    pub fn builder() -> SimBuilder {
        SimBuilder::default()
    }
}

/// Version of Proxmox VE that is simulated: schema and behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Dialect {
    /// 8.4.
    V8_4,
    /// 9.1.
    V9_1,
    /// 9.2.
    V9_2,
}

/// How time passes for tasks and waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeMode {
    /// Tasks take the time that is configured.
    Real,
    /// Tasks end as soon as they can; waiting for a lock or a guest is cut to a hundredth.
    Virtual,
}

/// What a guest does with an ACPI shutdown request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcpiReaction {
    /// It powers off by itself after this time.
    PowerOff(Duration),
    /// Nothing by itself: somebody calls
    /// [`SimHandle::guest_poweroff`](super::SimHandle::guest_poweroff), or the request times out.
    ByGuest,
}

/// Why a simulated cluster did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The listening socket or a file of the state folder failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// Certificate or TLS setup failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The saved state or the schema cannot be read.
    #[error("{what} cannot be read: {reason}")]
    Data {
        /// Which data.
        what: String,
        /// Why.
        reason: String,
    },
}

/// Builds a simulated cluster; see [`SimCluster::builder`].
#[derive(Debug, Clone)]
pub struct SimBuilder {
    pub(crate) nodes: Vec<String>,
    pub(crate) storages: Vec<SimStorage>,
    pub(crate) bridges: Vec<(String, u32)>,
    pub(crate) dialect: Dialect,
    pub(crate) fabrics: Option<Dialect>,
    pub(crate) unplug_needs_guest: bool,
    pub(crate) time: TimeMode,
    pub(crate) call_latency: Duration,
    pub(crate) latencies: Vec<(String, String, Duration)>,
    pub(crate) task_time: Duration,
    pub(crate) task_times: Vec<(String, Duration)>,
    pub(crate) lock_timeout: Duration,
    pub(crate) auth_delay: Duration,
    pub(crate) stats_lag: Duration,
    pub(crate) ha_lag: Duration,
    pub(crate) firewall_lag: Duration,
    pub(crate) caller: Option<IpAddr>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) listen: SocketAddr,
    pub(crate) acpi: AcpiReaction,
    pub(crate) users: Vec<(String, String)>,
    pub(crate) one_time_codes: Vec<(String, Vec<String>)>,
    pub(crate) tokens: Vec<(String, String, String, bool)>,
    pub(crate) acl: Vec<(String, String, String)>,
    pub(crate) cluster_name: Option<String>,
    pub(crate) network_reload: bool,
    pub(crate) dns: (String, String),
    pub(crate) seed: u64,
    pub(crate) keep_calls: bool,
}

impl Default for SimBuilder {
    fn default() -> Self {
        Self {
            nodes: vec!["pve1".to_owned()],
            storages: vec![SimStorage::dir(
                "local",
                "backup,images,import,iso,rootdir,snippets,vztmpl",
            )],
            bridges: vec![("vmbr0".to_owned(), 1500)],
            dialect: Dialect::V9_2,
            fabrics: None,
            unplug_needs_guest: false,
            time: TimeMode::Real,
            call_latency: Duration::ZERO,
            latencies: Vec::new(),
            task_time: Duration::from_millis(20),
            task_times: Vec::new(),
            lock_timeout: Duration::from_secs(10),
            auth_delay: Duration::ZERO,
            stats_lag: Duration::from_secs(2),
            ha_lag: Duration::from_secs(2),
            firewall_lag: Duration::from_secs(10),
            caller: None,
            state_dir: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            acpi: AcpiReaction::PowerOff(Duration::from_millis(200)),
            users: Vec::new(),
            one_time_codes: Vec::new(),
            tokens: Vec::new(),
            acl: Vec::new(),
            cluster_name: None,
            network_reload: true,
            dns: ("lab.test".to_owned(), "127.0.0.1".to_owned()),
            seed: 0,
            keep_calls: true,
        }
    }
}

impl SimBuilder {
    /// Names of the nodes; more than one makes a cluster. All are reached through one address.
    #[must_use]
    pub fn nodes<S: Into<String>>(mut self, nodes: impl IntoIterator<Item = S>) -> Self {
        self.nodes = nodes.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces all storages.
    #[must_use]
    pub fn storages(mut self, storages: impl IntoIterator<Item = SimStorage>) -> Self {
        self.storages = storages.into_iter().collect();
        self
    }

    /// Adds a storage.
    #[must_use]
    pub fn storage(mut self, storage: SimStorage) -> Self {
        self.storages.push(storage);
        self
    }

    /// Adds a Linux bridge to every node.
    #[must_use]
    pub fn bridge(mut self, name: impl Into<String>, mtu: u32) -> Self {
        let name = name.into();
        self.bridges.retain(|(old, _)| *old != name);
        self.bridges.push((name, mtu));
        self
    }

    /// Version to simulate.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Version whose declaration of SDN fabrics is used: a node may run a newer manager with an
    /// older network package.
    #[must_use]
    pub fn fabrics_of(mut self, dialect: Dialect) -> Self {
        self.fabrics = Some(dialect);
        self
    }

    /// Whether a PCI device of a running machine can only be unplugged when its guest helps, which
    /// machines without an operating system never do. Off by default.
    #[must_use]
    pub fn unplug_needs_guest(mut self, needs: bool) -> Self {
        self.unplug_needs_guest = needs;
        self
    }

    /// How time passes.
    #[must_use]
    pub fn time(mut self, time: TimeMode) -> Self {
        self.time = time;
        self
    }

    /// Latency of every call.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.call_latency = latency;
        self
    }

    /// Latency of calls of `method` (`*` for any) to paths that match the glob.
    #[must_use]
    pub fn latency_of(
        mut self,
        method: impl Into<String>,
        path: impl Into<String>,
        latency: Duration,
    ) -> Self {
        self.latencies.push((method.into(), path.into(), latency));
        self
    }

    /// Time that a task takes unless [`task_time_of`](Self::task_time_of) says otherwise.
    #[must_use]
    pub fn task_time(mut self, time: Duration) -> Self {
        self.task_time = time;
        self
    }

    /// Time that tasks of a type (`qmcreate`, `reloadnetworkall`, …) take.
    #[must_use]
    pub fn task_time_of(mut self, kind: impl Into<String>, time: Duration) -> Self {
        self.task_times.push((kind.into(), time));
        self
    }

    /// How long a call waits for a lock before it says `got timeout`; 10 s as the real one.
    #[must_use]
    pub fn lock_timeout(mut self, time: Duration) -> Self {
        self.lock_timeout = time;
        self
    }

    /// Delay of a 401; the real server waits 3 s, the default here is none.
    #[must_use]
    pub fn auth_delay(mut self, time: Duration) -> Self {
        self.auth_delay = time;
        self
    }

    /// How long a new machine is `unknown` in `/cluster/resources`; the real value is up to 10 s.
    #[must_use]
    pub fn stats_lag(mut self, time: Duration) -> Self {
        self.stats_lag = time;
        self
    }

    /// How long the manager of high availability takes to see a change; the real value is up to
    /// 10 s. A node that is lost is fenced after six times of it.
    #[must_use]
    pub fn ha_lag(mut self, time: Duration) -> Self {
        self.ha_lag = time;
        self
    }

    /// Time after which nodes have put the firewall of the cluster into force once it is switched
    /// on; 10 s unless said otherwise.
    #[must_use]
    pub fn firewall_lag(mut self, lag: Duration) -> Self {
        self.firewall_lag = lag;
        self
    }

    /// The address that callers come from, by which the firewall of the cluster judges them: a new
    /// connection that it does not let in is closed at once, where a real one is not answered.
    /// Without, callers are in the network of the nodes, which is always let in.
    #[must_use]
    pub fn callers_from(mut self, caller: IpAddr) -> Self {
        self.caller = Some(caller);
        self
    }

    /// Keeps state, certificate and credentials in this folder, so that they survive a restart.
    #[must_use]
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// Where to listen; the default is a free port of 127.0.0.1.
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// What guests do with a shutdown request.
    #[must_use]
    pub fn acpi(mut self, reaction: AcpiReaction) -> Self {
        self.acpi = reaction;
        self
    }

    /// Adds a user of the realm `pve` (`name@pve`) with a password.
    #[must_use]
    pub fn user(mut self, userid: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((userid.into(), password.into()));
        self
    }

    /// Asks a user for a second factor at each login; each of these codes is right once.
    #[must_use]
    pub fn second_factor<S: Into<String>>(
        mut self,
        userid: impl Into<String>,
        codes: impl IntoIterator<Item = S>,
    ) -> Self {
        self.one_time_codes.push((userid.into(), codes.into_iter().map(Into::into).collect()));
        self
    }

    /// Adds a token `tokenid` of `userid` with this secret.
    #[must_use]
    pub fn token(
        mut self,
        userid: impl Into<String>,
        tokenid: impl Into<String>,
        secret: impl Into<String>,
        privsep: bool,
    ) -> Self {
        self.tokens.push((userid.into(), tokenid.into(), secret.into(), privsep));
        self
    }

    /// Grants a role on a path to a user or a token (`user@realm!token`).
    #[must_use]
    pub fn grant(
        mut self,
        who: impl Into<String>,
        path: impl Into<String>,
        role: impl Into<String>,
    ) -> Self {
        self.acl.push((who.into(), path.into(), role.into()));
        self
    }

    /// Name of the cluster; a single node without a name is not clustered.
    #[must_use]
    pub fn cluster_name(mut self, name: impl Into<String>) -> Self {
        self.cluster_name = Some(name.into());
        self
    }

    /// Whether a network reload makes the bridges of SDN on the nodes (default), or leaves them
    /// in error as a host without a working `ifupdown2` does.
    #[must_use]
    pub fn network_reload(mut self, works: bool) -> Self {
        self.network_reload = works;
        self
    }

    /// Disorder of answers, as the real server has it: keys and rows in any order, numbers as texts
    /// now and then, keys that nobody knows, tasks that are not found at first. The same seed
    /// gives the same disorder; 0, the default, gives none.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether each call is kept for [`Faults::calls`](super::Faults::calls); counters always are.
    #[must_use]
    pub fn keep_calls(mut self, keep: bool) -> Self {
        self.keep_calls = keep;
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// When the socket, the certificate or the state folder cannot be set up.
    pub async fn start(self) -> Result<SimHandle, SimError> {
        super::server::start(self).await
    }
}
