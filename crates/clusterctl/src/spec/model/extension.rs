//! The stage `artifacts/extension`: an extension that is made here.

use super::common::Context;
use super::file::File;
use super::key::Section;
use super::tree::Gathered;
use crate::spec::hcl::Value;
use crate::spec::site::{ExtensionSource, PackagePlace, PackageSource, SchematicSource};

/// What the tree says of an extension of its own; nothing where it names none.
pub(super) fn extension(context: &Context<'_>, gathered: &mut Gathered) -> Option<ExtensionSource> {
    let file = context.file(Section::Extension);
    let keys = ["name", "version", "image", "source_dir", "packages", "services", "compatibility"];
    if keys.iter().all(|key| file.get(&[key]).is_none()) {
        return None;
    }
    let mut required = |name: &str| {
        let found = file.text(&[name]).filter(|text| !text.is_empty());
        if found.is_none() {
            let message = format!("`{name}` of the extension is not set");
            gathered.error("tree-0025", message, file.place(&[name]).as_ref());
        }
        found
    };
    let (name, version, image) = (required("name"), required("version"), required("image"));
    let folder = super::common::path_of(context, file, "source_dir", gathered);
    let packages = packages(context, file, gathered);
    if file.get(&["source_dir"]).is_none() && file.get(&["packages"]).is_none() {
        let message = "the extension has neither `source_dir` nor `packages`".to_owned();
        let help = "name the folder that holds `rootfs`, Debian packages, or both";
        gathered.error_help("tree-0025", message, file.place(&["name"]).as_ref(), help);
    }
    let services = file
        .names(&["services"])
        .into_iter()
        .filter_map(|name| Some((name.clone(), service(file, &name, gathered)?)))
        .collect();
    let (name, version, image) = (name?, version?, image?);
    let reference = format!("{image}:{version}");
    if image.contains('@') || reference.parse::<imagefactory::ImageReference>().is_err() {
        let message = format!("`{reference}` is no name of an image");
        let help = "`image` is a repository, such as `registry.example/talos/frr`; `version` \
                    becomes its tag";
        gathered.error_help("tree-0025", message, file.place(&["image"]).as_ref(), help);
        return None;
    }
    let compatibility = file.text(&["compatibility"]).unwrap_or_default();
    Some(ExtensionSource { name, version, image, folder, packages, services, compatibility })
}

fn packages(context: &Context<'_>, file: &File, gathered: &mut Gathered) -> Vec<PackageSource> {
    let Some(value) = file.get(&["packages"]) else { return Vec::new() };
    let mut found = Vec::new();
    for (number, item) in value.items().into_iter().flat_map(|items| items.iter()).enumerate() {
        let at = number.to_string();
        let place = file.place(&["packages", &at]);
        let url = match item.as_str() {
            Some(text) => Some(text),
            None => item.get("url").and_then(Value::as_str),
        };
        let sha256 = item.get("sha256").filter(|value| !value.is_null()).map(Value::as_str);
        let (Some(text), None | Some(Some(_))) = (url, sha256) else {
            let message = "`packages` has an entry that is neither a text nor `{ url, sha256 }`";
            gathered.error("tree-0026", message.to_owned(), place.as_ref());
            continue;
        };
        let sha256 = match sha256.flatten().map(|hex| format!("sha256:{hex}").parse()) {
            None => None,
            Some(Ok(digest)) => Some(digest),
            Some(Err(_)) => {
                let message = "`sha256` is no SHA-256: it has 64 digits of 0-9 and a-f".to_owned();
                gathered.error("tree-0026", message, place.as_ref());
                continue;
            }
        };
        if item.has_sensitive() || holds_credentials(text) {
            let message = "`packages` has an entry that holds a credential".to_owned();
            let help = "names of packages go into the lock file: leave out user, password and query, \
                        or put the package beside this file";
            gathered.error_help("tree-0026", message, place.as_ref(), help);
            continue;
        }
        let place_of = match text.split_once("://") {
            Some(("https", _)) if text.parse::<url::Url>().is_ok() => {
                PackagePlace::Url(text.to_owned())
            }
            Some(_) => {
                let message = format!("`packages` has {text}, which is not fetched over TLS");
                let help = "name packages with https://, or as files beside this one";
                gathered.error_help("tree-0026", message, place.as_ref(), help);
                continue;
            }
            None => {
                let Some(path) = super::common::inside(
                    context,
                    file,
                    ("packages", text, text),
                    place.as_ref(),
                    gathered,
                ) else {
                    continue;
                };
                PackagePlace::File(path)
            }
        };
        found.push(PackageSource { place: place_of, sha256 });
    }
    if value.items().is_none() {
        let message = "`packages` is no list".to_owned();
        gathered.error("tree-0026", message, file.place(&["packages"]).as_ref());
    }
    found
}

/// A URL with a user, a password or a query, which is where tokens are.
fn holds_credentials(text: &str) -> bool {
    text.parse::<url::Url>().is_ok_and(|url| {
        !url.username().is_empty() || url.password().is_some() || url.query().is_some()
    })
}

fn service(file: &File, name: &str, gathered: &mut Gathered) -> Option<serde_json::Value> {
    let path = ["services", name];
    let value = file.get(&path)?;
    let refuse = |gathered: &mut Gathered, message: String, help: &str| {
        gathered.error_help("tree-0027", message, file.place(&path).as_ref(), help);
        None
    };
    if value.has_sensitive() {
        let message = format!("the service `{name}` holds a sensitive value");
        let help = "whoever has an image has all that is in it: hand secrets over with an \
                    ExtensionServiceConfig among `config_patches`";
        return refuse(gathered, message, help);
    }
    let text = value.attributes().and_then(|_| value.to_json());
    match text.and_then(|text| serde_json::from_str(&text).ok()) {
        Some(spec) => Some(spec),
        None => refuse(
            gathered,
            format!("the service `{name}` is no object"),
            "write what Talos reads: `container`, `depends`, `restart`",
        ),
    }
}

/// Puts the extension among those that images are built with: where the tree names it, else last.
pub(super) fn join(
    context: &Context<'_>,
    extension: &ExtensionSource,
    schematic: &mut SchematicSource,
    gathered: &mut Gathered,
) {
    let own = extension.reference();
    let front = |text: &str| {
        let rest = text.strip_prefix(extension.image.as_str())?;
        (rest.is_empty() || rest.starts_with([':', '@'])).then(|| rest.to_owned())
    };
    let mut named = false;
    for text in &mut schematic.custom_extensions {
        let Some(rest) = front(text) else { continue };
        if !rest.is_empty() && *text != own {
            let message = format!("`{text}` is not the extension that `artifacts/extension` makes");
            let help = format!("that is `{own}`: name it so, or not at all; its digest is pinned");
            let place = context.file(Section::Extension).place(&["version"]);
            gathered.error_help("tree-0028", message, place.as_ref(), &help);
        }
        text.clone_from(&own);
        named = true;
    }
    if !named {
        schematic.custom_extensions.push(own);
    }
}
