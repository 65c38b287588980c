//! Who is talked to, and who is allowed what.

use talos_client::api::{ApplyMode, RebootMode};
use talos_client::secrets::Bundle;
use talos_client::sim::Pace;
use talos_client::{Client, ClientConfig, Dialer, ErrorKind, Fingerprint, Identity, TalosConfig};

use super::lab::{Lab, address, uuid};

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_names_the_node_in_maintenance_mode() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    lab.node("cp1", 11).await;
    let client = Client::connect(lab.maintenance(11)).await.unwrap();
    let seen = client.peer_fingerprint().unwrap();
    let pinned = Client::connect(lab.pinned(11, seen)).await.unwrap();
    pinned.expect_uuid(uuid(11)).await.unwrap();

    let other: Fingerprint = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".parse().unwrap();
    for error in [
        Client::connect(lab.pinned(11, other)).await.unwrap_err(),
        Client::new(lab.pinned(11, other)).unwrap().machine_status().await.unwrap_err(),
        Client::new(lab.pinned(11, other))
            .unwrap()
            .apply(b"a: b", ApplyMode::Auto, false)
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Pin, "{error}");
        assert!(error.message().contains(&seen.to_string()), "{error}");
        assert!(error.message().contains(&other.to_string()), "{error}");
        assert!(!error.is_retryable() && !error.may_have_been_applied());
    }
    assert_eq!(lab.net.faults().calls("*", "*/ApplyConfiguration"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machine_at_the_address_is_told() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    lab.node("cp1", 11).await;
    let client = Client::new(lab.maintenance(11)).unwrap();
    let error = client.expect_uuid(uuid(12)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongNode);
    let text = error.to_string();
    assert!(text.contains(&uuid(11).to_string()) && text.contains(&uuid(12).to_string()));
    assert!(text.starts_with("10.5.0.11: identify the node: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_maintenance_mode_is_no_member_of_the_cluster() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    lab.node("cp1", 11).await;
    let error = lab.admin(11).version().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.message().contains("maintenance mode, or belongs to another cluster"), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_node_refuses_strangers() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, admin) = lab.install("cp1", 11).await;
    admin.version().await.unwrap();

    let error = Client::new(lab.maintenance(11)).unwrap().version().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.message().contains("refused the client's certificate"), "{error}");

    // The node's authority is trusted, but the client's certificate is of another one.
    let foreign = Bundle::generate("v1.13".parse().unwrap(), 1_780_000_000).unwrap();
    let mut identity = Identity::admin(&foreign).unwrap();
    identity.ca_pem = Identity::admin(&lab.bundle).unwrap().ca_pem;
    let config = ClientConfig::new(address(11), identity).dialer(lab.dialer());
    let client = Client::new(config).unwrap();
    let error = client.shutdown(true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(!error.may_have_been_applied(), "{error}");

    let config = ClientConfig::new(address(11), Identity::admin(&foreign).unwrap());
    let error = Client::connect(config.dialer(lab.dialer())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_decide_what_is_answered() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    lab.install("cp1", 11).await;
    let reader = Client::new(lab.role(11, &["os:reader"])).unwrap();
    reader.version().await.unwrap();
    reader.machine_status().await.unwrap();
    for error in [
        reader.machine_config().await.unwrap_err(),
        reader.kubeconfig().await.unwrap_err(),
        reader.bootstrap().await.unwrap_err(),
        reader.apply(b"", ApplyMode::Auto, true).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert_eq!(error.server_text(), Some("not authorized"), "{error}");
    }
    let nobody = Client::new(lab.role(11, &["os:nonsense"])).unwrap();
    assert_eq!(nobody.version().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_of_a_talosconfig_is_enough() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    lab.install("cp1", 11).await;
    let os = lab.bundle.certs.as_ref().unwrap().os.as_ref().unwrap();
    let options = talos_client::talosconfig::ClientOptions {
        endpoints: vec!["10.5.0.11".into()],
        nodes: Vec::new(),
        roles: vec!["os:admin".into()],
        now: jiff::Timestamp::now().as_second(),
        lifetime: 3600,
    };
    let (ca, key) = (os.crt.text().unwrap(), os.key.text().unwrap());
    let config = TalosConfig::generate("rig", ca, key, &options).unwrap();
    let config = TalosConfig::parse(&config.to_yaml()).unwrap();
    let identity = Identity::from_context(&config.contexts["rig"]).unwrap();
    let client =
        Client::new(ClientConfig::new(address(11), identity).dialer(lab.dialer())).unwrap();
    assert_eq!(client.hostname().await.unwrap().as_deref(), Some("cp1"));
    let empty = Identity::from_context(&talos_client::talosconfig::Context::default());
    assert_eq!(empty.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn an_address_that_is_not_mapped_is_never_dialled() {
    let dialer = Dialer::mapped(std::collections::BTreeMap::new());
    let config = ClientConfig::maintenance(address(11)).dialer(dialer);
    let error = Client::new(config).unwrap().reboot(RebootMode::Default).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        "10.5.0.11: reboot: the dialler does not know 10.5.0.11:50000: no socket is mapped to it"
    );
    assert!(!error.is_retryable() && !error.may_have_been_applied());
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dialer = Dialer::by(move |_, _| Some(gone));
    let config = ClientConfig::maintenance(address(11)).dialer(dialer);
    let client = Client::new(config.clone()).unwrap();
    for error in [
        client.reboot(RebootMode::Default).await.unwrap_err(),
        Client::connect(config).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert!(error.message().contains(&gone.to_string()), "{error}");
        assert!(error.is_retryable() && !error.may_have_been_applied());
    }
}
