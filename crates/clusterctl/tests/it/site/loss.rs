//! What was lost is not made anew behind the owner's back: a second PKI or a second etcd of a
//! cluster that exists would be its end.

use super::Site;

#[test]
fn a_cluster_that_ran_gets_no_second_etcd_and_no_second_secrets() {
    let site = Site::new();
    site.run(&["-y", "apply", "terra"]).expect(0);
    let lock = site.lab().tree_dir().join("clusterctl.lock");
    let marked = || fs_err::read_to_string(&lock).unwrap().contains("\"etcd_started\": true");
    assert!(marked());

    // Everything is switched off.
    let off = serde_json::json!({ "set": { "guests": { "103011": false, "103021": false } } });
    site.lab().faults(off.clone()).unwrap();
    let plan = site.run(&["plan", "terra"]).expect(0);
    plan.says("start terracp01");
    assert!(!plan.out.contains("bootstrap etcd"), "{}", plan.out);
    site.run(&["-y", "apply", "terra"]).expect(0);

    // The lock file is lost: an apply finds the mark again, a plan says what it does not know.
    fs_err::remove_file(&lock).unwrap();
    site.lab().faults(off).unwrap();
    let plan = site.run(&["plan", "terra"]).expect(0);
    plan.says("bootstrap etcd, unless a control plane has it").says("terracp01 is not running");
    site.run(&["-y", "apply", "terra"]).expect(0);
    assert!(marked());
    let truth = site.lab().snapshot().unwrap();
    let nodes = truth["talos"]["nodes"].as_object().unwrap();
    let bootstraps: u64 = nodes.values().filter_map(|node| node["bootstraps"].as_u64()).sum();
    assert_eq!(bootstraps, 1);

    // The bundle is lost, and nothing runs that could prove anything.
    let bundle = site.lab().tree_dir().join("clusters/cluster-103/secrets.sops.yaml");
    let kept = fs_err::read(&bundle).unwrap();
    let access = site.lab().tree_dir().join("clusters/cluster-103/talosconfig");
    let opens = fs_err::read(&access).unwrap();
    fs_err::remove_file(&bundle).unwrap();
    site.lab()
        .faults(serde_json::json!({ "set": { "guests": { "103011": false, "103021": false } } }))
        .unwrap();
    let plan = site.run(&["plan", "terra"]).expect(6);
    plan.says("cluster terra has no secrets").says("restore its secrets.sops.yaml");
    site.run(&["-y", "apply", "terra"]).expect(6);
    let made = site.run(&["secrets", "generate", "terra"]).expect(6);
    made.says("cluster terra was made before").says("clusterctl.lock");
    fs_err::remove_file(&lock).unwrap();
    site.run(&["secrets", "generate", "terra"]).expect(6).says("clusters/cluster-103/");
    site.run(&["plan", "terra"]).expect(6).says("is not proven to be unconfigured");
    assert!(!bundle.exists());
    assert_eq!(fs_err::read(&access).unwrap(), opens);

    // With it back everything goes on.
    fs_err::write(&bundle, kept).unwrap();
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.run(&["plan", "terra", "--detailed-exitcode"]).expect(0);

    // A key to something else is never written over.
    site.run(&["secrets", "generate", "luna"]).expect(0);
    let other = site.run(&["talosconfig", "luna"]).expect(0).out.replace("luna", "terra");
    fs_err::write(&access, &other).unwrap();
    let plan = site.run(&["plan", "terra", "--detailed-exitcode"]).expect(0);
    plan.says("talosconfig: it is of another authority than the cluster's secrets");
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.run(&["talosconfig", "terra", "--renew"]).expect(6).says("move the file away");
    assert_eq!(fs_err::read_to_string(&access).unwrap(), other);
    fs_err::remove_file(&access).unwrap();
    site.run(&["-y", "apply", "terra"]).expect(0).says("write talosconfig of cluster terra");
    site.run(&["plan", "terra", "--detailed-exitcode"]).expect(0);
}
