//! What can be wrong with a SOPS file, its keys or its rules.

use std::fmt;

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SopsClass {
    /// No source gave an identity.
    NoIdentity,
    /// Identities are there, none opens the data key.
    WrongIdentity,
    /// No identity is left because a source could not be opened or parsed.
    BadIdentityFile,
    /// The identity needs a person who types a passphrase.
    PassphraseIdentity,
    /// The identity needs a helper program.
    PluginIdentity,
    /// Fewer key groups opened than are needed.
    NotEnoughGroups,
    /// The age file inside the metadata is damaged.
    BadDataKey,
    /// The file is for other key services only.
    UnsupportedKeyService,
    /// A value cannot be opened.
    BadCiphertext,
    /// A value that should be ciphertext is not.
    ValueNotEncrypted,
    /// A value's type is unknown.
    UnknownType,
    /// A value does not parse as its type.
    BadPlaintext,
    /// A key that is not text, or a number that is too large.
    UnsupportedValue,
    /// The computed MAC differs.
    MacMismatch,
    /// There is no MAC.
    MacMissing,
    /// The MAC cannot be opened.
    MacUndecryptable,
    /// There is no SOPS metadata.
    NotEncrypted,
    /// The metadata is wrong.
    MalformedMetadata,
    /// Nobody may open the file.
    NoRecipients,
    /// More than one rule says which values are encrypted.
    ConflictingRules,
    /// The metadata's version is no version.
    BadVersion,
    /// The text is not of the form that was asked for.
    BadFormat,
    /// No `.sops.yaml` with rules.
    NoConfig,
    /// No rule of `.sops.yaml` fits the path.
    NoMatchingRule,
    /// `.sops.yaml` is wrong.
    BadConfig,
    /// A `path_regex` does not compile.
    BadPathRegex,
    /// A recipient is none.
    BadRecipient,
    /// More shares are needed than there are.
    BadThreshold,
    /// The file is encrypted already.
    AlreadyEncrypted,
    /// The file is empty.
    EmptyFile,
    /// A key is not text.
    NonStringKey,
    /// It cannot be written in this form.
    CannotEmit,
}

impl SopsClass {
    /// The class's stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoIdentity => "no-identity",
            Self::WrongIdentity => "wrong-identity",
            Self::BadIdentityFile => "bad-identity-file",
            Self::PassphraseIdentity => "passphrase-identity",
            Self::PluginIdentity => "plugin-identity",
            Self::NotEnoughGroups => "not-enough-groups",
            Self::BadDataKey => "bad-data-key",
            Self::UnsupportedKeyService => "unsupported-key-service",
            Self::BadCiphertext => "bad-ciphertext",
            Self::ValueNotEncrypted => "value-not-encrypted",
            Self::UnknownType => "unknown-type",
            Self::BadPlaintext => "bad-plaintext",
            Self::UnsupportedValue => "unsupported-value",
            Self::MacMismatch => "mac-mismatch",
            Self::MacMissing => "mac-missing",
            Self::MacUndecryptable => "mac-undecryptable",
            Self::NotEncrypted => "not-encrypted",
            Self::MalformedMetadata => "malformed-metadata",
            Self::NoRecipients => "no-recipients",
            Self::ConflictingRules => "conflicting-rules",
            Self::BadVersion => "bad-version",
            Self::BadFormat => "bad-format",
            Self::NoConfig => "no-config",
            Self::NoMatchingRule => "no-matching-rule",
            Self::BadConfig => "bad-config",
            Self::BadPathRegex => "bad-path-regex",
            Self::BadRecipient => "bad-recipient",
            Self::BadThreshold => "bad-threshold",
            Self::AlreadyEncrypted => "already-encrypted",
            Self::EmptyFile => "empty-file",
            Self::NonStringKey => "non-string-key",
            Self::CannotEmit => "cannot-emit",
        }
    }

    /// What to do next, where something can be said.
    pub fn help(self) -> Option<&'static str> {
        Some(match self {
            Self::NoIdentity => {
                "set SOPS_AGE_KEY_FILE or SOPS_AGE_KEY, or put the key into sops/age/keys.txt of \
                 your configuration folder"
            }
            Self::WrongIdentity | Self::NotEnoughGroups => {
                "ask somebody who can open the file to add your recipient with `sops updatekeys`"
            }
            Self::MacMismatch => {
                "the file was edited without sops, or damaged: restore it from version control"
            }
            Self::UnsupportedKeyService => {
                "add an age recipient to the file with sops, which can open it with that service"
            }
            Self::NoConfig | Self::NoMatchingRule => {
                "add a creation rule with an age recipient for this path to .sops.yaml"
            }
            _ => return None,
        })
    }
}

/// A SOPS file, key or rule that cannot be used. Its text holds no value of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SopsError {
    class: SopsClass,
    text: String,
}

impl SopsError {
    pub(super) fn new(class: SopsClass, text: impl Into<String>) -> Self {
        Self { class, text: text.into() }
    }

    /// The kind of the failure.
    pub fn class(&self) -> SopsClass {
        self.class
    }

    /// What to do next, where something can be said.
    pub fn help(&self) -> Option<&'static str> {
        self.class.help()
    }
}

impl fmt::Display for SopsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SopsError {}

pub(super) type Result<T> = std::result::Result<T, SopsError>;

pub(super) fn fail<T>(class: SopsClass, text: impl Into<String>) -> Result<T> {
    Err(SopsError::new(class, text))
}
