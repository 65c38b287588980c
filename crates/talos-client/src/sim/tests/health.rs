//! The health check that a control plane does for whoever asks.

use futures_util::StreamExt as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::super::grpc::{Call, Peer, Reply};
use super::super::replay::{ReplayGroup, replay};
use super::super::{api, grpc};

#[tokio::test]
async fn checks_go_on_in_their_order_until_one_never_passes() {
    let (net, nodes) = replay(ReplayGroup::Etcd, &super::fixtures()).await.unwrap();
    let call = Call {
        path: "/cluster.ClusterService/HealthCheck".into(),
        requests: vec![json!({"waitTimeout": "1s"})],
        node: Vec::new(),
        nodes: Vec::new(),
        peer: Peer { roles: vec!["os:reader".into()] },
        cut: CancellationToken::new(),
        upload: None,
    };
    let Ok(Reply::Many(mut frames)) = api::entry(&nodes[0].1.0, call).await else {
        panic!("no stream");
    };
    let (mut said, mut end) = (Vec::new(), None);
    while let Some(frame) = frames.next().await {
        match frame {
            Ok(frame) => said.push(frame["message"].as_str().unwrap().to_owned()),
            Err(status) => end = Some(status.code),
        }
    }
    net.shutdown();
    assert_eq!(said[0], "discovered nodes: [\"10.0.2.15\"]");
    let passed: Vec<&str> =
        said.iter().filter_map(|s| s.strip_prefix("waiting for ")?.strip_suffix(": OK")).collect();
    assert_eq!(passed.first(), Some(&"etcd to be healthy"));
    assert_eq!(passed.last(), Some(&"all nodes to finish boot sequence"));
    assert_eq!(passed.len(), 9);
    assert!(said.last().unwrap().starts_with("waiting for all k8s nodes to report: "));
    assert_eq!(end, Some(grpc::code::DEADLINE_EXCEEDED));
}
