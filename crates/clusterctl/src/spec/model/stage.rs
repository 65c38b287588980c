//! The stages `artifacts/images` and `artifacts/registry`.

use super::common::Context;
use super::key::Section;
use super::tree::Gathered;
use crate::spec::site::{ImageSource, Images, Proxmox, Registry, SchematicSource};

pub(super) fn images(
    context: &Context<'_>,
    schematic: &SchematicSource,
    gathered: &mut Gathered,
) -> Images {
    let file = context.file(Section::Images);
    let default = if schematic.custom_extensions.is_empty() { "factory" } else { "build" };
    let source = match file.text(&["source"]).as_deref().unwrap_or(default) {
        "factory" => ImageSource::Factory,
        "build" => ImageSource::Build,
        other => {
            let message = format!("`source` is `{other}`, not `factory` or `build`");
            gathered.error("tree-0022", message, file.place(&["source"]).as_ref());
            ImageSource::Factory
        }
    };
    if source == ImageSource::Factory && !schematic.custom_extensions.is_empty() {
        let message = "a factory cannot add custom extensions".to_owned();
        let help = "set `source = \"build\"`, or leave the custom extensions out";
        gathered.error_help("tree-0024", message, file.place(&["source"]).as_ref(), help);
    }
    let installer_registry = file.text(&["installer_registry"]);
    if source == ImageSource::Build {
        let place = file.place(&["source"]);
        if installer_registry.is_none() {
            let message =
                "`installer_registry` is not set, and a built installer needs one".to_owned();
            gathered.error("tree-0023", message, place.as_ref());
        }
    }
    Images {
        source,
        factory_url: file
            .text(&["factory_url"])
            .unwrap_or_else(|| "https://factory.talos.dev".to_owned()),
        factory_owner: file.text(&["factory_owner"]),
        installer_registry,
        iso_name: file.text(&["iso_name"]),
        imager: file.text(&["imager"]),
        installer_base: file.text(&["installer_base"]),
    }
}

pub(super) fn registry(
    context: &Context<'_>,
    proxmox: &Proxmox,
    gathered: &mut Gathered,
) -> Registry {
    let file = context.file(Section::Registry);
    let names = file.texts(&["proxmox_node_names"]);
    for name in names.iter().flatten().filter(|name| !proxmox.nodes.contains(name)) {
        let message = format!("`proxmox_node_names` has `{name}`, which is no node of the site");
        gathered.error("tree-0015", message, file.place(&["proxmox_node_names"]).as_ref());
    }
    Registry {
        datastore_id: file.text(&["proxmox_datastore_id"]),
        node_names: names.unwrap_or_else(|| proxmox.nodes.clone()),
        file_name_prefix: file.text(&["file_name_prefix"]),
    }
}
