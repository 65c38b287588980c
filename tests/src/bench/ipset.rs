//! Edits of a large set of addresses: how many calls one edit takes.

use std::collections::BTreeMap;

use anyhow::ensure;
use proxmox_client::plan::firewall::Entry;
use proxmox_client::sim::SimCluster;
use proxmox_client::{Auth, Client, ClientConfig, FirewallLevel, Trust};

use super::measure::runtime;
use super::{Better, Line, Scale};

/// Networks of the list before the edit, those that come, those that go: an edit of a published
/// list of networks.
const WHOLE: (u32, u32, u32) = (5416, 171, 112);

fn networks(numbers: std::ops::Range<u32>) -> BTreeMap<String, Entry> {
    let net = |number: u32| format!("10.{}.{}.0/24", number / 256, number % 256);
    numbers.map(|number| (net(number), Entry::default())).collect()
}

/// Writing calls of an edit. The set stays where it is and is never without what stays in it.
pub(super) fn edit(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let (size, come, go) = scale.pick(WHOLE, (40, 7, 5));
    runtime()?.block_on(async {
        let sim = SimCluster::builder().keep_calls(true).start().await?;
        let auth = Auth::token(&sim.token()).ok_or_else(|| anyhow::anyhow!("no token"))?;
        let trust = Trust::Ca(sim.ca_pem().to_owned());
        let client = Client::new(&ClientConfig::new(sim.base_url(), auth).trust(trust))?;
        let firewall = client.firewall(FirewallLevel::Cluster);
        firewall.ensure_set("edge", &networks(0..size)).await?;
        sim.faults().reset_counters();
        let desired = networks(go..size + come);
        let before = std::time::Instant::now();
        firewall.ensure_set("edge", &desired).await?;
        let took = before.elapsed().as_secs_f64();
        let counters = sim.faults().counters();
        let of = |wanted: &dyn Fn(&str) -> bool| -> u64 {
            counters.iter().filter(|(call, _)| wanted(call)).map(|(_, calls)| calls.count).sum()
        };
        let writes = of(&|call| !call.starts_with("GET "));
        let reads = of(&|call| call.starts_with("GET "));
        let whole = of(&|call| call.starts_with("DELETE ") && call.ends_with("/ipset/{name}"));
        ensure!(whole == 0, "the set was removed {whole} times");
        ensure!(firewall.entries("edge").await? == desired, "the set is not as it should be");
        let note = format!("+{come}/-{go} of {size} networks in place, against the simulator");
        let number = |count: u64| -> anyhow::Result<f64> { Ok(u32::try_from(count)?.into()) };
        sim.shutdown().await;
        Ok(vec![
            Line::new("ipset-edit", number(writes)?, "calls", Better::Less)
                .target(f64::from(come + go))
                .note(note),
            Line::new("ipset-edit-reads", number(reads)?, "calls", Better::Less)
                .note("reads beside them"),
            Line::new("ipset-edit-time", took, "s", Better::Less).note("the whole edit"),
        ])
    })
}
