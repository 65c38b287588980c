//! Configurations to look at: what is secret in them is told apart, not told.

use serde_json::Value;

use super::diff::{Hidden, hidden};
use super::machine::{MachineConfig, fingerprint};

impl MachineConfig {
    /// What may be looked at: every value that is secret replaced by its fingerprint, the user's own
    /// texts (files, manifests, environments) by their hash.
    #[must_use]
    pub fn redacted(&self) -> Self {
        self.redacted_hiding(&Hidden::default())
    }

    /// As [`Self::redacted`], without more values, wherever they stand and whatever they are part of.
    #[must_use]
    pub fn redacted_hiding(&self, more: &Hidden) -> Self {
        let documents = self.documents().iter().map(|document| {
            let mut document = hidden(document, false);
            veil(&mut document, more);
            document
        });
        Self::of_documents(documents.collect())
    }
}

fn veil(value: &mut Value, more: &Hidden) {
    match value {
        Value::Object(map) => map.values_mut().for_each(|value| veil(value, more)),
        Value::Array(items) => items.iter_mut().for_each(|value| veil(value, more)),
        Value::String(text) if more.are_part_of(text) => *value = fingerprint(text).into(),
        Value::Number(number) if more.are_part_of(&number.to_string()) => {
            *value = fingerprint(&number.to_string()).into();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn what_is_secret_or_the_users_own_is_not_shown() {
        let text = "machine: {token: abc, type: worker, nodeLabels: {env: prod, pin: 4711}, env: {P: 'u:pw@p'}, \
                    sysctls: {a: xgeheimx}, files: [{content: inhalt, path: /a}], certSANs: [geheim]}\n---\n\
                    apiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: a\nenvironment: [KEY=wert]\n";
        let config = MachineConfig::parse(text).unwrap();
        let more: Hidden = ["geheim", "4711"].map(SecretString::from).into_iter().collect();
        let shown = config.redacted_hiding(&more).to_yaml();
        for secret in ["abc", "pw", "geheim", "inhalt", "wert", "4711"] {
            assert!(!shown.contains(secret), "{secret}: {}", *shown);
        }
        for plain in ["worker", "prod", "/a", "ExtensionServiceConfig"] {
            assert!(shown.contains(plain), "{plain}: {}", *shown);
        }
        assert!(config.redacted().to_yaml().contains("xgeheimx"));
    }
}
