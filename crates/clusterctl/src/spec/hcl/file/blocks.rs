//! Blocks beside locals: features, dependencies, hooks and their like, and what they are to others.

use std::collections::BTreeMap;

use super::super::ast::{Block, Body};
use super::super::error::{Class, Failure};
use super::super::eval::Result;
use super::super::loader::Strictness;
use super::super::place::join;
use super::super::value::Value;
use super::{FileEval, Phase};

impl FileEval {
    pub(super) fn features(&self) -> Result<()> {
        for block in self.body.blocks.iter().filter(|block| &*block.kind == "feature") {
            if let Some(default) = block.body.attribute("default") {
                self.attribute_in(Phase::Include, &default.expr)?;
            }
        }
        Ok(())
    }

    pub(super) fn other_blocks(&self) -> Result<()> {
        for block in &self.body.blocks {
            match &*block.kind {
                "locals" | "include" | "feature" => {}
                "dependencies" => self.dependencies(block)?,
                "terraform" => {
                    self.block(&block.body, Phase::Lax)?;
                    for hook in &block.body.blocks {
                        self.block(&hook.body, Phase::Strict)?;
                    }
                }
                "generate" | "remote_state" | "dependency" => {
                    self.block(&block.body, Phase::Lax)?
                }
                _ => {
                    self.block(&block.body, Phase::Strict)?;
                    for inner in &block.body.blocks {
                        self.block(&inner.body, Phase::Strict)?;
                    }
                }
            }
        }
        for found in self.body.attributes.iter().filter(|found| &*found.name != "inputs") {
            self.attribute_in(Phase::Lax, &found.expr)?;
        }
        Ok(())
    }

    fn block(&self, body: &Body, phase: Phase) -> Result<()> {
        body.attributes.iter().try_for_each(|found| self.attribute_in(phase, &found.expr).map(drop))
    }

    fn dependencies(&self, block: &Block) -> Result<()> {
        let Some(paths) = block.body.attribute("paths") else { return Ok(()) };
        let value = self.attribute_in(Phase::Strict, &paths.expr)?;
        for path in value.items().into_iter().flat_map(|items| items.iter()) {
            let Some(path) = path.as_str() else { continue };
            if !join(self.site.unit_dir(), path).exists() {
                return Err(Failure::new(
                    Class::Dependency,
                    format!("there is no {path} that this unit depends on"),
                )
                .at(&paths.expr.span)
                .in_file(&self.path));
            }
        }
        Ok(())
    }

    /// The file as `read_terragrunt_config` gives it.
    pub(in crate::spec::hcl) fn as_value(&self) -> Result<Value> {
        let (locals, inputs) =
            self.loader.while_reading(&self.path, || match self.loader.options.strictness {
                Strictness::Terragrunt => self.evaluate_all(),
                _ => Ok((self.locals()?, self.inputs()?)),
            })?;
        let mut fields: BTreeMap<String, Value> = BTreeMap::new();
        for name in ["dependencies", "iam_assume_role_duration"] {
            fields.insert(name.into(), Value::NULL);
        }
        for name in ["dependency", "feature", "generate"] {
            fields.insert(name.into(), Value::object(BTreeMap::new()));
        }
        for name in [
            "download_dir",
            "iam_assume_role_session_name",
            "iam_role",
            "iam_web_identity_token",
            "terraform_binary",
            "terraform_version_constraint",
            "terragrunt_version_constraint",
        ] {
            fields.insert(name.into(), Value::string(""));
        }
        for block in &self.body.blocks {
            let kind = &*block.kind;
            if matches!(kind, "terraform" | "remote_state" | "exclude" | "errors" | "engine") {
                fields.insert(kind.into(), self.block_value(block)?);
            }
        }
        let attributes = self.body.attributes.iter().filter(|found| &*found.name != "inputs");
        for found in attributes {
            let value = self.attribute_in(Phase::Lax, &found.expr)?;
            fields.insert(found.name.to_string(), value.untyped(true));
        }
        let mut generated = BTreeMap::new();
        for block in self.body.blocks.iter().filter(|block| &*block.kind == "generate") {
            if let Some(label) = block.labels.first() {
                generated.insert(label.to_string(), self.block_value(block)?);
            }
        }
        fields.insert("generate".into(), Value::object(generated));
        fields.insert("feature".into(), self.feature_value()?);
        fields.insert("dependency".into(), self.dependency_value()?);
        let keep = self.loader.options.strictness == Strictness::Lazy;
        let plain = |value: Option<Value>| value.map_or(Value::NULL, |value| value.untyped(keep));
        fields.insert("locals".into(), plain(locals));
        fields.insert("inputs".into(), plain(inputs));
        Ok(Value::object(fields))
    }

    fn block_value(&self, block: &Block) -> Result<Value> {
        let mut fields = BTreeMap::new();
        for found in &block.body.attributes {
            let value = self.attribute_in(Phase::Lax, &found.expr)?;
            fields.insert(found.name.to_string(), value.untyped(true));
        }
        Ok(Value::object(fields))
    }

    pub(super) fn feature_value(&self) -> Result<Value> {
        let mut features = BTreeMap::new();
        let files = self.includes.iter().map(|include| &*include.file).chain([self]);
        for file in files {
            for block in file.body.blocks.iter().filter(|block| &*block.kind == "feature") {
                let Some(label) = block.labels.first() else { continue };
                let Some(default) = block.body.attribute("default") else { continue };
                let value = file.attribute_in(Phase::Include, &default.expr)?;
                let fields = BTreeMap::from([("value".to_owned(), value)]);
                features.insert(label.to_string(), Value::object(fields));
            }
        }
        Ok(Value::object(features))
    }

    pub(super) fn dependency_value(&self) -> Result<Value> {
        let mut dependencies = BTreeMap::new();
        let files = self.includes.iter().map(|include| &*include.file).chain([self]);
        for file in files {
            for block in file.body.blocks.iter().filter(|block| &*block.kind == "dependency") {
                let Some(label) = block.labels.first() else { continue };
                let outputs = match block.body.attribute("mock_outputs") {
                    Some(found) if self.loader.options.strictness == Strictness::Terragrunt => {
                        file.attribute_in(Phase::Lax, &found.expr)?
                    }
                    _ => Value::unknown("an output of another unit, which is not read here"),
                };
                let fields = BTreeMap::from([("outputs".to_owned(), outputs)]);
                dependencies.insert(label.to_string(), Value::object(fields));
            }
        }
        Ok(Value::object(dependencies))
    }

    pub(super) fn include_value(&self) -> Result<Option<Value>> {
        if self.includes.is_empty() {
            return Ok(None);
        }
        let mut named = BTreeMap::new();
        for include in self.includes.iter().filter(|include| include.expose) {
            let value = include.file.as_value()?;
            if include.name.is_empty() {
                return Ok(Some(value));
            }
            named.insert(include.name.clone(), value);
        }
        Ok(Some(Value::object(named)))
    }
}
