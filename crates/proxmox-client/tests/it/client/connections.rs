//! Connections: shared, and left where the other side closed them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proxmox_client::sim::{Fault, FaultAction, SimHandle};
use proxmox_client::{Auth, Client, ClientConfig, ErrorKind, Fingerprint, Trust};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::{by_token, one, vm};

/// Carries bytes between a client and the simulator, counts connections and cuts them when told.
struct Relay {
    address: SocketAddr,
    seen: Arc<AtomicUsize>,
    cut: Arc<Notify>,
}

impl Relay {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let (seen, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (count, end) = (Arc::clone(&seen), Arc::clone(&cut));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let end = Arc::clone(&end);
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.expect("a server");
                    tokio::select! {
                        () = end.notified() => {}
                        ended = copy_bidirectional(&mut near, &mut far) => drop(ended),
                    }
                });
            }
        });
        Self { address, seen, cut }
    }

    fn config(&self, sim: &SimHandle) -> ClientConfig {
        by_token(sim).connect_to("127.0.0.1", sim.addr().port(), self.address)
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn calls_share_a_connection_until_the_server_closes_it() {
    let sim = one().start().await.expect("a simulator");
    let relay = Relay::to(sim.addr()).await;
    let client = Client::new(&relay.config(&sim)).expect("a client");
    for _ in 0..20 {
        client.version().await.expect("a version");
    }
    assert_eq!(relay.seen(), 1, "one after the other");
    let calls = (0..40).map(|_| client.version());
    for answer in futures_util::future::join_all(calls).await {
        answer.expect("a version");
    }
    assert!((2..=16).contains(&relay.seen()), "{} connections for 16 at a time", relay.seen());

    relay.cut.notify_waiters();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = relay.seen();
    // A write is never sent twice: it finds out before it is sent that the connection is gone.
    let node = super::node();
    client.qemu(&node).create(vm(), &[("name", "one")]).await.expect("a task");
    assert_eq!(relay.seen(), before + 1);
}

#[tokio::test]
async fn a_path_that_is_not_encoded_is_not_sent() {
    let sim = one().start().await.expect("a simulator");
    let relay = Relay::to(sim.addr()).await;
    let client = Client::new(&relay.config(&sim)).expect("a client");
    for path in ["/nodes/pve01/qemu#x", "/nodes/a b", "/nodes/\u{e4}", "/nodes/a\r\nX: y"] {
        let error = client.get::<serde_json::Value>(path, &[]).await.expect_err("a refusal");
        assert_eq!(error.kind(), ErrorKind::Config, "{path}: {error}");
    }
    assert_eq!(relay.seen(), 0);
}

#[test]
fn an_endpoint_keeps_its_port_and_tells_no_password() {
    let client = |endpoint: &str| {
        let token = Auth::token("root@pam!lab=11-22").expect("a token");
        Client::new(&ClientConfig::new(endpoint, token).trust(Trust::Pins(vec![pin()])))
    };
    for (endpoint, base) in [
        ("https://pve01.example", "https://pve01.example:8006/api2/json"),
        ("https://pve01.example:443/", "https://pve01.example:443/api2/json"),
        ("https://[fd00::1]:443", "https://[fd00::1]:443/api2/json"),
        ("https://pve01.example:9000", "https://pve01.example:9000/api2/json"),
    ] {
        assert_eq!(client(endpoint).expect("a client").base_url(), base);
    }
    for endpoint in ["http://root:HUNTER2@pve01.example", "https://HUNTER2@pve01.example:8006"] {
        let error = client(endpoint).expect_err("a refusal").to_string();
        assert!(error.contains("holds no credentials") && !error.contains("HUNTER2"), "{error}");
    }
}

fn pin() -> Fingerprint {
    ["AA"; 32].join(":").parse().expect("a fingerprint")
}

#[tokio::test]
async fn what_stands_beside_the_status_is_told() {
    let sim = one().auth_delay(Duration::from_millis(1)).start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    sim.faults().add(Fault::new("POST", "/pools", FaultAction::ProxyUnreachable));
    let error = client.pools().create("sol", "").await.expect_err("no route");
    assert_eq!((error.status(), error.text()), (Some(595), "No route to host"));
    sim.faults().clear();
    let long = "x".repeat(600_000);
    let error = client.pools().create("sol", &long).await.expect_err("too long");
    assert_eq!((error.status(), error.text()), (Some(501), "for data too large"));
    let page = FaultAction::Answer { status: 502, body: b"<html>of a proxy</html>".to_vec() };
    sim.faults().add(Fault::new("GET", "/version", page));
    let error = client.version().await.expect_err("a proxy");
    assert_eq!((error.status(), error.text()), (Some(502), "Bad Gateway"));
    let wrong = Auth::token("root@pam!lab=00000000-0000-4000-8000-000000000000").expect("a token");
    let config = ClientConfig::new(sim.base_url(), wrong).trust(Trust::Ca(sim.ca_pem().to_owned()));
    let error = Client::new(&config).expect("a client").nodes().await.expect_err("it is wrong");
    assert_eq!((error.kind(), error.text()), (ErrorKind::Auth, "Authentication failed!"));
    sim.shutdown().await;
}
