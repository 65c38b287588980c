//! Prefix lists and route maps of SDN (9.2): what filters and changes routes.
//!
//! Both are layers of the SDN configuration, so that apply and rollback see them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Row;
use super::fabricrules::FABRICS;
use super::fabrics::difference;
use super::sdn::check_lock;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::schema::Input;
use crate::sim::state::State;

/// Layer of prefix lists, by their id.
pub(super) const LISTS: &str = "prefix-lists";
/// Layer of entries of route maps, by `MAP_ORDER`.
pub(super) const MAPS: &str = "route-maps";

macro_rules! entry_path {
    () => {
        "/cluster/sdn/route-maps/entries/{route-map-id}/entry/{order}"
    };
}

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/sdn/prefix-lists", |call| Ok(listing(call, LISTS, &|_| true))),
    ("POST", "/cluster/sdn/prefix-lists", |call| {
        write(call, LISTS, "creating prefix list", add_list)
    }),
    ("GET", "/cluster/sdn/prefix-lists/{id}", read_list),
    ("PUT", "/cluster/sdn/prefix-lists/{id}", |call| {
        write(call, LISTS, "updating prefix list", update_list)
    }),
    ("DELETE", "/cluster/sdn/prefix-lists/{id}", |call| {
        write(call, LISTS, "deleting prefix list", delete_list)
    }),
    ("GET", "/cluster/sdn/prefix-lists/{id}/entries", read_rules),
    ("POST", "/cluster/sdn/prefix-lists/{id}/entries", |call| {
        write(call, LISTS, "creating prefix list entry", add_rule)
    }),
    ("GET", "/cluster/sdn/prefix-lists/{id}/entries/{url_seq}", read_rule),
    ("PUT", "/cluster/sdn/prefix-lists/{id}/entries/{url_seq}", |call| {
        write(call, LISTS, "updating prefix list entry", update_rule)
    }),
    ("DELETE", "/cluster/sdn/prefix-lists/{id}/entries/{url_seq}", |call| {
        write(call, LISTS, "deleting prefix list entry", delete_rule)
    }),
    ("GET", "/cluster/sdn/route-maps", maps),
    ("GET", "/cluster/sdn/route-maps/entries", |call| Ok(listing(call, MAPS, &|_| true))),
    ("POST", "/cluster/sdn/route-maps/entries", |call| {
        write(call, MAPS, "creating route map entry", add_entry)
    }),
    ("GET", "/cluster/sdn/route-maps/entries/{route-map-id}", |call| {
        let id = json!(call.text("route-map-id"));
        Ok(listing(call, MAPS, &|keys| keys.get("route-map-id") == Some(&id)))
    }),
    ("GET", entry_path!(), read_entry),
    ("PUT", entry_path!(), |call| write(call, MAPS, "updating route map entry", update_entry)),
    ("DELETE", entry_path!(), |call| write(call, MAPS, "deleting route map entry", delete_entry)),
];

type Keys = Map<String, Value>;

fn saved<'a>(state: &'a State, kind: &str, id: &str) -> Option<&'a Keys> {
    state.sdn.saved.get(kind)?.get(id)
}

fn insert(call: &mut Call<'_>, kind: &str, id: String, keys: Keys) {
    call.state.sdn.saved.entry(kind.to_owned()).or_default().insert(id, keys);
}

/// SHA-256 of the file of a kind.
fn digest_of(state: &State, kind: &str) -> String {
    let rows = state.sdn.saved.get(kind);
    digest::sha256(serde_json::to_string(&rows).unwrap_or_default().as_bytes())
}

/// Saved, running or pending rows that the caller may see.
fn listing(call: &Call<'_>, kind: &str, wanted: &dyn Fn(&Keys) -> bool) -> Value {
    let sdn = &call.state.sdn;
    let (pending, running) = (call.flag("pending"), call.flag("running"));
    let mut ids = BTreeSet::new();
    let layers = [(&sdn.saved, !running || pending), (&sdn.running, running || pending)];
    for (layer, _) in layers.iter().filter(|(_, shown)| *shown) {
        ids.extend(layer.get(kind).into_iter().flatten().map(|(id, _)| id));
    }
    let digest = digest_of(call.state, kind);
    let mut out = Vec::new();
    for id in ids {
        let (old, new) =
            (sdn.running.get(kind).and_then(|map| map.get(id)), saved(call.state, kind, id));
        let Some(shown) = (if running { old } else { new.or(old) }) else { continue };
        let path = format!("/sdn/{kind}/{id}");
        let seen = call.may(&path, "SDN.Audit") || call.may(&path, "SDN.Allocate");
        if !seen || !wanted(shown) {
            continue;
        }
        let mut row = if pending { difference(old, new) } else { shown.clone() };
        for key in ["id", "route-map-id", "order"] {
            if let Some(value) = shown.get(key) {
                row.insert(key.to_owned(), value.clone());
            }
        }
        if !running || pending {
            row.insert("digest".to_owned(), json!(digest));
        }
        out.push(Value::Object(row));
    }
    Value::Array(out)
}

/// A change of a saved file: lock, digest, then the change.
fn write(
    call: &mut Call<'_>,
    kind: &str,
    what: &str,
    change: fn(&mut Call<'_>) -> Result<(), Fail>,
) -> Result<Value, Fail> {
    let wrap = |fail: Fail| fail.wrap(&format!("{what} failed"));
    check_lock(call).map_err(wrap)?;
    if call.get("digest").is_some_and(|digest| digest != digest_of(call.state, kind)) {
        return Err(wrap(Fail::die(
            "detected modified configuration - file changed by other user? Try again.",
        )));
    }
    change(call).map_err(wrap)?;
    Ok(Value::Null)
}

fn texts(call: &Call<'_>, key: &str) -> Option<Vec<String>> {
    match call.params.get(key) {
        Some(Input::List(rows)) => Some(rows.clone()),
        Some(Input::Text(text)) => Some(vec![text.clone()]),
        _ => None,
    }
}

// Prefix lists. An entry is kept as its property string.

const RULE_KEYS: [&str; 5] = ["action", "prefix", "le", "ge", "seq"];

fn part<'a>(rule: &'a str, key: &str) -> Option<&'a str> {
    rule.split(',').filter_map(|part| part.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v)
}

/// A rule in the order in which its keys are declared.
fn printed(rule: &str) -> String {
    let parts = RULE_KEYS.iter().filter_map(|key| Some(format!("{key}={}", part(rule, key)?)));
    parts.collect::<Vec<_>>().join(",")
}

fn rule_object(rule: &str) -> Value {
    let keys = RULE_KEYS.iter().filter_map(|key| {
        let text = part(rule, key)?;
        let value = text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
        Some(((*key).to_owned(), value))
    });
    Value::Object(keys.collect())
}

fn rules_of(keys: &Keys) -> Vec<String> {
    let rows = keys.get("entries").and_then(Value::as_array).cloned().unwrap_or_default();
    rows.iter().filter_map(|row| row.as_str().map(str::to_owned)).collect()
}

fn absent(id: &str) -> Fail {
    Fail::param("id", format!("{id} doesn't exist"))
}

fn list<'a>(state: &'a State, id: &str) -> Result<&'a Keys, Fail> {
    saved(state, LISTS, id).ok_or_else(|| Fail::die(format!("prefix list '{id}' does not exist")))
}

/// Numbers of entries are given once.
fn set_rules(call: &mut Call<'_>, id: String, rules: &[String]) -> Result<(), Fail> {
    let mut numbers = BTreeSet::new();
    if let Some(twice) =
        rules.iter().filter_map(|rule| part(rule, "seq")).find(|seq| !numbers.insert(*seq))
    {
        return Err(Fail::die(format!("entry {twice} already exists in prefix list '{id}'")));
    }
    let rules: Vec<String> = rules.iter().map(|rule| printed(rule)).collect();
    let keys =
        Keys::from_iter([("id".to_owned(), json!(id)), ("entries".to_owned(), json!(rules))]);
    insert(call, LISTS, id, keys);
    Ok(())
}

fn add_list(call: &mut Call<'_>) -> Result<(), Fail> {
    let id = call.text("id");
    if saved(call.state, LISTS, &id).is_some() {
        return Err(Fail::die(format!("prefix list '{id}' already exists")));
    }
    let rules = texts(call, "entries").unwrap_or_default();
    set_rules(call, id, &rules)
}

fn read_list(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("id");
    let keys = saved(call.state, LISTS, &id).ok_or_else(|| absent(&id))?;
    Ok(Value::Object(keys.clone()))
}

fn update_list(call: &mut Call<'_>) -> Result<(), Fail> {
    let id = call.text("id");
    let mut rules = rules_of(list(call.state, &id)?);
    if call.list("delete").iter().any(|key| key == "entries") {
        rules.clear();
    }
    let rules = texts(call, "entries").unwrap_or(rules);
    set_rules(call, id, &rules)
}

fn delete_list(call: &mut Call<'_>) -> Result<(), Fail> {
    let id = call.text("id");
    let rows = |kind: &str| call.state.sdn.saved.get(kind).into_iter().flatten();
    let used = |text: String| {
        let text = format!("prefix list {id} is still referenced by {text}");
        Err(Fail::perl(text, "Network/SDN/PrefixLists"))
    };
    if let Some((fabric, _)) =
        rows(FABRICS).find(|(_, keys)| keys.get("route_filter") == Some(&json!(id)))
    {
        return used(format!("fabric {fabric}"));
    }
    for (_, keys) in rows(MAPS) {
        let matches = keys.get("match").and_then(Value::as_array).into_iter().flatten();
        let mut names = matches
            .filter_map(Value::as_str)
            .filter(|text| part(text, "key").is_some_and(|key| key.ends_with("-prefix-list")));
        if names.any(|text| part(text, "value") == Some(id.as_str())) {
            let text = |key: &str| keys.get(key).map(Value::to_string).unwrap_or_default();
            let map = text("route-map-id").replace('"', "");
            return used(format!("route map entry {map} #{}", text("order")));
        }
    }
    list(call.state, &id)?;
    call.state.sdn.saved.entry(LISTS.to_owned()).or_default().remove(&id);
    Ok(())
}

fn read_rules(call: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(rules_of(list(call.state, &call.text("id"))?).iter().map(|rule| rule_object(rule)).collect())
}

/// The rules of a list, and the index of the one that the call names.
fn named_rule(call: &Call<'_>) -> Result<(Vec<String>, usize), Fail> {
    let (id, seq) = (call.text("id"), call.text("url_seq"));
    let rules = rules_of(list(call.state, &id)?);
    let index = rules.iter().position(|rule| part(rule, "seq") == Some(seq.as_str()));
    let fail = || Fail::param("id", format!("entry {seq} in prefix list {id} doesn't exist"));
    index.map(|index| (rules, index)).ok_or_else(fail)
}

fn read_rule(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (mut rules, index) = named_rule(call)?;
    Ok(rule_object(&rules.swap_remove(index)))
}

/// The rule of a call over an older one.
fn sent_rule(call: &Call<'_>, old: &str) -> String {
    let removed = call.list("delete");
    let parts = RULE_KEYS.iter().filter_map(|key| {
        let kept = part(old, key).filter(|_| !removed.iter().any(|gone| gone == key));
        Some(format!("{key}={}", call.get(key).or(kept)?))
    });
    parts.collect::<Vec<_>>().join(",")
}

fn add_rule(call: &mut Call<'_>) -> Result<(), Fail> {
    let id = call.text("id");
    let mut rules = rules_of(list(call.state, &id)?);
    rules.push(sent_rule(call, ""));
    set_rules(call, id, &rules)
}

fn update_rule(call: &mut Call<'_>) -> Result<(), Fail> {
    let (mut rules, index) = named_rule(call)?;
    if let Some(rule) = rules.get_mut(index) {
        *rule = sent_rule(call, rule);
    }
    set_rules(call, call.text("id"), &rules)
}

fn delete_rule(call: &mut Call<'_>) -> Result<(), Fail> {
    let (mut rules, index) = named_rule(call)?;
    rules.remove(index);
    set_rules(call, call.text("id"), &rules)
}

// Route maps.

fn maps(call: &mut Call<'_>) -> Result<Value, Fail> {
    let sdn = &call.state.sdn;
    let layer = if call.flag("running") { &sdn.running } else { &sdn.saved };
    let rows = layer.get(MAPS).into_iter().flatten();
    let ids: BTreeSet<&str> =
        rows.filter_map(|(_, keys)| keys.get("route-map-id")?.as_str()).collect();
    let seen = ids.into_iter().filter(|id| {
        let path = format!("/sdn/{MAPS}/{id}");
        call.may(&path, "SDN.Audit") || call.may(&path, "SDN.Allocate")
    });
    Ok(seen.map(|id| json!({"id": id})).collect())
}

fn section(call: &Call<'_>) -> String {
    format!("{}_{}", call.text("route-map-id"), call.text("order"))
}

fn sent_entry(call: &Call<'_>, mut keys: Keys) -> Keys {
    for key in call.list("delete") {
        keys.remove(&key);
    }
    for key in ["action", "call", "exit-action"] {
        if let Some(text) = call.get(key) {
            keys.insert(key.to_owned(), json!(text));
        }
    }
    for key in ["match", "set"] {
        if let Some(rows) = texts(call, key) {
            keys.insert(key.to_owned(), json!(rows));
        }
    }
    keys
}

fn entry<'a>(state: &'a State, section: &str) -> Result<&'a Keys, Fail> {
    let fail = || Fail::die(format!("route map entry '{section}' does not exist"));
    saved(state, MAPS, section).ok_or_else(fail)
}

fn add_entry(call: &mut Call<'_>) -> Result<(), Fail> {
    let id = section(call);
    if saved(call.state, MAPS, &id).is_some() {
        return Err(Fail::die(format!("route map entry '{id}' already exists")));
    }
    let order = call.number("order").unwrap_or_default();
    let fixed = [("route-map-id", json!(call.text("route-map-id"))), ("order", json!(order))];
    let keys = fixed.map(|(key, value)| (key.to_owned(), value));
    let keys = sent_entry(call, Keys::from_iter(keys));
    insert(call, MAPS, id, keys);
    Ok(())
}

fn read_entry(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = section(call);
    let fail = || Fail::param("route-map-id", format!("{id} doesn't exist"));
    Ok(Value::Object(saved(call.state, MAPS, &id).ok_or_else(fail)?.clone()))
}

fn update_entry(call: &mut Call<'_>) -> Result<(), Fail> {
    let id = section(call);
    let keys = sent_entry(call, entry(call.state, &id)?.clone());
    insert(call, MAPS, id, keys);
    Ok(())
}

fn delete_entry(call: &mut Call<'_>) -> Result<(), Fail> {
    let id = section(call);
    entry(call.state, &id)?;
    call.state.sdn.saved.entry(MAPS.to_owned()).or_default().remove(&id);
    Ok(())
}
