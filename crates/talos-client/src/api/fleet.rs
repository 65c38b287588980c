//! Many nodes at once: each has its own answer or its own error.

use std::net::IpAddr;

use futures_util::StreamExt as _;
use futures_util::stream::iter;

use crate::client::Client;
use crate::error::Error;

/// What one node of many answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PerNode<T> {
    /// Address of the node.
    pub address: IpAddr,
    /// Its answer, or why there is none.
    pub answer: Result<T, Error>,
}

/// Asks many nodes, no more than `at_once` at the same time; the answers come in the order of the nodes.
/// A node that fails keeps none of the others from answering.
///
/// Every node is asked itself. A control plane could ask others in one call, but then an answer of theirs
/// and a failure of the way there look alike, and Talos has announced to end it.
pub async fn each<T, F, Fut>(nodes: &[Client], at_once: usize, ask: F) -> Vec<PerNode<T>>
where
    F: Fn(Client) -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let asked = nodes.iter().enumerate().map(|(at, node)| {
        let (address, answer) = (node.address(), ask(node.clone()));
        async move { (at, PerNode { address, answer: answer.await }) }
    });
    // A slow node in front keeps the others from nothing.
    let mut all: Vec<(usize, PerNode<T>)> =
        iter(asked).buffer_unordered(at_once.max(1)).collect().await;
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, one)| one).collect()
}

/// The answers and the failures apart.
pub fn apart<T>(all: Vec<PerNode<T>>) -> (Vec<(IpAddr, T)>, Vec<(IpAddr, Error)>) {
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    for one in all {
        match one.answer {
            Ok(answer) => answers.push((one.address, answer)),
            Err(error) => failures.push((one.address, error)),
        }
    }
    (answers, failures)
}
