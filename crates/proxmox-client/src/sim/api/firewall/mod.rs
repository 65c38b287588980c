//! The firewall of cluster, nodes, machines and VNets.

mod aliases;
mod groups;
mod ipsets;
mod options;
mod refs;
mod rules;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Row;
use crate::sim::fail::Fail;
use crate::sim::firewall::verify::{Env, Scope};
use crate::sim::firewall::{Conf, Place, digest_of};
use crate::sim::reply::Call;
use crate::sim::state::State;

/// A level of the firewall, by the paths of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Cluster,
    Node,
    Vm,
    Vnet,
}

macro_rules! rules {
    ($base:expr, $rest:expr, $owner:expr) => {
        &[
            ("GET", $base, |call| rules::list(call, $owner)),
            ("POST", $base, |call| rules::create(call, $owner)),
            ("GET", $rest, |call| rules::read(call, $owner)),
            ("PUT", $rest, |call| rules::update(call, $owner)),
            ("DELETE", $rest, |call| rules::delete(call, $owner)),
        ]
    };
    ($base:literal, $level:expr) => {
        rules!(concat!($base, "/rules"), concat!($base, "/rules/{pos}"), rules::Owner::Of($level))
    };
}

macro_rules! names {
    ($base:literal, $level:expr) => {
        &[
            ("GET", concat!($base, "/aliases"), |call| aliases::list(call, $level)),
            ("POST", concat!($base, "/aliases"), |call| aliases::create(call, $level)),
            ("GET", concat!($base, "/aliases/{name}"), |call| aliases::read(call, $level)),
            ("PUT", concat!($base, "/aliases/{name}"), |call| aliases::update(call, $level)),
            ("DELETE", concat!($base, "/aliases/{name}"), |call| aliases::delete(call, $level)),
            ("GET", concat!($base, "/ipset"), |call| ipsets::index(call, $level)),
            ("POST", concat!($base, "/ipset"), |call| ipsets::create(call, $level)),
            ("GET", concat!($base, "/ipset/{name}"), |call| ipsets::list(call, $level)),
            ("POST", concat!($base, "/ipset/{name}"), |call| ipsets::add(call, $level)),
            ("DELETE", concat!($base, "/ipset/{name}"), |call| ipsets::remove(call, $level)),
            ("GET", concat!($base, "/ipset/{name}/{cidr}"), |call| ipsets::read(call, $level)),
            ("PUT", concat!($base, "/ipset/{name}/{cidr}"), |call| ipsets::update(call, $level)),
            ("DELETE", concat!($base, "/ipset/{name}/{cidr}"), |call| ipsets::delete(call, $level)),
        ]
    };
}

macro_rules! options {
    ($base:literal, $level:expr) => {
        &[
            ("GET", concat!($base, "/options"), |call| options::read(call, $level)),
            ("PUT", concat!($base, "/options"), |call| options::update(call, $level)),
        ]
    };
}

const TABLES: [&[Row]; 16] = [
    rules!("/cluster/firewall", Level::Cluster),
    rules!("/nodes/{node}/firewall", Level::Node),
    rules!("/nodes/{node}/qemu/{vmid}/firewall", Level::Vm),
    // One file for each number, whatever the guest is.
    rules!("/nodes/{node}/lxc/{vmid}/firewall", Level::Vm),
    rules!("/cluster/sdn/vnets/{vnet}/firewall", Level::Vnet),
    rules!(
        "/cluster/firewall/groups/{group}",
        "/cluster/firewall/groups/{group}/{pos}",
        rules::Owner::Group
    ),
    names!("/cluster/firewall", Level::Cluster),
    names!("/nodes/{node}/qemu/{vmid}/firewall", Level::Vm),
    names!("/nodes/{node}/lxc/{vmid}/firewall", Level::Vm),
    options!("/cluster/firewall", Level::Cluster),
    options!("/nodes/{node}/firewall", Level::Node),
    options!("/nodes/{node}/qemu/{vmid}/firewall", Level::Vm),
    options!("/nodes/{node}/lxc/{vmid}/firewall", Level::Vm),
    options!("/cluster/sdn/vnets/{vnet}/firewall", Level::Vnet),
    groups::ROUTES,
    refs::ROUTES,
];

/// The handlers.
pub(super) fn routes() -> impl Iterator<Item = &'static Row> {
    TABLES.into_iter().flatten()
}

impl Level {
    fn place(self, call: &Call<'_>) -> Place {
        match self {
            Self::Cluster => Place::Cluster,
            Self::Node => Place::Node(call.node.clone()),
            Self::Vm => Place::Vm(call.vmid()),
            Self::Vnet => Place::Vnet(call.text("vnet")),
        }
    }

    fn env(self) -> Env {
        match self {
            Self::Cluster => Env::Cluster,
            Self::Node => Env::Host,
            Self::Vm => Env::Vm,
            Self::Vnet => Env::Vnet,
        }
    }

    /// A `VNet` must be applied, and its handler checks the rights itself.
    fn permit(self, call: &Call<'_>, privileges: &[&str]) -> Result<(), Fail> {
        if self != Self::Vnet {
            return Ok(());
        }
        let vnet = call.text("vnet");
        let Some(zone) = zone_of(call.state, &vnet) else {
            return Err(Fail::perl("invalid vnet specified", "API2/Firewall/Helpers"));
        };
        call.require_any(&format!("/sdn/zones/{zone}/{vnet}"), privileges)
    }
}

fn vnets(state: &State) -> impl Iterator<Item = (&str, &str)> {
    let rows = state.sdn.running.get("vnets").into_iter().flatten();
    rows.map(|(name, keys)| {
        (name.as_str(), keys.get("zone").and_then(Value::as_str).unwrap_or_default())
    })
}

fn zone_of<'a>(state: &'a State, vnet: &str) -> Option<&'a str> {
    vnets(state).find(|(name, _)| *name == vnet).map(|(_, zone)| zone)
}

/// Names of the sets that SDN makes for the applied `VNets` that the caller may see.
fn sdn_sets(call: &Call<'_>) -> BTreeSet<String> {
    let seen = vnets(call.state).filter(|(vnet, zone)| {
        call.require_any(&format!("/sdn/zones/{zone}/{vnet}"), &["SDN.Audit", "SDN.Allocate"])
            .is_ok()
    });
    seen.flat_map(|(vnet, _)| sets_of(vnet)).collect()
}

fn sets_of(vnet: &str) -> [String; 4] {
    ["all", "gateway", "no-gateway", "dhcp"].map(|end| format!("{vnet}-{end}"))
}

/// What the names of a rule or a set of this place refer to.
fn scope<'a>(state: &'a State, place: &Place, env: Env, sdn: &'a BTreeSet<String>) -> Scope<'a> {
    let local = if *place == Place::Cluster { None } else { state.firewall.get(place) };
    Scope { env, cluster: &state.firewall.cluster, local, sdn }
}

/// The configuration of a place, or an empty one.
fn conf<'a>(state: &'a State, place: &Place) -> &'a Conf {
    static EMPTY: Conf = Conf::new();
    state.firewall.get(place).unwrap_or(&EMPTY)
}

/// Refuses a change that was made for another state.
fn unchanged(call: &Call<'_>, digest: impl FnOnce() -> String) -> Result<(), Fail> {
    match call.get("digest").filter(|given| !given.is_empty()) {
        Some(given) if given != digest() => Err(Fail::die(
            "detected modified configuration - file changed by other user? Try again.",
        )),
        _ => Ok(()),
    }
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// Digest of a list as it is shown; what is no scalar (`errors`) does not count.
fn digest(rows: &[Map<String, Value>]) -> String {
    digest_of(rows.iter().map(|row| {
        row.iter().filter_map(|(key, value)| Some((key.as_str(), scalar(value)?))).collect()
    }))
}

/// Adds the digest of the whole list to each of its rows.
fn with_digest(mut rows: Vec<Map<String, Value>>) -> Vec<Map<String, Value>> {
    let digest = digest(&rows);
    for row in &mut rows {
        row.insert("digest".to_owned(), json!(digest));
    }
    rows
}

fn objects(rows: Vec<Map<String, Value>>) -> Value {
    rows.into_iter().map(Value::Object).collect()
}

/// A row with a comment, when there is one.
fn commented(mut row: Map<String, Value>, comment: Option<&String>) -> Map<String, Value> {
    if let Some(text) = comment {
        row.insert("comment".to_owned(), json!(text));
    }
    row
}

/// A row of one text.
fn row(key: &str, text: &str) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), json!(text))])
}

/// The comment of a call; `None` also when it is blank.
fn comment(call: &Call<'_>) -> Option<String> {
    call.get("comment").and_then(crate::sim::firewall::comment)
}
