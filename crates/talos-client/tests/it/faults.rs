//! Calls that are cut, refused or slow, and what is known afterwards.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use talos_client::api::{ApplyMode, Bootstrap, RebootMode, Service};
use talos_client::sim::{Fault, FaultAction, Pace};
use talos_client::{Client, ErrorKind};

use super::lab::{Lab, eventually, until, value};

const UNAVAILABLE: i32 = 14;

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_bootstrapped_once_whatever_happens_to_the_call() {
    let actions = [
        FaultAction::DropBefore,
        FaultAction::DropAfter,
        FaultAction::Refuse { code: UNAVAILABLE, message: "error reading from server: EOF".into() },
        FaultAction::Slow(Duration::from_secs(7)),
        FaultAction::RebootMidCall,
    ];
    join_all(actions.map(|action| tokio::spawn(bootstrapped_once(action))))
        .await
        .into_iter()
        .for_each(|run| run.unwrap());
}

async fn bootstrapped_once(action: FaultAction) {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    lab.net.faults().add(Fault::new(action.clone()).method("*/Bootstrap"));
    eventually("the bootstrap", || async {
        client.bootstrap().await.inspect_err(|error| {
            assert!(error.is_retryable(), "{action:?}: {error}");
        })
    })
    .await;
    eventually("members", || client.etcd_members()).await;
    assert_eq!(client.bootstrap().await.unwrap(), Bootstrap::AlreadyDone);
    assert_eq!(lab.bootstraps(), 1, "{action:?}");
    let clusters = lab.net.snapshot()["clusters"].as_object().unwrap().len();
    assert_eq!(clusters, 1, "{action:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_the_bootstrap_is_looked_up_instead_of_asked_for_again() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    let waits = |list: &Vec<Service>| {
        list.iter().any(|service| service.id == "etcd" && service.state == "Preparing")
    };
    value("etcd waits", || client.services(), waits).await;
    lab.net.faults().add(Fault::new(FaultAction::DropAfter).method("*/Bootstrap"));
    assert_eq!(client.bootstrap().await.unwrap(), Bootstrap::Started);
    assert_eq!(lab.net.faults().calls("*", "*/Bootstrap"), 1);
    assert_eq!(lab.bootstraps(), 1);
    assert_eq!(client.bootstrap().await.unwrap(), Bootstrap::AlreadyDone);
    assert_eq!(lab.net.faults().calls("*", "*/Bootstrap"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_control_plane_makes_no_second_cluster() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_one, first) = lab.install("cp1", 11).await;
    let (_two, second) = lab.install("cp2", 12).await;
    let both = [first.clone(), second.clone()];
    // One that cannot be asked may be the one that has etcd.
    lab.net.faults().add(Fault::new(FaultAction::RefuseConnect).node("cp2"));
    let error = Bootstrap::of_cluster(&[lab.admin(11), lab.admin(12)]).await.unwrap_err();
    assert_eq!((error.kind(), error.node()), (ErrorKind::Unreachable, "10.5.0.12"), "{error}");
    assert_eq!(lab.bootstraps(), 0);

    eventually("the bootstrap", || Bootstrap::of_cluster(&both)).await;
    eventually("two members", || async {
        let members = second.etcd_members().await?;
        if members.iter().filter(|member| !member.is_learner).count() == 2 {
            return Ok(());
        }
        second.read_file("/nothing").await.map(drop)
    })
    .await;
    lab.net.faults().add(Fault::new(FaultAction::RefuseConnect).node("cp2"));
    let reversed = [lab.admin(12), first];
    assert_eq!(Bootstrap::of_cluster(&reversed).await.unwrap(), Bootstrap::AlreadyDone);
    assert_eq!(lab.bootstraps(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_whose_answer_is_lost_may_have_been_applied() {
    for (action, applied) in [
        (FaultAction::DropAfter, 1),
        (FaultAction::DropBefore, 0),
        (FaultAction::Refuse { code: 13, message: "boom".into() }, 0),
    ] {
        let mut lab = Lab::new("v1.13.9", Pace::quick());
        let node = lab.node("cp1", 11).await;
        let client = Client::new(lab.maintenance(11)).unwrap();
        let config = lab.config(11);
        lab.net.faults().add(Fault::new(action.clone()).method("*/ApplyConfiguration"));
        let error = client.apply(config.as_bytes(), ApplyMode::Auto, false).await.unwrap_err();
        assert!(error.may_have_been_applied(), "{action:?}: {error}");
        assert_eq!(error.operation(), "apply the configuration");
        if applied == 0 {
            client.apply(config.as_bytes(), ApplyMode::Auto, false).await.unwrap();
        }
        until("applied", || node.snapshot()["config_applied"] == 1).await;
        assert_eq!(lab.net.faults().calls("cp1", "*/ApplyConfiguration"), 2 - applied);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_reads_survives_one_broken_connection() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    lab.node("cp1", 11).await;
    let client = Client::connect(lab.maintenance(11)).await.unwrap();
    for action in [FaultAction::DropBefore, FaultAction::DropAfter] {
        lab.net.faults().add(Fault::new(action.clone()).method("*/Version"));
        client.version().await.unwrap();
        lab.net.faults().add(Fault::new(action.clone()).method("*/List"));
        assert!(!client.disks().await.unwrap().is_empty());
        lab.net.faults().add(Fault::new(action).method("*/Version").times(2));
        let error = client.version().await.unwrap_err();
        let kinds = [ErrorKind::Interrupted, ErrorKind::Unavailable];
        assert!(kinds.contains(&error.kind()), "{error}");
        assert!(error.is_retryable() && !error.may_have_been_applied());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_with_its_time_limit() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    let slow = Fault::new(FaultAction::Slow(Duration::from_secs(30)));
    lab.net.faults().add(slow.clone().method("*/Version"));
    let begun = Instant::now();
    let error = client.version().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(!error.may_have_been_applied());
    lab.net.faults().add(slow.method("*/Reboot"));
    let error = client.reboot(RebootMode::Default).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.may_have_been_applied(), "{error}");
    // A control plane that waits for its bootstrap never answers these.
    let error = client.etcd_members().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_keeps_the_nodes_words() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    lab.node("cp1", 11).await;
    let client = Client::new(lab.maintenance(11)).unwrap();
    let secret = "fwv3cq.gs0fpvg1a97yzcsz";
    let config = lab.config(11);
    assert!(config.contains(secret));
    for (config, words) in [
        (String::new(), "config not found"),
        (config.replace("    token: fwv", "    tokn: fwv"), "tokn: …"),
        (config.replace("debug: false", "debug: fwv3cq.gs0fpvg1a97yzcsz"), "into bool"),
    ] {
        for dry_run in [true, false] {
            let error =
                client.apply(config.as_bytes(), ApplyMode::Auto, dry_run).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(words), "{shown}");
            assert!(!shown.contains(secret) && !error.may_have_been_applied(), "{shown}");
        }
    }
    let dry = client.apply(config.as_bytes(), ApplyMode::Auto, true).await.unwrap();
    let difference = dry.difference.unwrap();
    assert!(difference.expose().contains(secret) && !difference.redacted().contains(secret));
    assert!(difference.redacted().contains("token: …"));
}
