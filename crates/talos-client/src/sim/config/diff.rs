//! Unified diff of two texts, as a dry run prints it.

use super::script::{Edit, script};

const CONTEXT: usize = 3;

/// The unified diff of two texts, empty when they are equal.
pub(crate) fn unified(old: &str, new: &str) -> String {
    let a: Vec<&str> = old.split_terminator('\n').collect();
    let b: Vec<&str> = new.split_terminator('\n').collect();
    if a == b {
        return String::new();
    }
    let edits = script(&a, &b);
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
            out.push(sign);
            out.push_str(line.copied().unwrap_or_default());
            out.push('\n');
        }
    }
    format!("--- a\n+++ b\n{out}")
}

fn header(group: &[Edit], all: &[Edit], from: usize) -> String {
    let before = all.get(..from).unwrap_or_default();
    let old_start = before.iter().filter(|e| !matches!(e, Edit::Insert(_))).count();
    let new_start = before.iter().filter(|e| !matches!(e, Edit::Delete(_))).count();
    let old = group.iter().filter(|e| !matches!(e, Edit::Insert(_))).count();
    let new = group.iter().filter(|e| !matches!(e, Edit::Delete(_))).count();
    format!("@@ -{} +{} @@\n", range(old_start, old), range(new_start, new))
}

/// Where lines begin and how many they are; a node writes the count even if it is one.
fn range(start: usize, length: usize) -> String {
    format!("{},{length}", if length == 0 { start } else { start + 1 })
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
            Some(last) if last.1 > from => last.1 = to,
            _ => out.push((from, to)),
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
    fn the_order_of_lines_is_that_of_a_node() {
        let path = "tests/fixtures/sim/diff.json";
        let file = std::fs::File::open(path).unwrap();
        let cases: Vec<[String; 3]> = serde_json::from_reader(file).unwrap();
        assert!(cases.len() > 100);
        for [old, new, want] in &cases {
            assert_eq!(&unified(old, new), want, "{old:?} to {new:?}");
        }
    }

    #[test]
    fn a_new_text_is_all_additions() {
        assert_eq!(unified("", "a\nb\n"), "--- a\n+++ b\n@@ -0,0 +1,2 @@\n+a\n+b\n");
    }
}
