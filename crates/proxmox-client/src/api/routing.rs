//! Prefix lists and route maps of software-defined networking (PVE 9.2): which routes are taken and
//! what becomes of them.

use std::fmt;
use std::str::FromStr;

use http::Method;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::api::Sdn;
use crate::client::{Parameters, escape};
use crate::error::{Error, ErrorKind, Result};

/// A rule of a prefix list: networks that it permits or denies.
///
/// ```
/// use proxmox_client::PrefixRule;
///
/// let rule: PrefixRule = "prefix=10.0.0.0/8,action=permit,le=24,seq=5".parse()?;
/// assert!(rule.permit);
/// assert_eq!(rule.to_string(), "action=permit,prefix=10.0.0.0/8,le=24,seq=5");
/// # Ok::<(), proxmox_client::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrefixRule {
    /// Whether it permits; else it denies.
    pub permit: bool,
    /// The network.
    pub prefix: IpNet,
    /// The longest prefix inside of the network that it holds for; only the network when none.
    pub le: Option<u8>,
    /// The shortest one.
    pub ge: Option<u8>,
    /// Its place among the rules, from 1; the server's choice when none.
    pub seq: Option<u32>,
}

impl fmt::Display for PrefixRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = if self.permit { "permit" } else { "deny" };
        write!(f, "action={action},prefix={}", self.prefix)?;
        for (key, length) in [("le", self.le), ("ge", self.ge)] {
            if let Some(length) = length {
                write!(f, ",{key}={length}")?;
            }
        }
        self.seq.map_or(Ok(()), |seq| write!(f, ",seq={seq}"))
    }
}

impl FromStr for PrefixRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            let text = format!("{text:?} is no rule of a prefix list: {what}");
            Error::new(ErrorKind::Protocol, "read a prefix list", text)
        };
        let (mut permit, mut prefix) = (None, None);
        let (mut le, mut ge, mut seq) = (None, None, None);
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| wrong("a part has no key"))?;
            match (key, value) {
                ("action", "permit") => permit = Some(true),
                ("action", "deny") => permit = Some(false),
                ("prefix", _) => prefix = Some(value.parse().map_err(|_| wrong("no network"))?),
                ("le", _) => le = Some(value.parse().map_err(|_| wrong("le"))?),
                ("ge", _) => ge = Some(value.parse().map_err(|_| wrong("ge"))?),
                ("seq", _) => seq = Some(value.parse().map_err(|_| wrong("seq"))?),
                ("action", _) => return Err(wrong("another action")),
                // later versions may say more
                _ => {}
            }
        }
        let permit = permit.ok_or_else(|| wrong("no action"))?;
        let prefix = prefix.ok_or_else(|| wrong("no prefix"))?;
        Ok(Self { permit, prefix, le, ge, seq })
    }
}

impl<'de> Deserialize<'de> for PrefixRule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A prefix list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct PrefixList {
    /// Its id.
    pub id: String,
    /// Its rules.
    #[serde(default)]
    pub entries: Vec<PrefixRule>,
    /// Digest of the file that holds all prefix lists.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub digest: Option<String>,
}

/// An entry of a route map.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct RouteMapEntry {
    /// The route map.
    #[serde(rename = "route-map-id")]
    pub map: String,
    /// Its place in the map.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub order: Option<u64>,
    /// `permit` or `deny`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub action: Option<String>,
    /// What a route must be: `key=ip-address-prefix-list,value=LIST`.
    #[serde(default, rename = "match")]
    pub matches: Vec<String>,
    /// What is made of it: `key=metric,value=100`.
    #[serde(default)]
    pub set: Vec<String>,
    /// Another map that must permit it too.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub call: Option<String>,
    /// Where to go on: `key=continue,value=20`.
    #[serde(default, rename = "exit-action", deserialize_with = "crate::loose::text")]
    pub exit_action: Option<String>,
    /// Digest of the file that holds all route maps.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub digest: Option<String>,
}

const LISTS: &str = "/cluster/sdn/prefix-lists";
const ENTRIES: &str = "/cluster/sdn/route-maps/entries";

fn list_path(id: &str) -> String {
    format!("{LISTS}/{}", escape(id))
}

fn entry_path(map: &str, order: u16) -> String {
    format!("{ENTRIES}/{}/entry/{order}", escape(map))
}

fn texts(rules: &[PrefixRule]) -> Vec<String> {
    rules.iter().map(ToString::to_string).collect()
}

/// One parameter for each rule.
fn entries(rules: &[String]) -> Vec<(&str, &str)> {
    rules.iter().map(|rule| ("entries", rule.as_str())).collect()
}

/// All of these calls save only: [`Sdn::apply`] and what else puts networks into force comes after.
/// While somebody holds the lock, `keys` must have its `lock-token`.
impl Sdn<'_> {
    async fn save_routing(&self, method: Method, path: &str, keys: &Parameters<'_>) -> Result<()> {
        self.client.call::<Option<Value>>(method, path, keys).await.map(drop)
    }

    /// `GET /cluster/sdn/prefix-lists`: those that may be seen.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn prefix_lists(&self) -> Result<Vec<PrefixList>> {
        self.client.get(LISTS, &[]).await
    }

    /// `GET /cluster/sdn/prefix-lists/{id}`, none when it is not there.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn prefix_list(&self, id: &str) -> Result<Option<PrefixList>> {
        self.client.find(&list_path(id), &[]).await
    }

    /// `POST /cluster/sdn/prefix-lists`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn create_prefix_list(
        &self,
        id: &str,
        rules: &[PrefixRule],
        keys: &Parameters<'_>,
    ) -> Result<()> {
        let rules = texts(rules);
        let all = [&[("id", id)], &entries(&rules)[..], keys].concat();
        self.save_routing(Method::POST, LISTS, &all).await
    }

    /// `PUT /cluster/sdn/prefix-lists/{id}`: its rules are these and no others.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn set_prefix_list(
        &self,
        id: &str,
        rules: &[PrefixRule],
        keys: &Parameters<'_>,
    ) -> Result<()> {
        let rules = texts(rules);
        let cleared = [("delete", "entries")];
        let all = if rules.is_empty() { cleared.to_vec() } else { entries(&rules) };
        self.save_routing(Method::PUT, &list_path(id), &[&all, keys].concat()).await
    }

    /// `DELETE /cluster/sdn/prefix-lists/{id}`: one that no fabric and no route map names.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn delete_prefix_list(&self, id: &str, keys: &Parameters<'_>) -> Result<()> {
        self.save_routing(Method::DELETE, &list_path(id), keys).await
    }

    /// `GET /cluster/sdn/route-maps/entries`: entries of all route maps that may be seen.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn route_map_entries(&self) -> Result<Vec<RouteMapEntry>> {
        self.client.get(ENTRIES, &[]).await
    }

    /// `GET /cluster/sdn/route-maps/entries/{map}/entry/{order}`, none when it is not there.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn route_map_entry(&self, map: &str, order: u16) -> Result<Option<RouteMapEntry>> {
        self.client.find(&entry_path(map, order), &[]).await
    }

    /// `POST /cluster/sdn/route-maps/entries`; `match` and `set` are repeated for each. The map is
    /// there with its first entry.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn create_route_map_entry(
        &self,
        map: &str,
        order: u16,
        permit: bool,
        keys: &Parameters<'_>,
    ) -> Result<()> {
        let order = order.to_string();
        let action = if permit { "permit" } else { "deny" };
        let all = [("route-map-id", map), ("order", order.as_str()), ("action", action)];
        self.save_routing(Method::POST, ENTRIES, &[&all, keys].concat()).await
    }

    /// `PUT /cluster/sdn/route-maps/entries/{map}/entry/{order}`; `delete` is repeated for each key
    /// that goes.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn set_route_map_entry(
        &self,
        map: &str,
        order: u16,
        keys: &Parameters<'_>,
    ) -> Result<()> {
        self.save_routing(Method::PUT, &entry_path(map, order), keys).await
    }

    /// `DELETE /cluster/sdn/route-maps/entries/{map}/entry/{order}`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn delete_route_map_entry(
        &self,
        map: &str,
        order: u16,
        keys: &Parameters<'_>,
    ) -> Result<()> {
        self.save_routing(Method::DELETE, &entry_path(map, order), keys).await
    }
}
