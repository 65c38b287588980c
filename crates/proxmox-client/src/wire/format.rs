//! Property strings: `key=value` parts with a default key and aliases.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex::Regex;

use super::size::Size;
use super::table;

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    Text,
    Bool,
    Size,
    Mac,
    Integer(Option<i64>, Option<i64>),
    Number(Option<i64>, Option<i64>),
    Word(&'static [&'static str]),
    Pattern(&'static str),
}

/// A key of a property string.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    name: &'static str,
    kind: Type,
    target: Option<&'static str>,
    /// The key that gets this key's name as its value: `virtio=MAC` sets `model` too.
    model: Option<&'static str>,
    is_default: bool,
    required: bool,
}

impl Key {
    pub(super) const fn new(name: &'static str, kind: Type) -> Self {
        Self { name, kind, target: None, model: None, is_default: false, required: false }
    }

    pub(super) const fn alias(
        name: &'static str,
        alias: &'static str,
        model: Option<&'static str>,
    ) -> Self {
        let key = Self::new(name, Type::Text);
        Self { target: Some(alias), model, ..key }
    }

    pub(super) const fn is_default(self) -> Self {
        Self { is_default: true, ..self }
    }

    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// Which property string a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the parameters of the API are")]
pub enum Format {
    Ide,
    Sata,
    Scsi,
    Virtio,
    EfiDisk,
    TpmState,
    Net,
    Boot,
    Cpu,
    HostPci,
    Usb,
    Smbios1,
    Rng,
    Watchdog,
    Machine,
    CiCustom,
    Agent,
    Vga,
    IpConfig,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 19] = [
        Self::Ide,
        Self::Sata,
        Self::Scsi,
        Self::Virtio,
        Self::EfiDisk,
        Self::TpmState,
        Self::Net,
        Self::Boot,
        Self::Cpu,
        Self::HostPci,
        Self::Usb,
        Self::Smbios1,
        Self::Rng,
        Self::Watchdog,
        Self::Machine,
        Self::CiCustom,
        Self::Agent,
        Self::Vga,
        Self::IpConfig,
    ];

    /// The format of a parameter of a virtual machine, such as `scsi0`; none if it is no property
    /// string.
    pub fn of_key(key: &str) -> Option<Self> {
        let name = key.trim_end_matches(|c: char| c.is_ascii_digit());
        Some(match name {
            "ide" => Self::Ide,
            "sata" => Self::Sata,
            "scsi" => Self::Scsi,
            "virtio" => Self::Virtio,
            "efidisk" => Self::EfiDisk,
            "tpmstate" => Self::TpmState,
            "net" => Self::Net,
            "boot" => Self::Boot,
            "cpu" => Self::Cpu,
            "hostpci" => Self::HostPci,
            "usb" => Self::Usb,
            "smbios" => Self::Smbios1,
            "rng" => Self::Rng,
            "watchdog" => Self::Watchdog,
            "machine" => Self::Machine,
            "cicustom" => Self::CiCustom,
            "agent" => Self::Agent,
            "vga" => Self::Vga,
            "ipconfig" => Self::IpConfig,
            _ => return None,
        })
    }

    /// It is one of a disk.
    pub fn is_drive(self) -> bool {
        matches!(
            self,
            Self::Ide | Self::Sata | Self::Scsi | Self::Virtio | Self::EfiDisk | Self::TpmState
        )
    }

    fn keys(self) -> &'static [Key] {
        match self {
            Self::Ide => table::IDE,
            Self::Sata => table::SATA,
            Self::Scsi => table::SCSI,
            Self::Virtio => table::VIRTIO,
            Self::EfiDisk => table::EFIDISK,
            Self::TpmState => table::TPMSTATE,
            Self::Net => table::NET,
            Self::Boot => table::BOOT,
            Self::Cpu => table::CPU,
            Self::HostPci => table::HOSTPCI,
            Self::Usb => table::USB,
            Self::Smbios1 => table::SMBIOS1,
            Self::Rng => table::RNG,
            Self::Watchdog => table::WATCHDOG,
            Self::Machine => table::MACHINE,
            Self::CiCustom => table::CICUSTOM,
            Self::Agent => table::AGENT,
            Self::Vga => table::VGA,
            Self::IpConfig => table::IPCONFIG,
        }
    }
}

/// A value of a property string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar {
    /// A truth value: `1`, `on`, `yes` and `true` are one.
    Bool(bool),
    /// The size of a disk.
    Size(Size),
    /// Anything else, as it was written.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(flag) => f.write_str(if *flag { "1" } else { "0" }),
            Self::Size(size) => size.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Why a text is no property string of its format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyError {
    key: String,
    what: &'static str,
}

impl fmt::Display for PropertyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(self.what)
        } else {
            write!(f, "{}: {}", self.key, self.what)
        }
    }
}

impl std::error::Error for PropertyError {}

fn fail<T>(key: &str, what: &'static str) -> Result<T, PropertyError> {
    Err(PropertyError { key: key.to_owned(), what })
}

/// A property string: the same setting written in another way is equal.
///
/// ```
/// use proxmox_client::wire::{Format, PropertyString};
///
/// let written = PropertyString::parse(Format::Net, "bridge=vmbr0,virtio=BC:24:11:00:00:01,firewall=on")?;
/// let stored = PropertyString::parse(Format::Net, "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1")?;
/// assert_eq!(written, stored);
/// assert_eq!(written.to_string(), "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1");
/// # Ok::<(), proxmox_client::wire::PropertyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyString {
    format: Format,
    values: BTreeMap<&'static str, Scalar>,
}

impl PropertyString {
    /// Reads a property string.
    ///
    /// # Errors
    /// A key is unknown or stands twice, a value is not of its type, or a required key is missing.
    pub fn parse(format: Format, text: &str) -> Result<Self, PropertyError> {
        let keys = format.keys();
        let default = keys.iter().find(|key| key.is_default);
        let mut values: BTreeMap<&'static str, Scalar> = BTreeMap::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (key, value) = match (part.split_once('='), default) {
                (Some(("", _)), _) => return fail("", "a key is missing"),
                (Some((name, "")), _) => return fail(name, "the value is empty"),
                (Some((name, value)), _) => match keys.iter().find(|key| key.name == name) {
                    Some(key) => (key, value),
                    None => return fail(name, "there is no such key"),
                },
                (None, Some(default)) => (default, part),
                (None, None) => return fail(part, "a value needs a key here"),
            };
            let target = match key.target {
                None => key,
                Some(alias) => match keys.iter().find(|key| key.name == alias) {
                    Some(target) => target,
                    None => return fail(key.name, "there is no such key"),
                },
            };
            if let Some(name) = key.model
                && values.insert(name, Scalar::Text(key.name.to_owned())).is_some()
            {
                return fail(name, "it stands twice");
            }
            let scalar = scalar(target, value)?;
            if values.insert(target.name, scalar).is_some() {
                return fail(target.name, "it stands twice");
            }
        }
        if let Some(missing) =
            keys.iter().find(|key| key.required && !values.contains_key(key.name))
        {
            return fail(missing.name, "it is required");
        }
        Ok(Self { format, values })
    }

    /// Which property string it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// A value by its key; aliases are resolved.
    pub fn get(&self, key: &str) -> Option<&Scalar> {
        self.values.get(key)
    }

    /// All values by their keys, in alphabetical order.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &Scalar)> {
        self.values.iter().map(|(key, value)| (*key, value))
    }
}

fn scalar(key: &Key, text: &str) -> Result<Scalar, PropertyError> {
    let wrong = |what| fail(key.name, what);
    let plain = || Ok(Scalar::Text(text.to_owned()));
    match key.kind {
        Type::Text => plain(),
        Type::Bool => match text.to_ascii_lowercase().as_str() {
            "1" | "on" | "yes" | "true" => Ok(Scalar::Bool(true)),
            "0" | "off" | "no" | "false" => Ok(Scalar::Bool(false)),
            _ => wrong("it is neither true nor false"),
        },
        Type::Size => match Size::parse(text) {
            Some(size) => Ok(Scalar::Size(size)),
            None => wrong("it is no size"),
        },
        Type::Mac => {
            let parts: Vec<&str> = text.split(':').collect();
            let hex =
                |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            // The lowest bit of the first octet is that of groups.
            let unicast = parts
                .first()
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .is_some_and(|octet| octet & 1 == 0);
            if parts.len() == 6 && parts.iter().all(hex) && unicast {
                plain()
            } else {
                wrong("it is no unicast MAC address")
            }
        }
        Type::Integer(least, most) => {
            let number: Option<i64> = text.parse().ok().filter(|_| !text.starts_with('+'));
            match number {
                Some(number) if within(number, least, most) => plain(),
                _ => wrong("it is no whole number in its range"),
            }
        }
        Type::Number(least, most) => {
            let number: Option<f64> = text.parse().ok().filter(|number: &f64| number.is_finite());
            #[expect(clippy::cast_precision_loss, reason = "the limits are small numbers")]
            let fits = number.is_some_and(|number| {
                least.is_none_or(|least| number >= least as f64)
                    && most.is_none_or(|most| number <= most as f64)
            });
            if fits { plain() } else { wrong("it is no number in its range") }
        }
        Type::Word(words) if words.contains(&text) => plain(),
        Type::Word(_) => wrong("it is none of the values that it may have"),
        Type::Pattern(pattern) => {
            let fits = compiled(pattern).is_some_and(|regex| regex.is_match(text));
            if fits { plain() } else { wrong("it does not have the form it needs") }
        }
    }
}

/// The expression of a pattern of the tables, compiled when it is first met: a site has many
/// thousands of values for some dozen patterns.
fn compiled(pattern: &'static str) -> Option<Arc<Regex>> {
    type Compiled = HashMap<&'static str, Option<Arc<Regex>>>;
    static ALL: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let compile = || Regex::new(&format!("^(?:{pattern})$")).ok().map(Arc::new);
    all.entry(pattern).or_insert_with(compile).clone()
}

fn within(number: i64, least: Option<i64>, most: Option<i64>) -> bool {
    least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most)
}

impl fmt::Display for PropertyString {
    /// As the server prints it: the default key's bare value (with its key where the value has a
    /// `=`), required keys, the rest in alphabetical order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.format.keys();
        let mut left = self.values.clone();
        let mut parts: Vec<String> = Vec::new();
        // A model with its address stands for both.
        if self.format == Format::Net
            && let (Some(model), Some(mac)) = (left.get("model"), left.get("macaddr"))
        {
            parts.push(format!("{model}={mac}"));
            left.remove("model");
            left.remove("macaddr");
        }
        if let Some(default) = keys.iter().find(|key| key.is_default)
            && let Some(value) = left.remove(default.name)
        {
            let text = value.to_string();
            // with such a value the key must stay: the text before the sign would be read as one
            let bare = !text.contains('=');
            parts.push(if bare { text } else { format!("{}={text}", default.name) });
        }
        for key in keys.iter().filter(|key| key.required) {
            if let Some(value) = left.remove(key.name) {
                parts.push(format!("{}={value}", key.name));
            }
        }
        parts.extend(left.iter().map(|(key, value)| format!("{key}={value}")));
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_pattern_compiles() {
        for key in Format::ALL.iter().flat_map(|format| format.keys()) {
            if let Type::Pattern(pattern) = key.kind {
                Regex::new(&format!("^(?:{pattern})$")).unwrap();
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |format, text| PropertyString::parse(format, text).unwrap_err().to_string();
        assert_eq!(error(Format::Net, "virtio,mtu=0"), "mtu: it is no whole number in its range");
        assert_eq!(error(Format::Net, "bridge=vmbr0"), "model: it is required");
        assert_eq!(error(Format::Scsi, "a:1,file=b:2"), "file: it stands twice");
        assert_eq!(error(Format::Scsi, "a:1,colour=red"), "colour: there is no such key");
    }

    #[test]
    fn a_value_with_a_sign_keeps_its_key() {
        let text = "file=store:a=b.raw,size=1G";
        let drive = PropertyString::parse(Format::Scsi, text).unwrap();
        assert_eq!(drive.to_string(), text);
        assert_eq!(PropertyString::parse(Format::Scsi, &drive.to_string()), Ok(drive));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            tag in proptest::option::of(1_u16..4095),
            mtu in proptest::option::of(1_u32..65_521),
            firewall in any::<bool>(),
        ) {
            let mut text = format!("virtio=BC:24:11:00:00:01,firewall={}", u8::from(firewall));
            if let Some(tag) = tag {
                text = format!("{text},tag={tag}");
            }
            if let Some(mtu) = mtu {
                text = format!("{text},mtu={mtu}");
            }
            let first = PropertyString::parse(Format::Net, &text).unwrap();
            let again = PropertyString::parse(Format::Net, &first.to_string()).unwrap();
            prop_assert_eq!(first, again);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,80}") {
            drop(PropertyString::parse(Format::Scsi, &text));
            drop(PropertyString::parse(Format::Net, &text));
        }
    }
}
