//! Layers of container images, put one over another.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use sha2::Digest as _;

use super::format::Content;
use super::image::OciImage;
use super::tree::{Node, Tree, wrong};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, io};

/// What of an image is wanted, and how much of it is too much.
#[derive(Clone, Copy)]
pub(super) struct Selection<'a> {
    /// Whether a path is wanted; folders are kept only where they are.
    pub(super) wanted: &'a dyn Fn(&str) -> bool,
    /// Most entries of all layers together.
    pub(super) entries: usize,
    /// Most unpacked bytes of a layer.
    pub(super) bytes: u64,
}

/// A layer that lies on disk.
#[derive(Debug, Clone)]
pub(super) struct PackedLayer<'a> {
    /// What messages call it.
    pub(super) noun: &'static str,
    pub(super) path: &'a Path,
    /// Where in the file it lies; the whole file without it.
    pub(super) range: Option<(u64, u64)>,
    /// The digest of the layer unpacked, where the image tells it.
    pub(super) diff_id: Option<Digest>,
}

/// How far content may have shrunk; what shrank further is made to fill disks.
const MOST_RATIO: u64 = 200;
/// Below this nobody is hurt, whatever the ratio.
const HARMLESS: u64 = 64 << 20;

/// Most memory that a packer of the kind xz may ask for; packages ask for 64 MiB and less.
const MOST_XZ_KIB: u32 = 256 << 10;

/// What layers hold.
pub(super) struct Unpacked {
    pub(super) tree: Tree,
    /// What the reader of a log should know.
    pub(super) remarks: Vec<String>,
}

/// What is wanted of an image whose layers are in the cache; see [`unpack`].
pub(super) fn unpack_image(
    image: &OciImage,
    cache: &Cache,
    selection: Selection<'_>,
    spool: &Path,
) -> Result<Unpacked> {
    let paths: Vec<_> = image.layers.iter().map(|layer| cache.path_of(&layer.digest)).collect();
    let layers: Vec<PackedLayer<'_>> = paths
        .iter()
        .zip(image.diff_ids(cache)?)
        .map(|(path, diff_id)| PackedLayer {
            noun: "layer",
            path,
            range: None,
            diff_id: Some(diff_id),
        })
        .collect();
    unpack(&layers, selection, spool)
}

/// A tree of what layers hold, whose contents lie in one file at `spool`. Owners, times and
/// attributes are left out: an image of Talos has none. Links are resolved to copies.
pub(super) fn unpack(
    layers: &[PackedLayer<'_>],
    selection: Selection<'_>,
    spool: &Path,
) -> Result<Unpacked> {
    let mut file = File::create(spool).map_err(io(format!("write {}", spool.display())))?;
    let mut state = State {
        all: Unpacked { tree: Tree::default(), remarks: Vec::new() },
        labels: 0,
        capabilities: 0,
        entries: 0,
        at: 0,
    };
    for layer in layers {
        let named =
            |error: Error| error.within(format!("the {} {}", layer.noun, layer.path.display()));
        state.layer(layer, selection, (&mut file, spool)).map_err(named)?;
    }
    if state.labels > 0 {
        let text =
            format!("{} SELinux labels are left out: squashfs is written without", state.labels);
        state.all.remarks.push(text);
    }
    if state.capabilities > 0 {
        let text = format!(
            "{} entries lose their capabilities, as in every image of Talos",
            state.capabilities
        );
        state.all.remarks.push(text);
    }
    Ok(state.all)
}

struct State {
    all: Unpacked,
    labels: usize,
    capabilities: usize,
    entries: usize,
    /// Where the next content lies in the spool.
    at: u64,
}

impl State {
    fn layer(
        &mut self,
        layer: &PackedLayer<'_>,
        selection: Selection<'_>,
        (file, spool): (&mut File, &Path),
    ) -> Result<()> {
        let reader = Bounded::open(layer.path, layer.range, selection.bytes)?;
        let mut archive = tar::Archive::new(reader);
        let broken = |source: std::io::Error| match source.downcast::<Error>() {
            Ok(error) => error,
            Err(source) => {
                Error::new(ErrorKind::InvalidInput, "the archive is broken").with_source(source)
            }
        };
        let mut own: Vec<(String, Found)> = Vec::new();
        let mut gone: Vec<String> = Vec::new();
        let mut opaque: Vec<String> = Vec::new();
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            self.entries += 1;
            if self.entries > selection.entries {
                let text = format!("it has more than {} entries", selection.entries);
                return Err(Error::new(ErrorKind::InvalidInput, text));
            }
            let Some(path) = clean(&entry.path_bytes())? else { continue };
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == ".wh..wh..opq" {
                opaque.push(parent.to_owned());
                continue;
            }
            if let Some(name) = name.strip_prefix(".wh.") {
                gone.push(if parent.is_empty() {
                    name.to_owned()
                } else {
                    format!("{parent}/{name}")
                });
                continue;
            }
            self.attributes(&mut entry).map_err(broken)?;
            if !(selection.wanted)(&path) {
                continue;
            }
            let mode = entry.header().mode().map_err(broken)? & 0o7777;
            let kind = entry.header().entry_type();
            let found = if kind.is_dir() {
                Found::Node(Node::Directory { mode: mode | 0o700 })
            } else if kind.is_symlink() {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = String::from_utf8(target.into_owned())
                    .map_err(|_| wrong(&path, "links to what is no UTF-8"))?;
                if target.is_empty() || target.contains('\0') {
                    return Err(wrong(&path, "links to nothing"));
                }
                Found::Node(Node::Symlink { target })
            } else if kind.is_hard_link() {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = clean(&target)?.ok_or_else(|| wrong(&path, "links to nothing"))?;
                Found::Link(target)
            } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
                let size = std::io::copy(&mut entry, file).map_err(broken)?;
                if size != entry.size() {
                    return Err(wrong(&path, "ends early"));
                }
                let content = Content::part(spool, self.at, size);
                self.at += size;
                Found::Node(Node::File { mode, content })
            } else {
                let text = "is a device, a pipe or a socket, and an image may have none";
                return Err(wrong(&path, text));
            };
            own.push((path, found));
        }
        let mut reader = archive.into_inner();
        reader.drain().map_err(broken)?;
        let digest = reader.digest();
        if let Some(wanted) = layer.diff_id.filter(|wanted| *wanted != digest) {
            let text = format!("unpacked it is {digest}, and the image says {wanted}");
            return Err(Error::new(ErrorKind::Mismatch, text));
        }
        let tree = &mut self.all.tree;
        opaque.iter().for_each(|folder| match folder.as_str() {
            "" => *tree = Tree::default(),
            folder => tree.clear(folder),
        });
        gone.iter().for_each(|path| tree.remove(path));
        for (path, found) in own {
            let node = match found {
                Found::Node(node) => node,
                Found::Link(target) => match tree.get(&target) {
                    Some(node @ Node::File { .. }) => node.clone(),
                    _ => {
                        return Err(wrong(
                            &path,
                            &format!("is a hard link to {target}, which is no file before it"),
                        ));
                    }
                },
            };
            // An upper layer may put a file where a lower one has a folder, and the other way.
            let folder = matches!(node, Node::Directory { .. });
            if tree.get(&path).is_some_and(|old| matches!(old, Node::Directory { .. }) != folder) {
                tree.remove(&path);
            }
            tree.insert(&path, node)?;
        }
        Ok(())
    }

    fn attributes(&mut self, entry: &mut tar::Entry<'_, Bounded>) -> std::io::Result<()> {
        for extension in entry.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            match extension.key_bytes() {
                b"SCHILY.xattr.security.selinux" => self.labels += 1,
                b"SCHILY.xattr.security.capability" => self.capabilities += 1,
                _ => {}
            }
        }
        Ok(())
    }
}

enum Found {
    Node(Node),
    Link(String),
}

/// A path of an archive without `./` and slashes at its ends; nothing for the root itself.
fn clean(path: &[u8]) -> Result<Option<String>> {
    let text = std::str::from_utf8(path)
        .map_err(|_| wrong(&String::from_utf8_lossy(path), "is no UTF-8"))?;
    if text.starts_with('/') {
        return Err(wrong(text, "is an absolute path"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(wrong(text, "leaves the image"));
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

/// Unpacks gzip, zstd, xz or nothing; counts, hashes, and ends what grows without measure.
struct Bounded {
    inner: Box<dyn Read>,
    hash: sha2::Sha256,
    packed: u64,
    count: u64,
    most: u64,
}

impl Bounded {
    fn open(path: &Path, range: Option<(u64, u64)>, most: u64) -> Result<Self> {
        let what = || format!("read {}", path.display());
        let mut file = File::open(path).map_err(io(what()))?;
        let all = file.metadata().map_err(io(what()))?.len();
        let (from, packed) = range.unwrap_or((0, all));
        file.seek(SeekFrom::Start(from)).map_err(io(what()))?;
        let mut reader = BufReader::with_capacity(1 << 18, file.take(packed));
        let head = reader.fill_buf().map_err(io(what()))?;
        let inner: Box<dyn Read> = match head {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                Box::new(zstd::Decoder::with_buffer(reader).map_err(io(what()))?)
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                Box::new(lzma_rust2::XzReader::new_mem_limit(reader, true, MOST_XZ_KIB))
            }
            _ => Box::new(reader),
        };
        let most = most.min(packed.saturating_mul(MOST_RATIO).max(HARMLESS));
        Ok(Self { inner, hash: sha2::Sha256::new(), packed, count: 0, most })
    }

    fn drain(&mut self) -> std::io::Result<()> {
        std::io::copy(self, &mut std::io::sink()).map(drop)
    }

    fn digest(self) -> Digest {
        Digest::from_bytes(self.hash.finalize().into())
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        if self.count > self.most {
            let text = format!("{} bytes unpack to more than {}", self.packed, self.most);
            return Err(std::io::Error::other(Error::new(ErrorKind::InvalidInput, text)));
        }
        self.hash.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
