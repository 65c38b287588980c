//! Aliases of the cluster and of machines.

use serde_json::{Map, Value, json};

use super::{Level, comment, commented, conf, digest, objects, row, unchanged, with_digest};
use crate::sim::fail::Fail;
use crate::sim::firewall::{Alias, address};
use crate::sim::reply::Call;

fn view(alias: &Alias) -> Map<String, Value> {
    let mut map = commented(row("name", &alias.name), alias.comment.as_ref());
    map.insert("cidr".to_owned(), json!(alias.cidr));
    map.insert("ipversion".to_owned(), json!(alias.family()));
    map
}

fn rows(call: &Call<'_>, level: Level) -> Vec<Map<String, Value>> {
    conf(call.state, &level.place(call)).aliases.values().map(view).collect()
}

fn key(call: &Call<'_>) -> String {
    call.text("name").to_ascii_lowercase()
}

fn exists(name: &str) -> Fail {
    Fail::param("name", format!("alias '{name}' already exists"))
}

/// The alias that a call describes.
fn given(call: &Call<'_>) -> Alias {
    Alias {
        name: call.text("name"),
        cidr: address::bare(&call.text("cidr")),
        comment: comment(call),
    }
}

pub(super) fn list(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    Ok(objects(with_digest(rows(call, level))))
}

pub(super) fn read(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    let conf = conf(call.state, &level.place(call));
    let alias = conf.aliases.get(&key(call));
    alias
        .map(|alias| Value::Object(view(alias)))
        .ok_or_else(|| Fail::param("name", "no such alias"))
}

pub(super) fn create(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    let (place, key, alias) = (level.place(call), key(call), given(call));
    if conf(call.state, &place).aliases.contains_key(&key) {
        return Err(exists(&alias.name));
    }
    call.state.firewall.get_mut(&place).aliases.insert(key, alias);
    Ok(Value::Null)
}

pub(super) fn update(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    unchanged(call, || digest(&rows(call, level)))?;
    let (place, old, mut alias) = (level.place(call), key(call), given(call));
    let aliases = &conf(call.state, &place).aliases;
    if !aliases.contains_key(&old) {
        return Err(Fail::param("name", "no such alias"));
    }
    let renamed = call.get("rename").filter(|name| !name.eq_ignore_ascii_case(&old));
    if let Some(name) = renamed {
        if aliases.contains_key(&name.to_ascii_lowercase()) {
            return Err(exists(name));
        }
        name.clone_into(&mut alias.name);
    }
    let aliases = &mut call.state.firewall.get_mut(&place).aliases;
    aliases.remove(&old);
    aliases.insert(alias.name.to_ascii_lowercase(), alias);
    Ok(Value::Null)
}

/// A missing alias is no error.
pub(super) fn delete(call: &mut Call<'_>, level: Level) -> Result<Value, Fail> {
    unchanged(call, || digest(&rows(call, level)))?;
    let (place, key) = (level.place(call), key(call));
    call.state.firewall.get_mut(&place).aliases.remove(&key);
    Ok(Value::Null)
}
