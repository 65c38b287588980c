//! From input to plan.

mod cluster;
mod node;
mod report;

use crate::conflict;
use crate::finding::Finding;
use crate::input::SiteInput;
use crate::plan::SitePlan;
use crate::rule;

/// Plans a site and proves that nothing in it collides.
///
/// The same input always gives the same plan. Everything that is wrong is a finding; what could
/// not be derived is left out of the plan.
pub fn plan_site(input: &SiteInput) -> SitePlan {
    let mut findings: Vec<Finding> = Vec::new();
    let formulas = cluster::Formulas::new(&input.scheme);
    let clusters = input
        .clusters
        .iter()
        .map(|cluster| cluster::plan(input, cluster, &formulas, &mut findings))
        .collect();
    let mut plan = SitePlan { name: input.name.clone(), clusters, findings: Vec::new() };
    rule::check(input, &plan, &mut findings);
    conflict::check(input, &plan, &mut findings);
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.cmp(b)));
    findings.dedup();
    plan.findings = findings;
    plan
}
