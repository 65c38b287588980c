//! Files that all clusters share: versions, schematic, Proxmox, credentials.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use semver::Version;

use super::diagnostic::{Diagnostic, Level};
use super::file::File;
use super::key::Section;
use super::tree::{Gathered, Tree};
use crate::spec::hcl::{Place, Value};
use crate::spec::site::{Credentials, Proxmox, SchematicSource, Versions};

/// What every reader of a part needs.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) tree: &'a Tree,
    pub(super) live: &'a Path,
    pub(super) repo_root: &'a Path,
    pub(super) lab: bool,
}

impl Context<'_> {
    pub(super) fn file(&self, section: Section) -> &File {
        self.tree.get(section)
    }
}

/// A version, with or without a leading `v`.
pub(super) fn version(file: &File, path: &[&str], gathered: &mut Gathered) -> Option<Version> {
    let text = file.text(path)?;
    let bare = text.strip_prefix('v').unwrap_or(&text);
    match Version::parse(bare) {
        Ok(version) => Some(version),
        Err(_) => {
            let message = format!("`{}` is no version: `{text}`", path.join("."));
            let place = file.place(path);
            gathered.error_help("tree-0011", message, place.as_ref(), "write it as `v1.11.5`");
            None
        }
    }
}

pub(super) fn versions(context: &Context<'_>, gathered: &mut Gathered) -> Option<Versions> {
    let file = context.file(Section::Versions);
    if file.is_absent() {
        return None;
    }
    let mut required = |name: &str| {
        let found = version(file, &[name], gathered);
        let unknown = file.get(&[name]).is_some();
        if found.is_none() && !unknown {
            let place = file.place(&[name]);
            gathered.error("tree-0012", format!("`{name}` is not set"), place.as_ref());
        }
        found
    };
    let (talos, kubernetes) = (required("talos_version"), required("kubernetes_version"));
    let cilium = version(file, &["cilium_version"], gathered);
    let platform = file.text(&["talos_platform"]).unwrap_or_else(|| "nocloud".to_owned());
    if platform != "nocloud" {
        let message = format!("`talos_platform` is `{platform}`; virtual machines boot `nocloud`");
        gathered.error("tree-0013", message, file.place(&["talos_platform"]).as_ref());
    }
    let architecture = file.text(&["talos_architecture"]).unwrap_or_else(|| "amd64".to_owned());
    if !matches!(architecture.as_str(), "amd64" | "arm64") {
        let message = format!("`talos_architecture` is `{architecture}`, not `amd64` or `arm64`");
        gathered.error("tree-0013", message, file.place(&["talos_architecture"]).as_ref());
    }
    Some(Versions {
        talos: talos?,
        kubernetes: kubernetes?,
        platform,
        architecture,
        cilium,
        cilium_cli_image: cli_image(file, gathered),
    })
}

/// The image that installs Cilium: what no registry could be asked for is told before anything is
/// made.
fn cli_image(file: &File, gathered: &mut Gathered) -> Option<String> {
    let path = ["cilium_cli_image"];
    let text = file.text(&path)?;
    // A digest alone would be read as a repository of that name.
    let is_name =
        !text.starts_with("sha256:") && text.parse::<imagefactory::ImageReference>().is_ok();
    if is_name {
        return Some(text);
    }
    let message = "`cilium_cli_image` is no name of an image".to_owned();
    let help = "write it as `quay.io/cilium/cilium-cli:v0.18.7`, with `@sha256:…` behind it where \
                the digest is yours to choose";
    gathered.error_help("tree-0059", message, file.place(&path).as_ref(), help);
    None
}

/// Rings: a list of names is a ring each, a list of lists is a ring for each list.
pub(super) fn rings(context: &Context<'_>, gathered: &mut Gathered) -> Vec<Vec<String>> {
    let file = context.file(Section::Versions);
    let Some(value) = file.get(&["rings"]) else { return Vec::new() };
    let ring = |item: &Value| match super::file::text(item) {
        Some(name) => Some(vec![name]),
        None => super::file::texts(item),
    };
    let rings: Option<Vec<Vec<String>>> =
        value.items().and_then(|items| items.iter().map(ring).collect());
    if let Some(rings) = rings {
        return rings;
    }
    let message = "`rings` must be a list of cluster names, or of lists of them".to_owned();
    gathered.error("tree-0003", message, file.place(&["rings"]).as_ref());
    Vec::new()
}

/// Extensions and kernel arguments, with those of `artifacts/images` in place of the shared ones.
pub(super) fn schematic(context: &Context<'_>, gathered: &mut Gathered) -> SchematicSource {
    let shared = context.file(Section::Schematic);
    let images = context.file(Section::Images);
    let list = |own: &str, all: &str| {
        let own = (images, vec![own.to_owned()]);
        let all = (shared, vec![all.to_owned()]);
        let (file, path) = if images.get(&[&own.1.concat()]).is_some() { own } else { all };
        let name = path.concat();
        (file, name.clone(), file.texts(&[&name]).unwrap_or_default())
    };
    let system = list("official_extensions", "install_system_extensions");
    let custom = list("custom_extensions", "install_custom_extensions");
    for (file, name, entries) in [&system, &custom] {
        for (number, entry) in entries.iter().enumerate() {
            let at = number.to_string();
            let place = file.place(&[name, &at]);
            if entry.starts_with("sha256:") {
                let message = format!("`{name}` holds the bare digest `{entry}`");
                let help = "write the image with its tag; the digest is pinned in the lock file, or \
                            add it to the name: `ghcr.io/siderolabs/NAME:TAG@sha256:…`";
                gathered.error_help("tree-0020", message, place.as_ref(), help);
            }
        }
    }
    let kernel_args = kernel_args(images, shared, gathered);
    SchematicSource {
        system_extensions: system.2,
        custom_extensions: custom.2,
        factory_extensions: shared.texts(&["install_factory_extensions"]).unwrap_or_default(),
        kernel_args,
    }
}

fn kernel_args(images: &File, shared: &File, gathered: &mut Gathered) -> Vec<String> {
    let (file, name) = match images.get(&["kernel_args"]) {
        Some(_) => (images, "kernel_args"),
        None => (shared, "install_kernel_args"),
    };
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
    let args: Vec<String> = match file.texts(&[name]) {
        Some(args) => args,
        None => file.text(&[name]).map(words).unwrap_or_default(),
    };
    for (number, arg) in args.iter().enumerate() {
        if arg.starts_with("talos.platform=") {
            let at = number.to_string();
            let message = format!("`{name}` holds `{arg}`: the platform belongs to the output");
            let help =
                "leave it out; the ISO is made for `talos_platform`, the installer for metal";
            gathered.error_help("tree-0021", message, file.place(&[name, &at]).as_ref(), help);
        }
    }
    args
}

/// Host names by node: a map, or a list parallel to the nodes.
pub(super) fn hostnames(
    file: &File,
    nodes: &[String],
    gathered: &mut Gathered,
) -> BTreeMap<String, String> {
    let Some(value) = file.get(&["proxmox_hostnames"]) else { return BTreeMap::new() };
    if let Some(entries) = value.attributes() {
        let text =
            |(name, value): (&String, &Value)| Some((name.clone(), super::file::text(value)?));
        return entries.iter().filter_map(text).collect();
    }
    let names = super::file::texts(value).unwrap_or_default();
    if names.len() != nodes.len() {
        let message =
            format!("`proxmox_hostnames` has {} entries for {} nodes", names.len(), nodes.len());
        gathered.error("tree-0014", message, file.place(&["proxmox_hostnames"]).as_ref());
    }
    nodes.iter().cloned().zip(names).collect()
}

pub(super) fn proxmox(context: &Context<'_>, gathered: &mut Gathered) -> Proxmox {
    let file = context.file(Section::Proxmox);
    let nodes = file.texts(&["proxmox_nodes"]).unwrap_or_default();
    let primary_node = file.text(&["proxmox_primary_node"]);
    if let Some(primary) = &primary_node
        && !nodes.is_empty()
        && !nodes.contains(primary)
    {
        let message = format!("`proxmox_primary_node` is `{primary}`, which is none of the nodes");
        gathered.error("tree-0015", message, file.place(&["proxmox_primary_node"]).as_ref());
    }
    Proxmox {
        hostnames: hostnames(file, &nodes, gathered),
        nodes,
        primary_node,
        api_endpoint: file.text(&["api_endpoint"]),
        iso_storage: file.text(&["storage", "datastore_id"]),
        vm_storage: file.text(&["storage", "vm_datastore"]),
    }
}

/// A path of the tree: absolute, or from the folder of the file; kept inside of the repository.
pub(super) fn path_of(
    context: &Context<'_>,
    file: &File,
    name: &str,
    gathered: &mut Gathered,
) -> Option<PathBuf> {
    let text = file.text(&[name])?;
    let is_secret = file.get(&[name]).is_some_and(Value::has_sensitive);
    let shown = if is_secret { "(sensitive value)" } else { &text };
    inside(context, file, (name, &text, shown), file.place(&[name]).as_ref(), gathered)
}

/// A path that a key names, with what is shown of it.
pub(super) fn inside(
    context: &Context<'_>,
    file: &File,
    (name, text, shown): (&str, &str, &str),
    place: Option<&Place>,
    gathered: &mut Gathered,
) -> Option<PathBuf> {
    let path = file.path.parent().unwrap_or(context.live).join(text);
    let Ok(real) = fs_err::canonicalize(&path) else {
        gathered.error("tree-0016", format!("`{name}`: there is no file {shown}"), place);
        return None;
    };
    let root = fs_err::canonicalize(context.repo_root);
    let root = root.unwrap_or_else(|_| context.repo_root.to_path_buf());
    if !real.starts_with(&root) {
        let message = format!("`{name}` lies outside of the repository");
        gathered.error("tree-0017", message, place);
        return None;
    }
    Some(path)
}

pub(super) fn credentials(context: &Context<'_>, gathered: &mut Gathered) -> Credentials {
    let file = context.file(Section::Credentials);
    let secret = ["pve_api_token", "pve_password"];
    let names = ["pve_endpoint", "pve_username", "pve_fingerprint", "pve_ca_file"];
    let mut direct: BTreeMap<String, String> = BTreeMap::new();
    let mut hidden: BTreeMap<String, secrecy::SecretString> = BTreeMap::new();
    for name in names.into_iter().chain(secret) {
        let Some(value) = file.get(&[name]) else { continue };
        let Some(text) = super::file::text(value) else { continue };
        if value.has_sensitive() || secret.contains(&name) {
            hidden.insert(name.to_owned(), text.into());
        } else {
            direct.insert(name.to_owned(), text);
        }
    }
    for name in secret {
        if let Some(value) = file.get(&[name])
            && !value.has_sensitive()
            && !value.is_unknown()
        {
            let message = format!("`{name}` stands in the clear in the tree");
            let diagnostic = Diagnostic::new(Level::Warning, "tree-0018", message)
                .help("move it to a SOPS file and name that with `secrets_file`")
                .at(file.place(&[name]).as_ref(), &gathered.sources());
            gathered.diagnostics.push(diagnostic);
        }
    }
    let age_key_file = path_of(context, file, "age_key_file", gathered);
    if age_key_file.is_some() && !context.lab {
        let message = "`age_key_file` names a key inside of the repository".to_owned();
        let diagnostic = Diagnostic::new(Level::Info, "tree-0019", message)
            .help("that is for examples; keep the key of a real site elsewhere")
            .at(file.place(&["age_key_file"]).as_ref(), &gathered.sources());
        gathered.diagnostics.push(diagnostic);
    }
    let secrets_file = path_of(context, file, "secrets_file", gathered);
    Credentials {
        secrets_file,
        age_key_file,
        direct,
        secret: hidden,
        sealed: file.sealed().map(str::to_owned),
    }
}
