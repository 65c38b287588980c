//! Writing files of our own.

use std::io::Write as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::cipher::{DataKey, seal};
use super::config::CreationRule;
use super::error::{Result, SopsClass, fail};
use super::read::{Mac, additional_data};
use super::rule::{Selection, Selector};
use super::tree::{Key, Tree, Value};
use super::{Format, json, shamir, yaml};

/// The version of sops whose form our files have.
const VERSION: &str = "3.13.3";

/// Length of a data key, in bytes.
const KEY_BYTES: usize = 32;

/// A file that was encrypted.
#[derive(Debug, Clone, PartialEq)]
pub struct Encrypted {
    /// The file.
    pub bytes: Vec<u8>,
    /// Paths of leaves that are encrypted.
    pub encrypted_paths: Vec<Vec<Step>>,
    /// Paths of leaves that stay readable.
    pub plain_paths: Vec<Vec<Step>>,
    /// Paths of leaves that are never encrypted, because they are empty.
    pub empty_paths: Vec<Vec<Step>>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a map.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// What is to be encrypted.
#[derive(Debug, Clone)]
pub enum Plain<'a> {
    /// The text of a file of this form.
    Text(&'a [u8]),
    /// A tree of values.
    Tree(Tree),
}

/// Encrypts a file by a rule. `now` is the time in RFC 3339 seconds.
///
/// # Errors
/// The text is not of its form, is encrypted already, a recipient cannot be served, or the form
/// is not one that is written (dotenv, INI).
pub fn encrypt(
    plain: Plain<'_>,
    format: Format,
    rule: &CreationRule,
    now: &str,
) -> Result<Encrypted> {
    let tree = documents(plain, format)?;
    rule.check()?;
    // A binary file is wholly encrypted, whatever the rule says.
    let mac_only_encrypted = rule.mac_only_encrypted && format != Format::Binary;
    let selection = if format == Format::Binary { Selection::All } else { rule.selection.clone() };
    if let Selection::ByComment { name, .. } = selection {
        return fail(
            SopsClass::BadConfig,
            format!("the rule selects by `{name}`, but files written here have no comments"),
        );
    }
    let mut random = Zeroizing::new(vec![0_u8; KEY_BYTES]);
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut random);
    let key = DataKey(random);
    let mut walk = Sealer {
        key: &key,
        selector: Selector::new(&selection),
        mac: Mac::new(mac_only_encrypted),
        names: Vec::new(),
        path: Vec::new(),
        report: Encrypted {
            bytes: Vec::new(),
            encrypted_paths: Vec::new(),
            plain_paths: Vec::new(),
            empty_paths: Vec::new(),
        },
    };
    let mut sealed = Vec::new();
    for (number, document) in tree.iter().enumerate() {
        if tree.len() > 1 {
            walk.path.push(Step::Index(number));
        }
        sealed.push(walk.value(document)?);
        walk.path.clear();
    }
    let mac = walk.mac.finish();
    let mut report = walk.report;
    let block = block(rule, &key, &mac, now, format)?;
    report.bytes = emit(sealed, &block, format)?;
    Ok(report)
}

fn documents(plain: Plain<'_>, format: Format) -> Result<Tree> {
    let bytes = match plain {
        Plain::Tree(tree) => return Ok(tree),
        Plain::Text(bytes) => bytes,
    };
    let mut tree = match format {
        Format::Yaml => yaml::read(bytes)?,
        Format::Json => vec![json::read(bytes)?],
        Format::Binary => {
            let data = match String::from_utf8(bytes.to_vec()) {
                Ok(text) => Value::Str(text),
                Err(error) => Value::Bytes(error.into_bytes()),
            };
            return Ok(vec![Value::Map(vec![(Key::Str("data".into()), data)])]);
        }
        Format::Dotenv | Format::Ini => {
            return fail(
                SopsClass::BadFormat,
                "dotenv and INI files are read or refused, not written",
            );
        }
    };
    if tree.is_empty() {
        if format == Format::Yaml && bytes.is_empty() {
            return fail(SopsClass::EmptyFile, "the file is empty");
        }
        tree.push(Value::Map(Vec::new()));
    }
    if tree.iter().any(|document| document.get("sops").is_some()) {
        return fail(SopsClass::AlreadyEncrypted, "the file has a top-level key `sops`");
    }
    Ok(tree)
}

struct Sealer<'a> {
    key: &'a DataKey,
    selector: Selector<'a>,
    mac: Mac,
    names: Vec<String>,
    path: Vec<Step>,
    report: Encrypted,
}

impl Sealer<'_> {
    fn value(&mut self, value: &Value) -> Result<Value> {
        match value {
            Value::Map(entries) if !entries.is_empty() => {
                let mut sealed = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let Key::Str(name) = key else {
                        return fail(
                            SopsClass::NonStringKey,
                            format!("a key below {:?} is not text", self.names.join(".")),
                        );
                    };
                    self.names.push(name.clone());
                    self.path.push(Step::Key(name.clone()));
                    sealed.push((key.clone(), self.value(value)?));
                    self.path.pop();
                    self.names.pop();
                }
                Ok(Value::Map(sealed))
            }
            Value::List(items) if !items.is_empty() => {
                let mut sealed = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    sealed.push(self.value(item)?);
                    self.path.pop();
                }
                Ok(Value::List(sealed))
            }
            leaf => self.leaf(leaf),
        }
    }

    fn leaf(&mut self, value: &Value) -> Result<Value> {
        if matches!(value, Value::Huge(_)) {
            return fail(
                SopsClass::UnsupportedValue,
                format!("the number at {:?} has more than 63 bits", self.names.join(".")),
            );
        }
        if value.is_empty_leaf() {
            self.report.empty_paths.push(self.path.clone());
            return Ok(value.clone());
        }
        let is_encrypted = self.selector.takes(&self.names, None);
        self.mac.add(value, is_encrypted);
        if !is_encrypted {
            self.report.plain_paths.push(self.path.clone());
            return Ok(value.clone());
        }
        self.report.encrypted_paths.push(self.path.clone());
        let Some((text, kind)) = value.sealed_text() else { return Ok(value.clone()) };
        let text = Zeroizing::new(text);
        Ok(Value::Str(seal(&text, kind, self.key, &additional_data(&self.names))?))
    }
}

fn text(text: impl Into<String>) -> Value {
    Value::Str(text.into())
}

fn entry(name: &str, value: Value) -> (Key, Value) {
    (Key::Str(name.to_owned()), value)
}

/// The `sops` block, its keys in alphabetical order.
fn block(
    rule: &CreationRule,
    key: &DataKey,
    mac: &str,
    now: &str,
    format: Format,
) -> Result<Value> {
    let mut entries = Vec::new();
    if let [group] = rule.groups.as_slice() {
        entries.push(entry("age", age_list(group, &key.0)?));
    } else {
        let count = u8::try_from(rule.groups.len()).unwrap_or(u8::MAX);
        let threshold = u8::try_from(rule.threshold.unwrap_or(rule.groups.len())).unwrap_or(count);
        let shares = shamir::split(&key.0, count, threshold);
        let mut groups = Vec::new();
        for (group, share) in rule.groups.iter().zip(&shares) {
            groups.push(Value::Map(vec![
                entry("hc_vault", Value::List(Vec::new())),
                entry("age", age_list(group, share)?),
            ]));
        }
        entries.push(entry("key_groups", Value::List(groups)));
    }
    if let Some(threshold) = rule.written_threshold() {
        entries.push(entry("shamir_threshold", Value::Int(i64::try_from(threshold).unwrap_or(0))));
    }
    entries.push(entry("lastmodified", text(now)));
    entries.push(entry("mac", text(seal(mac.as_bytes(), "str", key, now)?)));
    if rule.mac_only_encrypted && format != Format::Binary {
        entries.push(entry("mac_only_encrypted", Value::Bool(true)));
    }
    if format != Format::Binary
        && let Some((name, value)) = rule.selection_entry()
    {
        entries.push(entry(name, text(value)));
    }
    entries.push(entry("version", text(VERSION)));
    entries.sort_by(|(a, _), (b, _)| key_text(a).cmp(key_text(b)));
    Ok(Value::Map(entries))
}

fn key_text(key: &Key) -> &str {
    match key {
        Key::Str(text) => text,
        Key::Other(name) => name,
    }
}

fn age_list(recipients: &[String], secret: &[u8]) -> Result<Value> {
    let mut list = Vec::new();
    for recipient in recipients {
        list.push(Value::Map(vec![
            entry("enc", text(seal_for(recipient, secret)?)),
            entry("recipient", text(recipient.clone())),
        ]));
    }
    Ok(Value::List(list))
}

/// Makes a recipient of its text.
pub(super) fn recipient(text: &str) -> Result<Box<dyn age::Recipient + Send>> {
    if text.starts_with("age1")
        && let Ok(recipient) = text.parse::<age::x25519::Recipient>()
    {
        return Ok(Box::new(recipient));
    }
    if text.starts_with("ssh-")
        && let Ok(recipient) = text.parse::<age::ssh::Recipient>()
    {
        return Ok(Box::new(recipient));
    }
    let why = match text {
        text if text.starts_with("age1pq1") => "hybrid recipients cannot be served here",
        text if text.starts_with("AGE-SECRET-KEY-") => "that is a private key, not a recipient",
        _ => "it is neither an age nor an SSH recipient",
    };
    let shown = if text.starts_with("AGE-") { "…" } else { text };
    fail(SopsClass::BadRecipient, format!("recipient {shown:?}: {why}"))
}

fn seal_for(to: &str, secret: &[u8]) -> Result<String> {
    let recipient = recipient(to)?;
    let cannot = |error: String| {
        super::error::SopsError::new(SopsClass::BadRecipient, format!("recipient {to:?}: {error}"))
    };
    let recipients = std::iter::once(recipient.as_ref() as &dyn age::Recipient);
    let encryptor =
        age::Encryptor::with_recipients(recipients).map_err(|error| cannot(error.to_string()))?;
    let mut out = Vec::new();
    let armor = age::armor::ArmoredWriter::wrap_output(&mut out, age::armor::Format::AsciiArmor)
        .map_err(|error| cannot(error.to_string()))?;
    let written = encryptor.wrap_output(armor).and_then(|mut writer| {
        writer.write_all(secret)?;
        writer.finish()?.finish()?;
        Ok(())
    });
    written.map_err(|error| cannot(error.to_string()))?;
    String::from_utf8(out).map_err(|_| cannot("its armor is not text".into()))
}

fn emit(sealed: Tree, block: &Value, format: Format) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for (number, mut document) in sealed.into_iter().enumerate() {
        let Value::Map(entries) = &mut document else { continue };
        entries.push(entry("sops", block.clone()));
        match format {
            Format::Yaml => {
                if number > 0 {
                    out.extend_from_slice(b"---\n");
                }
                out.extend(yaml::write(&document)?);
            }
            _ => out.extend(json::write(&document)?),
        }
    }
    Ok(out)
}

/// The time now in the form that SOPS writes, for callers that hold a clock.
pub fn time_text(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

/// Whether a path lies inside another.
pub(super) fn relative_to<'a>(path: &'a Path, dir: &Path) -> Option<&'a Path> {
    path.strip_prefix(dir).ok()
}
