//! Unified diff of two texts, as a dry run prints it.

const CONTEXT: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edit {
    Keep(usize, usize),
    Delete(usize),
    Insert(usize),
}

/// The unified diff of two texts, empty when they are equal.
pub(crate) fn unified(old: &str, new: &str) -> String {
    let a: Vec<&str> = old.split_inclusive('\n').collect();
    let b: Vec<&str> = new.split_inclusive('\n').collect();
    let edits = edits(&a, &b);
    let mut out = String::new();
    for (from, to) in groups(&edits) {
        let Some(group) = edits.get(from..to) else { continue };
        out.push_str(&header(group, &edits, from));
        for edit in group {
            let (sign, line) = match *edit {
                Edit::Keep(i, _) => (' ', a.get(i)),
                Edit::Delete(i) => ('-', a.get(i)),
                Edit::Insert(j) => ('+', b.get(j)),
            };
            let line = line.copied().unwrap_or_default();
            out.push(sign);
            out.push_str(line);
            if !line.ends_with('\n') {
                out.push('\n');
            }
        }
    }
    if out.is_empty() { out } else { format!("--- a\n+++ b\n{out}") }
}

fn header(group: &[Edit], all: &[Edit], from: usize) -> String {
    let before = all.get(..from).unwrap_or_default();
    let old_start = before.iter().filter(|e| !matches!(e, Edit::Insert(_))).count();
    let new_start = before.iter().filter(|e| !matches!(e, Edit::Delete(_))).count();
    let old = group.iter().filter(|e| !matches!(e, Edit::Insert(_))).count();
    let new = group.iter().filter(|e| !matches!(e, Edit::Delete(_))).count();
    format!("@@ -{} +{} @@\n", range(old_start, old), range(new_start, new))
}

fn range(start: usize, length: usize) -> String {
    match length {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        _ => format!("{},{length}", start + 1),
    }
}

/// Runs of edits that share their context, as ranges of the list.
fn groups(edits: &[Edit]) -> Vec<(usize, usize)> {
    let mut out: Vec<(usize, usize)> = Vec::new();
    for (at, edit) in edits.iter().enumerate() {
        if matches!(edit, Edit::Keep(..)) {
            continue;
        }
        let (from, to) = (at.saturating_sub(CONTEXT), (at + 1 + CONTEXT).min(edits.len()));
        match out.last_mut() {
            Some(last) if last.1 >= from => last.1 = to,
            _ => out.push((from, to)),
        }
    }
    out
}

/// Shortest edit script; among equal ones deletions come first.
fn edits(a: &[&str], b: &[&str]) -> Vec<Edit> {
    let width = b.len() + 1;
    let mut common = vec![0u32; (a.len() + 1) * width];
    let at = |table: &[u32], i: usize, j: usize| table.get(i * width + j).copied().unwrap_or(0);
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            let value = if a.get(i) == b.get(j) {
                at(&common, i + 1, j + 1) + 1
            } else {
                at(&common, i + 1, j).max(at(&common, i, j + 1))
            };
            if let Some(cell) = common.get_mut(i * width + j) {
                *cell = value;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a.get(i) == b.get(j) {
            out.push(Edit::Keep(i, j));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || at(&common, i + 1, j) >= at(&common, i, j + 1)) {
            out.push(Edit::Delete(i));
            i += 1;
        } else {
            out.push(Edit::Insert(j));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_no_diff() {
        assert_eq!(unified("a\nb\n", "a\nb\n"), "");
    }

    #[test]
    fn a_change_comes_with_three_lines_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n";
        let want = "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n";
        assert_eq!(unified(old, &old.replace('5', "five")), want);
    }

    #[test]
    fn a_new_text_is_all_additions() {
        assert_eq!(unified("", "a\nb\n"), "--- a\n+++ b\n@@ -0,0 +1,2 @@\n+a\n+b\n");
    }
}
