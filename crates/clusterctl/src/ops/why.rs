//! `why`: where a value comes from.

use serde_json::Value;

use super::{Context, Error};
use crate::spec::hcl::did_you_mean;
use crate::spec::model::{Loaded, Origin};
use crate::spec::root::Root;

/// The values at a path, or below it.
#[derive(Debug)]
pub struct Report {
    /// The tree.
    pub root: Root,
    /// Values with their origins, sorted by path.
    pub origins: Vec<Origin>,
}

/// Looks up a path such as `clusters.cluster-101.cluster_id`; what lies below it counts too.
///
/// # Errors
/// There is no tree, or no value of that path.
pub fn why(context: &Context, path: &str) -> Result<Report, Error> {
    let (root, loaded) = context.load()?;
    let wanted = path.trim_matches('.').replace('/', ".");
    let below = format!("{wanted}.");
    let (within, end) = (format!(".{wanted}."), format!(".{wanted}"));
    let mut all = derived(&loaded);
    all.extend(loaded.origins);
    let mut origins: Vec<Origin> = all
        .iter()
        .filter(|origin| {
            origin.path == wanted
                || origin.path.starts_with(&below)
                || origin.path.ends_with(&end)
                || origin.path.contains(&within)
        })
        .cloned()
        .collect();
    origins.sort_by(|a, b| a.path.cmp(&b.path));
    if !origins.is_empty() {
        return Ok(Report { root, origins });
    }
    let known = all.iter().map(|origin| origin.path.as_str());
    let failure = Error::usage(format!("there is no value {path:?}"));
    Err(match did_you_mean(&wanted, known) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint(
            "paths are FILE.KEY, such as versions.talos_version, and clusters.FOLDER.KEY, \
             clusters.FOLDER.nodes.NODE.KEY; their ends will do",
        ),
    })
}

/// What the plan of addresses made, each value with its formula, at the cluster that it is for.
fn derived(loaded: &Loaded) -> Vec<Origin> {
    let (Some(site), Some(plan)) = (&loaded.site, &loaded.plan) else { return Vec::new() };
    let mut found = Vec::new();
    for cluster in &site.clusters {
        let Some(planned) = plan.clusters.iter().find(|one| one.name.as_str() == cluster.name)
        else {
            continue;
        };
        let front = format!("clusters.{}", cluster.folder);
        let key = format!("{front}.cluster_id");
        let origin = loaded.origins.iter().find(|origin| origin.path == key);
        let location = origin.and_then(|origin| origin.location.clone());
        let Ok(tree) = serde_json::to_value(planned) else { continue };
        walk(&front, &tree, &mut |path, value, formula| {
            found.push(Origin {
                path,
                location: location.clone(),
                formula: formula.to_owned(),
                value: Some(value.to_string()),
                overridden_by: None,
            });
        });
    }
    found
}

/// Every value with a formula below a path; nodes go by their names, other lists by number.
fn walk(path: &str, tree: &Value, found: &mut impl FnMut(String, &Value, &str)) {
    match tree {
        Value::Object(map) => {
            match (map.get("value"), map.get("formula").and_then(Value::as_str)) {
                (Some(value), Some(formula)) => found(path.to_owned(), value, formula),
                _ => {
                    for (key, value) in map {
                        walk(&format!("{path}.{key}"), value, found);
                    }
                }
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                let name = item.pointer("/name/value").and_then(Value::as_str);
                let name = name.map_or_else(|| number.to_string(), str::to_owned);
                walk(&format!("{path}.{name}"), item, found);
            }
        }
        _ => {}
    }
}
