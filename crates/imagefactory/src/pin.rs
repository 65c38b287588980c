//! Pins: what a name stood for when it was first used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Digest of the content.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Pins by name (an image reference or a file's name), in the order of the names.
///
/// ```
/// use imagefactory::{Digest, Pin, PinState, Pins};
///
/// let mut pins = Pins::default();
/// let pin = Pin { digest: Digest::of(b"content"), size: 7 };
/// assert_eq!(pins.state("talos.iso", pin), PinState::New);
/// pins.set("talos.iso", pin);
/// assert_eq!(pins.state("talos.iso", pin), PinState::Same);
/// let other = Pin { digest: Digest::of(b"changed"), size: 7 };
/// assert_eq!(pins.state("talos.iso", other), PinState::Changed(pin));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pins(BTreeMap<String, Pin>);

/// How something compares with its pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinState {
    /// There is no pin yet.
    New,
    /// It is what it was.
    Same,
    /// It is not what it was.
    Changed(Pin),
}

impl Pins {
    /// The pin of a name.
    pub fn get(&self, name: &str) -> Option<Pin> {
        self.0.get(name).copied()
    }

    /// Sets the pin of a name.
    pub fn set(&mut self, name: &str, pin: Pin) {
        self.0.insert(name.to_owned(), pin);
    }

    /// Removes the pin of a name.
    pub fn remove(&mut self, name: &str) -> Option<Pin> {
        self.0.remove(name)
    }

    /// How something compares with the pin of its name.
    pub fn state(&self, name: &str, now: Pin) -> PinState {
        match self.get(name) {
            None => PinState::New,
            Some(pin) if pin == now => PinState::Same,
            Some(pin) => PinState::Changed(pin),
        }
    }

    /// All pins, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Pin)> {
        self.0.iter().map(|(name, pin)| (name.as_str(), *pin))
    }
}
