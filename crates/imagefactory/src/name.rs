//! Names of images: which things a version and a schematic make, and what they are called.

use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::schematic::SchematicId;

/// A processor architecture, as image names spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        })
    }
}

impl std::str::FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "amd64" => Ok(Self::Amd64),
            "arm64" => Ok(Self::Arm64),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("{text:?} is no architecture: it is amd64 or arm64"),
            )),
        }
    }
}

/// Reads a Talos version, with or without its leading `v`.
///
/// # Errors
/// It is no semantic version.
pub fn talos_version(text: &str) -> Result<Version> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    Version::parse(bare).map_err(|source| {
        Error::new(ErrorKind::InvalidArgument, format!("{text:?} is no Talos version"))
            .with_source(source)
            .with_help("write it like v1.11.5")
    })
}

/// The name of an ISO on a hypervisor's storage: `PREFIX-VERSION-PLATFORM-ARCHITECTURE.iso`.
///
/// ```
/// use imagefactory::{Architecture, iso_name, talos_version};
///
/// let name = iso_name("talos", &talos_version("v1.11.5")?, "nocloud", Architecture::Amd64);
/// assert_eq!(name, "talos-v1.11.5-nocloud-amd64.iso");
/// # Ok::<(), imagefactory::Error>(())
/// ```
pub fn iso_name(
    prefix: &str,
    version: &Version,
    platform: &str,
    architecture: Architecture,
) -> String {
    format!("{prefix}-v{version}-{platform}-{architecture}.iso")
}

/// Something that the factory builds for a schematic and a version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Asset {
    /// The schematic.
    pub schematic: String,
    /// The version of Talos.
    pub version: Version,
    /// The file's name, such as `nocloud-amd64.iso`.
    pub file: String,
}

impl Asset {
    /// The ISO of a platform.
    pub fn iso(
        schematic: &SchematicId,
        version: &Version,
        platform: &str,
        architecture: Architecture,
    ) -> Self {
        Self {
            schematic: schematic.to_string(),
            version: version.clone(),
            file: format!("{platform}-{architecture}.iso"),
        }
    }

    /// Where the factory serves it.
    pub(crate) fn path(&self) -> String {
        format!("image/{}/v{}/{}", self.schematic, self.version, self.file)
    }
}

/// The installer image that a node is given: `HOST/PLATFORM-installer/ID:VERSION`.
///
/// Before Talos 1.10 installers carried no platform, and all of them are called `installer`.
///
/// # Errors
/// The factory's URL has no host.
///
/// # Example
/// ```
/// use imagefactory::{Schematic, installer_reference, talos_version};
///
/// let factory = "https://factory.example".parse()?;
/// let id = Schematic::default().id();
/// let image = installer_reference(&factory, &id, &talos_version("1.11.5")?, "metal")?;
/// assert_eq!(image, format!("factory.example/metal-installer/{id}:v1.11.5"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn installer_reference(
    factory: &Url,
    schematic: &SchematicId,
    version: &Version,
    platform: &str,
) -> Result<String> {
    let host = factory.host_str().ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("the factory's URL {factory} has no host"))
    })?;
    let port = factory.port().map(|port| format!(":{port}")).unwrap_or_default();
    let name = match (version.major, version.minor) {
        (0, _) | (1, ..10) => "installer".to_owned(),
        _ => format!("{platform}-installer"),
    };
    Ok(format!("{host}{port}/{name}/{schematic}:v{version}"))
}

/// What images a site wants; [`desired`] names them.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The factory.
    pub factory: &'a Url,
    /// The schematic.
    pub schematic: &'a SchematicId,
    /// The version of Talos.
    pub version: &'a Version,
    /// The platform that the ISO boots as, such as `nocloud`.
    pub platform: &'a str,
    /// The architecture.
    pub architecture: Architecture,
    /// What the ISO's name begins with.
    pub prefix: &'a str,
}

/// The names of the images that a site wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredImages {
    /// The ISO's name on storage.
    pub iso_name: String,
    /// What the factory serves it as.
    pub iso: Asset,
    /// The installer, by tag; always that of bare metal, which is what an installed system is.
    pub installer: String,
}

/// Names the images that a site wants; a pure function.
///
/// # Errors
/// The factory's URL has no host.
pub fn desired(wanted: &Wanted<'_>) -> Result<DesiredImages> {
    let Wanted { factory, schematic, version, platform, architecture, prefix } = *wanted;
    Ok(DesiredImages {
        iso_name: iso_name(prefix, version, platform, architecture),
        iso: Asset::iso(schematic, version, platform, architecture),
        installer: installer_reference(factory, schematic, version, "metal")?,
    })
}

/// Old names of official extensions, with the name that replaced each.
const ALIASES: [(&str, &str); 11] = [
    ("siderolabs/v4l-uvc", "siderolabs/v4l-uvc-drivers"),
    ("siderolabs/usb-modem", "siderolabs/usb-modem-drivers"),
    ("siderolabs/gasket", "siderolabs/gasket-driver"),
    ("siderolabs/talos-vmtoolsd", "siderolabs/vmtoolsd-guest-agent"),
    ("siderolabs/xe-guest-utilities", "siderolabs/xen-guest-agent"),
    ("siderolabs/nvidia-container-toolkit", "siderolabs/nvidia-container-toolkit-lts"),
    ("siderolabs/nvidia-open-gpu-kernel-modules", "siderolabs/nvidia-open-gpu-kernel-modules-lts"),
    ("siderolabs/nonfree-kmod-nvidia", "siderolabs/nonfree-kmod-nvidia-lts"),
    ("siderolabs/nvidia-fabricmanager", "siderolabs/nvidia-fabric-manager-lts"),
    ("siderolabs/i915-ucode", "siderolabs/i915"),
    ("siderolabs/amdgpu-firmware", "siderolabs/amdgpu"),
];

/// The name that replaced an old name of an official extension.
pub fn extension_alias(name: &str) -> Option<&'static str> {
    ALIASES.iter().find(|(old, _)| *old == name).map(|(_, new)| *new)
}

/// An official extension, as a factory lists it for a version of Talos.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfficialExtension {
    /// Its name in schematics, such as `siderolabs/gvisor`.
    pub name: String,
    /// The image with its tag.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Digest of the image.
    pub digest: String,
    /// Who made it.
    #[serde(default)]
    pub author: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
}

/// Finds an extension in a list: by its name, else by the name that replaced it.
pub fn find_extension<'a>(
    list: &'a [OfficialExtension],
    name: &str,
) -> Option<&'a OfficialExtension> {
    let by = |name: &str| list.iter().find(|extension| extension.name == name);
    by(name).or_else(|| by(extension_alias(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extension(name: &str) -> OfficialExtension {
        OfficialExtension {
            name: name.to_owned(),
            reference: format!("ghcr.io/{name}:1"),
            digest: format!("sha256:{}", "0".repeat(64)),
            author: String::new(),
            description: String::new(),
        }
    }

    #[test]
    fn an_old_name_finds_its_successor_only_when_it_is_gone() {
        let both = [extension("siderolabs/i915"), extension("siderolabs/i915-ucode")];
        let found = |list: &[OfficialExtension]| {
            find_extension(list, "siderolabs/i915-ucode").map(|found| found.name.clone())
        };
        assert_eq!(found(&both).as_deref(), Some("siderolabs/i915-ucode"));
        assert_eq!(found(both.get(..1).unwrap_or_default()).as_deref(), Some("siderolabs/i915"));
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn installers_had_no_platform_before_1_10() -> Result<()> {
        let factory: Url = "http://127.0.0.1:8080"
            .parse()
            .map_err(|source| Error::new(ErrorKind::InvalidArgument, "url").with_source(source))?;
        let id = crate::Schematic::default().id();
        let named =
            |version: &str| installer_reference(&factory, &id, &talos_version(version)?, "metal");
        assert_eq!(named("v1.9.6")?, format!("127.0.0.1:8080/installer/{id}:v1.9.6"));
        assert_eq!(named("v1.10.0")?, format!("127.0.0.1:8080/metal-installer/{id}:v1.10.0"));
        Ok(())
    }
}
