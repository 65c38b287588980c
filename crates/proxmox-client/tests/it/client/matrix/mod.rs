//! Each call of each course of events goes wrong once, in each way: the end is the same, and
//! nothing exists twice. Judged from the state of the server.

mod access;
mod devices;
mod firewall;
mod networks;
mod vm;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use proxmox_client::sim::{
    Dialect, Fault, FaultAction, SimBuilder, SimCluster, SimHandle, SimStorage,
};
use proxmox_client::{Client, Error};
use serde_json::Value;

use super::by_token;
pub(super) use networks::{carried_out, observed};

pub(super) fn cluster() -> SimBuilder {
    SimCluster::builder()
        .nodes(["pve01", "pve02", "pve03"])
        .task_time(Duration::from_millis(1))
        .auth_delay(Duration::from_millis(1))
        .lock_timeout(Duration::from_millis(20))
        .storages([
            SimStorage::rbd("rbd-vm", "images,rootdir"),
            SimStorage::dir("local", "iso,images"),
        ])
}

/// The node that goes down: what the courses are about lies on it, the API is that of another.
const LOST: &str = "pve02";
/// How long it is down: shorter than the patience of a single call.
const OUTAGE: Duration = Duration::from_millis(150);

fn actions(is_write: bool) -> Vec<FaultAction> {
    let mut all = vec![
        FaultAction::Refuse { status: 500, message: "something else is wrong".into() },
        FaultAction::CutBeforeReply,
        FaultAction::CutBeforeCall,
        FaultAction::CutInBody,
        FaultAction::ProxyUnreachable,
        FaultAction::ProxyLost,
        FaultAction::ProxyOther,
        FaultAction::LockTimeout,
        FaultAction::Unauthorized,
        FaultAction::NodeDown { node: LOST.into(), time: OUTAGE },
    ];
    if is_write {
        all.push(FaultAction::TaskFails("it broke in the middle".into()));
        all.push(FaultAction::TaskWarns(2));
        all.push(FaultAction::NodeDies { node: LOST.into(), time: OUTAGE });
    }
    all
}

/// Of so many cases one is run: all take minutes. It divides neither number of actions, so that
/// every kind of fault and most calls are in. `PROXMOX_FULL_MATRIX` set to `1` runs all, set to
/// another text those whose name has it.
const STRIDE: usize = 11;

/// How often a caller tries again, as a user would.
const TRIES: u32 = 3;

async fn tried<T, F: Future<Output = Result<T, Error>>>(
    what: &str,
    mut work: impl FnMut(u32) -> F,
) -> T {
    let mut last = None;
    for attempt in 0..TRIES {
        match work(attempt).await {
            Ok(done) => return done,
            Err(error) => last = Some(error),
        }
    }
    panic!("{what}: {:?}", last.expect("an error"));
}

/// Runs a course once undisturbed and then with each of its calls going wrong in each way.
async fn all_faults<F: Future<Output = ()>>(
    dialect: Dialect,
    least: usize,
    course: impl Fn(SimHandle, Client, String) -> F,
) {
    run(dialect, least, |_| false, async |_| {}, course).await;
}

/// As [`all_faults`], of a course that makes the same reads again and again: of those whose path is
/// `again`, what goes wrong the second time is what went wrong the first time, and the sample takes
/// that one alone.
async fn all_faults_but<F: Future<Output = ()>>(
    dialect: Dialect,
    least: usize,
    again: impl Fn(&str) -> bool,
    course: impl Fn(SimHandle, Client, String) -> F,
) {
    run(dialect, least, again, async |_| {}, course).await;
}

/// As [`all_faults`], of a course that finds something: what `before` makes undisturbed.
async fn all_faults_after<F: Future<Output = ()>>(
    dialect: Dialect,
    least: usize,
    before: impl AsyncFn(&Client),
    course: impl Fn(SimHandle, Client, String) -> F,
) {
    run(dialect, least, |_| false, before, course).await;
}

async fn run<F: Future<Output = ()>>(
    dialect: Dialect,
    least: usize,
    again: impl Fn(&str) -> bool,
    before: impl AsyncFn(&Client),
    course: impl Fn(SimHandle, Client, String) -> F,
) {
    let begun = async || {
        let sim = cluster().dialect(dialect).start().await.expect("a simulator");
        let client = Client::new(&by_token(&sim)).expect("a client");
        before(&client).await;
        sim.faults().reset_counters();
        (sim, client)
    };
    let (sim, client) = begun().await;
    let faults = sim.faults();
    course(sim, client, "undisturbed".to_owned()).await;
    let calls = faults.calls();
    let (mut cases, mut equal, mut read) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (index, call) in calls.iter().enumerate() {
        if call.method == "GET" && again(&call.path) && !read.insert(call.path.as_str()) {
            equal.insert(u64::try_from(index).expect("a number"));
        }
        for action in actions(call.method != "GET") {
            let name = format!("call {index}, {} {}: {action:?}", call.method, call.path);
            cases.push((u64::try_from(index).expect("a number"), action, name));
        }
    }
    assert!(cases.len() >= least, "only {} cases", cases.len());
    let part = std::env::var_os("PROXMOX_FULL_MATRIX");
    let cases: Vec<_> = match part.as_ref().map(|part| part.to_string_lossy()) {
        Some(part) if part == "1" => cases,
        Some(part) => cases.into_iter().filter(|(_, _, name)| name.contains(&*part)).collect(),
        None => {
            let others = cases.into_iter().filter(|(index, ..)| !equal.contains(index));
            others.step_by(STRIDE).collect()
        }
    };
    let (course, begun) = (&course, &begun);
    futures_util::stream::iter(cases)
        .for_each_concurrent(24, |(index, action, name)| async move {
            let (sim, client) = begun().await;
            sim.faults().add(Fault::new("*", "*", action).after(index).once());
            course(sim, client, name).await;
        })
        .await;
}

/// The state once all nodes are up.
async fn back(sim: &SimHandle, name: &str) -> Value {
    for _ in 0..200 {
        let state = sim.snapshot();
        let nodes = state["nodes"].as_object().into_iter().flat_map(|nodes| nodes.values());
        if nodes.clone().all(|node| node["online"] == true) {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name}: a node does not come back");
}

/// Names of the volumes of a storage that all nodes share.
fn volumes(state: &Value, storage: &str) -> Vec<String> {
    let volumes = state["volumes"][storage].as_object().cloned().unwrap_or_default();
    volumes.into_iter().map(|(name, _)| name).collect()
}
