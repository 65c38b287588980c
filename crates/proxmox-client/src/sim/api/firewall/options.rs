//! Options of each level.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Level, digest, unchanged};
use crate::sim::fail::Fail;
use crate::sim::reply::Call;

/// Options whose digits are no number.
const TEXTS: [&str; 2] = ["log_ratelimit", "nf_conntrack_helpers"];

/// Parameters of the call that are no options.
const OTHERS: [&str; 5] = ["node", "vmid", "vnet", "delete", "digest"];

fn view(options: &BTreeMap<String, String>) -> Map<String, Value> {
    let value = |key: &str, text: &str| match text.parse::<i64>() {
        Ok(number) if !TEXTS.contains(&key) => json!(number),
        _ => json!(text),
    };
    options.iter().map(|(key, text)| (key.clone(), value(key, text))).collect()
}

/// Names of the options that this version has on a level.
fn known(call: &Call<'_>, level: Level) -> Vec<String> {
    let path = match level {
        Level::Cluster => "cluster/firewall/options",
        Level::Node => "nodes/n/firewall/options",
        Level::Vm => "nodes/n/qemu/1/firewall/options",
        Level::Vnet => "cluster/sdn/vnets/v/firewall/options",
    };
    let path: Vec<String> = path.split('/').map(str::to_owned).collect();
    let endpoint = call.inner.schema.find("PUT", &path).map(|(endpoint, _)| endpoint);
    let names = endpoint.into_iter().flat_map(|endpoint| endpoint.params.keys());
    names.filter(|name| !OTHERS.contains(&name.as_str())).cloned().collect()
}

pub(super) fn read(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    level.permit(call, &["SDN.Allocate", "SDN.Audit"])?;
    let now = call.now();
    call.state.firewall.settle(now);
    let mut map = view(&super::conf(call.state, &level.place(call)).options);
    let digest = digest(std::slice::from_ref(&map));
    map.insert("digest".to_owned(), json!(digest));
    Ok(Value::Object(map))
}

pub(super) fn update(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    level.permit(call, &["SDN.Allocate"])?;
    let now = call.now();
    call.state.firewall.settle(now);
    let place = level.place(call);
    let mut options = super::conf(call.state, &place).options.clone();
    unchanged(call, || digest(&[view(&options)]))?;
    let known = known(call, level);
    for name in call.list("delete") {
        if !known.contains(&name) {
            return Err(Fail::param("delete", format!("no such option '{name}'")));
        }
        options.remove(&name);
    }
    for name in known {
        let Some(text) = call.get(&name) else { continue };
        let number = text.parse::<u64>().unwrap_or_default();
        let text = match name.as_str() {
            // holds for a minute only, unless a second call confirms it
            "enable" if level == Level::Cluster && number > 1 => now.to_string(),
            "enable" => number.min(1).to_string(),
            "nf_conntrack_helpers" => text.to_lowercase(),
            _ => text.to_owned(),
        };
        if text.is_empty() {
            options.remove(&name);
        } else {
            options.insert(name, text);
        }
    }
    let was_on = call.state.firewall.is_on();
    call.state.firewall.get_mut(&place).options = options;
    if level == Level::Cluster && !was_on {
        call.state.firewall.on_since_ms = call.inner.clock.now_ms();
    }
    Ok(Value::Null)
}
