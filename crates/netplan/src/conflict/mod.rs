//! The proof that nothing collides: one sort per kind of claim, then one sweep.
//!
//! Of claims that are equal each is compared with its neighbour in order; of prefixes each is
//! compared with the nearest one that holds it. So every claim that collides with an earlier one
//! is reported, at a cost of O(n log n), and the absence of findings is the proof.

mod claim;

use crate::finding::{Code, Finding, Severity};
use crate::input::SiteInput;
use crate::plan::SitePlan;

/// Reports every collision of a plan.
pub(crate) fn check(input: &SiteInput, plan: &SitePlan, findings: &mut Vec<Finding>) {
    let mut claims = claim::collect(input, plan);
    let conflicts = claims.conflicts();
    for conflict in conflicts {
        let owner = claim::owner(input, plan, conflict.first);
        let other = claim::owner(input, plan, conflict.second);
        let message = if conflict.code == Code::Prefix {
            format!("{} of {owner} overlaps {} of {other}", conflict.first_text, conflict.text)
        } else {
            format!("{} is that of {owner} and of {other}", conflict.text)
        };
        findings.push(Finding {
            code: conflict.code,
            severity: Severity::Error,
            subject: conflict.text,
            message,
            help: help(conflict.code).to_owned(),
            owner,
            other: Some(other),
        });
    }
}

fn help(code: Code) -> &'static str {
    match code {
        Code::TenantId => "give one of the clusters another `tenant_id`",
        Code::ClusterName | Code::NodeName => "give one of the clusters another `cluster_name`",
        Code::Segment => "give one of the clusters another bridge, VNet or VLAN",
        Code::Vni => "give one of them another `vxlan_id`",
        Code::Vlan => "give one of them another `vlan_id`",
        Code::Asn => "choose another `bgp.asn_base`, or another number for the fabric",
        Code::Prefix => "give one of the clusters another `tenant_id`, or change the patterns",
        Code::Address => "change the offsets, the suffix of the virtual address, or the gateway",
        _ => "give one of the clusters another `cluster_id`",
    }
}
