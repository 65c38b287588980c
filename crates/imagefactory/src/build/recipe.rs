//! Extensions by recipe: packages and a folder in, one extension out.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::Digest as _;

use super::extension::{CONTAINERS, Extension, SERVICES, read_folder};
use super::manifest::{Compatibility, Constraint, Manifest, Metadata};
use super::package::unpack_packages;
use super::tree::{Node, Tree};
use super::{format::Content, limits};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};

/// Goes up with every change that changes what a recipe gives.
const FORMAT: u32 = 1;
/// What the runtime of containers mounts over: it must be there, and a read-only root cannot get it.
const MOUNT_POINTS: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];
/// Files that the runtime mounts over.
const MOUNT_FILES: [&str; 2] = ["etc/hosts", "etc/resolv.conf"];

/// A service of an extension.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRecipe {
    /// Its name: Talos runs `ext-NAME`.
    pub name: String,
    /// What Talos reads of it, without the name: `container`, `depends`, `restart` and so on.
    pub spec: Value,
}

/// What an extension is made from.
#[derive(Debug, Clone, Default)]
pub struct ExtensionRecipe {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The Talos versions that it is for, such as `>= v1.10.0`; empty for any.
    pub compatibility: String,
    /// A folder with `rootfs`, and `manifest.yaml` where there is more to tell; what it has stands
    /// over what the packages have.
    pub folder: Option<PathBuf>,
    /// Debian packages, for the container of the one service; a later one stands over an earlier.
    pub packages: Vec<PathBuf>,
    /// Services.
    pub services: Vec<ServiceRecipe>,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

impl ExtensionRecipe {
    /// The content address of everything but the packages, which are told by what they are known
    /// by: their digests, say. The same address gives the same extension.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn address(&self, packages: &[String]) -> Result<Digest> {
        let mut hash = sha2::Sha256::new();
        let services: Vec<Value> =
            self.services.iter().map(|one| json!([one.name, one.spec])).collect();
        let told = json!([
            "extension",
            FORMAT,
            self.name,
            self.version,
            self.compatibility,
            packages,
            services
        ]);
        hash.update(told.to_string());
        if let Some(folder) = &self.folder {
            for (path, node) in plain(read_folder(folder)?)?.nodes() {
                let told = match node {
                    Node::Directory { .. } => json!([path]),
                    Node::Symlink { target } => json!([path, target]),
                    Node::File { mode, content } => json!([path, mode, content.digest()?]),
                };
                hash.update(told.to_string());
            }
        }
        Ok(Digest::from_bytes(hash.finalize().into()))
    }

    /// Puts the extension together; contents of packages are kept in the folder `spool`. It is not
    /// checked yet: see [`Extension::check`].
    ///
    /// # Errors
    /// The folder or a package cannot be used, there is nothing to make it of, or packages have no
    /// place to go to.
    pub fn assemble(&self, spool: &Path) -> Result<Extension> {
        let name = &self.name;
        if self.folder.is_none() && self.packages.is_empty() {
            return Err(invalid(format!("there is nothing to make the extension {name} of"))
                .with_help("give it a folder or packages"));
        }
        let mut rootfs = Tree::default();
        if !self.packages.is_empty() {
            let [service] = self.services.as_slice() else {
                let text = format!(
                    "the packages of the extension {name} have no place: it has {} services",
                    self.services.len()
                );
                let help = "packages become the files of a service: give it one";
                return Err(invalid(text).with_help(help));
            };
            let root = format!("{CONTAINERS}{}", service.name);
            for (path, node) in unpack_packages(&self.packages, spool)?.nodes() {
                rootfs.insert(&format!("{root}/{path}"), node.clone())?;
            }
            add_mount_points(&mut rootfs, &root)?;
        }
        let mut manifest = None;
        if let Some(folder) = &self.folder {
            let tree = plain(read_folder(folder)?)?;
            manifest = Extension::manifest_of(&tree)?;
            for (path, node) in tree.under("rootfs").nodes() {
                lay_over(&mut rootfs, path, node)?;
            }
        }
        for service in &self.services {
            let Some(spec) = service.spec.as_object() else {
                return Err(invalid(format!("the service {} is no object", service.name)));
            };
            let mut told = serde_json::Map::new();
            told.insert("name".to_owned(), service.name.clone().into());
            told.extend(spec.clone());
            // JSON is YAML.
            let text = format!("{:#}\n", Value::Object(told));
            let content = Content::bytes(text.into_bytes());
            let path = format!("{SERVICES}{}.yaml", service.name);
            rootfs.insert(&path, Node::File { mode: 0o644, content })?;
        }
        if rootfs.len() > limits::EXTENSION_ENTRIES {
            let most = limits::EXTENSION_ENTRIES;
            return Err(invalid(format!("the extension {name} has more than {most} entries")));
        }
        let manifest = self.manifest(manifest)?;
        Ok(Extension { manifest, rootfs, remarks: Vec::new() })
    }

    /// What the recipe says stands over what the folder says.
    fn manifest(&self, of_folder: Option<Manifest>) -> Result<Manifest> {
        let mut manifest = of_folder.unwrap_or_else(|| Manifest {
            version: "v1alpha1".to_owned(),
            metadata: Metadata {
                author: "clusterctl".to_owned(),
                description: format!("{}, of a recipe", self.name),
                ..Metadata::default()
            },
        });
        manifest.metadata.name.clone_from(&self.name);
        manifest.metadata.version.clone_from(&self.version);
        if !self.compatibility.is_empty() {
            let version = self.compatibility.clone();
            manifest.metadata.compatibility = Compatibility { talos: Constraint { version } };
        }
        // What Talos reads is what is checked.
        Manifest::parse(&manifest.yaml())
    }
}

/// Permissions as git keeps them: what a umask made of the rest differs from machine to machine.
fn plain(tree: Tree) -> Result<Tree> {
    let mut plain = Tree::default();
    for (path, node) in tree.nodes() {
        let node = match node.clone() {
            Node::Directory { .. } => Node::Directory { mode: 0o755 },
            Node::File { mode, content } => {
                Node::File { mode: if mode & 0o100 != 0 { 0o755 } else { 0o644 }, content }
            }
            link @ Node::Symlink { .. } => link,
        };
        plain.insert(path, node)?;
    }
    Ok(plain)
}

/// A file of the folder replaces what packages have at its place, even a link.
fn lay_over(tree: &mut Tree, path: &str, node: &Node) -> Result<()> {
    let is_folder = |node: &Node| matches!(node, Node::Directory { .. });
    if tree.get(path).is_some_and(|old| is_folder(old) != is_folder(node)) {
        tree.remove(path);
    }
    tree.insert(path, node.clone())
}

fn add_mount_points(tree: &mut Tree, root: &str) -> Result<()> {
    for name in MOUNT_POINTS {
        let path = format!("{root}/{name}");
        if tree.get(&path).is_none() {
            tree.insert(&path, Node::Directory { mode: 0o755 })?;
        }
    }
    for name in MOUNT_FILES {
        let path = format!("{root}/{name}");
        if tree.get(&path).is_none() {
            tree.insert(&path, Node::File { mode: 0o644, content: Content::default() })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(dir: &Path) -> ExtensionRecipe {
        let file = dir.join("rootfs/usr/local/lib/containers/frr/start");
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(&file, "#!/bin/sh\n").unwrap();
        ExtensionRecipe {
            name: "frr".into(),
            version: "10.3".into(),
            compatibility: ">= v1.10.0".into(),
            folder: Some(dir.to_path_buf()),
            packages: Vec::new(),
            services: vec![ServiceRecipe {
                name: "frr".into(),
                spec: json!({"container": {"entrypoint": "/start"}, "restart": "always"}),
            }],
        }
    }

    #[test]
    fn a_folder_and_services_make_an_extension_that_talos_takes() {
        let dir = tempfile::tempdir().unwrap();
        let recipe = recipe(dir.path());
        let mut made = recipe.assemble(dir.path()).unwrap();
        made.check(false).unwrap();
        assert_eq!(made.manifest.metadata.version, "10.3");
        let text = made.rootfs.text("usr/local/etc/containers/frr.yaml", 1 << 20).unwrap().unwrap();
        assert!(text.contains("\"name\": \"frr\""), "{text}");
        let wrong = ExtensionRecipe { compatibility: "~1".into(), ..recipe.clone() };
        assert!(wrong.assemble(dir.path()).is_err());
        let empty = ExtensionRecipe { folder: None, ..recipe.clone() };
        let error = empty.assemble(dir.path()).unwrap_err().to_string();
        assert!(error.contains("nothing to make"), "{error}");
        let homeless =
            ExtensionRecipe { packages: vec!["x.deb".into()], services: Vec::new(), ..recipe };
        let error = homeless.assemble(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no place"), "{error}");
    }

    #[test]
    fn the_address_follows_content_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let recipe = recipe(dir.path());
        let first = recipe.address(&[]).unwrap();
        assert_eq!(first, recipe.address(&[]).unwrap());
        assert_ne!(first, recipe.address(&["sha256:00".into()]).unwrap());
        let other = tempfile::tempdir().unwrap();
        assert_eq!(first, self::recipe(other.path()).address(&[]).unwrap());
        fs_err::write(dir.path().join("rootfs/usr/local/lib/containers/frr/start"), "x").unwrap();
        assert_ne!(first, recipe.address(&[]).unwrap());
    }
}
