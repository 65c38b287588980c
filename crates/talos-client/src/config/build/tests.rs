use super::*;
use crate::config::{GenerateInput, MachineType, Mode};
use crate::secrets::Bundle;

fn settings() -> Settings {
    Settings::new()
        .hostname("cp01")
        .link(
            Link::by_hardware_address("BC:24:11:00:00:01")
                .address("10.0.0.5/24".parse().unwrap())
                .address("2001:db8::5/64".parse().unwrap())
                .route(&Route {
                    network: None,
                    gateway: "10.0.0.1".parse().unwrap(),
                    metric: Some(100),
                })
                .mtu(1500)
                .shared_address("10.0.0.100".parse().unwrap())
                .vlan(7, Link::named("").address("10.7.0.5/24".parse().unwrap())),
        )
        .link(
            Link::bond(
                "bond0",
                &["eth1", "eth2"],
                "802.3ad",
                &[("miimon", json!(100)), ("lacpRate", json!("fast"))],
            )
            .dhcp(true),
        )
        .link(Link::dummy("dummy0").address("10.255.0.1/32".parse().unwrap()))
        .resolver("10.0.0.1".parse().unwrap())
        .search_domain("example.org")
        .time_server("time.example.org")
        .mirror("docker.io", &["https://mirror.example.org"])
        .user_volume(&UserVolume {
            name: "data".to_owned(),
            disks: "!system_disk".to_owned(),
            min_size: Some("10GiB".to_owned()),
            max_size: None,
        })
        .encrypted_volume("EPHEMERAL")
        .extension_service("tailscale", &[("/etc/a", "b")], &[("TS_AUTHKEY", "geheim")])
        .kernel_module("nvme_tcp", &[])
        .sysctl("vm.nr_hugepages", "1024")
        .file(&File { path: "/var/etc/a".to_owned(), content: "b".to_owned(), permissions: 0o644 })
        .log_to("udp://10.0.0.9:514")
        .watchdog("/dev/watchdog0", "1m0s")
        .allow("apid", "tcp", &["50000", "30000-32767"], &["10.0.0.0/8".parse().unwrap()])
        .block_by_default()
        .kubelet_argument("v", "4")
        .kubelet_field("maxPods", json!(250))
        .valid_subnet("10.0.0.0/24".parse().unwrap())
        .label("rack", "a")
        .annotation("note", "b")
        .taint("role", "db:NoSchedule")
        .api_server_argument("v", "2")
        .api_server_name("k8s.example.org")
        .etcd_argument("quota-backend-bytes", "8589934592")
        .etcd_subnet("10.0.0.0/24".parse().unwrap())
        .manifest("ns", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")
        .kubeprism(7446)
        .host_dns(true, true)
}

fn patched(settings: &Settings, minor: u32) -> MachineConfig {
    let bundle = Bundle::generate("1.6".parse().unwrap(), 1_780_000_000).unwrap();
    let contract = format!("1.{minor}").parse().unwrap();
    let url = "https://10.0.0.100:6443";
    let input = GenerateInput::new(contract, MachineType::ControlPlane, "a", url, "1.34.1");
    let base = MachineConfig::generate(&bundle, &input).unwrap();
    base.patched(&[settings.patch(minor).unwrap()]).unwrap()
}

#[test]
fn settings_are_said_in_the_form_of_every_version() {
    for minor in 11..=14 {
        let config = patched(&settings(), minor);
        let text = config.to_yaml();
        let read = MachineConfig::load_for(&text, minor);
        let read = read.unwrap_or_else(|error| panic!("1.{minor}: {error}\n{}", *text));
        let found = read.validate(Mode::Cloud, minor, false);
        assert_eq!(found.errors, [], "1.{minor}: {}", *text);
        let has = |kind: &str, name: &str| config.document(kind, name).is_some();
        assert_eq!(has("LinkConfig", "net0"), minor >= 12);
        assert_eq!(has("Layer2VIPConfig", "10.0.0.100"), minor >= 12);
        assert_eq!(has("KubeNodeConfig", ""), minor >= 14);
        assert_eq!(config.value("/machine/nodeLabels/rack").is_some(), minor < 14);
        assert_eq!(config.value("/machine/network/hostname").is_some(), minor < 12);
        assert!(has("UserVolumeConfig", "data") && has("NetworkRuleConfig", "apid"));
    }
}

#[test]
fn what_a_version_has_not_is_refused() {
    let oom = Settings::new().out_of_memory("true", "1.0");
    assert!(oom.documents(11).unwrap_err().to_string().contains("OOMConfig needs Talos 1.12"));
    assert_eq!(oom.documents(12).unwrap().len(), 1);
    let neighbor = BgpNeighbor { address: "10.0.0.1".parse().unwrap(), asn: 65_001 };
    let bgp = Settings::new().bgp("a", 65_000, &["10.255.0.1/32".parse().unwrap()], &[neighbor]);
    assert!(bgp.documents(13).is_err());
    let config = patched(&bgp, 14);
    assert_eq!(
        config.document("BGPInstanceConfig", "a").unwrap()["neighbors"][0]["peerASN"],
        65_001
    );
    assert!(MachineConfig::load_for(&config.to_yaml(), 14).is_ok());
    assert_eq!(Settings::new().documents(14).unwrap(), Vec::<Value>::new());
    assert!(patched(&Settings::new().kubeprism(0), 14).document("KubePrismConfig", "").is_none());
}

#[test]
fn settings_are_not_shown() {
    assert!(!format!("{:?}", settings()).contains("geheim"));
}
