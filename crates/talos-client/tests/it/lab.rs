//! Simulated nodes for tests, reached through a dialler that maps their addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use talos_client::secrets::Bundle;
use talos_client::sim::{NetConfig, NicSpec, NodeSpec, Pace, Segment, SimNet, SimNode};
use talos_client::{Client, ClientConfig, Dialer, Error, Fingerprint, Identity, Timeouts};

/// What is waited for longer than this does not come, however busy the machine is.
const HANGS: Duration = Duration::from_mins(2);

/// A network with nodes that boot the same version of Talos.
pub(crate) struct Lab {
    pub(crate) net: SimNet,
    pub(crate) bundle: Bundle,
    talos: &'static str,
    map: BTreeMap<(IpAddr, u16), SocketAddr>,
    _state: tempfile::TempDir,
}

/// A file of the fixtures.
pub(crate) fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/sim/{name}", env!("CARGO_MANIFEST_DIR"));
    std::io::read_to_string(std::fs::File::open(path).unwrap()).unwrap()
}

impl Lab {
    pub(crate) fn new(talos: &'static str, pace: Pace) -> Self {
        let state = tempfile::tempdir().unwrap();
        let segment = Segment {
            name: "lab".into(),
            bridge: "vnet1".into(),
            tag: None,
            prefixes: "10.5.0.0/24".parse().into_iter().collect(),
        };
        let net = SimNet::new(NetConfig {
            state_dir: Some(state.path().into()),
            pace,
            segments: vec![segment],
            ..NetConfig::default()
        })
        .unwrap();
        let bundle = Bundle::from_machine_config(&fixture("cluster-cp1.yaml")).unwrap();
        Self { net, bundle, talos, map: BTreeMap::new(), _state: state }
    }

    /// Powers a node on and waits until it is in maintenance mode.
    pub(crate) async fn node(&mut self, name: &str, suffix: u8) -> SimNode {
        let address = address(suffix);
        let socket = self.net.expose(address, 50000).await.unwrap();
        self.map.insert((address, 50000), socket);
        let node = self.net.power_on(spec(self.talos, name, suffix));
        until("maintenance", || node.stage() == "maintenance").await;
        let config = self.maintenance(suffix);
        eventually("maintenance", || Client::connect(config.clone())).await;
        node
    }

    pub(crate) fn dialer(&self) -> Dialer {
        Dialer::mapped(self.map.clone())
    }

    pub(crate) fn maintenance(&self, suffix: u8) -> ClientConfig {
        ClientConfig::maintenance(address(suffix)).dialer(self.dialer()).timeouts(short())
    }

    pub(crate) fn pinned(&self, suffix: u8, pin: Fingerprint) -> ClientConfig {
        self.maintenance(suffix).pin(pin)
    }

    pub(crate) fn role(&self, suffix: u8, roles: &[&str]) -> ClientConfig {
        let now = jiff::Timestamp::now().as_second();
        let day = Duration::from_hours(24);
        let identity = Identity::from_bundle(&self.bundle, roles, now, day).unwrap();
        ClientConfig::new(address(suffix), identity).dialer(self.dialer()).timeouts(short())
    }

    pub(crate) fn admin(&self, suffix: u8) -> Client {
        Client::new(self.role(suffix, &["os:admin"])).unwrap()
    }

    /// The configuration of a node for this version of Talos: of a worker from suffix 21 on.
    pub(crate) fn config(&self, suffix: u8) -> String {
        let (file, own, name) = match suffix {
            ..=20 => ("cluster-cp1.yaml", "cp1", format!("cp{}", suffix - 10)),
            _ => ("cluster-w1.yaml", "w1", format!("w{}", suffix - 20)),
        };
        let text = fixture(file)
            .replace("installer:v1.13.9", &format!("installer:{}", self.talos))
            .replace("interface: eth1", "interface: eth0")
            .replace("10.5.0.11/24", &format!("10.5.0.{suffix}/24"))
            .replace("10.5.0.21/24", &format!("10.5.0.{suffix}/24"));
        let own = format!("hostname: {own}");
        if self.talos.starts_with("v1.13.") {
            return text.replace(&own, &format!("hostname: {name}"));
        }
        let text = text.replace(":v1.36.3", ":v1.33.1");
        if self.talos.starts_with("v1.12.") {
            return text.replace(&own, &format!("hostname: {name}"));
        }
        // Documents for the host name came with 1.12.
        let (main, _) = text.split_once("---\n").unwrap();
        main.replace(
            "    network:\n        interfaces:",
            &format!("    network:\n        hostname: {name}\n        interfaces:"),
        )
        .replace("        grubUseUKICmdline: false\n", "")
    }

    /// Takes a node from maintenance mode to the point where it waits for the bootstrap.
    pub(crate) async fn install(&mut self, name: &str, suffix: u8) -> (SimNode, Client) {
        let node = self.node(name, suffix).await;
        let before = Client::connect(self.maintenance(suffix)).await.unwrap();
        let config = self.config(suffix);
        let mode = talos_client::api::ApplyMode::Auto;
        if let Err(error) = before.apply(config.as_bytes(), mode, false).await {
            // A busy machine may see the end of maintenance mode before the answer.
            assert!(error.may_have_been_applied(), "{error}");
        }
        let client = self.admin(suffix);
        until("installed", || node.snapshot()["installs"] == 1 && node.snapshot()["boots"] == 2)
            .await;
        if suffix <= 20 {
            // A worker's answers wait for a control plane.
            eventually("services", || client.services()).await;
        }
        (node, client)
    }

    /// The network for pods is there, so that nodes can become ready.
    pub(crate) async fn declare_cni(&self) {
        // The call for the bootstrap is answered before there is a cluster.
        let exists = || !self.net.snapshot()["clusters"].as_object().unwrap().is_empty();
        until("a cluster", exists).await;
        let snapshot = self.net.snapshot();
        for cluster in snapshot["clusters"].as_object().unwrap().values() {
            self.net.declare_cni(cluster["cluster_id"].as_str().unwrap());
        }
    }

    pub(crate) fn bootstraps(&self) -> u64 {
        let snapshot = self.net.snapshot();
        let nodes = snapshot["nodes"].as_object().unwrap();
        nodes.values().map(|node| node["bootstraps"].as_u64().unwrap()).sum()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.net.shutdown();
    }
}

pub(crate) fn address(suffix: u8) -> IpAddr {
    IpAddr::from([10, 5, 0, suffix])
}

pub(crate) fn uuid(suffix: u8) -> uuid::Uuid {
    format!("00000000-0000-0000-0000-0000000000{suffix}").parse().unwrap()
}

fn short() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(3),
        call: Duration::from_secs(5),
        long: Duration::from_secs(10),
        etcd: Duration::from_secs(2),
        bootstrap: Duration::from_secs(3),
    }
}

/// Calls that every bring-up makes.
pub(super) const CALLS: [&str; 7] = [
    "*/Get",
    "*/List",
    "*/ApplyConfiguration",
    "*/Version",
    "*/ServiceList",
    "*/Bootstrap",
    "*/EtcdMemberList",
];

fn spec(talos: &str, name: &str, suffix: u8) -> NodeSpec {
    let mac = format!("bc:24:11:00:00:{suffix:02x}");
    let nic = NicSpec { name: "eth0".into(), mac, bridge: "vnet1".into(), ..NicSpec::default() };
    let address = format!("10.5.0.{suffix}/24").parse().unwrap();
    NodeSpec::nocloud(talos, name, &uuid(suffix).to_string(), nic, address)
}

/// A value of a client, once it fits.
pub(crate) async fn value<T, F, Fut>(what: &str, call: F, fits: impl Fn(&T) -> bool) -> T
where
    T: std::fmt::Debug,
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let end = Instant::now() + HANGS;
    loop {
        let found = call().await;
        match found {
            Ok(found) if fits(&found) => return found,
            found if Instant::now() > end => panic!("never: {what}: {found:?}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Waits for something that the simulator shows.
pub(crate) async fn until(what: &str, test: impl Fn() -> bool) {
    let end = Instant::now() + HANGS;
    while Instant::now() < end {
        if test() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// Repeats a call until it succeeds.
pub(crate) async fn eventually<T, F, Fut>(what: &str, call: F) -> T
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let end = Instant::now() + HANGS;
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error) if Instant::now() > end => panic!("never: {what}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
