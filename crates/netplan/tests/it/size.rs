//! Large sites.

use std::time::{Duration, Instant};

use netplan::{ClusterId, ClusterInput, Pattern, SiteInput, plan_site};

fn large() -> SiteInput {
    let mut site = SiteInput::new("large");
    let base = |text: &str, newbits| Pattern::subnet(text.parse().unwrap(), newbits).unwrap();
    site.scheme.public_ipv4 = base("10.0.0.0/10", 14);
    site.scheme.loopback_ipv4 = base("10.64.0.0/10", 14);
    site.scheme.pods_ipv4 = base("11.0.0.0/8", 12);
    site.scheme.services_ipv4 = base("12.0.0.0/8", 14);
    site.scheme.loadbalancers_ipv4 = base("13.0.0.0/8", 14);
    site.scheme.loopback_ipv6 = Pattern::text("fd01:255:%d::").unwrap();
    for id in 1..=900 {
        let workers = if id % 3 == 0 { 11 } else { 10 };
        let id = ClusterId::new(id).unwrap();
        site.clusters.push(ClusterInput::new(id, format!("c{id}").parse().unwrap(), 3, workers));
    }
    site
}

#[test]
fn twelve_thousand_nodes_are_planned_and_proven() {
    let site = large();
    let start = Instant::now();
    let plan = plan_site(&site);
    let took = start.elapsed();
    let nodes: usize = plan.clusters.iter().map(|cluster| cluster.nodes.len()).sum();
    assert_eq!(nodes, 12_000);
    assert_eq!(plan.findings, []);
    // A bound against quadratic work, with room for a debug build on a busy machine.
    assert!(took < Duration::from_secs(5), "{took:?}");
}
