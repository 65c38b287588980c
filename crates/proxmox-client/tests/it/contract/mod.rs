//! The same cases against the simulator and, where one is named, a real server: what holds for
//! one must hold for the other.
//!
//! See "Contracts" in CONTRIBUTING.md for how to name a real server.

#![expect(clippy::expect_used, reason = "a test ends where something is not right")]

mod cases;

use std::time::Duration;

use proxmox_client::sim::{Dialect, SimCluster, SimStorage};
use proxmox_client::{Auth, Client, ClientConfig, Error, ErrorKind, NodeName, Trust, VmId};

/// Where the cases run, and what they may use. Everything that they make has `ctrt` in its name or
/// this number, and is removed before and after.
struct Place {
    client: Client,
    node: NodeName,
    /// A storage for disks.
    disks: String,
    /// A storage for ISO images.
    files: String,
    /// A number that no machine has.
    vmid: VmId,
    /// Whether networks may be applied: this reloads the networks of all nodes.
    apply: bool,
}

/// What must not be there is gone, or was not there.
fn gone<T>(outcome: Result<T, Error>) {
    match outcome {
        Ok(_) => {}
        Err(error) => {
            let told =
                error.kind() == ErrorKind::NotFound || error.text().contains("not HA managed");
            assert!(told, "{error}");
        }
    }
}

/// All cases, twice: the second time over what the first one left.
async fn kept_by(dialect: Dialect, seed: u64) {
    let sim = SimCluster::builder()
        .nodes(["pve01"])
        .dialect(dialect)
        .seed(seed)
        .task_time(Duration::from_millis(2))
        .storages([SimStorage::rbd("disks", "images"), SimStorage::dir("files", "iso")])
        .start()
        .await
        .expect("a simulator");
    let token = Auth::token(&sim.token()).expect("a token");
    let config = ClientConfig::new(sim.base_url(), token).trust(Trust::Ca(sim.ca_pem().to_owned()));
    let place = Place {
        client: Client::new(&config).expect("a client"),
        node: "pve01".parse().expect("a name"),
        disks: "disks".to_owned(),
        files: "files".to_owned(),
        vmid: VmId::try_from(9901).expect("a number"),
        apply: true,
    };
    cases::all(&place).await;
    cases::all(&place).await;
    sim.shutdown().await;
}

#[tokio::test]
async fn the_simulator_keeps_the_contract() {
    kept_by(Dialect::V9_2, 0).await;
}

#[tokio::test]
async fn older_releases_keep_the_contract() {
    kept_by(Dialect::V9_1, 0).await;
    kept_by(Dialect::V8_4, 0).await;
}

/// Neither the order of rows and keys counts, nor whether a number comes as a text.
#[tokio::test]
async fn the_contract_is_kept_in_disorder() {
    for seed in 1..5 {
        kept_by(Dialect::V9_2, seed).await;
    }
}

fn named(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok().filter(|text| !text.is_empty())
}

#[tokio::test]
#[ignore = "needs a Proxmox VE server: PROXMOX_TEST_URL, _PIN, _TOKEN, _NODE, _DISKS, _FILES, _VMID"]
async fn a_real_server_keeps_the_contract() {
    let must = |name: &str| named(name).unwrap_or_else(|| panic!("{name} is not set"));
    let auth = match named("PROXMOX_TEST_TOKEN") {
        Some(token) => Auth::token(&token).expect("user@realm!name=SECRET"),
        None => Auth::password(must("PROXMOX_TEST_USER"), must("PROXMOX_TEST_PASSWORD")),
    };
    let pin = must("PROXMOX_TEST_PIN").parse().expect("a SHA-256 fingerprint");
    let config = ClientConfig::new(must("PROXMOX_TEST_URL"), auth).trust(Trust::Pins(vec![pin]));
    let number = must("PROXMOX_TEST_VMID").parse::<u32>().expect("a number");
    let place = Place {
        client: Client::new(&config).expect("a client"),
        node: must("PROXMOX_TEST_NODE").parse().expect("the name of a node"),
        disks: must("PROXMOX_TEST_DISKS"),
        files: must("PROXMOX_TEST_FILES"),
        vmid: VmId::try_from(number).expect("the number of a machine"),
        apply: named("PROXMOX_TEST_APPLY").is_some(),
    };
    assert!(place.client.is_free(place.vmid).await.expect("an answer"), "the number is taken");
    cases::all(&place).await;
}
