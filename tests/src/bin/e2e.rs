//! The main job from end to end: the example tree applied to the lab, looked at, changed from
//! outside, mended, removed. Then again with images that are built, from packages on.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]
#![expect(clippy::indexing_slicing, reason = "indexing a JSON value yields null")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cluster_tests::site::Site;
use serde_json::Value;

/// How long one verb may take before it counts as stuck.
const LIMIT: Duration = Duration::from_mins(3);

fn run() -> anyhow::Result<()> {
    let site = Site::new()?;
    let said = site.expect(&["validate", "--strict"], 0, LIMIT)?;
    ensure!(said.contains("3 cluster(s), 13 node(s), 0 warning(s)"), "{said}");
    site.expect(&["lab", "up"], 0, LIMIT)?;
    let begun = Instant::now();
    site.expect(&["apply"], 0, LIMIT)?;
    println!("applied: 3 clusters, 13 nodes, {} ms", begun.elapsed().as_millis());

    let truth = site.truth()?;
    let ready = |cluster: &Value| -> usize {
        let objects = cluster["objects"].as_object().into_iter().flatten();
        objects
            .filter(|(path, object)| {
                path.starts_with("/api/v1/nodes/")
                    && object.pointer("/status/conditions/0/status") == Some(&"True".into())
            })
            .count()
    };
    let clusters = truth["talos"]["clusters"].as_object().context("no clusters")?;
    let mut found: Vec<(String, usize, usize)> = clusters
        .values()
        .map(|cluster| {
            let members = cluster["members"].as_array().map_or(0, Vec::len);
            (cluster["name"].as_str().unwrap_or_default().to_owned(), members, ready(cluster))
        })
        .collect();
    found.sort();
    let wanted = [("luna", 3, 5), ("sol", 3, 6), ("terra", 1, 2)];
    let wanted = wanted.map(|(name, members, ready)| (name.to_owned(), members, ready));
    ensure!(found == wanted, "clusters, members of etcd, ready nodes: {found:?}");
    let bootstraps: u64 = truth["talos"]["nodes"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, node)| node["bootstraps"].as_u64())
        .sum();
    ensure!(bootstraps == 3, "{bootstraps} bootstraps");

    let said = site.expect(&["plan", "--detailed-exitcode"], 0, LIMIT)?;
    ensure!(said.contains("No changes"), "{said}");
    site.expect(&["health"], 0, LIMIT)?;
    site.expect(&["doctor"], 0, LIMIT)?;

    // Somebody switches machines off.
    let off = serde_json::json!({ "set": { "guests": { "101021": false, "103021": false } } });
    site.lab()?.faults(off)?;
    let said = site.expect(&["plan", "--detailed-exitcode"], 2, LIMIT)?;
    for text in ["start solwk01", "start terrawk01", "Blast radius: sol, terra"] {
        ensure!(said.contains(text), "{text:?} is not in\n{said}");
    }
    site.expect(&["health", "terra"], 4, LIMIT)?;
    site.expect(&["apply"], 0, LIMIT)?;
    site.expect(&["plan", "--detailed-exitcode"], 0, LIMIT)?;

    // The lab forgets nothing when it ends.
    site.expect(&["lab", "down"], 0, LIMIT)?;
    site.expect(&["apply"], 0, LIMIT)?;
    site.expect(&["plan", "--detailed-exitcode"], 0, LIMIT)?;

    site.expect(&["destroy"], 0, LIMIT)?;
    let truth = site.truth()?;
    ensure!(
        truth["pve"]["vms"].as_object().is_some_and(serde_json::Map::is_empty),
        "machines are left"
    );
    let files = truth["pve"]["volumes"].to_string();
    ensure!(!files.contains("vm-") && !files.contains(".iso"), "volumes are left: {files}");
    println!(
        "drift seen and mended, state kept, everything removed: {} ms in all",
        begun.elapsed().as_millis()
    );
    Ok(())
}

/// From packages to running clusters: the extension is made, installer and ISO are built with it.
fn build() -> anyhow::Result<()> {
    let site = Site::with("frr")?;
    let begun = Instant::now();
    let said = site.expect(&["plan"], 0, LIMIT)?;
    let order =
        ["make the extension frr", "build talos", "build registry.example.net/talos/installer"];
    let found: Vec<_> = order.iter().map(|text| said.find(text)).collect();
    ensure!(found.iter().all(Option::is_some), "{order:?} are not in\n{said}");
    site.expect(&["apply"], 0, LIMIT)?;
    site.expect(&["plan", "--detailed-exitcode"], 0, LIMIT)?;
    site.expect(&["health"], 0, LIMIT)?;
    let lock = || -> anyhow::Result<Value> {
        let path = site.own().join("tree/clusterctl.lock");
        Ok(serde_json::from_slice(&fs_err::read(path)?)?)
    };
    let before = lock()?;
    let pin = |lock: &Value| lock["references"]["registry.example.net/talos/frr:10.3-1"].clone();
    ensure!(pin(&before).as_str().is_some_and(|text| text.starts_with("sha256:")), "{before}");

    // What goes into the extension goes into the images.
    let root = "artifacts/extension/frr/rootfs/usr/local/lib/containers/frr/start";
    let path = site.live().join(root);
    fs_err::write(&path, fs_err::read_to_string(&path)? + "# changed\n")?;
    let said = site.expect(&["plan", "artifacts"], 0, LIMIT)?;
    ensure!(said.contains("what it is made from has changed"), "{said}");
    site.expect(&["apply", "artifacts"], 0, LIMIT)?;
    ensure!(pin(&before) != pin(&lock()?), "the extension changed and its digest did not");
    println!("built with an extension of packages, rebuilt: {} ms", begun.elapsed().as_millis());
    Ok(())
}

fn main() -> ExitCode {
    match run().and_then(|()| build()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}
