//! The resource store of a node: get, list and watch as the machine API shows them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use super::config::yaml;
use super::fact::Fact;
use super::wire::resource;

/// Namespaces that can be read.
const NAMESPACES: [&str; 18] = [
    "runtime",
    "config",
    "network",
    "cluster",
    "cluster-raw",
    "k8s",
    "controlplane",
    "etcd",
    "secrets",
    "perf",
    "meta",
    "files",
    "cri",
    "hardware",
    "network-config",
    "kubespan",
    "security",
    "siderolink",
];

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such namespace.
    Namespace(String),
    /// No such type.
    Type(String),
    /// No such resource.
    Absent(String),
}

/// Whether a namespace and type can be read.
///
/// # Errors
/// Which of them is unknown.
pub(crate) fn check(namespace: &str, kind: &str, minor: u64) -> Result<(), Refusal> {
    let newest = minor >= 14 && namespace == "storage";
    if !NAMESPACES.contains(&namespace) && !newest {
        return Err(Refusal::Namespace(format!("namespace {namespace:?} is not supported")));
    }
    if !resource::is_known(kind, minor) {
        return Err(Refusal::Type(format!("resource type {kind:?} is not supported")));
    }
    Ok(())
}

type Key = (String, String, String);

fn key(fact: &Fact) -> Key {
    (fact.namespace.to_owned(), fact.kind.to_owned(), fact.id.clone())
}

#[derive(Clone, Debug)]
struct Entry {
    fact: Arc<Fact>,
    version: u64,
    created: Timestamp,
    updated: Timestamp,
}

/// One change. What it shows is made for those who ask alone: most of what happens on a fleet nobody watches.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// `CREATED`, `UPDATED`, `DESTROYED`.
    pub(crate) kind: &'static str,
    entry: Entry,
    old: Option<Entry>,
    /// How many events there were with it.
    position: u64,
    boot: [u8; 8],
}

impl Event {
    /// The resource.
    pub(crate) fn resource(&self) -> Value {
        show(&self.entry)
    }

    /// What it was before an update.
    pub(crate) fn old(&self) -> Option<Value> {
        self.old.as_ref().map(show)
    }

    /// Where a later watch may go on.
    pub(crate) fn bookmark(&self) -> Value {
        bookmark(self.boot, self.position)
    }

    /// Whether it is about a type.
    pub(crate) fn is_of(&self, namespace: &str, kind: &str) -> bool {
        self.entry.fact.namespace == namespace && self.entry.fact.kind == kind
    }
}

fn bookmark(boot: [u8; 8], position: u64) -> Value {
    json!(STANDARD.encode([boot, position.to_be_bytes()].concat()))
}

/// How many events a watch can go back.
const KEPT: usize = 2048;

#[derive(Debug)]
struct Inner {
    entries: BTreeMap<Key, Entry>,
    /// What is the same on all nodes of a cluster, and is among the entries too.
    shared: Arc<Vec<Arc<Fact>>>,
    log: VecDeque<Event>,
    /// How many events there were since the boot.
    count: u64,
    /// Tells bookmarks of this boot from those of others.
    boot: [u8; 8],
}

impl Default for Inner {
    fn default() -> Self {
        let (boot, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self {
            entries: BTreeMap::new(),
            shared: Arc::default(),
            log: VecDeque::new(),
            count: 0,
            boot: boot.to_be_bytes(),
        }
    }
}

/// What a watch begins with.
#[derive(Debug)]
pub(crate) struct Watch {
    /// What there is.
    pub(crate) now: Vec<Value>,
    /// What was before, as far as it is kept.
    pub(crate) past: Vec<Event>,
    /// The place between what was and what comes.
    pub(crate) bookmark: Value,
    /// What comes.
    pub(crate) later: broadcast::Receiver<Event>,
}

/// All resources of a node.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    sender: broadcast::Sender<Event>,
}

impl Default for Store {
    fn default() -> Self {
        Self { inner: Mutex::default(), sender: broadcast::channel(1024).0 }
    }
}

impl Store {
    /// Forget everything, as a boot does.
    pub(crate) fn clear(&self) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Inner::default();
    }

    /// Make the store hold exactly these facts beside the shared ones.
    pub(crate) fn sync(&self, facts: Vec<Fact>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted: BTreeMap<Key, Fact> = facts.into_iter().map(|f| (key(&f), f)).collect();
        let shared = Arc::clone(&inner.shared);
        let is_shared =
            |entry: &Entry| shared.binary_search_by(|s| s.place().cmp(&entry.fact.place())).is_ok();
        let gone = inner.entries.iter().filter(|(k, e)| !wanted.contains_key(*k) && !is_shared(e));
        let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.remove(&mut inner, &key);
        }
        while let Some((key, fact)) = wanted.pop_first() {
            self.put(&mut inner, key, Arc::new(fact));
        }
    }

    /// Replace the facts that all nodes of a cluster have, which are in the order of their places.
    pub(crate) fn share(&self, facts: &Arc<Vec<Arc<Fact>>>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut inner.shared, Arc::clone(facts));
        if Arc::ptr_eq(&old, facts) {
            return;
        }
        let (mut before, mut after) = (old.iter().peekable(), facts.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.place().cmp(&b.place()),
            };
            let gone = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { after.next() } else { None };
            match (gone, new) {
                (Some(gone), None) => self.remove(&mut inner, &key(gone)),
                (Some(same), Some(new)) if Arc::ptr_eq(same, new) => {}
                (_, Some(new)) => self.put(&mut inner, key(new), Arc::clone(new)),
                (None, None) => {}
            }
        }
    }

    fn remove(&self, inner: &mut Inner, key: &Key) {
        if let Some(entry) = inner.entries.remove(key) {
            self.emit(inner, "DESTROYED", entry, None);
        }
    }

    fn put(&self, inner: &mut Inner, key: Key, fact: Arc<Fact>) {
        let updated = Timestamp::now();
        let old = inner.entries.get(&key).cloned();
        let (version, created) = match &old {
            Some(old) if old.fact == fact => return,
            Some(old) => (old.version + 1, old.created),
            None => (1, updated),
        };
        let entry = Entry { fact, version, created, updated };
        inner.entries.insert(key, entry.clone());
        let kind = if old.is_some() { "UPDATED" } else { "CREATED" };
        self.emit(inner, kind, entry, old);
    }

    fn emit(&self, inner: &mut Inner, kind: &'static str, entry: Entry, old: Option<Entry>) {
        inner.count += 1;
        let event = Event { kind, entry, old, position: inner.count, boot: inner.boot };
        if inner.log.len() >= KEPT {
            inner.log.pop_front();
        }
        inner.log.push_back(event.clone());
        self.sender.send(event).ok();
    }

    /// How many changes there were since the boot.
    pub(crate) fn changes(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// One resource.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn get(
        &self,
        (namespace, kind): (&str, &str),
        id: &str,
        minor: u64,
    ) -> Result<Value, Refusal> {
        if namespace == "meta"
            && let Some(found) =
                meta(kind, minor).and_then(|all| all.into_iter().find(|r| id_of(r) == id))
        {
            return Ok(found);
        }
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), kind.to_owned(), id.to_owned());
        inner.entries.get(&key).map(show).ok_or_else(|| {
            Refusal::Absent(format!("resource {kind}({namespace}/{id}@undefined) doesn't exist"))
        })
    }

    /// All resources of a type, by id.
    pub(crate) fn list(&self, namespace: &str, kind: &str, minor: u64) -> Vec<Value> {
        if namespace == "meta"
            && let Some(all) = meta(kind, minor)
        {
            return all;
        }
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |key: &Key| key.0 == namespace && key.1 == kind;
        inner.entries.iter().filter(|(k, _)| fits(k)).map(|(_, e)| show(e)).collect()
    }

    /// What a watch begins with; after a bookmark only what came since.
    ///
    /// Gives `None` when the bookmark is of another boot, or too old.
    pub(crate) fn watch(
        &self,
        (namespace, kind): (&str, &str),
        after: Option<&str>,
        minor: u64,
    ) -> Option<Watch> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let later = self.sender.subscribe();
        let fits = |key: &Key| key.0 == namespace && key.1 == kind;
        let kept = || inner.entries.iter().filter(|(k, _)| fits(k)).map(|(_, e)| show(e)).collect();
        let now = meta(kind, minor).filter(|_| namespace == "meta").unwrap_or_else(kept);
        let since = match after {
            Some(text) => inner.position(text)?,
            None => 0,
        };
        let own = |e: &&Event| e.position > since && e.is_of(namespace, kind);
        let past = inner.log.iter().filter(own).cloned().collect();
        Some(Watch { now, past, bookmark: bookmark(inner.boot, inner.count), later })
    }
}

impl Inner {
    /// The position that a bookmark of this boot means, while all that came since is kept.
    fn position(&self, bookmark: &str) -> Option<u64> {
        let bytes = STANDARD.decode(bookmark).ok()?;
        let (boot, rest) = bytes.split_first_chunk::<8>()?;
        let position = u64::from_be_bytes(*rest.first_chunk::<8>()?);
        let oldest = self.log.front().map_or(self.count, |e| e.position - 1);
        (*boot == self.boot && (oldest..=self.count).contains(&position)).then_some(position)
    }
}

/// Id of a shown resource.
pub(crate) fn id_of(resource: &Value) -> &str {
    resource.pointer("/metadata/id").and_then(Value::as_str).unwrap_or_default()
}

fn show(entry: &Entry) -> Value {
    let fact = &entry.fact;
    let mut metadata = Map::new();
    metadata.insert("namespace".into(), json!(fact.namespace));
    metadata.insert("type".into(), json!(fact.kind));
    metadata.insert("id".into(), json!(fact.id));
    metadata.insert("version".into(), json!(entry.version.to_string()));
    metadata.insert("owner".into(), json!(fact.owner));
    metadata.insert("phase".into(), json!("running"));
    metadata.insert("created".into(), json!(entry.created.to_string()));
    metadata.insert("updated".into(), json!(entry.updated.to_string()));
    metadata.insert("finalizers".into(), json!(fact.finalizers));
    let map = |list: &[(String, String)]| -> Value {
        Value::Object(list.iter().map(|(k, v)| (k.clone(), json!(v))).collect())
    };
    metadata.insert("labels".into(), map(&fact.labels));
    metadata.insert("annotations".into(), map(&fact.annotations));
    let message = STANDARD.encode(resource::encode(fact.kind, &fact.spec));
    json!({"metadata": metadata, "spec": {"protoSpec": message, "yamlSpec": yaml::write(&fact.spec)}})
}

/// Types and namespaces that a node tells of; the same on all nodes of a version, so that none keeps them.
fn meta(kind: &str, minor: u64) -> Option<Vec<Value>> {
    const KINDS: [&str; 2] = ["Namespaces.meta.cosi.dev", "ResourceDefinitions.meta.cosi.dev"];
    let kind = KINDS.into_iter().find(|k| *k == kind)?;
    let shown = |id: String, spec: Value| {
        let fact = Arc::new(Fact::plain("meta", kind, id, spec));
        let start = Timestamp::UNIX_EPOCH;
        show(&Entry { fact, version: 1, created: start, updated: start })
    };
    let mut all: Vec<Value> = match kind {
        "Namespaces.meta.cosi.dev" => NAMESPACES
            .iter()
            .map(|name| {
                shown((*name).to_owned(), json!({"description": format!("{name} resources")}))
            })
            .collect(),
        _ => {
            resource::definitions(minor).map(|(k, d)| shown(k.to_lowercase(), d.clone())).collect()
        }
    };
    all.sort_by(|a, b| id_of(a).cmp(id_of(b)));
    Some(all)
}
