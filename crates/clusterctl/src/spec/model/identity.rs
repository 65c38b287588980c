//! Who a cluster is, and that no two are the same.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Diagnostic, Level};
use super::file::File;
use super::tree::Gathered;

/// Who a cluster is.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) id: Option<u16>,
    pub(super) tenant: Option<u16>,
    pub(super) name: Option<String>,
    pub(super) managed: bool,
}

/// Reads the identity of a cluster folder.
pub(super) fn of(file: &File, gathered: &mut Gathered) -> Identity {
    let managed = file.get(&["controlplanes"]).is_some();
    let mut small = |key: &str| {
        let number = file.count(&[key])?;
        let found = u16::try_from(number).ok().filter(|number| (1..=999).contains(number));
        if found.is_none() {
            let message = format!("`{key}` is {number}, not a number from 1 to 999");
            gathered.error("tree-0040", message, file.place(&[key]).as_ref());
        }
        found
    };
    let (id, tenant) = (small("cluster_id"), small("tenant_id"));
    let name = file.text(&["cluster_name"]);
    if managed {
        for key in ["cluster_id", "cluster_name"] {
            if file.get(&[key]).is_none() {
                gathered.error(
                    "tree-0012",
                    format!("`{key}` is not set"),
                    file.place(&[key]).as_ref(),
                );
            }
        }
    }
    let valid = name.as_ref().is_none_or(|name| netplan::id::is_label(name));
    if let Some(name) = name.as_ref().filter(|_| !valid) {
        let message = format!("`cluster_name` is `{name}`");
        let help =
            "use lower-case letters, digits and hyphens, at most 63, no hyphen at either end";
        gathered.error_help("tree-0041", message, file.place(&["cluster_name"]).as_ref(), help);
    }
    Identity { id, tenant, name, managed }
}

/// Reports two clusters with one id, name or number for addresses: a copied folder, mostly.
/// Gives the folders whose identity belongs to another one.
pub(super) fn unique(files: &[(&File, &Identity)], gathered: &mut Gathered) -> BTreeSet<String> {
    let mut copies = BTreeSet::new();
    type Read = fn(&Identity) -> Option<String>;
    let keys: [(&str, Read); 3] = [
        ("cluster_id", |identity| identity.id.map(|id| id.to_string())),
        ("cluster_name", |identity| identity.name.clone()),
        ("tenant_id", |identity| identity.tenant.or(identity.id).map(|id| id.to_string())),
    ];
    for (key, read) in keys {
        let mut seen: BTreeMap<String, (&File, &Identity)> = BTreeMap::new();
        for (file, identity) in files {
            let Some(value) = read(identity) else { continue };
            let Some((first, other)) = seen.get(&value) else {
                seen.insert(value, (*file, *identity));
                continue;
            };
            // One number for addresses, since the ids are the same, is the same mistake.
            if key == "tenant_id" && identity.id == other.id {
                continue;
            }
            let sources = gathered.sources();
            let folder = first.folder.as_deref().unwrap_or_default();
            let message = format!("`{key}` {value} belongs to `{folder}` already");
            let mut diagnostic = Diagnostic::new(Level::Error, "tree-0042", message)
                .help("a copied folder needs an id, a name and overrides of its own")
                .at(file.place(&[key]).as_ref(), &sources);
            if let Some(place) = first.place(&[key]) {
                diagnostic = diagnostic.related(sources.locate(&place), "first used here");
            }
            gathered.diagnostics.push(diagnostic);
            copies.extend(file.folder.clone());
        }
    }
    copies
}
