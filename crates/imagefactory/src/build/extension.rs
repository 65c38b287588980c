//! System extensions: read, checked, and made from a folder.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use semver::Version;
use serde_json::json;
use sha2::Digest as _;

use super::format::Content;
use super::image::{LAYER_GZIP, OciImage};
use super::manifest::Manifest;
use super::tree::{Node, Tree, wrong};
use super::unpack::{Selection, Unpacked, unpack_image};
use super::{limits, service};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, io};
use crate::name::Architecture;
use crate::oci::Descriptor;

/// Where files of an extension may lie, from Talos 1.10 on; a plain prefix of the path.
const ALLOWED: [&str; 11] = [
    "etc/cri/conf.d",
    "usr/lib/firmware",
    "usr/lib/modules",
    "usr/lib/ld-linux-x86-64.so.2",
    "usr/lib/ld-linux-aarch64.so.1",
    "usr/bin/ldconfig",
    "usr/lib/udev/rules.d",
    "usr/local",
    "usr/share/glvnd",
    "usr/share/egl",
    "etc/vulkan",
];

/// Where they may lie from Talos 1.13 on.
const ALLOWED_LATER: [&str; 8] = [
    "etc/ld.so.conf",
    "etc/ld.so.cache",
    "usr/bin/nvidia-modprobe",
    "usr/bin/nvidia-pcc",
    "usr/bin/nvidia-smi",
    "usr/bin/nvidia-ctk",
    "usr/bin/nvidia-cdi-hook",
    "usr/bin/nvme",
];

pub(super) const CONTAINERS: &str = "usr/local/lib/containers/";
pub(super) const SERVICES: &str = "usr/local/etc/containers/";
pub(super) const MODULES: &str = "usr/lib/modules";
const MOST_TEXT: u64 = 1 << 20;

/// An extension's manifest and files.
#[derive(Debug)]
pub struct Extension {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its `rootfs`.
    pub rootfs: Tree,
    /// What whoever builds with it should know.
    pub remarks: Vec<String>,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

impl Extension {
    /// Reads an extension image; contents are kept in the file `spool`.
    ///
    /// # Errors
    /// A layer is broken, or the image is no extension.
    pub(super) fn from_image(image: &OciImage, cache: &Cache, spool: &Path) -> Result<Self> {
        let selection = Selection {
            wanted: &|_| true,
            entries: limits::EXTENSION_ENTRIES,
            bytes: limits::EXTENSION_BYTES,
        };
        Self::of(unpack_image(image, cache, selection, spool)?)
    }

    /// Reads `manifest.yaml` and `rootfs` of a folder; links between files become copies.
    ///
    /// # Errors
    /// The folder is no extension, or holds what an image cannot: devices, pipes, attributes.
    pub fn from_folder(dir: &Path) -> Result<Self> {
        Self::of(Unpacked { tree: read_folder(dir)?, remarks: Vec::new() })
    }

    fn of(unpacked: Unpacked) -> Result<Self> {
        let Unpacked { tree, remarks } = unpacked;
        let manifest = Self::manifest_of(&tree)?;
        let manifest = manifest.ok_or_else(|| invalid("the extension has no manifest.yaml"))?;
        if !matches!(tree.get("rootfs"), Some(Node::Directory { .. })) {
            let name = &manifest.metadata.name;
            return Err(invalid(format!("the extension {name} has no folder rootfs")));
        }
        Ok(Self { manifest, rootfs: tree.under("rootfs"), remarks })
    }

    /// The manifest among files, where there is one; beside it there is `rootfs` only.
    pub(super) fn manifest_of(tree: &Tree) -> Result<Option<Manifest>> {
        for (path, _) in tree.nodes().filter(|(path, _)| !path.contains('/')) {
            if !matches!(path, "manifest.yaml" | "rootfs") {
                let text =
                    "has no place in an extension: its top has manifest.yaml and rootfs only";
                return Err(wrong(path, text));
            }
        }
        let text = tree.text("manifest.yaml", MOST_TEXT)?;
        text.map(|text| Manifest::parse(&text)).transpose()
    }

    /// An extension of which only the manifest matters.
    pub(super) fn of_manifest(manifest: Manifest) -> Self {
        Self { manifest, rootfs: Tree::default(), remarks: Vec::new() }
    }

    /// Whether it is for a version of Talos.
    ///
    /// # Errors
    /// It is not: the text says what it is for.
    pub(super) fn check_version(&self, version: &Version) -> Result<()> {
        if self.manifest.allows(version)? {
            return Ok(());
        }
        let metadata = &self.manifest.metadata;
        let text = format!(
            "the extension {} {} is for Talos {}, not {version}",
            metadata.name, metadata.version, metadata.compatibility.talos.version
        );
        Err(invalid(text).with_help("take the extension of this Talos version"))
    }

    /// Checks what only whoever makes an extension can mend: places, permissions, links, services.
    ///
    /// # Errors
    /// All findings, one a line.
    pub fn check(&mut self, relaxed: bool) -> Result<()> {
        let mut findings = Vec::new();
        for (path, node) in self.rootfs.nodes() {
            let (mode, folder) = match node {
                Node::Directory { mode } => (*mode, true),
                Node::File { mode, .. } => (*mode, false),
                Node::Symlink { target } => {
                    findings.extend(check_link(path, target));
                    (0, false)
                }
            };
            if mode & 0o002 != 0 {
                findings.push(format!("{path}: everyone may write to it (mode {mode:o})"));
            }
            let mut allowed = ALLOWED.iter().chain(&ALLOWED_LATER);
            if !folder && !allowed.any(|prefix| path.starts_with(prefix)) {
                findings.push(format!("{path}: Talos allows no file of an extension there"));
            }
        }
        let specs: Vec<String> = self
            .rootfs
            .nodes()
            .map(|(path, _)| path)
            .filter(|path| path.strip_prefix(SERVICES).is_some_and(|name| !name.contains('/')))
            .filter(|path| Path::new(path).extension().is_some_and(|end| end == "yaml"))
            .map(str::to_owned)
            .collect();
        for path in specs {
            let text = self.rootfs.text(&path, MOST_TEXT)?.unwrap_or_default();
            match service::check(&path, &text, &mut self.remarks) {
                Err(error) => findings.push(error.told()),
                Ok(name) => {
                    let root = format!("{CONTAINERS}{name}");
                    if !matches!(self.rootfs.get(&root), Some(Node::Directory { .. })) {
                        findings.push(format!("{path}: the service {name} has no folder {root}"));
                    }
                }
            }
        }
        if findings.is_empty() {
            return Ok(());
        }
        if relaxed {
            self.remarks.append(&mut findings);
            return Ok(());
        }
        let name = &self.manifest.metadata.name;
        let shown: Vec<&str> = findings.iter().take(20).map(String::as_str).collect();
        let more = findings.len().saturating_sub(shown.len());
        let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
        let text =
            format!("the extension {name} breaks rules of Talos:\n  {}{more}", shown.join("\n  "));
        Err(invalid(text)
            .with_help("mend the folder, or relax the rules if you know that Talos boots with it"))
    }

    /// Makes the image: one layer, the same bytes for the same files.
    ///
    /// # Errors
    /// A file cannot be read, or the cache cannot be written.
    pub fn pack(&self, architecture: Architecture, cache: &Cache) -> Result<OciImage> {
        let writer = cache.writer()?;
        let gzip = flate2::GzBuilder::new().mtime(0).operating_system(255);
        let gzip = gzip.write(std::io::BufWriter::new(writer), flate2::Compression::new(6));
        let mut hashed = Hashed { inner: gzip, hash: sha2::Sha256::new() };
        let mut archive = tar::Builder::new(&mut hashed);
        let failed = || io("write the layer of an extension");
        let manifest = Content::bytes(self.manifest.yaml().into_bytes());
        append(&mut archive, "manifest.yaml", &Node::File { mode: 0o644, content: manifest })
            .map_err(failed())?;
        append(&mut archive, "rootfs", &Node::Directory { mode: 0o755 }).map_err(failed())?;
        for (path, node) in self.rootfs.nodes() {
            append(&mut archive, &format!("rootfs/{path}"), node).map_err(failed())?;
        }
        archive.finish().map_err(failed())?;
        drop(archive);
        let Hashed { inner, hash } = hashed;
        let writer = inner.finish().map_err(failed())?;
        let writer = writer.into_inner().map_err(|error| failed()(error.into_error()))?;
        let size = writer.size();
        let (digest, _) = writer.keep(None)?;
        let metadata = &self.manifest.metadata;
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": {
                "org.opencontainers.image.title": metadata.name,
                "org.opencontainers.image.version": metadata.version,
                "org.opencontainers.image.description": metadata.description,
            }},
            "rootfs": {
                "type": "layers",
                "diff_ids": [Digest::from_bytes(hash.finalize().into())],
            },
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "imagefactory"}],
        });
        let layer = Descriptor { media_type: LAYER_GZIP.to_owned(), digest, size };
        OciImage::assemble(cache, architecture, &config, vec![layer])
    }
}

/// A link of an extension leads to something of the extension, or of its service's container.
fn check_link(path: &str, target: &str) -> Option<String> {
    let container = path.strip_prefix(CONTAINERS).and_then(|rest| rest.split_once('/'));
    let inside = match (container, target.strip_prefix('/')) {
        // What begins with a slash begins in the container.
        (Some(_), Some(_)) => return None,
        (Some((_, inside)), None) => inside,
        (None, Some(_)) => {
            return Some(format!("{path}: links to {target}, which is not known to be there"));
        }
        (None, None) => path,
    };
    let mut depth = i64::try_from(inside.split('/').count()).unwrap_or(i64::MAX) - 1;
    for part in target.split('/') {
        match part {
            ".." => depth -= 1,
            "" | "." => {}
            _ => depth += 1,
        }
        if depth < 0 {
            return Some(format!("{path}: links to {target}, which leaves the extension"));
        }
    }
    None
}

pub(super) struct Hashed<W> {
    pub(super) inner: W,
    pub(super) hash: sha2::Sha256,
}

impl<W: std::io::Write> std::io::Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

fn append<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    node: &Node,
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    match node {
        Node::Directory { mode } => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(*mode);
            header.set_size(0);
            archive.append_data(&mut header, format!("{path}/"), std::io::empty())
        }
        Node::File { mode, content } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(content.len());
            archive.append_data(&mut header, path, content.reader())
        }
        Node::Symlink { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            archive.append_link(&mut header, path, target)
        }
    }
}

/// A folder as it is, contents left where they lie.
pub(super) fn read_folder(dir: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    walk(dir, "", &mut tree)?;
    Ok(tree)
}

fn walk(dir: &Path, prefix: &str, tree: &mut Tree) -> Result<()> {
    let read = fs_err::read_dir(dir).map_err(io("read the folder of an extension"))?;
    for entry in read {
        let entry = entry.map_err(io("read the folder of an extension"))?;
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| wrong(&entry.path().display().to_string(), "is no UTF-8"))?;
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let place = entry.path();
        let data = place.symlink_metadata().map_err(io(format!("read {}", place.display())))?;
        let mode = data.permissions().mode() & 0o7777;
        if tree.len() >= limits::EXTENSION_ENTRIES {
            return Err(invalid(format!(
                "the folder has more than {} entries",
                limits::EXTENSION_ENTRIES
            )));
        }
        check_attributes(&place, &path)?;
        if data.is_dir() {
            tree.insert(&path, Node::Directory { mode })?;
            walk(&place, &path, tree)?;
        } else if data.is_symlink() {
            let target = fs_err::read_link(&place).map_err(io("read a link"))?;
            let target =
                target.to_str().ok_or_else(|| wrong(&path, "links to what is no UTF-8"))?;
            tree.insert(&path, Node::Symlink { target: target.to_owned() })?;
        } else if data.is_file() {
            let content = Content::part(&place, 0, data.len());
            tree.insert(&path, Node::File { mode, content })?;
        } else {
            return Err(wrong(
                &path,
                "is a device, a pipe or a socket, and an extension may have none",
            ));
        }
    }
    Ok(())
}

/// Extended attributes that would be lost, and change what the file may do.
fn check_attributes(place: &Path, path: &str) -> Result<()> {
    // Linux gives at most as many bytes of names.
    let mut names = vec![0_u8; 64 << 10];
    let len = match rustix::fs::llistxattr(place, &mut names) {
        Ok(len) => len,
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOSYS) => return Ok(()),
        Err(error) => return Err(io(format!("read {}", place.display()))(error.into())),
    };
    let names = names.get(..len).unwrap_or_default();
    let harmless = |name: &[u8]| name.is_empty() || name == b"security.selinux";
    match names.split(|byte| *byte == 0).find(|name| !harmless(name)) {
        None => Ok(()),
        Some(name) => {
            let name = String::from_utf8_lossy(name).into_owned();
            let text = format!("has the attribute {name}, which an extension cannot carry");
            Err(wrong(path, &text)
                .with_help(format!("remove it: setfattr -x {name} {}", place.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_in_the_extension_or_its_container() {
        let good = [
            ("usr/local/bin/a", "b"),
            ("usr/local/bin/a", "../lib/b"),
            ("usr/local/lib/containers/frr/bin/sh", "/usr/bin/busybox"),
            ("usr/local/lib/containers/frr/bin/sh", "../usr/bin/busybox"),
        ];
        for (path, target) in good {
            assert_eq!(check_link(path, target), None, "{path} {target}");
        }
        let bad = [
            ("usr/local/bin/a", "/etc/passwd"),
            ("usr/local/bin/a", "../../../../etc/passwd"),
            ("usr/local/lib/containers/frr/bin/sh", "../../other/bin/sh"),
        ];
        for (path, target) in bad {
            assert!(check_link(path, target).is_some(), "{path} {target}");
        }
    }
}
