//! Copies a cluster without changing its id, and prints what collides and what to do.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use netplan::{ClusterId, ClusterInput, SiteInput, plan_site};

fn main() -> Result<(), Box<dyn Error>> {
    let mut site = SiteInput::new("live");
    for (folder, name) in [("cluster-101", "sol"), ("cluster-104", "mars")] {
        let mut cluster = ClusterInput::new(ClusterId::new(101)?, name.parse()?, 1, 0);
        cluster.origin = Some(format!("clusters/{folder}/cluster.hcl"));
        site.clusters.push(cluster);
    }
    for finding in plan_site(&site).findings {
        println!("{finding}\n  help: {}", finding.help);
    }
    Ok(())
}
