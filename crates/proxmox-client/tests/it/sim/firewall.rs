//! The firewall where the recordings do not reach: other levels, time, rights, what a rename does.

use std::time::Duration;

use proxmox_client::sim::SimCluster;
use serde_json::json;

use super::life::{call, get, good};
use super::wire::Answer;

fn error(answer: &Answer, key: &str, text: &str) {
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.body["errors"], json!({key: text}));
}

const ACCEPT: [(&str, &str); 2] = [("type", "in"), ("action", "ACCEPT")];

#[tokio::test]
async fn a_provisional_enable_reverts_unless_it_is_confirmed() {
    let sim = SimCluster::builder().start().await.expect("a simulator");
    let options = "/cluster/firewall/options";
    good(&sim, "PUT", options, &[("enable", "2")]).await;
    let first = get(&sim, options).await;
    assert!(first["enable"].as_u64().expect("a time") > 1_000_000_000, "{first}");
    sim.advance(Duration::from_secs(62));
    let later = get(&sim, options).await;
    assert_eq!(later["enable"], json!(0));
    assert_ne!(later["digest"], first["digest"]);
    good(&sim, "PUT", options, &[("enable", "2")]).await;
    good(&sim, "PUT", options, &[("enable", "1")]).await;
    sim.advance(Duration::from_secs(62));
    assert_eq!(get(&sim, options).await["enable"], json!(1));
}

#[tokio::test]
async fn nodes_have_options_and_rules_of_their_own() {
    let sim = SimCluster::builder().nodes(["pve01", "pve02"]).start().await.expect("a simulator");
    let (one, two) = ("/nodes/pve01/firewall", "/nodes/pve02/firewall");
    let helpers = [("nf_conntrack_helpers", "FTP"), ("nosmurfs", "1")];
    let bad = call(&sim, "PUT", &format!("{one}/options"), &helpers).await;
    assert_eq!(bad.status, 400, "{bad:?}");
    let helpers = [("nf_conntrack_helpers", "ftp"), ("log_level_in", "info")];
    good(&sim, "PUT", &format!("{one}/options"), &helpers).await;
    let options = get(&sim, &format!("{one}/options")).await;
    assert_eq!(options["nf_conntrack_helpers"], json!("ftp"));
    assert_eq!(get(&sim, &format!("{two}/options")).await.as_object().expect("keys").len(), 1);
    let rules = format!("{one}/rules");
    good(&sim, "POST", &rules, &[ACCEPT[0], ACCEPT[1], ("iface", "vmbr0"), ("macro", "ssh")]).await;
    let answer = call(&sim, "POST", &rules, &[("type", "forward"), ("action", "REJECT")]).await;
    error(&answer, "action", "cannot define REJECT rules on forward chain");
    let shown = get(&sim, &rules).await;
    assert_eq!(shown[0]["macro"], json!("SSH"));
    assert_eq!(shown[0]["iface"], json!("vmbr0"));
    assert_eq!(get(&sim, &format!("{two}/rules")).await, json!([]));
    let unknown = call(&sim, "PUT", &format!("{one}/options"), &[("delete", "dhcp")]).await;
    error(&unknown, "delete", "no such option 'dhcp'");
}

#[tokio::test]
async fn a_vnet_has_a_firewall_once_it_is_applied() {
    let sim = SimCluster::builder().start().await.expect("a simulator");
    let rules = "/cluster/sdn/vnets/web/firewall/rules";
    good(&sim, "POST", "/cluster/sdn/zones", &[("zone", "zone1"), ("type", "simple")]).await;
    good(&sim, "POST", "/cluster/sdn/vnets", &[("vnet", "web"), ("zone", "zone1")]).await;
    let early = call(&sim, "GET", rules, &[]).await;
    assert_eq!(early.status, 500);
    assert!(early.reason.starts_with("invalid vnet specified"), "{early:?}");
    good(&sim, "PUT", "/cluster/sdn", &[]).await;
    let forward = [("type", "forward"), ("action", "DROP"), ("source", "+sdn/web-all")];
    let mut answer = call(&sim, "POST", rules, &forward).await;
    for _ in 0..200 {
        if answer.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = call(&sim, "POST", rules, &forward).await;
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    error(
        &call(&sim, "POST", rules, &ACCEPT).await,
        "type",
        "invalid rule type 'in' for rule_env 'vnet'",
    );
    assert_eq!(get(&sim, rules).await[0]["source"], json!("+sdn/web-all"));
    let options = "/cluster/sdn/vnets/web/firewall/options";
    good(&sim, "PUT", options, &[("policy_forward", "DROP"), ("enable", "1")]).await;
    assert_eq!(get(&sim, options).await["policy_forward"], json!("DROP"));
}

#[tokio::test]
async fn names_that_go_leave_their_mark_and_groups_take_rules_along() {
    let sim = SimCluster::builder().start().await.expect("a simulator");
    let fw = "/cluster/firewall";
    good(&sim, "POST", &format!("{fw}/ipset"), &[("name", "Hosts")]).await;
    good(&sim, "POST", &format!("{fw}/aliases"), &[("name", "gw"), ("cidr", "10.0.0.1/32")]).await;
    good(&sim, "POST", &format!("{fw}/ipset/hosts"), &[("cidr", "GW")]).await;
    good(&sim, "POST", &format!("{fw}/ipset/hosts"), &[("cidr", "10.1.0.9/16")]).await;
    let by_path = get(&sim, &format!("{fw}/ipset/hosts/10.1.0.0/16")).await;
    assert_eq!(by_path["cidr"], json!("10.1.0.0/16"));
    let rules = format!("{fw}/rules");
    good(&sim, "POST", &rules, &[ACCEPT[0], ACCEPT[1], ("source", "+dc/hosts")]).await;
    let before = get(&sim, &rules).await;
    assert!(before[0].get("errors").is_none(), "{before}");

    good(&sim, "DELETE", &format!("{fw}/aliases/GW"), &[]).await;
    let entries = get(&sim, &format!("{fw}/ipset/hosts")).await;
    let orphan = entries.as_array().expect("rows").iter().find(|row| row["cidr"] == json!("GW"));
    assert_eq!(orphan.expect("the entry")["errors"], json!({"cidr": "no such alias 'GW'"}));
    good(&sim, "POST", &format!("{fw}/ipset"), &[("name", "nodes"), ("rename", "hosts")]).await;
    let after = get(&sim, &rules).await;
    assert_eq!(after[0]["errors"], json!({"source": "no such ipset 'hosts'"}));
    assert_eq!(after[0]["digest"], before[0]["digest"]);

    good(&sim, "POST", &format!("{fw}/groups"), &[("group", "web")]).await;
    let vm = "/nodes/pve1/qemu/100/firewall/rules";
    let node = call(&sim, "GET", "/nodes", &[]).await.body["data"][0]["node"].clone();
    let vm = vm.replace("pve1", node.as_str().expect("a name"));
    good(&sim, "POST", &rules, &[("type", "group"), ("action", "web"), ("source", "10.0.0.1")])
        .await;
    good(&sim, "POST", &vm, &[("type", "group"), ("action", "web")]).await;
    good(&sim, "POST", &format!("{fw}/groups"), &[("group", "www"), ("rename", "web")]).await;
    let shown = get(&sim, &rules).await;
    assert_eq!(shown[0]["action"], json!("www"));
    assert!(shown[0].get("source").is_none(), "a group has no addresses: {shown}");
    assert_eq!(get(&sim, &vm).await[0]["action"], json!("web"), "a machine that is not there");

    let stale = call(
        &sim,
        "DELETE",
        &format!("{rules}/0"),
        &[("digest", "0000000000000000000000000000000000000000")],
    )
    .await;
    assert_eq!(stale.status, 500);
    assert_eq!(get(&sim, &rules).await.as_array().map(Vec::len), Some(2));
}
