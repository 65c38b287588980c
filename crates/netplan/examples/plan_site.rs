//! Plans a site of two clusters and prints its nodes.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use netplan::{ClusterId, ClusterInput, SiteInput, plan_site};

fn main() -> Result<(), Box<dyn Error>> {
    let mut site = SiteInput::new("live");
    for (id, name, workers) in [(101, "sol", 3), (102, "luna", 2)] {
        site.clusters.push(ClusterInput::new(ClusterId::new(id)?, name.parse()?, 3, workers));
    }
    let plan = plan_site(&site);
    for node in plan.clusters.iter().flat_map(|cluster| &cluster.nodes) {
        let address = node.ipv6.as_ref().map(|net| net.value.to_string()).unwrap_or_default();
        println!("{:<10} {} {:<18} {}", node.name.value, node.vmid.value, address, node.mac.value);
    }
    for finding in &plan.findings {
        println!("{finding}");
    }
    Ok(())
}
