//! Authorities in a machine configuration.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Rotation, Stage, Which};
use crate::config::{ConfigError, MachineConfig};
use crate::pki::Pem;
use crate::secrets::{Pair, Text};

/// The document that Kubernetes' authority has from 1.14 on.
const KUBERNETES: &str = "KubeAPIServerCAConfig";

impl Rotation {
    /// The configuration of a node at a stage, whatever stage it is at. Other accepted authorities stay.
    ///
    /// # Errors
    /// The configuration knows neither the old nor the new authority.
    pub fn config(
        &self,
        config: &MachineConfig,
        stage: Stage,
    ) -> Result<MachineConfig, ConfigError> {
        if self.stage_of(config).is_none() {
            return Err(ConfigError::new(
                "the configuration has neither the authority that is replaced nor its successor",
            ));
        }
        let mut documents = config.documents().to_vec();
        for document in &mut documents {
            match Form::of(document, self.which) {
                Some(Form::Main) => self.main(document, stage),
                Some(Form::Document) => self.document(document, stage),
                None => {}
            }
        }
        Ok(MachineConfig::of_documents(documents))
    }

    /// How far a node with this configuration is; none where it knows neither authority.
    pub fn stage_of(&self, config: &MachineConfig) -> Option<Stage> {
        let found =
            config.documents().iter().find_map(|document| match Form::of(document, self.which)? {
                Form::Main => {
                    let section = document.get(self.section())?;
                    let accepted = list(section.get("acceptedCAs"));
                    let accepted = accepted.filter_map(|one| decoded(one.get("crt")?));
                    let issuing = section.get("ca").and_then(|ca| decoded(ca.get("crt")?));
                    Some((issuing, accepted.collect::<Vec<_>>()))
                }
                Form::Document => {
                    let accepted = list(document.get("acceptedCAs")).filter_map(Value::as_str);
                    let issuing = document.pointer("/issuingCA/cert").and_then(Value::as_str);
                    Some((issuing.map(str::to_owned), accepted.map(str::to_owned).collect()))
                }
            });
        let (issuing, accepted) = found?;
        let has = |pair: &Pair| accepted.iter().any(|one| is_of(one, pair));
        match issuing {
            Some(one) if is_of(&one, &self.new) => {
                Some(if has(&self.old) { Stage::Issuing } else { Stage::Done })
            }
            Some(one) if is_of(&one, &self.old) => {
                Some(if has(&self.new) { Stage::Accepted } else { Stage::Before })
            }
            Some(_) => None,
            // A worker of 1.14 issues nothing: between the ends it accepts both.
            None => match (has(&self.old), has(&self.new)) {
                (true, true) => Some(Stage::Accepted),
                (true, false) => Some(Stage::Before),
                (false, true) => Some(Stage::Done),
                (false, false) => None,
            },
        }
    }

    fn section(&self) -> &'static str {
        match self.which {
            Which::Talos => "machine",
            Which::Kubernetes => "cluster",
        }
    }

    /// Who issues at a stage, and who is accepted beside.
    fn wanted(&self, stage: Stage) -> (&Pair, Option<&Pair>) {
        match stage {
            Stage::Before => (&self.old, None),
            Stage::Accepted => (&self.old, Some(&self.new)),
            Stage::Issuing => (&self.new, Some(&self.old)),
            Stage::Done => (&self.new, None),
        }
    }

    fn is_one_of_both(&self, text: &str) -> bool {
        is_of(text, &self.old) || is_of(text, &self.new)
    }

    fn main(&self, document: &mut Value, stage: Stage) {
        let is_signing = matches!(
            document.pointer("/machine/type").and_then(Value::as_str),
            Some("controlplane" | "init")
        );
        let (issuing, beside) = self.wanted(stage);
        let Some(section) = document.get_mut(self.section()).and_then(Value::as_object_mut) else {
            return;
        };
        let key = if is_signing { encoded(&issuing.key) } else { String::new() };
        section.insert("ca".into(), json!({ "crt": encoded(&issuing.crt), "key": key }));
        let others = list(section.get("acceptedCAs")).filter(|one| {
            let text = one.get("crt").and_then(decoded);
            !text.is_some_and(|text| self.is_one_of_both(&text))
        });
        let mut accepted: Vec<Value> = others.cloned().collect();
        accepted.extend(beside.map(|pair| json!({ "crt": encoded(&pair.crt) })));
        put_list(section, accepted);
    }

    fn document(&self, document: &mut Value, stage: Stage) {
        let (issuing, beside) = self.wanted(stage);
        let Some(fields) = document.as_object_mut() else { return };
        let others = list(fields.get("acceptedCAs")).filter_map(Value::as_str);
        let others = others.filter(|text| !self.is_one_of_both(text));
        let mut accepted: Vec<Value> = others.map(Value::from).collect();
        if fields.contains_key("issuingCA") {
            let pair = json!({ "cert": text(&issuing.crt), "key": text(&issuing.key) });
            fields.insert("issuingCA".into(), pair);
        } else {
            accepted.push(text(&issuing.crt).into());
        }
        accepted.extend(beside.map(|pair| Value::from(text(&pair.crt))));
        put_list(fields, accepted);
    }
}

/// Where a document has the authority.
enum Form {
    Main,
    Document,
}

impl Form {
    fn of(document: &Value, which: Which) -> Option<Self> {
        match (document.get("kind").and_then(Value::as_str), which) {
            (None, Which::Talos) => Some(Self::Main),
            (None, Which::Kubernetes) => {
                // The main document has it, or leaves it to one of its own.
                document.pointer("/cluster/ca").map(|_| Self::Main)
            }
            (Some(KUBERNETES), Which::Kubernetes) => Some(Self::Document),
            _ => None,
        }
    }
}

fn put_list(fields: &mut Map<String, Value>, accepted: Vec<Value>) {
    match accepted.is_empty() {
        true => drop(fields.shift_remove("acceptedCAs")),
        false => drop(fields.insert("acceptedCAs".into(), accepted.into())),
    }
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn text(text: &Text) -> String {
    text.text().unwrap_or_default().to_owned()
}

fn encoded(text: &Text) -> String {
    STANDARD.encode(text.bytes())
}

fn decoded(value: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok()
}

/// Whether a PEM text is the certificate of an authority, however it is laid out.
fn is_of(certificate: &str, pair: &Pair) -> bool {
    let other = pair.crt.text().and_then(|text| Pem::parse(text).ok());
    let one = Pem::parse(certificate).ok();
    one.is_some() && one == other
}
