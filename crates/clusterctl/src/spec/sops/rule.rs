//! Which values of a file are encrypted.

use regex::Regex;

/// The one rule of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All but those below a key with this suffix.
    UnencryptedSuffix(String),
    /// Those below a key with this suffix.
    EncryptedSuffix(String),
    /// All but those below a key that matches.
    UnencryptedRegex(String),
    /// Those below a key that matches.
    EncryptedRegex(String),
    /// By comments: what is sealed is told by how it looks.
    ByComment {
        /// The key of the metadata.
        name: &'static str,
        /// The regular expression.
        regex: String,
    },
    /// Everything.
    All,
}

impl Default for Selection {
    fn default() -> Self {
        Self::UnencryptedSuffix("_unencrypted".to_owned())
    }
}

/// A rule, ready to be asked.
pub(super) struct Selector<'a> {
    rule: &'a Selection,
    regex: Option<Regex>,
}

impl<'a> Selector<'a> {
    pub(super) fn new(rule: &'a Selection) -> Self {
        let regex = match rule {
            Selection::UnencryptedRegex(text) | Selection::EncryptedRegex(text) => {
                // One that does not compile matches nothing, as in the Go program.
                Regex::new(text).ok()
            }
            _ => None,
        };
        Self { rule, regex }
    }

    /// Whether the value at this path is encrypted.
    pub(super) fn takes(&self, path: &[String], text: Option<&str>) -> bool {
        let matches = |key: &String| self.regex.as_ref().is_some_and(|regex| regex.is_match(key));
        match self.rule {
            Selection::UnencryptedSuffix(suffix) => {
                !path.iter().any(|key| key.ends_with(suffix.as_str()))
            }
            Selection::EncryptedSuffix(suffix) => {
                path.iter().any(|key| key.ends_with(suffix.as_str()))
            }
            Selection::UnencryptedRegex(_) => !path.iter().any(matches),
            Selection::EncryptedRegex(_) => path.iter().any(matches),
            Selection::ByComment { .. } => {
                text.is_some_and(|text| text.starts_with("ENC[AES256_GCM,"))
            }
            Selection::All => true,
        }
    }
}
