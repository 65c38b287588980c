//! Reading: metadata, data key, values in file order, MAC.

use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

use super::Format;
use super::cipher::{DataKey, open, typed};
use super::error::{Result, SopsClass, SopsError, fail};
use super::identity::{Identities, NotOpened};
use super::metadata::{Group, Metadata};
use super::rule::Selector;
use super::tree::{Key, Tree, Value};
use super::{dotenv, json, metadata, shamir, yaml};

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Decrypted {
    /// Documents of values.
    Tree(Tree),
    /// Bytes.
    Binary(Zeroizing<Vec<u8>>),
}

impl Decrypted {
    /// The first document.
    pub fn first(&self) -> Option<&Value> {
        match self {
            Self::Tree(tree) => tree.first(),
            Self::Binary(_) => None,
        }
    }

    /// The text of its first document, printed in this form.
    ///
    /// # Errors
    /// A value cannot be written in the form.
    pub fn to_text(&self, format: Format) -> Result<String> {
        let bytes = match (self, format) {
            (Self::Binary(bytes), _) => bytes.to_vec(),
            (Self::Tree(_), Format::Dotenv) => self.dotenv_text().into_bytes(),
            (Self::Tree(tree), Format::Yaml) => yaml::write(tree.first().unwrap_or(&Value::Null))?,
            (Self::Tree(tree), _) => json::write(tree.first().unwrap_or(&Value::Null))?,
        };
        String::from_utf8(bytes)
            .map_err(|_| SopsError::new(SopsClass::CannotEmit, "the content is not text"))
    }

    fn dotenv_text(&self) -> String {
        let Some(Value::Map(entries)) = self.first() else { return String::new() };
        let mut text = String::new();
        for (key, value) in entries {
            if let (Key::Str(key), Some((bytes, _))) = (key, value.sealed_text()) {
                text.push_str(key);
                text.push('=');
                text.push_str(&String::from_utf8_lossy(&bytes).replace('\n', "\\n"));
                text.push('\n');
            }
        }
        text
    }

    /// Whether it holds what a plain text of this form holds.
    pub fn same_as_text(&self, text: &[u8], format: Format) -> bool {
        match (self, parse(text, format)) {
            (Self::Tree(tree), Ok((other, _))) => {
                tree.len() == other.len() && tree.iter().zip(&other).all(|(a, b)| a.is_same(b))
            }
            _ => false,
        }
    }
}

/// Decrypts a file and verifies its MAC.
///
/// # Errors
/// A [`SopsError`] of the first thing that is wrong, in the order: form, metadata, version, data
/// key, values in file order, MAC. It never holds a value of the file.
pub fn decrypt(bytes: &[u8], format: Format, identities: &mut Identities) -> Result<Decrypted> {
    let (mut tree, block) = parse(bytes, format)?;
    let Some(block) = block else {
        return fail(SopsClass::NotEncrypted, "the file has no `sops` block: it is not encrypted");
    };
    let metadata = metadata::read(&block)?;
    let key = data_key(&metadata, identities)?;
    let mut walk = Walk {
        key: &key,
        selector: Selector::new(&metadata.rule),
        mac: Mac::new(metadata.mac_only_encrypted),
        path: Vec::new(),
    };
    for document in &mut tree {
        walk.value(document)?;
    }
    walk.mac.verify(&metadata, &key)?;
    if format == Format::Yaml {
        refuse_sealed_remarks(bytes)?;
    }
    if format != Format::Binary {
        return Ok(Decrypted::Tree(tree));
    }
    match tree.first().and_then(|document| document.get("data")) {
        Some(Value::Str(text)) => Ok(Decrypted::Binary(Zeroizing::new(text.clone().into_bytes()))),
        Some(Value::Bytes(bytes)) => Ok(Decrypted::Binary(Zeroizing::new(bytes.clone()))),
        Some(_) => fail(SopsClass::BadFormat, "`data` of the binary file is not text"),
        None => fail(SopsClass::BadFormat, "the binary file has no `data`"),
    }
}

/// A remark that was sealed as anything but a comment counts in the MAC; nothing writes such a
/// file, so its MAC is taken as wrong instead of being computed in another way.
fn refuse_sealed_remarks(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let odd = text.lines().map(str::trim).any(|line| {
        line.strip_prefix("#ENC[AES256_GCM,")
            .and_then(|rest| rest.rsplit_once(",type:"))
            .is_some_and(|(_, kind)| kind.ends_with(']') && kind != "comment]")
    });
    if odd {
        return fail(SopsClass::MacMismatch, "a remark of the file is sealed as a value");
    }
    Ok(())
}

/// The documents without the metadata, and the metadata of the first.
pub(super) fn parse(bytes: &[u8], format: Format) -> Result<(Tree, Option<Value>)> {
    match format {
        Format::Ini => fail(
            SopsClass::BadFormat,
            "INI files are not read: convert the file to YAML, JSON or dotenv with sops",
        ),
        Format::Dotenv => {
            let (values, block) = dotenv::read(bytes)?;
            Ok((vec![values], block))
        }
        Format::Json | Format::Binary => {
            let mut document = json::read(bytes)?;
            let block = take_block(&mut document);
            Ok((vec![document], block))
        }
        Format::Yaml => {
            let mut documents = yaml::read(bytes)?;
            let mut first = None;
            for (number, document) in documents.iter_mut().enumerate() {
                let block = take_block(document);
                if number == 0 {
                    first = block;
                }
            }
            Ok((documents, first))
        }
    }
}

fn take_block(document: &mut Value) -> Option<Value> {
    let Value::Map(entries) = document else { return None };
    let at = entries.iter().position(|(key, _)| *key == Key::Str("sops".to_owned()))?;
    Some(entries.remove(at).1)
}

/// Opens the data key: by any recipient of the one group, or by enough groups.
fn data_key(metadata: &Metadata, identities: &mut Identities) -> Result<DataKey> {
    let all_services = metadata.groups.iter().all(|group| group.age.is_empty());
    if all_services {
        let names: Vec<String> =
            metadata.groups.iter().flat_map(|group| group.services.clone()).collect();
        return fail(
            SopsClass::UnsupportedKeyService,
            format!(
                "the file can be opened with {} only; age is what is read here",
                names.join(", ")
            ),
        );
    }
    let mut shares = Vec::new();
    let mut worst = NotOpened::NoMatch;
    for group in &metadata.groups {
        match open_group(group, identities) {
            Ok(share) => shares.push(share),
            Err(NotOpened::Damaged) => worst = NotOpened::Damaged,
            Err(NotOpened::NoMatch) => {}
        }
    }
    let several = metadata.groups.len() > 1;
    if !several {
        return match shares.pop() {
            Some(key) => Ok(DataKey(key)),
            None if worst == NotOpened::Damaged && !identities.is_empty() => {
                fail(SopsClass::BadDataKey, "the sealed data key of the file is damaged")
            }
            None => identities
                .lack(SopsClass::WrongIdentity, "the data key of the file cannot be opened".into()),
        };
    }
    let needed = metadata.threshold.unwrap_or(metadata.groups.len());
    if shares.len() < needed {
        return identities.lack(
            SopsClass::NotEnoughGroups,
            format!("{} of {needed} key groups that are needed could be opened", shares.len()),
        );
    }
    match shamir::combine(&shares) {
        Some(key) => Ok(DataKey(key)),
        None => fail(SopsClass::NotEnoughGroups, "the shares of the data key do not fit together"),
    }
}

fn open_group(
    group: &Group,
    identities: &mut Identities,
) -> std::result::Result<Zeroizing<Vec<u8>>, NotOpened> {
    let mut worst = NotOpened::NoMatch;
    for entry in &group.age {
        match identities.open(entry) {
            Ok(key) => return Ok(key),
            Err(NotOpened::Damaged) => worst = NotOpened::Damaged,
            Err(NotOpened::NoMatch) => {}
        }
    }
    Err(worst)
}

/// The hash over all values.
pub(super) struct Mac {
    hash: Sha512,
    only_encrypted: bool,
}

impl Mac {
    pub(super) fn new(only_encrypted: bool) -> Self {
        let mut hash = Sha512::new();
        if only_encrypted {
            // Tells the two kinds of MAC apart.
            hash.update(Sha256::digest(b"sops"));
        }
        Self { hash, only_encrypted }
    }

    pub(super) fn add(&mut self, value: &Value, is_encrypted: bool) {
        if self.only_encrypted && !is_encrypted {
            return;
        }
        if let Some((text, kind)) = value.sealed_text()
            && kind != "comment"
        {
            self.hash.update(Zeroizing::new(text).as_slice());
        }
    }

    pub(super) fn finish(self) -> String {
        use std::fmt::Write as _;
        self.hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02X}");
            text
        })
    }

    fn verify(self, metadata: &Metadata, key: &DataKey) -> Result<()> {
        let Some(sealed) = &metadata.mac else {
            return fail(SopsClass::MacMissing, "the file has no MAC");
        };
        let opened = open(sealed, key, &metadata.lastmodified)
            .and_then(|opened| typed(&opened, "mac"))
            .map_err(|error: SopsError| {
                SopsError::new(SopsClass::MacUndecryptable, format!("open the MAC: {error}"))
            })?;
        let computed = self.finish();
        if opened.as_str() == Some(computed.as_str()) {
            return Ok(());
        }
        fail(SopsClass::MacMismatch, "the MAC differs: values were changed without sops")
    }
}

struct Walk<'a> {
    key: &'a DataKey,
    selector: Selector<'a>,
    mac: Mac,
    path: Vec<String>,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value) -> Result<()> {
        match value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    let Key::Str(name) = key else {
                        return fail(
                            SopsClass::UnsupportedValue,
                            format!("a key below {:?} is not text", self.path.join(".")),
                        );
                    };
                    self.path.push(name.clone());
                    self.value(value)?;
                    self.path.pop();
                }
                Ok(())
            }
            Value::List(items) => items.iter_mut().try_for_each(|item| self.value(item)),
            leaf => self.leaf(leaf),
        }
    }

    fn leaf(&mut self, value: &mut Value) -> Result<()> {
        if matches!(value, Value::Huge(_)) {
            return fail(
                SopsClass::UnsupportedValue,
                format!("the number at {:?} has more than 63 bits", self.path.join(".")),
            );
        }
        if value.is_empty_leaf() {
            return Ok(());
        }
        let is_encrypted = self.selector.takes(&self.path, value.as_str());
        if is_encrypted {
            let path = additional_data(&self.path);
            let Value::Str(text) = &*value else {
                return fail(
                    SopsClass::ValueNotEncrypted,
                    format!("the value at {path:?} is not encrypted"),
                );
            };
            let opened = open(text, self.key, &path)?;
            *value = typed(&opened, &path)?;
        }
        self.mac.add(value, is_encrypted);
        Ok(())
    }
}

/// The keys of a path, each with a colon behind it; positions in lists are left out.
pub(super) fn additional_data(path: &[String]) -> String {
    let mut text = path.join(":");
    text.push(':');
    text
}
