//! A node that takes nothing settles nothing.

use serde_json::json;

use super::Site;

#[test]
fn a_first_configuration_that_every_node_refused_binds_the_tree_to_nothing() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    let refuse = json!({ "refuse": { "code": 3, "message": "1 error occurred: not this one" } });
    let fault = json!({ "method": "*/ApplyConfiguration", "action": refuse });
    site.lab().faults(json!({ "talos": [fault] })).unwrap();
    site.run(&["-y", "apply", "terra"]).expect(3).says("not this one");
    let lock = || {
        let text = fs_err::read_to_string(site.lab().tree_dir().join("clusterctl.lock")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    assert_eq!(lock()["clusters"], json!({}));

    // Nothing has the addresses of before: the tree may be corrected.
    site.lab().faults(json!({ "clear": true })).unwrap();
    let file = "clusters/cluster-103/cluster.hcl";
    site.edit(file, "  workers ", "  tenant_id = 150\n  workers ");
    site.run(&["plan", "terra"]).expect(0).says("net0").says("configure terracp01");
    site.edit(file, "  tenant_id = 150\n", "");
    site.run(&["-y", "apply", "terra"]).expect(0);
    assert_eq!(lock()["clusters"]["terra"]["etcd_started"], true);
}
