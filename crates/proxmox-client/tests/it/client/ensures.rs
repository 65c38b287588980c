//! Smaller things that end as they should, and what is told where they do not.

use proxmox_client::ensure::LostSecret;
use proxmox_client::plan::access::{RoleState, TokenState};
use proxmox_client::plan::ha::HaState;
use proxmox_client::plan::mapping::MappingState;
use proxmox_client::plan::pool::PoolState;
use proxmox_client::plan::user::{GroupState, UserState};
use proxmox_client::sim::{Dialect, Fault, FaultAction, SimHandle};
use proxmox_client::{AclRow, Auth, Client, ClientConfig, ErrorKind, FirewallLevel, HaKind, Trust};

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
        let config = ClientConfig::new(sim.base_url(), made.auth())
            .trust(Trust::Ca(sim.ca_pem().to_owned()));
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
async fn a_secret_that_is_lost_when_it_is_renewed_is_told() {
    let (sim, client) = begun(Dialect::V9_2).await;
    let access = client.access();
    access.ensure_token(&token(), LostSecret::Tell).await.expect("a token");
    let path = "/access/users/*/token/*";
    let refused = || FaultAction::Refuse { status: 403, message: "not you".into() };
    sim.faults().add(Fault::new("PUT", path, FaultAction::CutBeforeReply).once());
    sim.faults().add(Fault::new("PUT", path, refused()));
    let told = access.renew_secret("ops@pve", "ci").await.expect_err("the old one is dead");
    assert_eq!((told.kind(), told.may_have_been_applied()), (ErrorKind::SecretLost, true));
    let cause = std::error::Error::source(&told).expect("a cause").to_string();
    assert!(cause.contains("not you"), "{cause}");
    // where nothing was lost the secret before works still
    let told = access.renew_secret("ops@pve", "ci").await.expect_err("it is refused");
    assert_eq!((told.kind(), told.may_have_been_applied()), (ErrorKind::Forbidden, false));
    // one lost answer alone is mended
    sim.faults().clear();
    sim.faults().add(Fault::new("PUT", path, FaultAction::CutBeforeReply).once());
    access.renew_secret("ops@pve", "ci").await.expect("another secret");
    sim.shutdown().await;
}

#[tokio::test]
async fn what_is_there_again_after_an_answered_removal_stays() {
    let (sim, client) = begun(Dialect::V9_2).await;
    let firewall = client.firewall(FirewallLevel::Cluster);
    firewall.ensure_alias("office", "10.0.0.0/8", None).await.expect("an alias");
    // As if somebody made it anew at once: the removal is answered, and it is there.
    let body = br#"{"data":null}"#.to_vec();
    let answered = FaultAction::Answer { status: 200, body };
    sim.faults().add(Fault::new("DELETE", "/cluster/firewall/aliases/*", answered).once());
    assert!(firewall.ensure_no_alias("office").await.expect("it is removed"));
    assert_eq!(firewall.aliases().await.expect("aliases").len(), 1);
    // An answer that was lost is no answer.
    let cut = Fault::new("DELETE", "/cluster/firewall/aliases/*", FaultAction::CutBeforeCall);
    sim.faults().add(cut.once());
    assert!(firewall.ensure_no_alias("office").await.expect("it is removed"));
    assert_eq!(firewall.aliases().await.expect("aliases"), []);
    assert!(!firewall.ensure_no_alias("office").await.expect("it is gone"));
    sim.shutdown().await;
}

/// A user who may manage one machine and nothing else, as a client.
async fn weak(sim: &SimHandle, client: &Client) -> Client {
    let password = proxmox_client::SecretString::from("a-password");
    let user = UserState::new("weak@pve");
    client.access().ensure_user(&user, Some(&password)).await.expect("a user");
    let grant = AclRow::new("/vms/100", "user", "weak@pve", "PVEVMAdmin", true);
    assert!(client.access().ensure_grant(&grant).await.expect("a grant"));
    let auth = Auth::password("weak@pve", "a-password");
    let config = ClientConfig::new(sim.base_url(), auth).trust(Trust::Ca(sim.ca_pem().to_owned()));
    Client::new(&config).expect("a client")
}

#[tokio::test]
async fn what_the_caller_may_not_see_is_not_taken_for_absent() {
    let (sim, client) = begun(Dialect::V9_2).await;
    let (strong, weak) = (client.access(), weak(&sim, &client).await);
    let group = GroupState { id: "watchers".into(), comment: String::new() };
    strong.ensure_group(&group).await.expect("a group");
    strong.ensure_token(&token(), LostSecret::Tell).await.expect("a token");
    let hidden = weak.access();
    let told = hidden.ensure_no_user("ops@pve").await.expect_err("it may be there");
    assert_eq!(told.kind(), ErrorKind::Forbidden, "{told}");
    let told = hidden.ensure_no_group("watchers").await.expect_err("it may be there");
    assert_eq!(told.kind(), ErrorKind::Forbidden, "{told}");
    for user in ["ops@pve", "nobody@pve"] {
        let told = hidden.ensure_no_token(user, "ci").await.expect_err("it may be there");
        assert_eq!(told.kind(), ErrorKind::Forbidden, "{told}");
    }
    // whoever sees all users tells the two apart
    assert!(!strong.ensure_no_token("nobody@pve", "ci").await.expect("it is not there"));
    assert!(!strong.ensure_no_user("nobody@pve").await.expect("it is not there"));
    assert!(!strong.ensure_no_group("nobody").await.expect("it is not there"));
    let of_nobody = TokenState { user: "nobody@pve".into(), ..token() };
    let told = strong.ensure_token(&of_nobody, LostSecret::Tell).await.expect_err("nobody");
    assert_eq!((told.kind(), told.text()), (ErrorKind::NotFound, "there is no user nobody@pve"));

    // whoever may change what is granted on a path sees it
    let on = |path: &str| AclRow::new(path, "user", "ops@pve", "PVEVMUser", true);
    assert!(hidden.ensure_grant(&on("/vms/100")).await.expect("a grant"));
    let all = strong.acl().await.expect("grants");
    assert_eq!(all.iter().filter(|row| row.ugid == "ops@pve").count(), 1);
    assert!(!hidden.ensure_grant(&on("/vms/100")).await.expect("it is granted"));
    assert!(hidden.ensure_no_grant(&on("/vms/100")).await.expect("it goes"));
    assert!(!hidden.ensure_no_grant(&on("/vms/100")).await.expect("it is gone"));
    let all = strong.acl().await.expect("grants");
    assert!(all.iter().all(|row| row.ugid != "ops@pve"), "{all:?}");
    strong.ensure_grant(&on("/vms/101")).await.expect("a grant");
    let told = hidden.ensure_no_grant(&on("/vms/101")).await.expect_err("it may be granted");
    assert_eq!(told.kind(), ErrorKind::Forbidden, "{told}");
    // with Sys.Audit on /access all are seen, and those that are there cannot be changed still
    let audit = AclRow::new("/access", "user", "weak@pve", "PVEAuditor", true);
    strong.ensure_grant(&audit).await.expect("a grant");
    let told = hidden.ensure_no_grant(&on("/vms/101")).await.expect_err("it is granted");
    assert_eq!(told.kind(), ErrorKind::Forbidden, "{told}");
    assert!(!hidden.ensure_no_grant(&on("/vms/102")).await.expect("it is not granted"));
    // a path is found in whatever spelling
    assert!(!strong.ensure_grant(&on("/vms/101/")).await.expect("it is granted"));
    assert!(strong.ensure_no_grant(&on("/vms//101/")).await.expect("it goes"));
    assert!(!strong.ensure_no_grant(&on("/vms/101/")).await.expect("it is gone"));
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
async fn what_stands_beside_a_name_is_kept_or_set() {
    let (sim, client) = begun(Dialect::V9_2).await;
    let mappings = client.pci_mappings();
    let map = ["node=pve01,path=0000:00:02.1,id=8086:4680".to_owned()].into();
    let plain = MappingState { id: "gpu".into(), map, ..MappingState::default() };
    let shared = MappingState { mdev: Some(true), ..plain.clone() };
    for (wanted, changes, mdev) in [
        (&shared, 1, true),
        (&shared, 0, true),
        (&plain, 0, true),
        (&MappingState { mdev: Some(false), description: "x".into(), ..plain.clone() }, 1, false),
    ] {
        let done = mappings.ensure(wanted).await.expect("a name");
        assert_eq!(done.len(), changes, "{done:?}");
        let there = mappings.get("gpu").await.expect("an answer").expect("a name");
        assert_eq!((there.mdev, there.live_migration), (mdev, false));
    }
    let mut user = UserState::new("ops@pve");
    for name in ["Ada", "Ada", "Grace", ""] {
        name.clone_into(&mut user.first_name);
        client.access().ensure_user(&user, None).await.expect("a user");
        let there = client.access().user("ops@pve").await.expect("an answer").expect("a user");
        assert_eq!(there.first_name.unwrap_or_default(), name);
        assert_eq!(client.access().ensure_user(&user, None).await.expect("a user"), []);
    }
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
    let user = UserState::new("ops@pve");
    of_any_thread(access.ensure_token(&token(), LostSecret::Tell));
    of_any_thread(access.ensure_role(&RoleState::default()));
    of_any_thread(access.ensure_user(&user, None));
    of_any_thread(access.ensure_no_user("ops@pve"));
    of_any_thread(ha.ensure(&entry));
    of_any_thread(client.pools().ensure(&pool));
    of_any_thread(client.pci_mappings().ensure_absent("gpu"));
    sim.shutdown().await;
}
