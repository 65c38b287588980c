//! Base images and extensions for tests.

use std::path::Path;

use bytes::Bytes;
use imagefactory::{Digest, Layer, RegistryClient, Resolved};

use crate::support::image;

pub(crate) type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// A tar archive: path, mode, content; a path that ends in a slash is a folder.
pub(crate) fn tar(files: &[(&str, u32, &[u8])]) -> Fallible<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        archive.append_data(&mut header, path, *content)?;
    }
    Ok(archive.into_inner()?)
}

/// Pushes an image of one layer for amd64.
pub(crate) async fn push(
    sim: &imagefactory::sim::Sim,
    client: &RegistryClient,
    name: &str,
    layer: Vec<u8>,
) -> Fallible<Resolved> {
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/bin/installer"], "Labels": {"made": "here"}},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
    });
    let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
    let layer = Layer { media_type, content: Bytes::from(layer) };
    Ok(client.push(&image(sim, name)?, &config, vec![layer]).await?)
}

pub(crate) fn manifest(name: &str, range: &str) -> String {
    format!(
        "version: v1alpha1\nmetadata:\n  name: {name}\n  version: 1.2.3\n  author: tests\n  \
         description: for tests\n  compatibility:\n    talos:\n      version: '{range}'\n"
    )
}

/// An extension as a folder: a service with its container.
pub(crate) fn extension_folder(dir: &Path) -> Fallible<()> {
    let write = |path: &str, text: &str| -> Fallible<()> {
        let path = dir.join(path);
        fs_err::create_dir_all(path.parent().ok_or("no parent")?)?;
        Ok(fs_err::write(path, text)?)
    };
    write("manifest.yaml", &manifest("routing", ">= v1.10.0"))?;
    let service = "name: routing\ncontainer:\n  entrypoint: /bin/routed\nrestart: always\n";
    write("rootfs/usr/local/etc/containers/routing.yaml", service)?;
    let root = "rootfs/usr/local/lib/containers/routing";
    write(&format!("{root}/bin/routed"), "a program")?;
    fs_err::os::unix::fs::symlink("routed", dir.join(root).join("bin/link"))?;
    fs_err::hard_link(dir.join(root).join("bin/routed"), dir.join(root).join("bin/same"))?;
    Ok(())
}
