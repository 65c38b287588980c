//! Lists in one text.

/// Splits a list: commas, semicolons, blanks and zero bytes separate, empty items vanish.
pub fn split_list(text: &str) -> Vec<String> {
    text.split([',', ';', ' ', '\t', '\n', '\0'])
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}
