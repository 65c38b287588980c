//! The examples, run: against files of their own making, and against a simulated node at the port of a real one.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use talos_client::api::ApplyMode;
use talos_client::sim::{NicSpec, NodeSpec, Pace, SimNet};
use talos_client::talosconfig::{ClientOptions, DEFAULT_LIFETIME, TalosConfig};
use talos_client::{Client, ClientConfig, Identity, PORT};

use super::lab::{Lab, eventually, until, value};

/// The program of an example, which stands beside those of the tests.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(2).unwrap().join("examples").join(name);
    if !path.exists() {
        // Only this test was asked for.
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "-q", "-p", "talos-client", "--all-features", "--example", name]);
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    }
    path
}

fn run(name: &str, args: &[&str]) -> Output {
    let output = Command::new(example(name)).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {text}");
    output
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs one that does not end by itself until a line of it fits.
fn follow(name: &str, args: &[&str], fits: impl Fn(&str) -> bool) -> String {
    let mut child = Command::new(example(name)).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let found = lines.map_while(Result::ok).find(|line| fits(line));
    child.kill().unwrap();
    child.wait().unwrap();
    found.unwrap_or_else(|| panic!("{name} {args:?} ended without saying it"))
}

fn write(path: &Path, text: &str) {
    fs_err::write(path, text).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn those_that_work_on_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let rendered =
        said(&run("render_cluster", &["lab", "https://10.5.0.10:6443", text(dir.path())]));
    assert_eq!(rendered.lines().count(), 2, "{rendered}");
    let (cp, bundle) = (at("lab-cp.yaml"), at("secrets.yaml"));

    write(
        &at("patch.yaml"),
        "machine: {network: {hostname: x}, sysctls: {vm.nr_hugepages: '2'}}\n",
    );
    let patched = said(&run("patch_file", &[text(&cp), text(&at("patch.yaml"))]));
    assert!(patched.contains("hostname: x"), "{patched}");
    write(&at("after.yaml"), &patched);
    let changes = said(&run("diff_configs", &[text(&cp), text(&at("after.yaml"))]));
    assert!(changes.contains("vm.nr_hugepages"), "{changes}");
    assert!(changes.lines().last().unwrap().starts_with("together: "), "{changes}");

    let made = talos_client::secrets::Bundle::parse(&fs_err::read_to_string(&bundle).unwrap());
    write(&at("talosconfig"), &talosconfig(&made.unwrap()));
    let renewed = run("renew_admin", &[text(&bundle), text(&at("talosconfig"))]);
    let told = String::from_utf8(renewed.stderr.clone()).unwrap();
    assert!(told.contains("days left"), "{told}");
    assert!(TalosConfig::parse(&said(&renewed)).unwrap().contexts.contains_key("lab"));
    let refused = Command::new(example("renew_admin")).output().unwrap();
    assert!(!refused.status.success());
}

fn talosconfig(bundle: &talos_client::secrets::Bundle) -> String {
    let options = ClientOptions {
        endpoints: Vec::new(),
        nodes: Vec::new(),
        roles: vec!["os:admin".into()],
        now: jiff::Timestamp::now().as_second(),
        lifetime: DEFAULT_LIFETIME,
    };
    let os = bundle.certs.as_ref().unwrap().os.as_ref().unwrap();
    let (ca, key) = (os.crt.text().unwrap(), os.key.text().unwrap());
    TalosConfig::generate("lab", ca, key, &options).unwrap().to_yaml()
}

/// A node whose address is one of this machine, at the port of the machine API.
#[cfg(target_os = "linux")]
async fn node(net: &SimNet) -> IpAddr {
    // Tests of other processes have others.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = IpAddr::from([127, 64 | high >> 2, low, 11]);
    net.set_segments(Vec::new());
    net.expose_at(address, PORT, SocketAddr::new(address, PORT)).await.unwrap();
    let nic = NicSpec {
        name: "eth0".into(),
        mac: "bc:24:11:00:00:0b".into(),
        bridge: "vnet1".into(),
        ..NicSpec::default()
    };
    let prefix = format!("{address}/24").parse().unwrap();
    let uuid = "00000000-0000-0000-0000-000000000011";
    let node = net.power_on(NodeSpec::nocloud("v1.13.9", "cp1", uuid, nic, prefix));
    until("maintenance", || node.stage() == "maintenance").await;
    address
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn those_that_talk_to_a_node() {
    let lab = Lab::new("v1.13.9", Pace::quick());
    let address = node(&lab.net).await;
    let before = ClientConfig::maintenance(address);
    let before = eventually("maintenance", || Client::connect(before.clone())).await;
    let config = lab.config(11).replace("10.5.0.11/24", &format!("{address}/24"));
    before.apply(config.as_bytes(), ApplyMode::Auto, false).await.unwrap();
    let admin = ClientConfig::new(address, Identity::admin(&lab.bundle).unwrap());
    let client = Client::new(admin).unwrap();
    eventually("the bootstrap", || client.bootstrap()).await;
    value("a member", || client.etcd_members(), |list: &Vec<_>| list.len() == 1).await;

    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_owned();
    let at = move |name: &str| folder.join(name).to_str().unwrap().to_owned();
    write(Path::new(&at("talosconfig")), &talosconfig(&lab.bundle));
    write(Path::new(&at("changed.yaml")), &config.replace("debug: false", "debug: true"));
    let address = address.to_string();
    let work = move || {
        let (login, address) = (at("talosconfig"), address.as_str());
        let versions = said(&run("versions", &[&login, address]));
        assert!(versions.contains("cp1  v1.13.9  running"), "{versions}");
        let dry = said(&run("dry_run", &[&login, address, &at("changed.yaml")]));
        assert!(dry.contains("without a reboot") && dry.contains("debug"), "{dry}");
        let snapshot = said(&run("etcd_snapshot", &[&login, address, &at("snapshot")]));
        assert!(snapshot.contains("verified: true"), "{snapshot}");
        assert!(fs_err::metadata(at("snapshot")).unwrap().len() > 8192);
        let line = follow("follow_log", &[&login, address, "etcd"], |line| !line.is_empty());
        assert!(line.contains("etcd"), "{line}");
        let line = follow("watch_members", &[&login, address], |line| line.starts_with("+ "));
        assert!(line.starts_with("+ cp1 "), "{line}");
        let configs = format!("{}/tests/fixtures/sim", env!("CARGO_MANIFEST_DIR"));
        let serves = ["--for-replay", "maintenance", "--configs", &configs];
        let line = follow("talos_sim", &serves, |line| line.contains("endpoints"));
        assert!(line.contains("127.0.0.1:"), "{line}");
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}
