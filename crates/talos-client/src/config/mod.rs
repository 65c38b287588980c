//! Machine configurations: generated, patched, read and written.

mod build;
mod cel;
mod convert;
mod diff;
mod effect;
mod erase;
mod generate;
mod json;
mod kubernetes;
mod load;
mod machine;
mod merge;
mod operation;
mod patch;
mod place;
mod prune;
mod redact;
pub mod release;
mod schema;
mod shape;
mod shown;
mod since;
mod text;
mod typed;
mod url;
mod validate;

pub use build::{BgpNeighbor, File, Link, Route, Settings, UserVolume};
pub use convert::{Converted, Left};
pub use diff::{FieldChange, Hidden};
pub use effect::{Effect, Prediction};
pub use generate::{
    Cni, GenerateInput, LinkSelector, LinkSetting, MachineType, NetworkOption, UserDisk,
};
pub use kubernetes::{kubernetes_fits, kubernetes_range, talos_range};
pub use machine::{ConfigError, DocumentId, MachineConfig};
pub use patch::{Patch, patch_text};
pub use place::Lines;
pub use validate::{Finding, Mode, Validation};

use crate::yaml::{self, Node};

pub(crate) use schema::SchemaError;

/// The documents of a machine configuration, each with its kind; fields and kinds are checked.
///
/// # Errors
/// The text is no YAML, a kind or field is unknown or of another shape, or two documents are the
/// same one.
pub(crate) fn documents(text: &str) -> Result<Vec<(String, Node)>, SchemaError> {
    let mut found: Vec<(String, Node)> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for node in yaml::documents(text).map_err(SchemaError::from)? {
        if node.is_null() {
            continue;
        }
        let field = |name| node.get(name).and_then(Node::text).unwrap_or_default().to_owned();
        let kind = match node.get("kind") {
            Some(_) => field("kind"),
            None => "v1alpha1".to_owned(),
        };
        schema::check(&kind, &node)?;
        if !seen.insert((kind.clone(), field("name"))) {
            return Err(SchemaError::new(format!("there are two documents {kind}")));
        }
        found.push((kind, node));
    }
    Ok(found)
}
