//! Tests of whole nodes: recordings played again, and clusters that come up.

mod health;
mod lab;
mod matcher;
mod recording;
mod timeline;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::grpc::{Call, Peer, Reply, Status};
use super::{SimNode, api};

/// A call by an administrator.
async fn call(node: &SimNode, path: &str, request: Value) -> Result<Reply, Status> {
    let call = Call {
        path: path.into(),
        requests: vec![request],
        node: Vec::new(),
        nodes: Vec::new(),
        peer: Peer { roles: vec!["os:admin".into()] },
        cut: CancellationToken::new(),
        upload: None,
    };
    api::entry(&Arc::clone(&node.0), call).await
}

async fn until(what: &str, test: impl Fn() -> bool) {
    for _ in 0..3000 {
        if test() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sim")
}

fn fixture(name: &str) -> String {
    fs_read(&fixtures().join(name))
}

fn fs_read(path: &std::path::Path) -> String {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}
