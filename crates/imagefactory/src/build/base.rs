//! What an imager image gives: kernel, initramfs, boot loader, stub, and GRUB.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::format::{Content, GrubFiles, boot_version, is_grub_file};
use super::image::OciImage;
use super::limits;
use super::source::ImageSource;
use super::tree::Node;
use super::unpack::{Selection, unpack_image};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Architecture;

const GRUB: &str = "usr/lib/grub/i386-pc/";
/// The first version of systemd-boot that takes the first command line for the main profile;
/// older ones take the last, which wipes the disk.
const FIRST_WITH_PROFILES: u64 = 257;

/// The files of a base, by digest in the cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Base {
    pub(super) kernel: Stored,
    pub(super) initramfs: Stored,
    pub(super) stub: Stored,
    pub(super) boot: Stored,
    /// GRUB's files for BIOS, by name; empty if the base has none.
    pub(super) grub: BTreeMap<String, Stored>,
    pub(super) boot_version: String,
}

/// Content in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Stored {
    pub(super) fn put(content: &Content, cache: &Cache) -> Result<Self> {
        let (digest, _) = cache.store(content, None)?;
        Ok(Self { digest, size: content.len() })
    }

    /// Where it lies; nothing is read.
    pub(super) fn content(&self, cache: &Cache) -> Content {
        Content::part(cache.path_of(&self.digest), 0, self.size)
    }

    /// Whether it is there with its size.
    pub(super) fn is_there(&self, cache: &Cache) -> bool {
        let data = std::fs::metadata(cache.path_of(&self.digest));
        let there = data.is_ok_and(|data| data.len() == self.size);
        if there {
            cache.touch(&self.digest);
        }
        there
    }
}

impl Base {
    fn parts(&self) -> impl Iterator<Item = &Stored> {
        [&self.kernel, &self.initramfs, &self.stub, &self.boot]
            .into_iter()
            .chain(self.grub.values())
    }

    /// Whether all of it is in the cache.
    pub(super) fn is_there(&self, cache: &Cache) -> bool {
        self.parts().all(|part| part.is_there(cache))
    }

    pub(super) fn grub_files(&self, cache: &Cache) -> Result<GrubFiles> {
        let read = |(name, stored): (&String, &Stored)| {
            Ok((name.clone(), stored.content(cache).read_all(limits::SMALL)?))
        };
        self.grub.iter().map(read).collect()
    }
}

/// Takes the files of an architecture out of an imager image (which holds those of all).
pub(super) fn read(
    source: &ImageSource,
    image: &OciImage,
    architecture: Architecture,
    cache: &Cache,
) -> Result<Base> {
    let folder = format!("usr/install/{architecture}/");
    let wanted =
        |path: &str| path.starts_with(&folder) || path.strip_prefix(GRUB).is_some_and(is_grub_file);
    let selection =
        Selection { wanted: &wanted, entries: limits::BASE_ENTRIES, bytes: limits::BASE_BYTES };
    let scratch = cache.work_folder()?;
    let tree = unpack_image(image, cache, selection, &scratch.path().join("spool"))?.tree;
    let store = |name: &str| -> Result<Stored> {
        match tree.get(&format!("{folder}{name}")) {
            Some(Node::File { content, .. }) if !content.is_empty() => Stored::put(content, cache),
            _ => {
                let text = format!("{source} has no {folder}{name}");
                let help = "the base is the image `imager` of a Talos version, or one made like it";
                Err(Error::new(ErrorKind::InvalidInput, text).with_help(help))
            }
        }
    };
    let mut grub = BTreeMap::new();
    if architecture == Architecture::Amd64 {
        for (path, node) in tree.nodes() {
            if let (Some(name), Node::File { content, .. }) = (path.strip_prefix(GRUB), node) {
                grub.insert(name.to_owned(), Stored::put(content, cache)?);
            }
        }
    }
    let stub = store("systemd-stub.efi")?;
    let boot = store("systemd-boot.efi")?;
    let mut version = String::new();
    for (name, stored) in [("systemd-stub.efi", &stub), ("systemd-boot.efi", &boot)] {
        let bytes = stored.content(cache).read_all(limits::SMALL)?;
        let found = boot_version(&bytes)?.unwrap_or_default();
        let digits: String = found.chars().take_while(char::is_ascii_digit).collect();
        if digits.parse::<u64>().unwrap_or_default() < FIRST_WITH_PROFILES {
            let text = format!(
                "{name} of {source} is of systemd {found:?}: before {FIRST_WITH_PROFILES} it starts \
                 with the command line of the last profile, which wipes the disk"
            );
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        version = found;
    }
    Ok(Base {
        kernel: store("vmlinuz")?,
        initramfs: store("initramfs.xz")?,
        stub,
        boot,
        grub,
        boot_version: version,
    })
}

/// The release that a kernel for amd64 tells in its header (Linux x86 boot protocol, field
/// `kernel_version`).
pub(super) fn kernel_release(kernel: &Content) -> Result<Option<String>> {
    let head = kernel.head(0x1_0400)?;
    if head.get(0x202..0x206) != Some(b"HdrS") {
        return Ok(None);
    }
    let Some(pointer) = head.get(0x20e..0x210).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    let at = usize::from(u16::from_le_bytes(*pointer)) + 0x200;
    let text = head.get(at..).unwrap_or_default();
    let text: Vec<u8> =
        text.iter().copied().take(200).take_while(|byte| !matches!(byte, 0 | b' ')).collect();
    Ok(String::from_utf8(text).ok().filter(|text| !text.is_empty()))
}
