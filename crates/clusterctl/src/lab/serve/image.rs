//! Images that a tree names and somebody else made: the lab's registry holds one of that name.

use std::net::SocketAddr;

use imagefactory::sim::base;
use imagefactory::{
    ImageReference, Layer, RegistryClient, RegistryOptions, TransportOptions, Trust,
};
use serde_json::json;

use super::super::error::{LabError, LabErrorKind};
use super::super::world::{BuildPart, World};

/// Extensions come with the factory's list, which has their digests.
const EXTENSIONS: (&str, &str) = ("ghcr.io", "siderolabs/");

/// Puts a synthetic image where one is named by tag and not there.
///
/// One that is pinned by digest cannot be made: its content is not known here.
///
/// # Errors
/// The registry refuses.
pub(super) async fn provide(
    world: &World,
    registry: SocketAddr,
    ca_pem: &str,
) -> Result<(), LabError> {
    let wanted: Vec<ImageReference> = world
        .images
        .iter()
        .filter_map(|text| text.parse().ok())
        .filter(|image: &ImageReference| image.digest().is_none() && !is_extension(image))
        .collect();
    let parts: Vec<(ImageReference, BuildPart)> = world
        .build_parts
        .iter()
        .filter_map(|(text, part)| Some((text.parse().ok()?, *part)))
        .collect();
    if wanted.is_empty() && parts.is_empty() {
        return Ok(());
    }
    let failed = |error: imagefactory::Error| {
        LabError::new(LabErrorKind::Start, "fill the lab's registry").because(error)
    };
    let dial = world.registries.iter().map(|name| (name.clone(), registry)).collect();
    let client = RegistryClient::new(RegistryOptions {
        transport: TransportOptions {
            trust: Trust::Authorities(ca_pem.as_bytes().to_vec()),
            dial,
            attempts: 1,
            ..TransportOptions::default()
        },
        ..RegistryOptions::default()
    })
    .map_err(failed)?;
    for (image, part) in parts {
        provide_part(&client, &image, part).await.map_err(failed)?;
    }
    for image in wanted {
        match client.resolve(&image).await {
            Ok(_) => continue,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(failed(error)),
        }
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"lab": image.to_string()}},
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        let layer = Layer {
            media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
            content: format!("lab image, runs nowhere: {image}\n").into(),
        };
        client.push(&image, &config, vec![layer]).await.map_err(failed)?;
    }
    Ok(())
}

/// Puts an image that is built from where none is; a builder takes it as it takes a true one.
async fn provide_part(
    client: &RegistryClient,
    image: &ImageReference,
    part: BuildPart,
) -> Result<(), imagefactory::Error> {
    match client.resolve(image).await {
        Ok(_) => return Ok(()),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    let name = image.repository().rsplit('/').next().unwrap_or("lab");
    let content = match part {
        BuildPart::Imager => base::imager_layer(),
        BuildPart::InstallerBase => base::installer_base_layer(),
        BuildPart::Extension => base::extension_layer(name, image.tag().unwrap_or("latest")),
    };
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": {"lab": image.to_string()}},
        "rootfs": {"type": "layers", "diff_ids": [imagefactory::Digest::of(&content)]},
    });
    let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
    let layer = Layer { media_type, content: content.into() };
    client.push(image, &config, vec![layer]).await.map(drop)
}

fn is_extension(image: &ImageReference) -> bool {
    image.registry() == EXTENSIONS.0 && image.repository().starts_with(EXTENSIONS.1)
}
