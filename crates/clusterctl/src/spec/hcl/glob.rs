//! File patterns of `fileset`: `*`, `**`, `?`, `[a-z]`, `{a,b}`.

use std::path::Path;

use regex::Regex;

/// Most files that a pattern is tried on.
const MOST_FILES: usize = 100_000;

/// A pattern as a regular expression over paths with `/`.
pub(super) fn compile(pattern: &str) -> Option<Regex> {
    let mut out = String::from("^");
    let mut letters = pattern.chars().peekable();
    let mut braces = 0;
    while let Some(letter) = letters.next() {
        match letter {
            '*' if letters.peek() == Some(&'*') => {
                letters.next();
                if letters.peek() == Some(&'/') {
                    letters.next();
                    out.push_str("(?:[^/]+/)*");
                } else {
                    out.push_str(".*");
                }
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => {
                out.push('[');
                if matches!(letters.peek(), Some('!' | '^')) {
                    letters.next();
                    out.push('^');
                }
                loop {
                    match letters.next()? {
                        ']' => break,
                        '\\' => out.push_str("\\\\"),
                        other => out.push(other),
                    }
                }
                out.push(']');
            }
            '{' => {
                braces += 1;
                out.push_str("(?:");
            }
            '}' if braces > 0 => {
                braces -= 1;
                out.push(')');
            }
            ',' if braces > 0 => out.push('|'),
            '\\' => out.push_str(&regex::escape(&letters.next()?.to_string())),
            other => out.push_str(&regex::escape(&other.to_string())),
        }
    }
    if braces > 0 {
        return None;
    }
    out.push('$');
    Regex::new(&out).ok()
}

/// The files below a folder that fit, as paths with `/` from the folder, sorted.
pub(super) fn files(dir: &Path, pattern: &Regex) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    let mut seen = 0;
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(&folder)? {
            let path = entry?.path();
            seen += 1;
            if seen > MOST_FILES {
                return Err(std::io::Error::other("the folder has too many files"));
            }
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
                continue;
            }
            let relative = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
            if path.is_file() && pattern.is_match(&relative) {
                found.push(relative);
            }
        }
    }
    found.sort();
    Ok(found)
}
