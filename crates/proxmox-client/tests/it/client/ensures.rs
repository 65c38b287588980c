//! Smaller things that end as they should, and what is told where they do not.

use proxmox_client::ensure::LostSecret;
use proxmox_client::plan::access::{RoleState, TokenState};
use proxmox_client::plan::ha::HaState;
use proxmox_client::plan::pool::PoolState;
use proxmox_client::sim::{Dialect, Fault, FaultAction, SimHandle};
use proxmox_client::{Client, ErrorKind, HaKind};

use super::{by_token, node, one, vm};

async fn begun(dialect: Dialect) -> (SimHandle, Client) {
    let sim = one().dialect(dialect).user("ops@pve", "a-password").start().await;
    let sim = sim.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    (sim, client)
}

fn token() -> TokenState {
    TokenState { user: "ops@pve".into(), name: "ci".into(), privsep: true, ..TokenState::default() }
}

#[tokio::test]
async fn a_secret_that_is_lost_is_told_or_mended() {
    for dialect in [Dialect::V9_2, Dialect::V9_1] {
        let (sim, client) = begun(dialect).await;
        let access = client.access();
        let cut = || Fault::new("POST", "/access/users/*/token/*", FaultAction::CutBeforeReply);
        sim.faults().add(cut().once());
        let told = access.ensure_token(&token(), LostSecret::Tell).await.expect_err("it is lost");
        assert_eq!((told.kind(), told.may_have_been_applied()), (ErrorKind::SecretLost, true));
        assert!(told.to_string().contains("ops@pve!ci was made, but"), "{told}");
        assert!(told.help().is_some_and(|help| help.contains("new secret")));
        // what is there is not made again, and says so by giving no secret
        let there = access.ensure_token(&token(), LostSecret::Renew).await.expect("it is there");
        assert!(there.made.is_none() && there.changes.is_empty());
        let renewed = access.renew_secret("ops@pve", "ci").await;
        match dialect {
            Dialect::V9_2 => drop(renewed.expect("another secret")),
            _ => assert_eq!(renewed.expect_err("9.2 does").kind(), ErrorKind::Unsupported),
        }
        assert!(access.ensure_no_token("ops@pve", "ci").await.expect("it goes"));

        sim.faults().add(cut().once());
        let made = access.ensure_token(&token(), LostSecret::Renew).await.expect("a token");
        let made = made.made.expect("a secret");
        let config = proxmox_client::ClientConfig::new(sim.base_url(), made.auth())
            .trust(proxmox_client::Trust::Ca(sim.ca_pem().to_owned()));
        Client::new(&config).expect("a client").version().await.expect("the secret is right");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_mended_is_told() {
    let (sim, client) = begun(Dialect::V9_2).await;
    let cut = Fault::new("POST", "/access/users/*/token/*", FaultAction::CutBeforeReply);
    sim.faults().add(cut.once());
    let refused = FaultAction::Refuse { status: 500, message: "something else".into() };
    sim.faults().add(Fault::new("PUT", "/access/users/*/token/*", refused));
    let told = client.access().ensure_token(&token(), LostSecret::Renew).await;
    let told = told.expect_err("it cannot be mended");
    assert_eq!(told.kind(), ErrorKind::SecretLost, "{told}");
    let cause = std::error::Error::source(&told).expect("a cause").to_string();
    assert!(cause.contains("something else"), "{cause}");
    sim.shutdown().await;
}

#[tokio::test]
async fn what_does_not_stay_is_told() {
    let (sim, client) = begun(Dialect::V9_2).await;
    // The server takes the number of a machine that is not there, and shows no such member.
    let machines = [vm()].into();
    let pool = PoolState { id: "sol".into(), comment: String::new(), machines };
    let told = client.pools().ensure(&pool).await.expect_err("it is not there");
    assert_eq!((told.kind(), told.may_have_been_applied()), (ErrorKind::Conflict, true));
    assert!(told.text().contains("pool sol: add 101011"), "{told}");

    let privileges = ["VM.Audit".to_owned()].into();
    let role = RoleState { id: "PVEAdmin".into(), privileges };
    let told = client.access().ensure_role(&role).await.expect_err("it is built in");
    assert_eq!((told.kind(), told.may_have_been_applied()), (ErrorKind::Invalid, false));

    let keys = [("state".to_owned(), "stopped".to_owned())].into();
    let resource = HaState { kind: HaKind::Resource, name: "vm:101011".into(), keys };
    let told = client.ha().ensure(&resource).await.expect_err("no machine");
    assert_eq!(told.kind(), ErrorKind::NotFound, "{told}");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_rule_of_another_type_is_not_changed() {
    let (sim, client) = begun(Dialect::V9_2).await;
    let upid = client.qemu(&node()).create(vm(), &[("memory", "64")]).await.expect("a task");
    client.tasks().wait(&upid, super::WAIT).await.expect("an end");
    let ha = client.ha();
    let entry = |kind, name: &str, keys: &[(&str, &str)]| HaState {
        kind,
        name: name.into(),
        keys: keys.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect(),
    };
    let resource = entry(HaKind::Resource, "vm:101011", &[("state", "stopped")]);
    ha.ensure(&resource).await.expect("a resource");
    let near = [("type", "node-affinity"), ("resources", "vm:101011"), ("nodes", "pve01:0")];
    assert_eq!(ha.ensure(&entry(HaKind::Rule, "near", &near)).await.expect("a rule").len(), 1);
    assert_eq!(ha.ensure(&entry(HaKind::Rule, "near", &near)).await.expect("a rule"), []);
    let apart = entry(HaKind::Rule, "near", &[("type", "resource-affinity")]);
    let told = ha.ensure(&apart).await.expect_err("another type");
    assert_eq!((told.kind(), told.may_have_been_applied()), (ErrorKind::Invalid, false));
    assert!(told.text().contains("is there as node-affinity"), "{told}");
    // with its resource a rule goes that is about nothing else
    assert!(ha.ensure_absent(HaKind::Resource, "vm:101011").await.expect("it goes"));
    assert!(!ha.ensure_absent(HaKind::Rule, "near").await.expect("it is gone"));
    sim.shutdown().await;
}

#[tokio::test]
async fn they_can_be_given_to_tasks_of_any_thread() {
    fn of_any_thread<T: Send>(_: T) {}
    let (sim, client) = begun(Dialect::V9_2).await;
    let (access, ha) = (client.access(), client.ha());
    let keys = std::collections::BTreeMap::new();
    let entry = HaState { kind: HaKind::Rule, name: "near".into(), keys };
    let pool = PoolState { id: "sol".into(), comment: String::new(), machines: [].into() };
    let user = proxmox_client::plan::user::UserState::new("ops@pve");
    of_any_thread(access.ensure_token(&token(), LostSecret::Tell));
    of_any_thread(access.ensure_role(&RoleState::default()));
    of_any_thread(access.ensure_user(&user, None));
    of_any_thread(access.ensure_no_user("ops@pve"));
    of_any_thread(ha.ensure(&entry));
    of_any_thread(client.pools().ensure(&pool));
    of_any_thread(client.pci_mappings().ensure_absent("gpu"));
    sim.shutdown().await;
}
