//! The firewall of cluster, nodes, guests and VNets.

use std::collections::BTreeMap;
use std::fmt;

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::client::{Client, Parameters, escape};
use crate::error::Result;
use crate::id::{NodeName, VmId};
use crate::loose::{number_of, text_of};
use crate::plan::firewall::{Entry, Rule, RuleChange};

/// Whose firewall.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirewallLevel {
    /// That of the cluster: its rules hold on every node.
    Cluster,
    /// That of a node.
    Node(NodeName),
    /// That of a machine on a node.
    Vm(NodeName, VmId),
    /// That of a container on a node.
    Container(NodeName, VmId),
    /// That of a VNet; it needs the firewall of `nftables`.
    Vnet(String),
    /// Rules of a security group, which rules of other levels name. It has no options.
    Group(String),
}

impl FirewallLevel {
    fn base(&self) -> String {
        match self {
            Self::Cluster => "/cluster/firewall".to_owned(),
            Self::Node(node) => format!("/nodes/{node}/firewall"),
            Self::Vm(node, id) => format!("/nodes/{node}/qemu/{id}/firewall"),
            Self::Container(node, id) => format!("/nodes/{node}/lxc/{id}/firewall"),
            Self::Vnet(vnet) => format!("/cluster/sdn/vnets/{}/firewall", escape(vnet)),
            Self::Group(group) => format!("/cluster/firewall/groups/{}", escape(group)),
        }
    }
}

impl fmt::Display for FirewallLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the cluster"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::Vm(node, id) => write!(f, "machine {id} on {node}"),
            Self::Container(node, id) => write!(f, "container {id} on {node}"),
            Self::Vnet(vnet) => write!(f, "VNet {vnet}"),
            Self::Group(group) => write!(f, "security group {group}"),
        }
    }
}

/// Rules in their order, with the digest that a change can be bound to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RuleList {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Of the whole list.
    pub digest: Option<String>,
    /// What the digest was made of.
    pub(crate) rows: Vec<BTreeMap<String, String>>,
}

/// Something with a name: a group, a set of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FirewallName {
    /// The name.
    #[serde(alias = "group")]
    pub name: String,
    /// What is written on it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub comment: Option<String>,
}

/// A name for an address or a network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FirewallAlias {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub cidr: String,
    /// What is written on it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub comment: Option<String>,
}

/// What a rule can name as source or destination.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FirewallRef {
    /// `alias` or `ipset`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How a rule writes it.
    #[serde(rename = "ref", default, deserialize_with = "crate::loose::text")]
    pub reference: Option<String>,
    /// `dc`, `guest` or `sdn`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub scope: Option<String>,
}

/// The firewall of one level.
#[derive(Debug, Clone)]
pub struct Firewall<'a> {
    pub(crate) client: &'a Client,
    pub(crate) level: FirewallLevel,
    base: String,
}

impl Client {
    /// The firewall of a level.
    pub fn firewall(&self, level: FirewallLevel) -> Firewall<'_> {
        Firewall { client: self, base: level.base(), level }
    }
}

fn commented<'k>(keys: &mut Vec<(&'k str, &'k str)>, comment: Option<&'k str>) {
    keys.extend(comment.filter(|text| !text.is_empty()).map(|text| ("comment", text)));
}

impl Firewall<'_> {
    async fn write(&self, method: Method, path: &str, keys: &Parameters<'_>) -> Result<()> {
        self.client.call::<Option<Value>>(method, path, keys).await.map(drop)
    }

    /// `GET …/options`: what is set, without the digest. What is absent has its default.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn options(&self) -> Result<BTreeMap<String, String>> {
        let path = format!("{}/options", self.base);
        let row: Map<String, Value> = self.client.get(&path, &[]).await?;
        let texts = row.into_iter().filter_map(|(key, value)| Some((key, text_of(&value)?)));
        Ok(texts.filter(|(key, _)| key != "digest").collect())
    }

    /// `PUT …/options`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set_options(&self, keys: &Parameters<'_>, removed: &[String]) -> Result<()> {
        let gone = removed.join(",");
        let mut all = keys.to_vec();
        if !gone.is_empty() {
            all.push(("delete", &gone));
        }
        self.write(Method::PUT, &format!("{}/options", self.base), &all).await
    }

    fn rules_path(&self) -> String {
        match self.level {
            FirewallLevel::Group(_) => self.base.clone(),
            _ => format!("{}/rules", self.base),
        }
    }

    /// The rules in their order.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn rules(&self) -> Result<RuleList> {
        let mut rows: Vec<Map<String, Value>> = self.client.get(&self.rules_path(), &[]).await?;
        rows.sort_by_key(|row| row.get("pos").and_then(number_of));
        let digest = rows.first().and_then(|row| text_of(row.get("digest")?));
        let own = |key: &str| !matches!(key, "pos" | "digest");
        let texts = rows.into_iter().map(|row| {
            let keys = row.into_iter().filter(|(key, _)| own(key));
            keys.filter_map(|(key, value)| Some((key, text_of(&value)?))).collect()
        });
        let rows: Vec<BTreeMap<String, String>> = texts.collect();
        let rules = rows.iter().cloned().map(Rule::from_keys).collect();
        Ok(RuleList { rules, digest, rows })
    }

    /// One change of the rules, bound to the list with this digest where one is given. A new rule
    /// cannot be bound: the server does not look at it.
    ///
    /// # Errors
    /// As [`Client::call`]; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) where the list is
    /// another by now.
    pub async fn change_rule(&self, change: &RuleChange, digest: Option<&str>) -> Result<()> {
        let path = self.rules_path();
        let mut keys: Vec<(&str, &str)> = Vec::new();
        let (method, path, text) = match change {
            RuleChange::Insert { rule } => {
                keys.extend(rule.keys());
                return self.write(Method::POST, &path, &keys).await;
            }
            RuleChange::Move { from, to } => {
                (Method::PUT, format!("{path}/{from}"), ("moveto", to.to_string()))
            }
            RuleChange::Update { pos, set, removed } => {
                keys.extend(set.iter().map(|(key, value)| (key.as_str(), value.as_str())));
                (Method::PUT, format!("{path}/{pos}"), ("delete", removed.join(",")))
            }
            RuleChange::Delete { pos } => {
                (Method::DELETE, format!("{path}/{pos}"), ("delete", String::new()))
            }
        };
        if !text.1.is_empty() {
            keys.push((text.0, &text.1));
        }
        keys.extend(digest.map(|digest| ("digest", digest)));
        self.write(method, &path, &keys).await
    }

    /// `GET …/refs`: what rules of this level can name.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn refs(&self) -> Result<Vec<FirewallRef>> {
        self.client.get(&format!("{}/refs", self.base), &[]).await
    }

    /// `GET /cluster/firewall/groups`: security groups; they are of the cluster.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn groups(&self) -> Result<Vec<FirewallName>> {
        self.client.get("/cluster/firewall/groups", &[]).await
    }

    /// `POST /cluster/firewall/groups`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn create_group(&self, name: &str, comment: Option<&str>) -> Result<()> {
        let mut keys = vec![("group", name)];
        commented(&mut keys, comment);
        self.write(Method::POST, "/cluster/firewall/groups", &keys).await
    }

    /// `POST /cluster/firewall/groups` with a new name that is the old one: writes something else
    /// on a group.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn comment_group(&self, name: &str, comment: &str) -> Result<()> {
        let keys = [("group", name), ("rename", name), ("comment", comment)];
        self.write(Method::POST, "/cluster/firewall/groups", &keys).await
    }

    /// `DELETE /cluster/firewall/groups/{group}`: an empty one, also where rules name it.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete_group(&self, name: &str) -> Result<()> {
        let path = format!("/cluster/firewall/groups/{}", escape(name));
        self.write(Method::DELETE, &path, &[]).await
    }

    /// `GET …/aliases`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn aliases(&self) -> Result<Vec<FirewallAlias>> {
        self.client.get(&format!("{}/aliases", self.base), &[]).await
    }

    /// `POST …/aliases`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn create_alias(&self, name: &str, cidr: &str, comment: Option<&str>) -> Result<()> {
        let mut keys = vec![("name", name), ("cidr", cidr)];
        commented(&mut keys, comment);
        self.write(Method::POST, &format!("{}/aliases", self.base), &keys).await
    }

    /// `PUT …/aliases/{name}`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set_alias(&self, name: &str, cidr: &str, comment: Option<&str>) -> Result<()> {
        let mut keys = vec![("cidr", cidr)];
        commented(&mut keys, comment);
        self.write(Method::PUT, &format!("{}/aliases/{}", self.base, escape(name)), &keys).await
    }

    /// `DELETE …/aliases/{name}`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete_alias(&self, name: &str) -> Result<()> {
        self.write(Method::DELETE, &format!("{}/aliases/{}", self.base, escape(name)), &[]).await
    }

    /// `GET …/ipset`: sets of addresses.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn sets(&self) -> Result<Vec<FirewallName>> {
        self.client.get(&format!("{}/ipset", self.base), &[]).await
    }

    /// `POST …/ipset`: an empty set.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn create_set(&self, name: &str, comment: Option<&str>) -> Result<()> {
        let mut keys = vec![("name", name)];
        commented(&mut keys, comment);
        self.write(Method::POST, &format!("{}/ipset", self.base), &keys).await
    }

    fn set_path(&self, name: &str, cidr: Option<&str>) -> String {
        let tail = cidr.map(|cidr| format!("/{}", escape(cidr))).unwrap_or_default();
        format!("{}/ipset/{}{tail}", self.base, escape(name))
    }

    /// `DELETE …/ipset/{name}`: an empty set, or one with all that is in it (PVE 8.1 and later).
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete_set(&self, name: &str, with_entries: bool) -> Result<()> {
        let keys: &[_] = if with_entries { &[("force", "1")] } else { &[] };
        self.write(Method::DELETE, &self.set_path(name, None), keys).await
    }

    /// `GET …/ipset/{name}`: what is in a set.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn entries(&self, name: &str) -> Result<BTreeMap<String, Entry>> {
        #[derive(Deserialize)]
        struct Row {
            cidr: String,
            #[serde(default, deserialize_with = "crate::loose::flag")]
            nomatch: bool,
            #[serde(default, deserialize_with = "crate::loose::text")]
            comment: Option<String>,
        }
        let rows: Vec<Row> = self.client.get(&self.set_path(name, None), &[]).await?;
        let entry = |row: Row| (row.cidr, Entry { nomatch: row.nomatch, comment: row.comment });
        Ok(rows.into_iter().map(entry).collect())
    }

    /// `POST …/ipset/{name}`: puts a network into a set.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn add_entry(&self, name: &str, cidr: &str, entry: &Entry) -> Result<()> {
        let mut keys = vec![("cidr", cidr)];
        keys.extend(entry.nomatch.then_some(("nomatch", "1")));
        commented(&mut keys, entry.comment.as_deref());
        self.write(Method::POST, &self.set_path(name, None), &keys).await
    }

    /// `PUT …/ipset/{name}/{cidr}`: says something else of a network.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set_entry(&self, name: &str, cidr: &str, entry: &Entry) -> Result<()> {
        let mut keys: Vec<_> = entry.nomatch.then_some(("nomatch", "1")).into_iter().collect();
        commented(&mut keys, entry.comment.as_deref());
        self.write(Method::PUT, &self.set_path(name, Some(cidr)), &keys).await
    }

    /// `DELETE …/ipset/{name}/{cidr}`: takes a network out; one that is not there is no error.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete_entry(&self, name: &str, cidr: &str) -> Result<()> {
        self.write(Method::DELETE, &self.set_path(name, Some(cidr)), &[]).await
    }
}
