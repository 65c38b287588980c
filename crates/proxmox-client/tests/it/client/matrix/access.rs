//! Roles, users, groups, grants and tokens.

use proxmox_client::ensure::LostSecret;
use proxmox_client::plan::access::{RoleState, TokenState};
use proxmox_client::plan::user::{GroupState, UserState};
use proxmox_client::sim::{Dialect, SimHandle};
use proxmox_client::{AclRow, Client, ClientConfig, ErrorKind, NewToken, SecretString, Trust};
use serde_json::{Value, json};

use super::{all_faults, tried};

const USER: &str = "ops@pve";

fn role(privileges: &[&str]) -> RoleState {
    let privileges = privileges.iter().map(|name| (*name).to_owned()).collect();
    RoleState { id: "watch".into(), privileges }
}

fn user(comment: &str, groups: &[&str]) -> UserState {
    let groups = groups.iter().map(|name| (*name).to_owned()).collect();
    UserState { comment: comment.into(), groups, ..UserState::new(USER) }
}

fn size(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

async fn life_of_users(sim: SimHandle, client: Client, name: String) {
    let access = client.access();
    for privileges in [&["VM.Audit", "VM.PowerMgmt"][..], &["VM.Audit"]] {
        tried(&name, |_| async { access.ensure_role(&role(privileges)).await }).await;
        assert_eq!(sim.snapshot()["roles"], json!({"watch": privileges}), "{name}");
    }
    for comment in ["those who watch", ""] {
        let group = GroupState { id: "watchers".into(), comment: comment.into() };
        tried(&name, |_| async { access.ensure_group(&group).await }).await;
        let state = sim.snapshot();
        assert_eq!((size(&state["groups"]), &state["groups"]["watchers"]), (1, &json!(comment)));
    }
    let before = size(&sim.snapshot()["users"]);
    let password = SecretString::from("a-password");
    for (comment, groups) in [("", &["watchers"][..]), ("left", &[])] {
        let wanted = user(comment, groups);
        tried(&name, |_| async { access.ensure_user(&wanted, Some(&password)).await }).await;
        let state = sim.snapshot();
        let there = &state["users"][USER];
        assert_eq!(
            (size(&state["users"]), &there["groups"]),
            (before + 1, &json!(groups)),
            "{name}"
        );
        assert_eq!(
            there["fields"].get("comment").map_or("", |text| text.as_str().expect("text")),
            comment
        );
        assert_eq!(there["enable"], true, "{name}");
    }
    let grant = AclRow::new("/vms", "user", USER, "watch", true);
    tried(&name, |_| access.ensure_grant(&grant)).await;
    assert_eq!(sim.snapshot()["acl"].as_array().map(Vec::len), Some(1), "{name}");
    tried(&name, |_| access.ensure_no_grant(&grant)).await;
    assert_eq!(sim.snapshot()["acl"], json!([]), "{name}");
    tried(&name, |_| access.ensure_no_user(USER)).await;
    tried(&name, |_| access.ensure_no_group("watchers")).await;
    tried(&name, |_| access.ensure_no_role("watch")).await;
    let state = sim.snapshot();
    let left = (size(&state["users"]), size(&state["groups"]), size(&state["roles"]));
    assert_eq!(left, (before, 0, 0), "{name}");
    sim.shutdown().await;
}

fn token(comment: &str, privsep: bool) -> TokenState {
    let (user, comment) = (USER.to_owned(), comment.to_owned());
    TokenState { user, name: "ci".into(), privsep, expire: 4_000_000_000, comment }
}

/// A token with a secret that works, as one who needs it gets it.
async fn made_token(client: &Client, name: &str) -> NewToken {
    let access = client.access();
    let wanted = token("of a test", true);
    let made =
        tried(name, |_| async { Ok(access.ensure_token(&wanted, LostSecret::Renew).await?.made) });
    if let Some(made) = made.await {
        return made;
    }
    assert_ne!(name, "undisturbed", "it was not there before");
    let renews = tried(name, |_| client.release()).await.renews_tokens();
    if renews {
        return tried(name, |_| access.renew_secret(USER, "ci")).await;
    }
    tried(name, |_| access.ensure_no_token(USER, "ci")).await;
    let made = tried(name, |_| access.ensure_token(&wanted, LostSecret::Renew)).await.made;
    made.expect("it was removed")
}

async fn life_of_a_token(sim: SimHandle, client: Client, name: String) {
    let access = client.access();
    tried(&name, |_| async { access.ensure_user(&user("", &[]), None).await }).await;
    let made = made_token(&client, &name).await;
    let config =
        ClientConfig::new(sim.base_url(), made.auth()).trust(Trust::Ca(sim.ca_pem().to_owned()));
    let own = Client::new(&config).expect("a client");
    tried(&name, |_| own.version()).await;
    let changed = token("another", false);
    tried(&name, |_| access.ensure_token(&changed, LostSecret::Tell)).await;
    let state = sim.snapshot();
    let tokens = &state["users"][USER]["tokens"];
    let there = &tokens["ci"];
    let told = (size(tokens), &there["comment"], &there["privsep"], &there["expire"]);
    assert_eq!(told, (1, &json!("another"), &json!(false), &json!(4_000_000_000_u64)), "{name}");
    // a change leaves the secret
    tried(&name, |_| own.version()).await;
    tried(&name, |_| access.ensure_no_token(USER, "ci")).await;
    assert_eq!(size(&sim.snapshot()["users"][USER]["tokens"]), 0, "{name}");
    tried(&name, |_| async {
        match own.version().await {
            Err(error) if error.kind() == ErrorKind::Auth => Ok(()),
            Err(error) => Err(error),
            Ok(_) => panic!("{name}: it works without being there"),
        }
    })
    .await;
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_roles_and_grants_end_as_they_should_whatever_goes_wrong() {
    all_faults(Dialect::V9_2, 300, life_of_users).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_makes_a_token_has_its_secret_whatever_goes_wrong() {
    all_faults(Dialect::V9_2, 100, life_of_a_token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_makes_a_token_has_its_secret_where_none_is_renewed_too() {
    all_faults(Dialect::V8_4, 100, life_of_a_token).await;
}
