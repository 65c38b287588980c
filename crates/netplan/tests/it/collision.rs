//! Collisions: all of them, with both owners, and the same plan every time.

use std::collections::BTreeSet;

use netplan::{ClusterId, ClusterInput, Pattern, SiteInput, SitePlan, plan_site};
use proptest::prelude::*;

fn site(clusters: &[(u64, u64, u16, u16)]) -> SiteInput {
    let mut site = SiteInput::new("live");
    for (index, (id, tenant, controlplanes, workers)) in clusters.iter().enumerate() {
        let id = ClusterId::new(*id).unwrap();
        let name = format!("c{tenant}").parse().unwrap();
        let mut cluster = ClusterInput::new(id, name, *controlplanes, *workers);
        cluster.tenant_id = netplan::TenantId::new(*tenant).unwrap();
        cluster.origin = Some(format!("clusters/{index}"));
        site.clusters.push(cluster);
    }
    site
}

/// Values of a kind that more than one node has, found by looking at all pairs.
fn brute<T: PartialEq>(plan: &SitePlan, value: impl Fn(&netplan::NodePlan) -> Option<T>) -> usize {
    let values: Vec<T> =
        plan.clusters.iter().flat_map(|cluster| &cluster.nodes).filter_map(value).collect();
    values
        .iter()
        .enumerate()
        .filter(|(index, value)| values.iter().take(*index).any(|earlier| earlier == *value))
        .count()
}

fn found(plan: &SitePlan, code: &str, word: &str) -> usize {
    plan.findings
        .iter()
        .filter(|finding| finding.code.as_str() == code)
        .filter(|finding| finding.other.as_ref().is_some_and(|other| other.what.contains(word)))
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_collision_is_missed(
        clusters in prop::collection::vec((1_u64..5, 1_u64..5, 1_u16..4, 0_u16..4), 0..6),
        fixed in any::<bool>(),
    ) {
        let mut input = site(&clusters);
        if fixed {
            // One prefix for all clusters: every address is there several times.
            input.scheme.public_ipv4 = Pattern::text("10.9.9.").unwrap();
        }
        let plan = plan_site(&input);
        prop_assert_eq!(found(&plan, "net-0005", "VM id"), brute(&plan, |node| Some(node.vmid.value)));
        prop_assert_eq!(found(&plan, "net-0006", "MAC"), brute(&plan, |node| Some(node.mac.value)));
        prop_assert_eq!(found(&plan, "net-0007", "UUID"), brute(&plan, |node| Some(node.uuid.value)));
        let asns = brute(&plan, |node| node.asn.as_ref().map(|asn| asn.value));
        prop_assert_eq!(found(&plan, "net-0009", "AS number"), asns);
        prop_assert_eq!(found(&plan, "net-0004", "name"), brute(&plan, |node| Some(node.name.value.clone())));
        let four = brute(&plan, |node| node.ipv4.as_ref().map(|net| net.value.addr()));
        prop_assert_eq!(found(&plan, "net-0011", "public IPv4"), four);
        let ids: BTreeSet<u64> = clusters.iter().map(|cluster| cluster.0).collect();
        prop_assert_eq!(found(&plan, "net-0001", ": id"), clusters.len() - ids.len());
    }

    #[test]
    fn the_same_input_gives_the_same_plan(
        clusters in prop::collection::vec((1_u64..400, 1_u64..400, 0_u16..12, 0_u16..30), 0..8),
    ) {
        let input = site(&clusters);
        let text = serde_json::to_string(&plan_site(&input)).unwrap();
        prop_assert_eq!(serde_json::to_string(&plan_site(&input.clone())).unwrap(), text);
    }

    #[test]
    fn distinct_clusters_never_collide(
        ids in prop::collection::btree_set(1_u64..255, 0..12),
        controlplanes in 1_u16..4,
        workers in 0_u16..8,
    ) {
        let clusters: Vec<_> = ids.iter().map(|id| (*id, *id, controlplanes, workers)).collect();
        let plan = plan_site(&site(&clusters));
        prop_assert!(plan.is_sound(), "{:?}", plan.findings);
    }
}

#[test]
fn a_conflict_names_both_owners() {
    let plan = plan_site(&site(&[(1, 1, 1, 0), (1, 2, 1, 0)]));
    let conflict =
        plan.findings.iter().find(|finding| finding.code.as_str() == "net-0005").unwrap();
    assert_eq!(conflict.owner.to_string(), "node c1cp01: VM id (clusters/0)");
    assert_eq!(
        conflict.other.as_ref().map(ToString::to_string).as_deref(),
        Some("node c2cp01: VM id (clusters/1)")
    );
    assert_eq!(
        conflict.message,
        "VM id 1011 is that of node c1cp01: VM id (clusters/0) and of node c2cp01: VM id (clusters/1)"
    );
}
