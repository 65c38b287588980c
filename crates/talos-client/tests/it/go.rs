//! A client of other hands, in Go, leads simulated nodes through the whole life of a cluster.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use talos_client::Identity;
use talos_client::sim::Pace;

use super::lab::Lab;

/// The program, or `None` with a line that says so; in CI a missing one fails the test.
fn go() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = Path::new("/usr/local/go/bin").to_owned();
    let found = std::env::split_paths(&path).chain([more]).map(|dir| dir.join("go"));
    let found = found.into_iter().find(|path| path.is_file());
    if found.is_none() {
        skip("skipped: go is missing (Debian's package golang-go)");
    }
    found
}

#[expect(clippy::print_stderr, reason = "a skipped check must be seen")]
fn skip(text: &str) {
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{text}");
    eprintln!("{text}");
}

fn build(go: &Path, target: &Path) -> Result<(), String> {
    let made = Command::new(go)
        .args(["build", "-buildvcs=false", "-o"])
        .arg(target)
        .arg(".")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peer"))
        // A newer Go than the installed one is fetched from the module proxy.
        .env("GOTOOLCHAIN", "auto")
        .env("CGO_ENABLED", "0")
        .output()
        .map_err(|error| error.to_string())?;
    if made.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&made.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_other_hands_leads_a_cluster_through_its_life() {
    let Some(go) = go() else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("peer");
    if let Err(why) = build(&go, &program) {
        return skip(&format!("skipped: the client in Go cannot be built here: {why}"));
    }
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let mut nodes = Vec::new();
    for (name, suffix) in [("cp1", 11), ("cp2", 12), ("cp3", 13), ("w1", 21)] {
        let node = lab.node(name, suffix).await;
        let endpoint = node.listen().await.unwrap().to_string();
        let off = "service:\n                disabled: true";
        let config = lab.config(suffix).replace(off, "service:\n                disabled: false");
        nodes.push(json!({"name": name, "endpoint": endpoint, "config": config}));
    }
    let admin = Identity::admin(&lab.bundle).unwrap();
    let given = json!({
        "nodes": nodes, "from": "v1.13.9", "version": "v1.13.10",
        "image": "ghcr.io/siderolabs/installer:v1.13.10",
        "ca": STANDARD.encode(&admin.ca_pem), "crt": STANDARD.encode(&admin.cert_pem),
        "key": STANDARD.encode(admin.key_pem.expose_secret()),
    });
    let told = tokio::task::spawn_blocking(move || run(&program, &given)).await.unwrap();
    if let Err(why) = told {
        panic!("{why}\n{}", lab.net.snapshot()["nodes"]);
    }
}

fn run(program: &Path, given: &Value) -> Result<String, String> {
    let words = |error: std::io::Error| error.to_string();
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(words)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(given.to_string().as_bytes()).map_err(words)?;
    }
    let output = child.wait_with_output().map_err(words)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)))
}
