//! Fabrics where the recordings do not reach: OpenFabric, updates, what applies, other versions.

use proxmox_client::sim::{Dialect, SimCluster, SimHandle};
use serde_json::{Value, json};

use super::life::{call, get, good};

const FABRICS: &str = "/cluster/sdn/fabrics/fabric";

async fn refused(sim: &SimHandle, method: &str, path: &str, pairs: &[(&str, &str)]) -> String {
    let answer = call(sim, method, path, pairs).await;
    assert_eq!(answer.status, 500, "{method} {path} {pairs:?}: {answer:?}");
    answer.reason
}

#[tokio::test]
async fn an_openfabric_underlay_is_made_changed_and_applied() {
    let sim = SimCluster::builder().nodes(["pve01", "pve02"]).start().await.expect("a simulator");
    let keys = [("id", "of"), ("protocol", "openfabric")];
    let text = refused(&sim, "POST", FABRICS, &keys).await;
    assert_eq!(text, "adding fabric failed: fabric 'of' does not have an IP prefix configured");
    let more = [("ip_prefix", "10.9.0.7/24"), ("ip6_prefix", "fd09::/64"), ("hello_interval", "5")];
    // a key of another protocol is dropped in silence
    good(&sim, "POST", FABRICS, &[&keys[..], &more[..], &[("area", "3")]].concat()).await;
    let fabric = get(&sim, &format!("{FABRICS}/of")).await;
    assert_eq!(fabric["ip_prefix"], json!("10.9.0.0/24"));
    assert_eq!((&fabric["hello_interval"], &fabric["area"]), (&json!(5), &Value::Null));
    assert_eq!(fabric["digest"].as_str().map(str::len), Some(64));
    let overlap = [("id", "two"), ("protocol", "openfabric"), ("ip_prefix", "10.9.0.128/25")];
    let text = refused(&sim, "POST", FABRICS, &overlap).await;
    assert!(text.contains("IP prefix 10.9.0.128/25 in fabric 'two' overlaps"), "{text}");

    let nodes = "/cluster/sdn/fabrics/node/of";
    let node = [("node_id", "pve01"), ("protocol", "openfabric"), ("ip", "10.9.0.1")];
    let text = refused(&sim, "POST", nodes, &node).await;
    assert!(text.ends_with("does not have an IP configured for this fabric prefix fd09::/64"));
    let cards = [("ip6", "fd09::1"), ("interfaces", "ip=10.9.1.1/31,name=eth0")];
    good(&sim, "POST", nodes, &[&node[..], &cards[..]].concat()).await;
    let read = get(&sim, &format!("{nodes}/pve01")).await;
    assert_eq!(read["interfaces"], json!(["name=eth0,ip=10.9.1.1/31"]));
    let same = [("node_id", "pve02"), node[1], node[2], cards[0]];
    let text = refused(&sim, "POST", nodes, &same).await;
    assert_eq!(text, "adding node failed: fabric of contains nodes with duplicated IPs");
    let text = refused(&sim, "PUT", &format!("{nodes}/pve01"), &[("protocol", "ospf")]).await;
    assert!(text.ends_with("node has a different protocol than the referenced fabric"));

    good(&sim, "PUT", "/cluster/sdn", &[]).await;
    let change = [("protocol", "openfabric"), ("delete", "hello_interval")];
    good(&sim, "PUT", &format!("{FABRICS}/of"), &change).await;
    let rows = get(&sim, "/cluster/sdn/fabrics/all?pending=1").await;
    assert_eq!(rows["fabrics"][0]["state"], json!("changed"));
    assert_eq!(rows["fabrics"][0]["pending"], json!({"hello_interval": "deleted"}));
    assert_eq!(rows["nodes"][0].get("state"), None);
    let seen = get(&sim, "/nodes/pve01/sdn/fabrics/of/interfaces").await;
    assert_eq!(seen[0]["name"], json!("eth0"));
    good(&sim, "POST", "/cluster/sdn/rollback", &[]).await;
    assert_eq!(get(&sim, &format!("{FABRICS}/of")).await["hello_interval"], json!(5));
    good(&sim, "DELETE", &format!("{FABRICS}/of"), &[]).await;
    assert_eq!(get(&sim, "/cluster/sdn/fabrics/node").await, json!([]));
    sim.shutdown().await;
}

#[tokio::test]
async fn an_old_server_knows_no_fabrics() {
    let sim = SimCluster::builder().dialect(Dialect::V8_4).start().await.expect("a simulator");
    assert_eq!(call(&sim, "GET", FABRICS, &[]).await.status, 501);
    sim.shutdown().await;
}
