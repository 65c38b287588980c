//! The resource store of a node: get, list and watch as the machine API shows them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use super::config::yaml;
use super::fact::Fact;
use super::wire::resource;

/// Namespaces that can be read.
const NAMESPACES: [&str; 17] = [
    "runtime",
    "config",
    "network",
    "cluster",
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
pub(crate) fn check(namespace: &str, kind: &str) -> Result<(), Refusal> {
    if !NAMESPACES.contains(&namespace) {
        return Err(Refusal::Namespace(format!("namespace {namespace:?} is not supported")));
    }
    if !resource::is_known(kind) {
        return Err(Refusal::Type(format!("resource type {kind:?} is not supported")));
    }
    Ok(())
}

type Key = (String, String, String);

#[derive(Clone, Debug)]
struct Entry {
    fact: Fact,
    version: u64,
    created: Timestamp,
    updated: Timestamp,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// `CREATED`, `UPDATED`, `DESTROYED`.
    pub(crate) kind: &'static str,
    /// The resource.
    pub(crate) resource: Value,
    /// What it was before an update.
    pub(crate) old: Option<Value>,
    /// How many events there were with it.
    position: u64,
    /// Where a later watch may go on.
    pub(crate) bookmark: Value,
}

/// How many events a watch can go back.
const KEPT: usize = 2048;

#[derive(Debug)]
struct Inner {
    entries: BTreeMap<Key, Entry>,
    log: VecDeque<Event>,
    /// How many events there were since the boot.
    count: u64,
    /// Tells bookmarks of this boot from those of others.
    boot: [u8; 8],
}

impl Default for Inner {
    fn default() -> Self {
        let (boot, _) = uuid::Uuid::new_v4().as_u64_pair();
        let (entries, log) = (BTreeMap::new(), VecDeque::new());
        Self { entries, log, count: 0, boot: boot.to_be_bytes() }
    }
}

impl Inner {
    fn bookmark(&self, position: u64) -> Value {
        json!(STANDARD.encode([self.boot, position.to_be_bytes()].concat()))
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

    /// Make the store hold exactly these facts.
    pub(crate) fn sync(&self, facts: Vec<Fact>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted: BTreeMap<Key, Fact> = BTreeMap::new();
        for fact in facts {
            wanted.insert((fact.namespace.to_owned(), fact.kind.to_owned(), fact.id.clone()), fact);
        }
        let gone: Vec<Key> =
            inner.entries.keys().filter(|k| !wanted.contains_key(*k)).cloned().collect();
        for key in gone {
            if let Some(entry) = inner.entries.remove(&key) {
                self.emit(&mut inner, "DESTROYED", show(&entry), None);
            }
        }
        let now = Timestamp::now();
        for (key, fact) in wanted {
            match inner.entries.get(&key).cloned() {
                Some(old) if old.fact == fact => {}
                Some(old) => {
                    let entry = Entry {
                        fact,
                        version: old.version + 1,
                        created: old.created,
                        updated: now,
                    };
                    let (shown, before) = (show(&entry), show(&old));
                    inner.entries.insert(key, entry);
                    self.emit(&mut inner, "UPDATED", shown, Some(before));
                }
                None => {
                    let entry = Entry { fact, version: 1, created: now, updated: now };
                    let shown = show(&entry);
                    inner.entries.insert(key, entry);
                    self.emit(&mut inner, "CREATED", shown, None);
                }
            }
        }
    }

    fn emit(&self, inner: &mut Inner, kind: &'static str, resource: Value, old: Option<Value>) {
        inner.count += 1;
        let (position, bookmark) = (inner.count, inner.bookmark(inner.count));
        let event = Event { kind, resource, old, position, bookmark };
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
    pub(crate) fn get(&self, namespace: &str, kind: &str, id: &str) -> Result<Value, Refusal> {
        if namespace == "meta"
            && let Some(found) = meta(kind).and_then(|all| all.into_iter().find(|r| id_of(r) == id))
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
    pub(crate) fn list(&self, namespace: &str, kind: &str) -> Vec<Value> {
        if namespace == "meta"
            && let Some(all) = meta(kind)
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
    pub(crate) fn watch(&self, namespace: &str, kind: &str, after: Option<&str>) -> Option<Watch> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let later = self.sender.subscribe();
        let fits = |key: &Key| key.0 == namespace && key.1 == kind;
        let kept = || inner.entries.iter().filter(|(k, _)| fits(k)).map(|(_, e)| show(e)).collect();
        let now = meta(kind).filter(|_| namespace == "meta").unwrap_or_else(kept);
        let since = match after {
            Some(text) => inner.position(text)?,
            None => 0,
        };
        let own = |e: &&Event| e.position > since && is_of(&e.resource, namespace, kind);
        let past = inner.log.iter().filter(own).cloned().collect();
        Some(Watch { now, past, bookmark: inner.bookmark(inner.count), later })
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

/// Whether a shown resource is of a type.
pub(crate) fn is_of(resource: &Value, namespace: &str, kind: &str) -> bool {
    let metadata = resource.get("metadata").unwrap_or(&Value::Null);
    metadata.get("namespace").and_then(Value::as_str) == Some(namespace)
        && metadata.get("type").and_then(Value::as_str) == Some(kind)
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

/// Types and namespaces that a node tells of; the same on all nodes, so that none keeps them.
fn meta(kind: &str) -> Option<Vec<Value>> {
    const KINDS: [&str; 2] = ["Namespaces.meta.cosi.dev", "ResourceDefinitions.meta.cosi.dev"];
    let kind = KINDS.into_iter().find(|k| *k == kind)?;
    let shown = |id: String, spec: Value| {
        let fact = Fact::plain("meta", kind, id, spec);
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
        _ => resource::definitions().map(|(k, d)| shown(k.to_lowercase(), d.clone())).collect(),
    };
    all.sort_by(|a, b| id_of(a).cmp(id_of(b)));
    Some(all)
}
