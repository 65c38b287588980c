//! Schematics: what is baked into an image, and the id that stands for it.
//!
//! The id is the SHA-256 of the schematic's canonical text, which the image factory makes with
//! its YAML library; so the text is written here byte for byte as that library does it.

mod node;
mod options;
mod read;
mod style;
mod write;

use std::fmt;

use serde::Serialize;

pub use options::OptionValue;
pub use read::SchematicError;

/// Which boot loader an image has; unset: the imager chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bootloader {
    /// Both.
    DualBoot,
    /// systemd-boot.
    SdBoot,
    /// GRUB.
    Grub,
}

impl Bootloader {
    fn name(self) -> &'static str {
        match self {
            Self::DualBoot => "dual-boot",
            Self::SdBoot => "sd-boot",
            Self::Grub => "grub",
        }
    }
}

/// A value of a META key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MetaValue {
    /// The key, 0 to 255.
    pub key: u8,
    /// Its value.
    pub value: String,
}

/// What a single-board computer adds.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Overlay {
    /// Image of the overlay.
    pub image: String,
    /// Its name.
    pub name: String,
    /// Its options, in file order.
    pub options: Vec<(String, OptionValue)>,
}

/// A schematic. The order of lists counts: it is part of the id.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Schematic {
    /// Who owns it; only factories with accounts take it.
    pub owner: String,
    /// What a single-board computer adds.
    pub overlay: Overlay,
    /// A machine configuration in the image (Talos 1.12 and later).
    pub embedded_machine_configuration: String,
    /// Kernel arguments.
    pub extra_kernel_args: Vec<String>,
    /// Values of META keys.
    pub meta: Vec<MetaValue>,
    /// Names of official extensions, such as `siderolabs/qemu-guest-agent`.
    pub official_extensions: Vec<String>,
    /// The boot loader.
    pub bootloader: Option<Bootloader>,
    /// Secure Boot: how keys are enrolled.
    pub enroll_keys: String,
    /// Secure Boot: add the well-known certificates.
    pub include_well_known_certificates: bool,
    /// Sector size of disk images, in bytes; 0: the default.
    pub sector_size: u64,
}

/// The id of a schematic: 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SchematicId(String);

impl SchematicId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SchematicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for SchematicId {
    type Err = SchematicError;

    fn from_str(text: &str) -> Result<Self, SchematicError> {
        let fits = text.len() == 64
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if fits {
            return Ok(Self(text.to_owned()));
        }
        Err(SchematicError::new(0, "a schematic id has 64 hex digits in lower case"))
    }
}

impl Schematic {
    /// Reads the YAML (or JSON) text that a factory takes, as strictly as it does.
    ///
    /// # Errors
    /// The text is not YAML, a key is unknown or stands twice, or a value is of another type.
    ///
    /// # Example
    /// ```
    /// use imagefactory::Schematic;
    ///
    /// let text = "customization:\n  systemExtensions:\n    officialExtensions: [siderolabs/qemu-guest-agent]\n";
    /// let schematic = Schematic::parse(text.as_bytes())?;
    /// assert!(schematic.id().as_str().starts_with("ce4c980550dd2ab1"));
    /// assert!(Schematic::parse(b"customisation: {}").is_err());
    /// # Ok::<(), imagefactory::SchematicError>(())
    /// ```
    pub fn parse(text: &[u8]) -> Result<Self, SchematicError> {
        read::schematic(text)
    }

    /// The canonical text, with its final line break: what the id is the hash of.
    pub fn canonical(&self) -> String {
        write::canonical(self)
    }

    /// The id.
    pub fn id(&self) -> SchematicId {
        use sha2::Digest as _;
        use std::fmt::Write as _;
        let digest = sha2::Sha256::digest(self.canonical().as_bytes());
        SchematicId(digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }
}

#[cfg(test)]
mod tests;
