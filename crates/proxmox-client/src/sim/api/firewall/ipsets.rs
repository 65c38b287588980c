//! Sets of addresses of the cluster and of machines.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Level, comment, commented, conf, digest, objects, row, scope, unchanged, with_digest};
use crate::sim::fail::Fail;
use crate::sim::firewall::{Conf, Entry, IpSet, address};
use crate::sim::reply::Call;

fn missing(name: &str) -> Fail {
    Fail::die(format!("no such IPSet '{name}'"))
}

/// The set that a call names.
fn set<'a>(conf: &'a Conf, call: &Call<'_>) -> Result<&'a IpSet, Fail> {
    let name = call.text("name");
    conf.ipsets.get(&name).ok_or_else(|| missing(&name))
}

fn set_mut<'a>(call: &'a mut Call<'_>, level: Level) -> Result<&'a mut IpSet, Fail> {
    let (place, name) = (level.place(call), call.text("name"));
    // a level without a configuration does not get one by a failed call
    if !conf(call.state, &place).ipsets.contains_key(&name) {
        return Err(missing(&name));
    }
    call.state.firewall.get_mut(&place).ipsets.get_mut(&name).ok_or_else(|| missing(&name))
}

fn index_rows(call: &Call<'_>, level: Level) -> Vec<Map<String, Value>> {
    let conf = conf(call.state, &level.place(call));
    conf.ipsets
        .iter()
        .map(|(name, set)| commented(row("name", name), set.comment.as_ref()))
        .collect()
}

pub(super) fn index(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    Ok(objects(with_digest(index_rows(call, level))))
}

pub(super) fn create(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    let (place, name, comment) = (level.place(call), call.text("name"), comment(call));
    let renamed = call.get("rename").filter(|old| !old.is_empty()).map(str::to_owned);
    let taken = conf(call.state, &place).ipsets.contains_key(&name);
    // the file's reader knows names in lower case only
    let key = name.to_ascii_lowercase();
    let Some(old) = renamed else {
        if taken {
            return Err(Fail::param("name", format!("IPSet '{name}' already exists")));
        }
        let sets = &mut call.state.firewall.get_mut(&place).ipsets;
        sets.entry(key).or_insert_with(|| IpSet { comment, ..IpSet::default() });
        return Ok(Value::Null);
    };
    unchanged(call, || digest(&index_rows(call, level)))?;
    let Some(mut set) = conf(call.state, &place).ipsets.get(&old).cloned() else {
        return Err(Fail::param("name", format!("IPSet '{old}' does not exist")));
    };
    if taken && name != old {
        return Err(Fail::param("name", format!("IPSet '{name}' does already exist")));
    }
    if call.get("comment").is_some() {
        set.comment = comment;
    }
    let sets = &mut call.state.firewall.get_mut(&place).ipsets;
    sets.remove(&old);
    sets.insert(key, set);
    Ok(Value::Null)
}

/// Rules that name the set stay; an entry keeps it from being removed, unless forced.
pub(super) fn remove(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    let (name, force) = (call.text("name"), call.flag("force"));
    if !set_mut(call, level)?.entries.is_empty() && !force {
        return Err(Fail::die(format!("IPSet '{name}' is not empty")));
    }
    let place = level.place(call);
    call.state.firewall.get_mut(&place).ipsets.remove(&name);
    Ok(Value::Null)
}

fn rows(call: &Call<'_>, level: Level) -> Result<Vec<Map<String, Value>>, Fail> {
    let (place, none) = (level.place(call), BTreeSet::new());
    let scope = scope(call.state, &place, level.env(), &none);
    let conf = conf(call.state, &place);
    let view = |(cidr, entry): (&String, &Entry)| {
        let mut map = commented(row("cidr", cidr), entry.comment.as_ref());
        if entry.nomatch {
            map.insert("nomatch".to_owned(), json!(1));
        }
        if let Some((place, name)) = address::alias(cidr)
            && scope.alias(place, name).is_none()
        {
            let text = format!("no such alias '{name}'");
            map.insert("errors".to_owned(), json!({"cidr": text}));
        }
        map
    };
    Ok(set(conf, call)?.entries.iter().map(view).collect())
}

pub(super) fn list(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    Ok(objects(with_digest(rows(call, level)?)))
}

pub(super) fn add(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    let place = level.place(call);
    set(conf(call.state, &place), call)?;
    let mut cidr = call.text("cidr");
    if let Some((reach, name)) = address::alias(&cidr) {
        let none = BTreeSet::new();
        if scope(call.state, &place, level.env(), &none).alias(reach, name).is_none() {
            return Err(Fail::die(format!("no such alias '{name}'")));
        }
    } else {
        cidr = address::normal(&cidr);
    }
    let entry = Entry { nomatch: call.flag("nomatch"), comment: comment(call) };
    let entries = &mut set_mut(call, level)?.entries;
    if entries.contains_key(&cidr) {
        return Err(Fail::param("cidr", format!("address '{cidr}' already exists")));
    }
    let length = cidr.rsplit_once('/').map_or("", |(_, length)| length);
    if !length.is_empty() && length.bytes().all(|byte| byte == b'0') {
        return Err(Fail::param("cidr", "a zero prefix is not allowed in ipset entries"));
    }
    entries.insert(cidr, entry);
    Ok(Value::Null)
}

pub(super) fn read(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    let cidr = call.text("cidr");
    let found = with_digest(rows(call, level)?)
        .into_iter()
        .find(|row| row.get("cidr").and_then(Value::as_str) == Some(&cidr));
    found.map(Value::Object).ok_or_else(|| Fail::param("cidr", "no such IP/Network"))
}

/// What the call leaves out is removed.
pub(super) fn update(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    let cidr = call.text("cidr");
    check(call, level)?;
    let entry = Entry { nomatch: call.flag("nomatch"), comment: comment(call) };
    match set_mut(call, level)?.entries.get_mut(&cidr) {
        Some(old) => *old = entry,
        None => return Err(Fail::param("cidr", "no such IP/Network")),
    }
    Ok(Value::Null)
}

/// A missing entry is no error.
pub(super) fn delete(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    let cidr = call.text("cidr");
    check(call, level)?;
    set_mut(call, level)?.entries.remove(&cidr);
    Ok(Value::Null)
}

/// Compares the digest when one was given: a large set is not read for each entry.
fn check(call: &Call<'_>, level: Level) -> Result<(), Fail> {
    if call.get("digest").is_none() {
        return set(conf(call.state, &level.place(call)), call).map(drop);
    }
    let rows = rows(call, level)?;
    unchanged(call, || digest(&rows))
}
