//! Configurations to look at: what is secret in them is told apart, not told.

use serde_json::{Map, Value, json};

use super::diff::Hidden;
use super::machine::{MachineConfig, fingerprint};
use super::shown::hidden;

/// The field that no kind of document has, in any version.
const MARK: &str = "redacted";

impl MachineConfig {
    /// What may be looked at: every value that is secret replaced by its fingerprint, the user's own
    /// texts (files, manifests, pods, environments, headers) by their hash; of URLs the user and the
    /// values of the query by theirs. What is empty stays so.
    ///
    /// Nothing takes the result for a configuration: a document in which something was replaced begins
    /// with a field `redacted`, which no kind has, so that a node and [`MachineConfig::load`] refuse it.
    ///
    /// ```
    /// use talos_client::config::MachineConfig;
    ///
    /// let config = MachineConfig::load("machine: {type: worker, token: abc}")?;
    /// let shown = config.redacted().to_yaml();
    /// assert!(!shown.contains("abc"));
    /// assert_eq!(MachineConfig::load(&shown).unwrap_err().class(), "unknown-keys");
    /// # Ok::<(), talos_client::config::ConfigError>(())
    /// ```
    #[must_use]
    pub fn redacted(&self) -> Self {
        self.redacted_hiding(&Hidden::default())
    }

    /// As [`Self::redacted`], without more values, wherever they stand and whatever they are part of.
    #[must_use]
    pub fn redacted_hiding(&self, more: &Hidden) -> Self {
        let documents = self.documents().iter().map(|document| {
            let mut shown = hidden(document, false);
            veil(&mut shown, more);
            if shown == *document { shown } else { marked(shown) }
        });
        Self::of_documents(documents.collect())
    }
}

/// A document that nobody may use.
fn marked(document: Value) -> Value {
    let why = json!("placeholders stand where secrets were: no node takes this");
    let mut out = Map::from_iter([(MARK.to_owned(), why)]);
    if let Value::Object(fields) = document {
        out.extend(fields);
    }
    Value::Object(out)
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

    #[test]
    fn what_is_redacted_is_of_no_use_to_a_node() {
        let text = "machine: {type: worker, token: abcdef.0123456789abcdef, ca: {crt: YQ==, key: ''}}\n\
                    cluster: {id: a, controlPlane: {endpoint: 'https://a:6443'}}\n---\n\
                    apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\n";
        let config = MachineConfig::load(text).unwrap();
        let shown = config.redacted();
        assert_eq!(shown.value("/machine/ca/key"), Some(&json!("")));
        assert_eq!(shown.document("HostnameConfig", ""), config.document("HostnameConfig", ""));
        for minor in [0, 5, 11, 13, 14] {
            let refused = MachineConfig::load_for(&shown.to_yaml(), minor);
            assert!(refused.is_err(), "1.{minor}");
        }
        let refused = MachineConfig::load(&shown.to_yaml()).unwrap_err();
        assert_eq!(refused.class(), "unknown-keys");
        // Not even the first document is taken for another kind.
        assert_eq!(shown.ids().collect::<Vec<_>>(), config.ids().collect::<Vec<_>>());
        let plain = MachineConfig::load("machine: {type: worker, ca: {crt: YQ==}}").unwrap();
        assert_eq!(plain.redacted(), plain);
    }

    #[test]
    fn no_kind_has_the_field_that_marks() {
        let schema = super::super::schema::schema().unwrap();
        for kind in schema.kinds.values() {
            let fields = schema.types.get(kind);
            assert!(
                fields.is_some_and(|all| !all.contains_key(MARK) && !all.contains_key("*")),
                "{kind}"
            );
        }
    }
}
