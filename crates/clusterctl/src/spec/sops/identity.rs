//! Identities that open data keys, and where they come from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use age::Identity;
use zeroize::Zeroizing;

use super::error::{Result, SopsClass, fail};
use super::metadata::AgeEntry;

/// Where identities are looked for. All sources are read and joined; none hides another.
#[derive(Debug, Clone, Default)]
pub struct IdentitySources {
    /// The environment: `SOPS_AGE_KEY`, `SOPS_AGE_KEY_FILE`, `SOPS_AGE_KEY_CMD`,
    /// `SOPS_AGE_SSH_PRIVATE_KEY_FILE`, `SOPS_AGE_SSH_PRIVATE_KEY_CMD`, `HOME`,
    /// `XDG_CONFIG_HOME`.
    pub variables: BTreeMap<String, String>,
    /// Further files of age identities.
    pub key_files: Vec<PathBuf>,
    /// Further SSH private keys.
    pub ssh_files: Vec<PathBuf>,
}

/// What a source that gave no identity was like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    Bad,
    Passphrase,
    Plugin,
}

/// Identities at hand.
#[derive(Default)]
pub struct Identities {
    keys: Vec<Box<dyn Identity + Send>>,
    lacks: Vec<Lack>,
    commands: Vec<(String, bool)>,
    variables: BTreeMap<String, String>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// Why one recipient's entry was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotOpened {
    NoMatch,
    Damaged,
}

impl Identities {
    /// Reads all sources but commands, which are asked once a recipient is known. Nothing fails
    /// here: a source that cannot be used is reported when the data key cannot be opened.
    pub fn gather(sources: &IdentitySources) -> Self {
        let mut found = Self { variables: sources.variables.clone(), ..Self::default() };
        let variable = |name: &str| sources.variables.get(name).map(String::as_str);
        let home = variable("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        if let Some(path) = variable("SOPS_AGE_SSH_PRIVATE_KEY_FILE") {
            found.ssh_file(Path::new(path), true);
        }
        if let Some(command) = variable("SOPS_AGE_SSH_PRIVATE_KEY_CMD") {
            found.commands.push((command.to_owned(), true));
        }
        if let Some(home) = &home {
            found.ssh_file(&home.join(".ssh/id_ed25519"), false);
            found.ssh_file(&home.join(".ssh/id_rsa"), false);
        }
        if let Some(text) = variable("SOPS_AGE_KEY") {
            let lines: Vec<&str> = text.split_whitespace().collect();
            let looks_commented = text.lines().any(|line| line.starts_with('#'));
            if looks_commented { found.key_text(text) } else { found.key_text(&lines.join("\n")) }
        }
        if let Some(path) = variable("SOPS_AGE_KEY_FILE") {
            found.key_file(Path::new(path), true);
        }
        if let Some(command) = variable("SOPS_AGE_KEY_CMD") {
            found.commands.push((command.to_owned(), false));
        }
        let config = variable("XDG_CONFIG_HOME")
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
            .or_else(|| {
                let below = if cfg!(target_os = "macos") {
                    "Library/Application Support"
                } else {
                    ".config"
                };
                home.as_ref().map(|home| home.join(below))
            });
        if let Some(config) = config {
            found.key_file(&config.join("sops/age/keys.txt"), false);
        }
        for path in &sources.key_files {
            found.key_file(path, true);
        }
        for path in &sources.ssh_files {
            found.ssh_file(path, true);
        }
        found
    }

    fn key_file(&mut self, path: &Path, named: bool) {
        match fs_err::read(path) {
            Ok(bytes) => {
                let bytes = Zeroizing::new(bytes);
                match std::str::from_utf8(&bytes) {
                    Ok(text) => self.key_text(text),
                    Err(_) => self.lacks.push(Lack::Bad),
                }
            }
            Err(error) if !named && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => self.lacks.push(Lack::Bad),
        }
    }

    /// One identity a line; one bad line spoils the whole text.
    fn key_text(&mut self, text: &str) {
        if text.starts_with("age-encryption.org/v1")
            || text.starts_with("-----BEGIN AGE ENCRYPTED FILE")
        {
            self.lacks.push(Lack::Passphrase);
            return;
        }
        let mut keys: Vec<Box<dyn Identity + Send>> = Vec::new();
        let mut lacks = Vec::new();
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with("AGE-PLUGIN-") {
                lacks.push(Lack::Plugin);
            } else if line.starts_with("AGE-SECRET-KEY-PQ-1") {
                // Hybrid identities need a key exchange that the age library does not have.
                lacks.push(Lack::Plugin);
            } else if line.starts_with("AGE-SECRET-KEY-1")
                && let Ok(key) = line.parse::<age::x25519::Identity>()
            {
                keys.push(Box::new(key));
            } else {
                self.lacks.push(Lack::Bad);
                return;
            }
        }
        self.keys.extend(keys);
        self.lacks.extend(lacks);
    }

    fn ssh_file(&mut self, path: &Path, named: bool) {
        match fs_err::read(path) {
            Ok(bytes) => self.ssh_bytes(&Zeroizing::new(bytes)),
            Err(error) if !named && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => self.lacks.push(Lack::Bad),
        }
    }

    fn ssh_bytes(&mut self, bytes: &[u8]) {
        match age::ssh::Identity::from_buffer(bytes, None) {
            Ok(key @ age::ssh::Identity::Unencrypted(_)) => self.keys.push(Box::new(key)),
            Ok(age::ssh::Identity::Encrypted(_)) => self.lacks.push(Lack::Passphrase),
            Ok(age::ssh::Identity::Unsupported(_)) | Err(_) => self.lacks.push(Lack::Bad),
        }
    }

    /// Runs the user's own commands for a recipient. A command that fails gives nothing.
    fn ask_commands(&mut self, recipient: &str) {
        for (command, is_ssh) in self.commands.clone() {
            let Some((program, arguments)) = words(&command) else {
                self.lacks.push(Lack::Bad);
                continue;
            };
            let output = Command::new(program)
                .args(arguments)
                .env_clear()
                .envs(&self.variables)
                .env("SOPS_AGE_RECIPIENT", recipient)
                .output();
            match output {
                Ok(output) if output.status.success() => {
                    let bytes = Zeroizing::new(output.stdout);
                    if is_ssh {
                        self.ssh_bytes(&bytes);
                    } else if let Ok(text) = std::str::from_utf8(&bytes) {
                        self.key_text(text);
                    }
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Opens what was sealed for one recipient.
    pub(super) fn open(
        &mut self,
        entry: &AgeEntry,
    ) -> std::result::Result<Zeroizing<Vec<u8>>, NotOpened> {
        match self.open_with(entry, 0) {
            Err(NotOpened::NoMatch) if !self.commands.is_empty() => {
                let from = self.keys.len();
                self.ask_commands(&entry.recipient);
                self.open_with(entry, from)
            }
            other => other,
        }
    }

    fn open_with(
        &self,
        entry: &AgeEntry,
        from: usize,
    ) -> std::result::Result<Zeroizing<Vec<u8>>, NotOpened> {
        let enc = entry.enc.as_str();
        if !enc.trim_start().starts_with("-----BEGIN AGE ENCRYPTED FILE-----") {
            return Err(NotOpened::Damaged);
        }
        let armor = age::armor::ArmoredReader::new(enc.as_bytes());
        let decryptor = age::Decryptor::new_buffered(armor).map_err(|_| NotOpened::Damaged)?;
        let keys = self.keys.iter().skip(from).map(|key| key.as_ref() as &dyn Identity);
        let mut reader = decryptor.decrypt(keys).map_err(|error| match error {
            age::DecryptError::NoMatchingKeys | age::DecryptError::DecryptionFailed => {
                NotOpened::NoMatch
            }
            _ => NotOpened::Damaged,
        })?;
        let mut key = Zeroizing::new(Vec::new());
        std::io::Read::read_to_end(&mut reader, &mut key).map_err(|_| NotOpened::Damaged)?;
        Ok(key)
    }

    /// The failure to report when nothing could be opened.
    pub(super) fn lack<T>(&self, otherwise: SopsClass, text: String) -> Result<T> {
        if !self.keys.is_empty() {
            return fail(otherwise, text);
        }
        if self.lacks.contains(&Lack::Bad) {
            return fail(
                SopsClass::BadIdentityFile,
                format!("{text}: a key file cannot be read as age identities"),
            );
        }
        if self.lacks.contains(&Lack::Passphrase) {
            return fail(
                SopsClass::PassphraseIdentity,
                format!("{text}: the identity is protected by a passphrase"),
            );
        }
        if self.lacks.contains(&Lack::Plugin) {
            return fail(
                SopsClass::PluginIdentity,
                format!("{text}: the identity needs a plugin program"),
            );
        }
        fail(SopsClass::NoIdentity, format!("{text}: there is no age identity"))
    }

    /// No identity could be read from anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Splits a command as a shell would, without running one.
fn words(command: &str) -> Option<(String, Vec<String>)> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some('\''), letter) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (_, '\\') => word.get_or_insert_default().push(letters.next()?),
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return None;
    }
    words.extend(word);
    let mut words = words.into_iter();
    Some((words.next()?, words.collect()))
}
