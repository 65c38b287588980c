//! `kubeconfig` and `talosconfig`: the files that open a cluster, handed out or merged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use talos_client::TalosConfig;
use zeroize::Zeroizing;

use super::inventory::named;
use super::session::runtime;
use super::{Context, Error};
use crate::compose::access::Flaw;
pub use crate::compose::access::Kind;
use crate::compose::issue;
use crate::compose::reach::Reach;
use crate::lab::Lab;
use crate::spec::site::Cluster;
use crate::state::{Mode, read_text_if_present, write};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which file.
    pub kind: Kind,
    /// The cluster by name, id or folder.
    pub cluster: String,
    /// New certificates even if the old ones serve.
    pub renew: bool,
    /// Work in the lab.
    pub lab: bool,
}

/// The file as text. It is made anew, and kept beside `cluster.hcl`, where it does not serve.
///
/// # Errors
/// The tree has errors, the cluster is not there or has no secrets, or no control plane makes a
/// kubeconfig.
pub fn access(context: &Context, options: &Options) -> Result<(String, Zeroizing<String>), Error> {
    let (reach, cluster) = open(context, options)?;
    let cluster = &cluster;
    let opened = reach.secrets(cluster)?.ok_or_else(|| {
        Error::failed(format!("cluster {} has no secrets", cluster.name))
            .hint("`clusterctl apply` makes it with them, `secrets import` takes over those of a cluster that runs")
    })?;
    let path = options.kind.path(&reach.layout, &cluster.folder);
    let found = options.kind.look(&reach.layout, cluster, Some(&opened.bundle));
    let found = found.map_err(|error| Error::failed("read a file").because(error))?;
    match (found.flaw, found.text) {
        (None, Some(text)) if !options.renew => {
            return Ok((cluster.name.clone(), Zeroizing::new(text)));
        }
        (Some(flaw @ Flaw::Foreign), _) => {
            return Err(Error::refused(format!("{}: {flaw}", path.display())).hint(
                "restore the bundle that it belongs to; if that cluster is gone, move the file away",
            ));
        }
        _ => {}
    }
    let text = match options.kind {
        Kind::Talosconfig => issue::talosconfig(cluster, &opened)?,
        Kind::Kubeconfig => runtime()?.block_on(issue::kubeconfig(&reach, cluster, &opened))?,
    };
    write(&path, text.as_bytes(), Mode::Private).map_err(|error| {
        Error::failed(format!("keep the {}", options.kind.name())).because(error)
    })?;
    Ok((cluster.name.clone(), text))
}

/// The tree, its secrets and the cluster: Proxmox and its credentials have no part in this.
fn open(context: &Context, options: &Options) -> Result<(Reach, Cluster), Error> {
    let (root, loaded) = context.load_valid_as(options.lab)?;
    let site = loaded.site.ok_or_else(|| Error::failed("the tree gave no site"))?;
    let found = named(&site, std::slice::from_ref(&options.cluster))?;
    let [cluster] = found.as_slice() else {
        return Err(Error::usage(format!("{:?} names more than one cluster", options.cluster)));
    };
    let cluster = (*cluster).clone();
    // A talosconfig is made of the secrets alone; only a kubeconfig is asked of a node.
    let sockets = match (options.lab, options.kind) {
        (true, Kind::Kubeconfig) => Lab::ensure(&root, &site)?.talos_dial(),
        _ => BTreeMap::new(),
    };
    Ok((Reach::new(site, &context.variables, options.lab, sockets), cluster))
}

/// The file that kubectl or talosctl uses.
///
/// # Errors
/// The environment names no home.
pub fn default_file(context: &Context, kind: Kind) -> Result<PathBuf, Error> {
    let (variable, below) = match kind {
        Kind::Kubeconfig => ("KUBECONFIG", ".kube/config"),
        Kind::Talosconfig => ("TALOSCONFIG", ".talos/config"),
    };
    let get = |name: &str| context.variables.get(name).filter(|text| !text.is_empty());
    if let Some(text) = get(variable) {
        // kubectl writes to the first file of a list.
        let first = match kind {
            Kind::Kubeconfig => text.split(':').find(|part| !part.is_empty()).unwrap_or(text),
            Kind::Talosconfig => text,
        };
        return Ok(context.cwd.join(first));
    }
    let home = get("HOME").ok_or_else(|| {
        Error::usage(format!("neither {variable} nor HOME is set"))
            .hint("name the file: --merge FILE")
    })?;
    Ok(Path::new(home).join(below))
}

/// Merges a cluster's file into another: its context, cluster and user are added or replaced,
/// everything else stays as it is. The file is written with mode 0600.
///
/// # Errors
/// The file is none of its kind, holds another cluster under that name, or cannot be written.
pub fn merge(
    kind: Kind,
    file: &Path,
    name: &str,
    text: &str,
    use_context: bool,
) -> Result<(), Error> {
    let failed = || Error::failed(format!("merge into {}", file.display()));
    let there = read_text_if_present(file).map_err(|error| failed().because(error))?;
    let merged = match (kind, there) {
        (_, None) => Zeroizing::new(text.to_owned()),
        (Kind::Talosconfig, Some(old)) => merge_talosconfig(&old, text, name, use_context)?,
        (Kind::Kubeconfig, Some(old)) => merge_kubeconfig(&old, text, name, use_context)?,
    };
    if let Some(folder) = file.parent() {
        fs_err::create_dir_all(folder).map_err(|error| failed().because(error))?;
    }
    write(file, merged.as_bytes(), Mode::Private).map_err(|error| failed().because(error))
}

fn taken(name: &str, what: &str) -> Error {
    Error::refused(format!("it holds another cluster under the name {name}"))
        .detail(format!("its {what} is not that of this cluster"))
        .hint("rename that context, or merge into another file")
}

fn merge_talosconfig(
    old: &str,
    new: &str,
    name: &str,
    use_context: bool,
) -> Result<Zeroizing<String>, Error> {
    let parse = |text: &str| {
        TalosConfig::parse(text).map_err(|error| Error::failed("read a talosconfig").because(error))
    };
    let (mut merged, added) = (parse(old)?, parse(new)?);
    let context = added.contexts.get(name).cloned().unwrap_or_default();
    if merged.contexts.get(name).is_some_and(|old| !old.ca.is_empty() && old.ca != context.ca) {
        return Err(taken(name, "authority"));
    }
    merged.contexts.insert(name.to_owned(), context);
    if use_context || merged.context.is_empty() {
        name.clone_into(&mut merged.context);
    }
    Ok(Zeroizing::new(merged.to_yaml()))
}

fn merge_kubeconfig(
    old: &str,
    new: &str,
    name: &str,
    use_context: bool,
) -> Result<Zeroizing<String>, Error> {
    use serde_json::{Map, Value, json};
    let parse = |text: &str| {
        serde_saphyr::from_str::<Map<String, Value>>(text)
            .map_err(|_| Error::failed("read a kubeconfig").detail("it is no kubeconfig"))
    };
    let (mut merged, added) = (parse(old)?, parse(new)?);
    let named = |list: &Value, name: &Value| -> Option<Value> {
        list.as_array()?.iter().find(|one| one.get("name") == Some(name)).cloned()
    };
    let authority = |entry: &Value| entry.pointer("/cluster/certificate-authority-data").cloned();
    for section in ["clusters", "users", "contexts"] {
        let list = added.get(section).and_then(Value::as_array).cloned().unwrap_or_default();
        for entry in list {
            let key = entry.get("name").cloned().unwrap_or_default();
            let target = merged.entry(section).or_insert_with(|| json!([]));
            if section == "clusters"
                && let Some(old) = named(target, &key)
                && authority(&old).is_some()
                && authority(&old) != authority(&entry)
            {
                return Err(taken(name, "authority"));
            }
            if target.is_null() {
                *target = json!([]);
            }
            let Some(target) = target.as_array_mut() else {
                return Err(
                    Error::failed("read a kubeconfig").detail(format!("{section} is no list"))
                );
            };
            match target.iter_mut().find(|one| one.get("name") == Some(&key)) {
                Some(place) => *place = entry,
                None => target.push(entry),
            }
        }
    }
    let current = merged.get("current-context").and_then(Value::as_str).unwrap_or_default();
    if use_context || current.is_empty() {
        merged.insert("current-context".to_owned(), json!(name));
    }
    serde_saphyr::to_string(&merged)
        .map(Zeroizing::new)
        .map_err(|error| Error::new(super::ErrorKind::Bug, "write a kubeconfig").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "apiVersion: v1\nkind: Config\nclusters:\n- name: sol\n  cluster:\n    server: https://new:6443\n    certificate-authority-data: QQ==\nusers:\n- name: admin@sol\n  user:\n    client-key-data: Qg==\ncontexts:\n- name: sol\n  context:\n    cluster: sol\n    user: admin@sol\ncurrent-context: sol\n";

    #[test]
    fn a_context_is_added_or_replaced_and_the_rest_stays() {
        let theirs = "apiVersion: v1\nkind: Config\npreferences: {colors: true}\nclusters:\n- name: work\n  cluster: {server: https://work}\n- name: sol\n  cluster: {server: https://old:6443, certificate-authority-data: QQ==}\nusers: []\ncontexts:\n- name: work\n  context: {cluster: work, user: me}\ncurrent-context: work\n";
        let merged = merge_kubeconfig(theirs, OURS, "sol", false).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&merged).unwrap();
        assert_eq!(value["current-context"], "work");
        assert_eq!(value["preferences"]["colors"], true);
        assert_eq!(value["clusters"][1]["cluster"]["server"], "https://new:6443");
        assert_eq!(value["contexts"].as_array().unwrap().len(), 2);
        let merged = merge_kubeconfig(&merged, OURS, "sol", true).unwrap();
        let again: serde_json::Value = serde_saphyr::from_str(&merged).unwrap();
        assert_eq!(again["current-context"], "sol");
        assert_eq!(again["clusters"], value["clusters"]);
    }

    #[test]
    fn another_cluster_of_that_name_is_not_replaced() {
        let theirs = "clusters:\n- name: sol\n  cluster: {certificate-authority-data: Wg==}\n";
        let error = merge_kubeconfig(theirs, OURS, "sol", false).unwrap_err();
        assert!(error.to_string().contains("another cluster"), "{error}");
        assert!(merge_kubeconfig("- a\n", OURS, "sol", false).is_err());
    }
}
