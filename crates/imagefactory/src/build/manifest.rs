//! The manifest of a system extension, and which Talos it is for.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// `manifest.yaml` of an extension, schema `v1alpha1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The schema's version.
    pub version: String,
    /// What is told about the extension.
    pub metadata: Metadata,
}

/// What is told about an extension.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its version, free text.
    #[serde(default)]
    pub version: String,
    /// Who made it.
    #[serde(default)]
    pub author: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// What it needs.
    #[serde(default)]
    pub compatibility: Compatibility,
    /// More, free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extra_info: String,
}

/// What an extension needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compatibility {
    /// Of Talos.
    #[serde(default)]
    pub talos: Constraint,
}

/// A range of versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// Such as `>= v1.5.0`; empty for any.
    #[serde(default)]
    pub version: String,
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

impl Manifest {
    /// Reads `manifest.yaml`; keys that are unknown are passed over, as Talos does.
    ///
    /// # Errors
    /// It is no YAML, of another schema, without a name, or its range cannot be read.
    pub fn parse(text: &str) -> Result<Self> {
        let manifest: Self = serde_saphyr::from_str(text).map_err(|source| {
            invalid("manifest.yaml cannot be read".to_owned()).with_source(source)
        })?;
        if manifest.version != "v1alpha1" {
            let found = &manifest.version;
            return Err(invalid(format!("manifest.yaml: version is {found:?}, not \"v1alpha1\"")));
        }
        let name = &manifest.metadata.name;
        if name.is_empty() || name.contains(['/', '\0', '\n']) {
            return Err(invalid(format!("manifest.yaml: {name:?} is no name of an extension")));
        }
        manifest.allows(&Version::new(1, 10, 0))?;
        Ok(manifest)
    }

    /// Whether the extension is for a version of Talos; a pre-release counts as its release.
    ///
    /// # Errors
    /// The range cannot be read.
    pub fn allows(&self, version: &Version) -> Result<bool> {
        let range = &self.metadata.compatibility.talos.version;
        matches(range, (version.major, version.minor, version.patch)).ok_or_else(|| {
            invalid(format!("manifest.yaml: {range:?} is no range of versions"))
                .with_help("write it like `>= v1.11.0` or `>= v1.11.0 < v1.14.0`")
        })
    }

    /// The entry of `extensions.yaml`: what Talos reads at boot.
    pub(super) fn layer(&self, image: &str) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let metadata = &self.metadata;
        let field = |key: &str, text: &str| format!("        {key}: {}\n", quoted(text));
        let mut lines = vec![
            format!("    - image: {image}\n      metadata:\n"),
            field("name", &metadata.name),
            field("version", &metadata.version),
            field("author", &metadata.author),
            field("description", &metadata.description),
            "        compatibility:\n            talos:\n        ".to_owned(),
            field("version", &metadata.compatibility.talos.version),
        ];
        if !metadata.extra_info.is_empty() {
            lines.push(field("extraInfo", &metadata.extra_info));
        }
        lines.concat()
    }

    /// The manifest as YAML.
    pub(super) fn yaml(&self) -> String {
        // JSON is YAML.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

type Triple = (u64, u64, u64);

/// Whether a version is in a range of the grammar of Go's `blang/semver`; `None` if it is no range.
fn matches(range: &str, version: Triple) -> Option<bool> {
    if range.trim().is_empty() {
        return Some(true);
    }
    let mut any = false;
    for part in range.split("||") {
        let comparisons = comparisons(part)?;
        any |= comparisons.iter().all(|(operator, low, high)| {
            let inside = *low <= version && version < *high;
            match *operator {
                "" | "=" | "==" => inside,
                "!" | "!=" => !inside,
                ">" => version >= *high,
                ">=" => version >= *low,
                "<" => version < *low,
                _ => version < *high,
            }
        });
    }
    Some(any)
}

/// Operator, first version and first version behind; `1.2.x` is all of 1.2.
fn comparisons(part: &str) -> Option<Vec<(&str, Triple, Triple)>> {
    let mut found = Vec::new();
    let mut rest = part.trim();
    while !rest.is_empty() {
        let at = rest.find(|c: char| !"<>=!".contains(c))?;
        let (operator, tail) = rest.split_at_checked(at)?;
        if !["", "=", "==", "!", "!=", ">", ">=", "<", "<="].contains(&operator) {
            return None;
        }
        let tail = tail.trim_start();
        let end = tail.find(|c: char| c.is_whitespace() || "<>=!".contains(c));
        let (text, after) = tail.split_at_checked(end.unwrap_or(tail.len()))?;
        let text = text.strip_prefix('v').unwrap_or(text);
        let bare = text.split(['-', '+']).next()?;
        let mut fields = bare.split('.');
        let mut numbers = Vec::new();
        let mut wild = false;
        for _ in 0..3 {
            match fields.next() {
                Some("x" | "X" | "*") => wild = true,
                Some(field) if !wild => numbers.push(field.parse::<u64>().ok()?),
                None if wild => {}
                _ => return None,
            }
        }
        if fields.next().is_some() {
            return None;
        }
        let (low, high) = match numbers.as_slice() {
            [] => ((0, 0, 0), (u64::MAX, 0, 0)),
            [major] => ((*major, 0, 0), (major + 1, 0, 0)),
            [major, minor] => ((*major, *minor, 0), (*major, minor + 1, 0)),
            [major, minor, patch, ..] => ((*major, *minor, *patch), (*major, *minor, patch + 1)),
        };
        found.push((operator, low, high));
        rest = after.trim_start();
    }
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "version: v1alpha1\nmetadata:\n  name: frr\n  version: 10.4.1\n  author: me\n  \
                        description: |\n    [extra] routing\n  compatibility:\n    talos:\n      \
                        version: '>= v1.5.0'\n  other: 1\n";

    #[test]
    fn a_manifest_is_read_and_told_to_talos() {
        let manifest = Manifest::parse(GOOD).unwrap();
        assert_eq!(manifest.metadata.version, "10.4.1");
        let layer = manifest.layer("0.sqsh");
        assert!(layer.starts_with("    - image: 0.sqsh\n      metadata:\n        name: \"frr\"\n"));
        assert!(layer.contains("description: \"[extra] routing\\n\""), "{layer}");
        assert_eq!(Manifest::parse(&manifest.yaml()).unwrap(), manifest);
        for (what, with) in [
            ("v1alpha1", "v1"),
            ("name: frr", "name: ''"),
            (">= v1.5.0", "~1"),
            ("metadata:", "meta:"),
        ] {
            assert!(Manifest::parse(&GOOD.replacen(what, with, 1)).is_err(), "{what}");
        }
    }

    #[test]
    fn ranges_are_those_of_talos() {
        let at = |range| matches(range, (1, 12, 3));
        for range in [
            "",
            ">= v1.5.0",
            ">=1.5.0 <1.13.0",
            "<1.0.0 || >1.12.2",
            "1.12.x",
            "!1.12.4",
            "=1.12.3",
            ">= 1.12.3",
            "<=1.12.x",
            "!=1.11.x",
            "1.x",
        ] {
            assert_eq!(at(range), Some(true), "{range}");
        }
        for range in ["> 1.12.3", "<1.12.3", "1.13.x", ">1.12.x", "!1.12.3", "<1.12.x"] {
            assert_eq!(at(range), Some(false), "{range}");
        }
        for range in ["~1.2", "1.2", "=>1.0.0", "a", "||", "1.2.3.4"] {
            assert_eq!(at(range), None, "{range}");
        }
        let manifest = Manifest::parse(&GOOD.replace(">= v1.5.0", ">= 1.14.0")).unwrap();
        assert!(manifest.allows(&Version::parse("1.14.0-rc.1").unwrap()).unwrap());
    }
}
