//! The machine configuration of a node.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::redact;
use crate::client::{Client, call};
use crate::error::{Error, ErrorKind};
use crate::proto::machine::{self, apply_configuration_request::Mode};

/// How a configuration takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApplyMode {
    /// Live if that is possible, else with a reboot. Nodes of 1.14 never reboot for it: what needs
    /// a reboot takes effect at the next one.
    Auto,
    /// Live, or refused if that is not possible (up to 1.13).
    NoReboot,
    /// With a reboot. Nodes of 1.14 refuse it outside of maintenance mode.
    Reboot,
    /// At the next boot.
    Staged,
    /// Live, and taken back after that time unless another configuration follows. Zero means the
    /// node's own default, one minute.
    Try(Duration),
}

impl ApplyMode {
    fn wire(self) -> Mode {
        match self {
            Self::Auto => Mode::Auto,
            Self::NoReboot => Mode::NoReboot,
            Self::Reboot => Mode::Reboot,
            Self::Staged => Mode::Staged,
            Self::Try(_) => Mode::Try,
        }
    }
}

/// What a node answers to a configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Applied {
    /// The mode that was used in fact; none if the node names one that is not known here. In
    /// maintenance mode a node of 1.13 says `NoReboot` although an installation and a reboot
    /// follow.
    pub mode: Option<ApplyMode>,
    /// The node's sentence about it, without the difference.
    pub mode_details: String,
    /// For a dry run: what would change. Secret.
    pub difference: Option<Difference>,
    /// Warnings of the node.
    pub warnings: Vec<String>,
}

/// What a configuration would change, as the node tells it. It holds secrets of both sides.
#[derive(Clone)]
pub struct Difference(SecretString);

impl Difference {
    /// Nothing would change.
    pub fn is_empty(&self) -> bool {
        let text = self.0.expose_secret().trim();
        text.is_empty() || text == "No changes."
    }

    /// The whole text, **with secrets**.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The text with keys only: every value is left out.
    pub fn redacted(&self) -> String {
        if self.is_empty() { String::new() } else { redact::keys(self.0.expose_secret()) }
    }
}

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Difference({} bytes)", self.0.expose_secret().len())
    }
}

impl Client {
    /// Replaces the whole configuration of the node; `config` is YAML with secrets.
    ///
    /// A dry run changes nothing, and fails where the real call would. The text of an error names
    /// keys of the configuration, never values.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the node refuses the configuration; the text lists every
    /// reason. [`ErrorKind::Busy`] while another configuration is being applied.
    pub async fn apply(
        &self,
        config: &[u8],
        mode: ApplyMode,
        dry_run: bool,
    ) -> Result<Applied, Error> {
        let call = if dry_run { &call::APPLY_DRY } else { &call::APPLY };
        let timeout = match mode {
            ApplyMode::Try(after) if !after.is_zero() => {
                let wrong = |_| self.refused(call, "the time of a trial is too long");
                Some(prost_types::Duration::try_from(after).map_err(wrong)?)
            }
            _ => None,
        };
        let request = machine::ApplyConfigurationRequest {
            data: config.to_vec(),
            mode: mode.wire().into(),
            dry_run,
            try_mode_timeout: timeout,
        };
        let answer = self
            .ask::<_, machine::ApplyConfigurationResponse>(call, request)
            .await
            .map_err(|error| explained(error, config))?;
        let (mode_details, difference) = split(&answer.mode_details);
        let used = match Mode::try_from(answer.mode) {
            Ok(Mode::Auto) => Some(ApplyMode::Auto),
            Ok(Mode::NoReboot) => Some(ApplyMode::NoReboot),
            Ok(Mode::Reboot) => Some(ApplyMode::Reboot),
            Ok(Mode::Staged) => Some(ApplyMode::Staged),
            Ok(Mode::Try) => Some(match mode {
                ApplyMode::Try(_) => mode,
                _ => ApplyMode::Try(Duration::ZERO),
            }),
            Err(_) => None,
        };
        let warnings = answer.warnings.iter().map(|text| redact::message(text, config)).collect();
        Ok(Applied { mode: used, mode_details, difference, warnings })
    }
}

/// The sentence and the difference that follows it in the answer to a dry run.
fn split(details: &str) -> (String, Option<Difference>) {
    match details.split_once("Config diff:") {
        None => (details.trim_end().to_owned(), None),
        Some((before, after)) => {
            let sentence = before.trim().trim_start_matches("Dry run summary:").trim();
            (sentence.to_owned(), Some(Difference(after.trim_matches('\n').to_owned().into())))
        }
    }
}

/// The node's refusal without values of the configuration.
fn explained(error: Error, config: &[u8]) -> Error {
    let Some(text) = error.server_text() else { return error };
    let message = redact::message(text, config);
    // Nodes up to 1.12 give no code for a text that they cannot parse in maintenance mode.
    let unparsed =
        error.kind() == ErrorKind::Server && message.starts_with("failed to parse config");
    let error = error.with_message(message);
    if unparsed {
        return error.with_kind(ErrorKind::InvalidArgument).maybe_applied(false);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_is_split_into_sentence_and_difference() {
        let (sentence, difference) = split(
            "Dry run summary:\nApplied configuration without a reboot (skipped in dry-run).\nConfig diff:\n\n--- a\n+++ b\n@@ -1,2 +1,2 @@\n machine:\n-    token: abc.def\n+    token: ghi.jkl\n",
        );
        assert_eq!(sentence, "Applied configuration without a reboot (skipped in dry-run).");
        let difference = difference.unwrap();
        assert!(!difference.is_empty());
        assert!(difference.expose().contains("ghi.jkl"));
        let shown = format!("{difference:?} {}", difference.redacted());
        assert!(!shown.contains("ghi") && !shown.contains("abc") && shown.contains("token:"));
        let (_, difference) =
            split("Dry run summary:\nX (skipped in dry-run).\nConfig diff:\n\nNo changes.");
        assert!(difference.unwrap().is_empty());
        assert!(split("Applied configuration without a reboot").1.is_none());
    }
}
