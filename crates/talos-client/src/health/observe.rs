//! Asking the nodes.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use super::{CheckResult, Fact, Gap, NodeFacts, Observation, State, check, first_problem};
use crate::api::kinds;
use crate::client::Client;
use crate::error::{Error, ErrorKind};

/// A node that is asked.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host name that the node is expected to have.
    pub name: String,
    /// It is expected to be a control plane.
    pub control_plane: bool,
    /// A client of it.
    pub client: Client,
}

/// Asks all nodes, at the same time.
pub async fn observe(targets: &[Target]) -> Observation {
    Observation { nodes: join_all(targets.iter().map(one)).await }
}

fn fact<T>(result: Result<T, Error>) -> Fact<T> {
    result.map_err(|error| Gap::from(&error))
}

async fn one(target: &Target) -> NodeFacts {
    let client = &target.client;
    let version = match fact(client.version().await) {
        Ok(version) => version,
        // The rest would fail for the same reason, one time limit after the other.
        Err(gap) => return NodeFacts::unknown(&target.name, target.control_plane, &gap),
    };
    let static_pods = async {
        match target.control_plane {
            true => client.static_pods().await,
            false => Ok(Vec::new()),
        }
    };
    let (status, services, memory, disks, diagnostics, time, kubernetes, static_pods) = futures_util::join!(
        client.machine_status(),
        client.services(),
        client.memory(),
        client.disks(),
        client.diagnostics(),
        time_synced(client),
        client.kubernetes_node(),
        static_pods,
    );
    let services = fact(services);
    // etcd does not answer before its bootstrap.
    let waits = match &services {
        Err(gap) => Some(gap.clone()),
        Ok(_) if !target.control_plane => Some(Gap::ended("it is no control plane")),
        Ok(list) => match list.iter().find(|service| service.id == "etcd") {
            None => Some(Gap::new("etcd is not there yet")),
            Some(etcd) if etcd.state != "Running" => {
                Some(Gap::new(format!("etcd: {}", etcd.reason())))
            }
            Some(_) => None,
        },
    };
    let (etcd_members, etcd_status, etcd_alarms) = match waits {
        Some(gap) => (Err(gap.clone()), Err(gap.clone()), Err(gap)),
        None => {
            let (members, status, alarms) = futures_util::join!(
                client.etcd_members(),
                client.etcd_status(),
                client.etcd_alarms()
            );
            (fact(members), fact(status), fact(alarms))
        }
    };
    NodeFacts {
        name: target.name.clone(),
        control_plane: target.control_plane,
        version: Ok(version),
        status: fact(status),
        services,
        etcd_members,
        etcd_status,
        etcd_alarms,
        memory: fact(memory),
        disks: fact(disks),
        diagnostics: fact(diagnostics),
        time_synced: fact(time),
        kubernetes: fact(kubernetes),
        static_pods: fact(static_pods),
    }
}

/// Whether the clock is in sync, or need not be.
async fn time_synced(client: &Client) -> Result<bool, Error> {
    let (namespace, kind) = kinds::TIME_STATUS;
    let Some(status) = client.find(namespace, kind, "node").await? else { return Ok(false) };
    let is = |pointer: &str| {
        status.spec.pointer(pointer).and_then(serde_json::Value::as_bool).unwrap_or(false)
    };
    Ok(is("/synced") || is("/syncDisabled"))
}

/// Asks the nodes again and again until all checks hold, but those with the names given, and tells
/// `progress` of every round.
///
/// # Errors
/// A check has failed for good, or the time is over: the error says which check and why.
pub async fn wait(
    targets: &[Target],
    except: &[&str],
    limit: Duration,
    mut progress: impl FnMut(&[CheckResult]),
) -> Result<Vec<CheckResult>, Error> {
    let end = Instant::now() + limit;
    let mut last: Vec<CheckResult> = Vec::new();
    let over = |last: &[CheckResult]| {
        let why = match first_problem(last, except) {
            Some(problem) => problem.to_string(),
            None => "the nodes have not answered".to_owned(),
        };
        let text = format!("not within {limit:?}: {why}");
        Error::new(ErrorKind::Timeout, "wait for the cluster", text)
    };
    loop {
        let Ok(observation) = timeout_at(end, observe(targets)).await else {
            return Err(over(&last));
        };
        last = check(&observation);
        progress(&last);
        match first_problem(&last, except) {
            None => return Ok(last),
            Some(CheckResult { name, state: State::Failed(reason) }) => {
                let text = format!("{name}: {reason}");
                let kind = ErrorKind::FailedPrecondition;
                return Err(Error::new(kind, "wait for the cluster", text));
            }
            Some(_) if Instant::now() >= end => return Err(over(&last)),
            Some(_) => sleep(ROUND).await,
        }
    }
}

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(1);
