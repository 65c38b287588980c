//! The initramfs: Talos' own, with the layers of extensions behind it.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde::{Deserialize, Serialize};

use super::base::Stored;
use super::extension::{Extension, MODULES};
use super::format::{Content, CpioEntry, newc, squashfs};
use super::manifest::Manifest;
use super::tree::Node;
use crate::cache::Cache;
use crate::error::{Error, ErrorKind, Result, io};

const FIRMWARE: &str = "usr/lib/firmware";
const INTEL: &str = "usr/lib/firmware/intel-ucode";
const AMD: &str = "usr/lib/firmware/amd-ucode";
const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
/// Layers are packed already; what is left packs well at any level.
const LEVEL: i32 = 3;

/// An extension as the initramfs takes it; its parts lie in the cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Prepared {
    pub(super) manifest: Manifest,
    /// Its files as squashfs.
    pub(super) layer: Stored,
    /// Microcode of Intel and AMD, which the kernel loads before it has a file system.
    pub(super) intel: Option<Stored>,
    pub(super) amd: Option<Stored>,
    /// Firmware, which lies beside the layers: path, `st_mode`, content.
    pub(super) firmware: Vec<(String, u32, Option<Stored>)>,
    pub(super) remarks: Vec<String>,
}

impl Prepared {
    pub(super) fn is_there(&self, cache: &Cache) -> bool {
        let firmware = self.firmware.iter().filter_map(|(_, _, stored)| stored.as_ref());
        let parts = [&self.layer].into_iter().chain(&self.intel).chain(&self.amd).chain(firmware);
        parts.into_iter().all(|part| part.is_there(cache))
    }
}

/// Splits an extension into what Talos mounts and what the kernel loads.
///
/// # Errors
/// It has kernel modules, or its files cannot be read.
pub(super) fn prepare(mut extension: Extension, cache: &Cache) -> Result<Prepared> {
    let name = extension.manifest.metadata.name.clone();
    let modules = format!("{MODULES}/");
    if extension.rootfs.nodes().any(|(path, _)| path.starts_with(&modules)) {
        let text = format!(
            "the extension {name} has kernel modules, and the builder cannot write their index"
        );
        let help = "build images with kernel modules at a factory: it runs depmod for them";
        return Err(Error::new(ErrorKind::Unsupported, text).with_help(help));
    }
    let tree = &mut extension.rootfs;
    let mut microcode = |folder: &str, begins: &str| -> Result<Option<Stored>> {
        let mut all = Content::default();
        let mut taken = Vec::new();
        for (path, node) in tree.nodes() {
            let inside = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
            if let (Some(file), Node::File { content, .. }) = (inside, node)
                && !file.contains('/')
                && file.starts_with(begins)
            {
                all.push(content.clone());
                taken.push(path.to_owned());
            }
        }
        taken.iter().for_each(|path| tree.remove(path));
        if all.is_empty() { Ok(None) } else { Stored::put(&all, cache).map(Some) }
    };
    let intel = microcode(INTEL, "")?;
    let amd = microcode(AMD, "microcode_amd")?;
    let mut firmware = Vec::new();
    for (path, node) in tree.under(FIRMWARE).nodes() {
        let path = format!("{FIRMWARE}/{path}");
        match node {
            Node::Directory { mode } => firmware.push((path, DIRECTORY | mode, None)),
            Node::File { mode, content } => {
                firmware.push((path, FILE | mode, Some(Stored::put(content, cache)?)));
            }
            Node::Symlink { target } => {
                let content = Content::bytes(target.as_bytes());
                firmware.push((path, 0o120_777, Some(Stored::put(&content, cache)?)));
            }
        }
    }
    tree.remove(FIRMWARE);
    let mut file = cache.file()?;
    let size = squashfs(tree, file.as_file_mut())?;
    let layer = Stored { digest: cache.keep_file(file)?, size };
    let Extension { manifest, remarks, .. } = extension;
    let remarks = remarks.into_iter().map(|text| format!("{name}: {text}")).collect();
    Ok(Prepared { manifest, layer, intel, amd, firmware, remarks })
}

/// Puts the initramfs together: microcode as it is, Talos' own as it is, the rest packed.
///
/// # Errors
/// Two extensions have the same firmware with different content, or the cache cannot be written.
pub(super) fn assemble(base: Content, extensions: &[Prepared], cache: &Cache) -> Result<Content> {
    if extensions.is_empty() {
        return Ok(base);
    }
    let file = |path: String, content: Content| CpioEntry { path, mode: FILE | 0o644, content };
    let folder = |path: &str| CpioEntry {
        path: path.to_owned(),
        mode: DIRECTORY | 0o755,
        content: Content::default(),
    };
    let mut early = Vec::new();
    for (name, part) in [
        ("GenuineIntel", &(|e: &Prepared| e.intel.clone()) as &dyn Fn(&Prepared) -> Option<Stored>),
        ("AuthenticAMD", &|e: &Prepared| e.amd.clone()),
    ] {
        let mut all = Content::default();
        extensions.iter().filter_map(part).for_each(|stored| all.push(stored.content(cache)));
        if !all.is_empty() {
            early.push(file(format!("kernel/x86/microcode/{name}.bin"), all));
        }
    }
    let mut image = Content::default();
    if !early.is_empty() {
        early.extend(["kernel", "kernel/x86", "kernel/x86/microcode"].map(folder));
        image.push(newc(early)?);
    }
    image.push(base);
    // Zeros between archives are passed over; a packed one must be whole in itself.
    image.align(4);
    let mut entries = Vec::new();
    let mut firmware = BTreeMap::new();
    let mut list = String::from("layers:\n");
    for (name, extension) in in_layer_order(extensions) {
        let layer = format!("{name}.sqsh");
        list += &extension.manifest.layer(&layer);
        entries.push(file(layer, extension.layer.content(cache)));
        for (path, mode, stored) in &extension.firmware {
            let content = stored.as_ref().map(|stored| stored.content(cache)).unwrap_or_default();
            add_firmware(&mut firmware, path, *mode, content)?;
        }
    }
    if !firmware.is_empty() {
        entries.extend(["usr", "usr/lib", FIRMWARE].map(folder));
    }
    let firmware = firmware.into_iter();
    entries.extend(firmware.map(|(path, (mode, content))| CpioEntry {
        path: path.to_owned(),
        mode,
        content,
    }));
    entries.push(file("extensions.yaml".to_owned(), Content::bytes(list.into_bytes())));
    let archive = newc(entries)?;
    let mut writer = cache.writer()?;
    let mut packer = zstd::Encoder::new(&mut writer, LEVEL).map_err(io("pack the initramfs"))?;
    packer.include_checksum(true).map_err(io("pack the initramfs"))?;
    archive.write_to(&mut packer)?;
    let writer_done = packer.finish().map_err(io("pack the initramfs"))?;
    writer_done.flush().map_err(io("pack the initramfs"))?;
    let size = writer.size();
    let (digest, _) = writer.keep(None)?;
    image.push(Stored { digest, size }.content(cache));
    Ok(image)
}

/// Layers are named by their number and mounted in the order of these names as text, so that the
/// eleventh comes behind the second.
fn in_layer_order(extensions: &[Prepared]) -> Vec<(String, &Prepared)> {
    let named = extensions.iter().enumerate();
    let mut named: Vec<_> = named.map(|(number, one)| (number.to_string(), one)).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named
}

/// Adds what lies beside the layers; the same file may come twice.
fn add_firmware<'a>(
    all: &mut BTreeMap<&'a str, (u32, Content)>,
    path: &'a str,
    mode: u32,
    content: Content,
) -> Result<()> {
    let Some((known, other)) = all.get(path) else {
        all.insert(path, (mode, content));
        return Ok(());
    };
    let kind = |mode: u32| mode & 0o170_000;
    let same = kind(*known) == kind(mode)
        && (kind(mode) == DIRECTORY || other.digest()? == content.digest()?);
    if same {
        return Ok(());
    }
    let text = format!("two extensions have the firmware {path}, and it differs");
    Err(Error::new(ErrorKind::InvalidInput, text))
}
