//! `health`: whether clusters are well, check by check.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Serialize;
use talos_client::health::{State, Target, check, observe};
use tokio::time::Instant;

use super::session::{Session, runtime};
use super::{Context, Error};
use crate::compose::action::Level;
use crate::compose::crew::Crew;
use crate::compose::draft::lacking;
use crate::compose::observe::kubernetes_at;
use crate::compose::reach::Opened;
use crate::error::chain;
use crate::spec::site::{Cluster, Cni, Role};
use crate::state::read_text_if_present;

/// Pause between two rounds.
const ROUND: Duration = Duration::from_secs(2);

/// How many nodes of a cluster are dialled at once.
const AT_ONCE: usize = 16;

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Ok,
    /// It does not hold yet.
    Waiting,
    /// It does not hold, and waiting does not help.
    Failed,
}

/// One check of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The cluster.
    pub cluster: String,
    /// Its name.
    pub check: String,
    /// What came of it.
    pub state: Verdict,
    /// Why it does not hold.
    pub reason: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Clusters by name, id or folder; all when there are none.
    pub clusters: Vec<String>,
    /// How long to wait until everything holds; `None` looks once.
    pub wait: Option<Duration>,
    /// Work in the lab.
    pub lab: bool,
}

/// Checks clusters. `tell` is given every row whose state or reason is another than before.
///
/// # Errors
/// The tree has errors or has no such cluster. A cluster that is not well is no error.
pub fn health(
    context: &Context,
    options: &Options,
    tell: &mut dyn FnMut(&Row),
) -> Result<Vec<Row>, Error> {
    let session = Session::open_for(context, options.lab, &options.clusters)?;
    let clusters = session.clusters(&options.clusters)?;
    runtime()?.block_on(async {
        let end = options.wait.map(|wait| Instant::now() + wait);
        let mut last: Vec<Row> = Vec::new();
        loop {
            let asked = clusters.iter().map(|cluster| rows(&session.crew, cluster));
            let rows: Vec<Row> =
                futures_util::future::join_all(asked).await.into_iter().flatten().collect();
            for row in rows.iter().filter(|row| !last.contains(row)) {
                tell(row);
            }
            let is_over = rows.iter().all(|row| row.state == Verdict::Ok)
                || rows.iter().any(|row| row.state == Verdict::Failed)
                || end.is_none_or(|end| Instant::now() + ROUND > end);
            if is_over {
                return Ok(rows);
            }
            last = rows;
            tokio::time::sleep(ROUND).await;
        }
    })
}

async fn rows(crew: &Crew, cluster: &Cluster) -> Vec<Row> {
    let row = |check: &str, state: Verdict, reason: Option<String>| Row {
        cluster: cluster.name.clone(),
        check: check.to_owned(),
        state,
        reason,
    };
    let opened = match crew.secrets(cluster) {
        Ok(Some(opened)) => opened,
        Ok(None) => {
            let reason =
                "its secrets are not there: it was not made yet, or its bundle is lost".to_owned();
            return vec![row("secrets", Verdict::Failed, Some(reason))];
        }
        Err(error) => return vec![row("secrets", Verdict::Failed, Some(chain(&error)))],
    };
    let mut rows = vec![row("secrets", Verdict::Ok, None)];
    let mut targets = Vec::new();
    let mut unreached = Vec::new();
    // Nodes that are down cost their time limit once, not once each.
    let opened = &opened;
    let dialled = cluster.nodes.iter().map(|node| async move {
        let client = async {
            let address = crew.address(node).map_err(|error| error.to_string())?;
            let client = crew.talos(address, opened).await.map_err(|error| chain(&error))?;
            client.expect_uuid(node.uuid).await.map_err(|error| chain(&error))?;
            Ok::<_, String>(client)
        };
        (node, client.await)
    });
    let dialled: Vec<_> = futures_util::stream::iter(dialled).buffered(AT_ONCE).collect().await;
    for (node, client) in dialled {
        match client {
            Ok(client) => targets.push(Target {
                name: node.name.clone(),
                control_plane: node.role == Role::ControlPlane,
                client,
            }),
            Err(why) => unreached.push(format!("{}: {why}", node.name)),
        }
    }
    let reach = (!unreached.is_empty()).then(|| unreached.join("; "));
    let state = if reach.is_none() { Verdict::Ok } else { Verdict::Waiting };
    rows.push(row("nodes", state, reach));
    if !targets.is_empty() {
        for result in check(&observe(&targets).await) {
            let state = match &result.state {
                State::Ok => Verdict::Ok,
                State::Waiting(_) => Verdict::Waiting,
                State::Failed(_) => Verdict::Failed,
            };
            rows.push(row(result.name, state, result.reason().map(str::to_owned)));
        }
    }
    let lacking = kubernetes(crew, cluster, opened).await;
    let state = if lacking.is_none() { Verdict::Ok } else { Verdict::Waiting };
    rows.push(row("kubernetes", state, lacking));
    rows
}

/// What the cluster lacks in the eyes of its API server.
async fn kubernetes(crew: &Crew, cluster: &Cluster, opened: &Opened) -> Option<String> {
    let level = match cluster.cni {
        Cni::None => Level::NodesRegistered,
        Cni::Cilium | Cni::Flannel => Level::NodesReady,
    };
    let file = read_text_if_present(&crew.layout.kubeconfig(&cluster.folder)).ok().flatten();
    let mut last = "no control plane can be asked".to_owned();
    for node in cluster.nodes.iter().filter(|node| node.role == Role::ControlPlane) {
        let found = match kubernetes_at(crew, node, opened, file.as_deref()).await {
            Ok(kubernetes) => kubernetes.nodes().await,
            Err(error) => Err(error),
        };
        match found {
            Ok(nodes) => return lacking(cluster, level, Ok(&nodes)),
            Err(error) => last = chain(&error),
        }
    }
    lacking(cluster, level, Err(&last))
}
