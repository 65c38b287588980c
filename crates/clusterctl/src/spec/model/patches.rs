//! Patches of machine configuration: read, checked, their secrets kept apart.

use secrecy::SecretString;

use super::file::File;
use super::tree::Gathered;
use crate::spec::hcl::Value;
use crate::spec::site::{Patch, PatchText};

/// Patches: texts, or objects, which are written as JSON; a single one may stand without a list.
pub(super) fn patches(file: &File, path: &[&str], gathered: &mut Gathered) -> Vec<Patch> {
    let Some(value) = file.get(path) else { return Vec::new() };
    let single;
    let items: &[Value] = match value.items() {
        Some(items) => items,
        None => {
            single = [value.clone()];
            &single
        }
    };
    let mut found = Vec::new();
    for (number, item) in items.iter().enumerate() {
        let at = number.to_string();
        let inner: Vec<&str> = path.iter().copied().chain([at.as_str()]).collect();
        let place = file.place(&inner);
        let origin = place.as_ref().map(|place| gathered.sources().locate(place));
        let origin = origin.map(|origin| format!("{}:{}", origin.file.display(), origin.line));
        let text = match item.attributes() {
            _ if item.unknown_reason().is_some() => Some(String::new()),
            Some(_) => item.unmark_deep().0.to_json(),
            None => item.as_str().map(str::to_owned),
        };
        let (Some(text), Some(origin)) = (text, origin) else {
            let message = format!("`{}` holds a patch that is no text or object", path.join("."));
            gathered.error("tree-0046", message, place.as_ref());
            continue;
        };
        if let Some(reason) = item.unknown_reason() {
            found.push(Patch { origin, text: PatchText::Sealed(reason.to_owned()) });
            continue;
        }
        let is_secret = item.has_sensitive();
        let parsed = talos_client::config::Patch::parse("the patch", &text);
        if let Err(error) = &parsed {
            // What is wrong may quote what must not be told.
            let why =
                if is_secret { "it holds sensitive values".into() } else { error.to_string() };
            let message = format!("`{}` cannot be used: {why}", path.join("."));
            gathered.error("tree-0054", message, place.as_ref());
        }
        let text = if is_secret {
            let mut values = Vec::new();
            sensitive(item, &mut values);
            if item.sensitive
                && let Ok(patch) = &parsed
            {
                values.extend(patch.scalars());
            }
            PatchText::Secret { text: text.into(), values }
        } else {
            PatchText::Clear(text)
        };
        found.push(Patch { origin, text });
    }
    found
}

/// The texts and numbers in a value that must not be told.
fn sensitive(value: &Value, found: &mut Vec<SecretString>) {
    for child in value.children() {
        sensitive(&child.clone().marked(value.sensitive), found);
    }
    if value.sensitive {
        let text = value.as_str().map(str::to_owned);
        let text = text.or_else(|| value.as_number().and_then(|_| value.unmark_deep().0.to_json()));
        found.extend(text.map(SecretString::from));
    }
}
