//! The address scheme, value by value.

use netplan::input::{Attachment, Delegated, VipSupport};
use netplan::{ClusterId, ClusterInput, Code, Pattern, SiteInput, TenantId, plan_site};

fn cluster(id: u64, name: &str, controlplanes: u16, workers: u16) -> ClusterInput {
    ClusterInput::new(ClusterId::new(id).unwrap(), name.parse().unwrap(), controlplanes, workers)
}

fn site(clusters: Vec<ClusterInput>) -> SiteInput {
    let mut site = SiteInput::new("live");
    site.clusters = clusters;
    site
}

fn codes(site: &SiteInput) -> Vec<&'static str> {
    plan_site(site).findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn cluster_101_is_as_the_reference_says() {
    let mut input = site(vec![cluster(101, "sol", 3, 3)]);
    let prefix = "2001:db8:a1::/64".parse().unwrap();
    input.delegated.insert("vnet101".to_owned(), Delegated { prefix, gateway: None });
    input.clusters[0].node_gua = true;
    let plan = plan_site(&input);
    assert_eq!(plan.findings, []);
    let sol = &plan.clusters[0];
    let node = &sol.nodes[0];
    let text = |value: &dyn std::fmt::Display| value.to_string();
    let table = [
        (text(&node.name.value), "solcp01"),
        (text(&node.suffix.value), "11"),
        (text(&node.vmid.value), "101011"),
        (text(&node.ipv6.as_ref().unwrap().value), "fd00:101::11/64"),
        (text(&node.ipv4.as_ref().unwrap().value), "10.101.0.11/24"),
        (text(&node.link_local.as_ref().unwrap().value), "fe80::101:11/64"),
        (text(&node.loopback_ipv6.as_ref().unwrap().value), "fd00:255:101::11/128"),
        (text(&node.loopback_ipv4.as_ref().unwrap().value), "10.255.101.11/32"),
        (text(&node.gua.as_ref().unwrap().value), "2001:db8:a1::11/64"),
        (text(&node.asn.as_ref().unwrap().value), "4210101011"),
        (text(&sol.gateway_ipv6.as_ref().unwrap().value), "fd00:101::fffe"),
        (text(&sol.gateway_ipv4.as_ref().unwrap().value), "10.101.0.254"),
        (text(&sol.vips[0].value), "fd00:101::10"),
        (text(&sol.endpoint.as_ref().unwrap().value), "https://[fd00:101::10]:6443"),
        (text(&sol.vnet.value), "vnet101"),
        (text(&sol.bridge.value), "vnet101"),
        (text(&sol.vni.as_ref().unwrap().value), "10101"),
        (text(&sol.vlan.as_ref().unwrap().value), "101"),
        (text(&sol.pods[0].value), "fd00:101:240::/60"),
        (text(&sol.pods[1].value), "10.101.240.0/20"),
        (text(&sol.services[0].value), "fd00:101:96::/112"),
        (text(&sol.services[1].value), "10.101.96.0/24"),
        (text(&sol.load_balancers[0].value), "fd00:101:1b::/120"),
        (text(&sol.load_balancers[1].value), "10.101.27.0/24"),
        (text(&sol.valid_subnets[0].value), "fd00:101::/64"),
        (text(&sol.advertised_subnets[1].value), "10.101.0.0/24"),
        (text(&sol.nodes[3].name.value), "solwk01"),
        (text(&sol.nodes[3].vmid.value), "101021"),
    ];
    for (value, expected) in table {
        assert_eq!(value, expected);
    }
    assert_eq!(sol.vips.len(), 1);
    assert!(node.mac.value.is_local_unicast());
}

#[test]
fn identities_never_change() {
    // They are in running machines: a change of the derivation would replace them all.
    let plan = plan_site(&site(vec![cluster(101, "sol", 1, 0)]));
    let node = &plan.clusters[0].nodes[0];
    insta::assert_snapshot!(
        format!("{} {}", node.uuid.value, node.mac.value),
        @"e69bcadb-32f4-5e37-b438-8656c554e309 96:53:F0:65:02:C0"
    );
}

#[test]
fn newer_versions_take_a_virtual_address_of_each_family() {
    let mut input = site(vec![cluster(101, "sol", 3, 0)]);
    input.clusters[0].vip_support = VipSupport::OnePerFamily;
    let vips: Vec<String> =
        plan_site(&input).clusters[0].vips.iter().map(|vip| vip.value.to_string()).collect();
    assert_eq!(vips, ["fd00:101::10", "10.101.0.10"]);
}

#[test]
fn routing_puts_loopbacks_first_in_line() {
    let mut input = site(vec![cluster(101, "sol", 1, 0)]);
    input.clusters[0].routing = true;
    let plan = plan_site(&input);
    let valid: Vec<String> =
        plan.clusters[0].valid_subnets.iter().map(|net| net.value.to_string()).collect();
    assert_eq!(valid, ["fd00:255:101::/64", "10.255.101.0/24"]);
    let sans: Vec<&str> = plan.clusters[0].cert_sans.iter().map(|san| san.value.as_str()).collect();
    assert_eq!(
        sans,
        [
            "fd00:101::10",
            "fd00:101::11",
            "10.101.0.11",
            "fd00:255:101::11",
            "10.255.101.11",
            "solcp01"
        ]
    );
}

#[test]
fn the_tenant_id_is_for_addresses_and_the_cluster_id_for_identity() {
    let mut input = site(vec![cluster(300, "sol", 1, 0)]);
    assert!(codes(&input).contains(&"net-0020"));
    input.clusters[0].tenant_id = TenantId::new(30).unwrap();
    let plan = plan_site(&input);
    assert_eq!(plan.findings, []);
    let sol = &plan.clusters[0];
    assert_eq!(sol.nodes[0].vmid.value.get(), 300_011);
    assert_eq!(sol.nodes[0].ipv4.as_ref().unwrap().value.to_string(), "10.30.0.11/24");
    assert_eq!(sol.nodes[0].asn.as_ref().unwrap().value.get(), 4_210_030_011);
    assert_eq!(sol.vnet.value, "vnet30");
    assert_eq!(sol.vni.as_ref().unwrap().value.get(), 10_030);
}

#[test]
fn an_id_above_255_names_the_ways_out() {
    let plan = plan_site(&site(vec![cluster(256, "sol", 1, 0)]));
    let finding = plan.findings.iter().find(|finding| finding.code == Code::Octet).unwrap();
    for way in ["tenant_id", "newbits", "\"\""] {
        assert!(finding.help.contains(way), "{}", finding.help);
    }
}

#[test]
fn id_255_collides_with_the_loopbacks() {
    let plan = plan_site(&site(vec![cluster(255, "sol", 1, 0)]));
    assert!(!plan.is_sound());
    assert!(
        plan.findings.iter().all(|finding| finding.code == Code::Prefix),
        "{:?}",
        plan.findings
    );
    let words: Vec<String> = plan.findings.iter().map(|finding| finding.message.clone()).collect();
    assert!(words.iter().any(|text| text.contains("range of IPv4 loopbacks")), "{words:?}");
    assert!(words.iter().any(|text| text.contains("range of IPv6 loopbacks")), "{words:?}");
}

#[test]
fn ipv6_only_and_ipv4_only_are_fine() {
    let mut input = site(vec![cluster(300, "six", 3, 2)]);
    input.scheme.public_ipv4 = Pattern::None;
    input.scheme.loopback_ipv4 = Pattern::None;
    input.scheme.pods_ipv4 = Pattern::None;
    input.scheme.services_ipv4 = Pattern::None;
    input.scheme.loadbalancers_ipv4 = Pattern::None;
    let plan = plan_site(&input);
    assert_eq!(plan.findings, []);
    assert!(plan.clusters[0].nodes.iter().all(|node| node.ipv4.is_none() && node.ipv6.is_some()));

    let mut input = site(vec![cluster(30, "four", 1, 0)]);
    input.scheme.public_ipv6 = Pattern::None;
    input.scheme.loopback_ipv6 = Pattern::None;
    input.scheme.pods_ipv6 = Pattern::None;
    input.scheme.services_ipv6 = Pattern::None;
    input.scheme.loadbalancers_ipv6 = Pattern::None;
    let plan = plan_site(&input);
    assert_eq!(plan.findings, []);
    let endpoint = plan.clusters[0].endpoint.as_ref().unwrap();
    assert_eq!(endpoint.value, "https://10.30.0.10:6443");
}

#[test]
fn suffixes_have_limits() {
    // Workers from 21: 233 of them reach 253, the next would be the gateway.
    let mut input = site(vec![cluster(1, "a", 1, 233)]);
    input.scheme.pods_ipv6 = Pattern::text("fd00:%d:200::/56").unwrap();
    input.scheme.pods_ipv4 = Pattern::text("10.%d.0.0/16").unwrap();
    assert!(!codes(&input).contains(&"net-0022"));
    input.clusters[0].workers = 234;
    assert!(codes(&input).contains(&"net-0022"));
    // Control planes from 11: ten fit below 21.
    let mut input = site(vec![cluster(1, "a", 10, 0)]);
    assert!(!codes(&input).contains(&"net-0023"));
    input.clusters[0].controlplanes = 11;
    assert!(codes(&input).contains(&"net-0023"));
}

#[test]
fn node_100_has_three_digits() {
    let plan = plan_site(&site(vec![cluster(1, "a", 1, 100)]));
    let node = plan.clusters[0].nodes.last().unwrap();
    assert_eq!((node.name.value.as_str(), node.suffix.value.get()), ("awk100", 120));
}

#[test]
fn pod_ranges_hold_sixteen_nodes() {
    assert_eq!(codes(&site(vec![cluster(1, "a", 3, 13)])), Vec::<&str>::new());
    let plan = plan_site(&site(vec![cluster(1, "a", 3, 14)]));
    let found: Vec<&str> = plan.findings.iter().map(|finding| finding.help.as_str()).collect();
    assert_eq!(found.len(), 2);
    assert!(found.iter().any(|help| help.contains("pods_ipv4_pattern")), "{found:?}");
    assert!(found.iter().any(|help| help.contains("pods_ipv6_pattern")), "{found:?}");
}

#[test]
fn the_chain_of_mtus_holds() {
    let attachment = |mtu| Attachment { mtu: Some(mtu), ..Attachment::default() };
    let mut input = site(vec![cluster(1, "a", 1, 0)]);
    input.zone.mtu = Some(1450);
    input.clusters[0].attachment = attachment(1450);
    assert_eq!(codes(&input), Vec::<&str>::new());
    input.clusters[0].attachment = attachment(1500);
    assert_eq!(codes(&input), ["net-0027"]);
    input.clusters[0].attachment = attachment(1279);
    assert_eq!(codes(&input), ["net-0027"]);
    input.clusters[0].attachment = Attachment { underlay_mtu: Some(1499), ..attachment(1450) };
    assert_eq!(codes(&input), ["net-0027"]);
}

#[test]
fn counts_and_names_are_checked() {
    assert_eq!(codes(&site(vec![cluster(1, "a", 0, 1)])), ["net-0033"]);
    assert_eq!(codes(&site(vec![cluster(1, "a", 2, 1)])), ["net-0034"]);
    assert_eq!(codes(&site(vec![cluster(1, &"a".repeat(59), 1, 0)])), Vec::<&str>::new());
    assert_eq!(codes(&site(vec![cluster(1, &"a".repeat(60), 1, 0)])), ["net-0024"]);
    let mut input = site(vec![cluster(1, "a", 1, 0)]);
    input.scheme.asn_base = 64_512;
    assert_eq!(codes(&input), ["net-0025"]);
    let mut input = site(vec![cluster(1, "a", 1, 0)]);
    input.clusters[0].node_gua = true;
    assert_eq!(codes(&input), ["net-0029"]);
}

#[test]
fn a_cluster_that_is_not_ours_reserves_its_numbers() {
    let mut other = cluster(101, "metal", 0, 0);
    other.managed = false;
    let input = site(vec![cluster(101, "sol", 1, 0), other]);
    let found = codes(&input);
    assert!(found.contains(&"net-0001") && found.contains(&"net-0010"), "{found:?}");
}

#[test]
fn plans_are_plain_data() {
    let plan = plan_site(&site(vec![cluster(101, "sol", 3, 3)]));
    let text = serde_json::to_string(&plan).unwrap();
    let back: netplan::SitePlan = serde_json::from_str(&text).unwrap();
    assert_eq!(back, plan);
}

#[test]
fn the_reference_lists_every_code() {
    let rows = Code::ALL.iter().map(|code| format!("| `{code}` | {} |", code.title()));
    let text = rows.collect::<Vec<_>>().join("\n");
    let page = include_str!("../fixtures/findings.md");
    assert!(page.contains(&text), "the table should be\n{text}");
}
