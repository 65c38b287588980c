//! `.sops.yaml`: which recipients and which rule a new file gets.

use std::path::{Path, PathBuf};

use regex::Regex;

use super::error::{Result, SopsClass, SopsError, fail};
use super::rule::Selection;
use super::tree::Value;
use super::{write, yaml};

/// Largest `.sops.yaml` that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// How a new file is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreationRule {
    /// Groups of recipients.
    pub groups: Vec<Vec<String>>,
    /// Groups that are needed; all of them when it is not given.
    pub threshold: Option<usize>,
    /// Which values are encrypted.
    pub selection: Selection,
    /// Whether the rule was given, or is the default.
    pub selection_given: bool,
    /// Only encrypted values count in the MAC.
    pub mac_only_encrypted: bool,
}

/// What the caller adds to the rules, as sops' options and variables do.
#[derive(Debug, Clone, Default)]
pub struct EncryptOptions {
    /// Recipients that replace those of the rule: comma-separated text.
    pub recipients: Option<String>,
}

impl CreationRule {
    /// Every group has a recipient, every recipient can be served, the threshold can be met.
    pub(super) fn check(&self) -> Result<()> {
        if self.groups.is_empty() || self.groups.iter().any(Vec::is_empty) {
            return fail(SopsClass::NoRecipients, "the rule names a group without any recipient");
        }
        for recipient in self.groups.iter().flatten() {
            write::recipient(recipient)?;
        }
        if self.groups.len() > 1 {
            let threshold = self.threshold.unwrap_or(self.groups.len());
            if threshold > self.groups.len() || threshold < 2 {
                return fail(
                    SopsClass::BadThreshold,
                    format!("{threshold} of {} key groups cannot be asked for", self.groups.len()),
                );
            }
        }
        Ok(())
    }

    /// The threshold that the metadata names: the given one, else all of several groups.
    pub fn written_threshold(&self) -> Option<usize> {
        self.threshold.or_else(|| (self.groups.len() > 1).then_some(self.groups.len()))
    }

    /// Sets which values are encrypted, as an option on a command line does.
    ///
    /// # Errors
    /// The rule says so already, in another way.
    pub fn select(&mut self, selection: Selection) -> Result<()> {
        let same_kind =
            std::mem::discriminant(&selection) == std::mem::discriminant(&self.selection);
        if self.selection_given && !same_kind {
            return fail(
                SopsClass::ConflictingRules,
                "a file may say only once which values are encrypted",
            );
        }
        self.selection = selection;
        self.selection_given = true;
        Ok(())
    }

    /// The key and value of the metadata that say which values are encrypted.
    pub fn selection_entry(&self) -> Option<(&'static str, String)> {
        match &self.selection {
            Selection::UnencryptedSuffix(text) => Some(("unencrypted_suffix", text.clone())),
            Selection::EncryptedSuffix(text) => Some(("encrypted_suffix", text.clone())),
            Selection::UnencryptedRegex(text) => Some(("unencrypted_regex", text.clone())),
            Selection::EncryptedRegex(text) => Some(("encrypted_regex", text.clone())),
            Selection::ByComment { name, regex } => Some((name, regex.clone())),
            Selection::All => None,
        }
    }
}

/// Finds the nearest `.sops.yaml` from `from` upwards and the first of its rules that fits
/// `file`; the path is taken relative to the configuration's folder.
///
/// # Errors
/// There is none, it is wrong, or no rule fits.
pub fn find_rule(from: &Path, file: &Path, options: &EncryptOptions) -> Result<CreationRule> {
    for dir in from.ancestors() {
        let config = dir.join(".sops.yaml");
        let Ok(data) = fs_err::metadata(&config) else { continue };
        if data.len() > LARGEST {
            return fail(SopsClass::BadConfig, format!("{} is too large", config.display()));
        }
        let bytes = fs_err::read(&config)
            .map_err(|error| SopsError::new(SopsClass::BadConfig, error.to_string()))?;
        return rule_of(&bytes, &config, file, options);
    }
    match recipients_of(options) {
        Some(recipients) => Ok(default_rule(vec![recipients?])),
        None => fail(
            SopsClass::NoConfig,
            format!("there is no .sops.yaml from {} upwards", from.display()),
        ),
    }
}

fn default_rule(groups: Vec<Vec<String>>) -> CreationRule {
    CreationRule {
        groups,
        threshold: None,
        selection: Selection::default(),
        selection_given: false,
        mac_only_encrypted: false,
    }
}

fn recipients_of(options: &EncryptOptions) -> Option<Result<Vec<String>>> {
    let text = options.recipients.as_ref()?;
    Some(Ok(split(text)))
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn bad<T>(text: impl Into<String>) -> Result<T> {
    fail(SopsClass::BadConfig, text)
}

/// The first rule of a configuration that fits a path.
///
/// # Errors
/// The configuration is wrong, or no rule fits.
pub fn rule_of(
    bytes: &[u8],
    config: &Path,
    file: &Path,
    options: &EncryptOptions,
) -> Result<CreationRule> {
    let documents = yaml::read(bytes).map_err(|error| {
        SopsError::new(SopsClass::BadConfig, format!("{}: {error}", config.display()))
    })?;
    let rules = documents.first().and_then(|document| document.get("creation_rules"));
    let rules = match rules {
        Some(Value::List(rules)) => rules.as_slice(),
        None | Some(Value::Null) => &[],
        Some(_) => return bad(format!("{}: `creation_rules` is not a list", config.display())),
    };
    if rules.iter().any(|rule| !matches!(rule, Value::Map(_))) {
        return bad(format!("{}: a creation rule is not a map", config.display()));
    }
    if rules.is_empty() {
        return match recipients_of(options) {
            Some(recipients) => Ok(default_rule(vec![recipients?])),
            None => {
                fail(SopsClass::NoConfig, format!("{} has no creation rules", config.display()))
            }
        };
    }
    let path = path_in(config, file);
    for rule in rules {
        let pattern = match rule.get("path_regex") {
            None | Some(Value::Null) => None,
            Some(Value::Str(pattern)) if pattern.is_empty() => None,
            Some(Value::Str(pattern)) => Some(pattern),
            Some(_) => return bad("`path_regex` is not text"),
        };
        let fits = match pattern {
            None => true,
            Some(pattern) => match Regex::new(pattern) {
                Ok(regex) => regex.is_match(&path),
                Err(_) => {
                    return fail(
                        SopsClass::BadPathRegex,
                        format!("{}: {pattern:?} is no regular expression", config.display()),
                    );
                }
            },
        };
        if fits {
            return read_rule(rule, options);
        }
    }
    fail(SopsClass::NoMatchingRule, format!("no creation rule of {} fits {path}", config.display()))
}

fn path_in(config: &Path, file: &Path) -> String {
    let dir = config.parent().map(PathBuf::from).unwrap_or_default();
    let shown = write::relative_to(file, &dir).unwrap_or(file);
    shown.to_string_lossy().replace('\\', "/")
}

fn read_rule(rule: &Value, options: &EncryptOptions) -> Result<CreationRule> {
    let (selection, selection_given) = read_selection(rule)?;
    let groups = match recipients_of(options) {
        Some(recipients) => vec![recipients?],
        None => read_groups(rule)?,
    };
    let threshold = match rule.get("shamir_threshold") {
        None | Some(Value::Null | Value::Int(0)) => None,
        Some(Value::Int(number)) => usize::try_from(*number).ok(),
        Some(_) => return bad("`shamir_threshold` is not a number"),
    };
    let mac_only_encrypted = match rule.get("mac_only_encrypted") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => return bad("`mac_only_encrypted` is neither true nor false"),
    };
    Ok(CreationRule { groups, threshold, selection, selection_given, mac_only_encrypted })
}

/// Makes the selection that a key of a rule means.
type MakeSelection = fn(&'static str, String) -> Selection;

fn read_selection(rule: &Value) -> Result<(Selection, bool)> {
    let mut found: Vec<Selection> = Vec::new();
    let kinds: [(&'static str, MakeSelection); 6] = [
        ("unencrypted_suffix", |_, text| Selection::UnencryptedSuffix(text)),
        ("encrypted_suffix", |_, text| Selection::EncryptedSuffix(text)),
        ("unencrypted_regex", |_, text| Selection::UnencryptedRegex(text)),
        ("encrypted_regex", |_, text| Selection::EncryptedRegex(text)),
        ("encrypted_comment_regex", |name, regex| Selection::ByComment { name, regex }),
        ("unencrypted_comment_regex", |name, regex| Selection::ByComment { name, regex }),
    ];
    for (name, make) in kinds {
        match rule.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Str(text)) if text.is_empty() => {}
            Some(Value::Str(text)) => found.push(make(name, text.clone())),
            Some(_) => return bad(format!("`{name}` is not text")),
        }
    }
    if found.len() > 1 {
        return fail(
            SopsClass::ConflictingRules,
            "a creation rule may say only once which values are encrypted",
        );
    }
    Ok(match found.pop() {
        Some(selection) => (selection, true),
        None => (Selection::default(), false),
    })
}

fn read_groups(rule: &Value) -> Result<Vec<Vec<String>>> {
    match rule.get("key_groups") {
        None | Some(Value::Null) => {}
        Some(Value::List(list)) if list.is_empty() => {}
        Some(Value::List(list)) => {
            return list
                .iter()
                .map(|group| {
                    if !matches!(group, Value::Map(_)) {
                        return bad("an item of `key_groups` is not a map");
                    }
                    let mut recipients = Vec::new();
                    read_group(group, &mut recipients, 0)?;
                    Ok(recipients)
                })
                .collect();
        }
        Some(_) => return bad("`key_groups` is not a list"),
    }
    refuse_services(rule)?;
    Ok(vec![read_recipients(rule.get("age"))?])
}

/// Deepest nesting of `merge` in a key group.
const DEEPEST_MERGE: usize = 16;

/// The recipients of a group and of those merged into it, each once.
fn read_group(group: &Value, recipients: &mut Vec<String>, depth: usize) -> Result<()> {
    refuse_services(group)?;
    match group.get("merge") {
        None | Some(Value::Null) => {}
        Some(Value::List(others)) if depth < DEEPEST_MERGE => {
            for other in others {
                read_group(other, recipients, depth + 1)?;
            }
        }
        Some(_) => return bad("`merge` of a key group is not a list of groups"),
    }
    if matches!(group.get("age"), Some(Value::Str(_))) {
        return bad("`age` of a key group is text where a list of texts is expected");
    }
    for recipient in read_recipients(group.get("age"))? {
        if !recipients.contains(&recipient) {
            recipients.push(recipient);
        }
    }
    Ok(())
}

/// Every recipient must be served; one that cannot be stops the encryption.
fn refuse_services(rule: &Value) -> Result<()> {
    let services = [
        "pgp",
        "kms",
        "aws_profile",
        "gcp_kms",
        "hckms",
        "azure_keyvault",
        "azure_kv",
        "hc_vault_transit_uri",
        "hc_vault",
        "vault",
    ];
    for name in services {
        let is_set = match rule.get(name) {
            None => false,
            Some(value) => !value.is_empty_leaf(),
        };
        if is_set {
            return fail(
                SopsClass::UnsupportedKeyService,
                format!(
                    "the creation rule has recipients of `{name}`; age is what is written here"
                ),
            );
        }
    }
    Ok(())
}

fn read_recipients(value: Option<&Value>) -> Result<Vec<String>> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Str(text)) => Ok(split(text)),
        Some(Value::List(items)) => {
            let mut all = Vec::new();
            for item in items {
                match item {
                    Value::Str(text) => all.extend(split(text)),
                    _ => return bad("a recipient of `age` is not text"),
                }
            }
            Ok(all)
        }
        Some(_) => bad("`age` is neither text nor a list of texts"),
    }
}
