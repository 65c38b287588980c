//! Software-defined networking: what is there, and one transaction that changes it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::client::{Client, escape};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{NodeName, Upid};
use crate::plan::sdn::{Kind, Object, SdnChange, SdnObserved};

/// How long all nodes may take to reload their networks.
const RELOAD: Duration = Duration::from_mins(20);

/// What a node says of a zone: `GET /nodes/{node}/sdn/zones`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct ZoneStatus {
    /// The zone.
    pub zone: String,
    /// `available`, `pending` or `error`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub status: Option<String>,
}

/// What applying would change on a node, as texts of differences.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Preview {
    /// Of the routing daemon's configuration.
    #[serde(default, rename = "frr-diff", deserialize_with = "crate::loose::text")]
    pub frr: Option<String>,
    /// Of the node's interfaces.
    #[serde(default, rename = "interfaces-diff", deserialize_with = "crate::loose::text")]
    pub interfaces: Option<String>,
}

/// Software-defined networking.
#[derive(Debug, Clone, Copy)]
pub struct Sdn<'a> {
    pub(crate) client: &'a Client,
}

impl Client {
    /// Software-defined networking.
    pub fn sdn(&self) -> Sdn<'_> {
        Sdn { client: self }
    }
}

impl Sdn<'_> {
    /// All controllers, zones, VNets and subnets as they are saved, and what of it is not applied.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn observe(&self) -> Result<SdnObserved> {
        let mut observed = SdnObserved::default();
        let (controllers, zones, vnets) = tokio::try_join!(
            self.rows("/cluster/sdn/controllers"),
            self.rows("/cluster/sdn/zones"),
            self.rows("/cluster/sdn/vnets"),
        )?;
        let lists = [(Kind::Controller, controllers), (Kind::Zone, zones), (Kind::Vnet, vnets)];
        for (kind, rows) in lists {
            for row in rows {
                add(&mut observed, kind, None, row);
            }
        }
        let vnets: Vec<String> = observed
            .objects
            .iter()
            .filter(|object| object.kind == Kind::Vnet)
            .map(|object| object.id.clone())
            .collect();
        let subnets: Vec<(String, Vec<Map<String, Value>>)> = futures_util::stream::iter(vnets)
            .map(|vnet| async move {
                let rows = self.rows(&format!("/cluster/sdn/vnets/{vnet}/subnets")).await?;
                Ok::<_, Error>((vnet, rows))
            })
            .buffered(self.client.concurrency())
            .try_collect()
            .await?;
        for (vnet, rows) in subnets {
            for row in rows {
                add(&mut observed, Kind::Subnet, Some(vnet.clone()), row);
            }
        }
        observed.objects.sort();
        Ok(observed)
    }

    async fn rows(&self, path: &str) -> Result<Vec<Map<String, Value>>> {
        self.client.get(path, &[("pending", "1")]).await
    }

    /// `POST /cluster/sdn/lock` (PVE 9): keeps everybody else from writing; gives the token. It
    /// does not end by itself.
    ///
    /// # Errors
    /// As [`Client::call`]; [`ErrorKind::Busy`] while somebody else holds it.
    pub async fn lock(&self) -> Result<String> {
        self.client.call(Method::POST, "/cluster/sdn/lock", &[("allow-pending", "1")]).await
    }

    /// `DELETE /cluster/sdn/lock` (PVE 9) with a token, or whoever holds it.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn unlock(&self, token: Option<&str>) -> Result<()> {
        let key = token.map_or(("force", "1"), |token| ("lock-token", token));
        self.client
            .call::<Option<Value>>(Method::DELETE, "/cluster/sdn/lock", &[key])
            .await
            .map(drop)
    }

    /// Saves one change; nothing takes effect before [`Self::apply`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn save(&self, change: &SdnChange, token: Option<&str>) -> Result<()> {
        let object = change.object();
        let (method, path, mut keys) = match change {
            SdnChange::Create { object } => {
                let name = match object.kind {
                    // The server makes the id of a subnet from its prefix.
                    Kind::Subnet => cidr_of(&object.id),
                    _ => object.id.clone(),
                };
                let mut keys = vec![(object.kind.word().to_owned(), name)];
                keys.extend(typed(object));
                keys.extend(object.fields.clone().into_iter().filter(|(_, text)| !text.is_empty()));
                (Method::POST, parent_path(object), keys)
            }
            SdnChange::Update { fields, .. } => {
                let set = fields.iter().filter_map(|(key, _, after)| Some((key, after.as_ref()?)));
                let mut keys: Vec<(String, String)> =
                    set.map(|(key, text)| (key.clone(), text.clone())).collect();
                let removed: Vec<&str> = fields
                    .iter()
                    .filter(|(_, _, after)| after.is_none())
                    .map(|(key, _, _)| key.as_str())
                    .collect();
                if !removed.is_empty() {
                    keys.push(("delete".to_owned(), removed.join(",")));
                }
                (Method::PUT, own_path(object), keys)
            }
            SdnChange::Delete { .. } => (Method::DELETE, own_path(object), Vec::new()),
        };
        if let Some(token) = token {
            keys.push(("lock-token".to_owned(), token.to_owned()));
        }
        let keys: Vec<(&str, &str)> =
            keys.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        self.client.call::<Option<Value>>(method, &path, &keys).await.map(drop)
    }

    /// `PUT /cluster/sdn`: makes what is saved take effect on every node, and waits. Releases the
    /// lock. The task ends well also where a node failed: ask [`Self::zones_of`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn apply(&self, token: Option<&str>) -> Result<()> {
        let keys = token.map(|token| ("lock-token", token));
        let answer: Option<String> =
            self.client.call(Method::PUT, "/cluster/sdn", keys.as_slice()).await?;
        match answer.map(|text| text.parse::<Upid>()) {
            Some(Ok(upid)) => self.client.tasks().wait(&upid, RELOAD).await.map(drop),
            Some(Err(source)) => {
                let text = "the answer names no task";
                let error = Error::new(ErrorKind::Protocol, "PUT /cluster/sdn".to_owned(), text);
                Err(error.applied(true).because(source))
            }
            None => Ok(()),
        }
    }

    /// `POST /cluster/sdn/rollback` (PVE 9): forgets what is saved and not applied; releases the
    /// lock.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn rollback(&self, token: &str) -> Result<()> {
        let keys = [("lock-token", token)];
        let path = "/cluster/sdn/rollback";
        self.client.call::<Option<Value>>(Method::POST, path, &keys).await.map(drop)
    }

    /// `GET /cluster/sdn/dry-run` (PVE 9.1): what applying would change in the files of a node.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn preview(&self, node: &NodeName) -> Result<Preview> {
        self.client.get("/cluster/sdn/dry-run", &[("node", node.as_str())]).await
    }

    /// `GET /nodes/{node}/sdn/zones`: whether zones work on a node.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn zones_of(&self, node: &NodeName) -> Result<Vec<ZoneStatus>> {
        self.client.get(&format!("/nodes/{node}/sdn/zones"), &[]).await
    }

    /// Whether a node has changes of its own network that are not applied: applying the networks
    /// of the cluster would apply them too. `GET /nodes/{node}/network` tells them beside its data.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn has_pending_network(&self, node: &NodeName) -> Result<bool> {
        let path = format!("/nodes/{node}/network");
        let (_, changes): (Value, Option<String>) = self.client.get_with_changes(&path).await?;
        Ok(changes.is_some_and(|text| !text.trim().is_empty()))
    }
}

fn list_path(kind: Kind) -> String {
    format!("/cluster/sdn/{}s", kind.word())
}

fn parent_path(object: &Object) -> String {
    match (&object.kind, &object.vnet) {
        (Kind::Subnet, Some(vnet)) => format!("/cluster/sdn/vnets/{}/subnets", escape(vnet)),
        (kind, _) => list_path(*kind),
    }
}

fn own_path(object: &Object) -> String {
    format!("{}/{}", parent_path(object), escape(&object.id))
}

/// The type that the API asks for where there is only one.
fn typed(object: &Object) -> Option<(String, String)> {
    (object.kind == Kind::Subnet).then(|| ("type".to_owned(), "subnet".to_owned()))
}

/// `fd00:101::/64` of `zone-fd00:101::-64`.
fn cidr_of(id: &str) -> String {
    let rest = id.split_once('-').map_or(id, |(_, rest)| rest);
    match rest.rsplit_once('-') {
        Some((address, length)) => format!("{address}/{length}"),
        None => rest.to_owned(),
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Object(_) => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => Some(items.iter().filter_map(text_of).collect::<Vec<_>>().join(",")),
    }
}

/// One row of the pending view: what runs at the top level, what is saved besides in `pending`.
fn add(observed: &mut SdnObserved, kind: Kind, vnet: Option<String>, row: Map<String, Value>) {
    let id = row.get(kind.word()).or_else(|| row.get("id")).and_then(Value::as_str);
    let Some(id) = id.map(str::to_owned) else { return };
    let texts = |map: &Map<String, Value>| -> BTreeMap<String, String> {
        map.iter().filter_map(|(key, value)| Some((key.clone(), text_of(value)?))).collect()
    };
    let mut fields = texts(&row);
    if let Some(Value::Object(pending)) = row.get("pending") {
        for (key, value) in texts(pending) {
            if value == "deleted" {
                fields.remove(&key);
            } else {
                fields.insert(key, value);
            }
        }
    }
    let state = fields.remove("state");
    for known in ["digest", "pending", "vnet", "subnet", "controller", "id"] {
        if known != "controller" || kind == Kind::Controller {
            fields.remove(known);
        }
    }
    if kind == Kind::Zone {
        fields.remove("zone");
    }
    let id = if kind == Kind::Subnet { subnet_id(&id, &fields) } else { id };
    let object = Object { kind, id, vnet, fields };
    if let Some(state) = &state {
        observed.pending.insert(object.title(), state.clone());
    }
    match state.as_deref() {
        Some("deleted") => observed.removed.push(object),
        _ => observed.objects.push(object),
    }
}

/// The id of a subnet; some rows give its prefix instead.
fn subnet_id(text: &str, fields: &BTreeMap<String, String>) -> String {
    match (text.contains('/'), fields.get("zone")) {
        (true, Some(zone)) => Object::subnet_id(zone, text),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn observed(kind: Kind, row: Value) -> SdnObserved {
        let mut observed = SdnObserved::default();
        let Value::Object(row) = row else { panic!("no object") };
        add(&mut observed, kind, None, row);
        observed
    }

    #[test]
    fn the_pending_view_gives_what_is_saved() {
        let row = json!({"vnet": "v1", "zone": "z", "tag": 10, "alias": "old", "state": "changed",
                         "pending": {"tag": 11, "alias": "deleted"}});
        let found = observed(Kind::Vnet, row);
        let object = &found.objects[0];
        assert_eq!((object.id.as_str(), object.fields.len()), ("v1", 2));
        assert_eq!(object.fields["tag"], "11");
        assert_eq!(found.pending["vnet v1"], "changed");

        let row = json!({"vnet": "v1", "zone": "z", "state": "deleted", "pending": {}});
        let found = observed(Kind::Vnet, row);
        assert!(found.objects.is_empty());
        assert_eq!(found.pending["vnet v1"], "deleted");
        let removed = &found.removed[0];
        assert_eq!((removed.id.as_str(), removed.fields["zone"].as_str()), ("v1", "z"));
    }

    #[test]
    fn a_prefix_comes_out_of_the_id_of_a_subnet() {
        assert_eq!(cidr_of("evpnz1-fd00:101::-64"), "fd00:101::/64");
        assert_eq!(cidr_of("evpnz1-10.101.0.0-24"), "10.101.0.0/24");
    }
}
