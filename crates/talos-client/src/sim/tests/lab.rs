//! A cluster comes up, loses power, and is judged from the simulator's own state.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::{Fault, FaultAction, NetConfig, NicSpec, NodeSpec, Pace, Segment, SimNet};
use super::{call, until};

const SUBNET: &str = "10.5.0.0/24";

fn net(dir: &std::path::Path) -> SimNet {
    let segment = Segment {
        name: "lab".into(),
        bridge: "vnet1".into(),
        tag: None,
        prefixes: SUBNET.parse().into_iter().collect(),
    };
    let pace = Pace::instant();
    SimNet::new(NetConfig {
        state_dir: Some(dir.into()),
        pace,
        segments: vec![segment],
        ..NetConfig::default()
    })
    .unwrap()
}

fn spec(name: &str, suffix: u8, bridge: &str) -> NodeSpec {
    let mac = format!("bc:24:11:00:00:{suffix:02x}");
    let nic = NicSpec { name: "eth0".into(), mac, bridge: bridge.into(), ..NicSpec::default() };
    let address = format!("10.5.0.{suffix}/24").parse().unwrap();
    let uuid = format!("00000000-0000-0000-0000-0000000000{suffix}");
    NodeSpec::nocloud("v1.13.9", name, &uuid, nic, address)
}

/// The recorded configuration, on the first card, with a shared address.
fn config(file: &str) -> Value {
    let text = super::fixture(file).replace(
        "interface: eth1",
        "interface: eth0\n              vip:\n                ip: 10.5.0.10",
    );
    json!({"data": STANDARD.encode(text), "mode": "AUTO"})
}

/// One request to the API server under the shared address; with `Some` as an administrator.
async fn kubernetes(
    port: std::net::SocketAddr,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> (u16, Value) {
    use super::super::config::load;
    use super::super::pki::{Authority, Request, certificate};
    use http_body_util::BodyExt as _;
    use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    let config = load(&super::fixture("cluster-cp1.yaml"), 13).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate(config.text("cluster.ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let tls = if body.is_some() {
        let authority =
            Authority::new(config.text("cluster.ca.crt"), config.text("cluster.ca.key")).unwrap();
        let leaf = authority
            .sign(&Request {
                name: "admin".into(),
                organizations: vec!["system:masters".into()],
                client: true,
                lifetime: Duration::from_mins(5),
                ..Request::default()
            })
            .unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.clone()));
        builder.with_client_auth_cert(vec![leaf.der.clone()], key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let stream = tokio::net::TcpStream::connect(port).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("10.5.0.10").unwrap();
    let stream =
        tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "10.5.0.10")
        .header("content-type", "application/apply-patch+yaml")
        .body(http_body_util::Full::new(bytes::Bytes::from(body.unwrap_or_default().to_owned())))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    (code, serde_json::from_str(&text).unwrap_or(json!(text)))
}

const APPLY: &str = "/machine.MachineService/ApplyConfiguration";
const BOOTSTRAP: &str = "/machine.MachineService/Bootstrap";

#[tokio::test]
async fn a_cluster_comes_up_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let lab = net(dir.path());
    let [cp1, cp2] = [("cp1", 11, "cluster-cp1.yaml"), ("cp2", 12, "cluster-cp2.yaml")]
        .map(|(name, suffix, file)| (lab.power_on(spec(name, suffix, "vnet1")), file));
    for (node, file) in [&cp1, &cp2] {
        until("maintenance", || node.stage() == "maintenance").await;
        call(node, APPLY, config(file)).await.map(drop).unwrap();
    }
    until("installed", || cp1.0.snapshot()["installs"] == 1 && cp1.0.snapshot()["boots"] == 2)
        .await;
    for _ in 0..2000 {
        if call(&cp1.0, BOOTSTRAP, json!({})).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let members = |lab: &SimNet| {
        let snapshot = lab.snapshot();
        let clusters = snapshot["clusters"].as_object().unwrap().clone();
        assert!(clusters.len() <= 1, "one cluster only");
        clusters.values().next().map_or(0, |c| {
            c["members"].as_array().unwrap().iter().filter(|m| m["learner"] == false).count()
        })
    };
    until("both members", || members(&lab) == 2).await;
    until("nodes are ready", || {
        cp1.0.snapshot()["node_ready"] == true && cp2.0.snapshot()["node_ready"] == true
    })
    .await;
    let holder = lab.0.vip_holder("10.5.0.10".parse().unwrap()).unwrap();
    assert_eq!(holder.hostname(), "cp1");
    let port = lab.expose("10.5.0.10".parse().unwrap(), 6443).await.unwrap();
    assert_eq!(kubernetes(port, "GET", "/readyz", None).await, (200, json!("ok")));
    assert_eq!(kubernetes(port, "GET", "/api/v1/nodes", None).await.0, 403);
    let (code, nodes) = kubernetes(port, "GET", "/api/v1/nodes", Some("")).await;
    assert_eq!((code, nodes["items"].as_array().unwrap().len()), (200, 2));
    let path = "/api/v1/namespaces/default/configmaps/a?fieldManager=t";
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n";
    assert_eq!(kubernetes(port, "PATCH", path, Some(text)).await.0, 201);
    assert_eq!(kubernetes(port, "PATCH", path, Some(text)).await.0, 200);
    let refused = call(&cp1.0, BOOTSTRAP, json!({})).await.err().unwrap();
    assert_eq!(refused.message, "etcd data directory is not empty");

    let hash = cp1.0.snapshot()["config_sha256"].clone();
    lab.shutdown();
    let lab = net(dir.path());
    let again = lab.power_on(spec("cp1", 11, "vnet1"));
    let other = lab.power_on(spec("cp2", 12, "vnet1"));
    until("both are back", || again.stage() == "running" && other.stage() == "running").await;
    assert_eq!(again.snapshot()["config_sha256"], hash);
    assert_eq!(again.snapshot()["installs"], 1);
    assert_eq!(members(&lab), 2);
    lab.shutdown();
}

#[tokio::test]
async fn a_node_on_the_wrong_bridge_is_not_reached() {
    let dir = tempfile::tempdir().unwrap();
    let lab = net(dir.path());
    let wrong = lab.power_on(spec("cp1", 11, "vnet9"));
    until("maintenance", || wrong.stage() == "maintenance").await;
    assert!(lab.0.owner("10.5.0.11".parse().unwrap()).is_none());
    let right = lab.power_on(spec("cp2", 12, "vnet1"));
    until("maintenance", || right.stage() == "maintenance").await;
    assert_eq!(lab.0.owner("10.5.0.12".parse().unwrap()).unwrap().uuid, right.uuid());
    lab.shutdown();
}

#[tokio::test]
async fn a_lost_answer_leaves_the_configuration_applied() {
    let dir = tempfile::tempdir().unwrap();
    let lab = net(dir.path());
    let node = lab.power_on(spec("cp1", 11, "vnet1"));
    until("maintenance", || node.stage() == "maintenance").await;
    lab.faults().add(Fault::new(FaultAction::DropAfter).node("cp1").method("*/ApplyConfiguration"));
    assert!(call(&node, APPLY, config("cluster-cp1.yaml")).await.is_err());
    until("installed", || node.snapshot()["installs"] == 1).await;
    assert_eq!(lab.faults().calls("cp1", "*/ApplyConfiguration"), 1);
    lab.shutdown();
}

#[tokio::test]
async fn a_failed_installation_ends_in_maintenance() {
    let dir = tempfile::tempdir().unwrap();
    let lab = net(dir.path());
    let node = lab.power_on(spec("cp1", 11, "vnet1"));
    until("maintenance", || node.stage() == "maintenance").await;
    lab.faults().add(Fault::new(FaultAction::InstallFails));
    call(&node, APPLY, config("cluster-cp1.yaml")).await.map(drop).unwrap();
    until("again", || node.snapshot()["boots"] == 2 && node.stage() == "maintenance").await;
    assert_eq!(node.snapshot()["installs"], 0);
    lab.shutdown();
}
