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

/// Looks up a path such as `clusters.cluster-101.cluster_id`, its end, or what lies below it; a
/// cluster goes by its folder or its name.
///
/// # Errors
/// There is no tree, or no value of that path.
pub fn why(context: &Context, path: &str) -> Result<Report, Error> {
    let (root, loaded) = context.load()?;
    let wanted = by_folder(&loaded, &path.trim_matches('.').replace('/', "."));
    let mut all = derived(&loaded);
    all.extend(loaded.origins);
    let inner = format!(".{wanted}.");
    let fits = |origin: &&Origin| format!(".{}.", origin.path).contains(&inner);
    let mut origins: Vec<Origin> = all.iter().filter(fits).cloned().collect();
    origins.sort_by(|a, b| a.path.cmp(&b.path));
    if !origins.is_empty() {
        return Ok(Report { root, origins });
    }
    // Ends of as many parts as were given: so long is what a typing mistake is in.
    let parts = wanted.split('.').count();
    let known = all.iter().filter_map(|origin| {
        let dots = origin.path.rmatch_indices('.');
        let at = dots.map(|(at, _)| at + 1).nth(parts - 1).unwrap_or_default();
        origin.path.get(at..)
    });
    let failure = Error::usage(format!("there is no value {path:?}"));
    Err(match did_you_mean(&wanted, known) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint(
            "paths are FILE.KEY, such as versions.talos_version, and clusters.FOLDER.KEY, \
             clusters.FOLDER.nodes.NODE.KEY; their ends will do",
        ),
    })
}

/// A path that begins with the name of a cluster, with its folder instead.
fn by_folder(loaded: &Loaded, path: &str) -> String {
    let path = path.strip_prefix("clusters.").unwrap_or(path);
    let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    let clusters = loaded.site.iter().flat_map(|site| &site.clusters);
    let found = clusters.into_iter().find(|cluster| cluster.name == first);
    let first = found.map_or(first, |cluster| cluster.folder.as_str());
    rest.map_or_else(|| first.to_owned(), |rest| format!("{first}.{rest}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of_example(path: &str) -> Result<Report, Error> {
        let cwd =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/homelab/live");
        why(&Context { cwd, live: None, variables: std::collections::BTreeMap::new() }, path)
    }

    fn paths(path: &str) -> Vec<String> {
        of_example(path).unwrap().origins.into_iter().map(|origin| origin.path).collect()
    }

    #[test]
    fn a_value_is_found_by_its_end_by_the_name_of_its_cluster_or_above_it() {
        let vmid = "clusters.cluster-103.nodes.terracp01.vmid";
        for path in [
            "terracp01.vmid",
            "terra.nodes.terracp01.vmid",
            "clusters/terra/nodes/terracp01/vmid",
            vmid,
        ] {
            assert_eq!(paths(path), [vmid], "{path}");
        }
        assert!(paths("terra.nodes").contains(&vmid.to_owned()));
        assert_eq!(paths("versions.talos_version"), ["versions.talos_version"]);
    }

    #[test]
    fn a_typing_mistake_is_told_with_what_was_meant() {
        let help = |path: &str| of_example(path).unwrap_err().hints().join(" ");
        assert_eq!(help("terracp01.vmdi"), "did you mean terracp01.vmid?");
        assert_eq!(help("talos_versoin"), "did you mean talos_version?");
        assert!(help("nonsense.at.all").contains("their ends will do"));
    }
}
