//! Synthetic container images.

use bytes::Bytes;
use serde_json::json;

use super::store::{Store, StoredManifest};
use crate::digest::Digest;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Puts the installer of a schematic and version into a store: an index of two platforms.
pub(super) fn add_installer(
    store: &Store,
    repository: &str,
    schematic: &str,
    version: &str,
) -> std::io::Result<()> {
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let text = json!({
            "lab": "a synthetic installer that installs nothing",
            "talos": version,
            "schematic": schematic,
            "image": repository,
            "architecture": architecture,
        });
        let layer = Bytes::from(tar("lab-installer.json", text.to_string().as_bytes()));
        let config = Bytes::from(
            json!({
                "architecture": architecture,
                "os": "linux",
                "config": {"Labels": {"lab": "true", "talos.version": version}},
                "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
            })
            .to_string(),
        );
        store.add_blob(repository, &layer)?;
        store.add_blob(repository, &config)?;
        let manifest = Bytes::from(
            json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(CONFIG, &config),
                "layers": [descriptor(LAYER, &layer)],
            })
            .to_string(),
        );
        let mut entry = descriptor(MANIFEST, &manifest);
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("platform".into(), json!({"os": "linux", "architecture": architecture}));
        }
        entries.push(entry);
        let stored = StoredManifest { media_type: MANIFEST.to_owned(), bytes: manifest.clone() };
        store.add_manifest(repository, &Digest::of(&manifest).to_string(), &stored)?;
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let stored = StoredManifest { media_type: INDEX.to_owned(), bytes: index.to_string().into() };
    store.add_manifest(repository, version, &stored)?;
    Ok(())
}

fn descriptor(media_type: &str, content: &Bytes) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": Digest::of(content), "size": content.len()})
}

/// A tar archive of one file, with every field fixed.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar_entry(name, content);
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// One file of a tar archive; names have at most 100 bytes.
pub(super) fn tar_entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = header.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(field) = header.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    header.extend_from_slice(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}
